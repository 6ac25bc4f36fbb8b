//! `secateur show`: one sweep and its trials.

use std::{
    process::ExitCode,
    time::{Duration, UNIX_EPOCH},
};

use clap::Args;
use secateur_proto::{
    metrics::{Metric, Split},
    v1::{GetSweepRequest, Person, ReportFormat, SweepState, SweepStatus},
};
use serde_json::{Value, json};

use super::{
    client::{Client, ClientArguments},
    error::CliError,
    output::{Output, duration, table, thousands},
    share,
};
use crate::report::{Report, TrialReport};

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    /// Id or name of the sweep, or an unambiguous prefix
    sweep_id: String,
    #[command(flatten)]
    coordinator: ClientArguments,
}

pub(crate) async fn run(arguments: ShowArguments, output: Output) -> Result<ExitCode, CliError> {
    let mut client = Client::connect(&arguments.coordinator).await?;
    let request = GetSweepRequest { sweep_id: arguments.sweep_id };
    let status = client.sweeps.get(request).await?.into_inner();
    let report = client.report(&status.sweep_id, ReportFormat::Json).await?;
    let report: Report = serde_json::from_slice(&report)
        .map_err(|error| CliError::Failed(format!("cannot read the coordinator's report: {error}")))?;
    let mut document = document(&status);
    document["trials_detail"] = json!(report.trials);
    document["cautions"] = json!(report.cautions);
    document["unmet"] = json!(report.unmet);
    output.print(&document, || text(&status, &report));
    Ok(ExitCode::SUCCESS)
}

fn text(status: &SweepStatus, report: &Report) -> String {
    let reason = match (status.reason.as_str(), status.held.as_str()) {
        ("", "") => String::new(),
        ("", reason) | (reason, _) => format!(": {reason}"),
    };
    let head = format!(
        "sweep {} ({}) {}{reason}\n{}\n{} of {} trials completed, {} without a result; {} of {} stages ended, {} in flight\n{}",
        status.name,
        status.sweep_id,
        standing(status),
        history(status),
        thousands(status.trials_completed),
        thousands(status.trials),
        thousands(status.trials_failed),
        thousands(status.stages_ended),
        thousands(status.stages),
        thousands(status.stages_leased),
        share::said(status),
    );
    let seeds = if status.seeds.is_empty() { String::new() } else { format!("\nseeds: {}", status.seeds) };
    let notes: String = report.data.notes.iter().map(|note| format!("\nnote: {note}")).collect();
    let cautions: String = report.cautions.iter().map(|caution| format!("\ncaution: {caution}")).collect();
    let unmet: String = report.unmet_constraints().iter().map(|finding| format!("\nfinding: {finding}")).collect();
    let labels = report.cell_labels();
    let row = |trial: &TrialReport| {
        let auc =
            |split| trial.value(&Metric::Auc.on(split)).map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"));
        let nonzero = trial.value(&Metric::NonzeroParameters.on(Split::Test));
        let cell = report.cell(&trial.cell).map(|cell| labels.of(cell)).unwrap_or_default();
        let mut row = vec![
            cell,
            trial.seed.to_string(),
            trial.id.to_string(),
            trial.outcome.clone(),
            auc(Split::Validation),
            auc(Split::Test),
            nonzero.map_or_else(|| "–".to_owned(), |count| thousands(count as u64)),
        ];
        row.extend(trial.part.map(|part| part.to_string()));
        row
    };
    let mut headers = vec!["cell", "seed", "trial", "outcome", "auc validation", "auc test", "non-zero parameters"];
    headers.extend((!report.parts.is_empty()).then_some("part"));
    format!("{head}{seeds}{notes}{cautions}{unmet}\n\n{}", table(&headers, 4, report.trials.iter().map(row)))
}

/// The name of a sweep's state.
pub(crate) fn state(status: &SweepStatus) -> &'static str {
    match status.state() {
        SweepState::Running => "running",
        SweepState::Completed => "completed",
        SweepState::Cancelled => "cancelled",
        SweepState::Stopped => "stopped",
        SweepState::Unspecified => "unknown",
    }
}

/// The same for a person. Trials that failed show, also of a completed sweep.
pub(crate) fn standing(status: &SweepStatus) -> String {
    let state = match status.state() {
        SweepState::Running if status.draining => "draining",
        SweepState::Running if !status.held.is_empty() => "running, held",
        _ => state(status),
    };
    match (status.state(), status.trials_failed) {
        (SweepState::Running | SweepState::Completed, failed @ 1..) => format!("{state}, {} failed", thousands(failed)),
        _ => state.to_owned(),
    }
}

/// A time of the coordinator, in UTC.
pub(crate) fn moment(ms: u64) -> String {
    let time = UNIX_EPOCH.checked_add(Duration::from_millis(ms));
    // Whoever wrote a time after the year 9999 has no clock.
    let is_writable = ms < 253_402_300_800_000;
    let time = time.filter(|_| is_writable);
    time.map_or_else(|| "–".to_owned(), |time| humantime::format_rfc3339_seconds(time).to_string())
}

/// Who submitted a sweep, when, how long it has taken, and who cancelled it.
pub(crate) fn history(status: &SweepStatus) -> String {
    let named = |person: &Person| {
        let claimed = if person.is_claimed { " (not authenticated)" } else { "" };
        format!(" by {}{claimed}", person.name)
    };
    let owner = status.submitted_by.as_ref().map(named).unwrap_or_default();
    let time = duration(status.duration_ms / 1000);
    let how = if status.state() == SweepState::Running { "running for" } else { "ended after" };
    let who = status.cancelled_by.as_ref().map(named);
    let cancelled = match (who, status.draining) {
        (None, _) => String::new(),
        (Some(who), true) => format!(", draining as asked{who}"),
        (Some(who), false) => format!(", cancelled{who}"),
    };
    format!("submitted{owner} at {}, {how} {time}{cancelled}", moment(status.submitted_at_ms))
}

fn person(person: &Person) -> Value {
    json!({"name": person.name, "is_claimed": person.is_claimed})
}

/// A sweep's numbers for programs.
pub(crate) fn document(status: &SweepStatus) -> Value {
    json!({
        "sweep_id": status.sweep_id,
        "name": status.name,
        "state": state(status),
        "reason": status.reason,
        "held": status.held,
        "draining": status.draining,
        "seeds": status.seeds,
        "trials": status.trials,
        "trials_completed": status.trials_completed,
        "trials_failed": status.trials_failed,
        "stages": status.stages,
        "stages_ended": status.stages_ended,
        "stages_leased": status.stages_leased,
        "stages_ready": status.stages_ready,
        "stages_computed": status.stages_computed,
        "lane_steps": status.lane_steps,
        "lane_steps_ended": status.lane_steps_ended,
        "submitted_at_ms": status.submitted_at_ms,
        "ended_at_ms": status.ended_at_ms,
        "duration_ms": status.duration_ms,
        "submitted_by": status.submitted_by.as_ref().map(person),
        "cancelled_by": status.cancelled_by.as_ref().map(person),
        "priority": status.priority,
        "max_workers": status.max_workers,
        "workers": status.workers,
    })
}
