//! Values by quantity, and why some quantities have no value.

use std::{collections::BTreeMap, fmt, marker::PhantomData, str::FromStr};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, Visitor},
    ser::SerializeMap as _,
};

use super::{Metric, Over, Quantity};
use crate::ids::InvalidId;

/// The fewest rows that a slice needs. Metrics that rank two classes against each other need this many rows of each
/// class. Numbers from fewer rows are noise, and may reveal data of single people.
pub const FEWEST_ROWS: usize = 10;

macro_rules! reasons {
    ($($variant:ident = $name:literal, $meaning:literal;)*) => {
        /// Why a quantity of a trained net has no value.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum NotMeasurable {
            $(#[doc = $meaning] #[serde(rename = $name)] $variant,)*
        }

        impl NotMeasurable {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name in files.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The reason, for people.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning),* }
            }
        }
    };
}

reasons! {
    SeveralClasses = "several_classes", "it is defined for two classes only";
    MissingClass = "missing_class", "not every class has a row there";
    FewRows = "few_rows", "there are fewer than 10 rows, or fewer than 10 of a class, there";
    FewLevels = "few_levels", "fewer than two levels have a value";
    ZeroDenominator = "zero_denominator", "it is a ratio to nothing";
    NotFinite = "not_finite", "it is not a finite number";
}

impl fmt::Display for NotMeasurable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.meaning())
    }
}

impl FromStr for NotMeasurable {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let found = Self::ALL.iter().copied().find(|reason| reason.name() == text);
        found.ok_or_else(|| InvalidId {
            expected: "a reason why a quantity cannot be measured",
            found: text.chars().take(80).collect(),
        })
    }
}

/// The result of measuring a quantity: `0.8`, or `"few_rows"`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Measured {
    /// A value.
    Value(f64),
    /// Why there is no value.
    Not(NotMeasurable),
}

impl Measured {
    /// The value, or `None` if it is not measurable.
    #[must_use]
    pub const fn value(self) -> Option<f64> {
        match self {
            Self::Value(value) => Some(value),
            Self::Not(_) => None,
        }
    }
}

impl From<f64> for Measured {
    fn from(value: f64) -> Self {
        Self::Value(value)
    }
}

impl From<Result<f64, NotMeasurable>> for Measured {
    fn from(result: Result<f64, NotMeasurable>) -> Self {
        result.map_or_else(Self::Not, Self::Value)
    }
}

