//! A row for each cell, controls among them, with a column for each setting.

use serde_json::Value as Json;

use super::{DataTable, Kind, TableSpec, Value, columns};
use crate::report::{
    label::{self, Labels},
    model::Report,
    table::setting_keys,
};

pub(super) const TABLE: TableSpec = TableSpec { name: "cells", of };

fn of(report: &Report) -> DataTable<'_> {
    let settings: Vec<(&str, Kind)> =
        setting_keys(&report.cells).into_iter().map(|key| (key, kind(report, key))).collect();
    let fixed = [
        ("cell", Kind::Text),
        ("name", Kind::Text),
        ("control", Kind::Text),
        ("part", Kind::Integer),
        ("eligible", Kind::Flag),
        ("reason", Kind::Text),
        ("on_front", Kind::Flag),
        ("deployable", Kind::Flag),
        ("on_common_front", Kind::Flag),
        ("dominated_by", Kind::Text),
        ("requested_sparsity", Kind::Number),
        ("removed_weights", Kind::Integer),
        ("prunable_weights", Kind::Integer),
        ("dense_control", Kind::Text),
        ("random_control", Kind::Text),
        ("scratch_control", Kind::Text),
        ("non_inferiority_p", Kind::Number),
        ("non_inferiority_p_adjusted", Kind::Number),
        ("not_inferior", Kind::Flag),
    ];
    let columns = columns(fixed.into_iter().chain(settings.clone()));
    let labels = Labels::of(report);
    let rows = report.cells.iter().map(move |cell| {
        let test = cell.non_inferiority;
        let values: [Value<'_>; 20] = [
            report.sweep.id.as_str().into(),
            cell.id.as_str().into(),
            labels.cell(cell).into(),
            cell.control_kind.map(|control| control.name()).into(),
            cell.part.map(u64::from).into(),
            cell.eligible.into(),
            cell.reason.as_deref().into(),
            cell.on_front.into(),
            cell.deployable.into(),
            cell.on_common_front.into(),
            cell.dominated_by.first().map(|id| id.as_str()).into(),
            cell.requested_sparsity.into(),
            cell.removed_weights.into(),
            cell.prunable_weights.into(),
            cell.dense_control.as_ref().map(|id| id.as_str()).into(),
            cell.random_control.as_ref().map(|id| id.as_str()).into(),
            cell.scratch_control.as_ref().map(|id| id.as_str()).into(),
            test.map(|test| test.p).into(),
            test.map(|test| test.p_adjusted).into(),
            test.map(|test| test.holds).into(),
        ];
        let setting = |(key, kind): &(&str, Kind)| match cell.settings.get(*key) {
            None | Some(Json::Null) => Value::Missing,
            Some(value) if *kind == Kind::Number => value.as_f64().into(),
            Some(value) => label::text(value).into(),
        };
        values.into_iter().chain(settings.iter().map(setting)).collect()
    });
    DataTable { columns, rows: Box::new(rows) }
}

/// A number where each cell that has the setting has a number.
fn kind(report: &Report, key: &str) -> Kind {
    let values = report.cells.iter().filter_map(|cell| cell.settings.get(key));
    let mut values = values.filter(|value| !value.is_null()).peekable();
    if values.peek().is_some() && values.all(Json::is_number) { Kind::Number } else { Kind::Text }
}
