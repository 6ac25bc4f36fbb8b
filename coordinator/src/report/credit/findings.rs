//! Sentences about the swap set and the worst group.

use super::{
    super::{
        label::Labels,
        model::Report,
        number,
        rows::{Total, half_width},
    },
    CreditCell, CreditReport, GroupReport,
    groups::reference,
    text::{decision_text, name_of, percent, percents, points, signed},
};

/// Fewer positives than this leave an AUC too uncertain to judge a group by (Vergouwe et al. 2005; Collins et al. 2016).
const FEW: u64 = 100;

/// What decisions and groups say of the cell that is recommended, and of the smallest of the front.
pub(in super::super) fn sentences(report: &Report, labels: &Labels) -> Vec<String> {
    let Some(credit) = &report.credit else { return Vec::new() };
    let smallest = report.front.first();
    let mut ids: Vec<_> = credit.shown.iter().chain(smallest).collect();
    ids.dedup();
    let cells: Vec<&CreditCell> =
        ids.into_iter().filter_map(|id| credit.cells.iter().find(|cell| cell.cell == *id)).collect();
    let swaps = cells.iter().filter_map(|cell| swap(report, credit, cell, labels));
    let groups = cells.iter().filter_map(|cell| worst_group(report, cell, labels));
    let approval = cells.first().and_then(|cell| lowest_approval(report, credit, cell, labels));
    swaps.chain(groups).chain(approval).collect()
}

/// The group with the lowest approval rate against the reference level of its column, if the ratio is below 0.8: one whose interval is, too,
/// before one that is not decided.
fn lowest_approval(report: &Report, credit: &CreditReport, cell: &CreditCell, labels: &Labels) -> Option<String> {
    let measured = cell.groups.iter().filter_map(|group| Some((group, group.approval_ratio?)));
    let low = measured.filter(|(_, ratio)| ratio.is_below() || (ratio.is_undecided() && ratio.mean < 0.8));
    let (group, lowest) =
        low.min_by(|(_, one), (_, two)| two.is_below().cmp(&one.is_below()).then(one.mean.total_cmp(&two.mean)))?;
    let of_column: Vec<&GroupReport> = cell.groups.iter().filter(|other| other.column == group.column).collect();
    let highest = of_column[reference(&of_column)?];
    let baseline = credit.cells.first()?.groups.iter();
    let mut baseline = baseline.filter(|other| other.column == group.column && other.level == group.level);
    let baseline = baseline.find_map(|other| other.approval_ratio);
    let baseline = baseline.map(|ratio| format!("; baseline {}", number::fixed(ratio.mean, 3)));
    let interval = lowest.ci95.map(|[low, high]| format!(" [{}, {}]", number::fixed(low, 3), number::fixed(high, 3)));
    let verdict = if lowest.is_below() {
        "This is below the 0.8 of the four-fifths rule."
    } else {
        "Whether it is below the 0.8 of the four-fifths rule is not decided."
    };
    let bad_rate = |group: &GroupReport| percent(group.positives as f64 / group.rows.max(1) as f64);
    Some(format!(
        "The approval rate of {} in {} = {} is {}{} of that in {}, the highest of its column{}. {verdict} The bad rates of the two levels, over all of their test rows, are {} and {}. The four-fifths rule is about protected groups; whether this column is one, the report does not know.",
        name_of(report, labels, &cell.cell),
        group.column,
        group.level,
        number::fixed(lowest.mean, 3),
        interval.unwrap_or_default(),
        highest.level,
        baseline.unwrap_or_default(),
        bad_rate(group),
        bad_rate(highest),
    ))
}

/// Only with a decision of the sweep file: without one, nobody said which applicants are approved.
fn swap(report: &Report, credit: &CreditReport, cell: &CreditCell, labels: &Labels) -> Option<String> {
    report.decision?;
    let decision = cell.decisions.first()?;
    let baseline = credit.cells.first()?.decisions.first()?;
    let between = baseline.between_seeds.map(|between| {
        let [low, high] = between.range;
        let pairs = match between.pairs {
            1 => "one pair".to_owned(),
            pairs => format!("{} to {} in {}", percent(low), percent(high), number::count(pairs, "pair")),
        };
        format!("; two seeds of the baseline differ on {} ({pairs})", percent(between.mean))
    });
    let bad_rate = decision.bad_rate.and_then(|rate| {
        let difference = rate.minus_baseline?;
        Some(format!(
            " The bad rate of the approved is {}, minus baseline {}.",
            percent(rate.value.mean),
            points(&difference)
        ))
    });
    let other_seeds = decision
        .swapped_from_other_seeds
        .map(|share| format!(", and {} from a baseline of another seed", percent(share)));
    Some(format!(
        "Decisions ({}, cut-offs from validation): {} decides {} of the test rows differently from the baseline of the same seed{}{}.{}",
        decision_text(&decision.decision),
        name_of(report, labels, &cell.cell),
        percents(decision.swapped.as_ref()?),
        other_seeds.unwrap_or_default(),
        between.unwrap_or_default(),
        bad_rate.unwrap_or_default(),
    ))
}

/// The group that loses the most AUC against the baseline. It is the lowest of several, so its interval is adjusted for their number.
fn worst_group(report: &Report, cell: &CreditCell, labels: &Labels) -> Option<String> {
    let loss = |group: &GroupReport| group.auc.and_then(|auc| auc.minus_baseline);
    let measured: Vec<_> = cell.groups.iter().filter_map(|group| Some((group, loss(group)?))).collect();
    let (worst, difference) = measured.iter().min_by(|one, two| one.1.mean.total_cmp(&two.1.mean))?;
    let compared = measured.len() as u64;
    let difference = adjusted(difference, compared);
    let unmeasured = cell.groups.len() - measured.len();
    let unmeasured = match unmeasured as u64 {
        0 => String::new(),
        count => format!("; {} too small to measure", number::count(count, "group")),
    };
    let few = if worst.positives < FEW {
        format!(" Caution: with fewer than {FEW} positives this says little of the group.")
    } else {
        String::new()
    };
    let shown = match difference.ci95 {
        Some([_, high]) if high < 0.0 => "",
        Some(_) => " No loss is shown there.",
        None => "",
    };
    let lead = match compared {
        1 => "the only group measured is".to_owned(),
        many => format!("the lowest estimate of {} is", number::count(many, "group")),
    };
    let how = match compared {
        1 => String::new(),
        many => format!("; interval adjusted for {}", number::count(many, "group")),
    };
    Some(format!(
        "By group, {} against the baseline: {lead} {} = {}, test AUC minus baseline {} ({}, {} and {} positives{how}{unmeasured}).{shown}{few}",
        name_of(report, labels, &cell.cell),
        worst.column,
        worst.level,
        signed(&difference, 4),
        number::count(difference.n, "seed"),
        number::count(worst.rows, "row"),
        number::grouped(worst.positives),
    ))
}

/// The same difference of two shares with an interval of the level 1 − 0.05 / `compared` (Bonferroni).
fn adjusted(difference: &Total, compared: u64) -> Total {
    if compared <= 1 {
        return *difference;
    }
    let compared = u32::try_from(compared).unwrap_or(u32::MAX);
    let half = difference.se_seeds.and_then(|se| half_width(se, difference.se_rows, difference.n, compared));
    let within = |half: f64| [(difference.mean - half).max(-1.0), (difference.mean + half).min(1.0)];
    Total { ci95: half.map(within), ..*difference }
}
