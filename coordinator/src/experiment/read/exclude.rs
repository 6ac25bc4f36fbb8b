//! Reads `exclude`: partial cells, as maps of dotted paths or nested maps to a value or a list of values.

use super::{
    super::{
        axis::{AnyAxis, AxisKey},
        diagnostic::{did_you_mean, quote},
        spec::{Exclusion, Grid},
        yaml::{Entry, Value, join},
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
    let axes = grid.axes();
    let mut exclusions = Vec::new();
    for item in &items {
        let mut found = Vec::new();
        settings(reader, item, "", &mut found);
        let chosen = found.iter().filter_map(|(key, field)| Some((*key, choose(reader, field, axes[*key as usize])?)));
        exclusions.push(Exclusion { mark: item.mark(), chosen: chosen.collect() });
    }
    Some(exclusions)
}

fn items<'a>(reader: &mut Reader, field: &Field<'a>) -> Option<Vec<Field<'a>>> {
    let items = field.items();
    match &items {
        None => reader.wrong(field, EXCLUDE),
        Some(list) if list.len() > MAX_EXCLUSIONS => {
            let message = format!("found {} partial cells, allowed at most {MAX_EXCLUSIONS}", list.len());
            reader.report(field.mark(), &field.path, message);
            return None;
        }
        Some(_) => {}
    }
    items
}

/// Finds the settings that a partial cell names, however they are nested.
fn settings<'a>(reader: &mut Reader, item: &Field<'a>, prefix: &str, found: &mut Vec<(AxisKey, Field<'a>)>) {
    let entries = match &item.node.value {
        Value::Map(entries) if !entries.is_empty() => entries,
        _ => {
            reader.wrong(item, "a map of at least one setting and its value");
            return;
        }
    };
    for Entry { key, key_mark, value } in entries {
        let path = join(prefix, key);
        let field = Field { path: join(&item.path, key), node: value };
        if let Some(axis) = AxisKey::ALL.into_iter().find(|axis| axis.path() == path) {
            if found.iter().any(|(other, _)| *other == axis) {
                reader.report(*key_mark, &field.path, "found the same setting a second time");
            }
            found.push((axis, field));
        } else if AxisKey::ALL.iter().any(|axis| axis.path().starts_with(&format!("{path}."))) {
            settings(reader, &field, &path, found);
        } else {
            let known = AxisKey::ALL.map(AxisKey::path);
            let hint = did_you_mean(&path, known);
            let message = format!("found an unknown setting {}, allowed {}{hint}", quote(&path), known.join(", "));
            reader.report(*key_mark, &field.path, message);
        }
    }
}

/// Which values of the axis are named.
fn choose(reader: &mut Reader, field: &Field<'_>, axis: &dyn AnyAxis) -> Option<Vec<bool>> {
    // The value of `model.hidden` is itself a list.
    let whole = axis.named_by(field.node);
    if whole.contains(&true) {
        return Some(whole);
    }
    let items = field.items_or_self();
    if items.is_empty() {
        reader.wrong(field, "at least one value");
        return None;
    }
    let mut chosen = vec![false; axis.len()];
    let mut complete = true;
    for item in items {
        let named = axis.named_by(item.node);
        if !named.contains(&true) {
            let values: Vec<String> = (0..axis.len()).map(|index| plain(&axis.json(index))).collect();
            let hint = item.text().map(|text| did_you_mean(text, values.iter().map(String::as_str)));
            let shown = values.iter().take(20).map(String::as_str).collect::<Vec<_>>().join(", ");
            let more = if values.len() > 20 { ", …" } else { "" };
            let message = format!(
                "found {}, which {} does not have, allowed {shown}{more}{}",
                item.node,
                axis.key().path(),
                hint.unwrap_or_default()
            );
            reader.report(item.mark(), &item.path, message);
            complete = false;
        }
        chosen.iter_mut().zip(named).for_each(|(chosen, named)| *chosen |= named);
    }
    complete.then_some(chosen)
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
