//! Lane-steps per second by bundle width: the gain of training K nets in lockstep, for dense and for pruned nets, with
//! a mask and a penalty as in configs/credit-180.yaml. Run it with `cargo bench --profile dev -p secateur-worker`, on
//! the device in SECATEUR_BENCH_DEVICE (default: the processor). With a number of lanes and a number of steps after
//! `--` it only runs these steps of that sweep's pruned net, for a profiler that counts instructions. With `lenet`
//! after `--` it prints the rates of LeNet-300-100 on digits only, with SGD, or with Adam after `adam`, for comparison
//! with PyTorch by lenet_300_100.py.
#![expect(clippy::print_stdout, reason = "printing numbers is what it is for")]

use std::{
    env,
    process::{Command, ExitCode},
    time::Duration,
};

use secateur_proto::{
    ids::{ContentHash, StageKey},
    spec::{
        Activation, DenseSpec, Granularity, ModelSpec, OptimizerSpec, PruneSpec, Ranking, RegularizationKind,
        RegularizationSpec, Removal, Schedule, StageSpec, Start, Subject, TrainingSpec,
    },
};
use secateur_worker::{
    device::DeviceName,
    executor::process::SURROUNDINGS,
    train::measure::{self, Rate},
};

fn training(batch_size: u32) -> TrainingSpec {
    TrainingSpec {
        optimizer: OptimizerSpec::Adam { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.0 },
        batch_size,
        epochs: 1,
        ..TrainingSpec::default()
    }
}

fn a_key() -> StageKey {
    StageKey(ContentHash::of(b"benchmark"))
}

fn dense(model: ModelSpec, batch_size: u32) -> StageSpec {
    StageSpec::Dense(DenseSpec {
        prepare: a_key(),
        model,
        training: training(batch_size),
        regularization: None,
        stop_after: None,
        seed: 0,
    })
}

fn pruned(model: ModelSpec, batch_size: u32) -> StageSpec {
    StageSpec::Prune(PruneSpec {
        prepare: a_key(),
        subject: Subject::Dense { stage: a_key() },
        layers: model.prunable(),
        model,
        criterion: None,
        granularity: Granularity::Weight,
        ranking: Ranking::Raw,
        removal: Removal::Global { count: 0, caps: None },
        ablation: None,
        start: Start::Scored {},
        schedule: Schedule::OneShot,
        training: training(batch_size),
        skip_steps: 0,
        regularization: Some(RegularizationSpec {
            kind: RegularizationKind::L1Subgradient,
            strength: 1e-5,
            warm_up_epochs: 0,
            healing_epochs: 0,
        }),
        seed: 0,
    })
}

/// As in configs/lenet-mnist.yaml, dense, with SGD or Adam.
fn lenet_300_100(adam: bool) -> StageSpec {
    let (activation, batch_norm) = (Activation::Relu, false);
    let model = ModelSpec::Mlp { inputs: 784, hidden: vec![300, 100], outputs: 10, activation, batch_norm };
    let sgd = OptimizerSpec::Sgd { lr: 0.1, momentum: 0.9, weight_decay: 5e-4, nesterov: false };
    let optimizer = if adam { training(100).optimizer } else { sgd };
    StageSpec::Dense(DenseSpec {
        prepare: a_key(),
        model,
        training: TrainingSpec { optimizer, ..training(100) },
        regularization: None,
        stop_after: None,
        seed: 0,
    })
}

/// Runs itself again with the environment of an executor, since libraries read it when they are loaded. Not under a
/// profiler, which only follows the process that it started.
fn main() -> ExitCode {
    let is_profiled = !numbers().is_empty();
    if is_profiled || SURROUNDINGS.iter().all(|(name, value)| env::var(name).is_ok_and(|found| found == *value)) {
        run();
        return ExitCode::SUCCESS;
    }
    let program = env::current_exe().expect("it has a name");
    let status = Command::new(program).args(env::args().skip(1)).envs(SURROUNDINGS).status().expect("it starts");
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The numbers on the command line.
fn numbers() -> Vec<usize> {
    env::args().filter_map(|argument| argument.parse().ok()).collect()
}

fn run() {
    let name: DeviceName =
        env::var("SECATEUR_BENCH_DEVICE").map_or(Ok(DeviceName::Cpu), |name| name.parse()).expect("a device");
    let device = name.open().expect("the device is there");
    if let [lanes, steps] = numbers()[..] {
        let mut trial = measure::Trial::new(&pruned(ModelSpec::mlp(56, vec![64, 32]), 256), &device).expect("a net");
        trial.begin(lanes);
        (0..steps).for_each(|_| trial.step());
        return;
    }
    let asked = |word: &str| env::args().any(|argument| argument == word);
    if asked("lenet") {
        for rate in measure::rates(&lenet_300_100(asked("adam")), &device, Duration::from_secs(3)) {
            println!("{} {}", rate.lanes, rate.lane_steps_per_second);
        }
        return;
    }
    println!("on {name}");
    println!("{:<22} {:>6} {:>5} {:>6} {:>14} {:>10}", "net", "", "batch", "K", "lane-steps/s", "vs K = 1");
    for (inputs, hidden, batch_size) in [(56, vec![64, 32], 256), (23, vec![64, 32], 256), (784, vec![300, 100], 60)] {
        let name = format!("{inputs}-{}-1", hidden.iter().map(u32::to_string).collect::<Vec<_>>().join("-"));
        let model = ModelSpec::mlp(inputs, hidden);
        for (kind, spec) in [("dense", dense(model.clone(), batch_size)), ("pruned", pruned(model.clone(), batch_size))]
        {
            let rates = measure::rates(&spec, &device, Duration::from_millis(1500));
            for Rate { lanes, lane_steps_per_second } in
                rates.iter().filter(|rate| rate.lanes.trailing_zeros() % 2 == 0)
            {
                let ratio = lane_steps_per_second / rates[0].lane_steps_per_second;
                println!("{name:<22} {kind:>6} {batch_size:>5} {lanes:>6} {lane_steps_per_second:>14.0} {ratio:>9.2}x");
            }
        }
    }
}
