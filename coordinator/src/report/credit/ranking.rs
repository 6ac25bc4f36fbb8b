//! How a cell ranks rows where it matters: expected maximum profit, partial Gini, deciles with lift, gains and KS, and how far scores move
//! (population stability index).

use secateur_proto::metrics::Metric;
use serde::{Deserialize, Serialize};

use super::{
    super::rows::{RowValues, SplitScores, Total},
    Nets,
    calibration::{groups, probability},
    estimate::{ANY, BySeed, Estimate, SIGNED_SHARE, estimate, of_seeds},
};

/// Of Verbraken et al. 2014 (European Journal of Operational Research 238:505): the probabilities that nothing and that all of a loan is
/// lost, between which the loss is uniform, and the return on a loan that is paid back.
const NO_LOSS: f64 = 0.55;
const FULL_LOSS: f64 = 0.1;
const RETURN: f64 = 0.2644;

/// The highest probability that the partial Gini is about (Lessmann et al. 2015).
const PARTIAL: f64 = 0.4;

/// How a cell ranks the test rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RankingReport {
    /// Expected maximum profit for credit scoring (Verbraken et al. 2014), as a share of a loan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_maximum_profit: Option<Estimate>,
    /// The Gini coefficient of the rows with a probability of at most 0.4 (Lessmann et al. 2015). These are other rows for each net, so that
    /// differences have intervals of seeds alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial_gini: Option<Estimate>,
    /// Population stability index of the test scores, from the baseline of the same seed to this cell. Mean over the seeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub psi_from_baseline: Option<Total>,
    /// The same from one seed of this cell to another, the mean over the pairs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub psi_between_seeds: Option<f64>,
    /// From validation to test. Mean over the seeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub psi_validation_to_test: Option<Total>,
    /// What that is on average if nothing changed, of one seed: (B − 1) (1 / n + 1 / m) (Yurdakul & Naranjo 2020).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub psi_if_unchanged: Option<f64>,
    /// Tenths of the rows, the highest scores first.
    pub deciles: Vec<Decile>,
}

/// A tenth of the rows by score, means over the seeds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Decile {
    /// The share of the rows up to here.
    pub depth: f64,
    /// The share of positives in this tenth.
    pub bad_rate: f64,
    /// That over the share of all rows.
    pub lift: f64,
    /// The share of all positives up to here.
    pub gains: f64,
    /// That minus the share of all negatives up to here.
    pub ks: f64,
}

pub(super) fn measure(own: &Nets, baseline: Option<&Nets>) -> RankingReport {
    let of = |range: [f64; 2], value: &dyn Fn(&SplitScores) -> Option<RowValues>| {
        let values = |nets: &Nets| -> BySeed {
            nets.iter().filter_map(|(seed, net)| Some((*seed, value(&net.test)?))).collect()
        };
        estimate(&values(own), baseline.map(values).as_ref(), range)
    };
    let to_baseline = own.iter().filter_map(|(seed, net)| psi(&baseline?.get(seed)?.test.logits, &net.test.logits));
    let to_test = own.values().filter_map(|net| psi(&net.validation.logits, &net.test.logits));
    let if_unchanged = own.values().next().and_then(|net| {
        let bins = (cuts(&net.validation.logits)?.len() + 1) as f64;
        Some((bins - 1.0) * (1.0 / net.validation.logits.len() as f64 + 1.0 / net.test.logits.len() as f64))
    });
    RankingReport {
        expected_maximum_profit: of(ANY, &profits),
        partial_gini: of(SIGNED_SHARE, &partial_gini),
        psi_from_baseline: of_seeds(to_baseline, [0.0, f64::INFINITY]),
        psi_between_seeds: psi_between(own),
        psi_validation_to_test: of_seeds(to_test, [0.0, f64::INFINITY]),
        psi_if_unchanged: if_unchanged,
        deciles: deciles(own),
    }
}

/// The expected maximum profit as a mean of rows. Rows are rejected from the highest score on, along the convex hull of the ROC curve: those
/// of a segment from that loss on at which rejecting them pays. What a row is worth is the mean of this over all losses. The best cut-offs
/// follow the rows, which changes the profit in second order only.
fn profits(scores: &SplitScores) -> Option<RowValues> {
    let SplitScores { logits, targets } = scores;
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|one, two| logits[*two].total_cmp(&logits[*one]));
    // Vertices of the hull: how many rows are rejected, negatives and positives.
    let mut hull = vec![(0_usize, 0.0_f64, 0.0_f64)];
    let (mut negatives, mut positives) = (0.0, 0.0);
    for (place, index) in order.iter().enumerate() {
        if targets[*index] == 1.0 {
            positives += 1.0
        } else {
            negatives += 1.0
        }
        if order.get(place + 1).is_some_and(|next| logits[*next] == logits[*index]) {
            continue;
        }
        let next = (place + 1, negatives, positives);
        while let [.., (_, x0, y0), (_, x1, y1)] = hull[..] {
            // A corner that bends inwards is below the hull.
            if (x1 - x0) * (next.2 - y0) < (next.1 - x0) * (y1 - y0) {
                break;
            }
            hull.pop();
        }
        hull.push(next);
    }
    if negatives == 0.0 || positives == 0.0 {
        return None;
    }
    let partly = 1.0 - NO_LOSS - FULL_LOSS;
    let mut values = vec![0.0; logits.len()];
    for pair in hull.windows(2) {
        let &[(from, x0, y0), (to, x1, y1)] = pair else { continue };
        let loss = RETURN * (x1 - x0) / (y1 - y0);
        if loss.is_nan() || loss >= 1.0 {
            continue;
        }
        let of_positive = partly * (1.0 - loss * loss) / 2.0 + FULL_LOSS;
        let of_negative = -RETURN * (partly * (1.0 - loss) + FULL_LOSS);
        for index in &order[from..to] {
            values[*index] = if targets[*index] == 1.0 { of_positive } else { of_negative };
        }
    }
    Some(RowValues::of_values(values))
}

