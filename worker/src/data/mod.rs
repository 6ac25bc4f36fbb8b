//! From the bytes of a table or of packed images to tensors: reading, splitting, and a preparation that is fitted on the train rows alone.
//!
//! It takes bytes and gives data and bytes: it knows nothing of Burn, files, stages or the network.

use secateur_proto::spec::{ColumnReading, DataSettings, SplitSpec, TableFormat};
use serde::{Deserialize, Serialize};

mod classes;
mod dataset;
mod dates;
mod dialect;
mod encoding;
mod error;
mod given_scores;
pub mod idx;
mod images;
mod infer;
mod inspect;
mod new_rows;
mod new_table;
mod notes;
mod packed;
mod parquet;
mod pixels;
mod preparation;
mod resolve;
pub mod sample;
mod spelling;
mod split;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod values;

pub use classes::MAX_CLASSES;
pub use dataset::{DATASET_FORMAT, Dataset, Group, GroupLevels, Part};
pub use dates::DateFormat;
pub use encoding::{Categorical, Encoding, FARTHEST, HEAVY_TAIL, Numeric, RARE, ROWS_PER_LEVEL, Scale};
pub use error::{DataError, PartCounts};
pub use given_scores::given_scores;
pub use inspect::{
    Asked, ColumnInspection, Inspection, Level, Range, Role, Say, SplitInspection, Suspicion, SuspicionKind,
    TargetInspection, Type, inspect,
};
pub use new_rows::{NewRows, Unusual, UnusualKind};
pub use new_table::NewTable;
pub use preparation::{ImageInput, InputColumn, PREPARATION_FORMAT, Preparation, Target};
pub use resolve::{Resolved, resolve, table};
pub use table::{Column, MAX_FIELD, MAX_NAME, MAX_TEXT, Table};
pub use text::{JSON, foreign};
pub use values::MAX_CODES;

/// Parses a code or a word as a number in its plain form. Returns `None` if it is not a number.
#[must_use]
pub fn number(text: &str) -> Option<f64> {
    spelling::plain(text)
}

use classes::Classes;
use error::shown;
use preparation::Roles;
use values::Levels;

/// The most values that a group column may have: metrics by more groups than that say nothing.
pub const MAX_GROUP_LEVELS: usize = 100;

/// What preparing a table gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// How new rows are to be prepared.
    pub preparation: Preparation,
    /// The tensors.
    pub dataset: Dataset,
    /// What a person should know about the columns and rows: columns that say nothing, levels that are pooled, rows that are there twice.
    pub notes: Vec<String>,
    /// Of a split by time, which times the parts have.
    pub periods: Option<Periods>,
}

/// The times of the parts of a split by time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Periods {
    /// The column.
    pub column: String,
    /// The first and the last cell of train, validation and test.
    pub parts: [[String; 2]; 3],
}

/// Turns a table, or packed images, into tensors. Medians, means, levels and all else that is fitted come from the train rows;
/// only which classes there are, and whether a column is numeric, is seen from all rows.
///
/// # Errors
/// If the bytes are not of the format, or the spec does not fit them.
pub fn prepare(spec: &DataSettings, bytes: &[u8]) -> Result<Prepared, DataError> {
    match spec.format {
        TableFormat::Csv | TableFormat::CsvGz => prepare_table(spec, bytes),
        TableFormat::Idx => images::prepare(spec, bytes),
    }
}

fn prepare_table(spec: &DataSettings, bytes: &[u8]) -> Result<Prepared, DataError> {
    let mut table = Table::read(spec.format, &spec.reading, bytes)?;
    if spec.reading.drop_unlabelled {
        drop_unlabelled(spec, &mut table)?;
    }
    let roles = Roles::find(spec, &table)?;
    let classes = Classes::of_target(spec.task, &table, roles.target, &spec.reading)?;
    let plain = ColumnReading::default();
    let reading = |column: &Column| spec.reading.columns.get(column.name()).unwrap_or(&plain);
    let split_column = roles.split.map(|column| (column, reading(column)));
    let mut rows = split::split(&spec.split, &table, split_column, &classes)?;
    split::keep(&mut rows, spec, &classes)?;
    let periods = match (&spec.split, split_column) {
        (SplitSpec::Time { .. }, Some((column, reading))) => Some(split::periods(&table, column, reading, &rows)?),
        _ => None,
    };
    let (groups, levels_of_rows) = read_groups(roles.groups.iter().map(|column| (*column, reading(column))))?;
    let target = Target { column: Some(roles.target.name().to_owned()), classes: classes.names.clone() };
    let (preparation, values) = Preparation::fit(target, &table, &roles.inputs, &spec.reading, &rows[0])?;
    let notes = notes::of(&preparation, &values, &roles, &rows);
    let [train, validation, test] = rows.map(|rows| Part {
        inputs: preparation.encode(&values, &rows),
        targets: classes.targets(&rows),
        groups: levels_of_rows.iter().map(|levels| rows.iter().map(|&row| levels[row as usize]).collect()).collect(),
        rows: rows.into_iter().map(|row| table.number(row)).collect(),
    });
    let features = preparation.features().map(str::to_owned).collect();
    let classes = classes.count();
    let dataset = Dataset { features, groups, classes, image: None, pixel_scale: None, train, validation, test };
    Ok(Prepared { preparation, dataset, notes, periods })
}

