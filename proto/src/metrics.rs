//! The metrics. The table has one row for each, with everything except its computation. A [`Quantity`] is a metric and
//! what it is measured over; [`Metrics`] are values by quantity.

mod quantity;
mod values;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::spec::Task;

pub use self::{
    quantity::{Gap, InvalidQuantity, Over, Quantity, Slice, Split},
    values::{FEWEST_ROWS, Measured, Metrics, NotMeasurable},
};

macro_rules! metrics {
    ($($variant:ident = $name:literal, $title:literal, $subject:ident, $better:ident, $decimals:literal, $range:expr, $meaning:literal;)*) => {
        /// A metric. The names are those of the sweep file and of every report.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Metric {
            $(#[doc = $meaning] #[serde(rename = $name)] $variant,)*
        }

        impl Metric {
            /// Every metric, in the order of reports.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name in files.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The name in titles and sentences.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),* }
            }

            /// Whether it is a property of the net alone. All others are measured over rows of the data.
            #[must_use]
            pub const fn is_of_net(self) -> bool {
                match self { $(Self::$variant => metrics!(@of_net $subject)),* }
            }

            /// The direction that is better.
            #[must_use]
            pub const fn better(self) -> Direction {
                match self { $(Self::$variant => Direction::$better),* }
            }

            /// Decimals that a value is printed with; 0 for metrics that count.
            #[must_use]
            pub const fn decimals(self) -> usize {
                match self { $(Self::$variant => $decimals),* }
            }

            /// The smallest and the largest possible value in a binary task.
            const fn range(self) -> [f64; 2] {
                match self { $(Self::$variant => $range),* }
            }

            /// What it means, in one or two sentences for readers of a report.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning),* }
            }
        }
    };
    (@of_net Net) => { true };
    (@of_net Rows) => { false };
}

const SHARE: [f64; 2] = [0.0, 1.0];
const FROM_0: [f64; 2] = [0.0, f64::INFINITY];
const FROM_1: [f64; 2] = [1.0, f64::INFINITY];

