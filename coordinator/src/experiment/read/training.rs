//! Reads `model` and `training`.

use secateur_proto::spec::{
    Activation, Initialization, LearningRateSchedule, MAX_DEPTH, MAX_WIDTH, OptimizerSpec, SelectBy, Task,
};

use super::{
    super::{
        axis::{Axis, AxisKey},
        spec::{Architecture, WeightsSpec},
        yaml::Value,
    },
    reader::{Field, Fields, Reader},
    single, weights,
};

/// The most hidden layers.
const MAX_LAYERS: usize = MAX_DEPTH;
const MAX_BLOCKS: u32 = 32;
const SHAPE: &str =
    "a list of 1 to 32 widths such as [64, 32], each an integer from 1 to 65536, or a list of such lists";
pub(super) const MAX_EPOCHS: u32 = 1_000_000;
const MAX_BATCH_SIZE: u32 = 1 << 24;
pub(super) const RATE: &str = "a finite number above 0";

/// What `model` says.
pub(super) struct Model {
    pub(super) architecture: Architecture,
    /// Widths of a perceptron; one empty value of another net.
    pub(super) hidden: Axis<Vec<u32>>,
    pub(super) dropout: f64,
    pub(super) weights: Option<WeightsSpec>,
}

pub(super) fn model(reader: &mut Reader, field: &Field<'_>) -> Option<Model> {
    const KINDS: [&str; 5] = ["mlp", "lenet_300_100", "lenet5", "residual_mlp", "residual_cnn"];
    // The kind decides which other keys are known, so it is read first.
    const ALL: [&str; 9] =
        ["kind", "hidden", "activation", "batch_norm", "dropout", "width", "blocks", "channels", "weights"];
    let silent = &mut Reader::default();
    let kind = silent.fields(field, &ALL).and_then(|fields| fields.get("kind")).and_then(|kind| kind.text());
    let known: &[&str] = match kind {
        Some("mlp") => &["kind", "hidden", "activation", "batch_norm", "dropout", "weights"],
        Some("lenet_300_100") => &["kind", "activation", "batch_norm", "dropout", "weights"],
        Some("lenet5") => &["kind", "dropout", "weights"],
        Some("residual_mlp") => &["kind", "width", "blocks", "activation", "dropout", "weights"],
        Some("residual_cnn") => &["kind", "channels", "blocks", "weights"],
        _ => &ALL,
    };
    let fields = reader.fields(field, known)?;
    let kind = reader
        .required(&fields, "kind", &KINDS.join(", "))
        .and_then(|field| reader.choice(&field, &KINDS.map(|kind| (kind, kind)), &[]));
    let hidden = if kind == Some("mlp") || (kind.is_none() && fields.get("hidden").is_some()) {
        reader.required(&fields, "hidden", SHAPE).and_then(|field| widths(reader, &field))
    } else {
        let fixed = if kind == Some("lenet_300_100") { vec![300, 100] } else { Vec::new() };
        Some(single(AxisKey::Hidden, fields.mark, fixed))
    };
    let activations = [
        ("relu", Activation::Relu),
        ("gelu", Activation::Gelu),
        ("silu", Activation::Silu),
        ("tanh", Activation::Tanh),
    ];
    let activation =
        fields.get("activation").map_or(Some(Activation::Relu), |field| reader.choice(&field, &activations, &[]));
    let batch_norm = fields.get("batch_norm").map_or(Some(false), |field| reader.boolean(&field));
    let dropout = fields.get("dropout").map_or(Some(0.0), |field| {
        reader.number(&field, "a number from 0 up to but not including 1", |share| (0.0..1.0).contains(&share))
    });
    let from_file = fields.get("weights").map_or(Some(None), |field| weights::weights(reader, &field).map(Some));
    if let (Some(Some(file)), Some(hidden)) = (&from_file, hidden.as_ref().filter(|hidden| hidden.values.len() > 1)) {
        let message = format!("found several nets, and {} holds one; take one list of widths", file.path);
        reader.report(hidden.mark, "model.hidden", message);
    }
    let mut size = |key: &str, default: Option<u32>, most: u32| match (fields.get(key), default) {
        (Some(field), _) => reader.integer(&field, 1, most),
        (None, Some(default)) => Some(default),
        (None, None) => reader.required(&fields, key, "an integer").and(None),
    };
    let architecture = match kind? {
        "residual_mlp" => {
            let (width, blocks) = (size("width", None, MAX_WIDTH), size("blocks", Some(2), MAX_BLOCKS));
            Architecture::ResidualMlp { width: width?, blocks: blocks?, activation: activation? }
        }
        "residual_cnn" => {
            let blocks = size("blocks", Some(1), MAX_BLOCKS);
            let channels = match fields.get("channels") {
                None => Some(vec![8, 16, 32]),
                Some(field) => channels(reader, &field),
            };
            Architecture::ResidualCnn { channels: channels?, blocks: blocks? }
        }
        "lenet5" => Architecture::Lenet5,
        _ => Architecture::Mlp { activation: activation?, batch_norm: batch_norm? },
    };
    Some(Model { architecture, hidden: hidden?, dropout: dropout?, weights: from_file? })
}

