//! What the files of nets say beside their metrics.

use std::collections::BTreeMap;

use secateur_proto::outcome::{Artifact, Role};

use super::*;
use crate::report::{Machine, MeasuredOn, NetFiles, OfNets, html, markdown, of_nets};

/// Files of nets of which each is what the test says by its hash.
#[derive(Default)]
struct Files {
    columns: BTreeMap<ContentHash, [bool; 3]>,
    machines: BTreeMap<ContentHash, MeasuredOn>,
}

impl NetFiles for Files {
    fn columns(&mut self, net: ContentHash, _: ContentHash) -> Option<Vec<(String, bool)>> {
        let reads = self.columns.get(&net)?;
        Some(["age", "region", "amount"].into_iter().map(str::to_owned).zip(*reads).collect())
    }

    fn machine(&mut self, measurement: ContentHash) -> Option<MeasuredOn> {
        self.machines.get(&measurement).cloned()
    }
}

/// Trials that have a preparation and were measured: no faster than the dense net, whatever multiply-accumulates promise.
fn measured() -> (crate::experiment::plan::Plan, BTreeMap<TrialId, StageOutcome>) {
    let (plan, mut outcomes) = realistic();
    for (id, outcome) in &mut outcomes {
        let StageOutcome::Completed(result) = outcome else { continue };
        let nonzero = result.metrics.value(&Metric::NonzeroParameters.on(Split::Test)).expect("counted");
        for (metric, value) in [
            (Metric::FileBytes, 4.0 * nonzero + 900.0),
            (Metric::DenseBytes, 41_220.0),
            (Metric::CsrBytes, 6.0 * nonzero + 800.0),
            (Metric::BitmaskBytes, 4.0 * nonzero + 1_276.0),
            (Metric::Int8Bytes, 11_000.0),
            (Metric::Int8BitmaskBytes, nonzero + 2_000.0),
            (Metric::LatencyP50Us, 2.5),
            (Metric::LatencyP99Us, 3.75),
            (Metric::LatencyRatio, 1.0),
            (Metric::BatchLatencyP50Us, 128.0),
            (Metric::BatchLatencyP99Us, 140.0),
            (Metric::Throughput, 2e6),
            (Metric::ThroughputRatio, 1.0),
        ] {
            result.metrics.insert(metric.on(Split::Test), value);
        }
        for role in [Role::Preparation, Role::Measurement] {
            let hash = ContentHash::of(format!("{id}{}", role.name()).as_bytes());
            result.artifacts.insert(role, Artifact { hash, size: 1 });
        }
    }
    (plan, outcomes)
}

fn on(processor: &str, busy_beside: Option<f64>) -> MeasuredOn {
    let machine = Machine { processor: processor.to_owned(), cores: 2, pinned: true, busy_beside };
    MeasuredOn { engine: "rten 0.27".to_owned(), machine }
}

#[test]
fn columns_are_counted_over_the_seeds_of_a_cell() {
    let (plan, outcomes) = measured();
    let report = build(&plan, &outcomes);
    let cell = report.front.first().expect("a front").clone();
    let trials: Vec<_> = report.trials.iter().filter(|trial| trial.cell == cell).collect();
    let mut files = Files::default();
    for (place, trial) in trials.iter().enumerate() {
        // All read the first column, none the second, and one of them the third.
        files.columns.insert(trial.artifacts[&Role::Checkpoint], [true, false, place == 0]);
    }
    let (nets, count) = (of_nets(&report, &mut files), trials.len() as u64);
    let report = report.clone().with_nets(&nets);
    let read = report.inputs_read.as_ref().expect("files that were read");
    assert!(count > 1);
    assert_eq!(read.cells.len(), 1, "cells whose files are gone are left out");
    assert_eq!((read.cells[0].nets, read.cells[0].read_by.as_slice()), (count, &[count, 0, 1][..]));
    let page = markdown(&report).text;
    let (_, section) = page.split_once("### Inputs that nets of the front do not read\n\n").expect("a section");
    let (section, _) = section.split_once("\n\n").expect("a table");
    insta::assert_snapshot!(section);
    assert!(html(&report).contains("read by none: need not be collected"));
    let json: Report = serde_json::from_str(&report.to_json()).expect("its own");
    assert_eq!(json, report);
}

#[test]
fn a_report_without_files_of_nets_is_what_it_was() {
    let (plan, outcomes) = realistic();
    let report = build(&plan, &outcomes);
    assert_eq!(report.clone().with_nets(&of_nets(&report, &mut Files::default())), report);
    assert_eq!(OfNets::default(), of_nets(&report, &mut Files::default()));
}

/// One part for what was measured: no other part of the report has a time.
#[test]
fn times_bytes_and_machines_have_a_part_of_their_own() {
    let (plan, outcomes) = measured();
    let report = build(&plan, &outcomes);
    let mut files = Files::default();
    let completed: Vec<_> = report.trials.iter().filter(|trial| trial.outcome == "completed").collect();
    for (place, trial) in completed.iter().enumerate() {
        let other = place == 0;
        let machine = if other { on("ARM", None) } else { on("Xeon", Some(place as f64 / 100.0)) };
        files.machines.insert(trial.artifacts[&Role::Measurement], machine);
    }
    let count = completed.len() as u64;
    let report = report.clone().with_nets(&of_nets(&report, &mut files));
    assert_eq!(report.machines.iter().map(|machine| machine.nets).sum::<u64>(), count);
    let page = markdown(&report);
    assert!(page.plots.iter().any(|(name, _)| name == "pareto-latency_p50_us.svg"));
    assert!(page.plots.iter().any(|(name, _)| name == "pareto-file_bytes.svg"));
    let (_, section) = page.text.split_once("### Speed, measured\n\n").expect("a section");
    let (section, _) = section.split_once("## How sure").expect("the next section");
    insta::assert_snapshot!(section);
    let page = html(&report);
    assert!(page.contains("Speed, measured") && page.contains("Bytes by format"));
}
