//! A long plan as short texts, each of some of its elements, so that it is written and read without ever being there as a whole: each is
//! JSON, deflated, in base64. What the sweep is comes in none of them.

use std::{
    io::{self, BufReader, BufWriter, Read as _, Write},
    ops::Range,
};

use base64::{engine::general_purpose::STANDARD, read::DecoderReader, write::EncoderStringWriter};
use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};
use serde::de::{DeserializeSeed as _, Error as _};

use super::{
    PackedPlan, Packer,
    json::{AddTo, write_texts},
};

/// Elements of one piece, whose text is some 200,000 bytes then.
const TOGETHER: usize = 4_000;

/// The longest JSON that is read from a text, in bytes: no plan is that long.
const LONGEST: u64 = 1 << 32;

/// What a plan has many of, in an order in which each comes after what it needs.
#[derive(Debug, Clone, Copy)]
enum List {
    Stages,
    Trials,
    Cells,
    Merged,
    Refused,
}

const LISTS: [List; 5] = [List::Stages, List::Trials, List::Cells, List::Merged, List::Refused];

/// Some elements of a plan.
struct Piece<'plan> {
    plan: &'plan PackedPlan,
    list: List,
    range: Range<usize>,
}

impl PackedPlan {
    /// Some elements of the plan, in the order in which [`Packer::read_piece`] takes them; nothing behind the last.
    #[must_use]
    pub fn piece(&self, number: usize) -> Option<String> {
        let mut before = 0;
        for list in LISTS {
            let (first, count) = ((number - before) * TOGETHER, self.count(list));
            if first < count {
                return Some(Piece { plan: self, list, range: first..count.min(first + TOGETHER) }.text());
            }
            before += count.div_ceil(TOGETHER);
        }
        None
    }

    /// How many those are.
    #[must_use]
    pub fn piece_count(&self) -> usize {
        LISTS.iter().map(|list| self.count(*list).div_ceil(TOGETHER)).sum()
    }

    const fn count(&self, list: List) -> usize {
        match list {
            List::Stages => self.lists.stages.len(),
            List::Trials => self.lists.trials.len(),
            List::Cells => self.lists.cells.len(),
            List::Merged => self.lists.merged.len(),
            List::Refused => self.lists.refused.len(),
        }
    }

    /// Reads a plan that is one text, as they were written once.
    ///
    /// # Errors
    /// If the text is not that of a plan, or of one that contradicts itself.
    pub fn from_text(text: &str) -> Result<Self, serde_json::Error> {
        let (mut packer, mut sweep) = (Packer::default(), None);
        read(text, AddTo { packer: &mut packer, sweep: &mut sweep })?;
        Ok(packer.finish(sweep.ok_or_else(|| serde_json::Error::missing_field("sweep"))?))
    }
}

impl Packer {
    /// Adds the next [piece](PackedPlan::piece).
    ///
    /// # Errors
    /// If it is none, or contradicts itself or those before it: what was added of it is there then.
    pub fn read_piece(&mut self, text: &str) -> Result<(), serde_json::Error> {
        read(text, AddTo { packer: self, sweep: &mut None })
    }
}

fn read(text: &str, into: AddTo<'_>) -> Result<(), serde_json::Error> {
    let bytes = DecoderReader::new(text.as_bytes(), &STANDARD);
    let json = BufReader::new(DeflateDecoder::new(bytes).take(LONGEST));
    let mut deserializer = serde_json::Deserializer::from_reader(json);
    into.deserialize(&mut deserializer)?;
    deserializer.end()
}

impl Piece<'_> {
    fn text(&self) -> String {
        const WRITES: &str = "memory takes all that is written";
        let mut encoder = DeflateEncoder::new(EncoderStringWriter::new(&STANDARD), Compression::default());
        let mut json = BufWriter::new(&mut encoder);
        self.write(&mut json).expect(WRITES);
        json.flush().expect(WRITES);
        drop(json);
        encoder.finish().expect(WRITES).into_inner()
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let (lists, range) = (&self.plan.lists, self.range.clone());
        let name = match self.list {
            List::Stages => "stages",
            List::Trials => "numbered_trials",
            List::Cells => "cells",
            List::Merged => "merged",
            List::Refused => "refused",
        };
        write!(out, "{{\"{name}\":")?;
        match self.list {
            List::Stages => self.plan.write_stages(range, out)?,
            List::Trials => self.plan.write_numbered_trials(range, out)?,
            List::Cells => write_texts(&lists.cells, range, out)?,
            List::Merged => write_texts(&lists.merged, range, out)?,
            List::Refused => write_texts(&lists.refused, range, out)?,
        }
        out.write_all(b"}")
    }
}
