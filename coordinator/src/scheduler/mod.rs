//! The scheduler core: pure. Events go in; what has to be written and what has to be done come out.
//!
//! It knows nothing of tokio, tonic, SQL, files or clocks: `now` is an argument, and the journal, the streams to the workers
//! and the timer belong to the shell around it.
//!
//! ```text
//! Event ──▶ reactor ── Record ──▶ Ledger::apply ── Change ──▶ Ready, Fleet ──▶ dispatch ──▶ Decision { records, effects }
//!                                      ▲
//! journal ── Entry { at, record } ─────┘
//! ```
//!
//! # Three owners
//!
//! - The `ledger` is durable: which sweeps there are, how stages ended, which attempts failed. It changes by one [`Record`] at a time, and
//!   says what changed. It knows no worker, no lease and no policy, so replaying a journal cannot depend on them.
//! - The `fleet` is who is here and what they hold: workers, leases, widths, health. No record speaks of it.
//! - `ready` is where each open stage is: idle, in a queue, or with a lease. It is worked out from the ledger and follows its changes.
//!
//! Each alone changes what it owns. [`Core`] composes them; while an event is applied, a `Step` borrows each by itself, and the
//! reactors decide. [`Core::restore`] is nothing but `Ledger::apply` over the journal, or over a [`Snapshot`] and
//! what follows it; [`Event::Started`] works out the rest. The tests check at every prefix that this is what the live core says.
//!
//! A record is a fact, with no policy in it: a changed [`Policy`] cannot change what a journal says.
//!
//! # What the shell must do
//!
//! 1. Restore the core from the journal, then apply [`Event::Started`] first of all: it begins a new *life*, whose number is
//!    part of every lease id, so that a lease of an earlier life is never taken for one of this life. Where workers outlive the
//!    coordinator (`reattach_ms`), a life that finds unfinished sweeps hands nothing out at first: whoever works on a stage may say so.
//! 2. For each event: `apply`; append the records and fsync; only then carry out the effects, in order. If the records cannot
//!    be written, no effect may happen: write the same records later, or drop the core and restore it from the journal.
//! 3. Log and count a [`Rejection`]. It changed nothing.
//! 4. Send [`Event::Tick`] several times within `worker_silence_ms`.
//!
//! Effects are not repeated after a crash. What was announced and what was not can be read from the views.
//!
//! # The life of a stage
//!
//! ```text
//!                         durable: the ledger
//!  Waiting{missing} ──last parent completed──▶ Open{checkpoint} ──a result, the last attempt failed──▶ Ended(outcome)
//!        │                                      ▲                                                        │ ▲
//!        │                                      └───────────────── a person opens it again ──────────────┘ │
//!        └──────────────────────────────────────── a parent ended otherwise ───────────────────────────────┘
//!
//!                         of this life, while it is open: ready
//!  Idle ◀──nobody wants it── Queued{sweep} ──bundled──▶ Leased{lease, attempt}
//!    └─────a sweep wants it────▶ ▲                          │
//!                                └──── attempt failed ──────┘
//! ```
//!
//! The edges of both are tables, in `ledger/stage.rs` and `ready/mod.rs`; each has one writer.
//!
//! Stages are global: sweeps that hold the same key share the stage, its attempts and its result. An ended stage never opens
//! by itself; a person may open one again that failed. A child of a stage that diverged or collapsed ends the same way; of one that failed, as `Failed{Upstream}`.
//!
//! A ready stage runs for one of the sweeps that want it. Whose turn it is, is in `turns`.
//!
//! # Whose failure it was
//!
//! When an executor dies nobody knows which lane killed it. A failed attempt in company therefore never counts towards
//! `max_attempts`; it halves the width of the stage's next bundle. After at most log2(width) of those the stage runs alone, and
//! only what fails alone counts. So a poisonous lane ends alone, and its neighbours cannot be dragged to the limit. It is tried on
//! another worker each time, if one is free; if it ends several of them, it ends as poison. A worker on which one bundle after the
//! other fails that have no stage in common is quarantined (`fleet/health.rs`).

mod core;
mod decision;
mod dispatch;
pub(crate) mod fault_injection;
mod fleet;
mod hold;
mod invariants;
mod journal;
mod ledger;
mod message;
mod numbers;
mod parts;
mod reactor;
mod ready;
mod turns;
mod view;

#[cfg(test)]
pub(crate) mod tests;

pub use self::{
    core::Core,
    decision::Decision,
    invariants::{InvariantId, InvariantViolation},
    journal::{AttemptId, Entry, EntryReader, FailedAttempt, JOURNAL_VERSION, Part, Record, UnreadableEntry, entries},
    ledger::snapshot::Snapshot,
    message::{
        Departure, Effect, Event, HeldLease, Policy, Rejection, Share, ShareChange, SweepState, Timestamp, TrialOutcome,
    },
    view::{
        PlanPart, StageCounts, StageDetail, StageFailure, StageStatus, SweepResults, SweepStatus, TrialStatus,
        WorkerStatus,
    },
};
