//! Reads what `data` says of the text of a table: columns, missing values, the positive class, the format.

use secateur_proto::spec::{
    ColumnKind, ColumnReading, Decimal, Reading, Scaling, Separator, Task, TextEncoding, Vocabulary,
};
use secateur_worker::data::{DateFormat, MAX_CODES};

use super::{
    super::{setting, spec::NamedColumn, yaml::Value},
    reader::{Field, Fields, Reader, example},
};

const COLUMNS: &str = "a map from names of columns to what they hold, such as {zip: categorical, id: ignore}";
const COLUMN: &str = "categorical, number, ignore, or a map of kind, missing, date, decimal and scaling";
const WORDS: &str = "a list of texts and numbers";
const WORD: &str = "a text or a number";
const MAX_LINES: u32 = 1_000_000;

/// What is said of a table, and the columns that are named for it.
#[derive(Default)]
pub(super) struct Said<'a> {
    pub(super) reading: Reading,
    pub(super) ignored: Vec<(&'a str, Field<'a>)>,
    pub(super) named: Vec<NamedColumn>,
}

/// The keys of `data` that are read here.
pub(super) const KEYS: [&str; 6] = ["columns", "missing", "positive", "rows_without_target", "scaling", "format"];

pub(super) fn read<'a>(reader: &mut Reader, fields: &Fields<'a>, task: Option<Task>) -> Option<Said<'a>> {
    let before = reader.problems.len();
    let mut said = Said::default();
    if let Some(field) = fields.get("columns") {
        columns(reader, &field, &mut said);
    }
    said.reading.missing = fields.get("missing").and_then(|field| words(reader, &field));
    if let Some(field) = fields.get("positive") {
        if task == Some(Task::Multiclass) {
            reader.report(field.mark(), &field.path, "a positive class is for `task: binary` only");
        }
        said.reading.positive = word(reader, &field);
    }
    if let Some(field) = fields.get("rows_without_target") {
        said.reading.drop_unlabelled = reader.choice(&field, &[("error", false), ("drop", true)], &[]).unwrap_or(false);
    }
    said.reading.scaling = fields.get("scaling").and_then(|field| name(reader, &field));
    if let Some(field) = fields.get("format").filter(|field| !field.is_text("none")) {
        format(reader, &field, &mut said.reading);
    }
    (reader.problems.len() == before).then_some(said)
}

fn columns<'a>(reader: &mut Reader, field: &Field<'a>, said: &mut Said<'a>) {
    let Value::Map(entries) = &field.node.value else { return reader.wrong(field, COLUMNS) };
    for entry in entries {
        let (name, value) = (entry.key.as_str(), field.entry(entry));
        said.named.push(NamedColumn { path: value.path.clone(), mark: entry.key_mark, name: name.to_owned() });
        let kind = match value.text() {
            Some("ignore") => {
                said.ignored.push((name, value));
                continue;
            }
            Some("categorical") => Some(ColumnKind::Categorical),
            Some("number") => Some(ColumnKind::Number),
            _ => None,
        };
        let reading = match kind {
            Some(kind) => Some(ColumnReading { kind: Some(kind), ..ColumnReading::default() }),
            None => column(reader, &value),
        };
        said.reading.columns.extend(reading.map(|reading| (name.to_owned(), reading)));
    }
}

