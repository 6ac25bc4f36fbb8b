//! Admission: from a sweep file and its table to a plan, or to everything that is wrong with them. The same check runs where a
//! person types the command and in the coordinator.

use std::time::Instant;

use secateur_proto::outcome::Artifact;
use secateur_worker::data::{self, DataError, Facts};
use tracing::info;

use crate::sweep::{self, Diagnostics, SweepSpec, TableFacts, plan::Plan};

/// What is wrong with what was submitted. The person can mend it.
#[derive(Debug, thiserror::Error)]
pub enum AdmissionError {
    /// The sweep file.
    #[error(transparent)]
    Sweep(#[from] Diagnostics),
    /// The table, or the table and the file do not fit.
    #[error("{path}: {source}")]
    Data {
        /// As in the sweep file.
        path: String,
        /// What is wrong.
        #[source]
        source: Box<DataError>,
    },
}

/// A sweep that can be computed.
#[derive(Debug, Clone, PartialEq)]
pub struct Admitted {
    /// What it comes to.
    pub plan: Plan,
    /// What a person should know of the table: columns that say nothing, and the like.
    pub notes: Vec<String>,
}

/// Plans the sweep in `text` over the table in `bytes`.
///
/// # Errors
/// If the file, the table or the two together are wrong.
pub fn admit(file_name: &str, text: &str, table: Artifact, bytes: &[u8]) -> Result<Admitted, AdmissionError> {
    let spec = SweepSpec::parse(file_name, text)?;
    let begun = Instant::now();
    let wrong = |source| AdmissionError::Data { path: spec.data.path.clone(), source: Box::new(source) };
    let prepared = data::prepare(&spec.data.prepare(table.hash), bytes).map_err(wrong)?;
    let Facts { train, validation, test, columns, width, .. } = prepared.facts();
    let narrow = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let facts = TableFacts {
        artifact: table,
        rows: [train, validation, test].map(|part| part.rows as u64),
        positives: [train, validation, test].map(|part| part.positives as u64),
        columns: narrow(columns),
        inputs: narrow(width),
    };
    info!(rows = facts.rows.iter().sum::<u64>(), inputs = facts.inputs, elapsed = ?begun.elapsed(), "read the data");
    Ok(Admitted { plan: sweep::plan(&spec, text, facts)?, notes: prepared.notes })
}
