//! A packed plan as JSON, which is that of the plan itself; written and read piece by piece, so that the whole is never there unpacked.
//! And that JSON as a short text.

use std::{
    fmt,
    io::{self, BufReader, BufWriter, Read as _, Write},
    marker::PhantomData,
};

use base64::{engine::general_purpose::STANDARD, read::DecoderReader, write::EncoderWriter};
use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
    ser::SerializeStruct as _,
};

use super::{InvalidPlan, PackedPlan, Packer};
use crate::sweep::plan::{PlannedStage, Trial};

/// The longest JSON that is read from a short text, in bytes: no plan is that long.
const LONGEST: u64 = 1 << 32;

impl PackedPlan {
    /// A text without line breaks: its JSON, deflated, in base64. Made while it is written, since it may be long.
    #[must_use]
    pub const fn as_text(&self) -> impl fmt::Display {
        Text(self)
    }

    /// Reads what [`PackedPlan::as_text`] wrote.
    ///
    /// # Errors
    /// If the text is not that of a plan, or of one that contradicts itself.
    pub fn from_text(text: &str) -> Result<Self, serde_json::Error> {
        let bytes = DecoderReader::new(text.as_bytes(), &STANDARD);
        serde_json::from_reader(BufReader::new(DeflateDecoder::new(bytes).take(LONGEST)))
    }
}

struct Text<'plan>(&'plan PackedPlan);

impl fmt::Display for Text<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut characters = EncoderWriter::new(Characters(formatter), &STANDARD);
        let mut encoder = DeflateEncoder::new(&mut characters, Compression::default());
        let mut json = BufWriter::new(&mut encoder);
        let mut write = || {
            serde_json::to_writer(&mut json, self.0)?;
            json.flush()
        };
        write().map_err(|_| fmt::Error)?;
        drop(json);
        encoder.finish().map_err(|_| fmt::Error)?;
        characters.finish().map_err(|_| fmt::Error)?;
        Ok(())
    }
}

/// Takes ASCII as bytes.
struct Characters<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for Characters<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        self.0.write_str(text).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

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

/// A list that is made while it is written.
struct Listed<F>(F);

impl<F: Fn() -> I, I: Iterator<Item: Serialize>> Serialize for Listed<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

impl<'de> Deserialize<'de> for PackedPlan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PlanVisitor)
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    Sweep,
    Stages,
    Cells,
    Trials,
    Merged,
    Refused,
    #[serde(other)]
    Other,
}

struct PlanVisitor;

impl<'de> Visitor<'de> for PlanVisitor {
    type Value = PackedPlan;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a plan: what the sweep is, its stages, and then its trials")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PackedPlan, A::Error> {
        let mut packer = Packer::default();
        let mut sweep = None;
        while let Some(field) = map.next_key()? {
            match field {
                Field::Sweep => sweep = Some(map.next_value()?),
                Field::Stages => map.next_value_seed(Each::of(|stage: PlannedStage| packer.stage(&stage)))?,
                Field::Trials => map.next_value_seed(Each::of(|trial: Trial| packer.trial(&trial)))?,
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
        Ok(packer.finish(sweep.ok_or_else(|| A::Error::missing_field("sweep"))?))
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
