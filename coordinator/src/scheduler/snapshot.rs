//! Snapshots: all that is durable as a few lines of the journal, at which a replay begins, so that a start costs what there is and not
//! what there was. Pure: when one is taken, and what becomes of the lines before it, is the shell's business.
//!
//! Written is how sweeps and stages stand. All else – who lists a stage, what waits for it, how much is counted – is worked out from the
//! plans again, so that it cannot contradict them. Of what was forgotten nothing is written but how much it was: numbers of sweeps and
//! stages begin anew, in the same order.

mod restore;

use std::sync::Arc;

use secateur_proto::{
    ids::SweepId,
    outcome::{Checkpoint, StageOutcome},
};
use serde::{Deserialize, Serialize};

use super::{
    core::Core,
    entry::{Entry, shared},
    event::{Rejection, SweepState, Timestamp},
    outcome::Packed,
    record::Record,
    share::Share,
    stage::{Stage, StageState, UNLIMITED},
    sweep::{Sweep, TrialState},
    trouble::Trouble,
};
use crate::experiment::plan::PackedPlan;

/// Stages in one line: some ten thousand bytes, so that lines come and go without leaving gaps in memory.
const TOGETHER: usize = 50;

/// Bytes of lines that are written together.
const AT_ONCE: usize = 1 << 20;

/// One line of a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Part {
    /// The first line.
    Begin(Counts),
    /// How a sweep stands.
    Sweep(SweepPart),
    /// How some stages stand.
    Stages(Vec<StagePart>),
    /// The last line: the snapshot is whole.
    End {},
}

/// What there is once, and what follows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Lives of the coordinator.
    life: u32,
    /// Sweeps that there were.
    forgotten: u64,
    /// Sweeps that follow.
    sweeps: usize,
    /// Stages that follow.
    stages: usize,
}

/// A sweep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepPart {
    #[serde(with = "shared")]
    pub(super) plan: Arc<PackedPlan>,
    state: SweepState,
    submitted_at: Timestamp,
    ended_at: Option<Timestamp>,
    share: Share,
    /// How each trial stands, a letter for each.
    trials: String,
    /// The numbers of its stages, in the order of the plan: first ones, and how many follow each other.
    stages: Vec<(u32, u32)>,
}

/// A stage that has ended, at which something failed, or that can be gone on with. Of others there is nothing to be said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StagePart {
    stage: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outcome: Option<StageOutcome>,
    /// The widest bundle that it may still be a lane of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    width_limit: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trouble: Option<Box<Trouble>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checkpoint: Option<Box<Checkpoint>>,
}

/// All that is durable of a core, which does not change while it is written: nothing is copied that is not about to be.
#[derive(Debug)]
pub struct Snapshot<'core> {
    core: &'core Core,
    ranks: Ranks,
}

/// For each sweep and each stage the number that it has when those that were forgotten are not counted.
#[derive(Debug)]
pub(super) struct Ranks {
    pub(super) sweeps: Vec<u32>,
    pub(super) stages: Vec<u32>,
}

impl Ranks {
    pub(super) fn of(core: &Core) -> Self {
        let count = |is_there: &mut dyn Iterator<Item = bool>| -> Vec<u32> {
            let mut next = 0;
            is_there
                .map(|is_there| {
                    let rank = next;
                    next += u32::from(is_there);
                    rank
                })
                .collect()
        };
        let sweeps = count(&mut core.sweeps.iter().map(|sweep| !sweep.forgotten));
        Self { sweeps, stages: count(&mut core.stages.iter().map(|stage| core.is_known(stage))) }
    }
}