fn partial_gini(scores: &SplitScores) -> Option<RowValues> {
    let rows = scores.logits.iter().zip(&scores.targets).filter(|(logit, _)| probability(**logit) <= PARTIAL);
    let (logits, targets) = rows.map(|(logit, target)| (*logit, *target)).unzip();
    RowValues::of(Metric::Gini, &SplitScores { logits, targets })
}

/// The scores at which the tenths of `scores` end, but for the last. `None` without rows.
fn cuts(scores: &[f32]) -> Option<Vec<f32>> {
    let mut sorted = scores.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    let ends = groups(sorted.len(), |one, two| sorted[one] == sorted[two]);
    let (_, inner) = ends.split_last()?;
    Some(inner.iter().map(|end| sorted[*end - 1]).collect())
}

/// The population stability index over the tenths of `expected`. An empty tenth counts as half a row.
fn psi(expected: &[f32], actual: &[f32]) -> Option<f64> {
    let cuts = cuts(expected)?;
    let shares = |scores: &[f32]| -> Vec<f64> {
        let mut counts = vec![0.0_f64; cuts.len() + 1];
        for score in scores {
            counts[cuts.partition_point(|cut| cut < score)] += 1.0;
        }
        counts.iter().map(|count| count.max(0.5) / scores.len() as f64).collect()
    };
    let terms = shares(expected).into_iter().zip(shares(actual)).map(|(e, a)| (a - e) * (a / e).ln());
    Some(terms.sum::<f64>()).filter(|sum| sum.is_finite())
}

fn psi_between(nets: &Nets) -> Option<f64> {
    let all: Vec<&[f32]> = nets.values().map(|net| net.test.logits.as_slice()).collect();
    let pairs = all.iter().enumerate().flat_map(|(place, one)| all[..place].iter().map(move |two| (two, one)));
    let found: Vec<f64> = pairs.filter_map(|(from, to)| psi(from, to)).collect();
    (!found.is_empty()).then(|| found.iter().sum::<f64>() / found.len() as f64)
}

fn deciles(nets: &Nets) -> Vec<Decile> {
    let all: Vec<Vec<Decile>> = nets.values().filter_map(|net| deciles_of(&net.test)).collect();
    let Some(count) = all.first().map(Vec::len).filter(|count| all.iter().all(|net| net.len() == *count)) else {
        return Vec::new();
    };
    let mean =
        |place: usize, of: fn(&Decile) -> f64| all.iter().map(|net| of(&net[place])).sum::<f64>() / all.len() as f64;
    let decile = |place| Decile {
        depth: mean(place, |decile| decile.depth),
        bad_rate: mean(place, |decile| decile.bad_rate),
        lift: mean(place, |decile| decile.lift),
        gains: mean(place, |decile| decile.gains),
        ks: mean(place, |decile| decile.ks),
    };
    (0..count).map(decile).collect()
}

/// `None` without rows of both classes.
fn deciles_of(scores: &SplitScores) -> Option<Vec<Decile>> {
    let mut rows: Vec<(f32, bool)> =
        scores.logits.iter().zip(&scores.targets).map(|(logit, target)| (*logit, *target == 1.0)).collect();
    rows.sort_by(|one, two| two.0.total_cmp(&one.0));
    let n = rows.len() as f64;
    let positives = rows.iter().filter(|(_, is_bad)| *is_bad).count() as f64;
    if positives == 0.0 || positives == n {
        return None;
    }
    let (mut from, mut found) = (0, 0.0);
    let decile = |end: usize| {
        let bads = rows[from..end].iter().filter(|(_, is_bad)| *is_bad).count() as f64;
        let bad_rate = bads / (end - from) as f64;
        found += bads;
        from = end;
        let gains = found / positives;
        let negatives = (end as f64 - found) / (n - positives);
        Decile { depth: end as f64 / n, bad_rate, lift: bad_rate * n / positives, gains, ks: gains - negatives }
    };
    Some(groups(rows.len(), |one, two| rows[one].0 == rows[two].0).into_iter().map(decile).collect())
}

#[cfg(test)]
mod tests;
