//! The chain from the data to the row of a report: each link has a hash that the next one names.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use secateur_proto::{
    ids::{ContentHash, StageKey},
    outcome::Role,
    spec::StageSpec,
};

use super::{
    super::{
        manifest::Manifest,
        outputs::{self, KEPT, MOST_MODELS},
        saved::SavedRun,
    },
    Checked,
};
use crate::report::TrialReport;

/// Follows the chain: data → sweep file → stages → trials → nets. Returns the first break in words.
pub(super) fn check(folder: &Path, manifest: &Manifest, run: &SavedRun, checked: &mut Checked) -> Result<(), String> {
    let (report, plan) = (&run.report, &run.plan);
    if report.sweep.id.as_str() != manifest.sweep || plan.sweep.id != report.sweep.id {
        return Err(format!(
            "the manifest is of the sweep {}, report.json of {} and plan.json of {}",
            manifest.sweep, report.sweep.id, plan.sweep.id
        ));
    }
    let text = &report.sweep.file_text;
    if ContentHash::of(text.as_bytes()) != report.sweep.file_hash || *text != plan.sweep.file_text {
        return Err("the sweep file in report.json is not the one that its hash and plan.json name".to_owned());
    }
    if report.data.hash != plan.sweep.data.hash {
        return Err("report.json and plan.json name different data".to_owned());
    }
    let mut keys = HashSet::new();
    for stage in &plan.stages {
        let kind = stage.spec.kind();
        if stage.spec.key() != stage.key {
            return Err(format!(
                "the {kind} stage {} of plan.json has another spec than its key says, or is of another version of secateur",
                stage.key
            ));
        }
        if let Some(parent) = stage.spec.parents().into_iter().find(|parent| !keys.contains(parent)) {
            return Err(format!("the {kind} stage {} needs the stage {parent}, which plan.json lacks", stage.key));
        }
        if let StageSpec::Prepare(spec) = &stage.spec
            && spec.table != plan.sweep.data.hash
        {
            return Err(format!("the prepare stage {} reads other data than the sweep's", stage.key));
        }
        keys.insert(stage.key);
    }
    checked.stages = plan.stages.len();
    let rows: HashMap<_, _> = report.trials.iter().map(|trial| (&trial.id, trial)).collect();
    if rows.len() != plan.trials.len() || report.trials.len() != plan.trials.len() {
        return Err(format!("report.json has {} trials, and plan.json {}", report.trials.len(), plan.trials.len()));
    }
    for trial in &plan.trials {
        let row = rows.get(&trial.id).ok_or_else(|| format!("report.json lacks the trial {}", trial.id))?;
        if row.stages != trial.stages || row.cell != trial.cell || row.seed != trial.seed {
            return Err(format!("the trial {} of report.json is another one than that of plan.json", trial.id));
        }
        if let Some(stage) = trial.stages.iter().find(|stage| !keys.contains(stage)) {
            return Err(format!("the trial {} has the stage {stage}, which plan.json lacks", trial.id));
        }
    }
    checked.trials = plan.trials.len();
    let specs: HashMap<StageKey, &StageSpec> = plan.stages.iter().map(|stage| (stage.key, &stage.spec)).collect();
    // Those that a run writes: no others have files, however large the front is.
    for trial in outputs::kept(report, MOST_MODELS).0 {
        checked.nets += nets(folder, trial, &specs)?;
    }
    Ok(())
}

/// Compares the files of a trial in `models/` with what its row names. Returns how many there are.
fn nets(folder: &Path, trial: &TrialReport, specs: &HashMap<StageKey, &StageSpec>) -> Result<usize, String> {
    let models = folder.join("models");
    let mut count = 0;
    let mut compare = |name: &str, expected: Option<ContentHash>| -> Result<Option<Vec<u8>>, String> {
        let path = models.join(name);
        let Some(expected) = expected else {
            return if path.exists() {
                Err(format!("models/{name} belongs to no file of its trial"))
            } else {
                Ok(None)
            };
        };
        let bytes = std::fs::read(&path).map_err(|error| format!("models/{name} cannot be read: {error}"))?;
        if ContentHash::of(&bytes) != expected {
            return Err(format!("models/{name} is not the file that the row of {} names ({expected})", trial.id));
        }
        count += 1;
        Ok(Some(bytes))
    };
    let named = |role| trial.artifacts.get(&role).copied();
    let mut net = None;
    for (role, ending) in KEPT {
        let bytes = compare(&format!("{}.{ending}", trial.id), named(role))?;
        if role == Role::Checkpoint {
            net = bytes;
        }
    }
    if let Some(preparation) = named(Role::Preparation) {
        compare("preparation.json", Some(preparation))?;
    }
    let model = trial.stages.last().and_then(|stage| specs.get(stage)?.model());
    if let (Some(net), Some(model)) = (net, model) {
        let small = outputs::small(model, &net).map_err(|error| format!("the net of {}: {error}", trial.id))?;
        for (ending, bytes) in small {
            compare(&format!("{}.{ending}", trial.id), Some(ContentHash::of(&bytes)))?;
        }
    }
    Ok(count)
}
