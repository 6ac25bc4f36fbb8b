//! Plans that grow: what a file that has grown adds to a sweep.
//!
//! A file extends a sweep if it still asks for all of it, so what the sweep is afterwards is what the file alone would be.

use std::collections::{HashMap, HashSet};

use secateur_proto::{
    ids::{CellId, ContentHash, StageKey, TrialId},
    spec::StageSpec,
};
use serde_json::Value;

use super::{
    adaptive::AdaptiveSeeds,
    plan::{InvalidPlan, PackedPlan, Plan, SweepInfo, Trial},
};

/// Why a file does not extend a sweep.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAnExtension {
    /// Its data are others.
    #[error("the data ({path}) have changed")]
    OtherData {
        /// As the file names them.
        path: String,
    },
    /// A trial of the sweep would be computed in another way.
    #[error("trial {trial} would be computed differently: {difference}")]
    Changes {
        /// Which.
        trial: TrialId,
        /// What differs, in words.
        difference: String,
    },
    /// It does not ask for a trial of the sweep.
    #[error("the file lacks trial {trial} of the sweep ({settings})")]
    Lacks {
        /// Which.
        trial: TrialId,
        /// The settings of its cell and its seed, in words.
        settings: String,
    },
    /// The same file came to other stages before.
    #[error("another version of secateur planned the same file differently")]
    OtherVersion,
    /// It adds seeds while results come in, or the sweep does.
    #[error("sweeps that add seeds while results come in ({}) cannot be extended", describe(*.sweep, *.file))]
    Adaptive {
        /// What the sweep says of seeds.
        sweep: Option<AdaptiveSeeds>,
        /// What the file says.
        file: Option<AdaptiveSeeds>,
    },
    /// There is nothing to be extended.
    #[error("the sweep has no plan")]
    NoSweep,
    /// A defect.
    #[error("the new part of the plan contradicts itself: {0}")]
    Invalid(#[from] InvalidPlan),
}

fn describe(sweep: Option<AdaptiveSeeds>, file: Option<AdaptiveSeeds>) -> String {
    let text = |seeds: Option<AdaptiveSeeds>| match seeds {
        Some(AdaptiveSeeds { min, max, .. }) => format!("{{min: {min}, max: {max}}}"),
        None => "a fixed number".to_owned(),
    };
    format!("seeds: {} in the sweep, {} in the file", text(sweep), text(file))
}

/// The part that `plan`, made from a file that has grown, adds to the `earlier` parts of a sweep; one at least. It has the new trials, every
/// stage that they need, and all of the file's cells: what a cell is called was decided when it came into the sweep, and whether it
/// is a control, and what it is compared with, the last file decides. A part without trials has other goals, or makes a point of what was a
/// control. `None` if there is nothing new.
///
/// Trials are compared by what they compute, so a setting that begins to vary, and so comes into the names of all cells, makes no old cell
/// a new one.
///
/// # Errors
/// If the file does not ask for all of the sweep.
pub fn extension(plan: &Plan, earlier: &[&Plan]) -> Result<Option<PackedPlan>, NotAnExtension> {
    if earlier.iter().any(|part| part.sweep.data.hash != plan.sweep.data.hash) {
        return Err(NotAnExtension::OtherData { path: plan.sweep.data.path.clone() });
    }
    let adaptive = earlier.last().and_then(|part| part.sweep.adaptive);
    if adaptive.is_some() || plan.sweep.adaptive.is_some() {
        let is_same_file =
            earlier.first().is_some_and(|first| first.sweep == plan.sweep && first.trials == plan.trials);
        let differs = NotAnExtension::Adaptive { sweep: adaptive, file: plan.sweep.adaptive };
        return if is_same_file { Ok(None) } else { Err(differs) };
    }
    let known: HashMap<Identity, &CellId> =
        trials(earlier).filter_map(|old| Some((identity(old)?, &old.cell))).collect();
    let is_new = |trial: &&Trial| identity(trial).is_none_or(|identity| !known.contains_key(&identity));
    let new: Vec<&Trial> = plan.trials.iter().filter(is_new).collect();
    let files = |plan: &Plan| (plan.sweep.file_hash, plan.sweep.weights.clone());
    let is_earlier_file = earlier.iter().any(|part| files(part) == files(plan));
    match first_missing(plan, earlier) {
        // What has been added since it does not ask for.
        Some(_) if is_earlier_file && new.is_empty() => return Ok(None),
        Some(_) if is_earlier_file && earlier.len() == 1 => return Err(NotAnExtension::OtherVersion),
        Some(missing) => return Err(why_missing(plan, earlier, missing)),
        None => {}
    }
    let before = Plan::of_parts(earlier.iter().map(|part| (*part).clone()));
    let names = Names::of(plan, &known, earlier);
    let part = names.part(plan, &new);
    let after = Plan::of_parts(before.iter().cloned().chain([part.clone()]));
    if new.is_empty() && before.is_some_and(|before| after.is_some_and(|after| says_the_same(&before, &after))) {
        return Ok(None);
    }
    let id = earlier.first().map_or(&plan.sweep.id, |first| &first.sweep.id).clone();
    let sweep = SweepInfo { id, ..part.sweep };
    Ok(Some(PackedPlan::of(&Plan { sweep, ..part })?))
}

