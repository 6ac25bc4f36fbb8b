//! Shutting down: the worker as a whole, or one of its devices because the coordinator asked for it.

use std::{sync::Arc, time::Duration};

use tokio::sync::{Notify, watch};
use tracing::warn;

/// The time for the coordinator to confirm returned work at the end.
pub(super) const HAND_BACK: Duration = Duration::from_secs(5);

/// The phases of shutting down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Working,
    Draining,
    /// The grace period is over.
    Over,
}

/// Tells the loop of a device to shut down.
#[derive(Debug, Clone)]
pub(super) struct Stop {
    phase: watch::Receiver<Phase>,
    /// Changes when checkpoints are wanted soon.
    hurry: watch::Receiver<()>,
    grace: Duration,
    /// Notified when the coordinator asks the device to drain.
    ordered: Arc<Notify>,
}

/// Whoever tells them.
#[derive(Debug)]
pub(super) struct Stopping {
    phase: watch::Sender<Phase>,
    hurry: watch::Sender<()>,
}

/// Returns both ends.
pub(super) fn stop(grace: Duration) -> (Stopping, Stop) {
    let (phase, of_phase) = watch::channel(Phase::Working);
    let (hurry, hurried) = watch::channel(());
    let stop = Stop { phase: of_phase, hurry: hurried, grace, ordered: Arc::default() };
    (Stopping { phase, hurry }, stop)
}

impl Stopping {
    /// Enters a phase, unless it is behind already.
    fn enter(&self, phase: Phase) {
        let is_new = self.phase.send_if_modified(|now| {
            let is_later = phase > *now;
            *now = phase.max(*now);
            is_later
        });
        if is_new {
            // So that work returned after the grace period is not lost.
            self.hurry.send_replace(());
        }
    }

    /// Drains for `grace`, then waits until the coordinator has had time to confirm returned work.
    pub(super) async fn drain(&self, grace: Duration) {
        self.enter(Phase::Draining);
        tokio::time::sleep(grace).await;
        self.enter(Phase::Over);
        tokio::time::sleep(HAND_BACK).await;
    }

    /// Passes on what `worker` is told, and drains alone if the coordinator asks its device to. Returns if the
    /// coordinator does not confirm the returned work in time.
    pub(super) async fn follow(self, mut worker: Stop, device: Stop) {
        let passes_on = async {
            loop {
                worker.changes().await;
                self.enter(worker.phase());
            }
        };
        let drains = async {
            device.ordered.notified().await;
            self.drain(device.grace).await;
        };
        tokio::select! {
            biased;
            () = passes_on => {}
            () = drains => warn!("the coordinator does not confirm the returned work; the device ends anyway"),
        }
    }
}

impl Stop {
    /// The same for one device, which may shut down before the worker.
    pub(super) fn of_device(&self) -> (Stopping, Self) {
        let (stopping, stop) = stop(self.grace);
        stopping.enter(self.phase());
        (stopping, stop)
    }

    fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    pub(super) fn is_asked(&self) -> bool {
        self.phase() != Phase::Working
    }

    pub(super) fn is_over(&self) -> bool {
        self.phase() == Phase::Over
    }

    pub(super) const fn grace(&self) -> Duration {
        self.grace
    }

    /// Tells executors when checkpoints are wanted soon.
    pub(super) fn hurry(&self) -> watch::Receiver<()> {
        self.hurry.clone()
    }

    /// The coordinator asked the device to drain.
    pub(super) fn order(&self) {
        self.ordered.notify_one();
    }

    /// Waits for the next phase.
    pub(super) async fn changes(&mut self) {
        if self.phase.changed().await.is_err() {
            // The sender is gone.
            std::future::pending::<()>().await;
        }
    }
}