fn widths(reader: &mut Reader, hidden: &Field<'_>) -> Option<Axis<Vec<u32>>> {
    // A list of widths is one value; only a list of lists is an axis.
    let shapes = hidden.items().filter(|items| items.iter().any(|item| matches!(item.node.value, Value::List(_))));
    let listed = shapes.is_some();
    let values = reader.values(hidden, shapes.unwrap_or_else(|| vec![hidden.clone()]), PartialEq::eq, shape)?;
    Some(Axis { key: AxisKey::Hidden, mark: hidden.mark(), listed, values })
}

fn channels(reader: &mut Reader, field: &Field<'_>) -> Option<Vec<u32>> {
    const CHANNELS: &str = "a list of 1 to 8 numbers of filters such as [8, 16, 32]";
    let Some(items) = field.items().filter(|items| (1..=8).contains(&items.len())) else {
        reader.wrong(field, CHANNELS);
        return None;
    };
    let channels: Vec<_> = items.iter().map(|item| reader.integer(item, 1, 4096)).collect();
    channels.into_iter().collect()
}

fn shape(reader: &mut Reader, field: &Field<'_>) -> Option<Vec<u32>> {
    let widths = field.items().filter(|items| (1..=MAX_LAYERS).contains(&items.len()));
    let Some(widths) = widths else {
        reader.wrong(field, SHAPE);
        return None;
    };
    // Every width is read before any is missed, so that all wrong ones are reported.
    let widths: Vec<_> = widths.iter().map(|width| reader.integer(width, 1, MAX_WIDTH)).collect();
    widths.into_iter().collect()
}

/// What `training` says.
pub(super) struct Training {
    /// With the first learning rate and weight decay of the axes.
    pub(super) optimizer: OptimizerSpec,
    pub(super) select_by: SelectBy,
    pub(super) lr: Axis<f64>,
    pub(super) weight_decay: Axis<f64>,
    pub(super) batch_size: Axis<u32>,
    pub(super) epochs: Axis<u32>,
    pub(super) clip_gradient_norm: Axis<Option<f64>>,
    pub(super) initialization: Initialization,
    pub(super) lr_schedule: LearningRateSchedule,
}

