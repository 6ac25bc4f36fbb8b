//! Whether probabilities mean what they say, and what recalibration does: reliability curve, slope and intercept, ECE, the parts of the
//! Brier score, Platt's and isotonic recalibration.

use secateur_proto::metrics::Metric;
use serde::{Deserialize, Serialize};

use super::{
    super::rows::{RowValues, SplitScores, Total},
    Nets, TrialScores,
    estimate::{ANY, BySeed, Estimate, SHARE, SIGNED_SHARE, estimate, of_seeds},
    groups::excess,
    recalibration::{Isotonic, Platt},
};

/// Groups of about as many rows.
const BINS: usize = 10;

/// How well the probabilities of a cell match what happens, on test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalibrationReport {
    /// The mean probability minus the share of positives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_the_large: Option<Estimate>,
    /// Slope of the logistic regression of the outcome on the log-odds (Cox 1958): 1 is right, less is overconfident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slope: Option<Estimate>,
    /// Its intercept: 0 is right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intercept: Option<Estimate>,
    /// The mean distance between probability and share of positives over ten groups of as many rows, by probability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ece: Option<Estimate>,
    /// What that distance is on average, if the probabilities are right: it is never 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ece_if_calibrated: Option<f64>,
    /// Parts of the Brier score, over the same ten groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brier: Option<BrierParts>,
    /// The ten groups, the lowest probabilities first.
    pub curve: Vec<ReliabilityPoint>,
    /// After recalibration on every second validation row.
    pub recalibrated: Vec<Recalibrated>,
}

/// Brier = reliability − resolution + uncertainty + within, means over the seeds (Murphy 1973; the last part is that of Stephenson et al.
/// 2008, since probabilities vary within a group).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BrierParts {
    /// The score.
    pub brier: f64,
    /// The mean squared distance of probability and share of positives: smaller is better.
    pub reliability: f64,
    /// How far the groups' shares of positives are apart: larger is better.
    pub resolution: f64,
    /// That of the data alone.
    pub uncertainty: f64,
    /// What is left: the variance of probabilities within groups, minus twice their covariance with the outcome.
    pub within: f64,
}

/// A group of rows with similar probabilities, means over the seeds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityPoint {
    /// Rows of one seed's group.
    pub rows: u64,
    /// Their mean probability.
    pub predicted: f64,
    /// Their share of positives.
    pub observed: f64,
}

/// Test metrics after recalibration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recalibrated {
    /// `platt` or `isotonic`.
    pub method: String,
    /// Mean over the seeds.
    pub brier: f64,
    /// Recalibrated minus as trained.
    pub brier_change: Total,
    /// Of the ten groups of the new probabilities. Mean over the seeds.
    pub ece: f64,
    /// Recalibrated minus as trained; its interval is one of seeds.
    pub ece_change: Option<Total>,
}

/// Rows with their probabilities and outcomes.
struct Predicted {
    rows: Vec<(f64, f64)>,
    /// Ends of the groups in `rows`, which are in the order of the probabilities.
    ends: Vec<usize>,
    /// The place of each of `rows` in the file.
    order: Vec<usize>,
}

impl Predicted {
    fn of(probabilities: &[f64], targets: &[f32]) -> Self {
        let mut order: Vec<usize> = (0..targets.len()).collect();
        order.sort_by(|one, two| probabilities[*one].total_cmp(&probabilities[*two]));
        let rows: Vec<(f64, f64)> =
            order.iter().map(|index| (probabilities[*index], f64::from(targets[*index]))).collect();
        Self { ends: groups(rows.len(), |one, two| rows[one].0 == rows[two].0), rows, order }
    }

