//! Bugs that tests inject to verify that the simulations find them. Outside of tests there are none.

/// An injected bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A failure counts although its attempt is not the current one.
    AttemptNotChecked,
    /// A failure counts each time its worker reports it.
    FailureCountedAgain,
    /// A result counts only if it comes from the current lease.
    LateResultDropped,
    /// A checkpoint replaces a later one.
    AnyCheckpointKept,
    /// A trial that has ended ends again when its sweep resumes.
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
