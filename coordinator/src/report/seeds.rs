//! Seeds that are added while results come in: which cells the results do not decide about, and what the rounds so far have changed.
//!
//! Results are looked at after all seeds of a round. A cell whose standing the intervals do not decide gets more seeds, until none is left or
//! it has all that it may have. An interval that is computed once the results look decided holds less often than it says, so every interval
//! of such a report, and every test, is one of as many as there may be looks: its level is 1 − 0.05 / looks (Bonferroni). Of any one
//! quantity, its intervals at all looks hold together with 95 %, so the one that the sweep ended with does, however the decision to end was
//! made. The intervals of several quantities together hold less often: each comparison that decides the front is at 95 % alone. Such intervals
//! are known as repeated confidence intervals (Jennison & Turnbull 1989, Journal of the Royal Statistical Society B 51:305); their boundaries
//! for normal values are narrower, but are not exact with few seeds.
//!
//! Rows do not decide: more seeds cannot narrow what other rows would change. So decisions depend on the results of trials alone and on no file.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use secateur_proto::{
    ids::CellId,
    metrics::{Direction, Quantity},
    vocabulary,
};
use serde::{Deserialize, Serialize};

use super::{
    baseline::margin,
    content::Grid,
    label::Labels,
    model::{CellReport, Report},
    number,
    plot::axes,
    statistics::Summary,
};
use crate::experiment::{
    adaptive::{AdaptiveSeeds, ContestedCell, SeedRound, Why},
    plan::{Control, Plan},
};

/// Cells that the log names in a round.
const MOST_NAMED: usize = 8;

vocabulary! {
    /// Why no further round has begun.
    pub enum SeedsState {
        /// Trials are pending.
        Running = "running",
        /// A round is due.
        Undecided = "undecided",
        /// The results decide about every cell.
        Settled = "settled",
        /// They do not, and the contested cells have all seeds that they may have.
        Exhausted = "exhausted",
    }
}

/// How seeds were added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeedsReport {
    /// What the sweep file asks for.
    pub asked: AdaptiveSeeds,
    /// How often results are looked at, at most. Each interval and each test is adjusted for it.
    pub looks: u32,
    /// Whether it goes on.
    pub state: SeedsState,
    /// The cells that the results do not decide about now.
    pub contested: Vec<ContestedCell>,
    /// What was decided, in order.
    pub rounds: Vec<SeedRound>,
    /// What each round changed, in the same order. The last is missing while its trials are pending.
    pub changes: Vec<RoundChange>,
}

/// How results differ after a round.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundChange {
    /// Cells that came onto the front.
    pub entered: Vec<CellId>,
    /// Cells that left it.
    pub left: Vec<CellId>,
    /// The smallest cell that is shown to be as good as the baseline, if that is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smallest: Option<CellId>,
    /// Whether none is shown to be so any more.
    #[serde(default)]
    pub none_is_left: bool,
}

/// What is known before anything is judged: what the file asks for, and with it the number of looks.
pub(super) fn unjudged(plan: &Plan) -> Option<SeedsReport> {
    let asked = plan.sweep.adaptive?;
    let (contested, rounds, changes) = (Vec::new(), Vec::new(), Vec::new());
    Some(SeedsReport { asked, looks: asked.looks(), state: SeedsState::Running, contested, rounds, changes })
}

/// The seeds of a report that is complete but for them, and without the uncertainty of rows. `None` of a sweep with a fixed number of seeds.
pub(super) fn of(report: &Report, plan: &Plan) -> Option<SeedsReport> {
    let asked = plan.sweep.adaptive?;
    let rounds = plan.sweep.rounds.clone();
    let is_pending = report.trials.iter().any(|trial| trial.outcome == super::build::PENDING);
    let contested = if is_pending { Vec::new() } else { contested(report, asked.looks()) };
    let is_last = rounds.len() as u64 >= u64::from(asked.rounds());
    let state = match (is_pending, contested.is_empty(), is_last) {
        (true, ..) => SeedsState::Running,
        (false, true, _) => SeedsState::Settled,
        (false, false, true) => SeedsState::Exhausted,
        (false, false, false) => SeedsState::Undecided,
    };
    let smallest = report.baseline.as_ref().and_then(|baseline| baseline.smallest.clone());
    let now = (!is_pending).then_some((&report.front, &smallest));
    let states: Vec<_> = rounds.iter().map(|round| (&round.front, &round.smallest)).chain(now).collect();
    let changes = states.windows(2).map(|pair| change(pair[0], pair[1])).collect();
    Some(SeedsReport { asked, looks: asked.looks(), state, contested, rounds, changes })
}

