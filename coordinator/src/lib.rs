//! The coordinator of Secateur: reads sweeps, plans them, hands stages to workers, keeps what happens, and reports.
//!
//! ARCHITECTURE.md says which module may know of what; a test holds them to it.

pub mod admission;
pub mod artifacts;
pub mod backup;
pub mod cli;
mod connections;
pub mod driver;
mod environment;
pub mod experiment;
pub mod garbage;
pub mod grpc;
pub mod identity;
pub mod journal;
pub mod logs;
pub mod monitoring;
mod proposer;
pub mod provision;
pub mod queries;
pub mod report;
pub mod scheduler;
pub mod security;
pub mod server;
mod sweep_end;

mod unfinished;
pub mod upkeep;

#[cfg(all(test, feature = "worker"))]
mod tests;
