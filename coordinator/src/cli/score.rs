//! `secateur score`: the scores of new rows by a net of a finished run, and what is unusual about the rows.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufWriter, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Args;
use secateur_worker::{
    data::{DataError, NewTable, Unusual, UnusualKind, idx::IdxImages},
    serve::Scorer,
};
use serde::Serialize;

use super::{
    error::CliError,
    output::{self, Output, counted, thousands},
    outputs,
    progress::{Screen, Spinner},
    saved::{SavedNet, SavedRun},
};

/// Rows between two looks at the clock.
const ROWS_PER_LOOK: u64 = 1024;
/// Between two messages of progress.
const SAY_EVERY: Duration = Duration::from_secs(5);
/// Different values that the summary shows of each kind of unusual cells in a column.
const VALUES_SHOWN: usize = 3;

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct ScoreArguments {
    /// Net to score with: a file in models/ of a run or report, or a trial id with --run
    model: String,
    /// Table with the new rows, in any format that sweeps read, or an idx file of images; - reads standard input
    table: PathBuf,
    /// Folder of the run or report whose trial MODEL names
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// Name rows by this column of the table [default: by their numbers, from 1]
    #[arg(long, value_name = "COLUMN")]
    id: Option<String>,
    /// File for the scores [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// What was scored.
#[derive(Debug, Default, Serialize)]
struct Summary {
    rows: u64,
    scored: u64,
    /// The class whose probability it is, of two classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    positive: Option<String>,
    /// Rows without a score, and the first of them.
    unscored: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_unscored: Option<FirstUnscored>,
    unusual: Vec<Found>,
    /// Columns of the sweep that the net does not depend on.
    columns_not_read: Vec<String>,
    /// Columns of the table that are none of the sweep's inputs.
    columns_ignored: Vec<String>,
}

#[derive(Debug, Serialize)]
struct FirstUnscored {
    row: u64,
    reason: String,
}

/// What is unusual about the cells of a column.
#[derive(Debug, Serialize)]
struct Found {
    column: String,
    kind: UnusualKind,
    rows: u64,
    first_row: u64,
    /// The first different values.
    values: Vec<String>,
}

pub(crate) async fn run(arguments: ScoreArguments, output: Output, screen: &Screen) -> Result<ExitCode, CliError> {
    if output == Output::Json && arguments.out.is_none() {
        let message = "--output json prints a summary, and the scores go to standard output too: pass --out FILE";
        return Err(CliError::Input(message.to_owned()));
    }
    let out = arguments.out.clone();
    let progress = Progress::new(screen);
    let scoring = tokio::task::spawn_blocking(move || score(&arguments, progress));
    let summary = scoring.await.map_err(|error| CliError::failed(&error))??;
    match out {
        Some(out) => output.print(&summary, || format!("{}\n{}", text(&summary), out.display())),
        None => screen.say(&text(&summary)),
    }
    match summary.first_unscored {
        None => Ok(ExitCode::SUCCESS),
        Some(FirstUnscored { row, reason }) => Err(CliError::Failed(format!(
            "{} without a score; the first is row {row}: {reason}",
            counted(summary.unscored, "row")
        ))),
    }
}

fn score(arguments: &ScoreArguments, progress: Progress) -> Result<Summary, CliError> {
    let path = Path::new(&arguments.model);
    let net = match &arguments.run {
        Some(folder) => {
            let run = SavedRun::open(folder)?;
            run.net(run.trial(&arguments.model)?)?
        }
        None if path.is_file() => SavedNet::read(path)?,
        None => {
            let model = &arguments.model;
            let message = format!("there is no file {model}; to name a trial, pass the folder of its run with --run");
            return Err(CliError::Input(message));
        }
    };
    let scorer = Scorer::new(&net.preparation, &net.file, net.inputs.clone());
    let scorer = scorer.map_err(|error| CliError::Input(format!("{}: {error}", arguments.model)))?;
    let table = &arguments.table;
    let unreadable = |error: io::Error| CliError::Input(format!("cannot read {}: {error}", table.display()));
    let input: Box<dyn Read> = if table.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        if table.is_dir() {
            let message = format!("{} is a folder: pass a table, or an idx file of images", table.display());
            return Err(CliError::Input(message));
        }
        Box::new(File::open(table).map_err(unreadable)?)
    };
    let classes = &net.preparation.target.classes;
    let mut summary = Summary {
        positive: if let [_, positive] = classes.as_slice() { Some(positive.clone()) } else { None },
        ..Summary::default()
    };
    let wrong = |error: DataError| CliError::Input(format!("{}: {error}", table.display()));
    let Some(out) = &arguments.out else {
        let scores = Scores { scorer, id: arguments.id.as_deref(), progress };
        let mut stdout = csv::Writer::from_writer(BufWriter::new(io::stdout().lock()));
        let written = scores.write(&net, input, &mut stdout, &mut summary, &wrong)?;
        output::note(written.and_then(|()| stdout.flush()));
        return Ok(summary);
    };
    if out.canonicalize().is_ok_and(|out| table.canonicalize().is_ok_and(|table| out == table)) {
        return Err(CliError::Input(format!(
            "{} is the table itself: pass another file for the scores",
            out.display()
        )));
    }
    let unwritable = |error: io::Error| outputs::unwritable(out, &error);
    let draft = outputs::draft(out).map_err(unwritable)?;
    let scores = Scores { scorer, id: arguments.id.as_deref(), progress };
    let mut writer = csv::Writer::from_writer(BufWriter::new(draft.as_file()));
    let written = scores.write(&net, input, &mut writer, &mut summary, &wrong)?;
    written.and_then(|()| writer.flush()).map_err(unwritable)?;
    drop(writer);
    outputs::publish(draft, out).map_err(unwritable)?;
    Ok(summary)
}

