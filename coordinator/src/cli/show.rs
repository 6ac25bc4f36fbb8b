//! `secateur show`: one sweep and its trials.

use std::process::ExitCode;

use clap::Args;
use secateur_proto::{
    metrics::{Metric, Split},
    v1::{GetSweepRequest, ReportFormat, SweepState, SweepStatus},
};
use secateur_worker::connection::CoordinatorArguments;
use serde_json::{Value, json};

use super::{
    client::Client,
    error::CliError,
    output::{Output, table, thousands},
    share,
};
use crate::report::{Report, TrialReport};

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    /// Id of the sweep, or an unambiguous prefix
    sweep_id: String,
    #[command(flatten)]
    coordinator: CoordinatorArguments,
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
        "sweep {} ({}) {}{reason}\n{} of {} trials completed, {} without a result; {} of {} stages ended, {} in flight\n{}",
        status.name,
        status.sweep_id,
        standing(status),
        thousands(status.trials_completed),
        thousands(status.trials),
        thousands(status.trials_failed),
        thousands(status.stages_ended),
        thousands(status.stages),
        thousands(status.stages_leased),
        share::said(status),
    );
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
    format!("{head}{notes}{cautions}{unmet}\n\n{}", table(&headers, 4, report.trials.iter().map(row)))
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

/// The same for a person.
pub(crate) fn standing(status: &SweepStatus) -> &'static str {
    match status.state() {
        SweepState::Running if status.draining => "draining",
        SweepState::Running if !status.held.is_empty() => "running, held",
        _ => state(status),
    }
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
        "trials": status.trials,
        "trials_completed": status.trials_completed,
        "trials_failed": status.trials_failed,
        "stages": status.stages,
        "stages_ended": status.stages_ended,
        "stages_leased": status.stages_leased,
        "stages_computed": status.stages_computed,
        "lane_steps": status.lane_steps,
        "lane_steps_ended": status.lane_steps_ended,
        "submitted_at_ms": status.submitted_at_ms,
        "ended_at_ms": status.ended_at_ms,
        "priority": status.priority,
        "max_workers": status.max_workers,
        "workers": status.workers,
    })
}
