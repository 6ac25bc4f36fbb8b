//! How serde writes a plan in its entry: a short one as readable JSON; for a long one only the sweep.

use std::{fmt, sync::Arc};

use serde::{
    Deserialize as _, Deserializer, Serialize as _, Serializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::experiment::plan::PackedPlan;

/// From this many stages a plan is long.
const LONG: usize = 1_000;

pub(super) fn is_long(plan: &PackedPlan) -> bool {
    plan.stage_count() >= LONG
}

pub(super) fn serialize<S: Serializer>(plan: &Arc<PackedPlan>, serializer: S) -> Result<S::Ok, S::Error> {
    if is_long(plan) { plan.nothing_of().serialize(serializer) } else { plan.as_ref().serialize(serializer) }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<PackedPlan>, D::Error> {
    deserializer.deserialize_any(Either).map(Arc::new)
}

struct Either;

impl<'de> Visitor<'de> for Either {
    type Value = PackedPlan;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a plan")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<PackedPlan, E> {
        PackedPlan::from_text(text).map_err(|error| E::custom(format_args!("cannot parse the plan: {error}")))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PackedPlan, A::Error> {
        PackedPlan::deserialize(MapAccessDeserializer::new(map))
    }
}
