//! The harness: plans made of synthetic stages, a core whose journal goes through JSON, and a record of its effects.

mod attachment;
mod checkpoints;
mod drain;
mod explain;
mod extend;
mod failures;
mod forget;
mod generations;
mod journal;
mod managed;
mod owners;
mod properties;
mod results;
mod retry;
mod share;
mod simulation;
mod snapshot;
mod space;
mod sweeps;
mod workers;
mod world;

use std::{collections::VecDeque, num::NonZeroU32, ops::Range, sync::Arc};

use secateur_proto::{
    ids::{CellId, ContentHash, LeaseId, StageKey, SweepId, TrialId, WorkerId},
    metrics::{Metric, Metrics, Split},
    outcome::{Artifact, Artifacts, Checkpoint, Failure, FailureClass, Role, StageOutcome, StageResult},
    spec::{
        DataSettings, DenseSpec, Granularity, ModelSpec, OptimizerSpec, PrepareSpec, PruneSpec, Ranking, Removal,
        Schedule, SplitSpec, StageSpec, Start, Subject, TableFormat, Task, TrainingSpec,
    },
};

use super::{
    Core, Decision, Departure, Effect, Entry, Event, HeldLease, Person, Policy, Record, Rejection, Share, ShareChange,
    Timestamp, WorkerAction, entries,
};
use crate::experiment::plan::{Attempts, DataSummary, PackedPlan, Plan, PlannedStage, SweepInfo, Trial};

/// Builds a plan stage by stage. Stages with equal arguments have equal keys, in whatever plan.
#[derive(Default)]
struct PlanBuilder {
    stages: Vec<PlannedStage>,
    trials: Vec<Trial>,
    /// The number of its first trial: those before are of other parts.
    first_trial: u64,
}

impl PlanBuilder {
    fn add(&mut self, spec: StageSpec, class: Option<&str>) -> StageKey {
        let key = spec.key();
        if self.stages.iter().all(|stage| stage.key != key) {
            self.stages.push(PlannedStage {
                key,
                spec,
                given: Artifacts::new(),
                bundle_class: class.unwrap_or("alone").parse().expect("an id"),
                bundled: class.is_some(),
                lane_steps: 10,
            });
        }
        key
    }

    fn prepare(&mut self, target: &str) -> StageKey {
        let spec = PrepareSpec {
            table: ContentHash::of(b"table"),
            data: DataSettings::of_table(
                TableFormat::Csv,
                target,
                Task::Binary,
                SplitSpec::Column { column: "part".to_owned() },
            ),
        };
        self.add(StageSpec::Prepare(spec), None)
    }

    fn dense(&mut self, prepare: StageKey, seed: u64) -> StageKey {
        let spec =
            DenseSpec { prepare, model: model(), training: training(), regularization: None, stop_after: None, seed };
        self.add(StageSpec::Dense(spec), Some("dense"))
    }

    fn prune(&mut self, prepare: StageKey, dense: StageKey, count: u64) -> StageKey {
        let spec = PruneSpec {
            prepare,
            subject: Subject::Dense { stage: dense },
            model: model(),
            layers: vec![0],
            criterion: None,
            granularity: Granularity::Weight,
            ranking: Ranking::Raw,
            removal: Removal::global(count),
            ablation: None,
            start: Start::Scored {},
            schedule: Schedule::OneShot,
            training: training(),
            skip_steps: 0,
            regularization: None,
            seed: 0,
        };
        self.add(StageSpec::Prune(spec), Some("prune"))
    }

    fn trial(&mut self, stages: &[StageKey]) -> &mut Self {
        let seed = self.first_trial + self.trials.len() as u64;
        self.trials.push(Trial { id: trial(seed), cell: cell(), seed, stages: stages.to_vec() });
        self
    }

    fn build(self, sweep: &str) -> Arc<PackedPlan> {
        let hash = ContentHash::of(sweep.as_bytes());
        let plan = Plan {
            sweep: SweepInfo {
                name: sweep.to_owned(),
                id: sweep.parse().expect("an id"),
                file_hash: hash,
                file_text: String::new(),
                objectives: vec![],
                constraints: vec![],
                decision: None,
                attempts: Attempts::default(),
                data: DataSummary {
                    path: "table.csv".to_owned(),
                    hash,
                    size: 1,
                    rows: [1; 3],
                    classes: vec![],
                    columns: 1,
                    inputs: 1,
                    image: None,
                    periods: None,
                    notes: vec![],
                },
                weights: None,
                adaptive: None,
                rounds: vec![],
            },
            stages: self.stages,
            cells: vec![],
            trials: self.trials,
            merged: vec![],
            refused: vec![],
        };
        Arc::new(PackedPlan::of(&plan).expect("it does not contradict itself"))
    }
}

