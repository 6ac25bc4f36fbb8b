//! The JSON Schema and the table of keys: both are what is checked in, and the schema agrees with the reader.

use std::{collections::HashSet, fs, path::PathBuf, sync::LazyLock};

use serde_json::{Value as Json, json};

use super::*;
use crate::experiment::{
    schema::{markdown, schema},
    yaml::{self, Node},
};

fn configs() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../configs")
}

/// The text of a file in configs/ that is made from the rows; with SECATEUR_UPDATE set it is written again.
fn checked_in(name: &str, made: impl FnOnce(&str) -> String) {
    let path = configs().join(name);
    let found = fs::read_to_string(&path).unwrap_or_default();
    let made = made(&found);
    if std::env::var_os("SECATEUR_UPDATE").is_some() {
        fs::write(&path, &made).expect("configs/ can be written");
    }
    assert!(found == made, "configs/{name} is not what the settings say; run this test with SECATEUR_UPDATE=1");
}

#[test]
fn the_schema_is_the_one_that_is_checked_in() {
    checked_in("sweep.schema.json", |_| format!("{}\n", serde_json::to_string_pretty(&schema()).expect("plain data")));
}

#[test]
fn the_table_of_keys_is_the_one_that_is_checked_in() {
    const MARKS: [&str; 2] = ["<!-- keys -->\n", "<!-- end of keys -->\n"];
    checked_in("README.md", |found| {
        let (before, rest) = found.split_once(MARKS[0]).expect("a mark before the table");
        let (_, after) = rest.split_once(MARKS[1]).expect("a mark after the table");
        format!("{before}{}{}{}{after}", MARKS[0], markdown(), MARKS[1])
    });
}

fn json_of(node: &Node) -> Json {
    match &node.value {
        yaml::Value::Null => Json::Null,
        yaml::Value::Bool(value) => json!(value),
        yaml::Value::Integer(value) => json!(i64::try_from(*value).expect("a small integer")),
        yaml::Value::Float(value) => json!(value),
        yaml::Value::Text(text) => json!(text),
        yaml::Value::List(items) => items.iter().map(json_of).collect(),
        yaml::Value::Map(entries) => entries.iter().map(|entry| (entry.key.clone(), json_of(&entry.value))).collect(),
    }
}

/// Every sweep file in configs/, and files with the keys that those do not have.
fn files() -> Vec<Json> {
    let paths = fs::read_dir(configs()).expect("configs/ is there").flatten().map(|entry| entry.path());
    let texts = paths.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    let mut texts: Vec<String> = texts.map(|path| fs::read_to_string(path).expect("a config can be read")).collect();
    texts.push(small_with(&[
        "model: {kind: residual_mlp, width: 8, blocks: 1, activation: gelu, dropout: 0.1}",
        "training: {optimizer: {kind: adamw, betas: [0.9, 0.99], eps: 1.0e-7}, epochs: [1, 2], lr_schedule: {step: {times: 2}}}",
        "  retrain: {epochs: 1, lr_schedule: {step: {every: 1, factor: 0.5}}}",
        "  split: {kind: time, column: t, train: 0.6, validation: 0.2, test: 0.2}",
        "exclude: [{training: {epochs: 1}, pruning.sparsity: 0.5}]",
        "attempts: {executor: 1}",
        "controls: [dense, random]",
    ]));
    texts.push(small_with(&[
        "model: {kind: mlp, hidden: [[8], [9, 8]], weights: {path: net.pt, rename: {fc: layers, other: ''}}}",
        "  sparsity: 0.5\n  schedule: {gradual: {shape: linear}}\n  scope: {per_layer: {layers.0: 0.5}}\n  granularity: '2:4'",
        "  split: {kind: column, column: t}",
        "regularization: none",
    ]).replace("[[8], [9, 8]]", "[8]"));
    texts.iter().map(|text| json_of(&yaml::parse("sweep.yaml", text).expect("a sweep file").0)).collect()
}

fn is_read(file: &Json) -> bool {
    SweepSpec::parse("sweep.yaml", &file.to_string()).is_ok()
}

fn is_valid(file: &Json) -> bool {
    static SCHEMA: LazyLock<Json> = LazyLock::new(schema);
    validate(&SCHEMA, &SCHEMA, file)
}

/// Every file that differs from this one by one change to a map or a value within it.
fn variants(file: &Json, change: &impl Fn(&Json) -> Vec<Json>) -> Vec<Json> {
    let mut all = change(file);
    match file {
        Json::Object(map) => {
            for (key, value) in map {
                all.extend(variants(value, change).into_iter().map(|value| {
                    let mut map = map.clone();
                    map.insert(key.clone(), value);
                    Json::Object(map)
                }));
            }
        }
        Json::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                all.extend(variants(item, change).into_iter().map(|item| {
                    let mut items = items.clone();
                    items[index] = item;
                    Json::Array(items)
                }));
            }
        }
        _ => {}
    }
    all
}

#[test]
fn what_the_reader_takes_the_schema_takes() {
    for file in files() {
        assert!(is_read(&file), "{file}");
        assert!(is_valid(&file), "{file}");
    }
}

#[test]
fn reader_and_schema_agree_on_unknown_keys() {
    let unknown = |value: &Json| {
        let Json::Object(map) = value else { return Vec::new() };
        let mut map = map.clone();
        map.insert("no_such_key".to_owned(), json!(1));
        vec![Json::Object(map)]
    };
    for file in files().iter().flat_map(|file| variants(file, &unknown)) {
        assert_eq!(is_read(&file), is_valid(&file), "{file}");
    }
}

