//! Computes the stages of a trial again, in an executor as a worker has one, and compares what they leave with what the journal says.

use std::{collections::HashMap, path::Path};

use secateur_proto::{
    convert::StageWithInputs,
    ids::StageKey,
    outcome::{Artifacts, StageOutcome, StageResult},
    v1::{RunBundle, executor_reply::Reply, executor_request::Request},
};
use secateur_worker::{
    client,
    device::DeviceName,
    executor::process::{ExecutorOptions, ExecutorProcess},
    store::{Durability, Store},
};
use tokio::sync::watch;

use super::super::{error::CliError, outputs::STATE, saved::SavedRun};
use crate::{experiment::plan::PlannedStage, scheduler::Core};

/// Computes the trial called `name` again. Returns the number of stages that gave the same bits.
///
/// # Errors
/// If there is no such trial, its data are not there, or a stage gives other bits.
pub(super) async fn retrain(folder: &Path, run: &SavedRun, core: &Core, name: &str) -> Result<usize, CliError> {
    let trial = run.trial(name)?;
    let planned: HashMap<StageKey, &PlannedStage> = run.plan.stages.iter().map(|stage| (stage.key, stage)).collect();
    let kept = open(&folder.join(STATE).join("artifacts"))?;
    let scratch = tempfile::tempdir().map_err(|error| CliError::failed(&error))?;
    let store = open(scratch.path())?;
    let program = client::this_program().map_err(|error| CliError::failed(&error))?;
    let (_hurry, hurry) = watch::channel(());
    let options = ExecutorOptions {
        store: scratch.path().to_owned(),
        synced: false,
        apart: false,
        device: DeviceName::Cpu,
        checkpoint_every: None,
        hurry,
    };
    let mut executor = ExecutorProcess::start(&program, &options).map_err(|error| CliError::failed(&error))?;
    let mut left: HashMap<StageKey, Artifacts> = HashMap::new();
    for key in &trial.stages {
        let missing = || CliError::Failed(format!("plan.json lacks the stage {key}"));
        let stage = planned.get(key).ok_or_else(missing)?;
        // What is timed is never the same.
        if stage.spec.is_exclusive() {
            continue;
        }
        for (role, file) in &stage.given {
            let bytes = kept.get(file.hash).map_err(|error| {
                CliError::Input(format!("the {} of the trial is not in the folder: {error}", role.name()))
            })?;
            store.put(&bytes).map_err(|error| CliError::failed(&error))?;
        }
        let mut inputs = stage.given.clone();
        for parent in stage.spec.parents() {
            inputs.extend(left.get(&parent).into_iter().flatten().map(|(role, file)| (*role, *file)));
        }
        let given = StageWithInputs { key: *key, spec: stage.spec.clone(), inputs };
        let outcome = outcome_of(&mut executor, &given).await?;
        let kind = stage.spec.kind();
        let StageOutcome::Completed(found) = outcome else {
            let ended = outcome.name();
            return Err(CliError::Failed(format!("the {kind} stage {key} completed then, and ends as {ended} now")));
        };
        let Some(StageOutcome::Completed(expected)) = core.outcome(key) else {
            return Err(CliError::Failed(format!("the journal has no result of the {kind} stage {key}")));
        };
        if let Some(difference) = difference(&found, &expected) {
            return Err(CliError::Failed(format!(
                "the {kind} stage {key} gives another result: {difference}. Results are the same bits on processors with the same vector \
                 instructions; those of other processors, of a GPU and of libtorch can differ"
            )));
        }
        left.insert(*key, found.artifacts);
    }
    Ok(left.len())
}

fn open(folder: &Path) -> Result<Store, CliError> {
    Store::open(folder, Durability::Cached).map_err(|error| CliError::failed(&error))
}

/// Lets the executor do one stage.
async fn outcome_of(executor: &mut ExecutorProcess, stage: &StageWithInputs) -> Result<StageOutcome, CliError> {
    let bundle = RunBundle { stages: vec![stage.into()], checkpoints: Vec::new() };
    executor.send(Request::Run(bundle)).await.map_err(|error| CliError::failed(&error))?;
    let mut outcome = None;
    loop {
        match executor.receive().await.map_err(|error| CliError::failed(&error))? {
            Reply::Done(done) => {
                let ended = done.outcome.map(StageOutcome::try_from).transpose();
                outcome = ended.map_err(|error| CliError::failed(&error))?;
            }
            Reply::BundleDone(_) => {
                return outcome.ok_or_else(|| CliError::Failed("the executor did not report its stage".to_owned()));
            }
            _ => {}
        }
    }
}

/// The first difference, in words.
fn difference(found: &StageResult, expected: &StageResult) -> Option<String> {
    for (role, file) in &expected.artifacts {
        let other = found.artifacts.get(role);
        if other != Some(file) {
            let other = other.map_or_else(|| "none".to_owned(), |other| other.hash.to_string());
            return Some(format!("its {} has the BLAKE3 {other} and had {}", role.name(), file.hash));
        }
    }
    for (quantity, value) in expected.metrics.iter() {
        let other = found.metrics.get(quantity);
        if other != Some(value) {
            return Some(format!("its {quantity} is {other:?} and was {value:?}"));
        }
    }
    (found != expected).then(|| "it has more files or metrics than then".to_owned())
}
