//! Reads `references`.

use secateur_proto::spec::{BoostingSpec, LogisticSpec, Reading, ReferenceModel, ScoresSpec, TableFormat};
use serde_json::{Value as Json, json};

use super::{
    super::{
        diagnostic::{Mark, quote},
        spec::{DataSpec, References},
        yaml::Value,
    },
    reader::{Field, Fields, Reader},
};

const NAMES: [&str; 3] = ["logistic", "boosting", "scores"];
/// The names that need no parameters.
const ALONE: [&str; 2] = ["logistic", "boosting"];
const ALLOWED: &str = "none, or a list such as [logistic, boosting]";
const SCORES: [&str; 1] = ["column"];
const LOGISTIC: [&str; 1] = ["l2"];
const BOOSTING: [&str; 7] = ["trees", "learning_rate", "leaves", "min_rows", "bins", "l2", "patience"];

/// Without the key, and with `none`, there are none.
pub(super) fn references(reader: &mut Reader, fields: &Fields<'_>, data: Option<&DataSpec>) -> Option<References> {
    let none = References { models: Vec::new(), mark: Mark::START };
    let Some(field) = fields.get("references").filter(|field| !field.is_text("none")) else { return Some(none) };
    let Some(items) = field.items() else {
        reader.wrong(&field, ALLOWED);
        return None;
    };
    let is_same = |one: &ReferenceModel, two: &ReferenceModel| match (one, two) {
        (ReferenceModel::Scores(one), ReferenceModel::Scores(two)) => one.column == two.column,
        _ => one.name() == two.name(),
    };
    let models = reader.values(&field, items, is_same, |reader, field| model(reader, field, data))?;
    if let Some(task) = data.map(|data| data.settings.task).filter(|task| !ReferenceModel::supports(*task)) {
        let message = format!("reference models take two classes, and data.task is {task}: leave references out");
        reader.report(field.mark(), &field.path, message);
        return None;
    }
    Some(References { models, mark: field.mark() })
}

/// A name, or a map of one name to its parameters.
fn model(reader: &mut Reader, field: &Field<'_>, data: Option<&DataSpec>) -> Option<ReferenceModel> {
    let (name, parameters) = match &field.node.value {
        Value::Map(entries) => match entries.as_slice() {
            [entry] if NAMES.contains(&entry.key.as_str()) => (entry.key.as_str(), Some(field.entry(entry))),
            [_] => {
                reader.fields(field, &NAMES);
                return None;
            }
            _ => {
                reader.wrong(field, "a name, or a map of one name such as {logistic: {l2: 0.1}}");
                return None;
            }
        },
        _ => {
            let allowed = "logistic, boosting, or a map such as {scores: {column: champion}}";
            (reader.choice_or_map(field, &ALONE.map(|name| (name, name)), &["scores"], allowed)?, None)
        }
    };
    if name == "logistic" {
        let mut spec = LogisticSpec::default();
        if let Some(field) = parameters {
            let fields = reader.fields(&field, &LOGISTIC)?;
            positive(reader, &fields, "l2", &mut spec.l2)?;
        }
        return Some(ReferenceModel::Logistic(spec));
    }
    if name == "scores" {
        return scores(reader, &parameters?, data?);
    }
    let mut spec = BoostingSpec::default();
    if let Some(field) = parameters {
        let fields = reader.fields(&field, &BOOSTING)?;
        let read = [
            integer(reader, &fields, "trees", [1, 10_000], &mut spec.trees),
            share(reader, &fields, "learning_rate", &mut spec.learning_rate),
            integer(reader, &fields, "leaves", [2, 1_024], &mut spec.leaves),
            integer(reader, &fields, "min_rows", [1, u32::MAX], &mut spec.min_rows),
            integer(reader, &fields, "bins", [2, 255], &mut spec.bins),
            from_zero(reader, &fields, "l2", &mut spec.l2),
            integer(reader, &fields, "patience", [1, 10_000], &mut spec.patience),
        ];
        read.into_iter().collect::<Option<()>>()?;
    }
    Some(ReferenceModel::Boosting(spec))
}