// Variant, name in files, title, of rows or of the net, the better direction, decimals, range, meaning.
metrics! {
    Auc = "auc", "AUC", Rows, Maximize, 4, SHARE,
        "Area under the ROC curve: the chance that a positive row scores higher than a negative one, ties counting half (mid-ranks). Of several classes it is the mean over each class against all others. 0.5 is chance, 1 is perfect ranking.";
    Gini = "gini", "Gini", Rows, Maximize, 4, [-1.0, 1.0],
        "2 · AUC − 1. 0 is chance, 1 is perfect ranking.";
    Ks = "ks", "KS", Rows, Maximize, 4, SHARE,
        "Kolmogorov–Smirnov: the largest distance between the score distributions of the two classes, which is the largest difference of true and false positive rates at any cut-off.";
    AveragePrecision = "average_precision", "average precision", Rows, Maximize, 4, SHARE,
        "The precision at each score, averaged with the rise of recall there as its weight: the area under the steps of the precision-recall curve. Of several classes it is the mean over each class against all others. Chance is the share of positives, of k classes 1/k; 1 is perfect ranking.";
    LogLoss = "log_loss", "log loss", Rows, Minimize, 4, FROM_0,
        "Mean negative log-likelihood of the outcomes, in nats. Lower is better.";
    Brier = "brier", "Brier score", Rows, Minimize, 4, SHARE,
        "Mean squared difference of predicted probability and outcome; of several classes summed over the classes of a row. Lower is better.";
    Ece = "ece", "ECE", Rows, Minimize, 4, SHARE,
        "Expected calibration error: over ten bins of equal width, the mean distance of predicted probability and observed rate, weighted by rows. Of several classes the probability is that of the likeliest one, and the rate how often it is right. Lower is better.";
    Accuracy = "accuracy", "accuracy", Rows, Maximize, 4, SHARE,
        "Share of rows classified correctly: at probability 0.5, or as the likeliest of several classes. Higher is better.";
    Error = "error", "error rate", Rows, Minimize, 4, SHARE,
        "1 − accuracy: the share of rows classified wrongly. Lower is better.";
    Parameters = "parameters", "parameters", Net, Minimize, 0, FROM_0,
        "Weights and biases of the net.";
    NonzeroParameters = "nonzero_parameters", "non-zero parameters", Net, Minimize, 0, FROM_0,
        "Weights and biases that are not zero.";
    Sparsity = "sparsity", "sparsity", Net, Maximize, 4, SHARE,
        "Share of the prunable weights that are zero. The output layer and biases are not prunable.";
    CompressionRatio = "compression_ratio", "compression ratio", Net, Maximize, 2, FROM_1,
        "Parameters divided by non-zero parameters.";
    Macs = "macs", "multiply-accumulates per row", Net, Minimize, 0, FROM_0,
        "Multiply-accumulate operations for one row, counting non-zero weights only.";
    TheoreticalSpeedup = "theoretical_speedup", "theoretical speed-up", Net, Maximize, 2, FROM_1,
        "Multiply-accumulates of the dense net divided by those of this one. What a device makes of it is another matter: unstructured zeros are rarely faster.";
    SizeBytes = "size_bytes", "size in bytes", Net, Minimize, 0, FROM_0,
        "Bytes of the non-zero parameters with a bit mask: 4 for each non-zero weight, one bit for each weight, 4 for each bias. Of a quantized net 1 for each non-zero weight of 8 bits, half of that with 4 bits, and 4 for each scale.";
    FileBytes = "file_bytes", "bytes of the ONNX file", Net, Minimize, 0, FROM_0,
        "Bytes of the ONNX file that `secateur export` writes: the net without the units and inputs that it can do without, with the preparation of rows inside. Exact.";
    DenseBytes = "dense_bytes", "bytes as dense float", Net, Minimize, 0, FROM_0,
        "Bytes of the numbers of that smaller net with 4 bytes each, zeros included. Exact.";
    CsrBytes = "csr_bytes", "bytes as CSR", Net, Minimize, 0, FROM_0,
        "Bytes of that smaller net with its weights as compressed sparse rows: for each non-zero weight 4 bytes and its column (2 bytes, or 4 where a row has more than 65,536 columns), for each row where it begins (4 bytes); 4 bytes for each other number. Exact.";
    BitmaskBytes = "bitmask_bytes", "bytes with a bit mask", Net, Minimize, 0, FROM_0,
        "Bytes of that smaller net with one bit for each weight and 4 bytes for each that is not zero; 4 bytes for each other number. Exact.";
    Int8Bytes = "int8_bytes", "bytes as int8", Net, Minimize, 0, FROM_0,
        "Bytes of that smaller net with 1 byte for each weight, zeros included, 4 for each scale of a unit and each number that is added, and 8 for the levels of each layer's inputs. Exact; of a net that is not quantized, what it would take.";
    Int8BitmaskBytes = "int8_bitmask_bytes", "bytes as int8 with a bit mask", Net, Minimize, 0, FROM_0,
        "The same with one bit for each weight and 1 byte for each that is not zero. Exact.";
    LatencyP50Us = "latency_p50_us", "µs per call (median)", Net, Minimize, 2, FROM_0,
        "Microseconds until the engine has answered a call of the smallest measured batch, usually one row that is prepared: the median. Measured on one machine; compare across machines by the ratio.";
    LatencyP99Us = "latency_p99_us", "µs per call (99th percentile)", Net, Minimize, 2, FROM_0,
        "The same: of a hundred calls the slowest but one.";
    LatencyRatio = "latency_ratio", "measured speed-up per call", Net, Maximize, 2, FROM_0,
        "The median latency of a dense net of the original architecture divided by that of this one, timed in turns on the same thread. 1 is no faster. Measured.";
    BatchLatencyP50Us = "batch_latency_p50_us", "µs per large call (median)", Net, Minimize, 1, FROM_0,
        "Microseconds until the engine has answered a call of the largest measured batch: the median. Measured on one machine.";
    BatchLatencyP99Us = "batch_latency_p99_us", "µs per large call (99th percentile)", Net, Minimize, 1, FROM_0,
        "The same: of a hundred calls the slowest but one.";
    Throughput = "throughput", "rows per second", Net, Maximize, 0, FROM_0,
        "Rows of the largest measured batch divided by the median time of such a call, on one thread. Measured on one machine.";
    ThroughputRatio = "throughput_ratio", "measured speed-up per large call", Net, Maximize, 2, FROM_0,
        "Rows per second of this net divided by those of a dense net of the original architecture, timed in turns on the same thread. 1 is no faster. Measured.";
}

impl Metric {
    /// Whether it is a time that was taken on one machine, and so differs from run to run.
    #[must_use]
    pub const fn is_timed(self) -> bool {
        matches!(
            self,
            Self::LatencyP50Us
                | Self::LatencyP99Us
                | Self::LatencyRatio
                | Self::BatchLatencyP50Us
                | Self::BatchLatencyP99Us
                | Self::Throughput
                | Self::ThroughputRatio
        )
    }

    /// Whether only a stage that measures nets gives it.
    #[must_use]
    pub const fn needs_measuring(self) -> bool {
        self.is_timed()
            || matches!(
                self,
                Self::FileBytes
                    | Self::DenseBytes
                    | Self::CsrBytes
                    | Self::BitmaskBytes
                    | Self::Int8Bytes
                    | Self::Int8BitmaskBytes
            )
    }

    /// Returns the smallest and the largest possible value in a task of that kind.
    #[must_use]
    pub const fn range_of(self, task: Task) -> [f64; 2] {
        match (self, task) {
            // Summed over the classes of a row: probability 1 for a wrong class gives 1 + 1.
            (Self::Brier, Task::Multiclass) => [0.0, 2.0],
            _ => self.range(),
        }
    }

    /// Returns the metric over all rows of `split`. A property of the net alone ignores `split`.
    #[must_use]
    pub const fn on(self, split: Split) -> Quantity {
        Quantity::on(self, split)
    }
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
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        let found = Self::ALL.iter().copied().find(|metric| metric.name() == text);
        found.ok_or_else(|| InvalidQuantity::unknown_metric(text))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    pub(crate) use super::values::tests::metrics;
}
