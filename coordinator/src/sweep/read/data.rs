//! Reads `data`: the table, its columns and its split.

use std::collections::HashMap;

use secateur_proto::spec::{SplitSpec, TableFormat, Task};

use super::{
    super::{
        diagnostic::Mark,
        diagnostic::quote,
        spec::{DataSpec, NamedColumn},
    },
    reader::{Field, Fields, Reader},
};

const COLUMN: &str = "the name of a column";
const COLUMNS: &str = "a list of column names";
const PATH: &str = "the path of a .csv or .csv.gz file";
const SPLIT: &str = "a map with the kind stratified, time or column";

pub(super) fn read(reader: &mut Reader, field: &Field<'_>) -> Option<DataSpec> {
    let known = ["path", "target", "task", "split", "drop", "inputs", "groups"];
    let fields = reader.fields(field, &known)?;
    let path = reader.required(&fields, "path", PATH).and_then(|field| table_path(reader, &field));
    let target = reader.required(&fields, "target", COLUMN).and_then(|field| reader.text(&field, COLUMN));
    let task = reader
        .required(&fields, "task", "binary")
        .and_then(|field| reader.choice(&field, &[("binary", Task::Binary)], &["multiclass"]));
    let split = reader.required(&fields, "split", SPLIT).and_then(|field| split(reader, &field));
    let drop = columns(reader, &fields, "drop");
    let inputs = columns(reader, &fields, "inputs");
    let groups = columns(reader, &fields, "groups");
    contradictions(reader, target, split.as_ref(), [&drop, &inputs, &groups]);
    if let (Some(target), Some(column), Some(field)) =
        (target, split.as_ref().and_then(split_column), fields.get("split"))
        && target == column
    {
        let message = format!("found {}, which is the target and cannot decide the split", quote(column));
        reader.report(field.mark(), "data.split.column", message);
    }
    if let (Some(field), Some([])) = (fields.get("inputs"), inputs.as_deref()) {
        reader.wrong(&field, "at least one column; leave the key out to take all");
    }

    let names = |columns: Option<Columns<'_>>| {
        columns.map(|columns| columns.into_iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>())
    };
    let named = |path: &str, mark, name: &str| NamedColumn { path: path.to_owned(), mark, name: name.to_owned() };
    let mut all_named = vec![named("data.target", fields.mark_of("target"), target?)];
    if let (Some(column), Some(field)) = (split.as_ref().and_then(split_column), fields.get("split")) {
        all_named.push(named("data.split.column", field.mark(), column));
    }
    for (name, field) in [&drop, &inputs, &groups].into_iter().flatten().flatten() {
        all_named.push(named(&field.path, field.mark(), name));
    }
    let (path, format) = path?;
    Some(DataSpec {
        path,
        named: all_named,
        split_mark: fields.mark_of("split"),
        path_mark: fields.mark_of("path"),
        format,
        target: target?.to_owned(),
        task: task?,
        split: split?,
        inputs: fields.get("inputs").and(names(inputs)),
        drop: names(drop)?,
        groups: names(groups)?,
    })
}

fn table_path(reader: &mut Reader, field: &Field<'_>) -> Option<(String, TableFormat)> {
    let path = reader.text(field, PATH)?;
    let lower = path.to_lowercase();
    if path.contains("://") {
        let message = format!("found {}, but only local files are supported yet, allowed {PATH}", quote(path));
        reader.report(field.mark(), &field.path, message);
        return None;
    }
    if path.contains(char::is_control) {
        reader.wrong(field, &format!("{PATH} without control characters"));
        return None;
    }
    let formats = [(".csv", TableFormat::Csv), (".csv.gz", TableFormat::CsvGz)];
    let format = formats.into_iter().find(|(ending, _)| lower.ends_with(ending)).map(|(_, format)| format);
    if format.is_none() {
        reader.wrong(field, PATH);
    }
    Some((path.to_owned(), format?))
}

