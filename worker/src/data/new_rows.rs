//! New rows of a table: prepared as the train rows were, with what no train row was like.

use secateur_proto::vocabulary;

use super::{
    encoding::{Categorical, Encoding, Numeric},
    error::{DataError, shown},
    preparation::{InputColumn, Preparation, flags},
    values::{Cell, Cells},
};

vocabulary! {
    /// What is unusual about a cell of a new row.
    #[derive(PartialOrd, Ord)]
    pub enum UnusualKind {
        /// It is missing, and no train row lacks a value there.
        Missing = "missing",
        /// It is missing for a reason that no train row has.
        Code = "unseen code",
        /// A text that is not a level of the train rows.
        Level = "unseen level",
        /// A text that is either unseen or one of the levels of train that are too rare to be kept apart.
        RareLevel = "rare or unseen level",
        /// A number below all of train.
        Below = "below train",
        /// A number above all of train.
        Above = "above train",
    }
}

/// A cell that no train row is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unusual<'a> {
    /// Index of its column among those of the preparation.
    pub column: usize,
    /// In which way.
    pub kind: UnusualKind,
    /// The cell; empty if it is missing.
    pub value: &'a str,
}

/// Prepares new rows.
#[derive(Debug, Clone)]
pub struct NewRows<'p> {
    columns: Vec<Reader<'p>>,
    width: usize,
}

#[derive(Debug, Clone)]
struct Reader<'p> {
    column: &'p InputColumn,
    cells: Cells<'p>,
    /// For each code of the reading which flag it has.
    flags: Vec<Option<usize>>,
    is_ignored: bool,
}

impl<'p> NewRows<'p> {
    /// Of rows as this preparation has them.
    ///
    /// # Errors
    /// If the preparation is of images, or has an invalid date format.
    pub fn of(preparation: &'p Preparation) -> Result<Self, DataError> {
        if preparation.image.is_some() {
            return Err(DataError::NewRow("the preparation is of images and not of a table".to_owned()));
        }
        let reader = |column: &'p InputColumn| {
            let wrong = |problem| DataError::NewRow(format!("column {} {problem}", shown(&column.name)));
            let cells = Cells::new(&column.reading).map_err(wrong)?;
            let flags = if let Encoding::Numeric(numeric) = &column.encoding {
                flags(numeric, &column.reading)
            } else {
                Vec::new()
            };
            Ok(Reader { column, cells, flags, is_ignored: false })
        };
        let columns = preparation.columns.iter().map(reader).collect::<Result<_, DataError>>()?;
        Ok(Self { columns, width: preparation.width() })
    }

    /// The same, without a look at the columns for which `ignored` is true: their features are 0.
    #[must_use]
    pub fn ignoring(mut self, ignored: impl Fn(usize) -> bool) -> Self {
        self.columns.iter_mut().enumerate().for_each(|(index, reader)| reader.is_ignored = ignored(index));
        self
    }

    /// Prepares one row. `cell` gives the cell of the column of an index, or `None` if the value is missing. The features are
    /// appended to `out`, and what no train row is like to `unusual`.
    ///
    /// # Errors
    /// If a numeric column holds something else. Nothing is appended to `out` then.
    pub fn prepare<'a>(
        &self,
        cell: impl Fn(usize) -> Option<&'a str>,
        out: &mut Vec<f32>,
        unusual: &mut Vec<Unusual<'a>>,
    ) -> Result<(), DataError> {
        let start = out.len();
        out.resize(start + self.width, 0.0);
        let mut rest = &mut out[start..];
        for (index, reader) in self.columns.iter().enumerate() {
            let (own, others) = rest.split_at_mut(reader.column.features.len());
            rest = others;
            if reader.is_ignored {
                continue;
            }
            let value = cell(index).map(str::trim).filter(|cell| !cell.is_empty());
            match reader.write(value, own) {
                Ok(None) => {}
                Ok(Some(kind)) => unusual.push(Unusual { column: index, kind, value: value.unwrap_or_default() }),
                Err(problem) => {
                    out.truncate(start);
                    return Err(problem);
                }
            }
        }
        Ok(())
    }
}

impl Reader<'_> {
    /// Writes the features of a cell, and says in which way it is unusual.
    fn write(&self, value: Option<&str>, own: &mut [f32]) -> Result<Option<UnusualKind>, DataError> {
        let cell = self.cells.read(value);
        match &self.column.encoding {
            Encoding::Numeric(numeric) => self.write_number(numeric, cell, own),
            Encoding::Categorical(categorical) => {
                let level = if let Cell::Text(text) = cell { Some(text) } else { None };
                if let Some(slot) = categorical.slot(level) {
                    own[slot] = 1.0;
                }
                Ok(unusual_level(categorical, level))
            }
            // No feature: no net depends on it.
            Encoding::Constant { .. } => Ok(None),
        }
    }

    fn write_number(
        &self,
        numeric: &Numeric,
        cell: Cell<'_>,
        own: &mut [f32],
    ) -> Result<Option<UnusualKind>, DataError> {
        match cell {
            Cell::Text(text) => {
                let value = self.cells.number(text).ok_or_else(|| {
                    let name = shown(&self.column.name);
                    let what = self.cells.what();
                    DataError::NewRow(format!("column {name} has to be {what} or empty, and is {}", shown(text)))
                })?;
                numeric.write(Some(value), None, own);
                Ok(match numeric.range {
                    Some([low, _]) if value < low => Some(UnusualKind::Below),
                    Some([_, high]) if value > high => Some(UnusualKind::Above),
                    _ => None,
                })
            }
            Cell::Missing => {
                numeric.write(None, None, own);
                Ok((!numeric.missing_flag).then_some(UnusualKind::Missing))
            }
            Cell::Code(code) => {
                let flag = self.flags.get(usize::from(code)).copied().flatten();
                numeric.write(None, flag, own);
                Ok(flag.is_none().then_some(UnusualKind::Code))
            }
        }
    }
}

fn unusual_level(categorical: &Categorical, level: Option<&str>) -> Option<UnusualKind> {
    match level {
        None => (!categorical.missing).then_some(UnusualKind::Missing),
        Some(level) if categorical.levels.binary_search_by(|known| known.as_str().cmp(level)).is_ok() => None,
        Some(_) if categorical.pooled > 0 => Some(UnusualKind::RareLevel),
        Some(_) => Some(UnusualKind::Level),
    }
}
