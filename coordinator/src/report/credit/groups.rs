//! What a cell does to each group of rows: ranking, calibration, and with a decision approval and error rates.

use secateur_proto::metrics::Metric;
use serde::{Deserialize, Serialize};

use super::{
    super::rows::{RowValues, SplitScores},
    Nets,
    decision::{Decided, decide, indicators},
    estimate::{ANY, BySeed, Estimate, SHARE, SIGNED_SHARE, estimate, proportion},
};
use crate::experiment::plan::Decision;

/// Rows of a class, or of a level, without which nothing is measured.
const FEWEST: u64 = 10;

/// Rows, and the share of the rows, that the level with the highest approval rate needs to be what ratios are measured against. The highest
/// rate of many small levels is high by chance.
const FEWEST_OF_REFERENCE: u64 = 100;
const LEAST_SHARE_OF_REFERENCE: f64 = 0.02;

/// What the level of rows without a value is called. It is no group of people.
const MISSING: &str = "(missing)";

/// The ratio of approval rates that the four-fifths rule asks for.
const FOUR_FIFTHS: f64 = 0.8;

/// A column of `data.groups` and the levels of the test rows in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupColumn {
    /// Its name.
    pub name: String,
    /// Its levels.
    pub levels: Vec<String>,
    /// The index of each test row's level.
    pub of_rows: Vec<u32>,
}

/// The test rows that have one level of a column of `data.groups`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupReport {
    /// The column.
    pub column: String,
    /// The level.
    pub level: String,
    /// Test rows.
    pub rows: u64,
    /// Those of the positive class.
    pub positives: u64,
    /// How the rows are ranked among themselves. `None` with fewer than 10 rows of a class, as all that follows where it needs them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auc: Option<Estimate>,
    /// The mean probability minus the share of positives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Estimate>,
    /// The share of the rows that is approved. This and what follows need a decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<Estimate>,
    /// The approval rate divided by the highest one among the levels of the column with at least 100 rows and 2 % of the rows, missing
    /// values left out. `None` without such a level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_ratio: Option<Ratio>,
    /// The share of the positives that is declined (true positive rate).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub positives_declined: Option<Estimate>,
    /// The share of the negatives that is declined (false positive rate).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub negatives_declined: Option<Estimate>,
}

/// A ratio with its 95 % interval, which is one of the logarithm.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// The geometric mean over the seeds.
    pub mean: f64,
    /// Of seeds and rows. `None` with one seed.
    pub ci95: Option<[f64; 2]>,
}

impl Ratio {
    /// Whether all of its interval is below the 0.8 of the four-fifths rule.
    pub(super) fn is_below(&self) -> bool {
        self.ci95.is_some_and(|[_, high]| high < FOUR_FIFTHS)
    }

    /// Whether it, or a part of its interval, is below 0.8, and another part is not, or there is no interval.
    pub(super) fn is_undecided(&self) -> bool {
        let low = self.ci95.map_or(self.mean, |[low, _]| low.min(self.mean));
        !self.is_below() && low < FOUR_FIFTHS
    }
}

/// Each level of each column, in their order. Empty if the levels are not those of the rows that were scored.
pub(super) fn measure(
    columns: &[GroupColumn],
    decision: Option<&Decision>,
    own: &Nets,
    baseline: Option<&Nets>,
) -> Vec<GroupReport> {
    let decided = decision.map(|decision| (decide(own, decision), baseline.map(|nets| decide(nets, decision))));
    let mut found = Vec::new();
    for group in columns {
        let level_of = &group.of_rows;
        let first = found.len();
        let mut rows_of = vec![Vec::new(); group.levels.len()];
        for (row, level) in level_of.iter().enumerate() {
            if let Some(rows) = rows_of.get_mut(*level as usize) {
                rows.push(row);
            }
        }
        for (name, rows) in group.levels.iter().zip(&rows_of) {
            let Some(one) = own.values().next().filter(|net| net.test.targets.len() == level_of.len()) else {
                continue;
            };
            let positives = rows.iter().filter(|row| one.test.targets[**row] == 1.0).count() as u64;
            let slice = Slice { rows, positives, own, baseline };
            let mut report = slice.scores(&group.name, name);
            if let Some((decided, of_baseline)) = &decided {
                slice.decisions(&mut report, decided, of_baseline.as_ref());
            }
            found.push(report);
        }
        if let Some((decided, _)) = &decided {
            ratios(&mut found[first..], &rows_of, decided);
        }
    }
    found
}

struct Slice<'a> {
    rows: &'a [usize],
    positives: u64,
    own: &'a Nets,
    baseline: Option<&'a Nets>,
}

