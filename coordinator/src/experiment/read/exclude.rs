//! Reads `exclude`: partial cells, as maps of dotted paths or nested maps to a value or a list of values.

use super::{
    super::{
        diagnostic::{did_you_mean, quote},
        domain::{Axis, Domain},
        expand::Grid,
        setting::{self, Value},
        spec::Exclusion,
        yaml::{self, Entry, join},
    },
    reader::{Field, Reader},
};

/// More would make leaving points out slower than computing them.
const MAX_EXCLUSIONS: usize = 1_000;
const EXCLUDE: &str = "a list of partial cells such as [{pruning.strategy: random, pruning.scope: local}]";

/// Reports everything about keys; for a file whose axes are not known.
pub(super) fn check_keys(reader: &mut Reader, field: &Field<'_>) {
    for item in items(reader, field).unwrap_or_default() {
        settings(reader, &item, "", &mut Vec::new());
    }
}

/// Reads the list and checks it against the axes.
pub(super) fn exclude(reader: &mut Reader, field: &Field<'_>, grid: &Grid) -> Option<Vec<Exclusion>> {
    let items = items(reader, field)?;
    let mut exclusions = Vec::new();
    for item in &items {
        let mut found = Vec::new();
        settings(reader, item, "", &mut found);
        let chosen = found.iter().filter_map(|(path, field)| match grid.axes().find(|axis| axis.path() == *path) {
            Some(axis) => Some((*path, choose(reader, field, axis)?)),
            None => {
                reader.report(field.mark(), &field.path, "this kind of net has no such setting");
                None
            }
        });
        exclusions.push(Exclusion { mark: item.mark(), chosen: chosen.collect() });
    }
    Some(exclusions)
}

fn items<'a>(reader: &mut Reader, field: &Field<'a>) -> Option<Vec<Field<'a>>> {
    let items = field.items();
    match &items {
        None => reader.wrong(field, EXCLUDE),
        Some(list) if list.len() > MAX_EXCLUSIONS => {
            let message = format!("found {} partial cells, expected at most {MAX_EXCLUSIONS}", list.len());
            reader.report(field.mark(), &field.path, message);
            return None;
        }
        Some(_) => {}
    }
    items
}

/// Finds the settings that a partial cell names, however they are nested.
fn settings<'a>(reader: &mut Reader, item: &Field<'a>, prefix: &str, found: &mut Vec<(&'static str, Field<'a>)>) {
    let entries = match &item.node.value {
        yaml::Value::Map(entries) if !entries.is_empty() => entries,
        _ => {
            reader.wrong(item, "a map of at least one setting and its value");
            return;
        }
    };
    let known: Vec<&'static str> =
        setting::settings().filter(|setting| setting.is_axis()).map(|setting| setting.path()).collect();
    for Entry { key, key_mark, value } in entries {
        let path = join(prefix, key);
        let field = Field { path: join(&item.path, key), node: value };
        if let Some(own) = known.iter().find(|own| **own == path) {
            if found.iter().any(|(other, _)| other == own) {
                reader.report(*key_mark, &field.path, "found this setting twice");
            }
            found.push((own, field));
        } else if known.iter().any(|own| own.starts_with(&format!("{path}."))) {
            settings(reader, &field, &path, found);
        } else {
            let hint = did_you_mean(&path, known.iter().copied());
            let message = format!("unknown setting {}, expected one of {}{hint}", quote(&path), known.join(", "));
            reader.report(*key_mark, &field.path, message);
        }
    }
}

/// The values of the axis that are named.
fn choose(reader: &mut Reader, field: &Field<'_>, axis: &Axis) -> Option<Vec<Value>> {
    let named_by = |node| axis.listed().iter().filter(|value| value.is_named_by(node)).cloned().collect::<Vec<_>>();
    if matches!(axis.domain, Domain::Range(_)) {
        let message = format!("{} is a range; only listed values can be excluded", axis.path());
        reader.report(field.mark(), &field.path, message);
        return None;
    }
    // The value of `model.hidden` is itself a list.
    let whole = named_by(field.node);
    if !whole.is_empty() {
        return Some(whole);
    }
    let items = field.items_or_self();
    if items.is_empty() {
        reader.wrong(field, "at least one value");
        return None;
    }
    let mut chosen = Vec::new();
    let mut complete = true;
    for item in items {
        let named = named_by(item.node);
        if named.is_empty() {
            let values: Vec<String> = axis.listed().iter().map(|value| plain(&value.json())).collect();
            let hint = item.text().map(|text| did_you_mean(text, values.iter().map(String::as_str)));
            let shown = values.iter().take(20).map(String::as_str).collect::<Vec<_>>().join(", ");
            let more = if values.len() > 20 { ", …" } else { "" };
            let message = format!(
                "found {}, expected a value of {}: {shown}{more}{}",
                item.node,
                axis.path(),
                hint.unwrap_or_default()
            );
            reader.report(item.mark(), &item.path, message);
            complete = false;
        }
        chosen.extend(named);
    }
    complete.then_some(chosen)
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
