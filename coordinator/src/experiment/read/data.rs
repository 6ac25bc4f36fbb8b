//! Reads `data`: the table or the images, columns and split.

use std::collections::HashMap;

use secateur_proto::spec::{DataSettings, Reading, SplitSpec, TableFormat, Task};

use super::{
    super::{
        diagnostic::Mark,
        diagnostic::quote,
        setting::{self, Form as _, Names},
        spec::{DataSpec, NamedColumn},
    },
    kind_of,
    reader::{Field, Fields, Reader},
    table,
};

const COLUMN: &str = "the name of a column";
const COLUMNS: &str = "a list of column names";
const PATH: &str = "the path of a .csv, .tsv, .psv, .txt, .data, .dat or .parquet file (also .gz, .zst or .zip), or of a folder of idx files (ending in / if its name contains a dot)";
const SPLIT: &str = "a map with the kind stratified, time or column, or files for images";

pub(super) fn read(reader: &mut Reader, field: &Field<'_>) -> Option<DataSpec> {
    let fields = reader.fields(field, &setting::keys_of("data", None))?;
    let path = reader.required(&fields, "path", PATH).and_then(|field| data_path(reader, &field));
    let format = path.as_ref().map(|(_, format)| *format);
    let task = task(reader, &fields, format);
    let split = reader.required(&fields, "split", SPLIT).and_then(|field| split(reader, &field, format));
    let rows = match fields.get("rows") {
        None => Some(None),
        Some(field) => reader.integer(&field, 1, u32::MAX).map(Some),
    };
    if let Some((path, format @ TableFormat::Idx)) = &path {
        let of_tables = ["target", "drop", "inputs", "groups"].into_iter().chain(table::KEYS);
        for field in of_tables.filter_map(|key| fields.get(key)) {
            let message = "not allowed for images, which have no columns and their own labels";
            reader.report(field.mark(), &field.path, message);
        }
        return Some(DataSpec {
            path: path.clone(),
            named: Vec::new(),
            split_mark: fields.mark_of("split"),
            path_mark: fields.mark_of("path"),
            task_mark: fields.mark_of("task"),
            rows_mark: fields.mark_of("rows"),
            positive_mark: None,
            settings: DataSettings {
                format: *format,
                target: None,
                task: task?,
                split: split?,
                rows: rows?,
                inputs: None,
                drop: Vec::new(),
                groups: Vec::new(),
                reading: Reading::default(),
            },
        });
    }
    let target = match fields.get("target") {
        // Of what the path is not known to be a table nothing is missed.
        None if format.is_none() => None,
        _ => reader.required(&fields, "target", COLUMN).and_then(|field| reader.text(&field, COLUMN)),
    };
    let said = table::read(reader, &fields, task);
    let ignored = said.iter().flat_map(|said| said.ignored.iter().cloned());
    let mut drop = columns(reader, &fields, "drop");
    if let Some(drop) = &mut drop {
        for (name, field) in ignored {
            if !drop.iter().any(|(dropped, _)| *dropped == name) {
                drop.push((name, field));
            }
        }
    }
    let inputs = columns(reader, &fields, "inputs");
    let groups = columns(reader, &fields, "groups");
    contradictions(reader, target, split.as_ref(), [&drop, &inputs, &groups]);
    if let (Some(target), Some(column), Some(field)) =
        (target, split.as_ref().and_then(split_column), fields.get("split"))
        && target == column
    {
        let message = format!("{} is the target and cannot decide the split", quote(column));
        reader.report(field.mark(), "data.split.column", message);
    }
    if let (Some(field), Some([])) = (fields.get("inputs"), inputs.as_deref()) {
        reader.wrong(&field, "at least one column; remove the key to use all");
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
    let table::Said { reading, named: of_columns, .. } = said?;
    all_named.extend(of_columns);
    let (path, format) = path?;
    Some(DataSpec {
        path,
        named: all_named,
        split_mark: fields.mark_of("split"),
        path_mark: fields.mark_of("path"),
        task_mark: fields.mark_of("task"),
        rows_mark: fields.mark_of("rows"),
        positive_mark: fields.get("positive").map(|field| field.mark()),
        settings: DataSettings {
            format,
            target: target.map(str::to_owned),
            task: task?,
            split: split?,
            rows: rows?,
            inputs: fields.get("inputs").and(names(inputs)),
            drop: names(drop)?,
            groups: names(groups)?,
            reading,
        },
    })
}

/// What is predicted. Images are of several classes unless the file says that they are of two.
fn task(reader: &mut Reader, fields: &Fields<'_>, format: Option<TableFormat>) -> Option<Task> {
    match (fields.get("task"), format) {
        (None, Some(TableFormat::Idx)) => Some(Task::Multiclass),
        (None, None) => None,
        (None, Some(TableFormat::Csv | TableFormat::CsvGz)) => {
            reader.required(fields, "task", "binary or multiclass");
            None
        }
        (Some(field), _) => Names.read(reader, &field),
    }
}

fn data_path(reader: &mut Reader, field: &Field<'_>) -> Option<(String, TableFormat)> {
    let path = reader.text(field, PATH)?;
    if path.contains("://") {
        let message = format!("found {}, but only local files are supported, expected {PATH}", quote(path));
        reader.report(field.mark(), &field.path, message);
        return None;
    }
    if path.contains(char::is_control) {
        reader.wrong(field, &format!("{PATH} without control characters"));
        return None;
    }
    let format = format_of(path);
    if format.is_none() {
        reader.wrong(field, PATH);
    }
    Some((path.to_owned(), format?))
}

/// How the names of tables end.
const TABLES: [&str; 9] = [".csv", ".tsv", ".psv", ".tab", ".txt", ".data", ".dat", ".parquet", ".pq"];

/// How the names of packed tables end besides. What packs a table is seen in its bytes.
const PACKINGS: [&str; 3] = [".gz", ".zst", ".zip"];

/// Whether a path can be that of a table.
pub(crate) fn is_table_path(path: &str) -> bool {
    matches!(format_of(path), Some(TableFormat::Csv | TableFormat::CsvGz))
}

/// By the name alone: a folder is what has no ending, or says so with a `/`.
fn format_of(path: &str) -> Option<TableFormat> {
    let lower = path.to_lowercase();
    let name = path.rsplit('/').next().unwrap_or_default();
    let is_table = |path: &str| TABLES.iter().any(|ending| path.ends_with(ending));
    let packed = PACKINGS.iter().find_map(|ending| lower.strip_suffix(ending));
    if lower.ends_with(".gz") {
        packed.is_some_and(is_table).then_some(TableFormat::CsvGz)
    } else if is_table(packed.unwrap_or(&lower)) || lower.ends_with(".zip") {
        Some(TableFormat::Csv)
    } else {
        (matches!(name, "" | "." | "..") || !name.contains('.')).then_some(TableFormat::Idx)
    }
}

fn split(reader: &mut Reader, field: &Field<'_>, format: Option<TableFormat>) -> Option<SplitSpec> {
    let kind = kind_of(field, "data.split");
    let fields = reader.fields(field, &setting::keys_of("data.split", kind))?;
    let kinds = ["stratified", "time", "column", "files"].map(|kind| (kind, kind));
    let allowed = match format {
        None => &kinds[..],
        Some(TableFormat::Csv | TableFormat::CsvGz) => &kinds[..3],
        Some(TableFormat::Idx) => &kinds[3..],
    };
    let field =
        reader.required(&fields, "kind", &allowed.iter().map(|(kind, _)| *kind).collect::<Vec<_>>().join(", "))?;
    let kind = match kind {
        Some("files") if allowed.len() == 3 => {
            reader.wrong(&field, "stratified, time or column; files is for images");
            None
        }
        Some("stratified" | "time" | "column") if allowed.len() == 1 => {
            reader.wrong(&field, "files, the only split for images");
            None
        }
        _ => reader.choice(&field, allowed, &[]),
    }?;
    match kind {
        "stratified" => {
            let shares = shares(reader, &fields);
            let seed = seed(reader, &fields);
            let [train, validation, test] = shares?;
            Some(SplitSpec::Stratified { train, validation, test, seed: seed? })
        }
        "time" => {
            let column = column(reader, &fields);
            let [train, validation, test] = shares(reader, &fields)?;
            Some(SplitSpec::Time { column: column?, train, validation, test })
        }
        "files" => {
            let validation = reader.required(&fields, "validation", SHARE).and_then(|field| share(reader, &field));
            let seed = seed(reader, &fields);
            Some(SplitSpec::Files { validation: validation?, seed: seed? })
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
        SplitSpec::Stratified { .. } | SplitSpec::Files { .. } => None,
        SplitSpec::Time { column, .. } | SplitSpec::Column { column } => Some(column),
    }
}

const SHARE: &str = "a share between 0 and 1";

fn share(reader: &mut Reader, field: &Field<'_>) -> Option<f64> {
    reader.number(field, SHARE, |share| 0.0 < share && share < 1.0)
}

fn seed(reader: &mut Reader, fields: &Fields<'_>) -> Option<u64> {
    fields.get("seed").map_or(Some(0), |field| reader.integer(&field, 0, u64::MAX))
}

fn shares(reader: &mut Reader, fields: &Fields<'_>) -> Option<[f64; 3]> {
    let shares = ["train", "validation", "test"].map(|part| {
        let field = reader.required(fields, part, SHARE)?;
        share(reader, &field)
    });
    let [Some(train), Some(validation), Some(test)] = shares else { return None };
    let sum = train + validation + test;
    if (sum - 1.0).abs() > 1e-9 {
        let message = format!("train, validation and test sum to {sum}, expected 1");
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
                let message = format!("found {} twice, first at {first}", quote(name));
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
            reader.report(field.mark(), &field.path, format!("{quoted} is the target and cannot be {what}"));
        }
        if *what == "an input" && split_column == Some(*name) {
            let message = format!("{quoted} decides the split and cannot be an input");
            reader.report(field.mark(), &field.path, message);
        }
        if *what != "dropped" && dropped.contains(name) {
            let message = format!("{quoted} is in data.drop and cannot be {what}");
            reader.report(field.mark(), &field.path, message);
        }
    }
}
