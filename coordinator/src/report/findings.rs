//! What was found, in sentences made from the numbers. Cells are chosen on validation; test is only quoted.

use std::collections::BTreeMap;

use secateur_proto::{
    ids::CellId,
    metrics::{Direction, Metric, Quantity, Split},
};

use super::{
    claims, credit, evidence,
    glossary::title_of_any_split as title,
    label::Labels,
    model::{CellReport, Report},
    number, one_net, parts,
    plot::{Axes, axes},
    rows::Total,
    seeds,
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
        found.extend(not_inferior(report, &labels, &axes).into_iter().map(|claim| claims::worded(report, claim)));
        found.extend(one_net::sentence(report, &labels, &axes));
        let smallest = report.baseline.as_ref();
        let smallest =
            smallest.and_then(|baseline| baseline.smallest.as_ref().or(baseline.smallest_unadjusted.as_ref()));
        let extreme = report.front_cells().into_iter().next();
        if let Some(cell) = extreme.filter(|cell| Some(&cell.id) != smallest) {
            let claim = compared("At the small end of the front is", report, cell, "", &labels, &axes);
            found.push(claims::worded(report, claim));
        }
        found.extend(common_front(report).map(|claim| claims::worded(report, claim)));
        found.extend(references(report, &labels, &axes));
        let shown = smallest.and_then(|id| report.cell(id)).or(extreme);
        found.extend(shown.into_iter().flat_map(|cell| against_small(report, cell, &labels, &axes)));
        found.extend(against_random(report, &labels, &axes));
    }
    found.extend(credit::sentences(report, &labels));
    found.extend(seeds::sentence(report));
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

/// The cell that the findings recommend: the smallest of those that are shown to lose less than the margin.
pub(super) fn headline(report: &Report) -> Option<&CellReport> {
    report.cell(report.baseline.as_ref()?.smallest.as_ref()?)
}

/// The baseline of every comparison below.
fn dense(report: &Report, labels: &Labels, axes: &Axes) -> Option<String> {
    let (baseline, cell) = (report.baseline.as_ref()?, report.baseline_cell()?);
    let chosen = match baseline.of {
        1 => "the dense net".to_owned(),
        of => format!("the best of {of} dense nets by validation {}", title(&axes.y)),
    };
    Some(format!(
        "The baseline is {chosen}, {}, trained for as many epochs as the pruned nets: test {} {}, {} {}.",
        labels.cell(cell),
        title(&axes.y),
        number::summary(axes.y.metric(), &cell.total(&axes.test())?.summary()),
        number::of_metric(axes.x.metric(), cell.mean(&axes.x)?),
        title(&axes.x),
    ))
}

/// What a pick of many by its own interval is worth.
const OFTEN_WRONG: &str = " Such a pick is wrong more often than its interval says.";

