//! `secateur logs`: what workers said of a trial's stages.

use std::{
    collections::HashMap,
    io::Write as _,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Args;
use secateur_proto::v1::{LogLine, LogsRequest};
use serde_json::{Value, json};
use tracing::warn;

use super::{
    client::{BETWEEN_TRIES, Client, ClientArguments},
    error::CliError,
    output::{self, Output},
    progress::Screen,
    watch::FollowArguments,
};

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct LogsArguments {
    /// A trial (id, or SWEEP/TRIAL if several sweeps share it) or a stage (unambiguous prefix of its key, as in `explain`)
    #[arg(value_name = "TRIAL|STAGE")]
    subject: String,
    /// Print new lines as they come, until the trial ends
    #[arg(long, short)]
    follow: bool,
    /// Show only attempt N of each stage [default: all]
    #[arg(long, default_value = "0", hide_default_value = true, value_name = "N")]
    attempt: u32,
    #[command(flatten)]
    coordinator: ClientArguments,
    #[command(flatten)]
    patience: FollowArguments,
}

pub(crate) async fn run(arguments: LogsArguments, output: Output, screen: &Screen) -> Result<ExitCode, CliError> {
    let mut client = Client::connect(&arguments.coordinator).await?;
    let LogsArguments { subject, follow, attempt, patience, .. } = arguments;
    let patience = patience.patience();
    let request = LogsRequest { subject, follow, attempt };
    let mut told = Told { output, lines: HashMap::new(), all: Vec::new(), lost: None };
    loop {
        match told.once(&mut client, request.clone()).await {
            Err(CliError::Unreachable(message)) if follow => {
                let is_new = told.lost.is_none();
                if told.lost.get_or_insert_with(Instant::now).elapsed() >= patience {
                    return Err(CliError::Unreachable(message));
                }
                if is_new {
                    screen.say(&format!("{message}; waiting up to {} seconds", patience.as_secs()));
                }
                tokio::time::sleep(BETWEEN_TRIES).await;
            }
            ended => break ended?,
        }
    }
    if told.lines.is_empty() {
        warn!("no log lines");
    }
    if output == Output::Json {
        output.print_json(&Value::from(told.all));
    }
    Ok(ExitCode::SUCCESS)
}

/// What has been told, whichever coordinator was there.
struct Told {
    output: Output,
    /// How often each line was: a coordinator that is back begins at the beginning.
    lines: HashMap<Line, usize>,
    all: Vec<Value>,
    /// Since when no coordinator is there.
    lost: Option<Instant>,
}

/// Stage, attempt, time and text.
type Line = (String, u32, u64, String);

impl Told {
    /// Tells what comes while the connection lasts.
    async fn once(&mut self, client: &mut Client, request: LogsRequest) -> Result<(), CliError> {
        let mut lines = client.sweeps.logs(request).await?.into_inner();
        self.lost = None;
        let mut here: HashMap<Line, usize> = HashMap::new();
        while let Some(line) = lines.message().await? {
            let key = (line.stage_key.clone(), line.attempt, line.at_ms, line.text.clone());
            let times = here.entry(key.clone()).or_default();
            *times += 1;
            let told = self.lines.entry(key).or_default();
            if *times <= *told {
                continue;
            }
            *told = *times;
            match self.output {
                Output::Json => self.all.push(document(&line)),
                // Each as it comes. A reader that has closed the pipe has read enough.
                Output::Text => {
                    let written = writeln!(std::io::stdout(), "{}", text(&line));
                    let goes_on = written.is_ok();
                    output::note(written);
                    if !goes_on {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }
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
