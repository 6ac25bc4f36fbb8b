//! A metric by the strength of the penalty and the sparsity asked for, as heat maps show it: which cell stands where, what it is
//! worth, and why one has no value. And what a penalty removes by itself. Knows nothing of drawing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use secateur_proto::{
    ids::CellId,
    metrics::{Direction, Metric, Quantity, Split},
};
use serde_json::Value;

use super::{
    content::{Grid, curve_quantities},
    glossary::title,
    label::{Labels, SPARSITY, STRENGTH},
    model::{CellReport, Report, TrialReport},
    number,
    statistics::Summary,
};
use crate::experiment::plan::{Control, Settings};

#[cfg(test)]
mod tests;

/// Panels, and kinds of cells with a free sparsity, that are shown at most.
const MOST_PANELS: usize = 12;
/// Rows, and columns, that a panel has at most.
const MOST_ROWS: usize = 32;

/// Everything that the heat maps of a report show.
#[derive(Debug)]
pub(super) struct Surface<'a> {
    pub(super) quantity: Quantity,
    /// What the quantity is called.
    name: String,
    pub(super) direction: Direction,
    /// Whether values are differences to the baseline.
    pub(super) is_relative: bool,
    pub(super) panels: Vec<Panel<'a>>,
    free: Vec<Free<'a>>,
    /// Panels, rows or columns of panels, and kinds of free cells that there was no room for.
    left_out: [usize; 3],
}

/// The cells that differ in strength and sparsity alone.
#[derive(Debug)]
pub(super) struct Panel<'a> {
    pub(super) title: String,
    /// Its rows, ascending.
    pub(super) strengths: Vec<f64>,
    /// Its columns, ascending.
    pub(super) sparsities: Vec<f64>,
    /// Row by row.
    pub(super) slots: Vec<Slot<'a>>,
}

/// A place of a panel.
#[derive(Debug, Clone)]
pub(super) struct Slot<'a> {
    cell: Option<&'a CellReport>,
    /// What its colour and number stand for.
    pub(super) value: Option<f64>,
    /// Why there is no value, or how many seeds it lacks.
    pub(super) note: String,
}

/// Cells of which a penalty alone decided what goes, by strength.
#[derive(Debug)]
struct Free<'a> {
    title: String,
    cells: BTreeMap<Order, &'a CellReport>,
}

/// A finite number that is not negative, ordered; minus zero is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Order(u64);

impl Order {
    fn of(settings: &Settings, key: &str) -> Option<Self> {
        let value = settings.get(key).and_then(Value::as_f64)?;
        // Of such numbers the bits sort as they do.
        (value.is_finite() && value >= 0.0).then(|| Self((value + 0.0).to_bits()))
    }

    fn value(self) -> f64 {
        f64::from_bits(self.0)
    }
}

type Place = (Order, Order);

fn place(settings: &Settings) -> Option<Place> {
    Some((Order::of(settings, STRENGTH)?, Order::of(settings, SPARSITY)?))
}

/// Equal for cells of one panel.
fn group(settings: &Settings, control: Option<Control>) -> String {
    let others: BTreeMap<&String, &Value> =
        settings.iter().filter(|(key, _)| !matches!(key.as_str(), STRENGTH | SPARSITY)).collect();
    serde_json::to_string(&(control, others)).expect("settings are plain data with text keys")
}