/// The column of scores that are given. It is not an input: nets would learn from it.
fn scores(reader: &mut Reader, field: &Field<'_>, data: &DataSpec) -> Option<ReferenceModel> {
    let fields = reader.fields(field, &SCORES)?;
    let field = reader.required(&fields, "column", "the name of a column of the table")?;
    let column = reader.text(&field, "the name of a column of the table")?.to_owned();
    let settings = &data.settings;
    if settings.format == TableFormat::Idx {
        reader.report(field.mark(), &field.path, "images have no column of scores");
        return None;
    }
    let is_input = match &settings.inputs {
        Some(inputs) => inputs.contains(&column),
        None => !settings.drop.contains(&column),
    };
    if is_input || settings.target.as_ref() == Some(&column) {
        let message = format!("found the column {}, which nets would learn from: add it to data.drop", quote(&column));
        reader.report(field.mark(), &field.path, message);
        return None;
    }
    Some(ReferenceModel::Scores(ScoresSpec { column, format: settings.format, reading: Reading::default() }))
}

/// Reads a parameter into `value`, which holds the default. `None` after a mistake.
fn integer(reader: &mut Reader, fields: &Fields<'_>, key: &str, [low, high]: [u32; 2], value: &mut u32) -> Option<()> {
    if let Some(field) = fields.get(key) {
        *value = reader.integer(&field, low, high)?;
    }
    Some(())
}

fn number(
    reader: &mut Reader,
    fields: &Fields<'_>,
    key: &str,
    (allowed, holds): (&str, fn(f64) -> bool),
    value: &mut f64,
) -> Option<()> {
    if let Some(field) = fields.get(key) {
        *value = reader.number(&field, allowed, holds)?;
    }
    Some(())
}

fn positive(reader: &mut Reader, fields: &Fields<'_>, key: &str, value: &mut f64) -> Option<()> {
    number(reader, fields, key, ("a number > 0", |number| number > 0.0), value)
}

fn from_zero(reader: &mut Reader, fields: &Fields<'_>, key: &str, value: &mut f64) -> Option<()> {
    number(reader, fields, key, ("a number ≥ 0", |number| number >= 0.0), value)
}

fn share(reader: &mut Reader, fields: &Fields<'_>, key: &str, value: &mut f64) -> Option<()> {
    number(reader, fields, key, ("a number > 0 and ≤ 1", |number| number > 0.0 && number <= 1.0), value)
}

/// The JSON Schema of the key.
pub(crate) fn schema() -> Json {
    let integer = |low: u32, high: u32| json!({"type": "integer", "minimum": low, "maximum": high});
    let l2 = json!({"type": "number", "exclusiveMinimum": 0});
    let logistic = json!({"type": "object", "properties": {"l2": l2}, "additionalProperties": false});
    let properties = json!({
        "trees": integer(1, 10_000),
        "learning_rate": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        "leaves": integer(2, 1_024),
        "min_rows": integer(1, u32::MAX),
        "bins": integer(2, 255),
        "l2": {"type": "number", "minimum": 0},
        "patience": integer(1, 10_000),
    });
    let boosting = json!({"type": "object", "properties": properties, "additionalProperties": false});
    let of = |name: &str, parameters: Json| json!({"type": "object", "properties": {name: parameters}, "required": [name], "additionalProperties": false});
    let column = json!({"type": "string", "minLength": 1});
    let scores = json!({
        "type": "object", "properties": {"column": column}, "required": ["column"], "additionalProperties": false,
    });
    let kinds = [of("logistic", logistic), of("boosting", boosting), of("scores", scores)];
    let items: Vec<Json> = [json!({"enum": ALONE})].into_iter().chain(kinds).collect();
    let item = json!({"anyOf": items});
    json!({"anyOf": [{"const": "none"}, {"type": "array", "items": item, "minItems": 1}]})
}
