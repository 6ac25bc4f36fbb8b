//! How much a metric would vary with other rows of the same population. Knows scores and numbers, not cells.
//!
//! A metric is the mean of one value a row (a loss), or of two groups of placements (the AUC: of a positive row the share of negative
//! rows that score lower, ties counting half, and the reverse). Its variance over rows follows from the sample variances of these values:
//! of the AUC it is that of DeLong, DeLong & Clarke-Pearson 1988 (Biometrics 44:837). A mean over seeds, and a difference of two nets,
//! has the means and the differences of these values: nets that are right about the same rows vary together, and the variance shows it.
//!
//! With the variance between seeds, divided by their number, this gives the variance of a mean over both, since the two are drawn
//! independently. What rows and seeds do together is counted in both parts, which widens the interval a little. Its degrees of freedom
//! are Satterthwaite's: with three seeds whose variance is several times that of the rows, a 95 % interval holds the truth in 92 % of
//! cases, and otherwise in 93 to 97 %.

use secateur_proto::metrics::Metric;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF as _, Normal};

use super::statistics::{Summary, t_quantile, upper_level};

/// The scores of the rows of one part of the data.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SplitScores {
    /// What the net gives: one log-odds for each row, or one value for each class of each row.
    pub logits: Vec<f32>,
    /// Indices of classes.
    pub targets: Vec<f32>,
}

/// The values of each row that a metric is the mean of: one group of them, or two whose means are the same.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RowValues(Vec<Vec<f64>>);

impl RowValues {
    /// The values of `metric`. `None` if it is no mean of rows, or the scores do not have it.
    pub(super) fn of(metric: Metric, scores: &SplitScores) -> Option<Self> {
        let SplitScores { logits, targets } = scores;
        let outputs =
            logits.len().checked_div(targets.len()).filter(|outputs| outputs * targets.len() == logits.len())?;
        let by_row = |value: fn(&[f32], usize) -> f64| {
            let rows = logits.chunks_exact(outputs).zip(targets);
            Some(Self(vec![rows.map(|(logits, target)| value(logits, *target as usize)).collect()]))
        };
        match metric {
            Metric::Auc if outputs == 1 => Some(Self(placements(logits, targets)?)),
            Metric::Gini if outputs == 1 => {
                let mut groups = placements(logits, targets)?;
                groups.iter_mut().flatten().for_each(|value| *value = 2.0 * *value - 1.0);
                Some(Self(groups))
            }
            Metric::LogLoss => by_row(log_loss),
            Metric::Brier => by_row(brier),
            Metric::Accuracy => by_row(|logits, target| f64::from(u8::from(is_right(logits, target)))),
            Metric::Error => by_row(|logits, target| f64::from(u8::from(!is_right(logits, target)))),
            _ => None,
        }
    }

    /// Values whose mean is the quantity.
    pub(super) fn of_values(values: Vec<f64>) -> Self {
        Self(vec![values])
    }

    /// Values of two groups of rows with the same mean, the quantity. Their variances add.
    pub(super) fn of_two(one: Vec<f64>, other: Vec<f64>) -> Self {
        Self(vec![one, other])
    }

    /// The metric.
    pub(super) fn mean(&self) -> f64 {
        self.0.first().map_or(f64::NAN, |group| mean(group))
    }

    /// The variance of the metric over rows. `None` with fewer than two rows of a group.
    pub(super) fn variance(&self) -> Option<f64> {
        self.0.iter().map(|group| variance_of_mean(group)).sum()
    }

    /// The rows of the smallest group.
    pub(super) fn fewest(&self) -> usize {
        self.0.iter().map(Vec::len).min().unwrap_or_default()
    }

