//! `pruning.schedule`: when weights are removed.

use secateur_proto::spec::{Growth, Ramp};
use serde_json::{Value as Json, json};

use super::{
    super::{
        read::{Field, Fields, Reader},
        yaml,
    },
    Form, Ladder, Names, Number, Pace, Then, Timing,
};

const KINDS: [&str; 6] = ["one_shot", "iterative", "gradual", "set", "rigl", "ac_dc"];
const SHARE: &str = "a share of the training from 0 to 1";
const MAX_STEPS: u64 = 1 << 40;
const THEN: [(&str, Then); 4] = [
    ("finetune", Then::Finetune),
    ("lr_rewind", Then::RewindLearningRate),
    ("weight_rewind", Then::RewindWeights { step: 0 }),
    ("reinitialize", Then::Reinitialize),
];

/// A name, or a name with parameters.
pub(super) struct Schedules;

impl Form<Timing> for Schedules {
    fn allowed(&self) -> String {
        format!("{}, or a name with parameters such as {{iterative: {{fraction: 0.2}}}}", KINDS.join(", "))
    }

    fn read(&self, reader: &mut Reader, field: &Field<'_>) -> Option<Timing> {
        timing(reader, field)
    }

    fn schema(&self) -> Json {
        let steps = json!({"type": "integer", "minimum": 1, "maximum": MAX_STEPS});
        let share = Number::from(0.0).up_to(1.0).schema();
        let between = Number::above(0.0).below(1.0).schema();
        let levels =
            json!({"anyOf": [between, {"type": "array", "items": between, "minItems": 1, "uniqueItems": true}]});
        let map = |properties: Json| json!({"type": "object", "properties": properties, "additionalProperties": false});
        let dynamic = map(json!({"fraction": Number::above(0.0).up_to(1.0).schema(), "every": steps, "end": share}));
        // Of the ways to say the levels, and of those to say how often, there is one.
        let with = |mut map: Json, key: &str, rule: Json| {
            map[key] = rule;
            map
        };
        let together = |one: &str, two: &str| json!({"required": [one, two]});
        let iterative = map(json!({
            "fraction": between,
            "rounds": {"type": "integer", "minimum": 1, "maximum": 200},
            "levels": levels,
            "then": {"enum": THEN.map(|(name, _)| name)},
            "rewind_to": {"type": "integer", "minimum": 0, "maximum": MAX_STEPS},
        }));
        let two_ladders =
            [together("fraction", "rounds"), together("fraction", "levels"), together("rounds", "levels")];
        let iterative = with(iterative, "not", json!({"anyOf": two_ladders}));
        let iterative = with(iterative, "if", json!({"required": ["rewind_to"]}));
        let rewinds = json!({"properties": {"then": {"const": "weight_rewind"}}, "required": ["then"]});
        let iterative = with(iterative, "then", rewinds);
        let gradual = map(json!({
            "shape": Form::<Ramp>::schema(&Names),
            "begin": share,
            "end": share,
            "times": {"type": "integer", "minimum": 1, "maximum": 1_000_000},
            "every": steps,
        }));
        let kinds = json!({
            "one_shot": map(json!({})),
            "iterative": iterative,
            "gradual": with(gradual, "not", together("times", "every")),
            "set": dynamic,
            "rigl": dynamic,
            "ac_dc": map(json!({"every": steps, "end": share})),
        });
        json!({"anyOf": [
            {"enum": KINDS},
            {"type": "object", "properties": kinds, "minProperties": 1, "maxProperties": 1, "additionalProperties": false},
        ]})
    }
}

fn timing(reader: &mut Reader, field: &Field<'_>) -> Option<Timing> {
    let (name, parameters) = match &field.node.value {
        yaml::Value::Map(entries) if entries.len() == 1 => (entries[0].key.as_str(), Some(field.entry(&entries[0]))),
        yaml::Value::Map(_) => {
            reader.wrong(field, "a map with one schedule; use a list for several");
            return None;
        }
        _ => (reader.choice(field, &KINDS.map(|kind| (kind, kind)), &[])?, None),
    };
    match name {
        "one_shot" => {
            Parameters::of(reader, parameters, &[])?;
            Some(Timing::OneShot)
        }
        "iterative" => iterative(reader, parameters),
        "gradual" => gradual(reader, parameters),
        "set" => dynamic(reader, parameters, Growth::Random),
        "rigl" => dynamic(reader, parameters, Growth::Gradient),
        "ac_dc" => {
            let parameters = Parameters::of(reader, parameters, &["every", "end"])?;
            let (every, end) = (parameters.steps(reader, 100), parameters.share(reader, "end", 0.75));
            Some(Timing::Alternating { every: every?, end: end? })
        }
        _ => {
            // Says what is allowed.
            reader.fields(field, &KINDS);
            None
        }
    }
}

