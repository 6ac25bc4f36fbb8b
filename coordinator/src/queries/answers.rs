//! Answers about sweeps, each made once for all who ask, and kept until its sweep changes or others need the room. Knows nothing of what is
//! answered.

use std::{
    any::Any,
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use secateur_proto::ids::SweepId;

use super::QueryError;

/// Something that can be kept.
pub(super) trait Answer: Any + Send + Sync {
    /// Bytes of memory that it takes.
    fn size(&self) -> usize;
}

/// Of which sweep, and which answer.
pub(super) type Key = (SweepId, &'static str);

/// The answers that are kept. Copies are the same.
#[derive(Debug, Clone)]
pub(super) struct Answers {
    room: usize,
    slots: Arc<Mutex<Slots>>,
}

#[derive(Debug, Default)]
struct Slots {
    by_key: HashMap<Key, Slot>,
    /// Goes on with each use.
    clock: u64,
}

#[derive(Debug, Default)]
struct Slot {
    /// Whoever looks for the answer, or makes it, holds the lock.
    kept: Arc<tokio::sync::Mutex<Option<Kept>>>,
    /// Bytes of what is kept; `None`: nothing is.
    size: Option<usize>,
    last_used: u64,
}

struct Kept {
    generation: u64,
    answer: Arc<dyn Any + Send + Sync>,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Kept").field("generation", &self.generation).finish_non_exhaustive()
    }
}

impl Answers {
    /// Keeps answers of up to `room` bytes together.
    pub(super) fn new(room: usize) -> Self {
        Self { room, slots: Arc::default() }
    }

    /// The answer that is kept, if it is of the generation `at_least` or of a later one; otherwise what `make` gives, with its generation.
    /// Whoever asks meanwhile waits for it. It is made to its end even if nobody waits for it any more.
    pub(super) async fn get<T, F>(&self, key: Key, at_least: u64, make: F) -> Result<Arc<T>, QueryError>
    where
        T: Answer,
        F: Future<Output = Result<(u64, T), QueryError>> + Send + 'static,
    {
        let turn = self.turn(key);
        let mut kept = Arc::clone(&turn.kept).lock_owned().await;
        if let Some(found) = kept.as_ref().filter(|kept| kept.generation >= at_least) {
            return Ok(Arc::clone(&found.answer).downcast().expect("a key names answers of one type"));
        }
        let making = tokio::spawn(async move {
            let made = make.await.map(|(generation, answer)| {
                turn.note(answer.size());
                let answer = Arc::new(answer);
                *kept = Some(Kept { generation, answer: Arc::<T>::clone(&answer) });
                answer
            });
            // In this order: a turn that ends drops what nobody looks at.
            drop(kept);
            drop(turn);
            made
        });
        making.await.map_err(|error| QueryError::Failed(error.to_string()))?
    }

    fn turn(&self, key: Key) -> Turn {
        let mut slots = self.lock();
        slots.clock += 1;
        let clock = slots.clock;
        let slot = slots.by_key.entry(key.clone()).or_default();
        slot.last_used = clock;
        let kept = Arc::clone(&slot.kept);
        Turn { answers: self.clone(), key, kept }
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A turn of somebody who asks: as long as there are any of a key, its answer stays.
struct Turn {
    answers: Answers,
    key: Key,
    kept: Arc<tokio::sync::Mutex<Option<Kept>>>,
}

impl Turn {
    fn note(&self, size: usize) {
        if let Some(slot) = self.answers.lock().by_key.get_mut(&self.key) {
            slot.size = Some(size);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut slots = self.answers.lock();
        // The slot is nobody's any more but for those that wait.
        self.kept = Arc::default();
        slots.trim(self.answers.room);
    }
}

impl Slots {
    /// Drops the answers that were used longest ago until the rest fits, and what is empty. What somebody waits for stays.
    fn trim(&mut self, room: usize) {
        let is_idle = |slot: &Slot| Arc::strong_count(&slot.kept) == 1;
        self.by_key.retain(|_, slot| slot.size.is_some() || !is_idle(slot));
        let mut size: usize = self.by_key.values().filter_map(|slot| slot.size).sum();
        while size > room {
            let idle = self.by_key.iter().filter(|(_, slot)| is_idle(slot));
            let Some(oldest) = idle.min_by_key(|(_, slot)| slot.last_used).map(|(key, _)| key.clone()) else { return };
            size -= self.by_key.remove(&oldest).and_then(|slot| slot.size).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests;
