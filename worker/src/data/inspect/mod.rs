//! What a table holds, column by column, before anybody has said what to do with it. Types are those that [`resolve`](super::resolve)
//! finds, and what a column becomes is what [`prepare`](super::prepare) would make of it.

use secateur_proto::spec::{ColumnKind, ColumnReading, Reading, SplitSpec, Task, TextEncoding};
use serde::Serialize;

mod alone;
mod drift;
mod suspicion;
mod target;

pub use suspicion::{Say, Suspicion, SuspicionKind};
use target::ClassOfRows;

use super::{
    encoding::{Categorical, Encoding, Numeric, RARE},
    error::DataError,
    infer::{self, Around, Sight},
    notes, packed,
    resolve::{around, form, unnamed, words},
    split::{self, Rows},
    table::Table,
    values::{Numbers, Values},
};

/// The most frequent values that are listed.
const FREQUENT: usize = 5;

/// What is asked of a table besides its columns.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    /// The column that is to be predicted.
    pub target: Option<&'a str>,
    /// The column that decides which rows are train, validation and test, if it is not found.
    pub split: Option<&'a str>,
}

/// What a table holds.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// Rows, without the header.
    pub rows: usize,
    /// What was found of the text's form.
    pub notes: Vec<String>,
    /// How bytes become text, if it is not UTF-8.
    pub encoding: Option<TextEncoding>,
    /// Rows that are there before with the same cells.
    pub duplicate_rows: usize,
    /// What is to be predicted.
    pub target: Option<TargetInspection>,
    /// Columns that may be the target, where none is named.
    pub likely_targets: Vec<String>,
    /// The column that decides the parts, and the rows of each part.
    pub split: Option<SplitInspection>,
    /// The columns in the order of the table.
    pub columns: Vec<ColumnInspection>,
}

/// What is to be predicted.
#[derive(Debug, Clone, Serialize)]
pub struct TargetInspection {
    /// Its name.
    pub name: String,
    /// The task that it is a target of. `None` if of none.
    pub task: Option<Task>,
    /// Why it is the target of no task.
    pub problem: Option<String>,
    /// Its classes, sorted, the first hundreds of them.
    pub classes: Vec<Level>,
    /// Rows without a class.
    pub missing: usize,
}

/// The column that decides which rows are train, validation and test.
#[derive(Debug, Clone, Serialize)]
pub struct SplitInspection {
    /// Its name.
    pub name: String,
    /// Whether its cells name the parts. Otherwise the parts are in the order of its times.
    pub names_parts: bool,
    /// Rows of train, validation and test.
    pub rows: [usize; 3],
}

/// A value and how many rows have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Level {
    /// As it stands in the table.
    pub value: String,
    /// Rows that have it.
    pub rows: usize,
}

/// What a column is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// An input of nets.
    Input,
    /// What is predicted.
    Target,
    /// Decides the parts.
    Split,
}

/// What the cells of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Type {
    /// Numbers.
    Number,
    /// Points in time.
    Date,
    /// Categories.
    Categorical,
    /// It has no value.
    Empty,
}

/// The range of a column's values.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Range {
    /// Of numbers.
    Numbers {
        /// The smallest.
        min: f64,
        /// Half of them are smaller.
        median: f64,
        /// The largest.
        max: f64,
    },
    /// Of dates, as they stand in the table.
    Dates {
        /// The earliest.
        first: String,
        /// The latest.
        last: String,
    },
}

/// What a column holds.
#[derive(Debug, Clone, Serialize)]
pub struct ColumnInspection {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// What its cells are.
    #[serde(rename = "type")]
    pub kind: Type,
    /// Cells without a value.
    pub missing: usize,
    /// Cells with one.
    pub filled: usize,
    /// The words that stand for a missing value in it.
    pub missing_words: Vec<String>,
    /// How many different values it has.
    pub distinct: usize,
    /// The most frequent ones.
    pub frequent: Vec<Level>,
    /// Of numbers and dates.
    pub range: Option<Range>,
    /// How many inputs of a net it becomes.
    pub inputs: usize,
    /// How it becomes them.
    pub becomes: String,
    /// The area under the ROC curve that the column reaches alone, at least 0.5; of several classes the smallest one.
    pub auc: Option<f64>,
    /// The largest population stability index between train and another part.
    pub psi: Option<f64>,
    /// What a person should look at.
    pub suspicious: Vec<Suspicion>,
    /// What is to be known of how its cells are read.
    pub note: Option<String>,
    /// Why the column cannot be read as it is.
    pub problem: Option<String>,
    /// How its cells are read.
    #[serde(skip_serializing_if = "ColumnReading::is_plain")]
    pub reading: ColumnReading,
}

