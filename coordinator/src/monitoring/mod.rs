//! What a coordinator tells a monitoring system: metrics for Prometheus, on a port of their own.
//!
//! `counters` counts what happens, as it happens; the driver and the services call it. Everything else is read when it
//! is asked for, through [`Queries`](crate::queries::Queries).

mod counters;
mod endpoint;
mod exposition;
mod process;

pub(crate) use self::counters::Direction;
pub use self::{counters::Counters, endpoint::serve, exposition::Monitor};