    /// Adds `factor` times the values of `other`, of the same rows. Returns `false` if they are of other rows.
    #[must_use]
    pub(super) fn add(&mut self, factor: f64, other: &Self) -> bool {
        if self.0.is_empty() {
            self.0 = other.0.iter().map(|group| vec![0.0; group.len()]).collect();
        }
        let lengths = |values: &Self| values.0.iter().map(Vec::len).collect::<Vec<_>>();
        if lengths(self) != lengths(other) {
            return false;
        }
        for (own, other) in self.0.iter_mut().flatten().zip(other.0.iter().flatten()) {
            *own += factor * other;
        }
        true
    }

    /// An empty sum. The first values that are added set its rows.
    pub(super) const fn none() -> Self {
        Self(Vec::new())
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn variance_of_mean(values: &[f64]) -> Option<f64> {
    let n = values.len();
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (n > 1).then(|| squares / (n - 1) as f64 / n as f64)
}

/// Of each positive row the share of negative rows below it, and of each negative row the share of positive rows above it. `None`
/// without rows of both.
fn placements(logits: &[f32], targets: &[f32]) -> Option<Vec<Vec<f64>>> {
    let of = |class: bool| -> Vec<f32> {
        logits.iter().zip(targets).filter(|(_, target)| (**target == 1.0) == class).map(|(logit, _)| *logit).collect()
    };
    let (positives, negatives) = (of(true), of(false));
    if positives.is_empty() || negatives.is_empty() || logits.iter().any(|logit| logit.is_nan()) {
        return None;
    }
    let sorted = |values: &[f32]| {
        let mut values = values.to_vec();
        values.sort_unstable_by(f32::total_cmp);
        values
    };
    // Zeros of both signs are equal.
    let below = |sorted: &[f32], value: f32| {
        let (less, not_more) =
            (sorted.partition_point(|other| *other < value), sorted.partition_point(|other| *other <= value));
        (less + not_more) as f64 / 2.0 / sorted.len() as f64
    };
    let (all_positives, all_negatives) = (sorted(&positives), sorted(&negatives));
    Some(vec![
        positives.iter().map(|value| below(&all_negatives, *value)).collect(),
        negatives.iter().map(|value| 1.0 - below(&all_positives, *value)).collect(),
    ])
}

/// −ln of the probability of the target.
fn log_loss(logits: &[f32], target: usize) -> f64 {
    if let [logit] = logits {
        let logit = f64::from(*logit);
        return logit.max(0.0) - target as f64 * logit + (-logit.abs()).exp().ln_1p();
    }
    let of_target = logits.get(target).map_or(f64::NAN, |logit| f64::from(*logit));
    largest(logits) + logits.iter().map(|logit| (f64::from(*logit) - largest(logits)).exp()).sum::<f64>().ln()
        - of_target
}

/// The squared distance of the probabilities from the outcome.
fn brier(logits: &[f32], target: usize) -> f64 {
    if let [logit] = logits {
        let probability = 1.0 / (1.0 + (-f64::from(*logit)).exp());
        return (probability - target as f64).powi(2);
    }
    let sum: f64 = logits.iter().map(|logit| (f64::from(*logit) - largest(logits)).exp()).sum();
    let distance = |(class, logit): (usize, &f32)| {
        let probability = (f64::from(*logit) - largest(logits)).exp() / sum;
        (probability - f64::from(u8::from(class == target))).powi(2)
    };
    logits.iter().enumerate().map(distance).sum()
}

fn largest(logits: &[f32]) -> f64 {
    logits.iter().fold(f64::NEG_INFINITY, |largest, logit| largest.max(f64::from(*logit)))
}

fn is_right(logits: &[f32], target: usize) -> bool {
    if let [logit] = logits {
        return (*logit >= 0.0) == (target == 1);
    }
    // The first of equal classes is the answer.
    let answer =
        logits.iter().enumerate().fold(0, |best, (class, logit)| if *logit > logits[best] { class } else { best });
    answer == target
}

/// √((t · se_seeds)² + (z · se_rows)²) with the quantiles of an interval that is one of `looks`, as in the test of non-inferiority.
pub(super) fn half_width(of_seeds: f64, of_rows: Option<f64>, seeds: u64, looks: u32) -> Option<f64> {
    let level = upper_level(looks);
    let of_seeds = t_quantile(level, seeds.saturating_sub(1) as f64)? * of_seeds;
    Some(of_seeds.hypot(of_rows.unwrap_or(0.0) * Normal::standard().inverse_cdf(level)))
}

/// A mean with the uncertainty of seeds and of rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Total {
    /// The mean over the seeds.
    pub mean: f64,
    /// How many seeds.
    pub n: u64,
    /// The standard error that the seeds make: sd / √n. `None` with one seed.
    pub se_seeds: Option<f64>,
    /// The standard error that the rows make. `None` if it is not known.
    pub se_rows: Option<f64>,
    /// Degrees of freedom of the interval. `None` with one seed, and where the sample is looked at several times.
    pub degrees: Option<f64>,
    /// The 95 % interval of the mean over other seeds and other rows. `None` with one seed: what seeds do is not known then.
    pub ci95: Option<[f64; 2]>,
}

impl Total {
    /// Combines a mean over seeds, of a quantity in `range`, with the variance over rows and the number of rows that it is of.
    pub(super) fn of(seeds: &Summary, rows: Option<(f64, usize)>, range: [f64; 2]) -> Self {
        Self::of_looks(seeds, rows, range, 1)
    }

