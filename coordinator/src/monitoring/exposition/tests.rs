//! What is exported, and that the guide, the alerts and the dashboard agree with it.

use std::{collections::BTreeSet, fs, path::PathBuf, time::Duration};

use super::*;
use crate::{
    monitoring::Direction,
    scheduler::{Overview, Record, RunningSweep, SweepsByState, WorkersByState},
};

/// A moment at which everything that can be exported is.
fn full() -> String {
    let counters = Counters::default();
    let running = RunningSweep { id: "s-1".parse().expect("an id"), trials: 10, completed: 6, failed: 1 };
    let overview = Overview {
        sweeps: SweepsByState { running: 1, draining: 2, completed: 3, ..SweepsByState::default() },
        running: vec![running],
        workers: WorkersByState { attached: 4, cordoned: 1, ..WorkersByState::default() },
        slots: 8,
        busy_slots: 5,
        oldest_lease: Some(Timestamp(4_000)),
        oldest_progress: Some(Timestamp(9_000)),
        ..Overview::default()
    };
    let readings = Readings { overview, free_bytes: Some(1 << 30) };
    let process = Some(ProcessNumbers { cpu_seconds: 1.5, resident_bytes: 1 << 20, open_files: 9 });
    let now = UNIX_EPOCH + Duration::from_secs(10);
    text(&counters, &readings, &Moment { now, started: UNIX_EPOCH, process }).expect("writes")
}

/// Name, type and meaning of each metric, from the text.
fn described(text: &str) -> Vec<[String; 3]> {
    let of = |kind: &str| -> Vec<(String, String)> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(&format!("# {kind} "))?.split_once(' '));
        lines.map(|(name, rest)| (name.to_owned(), rest.to_owned())).collect()
    };
    let types = of("TYPE");
    let described = of("HELP").into_iter().zip(types).map(|((name, help), (same, kind))| {
        assert_eq!(name, same, "a metric has a meaning and a type");
        [name, kind, help]
    });
    described.collect()
}

fn deploy(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(file)
}

#[test]
fn counts_become_series() {
    let text = full();
    for line in [
        "secateur_sweeps{state=\"running\"} 1",
        "secateur_sweeps{state=\"draining\"} 2",
        "secateur_sweep_trials{sweep=\"s-1\",state=\"open\"} 3",
        "secateur_workers{state=\"cordoned\"} 1",
        "secateur_slots 8",
        "secateur_slots_busy 5",
        "secateur_oldest_lease_age_seconds 6.0",
        "secateur_longest_silence_seconds 1.0",
        "secateur_disk_free_bytes 1073741824",
        "process_cpu_seconds_total 1.5",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[test]
fn what_happens_is_counted() {
    let counters = Counters::default();
    let stage = secateur_proto::ids::StageKey(secateur_proto::ids::ContentHash::of(b"stage"));
    let failure = secateur_proto::outcome::Failure::new(secateur_proto::outcome::FailureClass::Executor, "no");
    let retried = Record::AttemptFailed { stage, lanes: 1, failure: failure.clone(), worker: None, attempt: None };
    counters.recorded(&retried, |_| panic!("nothing was computed"));
    let ended = Record::StageEnded { stage, outcome: secateur_proto::outcome::StageOutcome::Failed(failure) };
    counters.recorded(&ended, |_| panic!("nothing was computed"));
    counters.leased([1, 1, 2].into_iter());
    counters.appended(3, Duration::from_millis(3));
    counters.moved(Direction::Sent, 7);
    counters.hook_ran(false);
    let moment = Moment { now: UNIX_EPOCH, started: UNIX_EPOCH, process: None };
    let text = text(&counters, &Readings::default(), &moment).expect("writes");
    for line in [
        "secateur_attempts_total{outcome=\"retried\"} 1",
        "secateur_attempts_total{outcome=\"failed\"} 1",
        "secateur_attempts_total{outcome=\"completed\"} 0",
        "secateur_attempts_started_total{again=\"false\"} 2",
        "secateur_attempts_started_total{again=\"true\"} 1",
        "secateur_bundle_lanes_bucket{le=\"2\"} 0",
        "secateur_bundle_lanes_bucket{le=\"4\"} 1",
        "secateur_journal_append_seconds_bucket{le=\"0.0025\"} 0",
        "secateur_journal_append_seconds_bucket{le=\"0.005\"} 1",
        "secateur_journal_lines_total 3",
        "secateur_artifact_bytes_total{direction=\"sent\"} 7",
        "secateur_sweep_end_hooks_total{outcome=\"failed\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

/// The table in deploy/README.md is made of what is exported. `SECATEUR_UPDATE=1` writes it.
#[test]
fn every_metric_is_in_the_guide() {
    let rows = described(&full()).into_iter().map(|[name, kind, help]| format!("| `{name}` | {kind} | {help} |\n"));
    let table: String =
        std::iter::once("\n| metric | type | meaning |\n|---|---|---|\n".to_owned()).chain(rows).collect();
    let path = deploy("README.md");
    let guide = fs::read_to_string(&path).expect("reads");
    let (before, rest) = guide.split_once("<!-- metrics -->\n").expect("the beginning of the table");
    let (found, after) = rest.split_once("\n<!-- /metrics -->").expect("the end of the table");
    if std::env::var_os("SECATEUR_UPDATE").is_some() {
        let guide = format!("{before}<!-- metrics -->\n{table}\n<!-- /metrics -->{after}");
        fs::write(path, guide).expect("writes");
    } else {
        assert_eq!(found, table, "SECATEUR_UPDATE=1 writes the table");
    }
}

/// Names of metrics in a file, without the suffixes of histograms.
fn names_in(file: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(deploy(file)).expect("reads");
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let is_name = |word: &&str| word.starts_with("secateur_") || word.starts_with("process_");
    let base = |word: &str| {
        let suffixes = ["_bucket", "_sum", "_count"];
        suffixes.iter().find_map(|suffix| word.strip_suffix(suffix)).unwrap_or(word).to_owned()
    };
    words.filter(is_name).map(base).collect()
}

#[test]
fn alerts_and_dashboard_name_metrics_that_exist() {
    let known: BTreeSet<String> = described(&full()).into_iter().map(|[name, ..]| name).collect();
    for file in ["prometheus/alerts.yaml", "grafana/dashboard.json"] {
        let named = names_in(file);
        assert!(named.len() > 5, "{file} names {named:?} alone: the test no longer understands it");
        let unknown: Vec<_> = named.difference(&known).collect();
        assert!(unknown.is_empty(), "{file} names {unknown:?}, which are not exported");
    }
}
