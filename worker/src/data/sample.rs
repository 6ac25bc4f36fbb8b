//! Rows to try a served net with. They are made of what its preparation knows, so that no row of the table is given away: a usual one, one
//! without any value, unseen levels, numbers beyond those of train, and rows drawn at random.

use rand::{Rng, RngExt as _};
use secateur_proto::spec::{ColumnKind, ColumnReading, Decimal};

use super::{
    dates::DateFormat,
    encoding::{Categorical, Encoding, Numeric},
    preparation::{InputColumn, Preparation},
    values::Cells,
};
use crate::random::generator;

/// How many rows there are.
pub const ROWS: usize = 10;

/// The cells of a row by column, as texts in the spelling of the table.
#[must_use]
pub fn rows(preparation: &Preparation) -> Vec<Vec<String>> {
    let mut random = generator("rows to try a net with", &[]);
    let row = |row: usize| preparation.columns.iter().map(|column| cell(column, row, &mut random)).collect();
    (0..ROWS).map(row).collect()
}

/// Images: black, white, and drawn at random. `None` if the preparation is of a table.
#[must_use]
pub fn images(preparation: &Preparation) -> Option<Vec<Vec<u8>>> {
    let pixels = preparation.width();
    preparation.image.as_ref()?;
    let mut random = generator("images to try a net with", &[]);
    let mut image = |number: usize| match number {
        0 => vec![0; pixels],
        1 => vec![255; pixels],
        // Each with another share of black.
        _ => (0..pixels).map(|_| if random.random_range(0..ROWS) < number { 0 } else { random.random() }).collect(),
    };
    Some((0..ROWS).map(&mut image).collect())
}

fn cell(column: &InputColumn, row: usize, random: &mut impl Rng) -> String {
    // Drawn in every row, so that a column's cells do not depend on the others' kinds.
    let (share, choice): (f64, usize) = (random.random(), random.random_range(0..1 << 20));
    match &column.encoding {
        Encoding::Numeric(numeric) => number(numeric, &column.reading, row, share),
        Encoding::Categorical(categorical) => level(categorical, &column.reading, row, choice),
        Encoding::Constant { value } => value.clone(),
    }
}

fn number(numeric: &Numeric, reading: &ColumnReading, row: usize, share: f64) -> String {
    let [low, high] = numeric.range.unwrap_or([numeric.median; 2]);
    let is_whole = [low, high, numeric.median].iter().all(|value| value.fract() == 0.0);
    let value = match row {
        0 => numeric.median,
        2 => high + (high - low) / 2.0,
        3 => low - (high - low) / 2.0,
        _ => low + share * (high - low),
    };
    let value = if is_whole { value.round() } else { value };
    match (row, &reading.codes) {
        (1, _) => String::new(),
        (4, _) if numeric.missing_flag => String::new(),
        (5 | 6, Some(codes)) if !codes.is_empty() => codes[row % codes.len()].clone(),
        _ => spelled(value, reading).or_else(|| spelled(numeric.median, reading)).unwrap_or_default(),
    }
}

/// A number as the column has it. `None` if that cannot be read back.
fn spelled(value: f64, reading: &ColumnReading) -> Option<String> {
    let text = match &reading.kind {
        Some(ColumnKind::Date(format)) => DateFormat::new(format).ok()?.text(value),
        _ if reading.decimal == Some(Decimal::Comma) => value.to_string().replace('.', ","),
        _ => value.to_string(),
    };
    Cells::new(reading).ok()?.number(&text).map(|_| text)
}

fn level(categorical: &Categorical, reading: &ColumnReading, row: usize, choice: usize) -> String {
    let levels = &categorical.levels;
    match row {
        0 => levels.first().cloned().unwrap_or_default(),
        1 => String::new(),
        2 => "a level that train does not have".to_owned(),
        3 => reading.missing.first().cloned().unwrap_or_default(),
        _ if levels.is_empty() => String::new(),
        _ => levels[choice % levels.len()].clone(),
    }
}
