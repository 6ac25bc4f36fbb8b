//! `quantization`: whether and how the numbers of a trained net are rounded.

use secateur_proto::spec::{Calibration, QuantizationSpec};
use serde_json::{Value as Json, json};

use super::{
    super::{
        read::{Field, Reader},
        yaml::{self, Node},
    },
    Form, Names, Row, Sets, Setting, SettingValue, Shown, Unset,
};

pub(super) static ROWS: &[Row] = &[Row::Setting(&QUANTIZATION)];

pub(crate) static QUANTIZATION: Setting<Option<QuantizationSpec>> = Setting {
    path: "quantization",
    about: "Quantize the trained net, after pruning and retraining: `int8` weights (one scale per unit or filter) and inputs of layers \
            have 8 bits; `int4` weights have 4. `calibration` chooses the range of inputs from train rows: `minmax`, `percentile` \
            (default), `mse` or `entropy`; `none` quantizes weights only",
    form: &Quantizations,
    unset: Unset::Is(|| None),
    only: &[],
    axis: true,
    shown: Shown::UnlessNone,
    sets: Sets::Planned,
};

/// The names of quantizations, and bits of their weights.
const KINDS: [(&str, u8); 2] = [("int8", 8), ("int4", 4)];

impl SettingValue for QuantizationSpec {
    fn json(&self) -> Json {
        json!(format!("{} ({})", name(*self), self.calibration))
    }

    /// By its whole text, or by its name: the text up to the parenthesis.
    fn is_named_by(&self, node: &Node) -> bool {
        matches!(&node.value, yaml::Value::Text(text) if *text == name(*self) || json!(text) == self.json())
    }
}

fn name(spec: QuantizationSpec) -> &'static str {
    KINDS.iter().find(|(_, bits)| *bits == spec.weight_bits).map_or("int8", |(name, _)| name)
}

/// `none`, a name, or a name with its calibration.
struct Quantizations;

impl Form<Option<QuantizationSpec>> for Quantizations {
    fn allowed(&self) -> String {
        "none, int8, int4, or one with its calibration such as {int8: {calibration: minmax}}".to_owned()
    }

    fn read(&self, reader: &mut Reader, field: &Field<'_>) -> Option<Option<QuantizationSpec>> {
        let names = KINDS.map(|(name, bits)| {
            (name, Some(QuantizationSpec { weight_bits: bits, calibration: Calibration::Percentile }))
        });
        let entry = match &field.node.value {
            yaml::Value::Map(entries) if entries.len() == 1 => &entries[0],
            yaml::Value::Map(_) => {
                reader.wrong(field, "a map with one quantization; use a list for several");
                return None;
            }
            _ => return reader.choice(field, &[&[("none", None)], &names[..]].concat(), &[]),
        };
        let Some((_, Some(spec))) = names.iter().find(|(name, _)| *name == entry.key) else {
            // Says what is allowed.
            reader.fields(field, &KINDS.map(|(name, _)| name));
            return None;
        };
        let parameters = reader.fields(&field.entry(entry), &["calibration"])?;
        let calibration = match parameters.get("calibration") {
            Some(field) => Names.read(reader, &field)?,
            None => spec.calibration,
        };
        Some(Some(QuantizationSpec { calibration, ..*spec }))
    }

    fn schema(&self) -> Json {
        let calibration = json!({"enum": Calibration::ALL.iter().map(|one| one.name()).collect::<Vec<_>>()});
        let map = json!({"type": "object", "properties": {"calibration": calibration}, "additionalProperties": false});
        json!({"anyOf": [
            {"enum": ["none", "int8", "int4"]},
            {
                "type": "object",
                "properties": {"int8": map, "int4": map},
                "minProperties": 1,
                "maxProperties": 1,
                "additionalProperties": false,
            },
        ]})
    }
}