fn model() -> ModelSpec {
    ModelSpec::mlp(100, vec![10])
}

fn training() -> TrainingSpec {
    TrainingSpec {
        optimizer: OptimizerSpec::Sgd { lr: 0.1, momentum: 0.0, weight_decay: 0.0, nesterov: false },
        batch_size: 1,
        epochs: 1,
        ..TrainingSpec::default()
    }
}

fn cell() -> CellId {
    "cell".parse().expect("an id")
}

fn trial(number: u64) -> TrialId {
    format!("cell-{number}").parse().expect("an id")
}

fn sweep(id: &str) -> SweepId {
    id.parse().expect("an id")
}

fn worker(id: &str) -> WorkerId {
    id.parse().expect("an id")
}

fn lanes(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).expect("more than none")
}

/// A result that only `key` has.
fn completed(key: StageKey) -> StageOutcome {
    let mut metrics = Metrics::new();
    metrics.insert(Metric::Auc.on(Split::Validation), f64::from(key.0.as_bytes()[0]) / 256.0);
    metrics.insert(Metric::Parameters.on(Split::Test), f64::from(key.0.as_bytes()[1]));
    let artifact = Artifact { hash: key.0, size: 1 };
    StageOutcome::Completed(StageResult { metrics, artifacts: Artifacts::from([(Role::Checkpoint, artifact)]) })
}

/// A checkpoint that only `key` has.
fn checkpoint(key: StageKey, epoch: u32) -> Checkpoint {
    let hash = ContentHash::of(&[key.0.as_bytes().as_slice(), &epoch.to_le_bytes()].concat());
    Checkpoint { epoch, state: Artifact { hash, size: 1 } }
}

fn failure(class: FailureClass) -> Failure {
    Failure::new(class, "it broke")
}

/// The stage of a sweep with only one trial that is one unbundled stage.
fn single(sweep: &str, target: &str) -> (Arc<PackedPlan>, StageKey) {
    let mut plan = PlanBuilder::default();
    let key = plan.prepare(target);
    plan.trial(&[key]);
    (plan.build(sweep), key)
}

/// One prepare stage and `count` dense ones below it, each a trial.
pub(crate) fn fan(sweep: &str, count: u64) -> (Arc<PackedPlan>, StageKey, Vec<StageKey>) {
    let mut plan = PlanBuilder::default();
    let prepare = plan.prepare("y");
    let dense: Vec<StageKey> = (0..count).map(|seed| plan.dense(prepare, seed)).collect();
    for key in &dense {
        plan.trial(&[prepare, *key]);
    }
    (plan.build(sweep), prepare, dense)
}

/// For each target and each seed a dense stage, and so many pruned ones below it; each of them ends a trial.
///
/// ```text
/// prepare ──▶ dense 0 ──▶ prune 1, prune 2, …
///        └──▶ dense 1 ──▶ …
/// ```
fn grid(id: &str, targets: &[&str], seeds: Range<u64>, counts: Range<u64>) -> Arc<PackedPlan> {
    grid_part(id, 0, targets, seeds, counts)
}

/// The same as a part of a sweep, behind so many trials.
pub(crate) fn grid_part(
    id: &str,
    first_trial: u64,
    targets: &[&str],
    seeds: Range<u64>,
    counts: Range<u64>,
) -> Arc<PackedPlan> {
    let mut plan = PlanBuilder { first_trial, ..PlanBuilder::default() };
    for target in targets {
        let prepare = plan.prepare(target);
        for seed in seeds.clone() {
            let dense = plan.dense(prepare, seed);
            plan.trial(&[prepare, dense]);
            for count in counts.clone() {
                let prune = plan.prune(prepare, dense, count);
                plan.trial(&[prepare, dense, prune]);
            }
        }
    }
    plan.build(id)
}

/// A lease as its worker sees it.
#[derive(Debug, Clone, PartialEq)]
struct Given {
    worker: WorkerId,
    lease: LeaseId,
    stages: Vec<(StageKey, u32)>,
}

impl Given {
    fn keys(&self) -> Vec<StageKey> {
        self.stages.iter().map(|(key, _)| *key).collect()
    }

    /// The report of the stage at `position`.
    fn report(&self, position: usize, outcome: StageOutcome) -> Event {
        let (stage, attempt) = self.stages[position];
        Event::StageReported { worker: self.worker.clone(), lease: self.lease.clone(), stage, attempt, outcome }
    }

