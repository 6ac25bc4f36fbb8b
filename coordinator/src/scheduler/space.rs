//! Disks that are full. That is nobody's failed attempt, and what has been computed is kept.
//!
//! What a worker has no room for goes to another one, and the worker gets nothing for a while. While the coordinator has too little room,
//! or a worker cannot hand in a result for want of it, nothing more is handed out; what is under way goes on. Where nobody can make up for
//! anybody, on one machine, the sweeps that want the stage stop instead, until a person submits them again.

use secateur_proto::{
    ids::{StageKey, WorkerId},
    outcome::Failure,
};

use super::{
    core::{Core, Step},
    event::{Effect, Rejection, SweepState, Timestamp},
    record::Record,
    stage::{StageNumber, WorkerNumber},
};

/// What is full is said again within seconds. What was not for longer has room, or its worker is gone.
const SAID_AGAIN_MS: u64 = 15_000;

/// That the coordinator has no room for results, while nothing is handed out for that.
#[derive(Debug, Clone, Copy)]
pub(super) struct Full {
    /// When that was last so.
    pub(super) since: Timestamp,
    /// Whose result was said to wait; nothing where the coordinator found out itself.
    stage: Option<StageNumber>,
    /// Bytes of the largest file that found none.
    wanted: u64,
}

impl Core {
    /// A stage could not be done, since the disk of the worker that leases it is full.
    pub(super) fn no_room(
        &mut self,
        step: &mut Step,
        stage: StageNumber,
        worker: WorkerNumber,
        failure: &Failure,
    ) -> Result<(), Rejection> {
        if self.policy.quarantine_after.is_none() {
            let name = self.workers.get(&worker).map_or("?", |worker| worker.name.as_str());
            let reason = format!("on worker {name}: {}: free some, then run the same command again", failure.message);
            self.stop_sweeps_of(step, stage, &reason)?;
        }
        self.hand_back(stage, &mut step.decision.effects);
        self.try_elsewhere(stage, worker, None);
        Ok(())
    }

    fn stop_sweeps_of(&mut self, step: &mut Step, stage: StageNumber, reason: &str) -> Result<(), Rejection> {
        let sweeps = self.stages[stage.index()].sweeps().map(|sweep| &self.sweeps[sweep.index()]);
        let running = sweeps.filter(|sweep| sweep.state == SweepState::Running);
        for sweep in running.map(|sweep| sweep.plan.sweep.id.clone()).collect::<Vec<_>>() {
            self.write(step, Record::SweepStopped { sweep, reason: reason.to_owned() })?;
        }
        Ok(())
    }

    /// A person says that things were put right: workers whose disks were full are tried again.
    pub(super) fn room_was_made(&mut self) {
        let full = self.workers.iter_mut();
        let full = full.filter_map(|(number, worker)| worker.health.is_tried_again().then_some(*number));
        for number in full.collect::<Vec<_>>() {
            self.wake(number);
        }
    }

    /// A worker keeps a result for which the coordinator has no room.
    pub(super) fn result_waits(
        &mut self,
        step: &mut Step,
        worker: &WorkerId,
        stage: &StageKey,
        bytes: u64,
    ) -> Result<(), Rejection> {
        let number = self.number_of(worker)?;
        let entry = self.stage_number(stage).ok_or(Rejection::UnknownStage(*stage))?;
        self.progressed(step.now, number, stage);
        if self.stages[entry.index()].is_ended() {
            return Ok(());
        }
        self.fills_up(step, Some(entry), bytes);
        Ok(())
    }

    /// The coordinator looked whether there is enough room on its disk.
    pub(super) fn room_checked(&mut self, step: &mut Step, is_enough: bool) {
        match &self.full {
            Some(Full { stage: None, .. }) if is_enough => self.has_room(step),
            _ if is_enough => {}
            _ => self.fills_up(step, None, 0),
        }
    }

    fn fills_up(&mut self, step: &mut Step, stage: Option<StageNumber>, bytes: u64) {
        let wanted = bytes.max(self.room_wanted());
        if self.full.replace(Full { since: step.now, stage, wanted }).is_none() {
            step.decision.effects.push(Effect::Full(true));
        }
    }

    /// Bytes of the largest file that was said to find no room since nothing is handed out; its worker may be gone.
    #[must_use]
    pub fn room_wanted(&self) -> u64 {
        self.full.map_or(0, |full| full.wanted)
    }

    fn has_room(&mut self, step: &mut Step) {
        self.full = None;
        step.decision.effects.push(Effect::Full(false));
        self.ready.everything_is_new();
    }

    /// Whether nothing is handed out, since the coordinator has no room for results.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.full.is_some()
    }

    /// Hands work out again once the result that was said to wait has come, or is not said to wait any more.
    pub(super) fn look_for_room(&mut self, step: &mut Step) {
        let Some(Full { since, stage, .. }) = self.full else { return };
        let has_come = stage.is_some_and(|stage| self.stages[stage.index()].is_ended());
        if has_come || step.now.since(since) > SAID_AGAIN_MS {
            self.has_room(step);
        }
    }
}
