//! What the pages say, before it is HTML or Markdown: titles, sentences and tables of plain text.

use std::collections::BTreeSet;

use secateur_proto::metrics::{Direction, Metric, Over, Quantity, Split};

use super::{
    credit::{self, Part},
    evidence,
    findings::findings,
    glossary::{aim, control_title, title},
    label::{self, Labels},
    measured,
    model::{CellReport, Report},
    nets, number, one_net, parts,
    plot::axes,
    seeds,
    statistics::Paired,
    table::distinct,
    ties,
};
use crate::experiment::plan::{Constraint, Control, Objective};

/// A table of plain text.
#[derive(Debug, Default)]
pub(super) struct Grid {
    /// Names of columns, and whether they hold numbers.
    pub(super) columns: Vec<(String, bool)>,
    /// As many texts as columns in each.
    pub(super) rows: Vec<Vec<String>>,
}

impl Grid {
    pub(super) fn new(columns: &[&str]) -> Self {
        Self { columns: columns.iter().map(|name| ((*name).to_owned(), false)).collect(), rows: Vec::new() }
    }

    /// Without rows. A column has a name, and may hold numbers.
    pub(super) fn of(columns: &[(&str, bool)]) -> Self {
        let columns = columns.iter().map(|(name, is_number)| ((*name).to_owned(), *is_number));
        Self { columns: columns.collect(), rows: Vec::new() }
    }
}

/// All that a page says in words and tables.
pub(super) struct Content {
    pub(super) findings: Vec<String>,
    /// What the front is chosen on.
    pub(super) aims: Vec<String>,
    pub(super) front: Grid,
    /// How sure the front is: its cells, what settings explain, and what both mean.
    pub(super) front_evidence: Grid,
    pub(super) importance: Grid,
    pub(super) evidence_notes: Vec<String>,
    /// The seeds that were added while results came in, round by round, and how.
    pub(super) seeds: Grid,
    pub(super) seeds_notes: Vec<String>,
    /// The file's cells; at most as many as asked for, the front's first.
    pub(super) cells: Grid,
    pub(super) cells_left_out: usize,
    /// The front's cells by the levels of the columns that metrics are reported by.
    pub(super) slices: Grid,
    /// The columns that the front's nets do not read.
    pub(super) unread: Grid,
    /// Measured nets: times, bytes, and what both mean.
    pub(super) times: Grid,
    pub(super) bytes: Grid,
    pub(super) machines: Vec<String>,
    /// Decisions, groups and calibration. Empty where nothing is known of them.
    pub(super) credit: Vec<Part>,
    pub(super) controls: Grid,
    pub(super) merged: Grid,
    pub(super) refused: Grid,
    pub(super) failed: Grid,
    pub(super) data: Grid,
    /// What a person should know of the data.
    pub(super) notes: Vec<String>,
    /// What the numbers do not show.
    pub(super) cautions: Vec<String>,
    pub(super) facts: Grid,
    /// Name, title and meaning of each metric of the report.
    pub(super) definitions: Grid,
    /// How to read numbers and intervals.
    pub(super) reading: Vec<String>,
}

