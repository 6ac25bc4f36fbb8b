use std::fmt::Write as _;

use secateur_proto::spec::{
    ColumnKind, ColumnReading, DataSettings, Decimal, Reading, Scaling, Separator, SplitSpec, TableFormat, Task,
    TextEncoding,
};

use super::*;

mod cases;
mod dates;
mod dialects;
mod faults;
mod fitting;
mod foreign;
mod golden;
mod images;
mod inspection;
mod packings;
#[cfg(feature = "parquet")]
mod parquet;
mod splits;

/// What is said of one mistake after the other, a line each.
#[derive(Default)]
struct Said(String);

impl Said {
    fn push(&mut self, message: impl AsRef<str>) {
        let _ = writeln!(self.0, "{}", message.as_ref());
    }
}

/// A plain spec: the target `y` and the split in the column `part`.
fn spec() -> DataSettings {
    DataSettings::of_table(TableFormat::Csv, "y", Task::Binary, SplitSpec::Column { column: "part".into() })
}

fn stratified(seed: u64) -> SplitSpec {
    SplitSpec::Stratified { train: 0.6, validation: 0.2, test: 0.2, seed }
}

/// Validation and test rows for a table with the columns `part,y,x`, whose train rows are given as `y,x`.
fn table(train: &[&str]) -> String {
    let mut text = String::from("part,y,x\n");
    for row in train {
        let _ = writeln!(text, "train,{row}");
    }
    text + "validation,0,1\nvalidation,1,2\ntest,0,3\ntest,1,4\n"
}

fn prepared(text: &str) -> Prepared {
    prepare(&spec(), text.as_bytes()).expect("a good table")
}

fn problem(spec: &DataSettings, text: &str) -> String {
    prepare(spec, text.as_bytes()).expect_err("a bad table").to_string()
}
