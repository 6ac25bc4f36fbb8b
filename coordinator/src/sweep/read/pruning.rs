//! Reads `pruning` and `regularization`.

use secateur_proto::spec::RegularizationKind;

use super::{
    super::{
        axis::{Axis, AxisKey, Phase, Scope, Strategy},
        yaml::Value,
    },
    no_penalty,
    reader::{Field, Fields, Reader},
    single,
    training::{RATE, epochs},
};

/// What `pruning` says.
pub(super) struct Pruning {
    pub(super) strategy: Axis<Strategy>,
    pub(super) scope: Axis<Scope>,
    pub(super) sparsity: Axis<f64>,
    pub(super) retrain_epochs: Axis<u32>,
    pub(super) retrain_lr: Axis<Option<f64>>,
}

const DEFAULT_BATCHES: u32 = 8;
const STRATEGIES: [(&str, Strategy); 3] = [
    ("random", Strategy::Random),
    ("magnitude", Strategy::Magnitude),
    ("taylor", Strategy::Taylor { batches: DEFAULT_BATCHES, given: false }),
];
const SPARSITY: &str = "a number from 0 up to but not including 1";

pub(super) fn pruning(reader: &mut Reader, field: &Field<'_>) -> Option<Pruning> {
    let known = ["strategy", "scope", "granularity", "sparsity", "schedule", "retrain"];
    let fields = reader.fields(field, &known)?;
    let strategy = reader
        .required(&fields, "strategy", "random, magnitude or taylor, or a list of them")
        .and_then(|field| reader.axis(AxisKey::Strategy, &field, |one, two| one.same_work(*two), strategy));
    let scope = match fields.get("scope") {
        None => Some(single(AxisKey::Scope, fields.mark, Scope::Global)),
        Some(field) => reader.axis(AxisKey::Scope, &field, PartialEq::eq, |reader, field| {
            reader.choice(field, &[("global", Scope::Global), ("local", Scope::Local)], &["erk", "lamp"])
        }),
    };
    let sparsity = reader.required(&fields, "sparsity", &format!("{SPARSITY}, or a list of them")).and_then(|field| {
        reader.axis(AxisKey::Sparsity, &field, PartialEq::eq, |reader, field| {
            reader.number(field, SPARSITY, |sparsity| (0.0..1.0).contains(&sparsity))
        })
    });
    if let Some(field) = fields.get("granularity") {
        reader.choice(&field, &[("unstructured", ())], &["neuron", "channel", "2:4"]);
    }
    if let Some(field) = fields.get("schedule") {
        reader.choice(&field, &[("one_shot", ())], &["iterative", "gradual", "rewind"]);
    }
    let retrain = reader.required(&fields, "retrain", "a map with epochs").and_then(|field| retrain(reader, &field));
    let (retrain_epochs, retrain_lr) = retrain?;
    Some(Pruning { strategy: strategy?, scope: scope?, sparsity: sparsity?, retrain_epochs, retrain_lr })
}

/// A name, or a name with parameters: `{taylor: {batches: 8}}`.
fn strategy(reader: &mut Reader, field: &Field<'_>) -> Option<Strategy> {
    let Value::Map(_) = &field.node.value else { return reader.choice(field, &STRATEGIES, &[]) };
    let fields = reader.fields(field, &STRATEGIES.map(|(name, _)| name))?;
    let mut given = STRATEGIES.iter().filter_map(|(name, strategy)| Some((fields.get(name)?, *strategy)));
    match (given.next(), given.next()) {
        (Some((parameters, Strategy::Taylor { .. })), None) => {
            let fields = reader.fields(&parameters, &["batches"])?;
            let Some(batches) = fields.get("batches") else { return Some(STRATEGIES[2].1) };
            let batches = reader.integer(&batches, 1, 1_000_000)?;
            Some(Strategy::Taylor { batches, given: true })
        }
        (Some((parameters, strategy)), None) => {
            let Value::Map(entries) = &parameters.node.value else {
                reader.wrong(&parameters, "{}: this strategy has no parameters");
                return None;
            };
            if let Some(entry) = entries.first() {
                let message = "found a parameter, but this strategy has none";
                reader.report(entry.key_mark, &parameters.path, message);
                return None;
            }
            Some(strategy)
        }
        (Some(_), Some(_)) => {
            reader.wrong(field, "one strategy in a map; write a list to have several");
            None
        }
        // Unknown names have been reported.
        (None, _) => {
            if matches!(&field.node.value, Value::Map(entries) if entries.is_empty()) {
                reader.wrong(field, "random, magnitude or taylor");
            }
            None
        }
    }
}

fn retrain(reader: &mut Reader, field: &Field<'_>) -> Option<(Axis<u32>, Axis<Option<f64>>)> {
    let fields = reader.fields(field, &["epochs", "lr"])?;
    let epochs = epochs(reader, &fields, AxisKey::RetrainEpochs);
    let lr = match fields.get("lr") {
        None => Some(single(AxisKey::RetrainLearningRate, fields.mark, None)),
        Some(field) => reader.axis(AxisKey::RetrainLearningRate, &field, PartialEq::eq, |reader, field| {
            reader.number(field, RATE, |rate| rate > 0.0).map(Some)
        }),
    };
    Some((epochs?, lr?))
}

/// What `regularization` says.
pub(super) struct Penalty {
    pub(super) kind: Axis<Option<RegularizationKind>>,
    pub(super) strength: Axis<f64>,
    pub(super) phase: Axis<Phase>,
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
    let fields = reader.fields(&field, &["kind", "strength", "phase"])?;
    let kinds = [("l1", Some(RegularizationKind::L1)), ("l2", Some(RegularizationKind::L2)), ("none", None)];
    let kind = reader.required(&fields, "kind", "l1, l2 or none, or a list of them").and_then(|field| {
        reader.axis(AxisKey::RegularizationKind, &field, PartialEq::eq, |reader, field| {
            reader.choice(field, &kinds, &["group_lasso"])
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
    Some(Penalty { kind: kind?, strength: strength?, phase: phase? })
}