impl Core {
    /// Takes a snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot<'_> {
        Snapshot { core: self, ranks: Ranks::of(self) }
    }

    /// Records since the last snapshot: what is replayed at the next start besides the state itself.
    #[must_use]
    pub const fn since_snapshot(&self) -> u64 {
        self.since_snapshot
    }

    /// Stages that there are: what a snapshot is as long as.
    #[must_use]
    pub fn stage_count(&self) -> u64 {
        self.stage_index.len() as u64
    }

    /// The snapshot is in the journal.
    pub const fn snapshot_taken(&mut self) {
        self.since_snapshot = 0;
    }

    /// Whether the last lines that were read are a snapshot without its end, before which nothing is known.
    #[must_use]
    pub const fn lacks_the_end_of_a_snapshot(&self) -> bool {
        self.life == 0 && self.restoring.is_some()
    }

    /// Whether some sweep that is not forgotten lists the stage.
    pub(super) fn is_known(&self, stage: &Stage) -> bool {
        !self.sweeps[stage.home.index()].forgotten
    }

    /// Part of `commit`. With the last part of a snapshot the core is as the snapshot says, whatever it was.
    pub(super) fn read_part(&mut self, part: &Part) -> Result<(), Rejection> {
        let early = || invalid("it has no beginning");
        match part {
            Part::Begin(counts) => {
                // What it says is not believed, but with what is usual there is room for all from the beginning.
                let stages = Vec::with_capacity(counts.stages.min(1 << 20));
                self.restoring = Some(Box::new(Restoring { counts: *counts, sweeps: vec![], stages }));
            }
            Part::Sweep(sweep) => self.restoring.as_mut().ok_or_else(early)?.sweeps.push(sweep.clone()),
            Part::Stages(stages) => {
                let restoring = self.restoring.as_mut().ok_or_else(early)?;
                restoring.stages.extend(stages.iter().map(|stage| Standing {
                    stage: stage.stage,
                    outcome: stage.outcome.as_ref().map(Packed::new),
                    width_limit: stage.width_limit.unwrap_or(UNLIMITED),
                    trouble: stage.trouble.clone(),
                    checkpoint: stage.checkpoint.clone(),
                }));
            }
            Part::End {} => {
                let restoring = self.restoring.take().ok_or_else(early)?;
                let counts = restoring.counts;
                *self = restoring.core(self.policy.clone()).inspect_err(|_| {
                    // It still has no end, so that nobody takes what is before it for a beginning.
                    self.restoring = Some(Box::new(Restoring { counts, sweeps: vec![], stages: vec![] }));
                })?;
            }
        }
        Ok(())
    }

    /// Part of `commit`: something else than a part of a snapshot follows. A snapshot that was not written to its end is none, unless
    /// nothing else is known.
    pub(super) fn leave_snapshot(&mut self) -> Result<(), Rejection> {
        if self.lacks_the_end_of_a_snapshot() {
            return Err(invalid("it has no end"));
        }
        self.restoring = None;
        Ok(())
    }
}

fn invalid(reason: impl ToString) -> Rejection {
    Rejection::InvalidSnapshot { reason: reason.to_string() }
}

/// Names every field, so that a new one is thought of here.
fn sweep_part(sweep: &Sweep, ranks: &Ranks) -> SweepPart {
    let Sweep {
        plan,
        state,
        stages,
        trials,
        submitted_at,
        ended_at,
        share,
        // Worked out from plan, stages and trials.
        tally: _,
        stages_ended: _,
        lane_steps: _,
        lane_steps_ended: _,
        forgotten: _,
        // Of this life.
        leased: _,
        computed: _,
        leases: _,
        workers: _,
        last_turn: _,
    } = sweep;
    let mut runs: Vec<(u32, u32)> = vec![];
    for rank in stages.iter().map(|stage| ranks.stages[stage.index()]) {
        match runs.last_mut() {
            Some((first, count)) if *first + *count == rank => *count += 1,
            _ => runs.push((rank, 1)),
        }
    }
    let letter = |trial: &TrialState| match trial {
        TrialState::Open => 'o',
        TrialState::Ended => 'e',
        TrialState::Cancelled => 'c',
    };
    SweepPart {
        plan: Arc::clone(plan),
        state: state.clone(),
        submitted_at: *submitted_at,
        ended_at: *ended_at,
        share: *share,
        trials: trials.iter().map(letter).collect(),
        stages: runs,
    }
}

