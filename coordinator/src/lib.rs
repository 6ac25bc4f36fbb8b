//! The coordinator of Secateur.

pub mod report;
pub mod scheduler;
pub mod sweep;
