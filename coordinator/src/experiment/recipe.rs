//! The sweep file that computes one trial of another sweep and nothing else.

use serde_json::{Value as Json, json};

use super::{
    diagnostic::Diagnostics,
    domain::{Axis, Domain},
    plan::{REFERENCE, Settings},
    setting::Value,
    spec::SweepSpec,
    yaml,
};

/// Returns the text of a sweep file with one seed and one value of each axis: those of a cell with these settings. Returns `None` for a
/// cell that the file does not ask for, such as a control.
///
/// # Errors
/// If `text` is not a sweep file.
pub fn recipe(file: &str, text: &str, settings: &Settings, seed: u64) -> Result<Option<String>, Diagnostics> {
    if settings.contains_key(REFERENCE) {
        return Ok(None);
    }
    let spec = SweepSpec::parse(file, text)?;
    let (root, _) = yaml::parse(file, text)?;
    let mut tree = root.canonical();
    for axis in spec.grid.axes().filter(|axis| axis.varies) {
        let Some(place) = tree.pointer_mut(&format!("/{}", axis.path().replace('.', "/"))) else { return Ok(None) };
        let chosen = match &axis.domain {
            Domain::Range(_) => settings.get(axis.path()).cloned(),
            Domain::Listed(values) => {
                let at = values.iter().position(|value| is_chosen(axis, value, settings));
                at.and_then(|at| place.as_array().and_then(|items| items.get(at)).cloned())
            }
        };
        let Some(chosen) = chosen else { return Ok(None) };
        *place = chosen;
    }
    if let Json::Object(keys) = &mut tree {
        keys.remove("exclude");
        keys.remove("search");
        keys.remove("references");
        keys.insert("seeds".to_owned(), json!([seed]));
        keys.insert("controls".to_owned(), "none".into());
    }
    Ok(Some(written(&tree)))
}

/// Whether a cell with these settings has the value. A setting's details are settings of their own.
fn is_chosen(axis: &Axis, value: &Value, settings: &Settings) -> bool {
    let has = |path: &str, value: &Json| settings.get(path) == Some(value);
    has(axis.path(), &value.json())
        && value.details().iter().all(|(key, value)| has(&format!("{}.{key}", axis.path()), value))
}

/// A file as people write it: what is deeper than a map of a map stands on one line, as JSON does.
fn written(tree: &Json) -> String {
    let mut text = String::new();
    for (key, value) in tree.as_object().into_iter().flatten() {
        match value.as_object().filter(|map| !map.is_empty()) {
            Some(map) => {
                text.push_str(&format!("{key}:\n"));
                map.iter().for_each(|(key, value)| text.push_str(&format!("  {key}: {value}\n")));
            }
            None => text.push_str(&format!("{key}: {value}\n")),
        }
    }
    text
}
