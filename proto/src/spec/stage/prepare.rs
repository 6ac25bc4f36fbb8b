//! `prepare`: from a table, or images, to tensors.

use serde::{Deserialize, Serialize};

use super::Stage;
use crate::{
    ids::{ContentHash, StageKey},
    outcome::Role,
    spec::{SplitSpec, TableFormat, Task},
};

/// Turns a table, or images, into tensors: everything is fitted on the train rows alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrepareSpec {
    /// The bytes of the table's file, or of what images are packed into.
    pub table: ContentHash,
    /// How to read them.
    pub format: TableFormat,
    /// The column to predict; nothing for data that have labels of their own.
    pub target: Option<String>,
    /// What is predicted.
    pub task: Task,
    /// Which rows are for what.
    pub split: SplitSpec,
    /// The most train rows that are kept: a sample with the classes' shares, by the split's seed. Nothing means all.
    pub rows: Option<u32>,
    /// The input columns; nothing means all that are neither target, nor dropped, nor groups, nor the split's own.
    pub inputs: Option<Vec<String>>,
    /// Columns to ignore.
    pub drop: Vec<String>,
    /// Columns that metrics are reported by, and that are no inputs unless `inputs` names them.
    pub groups: Vec<String>,
}

impl Stage for PrepareSpec {
    fn parents(&self) -> Vec<StageKey> {
        vec![]
    }

    fn reads(&self) -> Vec<Role> {
        vec![Role::Table]
    }

    fn leaves(&self) -> Vec<Role> {
        vec![Role::Prepared, Role::Preparation]
    }
}
