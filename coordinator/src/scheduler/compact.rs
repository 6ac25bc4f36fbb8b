//! Which entries of a journal are needed so that the same core comes of it, and whether two cores say the same.
//!
//! Pure. What it leaves out is proved by the comparison, not by the rules here: who compacts a journal compares.

use std::collections::{HashMap, HashSet};

use secateur_proto::ids::{StageKey, SweepId};

use super::{
    core::{Core, Sweep},
    record::{Entry, Record},
    stage::Stage,
};

/// Stages of a sweep, and the halts of it that may turn out not to matter.
struct Halts {
    stages: HashSet<StageKey>,
    /// Positions of the entries that took it from running to where it is.
    since_running: Vec<usize>,
    /// Whether one of its stages ended or was opened again meanwhile.
    ended_meanwhile: bool,
}

/// For each entry whether it must stay. Not needed are:
///
/// - failed attempts at stages that have ended since;
/// - checkpoints of stages that have ended since, and those that a later one of the same stage took the place of;
/// - a sweep's part of the workers that was changed again;
/// - a stop or a cancellation with the resumption after it, and a stop with the cancellation after it, if none of the sweep's stages
///   ended in between: what ends while a sweep is halted ends its trial only later.
///
/// Beginnings of lives all stay: their number is part of every lease id, and no id may come back.
#[must_use]
pub fn needed(entries: &[Entry]) -> Vec<bool> {
    let mut needed = vec![true; entries.len()];
    let mut failed: HashMap<StageKey, Vec<usize>> = HashMap::new();
    let mut sweeps: HashMap<&SweepId, Halts> = HashMap::new();
    let mut shares: HashMap<&SweepId, usize> = HashMap::new();
    let mut checkpoints: HashMap<StageKey, usize> = HashMap::new();
    for (position, entry) in entries.iter().enumerate() {
        match &entry.record {
            Record::Started => {}
            Record::SweepSubmitted { plan } => {
                let stages = plan.stages.iter().map(|stage| stage.key).collect();
                sweeps.insert(&plan.sweep.id, Halts { stages, since_running: vec![], ended_meanwhile: false });
            }
            Record::SweepStopped { sweep, .. } | Record::SweepCancelled { sweep } => {
                if let Some(halts) = sweeps.get_mut(sweep) {
                    if !halts.ended_meanwhile {
                        halts.since_running.drain(..).for_each(|halt| needed[halt] = false);
                    }
                    halts.since_running.push(position);
                }
            }
            Record::SweepResumed { sweep } => {
                if let Some(halts) = sweeps.get_mut(sweep) {
                    halts.since_running.push(position);
                    let matters = std::mem::take(&mut halts.ended_meanwhile);
                    halts.since_running.drain(..).for_each(|halt| needed[halt] = matters);
                }
            }
            Record::SweepShareChanged { sweep, .. } => {
                if let Some(before) = shares.insert(sweep, position) {
                    needed[before] = false;
                }
            }
            Record::StageEnded { stage, .. } => {
                failed.remove(stage).into_iter().flatten().for_each(|attempt| needed[attempt] = false);
                checkpoints.remove(stage).into_iter().for_each(|checkpoint| needed[checkpoint] = false);
                let halted = sweeps.values_mut().filter(|halts| !halts.since_running.is_empty());
                halted.for_each(|halts| halts.ended_meanwhile |= halts.stages.contains(stage));
            }
            // What was known of its stages is not compared any more; submitted again, it is another sweep.
            Record::SweepForgotten { sweep } => {
                shares.remove(sweep);
                if let Some(halts) = sweeps.remove(sweep) {
                    for stage in &halts.stages {
                        failed.remove(stage);
                        checkpoints.remove(stage);
                    }
                }
            }
            // A stage that is opened again is as if it had never been tried.
            Record::StagesReopened { stages } => {
                let halted = sweeps.values_mut().filter(|halts| !halts.since_running.is_empty());
                halted.for_each(|halts| {
                    halts.ended_meanwhile |= stages.iter().any(|stage| halts.stages.contains(stage));
                });
            }
            Record::Checkpointed { stage, .. } => {
                if let Some(before) = checkpoints.insert(*stage, position) {
                    needed[before] = false;
                }
            }
            Record::AttemptFailed { stage, .. } => failed.entry(*stage).or_default().push(position),
        }
    }
    needed
}

impl Core {
    /// Whether both were restored from journals that say the same. How often a stage that has ended had failed does not matter.
    #[must_use]
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        self.life == other.life
            && self.classes == other.classes
            && self.sweeps.iter().map(durable_sweep).eq(other.sweeps.iter().map(durable_sweep))
            && self.stages.iter().map(durable_stage).eq(other.stages.iter().map(durable_stage))
    }
}

/// All of it but what is of a life. Names every field, so that a new one is thought of here.
fn durable_sweep(sweep: &Sweep) -> impl PartialEq {
    let Sweep {
        plan,
        state,
        stages,
        trials,
        tally,
        stages_ended,
        lane_steps,
        lane_steps_ended,
        submitted_at,
        ended_at,
        leased: _,
        computed: _,
        forgotten,
        share,
        leases: _,
        workers: _,
        last_turn: _,
    } = sweep;
    let counts = (*tally, *stages_ended, *lane_steps, *lane_steps_ended);
    (plan, state, stages, trials, counts, *submitted_at, *ended_at, *forgotten, *share)
}

/// The same of a stage.
fn durable_stage(stage: &Stage) -> impl PartialEq {
    let Stage {
        home,
        position,
        shared_with,
        children,
        trials,
        wanted,
        runs_for: _,
        class,
        width_limit,
        trouble,
        checkpoint,
        elsewhere: _,
        attempt: _,
        state,
    } = stage;
    let failures = (!stage.is_ended()).then_some((*width_limit, trouble));
    let identity = (*home, *position, shared_with, children, trials);
    (identity, *wanted, *class, failures, checkpoint, state)
}
