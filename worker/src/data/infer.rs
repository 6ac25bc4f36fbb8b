//! What the cells of a column are, seen from all its different texts: numbers, dates or categories. One rule: a column of which at least
//! nine in ten different texts are numbers, or dates, is that, and the others are an error until somebody says what they stand for.

use std::collections::{BTreeMap, HashSet};

use secateur_proto::spec::{ColumnKind, ColumnReading, Decimal, Separator};

use super::{
    dates::{DateFormat, FORMATS, year_and_day},
    error::{DataError, shown},
    spelling::{self, Unit, has_leading_zero, plain},
    table::{Column, Table},
    values::{Cells, Levels},
};

/// Texts that are tried with every format of dates before the others are.
const SAMPLE: usize = 50;

/// A column as it stands in the table.
pub(super) struct Sight<'a> {
    pub column: &'a Column,
    pub table: &'a Table,
    /// What is said of it, with the words that are found missing in it.
    pub reading: ColumnReading,
    /// Its texts, without what is missing.
    pub levels: Levels<'a>,
    /// How many cells hold each of the words that are found missing.
    pub words: BTreeMap<&'a str, usize>,
}

/// What is known of the whole file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around {
    /// What stands before decimals, where a key says so.
    pub said: Option<Decimal>,
    /// What stands before decimals wherever it is certain.
    pub seen: Option<Decimal>,
    pub separator: Separator,
}

/// The kind of a column, if it is not the plain form's, and what to tell a person.
pub(super) struct Found {
    pub kind: Option<ColumnKind>,
    pub decimal: Option<Decimal>,
    pub note: Option<String>,
}

impl Found {
    const PLAIN: Self = Self { kind: None, decimal: None, note: None };

    fn of(kind: ColumnKind, note: String) -> Self {
        Self { kind: Some(kind), decimal: None, note: Some(note) }
    }
}

/// The decimals that the texts of a column are certain to have: of these and no others nine in ten are numbers.
pub(super) fn certain_decimal(sight: &Sight<'_>) -> Option<Decimal> {
    let names = &sight.levels.names;
    let is =
        |name: &&&str, one, other| spelling::number(name, one).is_some() && spelling::number(name, other).is_none();
    let point = names.iter().filter(|name| is(name, Decimal::Point, Decimal::Comma)).count();
    let comma = names.iter().filter(|name| is(name, Decimal::Comma, Decimal::Point)).count();
    let decimal = if comma > point { Decimal::Comma } else { Decimal::Point };
    let fits = names.iter().filter(|name| spelling::number(name, decimal).is_some()).count();
    (point != comma && fits * 10 >= names.len() * 9).then_some(decimal)
}

/// Finds the kind of an input column.
pub(super) fn kind(sight: &Sight<'_>, around: Around) -> Result<Found, DataError> {
    match &sight.reading.kind {
        Some(ColumnKind::Categorical) if all_plain(sight) => {
            return Ok(Found { kind: Some(ColumnKind::Categorical), ..Found::PLAIN });
        }
        Some(ColumnKind::Categorical) => return Ok(Found::PLAIN),
        Some(ColumnKind::Date(format)) => return said_date(sight, format),
        Some(ColumnKind::Number) => return said_number(sight, around),
        None => {}
    }
    let names = &sight.levels.names;
    if names.is_empty() {
        return Ok(Found::PLAIN);
    }
    let name = sight.name();
    if let Some(code) = names.iter().find(|text| has_leading_zero(text))
        && names.iter().all(|text| spelling::number(text, Decimal::Point).is_some())
    {
        let (code, line) = (shown(code), sight.line_of(code));
        return Ok(Found::of(
            ColumnKind::Categorical,
            format!(
                "the column {name} is read as categories because of the leading zero of {code} (line {line}); \
                 if it is a number, say data.columns: {{{}: number}}",
                sight.key()
            ),
        ));
    }
    let numbers = Numbers::of(sight, around);
    if all_plain(sight) && numbers.decimal == Decimal::Point {
        numbers.refuse_doubt(sight, around)?;
        return Ok(Found::PLAIN);
    }
    let is_mostly = |count: usize| count * 10 >= names.len() * 9;
    let dates = Dates::of(sight);
    if numbers.fits.len() == names.len() {
        numbers.refuse_doubt(sight, around)?;
        return Ok(numbers.found(sight));
    }
    match dates {
        Some(dates) if is_mostly(dates.fits) && dates.fits >= numbers.fits.len() => dates.found(sight),
        _ if is_mostly(numbers.fits.len()) => Err(misfits(sight, "numbers", |text| numbers.fits.contains(&text))),
        dates => Ok(mixed(sight, &numbers, dates.map_or(0, |dates| dates.fits))),
    }
}

