//! What is seen of a life from outside, and what must hold of it: from what was written, said and done, and not from what the core counts.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use secateur_proto::{
    ids::{ContentHash, StageKey, SweepId, TrialId},
    outcome::{FailureClass, StageOutcome},
};

use super::disk::Crash;
use crate::{
    journal::{Line, Verification},
    scheduler::{Core, Entry, EntryReader, Policy, Record, TrialStatus, tests::durable},
};

/// Lines of the story that a violation is told with.
const TOLD: usize = 200;

/// How a bundle fares.
#[derive(Debug, Clone, Copy)]
pub(super) struct Luck {
    /// Until the first stage is done.
    pub(super) takes: Duration,
    /// Its executor dies of that stage.
    pub(super) dies_at: Option<usize>,
    pub(super) out_of_memory: bool,
    /// That stage cannot be written.
    pub(super) spoils: Option<usize>,
    /// It never ends.
    pub(super) hangs: bool,
}

/// A life as everybody in it sees it.
#[derive(Debug)]
pub(super) struct Scene {
    salt: u8,
    /// Whether executors have accidents.
    accidents: bool,
    policy: Policy,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    random: ChaCha8Rng,
    violation: Option<String>,
    trace: blake3::Hasher,
    story: VecDeque<String>,
    /// All that the journal holds, and what it says.
    lines: Vec<String>,
    entries: Vec<Entry>,
    ended: BTreeMap<StageKey, StageOutcome>,
    /// The epoch of each stage's last checkpoint.
    kept: BTreeMap<StageKey, u32>,
    /// Attempts that went on from one.
    gone_on: u64,
    /// Trials whose end was announced, in all lives of the coordinator.
    announced: BTreeMap<(SweepId, TrialId), &'static str>,
    /// How often a stage was done to its end.
    done: BTreeMap<StageKey, u64>,
    /// How often a stage could not be written on a worker that has not been blamed for it.
    spoiled: BTreeMap<(StageKey, String), u64>,
    /// How often what is before a snapshot was removed.
    snapshots: u64,
    crash: Option<Crash>,
    /// Hosts whose process has ended, as it was told to.
    ended_hosts: BTreeSet<String>,
    kills: BTreeSet<String>,
    hangs: BTreeSet<String>,
    finished: Option<Vec<u8>>,
}

impl Scene {
    pub(super) fn new(number: u64, salt: u8, accidents: bool, policy: Policy) -> Self {
        let seen = Seen {
            random: ChaCha8Rng::seed_from_u64(number ^ 0x5ece),
            violation: None,
            trace: blake3::Hasher::new(),
            story: VecDeque::new(),
            lines: vec![],
            entries: vec![],
            ended: BTreeMap::new(),
            kept: BTreeMap::new(),
            gone_on: 0,
            announced: BTreeMap::new(),
            done: BTreeMap::new(),
            spoiled: BTreeMap::new(),
            snapshots: 0,
            crash: None,
            ended_hosts: BTreeSet::new(),
            kills: BTreeSet::new(),
            hangs: BTreeSet::new(),
            finished: None,
        };
        Self { salt, accidents, policy, seen: Mutex::new(seen) }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) const fn salt(&self) -> u8 {
        self.salt
    }

    pub(super) const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Something happened. It is part of the story, and of the trace by which two lives are compared.
    pub(super) fn note(&self, what: fmt::Arguments<'_>) {
        self.seen().note(what);
    }

    /// What must not happen did.
    pub(super) fn violated(&self, what: String) {
        let mut seen = self.seen();
        seen.note(format_args!("VIOLATION {what}"));
        seen.violation.get_or_insert(what);
    }

    /// The first violation, with what led to it.
    pub(super) fn violation(&self) -> Option<String> {
        let seen = self.seen();
        Some(format!("{}\n{}", seen.violation.as_ref()?, seen.told()))
    }

    /// What happened last.
    pub(super) fn told(&self) -> String {
        self.seen().told()
    }

    /// All that happened, as one number.
    pub(super) fn trace(&self) -> ContentHash {
        self.seen().trace.finalize().into()
    }

    /// How the bundle fares that a worker begins.
    pub(super) fn luck(&self, worker: &str, stages: usize) -> Luck {
        let mut seen = self.seen();
        let random = &mut seen.random;
        let takes = Duration::from_millis(random.random_range(200..4_000));
        let mut luck = Luck { takes, dies_at: None, out_of_memory: false, spoils: None, hangs: false };
        if self.accidents {
            // Only what a narrower bundle helps against, and what another attempt does: nothing is given up for an accident.
            if stages > 1 && random.random_bool(0.1) {
                luck.dies_at = Some(random.random_range(0..stages));
                luck.out_of_memory = true;
            }
            if random.random_bool(0.15) {
                luck.spoils = Some(random.random_range(0..stages));
            }
            luck.hangs = seen.hangs.remove(worker);
        }
        seen.note(format_args!("{worker}: an executor begins with {stages}: {luck:?}"));
        luck
    }

