//! Names and definitions of metrics for readers who did not write the sweep.

use secateur_proto::metrics::{Metric, Split};

/// How a metric is called in titles and sentences.
pub(super) const fn title(metric: Metric) -> &'static str {
    match metric {
        Metric::Auc => "AUC",
        Metric::Gini => "Gini",
        Metric::Ks => "KS",
        Metric::LogLoss => "log loss",
        Metric::Brier => "Brier score",
        Metric::Ece => "ECE",
        Metric::Accuracy => "accuracy",
        Metric::Error => "error rate",
        Metric::Parameters => "parameters",
        Metric::NonzeroParameters => "non-zero parameters",
        Metric::Sparsity => "sparsity",
        Metric::CompressionRatio => "compression ratio",
        Metric::Macs => "multiply-accumulates per row",
        Metric::TheoreticalSpeedup => "theoretical speed-up",
        Metric::SizeBytes => "size in bytes",
    }
}

/// The title, with the split for a metric of the data.
pub(super) fn title_on(metric: Metric, split: Option<Split>) -> String {
    split.map_or_else(|| title(metric).to_owned(), |split| format!("{}, {split}", title(metric)))
}

/// What a metric is, in a sentence or two.
pub(super) const fn definition(metric: Metric) -> &'static str {
    match metric {
        Metric::Auc => {
            "Area under the ROC curve: the chance that a positive row scores higher than a negative one, ties counting half (mid-ranks). Of several classes it is the mean over each class against all others. 0.5 is chance, 1 is perfect ranking."
        }
        Metric::Gini => "2 · AUC − 1. 0 is chance, 1 is perfect ranking.",
        Metric::Ks => {
            "Kolmogorov–Smirnov: the largest distance between the score distributions of the two classes, which is the largest difference of true and false positive rates at any cut-off."
        }
        Metric::LogLoss => "Mean negative log-likelihood of the outcomes, in nats. Lower is better.",
        Metric::Brier => {
            "Mean squared difference of predicted probability and outcome; of several classes summed over the classes of a row. Lower is better."
        }
        Metric::Ece => {
            "Expected calibration error: over ten bins of equal width, the mean distance of predicted probability and observed rate, weighted by rows. Of several classes the probability is that of the likeliest one, and the rate how often it is right. Lower is better."
        }
        Metric::Accuracy => {
            "Share of rows classified correctly: at probability 0.5, or as the likeliest of several classes. Higher is better."
        }
        Metric::Error => "1 − accuracy: the share of rows classified wrongly. Lower is better.",
        Metric::Parameters => "Weights and biases of the net.",
        Metric::NonzeroParameters => "Weights and biases that are not zero.",
        Metric::Sparsity => {
            "Share of the prunable weights that are zero. The output layer and biases are not prunable."
        }
        Metric::CompressionRatio => "Parameters divided by non-zero parameters.",
        Metric::Macs => "Multiply-accumulate operations for one row, counting non-zero weights only.",
        Metric::TheoreticalSpeedup => {
            "Multiply-accumulates of the dense net divided by those of this one. What a device makes of it is another matter: unstructured zeros are rarely faster."
        }
        Metric::SizeBytes => {
            "Bytes of the non-zero parameters with a bit mask: 4 for each non-zero weight, one bit for each weight, 4 for each bias."
        }
    }
}