const READING: [&str; 10] = [
    "A cell is one point of the sweep's grid; it is trained once for each seed. Every number of a cell is the mean over its seeds. Square brackets hold a 95 % interval of that mean. It ends where the range of its metric does, such as at 1 for the AUC. With few seeds it is wide, and with one there is none.",
    "There are two kinds of intervals of means. Those of seeds are Student's: mean ± t · sd / √n, with one degree of freedom less than there are seeds. They speak of initial weights, order of rows and random scores. Those of seeds and rows also speak of other rows of the same population. They add the variance between rows (DeLong et al. 1988 for the AUC, of losses the sample variance), of values averaged over the seeds, with Satterthwaite's degrees of freedom. With more degrees of freedom they can be narrower than those of seeds.",
    "Metrics of the objectives and constraints, and their differences to the baseline, have intervals of seeds and rows where the scores of a cell were read: first the baseline and the front, then the other cells, up to a bound. All other intervals are of seeds alone: columns that say so, curves, heat maps, metrics that are not means of rows, and groups in the table \"By group\" under the front; those of \"Decisions, groups and calibration\" include rows. The plot of all cells and `front.csv` have the same intervals as the tables and say which. No interval covers another population, period, train set or split.",
    "One further net: a prediction interval, which holds the value of one more net of the cell, trained with a seed that is not in the sweep, in 95 % of cases. With more seeds it does not shrink to the mean, because nets differ: mean ± √((t · sd · √(1 + 1/n))² + (z · standard error over rows)²), the second part where rows were read (Hahn & Meeker 1991). The worst seed is that of the sweep's own nets; its test value selected nothing.",
    "The baseline is one net: of the dense nets that were retrained for the same extra epochs, the best on validation. Differences to it are paired: seed by seed, cell minus baseline. Pairing removes what the seed does to both.",
    "Minus own dense net: the dense net with the same penalty. Minus random: the cell that is the same but for its choice of weights, made by chance. Minus small net: a dense net with the same penalty and about as many parameters (scratch, in the list of cells), trained from the beginning for as many epochs. A penalty can leave pruned and other nets of different sizes: compare the columns of size, too.",
    "A cell is tested by whether it loses less than the margin on validation. The margins are 0.01 of AUC, 0.02 of Gini and 0.0025 of the Brier score (Gunnarsson et al. 2021), and 0.0025 of the error rate, a quarter of a percentage point; the sweep file may set another one. The test of each eligible cell is one-sided at 2.5 %, and p-values are adjusted for the number of cells of the sweep, eligible or not (Holm 1979). If every cell loses at least the margin, the probability of naming any is at most 2.5 %. With few seeds few cells pass. An interval that includes zero does not show equality.",
    "A cell is on the front if no other eligible cell is at least as good in every objective and better in one. Cells with equal means of every objective are one point, which the table shows once with their number. The front is chosen on validation means alone; test values stand beside it and select nothing unless a constraint names them. The best of many cells looks better on validation than it is, so judge by test. The front with unpruned competitors is chosen in the same way among the cells of the file, the dense nets, the small dense nets and the reference models.",
    "Controls are trials that the planner adds to compare with: the unpruned net, random weights removed at each sparsity, and beside each sparsity a small dense net of about as many parameters, trained from its beginning for as many epochs; and what else the sweep file asks for. They are never on the sweep's front, and neither are ablations. A cell is not eligible while one of its trials has not completed, when its nets give every row the same answer, or when it breaks a constraint.",
    "The sparsity asked for is the share of the prunable weights that pruning removes, as an exact number of weights. A penalty can zero further weights, so the measured sparsity can be higher. For neurons and filters the sparsity asked for is a share of units; the measured sparsity is always one of weights.",
];

const READING_OF_SLICES: &str = "Metrics by group are those of the rows that have one level of a column. A gap is the largest minus the smallest value over the levels that have one, taken seed by seed. Groups are smaller than their split, so their values vary more with the rows that happen to be in it, and the intervals, which speak of the seed, do not show that.";

impl Content {
    pub(super) fn of(report: &Report, most_cells: usize) -> Self {
        let labels = Labels::of(report);
        let front = report.front_cells();
        let points = ties::front_points(report);
        let (controls, others): (Vec<&CellReport>, Vec<&CellReport>) =
            report.cells.iter().partition(|cell| cell.control);
        let mut listed = others.clone();
        if listed.len() > most_cells {
            listed.sort_by_key(|cell| !cell.on_front);
            listed.truncate(most_cells);
        }
        Self {
            findings: findings(report),
            aims: aims(report),
            front: ties::with_counts(front_grid(report, &labels, &ties::first_cells(&points)), &points),
            front_evidence: evidence::front_grid(report, &labels),
            importance: evidence::importance_grid(report),
            evidence_notes: evidence::notes(report),
            seeds: seeds::grid(report, &labels),
            seeds_notes: seeds::notes(report),
            cells: cell_grid(report, &labels, &listed, true),
            cells_left_out: others.len() - listed.len(),
            slices: slices(report, &labels, &front),
            unread: nets::unread_grid(report, &labels),
            times: measured::times(report, &labels),
            bytes: measured::bytes(report, &labels),
            machines: nets::machine_notes(report),
            credit: credit::parts(report, &labels),
            controls: cell_grid(report, &labels, &controls, false),
            merged: merged(report, &labels),
            refused: refused(report),
            failed: failed(report, &labels),
            data: data(report),
            notes: report.data.notes.clone(),
            cautions: report.cautions.iter().map(|caution| format!("Caution: {caution}.")).collect(),
            facts: facts(report),
            definitions: definitions(report),
            reading: (READING.iter().copied().chain(report.has_slices().then_some(READING_OF_SLICES)))
                .map(str::to_owned)
                .chain(report.methods.iter().cloned())
                .collect(),
        }
    }
}

