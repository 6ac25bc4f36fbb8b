//! The keys of the sweep file that are no part of a cell: the data, what the sweep is about, what is added to it. Each is read by a
//! function of its own in `read`.

use secateur_proto::{
    metrics::Metric,
    spec::{Task, Vocabulary},
};
use serde_json::{Value as Json, json};

use super::{
    super::{
        adaptive::{FEWEST_SEEDS, Until},
        plan::Control,
        propose::{MAX_SEARCH, Sampler},
    },
    Form, Number, REQUIRED, Row, settings,
};

/// A key that is no part of a cell.
pub(crate) struct Key {
    /// The path in the sweep file.
    pub(crate) path: &'static str,
    /// One line of documentation.
    pub(crate) about: &'static str,
    /// The values, in words.
    pub(crate) allowed: &'static str,
    /// Its value where the file has none, in words.
    pub(crate) unset: &'static str,
    /// The kinds of its map that have the key; empty for all.
    pub(crate) only: &'static [&'static str],
    /// The JSON Schema of its value.
    pub(crate) schema: fn() -> Json,
}

/// The keys before the settings.
pub(super) static BEFORE_SETTINGS: &[Row] = &[
    Row::Key(&VERSION),
    Row::Key(&NAME),
    Row::Key(&PURPOSE),
    Row::Key(&PATH),
    Row::Key(&TARGET),
    Row::Key(&TASK),
    Row::Key(&SPLIT_KIND),
    Row::Key(&SPLIT_COLUMN),
    Row::Key(&SPLIT_TRAIN),
    Row::Key(&SPLIT_VALIDATION),
    Row::Key(&SPLIT_TEST),
    Row::Key(&SPLIT_SEED),
    Row::Key(&DATA_ROWS),
    Row::Key(&DROP),
    Row::Key(&INPUTS),
    Row::Key(&DATA_GROUPS),
];

/// The keys after the settings.
pub(super) static AFTER_SETTINGS: &[Row] = &[
    Row::Key(&SEEDS),
    Row::Key(&SAMPLER),
    Row::Key(&SEARCH_TRIALS),
    Row::Key(&SEARCH_SEED),
    Row::Key(&OBJECTIVES),
    Row::Key(&CONSTRAINTS),
    Row::Key(&DECISION),
    Row::Key(&EXCLUDE),
    Row::Key(&CONTROLS),
    Row::Key(&REFERENCES),
    Row::Key(&ATTEMPTS),
    Row::Key(&MEASURE),
];

/// A map of the sweep file.
pub(crate) struct Group {
    /// The path in the sweep file.
    pub(crate) path: &'static str,
    /// One line of documentation.
    pub(crate) about: &'static str,
    /// Whether a file without it is a mistake.
    pub(crate) is_required: bool,
}

const fn group(path: &'static str, about: &'static str) -> Group {
    Group { path, about, is_required: true }
}

/// Every map, outer ones first.
pub(crate) static GROUPS: &[Group] = &[
    group("data", "The table or the images, and what to do with them"),
    group("data.split", "Which rows are for training, validation and test"),
    Group {
        path: "data.format",
        about: "Format of the table's text. What it does not say is detected where certain",
        is_required: false,
    },
    group("model", "The net"),
    group("training", "How the dense nets are trained"),
    group("training.optimizer", "The update rule"),
    group("pruning", "What is removed, and when"),
    group("pruning.retrain", "How the remaining weights are trained"),
    Group {
        path: "regularization",
        about: "A penalty on the weights. Without this key there is none",
        is_required: false,
    },
    Group {
        path: "search",
        about: "Sample cells from lists, and from ranges such as {low: 1.0e-4, high: 1.0e-1, log: true}. Without this key: the whole grid",
        is_required: false,
    },
];

fn text() -> Json {
    json!({"type": "string", "minLength": 1})
}

fn column_list() -> Json {
    json!({"type": "array", "items": text(), "uniqueItems": true})
}

fn share() -> Json {
    Number::above(0.0).below(1.0).schema()
}

fn seed() -> Json {
    json!({"type": "integer", "minimum": 0})
}

pub(crate) static VERSION: Key = Key {
    path: "version",
    about: "Version of the format of the file",
    allowed: "1",
    unset: REQUIRED,
    only: &[],
    schema: || json!({"const": 1}),
};