/// Looks at every column of a table of which this much is said.
///
/// # Errors
/// If the bytes are no table, or a column that is asked for is not there or of no use.
pub fn inspect(said: &Reading, bytes: &[u8], asked: Asked<'_>) -> Result<Inspection, DataError> {
    let mut notes = Vec::new();
    let (table, form) = {
        let bytes = packed::unpacked(said, bytes)?;
        let (text, form) = form(said, &bytes, &mut notes)?;
        (Table::parse(&text, &form)?, form)
    };
    notes.extend(unnamed(&table));
    let named = [("the target", asked.target), ("the split's column", asked.split)].into_iter();
    let named = named.chain(said.columns.keys().map(|name| ("the column", Some(name.as_str()))));
    let unknown = named.filter_map(|(what, name)| name.map(|name| (what, name)));
    let unknown = unknown.filter(|(_, name)| table.column(name).is_none());
    let problems: Vec<String> = unknown.map(|(what, name)| table.unknown(what, name)).collect();
    if !problems.is_empty() {
        return Err(DataError::Columns(problems));
    }
    let words = words(said);
    let sights = table.columns().iter();
    let sights = sights.map(|column| Sight::new(column, &table, said.columns.get(column.name()), &words));
    let sights = sights.collect::<Result<Vec<_>, _>>()?;
    let around = around(said, form.separator, &sights);
    let find = |name: Option<&str>| sights.iter().find(|sight| Some(sight.column.name()) == name);

    let (target, classes) = find(asked.target).map(target::target).unzip();
    let parts = match find(asked.split) {
        Some(sight) => Some(parts_by(sight, around)?),
        None => sights
            .iter()
            .find(|sight| Some(sight.column.name()) != asked.target && names_parts(sight))
            .map(named_parts)
            .transpose()?,
    };
    let split = parts.as_ref().map(|(split, _)| split.clone());
    let rows = parts.map(|(_, rows)| rows);
    let fitted: Vec<u32> = rows.as_ref().map_or_else(|| (0..table.rows() as u32).collect(), |rows| rows[0].clone());

    let mut columns = Vec::with_capacity(sights.len());
    for sight in &sights {
        let role = match sight.column.name() {
            name if Some(name) == asked.target => Role::Target,
            name if split.as_ref().is_some_and(|split| split.name == name) => Role::Split,
            _ => Role::Input,
        };
        let looked =
            Look { sight, around, role, classes: classes.as_ref().and_then(Option::as_ref), parts: rows.as_ref() };
        columns.push(looked.column(&fitted)?);
    }
    suspicion::mark_copies(&table, &mut columns);
    let likely_targets = if asked.target.is_none() { target::likely_targets(&columns) } else { Vec::new() };
    let mut hashes = notes::row_hashes(&table.columns().iter().collect::<Vec<_>>());
    hashes.sort_unstable();
    hashes.dedup();
    Ok(Inspection {
        rows: table.rows(),
        notes,
        encoding: form.encoding,
        duplicate_rows: table.rows() - hashes.len(),
        target,
        likely_targets,
        split,
        columns,
    })
}

/// Whether the cells of a column name parts, train among them.
fn names_parts(sight: &Sight<'_>) -> bool {
    let parts: Option<Vec<usize>> = sight.levels.names.iter().map(|name| split::part_of(name)).collect();
    parts.is_some_and(|parts| parts.contains(&0) && parts.iter().any(|part| *part > 0))
        && sight.levels.of_rows.iter().all(Option::is_some)
}

fn named_parts(sight: &Sight<'_>) -> Result<(SplitInspection, Rows), DataError> {
    let rows = split::by_column(sight.table, sight.column, &sight.reading)?;
    Ok((SplitInspection { name: sight.column.name().to_owned(), names_parts: true, rows: counts(&rows) }, rows))
}

/// The parts by the column that a person names: by its words, or else by its times.
fn parts_by(sight: &Sight<'_>, around: Around) -> Result<(SplitInspection, Rows), DataError> {
    if names_parts(sight) {
        return named_parts(sight);
    }
    let found = infer::time(sight, around)?;
    let reading = ColumnReading { kind: found.kind, decimal: found.decimal, ..sight.reading.clone() };
    let rows = split::by_time(TIME_SHARES, sight.table, sight.column, &reading)?;
    Ok((SplitInspection { name: sight.column.name().to_owned(), names_parts: false, rows: counts(&rows) }, rows))
}

/// The shares of parts in the order of time.
const TIME_SHARES: [f64; 3] = [0.6, 0.2, 0.2];

fn counts(rows: &Rows) -> [usize; 3] {
    [0, 1, 2].map(|part| rows[part].len())
}

/// A column and what it is looked at with.
struct Look<'a> {
    sight: &'a Sight<'a>,
    around: Around,
    role: Role,
    classes: Option<&'a ClassOfRows>,
    parts: Option<&'a Rows>,
}

