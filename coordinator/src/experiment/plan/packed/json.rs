//! A packed plan as JSON, which is that of the plan itself; written and read element by element, so that the whole is never there unpacked.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
    ser::SerializeStruct as _,
};

use super::{InvalidPlan, NumberedTrial, PackedPlan, Packer};
use crate::experiment::plan::{PlannedStage, SweepInfo, Trial};

impl Serialize for PackedPlan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut plan = serializer.serialize_struct("Plan", 6)?;
        plan.serialize_field("sweep", &self.sweep)?;
        plan.serialize_field("stages", &Listed(|| self.stages(0)))?;
        plan.serialize_field("cells", &Listed(|| self.cells(0)))?;
        plan.serialize_field("trials", &Listed(|| self.trials()))?;
        plan.serialize_field("merged", &Listed(|| self.merged(0)))?;
        plan.serialize_field("refused", &Listed(|| self.refused(0)))?;
        plan.end()
    }
}

/// A list that is made while it is written.
pub(super) struct Listed<F>(pub(super) F);

impl<F: Fn() -> I, I: Iterator<Item: Serialize>> Serialize for Listed<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

impl<'de> Deserialize<'de> for PackedPlan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (mut packer, mut sweep) = (Packer::default(), None);
        AddTo { packer: &mut packer, sweep: &mut sweep }.deserialize(deserializer)?;
        Ok(packer.finish(sweep.ok_or_else(|| D::Error::missing_field("sweep"))?))
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    Sweep,
    Stages,
    Cells,
    Trials,
    NumberedTrials,
    Merged,
    Refused,
    #[serde(other)]
    Other,
}

/// Adds what a plan, or a part of one, says to what is packed already.
pub(super) struct AddTo<'a> {
    pub(super) packer: &'a mut Packer,
    pub(super) sweep: &'a mut Option<SweepInfo>,
}

impl<'de> DeserializeSeed<'de> for AddTo<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for AddTo<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a plan: what the sweep is, its stages, and then its trials")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { packer, sweep } = self;
        while let Some(field) = map.next_key()? {
            match field {
                Field::Sweep => *sweep = Some(map.next_value()?),
                Field::Stages => map.next_value_seed(Each::of(|stage: PlannedStage| packer.stage(&stage)))?,
                Field::Trials => map.next_value_seed(Each::of(|trial: Trial| packer.trial(&trial)))?,
                Field::NumberedTrials => {
                    map.next_value_seed(Each::of(|trial: NumberedTrial| packer.numbered_trial(&trial)))?;
                }
                Field::Cells => map.next_value_seed(Each::of(|cell| {
                    packer.cell(&cell);
                    Ok(())
                }))?,
                Field::Merged => map.next_value_seed(Each::of(|merged| {
                    packer.merged(&merged);
                    Ok(())
                }))?,
                Field::Refused => map.next_value_seed(Each::of(|refused| {
                    packer.refused(&refused);
                    Ok(())
                }))?,
                Field::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// A list of which each element is taken as it is read.
struct Each<T, F> {
    take: F,
    element: PhantomData<T>,
}

impl<T, F: FnMut(T) -> Result<(), InvalidPlan>> Each<T, F> {
    const fn of(take: F) -> Self {
        Self { take, element: PhantomData }
    }
}

impl<'de, T: Deserialize<'de>, F: FnMut(T) -> Result<(), InvalidPlan>> DeserializeSeed<'de> for Each<T, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: Deserialize<'de>, F: FnMut(T) -> Result<(), InvalidPlan>> Visitor<'de> for Each<T, F> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        while let Some(element) = list.next_element()? {
            (self.take)(element).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}