fn change(before: (&Vec<CellId>, &Option<CellId>), after: (&Vec<CellId>, &Option<CellId>)) -> RoundChange {
    let without = |cells: &[CellId], others: &[CellId]| {
        let others: HashSet<&CellId> = others.iter().collect();
        cells.iter().filter(|cell| !others.contains(cell)).cloned().collect()
    };
    RoundChange {
        entered: without(after.0, before.0),
        left: without(before.0, after.0),
        smallest: after.1.clone().filter(|_| before.1 != after.1),
        none_is_left: before.1.is_some() && after.1.is_none(),
    }
}

/// The round that is due by a report of all trials, without the uncertainty of rows. `None` if no cell gets more seeds.
pub(super) fn next_round(report: &Report) -> Option<SeedRound> {
    let seeds = report.seeds.as_ref().filter(|seeds| seeds.state == SeedsState::Undecided)?;
    let number = u32::try_from(seeds.rounds.len()).ok()?.saturating_add(1);
    let target = seeds.asked.after(number);
    let mut counts: HashMap<&CellId, u32> = HashMap::new();
    report.trials.iter().for_each(|trial| *counts.entry(&trial.cell).or_default() += 1);
    let lacks = |cell: &CellId| counts.get(cell).is_some_and(|count| *count < target);
    let contested: Vec<ContestedCell> =
        seeds.contested.iter().filter(|contested| lacks(&contested.cell)).cloned().collect();
    if contested.is_empty() {
        return None;
    }
    let compared = compared(report, &contested, seeds.looks);
    let is_compared = |cell: &&CellReport| compared.contains(&cell.id) && lacks(&cell.id);
    let compared = report.cells.iter().filter(is_compared).map(|cell| cell.id.clone()).collect();
    let smallest = report.baseline.as_ref().and_then(|baseline| baseline.smallest.clone());
    Some(SeedRound { number, seeds: target, contested, compared, front: report.front.clone(), smallest })
}

/// The cells that contested ones are compared with: the rival, the baseline and dense nets that could become it, the dense nets of the same
/// settings, and reference models, which cost nothing.
fn compared(report: &Report, contested: &[ContestedCell], looks: u32) -> BTreeSet<CellId> {
    let by_id: HashMap<&CellId, &CellReport> = report.cells.iter().map(|cell| (&cell.id, cell)).collect();
    let mut found: BTreeSet<CellId> = contested.iter().filter_map(|contested| contested.rival.clone()).collect();
    for cell in contested.iter().filter_map(|contested| by_id.get(&contested.cell)) {
        let others = cell.other_controls.iter().filter(|(kind, _)| kind.is_deployable()).map(|(_, other)| &other.cell);
        found.extend(cell.dense_control.iter().chain(&cell.scratch_control).chain(others).cloned());
    }
    let is_reference = |cell: &&CellReport| cell.control_kind.is_some_and(Control::is_reference);
    found.extend(report.cells.iter().filter(is_reference).map(|cell| cell.id.clone()));
    if let Some(baseline) = &report.baseline {
        let values = Values::of(report, looks);
        let is_candidate = |cell: &&CellReport| {
            cell.control_kind == Some(Control::Dense)
                && values.gain(&baseline.cell, &cell.id, &baseline.quantity).is_none_or(|[low, _]| low <= 0.0)
        };
        found.extend(report.cells.iter().filter(is_candidate).map(|cell| cell.id.clone()));
        found.insert(baseline.cell.clone());
    }
    for contested in contested {
        found.remove(&contested.cell);
    }
    found
}

