//! Reports of a sweep so far, in several formats.

use std::{io::Write, sync::Arc};

use secateur_proto::ids::SweepId;

use super::{Document, Queries, QueryError};
use crate::{
    experiment::plan::Plan,
    report::{self, PartInfo, Report, RowVariances},
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

    fn write(self, results: &SweepResults, rows: &RowVariances, out: &mut dyn Write) -> Result<(), QueryError> {
        let report = || Ok::<_, QueryError>(report_of(results)?.with_rows(rows));
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
    let parts: Vec<PartInfo> = results.parts.iter().map(part).collect();
    Ok(report::build_in_order(&plan_of(results)?, &parts, results.outcomes()))
}

/// The complete plan, with all parts.
fn plan_of(results: &SweepResults) -> Result<Plan, QueryError> {
    let plan = Plan::of_parts(results.parts.iter().map(|part| part.plan.unpack()));
    plan.ok_or_else(|| QueryError::Failed("the sweep has no plan".to_owned()))
}

impl Queries {
    /// Returns the report on all trials that have finished.
    ///
    /// # Errors
    /// If there is no such sweep, or too many callers wait.
    pub async fn report(&self, sweep: &SweepId, format: ReportFormat) -> Result<Arc<Document>, QueryError> {
        let rows = match format {
            ReportFormat::PlanJson => Arc::default(),
            _ => self.row_variances(sweep).await?,
        };
        self.answer(sweep, format.file(), move |results| Document::write(|out| format.write(results, &rows, out))).await
    }
}
