//! The settings of `model`: the form of the net.

use secateur_proto::{
    spec::{Activation, MAX_DEPTH, MAX_WIDTH},
    vocabulary,
};
use serde_json::{Value as Json, json};

use super::{
    super::{
        read::{Field, Reader},
        yaml,
    },
    Form, Key, Names, Number, Row, Sets, Setting, Shown, Unset,
    form::{Boolean, Integer},
    value::vocabularies,
};

pub(super) static ROWS: &[Row] = &[
    Row::Setting(&KIND),
    Row::Setting(&HIDDEN),
    Row::Setting(&ACTIVATION),
    Row::Setting(&BATCH_NORM),
    Row::Setting(&DROPOUT),
    Row::Setting(&WIDTH),
    Row::Setting(&BLOCKS),
    Row::Setting(&CHANNELS),
    Row::Key(&WEIGHTS),
];

vocabulary! {
    /// Kinds of nets in the sweep file. Two of them are nets of the same form: LeNet-300-100 is a perceptron.
    pub enum ModelKind {
        /// A perceptron.
        Mlp = "mlp",
        /// A perceptron of 300 and 100 hidden units.
        Lenet300100 = "lenet_300_100",
        /// LeNet-5 as Caffe has it.
        Lenet5 = "lenet5",
        /// A perceptron of residual blocks.
        ResidualMlp = "residual_mlp",
        /// A small residual net of convolutions.
        ResidualCnn = "residual_cnn",
    }
}

vocabularies!(Activation, ModelKind);

const MAX_BLOCKS: u32 = 32;

pub(crate) static KIND: Setting<ModelKind> = Setting {
    path: "model.kind",
    about: "Architecture; `lenet5` is Caffe's",
    form: &Names,
    unset: Unset::Required,
    only: &[],
    axis: false,
    shown: Shown::Varying,
    sets: Sets::Planned,
};

pub(crate) static HIDDEN: Setting<Vec<u32>> = Setting {
    path: "model.hidden",
    about: "Widths of the hidden layers; an axis is a list of such lists",
    form: &Widths,
    unset: Unset::Depends("required", |around| match around.kind {
        Some("mlp") => Unset::Required,
        Some("lenet_300_100") => Unset::Is(|| vec![300, 100]),
        _ => Unset::Inapplicable,
    }),
    only: &["mlp"],
    axis: true,
    shown: Shown::Always,
    sets: Sets::Planned,
};

pub(crate) static ACTIVATION: Setting<Activation> = Setting {
    path: "model.activation",
    about: "Activation between layers",
    form: &Names,
    unset: Unset::Is(|| Activation::Relu),
    only: &["mlp", "lenet_300_100", "residual_mlp"],
    axis: false,
    shown: Shown::Varying,
    sets: Sets::Planned,
};

pub(crate) static BATCH_NORM: Setting<bool> = Setting {
    path: "model.batch_norm",
    about: "Put batch normalisation before each activation",
    form: &Boolean,
    unset: Unset::Is(|| false),
    only: &["mlp", "lenet_300_100"],
    axis: false,
    shown: Shown::Varying,
    sets: Sets::Planned,
};

pub(crate) static DROPOUT: Setting<f64> = Setting {
    path: "model.dropout",
    about: "Dropout rate",
    form: &Number::from(0.0).below(1.0),
    unset: Unset::Is(|| 0.0),
    only: &["mlp", "lenet_300_100", "lenet5", "residual_mlp"],
    axis: false,
    shown: Shown::Varying,
    sets: Sets::Training(|training, share| training.dropout = *share),
};

pub(crate) static WIDTH: Setting<u32> = Setting {
    path: "model.width",
    about: "Width of every hidden layer",
    form: &Integer(1, MAX_WIDTH),
    unset: Unset::Required,
    only: &["residual_mlp"],
    axis: false,
    shown: Shown::Varying,
    sets: Sets::Planned,
};