    fn bins(&self) -> impl Iterator<Item = &[(f64, f64)]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.rows[start..*end])
    }

    /// The ECE as a mean of rows: each counts with the sign of its group.
    fn ece(&self) -> RowValues {
        let mut values = vec![0.0; self.rows.len()];
        let mut places = self.order.iter();
        for bin in self.bins() {
            let sign = bin.iter().map(|(p, y)| p - y).sum::<f64>().signum();
            for ((p, y), place) in bin.iter().zip(places.by_ref()) {
                values[*place] = sign * (p - y);
            }
        }
        RowValues::of_values(values)
    }

    /// The mean of |N(0, variance)| of each group: the mean of the ECE if the probabilities are right.
    fn ece_if_calibrated(&self) -> f64 {
        let of_bin = |bin: &[(f64, f64)]| bin.iter().map(|(p, _)| p * (1.0 - p)).sum::<f64>().sqrt();
        self.bins().map(of_bin).sum::<f64>() * (2.0 / std::f64::consts::PI).sqrt() / self.rows.len() as f64
    }

    fn brier(&self) -> BrierParts {
        let n = self.rows.len() as f64;
        let base = self.rows.iter().map(|(_, y)| y).sum::<f64>() / n;
        let brier = self.rows.iter().map(|(p, y)| (p - y).powi(2)).sum::<f64>() / n;
        let (mut reliability, mut resolution) = (0.0, 0.0);
        for bin in self.bins() {
            let (predicted, observed) = means(bin);
            reliability += bin.len() as f64 / n * (predicted - observed).powi(2);
            resolution += bin.len() as f64 / n * (observed - base).powi(2);
        }
        let uncertainty = base * (1.0 - base);
        let within = brier - (reliability - resolution + uncertainty);
        BrierParts { brier, reliability, resolution, uncertainty, within }
    }
}

fn means(bin: &[(f64, f64)]) -> (f64, f64) {
    let n = bin.len() as f64;
    (bin.iter().map(|(p, _)| p).sum::<f64>() / n, bin.iter().map(|(_, y)| y).sum::<f64>() / n)
}

/// The ends of ten groups of about as many of `count` sorted rows. Equal rows are in one group.
pub(super) fn groups(count: usize, is_equal: impl Fn(usize, usize) -> bool) -> Vec<usize> {
    let mut ends = Vec::new();
    for bin in 1..=BINS {
        let mut end = count * bin / BINS;
        while end > 0 && end < count && is_equal(end - 1, end) {
            end += 1;
        }
        if end > ends.last().copied().unwrap_or(0) {
            ends.push(end);
        }
    }
    ends
}

pub(super) fn probability(logit: f32) -> f64 {
    1.0 / (1.0 + (-f64::from(logit)).exp())
}

fn predicted(scores: &SplitScores) -> Predicted {
    let probabilities: Vec<f64> = scores.logits.iter().map(|logit| probability(*logit)).collect();
    Predicted::of(&probabilities, &scores.targets)
}

/// The slope and the intercept of recalibration as means of rows: each row has the estimate plus its influence on it, so that the variance
/// is the sandwich's (Huber 1967).
fn slope_and_intercept(scores: &SplitScores) -> Option<[RowValues; 2]> {
    let targets: Vec<f64> = scores.targets.iter().copied().map(f64::from).collect();
    let fit = Platt::fit(&scores.logits, &targets)?;
    let [intercept, slope] = fit.influences(&scores.logits, &targets)?;
    Some([slope, intercept].map(RowValues::of_values))
}

fn by_seed(nets: &Nets, value: impl Fn(&TrialScores) -> Option<RowValues>) -> BySeed {
    nets.iter().filter_map(|(seed, net)| Some((*seed, value(net)?))).collect()
}

