//! The JSON Schema of the sweep file, and the table of its keys, from the rows of `setting`.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json, json};

use super::setting::{GROUPS, Group, REQUIRED, Row, rows};

/// The JSON Schema of the sweep file. What it refuses the reader refuses, which also checks what a schema cannot say.
#[must_use]
pub fn schema() -> Json {
    let mut schema = map_schema("");
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Sweep file of Secateur");
    let number = json!({"type": "number"});
    let flag = json!({"type": "boolean"});
    schema["$defs"] = json!({"range": {
        "type": "object",
        "properties": {"low": number, "high": number, "log": flag, "integer": flag},
        "required": ["low", "high"],
        "additionalProperties": false,
    }});
    schema
}

fn key_of(path: &str) -> String {
    path.rsplit_once('.').map_or(path, |(_, key)| key).to_owned()
}

fn rows_of(path: &str) -> impl Iterator<Item = Row> {
    rows().filter(move |row| row.parent() == path)
}

/// The schema of the map at `path`.
fn map_schema(path: &str) -> Json {
    let groups = || GROUPS.iter().filter(|group| Row::parent_of(group.path) == path && !group.path.is_empty());
    let mut properties = Map::new();
    for row in rows_of(path) {
        properties.insert(key_of(row.path()), described(row.schema(), &description(row)));
    }
    for group in groups() {
        properties.insert(key_of(group.path), group_schema(group));
    }
    let kinds = kinds_of(path);
    let required = rows_of(path).filter(|row| is_always_required(*row, &kinds)).map(Row::path);
    let required = required.chain(groups().filter(|group| group.is_required).map(|group| group.path)).map(key_of);
    let mut schema = json!({
        "type": "object",
        "properties": properties,
        "required": required.collect::<Vec<_>>(),
        "additionalProperties": false,
    });
    let of_kinds: Vec<Json> = kinds.iter().map(|kind| kind_schema(path, kind, &kinds)).collect();
    if !of_kinds.is_empty() {
        schema["allOf"] = of_kinds.into();
    }
    schema
}

fn group_schema(group: &Group) -> Json {
    let map = map_schema(group.path);
    let schema = if group.is_required { map } else { json!({"anyOf": [{"const": "none"}, map]}) };
    described(schema, group.about)
}

fn described(mut schema: Json, description: &str) -> Json {
    schema["description"] = json!(description);
    schema
}

fn description(row: Row) -> String {
    let unset = if row.unset() == REQUIRED { "Required".to_owned() } else { format!("Default: {}", row.unset()) };
    format!("{}. {unset}.", row.about())
}

/// The kinds by which the keys of a map differ.
fn kinds_of(path: &str) -> Vec<&'static str> {
    let mut kinds: Vec<&str> = Vec::new();
    for kind in rows_of(path).flat_map(|row| row.only().iter().copied()) {
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds
}

/// Whether a map has to have that key, whichever of these kinds it is of.
fn is_always_required(row: Row, kinds: &[&str]) -> bool {
    match kinds {
        [] => row.is_required(None),
        kinds => kinds.iter().all(|kind| row.is_required(Some(kind))),
    }
}

/// Which keys a map of that kind does not have, and which it must have.
fn kind_schema(path: &str, kind: &str, kinds: &[&str]) -> Json {
    let mut others = Map::new();
    let mut required = Vec::new();
    for row in rows_of(path) {
        if !row.only().is_empty() && !row.only().contains(&kind) {
            others.insert(key_of(row.path()), json!(false));
        } else if row.is_required(Some(kind)) && !is_always_required(row, kinds) {
            required.push(key_of(row.path()));
        }
    }
    json!({
        "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
        "then": {"properties": others, "required": required},
    })
}

/// A key as the documentation has it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct KeyEntry {
    /// The path in the sweep file.
    pub key: &'static str,
    /// Whether a list of values is an axis.
    pub axis: bool,
    /// What it is.
    pub about: &'static str,
    /// The kinds of its map that have it; empty for all.
    pub only: &'static [&'static str],
    /// Its values, in words.
    pub values: String,
    /// Its value where the file has none, in words.
    pub default: String,
}

/// Every key of the sweep file, in the order of the documentation.
#[must_use]
pub fn keys() -> Vec<KeyEntry> {
    let entry = |row: Row| KeyEntry {
        key: row.path(),
        axis: row.is_axis(),
        about: row.about(),
        only: row.only(),
        values: row.allowed(),
        default: row.unset(),
    };
    rows().map(entry).collect()
}

/// The same as a table in Markdown.
#[must_use]
pub fn markdown() -> String {
    let mut table = "| key | axis | what it is | values | default |\n|---|---|---|---|---|\n".to_owned();
    for KeyEntry { key, axis, about, only, values, default } in keys() {
        let axis = if axis { "✓" } else { "" };
        let only = if only.is_empty() { String::new() } else { format!(" (`{}` only)", only.join("`, `")) };
        let row = format!("| `{key}` | {axis} | {about}{only} | {values} | {default} |");
        writeln!(table, "{row}").expect("a text takes any text");
    }
    table
}
