//! The classes of rows. Knows tables and nothing of inputs or images.

use secateur_proto::spec::{Reading, Task};

use super::{
    error::{DataError, PartCounts, shown, some_of},
    spelling::plain,
    split::{PARTS, Rows},
    table::{Column, Table},
    values::{Levels, missing},
};

/// The most classes that a target may have: as many values are most likely numbers, and no task of classes.
pub const MAX_CLASSES: usize = 256;

/// The class of every row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Classes {
    /// What each class is called, in the order of their indices.
    pub names: Vec<String>,
    /// An index into `names` for each row.
    pub of_rows: Vec<u32>,
}

impl Classes {
    /// The different values of the target, sorted as numbers if all are, else as texts; of two the positive one last, where it is said.
    pub(super) fn of_target(task: Task, table: &Table, column: &Column, reading: &Reading) -> Result<Self, DataError> {
        let name = column.name();
        let invalid = |problem: String| DataError::Target { column: name.to_owned(), problem };
        let levels = Levels::of(column, &reading.columns.get(name).cloned().unwrap_or_default()).map_err(invalid)?;
        if let Some((row, count)) = missing(&levels.of_rows) {
            let line = table.line(row);
            return Err(invalid(format!(
                "is missing in {count} of {} rows, first on line {line}; leave them out by data.rows_without_target: drop",
                table.rows()
            )));
        }
        let (mut names, mut indices) = distinct(&levels);
        if let Some(positive) = &reading.positive {
            let are_numbers = names.iter().all(|name| plain(name).is_some());
            let is_positive = |name: &&str| {
                name == positive || (are_numbers && plain(name).is_some_and(|value| Some(value) == plain(positive)))
            };
            match names.iter().position(is_positive) {
                Some(0) if names.len() == 2 => {
                    names.reverse();
                    indices.iter_mut().for_each(|index| *index = 1 - *index);
                }
                Some(_) => {}
                None => {
                    return Err(DataError::Positive {
                        positive: positive.clone(),
                        names: some_of(names.iter().copied()),
                    });
                }
            }
        }
        let shown = some_of(names.iter().copied());
        match (task, names.len()) {
            (_, 1) => {
                let rows = table.rows();
                return Err(invalid(format!(
                    "is {shown} in all {rows} rows; there has to be another class to tell it from"
                )));
            }
            (Task::Binary, count) if count != 2 => {
                let mut folded: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
                folded.sort_unstable();
                folded.dedup();
                let advice = if folded.len() == 2 {
                    "they differ in upper and lower case, so write each class in one way"
                } else {
                    "to leave rows out, list their values under `missing` of the target in data.columns, and say \
                     data.rows_without_target: drop"
                };
                return Err(invalid(format!("has {count} values where `binary` needs two: {shown}; {advice}")));
            }
            (Task::Multiclass, count) if count > MAX_CLASSES => {
                return Err(invalid(format!(
                    "has {count} different values, and at most {MAX_CLASSES} classes are allowed: {shown}"
                )));
            }
            (Task::Binary | Task::Multiclass, _) => {}
        }
        let names = names.into_iter().map(str::to_owned).collect();
        Ok(Self { names, of_rows: levels.of_rows.iter().flatten().map(|&level| indices[level as usize]).collect() })
    }

    /// How many there are.
    pub(super) fn count(&self) -> u32 {
        self.names.len() as u32
    }

    /// The targets of `rows`.
    pub(super) fn targets(&self, rows: &[u32]) -> Vec<f32> {
        rows.iter().map(|&row| self.of_rows[row as usize] as f32).collect()
    }

    /// How many of `rows` are of each class.
    pub(super) fn counts(&self, rows: &[u32]) -> Vec<usize> {
        let mut counts = vec![0; self.names.len()];
        for &row in rows {
            counts[self.of_rows[row as usize] as usize] += 1;
        }
        counts
    }

    /// Refuses parts in which a class has no row.
    pub(super) fn refuse_absent(&self, rows: &Rows) -> Result<(), DataError> {
        let counts = [0, 1, 2].map(|part| self.counts(&rows[part]));
        if counts.iter().flatten().all(|count| *count > 0) {
            return Ok(());
        }
        if self.names.len() == 2 {
            let part =
                |part: usize| PartCounts { part: PARTS[part], rows: rows[part].len(), positives: counts[part][1] };
            return Err(DataError::OneClass([part(0), part(1), part(2)]));
        }
        let absent = PARTS.iter().zip(&counts).flat_map(|(part, counts)| {
            let names = self.names.iter().zip(counts).filter(|(_, count)| **count == 0);
            names.map(move |(name, _)| format!("{part} has no row of {}", shown(name)))
        });
        Err(DataError::AbsentClass(absent.collect()))
    }
}

/// The different values of a target, sorted as numbers if all are, else as texts, and the index of each level among them.
pub(super) fn distinct<'a>(levels: &Levels<'a>) -> (Vec<&'a str>, Vec<u32>) {
    // 1 and 1.0 are one class if all classes are numbers.
    let numbers: Option<Vec<f64>> = levels.names.iter().map(|level| plain(level)).collect();
    let mut order: Vec<usize> = (0..levels.names.len()).collect();
    order.sort_by(|&a, &b| match &numbers {
        Some(numbers) => numbers[a].partial_cmp(&numbers[b]).unwrap_or(std::cmp::Ordering::Equal),
        None => levels.names[a].cmp(levels.names[b]),
    });
    let is_same = |a: usize, b: usize| numbers.as_ref().is_some_and(|numbers| numbers[a] == numbers[b]);
    let mut names: Vec<&str> = Vec::new();
    let mut indices = vec![0; order.len()];
    for (at, &level) in order.iter().enumerate() {
        if at == 0 || !is_same(order[at - 1], level) {
            names.push(levels.names[level]);
        }
        indices[level] = names.len() as u32 - 1;
    }
    (names, indices)
}
