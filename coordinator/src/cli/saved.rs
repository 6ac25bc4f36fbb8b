//! What a finished run has left, in its folder or at a coordinator: the report, the plan and the files of its trials.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use secateur_proto::{
    ids::ContentHash,
    outcome::Role,
    spec::Reading,
    v1::{GetSweepRequest, ReportFormat},
};
use secateur_worker::{
    data::Preparation,
    serve::NetFile,
    store::{Durability, Store},
};
use serde::Deserialize;
use tokio::runtime::Handle;

use super::{
    client::Client,
    error::CliError,
    outputs::{KEPT, STATE},
};
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

/// A finished run, or a report.
#[derive(Debug)]
pub(crate) struct SavedRun {
    files: Files,
    pub(crate) report: Report,
    pub(crate) plan: Plan,
}

/// Where the files of the trials are.
#[derive(Debug)]
enum Files {
    Folder(PathBuf),
    Coordinator(Box<Client>, Handle),
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
        Ok(Self { files: Files::Folder(folder.to_owned()), report, plan })
    }

    /// Fetches the report and the plan of a sweep of a coordinator. Files of trials are fetched when they are asked for.
    ///
    /// # Errors
    /// If there is no such sweep.
    pub(crate) async fn fetch(mut client: Client, sweep: &str) -> Result<Self, CliError> {
        let request = GetSweepRequest { sweep_id: sweep.to_owned() };
        let id = client.sweeps.get(request).await?.into_inner().sweep_id;
        let wrong = |error: serde_json::Error| {
            CliError::Failed(format!("cannot read the coordinator's report of {id}: {error}"))
        };
        let report = serde_json::from_slice(&client.report(&id, ReportFormat::Json).await?).map_err(wrong)?;
        let plan = serde_json::from_slice(&client.report(&id, ReportFormat::PlanJson).await?).map_err(wrong)?;
        Ok(Self { files: Files::Coordinator(Box::new(client), Handle::current()), report, plan })
    }

    /// Where it is, for messages.
    fn place(&self) -> String {
        match &self.files {
            Files::Folder(folder) => folder.display().to_string(),
            Files::Coordinator(..) => format!("the sweep {}", self.report.sweep.id),
        }
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
            let folders: Vec<String> = found.iter().map(Self::place).collect();
            let folders = folders.join(", ");
            let several = match names {
                [] => format!("runs/ contains several finished runs: {folders}"),
                _ => format!("{folders} all contain it"),
            };
            return Err(CliError::Input(format!("{several}; pass one with --run")));
        }
        found.pop().ok_or_else(|| {
            let none = match names {
                [] => "runs/ contains no finished run".to_owned(),
                _ => format!("no finished run in runs/ contains {}", names.join(" and ")),
            };
            CliError::Input(format!("{none}; pass the folder with --run"))
        })
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
            CliError::Input(format!("{} has no trial or cell {id:?}; trials.csv lists them", self.place()))
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

    /// The file of a role, by its hash: from the run's own state, or from the coordinator. `None` if this is the folder of a report, which
    /// keeps the nets of its front alone. Call it on a thread that may wait.
    ///
    /// # Errors
    /// If it is gone or damaged.
    pub(crate) fn stored(&self, hash: ContentHash) -> Result<Option<Vec<u8>>, CliError> {
        match &self.files {
            Files::Coordinator(client, runtime) => Ok(Some(runtime.block_on(client.artifacts.clone().fetch(hash))?)),
            Files::Folder(folder) => {
                let root = folder.join(STATE).join("artifacts");
                if !root.is_dir() {
                    return Ok(None);
                }
                let store = Store::open(root, Durability::Cached).map_err(|error| CliError::failed(&error))?;
                store.get(hash).map(Some).map_err(|error| CliError::failed(&error))
            }
        }
    }

    /// How the rows were prepared: a sweep has one preparation of its data. `None` if no trial left it, or the file is not here.
    pub(crate) fn preparation(&self) -> Option<Preparation> {
        let mut trials = self.report.trials.iter();
        let trial = trials.find(|trial| trial.artifacts.contains_key(&Role::Preparation))?;
        Preparation::from_json(&self.artifact(trial, Role::Preparation).ok()?).ok()
    }

    /// A file of a trial, checked against the report's hash: from `models/`, or from where the run keeps its files.
    fn artifact(&self, trial: &TrialReport, role: Role) -> Result<Vec<u8>, CliError> {
        let id = &trial.id;
        let hash =
            *trial.artifacts.get(&role).ok_or_else(|| CliError::Input(format!("the trial {id} has no {role:?}")))?;
        let ending = KEPT.iter().find(|(kept, _)| *kept == role).map(|(_, ending)| *ending);
        let name = ending.map_or_else(|| PREPARATION.to_owned(), |ending| format!("{id}.{ending}"));
        if let Files::Folder(folder) = &self.files {
            let path = folder.join(MODELS).join(name);
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
        }
        self.stored(hash)?.ok_or_else(|| {
            CliError::Input(format!(
                "{} does not have the net of {id}: a report keeps the nets of its front alone; use the folder of the run, or --sweep",
                self.place()
            ))
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    fs::read(path).map_err(|error| CliError::Input(format!("cannot read {}: {error}", path.display())))
}

/// How the table of a plan is read.
fn reading_of(plan: &Plan) -> Reading {
    plan.stages.iter().find_map(|stage| stage.spec.data()).map(|data| data.reading.clone()).unwrap_or_default()
}