    /// The stage at `position` has a checkpoint.
    fn checkpointed(&self, position: usize, epoch: u32) -> Event {
        let (stage, _) = self.stages[position];
        Event::Checkpointed { worker: self.worker.clone(), stage, checkpoint: checkpoint(stage, epoch) }
    }

    fn ended(&self, failure: Option<Failure>) -> Event {
        Event::LeaseEnded { worker: self.worker.clone(), lease: self.lease.clone(), failure }
    }
}

/// The worker of `instance` attaches as `id` and says what it holds.
fn joins(id: &str, instance: &str, slots: u32, held: &[Given]) -> Event {
    let held = held.iter().map(|given| HeldLease {
        lease: given.lease.clone(),
        lanes: lanes(u32::try_from(given.stages.len()).expect("few")),
        stages: given.stages.clone(),
    });
    Event::WorkerJoined {
        worker: worker(id),
        instance: instance.parse().expect("an id"),
        name: format!("{id}.example"),
        device: "cpu".to_owned(),
        slots: lanes(slots),
        held: held.collect(),
        cordoned_by: None,
    }
}

/// A core with its shell: what it journals goes through JSON, what it does is kept until the test has taken it.
struct Lab {
    core: Core,
    policy: Policy,
    now: u64,
    journal: Vec<String>,
    effects: VecDeque<Effect>,
}

impl Lab {
    fn new(policy: Policy) -> Self {
        let mut lab =
            Self { core: Core::new(policy.clone()), policy, now: 1_000, journal: vec![], effects: VecDeque::new() };
        lab.apply(&Event::Started);
        lab
    }

    fn try_apply(&mut self, event: &Event) -> Result<(), Rejection> {
        let before = durable(&self.core);
        let ready = self.core.ready_stages();
        let generations = generations::Generations::of(&self.core);
        match self.core.apply(Timestamp(self.now), event) {
            Ok(Decision { records, effects }) => {
                let entries = records.into_iter().map(|record| Entry::new(Timestamp(self.now), record));
                self.journal.extend(entries.flat_map(Entry::into_lines));
                self.effects.extend(effects);
                self.core.check_invariants().expect("invariants hold");
                generations.check(&self.core);
                Ok(())
            }
            Err(rejection) => {
                assert_eq!(durable(&self.core), before, "a rejected {event:?} changed something");
                assert_eq!(self.core.ready_stages(), ready, "a rejected {event:?} changed something");
                self.core.check_invariants().expect("invariants hold");
                Err(rejection)
            }
        }
    }

    fn apply(&mut self, event: &Event) {
        self.try_apply(event).unwrap_or_else(|rejection| panic!("{event:?}: {rejection}"));
    }

    fn rejects(&mut self, event: &Event) -> Rejection {
        self.try_apply(event).expect_err("an event that makes no sense")
    }

    fn submit(&mut self, plan: &Arc<PackedPlan>) {
        self.apply(&Event::SweepSubmitted {
            plan: Arc::clone(plan),
            share: ShareChange::default(),
            open: false,
            by: None,
        });
    }

    /// Submits with a priority and a limit of workers, 0 for none.
    fn submit_with(&mut self, plan: &Arc<PackedPlan>, priority: i32, max_workers: u32) {
        let share = ShareChange { priority: Some(priority), max_workers: Some(max_workers) };
        self.apply(&Event::SweepSubmitted { plan: Arc::clone(plan), share, open: false, by: None });
    }

    /// Stops a sweep, as a full disk does where nobody can make up for anybody.
    fn stop(&mut self, id: &str) {
        let record = Record::SweepStopped { sweep: sweep(id), reason: "no room".to_owned() };
        let Decision { records, effects } = self.core.write(Timestamp(self.now), record).expect("it runs");
        let entries = records.into_iter().map(|record| Entry::new(Timestamp(self.now), record));
        self.journal.extend(entries.flat_map(Entry::into_lines));
        self.effects.extend(effects);
    }

    fn join(&mut self, id: &str, slots: u32) {
        self.apply(&joins(id, id, slots, &[]));
    }

    fn leave(&mut self, id: &str, departure: Departure) {
        self.apply(&Event::WorkerLeft { worker: worker(id), departure });
    }

    fn heartbeat(&mut self, id: &str) {
        self.apply(&Event::Heartbeat { worker: worker(id) });
    }

    fn tick_after(&mut self, milliseconds: u64) {
        self.now += milliseconds;
        self.apply(&Event::Tick);
    }

