//! Snapshots: all durable state as a few lines of the journal. A replay begins at a snapshot, so the cost of a start
//! depends on the current state, not on history. Pure: the shell decides when to take one and what happens to the lines
//! before it.
//!
//! Only the states of sweeps and stages are written. Everything else (which sweeps list a stage, what waits for it, all
//! counts) is derived from the plans, so it cannot contradict them. Of forgotten sweeps only the count is written:
//! sweeps and stages are renumbered in the same order.

use std::sync::Arc;

use super::{
    Ledger,
    restoring::{Restoring, Standing},
    stage::{Stage, StageState, UNLIMITED},
    sweep::{Sweep, TrialState},
};
use crate::scheduler::{
    journal::{Counts, Entry, ExtensionPart, Part, Record, StagePart, SweepPart},
    message::{Packed, Rejection, Timestamp},
    numbers::StageNumber,
};

/// Stages in one line: about ten thousand bytes, so that lines do not fragment memory.
const STAGES_PER_LINE: usize = 50;

/// Bytes of lines that are returned together.
const BATCH_BYTES: usize = 1 << 20;

/// All durable state, borrowed. Lines are copied only when they are about to be written.
#[derive(Debug)]
pub struct Snapshot<'ledger> {
    ledger: &'ledger Ledger,
    ranks: Ranks,
}

/// The numbers of sweeps and stages if forgotten ones are not counted.
#[derive(Debug)]
pub(super) struct Ranks {
    pub(super) sweeps: Vec<u32>,
    pub(super) stages: Vec<u32>,
}

impl Ranks {
    pub(super) fn of(ledger: &Ledger) -> Self {
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
        let sweeps = count(&mut ledger.sweeps.iter().map(|sweep| !sweep.forgotten));
        Self { sweeps, stages: count(&mut ledger.stages.iter().map(is_known)) }
    }
}

/// Whether a sweep lists the stage.
fn is_known(stage: &Stage) -> bool {
    *stage.state() != StageState::Forgotten
}

impl Ledger {
    pub(in crate::scheduler) fn snapshot(&self) -> Snapshot<'_> {
        Snapshot { ledger: self, ranks: Ranks::of(self) }
    }

    /// Records since the last snapshot.
    pub(in crate::scheduler) const fn since_snapshot(&self) -> u64 {
        self.since_snapshot
    }

    /// The number of known stages.
    pub(in crate::scheduler) fn stage_count(&self) -> u64 {
        self.index.len() as u64
    }

    /// Notes that the snapshot is in the journal.
    pub(in crate::scheduler) const fn snapshot_taken(&mut self) {
        self.since_snapshot = 0;
    }

    /// Whether the last lines were an incomplete snapshot that nothing came before.
    pub(in crate::scheduler) const fn lacks_the_end_of_a_snapshot(&self) -> bool {
        self.life == 0 && self.restoring.is_some()
    }

    /// Every known stage.
    pub(super) fn known_stages(&self) -> impl Iterator<Item = (StageNumber, &Stage)> {
        self.stages().filter(|(_, stage)| is_known(stage))
    }

    /// The number of forgotten sweeps.
    pub(super) fn forgotten_sweeps(&self) -> u64 {
        self.forgotten + self.sweeps.iter().filter(|sweep| sweep.forgotten).count() as u64
    }

    /// Part of `apply`. The last part of a snapshot replaces the whole ledger.
    pub(super) fn read_part(&mut self, part: &Part) -> Result<(), Rejection> {
        let early = || invalid("its first line is missing");
        match part {
            Part::Begin(counts) => {
                // The counts are not trusted, but for usual sizes all memory is reserved at the start.
                let stages = Vec::with_capacity(counts.stages.min(1 << 20));
                self.restoring = Some(Box::new(Restoring { counts: *counts, sweeps: vec![], stages }));
            }
            Part::Sweep(sweep) => self.restoring.as_mut().ok_or_else(early)?.sweeps.push((sweep.clone(), vec![])),
            Part::Extension(extension) => {
                let last = self.restoring.as_mut().ok_or_else(early)?.sweeps.last_mut();
                let last = last.filter(|(sweep, _)| sweep.plan.sweep.id == extension.part.sweep.id);
                let (_, extensions) = last.ok_or_else(|| invalid("a part of a plan does not follow its sweep"))?;
                extensions.push(extension.clone());
            }
            Part::Stages(stages) => {
                let restoring = self.restoring.as_mut().ok_or_else(early)?;
                restoring.stages.extend(stages.iter().map(|stage| Standing {
                    stage: stage.stage,
                    outcome: stage.outcome.as_ref().map(Packed::new),
                    width_limit: stage.width_limit.unwrap_or(UNLIMITED),
                    failures: stage.failures.clone(),
                    checkpoint: stage.checkpoint.clone(),
                }));
            }
            Part::End {} => {
                let restoring = self.restoring.take().ok_or_else(early)?;
                let counts = restoring.counts;
                *self = restoring.ledger(self.faults).inspect_err(|_| {
                    // It still has no end, so the lines before it are not lost.
                    self.restoring = Some(Box::new(Restoring { counts, sweeps: vec![], stages: vec![] }));
                })?;
            }
        }
        Ok(())
    }

    /// Part of `apply`: a record that is not part of a snapshot follows. An incomplete snapshot is ignored, unless
    /// nothing else is known.
    pub(super) fn leave_snapshot(&mut self) -> Result<(), Rejection> {
        if self.lacks_the_end_of_a_snapshot() {
            return Err(invalid("its last line is missing"));
        }
        self.restoring = None;
        Ok(())
    }
}

