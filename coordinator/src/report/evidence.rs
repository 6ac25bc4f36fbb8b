//! How sure the front is: the probability that each of its cells belongs there, the hypervolume with its interval, and which settings
//! explain how results differ. The statistics are in [`super::statistics`]; here they meet cells.
//!
//! The work is bounded, so that a report of hundreds of thousands of trials stays quick: probabilities are of at most [`MOST_FRONT`] points of
//! the front among at most [`MOST_CELLS`] cells, those on the front and those nearest to it, in [`DRAWS`] draws. A cell that is left out is at
//! least as unlikely to dominate one of the front as those that are not.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use secateur_proto::{
    ids::{CellId, ContentHash},
    metrics::{Direction, Quantity},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    content::Grid,
    glossary::{aim, title},
    label::Labels,
    model::{CellReport, Report, TrialReport},
    number,
    plot::axes,
    statistics::{
        Summary,
        dominance::{Observations, Place, behind, places},
        hypervolume::{MOST_OBJECTIVES, hypervolume, over_seeds},
        importance::{self, levels_of, levels_of_numbers},
    },
    ties::{first_cells, front_points},
};
use crate::experiment::setting::pruning;

/// Points of the front that a probability is given for.
const MOST_FRONT: usize = 100;

/// Cells that are drawn.
const MOST_CELLS: usize = 256;

/// Draws of the means. The error of a probability that comes from them is at most 0.011, as a standard error.
const DRAWS: u32 = 2_000;

/// Points of a front of four or more objectives whose hypervolume is computed.
const MOST_OF_MANY: usize = 60;

/// How far beyond the worst mean the reference point of the hypervolume is, as a share of the range.
const BEYOND: f64 = 0.1;

/// The largest distance from the front, in standard errors, at which a cell is drawn.
const FARTHEST: f64 = 50.0;

/// Values of a number from which on it is taken for one that a search drew, if they hardly repeat.
const MANY_LEVELS: usize = 8;

/// Groups that the values of such a number are put into.
const GROUPS: usize = 4;

/// How sure the front is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Of the points of the front, in its order; of equal cells the first. Empty if fewer than two seeds are common to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub front: Vec<FrontEvidence>,
    /// What the front dominates. `None` if there is no front, or if it has too many points of too many objectives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hypervolume: Option<HypervolumeEvidence>,
    /// Which settings explain how the means of the objectives differ between the cells that the file asks for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub importance: Vec<ImportanceEvidence>,
}

/// How sure it is that a cell is on the front.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FrontEvidence {
    /// The cell.
    pub cell: CellId,
    /// The probability that no other cell dominates it, as the seeds tell.
    pub probability: f64,
    /// The cell that most probably dominates it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rival: Option<CellId>,
    /// With what probability that cell does. 0 without one.
    pub rival_probability: f64,
    /// The seeds that the cells have in common.
    pub seeds: u64,
}

/// How much of the space between the best values and a little more than the worst the front dominates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HypervolumeEvidence {
    /// The share of the box between `reference` and `best`.
    #[serde(flatten)]
    pub share: Summary,
    /// A tenth of the range beyond the worst mean of an eligible cell, by objective: else the ends of the front would count for nothing.
    pub reference: Vec<f64>,
    /// The best mean of an eligible cell, by objective.
    pub best: Vec<f64>,
}

/// Which settings explain how a quantity differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImportanceEvidence {
    /// What differs.
    pub quantity: Quantity,
    /// How many cells were compared.
    pub cells: u64,
    /// The main effects, the largest share of the variance first. Settings that only vary together are one.
    pub settings: Vec<SettingShare>,
    /// The share of interactions of settings and of noise.
    pub rest: f64,
}

/// What a setting explains.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SettingShare {
    /// Its key; several, if they only vary together.
    pub settings: Vec<String>,
    /// The share of the variance of the means over seeds.
    pub share: f64,
}

impl Evidence {
    /// Of a report that is complete but for it. `None` if there is nothing to say.
    pub(super) fn of(report: &Report) -> Option<Self> {
        let mut trials: HashMap<&CellId, Vec<&TrialReport>> = HashMap::new();
        let eligible: HashSet<&CellId> =
            report.cells.iter().filter(|cell| cell.eligible).map(|cell| &cell.id).collect();
        for trial in report.trials.iter().filter(|trial| eligible.contains(&trial.cell)) {
            trials.entry(&trial.cell).or_default().push(trial);
        }
        let contest = Contest::of(report, &trials);
        let evidence = Self {
            front: contest.as_ref().map(Contest::places).unwrap_or_default(),
            hypervolume: contest.as_ref().and_then(Contest::hypervolume),
            importance: importance(report),
        };
        (evidence != Self::default()).then_some(evidence)
    }
}