/// The values of the objectives by seed.
struct Values<'a> {
    objectives: Vec<(&'a Quantity, Direction)>,
    looks: u32,
    /// Of a cell by objective.
    values: HashMap<&'a CellId, Vec<BTreeMap<u64, f64>>>,
}

/// How one cell is beside another in an objective.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Better,
    Worse,
    /// The difference is smaller than the margin, or nothing.
    Equal,
    Undecided,
}

impl<'a> Values<'a> {
    fn of(report: &'a Report, looks: u32) -> Self {
        let objectives: Vec<(&Quantity, Direction)> =
            report.objectives.iter().map(|objective| (&objective.quantity, objective.direction)).collect();
        let mut values: HashMap<&CellId, Vec<BTreeMap<u64, f64>>> = HashMap::new();
        for trial in &report.trials {
            let of_cell = values.entry(&trial.cell).or_insert_with(|| vec![BTreeMap::new(); objectives.len()]);
            for (of_objective, (quantity, _)) in of_cell.iter_mut().zip(&objectives) {
                of_objective.extend(trial.value(quantity).map(|value| (trial.seed, value)));
            }
        }
        Self { objectives, looks, values }
    }

    /// The interval of how much better a cell is than another by a quantity, over the seeds of both. `None` if they have none.
    fn gain(&self, cell: &CellId, other: &CellId, quantity: &Quantity) -> Option<[f64; 2]> {
        let place = self.objectives.iter().position(|(of, _)| *of == quantity)?;
        self.gain_at(cell, other, place)
    }

    fn gain_at(&self, cell: &CellId, other: &CellId, place: usize) -> Option<[f64; 2]> {
        let [cell, other] = [cell, other].map(|id| self.values.get(id).and_then(|values| values.get(place)));
        let (cell, other) = (cell?, other?);
        let sign = if self.objectives.get(place)?.1 == Direction::Maximize { 1.0 } else { -1.0 };
        let gains: Vec<f64> = cell.iter().filter_map(|(seed, value)| Some(sign * (value - other.get(seed)?))).collect();
        let any = [f64::NEG_INFINITY, f64::INFINITY];
        Some(Summary::of_looks(&gains, any, self.looks)?.ci95.unwrap_or(any))
    }

    /// How a cell is beside another, in each objective. `indifferent`: the difference in each that does not count.
    fn sides<'s>(
        &'s self,
        cell: &'s CellId,
        other: &'s CellId,
        indifferent: &'s [f64],
    ) -> impl Iterator<Item = Side> + 's {
        indifferent.iter().enumerate().map(move |(place, margin)| match self.gain_at(cell, other, place) {
            Some([low, _]) if low > 0.0 => Side::Better,
            Some([_, high]) if high < 0.0 => Side::Worse,
            Some([low, high]) if -margin <= low && high <= *margin => Side::Equal,
            _ => Side::Undecided,
        })
    }
}

/// The cells that the results do not decide about, in the order of the plan.
fn contested(report: &Report, looks: u32) -> Vec<ContestedCell> {
    let values = Values::of(report, looks);
    let mut found: HashMap<&CellId, (BTreeSet<Why>, Option<&CellId>)> = HashMap::new();
    for (cell, rival) in contested_places(report, &values) {
        found.entry(cell).or_insert_with(|| (BTreeSet::new(), Some(rival))).0.insert(Why::Front);
    }
    for cell in contested_verdicts(report, &values) {
        found.entry(cell).or_default().0.insert(Why::Margin);
    }
    let listed = report.cells.iter().filter_map(|cell| Some((&cell.id, found.get(&cell.id)?)));
    listed
        .map(|(cell, (why, rival))| ContestedCell { cell: cell.clone(), why: why.clone(), rival: rival.cloned() })
        .collect()
}