pub(super) fn training(reader: &mut Reader, field: &Field<'_>, task: Option<Task>) -> Option<Training> {
    let known =
        ["optimizer", "batch_size", "epochs", "lr_schedule", "initialization", "clip_gradient_norm", "select_by"];
    let fields = reader.fields(field, &known)?;
    let optimizer = reader
        .required(&fields, "optimizer", "a map with the kind adam, adamw or sgd")
        .and_then(|field| optimizer(reader, &field));
    let batch_size = match fields.get("batch_size") {
        None => Some(single(AxisKey::BatchSize, fields.mark, 256)),
        Some(field) => reader
            .axis(AxisKey::BatchSize, &field, PartialEq::eq, |reader, field| reader.integer(field, 1, MAX_BATCH_SIZE)),
    };
    let epochs = epochs(reader, &fields, AxisKey::Epochs);
    let clip = match fields.get("clip_gradient_norm") {
        None => Some(single(AxisKey::ClipGradientNorm, fields.mark, None)),
        Some(field) => reader.axis(AxisKey::ClipGradientNorm, &field, PartialEq::eq, |reader, field| {
            if field.is_text("none") {
                return Some(None);
            }
            reader.number(field, "none or a finite number above 0", |norm| norm > 0.0).map(Some)
        }),
    };
    let select_by = match fields.get("select_by") {
        None if task == Some(Task::Multiclass) => Some(SelectBy::Accuracy),
        None => Some(SelectBy::Auc),
        Some(field) => {
            let metrics = [
                ("auc", SelectBy::Auc),
                ("log_loss", SelectBy::LogLoss),
                ("accuracy", SelectBy::Accuracy),
                ("last", SelectBy::Last),
            ];
            reader.choice(&field, &metrics, &[])
        }
    };
    let initializations = [
        ("pytorch", Initialization::Pytorch),
        ("kaiming_normal", Initialization::KaimingNormal),
        ("glorot_normal", Initialization::GlorotNormal),
        ("lecun_normal", Initialization::LecunNormal),
    ];
    let initialization = (fields.get("initialization"))
        .map_or(Some(Initialization::Pytorch), |field| reader.choice(&field, &initializations, &[]));
    let lr_schedule = lr_schedule(reader, &fields);
    let (optimizer, lr, weight_decay) = optimizer?;
    Some(Training {
        initialization: initialization?,
        lr_schedule: lr_schedule?,
        optimizer,
        select_by: select_by?,
        lr,
        weight_decay,
        batch_size: batch_size?,
        epochs: epochs?,
        clip_gradient_norm: clip?,
    })
}

/// The key `lr_schedule`: constant, cosine, `{step: {every: 10, factor: 0.1}}` or `{step: {times: 2, factor: 0.1}}`.
pub(super) fn lr_schedule(reader: &mut Reader, fields: &Fields<'_>) -> Option<LearningRateSchedule> {
    let Some(field) = fields.get("lr_schedule") else { return Some(LearningRateSchedule::Constant) };
    if !matches!(field.node.value, Value::Map(_)) {
        let names = [("constant", LearningRateSchedule::Constant), ("cosine", LearningRateSchedule::Cosine)];
        return reader.choice(&field, &names, &[]);
    }
    let fields = reader.fields(&field, &["step"])?;
    let step = reader.required(&fields, "step", "a map of every or times, and factor")?;
    let fields = reader.fields(&step, &["every", "times", "factor"])?;
    let factor = fields.get("factor").map_or(Some(0.1), |field| {
        reader.number(&field, "a number above 0, up to 1", |factor| 0.0 < factor && factor <= 1.0)
    });
    let mut number = |field: &Field<'_>| reader.integer(field, 1, MAX_EPOCHS);
    match (fields.get("every"), fields.get("times")) {
        (Some(field), None) => Some(LearningRateSchedule::Step { every: number(&field)?, factor: factor? }),
        (None, Some(field)) => Some(LearningRateSchedule::EqualSteps { times: number(&field)?, factor: factor? }),
        (Some(_), Some(field)) => {
            reader.wrong(&field, "only one of every and times");
            None
        }
        (None, None) => {
            reader.wrong(&step, "every, a number of epochs, or times, a number of cuts");
            None
        }
    }
}

/// The required key `epochs`.
pub(super) fn epochs(reader: &mut Reader, fields: &Fields<'_>, key: AxisKey) -> Option<Axis<u32>> {
    let field = reader.required(fields, "epochs", "a number of epochs")?;
    reader.axis(key, &field, PartialEq::eq, |reader, field| reader.integer(field, 1, MAX_EPOCHS))
}