/// How rows are scored and named.
struct Scores<'a> {
    scorer: Scorer<'a>,
    id: Option<&'a str>,
    progress: Progress,
}

/// What became of writing: `Err` within `Ok` if the output cannot be written.
type Written = Result<io::Result<()>, CliError>;

impl Scores<'_> {
    fn write(
        self,
        net: &SavedNet,
        input: Box<dyn Read>,
        writer: &mut csv::Writer<impl Write>,
        summary: &mut Summary,
        wrong: &dyn Fn(DataError) -> CliError,
    ) -> Written {
        let classes = &self.scorer.preparation().target.classes;
        let scores: Vec<String> = if classes.len() == 2 {
            vec!["probability".to_owned()]
        } else {
            classes.iter().map(|class| format!("probability of {class}")).collect()
        };
        let header = [vec![self.id.unwrap_or("row").to_owned()], scores, vec!["unusual".to_owned()]].concat();
        if let Err(error) = writer.write_record(&header) {
            return Ok(Err(error.into()));
        }
        if self.scorer.preparation().image.is_some() {
            return self.write_images(input, writer, summary, wrong);
        }
        self.write_rows(net, input, writer, summary, wrong)
    }

    fn write_rows(
        mut self,
        net: &SavedNet,
        input: Box<dyn Read>,
        writer: &mut csv::Writer<impl Write>,
        summary: &mut Summary,
        wrong: &dyn Fn(DataError) -> CliError,
    ) -> Written {
        let preparation = self.scorer.preparation();
        let columns = &preparation.columns;
        let reads = self.scorer.reads().to_vec();
        let needed: Vec<&str> =
            columns.iter().zip(&reads).filter(|(_, reads)| **reads).map(|(column, _)| column.name.as_str()).collect();
        let mut table = NewTable::open(input, &needed, &net.reading).map_err(wrong)?;
        let place = |name: &str| table.names().iter().position(|other| other == name);
        let id = match self.id {
            None => None,
            Some(name) => Some(place(name).ok_or_else(|| {
                wrong(DataError::NewRow(format!("--id names the column {name:?}, which the table does not have")))
            })?),
        };
        let places: Vec<Option<usize>> = columns.iter().map(|column| place(&column.name)).collect();
        let target = preparation.target.column.as_deref();
        let is_input =
            |name: &String| columns.iter().any(|column| column.name == *name) || Some(name.as_str()) == target;
        summary.columns_not_read =
            columns.iter().zip(&reads).filter(|(_, reads)| !**reads).map(|(column, _)| column.name.clone()).collect();
        summary.columns_ignored =
            table.names().iter().filter(|name| !name.is_empty() && !is_input(name)).cloned().collect();
        let mut found: BTreeMap<(usize, UnusualKind), Found> = BTreeMap::new();
        loop {
            let number = table.rows() + 1;
            let Some(row) = table.next_row().map_err(wrong)? else { break };
            let mut unusual = Vec::new();
            let scored = self.scorer.score(|column| row.get(places[column]?), &mut unusual);
            for Unusual { column, kind, value } in &unusual {
                let name = || columns[*column].name.clone();
                let new = || Found { column: name(), kind: *kind, rows: 0, first_row: number, values: Vec::new() };
                let found = found.entry((*column, *kind)).or_insert_with(new);
                found.rows += 1;
                if found.values.len() < VALUES_SHOWN && !value.is_empty() && !found.values.iter().any(|v| v == value) {
                    found.values.push((*value).to_owned());
                }
            }
            let words: Vec<String> = (unusual.iter())
                .map(|Unusual { column, kind, value }| {
                    let value = if value.is_empty() { String::new() } else { format!(" {value:?}") };
                    format!("{}: {kind}{value}", columns[*column].name)
                })
                .collect();
            let name = id.map_or_else(|| number.to_string(), |id| row[id].trim().to_owned());
            if let Err(error) = self.write_row(number, &name, scored, words, writer, summary) {
                return Ok(Err(error));
            }
        }
        summary.unusual = found.into_values().collect();
        Ok(Ok(()))
    }

    fn write_images(
        mut self,
        input: Box<dyn Read>,
        writer: &mut csv::Writer<impl Write>,
        summary: &mut Summary,
        wrong: &dyn Fn(DataError) -> CliError,
    ) -> Written {
        if self.id.is_some() {
            return Err(CliError::Input("images have no columns: leave out --id".to_owned()));
        }
        let mut images = IdxImages::open(input).map_err(wrong)?;
        let shape = self.scorer.preparation().image.as_ref().map(|image| image.shape);
        let [height, width] = images.size();
        if shape.map(|[_, height, width]| [height as usize, width as usize]) != Some([height, width]) {
            let message = format!("its images are {height} × {width}, but the net expects the shape {shape:?}");
            return Err(wrong(DataError::NewRow(message)));
        }
        while let Some(image) = images.next_image().map_err(wrong)? {
            let number = summary.rows + 1;
            let scored = self.scorer.score_image(image);
            if let Err(error) = self.write_row(number, &number.to_string(), scored, Vec::new(), writer, summary) {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    fn write_row(
        &mut self,
        number: u64,
        name: &str,
        scored: Result<Vec<f64>, DataError>,
        mut unusual: Vec<String>,
        writer: &mut csv::Writer<impl Write>,
        summary: &mut Summary,
    ) -> io::Result<()> {
        self.progress.count(number);
        summary.rows = number;
        writer.write_field(name)?;
        match scored {
            Ok(probabilities) => {
                summary.scored += 1;
                #[expect(clippy::cast_possible_truncation, reason = "nets compute with f32")]
                probabilities.iter().try_for_each(|value| writer.write_field((*value as f32).to_string()))?;
            }
            Err(problem) => {
                summary.unscored += 1;
                let classes = self.scorer.preparation().target.classes.len();
                (0..if classes == 2 { 1 } else { classes }).try_for_each(|_| writer.write_field(""))?;
                let reason = problem.to_string();
                unusual.push(reason.clone());
                summary.first_unscored.get_or_insert(FirstUnscored { row: number, reason });
            }
        }
        writer.write_field(unusual.join("; "))?;
        writer.write_record(None::<&[u8]>)?;
        Ok(())
    }
}

/// Shows how many rows are scored if that takes longer than a moment.
struct Progress {
    screen: Screen,
    spinner: Spinner,
    said: Instant,
}

impl Progress {
    fn new(screen: &Screen) -> Self {
        Self { screen: screen.clone(), spinner: screen.spinner("scoring"), said: Instant::now() }
    }

    fn count(&mut self, rows: u64) {
        if !rows.is_multiple_of(ROWS_PER_LOOK) {
            return;
        }
        self.spinner.set(format!("{} rows scored", thousands(rows)));
        if self.said.elapsed() >= SAY_EVERY && !self.screen.is_terminal() {
            self.said = Instant::now();
            self.screen.say(&format!("{} rows scored", thousands(rows)));
        }
    }
}

fn text(summary: &Summary) -> String {
    let mut lines = vec![match &summary.positive {
        Some(positive) => format!("{} scored; probability of {positive:?}", counted(summary.scored, "row")),
        None => format!("{} scored", counted(summary.scored, "row")),
    }];
    for Found { column, kind, rows, first_row, values } in &summary.unusual {
        let values: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
        let values = if values.is_empty() { String::new() } else { format!(": {}", values.join(", ")) };
        lines.push(format!("{column}: {kind} in {}, first in row {first_row}{values}", counted(*rows, "row")));
    }
    for (what, columns) in [
        ("not read by the net", &summary.columns_not_read),
        ("ignored, as they are no inputs", &summary.columns_ignored),
    ] {
        if !columns.is_empty() {
            lines.push(format!("{what}: {}", columns.join(", ")));
        }
    }
    lines.join("\n")
}
