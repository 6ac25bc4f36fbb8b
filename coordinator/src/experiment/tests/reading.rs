use std::num::NonZeroU32;

use secateur_proto::{
    metrics::{Direction, Metric, Over, Quantity, Split},
    spec::{OptimizerSpec, RegularizationKind, SelectBy, SplitSpec, TableFormat, Task},
};

use super::*;
use crate::experiment::{
    expand::Point,
    plan::{Constraint, Objective},
    setting::{
        PenaltyPhase, Scope, Setting, SettingValue, Strategy, model, pruning, regularization,
        training::{self, BATCH_SIZE, CLIP_GRADIENT_NORM, LR, WEIGHT_DECAY},
    },
    spec::Controls,
};

fn parsed(text: &str) -> SweepSpec {
    SweepSpec::parse("sweep.yaml", text).unwrap_or_else(|problems| panic!("{problems}"))
}

fn listed<T: SettingValue + Clone>(spec: &SweepSpec, setting: &'static Setting<T>) -> Vec<T> {
    spec.grid.listed(setting).into_iter().cloned().collect()
}

fn first(spec: &SweepSpec) -> Point {
    spec.points().next().expect("a point")
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let spec = parsed(SMALL);
    assert_eq!(spec.data.settings.format, TableFormat::Csv);
    assert_eq!(spec.data.settings.inputs, None);
    assert_eq!(listed(&spec, &BATCH_SIZE), [256]);
    assert_eq!(listed(&spec, &CLIP_GRADIENT_NORM), [None]);
    assert_eq!(*first(&spec).get(&training::SELECT_BY), SelectBy::Auc);
    assert_eq!(listed(&spec, &pruning::SCOPE), [Scope::Global]);
    assert_eq!(listed(&spec, &pruning::RETRAIN_LR), [None]);
    assert_eq!(listed(&spec, &regularization::KIND), [None]);
    assert_eq!(spec.seeds, [0, 1]);
    assert_eq!(spec.controls, Controls::auto());
    assert_eq!(
        spec.objectives,
        [
            Objective { quantity: Metric::Auc.on(Split::Validation), direction: Direction::Maximize, margin: None },
            Objective {
                quantity: Metric::NonzeroParameters.on(Split::Validation),
                direction: Direction::Minimize,
                margin: None
            },
        ]
    );
}

#[test]
fn optimisers_have_the_constants_of_pytorch() {
    let rule = |optimizer: &str| {
        let spec = parsed(&small_with(&[&format!("training: {{optimizer: {optimizer}, epochs: 1}}")]));
        (first(&spec).training().optimizer, listed(&spec, &LR), listed(&spec, &WEIGHT_DECAY))
    };
    let (adam, lr, decay) = rule("{kind: adam}");
    assert!(matches!(adam, OptimizerSpec::Adam { betas: [0.9, 0.999], eps: 1e-8, .. }));
    assert_eq!((lr, decay), (vec![1e-3], vec![0.0]));
    let (adamw, lr, decay) = rule("{kind: adamw}");
    assert!(matches!(adamw, OptimizerSpec::AdamW { betas: [0.9, 0.999], eps: 1e-8, .. }));
    assert_eq!((lr, decay), (vec![1e-3], vec![0.01]));
    let (sgd, lr, decay) = rule("{kind: sgd, lr: 0.1, momentum: 0.9, nesterov: true}");
    assert!(matches!(sgd, OptimizerSpec::Sgd { momentum: 0.9, nesterov: true, .. }));
    assert_eq!((lr, decay), (vec![0.1], vec![0.0]));
    let (_, lr, decay) = rule("{kind: adam, lr: [1e-3, 3.0e-3], weight_decay: [0, 1.0e-4]}");
    assert_eq!((lr, decay), (vec![1e-3, 3e-3], vec![0.0, 1e-4]));
}

