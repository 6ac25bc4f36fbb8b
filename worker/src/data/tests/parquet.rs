//! Parquet files: the same tensors as those of the table as CSV.

use std::sync::Arc;

use ::parquet::{
    basic::{Compression, ZstdLevel},
    data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type, Int64Type},
    file::{
        properties::WriterProperties,
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::parser::parse_message_type,
};
use proptest::prelude::*;

use super::*;

const SCHEMA: &str = "message table {
    OPTIONAL BYTE_ARRAY job (UTF8);
    OPTIONAL INT64 count;
    OPTIONAL DOUBLE income;
    OPTIONAL FLOAT share;
    OPTIONAL INT32 born (DATE);
    OPTIONAL INT64 seen (TIMESTAMP(MICROS,true));
    OPTIONAL INT64 paid (TIMESTAMP(NANOS,false));
    OPTIONAL INT64 amount (DECIMAL(12,2));
    OPTIONAL BYTE_ARRAY price (DECIMAL(20,3));
    OPTIONAL BOOLEAN owner;
    REQUIRED INT32 y;
}";

/// A cell of each column, in the order of the schema.
#[derive(Debug, Clone)]
struct Cells {
    job: Option<String>,
    count: Option<i64>,
    income: Option<f64>,
    share: Option<f32>,
    born: Option<i32>,
    seen: Option<i64>,
    paid: Option<i64>,
    amount: Option<i64>,
    price: Option<i32>,
    owner: Option<bool>,
}

fn cells() -> impl Strategy<Value = Cells> {
    fn rare<S: Strategy>(of: S) -> impl Strategy<Value = Option<S::Value>>
    where
        S::Value: Clone,
    {
        prop::option::weighted(0.9, of)
    }
    let texts = prop::sample::select(vec!["a", "b, c", "d \"e\"", "two\nlines", " ", "Ärztin", "007", "NA"]);
    (
        rare(texts.prop_map(str::to_owned)),
        rare(any::<i32>().prop_map(i64::from)),
        rare(prop_oneof![-1e9..1e9_f64, Just(f64::NAN), Just(1e300)]),
        rare(-1e3..1e3_f32),
        rare(0..20_000_i32),
        rare(0..2_000_000_000_000_000_i64),
        rare(0..2_000_000_000_000_000_000_i64),
        rare(-99_999_999..99_999_999_i64),
        rare(any::<i32>()),
        rare(any::<bool>()),
    )
        .prop_map(|(job, count, income, share, born, seen, paid, amount, price, owner)| Cells {
            job,
            count,
            income,
            share,
            born,
            seen,
            paid,
            amount,
            price,
            owner,
        })
}

fn column<T: DataType>(group: &mut SerializedRowGroupWriter<'_, Vec<u8>>, values: Vec<Option<T::T>>) {
    let levels: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
    let values: Vec<T::T> = values.into_iter().flatten().collect();
    let mut column = group.next_column().expect("memory").expect("a column");
    column.typed::<T>().write_batch(&values, Some(&levels), None).expect("memory");
    column.close().expect("memory");
}

fn write(rows: &[Cells], compression: Compression, is_dictionary: bool) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(SCHEMA).expect("a schema"));
    let settings =
        WriterProperties::builder().set_compression(compression).set_dictionary_enabled(is_dictionary).build();
    let mut file = SerializedFileWriter::new(Vec::new(), schema, Arc::new(settings)).expect("memory");
    let of = |cell: &dyn Fn(&Cells) -> Option<ByteArray>, rows: &[Cells]| rows.iter().map(cell).collect::<Vec<_>>();
    let half = rows.len() / 2;
    for (first, rows) in [(0, &rows[..half]), (half, &rows[half..])] {
        let mut group = file.next_row_group().expect("memory");
        column::<ByteArrayType>(&mut group, of(&|row| row.job.as_ref().map(|job| job.as_str().into()), rows));
        column::<Int64Type>(&mut group, rows.iter().map(|row| row.count).collect());
        column::<DoubleType>(&mut group, rows.iter().map(|row| row.income).collect());
        column::<FloatType>(&mut group, rows.iter().map(|row| row.share).collect());
        column::<Int32Type>(&mut group, rows.iter().map(|row| row.born).collect());
        column::<Int64Type>(&mut group, rows.iter().map(|row| row.seen).collect());
        column::<Int64Type>(&mut group, rows.iter().map(|row| row.paid).collect());
        column::<Int64Type>(&mut group, rows.iter().map(|row| row.amount).collect());
        column::<ByteArrayType>(
            &mut group,
            of(&|row| row.price.map(|price| price.to_be_bytes().to_vec().into()), rows),
        );
        column::<BoolType>(&mut group, rows.iter().map(|row| row.owner).collect());
        column::<Int32Type>(&mut group, (first..first + rows.len()).map(|row| Some(row as i32 % 2)).collect());
        group.close().expect("memory");
    }
    file.into_inner().expect("memory")
}

