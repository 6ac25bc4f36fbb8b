//! Metrics of scores and of nets, in double precision on the host. Knows nothing of Burn, data preparation or training.

use std::collections::BTreeMap;

use secateur_proto::{
    metrics::{FEWEST_ROWS, Measured, Metric, Metrics, NotMeasurable, Over, Quantity},
    spec::{ModelSpec, TensorKind},
};

mod classes;

use crate::net::Parameters;
pub use classes::of_class_scores;

/// Bins of the expected calibration error.
pub const CALIBRATION_BINS: usize = 10;

/// How good scores are on some rows: every metric of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreMetrics(BTreeMap<Metric, Measured>);

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
    /// Fewer than two classes.
    #[error("scores of {classes} classes")]
    Classes {
        /// How many.
        classes: usize,
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

/// The metrics that rank rows of one class against those of another.
const RANKING: [Metric; 4] = [Metric::Auc, Metric::Gini, Metric::Ks, Metric::AveragePrecision];

/// The metrics of some rows of what [`of_outputs`] takes, by their index. Of fewer than [`FEWEST_ROWS`] there are none.
///
/// # Errors
/// As [`of_outputs`].
pub fn of_slice(logits: &[f32], targets: &[f32], outputs: usize, rows: &[usize]) -> Result<ScoreMetrics, MetricError> {
    let logits: Vec<f32> = rows.iter().flat_map(|row| &logits[row * outputs..][..outputs]).copied().collect();
    let targets: Vec<f32> = rows.iter().map(|row| targets[*row]).collect();
    let mut metrics = of_outputs(&logits, &targets, outputs)?;
    let fewest_of_class = (0..outputs.max(2))
        .map(|class| targets.iter().filter(|target| **target == class as f32).count())
        .min()
        .unwrap_or_default();
    for (metric, measured) in &mut metrics.0 {
        let has = if RANKING.contains(metric) { fewest_of_class } else { rows.len() };
        if has < FEWEST_ROWS && measured.value().is_some() {
            *measured = Measured::Not(NotMeasurable::FewRows);
        }
    }
    Ok(metrics)
}

/// The metrics of `logits`, one a row, against `targets` of 0 and 1. What ranks rows of one class against another's takes rows of both.
///
/// # Errors
/// If the lengths differ, a logit is not finite, or a target is neither 0 nor 1.
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
    let sums = Sums { rows: targets.len(), log_loss, brier, right, gaps };
    Ok(sums.metrics(ranking.auc(), ranking.ks(), ranking.average_precision()))
}

/// What is added up row by row.
struct Sums {
    rows: usize,
    log_loss: f64,
    brier: f64,
    right: usize,
    /// Of each bin, probability minus outcome.
    gaps: [f64; CALIBRATION_BINS],
}

impl Sums {
    /// Every metric of rows.
    fn metrics(
        &self,
        auc: Result<f64, NotMeasurable>,
        ks: Result<f64, NotMeasurable>,
        average_precision: Result<f64, NotMeasurable>,
    ) -> ScoreMetrics {
        let rows = self.rows as f64;
        let mean = |sum: f64| if self.rows == 0 { Err(NotMeasurable::FewRows) } else { Ok(sum / rows) };
        let values = [
            (Metric::Auc, auc),
            (Metric::Gini, auc.map(|auc| 2.0 * auc - 1.0)),
            (Metric::Ks, ks),
            (Metric::AveragePrecision, average_precision),
            (Metric::LogLoss, mean(self.log_loss)),
            (Metric::Brier, mean(self.brier)),
            // A bin's rows times the distance of its means is the distance of its sums.
            (Metric::Ece, mean(self.gaps.iter().map(|gap| gap.abs()).sum())),
            (Metric::Accuracy, mean(self.right as f64)),
            (Metric::Error, mean((self.rows - self.right) as f64)),
        ];
        ScoreMetrics(values.map(|(metric, value)| (metric, value.into())).into())
    }
}

impl ScoreMetrics {
    /// The value of `metric`, if it has one.
    #[must_use]
    pub fn value(&self, metric: Metric) -> Option<f64> {
        self.0.get(&metric).copied().and_then(Measured::value)
    }

    /// The values of those that have one.
    #[must_use]
    pub fn values(&self) -> BTreeMap<Metric, f64> {
        self.0.iter().filter_map(|(metric, measured)| Some((*metric, measured.value()?))).collect()
    }

