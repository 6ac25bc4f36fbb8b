//! Bugs that a test plants, to see that the simulation finds them. Outside tests there are none.

use super::core::Core;

/// A bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Planted {
    /// A failure counts although its attempt is not the one that is out.
    AttemptNotChecked,
    /// A result counts only from the lease that is out.
    LateResultDropped,
    /// A trial that has ended ends again when its sweep goes on.
    DoubleCount,
}

impl Core {
    #[cfg(test)]
    pub(super) fn has(&self, bug: Planted) -> bool {
        self.planted == Some(bug)
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "as in tests")]
    pub(super) const fn has(&self, _: Planted) -> bool {
        false
    }
}
