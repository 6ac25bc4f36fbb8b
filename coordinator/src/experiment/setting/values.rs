//! Values of the settings of pruning: what they are called, how they are read and written; not what they do.

use std::{collections::BTreeMap, fmt};

use secateur_proto::{
    spec::{Growth, Ramp},
    vocabulary,
};
use serde_json::{Value as Json, json};

use super::{
    super::{
        diagnostic::did_you_mean,
        read::{Field, Reader},
        yaml::{self, Node},
    },
    Form, Number, SettingValue,
    value::vocabularies,
};

vocabularies!(AblationSetting);

/// Which weights compete for staying. In a stage this becomes a [`Removal`](secateur_proto::spec::Removal), which has exact counts and so depends on the net and the
/// sparsity, and of `lamp` a [`Ranking`](secateur_proto::spec::Ranking).
#[derive(Debug, Clone, PartialEq)]
pub enum Scope {
    /// Those of all prunable layers together.
    Global,
    /// Those of each layer: every layer gets the same sparsity.
    Local,
    /// Those of each layer: densities by Erdős & Rényi, of small layers higher (Mocanu et al. 2018, Evci et al. 2020).
    Erk,
    /// Those of all layers, by scores over what is no smaller in their layer (Lee et al. 2021).
    Lamp,
    /// Those of each layer, so many that each would cost about the same.
    Sensitivity,
    /// Those of each layer: the sparsity times a factor of the layer, 1 where none is given.
    Factors(BTreeMap<String, f64>),
}

/// What is removed as one. In a stage this becomes a [`Granularity`](secateur_proto::spec::Granularity) and, for `2:4` and the like, a [`Removal`](secateur_proto::spec::Removal); neurons and filters
/// differ in the layers that they are taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grain {
    /// Single weights.
    Unstructured,
    /// Units of linear layers.
    Neuron,
    /// Filters of convolutions, and units of linear layers.
    Filter,
    /// Of every `group` weights along the inputs all but `keep`.
    Grouped {
        /// N.
        keep: u32,
        /// M.
        group: u32,
    },
}

/// When weights are removed, in shares of the training: a number of steps would depend on the data. In a stage this becomes a
/// [`Schedule`](secateur_proto::spec::Schedule), which is in steps; `iterative` becomes a chain of stages.
#[derive(Debug, Clone, PartialEq)]
pub enum Timing {
    /// All at once.
    OneShot,
    /// In levels, each trained before the next.
    Iterative {
        /// The levels.
        ladder: Ladder,
        /// What each level's training begins from.
        then: Then,
    },
    /// More and more while what is left is trained.
    Gradual {
        /// How the sparsity rises.
        shape: Ramp,
        /// The share of the training before the first removal.
        begin: f64,
        /// The share of the training before the last.
        end: f64,
        /// How often.
        pace: Pace,
    },
    /// The same sparsity with weights that change while the net is trained from its beginning.
    Dynamic {
        /// What grows.
        growth: Growth,
        /// What is replaced at first.
        fraction: f64,
        /// Steps from one change to the next.
        every: u64,
        /// The share of the training after which nothing changes.
        end: f64,
    },
    /// Dense and sparse phases in turns while the net is trained from its beginning.
    Alternating {
        /// Steps of a phase.
        every: u64,
        /// The share of the training from which the net stays sparse.
        end: f64,
    },
}

/// The sparsities on the way to that of a cell.
#[derive(Debug, Clone, PartialEq)]
pub enum Ladder {
    /// Each level removes this share of what is left.
    Fraction(f64),
    /// So many levels, each of which removes the same share of what is left.
    Rounds(u32),
    /// These and the cell's own.
    Levels(Vec<f64>),
}

/// What a level's training begins from, and which training that is. In a stage it becomes the [`Start`](secateur_proto::spec::Start), which names the stage that
/// left the weights, and the training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The weights there are, retrained as `retrain` says (Han et al. 2015).
    Finetune,
    /// The weights there are, trained as the dense net was (Renda et al. 2020).
    RewindLearningRate,
    /// The weights of a step of the dense training, trained on from there (Frankle et al. 2020; step 0: Frankle & Carbin 2019).
    RewindWeights {
        /// The step.
        step: u64,
    },
    /// Other initial weights, trained as the dense net was.
    Reinitialize,
}

