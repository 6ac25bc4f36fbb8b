//! The executor: a child process of a worker that does one bundle at a time. A crash of it, or of a library in it, is a failed
//! attempt and not a dead worker.
//!
//! It speaks [`frame`]s on standard input and output, reads and writes files in the worker's store, and ends when its standard
//! input does: an executor never outlives its worker. It knows nothing of the network.

pub mod checkpoints;
mod ended;
mod evaluation;
pub mod frame;
pub mod process;
mod selection;
pub mod stages;
pub(crate) mod words;
mod workspace;

use std::{
    io::{self, BufReader, BufWriter, Read, Write},
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use secateur_proto::{
    convert::{InvalidMessage, StageWithInputs},
    outcome::Checkpoint,
    v1::{
        BundleDone, ExecutorReply, ExecutorRequest, Measured, StageCheckpoint, StageDone, WidthRate,
        executor_reply::Reply, executor_request::Request,
    },
};
use tracing::{debug, warn};

use self::{
    checkpoints::{Checkpoints, Pace},
    frame::FrameError,
    stages::{BundleEvent, Stages},
};
use crate::{
    device::{DeviceName, NoDevice},
    store::{Durability, Store, StoreError},
    train::measure,
};

/// How long each width is measured.
const MEASURE: Duration = Duration::from_millis(60);

/// What an executor is started with.
#[derive(Debug, Clone, clap::Args)]
pub struct ExecutorArguments {
    /// Folder of files by hash.
    #[arg(long)]
    pub store: PathBuf,
    /// Flush files to the disk.
    #[arg(long)]
    pub synced: bool,
    /// Folder for what it makes, instead of the store itself.
    #[arg(long)]
    pub outputs: Option<PathBuf>,
    /// Where to compute.
    #[arg(long)]
    pub device: DeviceName,
    /// How long after the last one checkpoints are taken; without it there are none.
    #[arg(long, value_parser = humantime::parse_duration)]
    pub checkpoint_every: Option<Duration>,
}

/// Why an executor ends before its input does.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// The device cannot be opened.
    #[error(transparent)]
    Device(#[from] NoDevice),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The worker cannot be talked to.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The worker sent something that is no request.
    #[error(transparent)]
    Message(#[from] InvalidMessage),
}

/// Serves the worker on standard input and output until its end.
///
/// # Errors
/// If the store or the device cannot be opened, or the worker sends nonsense.
pub fn main(arguments: &ExecutorArguments) -> Result<ExitCode, ExecutorError> {
    #[cfg(unix)]
    if let Err(error) = crate::signals::ignore_terminate() {
        warn!(%error, "SIGTERM will end this executor at once");
    }
    let durability = if arguments.synced { Durability::Synced } else { Durability::Cached };
    let store = Store::open(&arguments.store, durability)?;
    let store = match &arguments.outputs {
        Some(outputs) => store.with_outputs(outputs.clone()),
        None => store,
    };
    let pace = Pace { every: arguments.checkpoint_every, hurry: Arc::default() };
    let requests = read_requests(BufReader::new(io::stdin()), Arc::clone(&pace.hurry));
    let mut output = BufWriter::new(io::stdout().lock());
    let mut stages = Stages::new(store, arguments.device.open()?).at_pace(pace);
    for request in requests {
        serve(request?, &mut stages, &mut output)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads in a thread of its own, so that the end of the worker ends a training at once, and a bundle in training hears of a hurry.
fn read_requests(
    mut input: impl Read + Send + 'static,
    hurry: Arc<AtomicBool>,
) -> mpsc::Receiver<Result<ExecutorRequest, FrameError>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        loop {
            match frame::read::<ExecutorRequest>(&mut input) {
                Ok(Some(ExecutorRequest { request: Some(Request::Hurry(_)) })) => hurry.store(true, Ordering::Relaxed),
                Ok(Some(request)) => {
                    if sender.send(Ok(request)).is_err() {
                        return;
                    }
                }
                // Nobody is left to report to, and a bundle may be in training.
                Ok(None) => std::process::exit(0),
                Err(error) => {
                    // The receiver is gone only when the process is ending anyway.
                    let _ = sender.send(Err(error));
                    return;
                }
            }
        }
    });
    receiver
}

fn serve(request: ExecutorRequest, stages: &mut Stages, output: &mut impl Write) -> Result<(), ExecutorError> {
    match request.request.ok_or(InvalidMessage::Missing("request"))? {
        Request::Run(run) => {
            let bundle = run.stages.into_iter().map(StageWithInputs::try_from).collect::<Result<Vec<_>, _>>()?;
            let checkpoint = |of: StageCheckpoint| {
                let checkpoint = of.checkpoint.ok_or(InvalidMessage::Missing("checkpoint"))?;
                Ok((of.stage_key.parse()?, Checkpoint::try_from(checkpoint)?))
            };
            let checkpoints: Checkpoints =
                run.checkpoints.into_iter().map(checkpoint).collect::<Result<_, InvalidMessage>>()?;
            let mut sent = Ok(());
            let begun = Instant::now();
            stages.run(&bundle, &checkpoints, &mut |event| {
                let reply = match event {
                    BundleEvent::Progress(progress) => Reply::Progress(progress),
                    BundleEvent::Checkpointed(key, checkpoint) => Reply::Checkpointed(StageCheckpoint {
                        stage_key: key.to_string(),
                        checkpoint: Some(checkpoint.into()),
                    }),
                    BundleEvent::Done(key, outcome) => {
                        Reply::Done(StageDone { stage_key: key.to_string(), outcome: Some((&outcome).into()) })
                    }
                };
                if sent.is_ok() {
                    sent = send(output, reply);
                }
            });
            sent?;
            debug!(stages = bundle.len(), elapsed_us = begun.elapsed().as_micros(), "a bundle has ended");
            send(output, Reply::BundleDone(BundleDone {}))
        }
        // The thread that reads takes it in.
        Request::Hurry(_) => Ok(()),
        Request::Measure(request) => {
            let stage = StageWithInputs::try_from(request.stage.ok_or(InvalidMessage::Missing("stage"))?)?;
            let rates = measure::rates(&stage.spec, stages.device(), MEASURE);
            let best = measure::best(&rates);
            let narrow = |lanes: usize| u32::try_from(lanes).unwrap_or(u32::MAX);
            let reply = Measured {
                lanes: best.map_or(1, |best| narrow(best.lanes)),
                lane_steps_per_second: best.map_or(0.0, |best| best.lane_steps_per_second),
                rates: (rates.iter())
                    .map(|rate| WidthRate {
                        lanes: narrow(rate.lanes),
                        lane_steps_per_second: rate.lane_steps_per_second,
                    })
                    .collect(),
            };
            send(output, Reply::Measured(reply))
        }
    }
}

fn send(output: &mut impl Write, reply: Reply) -> Result<(), ExecutorError> {
    Ok(frame::write(output, &ExecutorReply { reply: Some(reply) })?)
}
