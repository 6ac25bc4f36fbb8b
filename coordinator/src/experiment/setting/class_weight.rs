//! `training.class_weight`: how much the classes weigh in the loss of training.

use serde_json::{Value as Json, json};

use super::{
    super::{
        diagnostic::{Diagnostic, Mark, did_you_mean, quote},
        plan::ClassRows,
        read::{Field, Reader},
        yaml::{self, Node},
    },
    Form, Number, SettingValue, same,
};

/// The weights of the classes. What they are is known when the classes are.
#[derive(Debug, Clone, PartialEq)]
pub enum ClassWeight {
    /// All the same.
    None,
    /// n / (k · rows of the class), of n train rows of k classes: each class weighs as much as any other.
    Balanced,
    /// By class; 1 of those that are not named.
    Named(Vec<Named>),
}

/// The weight of a class, and where the file says it.
#[derive(Debug, Clone)]
pub struct Named {
    class: String,
    weight: f64,
    mark: Mark,
    path: String,
}

/// Wherever they stand.
impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        (&self.class, self.weight) == (&other.class, other.weight)
    }
}

impl Named {
    /// Whether `class` is meant: `1` and `1.0` are one class.
    fn names(&self, class: &ClassRows) -> bool {
        let number = |text: &str| text.parse::<f64>().ok();
        self.class == class.name || number(&self.class).is_some_and(|value| number(&class.name) == Some(value))
    }
}

impl ClassWeight {
    /// What the loss of a row is multiplied by, by the index of its class: in the ratios of the weights, and 1 on the mean over the train
    /// rows, so that learning rates mean what they mean without weights. Empty if all weigh the same.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of rows")]
    pub fn of_classes(&self, classes: &[ClassRows]) -> Vec<f64> {
        let weight = |class: &ClassRows| match self {
            Self::None => 1.0,
            Self::Balanced => 1.0 / class.rows[0].max(1) as f64,
            Self::Named(named) => named.iter().find(|named| named.names(class)).map_or(1.0, |named| named.weight),
        };
        let weights: Vec<f64> = classes.iter().map(weight).collect();
        if weights.windows(2).all(|pair| pair[0] == pair[1]) {
            return Vec::new();
        }
        let sum: f64 = weights.iter().zip(classes).map(|(weight, class)| weight * class.rows[0] as f64).sum();
        let rows: u64 = classes.iter().map(|class| class.rows[0]).sum();
        weights.into_iter().map(|weight| weight * rows as f64 / sum).collect()
    }

    /// Weights of what is no class, and of a class that has one already, at their places.
    pub(crate) fn problems(&self, classes: &[ClassRows]) -> Vec<Diagnostic> {
        let Self::Named(named) = self else { return Vec::new() };
        let names = || classes.iter().map(|class| class.name.as_str());
        let problem = |(index, one): (usize, &Named)| {
            let message = match classes.iter().find(|class| one.names(class)) {
                None => format!(
                    "found {}, expected a class of the target: {}{}",
                    quote(&one.class),
                    names().map(quote).collect::<Vec<_>>().join(", "),
                    // One digit is like any other.
                    if one.class.len() > 2 { did_you_mean(&one.class, names()) } else { String::new() }
                ),
                Some(class) => {
                    let first = named[..index].iter().find(|other| other.names(class))?;
                    format!("found the class {} twice, first at {}", quote(&class.name), first.mark)
                }
            };
            Some(Diagnostic { mark: one.mark, path: one.path.clone(), message })
        };
        named.iter().enumerate().filter_map(problem).collect()
    }
}

impl SettingValue for ClassWeight {
    fn json(&self) -> Json {
        match self {
            Self::None => json!("none"),
            Self::Balanced => json!("balanced"),
            Self::Named(named) => {
                let named: Vec<String> = named.iter().map(|one| format!("{}: {}", one.class, one.weight)).collect();
                json!(format!("{{{}}}", named.join(", ")))
            }
        }
    }

    fn is_named_by(&self, node: &Node) -> bool {
        match (self, &node.value) {
            (Self::Named(named), yaml::Value::Map(entries)) => {
                let is_named = |one: &Named| {
                    let same =
                        |entry: &&yaml::Entry| entry.key == one.class && same(&entry.value.value, &json!(one.weight));
                    entries.iter().any(|entry| same(&entry))
                };
                entries.len() == named.len() && named.iter().all(is_named)
            }
            _ => same(&node.value, &self.json()),
        }
    }
}

/// `none`, `balanced`, or `{1: 20}`.
pub(super) struct ClassWeights;

const NAMES: [(&str, ClassWeight); 2] = [("none", ClassWeight::None), ("balanced", ClassWeight::Balanced)];

/// Beyond it a loss is more likely to overflow than to be meant.
const LARGEST: f64 = 1e6;

impl Form<ClassWeight> for ClassWeights {
    fn allowed(&self) -> String {
        "none, balanced or a map of classes to weights, such as {1: 20}".to_owned()
    }

    fn read(&self, reader: &mut Reader, field: &Field<'_>) -> Option<ClassWeight> {
        let yaml::Value::Map(entries) = &field.node.value else {
            let Some((_, value)) = NAMES.into_iter().find(|(name, _)| field.is_text(name)) else {
                let hint = field.text().map(|text| did_you_mean(text, NAMES.map(|(name, _)| name))).unwrap_or_default();
                reader.wrong(field, &format!("{}{hint}", self.allowed()));
                return None;
            };
            return Some(value);
        };
        if entries.is_empty() {
            reader.wrong(field, &self.allowed());
            return None;
        }
        let mut named = Vec::new();
        for entry in entries {
            let value = field.entry(entry);
            let Some(weight) = weight().read(reader, &value) else { continue };
            named.push(Named { class: entry.key.clone(), weight, mark: entry.key_mark, path: value.path });
        }
        (named.len() == entries.len()).then_some(ClassWeight::Named(named))
    }

    fn schema(&self) -> Json {
        let map = json!({"type": "object", "additionalProperties": weight().schema(), "minProperties": 1});
        json!({"anyOf": [{"enum": NAMES.map(|(name, _)| name)}, map]})
    }
}

const fn weight() -> Number {
    Number::above(0.0).up_to(LARGEST)
}
