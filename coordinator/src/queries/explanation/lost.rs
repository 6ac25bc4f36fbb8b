//! Missing input files of failed stages: which stage made them, and how to fix it. Reads the core and the store, and
//! changes nothing. It knows nothing of gRPC.

use std::collections::BTreeMap;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use secateur_proto::{
    ids::{ContentHash, StageKey, SweepId},
    outcome::{Artifact, FailureClass, Role, StageOutcome},
};

use crate::{
    artifacts::{ArtifactError, ArtifactStore},
    experiment::summary::counted,
    scheduler::{Core, StageFailure, SweepState},
};

/// The maximum number of files that are named.
const MOST_NAMED: usize = 10;

/// Concurrent requests to the store.
const ASKED_TOGETHER: usize = 16;

/// An input file of stages that failed at storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Input {
    hash: ContentHash,
    role: Role,
    /// The stage that made it, and its kind; `None` for a file that was submitted with the sweep.
    maker: Option<(StageKey, &'static str)>,
    /// The sweeps that list that stage, and whether they run.
    sweeps: Vec<(SweepId, bool)>,
    /// The number of failed stages of the sweep that read it.
    readers: usize,
}

/// The input files of stages that failed at storage, each once.
#[derive(Debug, Default)]
pub(super) struct Inputs(BTreeMap<ContentHash, Input>);

impl Inputs {
    /// Adds the input files of these stages.
    pub(super) fn with(mut self, core: &Core, stages: &[StageKey]) -> Self {
        for stage in stages.iter().filter_map(|key| core.stage_with_inputs(key)) {
            for role in stage.spec.reads() {
                let Some(artifact) = stage.inputs.get(&role) else { continue };
                let input = || Input::of(core, role, *artifact, &stage.spec.parents());
                self.0.entry(artifact.hash).or_insert_with(input).readers += 1;
            }
        }
        self
    }

    pub(super) fn into_list(self) -> Vec<Input> {
        self.0.into_values().collect()
    }
}

/// The stages that failed at storage.
pub(super) fn failed_at_storage(failed: &[StageFailure]) -> Vec<StageKey> {
    let at_storage = failed.iter().filter(|failed| failed.failure().class == FailureClass::Storage);
    at_storage.map(|failed| failed.stage).collect()
}

/// The inputs that the store does not hold.
///
/// # Errors
/// If the store cannot be read.
pub(super) async fn among(store: &ArtifactStore, inputs: Vec<Input>) -> Result<Vec<Input>, ArtifactError> {
    let missing = stream::iter(inputs).map(|input| async move {
        let held = store.touch(input.hash).await?;
        Ok::<_, ArtifactError>(held.is_none().then_some(input))
    });
    missing.buffered(ASKED_TOGETHER).try_filter_map(|input| async { Ok(input) }).try_collect().await
}

/// Sentences about missing files of a sweep, and how to fix that.
pub(super) fn sentences(sweep: &SweepId, lost: &[Input]) -> Vec<String> {
    let mut lines: Vec<String> = lost.iter().take(MOST_NAMED).map(|input| input.sentence(sweep)).collect();
    if let Some(more) = lost.len().checked_sub(MOST_NAMED).filter(|more| *more > 0) {
        lines.push(format!("and {} more missing", counted(more, "file")));
    }
    lines
}

impl Input {
    fn of(core: &Core, role: Role, artifact: Artifact, parents: &[StageKey]) -> Self {
        let among = |parents: &[StageKey]| {
            parents.iter().copied().find(|parent| {
                let outcome = core.outcome(parent);
                matches!(outcome, Some(StageOutcome::Completed(result)) if result.artifacts.get(&role) == Some(&artifact))
            })
        };
        // A stage may pass on an input file. The first stage that has it made it.
        let mut maker = among(parents);
        while let Some(above) = maker.and_then(|key| among(&core.stage_with_inputs(&key)?.spec.parents())) {
            maker = Some(above);
        }
        let runs = |id: &SweepId| core.sweep(id).is_some_and(|status| status.state == SweepState::Running);
        let mut sweeps: Vec<SweepId> = maker.map(|maker| core.sweeps_of(&maker)).unwrap_or_default();
        sweeps.sort_unstable();
        Self {
            hash: artifact.hash,
            role,
            maker: maker.map(|key| {
                let stage = core.stage_with_inputs(&key);
                (key, stage.map_or("stage", |stage| stage.spec.kind()))
            }),
            sweeps: sweeps.into_iter().map(|id| (id.clone(), runs(&id))).collect(),
            readers: 0,
        }
    }

    fn sentence(&self, sweep: &SweepId) -> String {
        let Self { hash, role, maker, sweeps, readers } = self;
        let (role, readers) = (role.name(), counted(*readers, "stage"));
        let Some((key, kind)) = maker else {
            return format!(
                "the {role} of the sweep (artifact {hash}) is missing, and {readers} failed because of it: \
                 `secateur submit FILE --retry-failed` with the same sweep file uploads it again"
            );
        };
        let commands: Vec<String> = sweeps
            .iter()
            .filter(|(_, runs)| *runs)
            .map(|(id, _)| format!("`secateur cancel {id}`"))
            .chain(sweeps.iter().map(|(id, _)| format!("`secateur forget {id}`")))
            .collect();
        let name = hash.to_string();
        format!(
            "the file `{role}` of {kind} {} is missing, and {readers} failed because of it: restore {}/{name} in the coordinator's \
             artifacts, then run `secateur retry {sweep}`; or recompute the stage: run {}, then submit these sweeps again",
            key.0.short(12),
            &name[..2],
            commands.join(", "),
        )
    }
}
