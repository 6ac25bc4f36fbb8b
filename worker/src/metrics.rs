//! Metrics of scores and of nets, in double precision on the host. Knows nothing of Burn, data preparation or training.

use secateur_proto::{
    metrics::{Metric, Metrics, Split},
    spec::{ModelSpec, TensorKind},
};
use serde::{Deserialize, Serialize};

mod classes;

use crate::net::Parameters;
pub use classes::of_class_scores;

/// Bins of the expected calibration error.
pub const CALIBRATION_BINS: usize = 10;

/// How good scores are on one part of the data.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ScoreMetrics {
    /// Area under the ROC curve, by mid-ranks; of several classes the mean over each against the rest.
    pub auc: f64,
    /// 2 · auc − 1.
    pub gini: f64,
    /// Kolmogorov–Smirnov distance of the score distributions of the two classes; several classes have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ks: Option<f64>,
    /// Mean negative log-likelihood, in nats.
    pub log_loss: f64,
    /// Mean squared difference of probability and outcome (Brier 1950), of several classes summed over them.
    pub brier: f64,
    /// Expected calibration error over ten bins of equal width (Naeini et al. 2015); of several classes that of the likeliest
    /// one (Guo et al. 2017).
    pub ece: f64,
    /// Share of rows classified right: at probability 0.5, where 0.5 is positive, or as the likeliest of several classes, the
    /// first of those that tie.
    pub accuracy: f64,
    /// 1 − accuracy.
    pub error: f64,
}

/// Why there are no metrics of some scores or of a net.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MetricError {
    /// Not one score for each target.
    #[error("{logits} scores for {targets} targets")]
    Lengths {
        /// Scores given.
        logits: usize,
        /// Targets given.
        targets: usize,
    },
    /// A score that is infinite or not a number.
    #[error("the score of row {row} is not a finite number")]
    NotFinite {
        /// Its index.
        row: usize,
    },
    /// A target other than the index of a class.
    #[error("the target of row {row} is no class")]
    Target {
        /// Its index.
        row: usize,
    },
    /// Ranking takes rows of a class and rows of the others.
    #[error("all {rows} rows are of one class")]
    OneClass {
        /// How many.
        rows: usize,
    },
    /// Ranking each class against the rest takes rows of each.
    #[error("there is no row of class {class}")]
    NoRowOf {
        /// Its index.
        class: usize,
    },
    /// Weights or biases that are not those of the architecture.
    #[error("the parameters do not have the shapes of the net")]
    Shapes,
}

/// The metrics of what a net gives for each row: one logit, of the positive class, or one for each of several classes.
/// `logits` are [rows, `outputs`], row-major.
///
/// # Errors
/// As [`of_scores`] and [`of_class_scores`].
pub fn of_outputs(logits: &[f32], targets: &[f32], outputs: usize) -> Result<ScoreMetrics, MetricError> {
    if outputs == 1 { of_scores(logits, targets) } else { of_class_scores(logits, targets, outputs) }
}

/// The metrics of `logits`, one a row, against `targets` of 0 and 1.
///
/// # Errors
/// If the lengths differ, a logit is not finite, a target is neither 0 nor 1, or all are of one class.
pub fn of_scores(logits: &[f32], targets: &[f32]) -> Result<ScoreMetrics, MetricError> {
    let ranking = Ranking::of(logits, targets)?;
    let mut log_loss = 0.0;
    let mut brier = 0.0;
    let mut right = 0_usize;
    let mut gaps = [0.0; CALIBRATION_BINS];
    for (&logit, &target) in logits.iter().zip(targets) {
        let (logit, target) = (f64::from(logit), f64::from(target));
        // e^−|z| never overflows, and both the probability and the loss follow from it.
        let small = (-logit.abs()).exp();
        let probability = if logit >= 0.0 { 1.0 } else { small } / (1.0 + small);
        // −ln p(target) = softplus(z) − target · z
        log_loss += logit.max(0.0) - target * logit + small.ln_1p();
        brier += (probability - target).powi(2);
        right += usize::from((logit >= 0.0) == (target == 1.0));
        // The last bin includes its right edge.
        let bin = ((probability * CALIBRATION_BINS as f64) as usize).min(CALIBRATION_BINS - 1);
        gaps[bin] += probability - target;
    }
    let rows = logits.len() as f64;
    let (auc, accuracy) = (ranking.auc(), right as f64 / rows);
    Ok(ScoreMetrics {
        auc,
        gini: 2.0 * auc - 1.0,
        ks: Some(ranking.ks()),
        log_loss: log_loss / rows,
        brier: brier / rows,
        // A bin's rows times the distance of its means is the distance of its sums.
        ece: gaps.iter().map(|gap: &f64| gap.abs()).sum::<f64>() / rows,
        accuracy,
        error: (logits.len() - right) as f64 / rows,
    })
}

