//! Views of the core, for the gRPC layer, the progress bars and the report. They change nothing.

mod overview;
mod results;
mod stage;
mod sweep;
mod worker;

pub use self::{
    overview::{Overview, RunningSweep, SweepsByState, WorkersByState},
    results::{PlanPart, StageCounts, StageFailure, SweepResults},
    stage::{StageDetail, StageStatus},
    sweep::{SweepStatus, TrialStatus},
    worker::WorkerStatus,
};