/// The cells whose place on the front is not decided, each with a cell beside which it is not.
///
/// A cell off the front is decided if a cell of the front is at least as good in everything. A cell of the front is decided if of each other
/// that might be on it, it is better in something, or nothing about the two is undecided.
fn contested_places<'a>(report: &'a Report, values: &Values<'a>) -> Vec<(&'a CellId, &'a CellId)> {
    let indifferent: Vec<f64> =
        report.objectives.iter().map(|objective| margin(report, &objective.quantity).unwrap_or(0.0)).collect();
    let front: Vec<&CellReport> = report.front_cells();
    let is_beaten = |cell: &CellId, by: &CellId| {
        values.sides(by, cell, &indifferent).all(|side| matches!(side, Side::Better | Side::Equal))
    };
    let mut found = Vec::new();
    let mut rivals: Vec<&CellId> = front.iter().map(|cell| &cell.id).collect();
    for cell in report.cells.iter().filter(|cell| cell.eligible && !cell.on_front) {
        let Some(witness) = cell.dominated_by.first() else { continue };
        if !is_beaten(&cell.id, witness) && !front.iter().any(|other| is_beaten(&cell.id, &other.id)) {
            found.push((&cell.id, witness));
            rivals.push(&cell.id);
        }
    }
    for cell in front {
        let is_undecided = |rival: &&&CellId| {
            let sides: Vec<Side> = values.sides(&cell.id, rival, &indifferent).collect();
            !sides.contains(&Side::Better) && sides.contains(&Side::Undecided)
        };
        let rival = rivals.iter().filter(|rival| ***rival != cell.id).find(is_undecided);
        found.extend(rival.map(|rival| (&cell.id, *rival)));
    }
    found
}

/// The cells that may be as good as the baseline or not, and would then be the smallest that are.
fn contested_verdicts<'a>(report: &'a Report, values: &Values<'a>) -> Vec<&'a CellId> {
    let (Some(axes), Some(baseline)) = (axes(report), &report.baseline) else { return Vec::new() };
    let Some(margin) = baseline.margin else { return Vec::new() };
    let size = |cell: &CellReport| {
        let mean = cell.mean(&axes.x)?;
        Some(if axes.better[0] == Direction::Minimize { mean } else { -mean })
    };
    let smallest = baseline.smallest.as_ref().and_then(|id| report.cell(id)).and_then(size);
    let is_smaller = |cell: &CellReport| match (size(cell), smallest) {
        (Some(size), Some(smallest)) => size < smallest,
        _ => true,
    };
    let is_open = |cell: &&CellReport| {
        let holds = cell.non_inferiority.is_some_and(|test| test.holds);
        let is_inferior =
            values.gain(&cell.id, &baseline.cell, &baseline.quantity).is_some_and(|[_, high]| high < -margin);
        cell.eligible && !holds && !is_inferior && is_smaller(cell)
    };
    report.cells.iter().filter(is_open).map(|cell| &cell.id).collect()
}

/// In one sentence, how many seeds there are and why no more.
pub(super) fn sentence(report: &Report) -> Option<String> {
    let seeds = report.seeds.as_ref()?;
    let AdaptiveSeeds { min, max, .. } = seeds.asked;
    let rounds = match seeds.rounds.len() as u64 {
        0 => format!("Each cell has {min} seeds"),
        rounds => format!(
            "Each cell has {min} seeds, and those that results did not decide about up to {}, added in {}",
            seeds.rounds.last().map_or(min, |round| round.seeds),
            number::count(rounds, "round")
        ),
    };
    let open = number::count(seeds.contested.len() as u64, "cell");
    let state = match seeds.state {
        SeedsState::Running => "; trials are pending".to_owned(),
        SeedsState::Undecided => format!("; {open} will get more"),
        SeedsState::Settled => ": by then every comparison that the front and the smallest cell need was decided, each at 95 % and by seeds alone. All of them together are right less often, and with rows included the test above may say less".to_owned(),
        SeedsState::Exhausted => format!(": at the limit of {max}, results still did not decide about {open}"),
    };
    Some(format!("{rounds}{state}."))
}