fn column(reader: &mut Reader, field: &Field<'_>) -> Option<ColumnReading> {
    if !matches!(field.node.value, Value::Map(_)) {
        reader.wrong(field, &format!("{COLUMN}{}", example(field, &["missing", "date", "decimal"])));
        return None;
    }
    let fields = reader.fields(field, &["kind", "missing", "date", "decimal", "scaling"])?;
    let kinds = [("categorical", ColumnKind::Categorical), ("number", ColumnKind::Number)];
    let mut kind = fields.get("kind").and_then(|field| reader.choice(&field, &kinds, &[]));
    if let Some(field) = fields.get("date") {
        let format = reader.text(&field, "a format of dates such as \"%d/%m/%Y\"")?;
        if let Err(problem) = DateFormat::new(format) {
            reader.report(field.mark(), &field.path, format!("found {}, in which {problem}", field.node));
        }
        if kind.replace(ColumnKind::Date(format.to_owned())).is_some() {
            reader.report(field.mark(), &field.path, "found both a kind and a format of dates, expected one of them");
        }
    }
    let codes = fields.get("missing").and_then(|field| words(reader, &field));
    if let (Some(field), Some(codes)) = (fields.get("missing"), &codes)
        && codes.len() > MAX_CODES
    {
        reader.report(field.mark(), &field.path, format!("found {} codes, expected at most {MAX_CODES}", codes.len()));
    }
    let decimal = fields.get("decimal").and_then(|field| name::<Decimal>(reader, &field));
    let scaling = fields.get("scaling").and_then(|field| {
        if kind == Some(ColumnKind::Categorical) {
            reader.report(field.mark(), &field.path, "a scaling is for numbers and dates only");
        }
        name::<Scaling>(reader, &field)
    });
    Some(ColumnReading { kind, decimal, codes, missing: Vec::new(), scaling })
}

fn format(reader: &mut Reader, field: &Field<'_>, reading: &mut Reading) {
    let Some(fields) = reader.fields(field, &setting::keys_of("data.format", None)) else { return };
    reading.separator = fields.get("separator").and_then(|field| match field.text() {
        Some("\t") => Some(Separator::Tab),
        Some(" ") => Some(Separator::Space),
        text => {
            let named = text.and_then(Separator::named);
            if named.is_none() {
                reader.wrong(&field, "\",\", \";\", \"|\", tab, space");
            }
            named
        }
    });
    reading.decimal = fields.get("decimal").and_then(|field| name(reader, &field));
    reading.encoding = fields.get("encoding").and_then(|field| match field.text() {
        Some("latin-1") => Some(TextEncoding::Windows1252),
        _ => name(reader, &field),
    });
    if let Some(field) = fields.get("header") {
        reading.no_header = reader.choice(&field, &[("first_line", false), ("none", true)], &[]).unwrap_or(false);
    }
    if let Some(field) = fields.get("names") {
        if !reading.no_header {
            reader.report(field.mark(), &field.path, "names are for tables with `header: none` only");
        }
        reading.names = names(reader, &field).unwrap_or_default();
    }
    for (key, lines) in [("skip_rows", &mut reading.skip_rows), ("skip_footer", &mut reading.skip_footer)] {
        if let Some(field) = fields.get(key) {
            *lines = reader.integer(&field, 0, MAX_LINES).unwrap_or_default();
        }
    }
}

fn name<E: Vocabulary>(reader: &mut Reader, field: &Field<'_>) -> Option<E> {
    let pairs: Vec<(&str, E)> = E::ALL.iter().map(|one| (one.name(), *one)).collect();
    reader.choice(field, &pairs, &[])
}

fn names(reader: &mut Reader, field: &Field<'_>) -> Option<Vec<String>> {
    const NAMES: &str = "a list of column names";
    let Some(items) = field.items() else {
        reader.wrong(field, NAMES);
        return None;
    };
    reader.values(field, items, PartialEq::eq, |reader, item| {
        reader.text(item, "the name of a column").map(str::to_owned)
    })
}

/// Texts, and numbers by their digits.
fn words(reader: &mut Reader, field: &Field<'_>) -> Option<Vec<String>> {
    let Some(items) = field.items() else {
        reader.wrong(field, WORDS);
        return None;
    };
    if items.is_empty() {
        return Some(Vec::new());
    }
    reader.values(field, items, PartialEq::eq, word)
}

fn word(reader: &mut Reader, field: &Field<'_>) -> Option<String> {
    match &field.node.value {
        Value::Text(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
        Value::Integer(integer) => Some(integer.to_string()),
        Value::Float(float) if float.is_finite() => Some(float.to_string()),
        Value::Bool(_) | Value::Null | Value::Float(_) => {
            reader.wrong(field, &format!("{WORD}; put it in quotes, as it stands in the table"));
            None
        }
        _ => {
            reader.wrong(field, WORD);
            None
        }
    }
}
