//! From what a person says of a table and from the table itself to a reading in which nothing is left to find.

use std::{borrow::Cow, collections::BTreeMap};

use secateur_proto::spec::{
    ColumnKind, ColumnReading, DataSettings, Decimal, Reading, Scaling, Separator, SplitSpec, TableFormat, Task,
    TextEncoding,
};

use super::{
    classes::Classes,
    dialect,
    error::{DataError, shown, some_of},
    infer::{self, Around, Found, Sight},
    packed,
    preparation::Roles,
    table::{Column, Table},
    text,
};

/// Words that stand for a missing value in every table: those of pandas' `read_csv`.
pub(super) const MISSING: &[&str] = &[
    "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL",
    "NaN", "None", "n/a", "nan", "null",
];

/// Settings with a complete reading, and what a person should know of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// The settings, for [`prepare`](super::prepare). A table in the plain form has an empty reading.
    pub settings: DataSettings,
    /// What was found in the table and is not in the plain form.
    pub notes: Vec<String>,
}

/// Finds in a table what its settings do not say. Images have nothing to find.
///
/// # Errors
/// If the bytes are no table, the settings do not fit it, or it can be read in two ways.
pub fn resolve(said: &DataSettings, bytes: &[u8]) -> Result<Resolved, DataError> {
    if said.format == TableFormat::Idx {
        return Ok(Resolved { settings: said.clone(), notes: Vec::new() });
    }
    let mut notes = Vec::new();
    let bytes = packed::unpacked(&said.reading, bytes)?;
    let (text, mut reading) = form(&said.reading, &bytes, &mut notes)?;
    let mut table = Table::parse(&text, &reading)?;
    if said.reading.drop_unlabelled {
        let unlabelled = leave_out_unlabelled(said, &mut table, &mut notes)?;
        reading.drop_unlabelled = unlabelled.is_some();
        // Its words for a missing value are in the table no more.
        reading.columns.extend(unlabelled.into_iter().filter(|(_, reading)| !reading.is_plain()));
    }
    notes.extend(unnamed(&table));
    let roles = Roles::find(said, &table)?;
    reading.positive = positive(said, &table, roles.target)?;
    for (name, found) in (Looking { said, table: &table, separator: reading.separator }).columns(&roles, &mut notes)? {
        reading.columns.entry(name).or_insert(found);
    }
    let settings = DataSettings { reading, ..said.clone() };
    Ok(Resolved { settings, notes })
}

/// The table as it is read by what is said and what is found of its form, for messages about names of columns.
///
/// # Errors
/// If it cannot be read.
pub fn table(said: &DataSettings, bytes: &[u8]) -> Result<Table, DataError> {
    let bytes = packed::unpacked(&said.reading, bytes)?;
    let (text, reading) = form(&said.reading, &bytes, &mut Vec::new())?;
    Table::parse(&text, &reading)
}

/// What to tell of columns without a name.
pub(super) fn unnamed(table: &Table) -> impl Iterator<Item = String> {
    table.unnamed().iter().map(|number| match number {
        1 => "column 1 has no name and is ignored, as an index is".to_owned(),
        number => format!("column {number} has neither a name nor a value and is ignored"),
    })
}

/// The text, and its form with what is found of it.
pub(super) fn form<'a>(
    said: &Reading,
    bytes: &'a [u8],
    notes: &mut Vec<String>,
) -> Result<(Cow<'a, str>, Reading), DataError> {
    let mut reading = Reading { decimal: None, missing: None, columns: BTreeMap::new(), scaling: None, ..said.clone() };
    reading.encoding = encoding(said, bytes, notes);
    let text = text::decode(bytes, &reading)?;
    if let (None, 0, Some(named)) = (said.separator, said.skip_rows, dialect::named_separator(&text)) {
        reading.skip_rows = 1;
        reading.separator = Some(named).filter(|named| *named != Separator::Comma);
        return Ok((text, reading));
    }
    reading.separator = separator(&text, &reading, notes)?;
    Ok((text, reading))
}

