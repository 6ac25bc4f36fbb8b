//! `pruning.strategy`: how weights are scored, by a criterion of the worker's or something made of one.

use std::collections::BTreeMap;

use secateur_proto::spec::{Ablation, CriterionSpec, Granularity, Ranking};
use secateur_worker::prune::criteria::{self, Definition, ParameterDefinition, When};
use serde_json::{Value as Json, json};

use super::{
    super::{
        diagnostic::{did_you_mean, quote},
        read::{Field, Reader},
        yaml::{self, Node},
    },
    Form, SettingValue, same,
};

/// How weights are scored.
#[derive(Debug, Clone)]
pub struct Strategy {
    /// The name in the sweep file.
    pub name: &'static str,
    /// The criterion; nothing for the weights that a penalty drove to zero.
    pub criterion: Option<&'static Definition>,
    /// How scores of layers are made comparable, if the strategy says so.
    pub ranking: Ranking,
    /// What the strategy changes about the mask.
    pub ablation: Option<Ablation>,
    /// The parameters that the file gives.
    pub given: BTreeMap<String, f64>,
}

/// The strategy that removes exactly what a penalty drove to zero.
pub const REGULARIZED: &str = "regularized";

impl Strategy {
    /// Every strategy without parameters: the criteria, and what is made of them.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let plain =
            |name, criterion| Self { name, criterion, ranking: Ranking::Raw, ablation: None, given: BTreeMap::new() };
        let magnitude = Definition::named("magnitude");
        let mut all: Vec<Self> =
            criteria::ALL.iter().map(|criterion| plain(criterion.name, Some(*criterion))).collect();
        all.push(Self { ranking: Ranking::LayerNorm, ..plain("magnitude_global_l2", magnitude) });
        all.push(Self { ranking: Ranking::Lamp, ..plain("lamp", magnitude) });
        all.push(Self { ablation: Some(Ablation::RandomMatched), ..plain("random_layerwise_matched", magnitude) });
        all.push(plain(REGULARIZED, None));
        all
    }

    /// The strategy of that name, or of another one that the literature has for it.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let name = Self::own_name(name);
        Self::all().into_iter().find(|strategy| strategy.name == name)
    }

    /// The name that a strategy has here.
    #[must_use]
    pub fn own_name(name: &str) -> &str {
        Self::OTHER_NAMES.iter().find(|(other, _)| *other == name).map_or(name, |(_, own)| own)
    }

    /// Names that the literature has for strategies, and those that they have here.
    pub const OTHER_NAMES: [(&str, &str); 2] = [("obd", "fisher_diag"), ("mean_act", "mean_activation")];

    /// What is to be computed.
    #[must_use]
    pub fn spec(&self) -> Option<CriterionSpec> {
        self.criterion.map(|criterion| criterion.spec(&self.given))
    }

    /// Whether it scores the net before its training.
    #[must_use]
    pub fn is_initial(&self) -> bool {
        self.criterion.is_some_and(|criterion| criterion.when == When::Initial)
    }

    /// Whether it scores units.
    #[must_use]
    pub fn is_of_units(&self) -> bool {
        self.criterion.is_some_and(|criterion| criterion.granularity == Granularity::Unit)
    }

    /// Whether its scores compare the weights of a row and nothing else.
    #[must_use]
    pub fn ranks_within_rows(&self) -> bool {
        self.spec().is_some_and(|spec| spec.parameters.get("per_row") == Some(&1.0))
    }
}

/// Two strategies are equal if they do the same, whether the file gives a parameter or leaves the default.
impl PartialEq for Strategy {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.spec() == other.spec()
    }
}

impl SettingValue for Strategy {
    fn json(&self) -> Json {
        json!(self.name)
    }

    fn details(&self) -> Vec<(String, Json)> {
        #[expect(clippy::cast_possible_truncation, reason = "a whole number is written as one")]
        let json = |value: f64| if value.fract() == 0.0 { json!(value as i64) } else { json!(value) };
        self.given.iter().map(|(parameter, value)| (format!("{}.{parameter}", self.name), json(*value))).collect()
    }

