//! The coordinator of Secateur: reads sweeps, plans them, hands stages to workers, keeps what happens, and reports.
//!
//! ARCHITECTURE.md says which module may know of what; a test holds them to it.

pub mod admission;
pub mod artifacts;
pub mod cli;
mod connections;
pub mod driver;
pub mod experiment;
pub mod garbage;
pub mod grpc;
pub mod journal;
pub mod logs;
pub mod queries;
pub mod report;
pub mod scheduler;
pub mod security;
pub mod server;

mod unfinished;
pub mod upkeep;

#[cfg(all(test, feature = "worker"))]
mod tests;