    fn next(&mut self) -> Effect {
        self.effects.pop_front().expect("another effect")
    }

    fn next_lease(&mut self) -> Given {
        match self.next() {
            Effect::Lease { worker, lease, stages } => Given { worker, lease, stages },
            other => panic!("{other:?} instead of a lease"),
        }
    }

    /// Takes a request to calibrate and answers it.
    fn calibrate(&mut self, id: &str, class: &str, width: u32) {
        match self.next() {
            Effect::Calibrate { worker: asked, class: of, .. } => {
                assert_eq!((asked.as_str(), of.as_str()), (id, class));
            }
            other => panic!("{other:?} instead of a calibration"),
        }
        self.answer(id, class, width);
    }

    fn answer(&mut self, id: &str, class: &str, width: u32) {
        self.apply(&Event::Calibrated {
            worker: worker(id),
            class: class.parse().expect("an id"),
            lanes: lanes(width),
            lane_steps_per_second: 1.0,
        });
    }

    /// Every stage of the lease completes, and the lease ends.
    fn complete(&mut self, given: &Given) {
        for (position, key) in given.keys().into_iter().enumerate() {
            self.apply(&given.report(position, completed(key)));
        }
        self.apply(&given.ended(None));
    }

    fn expect_trial(&mut self, of: &str, number: u64, outcome: &StageOutcome) {
        match self.next() {
            Effect::TrialEnded { sweep: ended, trial: id, outcome: how } => {
                assert_eq!((ended, id, &how.unpack()), (sweep(of), trial(number), outcome));
            }
            other => panic!("{other:?}"),
        }
    }

    fn expect_sweep(&mut self, of: &str, state: super::SweepState) {
        assert_eq!(self.next(), Effect::SweepEnded { sweep: sweep(of), state });
    }

    fn expect_revoke(&mut self, given: &Given) {
        assert_eq!(self.next(), Effect::Revoke { worker: given.worker.clone(), lease: given.lease.clone() });
    }

    fn expect_nothing(&self) {
        assert!(self.effects.is_empty(), "unexpected effects: {:?}", self.effects);
    }

    /// A core that is restored from nothing but a snapshot of another one.
    fn by_snapshot(&self, core: &Core) -> Core {
        let lines = core.snapshot().lines(Timestamp(self.now));
        let entries = entries(&lines).map(|entry| entry.expect("an entry"));
        let restored = Core::restore(self.policy.clone(), entries).expect("a snapshot");
        restored.check_invariants().expect("invariants hold");
        assert_eq!(durable(&restored), durable(core), "the snapshot says something else");
        restored
    }

    /// Writes the first of the lines of a snapshot; if all are written, what is before it may go.
    fn take_snapshot(&mut self, lines: usize, shorten: bool) {
        let before = self.journal.len();
        let snapshot = self.core.snapshot().lines(Timestamp(self.now));
        let is_whole = lines >= snapshot.len();
        self.journal.extend(snapshot.into_iter().take(lines));
        if is_whole && shorten {
            self.journal.drain(..before);
        }
    }

    /// Lines without which nothing is known: the first one, or a whole snapshot.
    fn beginning(&self) -> usize {
        let parts = self.journal.iter().take_while(|line| line.contains(r#","snapshot":{"#)).count();
        let end = self.journal[..parts].iter().position(|line| line.ends_with(r#"{"end":{}}}"#));
        end.unwrap_or_default() + 1
    }

    /// A core restored from the journal as it is on disk, or from a snapshot of that, which says the same.
    fn restored(&self) -> Core {
        let entries: Vec<Entry> = entries(&self.journal).collect::<Result<_, _>>().expect("entries");
        let core = Core::restore(self.policy.clone(), entries).expect("the journal fits itself");
        let again = self.by_snapshot(&core);
        assert!(again.says_the_same_as(&core), "the snapshot says something else: {:?}", self.journal);
        if self.now.is_multiple_of(2) { core } else { again }
    }

    /// Kills the coordinator and starts it again.
    fn restart(&mut self) {
        self.core = self.restored();
        self.effects.clear();
        self.apply(&Event::Started);
    }

    /// Every test ends so: nothing unexpected happened, and the journal says the same as the core.
    fn finish(self) {
        self.expect_nothing();
        self.core.check_invariants().expect("invariants hold");
        assert_eq!(durable(&self.restored()), durable(&self.core), "the journal says something else");
    }
}

/// What is durable, as text.
pub(crate) fn durable(core: &Core) -> String {
    core.parts().ledger.describe()
}
