//! Quantities: a metric and what it is measured over, with one text form.
//!
//! | text | what it is |
//! |---|---|
//! | `nonzero_parameters` | of the net alone |
//! | `auc@test` | over all rows of a split |
//! | `auc@test[region=north]` | over a slice of a split: the rows with that level of a column |
//! | `auc@test[gap region]` | the largest minus the smallest value over the levels of a column |
//!
//! A column or level with other characters than letters, digits and `_ - . + / ( )` is put in double quotes:
//! `auc@test["home state"="N.Y."]`. Within quotes `\"`, `\\` and `\u{9}` mean a quote, a backslash and a control
//! character.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{Direction, Metric};
use crate::spec::Task;

/// A metric and what it is measured over. A metric of the net alone is never over rows; all others always are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity {
    metric: Metric,
    over: Over,
}

/// What a metric is measured over, in the order of reports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Over {
    /// The net alone.
    Net,
    /// All rows of a split.
    Rows(Split),
    /// Some rows of a split.
    Slice(Split, Arc<Slice>),
    /// The difference between the slices of a split.
    Gap(Split, Arc<Gap>),
}

/// The rows that have one level of a column.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slice {
    /// The column's name.
    pub column: String,
    /// Its value in these rows.
    pub level: String,
}

/// The largest minus the smallest value over the levels of a column.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gap {
    /// The column's name.
    pub column: String,
}

/// A part of the data that metrics are measured on. Decisions such as the Pareto front use validation; test is only
/// reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Split {
    /// Used for decisions.
    Validation,
    /// Not used for any decision.
    Test,
}

/// The error for text that is not a quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuantity {
    /// Unknown metric.
    #[error("unknown metric {0:?}")]
    Metric(String),
    /// Unknown split.
    #[error("unknown split {0:?} (expected validation or test)")]
    Split(String),
    /// A metric of rows without a split.
    #[error("{0} needs a split: write {0}@validation or {0}@test")]
    NeedsSplit(Metric),
    /// A metric of the net with a split.
    #[error("{0} is a property of the net alone: write it without @…")]
    OfNet(Metric),
    /// What follows the split is not a slice or a gap.
    #[error(
        "expected {expected} at character {place} of {text:?} (such as auc@test[region=north] or auc@test[gap region])"
    )]
    Syntax {
        /// What was expected.
        expected: &'static str,
        /// Where, from 1.
        place: usize,
        /// What was read.
        text: String,
    },
}

impl InvalidQuantity {
    pub(super) fn unknown_metric(text: &str) -> Self {
        Self::Metric(cut(text))
    }
}

impl Quantity {
    /// Returns `metric` over `over`.
    ///
    /// # Errors
    /// If one is a property of the net alone and the other is over rows.
    pub fn new(metric: Metric, over: Over) -> Result<Self, InvalidQuantity> {
        match (metric.is_of_net(), &over) {
            (true, Over::Net) | (false, Over::Rows(_) | Over::Slice(..) | Over::Gap(..)) => Ok(Self { metric, over }),
            (true, _) => Err(InvalidQuantity::OfNet(metric)),
            (false, Over::Net) => Err(InvalidQuantity::NeedsSplit(metric)),
        }
    }

    /// See [`Metric::on`].
    pub(super) const fn on(metric: Metric, split: Split) -> Self {
        Self { metric, over: if metric.is_of_net() { Over::Net } else { Over::Rows(split) } }
    }

    /// The metric.
    #[must_use]
    pub const fn metric(&self) -> Metric {
        self.metric
    }

    /// What it is measured over.
    #[must_use]
    pub const fn over(&self) -> &Over {
        &self.over
    }

    /// The split of its rows. Returns `None` for a property of the net.
    #[must_use]
    pub const fn split(&self) -> Option<Split> {
        self.over.split()
    }

