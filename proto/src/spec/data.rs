//! What tables and images are: their formats, what is predicted, which rows are for what.

use serde::{Deserialize, Serialize};

use super::Reading;
use crate::vocabulary;

/// File formats of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableFormat {
    /// Delimited text, of which its [`Reading`] says more.
    Csv,
    /// The same, gzipped.
    CsvGz,
    /// Grey images and their labels, packed from the four idx files of a folder (LeCun's MNIST and its kin).
    Idx,
}

vocabulary! {
    /// What is predicted.
    pub enum Task {
        /// One of two classes. The positive class is the larger of the target's two values, unless the [`Reading`] names it.
        Binary = "binary",
        /// One of two or more classes: the sorted different values of the target, or labels.
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
    /// By the order of time: the oldest rows are train, the newest are test. Rows with equal values stay together.
    Time {
        /// Dates by the reading of the column, numbers, or texts that sort as time does. No input.
        column: String,
        /// Shares; they sum to 1.
        train: f64,
        /// Share for validation.
        validation: f64,
        /// Share for test.
        test: f64,
    },
    /// A column says `train`, `validation` or `test`. No input.
    Column {
        /// Its name.
        column: String,
    },
    /// The data say themselves what is test. Validation is a share of the rest, at random, with the same share of each class.
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
    /// How the text of a table is read.
    #[serde(default, skip_serializing_if = "Reading::is_plain")]
    pub reading: Reading,
}

impl DataSettings {
    /// The plain settings of a table: every row is kept, and every column that has no other role is an input.
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
