//! Tests devices in a child process, because a native library without a driver may end its process.
//!
//! The child is the subcommand `probe` of the same program. It answers with one line of JSON on its standard output.

use std::{
    io::{self, Write as _},
    path::Path,
    process::{ExitCode, ExitStatus, Stdio},
    time::Duration,
};

use clap::ValueEnum as _;
use secateur_proto::{
    ids::{ContentHash, StageKey},
    spec::{DenseSpec, ModelSpec, OptimizerSpec, StageSpec, TrainingSpec},
};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::{
    device::{Backend, DeviceName},
    executor::{process::child, words::tell_of_memory},
    train::measure,
};

/// The timeout of a child. A driver that compiles GPU programs needs seconds for each width.
const LONGEST: Duration = Duration::from_secs(300);

/// The measuring time of each width.
const MEASURE: Duration = Duration::from_millis(60);

/// The arguments of the child.
#[derive(Debug, Clone, clap::Args)]
pub struct ProbeArguments {
    /// List the devices that this backend finds.
    #[arg(long, conflicts_with = "device", required_unless_present = "device")]
    list: Option<Backend>,
    /// Test this device.
    #[arg(long)]
    device: Option<DeviceName>,
    /// Measure its speed, too.
    #[arg(long, requires = "device")]
    measure: bool,
}

/// The answer of the child.
#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Devices(Vec<String>),
    Works,
    Measured(DeviceReport),
    Refused(String),
}

/// A working device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceReport {
    /// Its name.
    pub name: String,
    /// Its description.
    pub description: String,
    /// Its memory, if known.
    pub memory_bytes: Option<u64>,
    /// The best width of bundle for [`MEASURED`].
    pub lanes: usize,
    /// Optimiser steps of one lane per second at that width, in one slot.
    pub lane_steps_per_second: f64,
}

/// The net and batch size for comparing devices.
pub const MEASURED: &str = "64-64-32-1, batches of 256";

/// Why a device cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The device is not available.
    #[error("{0}")]
    Refused(String),
    /// The child crashed.
    #[error("{what} cannot be used: the process that tested it ended with {status}{output}")]
    Died {
        /// What was tested.
        what: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its standard error.
        output: String,
    },
    /// The child died because the memory was full.
    #[error("{what} has no free memory; another process may be using it{output}")]
    Full {
        /// What was tested.
        what: String,
        /// The last lines of its standard error.
        output: String,
    },
    /// The child timed out.
    #[error("{what} cannot be used: it did not answer within {} s", LONGEST.as_secs())]
    Silent {
        /// What was tested.
        what: String,
    },
    /// The child cannot be started.
    #[error("cannot start a process to test {what}")]
    Start {
        /// What was tested.
        what: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The child sent an invalid answer.
    #[error("the process that tested {what} sent an invalid answer")]
    Nonsense {
        /// What was tested.
        what: String,
    },
}

