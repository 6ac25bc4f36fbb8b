//! Reports of a sweep so far, in several formats.

use std::{io::Write, sync::Arc};

use secateur_proto::ids::SweepId;

use super::{Document, Queries, QueryError};
use crate::{
    experiment::plan::Plan,
    report::{self, CreditReport, OfNets, PartInfo, Report, RowVariances},
    scheduler::{PlanPart, SweepResults},
};

/// A format of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportFormat {
    /// `report.json`
    Json,
    /// `report.html`
    Html,
    /// `report.md`
    Markdown,
    /// `trials.csv`
    TrialsCsv,
    /// `front.csv`
    FrontCsv,
    /// `plan.json`
    PlanJson,
}

/// What a report has from files that trials left.
struct FromFiles {
    rows: Arc<RowVariances>,
    nets: Arc<OfNets>,
    credit: Arc<Option<CreditReport>>,
}

impl ReportFormat {
    /// The file name.
    #[must_use]
    pub const fn file(self) -> &'static str {
        match self {
            Self::Json => "report.json",
            Self::Html => "report.html",
            Self::Markdown => "report.md",
            Self::TrialsCsv => "trials.csv",
            Self::FrontCsv => "front.csv",
            Self::PlanJson => "plan.json",
        }
    }

    /// Whether the format has more than tables of trials and of the front.
    const fn has_conclusions(self) -> bool {
        matches!(self, Self::Json | Self::Html | Self::Markdown)
    }

    fn write(self, results: &SweepResults, files: &FromFiles, out: &mut dyn Write) -> Result<(), QueryError> {
        let FromFiles { rows, nets, credit } = files;
        let report = || {
            let report = report_of(results)?.with_rows(rows).with_nets(nets);
            Ok::<_, QueryError>(report.with_credit(credit.as_ref().clone()))
        };
        let json = |error: serde_json::Error| QueryError::Failed(error.to_string());
        match self {
            Self::Json => serde_json::to_writer_pretty(out, &report()?).map_err(json)?,
            Self::PlanJson => match results.parts.as_slice() {
                [only] => serde_json::to_writer_pretty(out, only.plan.as_ref()).map_err(json)?,
                _ => serde_json::to_writer_pretty(out, &plan_of(results)?).map_err(json)?,
            },
            Self::Html => out.write_all(report::html(&report()?).as_bytes())?,
            Self::Markdown => out.write_all(report::markdown(&report()?).text.as_bytes())?,
            Self::TrialsCsv => out.write_all(report::trials_csv(&report()?).as_bytes())?,
            Self::FrontCsv => out.write_all(report::front_csv(&report()?).as_bytes())?,
        }
        Ok(())
    }
}

pub(super) fn report_of(results: &SweepResults) -> Result<Report, QueryError> {
    let part = |part: &PlanPart| PartInfo {
        file_hash: part.plan.sweep.file_hash,
        added_at_ms: part.added_at.map(|at| at.0),
        trials: part.plan.trial_count(),
    };
    // Rounds of seeds are no parts that a person added.
    let of_files: &[PlanPart] =
        if results.parts.first().is_some_and(|part| part.plan.sweep.adaptive.is_some()) { &[] } else { &results.parts };
    let parts: Vec<PartInfo> = of_files.iter().map(part).collect();
    Ok(report::build_in_order(&plan_of(results)?, &parts, results.outcomes()))
}

/// The complete plan, with all parts.
pub(super) fn plan_of(results: &SweepResults) -> Result<Plan, QueryError> {
    let plan = Plan::of_parts(results.parts.iter().map(|part| part.plan.unpack()));
    plan.ok_or_else(|| QueryError::Failed("the sweep has no plan".to_owned()))
}

impl Queries {
    /// Returns the report on all trials that have finished.
    ///
    /// # Errors
    /// If there is no such sweep, or too many callers wait.
    pub async fn report(&self, sweep: &SweepId, format: ReportFormat) -> Result<Arc<Document>, QueryError> {
        let (rows, nets) = match format {
            ReportFormat::PlanJson => Default::default(),
            _ => (self.row_variances(sweep).await?, self.of_nets(sweep).await?),
        };
        let credit =
            if format.has_conclusions() { self.credit(sweep, Arc::clone(&rows)).await? } else { Arc::default() };
        let files = FromFiles { rows, nets, credit };
        let write = move |results: &SweepResults| Document::write(|out| format.write(results, &files, out));
        self.answer(sweep, format.file(), write).await
    }
}
