//! Tests of the way from a sweep file to a plan as a whole.

mod adaptive;
mod class_weights;
mod configs;
mod difference;
mod draft;
mod growing;
mod measuring;
mod mistakes;
mod packed;
mod planning;
mod properties;
mod prune_from;
mod quantization;
mod reading;
mod recipes;
mod references;
mod schema;
mod search;
mod tables;
mod ways;
mod weights;

use secateur_proto::{ids::ContentHash, outcome::Artifact, spec::Reading};

use super::{ClassRows, InputFacts, SweepSpec, plan, plan::Plan};

/// A small sweep file that is right; tests replace lines of it.
const SMALL: &str = "\
version: 1
name: small
data:
  path: table.csv
  target: y
  task: binary
  split: {kind: stratified, train: 0.6, validation: 0.2, test: 0.2, seed: 42}
model: {kind: mlp, hidden: [64, 32]}
training: {optimizer: {kind: adam}, epochs: 20}
pruning:
  strategy: magnitude
  sparsity: 0.5
  retrain: {epochs: 10}
seeds: 2
";

/// [`SMALL`] with the lines that begin with the key of a replacement replaced by it, and the others added.
fn small_with(lines: &[&str]) -> String {
    let key = |line: &str| line.split_once(':').map(|(key, _)| key.to_owned());
    let mut text = SMALL.to_owned();
    for line in lines {
        let old = SMALL.lines().find(|old| key(old) == key(line));
        match old {
            Some(old) => text = text.replacen(old, line, 1),
            None => text = format!("{text}{line}\n"),
        }
    }
    text
}

fn table() -> InputFacts {
    InputFacts {
        artifact: Artifact { hash: ContentHash::of(b"table"), size: 5 },
        rows: [600, 200, 200],
        classes: vec![
            ClassRows { name: "0".to_owned(), rows: [480, 160, 160] },
            ClassRows { name: "1".to_owned(), rows: [120, 40, 40] },
        ],
        columns: 10,
        inputs: 19,
        image: None,
        reading: Reading::default(),
        periods: None,
        notes: Vec::new(),
        weights: None,
    }
}

fn planned(text: &str) -> Plan {
    let spec = SweepSpec::parse("sweep.yaml", text).unwrap_or_else(|problems| panic!("{text}\n{problems}"));
    plan(&spec, text, table()).unwrap_or_else(|problems| panic!("{text}\n{problems}")).unpack()
}

/// What is said about a wrong file, without the number of problems.
fn problems(text: &str) -> Vec<String> {
    match SweepSpec::parse("sweep.yaml", text) {
        Ok(_) => Vec::new(),
        Err(problems) => {
            let mut lines: Vec<_> = problems.to_string().lines().map(str::to_owned).collect();
            lines.pop();
            lines
        }
    }
}
