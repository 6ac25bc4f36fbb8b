//! The scheduler core: pure. Events go in; what has to be written and what has to be done come out.
//!
//! It knows nothing of tokio, tonic, SQL, files or clocks: `now` is an argument, and the journal, the streams to the workers
//! and the timer belong to the shell around it.
//!
//! ```text
//!            ┌──────────────────────────── Core ────────────────────────────┐
//! Event ───▶ │ apply: decide ──▶ Records ──▶ commit ──▶ dispatch ──▶ Effects │ ───▶ Decision { records, effects }
//!            └──────────────────────────────────▲───────────────────────────┘
//! journal ── Entry { at, record } ── restore ───┘
//! ```
//!
//! # Durable and volatile
//!
//! Durable is what is known of sweeps and stages: which sweeps there are, how stages ended, which attempts failed. It changes
//! in one function alone, `commit`, which takes one [`Record`]. Volatile is who is here and what they are doing: workers,
//! calibrations, leases, the queues. No record speaks of it, so replaying a journal cannot depend on it.
//! [`Core::restore`] is nothing but `commit` over the journal, or over a [`Snapshot`] and what follows it; that the replayed core equals the live one after
//! [`Event::Started`] follows from there being no other way to change what is durable, and the tests check it at every prefix.
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
//!  Waiting{missing} ──last parent completed──▶ Parked ◀──nobody wants it── Ready ──bundled──▶ Leased{lease, attempt}
//!        │                                        └────a sweep wants it────▶ ▲                     │ │
//!        │ a parent ended otherwise                                          └──attempt failed─────┘ │
//!        └───────────────────────────────▶ Ended(outcome) ◀── a result, from whatever attempt ───────┘
//! ```
//!
//! Stages are global: sweeps that hold the same key share the stage, its attempts and its result. An ended stage never opens
//! by itself; a person may open one again that failed. A child of a stage that diverged or collapsed ends the same way; of one that failed, as `Failed{Upstream}`.
//!
//! A ready stage runs for one of the sweeps that want it. Whose turn it is, is in `share`.
//!
//! # Whose failure it was
//!
//! When an executor dies nobody knows which lane killed it. A failed attempt in company therefore never counts towards
//! `max_attempts`; it halves the width of the stage's next bundle. After at most log2(width) of those the stage runs alone, and
//! only what fails alone counts. So a poisonous lane ends alone, and its neighbours cannot be dragged to the limit. It is tried on
//! another worker each time, if one is free; if it ends several of them, it ends as poison. A worker on which one bundle after the
//! other fails that have no stage in common gets nothing for a while (`health`).

mod attachment;
mod bundle;
mod commit;
mod core;
mod drain;
mod durable;
mod entry;
mod event;
mod forget;
mod health;
mod index;
mod invariants;
mod outcome;
pub(crate) mod planted;
mod queues;
mod record;
mod retry;
mod share;
mod snapshot;
mod space;
mod stage;
mod sweep;
mod trouble;
mod view;
mod workers;

#[cfg(test)]
pub(crate) mod tests;

pub use self::{
    core::Core,
    entry::{Entry, EntryReader, JOURNAL_VERSION, UnreadableEntry, entries},
    event::{Decision, Departure, Effect, Event, HeldLease, Policy, Rejection, SweepState, Timestamp},
    invariants::{InvariantId, InvariantViolation},
    record::{AttemptId, Record},
    share::{Share, ShareChange},
    snapshot::{Part, Snapshot},
    trouble::FailedAttempt,
    view::{StageDetail, StageStatus, SweepStatus, TrialStatus, WorkerStatus},
};
