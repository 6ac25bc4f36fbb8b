//! Reads `pruning` and `regularization`.

use std::collections::BTreeMap;

use secateur_proto::spec::{LearningRateSchedule, RegularizationKind};

use super::{
    super::{
        axis::{Axis, AxisKey},
        diagnostic::{did_you_mean, quote},
        setting::{AblationSetting, Grain, PENALTIES, Phase, Scope, Strategy, Timing},
        spec::Selection,
        yaml::Value,
    },
    no_penalty,
    reader::{Field, Fields, Reader},
    schedule, single,
    training::{MAX_EPOCHS, RATE, epochs, lr_schedule},
};

/// What `pruning` says.
pub(super) struct Pruning {
    pub(super) strategy: Axis<Strategy>,
    pub(super) scope: Axis<Scope>,
    pub(super) granularity: Axis<Grain>,
    pub(super) schedule: Axis<Timing>,
    pub(super) ablation: Axis<AblationSetting>,
    pub(super) sparsity: Axis<f64>,
    pub(super) layers: Selection,
    pub(super) most_per_layer: Option<f64>,
    pub(super) retrain: Retrain,
}

/// What `pruning.retrain` says.
pub(super) struct Retrain {
    pub(super) epochs: Axis<u32>,
    pub(super) lr: Axis<Option<f64>>,
    pub(super) lr_schedule: LearningRateSchedule,
}

const SPARSITY: &str = "a number from 0 up to but not including 1";
const SCOPES: [(&str, Scope); 5] = [
    ("global", Scope::Global),
    ("local", Scope::Local),
    ("erk", Scope::Erk),
    ("lamp", Scope::Lamp),
    ("sensitivity", Scope::Sensitivity),
];

pub(super) fn pruning(reader: &mut Reader, field: &Field<'_>) -> Option<Pruning> {
    let known = [
        "strategy",
        "scope",
        "granularity",
        "sparsity",
        "schedule",
        "ablation",
        "layers",
        "max_layer_sparsity",
        "retrain",
    ];
    let fields = reader.fields(field, &known)?;
    let strategy = reader
        .required(&fields, "strategy", "the name of a strategy, or a list of them; `secateur strategies` lists all")
        .and_then(|field| reader.axis(AxisKey::Strategy, &field, Strategy::same_work, strategy));
    let scope = match fields.get("scope") {
        None => Some(single(AxisKey::Scope, fields.mark, Scope::Global)),
        Some(field) => reader.axis(AxisKey::Scope, &field, PartialEq::eq, scope),
    };
    let granularity = match fields.get("granularity") {
        None => Some(single(AxisKey::Granularity, fields.mark, Grain::Unstructured)),
        Some(field) => reader.axis(AxisKey::Granularity, &field, PartialEq::eq, grain),
    };
    let schedule = match fields.get("schedule") {
        None => Some(single(AxisKey::Schedule, fields.mark, Timing::OneShot)),
        Some(field) => reader.axis(AxisKey::Schedule, &field, PartialEq::eq, schedule::timing),
    };
    let ablation = match fields.get("ablation") {
        None => Some(single(AxisKey::Ablation, fields.mark, AblationSetting::None)),
        Some(field) => reader.axis(AxisKey::Ablation, &field, PartialEq::eq, |reader, field| {
            reader.choice(field, &AblationSetting::ALL, &[])
        }),
    };
    let sparsity = reader.required(&fields, "sparsity", &format!("{SPARSITY}, or a list of them")).and_then(|field| {
        reader.axis(AxisKey::Sparsity, &field, PartialEq::eq, |reader, field| {
            reader.number(field, SPARSITY, |sparsity| (0.0..1.0).contains(&sparsity))
        })
    });
    let layers = match fields.get("layers") {
        None => Some(Selection::default()),
        Some(field) => selection(reader, &field),
    };
    let most_per_layer = match fields.get("max_layer_sparsity") {
        None => Some(None),
        Some(field) => reader.number(&field, "a number above 0, up to 1", |most| 0.0 < most && most <= 1.0).map(Some),
    };
    let retrain = reader.required(&fields, "retrain", "a map with epochs").and_then(|field| retrain(reader, &field));
    Some(Pruning {
        strategy: strategy?,
        scope: scope?,
        granularity: granularity?,
        schedule: schedule?,
        ablation: ablation?,
        sparsity: sparsity?,
        layers: layers?,
        most_per_layer: most_per_layer?,
        retrain: retrain?,
    })
}

