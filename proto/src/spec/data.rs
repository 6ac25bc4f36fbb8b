//! Data settings of tables and images: format, target, split.

use serde::{Deserialize, Serialize};

use super::Reading;
use crate::vocabulary;

/// File formats of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableFormat {
    /// Delimited text; its [`Reading`] says more.
    Csv,
    /// The same, gzipped.
    CsvGz,
    /// Grey images and their labels, packed from the four idx files of a folder (LeCun's MNIST and its kin).
    Idx,
}

vocabulary! {
    /// What is predicted.
    pub enum Task {
        /// One of two classes. The positive class is the larger of the target's two values, unless the [`Reading`]
        /// names another.
        Binary = "binary",
        /// One of two or more classes: the sorted distinct values of the target, or labels.
        Multiclass = "multiclass",
    }
}

/// Which rows are train, validation and test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum SplitSpec {
    /// At random, with the same share of each class in each part.
    Stratified {
        /// Shares; they sum to 1.
        train: f64,
        /// Share for validation.
        validation: f64,
        /// Share for test.
        test: f64,
        /// Of the shuffle.
        seed: u64,
    },
    /// By time: the oldest rows are train, the newest are test. Rows with equal values are in the same part.
    Time {
        /// Dates that the reading of the column defines, numbers, or text that sorts by time. It is not an input.
        column: String,
        /// Share for train; the three shares sum to 1.
        train: f64,
        /// Share for validation.
        validation: f64,
        /// Share for test.
        test: f64,
    },
    /// A column contains `train`, `validation` or `test`. It is not an input.
    Column {
        /// Its name.
        column: String,
    },
    /// The data come with a test set. Validation is a stratified random share of the rest.
    Files {
        /// Share of the rows that are not test; below 1.
        validation: f64,
        /// Of the shuffle.
        seed: u64,
    },
}

/// How a table, or images, become tensors. The fields are those of a [`PrepareSpec`](super::PrepareSpec), in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataSettings {
    /// The format of the file.
    pub format: TableFormat,
    /// The column to predict; `None` for data with labels of their own.
    pub target: Option<String>,
    /// What is predicted.
    pub task: Task,
    /// Which rows are for what.
    pub split: SplitSpec,
    /// The maximum number of train rows. More are sampled with the classes' shares, by the split's seed. `None` keeps
    /// all.
    pub rows: Option<u32>,
    /// The input columns. `None` means all except target, dropped, group and split columns.
    pub inputs: Option<Vec<String>>,
    /// Columns to ignore.
    pub drop: Vec<String>,
    /// Columns that metrics are reported by. They are inputs only if `inputs` names them.
    pub groups: Vec<String>,
    /// How the text of a table is read.
    #[serde(default, skip_serializing_if = "Reading::is_plain")]
    pub reading: Reading,
}

impl DataSettings {
    /// The plain settings of a table: every row is kept, and every column without another role is an input.
    #[must_use]
    pub fn of_table(format: TableFormat, target: impl Into<String>, task: Task, split: SplitSpec) -> Self {
        Self {
            format,
            target: Some(target.into()),
            task,
            split,
            rows: None,
            inputs: None,
            drop: Vec::new(),
            groups: Vec::new(),
            reading: Reading::default(),
        }
    }
}