    /// The width that a worker measures.
    pub(super) fn measured(&self, worker: &str) -> u32 {
        1 + u32::from(worker.as_bytes().last().copied().unwrap_or_default().wrapping_add(self.salt) % 4)
    }

    /// An executor has done a stage.
    pub(super) fn done(&self, worker: &str, key: StageKey, outcome: &StageOutcome) {
        let mut seen = self.seen();
        seen.note(format_args!("{worker}: {key:?} is done: {}", outcome.name()));
        match outcome {
            StageOutcome::Failed(failure) if failure.class == FailureClass::Storage => {
                *seen.spoiled.entry((key, worker.to_owned())).or_default() += 1;
            }
            _ => *seen.done.entry(key).or_default() += 1,
        }
    }

    /// An attempt goes on from a checkpoint.
    pub(super) fn goes_on(&self, worker: &str, key: StageKey, epoch: u32) {
        let mut seen = self.seen();
        seen.note(format_args!("{worker}: {key:?} goes on from epoch {epoch}"));
        seen.gone_on += 1;
    }

    /// Attempts that went on from checkpoints.
    pub(super) fn gone_on(&self) -> u64 {
        self.seen().gone_on
    }

    /// Stages that were done, and how often one was that had been before.
    pub(super) fn work(&self) -> (u64, u64) {
        let seen = self.seen();
        (seen.done.len() as u64, seen.done.values().map(|times| times - 1).sum())
    }

    /// The next executor of that worker which says something dies in place of it.
    pub(super) fn kill(&self, worker: &str) {
        self.seen().kills.insert(worker.to_owned());
    }

    pub(super) fn takes_kill(&self, worker: &str) -> bool {
        let mut seen = self.seen();
        let killed = seen.kills.remove(worker);
        if killed {
            seen.note(format_args!("{worker}: an executor is killed"));
        }
        killed
    }

    /// The next bundle of that worker never ends.
    pub(super) fn hang(&self, worker: &str) {
        self.seen().hangs.insert(worker.to_owned());
    }

    /// Nothing goes wrong any more.
    pub(super) fn heal(&self) {
        let mut seen = self.seen();
        seen.kills.clear();
        seen.hangs.clear();
        seen.crash = None;
    }

    /// The coordinator is to die at its next write.
    pub(super) fn crash_at(&self, crash: Crash) {
        self.seen().crash = Some(crash);
    }

    pub(super) fn take_crash(&self) -> Option<Crash> {
        self.seen().crash.take()
    }

    /// The process on a host ends at this moment, as it was told to.
    pub(super) fn ends(&self, host: &str) {
        let mut seen = self.seen();
        seen.note(format_args!("{host} ends"));
        seen.ended_hosts.insert(host.to_owned());
    }