/// A name, or a name with parameters: `{taylor: {batches: 8}}`.
fn strategy(reader: &mut Reader, field: &Field<'_>) -> Option<Strategy> {
    let (name, parameters) = match &field.node.value {
        Value::Text(name) => (name.as_str(), None),
        Value::Map(entries) => match entries.as_slice() {
            [entry] => (entry.key.as_str(), Some(field.entry(entry))),
            _ => {
                reader.wrong(field, "one strategy in a map; write a list to have several");
                return None;
            }
        },
        _ => {
            reader.wrong(field, "the name of a strategy, or a map of one name and its parameters");
            return None;
        }
    };
    let Some(mut strategy) = Strategy::named(name) else {
        let all = Strategy::all();
        let hint = did_you_mean(name, all.iter().map(|strategy| strategy.name));
        let message = format!("found {}, which is no strategy (`secateur strategies` lists all){hint}", quote(name));
        reader.report(field.mark(), &field.path, message);
        return None;
    };
    let Some(parameters) = parameters else { return Some(strategy) };
    let known: Vec<&'static str> =
        strategy.criterion.iter().flat_map(|criterion| criterion.parameters).map(|parameter| parameter.name).collect();
    if known.is_empty() {
        match &parameters.node.value {
            Value::Map(entries) if entries.is_empty() => return Some(strategy),
            Value::Map(entries) => {
                let message = "found a parameter, but this strategy has none";
                reader.report(entries[0].key_mark, &parameters.path, message.to_owned());
            }
            _ => reader.wrong(&parameters, "{}: this strategy has no parameters"),
        }
        return None;
    }
    let fields = reader.fields(&parameters, &known)?;
    let mut complete = true;
    for parameter in strategy.criterion.iter().flat_map(|criterion| criterion.parameters) {
        let Some(field) = fields.get(parameter.name) else { continue };
        match reader.number(&field, &parameter.to_string(), |value| parameter.allows(value)) {
            Some(value) => {
                strategy.given.insert(parameter.name.to_owned(), value);
            }
            None => complete = false,
        }
    }
    complete.then_some(strategy)
}

/// A name, or `{per_layer: {layers.0: 0.5}}`.
fn scope(reader: &mut Reader, field: &Field<'_>) -> Option<Scope> {
    if !matches!(field.node.value, Value::Map(_)) {
        return reader.choice(field, &SCOPES, &[]);
    }
    let fields = reader.fields(field, &["per_layer"])?;
    let factors = reader.required(&fields, "per_layer", "a map of layers' names to factors of the sparsity")?;
    let Value::Map(entries) = &factors.node.value else {
        reader.wrong(&factors, "a map of layers' names to factors of the sparsity");
        return None;
    };
    let mut of_layer = BTreeMap::new();
    let mut complete = true;
    for entry in entries {
        let factor = factors.entry(entry);
        match reader.number(&factor, "a finite number from 0", |factor| factor >= 0.0) {
            Some(value) => {
                of_layer.insert(entry.key.clone(), value);
            }
            None => complete = false,
        }
    }
    complete.then_some(Scope::Factors(of_layer))
}

/// A name, or a pattern as `2:4`.
fn grain(reader: &mut Reader, field: &Field<'_>) -> Option<Grain> {
    const ALLOWED: &str = "unstructured, neuron, filter, channel, or a pattern such as \"2:4\"";
    let names = [
        ("unstructured", Grain::Unstructured),
        ("neuron", Grain::Neuron),
        ("filter", Grain::Filter),
        // A channel is what a filter makes.
        ("channel", Grain::Filter),
    ];
    let text = field.text().unwrap_or_default();
    if let Some((_, grain)) = names.iter().find(|(name, _)| *name == text) {
        return Some(*grain);
    }
    let pattern = text.split_once(':').and_then(|(keep, group)| Some((keep.parse().ok()?, group.parse().ok()?)));
    match pattern {
        Some((keep, group)) if 0 < keep && keep < group && group <= 1024 => Some(Grain::Grouped { keep, group }),
        _ => {
            let hint = did_you_mean(text, names.iter().map(|(name, _)| *name));
            reader.wrong(field, &format!("{ALLOWED}{hint}"));
            None
        }
    }
}