/// As a program would write the rows as CSV that has its own way with dates and times.
fn csv(rows: &[Cells]) -> Vec<u8> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(["job", "count", "income", "share", "born", "seen", "paid", "amount", "price", "owner", "y"])
        .expect("memory");
    let decimal = |unscaled: i64, scale: u32| {
        let (whole, rest) = (unscaled.abs() / 10_i64.pow(scale), unscaled.abs() % 10_i64.pow(scale));
        format!("{}{whole}.{rest:0width$}", if unscaled < 0 { "-" } else { "" }, width = scale as usize)
    };
    for (row, cells) in rows.iter().enumerate() {
        let date = |days: i64| {
            let (mut year, mut left) = (1970, days);
            let length = |year: i64| if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) { 366 } else { 365 };
            while left >= length(year) {
                left -= length(year);
                year += 1;
            }
            let months = [31, length(year) - 337, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            let mut month = 0;
            while left >= months[month] {
                left -= months[month];
                month += 1;
            }
            format!("{year}-{:02}-{:02}", month + 1, left + 1)
        };
        let moment = |nanoseconds: i64| {
            let (days, seconds) = (nanoseconds / 86_400_000_000_000, nanoseconds / 1_000_000_000 % 86_400);
            let fraction = nanoseconds % 1_000_000_000;
            format!("{}T{:02}:{:02}:{:02}.{fraction:09}Z", date(days), seconds / 3600, seconds / 60 % 60, seconds % 60)
        };
        csv.write_record([
            cells.job.clone().unwrap_or_default(),
            cells.count.map(|value| value.to_string()).unwrap_or_default(),
            cells.income.filter(|value| !value.is_nan()).map(|value| value.to_string()).unwrap_or_default(),
            cells.share.map(|value| value.to_string()).unwrap_or_default(),
            cells.born.map(|days| date(days.into())).unwrap_or_default(),
            cells.seen.map(|value| moment(value * 1000)).unwrap_or_default(),
            cells.paid.map(moment).unwrap_or_default(),
            cells.amount.map(|value| decimal(value, 2)).unwrap_or_default(),
            cells.price.map(|value| decimal(value.into(), 3)).unwrap_or_default(),
            cells.owner.map(|value| value.to_string()).unwrap_or_default(),
            (row % 2).to_string(),
        ])
        .expect("memory");
    }
    csv.into_inner().expect("memory")
}

fn tensors(bytes: &[u8]) -> Result<Dataset, DataError> {
    let settings = DataSettings::of_table(TableFormat::Csv, "y", Task::Binary, stratified(1));
    Ok(prepare(&resolve(&settings, bytes)?.settings, bytes)?.dataset)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn parquet_is_the_same_table_as_csv(
        rows in prop::collection::vec(cells(), 60..80),
        compression in prop::sample::select(vec![
            Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::LZ4_RAW, Compression::ZSTD(ZstdLevel::default()),
        ]),
        is_dictionary: bool,
    ) {
        prop_assert_eq!(tensors(&write(&rows, compression, is_dictionary)), tensors(&csv(&rows)));
    }

    #[test]
    fn a_damaged_file_is_an_error_and_no_panic(
        rows in prop::collection::vec(cells(), 60..70), at in 4..4000_usize, bits in 1..=255_u8, cut in prop::option::of(8..4000_usize),
    ) {
        let mut bytes = write(&rows, Compression::SNAPPY, true);
        let at = at % (bytes.len() - 8) + 4;
        bytes[at] ^= bits;
        if let Some(cut) = cut {
            bytes.drain(8..8 + cut % (bytes.len() - 16));
        }
        _ = tensors(&bytes);
    }
}

#[test]
fn nested_columns_are_named_and_swelling_is_bounded() {
    let schema = "message table { REQUIRED INT32 y; OPTIONAL group tags (LIST) { REPEATED group list { OPTIONAL BYTE_ARRAY item (UTF8); } } \
                  REPEATED INT32 marks; }";
    let schema = Arc::new(parse_message_type(schema).expect("a schema"));
    let file = SerializedFileWriter::new(Vec::new(), schema, Arc::default()).expect("memory");
    let found = tensors(&file.into_inner().expect("memory")).expect_err("nested");
    let message = found.to_string();
    assert!(matches!(found, DataError::Packed(_)) && message.contains("\"tags\", \"marks\""), "{message}");

    // A text of a million letters stands once in the file.
    let rows = vec![Cells { job: Some("a".repeat(10_000)), ..blank() }; 1000];
    let bytes = write(&rows, Compression::SNAPPY, true);
    assert!(bytes.len() < 50_000, "{}", bytes.len());
    let check = |limit| Table::check_size(TableFormat::Csv, &bytes, limit);
    assert_eq!(check(1_000_000), Err(DataError::TooLarge { limit: 1_000_000 }));
    assert_eq!(check(11_000_000), Ok(()));
    let said = DataSettings { reading: Reading { skip_rows: 1, ..Reading::default() }, ..spec() };
    assert!(matches!(resolve(&said, &bytes), Err(DataError::Packed(_))));
}

fn blank() -> Cells {
    Cells {
        job: None,
        count: None,
        income: None,
        share: None,
        born: None,
        seen: None,
        paid: None,
        amount: None,
        price: None,
        owner: None,
    }
}