    /// Where one did, since the last time somebody asked.
    pub(super) fn take_ended(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.seen().ended_hosts)
    }

    /// A coordinator that starts reads what was written, all of it and nothing else.
    pub(super) fn read(&self, lines: &[Line], stopped: Option<String>) {
        let mut verification = Verification::default();
        // Of what was removed a line without an entry is left.
        let read: Vec<&Line> = lines.iter().filter(|line| verification.take(line)).collect();
        let same = self.seen().lines.iter().map(String::as_bytes).eq(read.iter().map(|line| &*line.entry));
        let (damages, _) = verification.end(stopped);
        if !same || !damages.is_empty() {
            self.violated(format!("the journal holds something else than was written: {damages:?}"));
        }
    }

    /// Entries are in the journal.
    pub(super) fn written(&self, entries: &[String]) {
        for text in entries {
            match EntryReader::default().read(text) {
                Ok(Some(entry)) => self.recorded(text, entry),
                Ok(None) => self.violated("the plans of the scene are short".to_owned()),
                Err(error) => self.violated(format!("an entry cannot be read back: {error}")),
            }
        }
    }

    /// Only so many lines are left in the journal.
    pub(super) fn shortened(&self, lines: usize) {
        let mut seen = self.seen();
        let removed = seen.lines.len().saturating_sub(lines);
        seen.lines.drain(..removed);
        seen.snapshots += 1;
        seen.note(format_args!("removed: {removed} lines"));
    }

    /// How often that happened.
    pub(super) fn snapshots(&self) -> u64 {
        self.seen().snapshots
    }

    fn recorded(&self, text: &str, entry: Entry) {
        let mut seen = self.seen();
        // A plan is long.
        let brief: String = text.chars().take(400).collect();
        seen.trace.update(text.as_bytes());
        seen.note(format_args!("written: {brief}"));
        seen.lines.push(text.to_owned());
        let wrong = match &entry.record {
            Record::StageEnded { stage, outcome } => {
                let before = seen.ended.insert(*stage, outcome.clone());
                before.map(|before| format!("{stage:?} ended as {outcome:?} and before as {before:?}"))
            }
            Record::Checkpointed { stage, checkpoint } => {
                let before = seen.kept.insert(*stage, checkpoint.epoch);
                before
                    .filter(|before| *before >= checkpoint.epoch)
                    .map(|before| format!("{stage:?} went back from epoch {before} to {checkpoint:?}"))
            }
            Record::SweepResumed { sweep } => {
                seen.goes_on_after_a_cancellation(sweep);
                None
            }
            Record::SweepExtended { part } => {
                seen.goes_on_after_a_cancellation(&part.sweep.id);
                None
            }
            Record::AttemptFailed { stage, failure, worker, .. } if failure.class == FailureClass::Storage => {
                let blamed = (*stage, worker.clone().unwrap_or_default());
                match seen.spoiled.get_mut(&blamed) {
                    Some(times @ 1..) => {
                        *times -= 1;
                        None
                    }
                    Some(0) => Some(format!("{blamed:?} is blamed again for what happened there once: {failure}")),
                    None => Some(format!("{blamed:?} is blamed for what did not happen there: {failure}")),
                }
            }
            _ => None,
        };
        seen.entries.push(entry);
        drop(seen);
        wrong.into_iter().for_each(|wrong| self.violated(wrong));
    }

    /// A worker was told to forget a result.
    pub(super) fn settled(&self, worker: &str, key: StageKey) {
        let known = self.seen().ended.contains_key(&key);
        if !known {
            self.violated(format!("{worker} was told to forget its result of {key:?}, which is not in the journal"));
        }
    }

    /// The end of a trial was announced.
    pub(super) fn announced(&self, sweep: SweepId, trial: TrialId, outcome: &StageOutcome) {
        let mut seen = self.seen();
        seen.note(format_args!("announced: {trial} {}", outcome.name()));
        let before = seen.announced.insert((sweep, trial.clone()), outcome.name());
        drop(seen);
        if let Some(before) = before {
            self.violated(format!("{trial} ended again as {}, after {before}", outcome.name()));
        }
    }

    /// The coordinator is back: what was announced is known to it, and what is known and was not announced is read from its views.
    pub(super) fn restarted(&self, core: &Core) {
        let mut known = BTreeMap::new();
        for status in core.sweeps() {
            for (trial, now) in core.trials(&status.id).into_iter().flatten() {
                if let TrialStatus::Ended(outcome) = now {
                    known.insert((status.id.clone(), trial.id.clone()), outcome.name());
                }
            }
        }
        let mut seen = self.seen();
        let lost = seen.announced.iter().find(|(trial, outcome)| known.get(*trial) != Some(*outcome));
        let lost =
            lost.map(|(trial, outcome)| format!("{trial:?} was announced as {outcome} and is {:?}", known.get(trial)));
        seen.announced = known;
        drop(seen);
        lost.into_iter().for_each(|lost| self.violated(lost));
    }

    /// The invariants hold, and the journal says what the core says.
    pub(super) fn check(&self, core: &Core) {
        if let Err(error) = core.check_invariants() {
            self.violated(error.to_string());
        }
        match self.replayed() {
            Ok(replayed) if durable(&replayed) == durable(core) => {}
            Ok(_) => self.violated("the journal, replayed, says something else than the core".to_owned()),
            Err(error) => self.violated(error),
        }
    }

    /// What the journal comes to.
    pub(super) fn replayed(&self) -> Result<Core, String> {
        let entries = self.seen().entries.clone();
        Core::restore(self.policy.clone(), entries).map_err(|error| error.to_string())
    }

    /// The client has the report of the sweep that has ended.
    pub(super) fn finish(&self, report: Vec<u8>) {
        let mut seen = self.seen();
        seen.note(format_args!("the client has the report: {}", ContentHash::of(&report)));
        seen.finished = Some(report);
    }

    pub(super) fn finished(&self) -> Option<Vec<u8>> {
        self.seen().finished.clone()
    }
}

impl Seen {
    /// Trials that were given up are open again.
    fn goes_on_after_a_cancellation(&mut self, sweep: &SweepId) {
        self.announced.retain(|(of, _), outcome| of != sweep || *outcome != "cancelled");
    }

    fn note(&mut self, what: fmt::Arguments<'_>) {
        let time =
            turmoil::sim_elapsed().map_or_else(|| "      -".to_owned(), |time| format!("{:7}", time.as_millis()));
        let line = format!("{time} {what}");
        self.trace.update(line.as_bytes());
        if self.story.len() == TOLD {
            self.story.pop_front();
        }
        self.story.push_back(line);
    }

    fn told(&self) -> String {
        self.story.iter().map(|line| format!("{line}\n")).collect()
    }
}
