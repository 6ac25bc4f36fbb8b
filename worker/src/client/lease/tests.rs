use std::{
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use secateur_proto::v1::Measured;
use tokio::sync::watch;

use super::*;
use crate::store::Durability;

/// When the executor of a test dies.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Death {
    /// Never.
    Never,
    /// After its answer, and visibly.
    Idle,
    /// After its answer, and only the next request fails.
    Unseen,
}

/// Starts executors that answer measurements.
#[derive(Debug)]
struct Scripted {
    deaths: Vec<Death>,
    started: AtomicUsize,
}

#[derive(Debug)]
struct Played {
    death: Death,
    answered: bool,
}

fn died() -> ProcessError {
    ProcessError::Died { status: "killed".to_owned(), words: String::new(), out_of_memory: false }
}

impl Executors for Scripted {
    fn start(&self, _: &ExecutorOptions) -> Result<Box<dyn Executor>, ProcessError> {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(Played { death: self.deaths[number], answered: false }))
    }
}

#[async_trait]
impl Executor for Played {
    async fn send(&mut self, _: Request) -> Result<(), ProcessError> {
        if self.answered && self.death != Death::Never { Err(died()) } else { Ok(()) }
    }

    async fn receive(&mut self) -> Result<Reply, ProcessError> {
        self.answered = true;
        Ok(Reply::Measured(Measured { lanes: 4, ..Measured::default() }))
    }

    async fn ended(&mut self) -> Option<ProcessError> {
        (self.answered && self.death == Death::Idle).then(died)
    }

    fn outputs(&self) -> Option<&Path> {
        None
    }
}

/// A measurement has no attempt that could fail. Stages are sent to executors in the same way.
#[tokio::test]
async fn an_executor_that_died_idle_fails_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Arc::new(Store::open(folder.path(), Durability::Cached).expect("opens"));
    let cache = Arc::new(Cache::open(store, None).expect("opens"));
    let (_hurry, hurried) = watch::channel(());
    let options = ExecutorOptions {
        store: folder.path().to_owned(),
        synced: false,
        apart: false,
        device: "cpu".parse().expect("a device"),
        checkpoint_every: None,
        hurry: hurried,
    };
    let deaths = vec![Death::Idle, Death::Unseen, Death::Never];
    let executors = Arc::new(Scripted { deaths, started: AtomicUsize::new(0) });
    let slots = Slots::new(Arc::clone(&executors) as Arc<dyn Executors>, options, 1, cache);
    for expected in [1, 2, 3, 3] {
        let request = Calibrate { bundle_class: "class".to_owned(), stage: None };
        let calibrated = calibrate(request, &slots).await;
        assert_eq!(calibrated.map(|calibrated| calibrated.lanes).ok(), Some(4));
        assert_eq!(executors.started.load(Ordering::Relaxed), expected);
    }
}
