//! Values of nets by seed, their mean over the seeds, and their difference to those of the baseline, with the uncertainty of seeds and
//! rows. Knows rows and seeds, not what is measured.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::{
    baseline::variance,
    rows::{RowValues, Total},
    statistics::{Summary, t_quantile},
};

/// What a quantity can be.
pub(super) const ANY: [f64; 2] = [f64::NEG_INFINITY, f64::INFINITY];
pub(super) const SHARE: [f64; 2] = [0.0, 1.0];
pub(super) const SIGNED_SHARE: [f64; 2] = [-1.0, 1.0];

/// The values of the nets of a cell.
pub(super) type BySeed = BTreeMap<u64, RowValues>;

/// A quantity of a cell: its mean over the seeds, and that minus the baseline's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The mean over the seeds.
    pub value: Total,
    /// Paired by seed. `None` for the baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minus_baseline: Option<Total>,
}

/// The estimate of values in `range`. `None` without values.
pub(super) fn estimate(own: &BySeed, baseline: Option<&BySeed>, range: [f64; 2]) -> Option<Estimate> {
    let value = total(own.values().map(|values| vec![(1.0, values)]), range)?;
    let [low, high] = range;
    let minus_baseline = baseline.and_then(|baseline| {
        let pairs = own.iter().filter_map(|(seed, own)| Some(vec![(1.0, own), (-1.0, baseline.get(seed)?)]));
        total(pairs, [low - high, high - low])
    });
    Some(Estimate { value, minus_baseline })
}

/// The same of a share of rows, with the interval of Wilson 1927 (Journal of the American Statistical Association 22:209).
pub(super) fn proportion(own: &BySeed, baseline: Option<&BySeed>) -> Option<Estimate> {
    let mut found = estimate(own, baseline, SHARE)?;
    let rows = own.values().map(RowValues::fewest).min().unwrap_or_default();
    found.value.ci95 = found.value.degrees.and_then(|degrees| wilson(&found.value, degrees, rows));
    Some(found)
}

/// Wilson's interval, of the number of independent rows that would have the variance of `share`: nets that agree about rows are worth
/// fewer rows than all of theirs together. Without any variance it is that of `rows`.
fn wilson(share: &Total, degrees: f64, rows: usize) -> Option<[f64; 2]> {
    let p = share.mean;
    let variance = share.se_seeds?.powi(2) + share.se_rows.unwrap_or(0.0).powi(2);
    let n = if variance > 0.0 { p * (1.0 - p) / variance } else { rows as f64 };
    if n <= 0.0 {
        return None;
    }
    let z = t_quantile(0.975, degrees)?;
    let (shrink, middle) = (1.0 + z * z / n, p + z * z / (2.0 * n));
    let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    Some([((middle - half) / shrink).max(0.0), ((middle + half) / shrink).min(1.0)])
}

/// The mean over seeds of the sums of terms.
fn total<'a>(seeds: impl Iterator<Item = Vec<(f64, &'a RowValues)>>, range: [f64; 2]) -> Option<Total> {
    let seeds: Vec<Vec<(f64, &RowValues)>> = seeds.collect();
    let mean = |terms: &Vec<(f64, &RowValues)>| terms.iter().map(|(factor, values)| factor * values.mean()).sum();
    let means: Vec<f64> = seeds.iter().map(mean).collect();
    let summary = Summary::of(&means, range)?;
    Some(Total::of(&summary, variance(seeds.iter().flatten().copied(), means.len()), range))
}

/// The mean over seeds of numbers that are no means of rows. Its interval is one of seeds alone.
pub(super) fn of_seeds(values: impl Iterator<Item = f64>, range: [f64; 2]) -> Option<Total> {
    Summary::of(&values.collect::<Vec<_>>(), range).map(|summary| Total::of_seeds(&summary))
}

#[cfg(test)]
mod tests;
