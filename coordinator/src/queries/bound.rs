//! Limits on concurrent work and on waiting callers. It does not know the work.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::QueryError;

/// A limit of units of concurrent work, and a limit of callers that wait or are being answered. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    capacity: u32,
    units: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl Bound {
    pub(super) fn new(capacity: u32, askers: usize) -> Self {
        Self { capacity, units: Arc::new(Semaphore::new(capacity as usize)), places: Arc::new(Semaphore::new(askers)) }
    }

    /// Takes a place among the callers, which is held until the answer exists.
    ///
    /// # Errors
    /// If there is no free place.
    pub(super) fn ask(&self) -> Result<OwnedSemaphorePermit, QueryError> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| QueryError::Busy)
    }

    /// Waits, in order, until there is capacity for work of that many units. Work larger than the limit runs alone.
    pub(super) async fn enter(&self, units: usize) -> Result<OwnedSemaphorePermit, QueryError> {
        let units = u32::try_from(units).unwrap_or(u32::MAX).clamp(1, self.capacity);
        Arc::clone(&self.units).acquire_many_owned(units).await.map_err(|_| QueryError::Stopped)
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, pin_mut};

    use super::*;

    #[tokio::test]
    async fn work_waits_in_turn_and_large_work_is_alone() {
        let bound = Bound::new(10, 2);
        let small = bound.enter(4).await.expect("there is room");
        let large = bound.enter(1_000);
        let other = bound.enter(4);
        pin_mut!(large, other);
        assert!(large.as_mut().now_or_never().is_none());
        assert!(other.as_mut().now_or_never().is_none(), "it came later than the large one");
        drop(small);
        let all = large.await.expect("its turn");
        assert!(other.as_mut().now_or_never().is_none());
        drop(all);
        assert!(other.now_or_never().expect("its turn").is_ok());
    }

    #[test]
    fn who_finds_no_place_is_told() {
        let bound = Bound::new(10, 2);
        let (first, second) = (bound.ask(), bound.ask());
        assert!(first.is_ok() && second.is_ok());
        assert!(matches!(bound.ask(), Err(QueryError::Busy)));
        drop(first);
        assert!(bound.ask().is_ok());
    }
}