#[test]
fn a_list_where_one_value_is_expected_is_an_axis() {
    let text = small_with(&[
        "model: {kind: mlp, hidden: [[64, 32], [16]]}",
        "training: {optimizer: {kind: adam}, epochs: [5, 10], batch_size: [64, 128], clip_gradient_norm: [none, 1]}",
        "  strategy: [random, {taylor: {batches: 3}}]",
        "  scope: [global, local]",
        "  sparsity: [0, 0.5, 9e-1]",
        "  retrain: {epochs: [1, 2], lr: [1.0e-4, 1.0e-3]}",
        "regularization: {kind: [l1, l2], strength: [0, 1], phase: [dense, retrain, both]}",
        "seeds: [7, 3]",
    ])
    // Added lines come last, so `scope` has to be moved to where it belongs.
    .replace("  scope: [global, local]\n", "")
    .replace("  sparsity:", "  scope: [global, local]\n  sparsity:");
    let spec = parsed(&text);
    assert_eq!(listed(&spec, &model::HIDDEN), [vec![64, 32], vec![16]]);
    assert_eq!(listed(&spec, &CLIP_GRADIENT_NORM), [None, Some(1.0)]);
    let mut taylor = Strategy::named("taylor").expect("a strategy");
    taylor.given.insert("batches".to_owned(), 3.0);
    assert_eq!(listed(&spec, &pruning::STRATEGY), [Strategy::named("random").expect("a strategy"), taylor]);
    assert_eq!(listed(&spec, &pruning::SCOPE), [Scope::Global, Scope::Local]);
    assert_eq!(listed(&spec, &pruning::SPARSITY), [0.0, 0.5, 0.9]);
    assert_eq!(listed(&spec, &pruning::RETRAIN_LR), [Some(1e-4), Some(1e-3)]);
    assert_eq!(listed(&spec, &regularization::KIND), [Some(RegularizationKind::L1), Some(RegularizationKind::L2)]);
    assert_eq!(listed(&spec, &regularization::PHASE), [PenaltyPhase::Dense, PenaltyPhase::Retrain, PenaltyPhase::Both]);
    assert_eq!(spec.seeds, [7, 3]);
    assert_eq!(spec.grid.len(), 2 * 2 * 2 * 2 * 2 * 2 * 3 * 2 * 2 * 2 * 2 * 3);
    assert_eq!(spec.points().count() as u128, spec.grid.len());
}

