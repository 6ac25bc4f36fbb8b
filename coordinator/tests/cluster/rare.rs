//! A rare outcome, and constraints that nothing meets: what the plan, `show` and every form of the report say of them.

use std::{collections::BTreeMap, fs, path::Path};

use crate::common::{Lab, Server};
use secateur_proto::{
    metrics::{Metric, Quantity},
    spec::Task,
};
use serde_json::Value;

const RARE: &str = "\
version: 1
name: rare
data:
  path: table.csv
  target: fraud
  task: binary
  split: {kind: stratified, train: 0.6, validation: 0.2, test: 0.2, seed: 1}
model: {kind: mlp, hidden: [4]}
training: {optimizer: {kind: adam, lr: 1.0e-2}, batch_size: 64, epochs: 2, class_weight: [none, balanced]}
pruning: {strategy: magnitude, sparsity: [0.5, 0.8], retrain: {epochs: 1}}
seeds: 3
objectives: [{maximize: average_precision}, {minimize: nonzero_parameters}]
constraints: [{metric: brier, max: 1.0e-9}, {metric: nonzero_parameters, max: 12}]
controls: [dense]
";

/// Five frauds in 600 rows.
fn table() -> String {
    let rows = (0..600_u32).map(|row| {
        let number = |factor: u32| f64::from(row * factor % 997) / 100.0;
        format!("{},{},{}\n", number(37), number(411), u8::from(row % 120 == 7))
    });
    format!("amount,age,fraud\n{}", rows.collect::<String>())
}

/// Every interval of a report with what it is of.
fn intervals(found: &Value, metric: &str, into: &mut Vec<(String, [f64; 2])>) {
    match found {
        Value::Object(fields) => {
            if let Some([low, high]) = fields.get("ci95").and_then(Value::as_array).map(Vec::as_slice) {
                into.push((metric.to_owned(), [low, high].map(|end| end.as_f64().expect("a number"))));
            }
            fields.iter().for_each(|(name, value)| {
                let is_metric = name.parse::<Metric>().is_ok();
                intervals(value, if is_metric { name } else { metric }, into);
            });
        }
        Value::Array(items) => items.iter().for_each(|item| intervals(item, metric, into)),
        _ => {}
    }
}

fn read(folder: &Path, file: &str) -> String {
    fs::read_to_string(folder.join(file)).expect("the file is there")
}

#[test]
fn what_a_rare_outcome_cannot_show_is_said() {
    let lab = Lab::empty();
    lab.write("sweep.yaml", RARE);
    lab.write("table.csv", table());
    let plan = lab.run(&["plan", "sweep.yaml"]).expect(0).stdout;
    assert_eq!(plan.lines().filter(|line| line.starts_with("caution ")).count(), 4, "{plan}");

    let server = Server::start(&lab);
    let submit = ["submit", "sweep.yaml", "--coordinator", &server.address, "--wait", "--out", "out"];
    let submitted = lab.start(&submit);
    let _worker = server.worker(&lab, "one");
    submitted.end().expect(0);
    let (json, markdown, html) = (
        read(&lab.path("out"), "report.json"),
        read(&lab.path("out"), "report.md"),
        read(&lab.path("out"), "report.html"),
    );
    let report: Value = serde_json::from_str(&json).expect("JSON");

    // One positive in 120 rows of each part: intervals of Student's would reach far beyond 0 and 1.
    let cells = report["cells"].as_array().expect("cells");
    let (mut values, mut differences) = (Vec::new(), Vec::new());
    for cell in cells {
        intervals(&cell["metrics"], "", &mut values);
        intervals(&cell["difference_to_dense"], "", &mut differences);
    }
    let range = |metric: &str| -> [f64; 2] { metric.parse::<Metric>().expect("a metric").range_of(Task::Binary) };
    let mut touched = 0;
    for (metric, [low, high]) in &values {
        let [least, most] = range(metric);
        assert!(least <= *low && low <= high && *high <= most, "{metric} in [{low}, {high}]");
        touched += u32::from(low < high && (*low == least || *high == most));
    }
    assert!(touched > 0, "no interval meets a bound here");
    for (metric, [low, high]) in &differences {
        let [least, most] = range(metric);
        assert!(least - most <= *low && low <= high && *high <= most - least, "{metric} by [{low}, {high}]");
    }
    assert!(!differences.is_empty());

    // Chance is the share of positives, beside the metric.
    let chance: BTreeMap<Quantity, f64> =
        serde_json::from_value(report["chance"].clone()).expect("numbers by quantity");
    assert_eq!(chance.len(), 2);
    assert!(chance.values().all(|chance| (*chance - 1.0 / 120.0).abs() < 1e-12), "{chance:?}");
    for page in [&markdown, &html] {
        assert!(page.contains("average precision, test (chance 0.0083)"), "{page}");
    }

    let cautions = report["cautions"].as_array().expect("cautions");
    let unmet = &report["unmet"];
    assert_eq!((cautions.len(), &unmet["cells"]), (4, &4.into()));
    let [brier, size] = unmet["constraints"].as_array().expect("each constraint").as_slice() else { panic!("{unmet}") };
    assert_eq!((&brier["failed"], &size["failed"]), (&4.into(), &2.into()), "{unmet}");
    assert!(brier["nearest"]["distance"].as_f64().is_some_and(|distance| distance > 0.0), "{unmet}");
    let id = report["sweep"]["id"].as_str().expect("an id");
    let way = ["--coordinator", server.address.as_str()];
    let shown = lab.run(&[&["show", id], &way[..]].concat()).expect(0).stdout;
    let said = |prefix: &str| shown.lines().filter(|line| line.starts_with(prefix)).count();
    assert_eq!((said("caution: "), said("finding: ")), (4, 3), "{shown}");
    for finding in shown.lines().filter_map(|line| line.strip_prefix("finding: ")) {
        assert!(markdown.contains(&finding.replace('_', "\\_")) && html.contains(finding), "{finding}");
    }
    for caution in cautions.iter().filter_map(Value::as_str) {
        assert!(shown.contains(caution), "{caution}");
    }
}