    /// The same, where the seeds grow and are looked at up to `looks` times: the intervals of all looks together hold in 95 % of cases. Far
    /// out in the tails Satterthwaite's degrees of freedom are wrong, so the halves of both parts are added as squares.
    pub(super) fn of_looks(
        seeds: &Summary,
        rows: Option<(f64, usize)>,
        [lowest, highest]: [f64; 2],
        looks: u32,
    ) -> Self {
        let Summary { mean, sd, n, .. } = *seeds;
        let se_seeds = sd.map(|sd| sd / (n as f64).sqrt());
        let se_rows = rows.map(|(variance, _)| variance.sqrt());
        let mut total = Self { mean, n, se_seeds, se_rows, degrees: None, ci95: None };
        let within = |half: f64| [(mean - half).max(lowest.min(mean)), (mean + half).min(highest.max(mean))];
        if looks > 1 {
            total.ci95 = se_seeds.and_then(|of_seeds| half_width(of_seeds, se_rows, n, looks)).map(within);
        } else if let Some(of_seeds) = se_seeds.map(|se| se * se) {
            let (of_rows, fewest) = rows.unwrap_or((0.0, 2));
            let sum = of_seeds + of_rows;
            let weights = of_seeds.powi(2) / (n - 1) as f64 + of_rows.powi(2) / fewest.saturating_sub(1).max(1) as f64;
            // Without any variance all degrees give the same interval.
            let degrees = if weights > 0.0 { sum.powi(2) / weights } else { (n - 1) as f64 };
            total.degrees = Some(degrees);
            let half = t_quantile(0.975, degrees).map(|quantile| quantile * sum.sqrt());
            total.ci95 = half.map(within);
        }
        total
    }

    /// A mean over seeds, without a variance over rows.
    pub(super) fn of_seeds(seeds: &Summary) -> Self {
        Self { ci95: seeds.ci95, ..Self::of(seeds, None, [f64::NEG_INFINITY, f64::INFINITY]) }
    }

    /// What its interval is about.
    pub(super) const fn covers(&self) -> &'static str {
        if self.se_rows.is_some() { "seeds and rows" } else { "seeds" }
    }

    /// As a summary, for texts that print means and intervals.
    pub(super) fn summary(&self) -> Summary {
        let sd = self.se_seeds.map(|se| se * (self.n as f64).sqrt());
        Summary { mean: self.mean, sd, ci95: self.ci95, n: self.n }
    }
}

#[cfg(test)]
mod tests;
