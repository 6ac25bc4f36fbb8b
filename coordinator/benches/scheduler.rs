//! Stages per second through the scheduler core, with workers that do no work, and the memory that its state takes.
//!
//! `cargo bench --profile dev -p secateur --bench scheduler`: two layers of stages, 8 workers of 4 slots, bundles of 1 and of 16. A stage is
//! leased, reported and followed by whatever it unblocks; what the core says is looked at and thrown away. The journal and the
//! wire are not in these numbers.
#![expect(clippy::print_stdout, reason = "printing numbers is what it is for")]

use std::{
    collections::VecDeque,
    error::Error,
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use secateur::{
    scheduler::{Core, Decision, Effect, Event, Policy, Rejection, SweepState, Timestamp},
    sweep::plan::{DataSummary, Plan, PlannedStage, SweepInfo, Trial},
};
use secateur_proto::{
    ids::{ContentHash, InvalidId, StageKey},
    outcome::{Artifacts, StageOutcome, StageResult},
    spec::{
        DenseSpec, Initialization, LearningRateSchedule, ModelSpec, OptimizerSpec, PrepareSpec, SelectBy, SplitSpec,
        StageSpec, TableFormat, Task, TrainingSpec,
    },
};

const WORKERS: u32 = 8;
const SLOTS: u32 = 4;

fn main() -> Result<(), Box<dyn Error>> {
    println!(
        "{:>9} {:>6} {:>12} {:>13} {:>16} {:>16}",
        "stages", "lanes", "stages/s", "us/stage", "core B/stage", "plan B/stage"
    );
    for stages in [50_000, 200_000] {
        for lanes in [1, 16] {
            let before = resident();
            let plan = Arc::new(plan(stages)?);
            let planned = resident();
            let (elapsed, core) = run(&plan, lanes)?;
            let run = resident();
            let done = core.sweep(&plan.sweep.id).ok_or("the sweep is gone")?;
            if done.state != SweepState::Completed || done.trials_completed != done.trials {
                return Err(format!("not all was done: {done:?}").into());
            }
            let bytes = |from: Option<u64>, to: Option<u64>| match (from, to) {
                (Some(from), Some(to)) => (to.saturating_sub(from) / stages).to_string(),
                _ => "unknown".to_owned(),
            };
            let seconds = elapsed.as_secs_f64();
            println!(
                "{stages:>9} {lanes:>6} {:>12.0} {:>13.2} {:>16} {:>16}",
                stages as f64 / seconds,
                seconds * 1e6 / stages as f64,
                bytes(planned, run),
                bytes(before, planned)
            );
        }
    }
    Ok(())
}

/// Runs all stages of a plan to completion.
fn run(plan: &Arc<Plan>, lanes: u32) -> Result<(Duration, Core), Box<dyn Error>> {
    let mut shell = Shell { core: Core::new(Policy::default()), now: 0, effects: VecDeque::new() };
    let begun = Instant::now();
    shell.apply(&Event::Started)?;
    shell.apply(&Event::SweepSubmitted { plan: Arc::clone(plan) })?;
    for number in 0..WORKERS {
        let (worker, instance) = (format!("w{number}").parse()?, format!("i{number}").parse()?);
        let slots = NonZeroU32::new(SLOTS).ok_or("no slots")?;
        let (name, device, held) = (String::new(), String::new(), vec![]);
        shell.apply(&Event::WorkerJoined { worker, instance, name, device, slots, held })?;
    }
    while let Some(effect) = shell.effects.pop_front() {
        match effect {
            Effect::Calibrate { worker, class, .. } => {
                let lanes = NonZeroU32::new(lanes).ok_or("no lanes")?;
                shell.apply(&Event::Calibrated { worker, class, lanes, lane_steps_per_second: 1.0 })?;
            }
            Effect::Lease { worker, lease, stages } => {
                for (stage, attempt) in stages {
                    let outcome = StageOutcome::Completed(StageResult::default());
                    let (worker, lease) = (worker.clone(), lease.clone());
                    shell.apply(&Event::StageReported { worker, lease, stage, attempt, outcome })?;
                }
                shell.apply(&Event::LeaseEnded { worker, lease, failure: None })?;
            }
            Effect::Revoke { .. } | Effect::Detach { .. } => return Err("nothing was to be taken back".into()),
            Effect::TrialEnded { .. } | Effect::SweepEnded { .. } => {}
        }
    }
    Ok((begun.elapsed(), shell.core))
}

struct Shell {
    core: Core,
    now: u64,
    effects: VecDeque<Effect>,
}

impl Shell {
    fn apply(&mut self, event: &Event) -> Result<(), Rejection> {
        self.now += 1;
        let Decision { records: _, effects } = self.core.apply(Timestamp(self.now), event)?;
        self.effects.extend(effects);
        Ok(())
    }
}

/// One prepare stage and dense ones below it, each a trial.
fn plan(stages: u64) -> Result<Plan, InvalidId> {
    let hash = ContentHash::of(b"table");
    let prepare = StageSpec::Prepare(PrepareSpec {
        table: hash,
        format: TableFormat::Csv,
        target: Some("y".to_owned()),
        task: Task::Binary,
        split: SplitSpec::Column { column: "part".to_owned() },
        rows: None,
        inputs: None,
        drop: vec![],
        groups: vec![],
    });
    let root = prepare.key();
    let dense = |seed| {
        StageSpec::Dense(DenseSpec {
            prepare: root,
            model: ModelSpec::mlp(10, vec![64, 32]),
            training: TrainingSpec {
                initialization: Initialization::Pytorch,
                lr_schedule: LearningRateSchedule::Constant,
                dropout: 0.0,
                optimizer: OptimizerSpec::Sgd { lr: 0.1, momentum: 0.0, weight_decay: 0.0, nesterov: false },
                batch_size: 256,
                epochs: 1,
                clip_gradient_norm: None,
                select_by: SelectBy::Auc,
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
    let mut plan = Plan {
        sweep: SweepInfo {
            name: "benchmark".to_owned(),
            id: "benchmark".parse()?,
            file_hash: hash,
            file_text: String::new(),
            objectives: vec![],
            constraints: vec![],
            data: DataSummary {
                path: "table.csv".to_owned(),
                hash,
                size: 1,
                rows: [1; 3],
                classes: vec![],
                columns: 10,
                inputs: 10,
                image: None,
            },
            weights: None,
        },
        stages: vec![planned(root, prepare, "prepare", false)?],
        cells: vec![],
        trials: vec![],
        merged: vec![],
        refused: vec![],
    };
    for seed in 1..stages {
        let spec = dense(seed);
        let key = spec.key();
        plan.stages.push(planned(key, spec, "dense", true)?);
        let (id, cell) = (format!("cell-{seed}").parse()?, "cell".parse()?);
        plan.trials.push(Trial { id, cell, seed, stages: vec![root, key] });
    }
    Ok(plan)
}

/// Bytes of memory that this process holds, where the system says so.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}
