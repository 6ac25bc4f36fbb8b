use std::{num::NonZeroU32, time::Duration};

use secateur_proto::{
    MAX_MESSAGE_LEN,
    ids::ContentHash,
    outcome::{Artifacts, Failure, FailureClass, StageOutcome},
    spec::{DataSettings, PrepareSpec, SplitSpec, StageSpec, TableFormat, Task},
    v1::Lease,
};
use tempfile::TempDir;
use tokio::time::timeout;

use super::*;
use crate::{
    experiment::plan::{Attempts, DataSummary, PackedPlan, Packer, PlannedStage, SweepInfo, Trial},
    journal::Sqlite,
    scheduler::{Policy, ShareChange},
};

/// Far longer than any step takes.
const PATIENCE: Duration = Duration::from_secs(60);

async fn driver() -> (TempDir, Driver) {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = Sqlite::open(&folder.path().join("journal.db")).await.expect("opens");
    let (driver, _) = Driver::start(Core::new(Policy::default()), Box::new(journal), SystemTime::now);
    (folder, driver)
}

/// Attaches a worker with this many slots.
async fn attach(driver: &Driver, slots: u32) -> (WorkerId, Attachment) {
    let worker: WorkerId = "w1".parse().expect("an id");
    let joined = Event::WorkerJoined {
        worker: worker.clone(),
        instance: "instance".parse().expect("an id"),
        name: "a".to_owned(),
        device: "cpu".to_owned(),
        slots: NonZeroU32::new(slots).expect("slots"),
        held: vec![],
        cordoned_by: None,
    };
    (worker, driver.attach(joined, CoordinatorMessage::default()).await.expect("is taken"))
}

