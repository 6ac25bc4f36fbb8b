//! What was found, in sentences made from the numbers. Cells are chosen on validation; test is only quoted.

use std::collections::BTreeMap;

use secateur_proto::{
    ids::CellId,
    metrics::{Direction, Metric, Quantity, Split},
};

use super::{
    evidence,
    glossary::title_of_any_split as title,
    label::Labels,
    model::{CellReport, Report},
    number, parts,
    plot::{Axes, axes},
    statistics::Paired,
    ties,
};
use crate::experiment::plan::Control;

/// The headline of a report: a few sentences, the most important first.
pub(super) fn findings(report: &Report) -> Vec<String> {
    let mut found = vec![overview(report)];
    found.extend(ties::sentence(report));
    found.extend(report.unmet_constraints());
    let labels = Labels::of(report);
    if let Some(axes) = axes(report).filter(|axes| axes.y.split().is_some()) {
        found.extend(chance(report, &axes));
        found.extend(dense(report, &labels, &axes));
        let smallest = smallest_as_good(report, &axes);
        if let Some(cell) = smallest {
            let lead = format!(
                "The smallest net of the front that loses at most {} of {} on validation, with its whole 95 % interval, is",
                margin(&axes.y).unwrap_or_default(),
                title(&axes.y),
            );
            found.push(compared(&lead, cell, &labels, &axes));
        }
        let extreme = report.front_cells().into_iter().next();
        if let Some(cell) = extreme.filter(|cell| smallest.is_none_or(|other| other.id != cell.id)) {
            found.push(compared("At the small end of the front is", cell, &labels, &axes));
        }
        found.extend(extreme.into_iter().flat_map(|cell| against_small(report, cell, &labels, &axes)));
        found.extend(against_random(report, &labels, &axes));
    }
    found.extend(evidence::sentence(report));
    found.extend(left_out(report));
    found.extend(parts::sentences(report));
    found
}

fn overview(report: &Report) -> String {
    let totals = &report.totals;
    let completed = totals.outcomes.get("completed").copied().unwrap_or(0);
    let aims: Vec<String> = (report.objectives.iter())
        .map(|objective| {
            let way = match objective.direction {
                Direction::Maximize => "high",
                Direction::Minimize => "low",
            };
            format!("{way} {}", title(&objective.quantity))
        })
        .collect();
    let cells = format!("{} and {}", number::count(totals.cells, "cell"), number::count(totals.controls, "control"));
    if completed == 0 {
        return format!(
            "None of the {} of {cells} has completed, so there is no front.",
            number::count(totals.trials, "trial")
        );
    }
    let on_front = match totals.front {
        0 => "No cell is".to_owned(),
        1 => "One cell is".to_owned(),
        many => format!("{} cells are", number::grouped(many)),
    };
    format!(
        "{} of {} of {cells} completed. {on_front} on the front of {}, chosen on validation means.",
        number::grouped(completed),
        number::count(totals.trials, "trial"),
        aims.join(" and ")
    )
}

fn wins(a: f64, b: f64, better: Direction) -> bool {
    match better {
        Direction::Maximize => a > b,
        Direction::Minimize => a < b,
    }
}

fn best<'a>(
    cells: impl Iterator<Item = &'a CellReport>,
    quantity: &Quantity,
    better: Direction,
) -> Option<&'a CellReport> {
    cells
        .filter_map(|cell| Some((cell.mean(quantity)?, cell)))
        .reduce(|a, b| if wins(b.0, a.0, better) { b } else { a })
        .map(|(_, cell)| cell)
}

/// What a net that guesses is worth, where that depends on the data.
fn chance(report: &Report, axes: &Axes) -> Option<String> {
    let on = |quantity: &Quantity| {
        let chance = number::of_metric(quantity.metric(), *report.chance.get(quantity)?);
        Some(format!("{chance} on {}", quantity.split()?))
    };
    let (name, validation, test) = (title(&axes.y), on(&axes.y)?, on(&axes.test())?);
    Some(format!(
        "A net that guesses has {name} {validation} and {test}: the chance level that every value is to be compared with."
    ))
}

/// The cell that the findings recommend.
pub(super) fn headline(report: &Report) -> Option<&CellReport> {
    smallest_as_good(report, &axes(report)?)
}

/// The dense control that is best on validation.
pub(super) fn best_dense(report: &Report) -> Option<&CellReport> {
    let axes = axes(report)?;
    let controls = report.cells.iter().filter(|cell| cell.control_kind == Some(Control::Dense));
    best(controls, &axes.y, axes.better[1])
}