pub(crate) static NAME: Key = Key {
    path: "name",
    about: "Name of the sweep",
    allowed: "1 to 48 letters, digits, `-`, `_` and `.`, starting with a letter or digit",
    unset: REQUIRED,
    only: &[],
    schema: || json!({"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,47}$"}),
};

pub(crate) static PURPOSE: Key = Key {
    path: "purpose",
    about: "What the model is for, in words. `dossier` prints it. Decides no result and no id",
    allowed: "text",
    unset: "none",
    only: &[],
    schema: text,
};

pub(crate) static PATH: Key = Key {
    path: "data.path",
    about: "Table of delimited text or Parquet, or folder of images. Relative to the sweep file",
    allowed: "a .csv, .tsv, .psv, .txt, .data, .dat or .parquet file, also with .gz, .zst or .zip behind it, or a folder of idx files (ending in / if \
              its name contains a dot)",
    unset: REQUIRED,
    only: &[],
    schema: text,
};

pub(crate) static TARGET: Key = Key {
    path: "data.target",
    about: "Column to predict. Images have their own labels",
    allowed: "the name of a column",
    unset: "required for tables",
    only: &[],
    schema: text,
};

pub(crate) static TASK: Key = Key {
    path: "data.task",
    about: "`binary`: two classes, `data.positive` or the larger value is positive; `multiclass`: 2 to 256 classes",
    allowed: "binary, multiclass",
    unset: "required for tables; multiclass for images",
    only: &[],
    schema: || json!({"enum": Task::ALL.iter().map(|task| task.name()).collect::<Vec<_>>()}),
};

pub(crate) static SPLIT_KIND: Key = Key {
    path: "data.split.kind",
    about: "How to split the rows. Tables: `stratified` at random, with the same class shares in each part; `time` by a column of dates or \
            numbers, the newest rows are the test; `column` by a column with the values train, validation and test. Images: `files`, by \
            their own files",
    allowed: "stratified, time, column; files for images",
    unset: REQUIRED,
    only: &[],
    schema: || json!({"enum": ["stratified", "time", "column", "files"]}),
};

pub(crate) static SPLIT_COLUMN: Key = Key {
    path: "data.split.column",
    about: "Column that decides the split. It is not an input",
    allowed: "the name of a column",
    unset: REQUIRED,
    only: &["time", "column"],
    schema: text,
};

pub(crate) static SPLIT_TRAIN: Key = Key {
    path: "data.split.train",
    about: "Share of the rows for training. The three shares sum to 1",
    allowed: "a share between 0 and 1",
    unset: REQUIRED,
    only: &["stratified", "time"],
    schema: share,
};

pub(crate) static SPLIT_VALIDATION: Key = Key {
    path: "data.split.validation",
    about: "Share of the rows for validation",
    allowed: "a share between 0 and 1",
    unset: REQUIRED,
    only: &["stratified", "time", "files"],
    schema: share,
};

pub(crate) static SPLIT_TEST: Key = Key {
    path: "data.split.test",
    about: "Share of the rows for the test",
    allowed: "a share between 0 and 1",
    unset: REQUIRED,
    only: &["stratified", "time"],
    schema: share,
};

pub(crate) static SPLIT_SEED: Key = Key {
    path: "data.split.seed",
    about: "Seed of the shuffle",
    allowed: "an integer ≥ 0",
    unset: "0",
    only: &["stratified", "files"],
    schema: seed,
};

pub(crate) static DATA_ROWS: Key = Key {
    path: "data.rows",
    about: "Keep at most N train rows: a stratified sample with the seed of the split. Validation and test keep all rows",
    allowed: "an integer ≥ 1",
    unset: "all",
    only: &[],
    schema: || json!({"type": "integer", "minimum": 1, "maximum": u32::MAX}),
};

pub(crate) static DROP: Key = Key {
    path: "data.drop",
    about: "Columns to ignore",
    allowed: "a list of column names",
    unset: "none",
    only: &[],
    schema: column_list,
};

pub(crate) static INPUTS: Key = Key {
    path: "data.inputs",
    about: "Input columns",
    allowed: "a list of column names",
    unset: "all columns without another role",
    only: &[],
    schema: || json!({"type": "array", "items": text(), "minItems": 1, "uniqueItems": true}),
};