/// Returns a sweep of stages that can share a bundle, with `bytes` bytes in the spec of each.
fn plan(stages: u64, bytes: usize) -> PackedPlan {
    let hash = ContentHash::of(b"table");
    let mut packer = Packer::default();
    for number in 0..stages {
        let split = SplitSpec::Column { column: "part".to_owned() };
        let settings = DataSettings::of_table(TableFormat::Csv, number.to_string(), Task::Binary, split);
        let spec = StageSpec::Prepare(PrepareSpec {
            table: hash,
            data: DataSettings { drop: vec!["x".repeat(bytes)], ..settings },
        });
        let (key, given, bundle_class) = (spec.key(), Artifacts::new(), "wide".parse().expect("an id"));
        let stage = PlannedStage { key, spec, given, bundle_class, bundled: true, lane_steps: 1 };
        packer.stage(&stage).expect("is new");
        let (id, cell) = (format!("cell-{number}").parse().expect("an id"), "cell".parse().expect("an id"));
        packer.trial(&Trial { id, cell, seed: number, stages: vec![key] }).expect("is new");
    }
    let (path, rows) = ("table.csv".to_owned(), [1; 3]);
    packer.finish(SweepInfo {
        name: "wide".to_owned(),
        id: "wide".parse().expect("an id"),
        file_hash: hash,
        file_text: String::new(),
        objectives: vec![],
        constraints: vec![],
        decision: None,
        attempts: Attempts::default(),
        data: DataSummary {
            path,
            hash,
            size: 1,
            rows,
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
    })
}

/// Returns the next lease. Answers calibrations before it: this many lanes are fastest.
async fn next_lease(driver: &Driver, worker: &WorkerId, attachment: &mut Attachment, lanes: u32) -> Lease {
    loop {
        let message = timeout(PATIENCE, attachment.orders.recv()).await.expect("something comes");
        match message.expect("the stream goes on").expect("is a message").message {
            Some(Message::Lease(lease)) => return lease,
            Some(Message::Calibrate(asked)) => {
                let class = asked.bundle_class.parse().expect("an id");
                let lanes = NonZeroU32::new(lanes).expect("lanes");
                let measured = Event::Calibrated { worker: worker.clone(), class, lanes, lane_steps_per_second: 1.0 };
                driver.apply(measured).await.expect("is taken");
            }
            _ => {}
        }
    }
}

/// The stream must not live on because the task that serves it could still write to it.
#[tokio::test]
async fn a_worker_that_does_not_read_is_dropped_and_its_stream_ends() {
    let (_folder, driver) = driver().await;
    let (worker, Attachment { mut orders, mut hold }) = attach(&driver, 1).await;
    // Each is answered with a message that it is settled.
    let said = || Event::LeaseEnded { worker: worker.clone(), lease: "1-1".parse().expect("an id"), failure: None };
    // More than the limit for a worker with one slot.
    for _ in 0..2 * attachment::MAX_WAITING {
        // There is no such lease.
        driver.apply(said()).await.expect_err("is rejected");
    }
    timeout(PATIENCE, hold.dropped()).await.expect("whoever serves it is told");
    let drain = async { while orders.recv().await.is_some() {} };
    timeout(PATIENCE, drain).await.expect("the stream ends");
}

/// A lease for each slot at once is not a sign that the worker does not read.
#[tokio::test]
async fn a_worker_with_many_slots_gets_a_lease_for_each_at_once() {
    let slots = 4 * attachment::MAX_WAITING as u32;
    let (_folder, driver) = driver().await;
    let plan = Arc::new(plan(u64::from(slots), 1));
    driver
        .apply(Event::SweepSubmitted { plan, share: ShareChange::default(), open: false, by: None })
        .await
        .expect("is taken");
    let (worker, mut attachment) = attach(&driver, slots).await;
    for _ in 0..slots {
        let lease = next_lease(&driver, &worker, &mut attachment, 1).await;
        assert_eq!(lease.stages.len(), 1);
    }
}

/// No worker would accept the message, and the stages would be leased again and again.
#[tokio::test]
async fn a_lease_that_is_too_long_for_a_message_becomes_narrower() {
    const STAGES: u64 = 24;
    let (_folder, driver) = driver().await;
    let plan = Arc::new(plan(STAGES, MAX_MESSAGE_LEN / 16));
    driver
        .apply(Event::SweepSubmitted { plan, share: ShareChange::default(), open: false, by: None })
        .await
        .expect("is taken");
    let (worker, mut attachment) = attach(&driver, 1).await;
    let lease = next_lease(&driver, &worker, &mut attachment, 64).await;
    assert_eq!(lease.stages.len() as u64, STAGES / 2);
}

#[tokio::test]
async fn a_stage_that_is_too_long_for_a_message_fails_for_good_and_says_so() {
    let (_folder, driver) = driver().await;
    let plan = Arc::new(plan(1, MAX_MESSAGE_LEN));
    let sweep = plan.sweep.id.clone();
    let mut notices = driver.watch();
    driver
        .apply(Event::SweepSubmitted { plan, share: ShareChange::default(), open: false, by: None })
        .await
        .expect("is taken");
    let (worker, mut attachment) = attach(&driver, 1).await;
    let ended = async {
        loop {
            let ended = driver.read({
                let sweep = sweep.clone();
                move |core| core.results(&sweep).expect("a sweep").outcomes().flatten().next()
            });
            let ended = ended.await.expect("goes on");
            if let Some(outcome) = ended {
                return outcome;
            }
            notices.recv().await.expect("goes on");
        }
    };
    let outcome = tokio::select! {
        outcome = timeout(PATIENCE, ended) => outcome.expect("in time"),
        lease = next_lease(&driver, &worker, &mut attachment, 1) => panic!("{} was sent", lease.lease_id),
    };
    let StageOutcome::Failed(failure) = outcome else { panic!("{outcome:?}") };
    assert_eq!(failure.class, FailureClass::Input);
}

/// Its trials can end without the report of a stage, so no other event says that it waits.
#[tokio::test]
async fn a_sweep_whose_last_trial_ends_with_its_lease_waits_for_a_decision() {
    let (_folder, driver) = driver().await;
    let plan = Arc::new(plan(1, 1));
    driver
        .apply(Event::SweepSubmitted { plan, share: ShareChange::default(), open: true, by: None })
        .await
        .expect("is taken");
    let (worker, mut attachment) = attach(&driver, 1).await;
    let lease = next_lease(&driver, &worker, &mut attachment, 1).await;
    let failure = Some(Failure::new(FailureClass::Input, "it does not fit"));
    let ended = Event::LeaseEnded { worker, lease: lease.lease_id.parse().expect("an id"), failure };
    driver.apply(ended).await.expect("is taken");
    timeout(PATIENCE, driver.decision_due()).await.expect("a decision is due");
}
