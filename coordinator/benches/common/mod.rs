//! Shared by the benchmarks: plans of any number of stages, whose results are made up.

#![allow(dead_code, reason = "each benchmark uses its part")]

use std::error::Error;

use secateur::experiment::plan::{Attempts, Cell, DataSummary, PackedPlan, Packer, PlannedStage, SweepInfo, Trial};
use secateur_proto::{
    ids::{CellId, ContentHash, InvalidId, StageKey},
    metrics::{Metric, Metrics, Split},
    outcome::{Artifact, Artifacts, Role, StageOutcome, StageResult},
    spec::{
        DataSettings, DenseSpec, ModelSpec, OptimizerSpec, PrepareSpec, SplitSpec, StageSpec, TableFormat, Task,
        TrainingSpec,
    },
};

/// The allocator of the program, since memory is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Returns a plan of one prepare stage and `stages - 1` dense stages that read it. Each dense stage is a trial of one cell.
pub(crate) fn plan(stages: u64) -> Result<PackedPlan, Box<dyn Error>> {
    plan_in_cells(stages, stages)
}

/// The same with `trials` trials in each cell.
pub(crate) fn plan_in_cells(stages: u64, trials: u64) -> Result<PackedPlan, Box<dyn Error>> {
    let hash = ContentHash::of(b"table");
    let prepare = StageSpec::Prepare(PrepareSpec {
        table: hash,
        data: DataSettings::of_table(
            TableFormat::Csv,
            "y",
            Task::Binary,
            SplitSpec::Column { column: "part".to_owned() },
        ),
    });
    let root = prepare.key();
    let dense = |seed| {
        StageSpec::Dense(DenseSpec {
            prepare: root,
            model: ModelSpec::mlp(10, vec![64, 32]),
            training: TrainingSpec {
                optimizer: OptimizerSpec::Sgd { lr: 0.1, momentum: 0.0, weight_decay: 0.0, nesterov: false },
                batch_size: 256,
                epochs: 1,
                ..TrainingSpec::default()
            },
            regularization: None,
            stop_after: None,
            seed,
        })
    };
    let planned = |key: StageKey, spec, class: &str, bundled| {
        let (given, bundle_class) = (Artifacts::new(), class.parse()?);
        Ok::<_, InvalidId>(PlannedStage { key, spec, given, bundle_class, bundled, lane_steps: 100 })
    };
    let sweep = SweepInfo {
        decision: None,
        name: "benchmark".to_owned(),
        id: "benchmark".parse()?,
        file_hash: hash,
        file_text: String::new(),
        objectives: vec![],
        constraints: vec![],
        attempts: Attempts::default(),
        data: DataSummary {
            path: "table.csv".to_owned(),
            hash,
            size: 1,
            rows: [1; 3],
            classes: vec![],
            columns: 10,
            inputs: 10,
            image: None,
            periods: None,
            notes: vec![],
        },
        weights: None,
        adaptive: None,
        rounds: vec![],
    };
    let mut packer = Packer::default();
    packer.stage(&planned(root, prepare, "prepare", false)?)?;
    for seed in 1..stages {
        let spec = dense(seed);
        let key = spec.key();
        packer.stage(&planned(key, spec, "dense", true)?)?;
        let cell: CellId = format!("cell{}", seed / trials).parse()?;
        packer.trial(&Trial { id: format!("{cell}-{seed}").parse()?, cell, seed, stages: vec![root, key] })?;
    }
    for number in 0..stages.div_ceil(trials) {
        packer.cell(&Cell {
            id: format!("cell{number}").parse()?,
            settings: [
                ("pruning.strategy".to_owned(), ["magnitude", "taylor", "random"][number as usize % 3].into()),
                ("pruning.scope".to_owned(), "global".into()),
                ("pruning.sparsity".to_owned(), (number as f64 / stages as f64).into()),
                ("regularization.strength".to_owned(), (number as f64 * 1e-9).into()),
            ]
            .into(),
            control: None,
            dense_control: None,
            random_control: None,
            scratch_control: None,
            other_controls: std::collections::BTreeMap::new(),
            prunable_weights: 10_000,
            removed_weights: Some(number),
        });
    }
    Ok(packer.finish(sweep))
}

/// A result of usual size.
pub(crate) fn completed() -> StageOutcome {
    let mut metrics = Metrics::new();
    for (metric, value) in [(Metric::Auc, 0.812_345_678_9), (Metric::Brier, 0.123_456_789), (Metric::LogLoss, 0.4)] {
        metrics.insert(metric.on(Split::Validation), value);
        metrics.insert(metric.on(Split::Test), value);
    }
    metrics.insert(Metric::NonzeroParameters.on(Split::Test), 2_177.0);
    let artifact = |role: Role| (role, Artifact { hash: ContentHash::of(role.name().as_bytes()), size: 9_000 });
    let artifacts = [Role::Checkpoint, Role::Plan, Role::Mask].map(artifact).into();
    StageOutcome::Completed(StageResult { metrics, artifacts })
}

/// The memory of this process in bytes, now (`VmRSS:`) or at its peak (`VmHWM:`), if the system reports it.
pub(crate) fn memory(which: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(which))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// Workers and slots of each: a handful, and a cluster.
pub(crate) const FLEETS: [(u32, u32); 2] = [(8, 4), (200, 64)];
