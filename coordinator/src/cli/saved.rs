//! What a finished run has left in its folder: the report, the plan and the nets.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use secateur_proto::{ids::ContentHash, outcome::Role, spec::Reading};
use secateur_worker::{
    data::Preparation,
    serve::NetFile,
    store::{Durability, Store},
};
use serde::Deserialize;

use super::{error::CliError, outputs::KEPT};
use crate::{
    experiment::plan::Plan,
    report::{Report, SCHEMA, TrialReport, control_title},
};

/// The folder with the files of nets.
const MODELS: &str = "models";
/// The file that says how rows are prepared.
const PREPARATION: &str = "preparation.json";
/// The end of the name of a net without the units and inputs that it can do without.
const SMALL: &str = ".small.safetensors";

/// A net, and what is needed to serve it.
#[derive(Debug)]
pub(crate) struct SavedNet {
    pub(crate) preparation: Preparation,
    pub(crate) file: NetFile,
    /// The features that a smaller net takes.
    pub(crate) inputs: Option<Vec<u32>>,
    /// How the table of the sweep was read; the plain form where that is not known.
    pub(crate) reading: Reading,
}

/// The folder of a finished run, or of a report.
#[derive(Debug)]
pub(crate) struct SavedRun {
    folder: PathBuf,
    pub(crate) report: Report,
    pub(crate) plan: Plan,
}

/// `<trial>.small.inputs.json`.
#[derive(Deserialize)]
struct SmallInputs {
    inputs: Vec<u32>,
}

impl SavedNet {
    /// Reads a file of `models/`, and the files beside it.
    ///
    /// # Errors
    /// If it is none, or one of the others is missing.
    pub(crate) fn read(path: &Path) -> Result<Self, CliError> {
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        let wrong = |path: &Path, problem: String| CliError::Input(format!("{}: {problem}", path.display()));
        let file = NetFile::read(&read(path)?).map_err(|error| wrong(path, error.to_string()))?;
        let place = folder.join(PREPARATION);
        let bytes = fs::read(&place).map_err(|error| {
            CliError::Input(format!(
                "cannot read {}: {error}; a net needs the {PREPARATION} of its own {MODELS}/ beside it",
                place.display()
            ))
        })?;
        let preparation = Preparation::from_json(&bytes).map_err(|error| wrong(&place, error.to_string()))?;
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let inputs = match name.strip_suffix(SMALL) {
            None => None,
            Some(trial) => {
                let place = folder.join(format!("{trial}.small.inputs.json"));
                let inputs: SmallInputs =
                    serde_json::from_slice(&read(&place)?).map_err(|error| wrong(&place, error.to_string()))?;
                Some(inputs.inputs)
            }
        };
        let plan = folder.join("../plan.json");
        let reading = match fs::read(&plan) {
            Ok(bytes) => {
                let plan: Plan = serde_json::from_slice(&bytes).map_err(|error| wrong(&plan, error.to_string()))?;
                reading_of(&plan)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Reading::default(),
            Err(error) => return Err(CliError::Input(format!("cannot read {}: {error}", plan.display()))),
        };
        Ok(Self { preparation, file, inputs, reading })
    }
}

impl SavedRun {
    /// Reads the report and the plan of a folder.
    ///
    /// # Errors
    /// If it is no folder of a finished run.
    pub(crate) fn open(folder: &Path) -> Result<Self, CliError> {
        let json = |name: &str| -> Result<(PathBuf, Vec<u8>), CliError> {
            let path = folder.join(name);
            let bytes = fs::read(&path).map_err(|error| {
                let what = "pass the folder of a completed run or of a report, such as runs/NAME-ID";
                CliError::Input(format!("cannot read {}: {error}; {what}", path.display()))
            })?;
            Ok((path, bytes))
        };
        let wrong =
            |path: &Path, error: serde_json::Error| CliError::Input(format!("cannot read {}: {error}", path.display()));
        let (path, bytes) = json("report.json")?;
        let report: Report = serde_json::from_slice(&bytes).map_err(|error| wrong(&path, error))?;
        if report.schema != SCHEMA {
            let (path, found) = (path.display(), report.schema);
            return Err(CliError::Input(format!("{path} has schema {found}, and this version reads {SCHEMA}")));
        }
        let (path, bytes) = json("plan.json")?;
        let plan = serde_json::from_slice(&bytes).map_err(|error| wrong(&path, error))?;
        Ok(Self { folder: folder.to_owned(), report, plan })
    }