/// The points of the front and the cells near it, with their values by seed.
struct Contest<'a> {
    report: &'a Report,
    /// The points of the front, then the others.
    cells: Vec<&'a CellReport>,
    /// How many of them are on the front.
    front: usize,
    directions: Vec<Direction>,
    seeds: Vec<u64>,
    /// Cell by cell, in each objective by objective, in each seed by seed.
    values: Vec<f64>,
}

impl<'a> Contest<'a> {
    fn of(report: &'a Report, trials: &HashMap<&CellId, Vec<&TrialReport>>) -> Option<Self> {
        let front = first_cells(&front_points(report));
        let shared = seeds(trials, front.first()?);
        // Each cell of a sweep that was extended may have seeds of its own.
        let seeds: BTreeSet<u64> =
            front.iter().fold(shared, |shared, cell| shared.intersection(&seeds(trials, cell)).copied().collect());
        let seeds: Vec<u64> = seeds.into_iter().collect();
        let directions: Vec<Direction> = report.objectives.iter().map(|objective| objective.direction).collect();
        let mut contest = Self { report, cells: Vec::new(), front: front.len(), directions, seeds, values: Vec::new() };
        for cell in front {
            let values = contest.values_of(trials.get(&cell.id)?)?;
            contest.cells.push(cell);
            contest.values.extend(values);
        }
        contest.add_near(trials);
        Some(contest)
    }

    /// By objective, in each by seed. `None` if a value is missing.
    fn values_of(&self, trials: &[&TrialReport]) -> Option<Vec<f64>> {
        let by_seed: BTreeMap<u64, &TrialReport> = trials.iter().map(|trial| (trial.seed, *trial)).collect();
        let objectives = self.report.objectives.iter();
        let values = objectives.flat_map(|objective| self.seeds.iter().map(move |seed| (seed, &objective.quantity)));
        values.map(|(seed, quantity)| by_seed.get(seed)?.value(quantity)).collect()
    }

    /// Adds the dominated cells that are nearest to the front as measured by their noise.
    fn add_near(&mut self, trials: &HashMap<&CellId, Vec<&TrialReport>>) {
        if self.seeds.len() < 2 || self.front > MOST_FRONT {
            return;
        }
        let size = self.directions.len() * self.seeds.len();
        let mut near: Vec<(f64, &CellReport, Vec<f64>)> = Vec::new();
        for cell in self.report.cells.iter().filter(|cell| cell.eligible && !cell.on_front) {
            let Some(values) = trials.get(&cell.id).and_then(|trials| self.values_of(trials)) else { continue };
            let behind = |leader: &[f64]| behind(leader, &values, &self.directions);
            let behind = self.values.chunks_exact(size).map(behind).fold(f64::INFINITY, f64::min);
            if behind <= FARTHEST {
                near.push((behind, cell, values));
            }
        }
        near.sort_by(|(one, ..), (two, ..)| one.total_cmp(two));
        for (_, cell, values) in near.into_iter().take(MOST_CELLS.saturating_sub(self.front)) {
            self.cells.push(cell);
            self.values.extend(values);
        }
    }

    fn observed(&self) -> Option<Observations> {
        Observations::new(self.values.clone(), self.directions.len(), self.seeds.len())
    }

    fn places(&self) -> Vec<FrontEvidence> {
        let Some(observed) = self.observed().filter(|_| self.front <= MOST_FRONT) else { return Vec::new() };
        let asked: Vec<usize> = (0..self.front).collect();
        // The draws depend on the values alone: not on what cells are called, nor on when their trials came.
        let bytes: Vec<u8> = self.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let random_seed = *ContentHash::of(&bytes).as_bytes();
        let places = places(&observed, &self.directions, &asked, DRAWS, random_seed);
        let evidence = |(cell, place): (&&CellReport, Place)| FrontEvidence {
            cell: cell.id.clone(),
            probability: place.on_front,
            rival: place.rival.map(|(rival, _)| self.cells[rival].id.clone()),
            rival_probability: place.rival.map_or(0.0, |(_, probability)| probability),
            seeds: self.seeds.len() as u64,
        };
        self.cells.iter().zip(places).map(evidence).collect()
    }