/// What cells of the file's plan are called in the sweep.
struct Names<'a>(HashMap<&'a CellId, CellId>);

impl<'a> Names<'a> {
    fn of(plan: &'a Plan, known: &HashMap<Identity, &CellId>, earlier: &[&Plan]) -> Self {
        let old = plan.trials.iter().filter_map(|trial| Some((&trial.cell, (*known.get(&identity(trial)?)?).clone())));
        let mut names: HashMap<&CellId, CellId> = old.collect();
        let mut taken: HashSet<CellId> = trials(earlier).map(|trial| trial.cell.clone()).collect();
        for trial in &plan.trials {
            if !names.contains_key(&trial.cell) {
                let name = free_name(trial, &taken);
                taken.insert(name.clone());
                names.insert(&trial.cell, name);
            }
        }
        Self(names)
    }

    fn name(&self, cell: &CellId) -> CellId {
        self.0.get(cell).unwrap_or(cell).clone()
    }

    fn part(&self, plan: &Plan, new: &[&Trial]) -> Plan {
        let needed: HashSet<StageKey> = new.iter().flat_map(|trial| trial.stages.iter().copied()).collect();
        let mut cells = plan.cells.clone();
        for cell in &mut cells {
            cell.id = self.name(&cell.id);
            let controls = [&mut cell.dense_control, &mut cell.random_control, &mut cell.scratch_control];
            let controls = controls.into_iter().flatten().chain(cell.other_controls.values_mut());
            controls.for_each(|control| *control = self.name(control));
        }
        let mut merged = plan.merged.clone();
        merged.iter_mut().for_each(|point| point.into = self.name(&point.into));
        Plan {
            sweep: plan.sweep.clone(),
            stages: plan.stages.iter().filter(|stage| needed.contains(&stage.key)).cloned().collect(),
            cells,
            trials: (new.iter())
                .map(|trial| Trial::new(self.name(&trial.cell), trial.seed, trial.stages.clone()))
                .collect(),
            merged,
            refused: plan.refused.clone(),
        }
    }
}

/// The name of the new cell of a trial. Controls of equal settings are numbered in each plan anew, so a name may be an old cell's.
fn free_name(trial: &Trial, taken: &HashSet<CellId>) -> CellId {
    let mut name = trial.cell.clone();
    while taken.contains(&name) {
        let work = last(trial).map(|stage| stage.to_string()).unwrap_or_default();
        let hash = ContentHash::of(format!("{name}\n{work}").as_bytes());
        name = hash.short(12).parse().expect("hexadecimal digits are safe");
    }
    name
}

fn trials<'a>(parts: &'a [&Plan]) -> impl Iterator<Item = &'a Trial> {
    parts.iter().flat_map(|part| &part.trials)
}

