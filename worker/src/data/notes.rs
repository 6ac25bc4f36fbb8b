//! What a person should know of a prepared table: columns that say little or nothing, and rows that are in two parts.

use std::collections::HashSet;

use secateur_proto::ids::ContentHash;

use super::{
    encoding::{Encoding, RARE, ROWS_PER_LEVEL},
    error::shown,
    preparation::{InputColumn, Preparation, Roles},
    split::{PARTS, Rows},
    table::Column,
    values::{Levels, Numbers, Values},
};

/// The fewest rows of which a column that is different in all of them is noted.
const FEWEST_ROWS: usize = 50;

/// The notes. `values` are those of the input columns.
pub(super) fn of(preparation: &Preparation, values: &[Values<'_>], roles: &Roles<'_>, rows: &Rows) -> Vec<String> {
    let columns = preparation.columns.iter().zip(values);
    let mut notes: Vec<String> = columns.flat_map(|(column, values)| of_column(column, values)).collect();
    notes.extend(in_two_parts(roles, rows));
    notes
}

fn of_column(InputColumn { name, encoding, .. }: &InputColumn, values: &Values<'_>) -> Vec<String> {
    let name = shown(name);
    let mut notes = Vec::new();
    match encoding {
        Encoding::Constant { value } if value == RARE => notes.push(format!(
            "the column {name} gives no input: each of its levels holds less than 1 in {ROWS_PER_LEVEL} train rows"
        )),
        Encoding::Constant { value } => {
            notes.push(format!("the column {name} gives no input: every train row holds {}", shown(value)));
        }
        Encoding::Categorical(categorical) if categorical.pooled > 0 => notes.push(format!(
            "the column {name} pools {} of its levels into one input: each holds less than 1 in {ROWS_PER_LEVEL} train rows",
            categorical.pooled
        )),
        Encoding::Numeric(_) | Encoding::Categorical(_) => {}
    }
    if let Some((code, rows)) = far_code(values) {
        notes.push(format!(
            "{code} stands in {rows} rows of the column {name} and is far from its other values; if it means that the value is missing, say \
             data.columns: {{{}: {{missing: [{code}]}}}}",
            name.trim_matches('"')
        ));
    }
    if is_identity(values) {
        notes.push(format!(
            "the column {name} is different in every row, as an identity is; if it is one, say data.columns: {{{}: ignore}}",
            name.trim_matches('"')
        ));
    }
    notes
}

/// A number of nines, such as -999 or 9999, beyond all other values of a column and in at least one row of a hundred, and in how many.
pub(super) fn far_code(values: &Values<'_>) -> Option<(f64, usize)> {
    let Values::Numbers(Numbers { values, .. }) = values else { return None };
    let present = || values.iter().flatten().copied();
    let of_nines = |value: f64| {
        let text = value.abs().to_string();
        text.bytes().all(|digit| digit == b'9') && (value < 0.0 || text.len() > 2)
    };
    [present().fold(f64::INFINITY, f64::min), present().fold(f64::NEG_INFINITY, f64::max)].into_iter().find_map(|end| {
        let rows = present().filter(|value| *value == end).count();
        let others = present().filter(|value| *value != end);
        let is_far = if end < 0.0 {
            others.fold(f64::INFINITY, f64::min) >= 0.0
        } else {
            others.fold(f64::NEG_INFINITY, f64::max) * 2.0 < end
        };
        (end.is_finite() && of_nines(end) && is_far && rows > 1 && rows * 100 >= values.len()).then_some((end, rows))
    })
}

/// Whether a column has a text or a whole number of its own in each row. Measured numbers with decimals may well be all different.
pub(super) fn is_identity(values: &Values<'_>) -> bool {
    match values {
        Values::Levels(Levels { names, of_rows }) => of_rows.len() >= FEWEST_ROWS && names.len() == of_rows.len(),
        Values::Numbers(Numbers { values, .. }) => {
            let mut whole: Vec<f64> = values.iter().flatten().copied().filter(|value| value.fract() == 0.0).collect();
            let rows = values.len();
            if rows < FEWEST_ROWS || whole.len() < rows {
                return false;
            }
            whole.sort_unstable_by(f64::total_cmp);
            // Beyond 2^53 neighbours are one number, and no measured whole number is as large.
            whole.dedup();
            whole.len() == rows || whole[0].abs() >= (1_u64 << 53) as f64
        }
    }
}

/// Rows that are equal in all inputs and the target, and in two parts.
fn in_two_parts(roles: &Roles<'_>, rows: &Rows) -> Vec<String> {
    let columns: Vec<&Column> = roles.inputs.iter().chain([&roles.target]).copied().collect();
    let hashes = row_hashes(&columns);
    let hash = |row: &u32| hashes[*row as usize];
    let hashes_of: Vec<HashSet<ContentHash>> = rows.iter().map(|part| part.iter().map(hash).collect()).collect();
    let mut notes = Vec::new();
    for part in [1, 2] {
        for (earlier, name) in PARTS.iter().enumerate().take(part) {
            let twice = rows[part].iter().filter(|row| hashes_of[earlier].contains(&hash(row))).count();
            if twice > 0 {
                let of = rows[part].len();
                let part = PARTS[part];
                notes.push(format!("{twice} of {of} {part} rows are in {name}, too, with the same inputs and target"));
            }
        }
    }
    notes
}

/// A hash of the cells of each row. Rows with equal cells have equal hashes.
pub(super) fn row_hashes(columns: &[&Column]) -> Vec<ContentHash> {
    let rows = columns.first().map_or(0, |column| column.cells().len());
    let mut columns: Vec<_> = columns.iter().map(|column| column.cells()).collect();
    let mut text = String::new();
    let hash = |_| {
        text.clear();
        for column in &mut columns {
            text.push_str(column.next().flatten().unwrap_or_default());
            text.push('\0');
        }
        ContentHash::of(text.as_bytes())
    };
    (0..rows).map(hash).collect()
}
