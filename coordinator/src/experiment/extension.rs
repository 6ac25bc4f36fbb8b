//! Plans that grow: what a file that has grown adds to a sweep.

use std::collections::{HashMap, HashSet};

use secateur_proto::ids::{CellId, StageKey};

use super::plan::{PackedPlan, Plan, Settings, Trial};

/// The part that `plan`, made from a file that has grown, adds to the `earlier` parts of a sweep: its new trials, their cells, and every
/// stage that they need. `None` if there is nothing new. Trials are compared by what they compute, so a setting that begins to vary,
/// and so comes into the names of all cells, makes no old cell a new one.
///
/// # Errors
/// If the file makes something else of a trial that there is.
pub fn extension(plan: &Plan, earlier: &[&Plan]) -> Result<Option<PackedPlan>, String> {
    let first = earlier.first().ok_or("a sweep without a plan cannot grow")?;
    let mut known: HashMap<StageKey, &CellId> = HashMap::new();
    let mut names = HashSet::new();
    for trial in earlier.iter().flat_map(|part| &part.trials) {
        names.insert(&trial.id);
        known.extend(last(trial).map(|stage| (stage, &trial.cell)));
    }
    // What cells of the plan are called in the sweep.
    let own = plan.trials.iter().filter_map(|trial| Some((&trial.cell, *known.get(&last(trial)?)?)));
    let own: HashMap<&CellId, &CellId> = own.collect();
    let called = |id: &CellId| own.get(id).map_or(id, |own| *own).clone();
    let new = plan.trials.iter().filter(|trial| last(trial).is_none_or(|stage| !known.contains_key(&stage)));
    let trials: Vec<Trial> =
        new.map(|trial| Trial::new(called(&trial.cell), trial.seed, trial.stages.clone())).collect();
    if let Some(trial) = trials.iter().find(|trial| names.contains(&trial.id)) {
        return Err(format!(
            "trial {} would be computed otherwise than before: the file does not only add to the sweep, so this is another sweep",
            trial.id
        ));
    }
    if trials.is_empty() {
        return Ok(None);
    }
    let of_trials: HashSet<&CellId> = trials.iter().map(|trial| &trial.cell).collect();
    let needed: HashSet<StageKey> = trials.iter().flat_map(|trial| trial.stages.iter().copied()).collect();
    let settings: HashMap<&CellId, &Settings> =
        earlier.iter().flat_map(|part| &part.cells).map(|cell| (&cell.id, &cell.settings)).collect();
    let cells = plan.cells.iter().cloned().map(|mut cell| {
        cell.id = called(&cell.id);
        if let Some(settings) = settings.get(&cell.id) {
            cell.settings = (*settings).clone();
        }
        for control in [&mut cell.dense_control, &mut cell.random_control, &mut cell.scratch_control] {
            *control = control.as_ref().map(called);
        }
        cell.other_controls.values_mut().for_each(|control| *control = called(control));
        cell
    });
    let mut merged = plan.merged.clone();
    merged.retain(|point| earlier.iter().all(|part| part.merged.iter().all(|other| other.settings != point.settings)));
    merged.iter_mut().for_each(|point| point.into = called(&point.into));
    let mut refused = plan.refused.clone();
    refused.retain(|point| earlier.iter().all(|part| !part.refused.contains(point)));
    let mut sweep = plan.sweep.clone();
    sweep.id = first.sweep.id.clone();
    let part = Plan {
        sweep,
        stages: plan.stages.iter().filter(|stage| needed.contains(&stage.key)).cloned().collect(),
        cells: cells.filter(|cell| of_trials.contains(&cell.id)).collect(),
        trials: trials.clone(),
        merged,
        refused,
    };
    PackedPlan::of(&part).map(Some).map_err(|problem| problem.to_string())
}

/// The stage whose result is the trial's.
fn last(trial: &Trial) -> Option<StageKey> {
    trial.stages.last().copied()
}
