//! Decisions from scores: cut-offs, who is approved, and whose decision changes (the swap set).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    super::rows::{RowValues, SplitScores, Total},
    Nets,
    estimate::{BySeed, Estimate, SHARE, SIGNED_SHARE, estimate, of_seeds, proportion},
};
use crate::experiment::plan::Decision;

/// Shares of approved rows that are shown where the sweep file has no decision.
pub(super) const RATES: [f64; 5] = [0.5, 0.6, 0.7, 0.8, 0.9];

/// What a cell decides about the test rows with the cut-offs that validation chose, beside the baseline. Intervals take the cut-offs as
/// given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecisionReport {
    /// How the cut-offs were chosen.
    pub decision: Decision,
    /// The share of the rows that is approved.
    pub approved: Estimate,
    /// The share of positives among the approved rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bad_rate: Option<Estimate>,
    /// The mean cost of a row, with a cost matrix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Estimate>,
    /// The share of the rows that the baseline of the same seed decides differently.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swapped: Option<Total>,
    /// The same beside the baseline of other seeds: the mean over all pairs of different seeds. It compares with the share that two seeds of
    /// the baseline decide differently, which `swapped` does not: nets of one seed share their beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swapped_from_other_seeds: Option<f64>,
    /// The rows that the baseline declines and this cell approves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swapped_in: Option<SwapSide>,
    /// The rows that the baseline approves and this cell declines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swapped_out: Option<SwapSide>,
    /// The share that two seeds of this cell decide differently. `None` with one seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub between_seeds: Option<BetweenSeeds>,
    /// The share of the rows that is approved if the cut-off is the highest at which validation's bad rate is at most the baseline's. Its
    /// interval is one of seeds: it would have to count other validation rows, which move the cut-off by far more than other test rows do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_at_bad_rate: Option<Estimate>,
}

/// One side of a swap set, over all seeds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SwapSide {
    /// The mean share of the rows.
    pub share: f64,
    /// The share of positives among them. `None` without rows.
    pub bad_rate: Option<f64>,
}

/// The shares of rows that pairs of seeds decide differently.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BetweenSeeds {
    /// Pairs of seeds.
    pub pairs: u64,
    /// The mean over the pairs.
    pub mean: f64,
    /// The smallest and the largest share.
    pub range: [f64; 2],
}

/// Values of rows from what a net decided about them and their targets. `None` if there are none.
type OfDecisions<'a> = dyn Fn(&[bool], &[f32]) -> Option<RowValues> + 'a;

/// The rows in the order of their scores, the lowest first, and for each score how many rows have it or a lower one.
fn ends_of_ties(scores: &SplitScores) -> (Vec<usize>, Vec<usize>) {
    let mut order: Vec<usize> = (0..scores.logits.len()).collect();
    order.sort_by(|one, two| scores.logits[*one].total_cmp(&scores.logits[*two]));
    let ends = (1..=order.len())
        .filter(|end| *end == order.len() || scores.logits[order[*end - 1]] != scores.logits[order[*end]])
        .collect();
    (order, ends)
}

/// The highest score that is approved. Nothing is approved at −∞. `None` without rows.
fn cut_off(decision: &Decision, validation: &SplitScores) -> Option<f32> {
    let (order, ends) = ends_of_ties(validation);
    let last = |end: usize| end.checked_sub(1).map_or(f32::NEG_INFINITY, |last| validation.logits[order[last]]);
    match *decision {
        Decision::Approve(share) => {
            let wanted = (share * order.len() as f64).round().max(1.0) as usize;
            ends.iter().copied().find(|end| *end >= wanted).map(last)
        }
        Decision::Cost { bad_approved, good_declined } => {
            let is_bad = |index: &usize| validation.targets[*index] == 1.0;
            let goods = order.iter().filter(|index| !is_bad(index)).count() as f64;
            let (mut bads_approved, mut goods_approved, mut from) = (0.0, 0.0, 0);
            let mut best = (goods * good_declined, 0);
            for end in ends {
                for index in &order[from..end] {
                    if is_bad(index) { bads_approved += 1.0 } else { goods_approved += 1.0 }
                }
                from = end;
                let cost = bads_approved * bad_approved + (goods - goods_approved) * good_declined;
                // Of equal costs the one that approves more.
                if cost <= best.0 {
                    best = (cost, end);
                }
            }
            (!order.is_empty()).then(|| last(best.1))
        }
    }
}