    /// All of them over `over`, which is not the net.
    pub fn over(self, over: &Over) -> impl Iterator<Item = (Quantity, Measured)> {
        let quantity = |metric| Quantity::new(metric, over.clone()).expect("these are metrics of rows");
        self.0.into_iter().map(move |(metric, measured)| (quantity(metric), measured))
    }
}

/// What one pass over the sorted scores counts. In whole numbers, or by distinct score, so that the order of rows cannot change a result.
struct Ranking {
    positives: u64,
    negatives: u64,
    /// 2 · (pairs with the positive above + tied pairs / 2).
    twice_above: u128,
    /// max |below of positives · negatives − below of negatives · positives| over the distinct scores.
    widest_gap: u128,
    /// Over the distinct scores, the positives that have it times the precision of all rows that score at least as high.
    sum_of_precisions: f64,
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
        let (mut positives_below, mut negatives_below) = (0_u64, 0_u64);
        let mut ranking = Self { positives, negatives, twice_above: 0, widest_gap: 0, sum_of_precisions: 0.0 };
        for tied in keys.chunk_by(|a, b| score_of(*a) == score_of(*b)) {
            let tied_positives = tied.iter().map(|key| key >> CLASS_BIT).sum::<u64>();
            let tied_negatives = tied.len() as u64 - tied_positives;
            if tied_positives > 0 {
                let [above, above_and_negative] = [positives - positives_below, negatives - negatives_below];
                let precision = above as f64 / (above + above_and_negative) as f64;
                ranking.sum_of_precisions += tied_positives as f64 * precision;
            }
            ranking.twice_above += u128::from(tied_positives) * u128::from(2 * negatives_below + tied_negatives);
            positives_below += tied_positives;
            negatives_below += tied_negatives;
            let gap = (u128::from(positives_below) * u128::from(negatives))
                .abs_diff(u128::from(negatives_below) * u128::from(positives));
            ranking.widest_gap = ranking.widest_gap.max(gap);
        }
        Ok(ranking)
    }

    /// Pairs of a row of each class. There is no ranking without one.
    fn pairs(&self) -> Result<f64, NotMeasurable> {
        let pairs = u128::from(self.positives) * u128::from(self.negatives);
        if pairs == 0 { Err(NotMeasurable::MissingClass) } else { Ok(pairs as f64) }
    }

    /// P(score of a positive > score of a negative) + P(tie) / 2.
    fn auc(&self) -> Result<f64, NotMeasurable> {
        Ok(self.twice_above as f64 / (2.0 * self.pairs()?))
    }

    /// Σ (recall − recall at the next higher score) · precision over the distinct scores, as scikit-learn's `average_precision_score`.
    fn average_precision(&self) -> Result<f64, NotMeasurable> {
        self.pairs()?;
        Ok(self.sum_of_precisions / self.positives as f64)
    }

    fn ks(&self) -> Result<f64, NotMeasurable> {
        Ok(self.widest_gap as f64 / self.pairs()?)
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
/// zero has no value: the compression ratio and the theoretical speed-up of a net of zeros, the sparsity of a net without prunable
/// weights.
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
    let ratio = |numerator: u64, denominator: u64| {
        if denominator == 0 { Err(NotMeasurable::ZeroDenominator) } else { Ok(numerator as f64 / denominator as f64) }
    };
    let (parameters, nonzero_parameters) = (weights + others, nonzero_weights + nonzero_others);
    // A bit for every weight, then the non-zero weights and everything else as 32-bit floats.
    let bytes = 4 * nonzero_weights + weights.div_ceil(8) + 4 * others;
    let values = [
        (Metric::Parameters, Ok(parameters as f64)),
        (Metric::NonzeroParameters, Ok(nonzero_parameters as f64)),
        (Metric::Sparsity, ratio(pruned, prunable_weights)),
        (Metric::CompressionRatio, ratio(parameters, nonzero_parameters)),
        (Metric::Macs, Ok(nonzero_macs as f64)),
        (Metric::TheoreticalSpeedup, ratio(macs, nonzero_macs)),
        (Metric::SizeBytes, Ok(bytes as f64)),
    ];
    let quantity = |metric| Quantity::new(metric, Over::Net).expect("these are metrics of the net");
    Ok(values.into_iter().map(|(metric, value)| (quantity(metric), value.into())).collect())
}

#[cfg(test)]
mod tests;