/// Takes the rows without a target out of the table.
fn drop_unlabelled(spec: &DataSettings, table: &mut Table) -> Result<(), DataError> {
    let Some(column) = spec.target.as_ref().and_then(|name| table.column(name)) else { return Ok(()) };
    let reading = spec.reading.columns.get(column.name()).cloned().unwrap_or_default();
    let wrong = |problem| DataError::Target { column: column.name().to_owned(), problem };
    let levels = Levels::of(column, &reading).map_err(wrong)?;
    let keeps: Vec<bool> = levels.of_rows.iter().map(Option::is_some).collect();
    if !keeps.contains(&true) {
        return Err(wrong("is missing in every row".to_owned()));
    }
    if keeps.contains(&false) {
        table.retain(&keeps);
    }
    Ok(())
}

fn read_groups<'a>(
    columns: impl Iterator<Item = (&'a Column, &'a ColumnReading)>,
) -> Result<(Vec<Group>, Vec<Vec<u32>>), DataError> {
    let mut groups = Vec::new();
    let mut levels_of_rows = Vec::new();
    let mut problems = Vec::new();
    for (column, reading) in columns {
        let wrong = |problem| DataError::Column { column: column.name().to_owned(), problem };
        let levels = Levels::of(column, reading).map_err(wrong)?;
        let count = levels.names.len();
        if count > MAX_GROUP_LEVELS {
            let name = shown(column.name());
            problems.push(format!(
                "the group {name} has {count} different values; at most {MAX_GROUP_LEVELS} are allowed, so put them into bins"
            ));
            continue;
        }
        let mut sorted: Vec<usize> = (0..count).collect();
        sorted.sort_unstable_by_key(|&level| levels.names[level]);
        let mut ranks = vec![0; count];
        for (rank, &level) in (0_u32..).zip(&sorted) {
            ranks[level] = rank;
        }
        let mut names: Vec<String> = sorted.iter().map(|&level| levels.names[level].to_owned()).collect();
        if levels.of_rows.contains(&None) {
            names.push("(missing)".to_owned());
        }
        let of_rows = levels.of_rows.iter().map(|level| level.map_or(count as u32, |level| ranks[level as usize]));
        levels_of_rows.push(of_rows.collect());
        groups.push(Group { name: column.name().to_owned(), levels: names });
    }
    if problems.is_empty() { Ok((groups, levels_of_rows)) } else { Err(DataError::Columns(problems)) }
}

/// What a plan needs to know of prepared data, and a person wants to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Of the train rows.
    pub train: PartFacts,
    /// Of the validation rows.
    pub validation: PartFacts,
    /// Of the test rows.
    pub test: PartFacts,
    /// What the classes are called, in the order of their indices.
    pub classes: Vec<String>,
    /// Input columns of the table; images have none.
    pub columns: usize,
    /// Features of a prepared row.
    pub width: usize,
    /// Channels, height and width of images.
    pub image: Option<[u32; 3]>,
    /// Input columns that gave no feature, because they have nothing to learn from.
    pub constant: Vec<String>,
}

/// Size of a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartFacts {
    /// Rows.
    pub rows: usize,
    /// Rows of each class.
    pub of_classes: Vec<usize>,
}

impl Prepared {
    /// Sizes, and what was left out.
    #[must_use]
    pub fn facts(&self) -> Facts {
        let of = |part: &Part| PartFacts { rows: part.len(), of_classes: part.of_classes(self.dataset.classes) };
        let columns = &self.preparation.columns;
        Facts {
            train: of(&self.dataset.train),
            validation: of(&self.dataset.validation),
            test: of(&self.dataset.test),
            classes: self.preparation.target.classes.clone(),
            columns: columns.len(),
            width: self.dataset.width(),
            image: self.dataset.image,
            constant: (columns.iter())
                .filter(|column| column.features.is_empty())
                .map(|column| column.name.clone())
                .collect(),
        }
    }
}
