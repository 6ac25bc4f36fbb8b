//! Questions to a real driver, with journal and files in a temporary folder.

use std::time::SystemTime;

use secateur_proto::{
    ids::ContentHash,
    outcome::{Artifact, StageOutcome},
};
use secateur_worker::store::{Durability, Store};
use tempfile::TempDir;

use super::*;
use crate::{
    experiment::plan::PackedPlan,
    journal::Sqlite,
    logs::Bounds,
    report as reports,
    scheduler::{
        Core, Event, Policy, ShareChange,
        tests::{fan, grid_part},
    },
};

struct Lab {
    queries: Queries,
    driver: Driver,
    _folder: TempDir,
}

impl Lab {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = Sqlite::open(&folder.path().join("journal.db")).await.expect("opens");
        let (driver, _) = Driver::start(Core::new(Policy::default()), Box::new(journal), SystemTime::now);
        let store = Store::open(folder.path().join("artifacts"), Durability::Cached).expect("opens");
        let bounds = Bounds { total: u64::MAX, keep_free: 0 };
        let logs = Logs::open(folder.path().join("logs"), bounds, |_| true).expect("opens");
        let store = ArtifactStore::Files(Arc::new(store));
        let queries = Queries::new(driver.clone(), store, logs, Limits::NONE);
        Self { queries, driver, _folder: folder }
    }

    async fn submit(&self, plan: &Arc<PackedPlan>) -> SweepId {
        let event =
            Event::SweepSubmitted { plan: Arc::clone(plan), share: ShareChange::default(), open: false, by: None };
        self.driver.apply(event).await.expect("is taken");
        plan.sweep.id.clone()
    }

    async fn cancel(&self, sweep: &SweepId) {
        self.driver.apply(Event::SweepCancelled { sweep: sweep.clone(), by: None }).await.expect("is taken");
    }

    async fn report(&self, sweep: &SweepId) -> Arc<Document> {
        self.queries.report(sweep, ReportFormat::Json).await.expect("is made")
    }
}

fn whole(document: &Document) -> String {
    let pieces: Vec<Vec<u8>> = (0..).map_while(|number| document.piece(number)).collect();
    String::from_utf8(pieces.concat()).expect("a text")
}

#[tokio::test]
async fn a_report_is_made_once_until_its_sweep_changes() {
    let lab = Lab::new().await;
    let (s, t) = (lab.submit(&fan("s", 3).0).await, lab.submit(&fan("t", 3).0).await);
    let (one, other) = tokio::join!(lab.report(&s), lab.report(&s));
    assert!(Arc::ptr_eq(&one, &other), "two who ask at once get the same");
    lab.cancel(&t).await;
    assert!(Arc::ptr_eq(&one, &lab.report(&s).await), "another sweep's end is no change");
    lab.cancel(&s).await;
    let cancelled = lab.report(&s).await;
    assert!(!Arc::ptr_eq(&one, &cancelled));
    assert!(whole(&one).contains("pending") && !whole(&one).contains("cancelled"));
    assert!(whole(&cancelled).contains("cancelled") && !whole(&cancelled).contains("pending"));
    // The same id, submitted again after it was forgotten.
    lab.driver.apply(Event::SweepForgotten { sweep: s.clone() }).await.expect("is taken");
    assert!(matches!(lab.queries.report(&s, ReportFormat::Json).await, Err(QueryError::UnknownSweep(_))));
    lab.submit(&fan("s", 3).0).await;
    assert_eq!(lab.report(&s).await, one);
}

