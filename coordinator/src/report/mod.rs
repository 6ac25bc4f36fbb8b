//! From a plan and the outcomes of its trials to the report: front, statistics, rendering. Plain functions from data to data
//! and text. Knows nothing of tokio, tonic, SQL, files or clocks, so that the same trials always give the same bytes.

mod build;
mod content;
mod findings;
mod glossary;
mod html;
mod label;
mod markdown;
mod model;
mod number;
mod parts;
mod plot;
mod surface;
mod table;
mod unmet;

pub mod front;
pub mod statistics;

#[cfg(test)]
pub(crate) mod example;
#[cfg(test)]
mod tests;

pub use build::{build, build_in_order};
pub(crate) use glossary::control_title;
pub use html::html;
pub use markdown::{MarkdownReport, markdown};
pub use model::{
    CellLabels, CellReport, FailedTrial, PairedMetrics, PartReport, Report, SCHEMA, SummaryMetrics, SweepSummary,
    Totals, TrialReport,
};
pub use parts::PartInfo;
pub use table::{front_csv, trials_csv};
pub use unmet::{Miss, Unmet, UnmetConstraint};
