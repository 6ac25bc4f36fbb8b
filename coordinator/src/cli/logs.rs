//! `secateur logs`: what workers said of a trial's stages.

use std::{io::Write as _, process::ExitCode, time::Duration};

use clap::Args;
use secateur_proto::v1::{LogLine, LogsRequest};
use secateur_worker::connection::CoordinatorArguments;
use serde_json::{Value, json};
use tracing::warn;

use super::{client::Client, error::CliError, output::Output};

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct LogsArguments {
    /// A trial's id (SWEEP/TRIAL where several sweeps have it), or enough of the beginning of a stage's key, as `explain` shows it
    #[arg(value_name = "TRIAL|STAGE")]
    subject: String,
    /// Go on with what is said, until the trial has ended
    #[arg(long, short)]
    follow: bool,
    /// Only of that attempt at each stage
    #[arg(long, default_value = "0", hide_default_value = true, value_name = "NUMBER")]
    attempt: u32,
    #[command(flatten)]
    coordinator: CoordinatorArguments,
}

pub(crate) async fn run(arguments: LogsArguments, output: Output) -> Result<ExitCode, CliError> {
    let mut client = Client::connect(&arguments.coordinator).await?;
    let LogsArguments { subject, follow, attempt, .. } = arguments;
    let mut lines = client.sweeps.logs(LogsRequest { subject, follow, attempt }).await?.into_inner();
    let mut all = Vec::new();
    let mut count = 0_u64;
    while let Some(line) = lines.message().await? {
        count += 1;
        match output {
            Output::Json => all.push(document(&line)),
            // Each as it comes. A reader that has gone has read enough.
            Output::Text if writeln!(std::io::stdout(), "{}", text(&line)).is_err() => return Ok(ExitCode::SUCCESS),
            Output::Text => {}
        }
    }
    if count == 0 {
        warn!("nothing has been said of it, or of that attempt");
    }
    if output == Output::Json {
        output.print_json(&Value::from(all));
    }
    Ok(ExitCode::SUCCESS)
}

fn when(line: &LogLine) -> String {
    let at = std::time::UNIX_EPOCH + Duration::from_millis(line.at_ms);
    humantime::format_rfc3339_seconds(at).to_string()
}

fn text(line: &LogLine) -> String {
    let key: String = line.stage_key.chars().take(12).collect();
    // Executors write what they like, and a terminal does what it is told.
    let said: String = line.text.chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c }).collect();
    format!("{} {} {key} attempt {} on {}: {}", when(line), line.kind, line.attempt, line.worker, said.trim_end())
}

fn document(line: &LogLine) -> Value {
    json!({
        "stage": line.stage_key, "kind": line.kind, "attempt": line.attempt, "worker": line.worker,
        "at": when(line), "text": line.text,
    })
}