/// How often weights go in a gradual schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// So many times.
    Times(u64),
    /// Every so many steps.
    Every(u64),
}

vocabulary! {
    /// What is changed about a pruned net to see whether it matters. A change of the mask becomes the [`Ablation`](secateur_proto::spec::Ablation) of a stage; other
    /// initial weights become its [`Start`](secateur_proto::spec::Start).
    pub enum AblationSetting {
        /// Nothing.
        None = "none",
        /// The mask of each layer is shuffled.
        Shuffle = "shuffle",
        /// As many weights of each layer are removed at random.
        RandomMatched = "random_matched",
        /// The weights that are left begin from other initial values.
        Reinitialize = "reinitialize",
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global => f.write_str("global"),
            Self::Local => f.write_str("local"),
            Self::Erk => f.write_str("erk"),
            Self::Lamp => f.write_str("lamp"),
            Self::Sensitivity => f.write_str("sensitivity"),
            Self::Factors(factors) => {
                let factors: Vec<String> = factors.iter().map(|(layer, factor)| format!("{layer} {factor}")).collect();
                write!(f, "per_layer ({})", factors.join(", "))
            }
        }
    }
}

impl fmt::Display for Grain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unstructured => f.write_str("unstructured"),
            Self::Neuron => f.write_str("neuron"),
            Self::Filter => f.write_str("filter"),
            Self::Grouped { keep, group } => write!(f, "{keep}:{group}"),
        }
    }
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneShot => f.write_str("one_shot"),
            Self::Iterative { ladder, then } => write!(f, "iterative ({ladder}, {then})"),
            Self::Gradual { shape, begin, end, pace } => {
                write!(f, "gradual ({shape}, {begin} to {end}, {pace})")
            }
            Self::Dynamic { growth, fraction, every, end } => {
                let name = match growth {
                    Growth::Random => "set",
                    Growth::Gradient => "rigl",
                };
                write!(f, "{name} ({fraction} every {every} steps to {end})")
            }
            Self::Alternating { every, end } => write!(f, "ac_dc (every {every} steps to {end})"),
        }
    }
}

impl fmt::Display for Ladder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fraction(fraction) => write!(f, "fraction {fraction}"),
            Self::Rounds(rounds) => write!(f, "{rounds} rounds"),
            Self::Levels(levels) => {
                let levels: Vec<String> = levels.iter().map(f64::to_string).collect();
                write!(f, "levels {}", levels.join(" "))
            }
        }
    }
}

impl fmt::Display for Then {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finetune => f.write_str("finetune"),
            Self::RewindLearningRate => f.write_str("lr_rewind"),
            Self::RewindWeights { step } => write!(f, "weight_rewind to step {step}"),
            Self::Reinitialize => f.write_str("reinitialize"),
        }
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Times(times) => write!(f, "{times} times"),
            Self::Every(steps) => write!(f, "every {steps} steps"),
        }
    }
}

/// The layers that pruning may take from, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only these; `None` for all but the output layer.
    pub include: Option<Vec<String>>,
    /// None of these.
    pub exclude: Vec<String>,
}

impl SettingValue for Scope {
    fn json(&self) -> Json {
        json!(self.to_string())
    }
}

impl SettingValue for Grain {
    fn json(&self) -> Json {
        json!(self.to_string())
    }
}

impl SettingValue for Selection {
    fn json(&self) -> Json {
        match (&self.include, self.exclude.as_slice()) {
            (None, []) => json!("all but the output layer"),
            (None, exclude) => json!({"exclude": exclude}),
            (Some(include), exclude) => json!({"include": include, "exclude": exclude}),
        }
    }
}

impl SettingValue for Timing {
    fn json(&self) -> Json {
        json!(self.to_string())
    }

