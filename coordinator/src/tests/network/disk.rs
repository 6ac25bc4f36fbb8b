//! The real journal, of which each operation is done at one moment of the simulation, and which dies where it is told to.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

use async_trait::async_trait;

use super::{hosts::COORDINATOR, scene::Scene};
use crate::journal::{Journal, JournalError, Line, Place};

/// Where the coordinator dies at its next write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crash {
    BeforeWrite,
    AfterWrite,
}

/// Tells the thread that waits for a future.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Does what waits for a thread of its own and for nothing in the simulation, whose time stands still meanwhile.
pub(super) fn at_once<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// A journal that is looked at.
#[derive(Debug)]
pub(super) struct Watched {
    journal: Box<dyn Journal>,
    scene: Arc<Scene>,
}

impl Watched {
    pub(super) fn new(journal: Box<dyn Journal>, scene: Arc<Scene>) -> Self {
        Self { journal, scene }
    }
}

#[async_trait]
impl Journal for Watched {
    fn place(&self) -> &Place {
        self.journal.place()
    }

    async fn read(&mut self, take: &mut (dyn FnMut(Line) + Send)) -> Result<Option<String>, JournalError> {
        let mut lines = vec![];
        let stopped = at_once(self.journal.read(&mut |line| lines.push(line)))?;
        self.scene.read(&lines, stopped.clone());
        lines.into_iter().for_each(take);
        Ok(stopped)
    }

    async fn append(&mut self, entries: Vec<String>) -> Result<(), JournalError> {
        let crash = self.scene.take_crash();
        if crash != Some(Crash::BeforeWrite) {
            at_once(self.journal.append(entries.clone()))?;
            self.scene.written(&entries);
        }
        match crash {
            None => Ok(()),
            // Whoever waits for this write waits until the host crashes, which is at the end of this step.
            Some(_) => {
                self.scene.ends(COORDINATOR);
                std::future::pending().await
            }
        }
    }

    async fn identity(&mut self, _: &str) -> Result<String, JournalError> {
        // The same in each life of a simulation.
        at_once(self.journal.identity("0123456789ab"))
    }

    fn next(&self) -> i64 {
        self.journal.next()
    }

    async fn begin_at(&mut self, first: i64) -> Result<(), JournalError> {
        let crash = self.scene.take_crash();
        if crash != Some(Crash::BeforeWrite) {
            at_once(self.journal.begin_at(first))?;
            self.scene.shortened(usize::try_from(self.journal.next() - first).expect("a number of lines"));
        }
        match crash {
            None => Ok(()),
            Some(_) => {
                self.scene.ends(COORDINATOR);
                std::future::pending().await
            }
        }
    }

    async fn confirm(&mut self) -> Result<(), JournalError> {
        at_once(self.journal.confirm())
    }

    async fn copy_aside(&mut self) -> Result<String, JournalError> {
        at_once(self.journal.copy_aside())
    }

    async fn replace(self: Box<Self>, entries: Vec<String>) -> Result<(), JournalError> {
        at_once(self.journal.replace(entries))
    }

    async fn close(self: Box<Self>) -> Result<(), JournalError> {
        at_once(self.journal.close())
    }
}