/// What was decided: a row for each round.
pub(super) fn grid(report: &Report, labels: &Labels) -> Grid {
    let columns =
        [("round", true), ("cells that got seeds", false), ("seeds", true), ("because", false), ("changed", false)];
    let columns = columns.map(|(name, is_number)| (name.to_owned(), is_number)).to_vec();
    let Some(seeds) = &report.seeds else { return Grid { columns, rows: Vec::new() } };
    let by_id: HashMap<&CellId, &CellReport> = report.cells.iter().map(|cell| (&cell.id, cell)).collect();
    let name = |id: &CellId| by_id.get(id).map_or_else(|| id.to_string(), |cell| labels.cell(cell));
    let names = |ids: &[&CellId]| {
        let mut names: Vec<String> = ids.iter().take(MOST_NAMED).map(|id| name(id)).collect();
        let more = ids.len().saturating_sub(MOST_NAMED);
        names.extend((more > 0).then(|| format!("{} more", number::grouped(more as u64))));
        names.join("; ")
    };
    let row = |(place, round): (usize, &SeedRound)| {
        let cells: Vec<&CellId> = round.contested.iter().map(|contested| &contested.cell).collect();
        let compared = number::count(round.compared.len() as u64, "cell");
        let because = [(Why::Front, "place on the front"), (Why::Margin, "smallest within the margin")];
        let because = because.map(|(why, text)| (round.count(why), text));
        let because = because.iter().filter(|(count, _)| *count > 0).map(|(count, text)| format!("{text} ({count})"));
        let changed = match seeds.changes.get(place) {
            None => "pending".to_owned(),
            Some(change) => changed(change, &names),
        };
        vec![
            round.number.to_string(),
            format!("{}, and {compared} that they are compared with", names(&cells)),
            round.seeds.to_string(),
            because.collect::<Vec<_>>().join(", "),
            changed,
        ]
    };
    Grid { columns, rows: seeds.rounds.iter().enumerate().map(row).collect() }
}

fn changed(change: &RoundChange, names: &dyn Fn(&[&CellId]) -> String) -> String {
    let list = |ids: &[CellId]| names(&ids.iter().collect::<Vec<_>>());
    let mut texts = Vec::new();
    if !change.entered.is_empty() {
        texts.push(format!("onto the front: {}", list(&change.entered)));
    }
    if !change.left.is_empty() {
        texts.push(format!("off the front: {}", list(&change.left)));
    }
    if let Some(smallest) = &change.smallest {
        texts.push(format!("the smallest within the margin is now {}", names(&[smallest])));
    }
    if change.none_is_left {
        texts.push("none is shown to be within the margin any more".to_owned());
    }
    if texts.is_empty() { "nothing".to_owned() } else { texts.join("; ") }
}

/// How seeds were added and what that does to intervals, in sentences. Empty of a sweep with a fixed number of seeds.
pub(super) fn notes(report: &Report) -> Vec<String> {
    let Some(seeds) = &report.seeds else { return Vec::new() };
    let AdaptiveSeeds { min, max, step, .. } = seeds.asked;
    vec![
        format!(
            "Every cell begins with {min} seeds. When all trials have ended, a cell that the results do not decide about gets {} more, up to {max}. It is decided on validation by intervals of seeds alone; differences within the margin count as equal.",
            number::count(step.into(), "seed"),
        ),
        format!(
            "To end when results look decided makes a usual interval hold less often than it says. Results are looked at {} at most, so intervals and tests are adjusted for that number (Bonferroni): each interval has a level of {} %, and of any one quantity, its intervals at all looks hold together with 95 %. Intervals of decisions, groups and calibration, and of the dossier, are not adjusted for the number of looks. Neither are probabilities of being on the front and the hypervolume.",
            number::count(seeds.looks.into(), "time"),
            number::fixed(100.0 - 5.0 / f64::from(seeds.looks), 2),
        ),
        "Means of cells are over the seeds that each has, and differences over the seeds that both have.".to_owned(),
    ]
}

#[cfg(test)]
mod tests;
