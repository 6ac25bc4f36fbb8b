//! What differs between two sweeps before anything is computed: the meaning of their files, and the work of their plans.

use std::collections::{BTreeMap, HashMap, HashSet};

use secateur_proto::{
    ids::{CellId, ContentHash, StageKey},
    metrics::{Direction, Split},
};
use serde::Serialize;
use serde_json::{Value as Json, json};

use super::{
    adaptive::AdaptiveSeeds,
    diagnostic::Diagnostics,
    domain::{Axis, Domain},
    extension::last,
    plan::{Cell, Control, Objective, Plan, Settings},
    setting::Value,
    spec::SweepSpec,
    yaml,
};

/// A key whose value differs between two sweep files.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SettingDifference {
    /// The path of the key, such as `pruning.sparsity`.
    pub path: String,
    /// The value in the first file. `None` if the key has none there.
    pub before: Option<Json>,
    /// The value in the second file.
    pub after: Option<Json>,
}

/// Compares what two sweep files mean, key by key. Comments, the order of keys, the spelling of numbers and written-out defaults of
/// settings are no difference. A file that this version cannot check, because another version wrote it, is compared as it is written.
///
/// # Errors
/// If one of the texts is not YAML.
pub fn setting_differences(before: &str, after: &str) -> Result<Vec<SettingDifference>, Diagnostics> {
    let (before, after) = (meaning("the first file", before)?, meaning("the second file", after)?);
    let paths: Vec<&String> = before.keys().chain(after.keys().filter(|path| !before.contains_key(*path))).collect();
    let difference = |path: &String| {
        let (before, after) = (before.get(path), after.get(path));
        (before != after).then(|| SettingDifference {
            path: path.clone(),
            before: before.cloned(),
            after: after.cloned(),
        })
    };
    let mut differences: Vec<SettingDifference> = paths.into_iter().filter_map(difference).collect();
    differences.sort_by(|one, two| one.path.cmp(&two.path));
    Ok(differences)
}

/// The values of a sweep file by the path of their key; of settings also those that it leaves at their default.
fn meaning(name: &str, text: &str) -> Result<BTreeMap<String, Json>, Diagnostics> {
    let (root, _) = yaml::parse(name, text)?;
    let mut values = BTreeMap::new();
    leaves(&root.canonical(), String::new(), &mut values);
    let Ok(spec) = SweepSpec::parse(name, text) else { return Ok(values) };
    let settings: HashSet<&str> = spec.grid.axes().map(Axis::path).collect();
    // What stands below a setting is part of its value, unless it is a setting itself.
    values.retain(|path, _| !ancestors(path).any(|path| settings.contains(path)));
    values.extend(spec.grid.axes().map(|axis| (axis.path().to_owned(), of_axis(axis))));
    let objectives = spec.objectives.iter().map(of_objective).collect();
    let controls = spec.controls.list.iter().map(|control| Json::from(control.name())).collect();
    match spec.adaptive {
        None => _ = values.insert("seeds".to_owned(), of_seeds(&spec.seeds)),
        Some(AdaptiveSeeds { min, max, step, until }) => {
            let keys =
                [("min", min.into()), ("max", max.into()), ("step", step.into()), ("until", until.name().into())];
            values.extend(keys.map(|(key, value): (&str, Json)| (yaml::join("seeds", key), value)));
        }
    }
    values.insert("objectives".to_owned(), objectives);
    values.insert("controls".to_owned(), controls);
    Ok(values)
}

/// The values that are no maps, by path. An empty map is a value.
fn leaves(value: &Json, path: String, found: &mut BTreeMap<String, Json>) {
    match value.as_object().filter(|map| !map.is_empty()) {
        Some(map) => map.iter().for_each(|(key, value)| leaves(value, yaml::join(&path, key), found)),
        None => _ = found.insert(path, value.clone()),
    }
}

/// `a.b.c`, `a.b`, `a`.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| path.rsplit_once('.').map(|(parent, _)| parent))
}

