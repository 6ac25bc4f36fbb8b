//! The dossier of a model change: what people need to decide whether one net of a sweep may replace a model. The chapters follow the
//! headings that guidance on model risk asks documentation for. Chapters are data; `html` and `markdown` print them.
//!
//! To add a chapter, write its file and its line in [`CHAPTERS`].

mod benchmark;
mod groups;
mod html;
mod limits;
mod lineage;
mod markdown;
mod method;
mod purpose;
mod reproducibility;
mod results;
mod sensitivity;
mod sign_off;
mod stability;

use secateur_proto::{metrics::Quantity, spec::DataSettings};

use super::{
    content::Grid,
    label::Labels,
    model::{CellReport, Report, TrialReport},
    number,
    plot::{Axes, axes},
    rows::Total,
    statistics::{Paired, Sample},
};
use crate::experiment::plan::{Control, Plan};

pub use self::limits::limits;

/// The chapters, in their order. A chapter without anything to say is `None`.
const CHAPTERS: [fn(&DossierSource<'_>) -> Option<Chapter>; 11] = [
    purpose::chapter,
    lineage::chapter,
    method::chapter,
    results::chapter,
    benchmark::chapter,
    sensitivity::chapter,
    stability::chapter,
    groups::chapter,
    limits::chapter,
    reproducibility::chapter,
    sign_off::chapter,
];

/// What a dossier is made of.
#[derive(Debug, Clone, Copy)]
pub struct DossierSource<'a> {
    /// The sweep.
    pub report: &'a Report,
    /// Its plan.
    pub plan: &'a Plan,
    /// The net.
    pub trial: &'a TrialReport,
    /// Its cell.
    pub cell: &'a CellReport,
    /// Why it is this net and no other of its cell.
    pub why: &'a str,
    /// What becomes of the columns of the table. Empty if that is not known, or of images.
    pub columns: &'a [ColumnUse],
    /// How its strategy scores weights.
    pub strategy: Option<&'a StrategyUse>,
    /// The sweep file that trains it alone.
    pub recipe: Option<&'a str>,
    /// The version of the program that writes the dossier.
    pub program: &'a str,
}

/// What becomes of an input column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnUse {
    /// Its name.
    pub name: String,
    /// How it becomes inputs of the net.
    pub becomes: String,
    /// How many inputs it becomes.
    pub inputs: usize,
    /// How many of them the net reads. `None` if the net is not there to look.
    pub read: Option<usize>,
}

/// A strategy, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StrategyUse {
    /// The score; the lowest are removed first.
    pub formula: String,
    /// Where it comes from.
    pub source: String,
}

/// A dossier, before it is HTML or Markdown.
#[derive(Debug)]
pub struct Dossier {
    title: String,
    subtitle: String,
    /// The conclusions, in sentences.
    summary: Vec<String>,
    chapters: Vec<Chapter>,
}

/// A dossier as Markdown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkdownDossier {
    /// The text.
    pub text: String,
    /// File names of plots, to be put beside the text, and their SVG.
    pub plots: Vec<(String, String)>,
}

#[derive(Debug)]
struct Chapter {
    title: &'static str,
    blocks: Vec<Block>,
}