fn optimizer(reader: &mut Reader, field: &Field<'_>) -> Option<(OptimizerSpec, Axis<f64>, Axis<f64>)> {
    // The kind decides which other keys are known, so it is read first.
    const ALL: [&str; 7] = ["kind", "lr", "betas", "eps", "weight_decay", "momentum", "nesterov"];
    let silent = &mut Reader::default();
    let kind = silent.fields(field, &ALL).and_then(|fields| fields.get("kind")).and_then(|kind| kind.text());
    let known: &[&str] = match kind {
        Some("adam" | "adamw") => &["kind", "lr", "betas", "eps", "weight_decay"],
        Some("sgd") => &["kind", "lr", "weight_decay", "momentum", "nesterov"],
        _ => &ALL,
    };
    let fields = reader.fields(field, known)?;
    let kinds = [("adam", "adam"), ("adamw", "adamw"), ("sgd", "sgd")];
    let kind =
        reader.required(&fields, "kind", "adam, adamw or sgd").and_then(|field| reader.choice(&field, &kinds, &[]));
    let lr = match fields.get("lr") {
        None if matches!(kind, Some("adam" | "adamw")) => Some(single(AxisKey::LearningRate, fields.mark, 1e-3)),
        None => {
            reader.required(&fields, "lr", RATE);
            None
        }
        Some(field) => rate(reader, &field),
    };
    let decay = match fields.get("weight_decay") {
        None => Some(single(AxisKey::WeightDecay, fields.mark, if kind == Some("adamw") { 0.01 } else { 0.0 })),
        Some(field) => reader.axis(AxisKey::WeightDecay, &field, PartialEq::eq, |reader, field| {
            reader.number(field, "a finite number from 0", |decay| decay >= 0.0)
        }),
    };
    let rule = match kind? {
        "sgd" => sgd(reader, &fields),
        kind => adam(reader, &fields, kind == "adamw"),
    };
    let (lr, decay) = (lr?, decay?);
    Some((rule?, lr, decay))
}

fn rate(reader: &mut Reader, field: &Field<'_>) -> Option<Axis<f64>> {
    reader.axis(AxisKey::LearningRate, field, PartialEq::eq, |reader, field| {
        reader.number(field, RATE, |rate| rate > 0.0)
    })
}

/// Learning rate and weight decay are those of PyTorch's defaults here; the grid's replace them.
fn adam(reader: &mut Reader, fields: &Fields<'_>, decoupled: bool) -> Option<OptimizerSpec> {
    const BETAS: &str = "two numbers from 0 up to but not including 1, such as [0.9, 0.999]";
    let betas = match fields.get("betas") {
        None => Some([0.9, 0.999]),
        Some(field) => match field.items().as_deref() {
            Some([first, second]) => {
                let below_one = |beta: f64| (0.0..1.0).contains(&beta);
                let (first, second) = (reader.number(first, BETAS, below_one), reader.number(second, BETAS, below_one));
                first.zip(second).map(|(first, second)| [first, second])
            }
            _ => {
                reader.wrong(&field, BETAS);
                None
            }
        },
    };
    let eps = match fields.get("eps") {
        None => Some(1e-8),
        Some(field) => reader.number(&field, RATE, |eps| eps > 0.0),
    };
    let (betas, eps) = (betas?, eps?);
    Some(match decoupled {
        false => OptimizerSpec::Adam { lr: 1e-3, betas, eps, weight_decay: 0.0 },
        true => OptimizerSpec::AdamW { lr: 1e-3, betas, eps, weight_decay: 0.01 },
    })
}

fn sgd(reader: &mut Reader, fields: &Fields<'_>) -> Option<OptimizerSpec> {
    let momentum = match fields.get("momentum") {
        None => Some(0.0),
        Some(field) => reader
            .number(&field, "a number from 0 up to but not including 1", |momentum| (0.0..1.0).contains(&momentum)),
    };
    let nesterov = match fields.get("nesterov") {
        None => Some(false),
        Some(field) => {
            let nesterov = reader.boolean(&field);
            if nesterov == Some(true) && momentum == Some(0.0) {
                reader.wrong(&field, "false, or true with a momentum above 0");
            }
            nesterov
        }
    };
    Some(OptimizerSpec::Sgd { lr: 1e-3, momentum: momentum?, weight_decay: 0.0, nesterov: nesterov? })
}