/// The parameters of a schedule, or none of them.
struct Parameters<'a>(Option<Fields<'a>>);

impl<'a> Parameters<'a> {
    fn of(reader: &mut Reader, field: Option<Field<'a>>, known: &[&str]) -> Option<Self> {
        match field {
            None => Some(Self(None)),
            Some(field) => reader.fields(&field, known).map(|fields| Self(Some(fields))),
        }
    }

    fn get(&self, key: &str) -> Option<Field<'a>> {
        self.0.as_ref().and_then(|fields| fields.get(key))
    }

    fn share(&self, reader: &mut Reader, key: &str, default: f64) -> Option<f64> {
        self.get(key).map_or(Some(default), |field| reader.number(&field, SHARE, |share| (0.0..=1.0).contains(&share)))
    }

    fn steps(&self, reader: &mut Reader, default: u64) -> Option<u64> {
        self.get("every").map_or(Some(default), |field| reader.integer(&field, 1, MAX_STEPS))
    }
}

fn iterative(reader: &mut Reader, field: Option<Field<'_>>) -> Option<Timing> {
    const BETWEEN: &str = "a number between 0 and 1";
    let between = |number: f64| 0.0 < number && number < 1.0;
    let parameters = Parameters::of(reader, field.clone(), &["fraction", "rounds", "levels", "then", "rewind_to"])?;
    let given: Vec<&str> =
        ["fraction", "rounds", "levels"].into_iter().filter(|key| parameters.get(key).is_some()).collect();
    if given.len() > 1 {
        if let Some(field) = field {
            reader.wrong(&field, "only one of fraction, rounds and levels");
        }
        return None;
    }
    let ladder = if let Some(field) = parameters.get("rounds") {
        reader.integer(&field, 1_u32, 200).map(Ladder::Rounds)
    } else if let Some(field) = parameters.get("levels") {
        let levels = reader.values(&field, field.items_or_self(), PartialEq::eq, |reader, field| {
            reader.number(field, BETWEEN, between)
        });
        if levels.as_ref().is_some_and(|levels| !levels.is_sorted()) {
            reader.wrong(&field, "levels in ascending order");
            return None;
        }
        levels.map(Ladder::Levels)
    } else {
        parameters
            .get("fraction")
            .map_or(Some(0.2), |field| reader.number(&field, BETWEEN, between))
            .map(Ladder::Fraction)
    };
    let then = parameters.get("then").map_or(Some(Then::Finetune), |field| reader.choice(&field, &THEN, &[]));
    let step = parameters.get("rewind_to").map(|field| (reader.integer(&field, 0, MAX_STEPS), field));
    let then = match (then?, step) {
        (then, None) => then,
        (Then::RewindWeights { .. }, Some((step, _))) => Then::RewindWeights { step: step? },
        (_, Some((_, field))) => {
            reader.report(field.mark(), &field.path, "rewind_to needs then: weight_rewind");
            return None;
        }
    };
    Some(Timing::Iterative { ladder: ladder?, then })
}

fn gradual(reader: &mut Reader, field: Option<Field<'_>>) -> Option<Timing> {
    let parameters = Parameters::of(reader, field, &["shape", "begin", "end", "times", "every"])?;
    let shape = parameters.get("shape").map_or(Some(Ramp::Cubic), |field| Names.read(reader, &field));
    let (begin, end) = (parameters.share(reader, "begin", 0.0)?, parameters.share(reader, "end", 0.75)?);
    if let Some(field) = parameters.get("end").or_else(|| parameters.get("begin")).filter(|_| end <= begin) {
        reader.wrong(&field, &format!("an end after begin ({begin})"));
        return None;
    }
    let pace = match (parameters.get("times"), parameters.get("every")) {
        (Some(_), Some(field)) => {
            reader.wrong(&field, "only one of times and every");
            return None;
        }
        (None, Some(field)) => reader.integer(&field, 1, MAX_STEPS).map(Pace::Every),
        (Some(field), None) => reader.integer(&field, 1_u64, 1_000_000).map(Pace::Times),
        (None, None) => Some(Pace::Times(10)),
    };
    Some(Timing::Gradual { shape: shape?, begin, end, pace: pace? })
}

fn dynamic(reader: &mut Reader, field: Option<Field<'_>>, growth: Growth) -> Option<Timing> {
    let parameters = Parameters::of(reader, field, &["fraction", "every", "end"])?;
    let fraction = parameters.get("fraction").map_or(Some(0.3), |field| {
        reader.number(&field, "a number > 0 and ≤ 1", |fraction| 0.0 < fraction && fraction <= 1.0)
    });
    let (every, end) = (parameters.steps(reader, 100), parameters.share(reader, "end", 0.75));
    Some(Timing::Dynamic { growth, fraction: fraction?, every: every?, end: end? })
}
