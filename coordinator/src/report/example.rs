//! Made-up sweeps for tests and for looking at the pages. Numbers come from formulas, not from a random generator.

use std::collections::BTreeMap;

use secateur_proto::{
    ids::{CellId, ContentHash, StageKey, TrialId},
    metrics::{Direction, Measured, Metric, Metrics, NotMeasurable, Split},
    outcome::{Artifact, Artifacts, Failure, FailureClass, Role, StageOutcome, StageResult},
};
use serde_json::{Value, json};

use crate::experiment::plan::{
    Attempts, CONTROL_WIDTHS, Cell, ClassRows, Constraint, Control, DataSummary, Merged, Objective, Plan, Refused,
    Settings, SweepInfo, Trial,
};

pub(crate) type Sweep = (Plan, BTreeMap<TrialId, StageOutcome>);

const PARAMETERS: f64 = 10_305.0;
const PRUNABLE: u64 = 10_112;

fn id(text: &str) -> CellId {
    ContentHash::of(text.as_bytes()).short(12).parse().expect("digits")
}

fn settings(strategy: Option<&str>, scope: &str, sparsity: f64, strength: f64) -> Settings {
    let mut settings = Settings::from([("regularization.strength".to_owned(), json!(strength))]);
    if let Some(strategy) = strategy {
        settings.insert("pruning.strategy".to_owned(), json!(strategy));
        settings.insert("pruning.scope".to_owned(), json!(scope));
    }
    settings.insert("pruning.sparsity".to_owned(), json!(sparsity));
    settings
}

fn cell(settings: Settings, control: Option<Control>) -> Cell {
    let sparsity = settings.get("pruning.sparsity").and_then(Value::as_f64).unwrap_or(0.0);
    let id = id(&format!("{settings:?}{control:?}"));
    let removed_weights = Some((sparsity * PRUNABLE as f64).round() as u64);
    Cell { prunable_weights: PRUNABLE, removed_weights, ..Cell::new(id, settings, control) }
}

/// A smooth wobble in −1..1, different for each place.
fn wobble(key: &str, salt: u64) -> f64 {
    let hash = ContentHash::of(format!("{key}/{salt}").as_bytes());
    let bytes = hash.as_bytes();
    (0..4).map(|index| f64::from(bytes[index]) / 127.5 - 1.0).sum::<f64>() / 3.0
}

fn removed(cell: &Cell) -> f64 {
    cell.removed_weights.unwrap_or(0) as f64
}

