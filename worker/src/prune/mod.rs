//! Pruning: score the parameters, sort them, save the plan, execute the plan.
//!
//! Everything here is plain numbers on the host. Measurements of a net come through a [`probe::Probe`].

pub mod criteria;
pub mod plan;
pub mod probe;
pub mod schedule;
pub mod select;
pub mod sensitivity;
pub mod shrink;
