//! The scheduler core: pure. Events go in; records to write and effects to carry out come out.
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
//! - The `ledger` is durable: which sweeps there are, how stages ended, which attempts failed. It changes by one
//!   [`Record`] at a time, and returns the changes. It knows no worker, no lease and no policy, so replaying a journal
//!   cannot depend on them.
//! - The `fleet` holds the attached workers: their leases, widths and health. It is in no record.
//! - `ready` holds the place of each open stage: idle, in a queue, or leased. It is derived from the ledger and follows
//!   its changes.
//!
//! Each part alone changes its own state. [`Core`] composes them; while an event is applied, a `Step` borrows each of
//! them, and the reactors decide. [`Core::restore`] only calls `Ledger::apply` for each entry of the journal, or of a
//! [`Snapshot`] and the entries after it. [`Event::Started`] derives the rest. The tests check at every prefix that the
//! result equals the live core.
//!
//! A record is a fact without policy: a changed [`Policy`] cannot change what a journal means.
//!
//! # What the shell must do
//!
//! 1. Restore the core from the journal, then apply [`Event::Started`] first of all. It begins a new *life*: one run of
//!    the coordinator process. The number of the life is part of every lease id, so a lease of an earlier life is never
//!    mistaken for one of this life. Where workers outlive the coordinator (`reattach_ms`), a life that finds unfinished
//!    sweeps leases nothing at first, so that workers can report the leases they hold.
//! 2. For each event: `apply`; append the records and fsync; only then carry out the effects, in order. If the records
//!    cannot be written, no effect may happen: write the same records later, or drop the core and restore it from the
//!    journal.
//! 3. Log and count a [`Rejection`]. It has changed nothing.
//! 4. Send [`Event::Tick`] several times within `worker_silence_ms`.
//!
//! Effects are not repeated after a crash. The views show what has ended.
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
//! Stages are global: sweeps with the same stage key share the stage, its attempts and its result. An ended stage never
//! reopens by itself; a person may reopen one that failed. A child of a stage that diverged or collapsed ends the same
//! way; a child of one that failed ends as `Failed{Upstream}`.
//!
//! A ready stage runs for one of the sweeps that want it. `turns` decides whose turn it is.
//!
//! # Attributing failures
//!
//! When an executor dies, nobody knows which lane crashed it. So a failed attempt in a bundle of several lanes never
//! counts towards `max_attempts`; it halves the width of the stage's next bundle. After at most log2(width) halvings
//! the stage runs alone, and only failures alone count. So a poisonous lane fails by itself and does not use up the
//! attempts of its neighbours. Each retry prefers another worker. A stage that crashes executors on several workers
//! fails permanently as poison. A worker is quarantined if consecutive bundles without a common stage fail on it
//! (`fleet/health.rs`).

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
        Departure, Effect, Event, HeldLease, Person, Policy, Rejection, Share, ShareChange, SweepState, Timestamp,
        TrialOutcome, WorkerAction,
    },
    view::{
        Overview, PlanPart, RunningSweep, StageCounts, StageDetail, StageFailure, StageStatus, SweepResults,
        SweepStatus, SweepsByState, TrialStatus, WorkerStatus, WorkersByState,
    },
};