    /// The column of its slice or gap. Returns `None` for a property of the net and for whole splits.
    #[must_use]
    pub fn column(&self) -> Option<&str> {
        match &self.over {
            Over::Net | Over::Rows(_) => None,
            Over::Slice(_, slice) => Some(&slice.column),
            Over::Gap(_, gap) => Some(&gap.column),
        }
    }

    /// Returns the same quantity on `split`. A property of the net does not change.
    #[must_use]
    pub fn with_split(&self, split: Split) -> Self {
        let over = match &self.over {
            Over::Net => Over::Net,
            Over::Rows(_) => Over::Rows(split),
            Over::Slice(_, slice) => Over::Slice(split, Arc::clone(slice)),
            Over::Gap(_, gap) => Over::Gap(split, Arc::clone(gap)),
        };
        Self { metric: self.metric, over }
    }

    /// Whether it is over all rows of a split, or over the net alone.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        matches!(self.over, Over::Net | Over::Rows(_))
    }

    /// The direction that is better. A smaller gap is better, whatever the metric.
    #[must_use]
    pub const fn better(&self) -> Direction {
        match self.over {
            Over::Gap(..) => Direction::Minimize,
            Over::Net | Over::Rows(_) | Over::Slice(..) => self.metric.better(),
        }
    }

    /// Returns the smallest and the largest possible value in a task of that kind. A gap is a difference that is not negative.
    #[must_use]
    pub fn range_of(&self, task: Task) -> [f64; 2] {
        let [low, high] = self.metric.range_of(task);
        match self.over {
            Over::Gap(..) => [0.0, high - low],
            Over::Net | Over::Rows(_) | Over::Slice(..) => [low, high],
        }
    }

    /// Parses a quantity. A metric of rows without a split is over all rows of `split`.
    ///
    /// # Errors
    /// As [`FromStr`], except for a missing split.
    pub fn parse_or_on(text: &str, split: Split) -> Result<Self, InvalidQuantity> {
        if text.contains('@') { text.parse() } else { Ok(text.parse::<Metric>()?.on(split)) }
    }

    /// Returns the text that [`Self::parse_or_on`] parses: the bare name of the metric if it is over all rows of
    /// `split`.
    #[must_use]
    pub fn text_or_on(&self, split: Split) -> String {
        if *self == Self::on(self.metric, split) { self.metric.name().to_owned() } else { self.to_string() }
    }
}

impl Over {
    /// The split of the rows. Returns `None` for the net.
    #[must_use]
    pub const fn split(&self) -> Option<Split> {
        match self {
            Self::Net => None,
            Self::Rows(split) | Self::Slice(split, _) | Self::Gap(split, _) => Some(*split),
        }
    }

    /// The rows of `split` that have `level` of `column`.
    #[must_use]
    pub fn slice(split: Split, column: &str, level: &str) -> Self {
        Self::Slice(split, Arc::new(Slice { column: column.to_owned(), level: level.to_owned() }))
    }

    /// The gap between the levels of `column` on `split`.
    #[must_use]
    pub fn gap(split: Split, column: &str) -> Self {
        Self::Gap(split, Arc::new(Gap { column: column.to_owned() }))
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.over {
            Over::Net => write!(f, "{}", self.metric),
            _ => write!(f, "{}@{}", self.metric, self.over),
        }
    }
}

/// The text after the `@`; empty for the net.
impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net => Ok(()),
            Self::Rows(split) => write!(f, "{split}"),
            Self::Slice(split, slice) => write!(f, "{split}[{}={}]", Name(&slice.column), Name(&slice.level)),
            Self::Gap(split, gap) => write!(f, "{split}[{GAP} {}]", Name(&gap.column)),
        }
    }
}

impl FromStr for Quantity {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        match text.split_once('@') {
            Some((metric, over)) => Self::new(metric.parse()?, over.parse()?),
            None => Self::new(text.parse()?, Over::Net),
        }
    }
}

