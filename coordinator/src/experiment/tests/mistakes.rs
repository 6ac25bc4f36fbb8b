use super::*;

/// The only problem of [`SMALL`] with one line replaced, without the file's name.
fn problem(line: &str) -> String {
    let problems = problems(&small_with(&[line]));
    assert_eq!(problems.len(), 1, "{problems:#?}");
    problems[0].trim_start_matches("sweep.yaml:").to_owned()
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let text = "\
version: 2
name: a sweep
data:
  path: loans.txt
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
    let expected = "\
sweep.yaml:1:10: version: found 2, allowed 1, the only version of the sweep file
sweep.yaml:2:7: name: found \"a sweep\", allowed 1 to 48 letters, digits, '-', '_' and '.', the first a letter or digit
sweep.yaml:4:9: data.path: found \"loans.txt\", allowed the path of a .csv or .csv.gz file, or of a folder of idx files (ending in / if its name has a point)
sweep.yaml:6:9: data.task: found \"regression\", allowed binary, multiclass
sweep.yaml:7:10: data.split: found shares that sum to 1.1, allowed train + validation + test = 1
sweep.yaml:8:10: data.drop[0]: found \"y\", which is the target and cannot be dropped
sweep.yaml:9:33: model.hidden[1]: found 0, allowed an integer from 1 to 65536
sweep.yaml:10:40: training.optimizer.lr: found \"high\", allowed a finite number above 0
sweep.yaml:12:3: pruning.sparsity: found nothing, required a number from 0 up to but not including 1, or a list of them
sweep.yaml:12:22: pruning.strategy[1]: found \"magnitud\", which is no strategy (`secateur strategies` lists all); did you mean \"magnitude\"?
sweep.yaml:13:3: pruning.sparcity: found an unknown key, allowed strategy, scope, granularity, sparsity, schedule, ablation, layers, max_layer_sparsity, retrain; did you mean \"sparsity\"?
sweep.yaml:14:10: pruning.scope: found \"erc\", allowed global, local, erk, lamp, sensitivity; did you mean \"erk\"?
sweep.yaml:16:15: seeds[2]: found 1 a second time; the first is at 16:9
sweep.yaml:17:25: objectives[0].maximize: found \"aux\", allowed auc, gini, ks, log_loss, brier, ece, accuracy, error, parameters, nonzero_parameters, sparsity, compression_ratio, macs, theoretical_speedup, size_bytes; did you mean \"auc\"?
14 problems";
    let found = SweepSpec::parse("sweep.yaml", text).expect_err("the file is wrong").to_string();
    assert_eq!(found, expected);
}

#[test]
fn impossible_sparsities() {
    let allowed = "allowed a number from 0 up to but not including 1";
    for (value, found) in [
        ("1.0", "1"),
        ("-0.1", "-0.1"),
        (".nan", "NaN"),
        (".inf", "infinity"),
        ("high", "\"high\""),
        ("", "nothing"),
        ("{}", "a map"),
    ] {
        let said = problem(&format!("  sparsity: {value}"));
        assert!(said.ends_with(&format!("pruning.sparsity: found {found}, {allowed}")), "{value}: {said}");
    }
    assert!(problem("  sparsity: []").ends_with("found an empty list, allowed at least one value"));
    assert!(problem("  sparsity: [0.5, 1]").contains("12:19: pruning.sparsity[1]: found 1,"));
    assert!(problem("  sparsity: [0.5, [0.6]]").contains("pruning.sparsity[1]: found a list,"));
    assert!(
        problem("  sparsity: [0.5, 5.0e-1]")
            .ends_with("12:19: pruning.sparsity[1]: found 0.5 a second time; the first is at 12:14")
    );
    assert!(problem("  sparsity: 1e999").contains("pruning.sparsity: found"));
}

