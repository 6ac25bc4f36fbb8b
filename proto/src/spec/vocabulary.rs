//! Vocabularies: enums whose variants have one name each, in sweep files, specs, messages and reports.

/// An enum without data whose variants have names.
pub trait Vocabulary: Copy + PartialEq + 'static {
    /// Every variant, in the order in which they are shown.
    const ALL: &'static [Self];

    /// The names of all variants, separated by commas.
    const NAMES: &'static str;

    /// The name of the variant.
    fn name(self) -> &'static str;

    /// The variant of that name, or `None`.
    #[must_use]
    fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|variant| variant.name() == name)
    }
}

/// Defines an enum together with the names of its variants, which serde and [`Vocabulary`] share.
#[macro_export]
macro_rules! vocabulary {
    (
        $(#[$meta:meta])*
        pub enum $Name:ident {
            $(#[$first_meta:meta])* $First:ident = $first:literal,
            $($(#[$variant_meta:meta])* $Variant:ident = $name:literal,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $Name {
            $(#[$first_meta])* #[serde(rename = $first)] $First,
            $($(#[$variant_meta])* #[serde(rename = $name)] $Variant,)*
        }

        impl $Name {
            /// Every variant, in the order in which they are shown.
            pub const ALL: &'static [Self] = &[Self::$First, $(Self::$Variant),*];

            /// The name of the variant.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { Self::$First => $first, $(Self::$Variant => $name),* }
            }
        }

        impl $crate::spec::Vocabulary for $Name {
            const ALL: &'static [Self] = Self::ALL;
            const NAMES: &'static str = concat!($first $(, ", ", $name)*);

            fn name(self) -> &'static str {
                self.name()
            }
        }

        impl std::fmt::Display for $Name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}
