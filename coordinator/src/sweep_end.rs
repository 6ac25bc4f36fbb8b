//! The command that an operator wants run whenever a sweep ends. It never holds up the driver, and its failures are
//! only logged. It runs at most once for each end: not if the coordinator dies first.

use std::{ffi::OsString, io, process::Stdio, sync::Arc, time::Duration};

use tokio::{
    io::AsyncReadExt as _,
    process::{ChildStderr, Command},
    sync::Semaphore,
};
use tracing::{info, warn};

use crate::{
    driver::Driver,
    environment,
    scheduler::{SweepState, SweepStatus},
};

/// The maximum number of commands that run at the same time. More wait.
const TOGETHER: usize = 4;

/// The time after which a command is killed.
const LONGEST: Duration = Duration::from_secs(600);

/// The maximum length in characters of the output that is logged.
const MAX_OUTPUT_CHARS: usize = 500;

/// The maximum length in bytes of the output that is kept.
const MAX_OUTPUT: u64 = 64 << 10;

/// Runs `command` with the shell for each sweep that ends, until the driver stops.
pub(crate) async fn run(command: OsString, driver: Driver) {
    let Ok(mut ends) = driver.sweep_ends().await else { return };
    let places = Arc::new(Semaphore::new(TOGETHER));
    while let Some((id, state)) = ends.recv().await {
        let wanted = id.clone();
        let Ok(status) = driver.read(move |core| core.sweep(&wanted)).await else { return };
        // It may be forgotten already.
        let Some(status) = status else { continue };
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (command, counters) = (command.clone(), driver.counters().clone());
        tokio::spawn(async move {
            let _place = place;
            let failure = run_once(&command, &status, &state).await.err();
            counters.hook_ran(failure.is_none());
            match failure {
                None => info!(sweep = %id, "the command of --on-sweep-end succeeded"),
                Some(reason) => warn!(sweep = %id, reason, "the command of --on-sweep-end failed"),
            }
        });
    }
}

/// Returns the reason if the command fails.
async fn run_once(command: &OsString, status: &SweepStatus, state: &SweepState) -> Result<(), String> {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command);
    // The coordinator's own variables may hold secrets, such as a database's password.
    for (name, _) in std::env::vars_os() {
        if environment::is_secret(&name) {
            shell.env_remove(name);
        }
    }
    shell.envs(variables(status, state));
    shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    // A group of its own, so that whatever it starts can be killed with it.
    #[cfg(unix)]
    shell.process_group(0);
    let cannot_run = |error: io::Error| format!("cannot run /bin/sh: {error}");
    let mut child = shell.spawn().map_err(cannot_run)?;
    let pipe = child.stderr.take();
    let work = async {
        let said = match pipe {
            Some(pipe) => start_of(pipe).await?,
            None => vec![],
        };
        Ok::<_, io::Error>((child.wait().await?, said))
    };
    let Ok(ended) = tokio::time::timeout(LONGEST, work).await else {
        kill(child.id()).await;
        return Err(format!("it was killed after {} s", LONGEST.as_secs()));
    };
    let (status, said) = ended.map_err(cannot_run)?;
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&said);
    let said: String = said.trim().chars().take(MAX_OUTPUT_CHARS).collect();
    Err(if said.is_empty() { status.to_string() } else { format!("{status}: {said}") })
}

/// Reads all of a command's output and keeps its start. A command whose output nobody read would wait.
async fn start_of(mut pipe: ChildStderr) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    (&mut pipe).take(MAX_OUTPUT).read_to_end(&mut start).await?;
    tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    Ok(start)
}

/// Kills the group of a command: its shell alone would leave what it started running. Nobody has waited for the shell,
/// so its number is still its own.
async fn kill(group: Option<u32>) {
    if let Some(group) = group {
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(format!("kill -s KILL -- -{group}"));
        // They may have ended just now.
        let _ = shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().await;
    }
}

/// What the command learns.
fn variables(status: &SweepStatus, state: &SweepState) -> [(&'static str, String); 9] {
    let reason = if let SweepState::Stopped { reason } = state { reason.clone() } else { String::new() };
    let user = status.submitted_by.as_ref().map(|person| person.name.clone()).unwrap_or_default();
    [
        ("SECATEUR_SWEEP_ID", status.id.to_string()),
        ("SECATEUR_SWEEP_NAME", status.name.clone()),
        ("SECATEUR_SWEEP_STATE", state.name().to_owned()),
        ("SECATEUR_SWEEP_REASON", reason),
        ("SECATEUR_SWEEP_USER", user),
        ("SECATEUR_SWEEP_TRIALS", status.trials.to_string()),
        ("SECATEUR_SWEEP_TRIALS_COMPLETED", status.trials_completed.to_string()),
        ("SECATEUR_SWEEP_TRIALS_FAILED", status.trials_failed.to_string()),
        ("SECATEUR_SWEEP_STAGES_COMPUTED", status.stages_computed.to_string()),
    ]
}