fn aims(report: &Report) -> Vec<String> {
    let chance = |quantity: &Quantity| {
        let chance = report.chance.get(quantity).map(|chance| number::of_metric(quantity.metric(), *chance));
        chance.map(|chance| format!(" (chance {chance})")).unwrap_or_default()
    };
    let objective = |objective: &Objective| {
        let verb = match objective.direction {
            Direction::Maximize => "maximise",
            Direction::Minimize => "minimise",
        };
        format!("{verb} {}{}", aim(&objective.quantity), chance(&objective.quantity))
    };
    let constraint = |constraint: &Constraint| {
        let bounds =
            [constraint.min.map(|min| format!("at least {min}")), constraint.max.map(|max| format!("at most {max}"))];
        format!(
            "with {}{} {}",
            aim(&constraint.quantity),
            chance(&constraint.quantity),
            bounds.into_iter().flatten().collect::<Vec<_>>().join(" and ")
        )
    };
    report.objectives.iter().map(objective).chain(report.constraints.iter().map(constraint)).collect()
}

/// What a cell is in one word or sentence.
pub(super) fn status(cell: &CellReport) -> String {
    match (&cell.reason, cell.on_front) {
        (_, true) => {
            let beaten =
                if cell.on_common_front { "" } else { "; an unpruned competitor is at least as good and as small" };
            format!("on the front{beaten}")
        }
        (Some(reason), _) if !cell.control => format!("not eligible: {reason}"),
        _ if cell.on_common_front => "control, on the front with unpruned competitors".to_owned(),
        _ if cell.control => "control".to_owned(),
        _ => "dominated".to_owned(),
    }
}

fn front_grid(report: &Report, labels: &Labels, cells: &[&CellReport]) -> Grid {
    one_net::beside(cell_grid(report, labels, cells, false), report, cells)
}

fn cell_grid(report: &Report, labels: &Labels, cells: &[&CellReport], with_status: bool) -> Grid {
    let mut columns = vec![("cell".to_owned(), false)];
    let goals = report.goals().cloned();
    let mut shown: Vec<Quantity> = Vec::new();
    for quantity in axes(report).into_iter().flat_map(|axes| [axes.x, axes.y]).chain(goals) {
        let quantity = quantity.with_split(Split::Validation);
        if !shown.contains(&quantity) {
            shown.push(quantity);
        }
    }
    // The differences to the baseline, and beside them those to the dense net of the same settings where that is another one.
    let baseline = report.baseline.as_ref().map(|baseline| &baseline.cell);
    let with_own = cells.iter().any(|cell| cell.dense_control.is_some() && cell.dense_control.as_ref() != baseline);
    let with_random = cells.iter().any(|cell| cell.difference_to_random.is_some());
    let with_small = cells.iter().any(|cell| cell.difference_to_scratch.is_some());
    let others: BTreeSet<Control> = cells.iter().flat_map(|cell| cell.other_controls.keys().copied()).collect();
    for quantity in &shown {
        columns.push((report.title(quantity), true));
        if quantity.split().is_some() {
            let test = quantity.with_split(Split::Test);
            columns.push((report.title(&test), true));
            let test = title(&test);
            if baseline.is_some() {
                columns.push((format!("{test}, minus baseline"), true));
            }
            if with_own {
                columns.push((format!("{test}, minus own dense net (seeds)"), true));
            }
            if with_random {
                columns.push((format!("{test}, minus random (seeds)"), true));
            }
            if with_small {
                columns.push((format!("{test}, minus small net (seeds)"), true));
            }
            columns.extend(others.iter().map(|kind| (format!("{test}, minus {} (seeds)", control_title(*kind)), true)));
        }
    }
    if with_status {
        columns.push(("status".to_owned(), false));
    }
    let parts = (!report.parts.is_empty()).then(|| parts::of_cells(report));
    columns.extend(parts.is_some().then(|| ("part".to_owned(), false)));
    columns.push(("id".to_owned(), false));
    let row = |cell: &&CellReport| {
        let mut row = vec![labels.cell(cell)];
        for quantity in &shown {
            let metric = quantity.metric();
            let mean = |quantity: &Quantity| {
                cell.total(quantity).map_or_else(|| "–".to_owned(), |found| number::summary(metric, &found.summary()))
            };
            row.push(mean(quantity));
            if quantity.split().is_some() {
                let test = quantity.with_split(Split::Test);
                let total = cell.total(&test);
                row.push(total.map_or_else(|| "–".to_owned(), |found| number::summary(metric, &found.summary())));
                let difference = |paired: Option<Paired>| {
                    paired.map_or_else(|| "–".to_owned(), |paired| number::difference(metric, &paired.summary))
                };
                if baseline.is_some() {
                    let total = cell.total_difference(&test);
                    row.push(
                        total.map_or_else(|| "–".to_owned(), |found| number::difference(metric, &found.summary())),
                    );
                }
                if with_own {
                    row.push(difference(cell.minus_dense(&test)));
                }
                if with_random {
                    row.push(difference(cell.minus_random(&test)));
                }
                if with_small {
                    row.push(difference(cell.minus_scratch(&test)));
                }
                row.extend(others.iter().map(|kind| difference(cell.minus_other(*kind, &test))));
            }
        }
        if with_status {
            row.push(status(cell));
        }
        row.extend(parts.as_ref().map(|parts| parts.get(&cell.id).cloned().unwrap_or_default()));
        row.push(cell.id.to_string());
        row
    };
    Grid { columns, rows: cells.iter().map(row).collect() }
}