    /// The only folder in `runs/` with a trial or a cell of each of these names; if there are none, the only folder.
    ///
    /// # Errors
    /// If there is none, or more than one.
    pub(crate) fn find(names: &[String]) -> Result<Self, CliError> {
        let entries = fs::read_dir("runs").map_err(|error| {
            CliError::Input(format!("cannot look into runs/: {error}; pass the folder of the run with --run"))
        })?;
        let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        folders.sort();
        let has_report = |folder: &PathBuf| folder.join("report.json").is_file();
        let runs = folders.into_iter().filter(has_report).map(|folder| Self::open(&folder));
        let runs: Vec<Self> = runs.collect::<Result<_, _>>()?;
        let mut found: Vec<Self> = runs.into_iter().filter(|run| names.iter().all(|name| run.knows(name))).collect();
        if found.len() > 1 {
            let folders: Vec<String> = found.iter().map(|run| run.folder.display().to_string()).collect();
            return Err(CliError::Input(format!("{} all have it; pass one with --run", folders.join(", "))));
        }
        found
            .pop()
            .ok_or_else(|| CliError::Input("no finished run in runs/ has it; pass its folder with --run".to_owned()))
    }

    fn knows(&self, name: &str) -> bool {
        self.report.trials.iter().any(|trial| trial.id.as_str() == name || trial.cell.as_str() == name)
    }

    /// The trial called `id`.
    ///
    /// # Errors
    /// If there is none, or it has no result.
    pub(crate) fn trial(&self, id: &str) -> Result<&TrialReport, CliError> {
        let trial = self.report.trials.iter().find(|trial| trial.id.as_str() == id).ok_or_else(|| {
            let folder = self.folder.display();
            CliError::Input(format!("{folder} has no trial {id:?}; its trials are listed in trials.csv"))
        })?;
        if trial.outcome != "completed" {
            return Err(CliError::Input(format!("the trial {id} has no net: it is {}", trial.outcome)));
        }
        Ok(trial)
    }

    /// The net of a trial as its metrics are measured: of a quantized trial the quantized one.
    ///
    /// # Errors
    /// If it is a reference model, its files are not in the folder, or they are not those of the report.
    pub(crate) fn net(&self, trial: &TrialReport) -> Result<SavedNet, CliError> {
        let cell = self.report.cells.iter().find(|cell| cell.id == trial.cell);
        if let Some(reference) = cell.and_then(|cell| cell.control_kind).filter(|control| control.is_reference()) {
            let what = control_title(reference);
            return Err(CliError::Input(format!(
                "the trial {} has no net: it is a reference model ({what})",
                trial.id
            )));
        }
        let is_quantized = trial.artifacts.contains_key(&Role::Quantized);
        let role = if is_quantized { Role::Quantized } else { Role::Checkpoint };
        let unusable = |error: &dyn std::error::Error| CliError::Failed(format!("the files of {}: {error}", trial.id));
        let file = NetFile::read(&self.artifact(trial, role)?).map_err(|error| unusable(&error))?;
        let preparation = Preparation::from_json(&self.artifact(trial, Role::Preparation)?);
        let preparation = preparation.map_err(|error| unusable(&error))?;
        Ok(SavedNet { preparation, file, inputs: None, reading: reading_of(&self.plan) })
    }

    /// A file of a trial, checked against the report's hash: from `models/`, or from the run's own state.
    fn artifact(&self, trial: &TrialReport, role: Role) -> Result<Vec<u8>, CliError> {
        let id = &trial.id;
        let hash =
            *trial.artifacts.get(&role).ok_or_else(|| CliError::Input(format!("the trial {id} has no {role:?}")))?;
        let ending = KEPT.iter().find(|(kept, _)| *kept == role).map(|(_, ending)| *ending);
        let name = ending.map_or_else(|| PREPARATION.to_owned(), |ending| format!("{id}.{ending}"));
        let path = self.folder.join(MODELS).join(name);
        match fs::read(&path) {
            Ok(bytes) if ContentHash::of(&bytes) == hash => return Ok(bytes),
            Ok(_) => {
                let path = path.display();
                return Err(CliError::Failed(format!(
                    "{path} is not the file that report.json names by its hash {hash}"
                )));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(CliError::Failed(format!("cannot read {}: {error}", path.display()))),
        }
        let root = self.folder.join(".secateur/artifacts");
        if !root.is_dir() {
            let (folder, what) = (self.folder.display(), "a report keeps the nets of its front alone");
            return Err(CliError::Input(format!("{folder} does not have the net of {id}: {what}")));
        }
        let store = Store::open(root, Durability::Cached).map_err(|error| CliError::failed(&error))?;
        store.get(hash).map_err(|error| CliError::failed(&error))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    fs::read(path).map_err(|error| CliError::Input(format!("cannot read {}: {error}", path.display())))
}

/// How the table of a plan is read.
fn reading_of(plan: &Plan) -> Reading {
    plan.stages.iter().find_map(|stage| stage.spec.data()).map(|data| data.reading.clone()).unwrap_or_default()
}
