//! What a sweep has come to so far, in one of several formats.

use std::{io::Write, sync::Arc};

use secateur_proto::ids::SweepId;

use super::{Document, Queries, QueryError};
use crate::{
    report::{self, Report},
    scheduler::SweepResults,
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
    /// The name of its file.
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

    fn write(self, results: &SweepResults, out: &mut dyn Write) -> Result<(), QueryError> {
        let json = |error: serde_json::Error| QueryError::Failed(error.to_string());
        let report = || report_of(results);
        match self {
            Self::Json => serde_json::to_writer_pretty(out, &report()).map_err(json)?,
            Self::PlanJson => serde_json::to_writer_pretty(out, results.plan.as_ref()).map_err(json)?,
            Self::Html => out.write_all(report::html(&report()).as_bytes())?,
            Self::Markdown => out.write_all(report::markdown(&report()).text.as_bytes())?,
            Self::TrialsCsv => out.write_all(report::trials_csv(&report()).as_bytes())?,
            Self::FrontCsv => out.write_all(report::front_csv(&report()).as_bytes())?,
        }
        Ok(())
    }
}

pub(super) fn report_of(results: &SweepResults) -> Report {
    report::build_in_order(&results.plan.unpack(), results.outcomes())
}

impl Queries {
    /// The report of what has finished so far.
    ///
    /// # Errors
    /// If there is no such sweep, or too many wait for answers.
    pub async fn report(&self, sweep: &SweepId, format: ReportFormat) -> Result<Arc<Document>, QueryError> {
        self.answer(sweep, format.file(), move |results| Document::write(|out| format.write(results, out))).await
    }
}