impl ScoreMetrics {
    /// Writes those that there are into a vector of metrics.
    pub fn set_into(&self, metrics: &mut Metrics, split: Split) {
        for (metric, value) in [
            (Metric::Auc, Some(self.auc)),
            (Metric::Gini, Some(self.gini)),
            (Metric::Ks, self.ks),
            (Metric::LogLoss, Some(self.log_loss)),
            (Metric::Brier, Some(self.brier)),
            (Metric::Ece, Some(self.ece)),
            (Metric::Accuracy, Some(self.accuracy)),
            (Metric::Error, Some(self.error)),
        ] {
            if let Some(value) = value {
                metrics.set(metric, split, value);
            }
        }
    }
}

/// The metrics of `logits` [rows, `outputs`], row-major: of one output those of a score of two classes, of more those of as many classes.
///
/// # Errors
/// As [`of_scores`] and [`of_class_scores`].
pub fn of_logits(logits: &[f32], targets: &[f32], outputs: usize) -> Result<ScoreMetrics, MetricError> {
    if outputs == 1 { of_scores(logits, targets) } else { of_class_scores(logits, targets, outputs) }
}

/// The area under the ROC curve alone: P(score of a positive > score of a negative) + P(tie) / 2.
///
/// # Errors
/// As [`of_scores`].
pub fn auc(logits: &[f32], targets: &[f32]) -> Result<f64, MetricError> {
    Ranking::of(logits, targets).map(|ranking| ranking.auc())
}

/// What one pass over the sorted scores counts. In whole numbers, so that the order of rows cannot change a result.
struct Ranking {
    positives: u64,
    negatives: u64,
    /// 2 · (pairs with the positive above + tied pairs / 2).
    twice_above: u128,
    /// max |below of positives · negatives − below of negatives · positives| over the distinct scores.
    widest_gap: u128,
}

impl Ranking {
    fn of(logits: &[f32], targets: &[f32]) -> Result<Self, MetricError> {
        if logits.len() != targets.len() {
            return Err(MetricError::Lengths { logits: logits.len(), targets: targets.len() });
        }
        // The order of the score in the low half and the class above it: sorting integers sorts both.
        let mut keys = Vec::with_capacity(logits.len());
        for (row, (&logit, &target)) in logits.iter().zip(targets).enumerate() {
            if !logit.is_finite() {
                return Err(MetricError::NotFinite { row });
            }
            if target != 0.0 && target != 1.0 {
                return Err(MetricError::Target { row });
            }
            keys.push(u64::from(ordered(logit)) | u64::from(target == 1.0) << CLASS_BIT);
        }
        sort_by_score(&mut keys);

        let positives = keys.iter().map(|key| key >> CLASS_BIT).sum::<u64>();
        let negatives = keys.len() as u64 - positives;
        if positives == 0 || negatives == 0 {
            return Err(MetricError::OneClass { rows: logits.len() });
        }
        let (mut positives_below, mut negatives_below) = (0_u64, 0_u64);
        let mut ranking = Self { positives, negatives, twice_above: 0, widest_gap: 0 };
        for tied in keys.chunk_by(|a, b| score_of(*a) == score_of(*b)) {
            let tied_positives = tied.iter().map(|key| key >> CLASS_BIT).sum::<u64>();
            let tied_negatives = tied.len() as u64 - tied_positives;
            ranking.twice_above += u128::from(tied_positives) * u128::from(2 * negatives_below + tied_negatives);
            positives_below += tied_positives;
            negatives_below += tied_negatives;
            let gap = (u128::from(positives_below) * u128::from(negatives))
                .abs_diff(u128::from(negatives_below) * u128::from(positives));
            ranking.widest_gap = ranking.widest_gap.max(gap);
        }
        Ok(ranking)
    }

    fn pairs(&self) -> f64 {
        (u128::from(self.positives) * u128::from(self.negatives)) as f64
    }

    fn auc(&self) -> f64 {
        self.twice_above as f64 / (2.0 * self.pairs())
    }