fn encoding(said: &Reading, bytes: &[u8], notes: &mut Vec<String>) -> Option<TextEncoding> {
    let found = said.encoding.or_else(|| text::detect(bytes)).filter(|encoding| *encoding != TextEncoding::Utf8);
    if let (Some(found), None) = (found, said.encoding) {
        notes.push(format!("the encoding of the table is {found}, as far as its bytes tell; if it is another, say it: data.format.encoding"));
    }
    found
}

fn separator(text: &str, reading: &Reading, notes: &mut Vec<String>) -> Result<Option<Separator>, DataError> {
    let name = |separator: &Separator| match separator {
        Separator::Tab | Separator::Space => format!("{separator}s"),
        _ => format!("`{separator}`"),
    };
    let found = match (reading.separator, dialect::separators(text, reading).as_slice()) {
        (Some(said), _) => said,
        (None, []) => Separator::Comma,
        (None, [found]) => {
            if *found != Separator::Comma {
                notes.push(format!(
                    "fields are separated by {}; if that is wrong, say by what: data.format.separator",
                    name(found)
                ));
            }
            *found
        }
        (None, several) => {
            let names: Vec<String> = several.iter().map(name).collect();
            return Err(DataError::Separator(format!(
                "fields may be separated by {}; say which by data.format: {{separator: \"{}\"}}",
                names.join(" or "),
                several[0]
            )));
        }
    };
    Ok((found != Separator::Comma).then_some(found))
}

/// The words that are missing values in a column without a word of its own on that.
pub(super) fn words(said: &Reading) -> Vec<String> {
    match &said.missing {
        Some(words) if words.is_empty() => Vec::new(),
        words => MISSING.iter().map(|word| (*word).to_owned()).chain(words.iter().flatten().cloned()).collect(),
    }
}

/// Takes the rows without a target out of the table. The target and its reading, if there are such rows.
fn leave_out_unlabelled(
    said: &DataSettings,
    table: &mut Table,
    notes: &mut Vec<String>,
) -> Result<Option<(String, ColumnReading)>, DataError> {
    let Some(column) = said.target.as_ref().and_then(|name| table.column(name)) else { return Ok(None) };
    let (name, words) = (column.name().to_owned(), words(&said.reading));
    let sight = Sight::new(column, table, said.reading.columns.get(&name), &words)?;
    let reading = sight.reading.clone();
    let keeps: Vec<bool> = sight.levels.of_rows.iter().map(Option::is_some).collect();
    let left_out = keeps.iter().filter(|keeps| !**keeps).count();
    if left_out == keeps.len() {
        return Err(DataError::Target { column: name, problem: "is missing in every row".to_owned() });
    }
    if left_out == 0 {
        return Ok(None);
    }
    notes.push(format!("{left_out} of {} rows have no target {} and are left out", keeps.len(), shown(&name)));
    table.retain(&keeps);
    Ok(Some((name, ColumnReading { kind: None, ..reading })))
}

/// The positive class, if it is not the larger value of the target.
fn positive(said: &DataSettings, table: &Table, target: &Column) -> Result<Option<String>, DataError> {
    let Some(positive) = &said.reading.positive else { return Ok(None) };
    let sight = Sight::new(target, table, said.reading.columns.get(target.name()), &words(&said.reading))?;
    let columns = BTreeMap::from([(target.name().to_owned(), sight.reading)]);
    let classes = |positive: Option<&String>| {
        let reading = Reading { positive: positive.cloned(), columns: columns.clone(), ..Reading::default() };
        Classes::of_target(Task::Binary, table, target, &reading).map(|classes| classes.names)
    };
    let asked = classes(Some(positive))?;
    Ok((asked != classes(None)?).then(|| asked[1].clone()))
}

struct Looking<'a> {
    said: &'a DataSettings,
    table: &'a Table,
    separator: Option<Separator>,
}