#[test]
fn files_that_are_no_sweep() {
    let only = |text: &str| {
        let problems = problems(text);
        assert_eq!(problems.len(), 1, "{problems:#?}");
        problems[0].clone()
    };
    assert!(only("").starts_with("sweep.yaml:1:1: the file is empty"));
    assert!(only("# only a comment\n").contains("the file is empty"));
    assert!(only("just text").starts_with("sweep.yaml:1:1: found \"just text\", allowed a map of version, name,"));
    assert!(only("- a\n- b\n").contains("found a list, allowed a map"));
    assert!(only(&format!("{SMALL}---\n{SMALL}")).starts_with("sweep.yaml:15:1: found a second document"));
    assert!(only("name: [a\n").contains("this is not YAML"));
    assert!(only(&"x".repeat((1 << 20) + 1)).contains("found a file of 1048577 bytes, allowed at most 1048576"));
    assert!(only(&format!("a: {}", "[".repeat(100_000))).contains("nested deeper than 32"));
    assert!(only(&format!("a: {}", "{a: ".repeat(1000))).contains("nested deeper than 32"));
    assert!(only(&format!("{}a", "- ".repeat(1000))).contains("nested deeper than 32"));
}

#[test]
fn a_tab_is_called_a_tab() {
    let text = SMALL.replace("  sparsity", "\tsparsity");
    assert_eq!(problems(&text), ["sweep.yaml:12:1: found a tab used for indentation, allowed only spaces"]);
    let text = SMALL.replace("  target", " \ttarget");
    assert_eq!(problems(&text), ["sweep.yaml:5:2: found a tab used for indentation, allowed only spaces"]);
}

#[test]
fn yaml_that_is_more_than_plain_data() {
    let bomb = "a: &a [x, x]\nb: &b [*a, *a]\n";
    assert!(problems(bomb)[0].starts_with("sweep.yaml:1:4: found an anchor (&) or alias (*)"));
    assert!(problems(&small_with(&["name: !secret x"]))[0].contains("2:7: found a tag (!)"));
    assert!(problem("<<: {seeds: 3}").starts_with("15:1: found a merge key"));
    assert!(problem("1: x").starts_with("15:1: found 1 as a key, allowed only text"));
    assert!(problem("[a, b]: x").starts_with("15:1: found a list as a key"));
}

#[test]
fn duplicate_keys_are_all_reported_with_both_places() {
    let text = format!("{SMALL}seeds: 3\nname: again\nseeds: 4\n").replace("  target: y", "  target: y\n  target: z");
    assert_eq!(
        problems(&text),
        [
            "sweep.yaml:6:3: data.target: found the key a second time; the first is at 5:3",
            "sweep.yaml:16:1: seeds: found the key a second time; the first is at 15:1",
            "sweep.yaml:17:1: name: found the key a second time; the first is at 2:1",
            "sweep.yaml:18:1: seeds: found the key a second time; the first is at 15:1",
        ]
    );
}

#[test]
fn a_grid_that_is_too_large_is_refused_before_it_is_made() {
    let list = |count: u32| (1..=count).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let text = small_with(&[
        &format!("training: {{optimizer: {{kind: adam}}, epochs: [{}], batch_size: [{}]}}", list(250), list(200)),
        &format!("  retrain: {{epochs: [{}]}}", list(200)),
    ]);
    assert_eq!(
        problems(&text),
        [
            "sweep.yaml:1:1: found a grid of 10000000 cells, allowed at most 100000: shorten an axis of training.batch_size (200) × \
             training.epochs (250) × pruning.retrain.epochs (200)"
        ]
    );
    let text = small_with(&[&format!("  retrain: {{epochs: [{}]}}", list(100)), "seeds: 10001"]);
    assert!(problems(&text)[0].contains("found 1000100 trials (100 cells × 10001 seeds), allowed at most 250000"));
    assert!(
        problem("seeds: 1000000000000").contains("seeds: found 1000000000000, allowed an integer from 1 to 250000")
    );
    assert!(
        problem(&format!("  retrain: {{epochs: [{}]}}", list(1001)))
            .contains("found a list of 1001 values, allowed at most 1000")
    );
}