    fn is_named_by(&self, node: &Node) -> bool {
        match &node.value {
            yaml::Value::Text(text) => Self::own_name(text) == self.name,
            yaml::Value::Map(entries) => {
                let [strategy] = entries.as_slice() else { return false };
                let yaml::Value::Map(parameters) = &strategy.value.value else { return false };
                let is_own = |name: &str, value: &yaml::Value| {
                    let own = self.spec().and_then(|spec| spec.parameters.get(name).copied());
                    own.is_some_and(|own| same(value, &json!(own)))
                };
                Self::own_name(&strategy.key) == self.name
                    && parameters.iter().all(|parameter| is_own(&parameter.key, &parameter.value.value))
            }
            _ => false,
        }
    }
}

/// A name, or a name with parameters.
pub(super) struct Strategies;

impl Form<Strategy> for Strategies {
    fn allowed(&self) -> String {
        "the name of a strategy (`secateur strategies` lists all), or a name with parameters such as {taylor: {batches: 8}}".to_owned()
    }

    fn read(&self, reader: &mut Reader, field: &Field<'_>) -> Option<Strategy> {
        read_strategy(reader, field)
    }

    fn schema(&self) -> Json {
        let all = Strategy::all();
        let mut names: Vec<&str> = all.iter().map(|strategy| strategy.name).collect();
        names.extend(Strategy::OTHER_NAMES.map(|(other, _)| other));
        let maps = names.iter().filter_map(|name| {
            let parameters = Strategy::named(name)?.criterion.map_or(&[][..], |criterion| criterion.parameters);
            let properties = parameters.iter().map(|parameter| (parameter.name.to_owned(), schema_of(parameter)));
            let properties: serde_json::Map<_, _> = properties.collect();
            let value = json!({"type": "object", "properties": properties, "additionalProperties": false});
            Some(((*name).to_owned(), value))
        });
        let maps: serde_json::Map<_, _> = maps.collect();
        json!({"anyOf": [
            {"enum": names},
            {"type": "object", "properties": maps, "minProperties": 1, "maxProperties": 1, "additionalProperties": false},
        ]})
    }
}

fn schema_of(parameter: &ParameterDefinition) -> Json {
    let (least, most) = parameter.range;
    let mut schema =
        json!({"type": if parameter.integer { "integer" } else { "number" }, "description": parameter.summary});
    if least.is_finite() {
        schema["minimum"] = least.into();
    }
    if most.is_finite() {
        schema["maximum"] = most.into();
    }
    schema
}

/// A name, or a name with parameters: `{taylor: {batches: 8}}`.
fn read_strategy(reader: &mut Reader, field: &Field<'_>) -> Option<Strategy> {
    let (name, parameters) = match &field.node.value {
        yaml::Value::Text(name) => (name.as_str(), None),
        yaml::Value::Map(entries) => match entries.as_slice() {
            [entry] => (entry.key.as_str(), Some(field.entry(entry))),
            _ => {
                reader.wrong(field, "a map with one strategy; use a list for several");
                return None;
            }
        },
        _ => {
            reader.wrong(field, "the name of a strategy, or a map with one name and its parameters");
            return None;
        }
    };
    let Some(mut strategy) = Strategy::named(name) else {
        let all = Strategy::all();
        let hint = did_you_mean(name, all.iter().map(|strategy| strategy.name));
        let message = format!("unknown strategy {} (`secateur strategies` lists all){hint}", quote(name));
        reader.report(field.mark(), &field.path, message);
        return None;
    };
    let Some(parameters) = parameters else { return Some(strategy) };
    let known: Vec<&'static str> =
        strategy.criterion.iter().flat_map(|criterion| criterion.parameters).map(|parameter| parameter.name).collect();
    if known.is_empty() {
        match &parameters.node.value {
            yaml::Value::Map(entries) if entries.is_empty() => return Some(strategy),
            yaml::Value::Map(entries) => {
                let message = "this strategy has no parameters";
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
