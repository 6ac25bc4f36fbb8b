use super::*;

fn columns() -> Vec<TableColumn> {
    let column = |(name, kind): (&str, ColumnKind)| TableColumn { name: name.to_owned(), kind };
    [
        ("cell", ColumnKind::Text),
        ("seed", ColumnKind::Integer),
        ("auc", ColumnKind::Number),
        ("on_front", ColumnKind::Flag),
    ]
    .map(column)
    .to_vec()
}

fn rows<'a>() -> Vec<[TableCell<'a>; 4]> {
    use TableCell::{Flag, Integer, Missing, Number, Text};
    vec![
        [Text("0f3a"), Integer(-7), Number(0.1 + 0.2), Flag(true)],
        [Text("=1+1"), Missing, Number(f64::NAN), Flag(false)],
        [Text("a, \"b\"\nc"), Integer(i64::MAX), Number(1e-300), Missing],
        [Missing, Missing, Missing, Missing],
    ]
}

fn written(format: TableFormat, repeat: usize) -> Result<Vec<u8>, TableFileError> {
    let mut writer = TableWriter::new(format, &columns(), Vec::new())?;
    for _ in 0..repeat {
        for row in rows() {
            writer.row(&row)?;
        }
    }
    writer.finish()
}

#[test]
fn csv_keeps_every_digit_and_runs_no_formula() {
    let text = written(TableFormat::Csv, 1).expect("memory takes it");
    let mut reader = csv::Reader::from_reader(text.as_slice());
    assert_eq!(reader.headers().expect("a header"), vec!["cell", "seed", "auc", "on_front"]);
    let read: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().expect("rows of equal length");
    let number = read[0][2].parse::<f64>().expect("a number");
    assert_eq!(number.to_bits(), (0.1_f64 + 0.2).to_bits());
    assert_eq!(read[1], vec!["'=1+1", "", "", "false"]);
    assert_eq!(&read[2][0], "a, \"b\"\nc");
    assert_eq!(read[2][2].parse(), Ok(1e-300));
    assert_eq!(read[3], vec!["", "", "", ""]);
}

#[test]
fn a_row_of_another_table_is_refused() {
    let mut writer = TableWriter::new(TableFormat::Csv, &columns(), Vec::new()).expect("memory takes it");
    assert!(matches!(writer.row(&[TableCell::Missing]), Err(TableFileError::Row)));
    let mut row = rows()[0];
    row[0] = TableCell::Integer(1);
    assert!(matches!(writer.row(&row), Err(TableFileError::Row)));
}

#[cfg(not(feature = "parquet"))]
#[test]
fn a_program_without_parquet_names_the_feature() {
    let error = written(TableFormat::Parquet, 1).expect_err("there is no Parquet");
    assert!(error.to_string().contains("--features parquet"), "{error}");
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_has_the_same_values_in_groups_of_rows() {
    use ::parquet::{
        file::reader::{FileReader as _, SerializedFileReader},
        record::Field,
    };

    let repeat = 20_000;
    let file = written(TableFormat::Parquet, repeat).expect("memory takes it");
    let reader = SerializedFileReader::new(bytes::Bytes::from(file)).expect("a Parquet file");
    assert!(reader.metadata().num_row_groups() > 1);
    let mut count = 0;
    for (row, expected) in reader.get_row_iter(None).expect("rows").zip(rows().iter().cycle()) {
        let row = row.expect("a row");
        let found: Vec<&Field> = row.get_column_iter().map(|(_, field)| field).collect();
        for (field, cell) in found.into_iter().zip(expected) {
            let wanted = match cell.finite() {
                TableCell::Missing => Field::Null,
                TableCell::Text(text) => Field::Str(text.to_owned()),
                TableCell::Integer(value) => Field::Long(value),
                TableCell::Number(value) => Field::Double(value),
                TableCell::Flag(value) => Field::Bool(value),
            };
            assert_eq!(*field, wanted);
        }
        count += 1;
    }
    assert_eq!(count, repeat * rows().len());
}
