//! Bugs that a test injects, to see that the simulations find them. Outside tests there are none.

/// A bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A failure counts although its attempt is not the one that is out.
    AttemptNotChecked,
    /// A failure counts each time that its worker reports it.
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

/// The bug of this core, if a test injected one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Faults {
    #[cfg(test)]
    injected: Option<Fault>,
}

impl Faults {
    #[cfg(test)]
    pub(super) const fn new(injected: Option<Fault>) -> Self {
        Self { injected }
    }

    #[cfg(test)]
    pub(super) fn has(self, fault: Fault) -> bool {
        self.injected == Some(fault)
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "as in tests")]
    pub(super) const fn has(self, _: Fault) -> bool {
        false
    }
}