/// The few texts of a column of numbers that are no numbers. `None` if it is no such column.
pub(super) fn stray_words(sight: &Sight<'_>, around: Around) -> Option<Vec<String>> {
    const FEW: usize = 10;
    let (names, numbers) = (&sight.levels.names, Numbers::of(sight, around));
    let stray = names.iter().filter(|text| !numbers.fits.contains(**text)).map(|text| (*text).to_owned());
    let stray: Vec<String> = stray.collect();
    (!stray.is_empty() && stray.len() <= FEW && numbers.fits.len() * 10 >= names.len() * 9).then_some(stray)
}

/// Finds what orders the column of a split by time. `Ok` with the plain form if its texts sort as their times do.
pub(super) fn time(sight: &Sight<'_>, around: Around) -> Result<Found, DataError> {
    let names = &sight.levels.names;
    let found = if all_plain(sight) && sight.reading.kind.is_none() {
        without_order(sight)?
    } else {
        match (&sight.reading.kind, Dates::of(sight)) {
            (Some(ColumnKind::Categorical), _) => return Err(no_order(sight)),
            (None, Some(dates)) if dates.fits * 10 >= names.len() * 9 => dates.found(sight)?,
            _ => kind(sight, around)?,
        }
    };
    match &found.kind {
        None if all_plain(sight) => Ok(found),
        None | Some(ColumnKind::Categorical) => Err(no_order(sight)),
        Some(ColumnKind::Number) => Ok(found),
        Some(ColumnKind::Date(format)) => {
            let parsed = DateFormat::new(format).map_err(|problem| sight.wrong(problem))?;
            let mut sorted = names.clone();
            sorted.sort_unstable();
            let days: Vec<Option<f64>> = sorted.iter().map(|text| parsed.days(text)).collect();
            let kind = if days.is_sorted_by(|a, b| a < b) { None } else { found.kind.clone() };
            Ok(Found { kind, ..found })
        }
    }
}

/// Digits that are dates whose numbers do not sort as time does.
fn without_order(sight: &Sight<'_>) -> Result<Found, DataError> {
    let names = &sight.levels.names;
    let lengths = |low, high| names.iter().all(|text| (low..=high).contains(&text.len()));
    if lengths(6, 7) && all_dates(names.iter().copied(), "%m.%Y") {
        let kind = ColumnKind::Date("%m.%Y".to_owned());
        return Ok(Found::of(kind, format!("the column {} is read as dates in the format %m.%Y", sight.name())));
    }
    // Where a program took the digits for a number a leading zero is lost.
    let padded: Vec<String> = names.iter().map(|text| "0".repeat(text.len() % 2) + text).collect();
    let all = |format| all_dates(padded.iter().map(String::as_str), format);
    let is_doubtful = (lengths(7, 8) && !all("%Y%m%d") && (all("%d%m%Y") || all("%m%d%Y")))
        || (lengths(5, 6) && !all("%Y%m") && all("%m%Y"))
        || (lengths(4, 4) && names.iter().any(|text| has_leading_zero(text)) && all("%m%y"));
    if is_doubtful { Err(no_order(sight)) } else { Ok(Found::PLAIN) }
}

/// Whether all texts are dates of a format, of years that somebody may have data of.
fn all_dates<'a>(mut texts: impl Iterator<Item = &'a str>, format: &str) -> bool {
    let Ok(format) = DateFormat::new(format) else { return false };
    texts.all(|text| format.days(text).is_some_and(|days| (1900..=2100).contains(&year_and_day(days).0)))
}

fn no_order(sight: &Sight<'_>) -> DataError {
    let examples: Vec<String> = sight.levels.names.iter().take(3).map(|text| shown(text)).collect();
    DataError::Split(format!(
        "goes by {}, whose cells ({}) have no order in time that is known; say their format, for example \
         data.columns: {{{}: {{date: \"%d/%m/%Y\"}}}}, or use another column",
        sight.name(),
        examples.join(", "),
        sight.key()
    ))
}

pub(super) fn all_plain(sight: &Sight<'_>) -> bool {
    sight.levels.names.iter().all(|text| plain(text).is_some())
}