fn split(reader: &mut Reader, field: &Field<'_>) -> Option<SplitSpec> {
    // The kind decides which other keys are known, so it is read first.
    let all = ["kind", "train", "validation", "test", "seed", "column"];
    let silent = &mut Reader::default();
    let kind = silent.fields(field, &all).and_then(|fields| fields.get("kind")).and_then(|kind| kind.text());
    let known: &[&str] = match kind {
        Some("stratified") => &["kind", "train", "validation", "test", "seed"],
        Some("time") => &["kind", "column", "train", "validation", "test"],
        Some("column") => &["kind", "column"],
        _ => &all,
    };
    let fields = reader.fields(field, known)?;
    let kinds = [("stratified", "stratified"), ("time", "time"), ("column", "column")];
    let kind = reader
        .required(&fields, "kind", "stratified, time or column")
        .and_then(|field| reader.choice(&field, &kinds, &[]))?;
    match kind {
        "stratified" => {
            let shares = shares(reader, &fields);
            let seed = fields.get("seed").map_or(Some(0), |field| reader.integer(&field, 0, u64::MAX));
            let [train, validation, test] = shares?;
            Some(SplitSpec::Stratified { train, validation, test, seed: seed? })
        }
        "time" => {
            let column = column(reader, &fields);
            let [train, validation, test] = shares(reader, &fields)?;
            Some(SplitSpec::Time { column: column?, train, validation, test })
        }
        _ => Some(SplitSpec::Column { column: column(reader, &fields)? }),
    }
}

fn column(reader: &mut Reader, fields: &Fields<'_>) -> Option<String> {
    let field = reader.required(fields, "column", COLUMN)?;
    reader.text(&field, COLUMN).map(str::to_owned)
}

/// The column that decides the split.
fn split_column(split: &SplitSpec) -> Option<&str> {
    match split {
        SplitSpec::Stratified { .. } => None,
        SplitSpec::Time { column, .. } | SplitSpec::Column { column } => Some(column),
    }
}

fn shares(reader: &mut Reader, fields: &Fields<'_>) -> Option<[f64; 3]> {
    const SHARE: &str = "a share between 0 and 1";
    let shares = ["train", "validation", "test"].map(|part| {
        let field = reader.required(fields, part, SHARE)?;
        reader.number(&field, SHARE, |share| 0.0 < share && share < 1.0)
    });
    let [Some(train), Some(validation), Some(test)] = shares else { return None };
    let sum = train + validation + test;
    if (sum - 1.0).abs() > 1e-9 {
        let message = format!("found shares that sum to {sum}, allowed train + validation + test = 1");
        reader.report(fields.mark, &fields.path, message);
        return None;
    }
    Some([train, validation, test])
}

type Columns<'a> = Vec<(&'a str, Field<'a>)>;

/// The columns under `key`; no columns where the key is missing.
fn columns<'a>(reader: &mut Reader, fields: &Fields<'a>, key: &str) -> Option<Columns<'a>> {
    let Some(field) = fields.get(key) else { return Some(Vec::new()) };
    let Some(items) = field.items() else {
        reader.wrong(&field, COLUMNS);
        return None;
    };
    let mut columns = Vec::new();
    let mut seen: HashMap<&str, Mark> = HashMap::new();
    for item in items {
        let Some(name) = reader.text(&item, COLUMN) else { continue };
        match seen.get(name) {
            Some(first) => {
                let message = format!("found {} a second time; the first is at {first}", quote(name));
                reader.report(item.mark(), &item.path, message);
            }
            None => {
                seen.insert(name, item.mark());
                columns.push((name, item));
            }
        }
    }
    Some(columns)
}

/// Columns that are asked to be two things at once.
fn contradictions(
    reader: &mut Reader,
    target: Option<&str>,
    split: Option<&SplitSpec>,
    [drop, inputs, groups]: [&Option<Columns<'_>>; 3],
) {
    let split_column = split.and_then(split_column);
    let dropped: Vec<&str> = drop.iter().flatten().map(|(name, _)| *name).collect();
    let lists = [(drop, "dropped"), (inputs, "an input"), (groups, "a group")];
    for (name, field, what) in
        lists.iter().flat_map(|(list, what)| list.iter().flatten().map(move |(n, f)| (n, f, what)))
    {
        let quoted = quote(name);
        if target == Some(*name) {
            reader.report(
                field.mark(),
                &field.path,
                format!("found {quoted}, which is the target and cannot be {what}"),
            );
        }
        if *what == "an input" && split_column == Some(*name) {
            let message = format!("found {quoted}, which decides the split and cannot be an input");
            reader.report(field.mark(), &field.path, message);
        }
        if *what != "dropped" && dropped.contains(name) {
            let message = format!("found {quoted}, which is in data.drop and cannot be {what} too");
            reader.report(field.mark(), &field.path, message);
        }
    }
}
