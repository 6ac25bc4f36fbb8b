//! Bugs that a test plants, to see that the simulations find them. Outside tests there are none.

use super::core::Core;

/// A bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Planted {
    /// A failure counts although its attempt is not the one that is out.
    AttemptNotChecked,
    /// A failure counts each time that its worker says it.
    FailureCountedAgain,
    /// A result counts only from the lease that is out.
    LateResultDropped,
    /// A checkpoint counts although a later one is known.
    AnyCheckpointKept,
    /// A trial that has ended ends again when its sweep goes on.
    DoubleCount,
    /// The shell carries out effects before their records are written.
    EffectsFirst,
}

impl Core {
    #[cfg(test)]
    pub(crate) fn has(&self, bug: Planted) -> bool {
        self.policy.planted == Some(bug)
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "as in tests")]
    pub(crate) const fn has(&self, _: Planted) -> bool {
        false
    }
}