#[test]
fn optimisers_allow_only_their_own_keys() {
    let said = problem("training: {optimizer: {kind: adam, momentum: 0.9}, epochs: 1}");
    assert!(
        said.contains("training.optimizer.momentum: found an unknown key, allowed kind, lr, betas, eps, weight_decay"),
        "{said}"
    );
    assert!(
        problem("training: {optimizer: {kind: sgd}, epochs: 1}")
            .contains("training.optimizer.lr: found nothing, required")
    );
    assert!(
        problem("training: {optimizer: {kind: sgd, lr: 1, nesterov: true}, epochs: 1}")
            .contains("true with a momentum above 0")
    );
    assert!(
        problem("training: {optimizer: {kind: adam, betas: [0.9]}, epochs: 1}")
            .contains("found a list, allowed two numbers")
    );
    assert!(problem("training: {optimizer: {kind: adam, betas: [0.9, 1]}, epochs: 1}").contains("betas[1]: found 1"));
    assert!(
        problem("training: {optimizer: {kind: [adam, sgd], lr: 1}, epochs: 1}")
            .contains("found a list, allowed adam, adamw, sgd")
    );
    assert!(
        problem("training: {optimizer: {kind: adam, lr: 0}, epochs: 1}")
            .contains("lr: found 0, allowed a finite number above 0")
    );
    assert!(
        problem("training: {optimizer: {kind: adam}, epochs: 0}")
            .contains("epochs: found 0, allowed an integer from 1")
    );
    assert!(
        problem("training: {optimizer: {kind: adam}, epochs: 1.5}")
            .contains("epochs: found 1.5, allowed an integer from 1")
    );
}

#[test]
fn contradictions_between_columns() {
    let data = |lines: &str| problems(&SMALL.replace("  task: binary", &format!("  task: binary\n{lines}")));
    assert!(data("  drop: [a]\n  inputs: [a]")[0].contains("8:12: data.inputs[0]: found \"a\", which is in data.drop"));
    assert!(data("  inputs: [y]")[0].contains("which is the target and cannot be an input"));
    assert!(data("  groups: [y]")[0].contains("which is the target and cannot be a group"));
    assert!(data("  drop: [a, a]")[0].contains("data.drop[1]: found \"a\" a second time; the first is at 7:10"));
    assert!(data("  drop: a")[0].contains("data.drop: found \"a\", allowed a list of column names"));
    assert!(data("  inputs: []")[0].contains("data.inputs: found an empty list, allowed at least one column"));
    assert!(
        problem("  split: {kind: column, column: y}").contains("data.split.column: found \"y\", which is the target")
    );
    assert!(
        problem("  split: {kind: time, column: t, train: 0, validation: 0.5, test: 0.5}")
            .contains("data.split.train: found 0")
    );
    assert!(
        problem("  split: {kind: column, column: t, seed: 1}")
            .contains("split.seed: found an unknown key, allowed kind, column")
    );
    assert!(problem("  split: {kind: strat, train: 1}").contains("found \"strat\", allowed stratified, time, column"));
    assert!(problem("  path: s3://bucket/table.csv").contains("only local files are supported yet"));
    let text =
        small_with(&["  split: {kind: column, column: t}"]).replace("  task: binary", "  task: binary\n  inputs: [t]");
    assert!(problems(&text)[0].contains("data.inputs[0]: found \"t\", which decides the split"));
}