/// Of the first objective of the data on validation, relative to the baseline where there is one. Nothing where no two
/// strengths meet two sparsities, or nothing is measured yet.
pub(super) fn surface(report: &Report) -> Option<Surface<'_>> {
    let quantity = curve_quantities(report).into_iter().find(|quantity| quantity.split().is_some())?;
    let objective = report.objectives.iter().find(|objective| objective.quantity == quantity);
    let labels = Labels::of(report);
    let mut trials: HashMap<&CellId, Vec<&TrialReport>> = HashMap::new();
    for trial in &report.trials {
        trials.entry(&trial.cell).or_default().push(trial);
    }
    let (drafts, mut free) = drafts(report, &labels);
    let is_relative =
        (drafts.iter().flat_map(|draft| draft.cells.values())).any(|cell| cell.minus_baseline(&quantity).is_some());
    let mut lines_left_out = 0;
    let mut panels: Vec<Panel<'_>> = Vec::new();
    let drafts: Vec<Draft<'_>> = drafts.into_iter().filter(Draft::is_surface).collect();
    let panels_left_out = drafts.len().saturating_sub(MOST_PANELS);
    for draft in drafts.into_iter().take(MOST_PANELS) {
        let [strengths, sparsities] = draft.axes();
        lines_left_out += strengths.len().saturating_sub(MOST_ROWS) + sparsities.len().saturating_sub(MOST_ROWS);
        let slot = |strength: &Order, sparsity: &Order| match draft.cells.get(&(*strength, *sparsity)) {
            Some(cell) => slot(cell, &quantity, is_relative, trials.get(&cell.id).map_or(&[], Vec::as_slice)),
            None => {
                let is_refused = draft.refused.contains(&(*strength, *sparsity));
                let note = if is_refused { "refused" } else { "not asked" };
                Slot { cell: None, value: None, note: note.to_owned() }
            }
        };
        let (strengths, sparsities) =
            (&strengths[..strengths.len().min(MOST_ROWS)], &sparsities[..sparsities.len().min(MOST_ROWS)]);
        panels.push(Panel {
            slots: strengths.iter().flat_map(|row| sparsities.iter().map(move |column| slot(row, column))).collect(),
            strengths: strengths.iter().map(|strength| strength.value()).collect(),
            sparsities: sparsities.iter().map(|sparsity| sparsity.value()).collect(),
            title: draft.title,
        });
    }
    if panels.is_empty() {
        return None;
    }
    let free_left_out = free.len().saturating_sub(MOST_PANELS);
    free.truncate(MOST_PANELS);
    let direction = objective.map_or(quantity.better(), |objective| objective.direction);
    let left_out = [panels_left_out, lines_left_out, free_left_out];
    Some(Surface { name: report.title(&quantity), quantity, direction, is_relative, panels, free, left_out })
}

/// A panel before it is known what of it is shown.
struct Draft<'a> {
    title: String,
    cells: BTreeMap<Place, &'a CellReport>,
    refused: BTreeSet<Place>,
}

impl Draft<'_> {
    /// Strengths and sparsities.
    fn axes(&self) -> [Vec<Order>; 2] {
        let mut axes = [
            self.cells.keys().map(|(strength, _)| *strength).collect::<Vec<_>>(),
            self.cells.keys().map(|(_, sparsity)| *sparsity).collect(),
        ];
        for axis in &mut axes {
            axis.sort();
            axis.dedup();
        }
        axes
    }

    fn is_surface(&self) -> bool {
        self.axes().iter().all(|axis| axis.len() > 1)
    }
}