pub(super) fn measure(own: &Nets, baseline: Option<&Nets>) -> CalibrationReport {
    let of = |range: [f64; 2], value: &dyn Fn(&TrialScores) -> Option<RowValues>| {
        estimate(&by_seed(own, value), baseline.map(|nets| by_seed(nets, value)).as_ref(), range)
    };
    let part = |index: usize| {
        of(ANY, &|net| slope_and_intercept(&net.test).map(|[slope, intercept]| [slope, intercept][index].clone()))
    };
    let all: Vec<Predicted> = own.values().map(|net| predicted(&net.test)).collect();
    let mean =
        |of: &dyn Fn(&Predicted) -> f64| (!all.is_empty()).then(|| all.iter().map(of).sum::<f64>() / all.len() as f64);
    let mean_part = |of: fn(&BrierParts) -> f64| mean(&|found| of(&found.brier()));
    let brier = || {
        Some(BrierParts {
            brier: mean_part(|parts| parts.brier)?,
            reliability: mean_part(|parts| parts.reliability)?,
            resolution: mean_part(|parts| parts.resolution)?,
            uncertainty: mean_part(|parts| parts.uncertainty)?,
            within: mean_part(|parts| parts.within)?,
        })
    };
    CalibrationReport {
        in_the_large: of(SIGNED_SHARE, &|net| Some(excess(&net.test))),
        slope: part(0),
        intercept: part(1),
        ece: of(SHARE, &|net| Some(predicted(&net.test).ece())),
        ece_if_calibrated: mean(&Predicted::ece_if_calibrated),
        brier: brier(),
        curve: curve(&all),
        recalibrated: ["platt", "isotonic"].into_iter().filter_map(|method| recalibrated(method, own)).collect(),
    }
}

/// The mean of the groups' points over the seeds. Empty if ties leave them different numbers of groups.
fn curve(all: &[Predicted]) -> Vec<ReliabilityPoint> {
    let bins: Vec<Vec<(f64, f64, u64)>> = (all.iter())
        .map(|net| {
            net.bins()
                .map(|bin| {
                    let (p, y) = means(bin);
                    (p, y, bin.len() as u64)
                })
                .collect()
        })
        .collect();
    let Some(count) = bins.first().map(Vec::len).filter(|count| bins.iter().all(|net| net.len() == *count)) else {
        return Vec::new();
    };
    let n = bins.len() as f64;
    let point = |place: usize| ReliabilityPoint {
        rows: bins.iter().map(|net| net[place].2).min().unwrap_or_default(),
        predicted: bins.iter().map(|net| net[place].0).sum::<f64>() / n,
        observed: bins.iter().map(|net| net[place].1).sum::<f64>() / n,
    };
    (0..count).map(point).collect()
}

/// The probabilities of the test rows after recalibration on every second validation row. The other validation rows stay without part in it.
fn recalibrate(method: &str, net: &TrialScores) -> Option<Vec<f64>> {
    let every_second = |values: &[f32]| values.iter().step_by(2).copied().collect::<Vec<f32>>();
    let (logits, targets) = (every_second(&net.validation.logits), every_second(&net.validation.targets));
    Some(match method {
        "platt" => {
            let fit = Platt::fit(&logits, &Platt::smoothed(&targets))?;
            net.test.logits.iter().map(|logit| fit.probability(*logit)).collect()
        }
        _ => {
            let fit = Isotonic::fit(&logits, &targets)?;
            net.test.logits.iter().map(|logit| fit.probability(*logit)).collect()
        }
    })
}

fn recalibrated(method: &str, own: &Nets) -> Option<Recalibrated> {
    let (mut after, mut before) = (BySeed::new(), BySeed::new());
    let (mut eces, mut changes) = (Vec::new(), Vec::new());
    for (seed, net) in own {
        let probabilities = recalibrate(method, net)?;
        let squares = probabilities.iter().zip(&net.test.targets).map(|(p, y)| (p - f64::from(*y)).powi(2));
        after.insert(*seed, RowValues::of_values(squares.collect()));
        before.insert(*seed, RowValues::of(Metric::Brier, &net.test)?);
        let ece = Predicted::of(&probabilities, &net.test.targets).ece().mean();
        changes.push(ece - predicted(&net.test).ece().mean());
        eces.push(ece);
    }
    let found = estimate(&after, Some(&before), SHARE)?;
    Some(Recalibrated {
        method: method.to_owned(),
        brier: found.value.mean,
        brier_change: found.minus_baseline?,
        ece: eces.iter().sum::<f64>() / eces.len() as f64,
        ece_change: of_seeds(changes.into_iter(), SIGNED_SHARE),
    })
}

#[cfg(test)]
mod tests;
