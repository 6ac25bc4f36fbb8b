//! Numbers that stand for stages, sweeps, classes, workers and leases in the core's tables. Smaller than ids, and ordered by age.

use secateur_proto::ids::LeaseId;

/// A number in one of the core's tables.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(super) struct $name(pub(super) $inner);
    };
}

/// A number that is also an index into a list.
macro_rules! index {
    ($(#[$doc:meta])* $name:ident) => {
        number!($(#[$doc])* $name(u32));

        impl $name {
            pub(super) const fn index(self) -> usize {
                self.0 as usize
            }

            /// The number of what is at `index` in its list. Lists never grow beyond `u32::MAX`: a plan that would is refused.
            pub(super) fn at(index: usize) -> Self {
                Self(u32::try_from(index).unwrap_or(u32::MAX))
            }
        }
    };
}

index!(
    /// Stages in the order of first submission and plan: the order in which they are handed out.
    StageNumber
);
index!(
    /// Sweeps in the order of submission.
    SweepNumber
);
index!(
    /// Bundle classes in the order of first use.
    ClassNumber
);
number!(
    /// Workers in the order of joining.
    WorkerNumber(u64)
);

/// A lease: the life that gave it out, and which of that life's it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct LeaseNumber {
    pub(super) life: u32,
    pub(super) number: u64,
}

impl LeaseNumber {
    /// `<life>-<number>`: unique over all lives.
    pub(super) fn id(self) -> LeaseId {
        format!("{}-{}", self.life, self.number).parse().expect("two numbers and a dash are an id")
    }

    /// The lease of that id, if it is one that a core can have given out.
    pub(super) fn parse(lease: &LeaseId) -> Option<Self> {
        let (life, number) = lease.as_str().split_once('-')?;
        // Only the text that `id` writes: no sign and no leading zeros.
        let is_written = |text: &str| {
            text.starts_with(|first: char| first.is_ascii_digit()) && (text == "0" || !text.starts_with('0'))
        };
        (is_written(life) && is_written(number)).then_some(())?;
        Some(Self { life: life.parse().ok()?, number: number.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_lease_is_found_by_its_very_id(life: u32, number: u64, text in "[0+-]{0,2}[0-9]{1,12}-[0+-]{0,2}[0-9]{1,21}") {
            let lease = LeaseNumber { life, number };
            prop_assert_eq!(LeaseNumber::parse(&lease.id()), Some(lease));
            if let Some(lease) = text.parse().ok().and_then(|id| LeaseNumber::parse(&id)) {
                let id = lease.id();
                prop_assert_eq!(id.as_str(), text);
            }
        }
    }
}
