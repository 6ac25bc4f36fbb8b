//! How much is done at the same time, and how many wait for it. Knows nothing of what is done.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::QueryError;

/// So many units of work at the same time, and so many askers who wait or are being answered. Copies are the same.
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

    /// A place among the askers, which is held until the answer is there.
    ///
    /// # Errors
    /// If none is free.
    pub(super) fn ask(&self) -> Result<OwnedSemaphorePermit, QueryError> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| QueryError::Busy)
    }

    /// Waits, in turn, until there is room for work of that many units. Work that is larger than all there is has everything to itself.
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
