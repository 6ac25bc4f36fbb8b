//! Stages per second through the scheduler core, with workers that do not train, and the memory of its state.
//!
//! `cargo bench --profile dev -p secateur --bench scheduler` runs two layers of stages with a handful of workers and
//! with a cluster, in bundles of 1 and of 16. Stages are leased and reported, which unblocks further stages; the core's
//! decisions are checked and discarded. Journal and network are not included.
#![expect(clippy::print_stdout, reason = "printing numbers is what it is for")]

mod common;

use std::{
    collections::VecDeque,
    error::Error,
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use common::{FLEETS, completed, memory, plan};
use secateur::{
    experiment::plan::PackedPlan,
    scheduler::{Core, Decision, Effect, Event, Policy, Rejection, ShareChange, SweepState, Timestamp},
};

fn main() -> Result<(), Box<dyn Error>> {
    println!(
        "{:>9} {:>6} {:>8} {:>6} {:>12} {:>13} {:>16} {:>16}",
        "stages", "lanes", "workers", "slots", "stages/s", "us/stage", "core B/stage", "plan B/stage"
    );
    for fleet in FLEETS {
        for stages in [50_000, 200_000] {
            for lanes in [1, 16] {
                measure(stages, lanes, fleet)?;
            }
        }
    }
    Ok(())
}

fn measure(stages: u64, lanes: u32, fleet: (u32, u32)) -> Result<(), Box<dyn Error>> {
    let before = memory("VmRSS:");
    let plan = Arc::new(plan(stages)?);
    let planned = memory("VmRSS:");
    let (elapsed, core) = run(&plan, lanes, fleet)?;
    let run = memory("VmRSS:");
    let done = core.sweep(&plan.sweep.id).ok_or("the sweep is gone")?;
    if done.state != SweepState::Completed || done.trials_completed != done.trials {
        return Err(format!("not all was done: {done:?}").into());
    }
    let bytes = |from: Option<u64>, to: Option<u64>| match (from, to) {
        (Some(from), Some(to)) => (to.saturating_sub(from) / stages).to_string(),
        _ => "unknown".to_owned(),
    };
    let (seconds, (workers, slots)) = (elapsed.as_secs_f64(), fleet);
    println!(
        "{stages:>9} {lanes:>6} {workers:>8} {slots:>6} {:>12.0} {:>13.2} {:>16} {:>16}",
        stages as f64 / seconds,
        seconds * 1e6 / stages as f64,
        bytes(planned, run),
        bytes(before, planned)
    );
    Ok(())
}

/// Runs all stages of a plan to completion.
fn run(plan: &Arc<PackedPlan>, lanes: u32, (workers, slots): (u32, u32)) -> Result<(Duration, Core), Box<dyn Error>> {
    let mut shell = Shell { core: Core::new(Policy::default()), now: 0, effects: VecDeque::new() };
    let begun = Instant::now();
    shell.apply(&Event::Started)?;
    shell.apply(&Event::SweepSubmitted {
        plan: Arc::clone(plan),
        share: ShareChange::default(),
        open: false,
        by: None,
    })?;
    for number in 0..workers {
        let (worker, instance) = (format!("w{number}").parse()?, format!("i{number}").parse()?);
        let slots = NonZeroU32::new(slots).ok_or("no slots")?;
        let (name, device, held) = (String::new(), String::new(), vec![]);
        shell.apply(&Event::WorkerJoined { worker, instance, name, device, slots, held, cordoned_by: None })?;
    }
    while let Some(effect) = shell.effects.pop_front() {
        match effect {
            Effect::Calibrate { worker, class, .. } => {
                let lanes = NonZeroU32::new(lanes).ok_or("no lanes")?;
                shell.apply(&Event::Calibrated { worker, class, lanes, lane_steps_per_second: 1.0 })?;
            }
            Effect::Lease { worker, lease, stages } => {
                for (stage, attempt) in stages {
                    let outcome = completed();
                    let (worker, lease) = (worker.clone(), lease.clone());
                    shell.apply(&Event::StageReported { worker, lease, stage, attempt, outcome })?;
                }
                shell.apply(&Event::LeaseEnded { worker, lease, failure: None })?;
            }
            Effect::Revoke { .. }
            | Effect::Detach { .. }
            | Effect::Full(_)
            | Effect::Cordon { .. }
            | Effect::Drain { .. } => {
                return Err("nothing was to be taken back or held up".into());
            }
            Effect::TrialEnded { .. } | Effect::SweepEnded { .. } | Effect::Quarantined { .. } => {}
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
