//! Whole lives on a simulated network: the real servers and clients over the real gRPC stack, with the real journal, while links break
//! and hosts crash. Executors are played: they train nothing. A life is made of its number alone, so that any can be lived again:
//! `SECATEUR_NETWORK_LIFE=17`.
//!
//! turmoil runs each host on a thread-less runtime of its own, with simulated time, and lets all messages between them through its links.
//! Where production code works on a thread, the simulation does the same work at once, so that its time stands still meanwhile: each
//! operation of the journal ([`disk::at_once`]), and planning and reports (`on_a_thread` in `grpc`). Time and names that nobody else
//! has come from the simulation, too.
//!
//! # What is not simulated
//!
//! - Executors: see [`executor`]. Processes, their pipes and their deaths are tested where they run, in `tests/cluster/crashes.rs`.
//! - Disks: files are real ones, and written when they are written. A host that crashes keeps what it has written, and a coordinator
//!   dies before or after a write, never within.
//! - TLS, tokens in files, PostgreSQL, caches with a bound: they ask the system's clock, or work on threads.
//! - tokio begins a `select!` at a random place unless it is told not to, and has no seed for that. This project's own are told; the
//!   two of tonic's server choose between a connection and its end, which is never asked for here. `RandomState` has no seed
//!   either; nothing that is iterated over and said to anybody is in such a map. That a life is the same twice is tested.

mod disk;
mod executor;
mod hosts;
mod life;
mod lives;
mod scene;
mod wire;

use std::sync::{Arc, LazyLock};

use crate::{
    admission::{self, Input, Limits},
    cli::client::LocalSweep,
};

/// Four seeds of a net, each pruned in four ways: 21 stages, a handful for each worker. What fails by accident is tried again.
const FILE: &str = "\
version: 1
name: small
data:
  path: table.csv
  target: y
  task: binary
  split: {kind: stratified, train: 0.6, validation: 0.2, test: 0.2, seed: 42}
model: {kind: mlp, hidden: [4]}
training: {optimizer: {kind: adam, lr: 1.0e-2}, batch_size: 32, epochs: 4}
pruning:
  strategy: [magnitude, taylor]
  sparsity: [0.5, 0.8]
  retrain: {epochs: 2}
seeds: 4
controls: none
attempts: {executor: 6, out_of_memory: 10, storage: 10}
objectives: [{maximize: auc}, {minimize: nonzero_parameters}]
";

/// The sweep that is submitted in every life.
static SWEEP: LazyLock<LocalSweep> = LazyLock::new(|| {
    let rows = (0..60_u32).map(|row| format!("{}.5,{},{}\n", row * 7 % 31, row * 11 % 17, u8::from(row * 7 % 31 > 15)));
    let table: String = std::iter::once("a,b,y\n".to_owned()).chain(rows).collect();
    let admitted = admission::admit("sweep.yaml", FILE, Input::of(table.as_bytes()), None, Limits::NONE);
    let plan = admitted.unwrap_or_else(|problems| panic!("{problems}"));
    LocalSweep {
        file_name: "sweep.yaml".to_owned(),
        text: FILE.to_owned(),
        table: table.into_bytes().into(),
        weights: None,
        plan: Arc::new(plan),
    }
});