    /// The share of the space that the front dominates. It includes cells near the front, since other seeds may bring them there.
    fn hypervolume(&self) -> Option<HypervolumeEvidence> {
        let objectives = self.directions.len();
        let is_quick = objectives <= 3 || self.front <= MOST_OF_MANY;
        if !is_quick || objectives > MOST_OBJECTIVES || self.seeds.is_empty() {
            return None;
        }
        let [mut reference, mut best] = [Vec::new(), Vec::new()];
        for objective in &self.report.objectives {
            let means =
                self.report.cells.iter().filter(|cell| cell.eligible).filter_map(|cell| cell.mean(&objective.quantity));
            let (low, high) =
                means.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), mean| (low.min(mean), high.max(mean)));
            let (worst, top) = if objective.direction == Direction::Maximize { (low, high) } else { (high, low) };
            reference.push(worst + BEYOND * (worst - top));
            best.push(top);
        }
        let scales: Vec<f64> = reference.iter().zip(&best).map(|(worst, best)| (best - worst).abs()).collect();
        // Where all cells are equal in an objective there is no space between the best and the worst.
        if scales.iter().any(|scale| *scale == 0.0 || !scale.is_finite()) {
            return None;
        }
        let count = if objectives <= 3 { self.cells.len() } else { self.front };
        let values = &self.values[..count * objectives * self.seeds.len()];
        let mean = |values: &[f64], places: &[usize]| {
            let mean = |mean: f64, (index, place): (usize, &usize)| mean + (values[*place] - mean) / (index + 1) as f64;
            places.iter().enumerate().fold(0.0, mean)
        };
        let ends: Vec<f64> = vec![0.0; objectives];
        let share = over_seeds(self.seeds.len(), |places| {
            // Scaled, so that the best corner is at 1 or −1 and the reference at 0.
            let scaled = (values.chunks_exact(self.seeds.len()).enumerate()).map(|(place, values)| {
                (mean(values, places) - reference[place % objectives]) / scales[place % objectives]
            });
            hypervolume(&scaled.collect::<Vec<_>>(), &self.directions, &ends)
        })?;
        // A share is at most the whole.
        let share = Summary { ci95: share.ci95.map(|[low, high]| [low, high.min(1.0)]), ..share };
        Some(HypervolumeEvidence { share, reference, best })
    }
}

/// The seeds of a cell's trials.
fn seeds(trials: &HashMap<&CellId, Vec<&TrialReport>>, cell: &CellReport) -> BTreeSet<u64> {
    trials.get(&cell.id).into_iter().flatten().map(|trial| trial.seed).collect()
}

fn importance(report: &Report) -> Vec<ImportanceEvidence> {
    let is_ablation = |cell: &CellReport| cell.settings.get(pruning::ABLATION.path).is_some_and(|name| name != "none");
    let asked: Vec<&CellReport> = report.cells.iter().filter(|cell| !cell.control && !is_ablation(cell)).collect();
    let of_quantity = |quantity: &Quantity| {
        let (cells, means): (Vec<&CellReport>, Vec<f64>) =
            asked.iter().filter_map(|cell| Some((*cell, cell.mean(quantity)?))).unzip();
        let factors = factors(&cells);
        if factors.is_empty() {
            return None;
        }
        let levels: Vec<Vec<usize>> = factors.iter().map(|(_, levels)| levels.clone()).collect();
        let shares = importance::shares(&means, &levels)?;
        let named = factors.into_iter().zip(shares.settings);
        let mut settings: Vec<SettingShare> =
            named.map(|((settings, _), share)| SettingShare { settings, share }).collect();
        settings.sort_by(|one, two| two.share.total_cmp(&one.share));
        Some(ImportanceEvidence { quantity: quantity.clone(), cells: cells.len() as u64, settings, rest: shares.rest })
    };
    report.objectives.iter().filter_map(|objective| of_quantity(&objective.quantity)).collect()
}

/// The settings that vary between the cells, and which value each cell has. Settings that part the cells in the same way are one.
fn factors(cells: &[&CellReport]) -> Vec<(Vec<String>, Vec<usize>)> {
    let keys: BTreeSet<&String> = cells.iter().flat_map(|cell| cell.settings.keys()).collect();
    let mut factors: Vec<(Vec<String>, Vec<usize>)> = Vec::new();
    for key in keys {
        let values: Vec<Option<&Value>> = cells.iter().map(|cell| cell.settings.get(key)).collect();
        let mut levels = levels_of(values.iter().map(|value| value.map(Value::to_string)));
        let count = levels.iter().max().map_or(0, |level| level + 1);
        let numbers: Option<Vec<f64>> = values.iter().map(|value| value.and_then(Value::as_f64)).collect();
        if let Some(numbers) = numbers.filter(|_| count > MANY_LEVELS && count * 4 > cells.len()) {
            levels = levels_of_numbers(&numbers, GROUPS);
        }
        if count < 2 {
            continue;
        }
        match factors.iter_mut().find(|(_, other)| *other == levels) {
            Some((names, _)) => names.push(key.clone()),
            None => factors.push((vec![key.clone()], levels)),
        }
    }
    factors
}

