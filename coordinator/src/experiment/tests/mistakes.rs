//! Mistakes in a sweep file: what is said of each, with its place. The words are in `snapshots/`, to be read as a person reads them.

use insta::assert_snapshot;

use super::*;

/// A mistake and what is said of it.
fn told(mistake: &str, text: &str) -> String {
    let problems = problems(text);
    assert!(!problems.is_empty(), "nothing is said of {mistake}");
    let lines = problems.iter().map(|problem| format!("    {}\n", problem.trim_start_matches("sweep.yaml:")));
    format!("{}\n{}", mistake.trim_end(), lines.collect::<String>())
}

/// What is said of [`SMALL`] with one line replaced, for each of these.
fn of_lines<'a>(lines: impl IntoIterator<Item = &'a str>) -> String {
    lines.into_iter().map(|line| told(line, &small_with(&[line]))).collect()
}

/// The same, where each line has a single mistake.
#[track_caller]
fn one_each<'a>(lines: impl IntoIterator<Item = &'a str>) -> String {
    let lines = lines.into_iter().inspect(|line| {
        let problems = problems(&small_with(&[line]));
        assert_eq!(problems.len(), 1, "{line}: {problems:#?}");
    });
    of_lines(lines)
}

/// What is said of each of these files, each with a word for it.
pub(super) fn of_files<T: AsRef<str>>(files: impl IntoIterator<Item = (T, String)>) -> String {
    files.into_iter().map(|(mistake, text)| told(mistake.as_ref(), &text)).collect()
}

/// `1, 2, …` up to `last`.
fn numbers(last: u32) -> String {
    (1..=last).map(|number| number.to_string()).collect::<Vec<_>>().join(", ")
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let text = "\
version: 2
name: a sweep
data:
  path: loans.json
  target: y
  task: regression
  split: {kind: stratified, train: 0.6, validation: 0.2, test: 0.3}
  drop: [y]
model: {kind: mlp, hidden: [64, 0]}
training: {optimizer: {kind: adam, lr: high}, epochs: 20}
pruning:
  strategy: [random, magnitud]
  sparcity: 0.5
  scope: erc
  retrain: {epochs: 10}
seeds: [1, 2, 1]
objectives: [{maximize: aux}]
";
    let found = SweepSpec::parse("sweep.yaml", text).expect_err("the file is wrong").to_string();
    assert_snapshot!(found);
}

#[test]
fn impossible_sparsities() {
    let said = one_each([
        "  sparsity: 1.0",
        "  sparsity: -0.1",
        "  sparsity: .nan",
        "  sparsity: .inf",
        "  sparsity: 1e999",
        "  sparsity: high",
        "  sparsity: ",
        "  sparsity: {}",
        "  sparsity: []",
        "  sparsity: [0.5, 1]",
        "  sparsity: [0.5, [0.6]]",
        "  sparsity: [0.5, 5.0e-1]",
    ]);
    assert_snapshot!(said);
}

#[test]
fn files_that_are_no_sweep() {
    let said = of_files([
        ("nothing", String::new()),
        ("a comment", "# only a comment\n".to_owned()),
        ("just text", "just text".to_owned()),
        ("a list", "- a\n- b\n".to_owned()),
        ("two documents", format!("{SMALL}---\n{SMALL}")),
        ("an open list", "name: [a\n".to_owned()),
        ("more than a megabyte", "x".repeat((1 << 20) + 1)),
        ("deep lists", format!("a: {}", "[".repeat(100_000))),
        ("deep maps", format!("a: {}", "{a: ".repeat(1000))),
        ("deep items", format!("{}a", "- ".repeat(1000))),
    ]);
    assert_snapshot!(said);
}

#[test]
fn yaml_that_is_more_than_plain_data() {
    let said = of_files([
        ("a tab in place of spaces", SMALL.replace("  sparsity", "\tsparsity")),
        ("a tab after a space", SMALL.replace("  target", " \ttarget")),
        ("anchors", "a: &a [x, x]\nb: &b [*a, *a]\n".to_owned()),
    ]) + &of_lines(["name: !secret x"])
        + &one_each(["<<: {seeds: 3}", "1: x", "[a, b]: x"]);
    assert_snapshot!(said);
}