fn dense(report: &Report, labels: &Labels, axes: &Axes) -> Option<String> {
    let cell = best_dense(report)?;
    let test = cell.summary(&axes.test())?;
    let size = cell.mean(&axes.x)?;
    Some(format!(
        "The unpruned net, {}, trained for the same extra epochs, has {} {} on test and {} {}.",
        labels.cell(cell),
        title(&axes.y),
        number::summary(axes.y.metric(), &test),
        number::of_metric(axes.x.metric(), size),
        title(&axes.x),
    ))
}

/// How much of a metric may be lost before people call two models different: the regions of practical equivalence of Gunnarsson et
/// al. 2021 (European Journal of Operational Research); of the error rate, for which they have none, a quarter of a percentage
/// point. That an interval reaches zero says only that there were few seeds.
fn margin(quantity: &Quantity) -> Option<f64> {
    match quantity.metric() {
        _ if !quantity.is_whole() => None,
        Metric::Auc => Some(0.01),
        Metric::Gini => Some(0.02),
        Metric::Brier | Metric::Error | Metric::Accuracy => Some(0.0025),
        _ => None,
    }
}

/// The first cell of the front that loses no more than the margin, with its whole interval of the validation difference.
fn smallest_as_good<'a>(report: &'a Report, axes: &Axes) -> Option<&'a CellReport> {
    let margin = margin(&axes.y)?;
    report.front_cells().into_iter().find(|cell| {
        cell.minus_dense(&axes.y).and_then(|paired| paired.summary.ci95).is_some_and(|[low, high]| {
            match axes.better[1] {
                Direction::Maximize => low >= -margin,
                Direction::Minimize => high <= margin,
            }
        })
    })
}

fn compared(lead: &str, cell: &CellReport, labels: &Labels, axes: &Axes) -> String {
    let mut text = format!("{lead} {}", labels.cell(cell));
    if let Some(size) = cell.mean(&axes.x) {
        text.push_str(&format!(": {} {}", number::of_metric(axes.x.metric(), size), title(&axes.x)));
    }
    let net = |metric: Metric| {
        cell.mean(&metric.on(Split::Validation)).filter(|_| axes.x.metric() == Metric::NonzeroParameters)
    };
    if let (Some(ratio), Some(all)) = (net(Metric::CompressionRatio), net(Metric::Parameters)) {
        let all = number::of_metric(Metric::Parameters, all);
        text.push_str(&format!(", {}× fewer than the {all} of the full net", number::fixed(ratio, 1)));
    }
    let (metric, test) = (axes.y.metric(), cell.summary(&axes.test()));
    if let Some(paired) = cell.minus_dense(&axes.test()) {
        text.push_str(&format!(
            "; its test {} differs from the dense control's by {}",
            title(&axes.y),
            pairs(metric, &paired)
        ));
        if let Some(test) = test
            && axes.y.better() == Direction::Maximize
            && test.mean - paired.summary.mean > 0.0
        {
            let kept = test.mean / (test.mean - paired.summary.mean) * 100.0;
            text.push_str(&format!(", so it keeps {} % of it", number::fixed(kept, 1)));
        }
    } else if let Some(test) = test {
        text.push_str(&format!("; its test {} is {}", title(&axes.y), number::summary(metric, &test)));
    }
    text.push('.');
    text
}

fn pairs(metric: Metric, paired: &Paired) -> String {
    let seeds = number::count(paired.summary.n, "seed");
    let shown = match paired.summary.ci95 {
        Some([low, high]) if low <= 0.0 && high >= 0.0 => ", an interval that includes zero",
        _ => "",
    };
    format!("{} (paired over {seeds}{shown})", number::difference(metric, &paired.summary))
}

/// The best cell at the highest sparsity at which its own random control was tried too, and by how much it beats that.
fn against_random(report: &Report, labels: &Labels, axes: &Axes) -> Option<String> {
    let by_id: BTreeMap<&CellId, &CellReport> = report.cells.iter().map(|cell| (&cell.id, cell)).collect();
    let mut matched: BTreeMap<u64, Vec<&CellReport>> = BTreeMap::new();
    for cell in report.cells.iter().filter(|cell| cell.eligible) {
        let random = cell.random_control.as_ref().and_then(|id| by_id.get(id));
        if let (Some(sparsity), Some(_)) =
            (cell.requested_sparsity.filter(|value| *value > 0.0), random.and_then(|cell| cell.mean(&axes.y)))
        {
            // Positive numbers sort as their bits do.
            matched.entry(sparsity.to_bits()).or_default().push(cell);
        }
    }
    let (_, cells) = matched.pop_last()?;
    let cell = best(cells.into_iter(), &axes.y, axes.better[1])?;
    let random = by_id.get(cell.random_control.as_ref()?)?;
    let test = axes.test();
    let paired = cell.minus_random(&test)?;
    Some(format!(
        "At sparsity {}, the highest with a random baseline, {} differs from {} by {} in test {}.",
        number::sparsity(cell.requested_sparsity?),
        labels.cell(cell),
        labels.cell(random),
        pairs(axes.y.metric(), &paired),
        title(&axes.y),
    ))
}