pub(crate) static DATA_GROUPS: Key = Key {
    path: "data.groups",
    about: "Columns to report metrics by, with at most 100 levels each. They are inputs only if `data.inputs` names them",
    allowed: "a list of column names",
    unset: "none",
    only: &[],
    schema: column_list,
};

pub(crate) static SEEDS: Key = Key {
    path: "seeds",
    about: "Seeds of every cell; or `min` of every cell at first, then `step` (2) more in each round for contested cells alone, up to `max`",
    allowed: "a number of seeds, a list of different seeds, or a map such as {min: 3, max: 20, until: front_settled}",
    unset: REQUIRED,
    only: &[],
    schema: || {
        let list = json!({"type": "array", "items": seed(), "minItems": 1, "uniqueItems": true});
        let count = |minimum: u32| json!({"type": "integer", "minimum": minimum, "maximum": 250_000});
        let until: Vec<&str> = Until::ALL.iter().map(|until| until.name()).collect();
        let properties = json!({
            "min": count(FEWEST_SEEDS), "max": count(FEWEST_SEEDS + 1), "step": count(1), "until": {"enum": until},
        });
        let adaptive = json!({
            "type": "object", "properties": properties, "required": ["max"], "additionalProperties": false,
        });
        json!({"anyOf": [count(1), list, adaptive]})
    },
};

pub(crate) static SAMPLER: Key = Key {
    path: "search.sampler",
    about: "How to sample cells: `random` independently, `sobol` evenly spread (Sobol 1967)",
    allowed: Sampler::NAMES,
    unset: REQUIRED,
    only: &[],
    schema: || json!({"enum": Sampler::ALL}),
};

pub(crate) static SEARCH_TRIALS: Key = Key {
    path: "search.trials",
    about: "How many cells to sample. Each is trained with every seed",
    allowed: "an integer from 1 to 100000",
    unset: REQUIRED,
    only: &[],
    schema: || json!({"type": "integer", "minimum": 1, "maximum": MAX_SEARCH}),
};

pub(crate) static SEARCH_SEED: Key = Key {
    path: "search.seed",
    about: "Seed of the sample",
    allowed: "an integer ≥ 0",
    unset: "0",
    only: &[],
    schema: seed,
};

/// The name of a metric, or a quantity such as `auc@test`.
fn metrics() -> Json {
    let names: Vec<&str> = Metric::ALL.iter().map(|metric| metric.name()).collect();
    json!({"anyOf": [{"enum": names}, {"type": "string", "pattern": "@"}]})
}

pub(crate) static OBJECTIVES: Key = Key {
    path: "objectives",
    about: "Objectives of the Pareto front, measured on validation. At least one is a metric of the data. `margin` is how much of it a net may lose and still count as good as the best dense net (default: 0.01 of auc, 0.02 of gini, 0.0025 of brier, error and accuracy)",
    allowed: "a list such as [{maximize: auc}, {minimize: nonzero_parameters}]",
    unset: "these two; for `multiclass` error instead of auc",
    only: &[],
    schema: || {
        let margin = json!({"type": "number", "exclusiveMinimum": 0});
        let properties = json!({"maximize": metrics(), "minimize": metrics(), "margin": margin});
        let objective = json!({
            "type": "object", "properties": properties, "oneOf": [{"required": ["maximize"]}, {"required": ["minimize"]}],
            "additionalProperties": false,
        });
        json!({"type": "array", "items": objective, "minItems": 1})
    },
};

pub(crate) static CONSTRAINTS: Key = Key {
    path: "constraints",
    about: "Bounds (min, max or both) that a cell on the front must meet by its mean over the seeds",
    allowed: "a list such as [{metric: brier, max: 0.15}]",
    unset: "none",
    only: &[],
    schema: || {
        let number = json!({"type": "number"});
        let properties = json!({"metric": metrics(), "min": number, "max": number});
        let constraint = json!({
            "type": "object", "properties": properties, "required": ["metric"], "additionalProperties": false,
            "anyOf": [{"required": ["min"]}, {"required": ["max"]}],
        });
        json!({"type": "array", "items": constraint})
    },
};

pub(crate) static DECISION: Key = Key {
    path: "decision",
    about: "How scores become decisions, for the report: rows with low probabilities of the positive class are approved. `approve` is the \
            share of the validation rows to approve. `cost` chooses the cut-off with the lowest cost on validation, given the cost of \
            approving a row of the positive class and of declining one of the other class. Decides nothing of the results. Two classes only",
    allowed: "{approve: 0.7}, or {cost: {bad_approved: 5, good_declined: 1}}",
    unset: "none: the report shows several approval rates",
    only: &[],
    schema: super::super::read::decision_schema,
};

