//! Forms of values: how one is read, which ones are allowed in words, and the same as a JSON Schema.

use secateur_proto::spec::Vocabulary;
use serde_json::{Value as Json, json};

use super::super::read::{Field, Reader};

/// The values of a setting.
pub(crate) trait Form<T>: Sync {
    /// Which values there are, in words.
    fn allowed(&self) -> String;

    /// Reads one value. Reports a problem if there is none.
    fn read(&self, reader: &mut Reader, field: &Field<'_>) -> Option<T>;

    /// The JSON Schema of one value.
    fn schema(&self) -> Json;

    /// The values, if the field lists several.
    fn items<'a>(&self, field: &Field<'a>) -> Option<Vec<Field<'a>>> {
        field.items()
    }

    /// Whether values are numbers, so that there are ranges of them.
    fn is_number(&self) -> bool {
        false
    }

    /// Whether they are integers.
    fn is_integer(&self) -> bool {
        false
    }

    /// The value at a number of a range; `None` if it is not allowed.
    fn at(&self, _number: f64) -> Option<T> {
        None
    }
}

/// Finite numbers between two bounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Number {
    low: Bound,
    high: Bound,
}

#[derive(Debug, Clone, Copy)]
enum Bound {
    Nowhere,
    /// The bound itself is allowed.
    At(f64),
    /// It is not.
    Beyond(f64),
}

impl Number {
    /// Numbers from `low` on.
    pub(crate) const fn from(low: f64) -> Self {
        Self { low: Bound::At(low), high: Bound::Nowhere }
    }

    /// Numbers above `low`.
    pub(crate) const fn above(low: f64) -> Self {
        Self { low: Bound::Beyond(low), high: Bound::Nowhere }
    }

    /// Those up to `high`.
    pub(crate) const fn up_to(self, high: f64) -> Self {
        Self { high: Bound::At(high), ..self }
    }

    /// Those below `high`.
    pub(crate) const fn below(self, high: f64) -> Self {
        Self { high: Bound::Beyond(high), ..self }
    }

    fn holds(&self, number: f64) -> bool {
        let is_high_enough = match self.low {
            Bound::Nowhere => true,
            Bound::At(low) => low <= number,
            Bound::Beyond(low) => low < number,
        };
        let is_low_enough = match self.high {
            Bound::Nowhere => true,
            Bound::At(high) => number <= high,
            Bound::Beyond(high) => number < high,
        };
        number.is_finite() && is_high_enough && is_low_enough
    }

    fn read_as(&self, reader: &mut Reader, field: &Field<'_>, allowed: &str) -> Option<f64> {
        reader.number(field, allowed, |number| self.holds(number))
    }
}

impl Form<f64> for Number {
    fn allowed(&self) -> String {
        let low = match self.low {
            Bound::Nowhere => None,
            Bound::At(low) => Some(format!("≥ {low}")),
            Bound::Beyond(low) => Some(format!("> {low}")),
        };
        let high = match self.high {
            Bound::Nowhere => None,
            Bound::At(high) => Some(format!("≤ {high}")),
            Bound::Beyond(high) => Some(format!("< {high}")),
        };
        let bounds: Vec<String> = low.into_iter().chain(high).collect();
        format!("a number {}", bounds.join(" and ")).trim_end().to_owned()
    }

    fn read(&self, reader: &mut Reader, field: &Field<'_>) -> Option<f64> {
        self.read_as(reader, field, &self.allowed())
    }

    fn schema(&self) -> Json {
        let mut schema = json!({"type": "number"});
        match self.low {
            Bound::Nowhere => {}
            Bound::At(low) => schema["minimum"] = low.into(),
            Bound::Beyond(low) => schema["exclusiveMinimum"] = low.into(),
        }
        match self.high {
            Bound::Nowhere => {}
            Bound::At(high) => schema["maximum"] = high.into(),
            Bound::Beyond(high) => schema["exclusiveMaximum"] = high.into(),
        }
        schema
    }

    fn is_number(&self) -> bool {
        true
    }

