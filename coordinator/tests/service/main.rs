//! Tests of a coordinator that need no worker: hostile clients, artifact stores, and readers given mutated input.

#[path = "../common/mod.rs"]
mod common;

mod fuzz;
mod hostile;
mod stores;