fn said_date(sight: &Sight<'_>, format: &str) -> Result<Found, DataError> {
    let parsed = DateFormat::new(format).map_err(|problem| sight.wrong(format!("{format:?}: {problem}")))?;
    let fits = |text: &str| parsed.days(text).is_some();
    if sight.levels.names.iter().any(|text| !fits(text)) {
        return Err(unlike(sight, &format!("dates in the format {format}"), fits));
    }
    Ok(Found { kind: Some(ColumnKind::Date(format.to_owned())), ..Found::PLAIN })
}

fn said_number(sight: &Sight<'_>, around: Around) -> Result<Found, DataError> {
    let numbers = Numbers::of(sight, around);
    if numbers.fits.len() < sight.levels.names.len() {
        return Err(unlike(sight, "numbers", |text| numbers.fits.contains(&text)));
    }
    numbers.refuse_doubt(sight, around)?;
    Ok(Found { note: None, ..numbers.found(sight) })
}

/// The texts of a column that are numbers of one unit.
struct Numbers<'a> {
    decimal: Decimal,
    /// Whether the other decimal would do as well, and give other numbers.
    is_doubtful: bool,
    fits: HashSet<&'a str>,
}

impl<'a> Numbers<'a> {
    fn of(sight: &Sight<'a>, around: Around) -> Self {
        let names = &sight.levels.names;
        let read = |decimal| names.iter().filter_map(move |text| spelling::number(text, decimal));
        let (point, comma) = (read(Decimal::Point).count(), read(Decimal::Comma).count());
        let differs =
            || read(Decimal::Point).zip(read(Decimal::Comma)).any(|(point, comma)| point.value != comma.value);
        let is_doubtful = point == comma && differs();
        let said = sight.reading.decimal.or(around.said);
        let decimal = said.unwrap_or_else(|| match (point.cmp(&comma), is_doubtful, around.seen) {
            (std::cmp::Ordering::Less, ..) => Decimal::Comma,
            (std::cmp::Ordering::Equal, true, Some(seen)) => seen,
            _ => Decimal::Point,
        });
        let mut spelled: Vec<(&str, Unit)> = Vec::new();
        for text in names {
            spelled.extend(spelling::number(text, decimal).map(|number| (*text, number.unit)));
        }
        let unit = usual_unit(&spelled);
        // A currency may be left out, and per cent may not: 5 is not 5 %. Nothing is nothing in every unit.
        let is_of_unit = |found: Unit| match (found, unit) {
            (Unit::Bare, Some(Unit::Currency(_))) | (_, None) => true,
            (found, Some(unit)) => found == unit,
        };
        let zero = |text: &str| spelling::number(text, decimal).is_some_and(|number| number.value == 0.0);
        let fits = spelled.into_iter().filter(|(text, found)| is_of_unit(*found) || zero(text)).map(|(text, _)| text);
        Self { decimal, is_doubtful: is_doubtful && said.is_none() && around.seen.is_none(), fits: fits.collect() }
    }

    /// Refuses numbers such as `1,234` where nothing tells whether that is more than a thousand.
    fn refuse_doubt(&self, sight: &Sight<'_>, around: Around) -> Result<(), DataError> {
        // With commas between fields a comma in a number was quoted, as programs do that group thousands.
        if !self.is_doubtful || around.separator == Separator::Comma {
            return Ok(());
        }
        let text = sight.levels.names.iter().find(|text| text.contains([',', '.'])).copied().unwrap_or_default();
        Err(sight.wrong(format!(
            "holds {} (line {}), which may have thousands or decimals; say which by data.format: {{decimal: \".\"}} or {{decimal: \",\"}}",
            shown(text),
            sight.line_of(text)
        )))
    }

    fn found(&self, sight: &Sight<'_>) -> Found {
        let differs = |text: &str, value: f64| plain(text) != Some(value);
        let mut spelled =
            sight.levels.names.iter().filter_map(|text| Some((*text, spelling::number(text, self.decimal)?.value)));
        // Numbers that the plain form reads alike have nothing to say.
        let Some((text, value)) = spelled.find(|(text, value)| differs(text, *value)) else { return Found::PLAIN };
        Found {
            kind: Some(ColumnKind::Number),
            decimal: (self.decimal == Decimal::Comma).then_some(Decimal::Comma),
            note: Some(format!("the column {} is read as numbers: {} is {value}", sight.name(), shown(text))),
        }
    }
}