#[tokio::test]
async fn a_report_is_of_all_parts_and_made_anew_when_its_sweep_is_extended() {
    let lab = Lab::new().await;
    let id = lab.submit(&fan("s", 2).0).await;
    let before = lab.report(&id).await;
    let part = grid_part("s", 2, &["y"], 2..5, 0..0);
    lab.driver.apply(Event::SweepExtended { part: Arc::clone(&part) }).await.expect("is taken");
    let after = lab.report(&id).await;
    let [before, after] =
        [before, after].map(|document| serde_json::from_str::<reports::Report>(&whole(&document)).expect("a report"));
    assert_eq!((before.trials.len(), before.parts.len()), (2, 0));
    let parts: Vec<_> = after.parts.iter().map(|part| (part.number, part.trials, part.added_at_ms.is_some())).collect();
    assert_eq!(parts, [(1, 2, true), (2, 3, true)]);
    assert_eq!(after.trials.iter().map(|trial| trial.part).collect::<Vec<_>>(), [1, 1, 2, 2, 2].map(Some));
    // The stage that both parts list counts once.
    assert_eq!((after.totals.trials, after.totals.stages), (5, 6));
    let plan = lab.queries.report(&id, ReportFormat::PlanJson).await.expect("is made");
    let plan: crate::experiment::plan::Plan = serde_json::from_str(&whole(&plan)).expect("a plan");
    assert_eq!((plan.trials.len(), plan.stages.len()), (5, 6));
    // A trial of a later part is found by its name, and so are its stages.
    let found = lab.queries.explain(part.trial_id(2).as_str()).await.expect("is there");
    assert_eq!(found.subject, Subject::Trial);
    let question = LogQuestion { subject: part.trial_id(2).to_string(), follow: false, attempt: None };
    lab.queries.logs(question).await.expect("has stages");
    // A part without trials is a change, too.
    let mut renamed = part.nothing_of();
    renamed.sweep.name = "renamed".to_owned();
    lab.driver.apply(Event::SweepExtended { part: Arc::new(renamed) }).await.expect("is taken");
    let last: reports::Report = serde_json::from_str(&whole(&*lab.report(&id).await)).expect("a report");
    assert_eq!((last.trials.len(), last.parts.len(), last.sweep.name.as_str()), (5, 3, "renamed"));
}

#[tokio::test]
async fn the_pieces_of_each_format_are_the_whole() {
    let lab = Lab::new().await;
    let (plan, ..) = fan("s", 4_000);
    let id = lab.submit(&plan).await;
    lab.cancel(&id).await;
    let outcomes = (0..plan.trial_count()).map(|trial| (plan.trial_id(trial), StageOutcome::Cancelled)).collect();
    let report = reports::build(&plan.unpack(), &outcomes);
    for (format, expected) in [
        (ReportFormat::Json, serde_json::to_string_pretty(&report).expect("plain data")),
        (ReportFormat::Html, reports::html(&report)),
        (ReportFormat::Markdown, reports::markdown(&report).text),
        (ReportFormat::TrialsCsv, reports::trials_csv(&report)),
        (ReportFormat::FrontCsv, reports::front_csv(&report)),
        (ReportFormat::PlanJson, serde_json::to_string_pretty(plan.as_ref()).expect("plain data")),
    ] {
        let document = lab.queries.report(&id, format).await.expect("is made");
        assert!(whole(&document) == expected, "{format:?}");
    }
    assert!(lab.report(&id).await.piece_count() > 1, "it is long enough to have several");
}

#[tokio::test]
async fn who_asks_for_what_is_not_there_is_told() {
    let lab = Lab::new().await;
    let (plan, _, dense) = fan("abc", 9);
    let id = lab.submit(&plan).await;
    lab.submit(&fan("abd", 1).0).await;
    assert_eq!(lab.queries.find("abc").await.expect("is there"), id);
    assert!(matches!(lab.queries.find("").await, Err(QueryError::NoSweepNamed)));
    assert!(matches!(lab.queries.find("x").await, Err(QueryError::UnknownSweep(name)) if name == "x"));
    assert!(
        matches!(lab.queries.find("ab").await, Err(QueryError::SeveralSweeps { found, .. }) if found.len() == 2 && found[0].starts_with("abc ("))
    );
    let unknown: SweepId = "x".parse().expect("an id");
    assert!(matches!(lab.queries.sweep(&unknown).await, Err(QueryError::UnknownSweep(_))));
    for format in [ReportFormat::Json, ReportFormat::PlanJson] {
        assert!(matches!(lab.queries.report(&unknown, format).await, Err(QueryError::UnknownSweep(_))));
    }
    assert!(matches!(lab.queries.explain("x").await, Err(QueryError::UnknownSubject { .. })));
    // Both sweeps have it.
    assert!(matches!(lab.queries.explain("cell-0").await, Err(QueryError::SeveralTrials { count: 2, .. })));
    let logs = async |subject: &str| {
        let question = LogQuestion { subject: subject.to_owned(), follow: false, attempt: None };
        lab.queries.logs(question).await.map(drop)
    };
    assert!(matches!(logs("x").await, Err(QueryError::UnknownStage(_))));
    assert!(matches!(logs("cell-0").await, Err(QueryError::SeveralTrials { .. })));
    logs("abc/cell-0").await.expect("one of them");
    logs(&dense[3].to_string()).await.expect("a stage");
}