/// The front's cells with their probabilities. Empty without such.
pub(super) fn front_grid(report: &Report, labels: &Labels) -> Grid {
    let columns =
        [("cell", false), ("on the front", true), ("most probably dominated by", false), ("probability", true)];
    let columns = columns.map(|(name, is_number)| (name.to_owned(), is_number)).to_vec();
    let cells: HashMap<&CellId, &CellReport> = report.cells.iter().map(|cell| (&cell.id, cell)).collect();
    let name = |id: &CellId| cells.get(id).map_or_else(|| id.to_string(), |cell| labels.cell(cell));
    let row = |found: &FrontEvidence| {
        let none = || "–".to_owned();
        let rival = found.rival.as_ref();
        vec![
            name(&found.cell),
            number::probability(found.probability),
            rival.map_or_else(none, name),
            rival.map_or_else(none, |_| number::probability(found.rival_probability)),
        ]
    };
    let front = report.evidence.iter().flat_map(|evidence| &evidence.front);
    Grid { columns, rows: front.map(row).collect() }
}

/// What settings explain: a row for each, a column for each objective. Empty if nothing is known.
pub(super) fn importance_grid(report: &Report) -> Grid {
    let found: Vec<&ImportanceEvidence> = report.evidence.iter().flat_map(|evidence| &evidence.importance).collect();
    let mut columns = vec![("setting".to_owned(), false)];
    columns.extend(found.iter().map(|found| (title(&found.quantity), true)));
    // In the order of the first objective's shares.
    let mut names: Vec<&Vec<String>> = Vec::new();
    for share in found.iter().flat_map(|found| &found.settings) {
        if !names.contains(&&share.settings) {
            names.push(&share.settings);
        }
    }
    let cell = |found: &&ImportanceEvidence, name: &Vec<String>| {
        let share = found.settings.iter().find(|share| share.settings == *name);
        share.map_or_else(|| "–".to_owned(), |share| percent(share.share))
    };
    let row = |name: &&Vec<String>| {
        let shares = found.iter().map(|found| cell(found, name));
        [name.join(", ")].into_iter().chain(shares).collect::<Vec<_>>()
    };
    let mut rows: Vec<Vec<String>> = names.iter().map(row).collect();
    if !rows.is_empty() {
        let rest = found.iter().map(|found| percent(found.rest));
        rows.push(["interactions and noise".to_owned()].into_iter().chain(rest).collect());
    }
    Grid { columns, rows }
}

fn percent(share: f64) -> String {
    format!("{} %", number::fixed(share * 100.0, 1))
}

/// What the tables mean, in sentences.
pub(super) fn notes(report: &Report) -> Vec<String> {
    let Some(evidence) = &report.evidence else { return Vec::new() };
    let mut notes = Vec::new();
    if let Some(first) = evidence.front.first() {
        notes.push(format!(
            "The probability that a cell is on the front says how often no other cell dominates it when the means are drawn anew, {} times, as the {} vary. Cells are drawn together, seed by seed. It speaks of the seed and not of other rows.",
            number::grouped(DRAWS.into()),
            number::count(first.seeds, "common seed"),
        ));
    }
    if let Some(HypervolumeEvidence { share, .. }) = &evidence.hypervolume {
        let interval = share.ci95.map(|[low, high]| {
            format!(" (95 % interval over seeds, by the jackknife: {} to {})", percent(low), percent(high))
        });
        notes.push(format!(
            "Hypervolume: the front dominates {}{} of the space between the best mean of each objective and a tenth of the range beyond the worst.",
            percent(share.mean),
            interval.unwrap_or_default(),
        ));
    }
    if let Some(found) = evidence.importance.first() {
        notes.push(format!(
            "What explains the results: the share of the variance of the means of {} that each setting explains by itself, by a functional analysis of variance.",
            number::count(found.cells, "cell"),
        ));
    }
    notes
}

/// What explains the results, in one sentence about the objective that the plot shows.
pub(super) fn sentence(report: &Report) -> Option<String> {
    let quantity = axes(report)?.y;
    let found = report.evidence.as_ref()?.importance.iter().find(|found| found.quantity == quantity)?;
    let shares: Vec<String> = (found.settings.iter().take(3).enumerate())
        .map(|(place, share)| {
            let verb = if place == 0 { "explains " } else { "" };
            format!("{} {verb}{}", share.settings.join(" with "), whole_percent(share.share))
        })
        .collect();
    Some(format!(
        "Of the variance of {} between {}, {}; interactions and noise are {}.",
        aim(&quantity),
        number::count(found.cells, "cell"),
        shares.join(", "),
        whole_percent(found.rest),
    ))
}

fn whole_percent(share: f64) -> String {
    format!("{} %", number::fixed(share * 100.0, 0))
}