#[test]
fn splits_constraints_and_columns_are_read() {
    let text = small_with(&[
        "  split: {kind: time, column: year, train: 0.7, validation: 0.1, test: 0.2}",
        "constraints: [{metric: brier, max: 0.15}, {metric: auc@validation, min: 0.7, max: 1}, {metric: ece@test, max: 0.1}, {metric: 'auc@test[gap region]', max: 0.05}]",
        "objectives: [{minimize: log_loss}, {maximize: 'auc@validation[region=\"far north\"]'}]",
        "controls: none",
    ])
    .replace("  task: binary", "  task: binary\n  drop: [id, year]\n  inputs: [a, b]\n  groups: [region, a]");
    let spec = parsed(&text);
    let split = SplitSpec::Time { column: "year".to_owned(), train: 0.7, validation: 0.1, test: 0.2 };
    assert_eq!(spec.data.settings.split, split);
    assert_eq!(spec.data.settings.drop, ["id", "year"]);
    assert_eq!(spec.data.settings.inputs, Some(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(spec.data.settings.groups, ["region", "a"]);
    let of = |over| Quantity::new(Metric::Auc, over).expect("of rows");
    assert_eq!(
        spec.constraints,
        [
            Constraint { quantity: Metric::Brier.on(Split::Validation), min: None, max: Some(0.15) },
            Constraint { quantity: Metric::Auc.on(Split::Validation), min: Some(0.7), max: Some(1.0) },
            Constraint { quantity: Metric::Ece.on(Split::Test), min: None, max: Some(0.1) },
            Constraint { quantity: of(Over::gap(Split::Test, "region")), min: None, max: Some(0.05) },
        ]
    );
    let north = of(Over::slice(Split::Validation, "region", "far north"));
    assert_eq!(spec.objectives[1], Objective { quantity: north, direction: Direction::Maximize, margin: None });
    assert_eq!(spec.controls, Controls { list: vec![], named: true });
}

#[test]
fn six_objectives_of_both_directions_are_read() {
    let spec = parsed(&small_with(&[
        "objectives: [{maximize: auc}, {minimize: nonzero_parameters}, {minimize: brier}, {maximize: ks}, {minimize: macs}, {maximize: sparsity}]",
    ]));
    let directions: Vec<Direction> = spec.objectives.iter().map(|objective| objective.direction).collect();
    use Direction::{Maximize, Minimize};
    assert_eq!(directions, [Maximize, Minimize, Minimize, Maximize, Minimize, Maximize]);
}

#[test]
fn line_ends_a_byte_order_mark_and_comments_do_not_matter() {
    let spec = parsed(SMALL);
    for end in ["\r\n", "\r"] {
        assert_eq!(parsed(&SMALL.replace('\n', end)), spec);
        for wrong in [
            SMALL.replace("seeds: 2", "seeds: x"),
            SMALL.replace("  target: y", "  target: [y"),
            SMALL.replace("name: small", "nam: x"),
        ] {
            let places = |text: &str| {
                let problems = SweepSpec::parse("sweep.yaml", text).expect_err("is wrong");
                problems.list.into_iter().map(|problem| (problem.path, problem.mark)).collect::<Vec<_>>()
            };
            assert_eq!(places(&wrong.replace('\n', end)), places(&wrong), "{wrong}");
        }
    }
    assert_eq!(parsed(&format!("\u{feff}{SMALL}")), spec);
    assert_eq!(parsed(&format!("{SMALL}# the end")), spec);
}

#[test]
fn exclusions_are_nested_or_dotted() {
    let text = |exclude: &str| {
        small_with(&[
            "model: {kind: mlp, hidden: [[64, 32], [16]]}",
            "  strategy: [random, magnitude, {taylor: {batches: 4}}]",
            "  sparsity: [0.5, 0.75]",
            exclude,
        ])
    };
    let count = |exclude: &str| parsed(&text(exclude)).points().count();
    assert_eq!(count("exclude: []"), 12);
    assert_eq!(count("exclude: [{pruning.strategy: random}]"), 8);
    assert_eq!(count("exclude: [{pruning: {strategy: random, sparsity: 0.5}}]"), 10);
    assert_eq!(count("exclude: [{pruning: {strategy: [random, taylor]}, pruning.sparsity: [0.5]}]"), 8);
    assert_eq!(count("exclude: [{pruning.strategy: {taylor: {batches: 4}}}]"), 8);
    assert_eq!(count("exclude: [{model.hidden: [64, 32]}]"), 6);
    assert_eq!(
        count("exclude: [{model.hidden: [[64, 32]], pruning.sparsity: 7.5e-1}, {pruning.strategy: magnitude}]"),
        6
    );
    // A key with one value can be named too.
    assert_eq!(count("exclude: [{training.epochs: 20, pruning.sparsity: 0.5}]"), 6);
}

#[test]
fn images_are_of_several_classes_unless_the_file_says_two() {
    let text = SMALL
        .replace("  path: table.csv\n  target: y\n  task: binary\n", "  path: ../data/mnist\n  rows: 5000\n")
        .replace(
            "{kind: stratified, train: 0.6, validation: 0.2, test: 0.2, seed: 42}",
            "{kind: files, validation: 0.1}",
        );
    let spec = parsed(&text);
    assert_eq!(
        (spec.data.settings.format, spec.data.settings.task, spec.data.settings.rows),
        (TableFormat::Idx, Task::Multiclass, Some(5000))
    );
    assert_eq!(*first(&spec).get(&training::SELECT_BY), SelectBy::Accuracy);
    assert_eq!(
        (spec.data.settings.target, spec.data.settings.split),
        (None, SplitSpec::Files { validation: 0.1, seed: 0 })
    );
    assert_eq!(
        spec.objectives[0],
        Objective { quantity: Metric::Error.on(Split::Validation), direction: Direction::Minimize, margin: None }
    );
    let spec = parsed(&text.replace("  rows: 5000", "  task: binary"));
    assert_eq!(
        (spec.data.settings.task, spec.data.settings.rows, *first(&spec).get(&training::SELECT_BY)),
        (Task::Binary, None, SelectBy::Auc)
    );
    assert_eq!(
        spec.objectives[0],
        Objective { quantity: Metric::Auc.on(Split::Validation), direction: Direction::Maximize, margin: None }
    );
    for folder in ["mnist/", "a.b/mnist", ".", "..", "../mnist-1.0/"] {
        assert_eq!(parsed(&text.replace("../data/mnist", folder)).data.settings.format, TableFormat::Idx, "{folder}");
    }

    for path in ["a.csv.zst", "a.csv.zip", "A.ZIP", "a.parquet", "data.1/a.tsv"] {
        let spec = parsed(&small_with(&[&format!("  path: {path}")]));
        assert_eq!(spec.data.settings.format, TableFormat::Csv, "{path}");
    }

    let spec =
        parsed(&small_with(&["  task: multiclass", "training: {optimizer: {kind: adam}, epochs: 1, select_by: auc}"]));
    assert_eq!(
        (spec.data.settings.format, spec.data.settings.task, *first(&spec).get(&training::SELECT_BY)),
        (TableFormat::Csv, Task::Multiclass, SelectBy::Auc)
    );
}

#[test]
fn attempts_are_one_number_or_numbers_by_what_fails_and_are_no_part_of_the_work() {
    let attempts = |text: &str| {
        let attempts = parsed(&small_with(&[text])).attempts;
        [attempts.executor, attempts.out_of_memory, attempts.storage].map(|count| count.map(NonZeroU32::get))
    };
    assert_eq!(attempts("seeds: 1"), [None; 3]);
    assert_eq!(attempts("attempts: 5"), [Some(5); 3]);
    assert_eq!(attempts("attempts: {executor: 2, storage: 9}"), [Some(2), None, Some(9)]);
    let keys = |plan: Plan| plan.stages.into_iter().map(|stage| stage.key).collect::<Vec<_>>();
    assert_eq!(keys(planned(&small_with(&["attempts: 5"]))), keys(planned(SMALL)));
}

#[test]
fn the_purpose_is_text_and_decides_nothing() {
    let with = |purpose: &str| format!("{SMALL}purpose: {purpose}\n");
    let (plain, said) = (parsed(SMALL), parsed(&with("Decide on small loans.")));
    assert_eq!(plain.meaning, said.meaning);
    assert_eq!(crate::experiment::purpose(&with("'  Decide. '")).as_deref(), Some("Decide."));
    assert_eq!(crate::experiment::purpose(SMALL), None);
    assert!(SweepSpec::parse("sweep.yaml", &with("[1]")).is_err());
}
