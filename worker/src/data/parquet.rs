//! From a Parquet file to the text that the same table would have as CSV, so that all behind it is the same. Where the program is built
//! without the feature `parquet` such a file is refused.

use std::io;

use super::error::DataError;

#[cfg(not(feature = "parquet"))]
pub(super) fn write_csv(_: &[u8], _: u64, _: &mut impl io::Write) -> Result<u64, DataError> {
    Err(DataError::Foreign(
        "a Parquet file, and this program was built without Parquet; build it with \
         `cargo install --path coordinator --locked --features parquet`, or write the table as CSV",
    ))
}

/// Writes the text, and says how much it was: more than `limit` where there would be still more.
#[cfg(feature = "parquet")]
pub(super) fn write_csv(bytes: &[u8], limit: u64, text: &mut impl io::Write) -> Result<u64, DataError> {
    let mut out = Limited { text, written: 0, limit };
    // The reader checks a file while it reads it, and a damaged one may run into a panic of its own.
    let written = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| with_parquet::write(bytes, &mut out)));
    let size = out.written;
    match written {
        _ if size > limit => Ok(size),
        Ok(Ok(())) => Ok(size),
        Ok(Err(problem)) => Err(problem),
        Err(_) => Err(DataError::Packed("it is a damaged Parquet file; copy the file again".to_owned())),
    }
}

/// Counts what is written, and ends beyond a limit.
#[cfg(feature = "parquet")]
struct Limited<W> {
    text: W,
    written: u64,
    limit: u64,
}

#[cfg(feature = "parquet")]
impl<W: io::Write> io::Write for Limited<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written += bytes.len() as u64;
        if self.written > self.limit {
            return Err(io::Error::other("more text than is read"));
        }
        self.text.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.text.flush()
    }
}

#[cfg(feature = "parquet")]
mod with_parquet {
    use std::io;

    use parquet::{
        basic::{LogicalType, TimeUnit},
        data_type::Decimal,
        file::reader::{FileReader as _, SerializedFileReader},
        record::Field,
        schema::types::Type,
    };

    use super::super::{
        dates::date_of,
        error::{DataError, shown, some_of},
    };

    pub(super) fn write(bytes: &[u8], out: &mut impl io::Write) -> Result<(), DataError> {
        let wrong = |error: &dyn std::error::Error| {
            DataError::Packed(format!("it is a Parquet file that cannot be read ({error}); copy or write it again"))
        };
        let file = SerializedFileReader::new(bytes::Bytes::copy_from_slice(bytes)).map_err(|error| wrong(&error))?;
        let schema = file.metadata().file_metadata().schema().clone();
        let columns = schema.get_fields();
        let nested: Vec<&str> = columns.iter().filter(|column| !is_plain(column)).map(|column| column.name()).collect();
        if !nested.is_empty() {
            return Err(DataError::Packed(format!(
                "it is a Parquet file with nested columns, which are no cells: {}; write it without them",
                some_of(nested.iter().copied())
            )));
        }
        let nanoseconds: Vec<bool> = columns.iter().map(|column| is_in_nanoseconds(column)).collect();
        let mut csv = csv::Writer::from_writer(out);
        csv.write_record(columns.iter().map(|column| column.name())).map_err(|error| wrong(&error))?;
        for row in file.get_row_iter(None).map_err(|error| wrong(&error))? {
            let row = row.map_err(|error| wrong(&error))?;
            for ((name, field), is_nanoseconds) in row.get_column_iter().zip(&nanoseconds) {
                let cell = cell(field, *is_nanoseconds).map_err(|what| {
                    DataError::Packed(format!(
                        "it is a Parquet file whose column {} holds {what}; write it as text or numbers",
                        shown(name)
                    ))
                })?;
                csv.write_field(cell).map_err(|error| wrong(&error))?;
            }
            csv.write_record(None::<&[u8]>).map_err(|error| wrong(&error))?;
        }
        csv.flush().map_err(|error| wrong(&error))
    }

    fn is_plain(column: &Type) -> bool {
        column.is_primitive()
            && !(column.get_basic_info().has_repetition()
                && column.get_basic_info().repetition() == parquet::basic::Repetition::REPEATED)
    }

    fn is_in_nanoseconds(column: &Type) -> bool {
        matches!(column.get_basic_info().logical_type_ref(), Some(LogicalType::Timestamp(time)) if time.unit == TimeUnit::NANOS)
    }

    /// A cell as text; nothing where a value is missing or is not a number. Or what it is that is no cell.
    fn cell(field: &Field, is_nanoseconds: bool) -> Result<String, &'static str> {
        Ok(match field {
            Field::Null => String::new(),
            Field::Bool(value) => value.to_string(),
            Field::Byte(value) => value.to_string(),
            Field::Short(value) => value.to_string(),
            Field::Int(value) => value.to_string(),
            Field::Long(value) if is_nanoseconds => timestamp(i128::from(*value)),
            Field::Long(value) => value.to_string(),
            Field::UByte(value) => value.to_string(),
            Field::UShort(value) => value.to_string(),
            Field::UInt(value) => value.to_string(),
            Field::ULong(value) => value.to_string(),
            Field::Float16(value) => number(f64::from(value.to_f32()), value.to_f32().to_string()),
            Field::Float(value) => number(f64::from(*value), value.to_string()),
            Field::Double(value) => number(*value, value.to_string()),
            Field::Decimal(value) => decimal(value)?,
            Field::Str(value) => value.clone(),
            Field::Bytes(value) => String::from_utf8(value.data().to_vec()).map_err(|_| "bytes that are no text")?,
            Field::Date(days) => date_of(i64::from(*days)),
            Field::TimestampMillis(value) => timestamp(i128::from(*value) * 1_000_000),
            Field::TimestampMicros(value) => timestamp(i128::from(*value) * 1000),
            Field::TimeMillis(_) | Field::TimeMicros(_) => return Err("times of day"),
            Field::Group(_) | Field::ListInternal(_) | Field::MapInternal(_) => return Err("nested values"),
        })
    }

    fn number(value: f64, text: String) -> String {
        if value.is_nan() { String::new() } else { text }
    }

    /// Returns date and time in UTC of a number of nanoseconds since 1970.
    fn timestamp(nanoseconds: i128) -> String {
        const OF_A_DAY: i128 = 86_400_000_000_000;
        let (days, rest) = (nanoseconds.div_euclid(OF_A_DAY), nanoseconds.rem_euclid(OF_A_DAY));
        let (seconds, fraction) = (rest / 1_000_000_000, rest % 1_000_000_000);
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let date = date_of(i64::try_from(days).unwrap_or_default());
        let text = format!("{date} {hours:02}:{minutes:02}:{seconds:02}");
        if fraction == 0 { text } else { format!("{text}.{fraction:09}") }
    }

    /// The digits of a number that is stored as a whole one, most significant byte first.
    fn decimal(value: &Decimal) -> Result<String, &'static str> {
        let bytes = value.data();
        let scale = usize::try_from(value.scale()).map_err(|_| "decimals with a negative scale")?;
        if bytes.len() > 16 || bytes.is_empty() {
            return Err("decimals of more than 38 digits");
        }
        let mut wide = if bytes[0] & 0x80 == 0 { [0; 16] } else { [0xff; 16] };
        wide[16 - bytes.len()..].copy_from_slice(bytes);
        let unscaled = i128::from_be_bytes(wide);
        let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
        let sign = if unscaled < 0 { "-" } else { "" };
        let (whole, decimals) = digits.split_at(digits.len() - scale);
        Ok(if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{decimals}") })
    }
}