/// The main function of the child.
#[must_use]
pub fn main(arguments: &ProbeArguments) -> ExitCode {
    let answer = match (arguments.list, arguments.device) {
        (Some(backend), _) => Answer::Devices(backend.devices().iter().map(DeviceName::to_string).collect()),
        (None, Some(device)) => try_out(device, arguments.measure),
        (None, None) => Answer::Devices(vec![]),
    };
    let written = serde_json::to_vec(&answer).map_err(io::Error::from);
    match written.and_then(|line| io::stdout().write_all(&line)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn try_out(name: DeviceName, measured: bool) -> Answer {
    let device = match name.open() {
        Ok(device) => device,
        Err(reason) => return Answer::Refused(reason.to_string()),
    };
    if !name.computes(&device) {
        return Answer::Refused(format!("{name} cannot be used: it multiplies incorrectly"));
    }
    if !measured {
        return Answer::Works;
    }
    let description = name.describe(&device);
    match measure::best(&measure::rates(&small_net(), &device, MEASURE)) {
        Some(best) => Answer::Measured(DeviceReport {
            name: name.to_string(),
            description: description.what,
            memory_bytes: description.memory,
            lanes: best.lanes,
            lane_steps_per_second: best.lane_steps_per_second,
        }),
        None => Answer::Refused(format!("{name} cannot be measured")),
    }
}

/// The net of [`MEASURED`].
fn small_net() -> StageSpec {
    StageSpec::Dense(DenseSpec {
        prepare: StageKey(ContentHash::of(b"measured")),
        model: ModelSpec::mlp(64, vec![64, 32]),
        training: TrainingSpec {
            optimizer: OptimizerSpec::Adam { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.0 },
            batch_size: 256,
            epochs: 1,
            ..TrainingSpec::default()
        },
        regularization: None,
        stop_after: None,
        seed: 0,
    })
}

/// The devices of this build that this machine has, by backend. `program` has the subcommand `probe`.
///
/// # Errors
/// One in place of each backend that cannot be tested.
pub async fn devices(program: &Path) -> Vec<Result<DeviceName, ProbeError>> {
    let mut found = Vec::new();
    for backend in Backend::built() {
        let value = backend.to_possible_value();
        let value = value.as_ref().map_or("", |value| value.get_name());
        match ask(program, value, &["--list", value]).await {
            Ok(Answer::Devices(names)) => found.extend(
                names.iter().map(|name| name.parse().map_err(|_| ProbeError::Nonsense { what: value.to_owned() })),
            ),
            Ok(_) => found.push(Err(ProbeError::Nonsense { what: value.to_owned() })),
            Err(error) => found.push(Err(error)),
        }
    }
    found
}

/// Tests that the device is available and computes. `program` has the subcommand `probe`.
///
/// # Errors
/// If it does not.
pub async fn check(program: &Path, device: DeviceName) -> Result<(), ProbeError> {
    let what = device.to_string();
    match ask(program, &what, &["--device", &what]).await? {
        Answer::Works => Ok(()),
        _ => Err(ProbeError::Nonsense { what }),
    }
}

/// Measures the speed of the device. `program` has the subcommand `probe`.
///
/// # Errors
/// If it does not work.
pub async fn measure(program: &Path, device: DeviceName) -> Result<DeviceReport, ProbeError> {
    let what = device.to_string();
    match ask(program, &what, &["--device", &what, "--measure"]).await? {
        Answer::Measured(report) => Ok(report),
        _ => Err(ProbeError::Nonsense { what }),
    }
}

async fn ask(program: &Path, what: &str, arguments: &[&str]) -> Result<Answer, ProbeError> {
    let what = || what.to_owned();
    let started = child(program).arg("probe").args(arguments).stdin(Stdio::null()).stderr(Stdio::piped()).spawn();
    let started = started.map_err(|source| ProbeError::Start { what: what(), source })?;
    let output = timeout(LONGEST, started.wait_with_output()).await.map_err(|_| ProbeError::Silent { what: what() })?;
    let output = output.map_err(|source| ProbeError::Start { what: what(), source })?;
    if !output.status.success() {
        return Err(died(what(), output.status, &String::from_utf8_lossy(&output.stderr)));
    }
    match serde_json::from_slice(&output.stdout) {
        Ok(Answer::Refused(reason)) => Err(ProbeError::Refused(reason)),
        Ok(answer) => Ok(answer),
        Err(_) => Err(ProbeError::Nonsense { what: what() }),
    }
}

/// Converts the end of a process with `status` and standard error `text` to an error.
fn died(what: String, status: ExitStatus, text: &str) -> ProbeError {
    let output = last_lines(text);
    if tell_of_memory(text) { ProbeError::Full { what, output } } else { ProbeError::Died { what, status, output } }
}

/// The last lines of a crashed process, as the end of a sentence. Libraries may log a lot, and source locations do not
/// help people who only run the program.
fn last_lines(text: &str) -> String {
    let helps = |line: &&str| !line.is_empty() && !line.starts_with("note: ") && !line.contains("panicked at");
    let lines: Vec<&str> = text.lines().map(str::trim).filter(helps).collect();
    let last = lines[lines.len().saturating_sub(3)..].join(" ");
    let last: String = last.chars().take(500).collect();
    if last.is_empty() { last } else { format!(": {last}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_what_a_dead_process_said_is_told() {
        let panic =
            "loading\n\nthread 'main' panicked at device.rs:1:1:\nno driver\nnote: run with `RUST_BACKTRACE=1`\n";
        assert_eq!(last_lines(panic), ": loading no driver");
        assert_eq!(last_lines("\n \n"), "");
        assert_eq!(last_lines(&"x".repeat(10_000)).len(), 502);
    }

    /// The message of libtorch about a GPU that another process has filled.
    #[test]
    fn a_full_device_is_told_as_such() {
        let text = "thread 'main' panicked at tensor.rs:1:1:\ncalled `Result::unwrap()` on an `Err` value: Torch(\"CUDA error: out of memory\")\n";
        let error = died("libtorch:cuda:0".to_owned(), ExitStatus::default(), text);
        assert!(matches!(error, ProbeError::Full { .. }), "{error}");
        assert!(error.to_string().ends_with("CUDA error: out of memory\")"), "{error}");
    }
}