impl Slice<'_> {
    fn scores(&self, column: &str, level: &str) -> GroupReport {
        let rows = self.rows.len() as u64;
        let has_both = self.positives.min(rows - self.positives) >= FEWEST;
        let of = |value: &dyn Fn(&SplitScores) -> Option<RowValues>, range| {
            let values = |nets: &Nets| -> BySeed {
                nets.iter().filter_map(|(seed, net)| Some((*seed, value(&self.part(&net.test))?))).collect()
            };
            estimate(&values(self.own), self.baseline.map(values).as_ref(), range)
        };
        GroupReport {
            column: column.to_owned(),
            level: level.to_owned(),
            rows,
            positives: self.positives,
            auc: of(&|part| RowValues::of(Metric::Auc, part), SHARE).filter(|_| has_both),
            calibration: of(&|part| Some(excess(part)), SIGNED_SHARE).filter(|_| rows >= FEWEST),
            approved: None,
            approval_ratio: None,
            positives_declined: None,
            negatives_declined: None,
        }
    }

    fn part(&self, scores: &SplitScores) -> SplitScores {
        let of = |values: &[f32]| self.rows.iter().map(|row| values[*row]).collect();
        SplitScores { logits: of(&scores.logits), targets: of(&scores.targets) }
    }

    fn decisions(&self, report: &mut GroupReport, decided: &Decided, of_baseline: Option<&Decided>) {
        let share = |is_approved: bool, class: Option<f32>, enough: bool| {
            let values = |nets: &Nets, decided: &Decided| -> BySeed {
                let of_net = |(seed, approved): (&u64, &Vec<bool>)| {
                    let targets = &nets.get(seed)?.test.targets;
                    let rows = self.rows.iter().filter(|row| class.is_none_or(|class| targets[**row] == class));
                    Some((*seed, indicators(rows.map(|row| approved[*row] == is_approved))))
                };
                decided.iter().filter_map(of_net).collect()
            };
            let other = self.baseline.zip(of_baseline).map(|(nets, decided)| values(nets, decided));
            proportion(&values(self.own, decided), other.as_ref()).filter(|_| enough)
        };
        report.approved = share(true, None, report.rows >= FEWEST);
        report.positives_declined = share(false, Some(1.0), self.positives >= FEWEST);
        report.negatives_declined = share(false, Some(0.0), report.rows - self.positives >= FEWEST);
    }
}

/// The mean of the probability minus the outcome, row by row.
pub(super) fn excess(scores: &SplitScores) -> RowValues {
    let value = |(logit, target): (&f32, &f32)| 1.0 / (1.0 + (-f64::from(*logit)).exp()) - f64::from(*target);
    RowValues::of_values(scores.logits.iter().zip(&scores.targets).map(value).collect())
}

/// The place of the level that approval rates are divided by, among the levels of one column: the highest rate of the levels with enough rows.
pub(super) fn reference(levels: &[&GroupReport]) -> Option<usize> {
    let all: u64 = levels.iter().map(|level| level.rows).sum();
    let candidates = levels.iter().enumerate().filter(|(_, level)| {
        level.level != MISSING
            && level.rows >= FEWEST_OF_REFERENCE
            && level.rows as f64 >= LEAST_SHARE_OF_REFERENCE * all as f64
    });
    let rates = candidates.filter_map(|(place, level)| Some((place, level.approved?.value.mean)));
    rates.max_by(|one, two| one.1.total_cmp(&two.1)).map(|(place, _)| place)
}

/// Approval rates over that of the reference level, of levels with enough rows.
fn ratios(reports: &mut [GroupReport], rows_of: &[Vec<usize>], decided: &Decided) {
    let Some(highest) = reference(&reports.iter().collect::<Vec<_>>()) else { return };
    for (level, report) in reports.iter_mut().enumerate() {
        if report.approved.is_none() {
            continue;
        }
        if level == highest {
            report.approval_ratio = Some(Ratio { mean: 1.0, ci95: None });
            continue;
        }
        let of_net = |(seed, approved): (&u64, &Vec<bool>)| {
            Some((*seed, log_ratio(approved, &rows_of[level], &rows_of[highest])?))
        };
        let values: BySeed = decided.iter().filter_map(of_net).collect();
        // Where a seed approves nothing of a level, the logarithm is not finite, and a mean of the others would hide it.
        if values.len() == decided.len() {
            report.approval_ratio = estimate(&values, None, ANY).map(|found| Ratio {
                mean: found.value.mean.exp(),
                ci95: found.value.ci95.map(|[low, high]| [low.exp(), high.exp()]),
            });
        }
    }
}

/// The logarithm of a ratio of approval rates, linearised in the rows of both levels (Katz et al. 1978, Biometrics 34:469).
fn log_ratio(approved: &[bool], level: &[usize], highest: &[usize]) -> Option<RowValues> {
    let rate = |rows: &[usize]| {
        let rate = rows.iter().filter(|row| approved[**row]).count() as f64 / rows.len() as f64;
        Some(rate).filter(|rate| *rate > 0.0)
    };
    let (own, other) = (rate(level)?, rate(highest)?);
    let ratio = own.ln() - other.ln();
    let part = |rows: &[usize], rate: f64, sign: f64| -> Vec<f64> {
        rows.iter().map(|row| ratio + sign * (f64::from(u8::from(approved[*row])) - rate) / rate).collect()
    };
    Some(RowValues::of_two(part(level, own, 1.0), part(highest, other, -1.0)))
}

#[cfg(test)]
mod tests;
