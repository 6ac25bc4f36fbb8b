//! A cache of answers about sweeps. Each is made once for all callers, and kept until its sweep changes or the space is
//! needed. It does not know the content.

use std::{
    any::Any,
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use secateur_proto::ids::SweepId;

use super::QueryError;

/// An answer that can be cached.
pub(super) trait Answer: Any + Send + Sync {
    /// Its size in bytes of memory.
    fn size(&self) -> usize;
}

/// The sweep, and the name of the answer.
pub(super) type Key = (SweepId, &'static str);

/// The cached answers. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Answers {
    room: usize,
    slots: Arc<Mutex<Slots>>,
}

#[derive(Debug, Default)]
struct Slots {
    by_key: HashMap<Key, Slot>,
    /// Increases with each use.
    clock: u64,
}

#[derive(Debug, Default)]
struct Slot {
    /// Locked while the answer is looked up or made.
    kept: Arc<tokio::sync::Mutex<Option<Kept>>>,
    /// The size of the cached answer, or `None` if there is none.
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
    /// A cache of up to `room` bytes.
    pub(super) fn new(room: usize) -> Self {
        Self { room, slots: Arc::default() }
    }

    /// Returns the cached answer if its generation is at least `at_least`. Otherwise returns the answer of `make`,
    /// which has its generation. Other callers meanwhile wait for it. `make` runs to its end even if all callers are
    /// gone.
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
            // In this order: dropping a turn trims answers that nobody uses.
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

/// A caller of a key. The answer is not dropped while there are callers.
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
        // Released before trimming, so that only waiting callers count.
        self.kept = Arc::default();
        slots.trim(self.answers.room);
    }
}

impl Slots {
    /// Drops empty slots, and the least recently used answers until the rest fits. Answers with waiting callers are
    /// kept.
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
