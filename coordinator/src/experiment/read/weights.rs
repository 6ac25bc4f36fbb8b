//! Reads `model.weights`: the file of a net that was trained elsewhere, and how its tensors are called there.

use super::{
    super::{spec::WeightsSpec, yaml::Value},
    reader::{Field, Reader},
};

const FILE: &str = "the path of a net's file, or a map with path and rename";
const NAMES: &str = "a map from prefixes in the file to prefixes in the net, such as {fc1: layers.0}";

pub(super) fn weights(reader: &mut Reader, field: &Field<'_>) -> Option<WeightsSpec> {
    let (path, rename) = if field.text().is_some() {
        (Some(field.clone()), Some(Vec::new()))
    } else {
        let fields = reader.fields(field, &["path", "rename"])?;
        let rename = fields.get("rename").map_or(Some(Vec::new()), |field| renamed(reader, &field));
        (reader.required(&fields, "path", FILE), rename)
    };
    let path = path?;
    let text = reader.text(&path, FILE)?;
    Some(WeightsSpec { path: text.to_owned(), mark: path.mark(), rename: rename? })
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