fn of_axis(axis: &Axis) -> Json {
    match &axis.domain {
        Domain::Range(range) => {
            json!({"low": range.low, "high": range.high, "log": range.log, "integer": range.integer})
        }
        Domain::Listed(values) => match values.as_slice() {
            [only] => of_value(only),
            several => several.iter().map(of_value).collect(),
        },
    }
}

fn of_value(value: &Value) -> Json {
    let details = value.details();
    if details.is_empty() {
        return value.json();
    }
    [("name".to_owned(), value.json())].into_iter().chain(details).collect()
}

fn of_objective(objective: &Objective) -> Json {
    let quantity = objective.quantity.text_or_on(Split::Validation);
    let mut of = match objective.direction {
        Direction::Maximize => json!({"maximize": quantity}),
        Direction::Minimize => json!({"minimize": quantity}),
    };
    if let Some(margin) = objective.margin {
        of["margin"] = margin.into();
    }
    of
}

/// A number of seeds means those from 0 on.
fn of_seeds(seeds: &[u64]) -> Json {
    let is_count = seeds.iter().zip(0..).all(|(seed, place)| *seed == place);
    if is_count { seeds.len().into() } else { seeds.into() }
}

/// An input whose content differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InputDifference {
    /// `data` or `weights`.
    pub input: &'static str,
    /// The hash of the first sweep's. `None` if it has none.
    pub before: Option<ContentHash>,
    /// The hash of the second sweep's.
    pub after: Option<ContentHash>,
}

/// The inputs of two sweeps that differ in their content, whatever they are called.
#[must_use]
pub fn input_differences(before: &Plan, after: &Plan) -> Vec<InputDifference> {
    let data = |plan: &Plan| Some(plan.sweep.data.hash);
    let weights = |plan: &Plan| plan.sweep.weights.as_ref().map(|weights| weights.hash);
    let inputs = [("data", data(before), data(after)), ("weights", weights(before), weights(after))];
    let differing = inputs.into_iter().filter(|(_, before, after)| before != after);
    differing.map(|(input, before, after)| InputDifference { input, before, after }).collect()
}

/// How many of something are in one sweep or in both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// In the first sweep alone.
    pub only_before: u64,
    /// In both.
    pub shared: u64,
    /// In the second sweep alone: what it would compute beyond the first.
    pub only_after: u64,
}

impl Counts {
    /// Counts two sets by the weights of their members.
    fn of<T: Eq + std::hash::Hash>(before: &HashMap<T, u64>, after: &HashMap<T, u64>) -> Self {
        let sum = |of: &HashMap<T, u64>, also_in: &HashMap<T, u64>, is_shared: bool| {
            let counted = of.iter().filter(|(member, _)| also_in.contains_key(*member) == is_shared);
            counted.fold(0_u64, |sum, (_, weight)| sum.saturating_add(*weight))
        };
        Self {
            only_before: sum(before, after, false),
            shared: sum(after, before, true),
            only_after: sum(after, before, false),
        }
    }

    /// Whether both sweeps have the same.
    #[must_use]
    pub const fn is_same(&self) -> bool {
        self.only_before == 0 && self.only_after == 0
    }
}

/// A cell of each of two sweeps that are the same point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CellPair {
    /// In the first sweep.
    pub before: CellId,
    /// In the second sweep.
    pub after: CellId,
    /// Whether they share a trial. Otherwise they have the same settings and compute something else.
    pub is_same_work: bool,
}

/// What two plans have in common. Trials are the same if they compute the same, whatever their cells are called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WorkDifference {
    /// Cells, controls among them. A cell is shared if one of its trials is.
    pub cells: Counts,
    /// Trials by the work of their last stage.
    pub trials: Counts,
    /// Stages by their keys.
    pub stages: Counts,
    /// Optimiser steps of those stages.
    pub lane_steps: Counts,
    /// The cells that are in both sweeps, in the order of the second.
    pub pairs: Vec<CellPair>,
    /// The cells of the first sweep that are in no pair.
    pub gone: Vec<CellId>,
    /// The cells of the second sweep that are in no pair.
    pub new: Vec<CellId>,
}