/// `{include: [layers.0], exclude: [layers.1]}`.
fn selection(reader: &mut Reader, field: &Field<'_>) -> Option<Selection> {
    let fields = reader.fields(field, &["include", "exclude"])?;
    let mut names = |key: &str| -> Option<Option<Vec<String>>> {
        let Some(field) = fields.get(key) else { return Some(None) };
        let read =
            |reader: &mut Reader, field: &Field<'_>| reader.text(field, "the name of a layer").map(str::to_owned);
        reader.values(&field, field.items_or_self(), PartialEq::eq, read).map(Some)
    };
    let (include, exclude) = (names("include"), names("exclude"));
    Some(Selection { include: include?, exclude: exclude?.unwrap_or_default() })
}

fn retrain(reader: &mut Reader, field: &Field<'_>) -> Option<Retrain> {
    let fields = reader.fields(field, &["epochs", "lr", "lr_schedule"])?;
    let epochs = epochs(reader, &fields, AxisKey::RetrainEpochs);
    let lr = match fields.get("lr") {
        None => Some(single(AxisKey::RetrainLearningRate, fields.mark, None)),
        Some(field) => reader.axis(AxisKey::RetrainLearningRate, &field, PartialEq::eq, |reader, field| {
            reader.number(field, RATE, |rate| rate > 0.0).map(Some)
        }),
    };
    let lr_schedule = lr_schedule(reader, &fields);
    Some(Retrain { epochs: epochs?, lr: lr?, lr_schedule: lr_schedule? })
}

/// What `regularization` says.
pub(super) struct Penalty {
    pub(super) kind: Axis<Option<RegularizationKind>>,
    pub(super) strength: Axis<f64>,
    pub(super) phase: Axis<Phase>,
    pub(super) warm_up_epochs: u32,
    pub(super) healing_epochs: u32,
}

pub(super) fn regularization(reader: &mut Reader, fields: &Fields<'_>) -> Option<Penalty> {
    let Some(field) = fields.get("regularization") else { return Some(no_penalty(fields.mark)) };
    if field.is_text("none") {
        return Some(no_penalty(field.mark()));
    }
    let Value::Map(_) = &field.node.value else {
        reader.wrong(&field, "none, or a map of kind, strength, phase");
        return None;
    };
    let fields = reader.fields(&field, &["kind", "strength", "phase", "warm_up_epochs", "healing_epochs"])?;
    let kind = reader.required(&fields, "kind", "the kind of a penalty, or a list of them").and_then(|field| {
        reader.axis(AxisKey::RegularizationKind, &field, PartialEq::eq, |reader, field| {
            reader.choice(field, &PENALTIES, &[])
        })
    });
    let strength =
        reader.required(&fields, "strength", "a finite number from 0, or a list of them").and_then(|field| {
            reader.axis(AxisKey::Strength, &field, PartialEq::eq, |reader, field| {
                reader.number(field, "a finite number from 0", |strength| strength >= 0.0)
            })
        });
    let phases = [("dense", Phase::Dense), ("retrain", Phase::Retrain), ("both", Phase::Both)];
    let phase = match fields.get("phase") {
        None => Some(single(AxisKey::Phase, fields.mark, Phase::Both)),
        Some(field) => {
            reader.axis(AxisKey::Phase, &field, PartialEq::eq, |reader, field| reader.choice(field, &phases, &[]))
        }
    };
    let mut epochs = |key| fields.get(key).map_or(Some(0), |field| reader.integer(&field, 0, MAX_EPOCHS));
    let (warm_up_epochs, healing_epochs) = (epochs("warm_up_epochs"), epochs("healing_epochs"));
    Some(Penalty {
        kind: kind?,
        strength: strength?,
        phase: phase?,
        warm_up_epochs: warm_up_epochs?,
        healing_epochs: healing_epochs?,
    })
}
