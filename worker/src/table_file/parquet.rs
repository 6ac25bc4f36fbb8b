//! Tables as Parquet, a group of rows at a time.

use std::{io::Write, sync::Arc};

use parquet::{
    basic::{Compression, LogicalType, Repetition, Type as Physical},
    column::writer::ColumnWriter,
    data_type::ByteArray,
    errors::ParquetError,
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::types::Type,
};

use super::{ColumnKind, TableCell, TableColumn, TableFileError};

/// Rows of a group.
const GROUP: usize = 65_536;

pub(super) struct Writer<W: Write + Send> {
    file: SerializedFileWriter<W>,
    columns: Vec<Buffer>,
    /// Rows in the buffers.
    rows: usize,
}

/// The values of a column that are not missing, and for each row whether it has one.
struct Buffer {
    values: Values,
    present: Vec<i16>,
}

enum Values {
    Text(Vec<ByteArray>),
    Integer(Vec<i64>),
    Number(Vec<f64>),
    Flag(Vec<bool>),
}

impl From<ParquetError> for TableFileError {
    fn from(error: ParquetError) -> Self {
        Self::Parquet(error.to_string())
    }
}

impl<W: Write + Send> Writer<W> {
    pub(super) fn new(columns: &[TableColumn], out: W) -> Result<Self, TableFileError> {
        let field = |TableColumn { name, kind }: &TableColumn| {
            let (physical, logical) = match kind {
                ColumnKind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
                ColumnKind::Integer => (Physical::INT64, None),
                ColumnKind::Number => (Physical::DOUBLE, None),
                ColumnKind::Flag => (Physical::BOOLEAN, None),
            };
            let builder = Type::primitive_type_builder(name, physical);
            builder.with_repetition(Repetition::OPTIONAL).with_logical_type(logical).build().map(Arc::new)
        };
        let fields = columns.iter().map(field).collect::<Result<Vec<_>, _>>()?;
        let schema = Type::group_type_builder("table").with_fields(fields).build()?;
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(Default::default())).build();
        let file = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties))?;
        let columns = columns.iter().map(|column| Buffer::new(column.kind)).collect();
        Ok(Self { file, columns, rows: 0 })
    }

    pub(super) fn row(&mut self, cells: &[TableCell<'_>]) -> Result<(), TableFileError> {
        if cells.len() != self.columns.len() {
            return Err(TableFileError::Row);
        }
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            column.push(cell.finite())?;
        }
        self.rows += 1;
        if self.rows == GROUP { self.close_group() } else { Ok(()) }
    }

    fn close_group(&mut self) -> Result<(), TableFileError> {
        let mut group = self.file.next_row_group()?;
        for buffer in &mut self.columns {
            let mut column = group.next_column()?.ok_or(TableFileError::Row)?;
            let present = Some(buffer.present.as_slice());
            match (column.untyped(), &buffer.values) {
                (ColumnWriter::ByteArrayColumnWriter(out), Values::Text(values)) => {
                    out.write_batch(values, present, None)
                }
                (ColumnWriter::Int64ColumnWriter(out), Values::Integer(values)) => {
                    out.write_batch(values, present, None)
                }
                (ColumnWriter::DoubleColumnWriter(out), Values::Number(values)) => {
                    out.write_batch(values, present, None)
                }
                (ColumnWriter::BoolColumnWriter(out), Values::Flag(values)) => out.write_batch(values, present, None),
                _ => return Err(TableFileError::Row),
            }?;
            column.close()?;
            buffer.clear();
        }
        group.close()?;
        self.rows = 0;
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<W, TableFileError> {
        if self.rows > 0 {
            self.close_group()?;
        }
        Ok(self.file.into_inner()?)
    }
}

impl Buffer {
    const fn new(kind: ColumnKind) -> Self {
        let values = match kind {
            ColumnKind::Text => Values::Text(Vec::new()),
            ColumnKind::Integer => Values::Integer(Vec::new()),
            ColumnKind::Number => Values::Number(Vec::new()),
            ColumnKind::Flag => Values::Flag(Vec::new()),
        };
        Self { values, present: Vec::new() }
    }

    fn push(&mut self, cell: TableCell<'_>) -> Result<(), TableFileError> {
        match (&mut self.values, cell) {
            (_, TableCell::Missing) => {}
            (Values::Text(values), TableCell::Text(text)) => {
                // Most texts are that of the row before; they share its memory.
                let same = values.last().filter(|last| last.data() == text.as_bytes()).cloned();
                values.push(same.unwrap_or_else(|| ByteArray::from(text)));
            }
            (Values::Integer(values), TableCell::Integer(value)) => values.push(value),
            (Values::Number(values), TableCell::Number(value)) => values.push(value),
            (Values::Flag(values), TableCell::Flag(value)) => values.push(value),
            _ => return Err(TableFileError::Row),
        }
        self.present.push(i16::from(cell != TableCell::Missing));
        Ok(())
    }

    fn clear(&mut self) {
        self.present.clear();
        match &mut self.values {
            Values::Text(values) => values.clear(),
            Values::Integer(values) => values.clear(),
            Values::Number(values) => values.clear(),
            Values::Flag(values) => values.clear(),
        }
    }
}
