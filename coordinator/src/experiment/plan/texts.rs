//! Many short texts, kept compressed. Knows nothing of what they say.
//!
//! Texts that follow each other are compressed together, since they are much alike; one is read by unpacking those beside it. So reading
//! one costs what it costs to unpack its block, and reading all in their order that of each block once.

use std::{
    fmt,
    io::{Read as _, Write as _},
};

use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};

/// Texts that are compressed together: more take longer to read one of, fewer take more room.
const TOGETHER: usize = 32;

/// Texts without line breaks, in their order.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Texts {
    blocks: Vec<Box<[u8]>>,
    /// Those that are not yet enough for a block, each with its line break.
    open: String,
    count: usize,
}

impl Texts {
    /// Adds a text, which has no line break in it.
    pub(super) fn push(&mut self, text: &str) {
        debug_assert!(!text.contains('\n'), "a text is one line");
        self.open.push_str(text);
        self.open.push('\n');
        self.count += 1;
        if self.count.is_multiple_of(TOGETHER) {
            self.blocks.push(packed(&self.open));
            self.open.clear();
        }
    }

    /// No more are added: what there is takes no more room than it must.
    pub(super) fn shrink(&mut self) {
        self.blocks.shrink_to_fit();
        self.open.shrink_to_fit();
    }

    /// The text at `position`.
    pub(super) fn get(&self, position: usize) -> Option<String> {
        let block = self.block(position / TOGETHER)?;
        block.lines().nth(position % TOGETHER).map(ToOwned::to_owned)
    }

    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.count
    }

    /// All of them from `position` on, in their order.
    pub(super) fn iter_from(&self, position: usize) -> impl Iterator<Item = String> + '_ {
        let blocks = position / TOGETHER..self.blocks.len() + 1;
        let texts = blocks.flat_map(|block| {
            let lines = self.block(block).unwrap_or_default();
            lines.lines().map(ToOwned::to_owned).collect::<Vec<_>>()
        });
        texts.skip(position % TOGETHER)
    }

    /// The lines of a block; of the one after the last, those that are still open.
    fn block(&self, number: usize) -> Option<String> {
        match self.blocks.get(number) {
            Some(block) => {
                let mut lines = String::new();
                DeflateDecoder::new(block.as_ref()).read_to_string(&mut lines).expect("it was packed here");
                Some(lines)
            }
            None => (number == self.blocks.len()).then(|| self.open.clone()),
        }
    }
}

fn packed(lines: &str) -> Box<[u8]> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(lines.as_bytes()).expect("memory takes all that is written");
    encoder.finish().expect("memory takes all that is written").into()
}

impl fmt::Debug for Texts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.iter_from(0)).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_put_in_is_read_in_its_order(texts in prop::collection::vec("[^\\n\\r]{0,20}", 0..3 * TOGETHER)) {
            let mut kept = Texts::default();
            for text in &texts {
                kept.push(text);
            }
            kept.shrink();
            prop_assert_eq!(kept.len(), texts.len());
            for (position, text) in texts.iter().enumerate() {
                let found = kept.get(position);
                prop_assert_eq!(found.as_ref(), Some(text));
            }
            for position in [0, texts.len() / 3, texts.len() / 2, texts.len()] {
                prop_assert_eq!(&kept.iter_from(position).collect::<Vec<_>>(), &texts[position..]);
            }
            prop_assert_eq!(kept.get(texts.len()), None);
        }
    }

    #[test]
    fn what_is_much_alike_takes_little_room() {
        let mut texts = Texts::default();
        let line = |number: u64| format!("{{\"seed\":{number},\"model\":{}}}", "[64,32]".repeat(100));
        let whole: usize = (0..1_000).map(|number| line(number).len()).sum();
        (0..1_000).for_each(|number| texts.push(&line(number)));
        let kept: usize = texts.blocks.iter().map(|block| block.len()).sum();
        assert!(kept * 50 < whole, "{whole} bytes are kept in {kept}");
    }
}