/// Cells by panel in the order in which the panels first appear, and the cells without a sparsity to ask for.
fn drafts<'a>(report: &'a Report, labels: &Labels) -> (Vec<Draft<'a>>, Vec<Free<'a>>) {
    let mut drafts: Vec<Draft<'a>> = Vec::new();
    let mut free: Vec<Free<'a>> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut free_places: HashMap<String, usize> = HashMap::new();
    for cell in report.cells.iter().filter(|cell| cell.control_kind != Some(Control::Dense)) {
        let group = group(&cell.settings, cell.control_kind);
        if cell.removed_weights.is_none() {
            let Some(strength) = Order::of(&cell.settings, STRENGTH) else { continue };
            let index = *free_places.entry(group).or_insert_with(|| {
                free.push(Free { title: labels.surface_of(cell), cells: BTreeMap::new() });
                free.len() - 1
            });
            free[index].cells.insert(strength, cell);
        } else if let Some(place) = place(&cell.settings) {
            let index = *places.entry(group).or_insert_with(|| {
                drafts.push(Draft { title: labels.surface_of(cell), cells: BTreeMap::new(), refused: BTreeSet::new() });
                drafts.len() - 1
            });
            drafts[index].cells.insert(place, cell);
        }
    }
    // A point that is the same work as a cell is not asked for twice, but it has a place of its own: without a penalty, that of each
    // kind of penalty. Only gaps between cells are filled: a second name of a cell is no row or column to show.
    let by_id: HashMap<&CellId, &CellReport> = report.cells.iter().map(|cell| (&cell.id, cell)).collect();
    let strengths: BTreeSet<Order> =
        drafts.iter().flat_map(|draft| draft.cells.keys().map(|(strength, _)| *strength)).collect();
    for merged in &report.merged {
        let (Some(index), Some(place)) = (places.get(&group(&merged.settings, None)), place(&merged.settings)) else {
            continue;
        };
        let draft = &mut drafts[*index];
        let into = by_id.get(&merged.into).filter(|cell| cell.removed_weights.is_some());
        let is_between = strengths.contains(&place.0) && draft.cells.keys().any(|(_, sparsity)| *sparsity == place.1);
        if let Some(cell) = into.filter(|_| is_between) {
            draft.cells.entry(place).or_insert(cell);
        }
    }
    for refused in &report.refused {
        if let (Some(index), Some(place)) = (places.get(&group(&refused.settings, None)), place(&refused.settings)) {
            drafts[*index].refused.insert(place);
        }
    }
    (drafts, free)
}

fn slot<'a>(cell: &'a CellReport, quantity: &Quantity, is_relative: bool, trials: &[&TrialReport]) -> Slot<'a> {
    let mean = cell.summary(quantity);
    let difference = cell.minus_baseline(quantity);
    let summary = if is_relative { difference.map(|paired| paired.summary) } else { mean };
    let note = match summary {
        Some(summary) if summary.n < trials.len() as u64 => format!("{} of {} seeds", summary.n, trials.len()),
        Some(_) => String::new(),
        None if mean.is_some() => "no control".to_owned(),
        None => ending(trials),
    };
    Slot { cell: Some(cell), value: summary.map(|summary| summary.mean), note }
}

/// How trials without a value ended, in one or two words.
fn ending(trials: &[&TrialReport]) -> String {
    let mut ends = trials.iter().map(|trial| trial.outcome.as_str()).filter(|end| *end != "completed");
    match ends.next() {
        None => "no value".to_owned(),
        Some(first) if ends.all(|end| end == first) => first.to_owned(),
        Some(_) => "failed".to_owned(),
    }
}

