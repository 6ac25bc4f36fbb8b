//! What tables and images are: their formats, what is predicted, which rows are for what.

use serde::{Deserialize, Serialize};

use crate::vocabulary;

/// File formats of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableFormat {
    /// Comma-separated, with a header.
    Csv,
    /// The same, gzipped.
    CsvGz,
    /// Grey images and their labels, packed from the four idx files of a folder (LeCun's MNIST and its kin).
    Idx,
}

vocabulary! {
    /// What is predicted.
    pub enum Task {
        /// One of two classes. The positive class is the larger of the target's two values.
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
    /// By the order of a column: the oldest rows are train, the newest are test. Rows with equal values stay together.
    Time {
        /// Numbers, or texts that sort as time does. No input.
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