/// On test: the metrics of the objectives, for each level of each column and for the gap between them. Empty without such columns.
pub(super) fn slices(report: &Report, labels: &Labels, front: &[&CellReport]) -> Grid {
    let mut grid = Grid::new(&["cell", "column", "level"]);
    let aims = curve_quantities(report);
    let metrics: BTreeSet<Metric> = aims.iter().map(Quantity::metric).filter(|metric| !metric.is_of_net()).collect();
    for metric in &metrics {
        let test = metric.on(Split::Test);
        // Levels have shares of positives of their own.
        let chance = if report.chance.contains_key(&test) { " (chance of all rows" } else { "" };
        let named = report.title(&test).replace(" (chance", chance);
        grid.columns.extend([(named, true), (format!("{}, minus baseline", title(&test)), true)]);
    }
    for cell in front {
        let of_test = cell.quantities.keys().filter(|quantity| quantity.split() == Some(Split::Test));
        let overs: BTreeSet<&Over> = of_test.map(Quantity::over).collect();
        for over in overs {
            let (column, level) = match over {
                Over::Slice(_, slice) => (&slice.column, slice.level.as_str()),
                Over::Gap(_, gap) => (&gap.column, "gap"),
                Over::Net | Over::Rows(_) => continue,
            };
            let mut row = vec![labels.cell(cell), column.clone(), level.to_owned()];
            for metric in &metrics {
                let Ok(quantity) = Quantity::new(*metric, over.clone()) else { continue };
                let missing = || {
                    let reasons = cell.quantities.get(&quantity).map(|found| &found.not_measurable);
                    let reason = reasons.and_then(|reasons| reasons.keys().next());
                    reason.map_or_else(|| "–".to_owned(), |reason| format!("– ({reason})"))
                };
                row.push(cell.summary(&quantity).map_or_else(missing, |found| number::summary(*metric, &found)));
                let paired = cell.minus_baseline(&quantity);
                row.push(paired.map_or_else(|| "–".to_owned(), |paired| number::difference(*metric, &paired.summary)));
            }
            grid.rows.push(row);
        }
    }
    grid
}

fn merged(report: &Report, labels: &Labels) -> Grid {
    let mut grid = Grid::new(&["point of the grid", "same work as", "because"]);
    let names: std::collections::HashMap<_, _> = report.cells.iter().map(|cell| (&cell.id, cell)).collect();
    grid.rows.extend(report.merged.iter().map(|merged| {
        let into = names.get(&merged.into).map_or_else(|| merged.into.to_string(), |cell| labels.cell(cell));
        vec![label::all_settings(&merged.settings), into, merged.reason.clone()]
    }));
    grid
}

fn refused(report: &Report) -> Grid {
    let mut grid = Grid::new(&["point of the grid", "because"]);
    let row = |refused: &crate::experiment::plan::Refused| {
        vec![label::all_settings(&refused.settings), refused.reason.clone()]
    };
    grid.rows.extend(report.refused.iter().map(row));
    grid
}

fn failed(report: &Report, labels: &Labels) -> Grid {
    let mut grid = Grid::new(&["trial", "cell", "seed", "outcome", "because"]);
    grid.columns.extend((!report.parts.is_empty()).then(|| ("part".to_owned(), false)));
    let cells: std::collections::HashMap<_, _> = report.cells.iter().map(|cell| (&cell.id, cell)).collect();
    grid.rows.extend(report.trials.iter().filter(|trial| trial.outcome != "completed").map(|trial| {
        let mut row = vec![
            trial.id.to_string(),
            cells.get(&trial.cell).map_or_else(String::new, |cell| labels.cell(cell)),
            trial.seed.to_string(),
            trial.outcome.clone(),
            trial.reason.clone().unwrap_or_default(),
        ];
        row.extend(trial.part.map(|part| part.to_string()));
        row
    }));
    grid
}

