//! A packed plan as JSON, which is that of the plan itself; written and read element by element, so that the whole is never there unpacked.
//!
//! Specs, cells and the like are packed as JSON. Where nobody asks for line breaks they are copied as they are, and not read and written
//! anew: a plan of 200,000 stages has most of its bytes in them.

use std::{
    fmt,
    io::{self, Write},
    marker::PhantomData,
    ops::Range,
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
    ser::SerializeStruct as _,
};

use super::{InvalidPlan, NumberedTrial, PackedPlan, Packer, Stage};
use crate::experiment::plan::{PlannedStage, SweepInfo, Trial, texts::Texts};

impl Serialize for PackedPlan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut plan = serializer.serialize_struct("Plan", 6)?;
        plan.serialize_field("sweep", &self.sweep)?;
        plan.serialize_field("stages", &Listed(|| self.stages()))?;
        plan.serialize_field("cells", &Listed(|| self.cells()))?;
        plan.serialize_field("trials", &Listed(|| self.trials()))?;
        plan.serialize_field("merged", &Listed(|| self.merged()))?;
        plan.serialize_field("refused", &Listed(|| self.refused()))?;
        plan.end()
    }
}

impl PackedPlan {
    /// Writes the plan as JSON without line breaks.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(b"{\"sweep\":")?;
        serde_json::to_writer(&mut *out, &self.sweep)?;
        out.write_all(b",\"stages\":")?;
        self.write_stages(0..self.lists.stages.len(), out)?;
        out.write_all(b",\"cells\":")?;
        write_texts(&self.lists.cells, 0..self.lists.cells.len(), out)?;
        out.write_all(b",\"trials\":")?;
        write_list(self.trials(), |trial, out| Ok(serde_json::to_writer(out, &trial)?), out)?;
        out.write_all(b",\"merged\":")?;
        write_texts(&self.lists.merged, 0..self.lists.merged.len(), out)?;
        out.write_all(b",\"refused\":")?;
        write_texts(&self.lists.refused, 0..self.lists.refused.len(), out)?;
        out.write_all(b"}")
    }

    pub(super) fn write_stages(&self, range: Range<usize>, out: &mut dyn Write) -> io::Result<()> {
        let stages = range.clone().zip(&self.lists.stages[range.clone()]).zip(self.lists.specs.iter_from(range.start));
        let write = |((position, stage), spec): ((usize, &Stage), String), mut out: &mut dyn Write| {
            let (class, bundled) = &self.lists.classes[stage.class as usize];
            // The fields of a `PlannedStage`, in their order.
            out.write_all(b"{\"key\":")?;
            serde_json::to_writer(&mut out, &stage.key)?;
            out.write_all(b",\"spec\":")?;
            out.write_all(spec.as_bytes())?;
            out.write_all(b",\"given\":")?;
            serde_json::to_writer(&mut out, &self.given(position))?;
            out.write_all(b",\"bundle_class\":")?;
            serde_json::to_writer(&mut out, class)?;
            write!(out, ",\"bundled\":{bundled},\"lane_steps\":{}}}", stage.lane_steps)
        };
        write_list(stages, write, out)
    }

    pub(super) fn write_numbered_trials(&self, range: Range<usize>, out: &mut dyn Write) -> io::Result<()> {
        let trials = self.numbered_trials(range.start).take(range.len());
        write_list(trials, |trial, out| Ok(serde_json::to_writer(out, &trial)?), out)
    }
}

/// Writes texts that are JSON as a list.
pub(super) fn write_texts(texts: &Texts, range: Range<usize>, out: &mut dyn Write) -> io::Result<()> {
    let texts = texts.iter_from(range.start).take(range.len());
    write_list(texts, |text, out| out.write_all(text.as_bytes()), out)
}

fn write_list<T>(
    elements: impl Iterator<Item = T>,
    write: impl Fn(T, &mut dyn Write) -> io::Result<()>,
    out: &mut dyn Write,
) -> io::Result<()> {
    out.write_all(b"[")?;
    for (number, element) in elements.enumerate() {
        if number > 0 {
            out.write_all(b",")?;
        }
        write(element, out)?;
    }
    out.write_all(b"]")
}

/// A list that is made while it is written.
struct Listed<F>(F);

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