pub(crate) static BLOCKS: Setting<u32> = Setting {
    path: "model.blocks",
    about: "Residual blocks; for `residual_cnn`, per stage",
    form: &Integer(1, MAX_BLOCKS),
    unset: Unset::Depends("2; 1 for `residual_cnn`", |around| match around.kind {
        Some("residual_mlp") => Unset::Is(|| 2),
        Some("residual_cnn") => Unset::Is(|| 1),
        _ => Unset::Inapplicable,
    }),
    only: &["residual_mlp", "residual_cnn"],
    axis: false,
    shown: Shown::Varying,
    sets: Sets::Planned,
};

pub(crate) static CHANNELS: Setting<Vec<u32>> = Setting {
    path: "model.channels",
    about: "Filters of each stage",
    form: &Channels,
    unset: Unset::Is(|| vec![8, 16, 32]),
    only: &["residual_cnn"],
    axis: false,
    shown: Shown::Varying,
    sets: Sets::Planned,
};

pub(crate) static WEIGHTS: Key = Key {
    path: "model.weights",
    about: "File of a trained net that replaces the dense net: a PyTorch checkpoint, safetensors or ONNX. `key` names the dictionary in it \
            that holds the net, `rename` its layers",
    allowed: "a path, or a map such as {path: net.pt, key: state_dict, rename: {fc1: layers.0}}",
    unset: "a net is trained",
    only: &[],
    schema: || {
        let path = json!({"type": "string", "minLength": 1});
        let rename = json!({"type": "object", "additionalProperties": {"type": ["string", "null"]}});
        let key = json!({"type": ["string", "integer"]});
        let properties = json!({"path": path, "key": key, "rename": rename});
        json!({"anyOf": [
            path,
            {"type": "object", "properties": properties, "required": ["path"], "additionalProperties": false},
        ]})
    },
};

/// One list of widths. Only a list of such lists is several values.
struct Widths;

impl Form<Vec<u32>> for Widths {
    fn allowed(&self) -> String {
        format!(
            "a list of 1 to {MAX_DEPTH} widths such as [64, 32], each an integer from 1 to {MAX_WIDTH}, or a list of such lists"
        )
    }

    fn read(&self, reader: &mut Reader, field: &Field<'_>) -> Option<Vec<u32>> {
        integers(reader, field, MAX_DEPTH, MAX_WIDTH, &self.allowed())
    }

    fn schema(&self) -> Json {
        of_integers(MAX_DEPTH, MAX_WIDTH)
    }

    fn items<'a>(&self, field: &Field<'a>) -> Option<Vec<Field<'a>>> {
        field.items().filter(|items| items.iter().any(|item| matches!(item.node.value, yaml::Value::List(_))))
    }
}

/// Numbers of filters, from the first stage to the last.
struct Channels;

const MAX_STAGES: usize = 8;
const MAX_CHANNELS: u32 = 4096;

impl Form<Vec<u32>> for Channels {
    fn allowed(&self) -> String {
        format!("a list of 1 to {MAX_STAGES} numbers of filters such as [8, 16, 32]")
    }

    fn read(&self, reader: &mut Reader, field: &Field<'_>) -> Option<Vec<u32>> {
        integers(reader, field, MAX_STAGES, MAX_CHANNELS, &self.allowed())
    }

    fn schema(&self) -> Json {
        of_integers(MAX_STAGES, MAX_CHANNELS)
    }
}

fn integers(reader: &mut Reader, field: &Field<'_>, longest: usize, most: u32, allowed: &str) -> Option<Vec<u32>> {
    let Some(items) = field.items().filter(|items| (1..=longest).contains(&items.len())) else {
        reader.wrong(field, allowed);
        return None;
    };
    // Every item is read before any is missed, so that all wrong ones are reported.
    let integers: Vec<_> = items.iter().map(|item| reader.integer(item, 1, most)).collect();
    integers.into_iter().collect()
}

fn of_integers(longest: usize, most: u32) -> Json {
    let item = json!({"type": "integer", "minimum": 1, "maximum": most});
    json!({"type": "array", "items": item, "minItems": 1, "maxItems": longest})
}
