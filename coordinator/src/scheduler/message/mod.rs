//! Input and output of the core, and their types: plain data, independent of the parts that keep state.

mod effect;
mod event;
mod packed;
mod person;
mod policy;
mod rejection;
mod share;
mod sweep_state;
mod timestamp;

pub use self::{
    effect::Effect,
    event::{Departure, Event, HeldLease, WorkerAction},
    packed::TrialOutcome,
    person::Person,
    policy::Policy,
    rejection::Rejection,
    share::{Share, ShareChange},
    sweep_state::SweepState,
    timestamp::Timestamp,
};
pub(super) use self::{packed::Packed, share::is_false};
