//! Tests of the whole program: a coordinator, workers and their executors, each a process of its own. Needs the feature `worker`.

#[path = "../common/mod.rs"]
mod common;

mod artifacts;
mod bucket;
mod crashes;
mod deploy;
mod diff;
mod digits;
mod growing;
mod grpc;
mod images;
mod inputs;
mod journal;
mod logs;
mod main_job;
mod rare;
mod recompute;
mod references;
mod results;
mod security;
mod space;
mod standby;
mod storm;
