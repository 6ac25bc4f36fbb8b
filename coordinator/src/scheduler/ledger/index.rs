//! Where stages are by their key. A table of numbers alone: the plans have the keys, and there are hundreds of thousands.

use hashbrown::HashTable;
use secateur_proto::ids::StageKey;

use crate::scheduler::numbers::StageNumber;

/// Each stage once that some sweep lists. Whoever asks says what the key of a number is.
#[derive(Debug, Default)]
pub(super) struct StageIndex(HashTable<StageNumber>);

/// A key is a hash already.
fn hash(key: &StageKey) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *key.0.as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

impl StageIndex {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn contains(&self, number: StageNumber) -> bool {
        self.0.iter().any(|known| *known == number)
    }

    pub(super) fn find(&self, key: &StageKey, key_of: impl Fn(StageNumber) -> StageKey) -> Option<StageNumber> {
        self.0.find(hash(key), |number| key_of(*number) == *key).copied()
    }

    /// Adds a stage whose key is not there.
    pub(super) fn insert(&mut self, number: StageNumber, key_of: impl Fn(StageNumber) -> StageKey) {
        self.0.insert_unique(hash(&key_of(number)), number, |number| hash(&key_of(*number)));
    }

    /// Removes a stage, if it is there.
    pub(super) fn remove(&mut self, key: &StageKey, key_of: impl Fn(StageNumber) -> StageKey) {
        if let Ok(entry) = self.0.find_entry(hash(key), |number| key_of(*number) == *key) {
            entry.remove();
        }
    }

    /// Makes room for so many more.
    pub(super) fn reserve(&mut self, count: usize, key_of: impl Fn(StageNumber) -> StageKey) {
        self.0.reserve(count, |number| hash(&key_of(*number)));
    }
}
