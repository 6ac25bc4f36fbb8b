//! The worker of Secateur: prepares data, trains and prunes nets, and serves a coordinator with it.

pub mod data;
pub mod metrics;
