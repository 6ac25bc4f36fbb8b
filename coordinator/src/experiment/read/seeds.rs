//! Reads `seeds`: a number, a list, or a map that says how seeds are added while results come in.

use std::collections::HashMap;

use super::{
    super::{
        adaptive::{AdaptiveSeeds, FEWEST_SEEDS, Until},
        diagnostic::Mark,
        setting::{Form as _, Names},
        spec::MAX_TRIALS,
        yaml::Value,
    },
    reader::{Field, Reader},
};

pub(super) const SEEDS: &str =
    "a number of seeds, such as 5, a list of different seeds, or a map such as {min: 3, max: 20, until: front_settled}";

/// The most seeds of a cell, and of a sweep of one cell.
#[expect(clippy::cast_possible_truncation, reason = "a million fits")]
const MOST: u32 = MAX_TRIALS as u32;

/// Not a list until it is known not to be too long.
pub(super) enum Seeds {
    Count(u64),
    List(Vec<u64>),
    Adaptive(AdaptiveSeeds),
}

impl Seeds {
    /// The most seeds that a cell can have.
    pub(super) fn count(&self) -> u128 {
        match self {
            Self::Count(count) => (*count).into(),
            Self::List(list) => list.len() as u128,
            Self::Adaptive(adaptive) => adaptive.max.into(),
        }
    }

    /// The seeds that every cell has from the beginning, and how others are added.
    pub(super) fn list(self) -> (Vec<u64>, Option<AdaptiveSeeds>) {
        match self {
            Self::Count(count) => ((0..count).collect(), None),
            Self::List(list) => (list, None),
            Self::Adaptive(adaptive) => ((0..adaptive.min.into()).collect(), Some(adaptive)),
        }
    }
}

pub(super) fn seeds(reader: &mut Reader, field: &Field<'_>) -> Option<Seeds> {
    match &field.node.value {
        Value::Integer(_) => reader.integer(field, 1, u64::from(MOST)).map(Seeds::Count),
        Value::Map(_) => adaptive(reader, field).map(Seeds::Adaptive),
        Value::List(_) => {
            let items = field.items_or_self();
            if items.is_empty() {
                reader.wrong(field, SEEDS);
                return None;
            }
            let mut first: HashMap<u64, Mark> = HashMap::new();
            let mut list = Vec::new();
            for item in &items {
                let Some(seed) = reader.integer(item, 0, u64::MAX) else { continue };
                match first.insert(seed, item.mark()) {
                    None => list.push(seed),
                    Some(mark) => {
                        let message = format!("found {seed} twice, first at {mark}");
                        reader.report(item.mark(), &item.path, message);
                    }
                }
            }
            Some(Seeds::List(list))
        }
        _ => {
            reader.wrong(field, SEEDS);
            None
        }
    }
}

fn adaptive(reader: &mut Reader, field: &Field<'_>) -> Option<AdaptiveSeeds> {
    let fields = reader.fields(field, &["min", "max", "step", "until"])?;
    let min = fields.get("min").map_or(Some(FEWEST_SEEDS), |field| reader.integer(&field, FEWEST_SEEDS, MOST));
    let max = reader.required(&fields, "max", "the most seeds of a cell");
    let max = max.and_then(|field| reader.integer(&field, min.map_or(FEWEST_SEEDS, |min| min.saturating_add(1)), MOST));
    let step = fields.get("step").map_or(Some(AdaptiveSeeds::STEP), |field| reader.integer(&field, 1, MOST));
    let until = fields.get("until").map_or(Some(Until::FrontSettled), |field| Names.read(reader, &field));
    Some(AdaptiveSeeds { min: min?, max: max?, step: step?, until: until? })
}
