use std::collections::BTreeSet;

use secateur_proto::metrics::{Metric, Split};

use super::*;
use crate::report::{
    build,
    example::{self, Sweep},
};

/// The names of the columns and the rows.
fn read<'a>(report: &'a Report, name: &str) -> (Vec<(String, Kind)>, Vec<Vec<Value<'a>>>) {
    let spec = TABLES.iter().find(|table| table.name == name).expect("a table");
    let table = (spec.of)(report);
    (table.columns, table.rows.collect())
}

fn value<'v, 'a>(columns: &[(String, Kind)], row: &'v [Value<'a>], name: &str) -> &'v Value<'a> {
    let place = columns.iter().position(|(column, _)| column == name);
    &row[place.unwrap_or_else(|| panic!("{name} is a column"))]
}

fn sweeps() -> [Sweep; 3] {
    [example::realistic(), example::hostile(), example::with_small_net()]
}

#[test]
fn rows_fit_their_columns() {
    for (plan, outcomes) in sweeps() {
        let report = build(&plan, &outcomes);
        for TableSpec { name, .. } in TABLES {
            let (columns, rows) = read(&report, name);
            let names: BTreeSet<&String> = columns.iter().map(|(name, _)| name).collect();
            assert_eq!(names.len(), columns.len(), "{name} has a column twice");
            assert_eq!(columns.first().map(|(name, _)| name.as_str()), Some("sweep"), "{name}");
            for row in rows {
                assert_eq!(row.len(), columns.len(), "{name}");
                for (value, (column, kind)) in row.iter().zip(&columns) {
                    let fits = match value {
                        Value::Missing => true,
                        Value::Text(_) => *kind == Kind::Text,
                        Value::Integer(_) => *kind == Kind::Integer,
                        Value::Number(_) => *kind == Kind::Number,
                        Value::Flag(_) => *kind == Kind::Flag,
                    };
                    assert!(fits, "{name}.{column}: {value:?}");
                }
            }
        }
    }
}

#[test]
fn tables_have_a_row_for_each_fact_of_the_report() {
    let (plan, outcomes) = example::realistic();
    let report = build(&plan, &outcomes);
    let count = |name: &str| read(&report, name).1.len();
    assert_eq!(count("trials"), report.trials.len());
    assert_eq!(count("cells"), report.cells.len());
    assert_eq!(count("front"), report.front.len() + report.common_front.len());
    let measured = report.trials.iter().map(|trial| trial.metrics.iter().count() + trial.quantities.len());
    assert_eq!(count("metrics"), measured.sum::<usize>());
    let (columns, rows) = read(&report, "statistics");
    let quantity = Metric::Auc.on(Split::Test);
    for cell in &report.cells {
        let is_it = |row: &&Vec<Value<'_>>| {
            *value(&columns, row, "cell") == Value::from(cell.id.as_str())
                && *value(&columns, row, "quantity") == Value::from("auc@test")
        };
        let row = rows.iter().find(is_it).expect("a row");
        let summary = cell.summary(&quantity);
        assert_eq!(*value(&columns, row, "mean"), summary.map(|summary| summary.mean).into());
        let high = summary.and_then(|summary| summary.ci95).map(|[_, high]| high);
        assert_eq!(*value(&columns, row, "ci95_seeds_high"), high.into());
        // The scores of no row were read.
        assert_eq!(*value(&columns, row, "ci95_seeds_rows_high"), Value::Missing);
    }
    let (columns, rows) = read(&report, "differences");
    for cell in report.cells.iter().filter(|cell| cell.random_control.is_some()) {
        let is_it = |row: &&Vec<Value<'_>>| {
            *value(&columns, row, "cell") == Value::from(cell.id.as_str())
                && *value(&columns, row, "minus") == Value::from("random")
                && *value(&columns, row, "quantity") == Value::from("auc@test")
        };
        let mean = rows.iter().find(is_it).map(|row| value(&columns, row, "mean").clone());
        let expected = cell.minus_random(&quantity).map(|paired| Value::from(paired.summary.mean));
        assert_eq!(mean, expected);
    }
}

#[test]
fn a_setting_is_a_column_of_its_kind() {
    let (plan, outcomes) = example::realistic();
    let report = build(&plan, &outcomes);
    let (columns, rows) = read(&report, "cells");
    let kind = |name: &str| columns.iter().find(|(column, _)| column == name).map(|(_, kind)| *kind);
    assert_eq!([kind("pruning.sparsity"), kind("pruning.strategy")], [Some(Kind::Number), Some(Kind::Text)]);
    for (row, cell) in rows.iter().zip(&report.cells) {
        assert_eq!(*value(&columns, row, "pruning.sparsity"), cell.requested_sparsity.into());
    }
}

#[test]
fn the_guide_names_every_column() {
    let guide = include_str!("../../../README.md");
    let (plan, outcomes) = example::realistic();
    let report = build(&plan, &outcomes);
    for TableSpec { name, .. } in TABLES {
        let row = guide.lines().find(|line| line.starts_with(&format!("| `{name}` |"))).expect("a row of the guide");
        let is_shared = |column: &str| {
            column == "sweep"
                || QUANTITY.iter().chain(&STATISTICS).any(|(shared, _)| *shared == column)
                || column.contains('.')
        };
        let (columns, _) = read(&report, name);
        for (column, _) in columns.iter().filter(|(column, _)| !is_shared(column)) {
            assert!(row.contains(&format!("`{column}`")), "{name}.{column} is not in {row}");
        }
    }
    for (shared, _) in QUANTITY.iter().chain(&STATISTICS) {
        assert!(guide.contains(&format!("`{shared}`")), "{shared}");
    }
}