#[test]
fn duplicate_keys_are_all_reported_with_both_places() {
    let text = format!("{SMALL}seeds: 3\nname: again\nseeds: 4\n").replace("  target: y", "  target: y\n  target: z");
    assert_eq!(problems(&text).len(), 4);
    let said = told("four keys a second time", &text);
    assert_snapshot!(said);
}

#[test]
fn a_grid_that_is_too_large_is_refused_before_it_is_made() {
    let said = of_files([
        (
            "ten million cells",
            small_with(&[
                &format!(
                    "training: {{optimizer: {{kind: adam}}, epochs: [{}], batch_size: [{}]}}",
                    numbers(250),
                    numbers(200)
                ),
                &format!("  retrain: {{epochs: [{}]}}", numbers(200)),
            ]),
        ),
        ("a million trials", small_with(&[&format!("  retrain: {{epochs: [{}]}}", numbers(100)), "seeds: 10001"])),
        ("an axis of 1001 values", small_with(&[&format!("  retrain: {{epochs: [{}]}}", numbers(1001))])),
    ]) + &one_each(["seeds: 1000000000000"]);
    assert_snapshot!(said);
}

#[test]
fn optimisers_allow_only_their_own_keys() {
    let said = one_each([
        "training: {optimizer: {kind: adam, momentum: 0.9}, epochs: 1}",
        "training: {optimizer: {kind: sgd}, epochs: 1}",
        "training: {optimizer: {kind: sgd, lr: 1, nesterov: true}, epochs: 1}",
        "training: {optimizer: {kind: adam, betas: [0.9]}, epochs: 1}",
        "training: {optimizer: {kind: adam, betas: [0.9, 1]}, epochs: 1}",
        "training: {optimizer: {kind: [adam, sgd], lr: 1}, epochs: 1}",
        "training: {optimizer: {kind: adam, lr: 0}, epochs: 1}",
        "training: {optimizer: {kind: adam}, epochs: 0}",
        "training: {optimizer: {kind: adam}, epochs: 1.5}",
        "training: {optimizer: {kind: adam}, epochs: 5, lr_schedule: {step: {every: 1, times: 2}}}",
        "training: {optimizer: {kind: adam}, epochs: 5, lr_schedule: {step: {factor: 0.5}}}",
    ]);
    assert_snapshot!(said);
}

/// A word that is right, but not without its map, is shown with it.
#[test]
fn words_without_their_maps() {
    let said = one_each([
        "training: {optimizer: adam, epochs: 1}",
        "training: {optimizer: adamm, epochs: 1}",
        "training: {optimizer: {kind: adam}, epochs: 5, lr_schedule: step}",
        "training: {optimizer: {kind: adam}, epochs: 5, lr_schedule: cosin}",
        "model: mlp",
        "regularization: l1",
        "  split: stratified",
    ]);
    assert_snapshot!(said);
}

#[test]
fn contradictions_between_columns() {
    let data = |lines: &'static str| (lines, SMALL.replace("  task: binary", &format!("  task: binary\n{lines}")));
    let said = of_files([
        data("  drop: [a]\n  inputs: [a]"),
        data("  inputs: [y]"),
        data("  groups: [y]"),
        data("  drop: [a, a]"),
        data("  drop: a"),
        data("  inputs: []"),
        (
            "  inputs: [t]\n  split: {kind: column, column: t}",
            small_with(&["  split: {kind: column, column: t}"])
                .replace("  task: binary", "  task: binary\n  inputs: [t]"),
        ),
    ]) + &one_each([
        "  split: {kind: column, column: y}",
        "  split: {kind: time, column: t, train: 0, validation: 0.5, test: 0.5}",
        "  split: {kind: column, column: t, seed: 1}",
        "  split: {kind: strat, train: 1}",
        "  path: s3://bucket/table.csv",
    ]);
    assert_snapshot!(said);
}