/// The same of a stage.
fn stage_part(stage: &Stage, rank: u32) -> StagePart {
    let Stage {
        width_limit,
        trouble,
        checkpoint,
        state,
        // Worked out from the plans.
        home: _,
        position: _,
        shared_with: _,
        children: _,
        trials: _,
        wanted: _,
        runs_for: _,
        class: _,
        // Of this life.
        elsewhere: _,
        attempt: _,
    } = stage;
    let outcome = if let StageState::Ended(outcome) = state { Some(outcome.unpack()) } else { None };
    // What failed before it completed explains nothing any more.
    let (width_limit, trouble) = if stage.has_completed() { (UNLIMITED, &None) } else { (*width_limit, trouble) };
    StagePart {
        stage: rank,
        outcome,
        width_limit: (width_limit != UNLIMITED).then_some(width_limit),
        trouble: trouble.clone(),
        checkpoint: checkpoint.clone(),
    }
}

/// Whether it is as when it was new, as far as a snapshot goes.
const fn is_new(stage: &Stage) -> bool {
    !stage.is_ended() && stage.width_limit == UNLIMITED && stage.trouble.is_none() && stage.checkpoint.is_none()
}

impl Part {
    /// The sweep that it is about, if it is about one.
    #[must_use]
    pub fn sweep(&self) -> Option<&SweepId> {
        if let Self::Sweep(part) = self { Some(&part.plan.sweep.id) } else { None }
    }
}

impl Snapshot<'_> {
    /// As lines of the journal.
    #[must_use]
    pub fn lines(&self, at: Timestamp) -> Vec<String> {
        self.entries(at).flat_map(Entry::into_lines).collect()
    }

    /// The same, some lines at a time, each made when it is asked for: together they may take more memory than all else.
    pub fn parts(&self, at: Timestamp) -> impl Iterator<Item = Vec<String>> + Send {
        let mut lines = self.entries(at).flat_map(Entry::into_lines);
        std::iter::from_fn(move || {
            let (mut part, mut size) = (vec![], 0);
            while size < AT_ONCE
                && let Some(line) = lines.next()
            {
                size += line.len();
                part.push(line);
            }
            (!part.is_empty()).then_some(part)
        })
    }

    /// As entries of the journal, each made when it is asked for.
    pub(super) fn entries(&self, at: Timestamp) -> impl Iterator<Item = Entry> + Send {
        let mut stages = self.stages().map(|(stage, rank)| stage_part(stage, *rank)).peekable();
        let stages = std::iter::from_fn(move || {
            stages.peek()?;
            Some(Part::Stages(stages.by_ref().take(TOGETHER).collect()))
        });
        let sweeps = self.sweeps().map(|sweep| Part::Sweep(sweep_part(sweep, &self.ranks)));
        let parts = std::iter::once(Part::Begin(self.counts())).chain(sweeps).chain(stages);
        parts.chain([Part::End {}]).map(move |part| Entry::new(at, Record::Snapshot(part)))
    }

    fn counts(&self) -> Counts {
        let sweeps = self.sweeps().count();
        Counts {
            life: self.core.life,
            forgotten: self.core.forgotten + (self.core.sweeps.len() - sweeps) as u64,
            sweeps,
            stages: self.stages().count(),
        }
    }

    fn sweeps(&self) -> impl Iterator<Item = &Sweep> {
        self.core.sweeps.iter().filter(|sweep| !sweep.forgotten)
    }

    fn stages(&self) -> impl Iterator<Item = (&Stage, &u32)> {
        let ranked = self.core.stages.iter().zip(&self.ranks.stages);
        ranked.filter(|(stage, _)| self.core.is_known(stage) && !is_new(stage))
    }
}

/// A snapshot that is being read.
#[derive(Debug)]
pub(super) struct Restoring {
    counts: Counts,
    sweeps: Vec<SweepPart>,
    stages: Vec<Standing>,
}

/// How a stage stands, as the core keeps it.
#[derive(Debug)]
struct Standing {
    stage: u32,
    outcome: Option<Packed>,
    width_limit: u32,
    trouble: Option<Box<Trouble>>,
    checkpoint: Option<Box<Checkpoint>>,
}
