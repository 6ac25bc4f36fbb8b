//! `secateur init`: a first sweep file for a table, which runs as it is.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use secateur_proto::spec::Reading;
use secateur_worker::data::Inspection;
use serde_json::json;

use super::{
    error::CliError,
    output::Output,
    outputs,
    progress::Screen,
    reading::{self, ReadingArguments},
};
use crate::{
    admission::{self, Input, Limits},
    experiment::{
        Diagnostics,
        draft::{Wishes, draft},
        is_table_path,
    },
};

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct InitArguments {
    /// Table to train on
    table: PathBuf,
    /// Column to predict; it must hold classes, such as yes and no
    #[arg(long, value_name = "COLUMN")]
    target: String,
    /// Positive class, if the target has two [default: the larger value]
    #[arg(long, value_name = "CLASS", allow_hyphen_values = true)]
    positive: Option<String>,
    /// Sweep file to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Overwrite the file of --out
    #[arg(long, requires = "out")]
    force: bool,
    #[command(flatten)]
    reading: ReadingArguments,
}

pub(crate) async fn run(arguments: InitArguments, output: Output, screen: &Screen) -> Result<ExitCode, CliError> {
    let InitArguments { table, target, positive, out, force, reading } = arguments;
    if let Some(out) = out.as_ref().filter(|out| !force && out.exists()) {
        return Err(CliError::Input(format!("{} exists; overwrite it with --force", out.display())));
    }
    let path = path_from(out.as_deref(), &table)?;
    let reading = reading.reading()?;
    let (bytes, inspection) = reading::read(&table, &reading, Some(&target), None, screen).await?;
    let checking = screen.spinner("checking the sweep file");
    let drafted =
        tokio::task::spawn_blocking(move || checked(&inspection, &path, positive.as_deref(), &reading, &bytes));
    let drafted = drafted.await.map_err(|error| CliError::failed(&error))?;
    drop(checking);
    let text = drafted.map_err(|problem| CliError::Input(format!("{}: {problem}", table.display())))?;
    match &out {
        None => output.print(&json!({"file": null, "text": text}), || text.clone()),
        Some(out) => {
            outputs::write_whole(out, text.as_bytes()).map_err(|error| outputs::unwritable(out, &error))?;
            output.print(&json!({"file": out, "text": text}), || out.display().to_string());
            screen.say(&format!("next: secateur plan {}", out.display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns a sweep file for the table that can be planned without a change, or the reason why there is none.
fn checked(
    inspection: &Inspection,
    path: &str,
    positive: Option<&str>,
    reading: &Reading,
    bytes: &[u8],
) -> Result<String, String> {
    let mut problems = String::new();
    // A column that names the parts may not name all, or leave one without a class.
    for use_parts in [true, false] {
        let text = draft(inspection, Wishes { path, positive, reading, use_parts })?;
        match plan(&text, bytes) {
            Ok(()) => return Ok(text),
            Err(found) => {
                let messages: Vec<String> = found.list.into_iter().map(|problem| problem.message).collect();
                problems = messages.join("; ");
            }
        }
    }
    Err(format!("no sweep can be planned over the table: {problems}"))
}

fn plan(text: &str, bytes: &[u8]) -> Result<(), Diagnostics> {
    admission::admit("sweep.yaml", text, Input::of(bytes), None, Limits::NONE).map(|_| ())
}

/// The path of the table from the folder of the sweep file.
fn path_from(out: Option<&Path>, table: &Path) -> Result<String, CliError> {
    let shown = table.display();
    let unreadable = |error: io::Error| CliError::Input(format!("cannot read {shown}: {error}"));
    let folder = out.and_then(Path::parent).filter(|folder| !folder.as_os_str().is_empty());
    let path = match folder {
        Some(folder) if table.is_relative() && folder != Path::new(".") => {
            let table = fs::canonicalize(table).map_err(unreadable)?;
            fs::canonicalize(folder).map_or_else(|_| table.clone(), |folder| relative(&table, &folder))
        }
        _ => table.to_owned(),
    };
    let path = path
        .to_str()
        .ok_or_else(|| CliError::Input(format!("{shown}: the path is not valid Unicode; rename the file")))?;
    if !is_table_path(path) {
        return Err(CliError::Input(format!(
            "{shown}: a sweep file names tables by their endings (.csv, .tsv, .txt, .data, .parquet and others, also with .gz, .zst or .zip); \
             rename the file"
        )));
    }
    Ok(path.to_owned())
}

/// The way from a folder to a file, both of them whole paths.
fn relative(file: &Path, folder: &Path) -> PathBuf {
    let shared = file.components().zip(folder.components()).take_while(|(one, other)| one == other).count();
    let up = folder.components().skip(shared).map(|_| Component::ParentDir);
    up.chain(file.components().skip(shared)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secateur_proto::spec::Separator;
    use secateur_worker::data::{Asked, inspect};

    use super::*;

    /// Drafts a sweep file for a table and plans it.
    fn init(bytes: &[u8], target: &str, positive: Option<&str>, reading: &Reading) -> Result<String, String> {
        let asked = Asked { target: Some(target), split: None };
        let inspection = inspect(reading, bytes, asked).map_err(|problem| problem.to_string())?;
        checked(&inspection, "table.csv", positive, reading, bytes)
    }

    /// A table with these columns. The last one is the target.
    fn table(names: &[&str], classes: usize) -> Vec<u8> {
        let mut csv = csv::Writer::from_writer(Vec::new());
        csv.write_record(names).expect("memory");
        for row in 0..300 {
            let cells = (1..names.len()).map(|column| match column % 3 {
                0 => format!("{}.5", row * 37 * column % 101),
                1 => ["yes", "no", "#x", "a: b", ""][row * column % 5].to_owned(),
                _ => format!("{}/2020", 1 + row * column % 12),
            });
            let class = (row * 7919 % 97 % classes).to_string();
            csv.write_record(cells.chain([class])).expect("memory");
        }
        csv.into_inner().expect("memory")
    }

    #[test]
    fn a_draft_plans_as_it_is() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/data");
        let read = |name: &str| fs::read(folder.join(name)).expect("comes with the project");
        let odd = ["yes", "1", "a: b", "#x", "Größe €", "it's \"so\"", "two\nlines", "~", "- [x]", "null", "{y}"];
        let header = |from: &str, to: &str| {
            let text = String::from_utf8(table(&["a", "b", "c", "d", "y"], 2)).expect("is text");
            text.replace(from, to).into_bytes()
        };
        let plain = Reading::default();
        let no_header = Reading { no_header: true, skip_rows: 1, ..Reading::default() };
        let tabs = Reading { separator: Some(Separator::Tab), ..Reading::default() };
        let words = Reading { missing: Some(vec!["#x".to_owned(), "-1".to_owned()]), ..Reading::default() };
        type Case<'a> = (&'a str, Vec<u8>, &'a str, Option<&'a str>, &'a Reading);
        let tables: Vec<Case<'_>> = vec![
            ("german credit", read("german_credit.csv"), "default", Some("1"), &plain),
            ("SBA", read("sba_loans.csv.gz"), "default", None, &plain),
            ("odd names", table(&odd, 2), "{y}", Some("0"), &plain),
            ("an odd target", table(&["a", "b", "#x"], 2), "#x", None, &plain),
            ("a target of two lines", table(&["a", "b", "two\nlines"], 2), "two\nlines", None, &plain),
            ("several classes", table(&["a", "b", "c", "yes"], 3), "yes", None, &plain),
            ("no header", table(&["a", "b", "c", "y"], 2), "4", None, &no_header),
            ("an index", header("a,b", ",b"), "y", None, &plain),
            ("semicolons", header(",", ";"), "y", None, &plain),
            ("tabs", header(",", "\t"), "y", None, &tabs),
            ("words", table(&["a", "b", "c", "y"], 2), "y", None, &words),
            ("a part without a class", header("yes", "train"), "y", None, &plain),
            (
                "rows without a target",
                header(",1\n", ",\n").into_iter().chain(*b"\nyes,1/2020,.5,no,1\n").collect(),
                "y",
                None,
                &plain,
            ),
        ];
        for (name, bytes, target, positive, reading) in tables {
            let drafted = init(&bytes, target, positive, reading);
            match name {
                "rows without a target" => assert!(drafted.is_err(), "one row of a class is too few: {drafted:?}"),
                _ => drop(drafted.unwrap_or_else(|problem| panic!("{name}: {problem}"))),
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// Whatever columns and classes are called.
        #[test]
        fn names_of_all_kinds_are_quoted(names in prop::collection::hash_set("\\PC{1,12}|[ -~]{1,8}", 4..7), classes in 2..4_usize) {
            let mut names: Vec<String> = names.into_iter().map(|name| name.trim().to_owned()).collect();
            names.retain(|name| !name.is_empty());
            names.sort();
            names.dedup();
            prop_assume!(names.len() > 2);
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let target = names[names.len() - 1];
            let reading = Reading { separator: Some(Separator::Comma), ..Reading::default() };
            let drafted = init(&table(&names, classes), target, None, &reading);
            prop_assert!(drafted.is_ok(), "{names:?}: {drafted:?}");
        }
    }

    #[test]
    fn paths_are_those_from_the_folder_of_the_sweep_file() {
        let way = |file: &str, folder: &str| relative(Path::new(file), Path::new(folder));
        assert_eq!(way("/a/b/t.csv", "/a/b"), Path::new("t.csv"));
        assert_eq!(way("/a/b/t.csv", "/a/c/d"), Path::new("../../b/t.csv"));
        let from = |out: Option<&str>, table: &str| path_from(out.map(Path::new), Path::new(table));
        assert_eq!(from(None, "data/t.csv.gz").expect("a table"), "data/t.csv.gz");
        assert_eq!(from(Some("sweep.yaml"), "data/t.parquet").expect("a table"), "data/t.parquet");
        assert!(from(None, "data/t.xlsx").is_err() && from(None, "data/t").is_err());
    }
}
