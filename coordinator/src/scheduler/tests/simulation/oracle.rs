//! What must hold in every life, from what was said and seen, and not from what the core counts.

use super::*;
use crate::scheduler::{StageStatus, TrialStatus};

/// What must not happen did.
#[derive(Debug)]
pub(super) struct Violation(pub(super) String);

/// What the world outside has seen.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    /// Trials whose end was announced, in all lives of the coordinator.
    announced: BTreeMap<(SweepId, TrialId), StageOutcome>,
    leases: BTreeSet<LeaseId>,
    /// How often a stage was computed to its end.
    computed: BTreeMap<StageKey, u64>,
    /// How often it could not be stored, without a failed attempt having been recorded for it.
    spoiled: BTreeMap<StageKey, u64>,
    /// Checkpoints that some worker took.
    taken: BTreeSet<(StageKey, u32)>,
    /// Of each open stage the epoch of the last one that is on the disk.
    kept: BTreeMap<StageKey, u32>,
}

impl Oracle {
    pub(super) fn leased(&mut self, lease: &LeaseId) -> Result<(), Violation> {
        if self.leases.insert(lease.clone()) { Ok(()) } else { Err(Violation(format!("lease {lease} came back"))) }
    }

    pub(super) fn computed(&mut self, stage: StageKey) {
        *self.computed.entry(stage).or_default() += 1;
    }

    pub(super) fn spoiled(&mut self, stage: StageKey) {
        *self.spoiled.entry(stage).or_default() += 1;
    }

    pub(super) fn taken(&mut self, stage: StageKey, epoch: u32) {
        self.taken.insert((stage, epoch));
    }

    /// The epochs that have been done of a stage that is handed out: some worker said so, and nothing that is on the disk is later.
    pub(super) fn goes_on(&self, core: Option<&Core>, stage: StageKey) -> Result<u32, Violation> {
        let Some(core) = core else { return Ok(0) };
        let kept = self.kept.get(&stage).copied().unwrap_or_default();
        match core.checkpoint(&stage) {
            Some(found) if found.epoch >= kept && self.taken.contains(&(stage, found.epoch)) => Ok(found.epoch),
            // It may have ended in the same breath.
            None if kept == 0 || matches!(core.stage(&stage), Some(StageStatus::Ended(_))) => Ok(0),
            found => Err(Violation(format!("{stage} goes on from {found:?}, and epoch {kept} was kept"))),
        }
    }

    /// Stages that were computed, and how often one was that had been before.
    pub(super) fn work(&self) -> (u64, u64) {
        (self.computed.len() as u64, self.computed.values().map(|times| times - 1).sum())
    }

    pub(super) fn announced(&mut self, sweep: SweepId, trial: TrialId, outcome: StageOutcome) -> Result<(), Violation> {
        match self.announced.insert((sweep.clone(), trial.clone()), outcome) {
            None => Ok(()),
            Some(before) => Err(Violation(format!("{trial} of {sweep} ended again, after {before:?}"))),
        }
    }

    /// A sweep that goes on: what was given up of it is open again. An attempt that failed counts once. A checkpoint: it is later than the
    /// one before.
    pub(super) fn written(&mut self, entries: &[Entry]) -> Result<(), Violation> {
        for entry in entries {
            match &entry.record {
                Record::SweepResumed { sweep } => self.goes_on_after_a_cancellation(sweep),
                Record::SweepExtended { part } => self.goes_on_after_a_cancellation(&part.sweep.id),
                Record::AttemptFailed { stage, failure, .. }
                | Record::StageEnded { stage, outcome: StageOutcome::Failed(failure) }
                    if failure.class == FailureClass::NoSpace =>
                {
                    return Err(Violation(format!("{stage:?} is blamed for a full disk")));
                }
                Record::AttemptFailed { stage, failure, .. } if failure.class == FailureClass::Storage => {
                    match self.spoiled.get_mut(stage) {
                        Some(times @ 1..) => *times -= 1,
                        _ => return Err(Violation(format!("{stage:?} is blamed again: {entry:?}"))),
                    }
                }
                Record::Checkpointed { stage, checkpoint } => {
                    let before = self.kept.insert(*stage, checkpoint.epoch);
                    if before.is_some_and(|before| before >= checkpoint.epoch) {
                        return Err(Violation(format!("{stage} went back from epoch {before:?} to {checkpoint:?}")));
                    }
                }
                Record::StageEnded { stage, .. } => _ = self.kept.remove(stage),
                _ => {}
            }
        }
        Ok(())
    }

    /// Trials that were given up are open again.
    fn goes_on_after_a_cancellation(&mut self, sweep: &SweepId) {
        self.announced.retain(|(of, _), outcome| of != sweep || *outcome != StageOutcome::Cancelled);
    }