    /// By its whole text, or by its kind: the text up to the parenthesis.
    fn is_named_by(&self, node: &Node) -> bool {
        let whole = self.to_string();
        match &node.value {
            yaml::Value::Text(text) => *text == whole || whole.split(" (").next() == Some(text),
            _ => false,
        }
    }
}

/// A name, or `{per_layer: {layers.0: 0.5}}`.
pub(super) struct Scopes;

const SCOPES: [(&str, Scope); 5] = [
    ("global", Scope::Global),
    ("local", Scope::Local),
    ("erk", Scope::Erk),
    ("lamp", Scope::Lamp),
    ("sensitivity", Scope::Sensitivity),
];

impl Form<Scope> for Scopes {
    fn allowed(&self) -> String {
        format!("{} or {{per_layer: {{layers.0: 0.5}}}}", SCOPES.map(|(name, _)| name).join(", "))
    }

    fn read(&self, reader: &mut Reader, field: &Field<'_>) -> Option<Scope> {
        if !matches!(field.node.value, yaml::Value::Map(_)) {
            return reader.choice_or_map(field, &SCOPES, &["per_layer"], &self.allowed());
        }
        let fields = reader.fields(field, &["per_layer"])?;
        let factors = reader.required(&fields, "per_layer", "a map of layers' names to factors of the sparsity")?;
        let yaml::Value::Map(entries) = &factors.node.value else {
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

    fn schema(&self) -> Json {
        let factors = json!({"type": "object", "additionalProperties": Number::from(0.0).schema()});
        json!({"anyOf": [
            {"enum": SCOPES.map(|(name, _)| name)},
            {"type": "object", "properties": {"per_layer": factors}, "required": ["per_layer"], "additionalProperties": false},
        ]})
    }
}

/// A name, or a pattern as `2:4`.
pub(super) struct Grains;

const GRAINS: [(&str, Grain); 4] = [
    ("unstructured", Grain::Unstructured),
    ("neuron", Grain::Neuron),
    ("filter", Grain::Filter),
    // A channel is what a filter makes.
    ("channel", Grain::Filter),
];

impl Form<Grain> for Grains {
    fn allowed(&self) -> String {
        "unstructured, neuron, filter, channel, or a pattern such as \"2:4\"".to_owned()
    }

    fn read(&self, reader: &mut Reader, field: &Field<'_>) -> Option<Grain> {
        let text = field.text().unwrap_or_default();
        if let Some((_, grain)) = GRAINS.iter().find(|(name, _)| *name == text) {
            return Some(*grain);
        }
        let pattern = text.split_once(':').and_then(|(keep, group)| Some((keep.parse().ok()?, group.parse().ok()?)));
        match pattern {
            Some((keep, group)) if 0 < keep && keep < group && group <= 1024 => Some(Grain::Grouped { keep, group }),
            _ => {
                let hint = did_you_mean(text, GRAINS.iter().map(|(name, _)| *name));
                reader.wrong(field, &format!("{}{hint}", self.allowed()));
                None
            }
        }
    }

    fn schema(&self) -> Json {
        json!({"anyOf": [
            {"enum": GRAINS.map(|(name, _)| name)},
            {"type": "string", "pattern": "^[0-9]+:[0-9]+$"},
        ]})
    }
}

/// `{include: [layers.0], exclude: [layers.1]}`.
pub(super) struct Layers;

impl Form<Selection> for Layers {
    fn allowed(&self) -> String {
        "a map such as {include: [layers.0], exclude: [layers.1]}".to_owned()
    }

    fn read(&self, reader: &mut Reader, field: &Field<'_>) -> Option<Selection> {
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

    fn schema(&self) -> Json {
        let name = json!({"type": "string", "minLength": 1});
        let names = json!({"anyOf": [name, {"type": "array", "items": name, "minItems": 1, "uniqueItems": true}]});
        let properties = json!({"include": names, "exclude": names});
        json!({"type": "object", "properties": properties, "additionalProperties": false})
    }
}
