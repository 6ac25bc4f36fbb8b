//! Vocabularies: enums whose variants have one name each, in sweep files, specs and reports.

/// An enum without data whose variants have names.
pub trait Vocabulary: Copy + PartialEq + 'static {
    /// Every variant, in the order in which they are shown.
    const ALL: &'static [Self];

    /// The name in sweep files and specs.
    fn name(self) -> &'static str;

    /// The variant of that name.
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
        pub enum $Name:ident { $($(#[$variant_meta:meta])* $Variant:ident = $name:literal,)+ }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $Name {
            $($(#[$variant_meta])* #[serde(rename = $name)] $Variant,)+
        }

        impl $crate::spec::Vocabulary for $Name {
            const ALL: &'static [Self] = &[$(Self::$Variant),+];

            fn name(self) -> &'static str {
                match self { $(Self::$Variant => $name),+ }
            }
        }

        impl std::fmt::Display for $Name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str($crate::spec::Vocabulary::name(*self))
            }
        }
    };
}
