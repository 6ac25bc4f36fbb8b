//! From a plan and the outcomes of its trials to the report: front, statistics, rendering. Plain functions from data to data
//! and text. Knows nothing of tokio, tonic, SQL, files or clocks, so that the same trials always give the same bytes.

mod baseline;
mod build;
mod content;
mod evidence;
mod findings;
mod glossary;
mod html;
mod label;
mod markdown;
mod model;
mod number;
mod parts;
mod plot;
mod rows;
mod surface;
mod table;
mod ties;
mod unmet;

pub mod difference;
pub mod front;
pub mod statistics;

#[cfg(test)]
pub(crate) mod example;
#[cfg(test)]
mod simulated;
#[cfg(test)]
mod tests;

pub use baseline::{Baseline, NonInferiority, RowVariances, TrialScores, Uncertainty, row_variances};
pub use build::{build, build_in_order};
pub use evidence::{Evidence, FrontEvidence, HypervolumeEvidence, ImportanceEvidence, SettingShare};
pub(crate) use glossary::control_title;
pub use html::html;
pub use markdown::{MarkdownReport, markdown};
pub use model::{
    CellLabels, CellReport, FailedTrial, PairedMetrics, PartReport, Report, SCHEMA, SummaryMetrics, SweepSummary,
    Totals, TrialReport,
};
pub use parts::PartInfo;
pub use rows::{SplitScores, Total};
pub use table::{front_csv, trials_csv};
pub use unmet::{Miss, Unmet, UnmetConstraint};
