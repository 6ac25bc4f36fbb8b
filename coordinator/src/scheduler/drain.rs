//! Sweeps that drain: nothing more of them is handed out, and they are given up once what is under way for them has ended. That a sweep
//! drains is a part of its [share](super::share), and durable.

use secateur_proto::ids::SweepId;

use super::{
    core::{Core, Step, not_running},
    event::{Rejection, SweepState},
    record::Record,
    share::Share,
    stage::{StageNumber, SweepNumber},
    sweep::Sweep,
};

impl Core {
    /// A sweep that does not run is given up at once: nothing is under way for it.
    pub(super) fn begin_drain(&mut self, step: &mut Step, sweep: &SweepId) -> Result<(), Rejection> {
        let number = *self.sweep_numbers.get(sweep).ok_or_else(|| Rejection::UnknownSweep(sweep.clone()))?;
        match self.state_of(sweep)? {
            SweepState::Running => {
                self.set_drains(step, number, true)?;
                self.end_drains(step)
            }
            SweepState::Stopped { .. } => self.write(step, Record::SweepCancelled { sweep: sweep.clone() }),
            SweepState::Cancelled => Ok(()),
            state @ SweepState::Completed => Err(not_running(sweep, state)),
        }
    }

    /// Says whether a running sweep drains.
    pub(super) fn set_drains(&mut self, step: &mut Step, number: SweepNumber, drains: bool) -> Result<(), Rejection> {
        let share = Share { drains, ..self.sweeps[number.index()].share };
        self.set_another_share(step, number, share)
    }

    /// Gives up the sweeps that drain and of which no stage is with a worker any more, for whichever sweep it is. Not while workers may
    /// still say what they hold.
    pub(super) fn end_drains(&mut self, step: &mut Step) -> Result<(), Rejection> {
        if self.waiting_since.is_some() {
            return Ok(());
        }
        let over = self.sweeps.iter().filter(|sweep| sweep.is_draining() && sweep.leased == 0);
        for sweep in over.map(|sweep| sweep.plan.sweep.id.clone()).collect::<Vec<_>>() {
            self.write(step, Record::SweepCancelled { sweep })?;
        }
        Ok(())
    }

    /// Whether a running sweep that does not drain wants a stage.
    pub(super) fn gets_work(&self, stage: StageNumber) -> bool {
        let mut sweeps = self.stages[stage.index()].sweeps().map(|sweep| &self.sweeps[sweep.index()]);
        sweeps.any(|sweep| sweep.state == SweepState::Running && !sweep.share.drains)
    }
}

impl Sweep {
    /// Whether it runs on what is under way alone.
    pub(super) fn is_draining(&self) -> bool {
        self.share.drains && self.state == SweepState::Running
    }
}