/// The smallest cell that is as good as the baseline, or that there is none and which came nearest.
fn not_inferior(report: &Report, labels: &Labels, axes: &Axes) -> Vec<String> {
    let Some(baseline) = &report.baseline else { return Vec::new() };
    let name = title(&axes.y);
    let Some(margin) = baseline.margin else {
        let verb = match axes.better[1] {
            Direction::Maximize => "maximize",
            Direction::Minimize => "minimize",
        };
        let quantity = axes.y.text_or_on(Split::Validation);
        return vec![format!(
            "Whether a cell is as good as the baseline is not tested: {name} has no usual margin. Set one in the sweep file, such as objectives: [{{{verb}: {quantity}, margin: 0.01}}]."
        )];
    };
    let margin = format!("{} of validation {name}", number::shortest(margin));
    let tested = number::count(baseline.tested, "cell");
    let how = "one-sided at 2.5 %, adjusted for their number by Holm's method";
    let how = match report.looks() {
        1 => how.to_owned(),
        looks => format!("{how} and for up to {looks} looks at the results"),
    };
    let named = |id: &Option<CellId>| id.as_ref().and_then(|id| report.cell(id));
    let mut found = Vec::new();
    match (named(&baseline.smallest), named(&baseline.nearest)) {
        (Some(cell), _) => {
            let (count, verb) =
                (number::grouped(baseline.not_inferior), if baseline.not_inferior == 1 { "is" } else { "are" });
            let beside = if cell.on_front { "" } else { " (not on the front)" };
            let lead = format!(
                "{count} of {tested} {verb} shown to lose less than {margin} against the baseline ({how}). The smallest is"
            );
            found.push(compared(&lead, report, cell, beside, labels, axes));
        }
        (None, Some(cell)) => {
            let difference = cell.total_difference(&axes.y);
            let nearest = difference.map(|difference| {
                let difference = number::difference(axes.y.metric(), &difference.summary());
                format!(" The nearest is {}: validation {name} minus baseline {difference}.", labels.cell(cell))
            });
            found.push(format!(
                "None of {tested} is shown to lose less than {margin} against the baseline ({how}).{}",
                nearest.unwrap_or_default()
            ));
        }
        (None, None) => {
            let seeds = report.cell(&baseline.cell).and_then(|cell| cell.summary(&axes.y)).map(|summary| summary.n);
            found.extend((seeds == Some(1)).then(|| {
                format!("No cell can be tested against the baseline: that takes two seeds, and {name} is known of one.")
            }));
        }
    }
    if let Some(cell) = named(&baseline.smallest_unadjusted) {
        let lead = format!(
            "Without the adjustment for {tested}, by its own 95 % interval alone, the smallest cell within that margin is"
        );
        let mut text = compared(&lead, report, cell, "", labels, axes);
        text.push_str(OFTEN_WRONG);
        found.push(text);
    }
    if let Some(cell) = named(&baseline.smallest_not_pruned) {
        let lead = "By its own 95 % interval alone, without adjustment, the smallest net or model that is not pruned within that margin is";
        let mut text = compared(lead, report, cell, "", labels, axes);
        if baseline.smallest_unadjusted.is_none() {
            text.push_str(OFTEN_WRONG);
        }
        found.push(text);
    }
    found
}

/// What a cell is beside the baseline: smaller by so much, and different by so much on test. `remark` follows its name.
pub(super) fn compared(
    lead: &str,
    report: &Report,
    cell: &CellReport,
    remark: &str,
    labels: &Labels,
    axes: &Axes,
) -> String {
    let mut text = format!("{lead} {}{remark}", labels.cell(cell));
    if let Some(size) = cell.mean(&axes.x) {
        text.push_str(&format!(": {} {}", number::of_metric(axes.x.metric(), size), title(&axes.x)));
        let of_baseline = report.baseline_cell().and_then(|baseline| baseline.mean(&axes.x));
        if let Some(whole) =
            of_baseline.filter(|whole| axes.better[0] == Direction::Minimize && size > 0.0 && *whole > size)
        {
            let whole_text = number::of_metric(axes.x.metric(), whole);
            text.push_str(&format!(", {}× fewer than the baseline's {whole_text}", number::fixed(whole / size, 1)));
        }
    }
    let (metric, name) = (axes.y.metric(), title(&axes.y));
    if let Some(difference) = cell.total_difference(&axes.test()) {
        text.push_str(&format!(
            "; test {name} minus baseline {}",
            with_total(metric, &difference, report.data.rows[2])
        ));
    } else if let Some(test) = cell.total(&axes.test()) {
        text.push_str(&format!("; its test {name} is {}", number::summary(metric, &test.summary())));
    }
    text.push('.');
    text
}

/// A difference with its interval and what the interval is about.
fn with_total(metric: Metric, difference: &Total, rows: u64) -> String {
    let seeds = number::count(difference.n, "seed");
    let about = match difference.se_rows {
        Some(_) => format!("{seeds} and {}", number::count(rows, "row")),
        None => format!("{seeds}; rows not included"),
    };
    format!("{} ({about})", number::difference(metric, &difference.summary()))
}