#[derive(Debug)]
enum Block {
    Text(String),
    List(Vec<String>),
    Heading(&'static str),
    Table(Grid),
    /// A table that people fill in.
    Form(Grid),
    /// Something that only a person knows, and the question.
    Blank(&'static str),
    /// The name of its file without ending, what it shows, and the drawing.
    Plot(&'static str, String, String),
    Code(String),
}

impl Chapter {
    const fn new(title: &'static str, blocks: Vec<Block>) -> Self {
        Self { title, blocks }
    }
}

impl Dossier {
    /// Collects what there is to say of a net.
    #[must_use]
    pub fn of(source: &DossierSource<'_>) -> Self {
        let DossierSource { report, trial, cell, .. } = source;
        Self {
            title: format!("{}: {}", report.sweep.name, Labels::of(report).cell(cell)),
            subtitle: format!("trial {}, seed {}, of sweep {}", trial.id, trial.seed, report.sweep.id),
            summary: results::summary(source),
            chapters: CHAPTERS.iter().filter_map(|chapter| chapter(source)).collect(),
        }
    }

    /// The dossier as one HTML file without scripts, made to be printed.
    #[must_use]
    pub fn html(&self) -> String {
        html::html(self)
    }

    /// The dossier as Markdown. The names of its plots begin with `stem`.
    #[must_use]
    pub fn markdown(&self, stem: &str) -> MarkdownDossier {
        markdown::markdown(self, stem)
    }
}

impl DossierSource<'_> {
    /// The net's size and its quality, as the plots of the report have them.
    fn axes(&self) -> Option<Axes> {
        axes(self.report).filter(|axes| axes.y.split().is_some())
    }

    /// How the table was read.
    fn data(&self) -> Option<&DataSettings> {
        self.plan.stages.iter().find_map(|stage| stage.spec.data())
    }

    /// Whether it is the cell that all others are compared with.
    fn is_baseline(&self) -> bool {
        self.report.baseline.as_ref().is_some_and(|baseline| baseline.cell == self.cell.id)
    }

    /// What the model is in one word or two.
    fn kind(&self) -> &'static str {
        match self.cell.control_kind {
            Some(Control::Logistic) => "logistic regression",
            Some(Control::Boosting) => "gradient boosting",
            Some(Control::Scores) => "model of given scores",
            _ => "neural net",
        }
    }

    /// The values of a quantity by seed.
    fn sample(&self, cell: &CellReport, quantity: &Quantity) -> Sample {
        let trials = self.report.trials.iter().filter(|trial| trial.cell == cell.id && trial.outcome == "completed");
        trials.filter_map(|trial| Some((trial.seed, trial.value(quantity)?))).collect()
    }

    /// The net's cell minus another, paired by seed: with the uncertainty of rows where the report has it.
    fn minus(&self, other: &CellReport, quantity: &Quantity) -> Option<Total> {
        let baseline = self.report.baseline.as_ref().map(|baseline| &baseline.cell);
        if baseline == Some(&other.id) {
            return self.cell.total_difference(quantity);
        }
        let range = quantity.range_of(self.report.task());
        let (own, others) = (self.sample(self.cell, quantity), self.sample(other, quantity));
        Some(Total::of_seeds(&Paired::of(&own, &others, range, quantity.better())?.summary))
    }
}

/// A value with its interval; a dash where there is none.
fn shown(quantity: &Quantity, total: Option<Total>) -> String {
    total.map_or_else(|| "–".to_owned(), |total| number::summary(quantity.metric(), &total.summary()))
}

/// A difference with its interval; a dash where there is none.
fn shown_difference(quantity: &Quantity, total: Option<Total>) -> String {
    total.map_or_else(|| "–".to_owned(), |total| number::difference(quantity.metric(), &total.summary()))
}

/// What an interval is about.
fn covers(total: Option<&Total>) -> &'static str {
    total.filter(|total| total.ci95.is_some_and(|[low, high]| low < high)).map_or("–", Total::covers)
}

/// The parts of a text of which each second one is code, between backticks. With an odd number of backticks none of them means anything.
fn code_parts(text: &str) -> Vec<&str> {
    let parts: Vec<&str> = text.split('`').collect();
    if parts.len() % 2 == 1 { parts } else { vec![text] }
}

/// A table with two columns without names.
fn facts(rows: impl IntoIterator<Item = (impl Into<String>, String)>) -> Block {
    let mut grid = Grid::new(&["", ""]);
    grid.rows.extend(rows.into_iter().map(|(name, value)| vec![name.into(), value]));
    Block::Table(grid)
}

/// A table; columns whose names begin with `#` hold numbers.
fn table(columns: &[&str]) -> Grid {
    let column = |name: &&str| (name.trim_start_matches('#').to_owned(), name.starts_with('#'));
    Grid { columns: columns.iter().map(column).collect(), rows: Vec::new() }
}

#[cfg(test)]
mod tests;