/// The reader may refuse more: a schema knows no sums, no orders and no other keys.
#[test]
fn what_the_schema_refuses_the_reader_refuses() {
    let damaged = |value: &Json| match value {
        Json::Object(map) => {
            let without = |key: &String| {
                let mut map = map.clone();
                map.remove(key);
                Json::Object(map)
            };
            map.keys().map(without).chain([json!("text"), json!([])]).collect()
        }
        _ => vec![
            json!("text"),
            json!(-1),
            json!(0),
            json!(1.5),
            json!(1e9),
            json!([]),
            json!({}),
            json!(null),
            json!(true),
        ],
    };
    let mut refused = HashSet::new();
    for file in files().iter().flat_map(|file| variants(file, &damaged)).filter(|file| !is_valid(file)) {
        assert!(!is_read(&file), "{file}");
        refused.insert(file.to_string());
    }
    assert!(refused.len() > 500, "only {} files are refused", refused.len());
}

/// Settings that need another one, or exclude it.
#[test]
fn the_schema_knows_which_keys_go_together() {
    for lines in [
        "training: {optimizer: {kind: sgd}, epochs: 1}",
        "training: {optimizer: {kind: adam}, epochs: 1, lr_schedule: {step: {factor: 0.5}}}",
        "training: {optimizer: {kind: adam}, epochs: 1, lr_schedule: {step: {every: 2, times: 2}}}",
        "model: {kind: mlp}",
        "model: {kind: residual_mlp}",
        "regularization: {strength: 0.1}",
        "regularization: {kind: l1}",
        "constraints: [{metric: auc}]",
        "  sparsity: 0.5\n  schedule: {iterative: {rounds: 2, levels: [0.1]}}",
        "  sparsity: 0.5\n  schedule: {iterative: {rewind_to: 3}}",
        "  sparsity: 0.5\n  schedule: {iterative: {rewind_to: 3, then: finetune}}",
        "  sparsity: 0.5\n  schedule: {gradual: {times: 3, every: 3}}",
    ] {
        let text = small_with(&[lines]);
        let file = json_of(&yaml::parse("sweep.yaml", &text).expect("a map").0);
        assert!(!is_read(&file), "the reader takes {lines}");
        assert!(!is_valid(&file), "the schema takes {lines}");
    }
    assert!(is_valid(&json_of(&yaml::parse("sweep.yaml", SMALL).expect("a map").0)));
}

/// The part of JSON Schema that the schema uses, but for patterns.
fn validate(root: &Json, schema: &Json, value: &Json) -> bool {
    let Json::Object(rules) = schema else { return schema == &json!(true) };
    rules.iter().all(|(rule, content)| holds(root, rules, rule, content, value))
}

fn holds(root: &Json, rules: &serde_json::Map<String, Json>, rule: &str, content: &Json, value: &Json) -> bool {
    let list = |content: &Json| content.as_array().cloned().unwrap_or_default();
    let count = |content: &Json| usize::try_from(content.as_u64().expect("a count")).expect("a small one");
    let number = value.as_f64();
    let compared =
        |holds: fn(&f64, &f64) -> bool| number.is_none_or(|number| holds(&number, &content.as_f64().expect("a bound")));
    match rule {
        "$schema" | "$defs" | "title" | "description" | "pattern" | "then" => true,
        "$ref" => {
            validate(root, &root["$defs"][content.as_str().expect("a reference").trim_start_matches("#/$defs/")], value)
        }
        "const" => value == content,
        "enum" => list(content).contains(value),
        "anyOf" => list(content).iter().any(|schema| validate(root, schema, value)),
        "oneOf" => list(content).iter().filter(|schema| validate(root, schema, value)).count() == 1,
        "not" => !validate(root, content, value),
        "allOf" => list(content).iter().all(|schema| validate(root, schema, value)),
        "if" => !validate(root, content, value) || validate(root, &rules["then"], value),
        "type" => {
            let names = if content.is_array() { list(content) } else { vec![content.clone()] };
            names.iter().any(|name| is_of_type(name.as_str().expect("a name"), value))
        }
        "minimum" => compared(|number, bound| number >= bound),
        "maximum" => compared(|number, bound| number <= bound),
        "exclusiveMinimum" => compared(|number, bound| number > bound),
        "exclusiveMaximum" => compared(|number, bound| number < bound),
        "minLength" => value.as_str().is_none_or(|text| text.len() >= count(content)),
        "items" => value.as_array().is_none_or(|items| items.iter().all(|item| validate(root, content, item))),
        "minItems" => value.as_array().is_none_or(|items| items.len() >= count(content)),
        "maxItems" => value.as_array().is_none_or(|items| items.len() <= count(content)),
        "uniqueItems" => value
            .as_array()
            .is_none_or(|items| items.iter().map(Json::to_string).collect::<HashSet<_>>().len() == items.len()),
        "minProperties" => value.as_object().is_none_or(|map| map.len() >= count(content)),
        "maxProperties" => value.as_object().is_none_or(|map| map.len() <= count(content)),
        "required" => value
            .as_object()
            .is_none_or(|map| list(content).iter().all(|key| map.contains_key(key.as_str().expect("a key")))),
        "properties" => value.as_object().is_none_or(|map| {
            map.iter().all(|(key, value)| content.get(key).is_none_or(|schema| validate(root, schema, value)))
        }),
        "additionalProperties" => value.as_object().is_none_or(|map| {
            let others =
                map.iter().filter(|(key, _)| rules.get("properties").is_none_or(|known| known.get(key).is_none()));
            others.into_iter().all(|(_, value)| validate(root, content, value))
        }),
        other => panic!("this test does not know {other}"),
    }
}

fn is_of_type(name: &str, value: &Json) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        other => panic!("this test does not know the type {other}"),
    }
}