/// The unit that most texts have; `None` if nearly none has any.
fn usual_unit(spelled: &[(&str, Unit)]) -> Option<Unit> {
    let mut counts = BTreeMap::new();
    for (_, unit) in spelled {
        *counts.entry(*unit).or_insert(0_usize) += 1;
    }
    let currency = counts.iter().filter(|(unit, _)| matches!(unit, Unit::Currency(_))).max_by_key(|(_, count)| **count);
    let bare = counts.get(&Unit::Bare).copied().unwrap_or_default();
    let percent = counts.get(&Unit::Percent).copied().unwrap_or_default();
    match currency {
        Some((unit, count)) if *count >= percent => Some(*unit),
        _ if percent > bare => Some(Unit::Percent),
        _ if percent > 0 => Some(Unit::Bare),
        _ => None,
    }
}

/// The format of dates that most texts of a column have.
struct Dates {
    format: &'static str,
    fits: usize,
    /// Another format that fits as many texts, and says other days.
    doubt: Option<(&'static str, String)>,
}

impl Dates {
    fn of(sight: &Sight<'_>) -> Option<Self> {
        let names = &sight.levels.names;
        let step = names.len().div_ceil(SAMPLE).max(1);
        let sample: Vec<&str> = names.iter().copied().step_by(step).collect();
        let mut best: Option<(Self, DateFormat)> = None;
        for format in FORMATS {
            let parsed = DateFormat::new(format).ok()?;
            let is_likely = sample.iter().filter(|text| parsed.days(text).is_some()).count() * 2 >= sample.len();
            let fits = if is_likely { names.iter().filter(|text| parsed.days(text).is_some()).count() } else { 0 };
            match &mut best {
                _ if fits == 0 => {}
                Some((dates, first))
                    if dates.fits == fits
                        && has_days_of_months(&parsed, names)
                        && !has_days_of_months(first, names) =>
                {
                    best = Some((Self { format, fits, doubt: None }, parsed));
                }
                Some((dates, first))
                    if dates.fits == fits
                        && has_days_of_months(first, names)
                        && !has_days_of_months(&parsed, names) => {}
                Some((dates, first)) if dates.fits == fits => {
                    let other = names.iter().find(|text| first.days(text) != parsed.days(text));
                    dates.doubt = dates.doubt.take().or_else(|| other.map(|text| (*format, (*text).to_owned())));
                }
                Some((dates, _)) if dates.fits > fits => {}
                _ => best = Some((Self { format, fits, doubt: None }, parsed)),
            }
        }
        best.map(|(dates, _)| dates)
    }

    fn found(&self, sight: &Sight<'_>) -> Result<Found, DataError> {
        let format = self.format;
        if self.fits < sight.levels.names.len() {
            let parsed = DateFormat::new(format).map_err(|problem| sight.wrong(problem))?;
            return Err(misfits(sight, &format!("dates in the format {format}"), |text| parsed.days(text).is_some()));
        }
        if let Some((other, text)) = &self.doubt {
            let (line, key) = (sight.line_of(text), sight.key());
            return Err(sight.wrong(format!(
                "holds dates that can be read in two ways: {} (line {line}) by {format} or by {other}; say which by \
                 data.columns: {{{key}: {{date: \"{format}\"}}}}, or {{{key}: categorical}} if they are no dates",
                shown(text)
            )));
        }
        let note = format!("the column {} is read as dates in the format {format}", sight.name());
        Ok(Found::of(ColumnKind::Date(format.to_owned()), note))
    }
}

/// Whether a format finds many different days of the month in texts, and far fewer years: where it takes the one for the other there are
/// as many "years" as days.
fn has_days_of_months(format: &DateFormat, texts: &[&str]) -> bool {
    const MANY: usize = 20;
    let dates: Vec<(i64, i64)> = texts.iter().filter_map(|text| format.days(text)).map(year_and_day).collect();
    let years: HashSet<i64> = dates.iter().map(|(year, _)| *year).collect();
    let days: HashSet<i64> = dates.iter().map(|(_, day)| *day).collect();
    days.len() >= MANY && years.len() * 2 <= days.len()
}

/// A column that is nearly all of one kind.
fn misfits(sight: &Sight<'_>, what: &str, fits: impl Fn(&str) -> bool) -> DataError {
    let odd = Odd::of(sight, fits);
    let (key, first) = (sight.key(), odd.first);
    sight.wrong(format!(
        "holds {what}, except for {}: {}; if such cells mean that the value is missing, say data.columns: {{{key}: {{missing: [{first:?}]}}}}, \
         or data.missing: [{first:?}] for every column; if the column is of categories, {{{key}: categorical}}; else correct the cells",
        odd.count, odd.list
    ))
}

/// A column that is not of the kind that was said.
fn unlike(sight: &Sight<'_>, what: &str, fits: impl Fn(&str) -> bool) -> DataError {
    let odd = Odd::of(sight, fits);
    sight.wrong(format!(
        "has to hold {what} by data.columns, which {} are not: {}; correct the key or the cells, or list the words that mean that the value \
         is missing: {{{}: {{missing: [...]}}}}",
        odd.count,
        odd.list,
        sight.key()
    ))
}

/// The texts of a column that do not fit.
struct Odd<'a> {
    first: &'a str,
    /// How many of how many.
    count: String,
    /// The first few, and where they stand.
    list: String,
}