    /// The coordinator starts again: what was announced is known to it, and what is known and was not announced is read from its views.
    pub(super) fn restarted(&mut self, core: &Core) -> Result<(), Violation> {
        let mut known = BTreeMap::new();
        for status in core.sweeps() {
            for (trial, now) in core.trials(&status.id).into_iter().flatten() {
                if let TrialStatus::Ended(outcome) = now {
                    known.insert((status.id.clone(), trial.id.clone()), outcome);
                }
            }
        }
        for (trial, outcome) in &self.announced {
            if known.get(trial) != Some(outcome) {
                return Err(Violation(format!(
                    "{trial:?} was announced as {outcome:?} and is known as {:?}",
                    known.get(trial)
                )));
            }
        }
        self.announced = known;
        for (stage, epoch) in &self.kept {
            let found = core.checkpoint(stage).map(|checkpoint| checkpoint.epoch);
            if found != Some(*epoch) {
                return Err(Violation(format!("{stage} goes on from {found:?} after a restart, and not from {epoch}")));
            }
        }
        Ok(())
    }

    /// All sweeps have completed: each trial ended as its stages say, and that was announced.
    pub(super) fn check_end(&self, coordinator: &coordinator::Coordinator, salt: u8) -> Result<(), Violation> {
        let Some(core) = coordinator.core() else { return Err(Violation("nobody is there at the end".to_owned())) };
        for (plan, parts) in PLANS.iter().zip(PARTS.iter()) {
            let trials: usize = parts.iter().chain([plan]).map(|part| part.trial_count()).sum();
            let known = core.trials(&plan.sweep.id).into_iter().flatten().count();
            if known != trials {
                return Err(Violation(format!("{} has {known} trials, not {trials}", plan.sweep.id)));
            }
            for (trial, now) in core.trials(&plan.sweep.id).into_iter().flatten() {
                let announced = self.announced.get(&(plan.sweep.id.clone(), trial.id.clone()));
                let (TrialStatus::Ended(outcome), Some(last)) = (&now, trial.stages.last()) else {
                    return Err(Violation(format!("{} has not ended: {now:?}", trial.id)));
                };
                let is_true = parts.iter().chain([plan]).any(|part| self.is_true(part, *last, outcome, salt));
                if announced != Some(outcome) || !is_true {
                    return Err(Violation(format!("{} ended as {outcome:?}, announced as {announced:?}", trial.id)));
                }
            }
        }
        Ok(())
    }

    /// Whether a stage may have ended so: by its nature, by that of a stage above it, or given up after too many accidents.
    fn is_true(&self, plan: &PackedPlan, key: StageKey, outcome: &StageOutcome, salt: u8) -> bool {
        let Some(place) = plan.keys().position(|stage| stage == key) else { return false };
        let mut above: Vec<StageKey> = plan.parents(place).map(|parent| plan.key(parent)).collect();
        above.push(key);
        match outcome {
            StageOutcome::Completed(_) => {
                above.iter().all(|key| nature(*key, salt) == Nature::Completes) && self.computed.contains_key(&key)
            }
            StageOutcome::Diverged { .. } => above.iter().any(|key| nature(*key, salt) == Nature::Diverges),
            StageOutcome::Collapsed { .. } => above.iter().any(|key| nature(*key, salt) == Nature::Collapses),
            StageOutcome::Failed(failure) => match failure.class {
                FailureClass::Input => nature(key, salt) == Nature::HasBadInput,
                FailureClass::Upstream | FailureClass::Poison | FailureClass::Executor | FailureClass::Storage => true,
                _ => false,
            },
            StageOutcome::Cancelled => false,
        }
    }
}

/// A report, and how its stage stood before.
pub(super) struct Watch(Option<(bool, u32, bool)>);

impl Watch {
    pub(super) fn of(core: &Core, event: &Event) -> Self {
        let Event::StageReported { lease, stage, attempt, .. } = event else { return Self(None) };
        let Some(detail) = core.stage_detail(stage) else { return Self(None) };
        let is_out =
            matches!(&detail.status, StageStatus::Leased { lease: out, attempt: of } if out == lease && of == attempt);
        let is_open = !matches!(detail.status, StageStatus::Ended(_) | StageStatus::Waiting { .. });
        Self(Some((is_out, detail.failed_attempts, is_open)))
    }

    /// A result is taken from whoever brings it; anything else from the attempt that is out alone.
    pub(super) fn check(&self, core: &Core, event: &Event) -> Result<(), Violation> {
        let (Some((is_out, failed, is_open)), Event::StageReported { stage, outcome, .. }) = (&self.0, event) else {
            return Ok(());
        };
        let Some(detail) = core.stage_detail(stage) else { return Ok(()) };
        let has_ended = matches!(detail.status, StageStatus::Ended(_));
        let holds = match outcome {
            _ if !is_open => true,
            StageOutcome::Completed(_) | StageOutcome::Diverged { .. } | StageOutcome::Collapsed { .. } => has_ended,
            StageOutcome::Failed(_) | StageOutcome::Cancelled => {
                *is_out || !has_ended && detail.failed_attempts == *failed
            }
        };
        if holds { Ok(()) } else { Err(Violation(format!("{event:?} led to {detail:?}"))) }
    }
}