impl WorkDifference {
    /// Compares what two plans compute.
    #[must_use]
    pub fn between(before: &Plan, after: &Plan) -> Self {
        let steps = |plan: &Plan| -> HashMap<StageKey, u64> {
            plan.stages.iter().map(|stage| (stage.key, stage.lane_steps)).collect()
        };
        let ones = |plan: &Plan| -> HashMap<StageKey, u64> { plan.stages.iter().map(|stage| (stage.key, 1)).collect() };
        let trials = |plan: &Plan| -> HashMap<StageKey, u64> {
            plan.trials.iter().filter_map(|trial| Some((last(trial)?, 1))).collect()
        };
        let pairs = pairs(before, after);
        let paired: HashSet<&CellId> = pairs.iter().map(|pair| &pair.before).collect();
        let gone = before.cells.iter().map(|cell| &cell.id).filter(|id| !paired.contains(id)).cloned().collect();
        let paired: HashSet<&CellId> = pairs.iter().map(|pair| &pair.after).collect();
        let new = after.cells.iter().map(|cell| &cell.id).filter(|id| !paired.contains(id)).cloned().collect();
        let shared = pairs.iter().filter(|pair| pair.is_same_work).count() as u64;
        Self {
            cells: Counts {
                only_before: before.cells.len() as u64 - shared,
                shared,
                only_after: after.cells.len() as u64 - shared,
            },
            trials: Counts::of(&trials(before), &trials(after)),
            stages: Counts::of(&ones(before), &ones(after)),
            lane_steps: Counts::of(&steps(before), &steps(after)),
            pairs,
            gone,
            new,
        }
    }

    /// Whether both plans compute the same.
    #[must_use]
    pub const fn is_same(&self) -> bool {
        self.cells.is_same() && self.trials.is_same() && self.stages.is_same()
    }
}

/// The cells that are in both plans: those that share a trial, then those with the same settings.
fn pairs(before: &Plan, after: &Plan) -> Vec<CellPair> {
    let owners: HashMap<StageKey, &CellId> =
        before.trials.iter().filter_map(|trial| Some((last(trial)?, &trial.cell))).collect();
    let mut taken: HashSet<&CellId> = HashSet::new();
    let mut found: HashMap<&CellId, (&CellId, bool)> = HashMap::new();
    for trial in &after.trials {
        let owner = last(trial).and_then(|stage| owners.get(&stage).copied());
        if let Some(owner) = owner.filter(|owner| !found.contains_key(&trial.cell) && !taken.contains(owner)) {
            taken.insert(owner);
            found.insert(&trial.cell, (owner, true));
        }
    }
    // A setting that varies in one file alone is in the settings of the cells of one alone.
    let keys =
        |plan: &Plan| -> HashSet<String> { plan.cells.iter().flat_map(|cell| cell.settings.keys().cloned()).collect() };
    let keys: HashSet<String> = keys(before).intersection(&keys(after)).cloned().collect();
    let mut others = points(before.cells.iter().filter(|cell| !taken.contains(&cell.id)), &keys);
    let same = points(after.cells.iter().filter(|cell| !found.contains_key(&cell.id)), &keys);
    for (point, cells) in same {
        if let ([after], Some([before])) = (cells.as_slice(), others.remove(&point).as_deref()) {
            found.insert(after, (before, false));
        }
    }
    let pair = |cell: &Cell| {
        let (before, is_same_work) = *found.get(&cell.id)?;
        Some(CellPair { before: before.clone(), after: cell.id.clone(), is_same_work })
    };
    after.cells.iter().filter_map(pair).collect()
}

/// Cells by their settings of these keys and by what control they are.
fn points<'a>(cells: impl Iterator<Item = &'a Cell>, keys: &HashSet<String>) -> BTreeMap<String, Vec<&'a CellId>> {
    let mut points: BTreeMap<String, Vec<&CellId>> = BTreeMap::new();
    for cell in cells {
        let settings: Settings = cell.settings.clone().into_iter().filter(|(key, _)| keys.contains(key)).collect();
        let point: (Option<Control>, Settings) = (cell.control, settings);
        points.entry(json!(point).to_string()).or_default().push(&cell.id);
    }
    points
}