/// What of all that could be deployed nothing else beats, and whether pruning was needed for it.
fn common_front(report: &Report) -> Option<String> {
    let on_front: Vec<&CellReport> = report.cells.iter().filter(|cell| cell.on_common_front).collect();
    let others =
        report.cells.iter().filter(|cell| cell.deployable && cell.control && cell.control_kind != Some(Control::Dense));
    if on_front.is_empty() || others.count() == 0 {
        return None;
    }
    let mut owners: BTreeMap<usize, (&str, u64)> = BTreeMap::new();
    for cell in &on_front {
        let (rank, name) = owner(cell);
        owners.entry(rank).or_insert((name, 0)).1 += 1;
    }
    let list: Vec<String> = owners.values().map(|(name, count)| number::count(*count, name)).collect();
    let kept = report.cells.iter().filter(|cell| cell.on_front && cell.on_common_front).count() as u64;
    let lost = report.totals.front.saturating_sub(kept);
    let of = number::count(report.totals.front, "cell");
    let lost = match lost {
        0 => format!("It keeps all of the front's {of}"),
        lost if lost == report.totals.front => format!("It keeps none of the front's {of}: pruning was not needed"),
        lost => format!(
            "It loses {} of the front's {of}: a net or model that is not pruned is at least as good and as small",
            number::grouped(lost)
        ),
    };
    Some(format!(
        "With unpruned nets and models as competitors, the front has {}. {lost} (validation means, without a test).",
        list.join(", ")
    ))
}

/// What the reference models reach on test.
fn references(report: &Report, labels: &Labels, axes: &Axes) -> Option<String> {
    let test = axes.test();
    let is_reference = |cell: &&CellReport| cell.control_kind.is_some_and(Control::is_reference);
    let reached = report.cells.iter().filter(is_reference).filter_map(|cell| {
        let difference = cell.total_difference(&test)?;
        let value = number::of_metric(axes.y.metric(), cell.mean(&test)?);
        let difference = with_total(axes.y.metric(), &difference, report.data.rows[2]);
        Some(format!("{} {value}, minus baseline {difference}", labels.cell(cell)))
    });
    let reached: Vec<String> = reached.collect();
    (!reached.is_empty()).then(|| format!("Reference models, by test {}: {}.", title(&axes.y), reached.join("; ")))
}

/// What a deployable cell is, with its place in lists.
fn owner(cell: &CellReport) -> (usize, &'static str) {
    match cell.control_kind {
        None if cell.requested_sparsity == Some(0.0) => (1, "unpruned net"),
        None => (0, "pruned net"),
        Some(Control::ScratchEpochs | Control::ScratchCompute) => (2, "small dense net"),
        Some(control) if control.is_reference() => (4, "reference model"),
        Some(_) => (3, "dense net"),
    }
}

fn pairs(metric: Metric, paired: &Paired) -> String {
    let seeds = number::count(paired.summary.n, "seed");
    let shown = match paired.summary.ci95 {
        Some([low, high]) if low <= 0.0 && high >= 0.0 => "; no difference is shown",
        _ => "",
    };
    format!("{} ({seeds}; rows not included{shown})", number::difference(metric, &paired.summary))
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
    let sizes: Vec<String> = [cell, random]
        .into_iter()
        .filter_map(|cell| Some(number::of_metric(axes.x.metric(), cell.mean(&axes.x)?)))
        .collect();
    Some(format!(
        "At sparsity {}, the highest with a random control, the best cell on validation is {}. Its test {} minus random pruning's is {}; {}: {}.",
        number::sparsity(cell.requested_sparsity?),
        labels.cell(cell),
        title(&axes.y),
        pairs(axes.y.metric(), &paired),
        title(&axes.x),
        sizes.join(" and "),
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
        Some(format!(
            "Test {} of {} minus that of {}, a small dense net of {} {} trained from scratch for as {how}: {}.",
            title(&axes.y),
            labels.cell(cell),
            labels.cell(small),
            number::of_metric(axes.x.metric(), small.mean(&axes.x)?),
            title(&axes.x),
            pairs(axes.y.metric(), &paired?),
        ))
    };
    [as_long, as_costly].into_iter().filter_map(sentence).collect()
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
        let axes = axes(&report).expect("something to show");
        let smallest = report.baseline.as_ref().and_then(|baseline| baseline.smallest.as_ref()).expect("a good one");
        let difference = report.cell(smallest).and_then(|cell| cell.minus_baseline(&axes.test()));
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
        let sentence =
            found.iter().find(|sentence| sentence.contains("a small dense net of")).expect("there is such a sentence");
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
