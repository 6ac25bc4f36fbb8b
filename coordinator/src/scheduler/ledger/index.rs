//! The index of stages by key. It holds numbers only: the plans have the keys, and there are hundreds of thousands.

use hashbrown::HashTable;
use secateur_proto::ids::StageKey;

use crate::scheduler::numbers::StageNumber;

/// Each known stage once. The caller provides the key of a number.
#[derive(Debug, Default)]
pub(super) struct StageIndex(HashTable<StageNumber>);

/// A key is already a hash.
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

    /// Adds a stage whose key is new.
    pub(super) fn insert(&mut self, number: StageNumber, key_of: impl Fn(StageNumber) -> StageKey) {
        self.0.insert_unique(hash(&key_of(number)), number, |number| hash(&key_of(*number)));
    }

    /// Removes a stage if it exists.
    pub(super) fn remove(&mut self, key: &StageKey, key_of: impl Fn(StageNumber) -> StageKey) {
        if let Ok(entry) = self.0.find_entry(hash(key), |number| key_of(*number) == *key) {
            entry.remove();
        }
    }

    /// Reserves space for `count` more stages.
    pub(super) fn reserve(&mut self, count: usize, key_of: impl Fn(StageNumber) -> StageKey) {
        self.0.reserve(count, |number| hash(&key_of(*number)));
    }
}