impl<'a> Odd<'a> {
    fn of(sight: &Sight<'a>, fits: impl Fn(&str) -> bool) -> Self {
        const SHOWN: usize = 3;
        let names = &sight.levels.names;
        let odd: Vec<&str> = names.iter().copied().filter(|text| !fits(text)).collect();
        let first = odd.iter().take(SHOWN).map(|text| format!("{} (line {})", shown(text), sight.line_of(text)));
        let more = if odd.len() > SHOWN { format!(" and {} more", odd.len() - SHOWN) } else { String::new() };
        Self {
            first: odd.first().copied().unwrap_or_default(),
            count: format!("{} of its {} different values", odd.len(), names.len()),
            list: format!("{}{more}", first.collect::<Vec<_>>().join(", ")),
        }
    }
}

/// A column of texts, and what to tell if some of them are numbers or dates.
fn mixed(sight: &Sight<'_>, numbers: &Numbers<'_>, dates: usize) -> Found {
    let names = &sight.levels.names;
    let (count, what) = if dates > numbers.fits.len() { (dates, "dates") } else { (numbers.fits.len(), "numbers") };
    let note = (count > 0).then(|| {
        let text = names.iter().find(|text| !numbers.fits.contains(*text)).copied().unwrap_or_default();
        format!(
            "the column {} is read as categories: {count} of its {} different values are {what}, and {} (line {}) is not",
            sight.name(),
            names.len(),
            shown(text),
            sight.line_of(text)
        )
    });
    // What the plain form takes for numbers cannot come here: all of its texts fit.
    Found { note, ..Found::PLAIN }
}

impl Sight<'_> {
    /// The column's name as messages show it.
    pub(super) fn name(&self) -> String {
        shown(self.column.name())
    }

    /// The same as a key of a sweep file.
    pub(super) fn key(&self) -> String {
        let name = self.column.name();
        let is_plain = name.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
        if is_plain && !name.starts_with(|letter: char| letter.is_ascii_digit()) {
            name.to_owned()
        } else {
            shown(name)
        }
    }

    fn line_of(&self, text: &str) -> u64 {
        let row = self.column.cells().position(|cell| cell == Some(text));
        row.map_or(0, |row| self.table.line(row))
    }

    pub(super) fn wrong(&self, problem: String) -> DataError {
        DataError::Column { column: self.column.name().to_owned(), problem }
    }
}

impl<'a> Sight<'a> {
    /// Looks at a column in which these words are missing values.
    pub(super) fn new(
        column: &'a Column,
        table: &'a Table,
        said: Option<&ColumnReading>,
        words: &[String],
    ) -> Result<Self, DataError> {
        let mut reading = said.cloned().unwrap_or_default();
        let numbers: Vec<Option<f64>> = words.iter().map(|word| plain(word)).collect();
        // −999 and −999.0 are one word.
        let is_word = |cell: &str| {
            let value = plain(cell);
            words.iter().zip(&numbers).any(|(word, number)| word == cell || (value.is_some() && *number == value))
        };
        let mut found = BTreeMap::new();
        if reading.codes.as_ref().is_none_or(|codes| !codes.is_empty()) {
            for cell in column.cells().flatten().filter(|cell| is_word(cell)) {
                *found.entry(cell).or_insert(0) += 1;
            }
            reading.missing = found.keys().map(|word: &&str| (*word).to_owned()).collect();
        }
        reading.codes = reading.codes.filter(|codes| !codes.is_empty());
        let wrong = |problem| DataError::Column { column: column.name().to_owned(), problem };
        Cells::new(&reading).map_err(wrong)?;
        let levels = Levels::of(column, &reading).map_err(wrong)?;
        Ok(Self { column, table, reading, levels, words: found })
    }
}
