//! What goes into the core and what comes out of it, and the words of both: plain data. Knows none of the parts that keep state.

mod effect;
mod event;
mod policy;
mod rejection;
mod share;
mod sweep_state;
mod timestamp;

pub(super) use self::share::is_false;
pub use self::{
    effect::Effect,
    event::{Departure, Event, HeldLease},
    policy::Policy,
    rejection::Rejection,
    share::{Share, ShareChange},
    sweep_state::SweepState,
    timestamp::Timestamp,
};