/// The highest cut-off at which at most `bad_rate` of the approved rows are positive; −∞ if there is none.
fn cut_off_at(bad_rate: f64, validation: &SplitScores) -> f32 {
    let (order, ends) = ends_of_ties(validation);
    let (mut bads, mut from, mut best) = (0_usize, 0, f32::NEG_INFINITY);
    for end in ends {
        bads += order[from..end].iter().filter(|index| validation.targets[**index] == 1.0).count();
        from = end;
        if bads as f64 <= bad_rate * end as f64 + 1e-9 {
            best = validation.logits[order[end - 1]];
        }
    }
    best
}

fn approved_at(cut_off: f32, scores: &SplitScores) -> Vec<bool> {
    scores.logits.iter().map(|logit| *logit <= cut_off).collect()
}

/// Whether each test row is approved, by seed.
pub(super) type Decided = BTreeMap<u64, Vec<bool>>;

pub(super) fn decide(nets: &Nets, decision: &Decision) -> Decided {
    let of_net = |(seed, net): (&u64, &super::TrialScores)| {
        Some((*seed, approved_at(cut_off(decision, &net.validation)?, &net.test)))
    };
    nets.iter().filter_map(of_net).collect()
}

/// Yes and no as one and zero.
pub(super) fn indicators(values: impl Iterator<Item = bool>) -> RowValues {
    RowValues::of_values(values.map(|value| f64::from(u8::from(value))).collect())
}

/// The share of positives among the approved rows of a net, a ratio of two means, linearised: its mean is the ratio, and its variance that
/// of the delta method.
fn bad_rate(approved: &[bool], targets: &[f32]) -> Option<RowValues> {
    let count = approved.iter().filter(|approved| **approved).count() as f64;
    let bads = approved.iter().zip(targets).filter(|(approved, target)| **approved && **target == 1.0).count() as f64;
    let (rate, share) = (bads / count, count / approved.len() as f64);
    let value = |(approved, target): (&bool, &f32)| {
        if *approved { rate + (f64::from(*target) - rate) / share } else { rate }
    };
    (count > 0.0).then(|| RowValues::of_values(approved.iter().zip(targets).map(value).collect()))
}

fn cost(decision: &Decision, approved: &[bool], targets: &[f32]) -> Option<RowValues> {
    let Decision::Cost { bad_approved, good_declined } = *decision else { return None };
    let value = |(approved, target): (&bool, &f32)| match (*approved, *target == 1.0) {
        (true, true) => bad_approved,
        (false, false) => good_declined,
        _ => 0.0,
    };
    Some(RowValues::of_values(approved.iter().zip(targets).map(value).collect()))
}

/// The decisions of `own` beside those of `baseline`, which is `None` for the baseline itself.
pub(super) fn measure(decision: Decision, own: &Nets, baseline: Option<&Nets>) -> Option<DecisionReport> {
    let decided = decide(own, &decision);
    let of_baseline = baseline.map(|baseline| decide(baseline, &decision));
    let values = |nets: &Nets, decided: &Decided, of: &OfDecisions<'_>| -> BySeed {
        let value = |(seed, approved): (&u64, &Vec<bool>)| Some((*seed, of(approved, &nets.get(seed)?.test.targets)?));
        decided.iter().filter_map(value).collect()
    };
    let both = |of: &OfDecisions<'_>| {
        let other = baseline.zip(of_baseline.as_ref()).map(|(nets, decided)| values(nets, decided, of));
        (values(own, &decided, of), other)
    };
    let share = |approved: &[bool], _: &[f32]| Some(indicators(approved.iter().copied()));
    let (approved, other) = both(&share);
    let approved = proportion(&approved, other.as_ref())?;
    let (bad, other) = both(&bad_rate);
    let bad_rate = proportion(&bad, other.as_ref());
    let (costs, other) = both(&|approved, targets| cost(&decision, approved, targets));
    let highest = match decision {
        Decision::Approve(_) => 0.0,
        Decision::Cost { bad_approved, good_declined } => bad_approved.max(good_declined),
    };
    let cost = estimate(&costs, other.as_ref(), [0.0, highest]);
    let pairs = || {
        let other = of_baseline.as_ref();
        decided.iter().filter_map(move |(seed, own)| Some((*seed, own, other?.get(seed)?)))
    };
    let differs = |own: &[bool], other: &[bool]| indicators(own.iter().zip(other).map(|(own, other)| own != other));
    let swapped: BySeed = pairs().map(|(seed, own, other)| (seed, differs(own, other))).collect();
    let side = |is_in: bool| {
        let (mut rows, mut found, mut bads) = (0_u64, 0_u64, 0_u64);
        for (seed, own_decisions, other) in pairs() {
            let targets = &own.get(&seed)?.test.targets;
            for ((own, other), target) in own_decisions.iter().zip(other).zip(targets) {
                let is_swapped = own != other && *own == is_in;
                rows += 1;
                found += u64::from(is_swapped);
                bads += u64::from(is_swapped && *target == 1.0);
            }
        }
        (rows > 0).then(|| SwapSide {
            share: found as f64 / rows as f64,
            bad_rate: (found > 0).then(|| bads as f64 / found as f64),
        })
    };
    Some(DecisionReport {
        decision,
        approved,
        bad_rate,
        cost,
        swapped: proportion(&swapped, None).map(|found| found.value),
        swapped_from_other_seeds: of_baseline.as_ref().and_then(|other| from_other_seeds(&decided, other)),
        swapped_in: side(true),
        swapped_out: side(false),
        between_seeds: between_seeds(&decided),
        approved_at_bad_rate: baseline.and_then(|baseline| at_bad_rate(&decision, own, baseline)),
    })
}