/// What a completed trial of `cell` might have measured.
pub(crate) fn outcome(cell: &Cell, seed: u64) -> StageOutcome {
    let text = |key: &str| cell.settings.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
    let sparsity = removed(cell) / PRUNABLE as f64;
    let strength = cell.settings.get("regularization.strength").and_then(Value::as_f64).unwrap_or(0.0);
    let (loss, steepness) = match (text("pruning.strategy").as_str(), text("pruning.scope").as_str()) {
        ("random", _) => (0.110, 6.0),
        ("magnitude", "local") => (0.062, 14.0),
        ("magnitude", _) => (0.042, 20.0),
        ("taylor", _) => (0.036, 26.0),
        _ => (0.0, 1.0),
    };
    let noise = 0.0018 * wobble("seed", seed) + 0.0009 * wobble(cell.id.as_str(), seed);
    let auc =
        0.7575 + if strength > 0.0 { 0.0011 - strength * 9.0 } else { 0.0 } - loss * sparsity.powf(steepness) + noise;
    let nonzero = (PARAMETERS - removed(cell) - (strength * 4e6 * (1.0 - sparsity)).round()).max(1.0);
    let mut metrics = Metrics::new();
    for (split, shift) in
        [(Split::Validation, 0.0), (Split::Test, -0.0024 + 0.0006 * wobble(cell.id.as_str(), seed + 100))]
    {
        let auc = auc + shift;
        metrics.insert(Metric::Auc.on(split), auc);
        metrics.insert(Metric::Gini.on(split), 2.0 * auc - 1.0);
        metrics.insert(Metric::Ks.on(split), 1.48 * (auc - 0.5) + 0.002 * wobble(cell.id.as_str(), seed + 7));
        metrics.insert(Metric::AveragePrecision.on(split), 0.21 + 1.1 * (auc - 0.5));
        metrics.insert(Metric::LogLoss.on(split), 0.4585 - 0.62 * (auc - 0.7575));
        metrics.insert(Metric::Brier.on(split), 0.1467 - 0.21 * (auc - 0.7575));
        metrics.insert(Metric::Ece.on(split), 0.0091 + 0.002 * wobble(cell.id.as_str(), seed + 9).abs());
        metrics.insert(Metric::Accuracy.on(split), 0.8012 + 0.3 * (auc - 0.7575));
        metrics.insert(Metric::Error.on(split), 0.1988 - 0.3 * (auc - 0.7575));
    }
    metrics.insert(Metric::Parameters.on(Split::Test), PARAMETERS);
    metrics.insert(Metric::NonzeroParameters.on(Split::Test), nonzero);
    metrics.insert(Metric::Sparsity.on(Split::Test), sparsity + strength * 4e6 * (1.0 - sparsity) / PRUNABLE as f64);
    metrics.insert(Metric::CompressionRatio.on(Split::Test), PARAMETERS / nonzero);
    metrics.insert(Metric::Macs.on(Split::Test), (nonzero - 97.0).max(1.0));
    metrics.insert(Metric::TheoreticalSpeedup.on(Split::Test), 10_208.0 / (nonzero - 97.0).max(1.0));
    metrics.insert(Metric::SizeBytes.on(Split::Test), 4.0 * nonzero + 1_276.0);
    let artifact = |role: Role| {
        (role, Artifact { hash: ContentHash::of(format!("{}{seed}{}", cell.id, role.name()).as_bytes()), size: 41_220 })
    };
    let artifacts: Artifacts =
        [Role::Checkpoint, Role::Plan, Role::Mask, Role::Scores, Role::Curve].map(artifact).into();
    StageOutcome::Completed(StageResult { metrics, artifacts })
}

/// A plan of `cells`, each with `seeds` seeds, of which all trials completed.
pub(crate) fn sweep(mut cells: Vec<Cell>, seeds: u64) -> Sweep {
    let strength = |cell: &Cell| cell.settings.get("regularization.strength").cloned();
    let dense: Vec<(Option<Value>, CellId)> = (cells.iter())
        .filter(|cell| cell.control == Some(Control::Dense))
        .map(|cell| (strength(cell), cell.id.clone()))
        .collect();
    for cell in cells.iter_mut().filter(|cell| cell.control != Some(Control::Dense)) {
        let own = dense.iter().find(|(found, _)| *found == strength(cell));
        cell.dense_control = own.map(|(_, id)| id.clone());
    }
    let sparsity = |cell: &Cell| cell.settings.get("pruning.sparsity").cloned();
    let is_random = |cell: &Cell| cell.settings.get("pruning.strategy").is_some_and(|name| name == "random");
    let random: Vec<_> = (cells.iter().filter(|cell| is_random(cell)))
        .map(|cell| (strength(cell), sparsity(cell), cell.id.clone()))
        .collect();
    for cell in cells.iter_mut().filter(|cell| !is_random(cell)) {
        let own = random.iter().find(|(one, two, _)| (one, two) == (&strength(cell), &sparsity(cell)));
        cell.random_control = own.map(|(_, _, id)| id.clone());
    }
    let key = |text: String| StageKey(ContentHash::of(text.as_bytes()));
    let mut trials = Vec::new();
    let mut outcomes = BTreeMap::new();
    for cell in &cells {
        for seed in 1..=seeds {
            let id: TrialId = format!("{}-{seed}", cell.id).parse().expect("an id");
            let dense = format!("dense {:?} {seed}", cell.settings.get("regularization.strength"));
            let stages = vec![key("prepare".to_owned()), key(dense), key(format!("prune {id}"))];
            outcomes.insert(id.clone(), outcome(cell, seed));
            trials.push(Trial { id, cell: cell.id.clone(), seed, stages });
        }
    }
    let file_text = include_str!("example.yaml").to_owned();
    let sweep = SweepInfo {
        name: "sba-loans".to_owned(),
        id: "5f0c2a9be713".parse().expect("an id"),
        file_hash: ContentHash::of(file_text.as_bytes()),
        file_text,
        objectives: vec![
            Objective { quantity: Metric::Auc.on(Split::Validation), direction: Direction::Maximize, margin: None },
            Objective {
                quantity: Metric::NonzeroParameters.on(Split::Validation),
                direction: Direction::Minimize,
                margin: None,
            },
        ],
        constraints: vec![Constraint { quantity: Metric::Brier.on(Split::Validation), min: None, max: Some(0.17) }],
        decision: None,
        attempts: Attempts::default(),
        data: DataSummary {
            path: "data/sba_loans.csv.gz".to_owned(),
            hash: ContentHash::of(b"table"),
            size: 2_346_112,
            rows: [36_000, 12_000, 12_000],
            classes: vec![
                ClassRows { name: "0".to_owned(), rows: [28_440, 9_480, 9_480] },
                ClassRows { name: "1".to_owned(), rows: [7_560, 2_520, 2_520] },
            ],
            columns: 19,
            inputs: 92,
            image: None,
            periods: None,
            notes: vec![],
        },
        weights: None,
        adaptive: None,
        rounds: vec![],
    };
    (Plan { sweep, stages: Vec::new(), cells, trials, merged: Vec::new(), refused: Vec::new() }, outcomes)
}

