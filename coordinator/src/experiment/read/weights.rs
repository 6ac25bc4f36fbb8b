//! Reads `model.weights`: the file of a net that was trained elsewhere, and how its tensors are called there.

use super::{
    super::{spec::WeightsSpec, yaml::Value},
    reader::{Field, Reader},
};

const FILE: &str = "the path of a net's file, or a map with path, key and rename";
const KEY: &str = "the key of a dictionary in the file, with dots between keys, such as state_dict or checkpoint.model";
const NAMES: &str = "a map from prefixes in the file to prefixes in the net, such as {fc1: layers.0}";

pub(super) fn weights(reader: &mut Reader, field: &Field<'_>) -> Option<WeightsSpec> {
    let (path, key, rename) = if field.text().is_some() {
        (Some(field.clone()), Some(None), Some(Vec::new()))
    } else {
        let fields = reader.fields(field, &["path", "key", "rename"])?;
        let key = fields.get("key").map_or(Some(None), |field| {
            // A number is a key, too, as Python has it. An empty one is the file itself.
            let number = if let Value::Integer(key) = &field.node.value { Some(key.to_string()) } else { None };
            let text = || field.text().map(str::to_owned);
            let key = number.or_else(text);
            if key.is_none() {
                reader.wrong(&field, KEY);
            }
            key.map(Some)
        });
        let rename = fields.get("rename").map_or(Some(Vec::new()), |field| renamed(reader, &field));
        (reader.required(&fields, "path", FILE), key, rename)
    };
    let path = path?;
    let text = reader.text(&path, FILE)?;
    Some(WeightsSpec { path: text.to_owned(), mark: path.mark(), key: key?, rename: rename? })
}

/// What stands before the colon is a beginning of the file's names; what stands after it, of the net's.
fn renamed(reader: &mut Reader, field: &Field<'_>) -> Option<Vec<(String, String)>> {
    let Value::Map(entries) = &field.node.value else {
        reader.wrong(field, NAMES);
        return None;
    };
    let pairs: Vec<_> = (entries.iter())
        .map(|entry| {
            let new = field.entry(entry);
            // An empty name takes the beginning away.
            let text = if matches!(new.node.value, Value::Null) { Some("") } else { new.text() };
            if text.is_none() {
                reader.wrong(&new, NAMES);
            }
            Some((entry.key.clone(), text?.to_owned()))
        })
        .collect();
    pairs.into_iter().collect()
}
