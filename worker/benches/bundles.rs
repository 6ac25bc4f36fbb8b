//! Lane-steps per second by bundle width: how much is won by training K nets in lockstep. Run with
//! `cargo bench --profile dev -p secateur-worker`, on the device that SECATEUR_BENCH_DEVICE names, or else the processor.
#![expect(clippy::print_stdout, reason = "printing numbers is what it is for")]

use std::{env, time::Duration};

use secateur_proto::{
    ids::{ContentHash, StageKey},
    spec::{
        DenseSpec, Initialization, LearningRateSchedule, ModelSpec, OptimizerSpec, SelectBy, StageSpec, TrainingSpec,
    },
};
use secateur_worker::{device::DeviceName, train::measure};

fn main() {
    let name: DeviceName =
        env::var("SECATEUR_BENCH_DEVICE").map_or(Ok(DeviceName::Cpu), |name| name.parse()).expect("a device");
    let device = name.open().expect("the device is there");
    println!("on {name}");
    println!("{:<22} {:>5} {:>6} {:>14} {:>10}", "net", "batch", "K", "lane-steps/s", "vs K = 1");
    for (inputs, hidden, batch_size) in [(68, vec![64, 32], 256), (23, vec![64, 32], 256), (784, vec![300, 100], 60)] {
        let name = format!("{inputs}-{}-1", hidden.iter().map(u32::to_string).collect::<Vec<_>>().join("-"));
        let spec = StageSpec::Dense(DenseSpec {
            prepare: StageKey(ContentHash::of(b"benchmark")),
            model: ModelSpec::mlp(inputs, hidden),
            training: TrainingSpec {
                initialization: Initialization::Pytorch,
                lr_schedule: LearningRateSchedule::Constant,
                dropout: 0.0,
                optimizer: OptimizerSpec::Adam { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.0 },
                batch_size,
                epochs: 1,
                clip_gradient_norm: None,
                select_by: SelectBy::Auc,
            },
            regularization: None,
            stop_after: None,
            seed: 0,
        });
        let rates = measure::rates(&spec, &device, Duration::from_millis(1500));
        for rate in rates.iter().filter(|rate| [1, 4, 16, 64].contains(&rate.lanes)) {
            let ratio = rate.lane_steps_per_second / rates[0].lane_steps_per_second;
            println!("{name:<22} {batch_size:>5} {:>6} {:>14.0} {ratio:>9.2}x", rate.lanes, rate.lane_steps_per_second);
        }
    }
}