/// Four strategies and scopes, five sparsities, three strengths, three seeds, the controls; something of everything that goes wrong.
pub(crate) fn realistic() -> Sweep {
    let strengths = [0.0, 1e-5, 1e-4];
    let sparsities = [0.5, 0.75, 0.9, 0.95, 0.98];
    let mut cells = Vec::new();
    for strength in strengths {
        for (strategy, scope) in
            [("random", "global"), ("magnitude", "global"), ("magnitude", "local"), ("taylor", "global")]
        {
            cells.extend(sparsities.map(|sparsity| cell(settings(Some(strategy), scope, sparsity, strength), None)));
        }
    }
    for strength in strengths {
        cells.push(cell(settings(None, "", 0.0, strength), Some(Control::Dense)));
        let random = |sparsity| cell(settings(Some("random"), "local", sparsity, strength), Some(Control::Random));
        cells.extend(sparsities.map(random));
    }
    let (mut plan, mut outcomes) = sweep(cells, 3);
    outcomes.insert(plan.trials[50].id.clone(), StageOutcome::Diverged { step: 1_873 });
    let failure = Failure::new(FailureClass::Executor, "the executor was killed by signal 9 on each of 3 attempts");
    outcomes.insert(plan.trials[95].id.clone(), StageOutcome::Failed(failure));
    outcomes.insert(plan.trials[14].id.clone(), StageOutcome::Collapsed { layer: "layers.1".to_owned() });
    let into = |index: usize| plan.cells[index].id.clone();
    plan.merged = vec![
        Merged {
            into: into(4),
            settings: settings(Some("random"), "global", 0.980_02, 0.0),
            reason: "both sparsities remove 9,910 of 10,112 weights".to_owned(),
        },
        Merged {
            into: into(9),
            settings: settings(Some("magnitude"), "global", 0.980_02, 0.0),
            reason: "both sparsities remove 9,910 of 10,112 weights".to_owned(),
        },
    ];
    plan.refused = vec![Refused {
        settings: settings(Some("magnitude"), "local", 0.9999, 0.0),
        reason: "layers.1 would keep none of its 2,048 weights".to_owned(),
    }];
    (plan, outcomes)
}

/// Magnitudes at two sparsities, the dense control, and a small dense net beside each of the two.
pub(crate) fn with_small_net() -> Sweep {
    let mut cells: Vec<Cell> =
        [0.5, 0.9].map(|sparsity| cell(settings(Some("magnitude"), "global", sparsity, 0.0), None)).into();
    cells.push(cell(settings(None, "", 0.0, 0.0), Some(Control::Dense)));
    cells.extend([(0.5, [32, 16]), (0.9, [9, 3])].map(|(sparsity, widths)| {
        let mut settings = settings(Some("scratch (as many epochs)"), "", sparsity, 0.0);
        settings.remove("pruning.scope");
        settings.insert(CONTROL_WIDTHS.to_owned(), json!(widths));
        Cell { removed_weights: Some(0), ..cell(settings, Some(Control::ScratchEpochs)) }
    }));
    (cells[0].scratch_control, cells[1].scratch_control) = (Some(cells[3].id.clone()), Some(cells[4].id.clone()));
    sweep(cells, 3)
}