pub(super) fn invalid(reason: impl ToString) -> Rejection {
    Rejection::InvalidSnapshot { reason: reason.to_string() }
}

/// The durable state of a sweep. Names every field, so that a new field is considered here.
fn sweep_part(sweep: &Sweep, ranks: &Ranks) -> SweepPart {
    let Sweep {
        plan,
        open,
        state,
        stages,
        trials,
        submitted_at,
        ended_at,
        submitted_by,
        cancelled_by,
        share,
        // Derived from plan, stages and trials.
        listed_again: _,
        tally: _,
        stages_ended: _,
        lane_steps: _,
        lane_steps_ended: _,
        forgotten: _,
        generation: _,
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
        plan: Arc::clone(plan.first()),
        open: *open,
        state: state.clone(),
        submitted_at: *submitted_at,
        ended_at: *ended_at,
        submitted_by: submitted_by.clone(),
        cancelled_by: cancelled_by.clone(),
        share: *share,
        trials: trials.iter().map(letter).collect(),
        stages: runs,
    }
}

/// The durable state of a stage.
fn stage_part(stage: &Stage, rank: u32) -> StagePart {
    let Stage {
        width_limit,
        failures,
        // Derived from the plans.
        home: _,
        position: _,
        shared_with: _,
        children: _,
        trials: _,
        wanted: _,
        class: _,
        // The state is below.
        ..
    } = stage;
    let outcome = stage.outcome().map(Packed::unpack);
    // Failures before completion are not needed any more.
    let (width_limit, failures) = if stage.has_completed() { (UNLIMITED, &None) } else { (*width_limit, failures) };
    StagePart {
        stage: rank,
        outcome,
        width_limit: (width_limit != UNLIMITED).then_some(width_limit),
        failures: failures.clone(),
        checkpoint: stage.checkpoint().map(|checkpoint| Box::new(*checkpoint)),
    }
}

/// Whether the snapshot can leave it out, because it has no state of its own.
fn is_new(stage: &Stage) -> bool {
    !stage.is_ended() && stage.width_limit == UNLIMITED && stage.failures.is_none() && stage.checkpoint().is_none()
}

impl Snapshot<'_> {
    /// Returns all lines of the journal.
    #[must_use]
    pub fn lines(&self, at: Timestamp) -> Vec<String> {
        self.entries(at).flat_map(Entry::into_lines).collect()
    }

    /// Returns lines of the journal in batches, each made on demand: together they may need more memory than all else.
    pub fn parts(&self, at: Timestamp) -> impl Iterator<Item = Vec<String>> + Send {
        let mut lines = self.entries(at).flat_map(Entry::into_lines);
        std::iter::from_fn(move || {
            let (mut part, mut size) = (vec![], 0);
            while size < BATCH_BYTES
                && let Some(line) = lines.next()
            {
                size += line.len();
                part.push(line);
            }
            (!part.is_empty()).then_some(part)
        })
    }

    /// Returns entries of the journal, each made on demand.
    pub(in crate::scheduler) fn entries(&self, at: Timestamp) -> impl Iterator<Item = Entry> + Send {
        let mut stages = self.stages().map(|(stage, rank)| stage_part(stage, *rank)).peekable();
        let stages = std::iter::from_fn(move || {
            stages.peek()?;
            Some(Part::Stages(stages.by_ref().take(STAGES_PER_LINE).collect()))
        });
        let sweeps = self.sweeps().flat_map(|sweep| {
            let extensions = sweep.plan.with_times().skip(1);
            let extensions = extensions.map(|(part, added_at)| ExtensionPart { part: Arc::clone(part), added_at });
            std::iter::once(Part::Sweep(sweep_part(sweep, &self.ranks))).chain(extensions.map(Part::Extension))
        });
        let parts = std::iter::once(Part::Begin(self.counts())).chain(sweeps).chain(stages);
        parts.chain([Part::End {}]).map(move |part| Entry::new(at, Record::Snapshot(part)))
    }

    fn counts(&self) -> Counts {
        Counts {
            life: self.ledger.life,
            forgotten: self.ledger.forgotten_sweeps(),
            sweeps: self.sweeps().count(),
            stages: self.stages().count(),
        }
    }

    fn sweeps(&self) -> impl Iterator<Item = &Sweep> {
        self.ledger.sweeps().map(|(_, sweep)| sweep)
    }

    fn stages(&self) -> impl Iterator<Item = (&Stage, &u32)> {
        let ranked = self.ledger.stages.iter().zip(&self.ranks.stages);
        ranked.filter(|(stage, _)| is_known(stage) && !is_new(stage))
    }
}