#[tokio::test]
async fn explanations_say_what_their_subject_is() {
    let lab = Lab::new().await;
    let id = lab.submit(&fan("s", 3).0).await;
    let trial = lab.queries.explain("cell-1").await.expect("is there");
    assert_eq!((trial.subject, trial.id.as_str()), (Subject::Trial, "cell-1"));
    assert!(trial.lines[0].starts_with("trial cell-1 of sweep s (s)"), "{:?}", trial.lines);
    assert!(trial.lines[2].contains("waits for 1 stage"), "{:?}", trial.lines);
    let sweep = lab.queries.explain("s").await.expect("is there");
    assert_eq!((sweep.subject, sweep.id.as_str()), (Subject::Sweep, "s"));
    assert_eq!(lab.queries.sweeps().await.expect("are there"), [lab.queries.sweep(&id).await.expect("is there")]);
    assert!(lab.queries.workers().await.expect("are there").is_empty());
}

#[tokio::test]
async fn who_asks_when_too_many_wait_is_told() {
    let lab = Lab::new().await;
    let id = lab.submit(&fan("s", 3).0).await;
    let queries = Queries { reporting: Bound::new(TRIALS_TOGETHER, 0), ..lab.queries.clone() };
    assert!(matches!(queries.report(&id, ReportFormat::Json).await, Err(QueryError::Busy)));
    assert!(matches!(queries.explain("cell-0").await, Err(QueryError::Busy)));
    queries.explain("s").await.expect("costs little");
}

#[tokio::test]
async fn a_coordinator_that_has_stopped_says_so() {
    let lab = Lab::new().await;
    let id = lab.submit(&fan("s", 3).0).await;
    lab.driver.close().await;
    assert!(matches!(lab.queries.report(&id, ReportFormat::Json).await, Err(QueryError::Stopped)));
    assert!(matches!(lab.queries.sweeps().await, Err(QueryError::Stopped)));
}

#[tokio::test]
async fn a_plan_that_this_process_has_made_is_not_made_again() {
    let lab = Lab::new().await;
    let (plan, ..) = fan("s", 3);
    let data = Artifact { hash: plan.sweep.data.hash, size: 1 };
    let file = |text: &str| SweepFile {
        name: "s.yaml".to_owned(),
        text: text.to_owned(),
        data,
        weights: None,
        weights_notes: vec![],
    };
    assert_eq!(plan.sweep.file_hash, ContentHash::of(b"s"), "of this text it is");
    lab.queries.remember_plan(&plan);
    assert!(Arc::ptr_eq(&lab.queries.plan(file("s")).await.expect("is remembered"), &plan));
    let other = SweepFile { weights: Some(data), ..file("s") };
    for other in [file("t"), SweepFile { data: Artifact { hash: ContentHash::of(b"t"), size: 1 }, ..file("s") }, other]
    {
        assert!(matches!(lab.queries.plan(other).await, Err(QueryError::NotUploaded)), "it is another file's");
    }
    drop(plan);
    assert!(matches!(lab.queries.plan(file("s")).await, Err(QueryError::NotUploaded)), "nobody has it any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_scheduler_goes_on_while_an_answer_is_made() {
    let lab = Lab::new().await;
    let id = lab.submit(&fan("s", 3).0).await;
    let (driver, runtime) = (lab.driver.clone(), tokio::runtime::Handle::current());
    let made = lab.queries.answer(&id, "a test's", move |results| {
        let before = results.outcomes().flatten().count();
        let (said, heard) = std::sync::mpsc::channel();
        let sweep = results.parts[0].plan.sweep.id.clone();
        runtime.spawn(async move {
            driver.apply(Event::SweepCancelled { sweep, by: None }).await.expect("is taken");
            said.send(()).expect("is heard");
        });
        // This would block for ever if the scheduler waited for it.
        heard.recv().expect("is said");
        let after = results.outcomes().flatten().count();
        Document::write(|out| Ok(write!(out, "{before} and {after}")?))
    });
    assert_eq!(whole(&made.await.expect("is made")), "0 and 0", "a view stays as it was taken");
    assert_eq!(lab.queries.sweep(&id).await.expect("is there").trials_failed, 3);
}