/// Images of ten classes, judged by their errors: trials without the metrics that only two classes have.
pub(crate) fn images() -> Sweep {
    let mut cells: Vec<Cell> = ["random", "magnitude"]
        .into_iter()
        .flat_map(|strategy| [0.5, 0.98].map(|sparsity| cell(settings(Some(strategy), "global", sparsity, 0.0), None)))
        .collect();
    cells.push(cell(settings(None, "", 0.0, 0.0), Some(Control::Dense)));
    let (mut plan, mut outcomes) = sweep(cells, 3);
    for outcome in outcomes.values_mut() {
        let StageOutcome::Completed(result) = outcome else { continue };
        for split in Split::ALL {
            result.metrics.insert(Metric::Ks.on(split), Measured::Not(NotMeasurable::SeveralClasses));
        }
    }
    plan.sweep.objectives = vec![
        Objective { quantity: Metric::Error.on(Split::Validation), direction: Direction::Minimize, margin: None },
        Objective {
            quantity: Metric::NonzeroParameters.on(Split::Validation),
            direction: Direction::Minimize,
            margin: None,
        },
    ];
    plan.sweep.constraints.clear();
    let data = &mut plan.sweep.data;
    data.path = "mnist".to_owned();
    data.rows = [54_000, 6_000, 10_000];
    data.classes = (0..10).map(|class| ClassRows { name: class.to_string(), rows: [5_400, 600, 1_000] }).collect();
    (data.columns, data.inputs, data.image) = (0, 784, Some([1, 28, 28]));
    (plan, outcomes)
}

/// Magnitudes and the zeros of a proximal penalty, three strengths in no order, two sparsities, two seeds, the dense controls.
pub(crate) fn penalties() -> Sweep {
    let strengths = [1e-3, 0.0, 1e-4];
    let mut cells: Vec<Cell> = strengths
        .into_iter()
        .flat_map(|strength| [0.9, 0.5].map(|sparsity| (sparsity, strength)))
        .map(|(sparsity, strength)| cell(settings(Some("magnitude"), "global", sparsity, strength), None))
        .collect();
    cells.extend(strengths.map(|strength| {
        let free = cell(settings(Some("regularized"), "global", 0.9, strength), None);
        Cell { removed_weights: None, ..free }
    }));
    cells.extend(strengths.map(|strength| cell(settings(None, "", 0.0, strength), Some(Control::Dense))));
    sweep(cells, 2)
}

/// Names that want to be markup, formulas, or the end of something.
pub(crate) fn hostile() -> Sweep {
    let names = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "</script><b>",
        "]]>",
        "=1+1",
        "@SUM(A1)",
        "-2",
        "'; --",
        "<!--",
        "\u{202e}ignored",
        "| a | b\n|---|",
        "`x` **y** [z](javascript:alert(1))",
        "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 \u{0}\u{7}",
    ];
    let cells = (names.iter())
        .map(|name| {
            let mut settings = settings(Some(name), name, 0.5, 0.0);
            settings.insert((*name).to_owned(), json!(name));
            cell(settings, None)
        })
        .collect();
    let (mut plan, mut outcomes) = sweep(cells, 2);
    let all = names.concat();
    outcomes.insert(plan.trials[0].id.clone(), StageOutcome::Failed(Failure::new(FailureClass::Input, all.clone())));
    outcomes.insert(plan.trials[2].id.clone(), StageOutcome::Collapsed { layer: all.clone() });
    plan.sweep.name = all.clone();
    plan.sweep.file_text = all.clone();
    plan.sweep.data.path = all.clone();
    let settings = plan.cells[0].settings.clone();
    plan.merged = vec![Merged { into: plan.cells[1].id.clone(), settings: settings.clone(), reason: all.clone() }];
    plan.refused = vec![Refused { settings, reason: all }];
    (plan, outcomes)
}