impl Surface<'_> {
    /// What the heat maps show.
    pub(super) fn title(&self) -> String {
        let what = &self.name;
        let relative = if self.is_relative { ", minus the baseline" } else { "" };
        format!("{what}{relative}, by strength λ of the penalty and sparsity")
    }

    /// A number in a place.
    pub(super) fn text(&self, value: f64) -> String {
        let print = if self.is_relative { number::signed } else { number::fixed };
        print(value, number::decimals(self.quantity.metric(), value))
    }

    /// The title, how to read it, what could not be shown.
    pub(super) fn caption(&self) -> String {
        let better = match self.direction {
            Direction::Maximize => "higher is better",
            Direction::Minimize => "lower is better",
        };
        let mut caption = format!("{}: means over the seeds, {better}.", self.title());
        let slots = || self.panels.iter().flat_map(|panel| &panel.slots);
        if slots().any(|slot| slot.value.is_some() && !slot.note.is_empty()) {
            caption.push_str(" Of numbers with an asterisk not every seed completed.");
        }
        let missing = slots().filter(|slot| slot.value.is_none()).count() as u64;
        if missing > 0 {
            let verb = if missing == 1 { "has" } else { "have" };
            caption
                .push_str(&format!(" {} {verb} no value: hatched, with the reason.", number::count(missing, "place")));
        }
        let names = ["panel", "row or column", "kind of free sparsity"];
        let plural = ["panels", "rows or columns", "kinds of free sparsity"];
        for ((number, name), plural) in self.left_out.into_iter().zip(names).zip(plural) {
            if number > 0 {
                let name = if number == 1 { name } else { plural };
                let number = number::grouped(number as u64);
                caption
                    .push_str(&format!(" {number} more {name} had no room here and stand in the table of all cells."));
            }
        }
        caption
    }

    /// What each penalty drove to zero by itself, in a sentence for each kind of cell.
    pub(super) fn free_sparsity(&self) -> Vec<String> {
        let sentence = |free: &Free<'_>| {
            let at = |(strength, cell): (&Order, &&CellReport)| {
                let share = measured(cell).map_or_else(
                    || "no result".to_owned(),
                    |summary| format!("{} %", number::fixed(summary.mean * 100.0, 1)),
                );
                format!("{share} at λ = {}", number::shortest(strength.value()))
            };
            let shares: Vec<String> = free.cells.iter().map(at).collect();
            format!("Free sparsity, made by the penalty alone ({}): {}.", free.title, shares.join(", "))
        };
        self.free.iter().map(sentence).collect()
    }

    /// Every place of the heat maps, and every cell whose sparsity is free.
    pub(super) fn grid(&self) -> Grid {
        let mut columns =
            vec![("panel".to_owned(), false), ("strength λ".to_owned(), true), ("sparsity asked for".to_owned(), true)];
        columns.push((self.name.clone(), true));
        if self.is_relative {
            columns.push((format!("{}, minus baseline", title(&self.quantity)), true));
        }
        columns.push(("measured sparsity".to_owned(), true));
        columns.push(("zeros beyond those asked for".to_owned(), true));
        columns.push(("note".to_owned(), false));
        let mut rows = Vec::new();
        for panel in &self.panels {
            let places =
                panel.strengths.iter().flat_map(|row| panel.sparsities.iter().map(move |column| (*row, *column)));
            for ((strength, sparsity), slot) in places.zip(&panel.slots) {
                rows.push(self.row(&panel.title, strength, number::sparsity(sparsity), slot.cell, &slot.note));
            }
        }
        for free in &self.free {
            for (strength, cell) in &free.cells {
                rows.push(self.row(&free.title, strength.value(), "free".to_owned(), Some(cell), ""));
            }
        }
        Grid { columns, rows }
    }

    fn row(&self, title: &str, strength: f64, sparsity: String, cell: Option<&CellReport>, note: &str) -> Vec<String> {
        let none = || "–".to_owned();
        let mut row = vec![title.to_owned(), number::shortest(strength), sparsity];
        let metric = self.quantity.metric();
        let mean = cell.and_then(|cell| cell.total(&self.quantity));
        row.push(mean.map_or_else(none, |found| number::summary(metric, &found.summary())));
        if self.is_relative {
            let difference = cell.and_then(|cell| cell.total_difference(&self.quantity));
            row.push(difference.map_or_else(none, |found| number::difference(metric, &found.summary())));
        }
        row.push(cell.and_then(measured).map_or_else(none, |summary| number::summary(Metric::Sparsity, &summary)));
        row.push(cell.and_then(beyond).map_or_else(none, |share| number::signed(share, 4)));
        row.push(note.to_owned());
        row
    }
}

fn measured(cell: &CellReport) -> Option<Summary> {
    cell.summary(&Metric::Sparsity.on(Split::Validation))
}

/// Measured sparsity minus what pruning took, as exact counts have it. Where units go the two are shares of different things.
fn beyond(cell: &CellReport) -> Option<f64> {
    let removed = cell.removed_weights.filter(|_| cell.prunable_weights > 0)?;
    Some(measured(cell)?.mean - removed as f64 / cell.prunable_weights as f64)
}
