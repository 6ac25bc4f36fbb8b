//! Tests of the whole program: a coordinator, workers and their executors, each a process of its own. Needs the feature `worker`.

#[path = "../common/mod.rs"]
mod common;

mod adaptive;
mod artifacts;
mod backup;
mod bucket;
mod certificates;
mod configuration;
mod crashes;
mod deploy;
mod diff;
mod digits;
mod fleet;
mod growing;
mod grpc;
mod identity;
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
mod verify;