    fn ks(&self) -> f64 {
        self.widest_gap as f64 / self.pairs()
    }
}

/// Where a key holds the class; the lower half holds the score.
const CLASS_BIT: u32 = 32;

const fn score_of(key: u64) -> u32 {
    key as u32
}

/// An integer that is ordered as the finite numbers are; the two zeros are one.
fn ordered(value: f32) -> u32 {
    // −0 + 0 = +0
    let bits = (value + 0.0).to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// Sorts by the score alone: keys of one score may come in any order. The AUC is taken after every epoch of every lane, and
/// three counting passes of eleven bits are several times as fast as comparing.
fn sort_by_score(keys: &mut Vec<u64>) {
    const DIGIT: u32 = 11;
    const VALUES: usize = 1 << DIGIT;
    // Below it the tables cost more than they save.
    const FEWEST: usize = 1 << 10;
    if keys.len() < FEWEST {
        keys.sort_unstable_by_key(|key| score_of(*key));
        return;
    }
    let digit = |key: u64, pass: u32| (score_of(key) >> (pass * DIGIT)) as usize % VALUES;
    let mut starts = [[0_usize; VALUES]; 3];
    for &key in keys.iter() {
        for (pass, counts) in (0..).zip(&mut starts) {
            counts[digit(key, pass)] += 1;
        }
    }
    let mut sorted = vec![0; keys.len()];
    for (pass, starts) in (0..).zip(&mut starts) {
        let mut next = 0;
        for start in starts.iter_mut() {
            next += std::mem::replace(start, next);
        }
        for &key in keys.iter() {
            let place = &mut starts[digit(key, pass)];
            sorted[*place] = key;
            *place += 1;
        }
        std::mem::swap(keys, &mut sorted);
    }
}

/// The metrics of a net itself; `prunable` holds the indices of the layers that pruning may take from. A ratio whose denominator is
/// zero has no value and is left out: the compression ratio and the theoretical speed-up of a net of zeros, the sparsity of a net
/// without prunable weights.
///
/// # Errors
/// If the parameters are not those of `model`.
pub fn of_net(model: &ModelSpec, prunable: &[u32], parameters: &Parameters) -> Result<Metrics, MetricError> {
    if !parameters.fits(model) {
        return Err(MetricError::Shapes);
    }
    let layers = model.layers();
    let (mut weights, mut nonzero_weights, mut others, mut nonzero_others) = (0_u64, 0_u64, 0_u64, 0_u64);
    let (mut macs, mut nonzero_macs, mut prunable_weights, mut pruned) = (0_u64, 0_u64, 0_u64, 0_u64);
    for (tensor, values) in model.tensors().iter().zip(&parameters.tensors) {
        let (count, nonzero) = (values.len() as u64, values.iter().filter(|value| **value != 0.0).count() as u64);
        match tensor.kind {
            TensorKind::Weight => {
                let positions = layers[tensor.layer].positions;
                weights += count;
                nonzero_weights += nonzero;
                macs += count * positions;
                nonzero_macs += nonzero * positions;
                if prunable.iter().any(|layer| *layer as usize == tensor.layer) {
                    prunable_weights += count;
                    pruned += count - nonzero;
                }
            }
            TensorKind::Bias | TensorKind::Scale | TensorKind::Shift => {
                others += count;
                nonzero_others += nonzero;
            }
            TensorKind::RunningMean | TensorKind::RunningVariance => {}
        }
    }
    let mut metrics = Metrics::new();
    metrics.set_net(Metric::Parameters, (weights + others) as f64);
    metrics.set_net(Metric::NonzeroParameters, (nonzero_weights + nonzero_others) as f64);
    metrics.set_net(Metric::Macs, nonzero_macs as f64);
    // A bit for every weight, then the non-zero weights and everything else as 32-bit floats.
    metrics.set_net(Metric::SizeBytes, (4 * nonzero_weights + weights.div_ceil(8) + 4 * others) as f64);
    for (metric, numerator, denominator) in [
        (Metric::Sparsity, pruned, prunable_weights),
        (Metric::CompressionRatio, weights + others, nonzero_weights + nonzero_others),
        (Metric::TheoreticalSpeedup, macs, nonzero_macs),
    ] {
        if denominator > 0 {
            metrics.set_net(metric, numerator as f64 / denominator as f64);
        }
    }
    Ok(metrics)
}

#[cfg(test)]
mod tests;
