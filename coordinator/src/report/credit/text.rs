//! Cells, decisions, shares and differences as text.

use secateur_proto::ids::CellId;

use super::{
    super::{label::Labels, model::Report, number, rows::Total},
    BetweenSeeds, SwapSide,
    estimate::Estimate,
};
use crate::experiment::plan::Decision;

pub(super) fn name_of(report: &Report, labels: &Labels, id: &CellId) -> String {
    report.cell(id).map_or_else(|| id.to_string(), |cell| labels.cell(cell))
}

pub(super) fn decision_text(decision: &Decision) -> String {
    match *decision {
        Decision::Approve(share) => format!("approve {}", number::shortest(share)),
        Decision::Cost { bad_approved, good_declined } => format!(
            "lowest cost, {} for a bad approved and {} for a good declined",
            number::shortest(bad_approved),
            number::shortest(good_declined)
        ),
    }
}

pub(super) fn none() -> String {
    "–".to_owned()
}

pub(super) fn percent(share: f64) -> String {
    format!("{} %", number::fixed(share * 100.0, 2))
}

fn with_interval(found: &Total, print: impl Fn(f64) -> String) -> String {
    let mean = print(found.mean);
    match found.ci95 {
        Some([low, high]) => format!("{mean} [{}, {}]", print(low), print(high)),
        None => mean,
    }
}

/// A share with its interval, in percent.
pub(super) fn percents(found: &Total) -> String {
    let mean = number::fixed(found.mean * 100.0, 2);
    match found.ci95 {
        Some([low, high]) => {
            format!("{mean} % [{}, {}]", number::fixed(low * 100.0, 2), number::fixed(high * 100.0, 2))
        }
        None => format!("{mean} %"),
    }
}

/// A difference of shares with its interval, in percentage points.
pub(super) fn points(found: &Total) -> String {
    with_interval(found, |value| number::signed(value * 100.0, 2))
}

pub(super) fn difference(found: Option<&Estimate>) -> String {
    found.and_then(|found| found.minus_baseline).map_or_else(none, |found| points(&found))
}

pub(super) fn fixed(found: &Total, decimals: usize) -> String {
    with_interval(found, |value| number::fixed(value, decimals))
}

pub(super) fn signed(found: &Total, decimals: usize) -> String {
    with_interval(found, |value| number::signed(value, decimals))
}

pub(super) fn between_text(between: &BetweenSeeds) -> String {
    let [low, high] = between.range;
    let range = format!("{} to {}", number::fixed(low * 100.0, 2), number::fixed(high * 100.0, 2));
    if between.pairs == 1 { percent(between.mean) } else { format!("{} ({range})", percent(between.mean)) }
}

pub(super) fn side(side: SwapSide) -> String {
    let rate = side.bad_rate.map_or_else(none, percent);
    format!("{} (bad {rate})", percent(side.share))
}