#[test]
fn pruning_and_penalties() {
    let said = one_each([
        "  strategy: [taylor, {taylor: {batches: 8}}]",
        "  strategy: {taylor: {batches: 0}}",
        "  strategy: {taylor: {bathces: 1}}",
        "  strategy: {random: {batches: 1}}",
        "  strategy: {random: {}, magnitude: {}}",
        "  strategy: {}",
        "quantization: int9",
        "regularization: {kind: l1}",
        "regularization: {kind: l1, strength: -1}",
        "regularization: {kind: group_laso, strength: 1}",
        "regularization: l1",
    ]) + &of_files(
        [
            "schedule: iterativ",
            "schedule: {iterative: {rounds: 5, fraction: 0.2}}",
            "schedule: {iterative: {rewind_to: 5}}",
            "schedule: {iterative: {levels: [0.5, 0.2]}}",
            "schedule: {gradual: {begin: 0.5, end: 0.5}}",
            "schedule: {gradual: {times: 5, every: 5}}",
            "schedule: {gradual: {shape: cubik}}",
            "schedule: {rigl: {fraction: 0}}",
            "schedule: {one_shot: {}, set: {}}",
            "schedule: {ac_dc: {evry: 5}}",
            "granularity: 4:2",
            "granularity: neurons",
            "scope: {per_layer: {layers.0: -1}}",
            "ablation: shufle",
            "layers: {exclude: [layers.0, layers.0]}",
            "max_layer_sparsity: 1.5",
        ]
        .map(|line| (line, SMALL.replace("  strategy", &format!("  {line}\n  strategy")))),
    );
    assert_snapshot!(said);
}

#[test]
fn goals() {
    let said = one_each([
        "objectives: [{minimize: macs}]",
        "objectives: [{minimize: auc}]",
        "objectives: [{maximize: auc}, {maximize: auc}]",
        "objectives: []",
        "objectives: [{maximize: auc, minimize: macs}]",
        "objectives: [{maximize: latency_p50_us}]",
        "objectives: [{maximize: auc@test}]",
        "objectives: [{maximize: auc}, {maximize: auc@validation}]",
        "objectives: [{maximize: aux@validation}]",
        "objectives: [{maximize: auc, margin: 0}]",
        "objectives: [{maximize: auc}, {minimize: macs, margin: 5}]",
        "objectives: [{maximize: auc}, {minimize: brier, margin: 0.01}]",
        "constraints: [{metric: 'auc@test[region=north]', min: 0.5}]",
        "constraints: [{metric: 'auc@test[region', min: 0.5}]",
        "constraints: [{metric: auc@train, min: 0.5}]",
        "constraints: [{metric: macs@test, max: 5}]",
        "constraints: [{metric: auc}]",
        "constraints: [{metric: auc, min: 0.9, max: 0.8}]",
        "measure: maybe",
        "measure: {}",
        "measure: {engine: onnxruntime}",
        "measure: {batch: []}",
        "measure: {batch: [1, 5000]}",
        "measure: {batch: [1, 1]}",
        "measure: {rows: 1}",
        "controls: always",
        "controls: [dense, logistic]",
    ]);
    assert_snapshot!(said);
}

#[test]
fn decisions() {
    let said = of_lines([
        "decision: approve",
        "decision: {aprove: 0.7}",
        "decision: {approve: 70}",
        "decision: {approve: 0.7, cost: {bad_approved: 5, good_declined: 1}}",
        "decision: {cost: {bad_approved: 5}}",
        "decision: {cost: {bad_approved: -5, good_declined: 0}}",
        "decision: {}",
    ]);
    assert_snapshot!(said);
}

#[test]
fn references() {
    let said = one_each([
        "references: logistic",
        "references: []",
        "references: [logistics]",
        "references: [logistic, {logistic: {l2: 0.1}}]",
        "references: [scores]",
        "references: [{scores: champion.csv}]",
        "references: [{scores: {}}]",
        "references: [{scores: {column: age}}]",
        "references: [{model: catboost}]",
        "references: [{logistic: {C: 1}}]",
        "references: [{logistic: {l2: 0}}]",
        "references: [{logistic: 0.1}]",
        "references: [{logistic: {}, boosting: {}}]",
        "references: [{boosting: {trees: 0}}]",
        "references: [{boosting: {learning_rate: 2}}]",
        "references: [{boosting: {leafs: 31}}]",
        "references: [3]",
    ]) + &of_files([(
        "several classes",
        small_with(&["references: [logistic]"]).replace("task: binary", "task: multiclass"),
    )]);
    assert_snapshot!(said);
}

#[test]
fn seeds_and_attempts() {
    let said = one_each(["seeds: 0", "seeds: [-1]", "seeds: []"])
        + &one_each([
            "seeds: {min: 2, max: 5}",
            "seeds: {min: 4, max: 4}",
            "seeds: {min: 3}",
            "seeds: {max: 9, until: settled}",
        ])
        + &one_each(["seeds: {max: 9, steps: 1}", "seeds: {max: 9, step: 0}", "seeds: {min: 3, max: 300000}"])
        + &of_lines(["seeds: [x, -1, 2, 2.5]"])
        + &one_each([
            "attempts: 0",
            "attempts: -1",
            "attempts: 1001",
            "attempts: 0.5",
            "attempts: often",
            "attempts: [1, 2]",
            "attempts: {storage: 0}",
            "attempts: {input: 3}",
        ]);
    assert_snapshot!(said);
}