/// What a trial computes, and its seed: trials of a reference model share all stages.
type Identity = (StageKey, u64);

fn identity(trial: &Trial) -> Option<Identity> {
    last(trial).map(|stage| (stage, trial.seed))
}

/// The stage whose result is the trial's.
pub(super) fn last(trial: &Trial) -> Option<StageKey> {
    trial.stages.last().copied()
}

fn first_missing<'a>(plan: &Plan, earlier: &'a [&Plan]) -> Option<&'a Trial> {
    let asked: HashSet<Option<Identity>> = plan.trials.iter().map(identity).collect();
    trials(earlier).find(|trial| !asked.contains(&identity(trial)))
}

/// Why the plan lacks a trial of the sweep.
fn why_missing(plan: &Plan, earlier: &[&Plan], missing: &Trial) -> NotAnExtension {
    let trial = missing.id.clone();
    if let Some(other) = plan.trials.iter().find(|other| other.id == trial) {
        let before = chain(missing, earlier);
        let difference = chains_difference(&before, &chain(other, &[plan]));
        return NotAnExtension::Changes { trial, difference };
    }
    let cells = earlier.iter().rev().flat_map(|part| &part.cells);
    let cell = cells.into_iter().find(|cell| cell.id == missing.cell);
    let settings = cell.iter().flat_map(|cell| &cell.settings).map(|(key, value)| format!("{key}: {value}"));
    let settings = settings.chain([format!("seed {}", missing.seed)]).collect::<Vec<_>>().join(", ");
    NotAnExtension::Lacks { trial, settings }
}

fn chain<'a>(trial: &Trial, parts: &[&'a Plan]) -> Vec<&'a StageSpec> {
    let specs = parts.iter().flat_map(|part| &part.stages).map(|stage| (stage.key, &stage.spec));
    let specs: HashMap<StageKey, &StageSpec> = specs.collect();
    trial.stages.iter().filter_map(|key| specs.get(key).copied()).collect()
}

/// What differs first between the stages of a trial in the sweep and in the file. What a stage reads comes before it, so what it
/// reads is the same.
fn chains_difference(before: &[&StageSpec], after: &[&StageSpec]) -> String {
    let kinds = |chain: &[&StageSpec]| chain.iter().map(|spec| spec.kind()).collect::<Vec<_>>().join(", ");
    if kinds(before) != kinds(after) {
        return format!("its stages are {} in the sweep and {} in the file", kinds(before), kinds(after));
    }
    let json = |spec: &StageSpec| serde_json::to_value(spec).expect("a spec is plain data");
    let differences = before.iter().zip(after).filter_map(|(before, after)| {
        let (path, old, new) = difference(String::new(), &json(before), &json(after))?;
        Some(format!("{path} of its stage {} is {old} in the sweep and {new} in the file", before.kind()))
    });
    differences.into_iter().next().unwrap_or_else(|| "its stages".to_owned())
}

/// The first place at which two documents differ, and what is there in each.
fn difference(path: String, before: &Value, after: &Value) -> Option<(String, String, String)> {
    match (before, after) {
        _ if before == after => None,
        (Value::Object(old), Value::Object(new)) => {
            let keys = old.keys().chain(new.keys().filter(|key| !old.contains_key(*key)));
            keys.into_iter().find_map(|key| {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let of = |document: &serde_json::Map<String, Value>| document.get(key).cloned().unwrap_or_default();
                difference(path, &of(old), &of(new))
            })
        }
        _ => Some((path, before.to_string(), after.to_string())),
    }
}

/// Whether two plans of a sweep with the same trials mean the same, however their files are written.
fn says_the_same(before: &Plan, after: &Plan) -> bool {
    let aims = |plan: &Plan| {
        let SweepInfo { name, objectives, constraints, decision, attempts, .. } = plan.sweep.clone();
        (name, objectives, constraints, decision, attempts)
    };
    let points = |plan: &Plan| (plan.cells.clone(), plan.merged.clone(), plan.refused.clone());
    aims(before) == aims(after) && points(before) == points(after)
}