    fn at(&self, number: f64) -> Option<f64> {
        self.holds(number).then_some(number)
    }
}

/// Integers from the first to the second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Integer(pub(crate) u32, pub(crate) u32);

impl Form<u32> for Integer {
    fn allowed(&self) -> String {
        format!("an integer from {} to {}", self.0, self.1)
    }

    fn read(&self, reader: &mut Reader, field: &Field<'_>) -> Option<u32> {
        reader.integer(field, self.0, self.1)
    }

    fn schema(&self) -> Json {
        json!({"type": "integer", "minimum": self.0, "maximum": self.1})
    }

    fn is_integer(&self) -> bool {
        true
    }

    fn is_number(&self) -> bool {
        true
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rounded, and compared with the bounds"
    )]
    fn at(&self, number: f64) -> Option<u32> {
        let rounded = number.round();
        (f64::from(self.0) <= rounded && rounded <= f64::from(self.1)).then_some(rounded as u32)
    }
}

/// `true` or `false`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Boolean;

impl Form<bool> for Boolean {
    fn allowed(&self) -> String {
        "true or false".to_owned()
    }

    fn read(&self, reader: &mut Reader, field: &Field<'_>) -> Option<bool> {
        reader.boolean(field)
    }

    fn schema(&self) -> Json {
        json!({"type": "boolean"})
    }
}

/// The names of a vocabulary.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names;

/// The names of a vocabulary, and `none`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NamesOrNone;

fn pairs<E: Vocabulary>() -> impl Iterator<Item = (&'static str, E)> {
    E::ALL.iter().map(|variant| (variant.name(), *variant))
}

impl<E: Vocabulary> Form<E> for Names {
    fn allowed(&self) -> String {
        E::NAMES.to_owned()
    }

    fn read(&self, reader: &mut Reader, field: &Field<'_>) -> Option<E> {
        reader.choice(field, &pairs().collect::<Vec<_>>(), &[])
    }

    fn schema(&self) -> Json {
        json!({"enum": pairs::<E>().map(|(name, _)| name).collect::<Vec<_>>()})
    }
}

impl<E: Vocabulary> Form<Option<E>> for NamesOrNone {
    fn allowed(&self) -> String {
        format!("none, {}", Form::<E>::allowed(&Names))
    }

    fn read(&self, reader: &mut Reader, field: &Field<'_>) -> Option<Option<E>> {
        let names = std::iter::once(("none", None)).chain(pairs().map(|(name, variant)| (name, Some(variant))));
        reader.choice(field, &names.collect::<Vec<_>>(), &[])
    }

    fn schema(&self) -> Json {
        let names = std::iter::once("none").chain(pairs::<E>().map(|(name, _)| name));
        json!({"enum": names.collect::<Vec<_>>()})
    }
}

/// `none` or a number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NumberOrNone(pub(crate) Number);

impl Form<Option<f64>> for NumberOrNone {
    fn allowed(&self) -> String {
        format!("none or {}", self.0.allowed())
    }

    fn read(&self, reader: &mut Reader, field: &Field<'_>) -> Option<Option<f64>> {
        if field.is_text("none") { Some(None) } else { self.0.read_as(reader, field, &self.allowed()).map(Some) }
    }

    fn schema(&self) -> Json {
        json!({"anyOf": [{"const": "none"}, self.0.schema()]})
    }

    fn is_number(&self) -> bool {
        true
    }

    fn at(&self, number: f64) -> Option<Option<f64>> {
        self.0.at(number).map(Some)
    }
}

/// A number, where a file that has none means something of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GivenNumber(pub(crate) Number);

impl Form<Option<f64>> for GivenNumber {
    fn allowed(&self) -> String {
        self.0.allowed()
    }

    fn read(&self, reader: &mut Reader, field: &Field<'_>) -> Option<Option<f64>> {
        self.0.read(reader, field).map(Some)
    }

    fn schema(&self) -> Json {
        self.0.schema()
    }

    fn is_number(&self) -> bool {
        true
    }

    fn at(&self, number: f64) -> Option<Option<f64>> {
        self.0.at(number).map(Some)
    }
}
