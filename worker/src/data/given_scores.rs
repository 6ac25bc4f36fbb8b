//! Scores of another model that stand in a column of the table, for the rows that nets are evaluated on.

use secateur_proto::spec::{Decimal, Reading, TableFormat};

use super::{Table, error::DataError, spelling};

/// The probabilities of the positive class in the cells of `column`, for these rows of the table, counted from 0.
///
/// # Errors
/// If the table cannot be read, there is no such column or row, or a cell is no number from 0 to 1.
pub fn given_scores(
    format: TableFormat,
    reading: &Reading,
    bytes: &[u8],
    column: &str,
    rows: &[u32],
) -> Result<Vec<f64>, DataError> {
    let table = Table::read(format, reading, bytes)?;
    let found = table.column(column).ok_or_else(|| DataError::Columns(vec![table.unknown("the column", column)]))?;
    let cells: Vec<Option<&str>> = found.cells().collect();
    let wrong = |problem: String| DataError::Column { column: column.to_owned(), problem };
    let score = |row: &u32| {
        let row = *row as usize;
        let cell = *cells.get(row).ok_or_else(|| wrong(format!("has no row {row}")))?;
        let line = table.line(row);
        let Some(text) = cell else {
            return Err(wrong(format!("has no score in line {line}; every row of validation and test needs one")));
        };
        // A number from 0 to 1 has no thousands, so a comma can only be the decimal mark.
        let number = [Decimal::Point, Decimal::Comma].into_iter().find_map(|mark| spelling::number(text, mark));
        let is_share =
            |spelled: &spelling::Spelled| spelled.unit == spelling::Unit::Bare && (0.0..=1.0).contains(&spelled.value);
        number.filter(is_share).map(|spelled| spelled.value).ok_or_else(|| {
            wrong(format!("has {text:?} in line {line}, expected the probability of the positive class, from 0 to 1"))
        })
    };
    rows.iter().map(score).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(cells: [&str; 3], rows: &[u32]) -> Result<Vec<f64>, String> {
        let [one, two, three] = cells;
        let table = format!("x\tscore\n1\t{one}\n2\t{two}\n3\t{three}\n");
        let reading = Reading { separator: Some(secateur_proto::spec::Separator::Tab), ..Reading::default() };
        given_scores(TableFormat::Csv, &reading, table.as_bytes(), "score", rows).map_err(|error| error.to_string())
    }

    #[test]
    fn scores_are_those_of_the_rows_that_are_asked_for() {
        assert_eq!(read(["0.25", "", "1"], &[2, 0]), Ok(vec![1.0, 0.25]));
        assert_eq!(read(["0,25", "0", "1e-3"], &[0, 1, 2]), Ok(vec![0.25, 0.0, 0.001]));
    }

    #[test]
    fn what_is_no_probability_is_refused_with_its_line() {
        for wrong in ["", "NA", "nan", "1.5", "-0.1", "73 %", "inf", "high"] {
            let error = read(["0.5", wrong, "0.5"], &[0, 1]).expect_err("refused");
            assert!(error.contains("line 3"), "{wrong}: {error}");
        }
        assert!(read(["0.5", "0.5", "0.5"], &[3]).is_err(), "there is no such row");
    }
}
