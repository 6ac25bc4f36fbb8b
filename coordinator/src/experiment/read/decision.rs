//! Reads `decision`.

use secateur_proto::spec::Task;
use serde_json::{Value as Json, json};

use super::{
    super::plan::Decision,
    reader::{Field, Fields, Reader},
};

const ALLOWED: &str = "a map such as {approve: 0.7} or {cost: {bad_approved: 5, good_declined: 1}}";

/// `Some(None)` without the key.
pub(super) fn decision(reader: &mut Reader, fields: &Fields<'_>, task: Option<Task>) -> Option<Option<Decision>> {
    let Some(field) = fields.get("decision") else { return Some(None) };
    let found = read(reader, &field)?;
    if task == Some(Task::Multiclass) {
        let message = "found a decision, which takes two classes, and data.task is multiclass: leave it out";
        reader.report(field.mark(), &field.path, message);
        return None;
    }
    Some(Some(found))
}

fn read(reader: &mut Reader, field: &Field<'_>) -> Option<Decision> {
    let fields = reader.fields(field, &["approve", "cost"])?;
    match (fields.get("approve"), fields.get("cost")) {
        (Some(field), None) => {
            let share = reader.number(&field, "a share between 0 and 1", |share| share > 0.0 && share < 1.0)?;
            Some(Decision::Approve(share))
        }
        (None, Some(field)) => {
            let fields = reader.fields(&field, &["bad_approved", "good_declined"])?;
            let [bad_approved, good_declined] = ["bad_approved", "good_declined"].map(|key| {
                let field = reader.required(&fields, key, "a number above 0")?;
                reader.number(&field, "a number above 0", |cost| cost > 0.0)
            });
            Some(Decision::Cost { bad_approved: bad_approved?, good_declined: good_declined? })
        }
        _ => {
            reader.wrong(field, ALLOWED);
            None
        }
    }
}

/// The JSON Schema of the key.
pub(crate) fn schema() -> Json {
    let cost = json!({"type": "number", "exclusiveMinimum": 0});
    let costs = json!({
        "type": "object", "properties": {"bad_approved": cost, "good_declined": cost},
        "required": ["bad_approved", "good_declined"], "additionalProperties": false,
    });
    let share = json!({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1});
    json!({
        "type": "object", "properties": {"approve": share, "cost": costs},
        "minProperties": 1, "maxProperties": 1, "additionalProperties": false,
    })
}