impl FromStr for Over {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        let (split, rest) = text.split_at(text.find('[').unwrap_or(text.len()));
        let split: Split = split.parse()?;
        if rest.is_empty() {
            return Ok(Self::Rows(split));
        }
        let mut cursor = Cursor { text, place: text.len() - rest.len() };
        cursor.expect('[', "\"[\"")?;
        let is_gap = cursor.rest().strip_prefix(GAP).is_some_and(|rest| rest.starts_with(' '));
        let over = if is_gap {
            cursor.place += GAP.len() + 1;
            Self::gap(split, &cursor.name("the name of a column")?)
        } else {
            let column = cursor.name("the name of a column")?;
            cursor.expect('=', "\"=\"")?;
            Self::slice(split, &column, &cursor.name("a level of the column")?)
        };
        cursor.expect(']', "\"]\"")?;
        if cursor.rest().is_empty() { Ok(over) } else { Err(cursor.wrong("nothing more")) }
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The word before the column of a gap.
const GAP: &str = "gap";

/// The name of a column or a level, quoted if necessary.
struct Name<'a>(&'a str);

fn is_plain(c: char) -> bool {
    c.is_alphanumeric() || "_-.+/()".contains(c)
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.is_empty() && self.0.chars().all(is_plain) {
            return f.write_str(self.0);
        }
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                c if c.is_control() => write!(f, "{}", c.escape_unicode())?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}

/// Parses the text in brackets.
struct Cursor<'a> {
    text: &'a str,
    /// The index of the next byte.
    place: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.place..]
    }

    fn wrong(&self, expected: &'static str) -> InvalidQuantity {
        let place = self.text[..self.place].chars().count() + 1;
        InvalidQuantity::Syntax { expected, place, text: cut(self.text) }
    }

    fn next(&mut self) -> Option<char> {
        let next = self.rest().chars().next()?;
        self.place += next.len_utf8();
        Some(next)
    }

    fn expect(&mut self, wanted: char, expected: &'static str) -> Result<(), InvalidQuantity> {
        if !self.rest().starts_with(wanted) {
            return Err(self.wrong(expected));
        }
        self.place += wanted.len_utf8();
        Ok(())
    }

    fn name(&mut self, expected: &'static str) -> Result<String, InvalidQuantity> {
        if self.rest().starts_with('"') {
            self.place += 1;
            return self.quoted();
        }
        let rest = self.rest();
        let plain = &rest[..rest.find(|c| !is_plain(c)).unwrap_or(rest.len())];
        if plain.is_empty() {
            return Err(self.wrong(expected));
        }
        self.place += plain.len();
        Ok(plain.to_owned())
    }

    /// Reads up to the closing quote. The opening one has been read.
    fn quoted(&mut self) -> Result<String, InvalidQuantity> {
        let mut name = String::new();
        loop {
            let start = self.place;
            match self.next() {
                Some('"') => return Ok(name),
                Some('\\') => name.push(self.escaped(start)?),
                Some(c) if !c.is_control() => name.push(c),
                _ => {
                    self.place = start;
                    return Err(self.wrong("a closing quote"));
                }
            }
        }
    }

    /// Reads an escaped character, whose backslash was at `start`.
    fn escaped(&mut self, start: usize) -> Result<char, InvalidQuantity> {
        let found = match self.next() {
            Some(c @ ('"' | '\\')) => Some(c),
            Some('u') => self.rest().strip_prefix('{').and_then(|rest| rest.split_once('}')).and_then(|(digits, _)| {
                self.place += digits.len() + 2;
                char::from_u32(u32::from_str_radix(digits, 16).ok()?)
            }),
            _ => None,
        };
        found.ok_or_else(|| {
            self.place = start;
            self.wrong(r#"\", \\ or \u{…}"#)
        })
    }
}

impl Split {
    /// Both, in the order of reports.
    pub const ALL: [Self; 2] = [Self::Validation, Self::Test];

    /// The name in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Split {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        let found = Self::ALL.into_iter().find(|split| split.name() == text);
        found.ok_or_else(|| InvalidQuantity::Split(cut(text)))
    }
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
pub(crate) mod tests;
