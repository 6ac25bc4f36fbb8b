//! Executors that train nothing: they take their time, and leave what the key of a stage says. Now and then one dies.

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use secateur_proto::{
    convert::{InvalidMessage, StageWithInputs},
    ids::{ContentHash, StageKey},
    metrics::{Metric, Metrics, Split},
    outcome::{Artifact, Artifacts, Checkpoint, Failure, FailureClass, Role, StageOutcome, StageResult},
    spec::StageSpec,
    v1::{
        BundleDone, Measured, Progress, RunBundle, Stage, StageCheckpoint, StageDone, executor_reply::Reply,
        executor_request::Request,
    },
};
use secateur_worker::{
    client::{Executor, Executors},
    executor::process::{ExecutorOptions, ProcessError},
    store::{Durability, Store},
};

use super::scene::Scene;

/// What a stage truly comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nature {
    Completes,
    Diverges,
    HasBadInput,
    KillsItsExecutor,
}

/// Decided by the key of a stage and the salt of a life. Most stages complete, and all of those that others start from do.
pub(super) fn nature(spec: &StageSpec, salt: u8) -> Nature {
    if spec.training().is_none() {
        return Nature::Completes;
    }
    match ContentHash::of(&[spec.key().0.as_bytes().as_slice(), &[salt]].concat()).as_bytes()[0] % 24 {
        0 => Nature::Diverges,
        1 => Nature::HasBadInput,
        2 => Nature::KillsItsExecutor,
        _ => Nature::Completes,
    }
}

/// The content of such a file. Masks of equal counts are equal, so that stages leave the same file at the same time.
fn content(key: StageKey, role: Role) -> Vec<u8> {
    match role {
        Role::Mask => b"a mask that many stages share".to_vec(),
        _ => format!("{} of {key}", role.name()).repeat(20).into_bytes(),
    }
}

/// The content of the file that an attempt goes on from.
fn state(key: StageKey, epoch: u32) -> Vec<u8> {
    format!("{key} at the end of epoch {epoch}").repeat(5).into_bytes()
}

/// Numbers that a stage alone has.
fn metrics(key: StageKey) -> Metrics {
    let number = |index: usize| f64::from(key.0.as_bytes()[index]);
    let mut metrics = Metrics::new();
    metrics.insert(Metric::Auc.on(Split::Validation), number(0) / 256.0);
    metrics.insert(Metric::Auc.on(Split::Test), number(1) / 256.0);
    metrics.insert(Metric::NonzeroParameters.on(Split::Test), number(2));
    metrics
}

/// Where the executors of a worker come from.
#[derive(Debug)]
pub(super) struct Actors {
    pub(super) scene: Arc<Scene>,
    pub(super) worker: String,
}

impl Executors for Actors {
    fn start(&self, options: &ExecutorOptions) -> Result<Box<dyn Executor>, ProcessError> {
        let store = Store::open(options.store.clone(), Durability::Cached)?;
        let (scene, worker) = (Arc::clone(&self.scene), self.worker.clone());
        Ok(Box::new(Actor { scene, worker, store, answers: VecDeque::new() }))
    }
}

/// What it does next, after a while.
#[derive(Debug)]
enum Answer {
    Progress(StageKey),
    Checkpointed(StageKey, Checkpoint),
    Done(StageKey, Box<StageOutcome>),
    BundleDone,
    Measured,
    Dies { out_of_memory: bool },
    Hangs,
}

#[derive(Debug)]
struct Actor {
    scene: Arc<Scene>,
    worker: String,
    store: Store,
    answers: VecDeque<(Duration, Answer)>,
}

impl Actor {
    fn run(&mut self, bundle: RunBundle) -> Result<(), InvalidMessage> {
        let stages: Vec<StageWithInputs> =
            bundle.stages.into_iter().map(|stage: Stage| stage.try_into()).collect::<Result<_, _>>()?;
        for stage in &stages {
            self.look_for_inputs(stage);
        }
        let mut reached: BTreeMap<StageKey, u32> = BTreeMap::new();
        for begun in bundle.checkpoints {
            let checkpoint: Checkpoint = begun.checkpoint.ok_or(InvalidMessage::Missing("checkpoint"))?.try_into()?;
            let key = begun.stage_key.parse()?;
            self.look_for_state(key, checkpoint);
            reached.insert(key, checkpoint.epoch);
        }
        let luck = self.scene.luck(&self.worker, stages.len());
        if luck.hangs {
            self.answers.push_back((Duration::ZERO, Answer::Hangs));
        }
        let salt = self.scene.salt();
        let kills = stages.iter().any(|stage| nature(&stage.spec, salt) == Nature::KillsItsExecutor);
        let mut takes = luck.takes;
        for (number, stage) in stages.iter().enumerate() {
            self.answers.push_back((takes / 2, Answer::Progress(stage.key)));
            if stage.spec.training().is_some() {
                let epoch = reached.get(&stage.key).copied().unwrap_or_default() + 1;
                if let Some(state) = self.put(&state(stage.key, epoch)) {
                    let checkpoint = Checkpoint { epoch, state };
                    self.answers.push_back((Duration::ZERO, Answer::Checkpointed(stage.key, checkpoint)));
                }
            }
            if kills || luck.dies_at == Some(number) {
                self.answers.push_back((takes / 2, Answer::Dies { out_of_memory: luck.out_of_memory && !kills }));
                return Ok(());
            }
            let outcome = match nature(&stage.spec, salt) {
                _ if luck.spoils == Some(number) => {
                    StageOutcome::Failed(Failure::new(FailureClass::Storage, "it could not be written"))
                }
                Nature::Diverges => StageOutcome::Diverged { step: 3 },
                Nature::HasBadInput => StageOutcome::Failed(Failure::new(FailureClass::Input, "no such column")),
                Nature::Completes | Nature::KillsItsExecutor => {
                    let made = stage.spec.leaves().into_iter().filter_map(|role| self.make(stage.key, role));
                    let artifacts: Artifacts = made.collect();
                    StageOutcome::Completed(StageResult { metrics: metrics(stage.key), artifacts })
                }
            };
            self.answers.push_back((takes / 2, Answer::Done(stage.key, Box::new(outcome))));
            // Lanes are in lockstep.
            takes = Duration::from_millis(20);
        }
        self.answers.push_back((Duration::from_millis(10), Answer::BundleDone));
        Ok(())
    }

