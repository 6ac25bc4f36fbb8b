//! Metric names, what they depend on, which way is better, and vectors of their values.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::ids::InvalidId;

macro_rules! metrics {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $of:ident, $better:ident;)*) => {
        /// A metric. The names are those of the sweep file and of every report.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Metric {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
        }

        impl Metric {
            /// Every metric, in the order of reports.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name in files.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// What the metric is a property of.
            #[must_use]
            pub const fn of(self) -> MetricOf {
                match self { $(Self::$variant => MetricOf::$of),* }
            }

            /// The direction that is better.
            #[must_use]
            pub const fn better(self) -> Direction {
                match self { $(Self::$variant => Direction::$better),* }
            }
        }
    };
}

metrics! {
    /// Area under the ROC curve, by mid-ranks: P(score of a positive > score of a negative) + P(tie) / 2. Of several classes
    /// the mean over each against the rest.
    Auc = "auc", Data, Maximize;
    /// 2 · auc − 1.
    Gini = "gini", Data, Maximize;
    /// Kolmogorov–Smirnov: the largest distance between the score distributions of the two classes. Of several classes
    /// there is none.
    Ks = "ks", Data, Maximize;
    /// Mean negative log-likelihood, in nats.
    LogLoss = "log_loss", Data, Minimize;
    /// Mean squared difference of probability and outcome; of several classes summed over them.
    Brier = "brier", Data, Minimize;
    /// Expected calibration error over ten bins of equal width; of several classes that of the likeliest one.
    Ece = "ece", Data, Minimize;
    /// Share of rows classified right: at probability 0.5, or as the likeliest of several classes.
    Accuracy = "accuracy", Data, Maximize;
    /// 1 − accuracy.
    Error = "error", Data, Minimize;
    /// Weights and biases of the net.
    Parameters = "parameters", Net, Minimize;
    /// Weights and biases that are not zero.
    NonzeroParameters = "nonzero_parameters", Net, Minimize;
    /// Share of the prunable weights that are zero.
    Sparsity = "sparsity", Net, Maximize;
    /// parameters / nonzero_parameters.
    CompressionRatio = "compression_ratio", Net, Maximize;
    /// Multiply-accumulates of one row through the non-zero weights.
    Macs = "macs", Net, Minimize;
    /// Multiply-accumulates of the dense net / macs.
    TheoreticalSpeedup = "theoretical_speedup", Net, Maximize;
    /// Bytes of the non-zero parameters with a bit mask: 4 · non-zero weights + weights / 8 + 4 · biases.
    SizeBytes = "size_bytes", Net, Minimize;
}

/// What a metric is a property of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricOf {
    /// A net on a part of the data: it has a value for each [`Split`].
    Data,
    /// The net alone: it has one value.
    Net,
}

/// Which values are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Higher is better.
    Maximize,
    /// Lower is better.
    Minimize,
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Metric {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::ALL
            .iter()
            .copied()
            .find(|metric| metric.name() == text)
            .ok_or_else(|| InvalidId { expected: "the name of a metric", found: text.chars().take(80).collect() })
    }
}

/// A part of the data on which metrics are reported. The front is chosen on validation; test is beside it and never selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// What early decisions are made on.
    Validation,
    /// What nothing is decided on.
    Test,
}

impl Split {
    /// Both, in the order of reports.
    pub const ALL: [Self; 2] = [Self::Validation, Self::Test];

    /// The name in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Split {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::ALL
            .into_iter()
            .find(|split| split.name() == text)
            .ok_or_else(|| InvalidId { expected: "\"validation\" or \"test\"", found: text.chars().take(80).collect() })
    }
}

/// The value of one metric: `0.8`, or `{"validation": 0.8, "test": 0.79}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MetricValue<V = f64> {
    /// Of the net alone.
    Net(V),
    /// By part of the data.
    BySplit(BTreeMap<Split, V>),
}

impl<V> MetricValue<V> {
    /// The value on `split`, or of the net.
    #[must_use]
    pub fn at(&self, split: Split) -> Option<&V> {
        match self {
            Self::Net(value) => Some(value),
            Self::BySplit(values) => values.get(&split),
        }
    }
}

/// A vector of metrics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Metrics<V = f64>(pub BTreeMap<Metric, MetricValue<V>>);

impl<V> Default for Metrics<V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<V> Metrics<V> {
    /// An empty vector.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a metric of the net alone.
    pub fn set_net(&mut self, metric: Metric, value: V) {
        self.0.insert(metric, MetricValue::Net(value));
    }

    /// Sets a metric of the data on one split.
    pub fn set(&mut self, metric: Metric, split: Split, value: V) {
        match self.0.entry(metric).or_insert_with(|| MetricValue::BySplit(BTreeMap::new())) {
            MetricValue::BySplit(values) => {
                values.insert(split, value);
            }
            net @ MetricValue::Net(_) => *net = MetricValue::BySplit(BTreeMap::from([(split, value)])),
        }
    }

    /// The value of `metric` on `split`; for a metric of the net alone, its one value.
    #[must_use]
    pub fn get(&self, metric: Metric, split: Split) -> Option<&V> {
        self.0.get(&metric)?.at(split)
    }
}
