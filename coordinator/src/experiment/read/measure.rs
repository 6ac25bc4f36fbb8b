//! `measure`: whether nets are measured, and how.

use secateur_proto::spec::{Engine, MeasureSettings};
use serde_json::{Value as Json, json};

use super::{
    super::{
        setting::{Form as _, Names},
        yaml::Value,
    },
    reader::{Field, Fields, Reader},
};

const ALLOWED: &str = "true, false, or a map such as {engine: rten, batch: [1, 256]}";

/// The JSON Schema of the key.
pub(crate) fn schema() -> Json {
    let batch = json!({"type": "integer", "minimum": 1, "maximum": MeasureSettings::MAX_BATCH});
    let batches = json!({
        "type": "array", "items": batch, "minItems": 1, "maxItems": MeasureSettings::MAX_BATCHES, "uniqueItems": true,
    });
    let engines: Vec<&str> = Engine::ALL.iter().map(|engine| engine.name()).collect();
    let properties = json!({"engine": {"enum": engines}, "batch": batches});
    json!({"anyOf": [
        {"type": "boolean"},
        {"type": "object", "properties": properties, "minProperties": 1, "additionalProperties": false},
    ]})
}

/// How nets are measured; `Some(None)` if they are not.
pub(super) fn measure(reader: &mut Reader, fields: &Fields<'_>) -> Option<Option<MeasureSettings>> {
    let Some(field) = fields.get("measure") else { return Some(None) };
    match &field.node.value {
        Value::Bool(false) => return Some(None),
        Value::Bool(true) => return Some(Some(MeasureSettings::default())),
        Value::Map(entries) if !entries.is_empty() => {}
        _ => {
            reader.wrong(&field, ALLOWED);
            return None;
        }
    }
    let fields = reader.fields(&field, &["engine", "batch"])?;
    let default = MeasureSettings::default();
    let engine = fields.get("engine").map_or(Some(default.engine), |field| Names.read(reader, &field));
    let batch = fields.get("batch").map_or(Some(default.batch), |field| batches(reader, &field));
    Some(Some(MeasureSettings { engine: engine?, batch: batch? }))
}

/// Sizes in any order, each once.
fn batches(reader: &mut Reader, field: &Field<'_>) -> Option<Vec<u32>> {
    let count = |reader: &mut Reader, field: &Field<'_>| reader.integer(field, 1, MeasureSettings::MAX_BATCH);
    let items = field.items_or_self();
    if items.is_empty() || items.len() > MeasureSettings::MAX_BATCHES {
        reader.wrong(field, &format!("1 to {} batch sizes, such as [1, 256]", MeasureSettings::MAX_BATCHES));
        return None;
    }
    let mut sizes = reader.values(field, items, PartialEq::eq, count)?;
    sizes.sort_unstable();
    Some(sizes)
}