    /// Each input of a stage must be there when its executor begins, and be what the stage above it left.
    fn look_for_inputs(&self, stage: &StageWithInputs) {
        for role in stage.spec.reads() {
            match stage.inputs.get(&role).map(|input| self.store.get(input.hash)) {
                Some(Ok(_)) => {}
                missing => {
                    let (worker, key, role) = (&self.worker, stage.key, role.name());
                    self.scene.violated(format!("{worker} works on {key} without its {role}: {missing:?}"));
                }
            }
        }
    }

    /// What a stage goes on from must be there, and be what an attempt at it left.
    fn look_for_state(&self, key: StageKey, checkpoint: Checkpoint) {
        match self.store.get(checkpoint.state.hash) {
            Ok(found) if found == state(key, checkpoint.epoch) => {
                self.scene.goes_on(&self.worker, key, checkpoint.epoch);
            }
            other => {
                let worker = &self.worker;
                self.scene.violated(format!("{worker} works on {key} from {checkpoint:?}, which is {other:?}"));
            }
        }
    }

    fn make(&self, key: StageKey, role: Role) -> Option<(Role, Artifact)> {
        Some((role, self.put(&content(key, role))?))
    }

    fn put(&self, bytes: &[u8]) -> Option<Artifact> {
        match self.store.put(bytes) {
            Ok(artifact) => Some(artifact),
            Err(error) => {
                self.scene.violated(format!("an executor cannot write: {error}"));
                None
            }
        }
    }
}

#[async_trait]
impl Executor for Actor {
    async fn send(&mut self, request: Request) -> Result<(), ProcessError> {
        self.answers.clear();
        match request {
            Request::Run(bundle) => {
                if let Err(error) = self.run(bundle) {
                    self.scene.violated(format!("an executor was sent nonsense: {error}"));
                }
            }
            Request::Hurry(_) => {}
            Request::Measure(_) => self.answers.push_back((self.scene.luck(&self.worker, 1).takes, Answer::Measured)),
        }
        Ok(())
    }

    async fn ended(&mut self) -> Option<ProcessError> {
        None
    }

    async fn receive(&mut self) -> Result<Reply, ProcessError> {
        let died = |out_of_memory| ProcessError::Died {
            status: "signal: 9".to_owned(),
            words: "it is only played".to_owned(),
            out_of_memory,
        };
        let Some((takes, answer)) = self.answers.pop_front() else { return Err(died(false)) };
        tokio::time::sleep(takes).await;
        if self.scene.takes_kill(&self.worker) {
            return Err(died(false));
        }
        Ok(match answer {
            Answer::Hangs => std::future::pending().await,
            Answer::Dies { out_of_memory } => {
                self.scene.note(format_args!("{}: an executor dies, memory {out_of_memory}", self.worker));
                return Err(died(out_of_memory));
            }
            Answer::Progress(key) => {
                Reply::Progress(Progress { stage_key: key.to_string(), epoch: 1, epochs: 2, ..Progress::default() })
            }
            Answer::Checkpointed(key, checkpoint) => {
                Reply::Checkpointed(StageCheckpoint { stage_key: key.to_string(), checkpoint: Some(checkpoint.into()) })
            }
            Answer::Done(key, outcome) => {
                self.scene.done(&self.worker, key, &outcome);
                Reply::Done(StageDone { stage_key: key.to_string(), outcome: Some(outcome.as_ref().into()) })
            }
            Answer::BundleDone => Reply::BundleDone(BundleDone {}),
            Answer::Measured => Reply::Measured(Measured {
                lanes: self.scene.measured(&self.worker),
                lane_steps_per_second: 1.0,
                rates: vec![],
            }),
        })
    }

    fn outputs(&self) -> Option<&Path> {
        None
    }
}