/// By how much a cell differs from dense nets of about as many parameters that were trained from their beginning: for as many epochs, and
/// for as much compute.
fn against_small(report: &Report, cell: &CellReport, labels: &Labels, axes: &Axes) -> Vec<String> {
    let (compute, test) = (Control::ScratchCompute, axes.test());
    let as_long = (cell.scratch_control.as_ref(), cell.minus_scratch(&test), "many epochs");
    let as_costly =
        (cell.other_controls.get(&compute).map(|other| &other.cell), cell.minus_other(compute, &test), "much compute");
    let sentence = |(id, paired, how): (Option<&CellId>, Option<Paired>, &str)| {
        let small = report.cells.iter().find(|other| Some(&other.id) == id)?;
        let parameters = small.mean(&Metric::Parameters.on(Split::Test))?;
        Some(format!(
            "{} differs from {}, a dense net of {} parameters trained from its beginning for as {how}, by {} in test {}.",
            capitalised(&labels.cell(cell)),
            labels.cell(small),
            number::of_metric(Metric::Parameters, parameters),
            pairs(axes.y.metric(), &paired?),
            title(&axes.y),
        ))
    };
    [as_long, as_costly].into_iter().filter_map(sentence).collect()
}

/// The beginning of a sentence.
fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn left_out(report: &Report) -> Option<String> {
    let totals = &report.totals;
    let mut parts = Vec::new();
    let ends = totals.outcomes.iter().filter(|(outcome, _)| *outcome != "completed");
    let ends: Vec<String> = ends.map(|(outcome, number)| format!("{} {outcome}", number::grouped(*number))).collect();
    if !ends.is_empty() {
        parts.push(format!("{} did not complete ({})", number::count(totals.failed, "trial"), ends.join(", ")));
    }
    if totals.merged > 0 {
        parts
            .push(format!("{} of the grid merged into a cell of the same work", number::count(totals.merged, "point")));
    }
    if totals.refused > 0 {
        parts.push(format!("{} refused before anything ran", number::count(totals.refused, "point")));
    }
    (!parts.is_empty()).then(|| format!("Left out: {}.", parts.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{build, example};

    #[test]
    fn the_headline_quotes_the_cells_it_names() {
        let (plan, outcomes) = example::realistic();
        let report = build(&plan, &outcomes);
        let found = findings(&report);
        assert_eq!(found.len(), 7, "{found:#?}");
        let axes = axes(&report).expect("something to show");
        let cell = smallest_as_good(&report, &axes).expect("a good one");
        let difference = cell.minus_dense(&Metric::Auc.on(Split::Test));
        let quoted = number::difference(Metric::Auc, &difference.expect("paired").summary);
        assert!(found[2].contains(&quoted), "{found:#?}");
        insta::assert_snapshot!(found.join("\n"));
    }

    /// A small net beside the small end of the front, with widths in its name and nowhere else.
    #[test]
    fn a_small_dense_net_is_what_pruning_has_to_beat() {
        let (plan, outcomes) = example::with_small_net();
        let report = build(&plan, &outcomes);
        let found = findings(&report);
        let sentence = found.iter().find(|sentence| sentence.contains("a dense net of")).expect("it is told");
        let front = report.front_cells()[0];
        let mut small = report.cells.iter().filter(|cell| cell.control_kind == Some(Control::ScratchEpochs));
        let small = small.find(|cell| cell.requested_sparsity == front.requested_sparsity).expect("it is there");
        assert!(Labels::of(&report).cell(small).ends_with("sparsity 0.90 · hidden [9, 3]"), "{sentence}");
        assert!(!Labels::of(&report).cell(front).contains("hidden"), "{sentence}");
        let mean = |cell: &CellReport| cell.mean(&Metric::Auc.on(Split::Test)).expect("measured");
        let difference = mean(front) - mean(small);
        assert!(sentence.contains(&number::fixed(difference.abs(), 4)), "{difference} is not in {sentence}");
    }

    #[test]
    fn nothing_done_is_said_as_such() {
        let (plan, _) = example::realistic();
        let found = findings(&build(&plan, &BTreeMap::new()));
        insta::assert_snapshot!(found.join("\n"));
    }
}
