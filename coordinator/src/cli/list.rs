//! `secateur ls`: a coordinator's sweeps.

use std::{
    io::IsTerminal as _,
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::{Args, ValueEnum};
use secateur_proto::v1::{ListSweepsRequest, SweepState, SweepStatus};

use super::{
    client::{Client, ClientArguments},
    error::CliError,
    output::{self, Output, table, thousands},
    show,
};

/// Between two looks of `--watch`.
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);

/// What a terminal understands as: clear the screen, and begin at its top.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Only your own sweeps: submitted with this token, or by this user where the coordinator has no tokens
    #[arg(long)]
    mine: bool,
    /// Only sweeps in these states
    #[arg(long, value_enum, value_delimiter = ',', value_name = "STATE")]
    state: Vec<State>,
    /// Only sweeps submitted since then: a duration before now, such as 12h or 7d, or a time in UTC, such as 2026-12-01 or
    /// 2026-12-01T08:30:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<SystemTime>,
    /// Only sweeps with TEXT in their name
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    name: String,
    /// Print the list again whenever it changes, until interrupted
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    coordinator: ClientArguments,
}

/// A state of sweeps to choose from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum State {
    /// Running, held or draining
    Running,
    /// Completed, with or without failed trials
    Completed,
    Cancelled,
    Stopped,
}

/// A time, or how long ago it is.
fn time(text: &str) -> Result<SystemTime, String> {
    let wrong =
        || "expected a duration such as 12h or 7d, or a time such as 2026-12-01 or 2026-12-01T08:30:00Z".to_owned();
    if let Ok(ago) = humantime::parse_duration(text) {
        return SystemTime::now().checked_sub(ago).ok_or_else(wrong);
    }
    let day = || humantime::parse_rfc3339_weak(&format!("{text}T00:00:00Z"));
    humantime::parse_rfc3339_weak(text).or_else(|_| day()).map_err(|_| wrong())
}

impl ListArguments {
    fn request(&self) -> ListSweepsRequest {
        let state = |state: &State| match state {
            State::Running => SweepState::Running,
            State::Completed => SweepState::Completed,
            State::Cancelled => SweepState::Cancelled,
            State::Stopped => SweepState::Stopped,
        };
        let since = self.since.map(|since| since.duration_since(UNIX_EPOCH).unwrap_or_default());
        ListSweepsRequest {
            mine: self.mine,
            states: self.state.iter().map(|one| state(one).into()).collect(),
            since_ms: since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
            name: self.name.clone(),
        }
    }
}

pub(crate) async fn run(arguments: ListArguments, output: Output) -> Result<ExitCode, CliError> {
    let mut client = Client::connect(&arguments.coordinator).await?;
    let request = arguments.request();
    let is_filtered = request != ListSweepsRequest::default();
    let mut before = None;
    loop {
        let sweeps = client.sweeps.list(request.clone()).await?.into_inner().sweeps;
        let seen = sweeps.iter().map(without_time).collect::<Vec<_>>();
        if before.as_ref() != Some(&seen) {
            if arguments.watch && output == Output::Text && std::io::stdout().is_terminal() {
                output::print(CLEAR);
            }
            let documents: Vec<_> = sweeps.iter().map(show::document).collect();
            output.print(&documents, || text(&sweeps, is_filtered));
            before = Some(seen);
        }
        if !arguments.watch {
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

/// What changes by more than the passing of time.
fn without_time(sweep: &SweepStatus) -> SweepStatus {
    SweepStatus { duration_ms: 0, ..sweep.clone() }
}

fn text(sweeps: &[SweepStatus], is_filtered: bool) -> String {
    match (sweeps.is_empty(), is_filtered) {
        (true, true) => return "no such sweeps; `secateur ls` without options lists all".to_owned(),
        (true, false) => return "no sweeps yet; submit one with: secateur submit FILE".to_owned(),
        (false, _) => {}
    }
    let row = |sweep: &SweepStatus| {
        vec![
            sweep.sweep_id.clone(),
            sweep.name.clone(),
            sweep.submitted_by.as_ref().map_or_else(|| "–".to_owned(), |owner| owner.name.clone()),
            show::standing(sweep),
            show::moment(sweep.submitted_at_ms),
            output::duration(sweep.duration_ms / 1000),
            format!("{}/{}", thousands(sweep.trials_completed), thousands(sweep.trials)),
            thousands(sweep.stages_leased),
            sweep.priority.to_string(),
            match sweep.max_workers {
                0 => sweep.workers.to_string(),
                limit => format!("{}/{limit}", sweep.workers),
            },
        ]
    };
    let held = sweeps.iter().find(|sweep| !sweep.held.is_empty());
    let why = held.map(|sweep| format!("\nheld: {}", sweep.held)).unwrap_or_default();
    let growing = sweeps.iter().filter(|sweep| !sweep.seeds.is_empty());
    let growing: String = growing.map(|sweep| format!("\n{}: {}", sweep.sweep_id, sweep.seeds)).collect();
    let sweeps = table(
        &["sweep", "name", "user", "state", "submitted", "time", "trials", "in flight", "priority", "workers"],
        5,
        sweeps.iter().map(row),
    );
    format!("{sweeps}{why}{growing}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_ago_or_in_utc() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        // Of `date --utc --date=… +%s`.
        assert_eq!(time("2026-12-01"), Ok(at(1_796_083_200)));
        assert_eq!(time("2026-12-01T08:30:00Z"), Ok(at(1_796_113_800)));
        assert_eq!(time("2026-12-01 08:30:00"), Ok(at(1_796_113_800)));
        let day = time("1d").expect("a duration");
        let ago = SystemTime::now().duration_since(day).expect("before now");
        assert!(ago >= Duration::from_secs(86_400), "{ago:?}");
        for wrong in ["yesterday", "", "2026-13-01", "-1h"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
