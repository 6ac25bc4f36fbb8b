//! What is counted as it happens. It knows no services and no queries.

use std::time::Duration;

use prometheus_client::{
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};
use secateur_proto::{ids::StageKey, outcome::StageOutcome};

use crate::scheduler::Record;

/// One label with a value of a small set.
pub(super) type Label = [(&'static str, &'static str); 1];

/// Bounds of the histogram of widths, in lanes. Widths are powers of two, or what is left.
const LANES: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// Bounds of the histogram of writes to the journal, in seconds: from memory of a disk to a disk that fails.
const APPENDS: [f64; 11] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];

/// Where bytes of files go, seen from the coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// To the coordinator.
    Received,
    /// To a worker or a person.
    Sent,
}

/// The counters of one coordinator. Clones share their state.
#[derive(Debug, Clone)]
pub struct Counters {
    attempts: Family<Label, Counter>,
    attempts_started: Family<Label, Counter>,
    bundle_lanes: Histogram,
    lane_steps: Counter,
    journal_append: Histogram,
    journal_lines: Counter,
    artifact_bytes: Family<Label, Counter>,
    hooks: Family<Label, Counter>,
}

impl Default for Counters {
    fn default() -> Self {
        // All series exist from the start, at 0, so that rates are right from the first event on.
        let of = |label: &'static str, values: &[&'static str]| {
            let family = Family::<Label, Counter>::default();
            values.iter().for_each(|value| drop(family.get_or_create(&[(label, *value)])));
            family
        };
        Self {
            attempts: of("outcome", &["completed", "diverged", "collapsed", "failed", "retried"]),
            attempts_started: of("again", &["false", "true"]),
            bundle_lanes: Histogram::new(LANES),
            lane_steps: Counter::default(),
            journal_append: Histogram::new(APPENDS),
            journal_lines: Counter::default(),
            artifact_bytes: of("direction", &["received", "sent"]),
            hooks: of("outcome", &["succeeded", "failed"]),
        }
    }
}

impl Counters {
    /// Counts what a record says. `lane_steps` returns the work of a stage.
    pub(crate) fn recorded(&self, record: &Record, lane_steps: impl Fn(&StageKey) -> u64) {
        let outcome = match record {
            Record::StageEnded { stage, outcome: StageOutcome::Completed(_) } => {
                self.lane_steps.inc_by(lane_steps(stage));
                "completed"
            }
            Record::StageEnded { outcome: StageOutcome::Diverged { .. }, .. } => "diverged",
            Record::StageEnded { outcome: StageOutcome::Collapsed { .. }, .. } => "collapsed",
            Record::StageEnded { .. } => "failed",
            Record::AttemptFailed { .. } => "retried",
            _ => return,
        };
        self.attempts.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// Counts a lease of stages with these attempt numbers.
    pub(crate) fn leased(&self, attempts: impl ExactSizeIterator<Item = u32>) {
        self.bundle_lanes.observe(attempts.len() as f64);
        for attempt in attempts {
            let again = if attempt > 1 { "true" } else { "false" };
            self.attempts_started.get_or_create(&[("again", again)]).inc();
        }
    }

    /// Counts lines that were made durable together.
    pub(crate) fn appended(&self, lines: usize, elapsed: Duration) {
        self.journal_append.observe(elapsed.as_secs_f64());
        self.journal_lines.inc_by(lines as u64);
    }

    /// Counts bytes of files.
    pub(crate) fn moved(&self, direction: Direction, bytes: usize) {
        let direction = match direction {
            Direction::Received => "received",
            Direction::Sent => "sent",
        };
        self.artifact_bytes.get_or_create(&[("direction", direction)]).inc_by(bytes as u64);
    }

    /// Counts a run of the command for ended sweeps.
    pub(crate) fn hook_ran(&self, has_succeeded: bool) {
        let outcome = if has_succeeded { "succeeded" } else { "failed" };
        self.hooks.get_or_create(&[("outcome", outcome)]).inc();
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "attempts",
            "Ended attempts by outcome: `retried` failed and is attempted again, `failed` is permanent",
            self.attempts.clone(),
        );
        registry.register(
            "attempts_started",
            "Attempts that were leased; again=\"true\" repeats a stage that was attempted before",
            self.attempts_started.clone(),
        );
        registry.register("bundle_lanes", "Stages in a lease", self.bundle_lanes.clone());
        registry.register(
            "lane_steps",
            "Optimiser steps of completed stages; its rate is the speed of the whole",
            self.lane_steps.clone(),
        );
        registry.register(
            "journal_append_seconds",
            "Time to make records durable in the journal",
            self.journal_append.clone(),
        );
        registry.register("journal_lines", "Lines written to the journal", self.journal_lines.clone());
        registry.register(
            "artifact_bytes",
            "Bytes of artifacts that passed through the coordinator; transfers to and from a bucket do not",
            self.artifact_bytes.clone(),
        );
        registry.register("sweep_end_hooks", "Runs of the command of --on-sweep-end", self.hooks.clone());
    }
}