#[test]
fn exclusions_of_what_is_not_there() {
    let said = one_each([
        "exclude: [{pruning.sparcity: 0.5}]",
        "exclude: [{pruning: {sparcity: 0.5}}]",
        "exclude: [{pruning.sparsity: 0.6}]",
        "exclude: [{pruning.strategy: magnitud}]",
        "exclude: [{}]",
        "exclude: {pruning.sparsity: 0.5}",
        "exclude: [{pruning.sparsity: []}]",
        "exclude: [{pruning.sparsity: 0.5, pruning: {sparsity: 0.5}}]",
    ]) + &told(
        // When an axis is wrong, what is said of it is said once.
        "a sparsity of 2, and two exclusions of what is not there",
        &small_with(&["  sparsity: 2", "exclude: [{pruning.sparsity: 0.6}, {prunning: 1}]"]),
    );
    assert_snapshot!(said);
}

#[test]
fn text_from_the_file_cannot_spoil_a_message() {
    let long = format!("{}: x", "k".repeat(1000));
    let said = one_each(["\"a\\u001b[31m\\n\": x"]) + &told("a key of a thousand letters", &small_with(&[&long]));
    assert_snapshot!(said);
}

#[test]
fn long_files_of_any_one_thing_are_answered() {
    let pieces = [
        "a: ",
        "- ",
        "? ",
        "[",
        "{",
        "a\n",
        "x: [a, b]\n",
        "[]: a\n",
        "\"",
        "'",
        "&a ",
        "*a ",
        "!a ",
        "|\n",
        "-\n",
        "[a, ",
        "%",
        "---\n",
        "0 ",
        "é\n",
        "\u{0}",
        "\t",
    ];
    for piece in pieces {
        let text = piece.repeat(20_000);
        assert!(!problems(&text).is_empty(), "{piece:?}");
        assert!(!problems(&format!("{SMALL}exclude:\n - {text}")).is_empty(), "{piece:?}");
    }
}

/// [`SMALL`] with images for a table, and further lines of `data`.
fn images(path: &str, lines: &str) -> String {
    let split = "split: {kind: files, validation: 0.1, seed: 42}";
    let data = format!("  path: {path}\n  {split}\n{lines}");
    let start = SMALL.find("  path").expect("a path");
    let end = SMALL.find("model:").expect("a model");
    format!("{}{data}{}", &SMALL[..start], &SMALL[end..])
}

#[test]
fn images_have_no_columns_and_a_split_of_their_own() {
    for right in [images("mnist", ""), images("my.mnist/", "")] {
        assert_eq!(problems(&right), [""; 0]);
    }
    let columns = "  target: y\n  drop: [a]\n  inputs: [a]\n  groups: [a]\n";
    assert_eq!(problems(&images("mnist", columns)).len(), 4);
    let other =
        |split: &'static str| (split, images("mnist", "").replace("{kind: files, validation: 0.1, seed: 42}", split));
    let said = of_files([
        (columns, images("mnist", columns)),
        other("{kind: stratified, train: 0.6, validation: 0.2, test: 0.2}"),
        other("{kind: files}"),
        other("{kind: files, validation: 1}"),
        other("{kind: files, validation: 0.1, test: 0.1}"),
    ]) + &one_each(["  split: {kind: files, validation: 0.1}", "  path: my.mnist"]);
    assert_snapshot!(said);
}

#[test]
fn rows_and_metrics_have_to_fit_the_task() {
    let goals = "objectives: [{maximize: ks}]\nconstraints: [{metric: ks, min: 0.5}]\n";
    assert_eq!(problems(&(images("mnist", "  task: binary\n") + goals)), [""; 0]);
    let rows = ["0", "-1", "0.5", "many", "4294967296"].map(|rows| format!("  rows: {rows}\n"));
    let said = of_files(rows.map(|line| (line.clone(), images("mnist", &line))))
        + &told("goals of two classes, with several", &(images("mnist", "") + goals));
    assert_snapshot!(said);
}