/// A map of settings below `prefix` to values, their paths written in any mixture of dots and nested maps.
fn partial_cell(prefix: &str) -> Json {
    let mut properties = serde_json::Map::new();
    for setting in settings().filter(|setting| setting.is_axis()) {
        let rest = if prefix.is_empty() {
            setting.path()
        } else {
            let Some(rest) = setting.path().strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.')) else {
                continue;
            };
            rest
        };
        properties.insert(rest.to_owned(), json!({}));
        for (dot, _) in rest.match_indices('.') {
            let key = &rest[..dot];
            let path = if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") };
            properties.entry(key).or_insert_with(|| partial_cell(&path));
        }
    }
    json!({"type": "object", "properties": properties, "minProperties": 1, "additionalProperties": false})
}

pub(crate) static EXCLUDE: Key = Key {
    path: "exclude",
    about: "Partial cells to leave out: every cell that has all values of one entry",
    allowed: "a list such as [{pruning.strategy: random, pruning.scope: local}]",
    unset: "none",
    only: &[],
    schema: || json!({"type": "array", "items": partial_cell(""), "maxItems": 1000}),
};

pub(crate) static CONTROLS: Key = Key {
    path: "controls",
    about: "Cells to add for comparison: `auto`, `none`, `all`, or a list of names. `scratch_epochs` and `scratch_compute` are small dense \
            nets, trained for as many epochs or multiply-accumulates; not for `lenet5`, nor where a penalty decides what is removed",
    allowed: "dense, dense_quantized, random, random_matched, shuffle, reinitialize, scratch_epochs, scratch_compute",
    unset: "auto: [dense, dense_quantized, random, scratch_epochs]",
    only: &[],
    schema: || {
        let names: Vec<Control> = Control::of_nets().collect();
        let list = json!({"type": "array", "items": {"enum": names}, "minItems": 1, "uniqueItems": true});
        json!({"anyOf": [{"enum": ["auto", "none", "all"]}, list]})
    },
};

pub(crate) static REFERENCES: Key = Key {
    path: "references",
    about: "Models of other kinds to compare nets with, fitted on the same prepared rows, with the weights of `training.class_weight`: \
            `logistic` regression with the penalty `l2` (1 / C of scikit-learn) and gradient `boosting` of trees, which stops when the \
            log loss of validation has not fallen for `patience` trees. Two classes and at most 2,048 inputs. They have no seed, so each \
            is computed once. `scores` are probabilities of the positive class that another model gave, in a column that `data.drop` names",
    allowed: "a list such as [logistic, boosting, {scores: {column: champion}}], or with parameters, here the defaults: [{logistic: {l2: 1}}, {boosting: {trees: 500, learning_rate: 0.1, \
              leaves: 31, min_rows: 20, bins: 255, l2: 0, patience: 20}}]",
    unset: "none",
    only: &[],
    schema: super::super::read::references_schema,
};

pub(crate) static ATTEMPTS: Key = Key {
    path: "attempts",
    about: "Failed attempts, alone in a bundle, after which a stage fails permanently: in total, or by failure class",
    allowed: "an integer from 1 to 1000, or a map such as {executor: 3, out_of_memory: 3, storage: 3}",
    unset: "3",
    only: &[],
    schema: || {
        let count = json!({"type": "integer", "minimum": 1, "maximum": 1000});
        let properties = json!({"executor": count, "out_of_memory": count, "storage": count});
        json!({"anyOf": [count, {"type": "object", "properties": properties, "additionalProperties": false}]})
    },
};

pub(crate) static MEASURE: Key = Key {
    path: "measure",
    about: "Measure each trained net on the worker's machine, with no other stage beside it: bytes in several formats, and latency and \
            throughput of an engine on one thread, in turns with a dense net. `batch` are rows of a call: latency is that of the smallest, \
            throughput that of the largest. Times differ from run to run. `engine`: `rten`, in programs built with `--features engine`, or \
            `score`, the code of `secateur score`",
    allowed: "true, false, or a map; `true` is {engine: rten, batch: [1, 256]}",
    unset: "false",
    only: &[],
    schema: super::super::read::measure_schema,
};
