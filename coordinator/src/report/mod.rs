//! From a plan and the outcomes of its trials to the report: front, statistics, rendering. Plain functions from data to data
//! and text. Knows nothing of tokio, tonic, SQL, files or clocks, so that the same trials always give the same bytes.

mod baseline;
mod build;
mod claims;
mod content;
mod credit;
mod dossier;
mod evidence;
mod findings;
mod glossary;
mod html;
mod label;
mod markdown;
mod measured;
mod model;
mod nets;
mod number;
mod one_net;
mod parts;
mod plot;
mod rows;
mod seeds;
mod surface;
mod table;
mod tables;
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
pub use build::{build, build_in_order, due_round};
pub use credit::{
    BetweenSeeds, BrierParts, CalibrationReport, CreditCell, CreditReport, Decile, DecisionReport, Estimate,
    GroupColumn, GroupReport, RankingReport, Ratio, Recalibrated, ReliabilityPoint, SwapSide, credit,
    dataset_of_groups,
};
pub use dossier::{ColumnUse, Dossier, DossierSource, MarkdownDossier, StrategyUse, limits};
pub use evidence::{Evidence, FrontEvidence, HypervolumeEvidence, ImportanceEvidence, SettingShare};
pub(crate) use glossary::control_title;
pub use html::html;
pub use markdown::{MarkdownReport, markdown};
pub use model::{
    CellLabels, CellReport, FailedTrial, PairedMetrics, PartReport, Report, SCHEMA, SummaryMetrics, SweepSummary,
    Totals, TrialReport,
};
pub use nets::{CellInputs, InputsRead, Machine, MachineReport, MeasuredOn, NetFiles, OfNets, of_nets};
pub use one_net::OneNet;
pub use parts::PartInfo;
pub use rows::{SplitScores, Total};
pub use seeds::{RoundChange, SeedsReport, SeedsState};
pub use table::{front_csv, trials_csv};
pub use tables::{DataTable, Kind, TABLES, TableSpec, Value};
pub use unmet::{Miss, Unmet, UnmetConstraint};