impl Serialize for Measured {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(value) => value.serialize(serializer),
            Self::Not(reason) => reason.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Measured {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Measured;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or the reason why there is no value")
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Measured, E> {
                Ok(Measured::Value(value))
            }

            #[expect(clippy::cast_precision_loss, reason = "a number in JSON is a double")]
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Measured, E> {
                Ok(Measured::Value(value as f64))
            }

            #[expect(clippy::cast_precision_loss, reason = "a number in JSON is a double")]
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Measured, E> {
                Ok(Measured::Value(value as f64))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Measured, E> {
                text.parse().map(Measured::Not).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// Values by quantity. As JSON they are nested by metric: `{"auc": {"validation": 0.8, "test": 0.79, "test[region=north]": 0.7},
/// "macs": 912}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Metrics<V = Measured>(BTreeMap<Quantity, V>);

impl<V> Default for Metrics<V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<V> Metrics<V> {
    /// An empty map.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the value of `quantity`.
    pub fn insert(&mut self, quantity: Quantity, value: impl Into<V>) {
        self.0.insert(quantity, value.into());
    }

    /// The entry of `quantity`, if there is one.
    #[must_use]
    pub fn get(&self, quantity: &Quantity) -> Option<&V> {
        self.0.get(quantity)
    }

    /// Every quantity and its value, in the order of reports.
    pub fn iter(&self) -> impl Iterator<Item = (&Quantity, &V)> {
        self.0.iter()
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Metrics {
    /// The value of `quantity`, if it was measured and has a value.
    #[must_use]
    pub fn value(&self, quantity: &Quantity) -> Option<f64> {
        self.get(quantity).copied().and_then(Measured::value)
    }
}

impl<V> Extend<(Quantity, V)> for Metrics<V> {
    fn extend<I: IntoIterator<Item = (Quantity, V)>>(&mut self, values: I) {
        self.0.extend(values);
    }
}

impl<V> IntoIterator for Metrics<V> {
    type Item = (Quantity, V);
    type IntoIter = std::collections::btree_map::IntoIter<Quantity, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<V> FromIterator<(Quantity, V)> for Metrics<V> {
    fn from_iter<I: IntoIterator<Item = (Quantity, V)>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl<V: Serialize> Serialize for Metrics<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        /// The values of one metric of rows.
        struct ByRows<'a, V>(&'a [(&'a Quantity, &'a V)]);
        impl<V: Serialize> Serialize for ByRows<'_, V> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.iter().map(|(quantity, value)| (Key(quantity.over().clone()), value)))
            }
        }
        let values: Vec<_> = self.iter().collect();
        let mut map = serializer.serialize_map(None)?;
        for of_metric in values.chunk_by(|(one, _), (two, _)| one.metric() == two.metric()) {
            match of_metric {
                [(quantity, value)] if quantity.metric().is_of_net() => {
                    map.serialize_entry(&quantity.metric(), value)?
                }
                _ => map.serialize_entry(&of_metric[0].0.metric(), &ByRows(of_metric))?,
            }
        }
        map.end()
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Metrics<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Nested<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Nested<V> {
            type Value = Metrics<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("values by metric")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metrics<V>, A::Error> {
                let mut values = BTreeMap::new();
                while let Some(metric) = map.next_key::<Metric>()? {
                    let quantity = |over| Quantity::new(metric, over).map_err(de::Error::custom);
                    if metric.is_of_net() {
                        values.insert(quantity(Over::Net)?, map.next_value()?);
                    } else {
                        for (Key(over), value) in map.next_value::<BTreeMap<Key, V>>()? {
                            values.insert(quantity(over)?, value);
                        }
                    }
                }
                Ok(Metrics(values))
            }
        }
        deserializer.deserialize_map(Nested(PhantomData))
    }
}

/// What a metric is over, as a key of a map.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key(Over);

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a split, or a slice of one")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Key, E> {
                text.parse().map(Key).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metrics::{Split, quantity::tests::quantity};

    fn measured() -> impl Strategy<Value = Measured> {
        let number = prop_oneof![-1e9..1e9_f64, Just(0.0), Just(3.0), Just(-7.0)];
        prop_oneof![
            number.prop_map(Measured::Value),
            prop::sample::select(NotMeasurable::ALL.to_vec()).prop_map(Measured::Not)
        ]
    }

    /// Any finite result of measuring.
    pub(crate) fn metrics() -> impl Strategy<Value = Metrics> {
        prop::collection::vec((quantity(), measured()), 0..20).prop_map(Metrics::from_iter)
    }

    proptest! {
        #[test]
        fn metrics_survive_json(metrics in metrics()) {
            let json = serde_json::to_string(&metrics).expect("plain data");
            prop_assert_eq!(serde_json::from_str::<Metrics>(&json).expect("its own"), metrics);
        }
    }

    #[test]
    fn the_json_is_that_of_earlier_journals_with_slices_beside_the_splits() {
        let mut metrics = Metrics::new();
        metrics.insert(Metric::Auc.on(Split::Test), 0.79);
        metrics.insert(Metric::Macs.on(Split::Test), 912.0);
        metrics.insert(Metric::Auc.on(Split::Validation), 0.8);
        let json = r#"{"auc":{"validation":0.8,"test":0.79},"macs":912.0}"#;
        assert_eq!(serde_json::to_string(&metrics).expect("plain data"), json);
        assert_eq!(serde_json::from_str::<Metrics>(json).expect("of an earlier version"), metrics);
        let slice = Over::slice(Split::Test, "region", "north");
        metrics.insert(Quantity::new(Metric::Auc, slice).expect("of rows"), Measured::Not(NotMeasurable::FewRows));
        let json = r#"{"auc":{"validation":0.8,"test":0.79,"test[region=north]":"few_rows"},"macs":912.0}"#;
        assert_eq!(serde_json::to_string(&metrics).expect("plain data"), json);
        assert_eq!(serde_json::from_str::<Metrics>(json).expect("its own"), metrics);
    }

    #[test]
    fn what_is_nested_wrongly_is_refused() {
        for json in [
            r#"{"auc":0.8}"#,
            r#"{"macs":{"test":1}}"#,
            r#"{"auc":{"train":0.8}}"#,
            r#"{"auc":{"test":null}}"#,
            r#"{"auc":{"test":"because"}}"#,
            r#"{"auk":{"test":1}}"#,
        ] {
            assert!(serde_json::from_str::<Metrics>(json).is_err(), "{json}");
        }
    }
}