impl Look<'_> {
    fn column(&self, fitted: &[u32]) -> Result<ColumnInspection, DataError> {
        let Self { sight, around, role, .. } = self;
        let categorical = || ColumnReading { kind: Some(ColumnKind::Categorical), ..sight.reading.clone() };
        let (reading, note, problem) = match infer::kind(sight, *around) {
            Ok(found) => {
                let reading = ColumnReading { kind: found.kind, decimal: found.decimal, ..sight.reading.clone() };
                (reading, found.note, None)
            }
            Err(problem) => (categorical(), None, Some(problem.to_string())),
        };
        let stray = problem.as_ref().and_then(|_| infer::stray_words(sight, *around));
        let values = Values::of(sight.column, &reading, sight.table).map_err(|problem| sight.wrong(problem))?;
        let encoding = Encoding::fit(&values, &reading, fitted).ok();
        let alone = self.classes.filter(|_| *role == Role::Input);
        let auc = alone.and_then(|classes| alone::auc(sight, &values, classes));
        let psi = self.parts.filter(|_| *role != Role::Split).and_then(|parts| drift::psi(&values, parts));
        let mut column = ColumnInspection {
            name: sight.column.name().to_owned(),
            role: *role,
            kind: match (&values, &reading.kind) {
                _ if sight.levels.names.is_empty() => Type::Empty,
                (Values::Levels(_), _) => Type::Categorical,
                (Values::Numbers(_), Some(ColumnKind::Date(_))) => Type::Date,
                (Values::Numbers(_), _) => Type::Number,
            },
            missing: sight.levels.of_rows.iter().filter(|level| level.is_none()).count(),
            filled: sight.levels.of_rows.iter().flatten().count(),
            missing_words: sight.words.keys().map(|word| (*word).to_owned()).collect(),
            distinct: sight.levels.names.len(),
            frequent: frequent(sight),
            range: range(sight, &values, &reading),
            inputs: encoding.as_ref().filter(|_| *role == Role::Input).map_or(0, Encoding::width),
            becomes: match (role, &encoding) {
                (Role::Target, _) => "target".to_owned(),
                (Role::Split, _) => "split".to_owned(),
                (Role::Input, encoding) => encoding.as_ref().map_or_else(|| "no value".to_owned(), becomes),
            },
            auc,
            psi: psi.map(|(psi, _)| psi),
            suspicious: Vec::new(),
            note,
            problem,
            reading,
        };
        column.suspicious = suspicion::of(sight, &column, &values, psi.is_some_and(|(_, is_drift)| is_drift), stray);
        Ok(column)
    }
}

/// The most frequent values, the first of equals first.
fn frequent(sight: &Sight<'_>) -> Vec<Level> {
    let mut rows = vec![0_usize; sight.levels.names.len()];
    for level in sight.levels.of_rows.iter().flatten() {
        rows[*level as usize] += 1;
    }
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|level| std::cmp::Reverse(rows[*level]));
    let most = order.into_iter().take(FREQUENT);
    most.map(|level| Level { value: sight.levels.names[level].to_owned(), rows: rows[level] }).collect()
}

fn range(sight: &Sight<'_>, values: &Values<'_>, reading: &ColumnReading) -> Option<Range> {
    let Values::Numbers(Numbers { values, .. }) = values else { return None };
    if matches!(reading.kind, Some(ColumnKind::Date(_))) {
        let cell = |at: Option<(usize, f64)>| sight.column.cells().nth(at?.0)?.map(str::to_owned);
        let dates = || values.iter().enumerate().filter_map(|(row, value)| Some((row, (*value)?)));
        let first = cell(dates().min_by(|a, b| a.1.total_cmp(&b.1)))?;
        let last = cell(dates().max_by(|a, b| a.1.total_cmp(&b.1)))?;
        return Some(Range::Dates { first, last });
    }
    let mut sorted: Vec<f64> = values.iter().flatten().copied().collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let (min, max) = (*sorted.first()?, *sorted.last()?);
    let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
    Some(Range::Numbers { min, median: low * 0.5 + high * 0.5, max })
}

/// How a column becomes inputs, in words.
fn becomes(encoding: &Encoding) -> String {
    let inputs = match encoding.width() {
        0 => "no input".to_owned(),
        1 => "1 input".to_owned(),
        width => format!("{width} inputs"),
    };
    let how = match encoding {
        Encoding::Constant { value } if value == RARE => vec!["all levels rare".to_owned()],
        Encoding::Constant { .. } => vec!["constant".to_owned()],
        Encoding::Numeric(Numeric { missing_flag, codes, signed_log1p, quantiles, scale, .. }) => {
            let how = scale.and(match (signed_log1p, quantiles.is_empty()) {
                (true, _) => Some("log"),
                (false, false) => Some("quantile"),
                (false, true) => None,
            });
            let codes = (!codes.is_empty()).then(|| format!("{} codes", codes.len()));
            how.map(str::to_owned).into_iter().chain(codes).chain(missing_flag.then(|| "missing".to_owned())).collect()
        }
        Encoding::Categorical(Categorical { pooled, missing, .. }) => {
            let pooled = (*pooled > 0).then(|| format!("{pooled} rare pooled"));
            std::iter::once("one-hot".to_owned()).chain(pooled).chain(missing.then(|| "missing".to_owned())).collect()
        }
    };
    if how.is_empty() { inputs } else { format!("{inputs}, {}", how.join(" + ")) }
}

/// The split of a sweep by this column.
impl SplitInspection {
    /// As a sweep file would say it.
    #[must_use]
    pub fn spec(&self) -> SplitSpec {
        let (column, [train, validation, test]) = (self.name.clone(), TIME_SHARES);
        if self.names_parts {
            SplitSpec::Column { column }
        } else {
            SplitSpec::Time { column, train, validation, test }
        }
    }
}