#[test]
fn pruning_and_penalties() {
    assert!(
        problem("  strategy: [taylor, {taylor: {batches: 8}}]")
            .contains("pruning.strategy[1]: found a map a second time")
    );
    assert!(problem("  strategy: {taylor: {batches: 0}}").contains("pruning.strategy.taylor.batches: found 0"));
    assert!(problem("  strategy: {taylor: {bathces: 1}}").contains("did you mean \"batches\"?"));
    assert!(problem("  strategy: {random: {batches: 1}}").contains("found a parameter, but this strategy has none"));
    assert!(problem("  strategy: {random: {}, magnitude: {}}").contains("write a list to have several"));
    assert!(problem("  strategy: {}").contains("write a list to have several"));
    assert!(
        problem("quantization: int8")
            .contains("quantization: found \"int8\", which is not supported yet, allowed none")
    );
    assert!(problem("regularization: {kind: l1}").contains("regularization.strength: found nothing, required"));
    assert!(
        problem("regularization: {kind: l1, strength: -1}")
            .contains("strength: found -1, allowed a finite number from 0")
    );
    assert!(problem("regularization: {kind: group_laso, strength: 1}").contains("did you mean \"group_lasso\"?"));
    assert!(problem("regularization: l1").contains("found \"l1\", allowed none, or a map of kind, strength, phase"));
    let schedule = |line: &str| problems(&SMALL.replace("  strategy", &format!("  {line}\n  strategy")));
    for (line, expected) in [
        ("schedule: iterativ", "did you mean \"iterative\"?"),
        ("schedule: {iterative: {rounds: 5, fraction: 0.2}}", "only one of fraction, rounds and levels"),
        ("schedule: {iterative: {rewind_to: 5}}", "rewind_to with then: weight_rewind"),
        ("schedule: {iterative: {levels: [0.5, 0.2]}}", "levels in ascending order"),
        ("schedule: {gradual: {begin: 0.5, end: 0.5}}", "an end after the beginning"),
        ("schedule: {gradual: {times: 5, every: 5}}", "only one of times and every"),
        ("schedule: {gradual: {shape: cubik}}", "did you mean \"cubic\"?"),
        ("schedule: {rigl: {fraction: 0}}", "a number above 0, up to 1"),
        ("schedule: {one_shot: {}, set: {}}", "write a list to have several"),
        ("schedule: {ac_dc: {evry: 5}}", "did you mean \"every\"?"),
        ("granularity: 4:2", "or a pattern such as \"2:4\""),
        ("granularity: neurons", "did you mean \"neuron\"?"),
        ("scope: {per_layer: {layers.0: -1}}", "a finite number from 0"),
        ("ablation: shufle", "did you mean \"shuffle\"?"),
        ("layers: {exclude: [layers.0, layers.0]}", "a second time"),
        ("max_layer_sparsity: 1.5", "a number above 0, up to 1"),
    ] {
        let found = schedule(line);
        assert!(found.iter().any(|problem| problem.contains(expected)), "{line}: {found:?}");
    }
}

#[test]
fn goals() {
    assert!(problem("objectives: [{minimize: macs}]").contains("required at least one of the data, such as auc"));
    assert!(problem("objectives: [{minimize: auc}]").contains("found auc, of which higher is better: write maximize"));
    assert!(
        problem("objectives: [{maximize: auc}, {maximize: auc}]").contains("objectives[1]: found a map a second time")
    );
    assert!(problem("objectives: []").contains("found an empty list, allowed a list such as"));
    assert!(
        problem("objectives: [{maximize: auc, minimize: macs}]")
            .contains("allowed exactly one of maximize and minimize")
    );
    assert!(problem("objectives: [{maximize: latency_p50_us}]").contains("not supported yet"));
    assert!(problem("constraints: [{metric: auc}]").contains("found no bound, required min, max or both"));
    assert!(problem("constraints: [{metric: auc, min: 0.9, max: 0.8}]").contains("found min 0.9 above max 0.8"));
    assert!(
        problem("controls: always").contains("controls: found \"always\", allowed auto, none, all, or a list of dense")
    );
    assert!(problem("seeds: 0").contains("seeds: found 0, allowed an integer from 1"));
    assert!(problem("seeds: [-1]").contains("seeds[0]: found -1, allowed an integer from 0"));
    assert_eq!(problems(&small_with(&["seeds: [x, -1, 2, 2.5]"])).len(), 3);
    assert!(problem("seeds: []").contains("seeds: found an empty list"));
}

#[test]
fn exclusions_of_what_is_not_there() {
    assert!(problem("exclude: [{pruning.sparcity: 0.5}]").contains("did you mean \"pruning.sparsity\"?"));
    assert!(
        problem("exclude: [{pruning: {sparcity: 0.5}}]")
            .contains("15:22: exclude[0].pruning.sparcity: found an unknown setting")
    );
    assert!(
        problem("exclude: [{pruning.sparsity: 0.6}]")
            .contains("found 0.6, which pruning.sparsity does not have, allowed 0.5")
    );
    assert!(problem("exclude: [{pruning.strategy: magnitud}]").contains("did you mean \"magnitude\"?"));
    assert!(problem("exclude: [{}]").contains("exclude[0]: found a map, allowed a map of at least one setting"));
    assert!(problem("exclude: {pruning.sparsity: 0.5}").contains("found a map, allowed a list of partial cells"));
    assert!(problem("exclude: [{pruning.sparsity: []}]").contains("found an empty list, allowed at least one value"));
    assert!(
        problem("exclude: [{pruning.sparsity: 0.5, pruning: {sparsity: 0.5}}]")
            .contains("the same setting a second time")
    );
    // When an axis is wrong, what is said of it is said once.
    let text = small_with(&["  sparsity: 2", "exclude: [{pruning.sparsity: 0.6}, {prunning: 1}]"]);
    let problems = problems(&text);
    assert_eq!(problems.len(), 2, "{problems:#?}");
    assert!(problems[1].contains("prunning"));
}

