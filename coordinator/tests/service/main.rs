//! Tests of a coordinator that need no worker: hostile clients, artifact stores, readers given mutated input, and standard output.

#[path = "../common/mod.rs"]
mod common;

mod extend;
mod fuzz;
mod hostile;
mod output;
mod silence;
mod stores;