/// The share of rows that two nets decide differently.
fn share_of_different(one: &[bool], two: &[bool]) -> f64 {
    one.iter().zip(two).filter(|(one, two)| one != two).count() as f64 / one.len() as f64
}

/// The mean of this share over the pairs of a net of `own` and one of `baseline` with another seed.
fn from_other_seeds(own: &Decided, baseline: &Decided) -> Option<f64> {
    let pairs = own.iter().flat_map(|(seed, one)| {
        let others = baseline.iter().filter(move |(other, _)| *other != seed);
        others.map(move |(_, two)| share_of_different(one, two))
    });
    let shares: Vec<f64> = pairs.filter(|share| share.is_finite()).collect();
    (!shares.is_empty()).then(|| shares.iter().sum::<f64>() / shares.len() as f64)
}

fn between_seeds(decided: &Decided) -> Option<BetweenSeeds> {
    let nets: Vec<&Vec<bool>> = decided.values().collect();
    let pairs = nets.iter().enumerate();
    let pairs = pairs.flat_map(|(index, one)| nets[..index].iter().map(move |two| share_of_different(one, two)));
    let shares: Vec<f64> = pairs.filter(|share| share.is_finite()).collect();
    let range = shares.iter().fold([f64::INFINITY, 0.0_f64], |[low, high], share| [low.min(*share), high.max(*share)]);
    (!shares.is_empty()).then(|| BetweenSeeds {
        pairs: shares.len() as u64,
        mean: shares.iter().sum::<f64>() / shares.len() as f64,
        range,
    })
}

/// The share that is approved at the bad rate of the baseline of the same seed.
fn at_bad_rate(decision: &Decision, own: &Nets, baseline: &Nets) -> Option<Estimate> {
    let of_seed = |(seed, net): (&u64, &super::TrialScores)| {
        let other = baseline.get(seed)?;
        let cut_off = cut_off(decision, &other.validation)?;
        let approved = approved_at(cut_off, &other.validation);
        let count = approved.iter().filter(|approved| **approved).count();
        let bads = approved.iter().zip(&other.validation.targets).filter(|(one, target)| **one && **target == 1.0);
        let rate = if count == 0 { 0.0 } else { bads.count() as f64 / count as f64 };
        let own = indicators(approved_at(cut_off_at(rate, &net.validation), &net.test).into_iter());
        // By the same rule, which is kind to every net: beside itself a net gains nothing.
        let other = indicators(approved_at(cut_off_at(rate, &other.validation), &other.test).into_iter());
        Some((*seed, own, other))
    };
    let (mut values, mut others) = (BySeed::new(), BySeed::new());
    for (seed, own, other) in own.iter().filter_map(of_seed) {
        values.insert(seed, own);
        others.insert(seed, other);
    }
    let means = values.values().map(RowValues::mean);
    let differences = values.iter().filter_map(|(seed, own)| Some(own.mean() - others.get(seed)?.mean()));
    Some(Estimate { value: of_seeds(means, SHARE)?, minus_baseline: of_seeds(differences, SIGNED_SHARE) })
}

#[cfg(test)]
mod tests;