impl Looking<'_> {
    /// The readings of the columns that have a role and are not in the plain form.
    fn columns(&self, roles: &Roles<'_>, notes: &mut Vec<String>) -> Result<Vec<(String, ColumnReading)>, DataError> {
        let said = &self.said.reading;
        let unknown = said.columns.keys().filter(|name| self.table.column(name).is_none());
        let problems: Vec<String> = unknown.map(|name| self.table.unknown("the column", name)).collect();
        if !problems.is_empty() {
            return Err(DataError::Columns(problems));
        }
        let words = words(said);
        let sight = |column| Sight::new(column, self.table, said.columns.get(Column::name(column)), &words);
        let inputs: Vec<Sight<'_>> = roles.inputs.iter().map(|column| sight(column)).collect::<Result<_, _>>()?;
        let around = around(said, self.separator, &inputs);
        let mut readings = Vec::new();
        let mut words_found: BTreeMap<String, (usize, Vec<String>)> = BTreeMap::new();
        let mut add = |sight: Sight<'_>, found: Found| {
            notes.extend(found.note);
            for (word, cells) in sight.words {
                let (count, columns) = words_found.entry(word.to_owned()).or_default();
                *count += cells;
                columns.push(sight.column.name().to_owned());
            }
            let reading = ColumnReading { kind: found.kind, decimal: found.decimal, ..sight.reading };
            if !reading.is_plain() {
                readings.push((sight.column.name().to_owned(), reading));
            }
        };
        let mut problems = Vec::new();
        for sight in inputs {
            match infer::kind(&sight, around) {
                Ok(found) => match scaled(sight, found.kind.as_ref(), said) {
                    Ok(sight) => add(sight, found),
                    Err(problem) => problems.push(problem),
                },
                Err(problem) => problems.push(problem),
            }
        }
        // Texts whatever they look like.
        let plain = || Found { kind: None, decimal: None, note: None };
        add(sight(roles.target)?, plain());
        for column in &roles.groups {
            if !roles.inputs.iter().any(|input| input.name() == column.name()) {
                add(sight(column)?, plain());
            }
        }
        if let (SplitSpec::Time { .. }, Some(column)) = (&self.said.split, roles.split) {
            let sight = sight(column)?;
            match infer::time(&sight, around) {
                Ok(found) => add(sight, found),
                Err(problem) => problems.push(problem),
            }
        }
        notes.extend(words_found.into_iter().map(|(word, (count, columns))| {
            let columns = some_of(columns.iter().map(String::as_str));
            format!("{} is read as a missing value in {count} cells of {columns}", shown(&word))
        }));
        if problems.is_empty() { Ok(readings) } else { Err(DataError::all(problems)) }
    }
}

/// An input with its own scaling or, of numbers, that of the whole file.
pub(super) fn scaled<'a>(
    mut sight: Sight<'a>,
    found: Option<&ColumnKind>,
    said: &Reading,
) -> Result<Sight<'a>, DataError> {
    let is_number = match found {
        Some(kind) => *kind != ColumnKind::Categorical,
        None => sight.reading.kind != Some(ColumnKind::Categorical) && infer::all_plain(&sight),
    };
    let of_column = sight.reading.scaling.take();
    if let (Some(scaling), false) = (of_column, is_number) {
        return Err(sight.wrong(format!("holds categories, which have no scaling; remove `scaling: {scaling}`")));
    }
    let scaling = of_column.or(said.scaling).filter(|scaling| is_number && *scaling != Scaling::Auto);
    sight.reading.scaling = scaling;
    Ok(sight)
}

/// What the columns say of the whole file.
pub(super) fn around(said: &Reading, separator: Option<Separator>, columns: &[Sight<'_>]) -> Around {
    let is_open =
        |sight: &&Sight<'_>| !matches!(sight.reading.kind, Some(ColumnKind::Categorical | ColumnKind::Date(_)));
    let certain: Vec<Decimal> = columns.iter().filter(is_open).filter_map(infer::certain_decimal).collect();
    let seen = certain.first().filter(|first| certain.iter().all(|other| other == *first)).copied();
    Around { said: said.decimal, seen, separator: separator.unwrap_or(Separator::Comma) }
}