#[test]
fn text_from_the_file_cannot_spoil_a_message() {
    let said = problem("\"a\\u001b[31m\\n\": x");
    assert!(said.contains("\"a\\u{1b}[31m\\n\": found an unknown key"), "{said}");
    assert!(problem(&format!("{}: x", "k".repeat(1000))).len() < 400);
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
    assert_eq!(problems(&images("mnist", "")), [""; 0]);
    let found = problems(&images("mnist", "  target: y\n  drop: [a]\n  inputs: [a]\n  groups: [a]\n"));
    assert_eq!(found.len(), 4, "{found:#?}");
    assert!(found[0].contains("6:11: data.target: found a key of tables, allowed none of them: images have labels"));
    let other = |split: &str| problems(&images("mnist", "").replace("{kind: files, validation: 0.1, seed: 42}", split));
    let found = other("{kind: stratified, train: 0.6, validation: 0.2, test: 0.2}");
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains("5:17: data.split.kind: found \"stratified\", allowed files, the split of images"));
    assert!(other("{kind: files}")[0].contains("data.split.validation: found nothing, required a share"));
    assert!(other("{kind: files, validation: 1}")[0].contains("data.split.validation: found 1, allowed a share"));
    assert!(other("{kind: files, validation: 0.1, test: 0.1}")[0].contains("allowed kind, validation, seed"));
    let found = problem("  split: {kind: files, validation: 0.1}");
    assert!(
        found.contains("found \"files\", allowed stratified, time or column: files is the split of images"),
        "{found}"
    );
    assert!(
        problem("  path: my.mnist").contains("found \"my.mnist\", allowed the path of a .csv or .csv.gz file, or of")
    );
    assert_eq!(problems(&images("my.mnist/", "")), [""; 0]);
}

#[test]
fn rows_and_metrics_have_to_fit_the_task() {
    for rows in ["0", "-1", "0.5", "many", "4294967296"] {
        let found = problems(&images("mnist", &format!("  rows: {rows}\n")));
        assert!(
            found[0].contains("data.rows: found") && found[0].contains("an integer from 1 to 4294967295"),
            "{found:#?}"
        );
    }
    let goals = "objectives: [{maximize: ks}]\nconstraints: [{metric: ks, min: 0.5}]\n";
    let found = problems(&(images("mnist", "") + goals));
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(
        found.iter().all(|found| found.contains("found ks, which is of two classes alone, and the task is multiclass"))
    );
    assert_eq!(problems(&(images("mnist", "  task: binary\n") + goals)), [""; 0]);
}

#[test]
fn a_rate_falls_every_so_often_or_so_many_times() {
    let of = |step: &str| {
        problem(&format!("training: {{optimizer: {{kind: adam}}, epochs: 5, lr_schedule: {{step: {step}}}}}"))
    };
    assert!(of("{every: 1, times: 2}").ends_with("found 2, allowed only one of every and times"));
    assert!(of("{factor: 0.5}").ends_with("allowed every, a number of epochs, or times, a number of cuts"));
}

#[test]
fn attempts_are_at_least_one_of_what_can_be_tried_again() {
    let allowed = "an integer from 1 to 1000";
    for count in ["0", "-1", "1001", "0.5", "often", "[1, 2]"] {
        let found = problem(&format!("attempts: {count}"));
        assert!(found.contains(": attempts: found") && found.contains(allowed), "{found}");
    }
    let found = problem("attempts: {storage: 0}");
    assert!(found.contains("attempts.storage: found 0") && found.contains(allowed), "{found}");
    let found = problem("attempts: {input: 3}");
    assert!(
        found.contains("attempts.input: found an unknown key, allowed executor, out_of_memory, storage"),
        "{found}"
    );
}