/// Two classes by how often the positive one is; more of them class by class.
pub(super) fn data(report: &Report) -> Grid {
    let data = &report.data;
    let parts = ["train", "validation", "test"];
    let [_, positive] = data.classes.as_slice() else {
        let mut columns = vec![("class".to_owned(), false)];
        columns.extend(parts.map(|part| (part.to_owned(), true)));
        let row = |name: &str, rows: [u64; 3]| {
            let mut row = vec![name.to_owned()];
            row.extend(rows.map(number::grouped));
            row
        };
        let mut rows: Vec<_> = data.classes.iter().map(|class| row(&class.name, class.rows)).collect();
        rows.push(row("all", data.rows));
        return Grid { columns, rows };
    };
    let mut grid = Grid {
        columns: vec![
            ("part".to_owned(), false),
            ("rows".to_owned(), true),
            ("positives".to_owned(), true),
            ("rate".to_owned(), true),
        ],
        rows: Vec::new(),
    };
    if data.periods.is_some() {
        grid.columns.extend([("first".to_owned(), false), ("last".to_owned(), false)]);
    }
    for (index, part) in parts.into_iter().enumerate() {
        let (rows, positives) = (data.rows[index], positive.rows[index]);
        let rate = if rows == 0 {
            "–".to_owned()
        } else {
            format!("{} %", number::fixed(positives as f64 / rows as f64 * 100.0, 2))
        };
        let mut row = vec![part.to_owned(), number::grouped(rows), number::grouped(positives), rate];
        row.extend(data.periods.iter().flat_map(|periods| periods.parts[index].clone()));
        grid.rows.push(row);
    }
    grid
}

fn facts(report: &Report) -> Grid {
    let (data, totals) = (&report.data, &report.totals);
    let mut grid = Grid::new(&["", ""]);
    let facts = [
        ("sweep", report.sweep.id.to_string()),
        ("sweep file, BLAKE3", report.sweep.file_hash.to_string()),
        ("data", data.path.clone()),
        ("data, BLAKE3", data.hash.to_string()),
        ("data, bytes", number::grouped(data.size)),
        match data.image {
            Some([_, height, width]) => ("pixels of an image", format!("{height} × {width}")),
            None => ("columns used", number::grouped(data.columns.into())),
        },
        ("inputs of the net", number::grouped(data.inputs.into())),
        (
            "stages computed",
            format!(
                "{}, where separate trials would take {}",
                number::grouped(totals.stages),
                number::grouped(totals.stages_unshared)
            ),
        ),
        ("optimiser steps", number::grouped(totals.lane_steps)),
    ];
    let weights = report
        .sweep
        .weights
        .iter()
        .flat_map(|weights| [("weights", weights.path.clone()), ("weights, BLAKE3", weights.hash.to_string())]);
    let positive = data.positive().map(|class| ("positive class", class.name.clone()));
    let time = data.periods.as_ref().map(|periods| ("split by the time in", periods.column.clone()));
    let named = facts.into_iter().chain(positive).chain(time).chain(weights);
    grid.rows.extend(named.map(|(name, value)| vec![name.to_owned(), value]));
    grid
}

fn definitions(report: &Report) -> Grid {
    let mut grid = Grid::new(&["metric", "name in files", "meaning"]);
    let measured = distinct(report.cells.iter().flat_map(CellReport::measured).chain(report.goals()));
    let mut metrics: Vec<Metric> = measured.into_iter().map(Quantity::metric).collect();
    metrics.dedup();
    let row = |metric: &Metric| {
        let on = |split: Split| {
            let chance = number::of_metric(*metric, *report.chance.get(&metric.on(split))?);
            Some(format!("{chance} on {split}"))
        };
        let chance: Vec<String> = Split::ALL.into_iter().filter_map(on).collect();
        let mut meaning = metric.meaning().to_owned();
        if !chance.is_empty() {
            meaning.push_str(&format!(" Chance is {} here.", chance.join(" and ")));
        }
        vec![metric.title().to_owned(), metric.name().to_owned(), meaning]
    };
    grid.rows.extend(metrics.iter().map(row));
    grid
}

/// What deserves curves against sparsity: the objectives of rows, else the one that the Pareto plot shows.
pub(super) fn curve_quantities(report: &Report) -> Vec<Quantity> {
    let objectives = report.objectives.iter().map(|objective| &objective.quantity);
    let mut quantities: Vec<Quantity> = objectives.filter(|quantity| quantity.split().is_some()).cloned().collect();
    quantities.dedup();
    if quantities.is_empty() {
        quantities.extend(axes(report).map(|axes| axes.y));
    }
    quantities.retain(|quantity| report.cells.iter().any(|cell| cell.summary(quantity).is_some()));
    quantities
}
