//! Where the data come from, and what became of them.

use std::collections::BTreeSet;

use secateur_proto::spec::{DataSettings, SplitSpec};

use super::{Block, Chapter, DossierSource, facts, table};
use crate::report::{content, number};

pub(super) fn chapter(source: &DossierSource<'_>) -> Option<Chapter> {
    let data = &source.report.data;
    let settings = source.data();
    let mut lines = vec![
        ("file".to_owned(), data.path.clone()),
        ("BLAKE3 of its bytes".to_owned(), data.hash.to_string()),
        ("bytes".to_owned(), number::grouped(data.size)),
    ];
    if let Some(target) = settings.and_then(|settings| settings.target.clone()) {
        lines.push(("target".to_owned(), target));
    }
    if let Some(positive) = data.positive() {
        lines.push(("positive class".to_owned(), positive.name.clone()));
    }
    if let Some(settings) = settings {
        lines.push(("split".to_owned(), split(&settings.split)));
        if let Some(rows) = settings.rows {
            lines.push(("train rows, at most".to_owned(), number::grouped(rows.into())));
        }
    }
    lines.push(("inputs of the net".to_owned(), number::grouped(data.inputs.into())));
    if let Some(weights) = &source.report.sweep.weights {
        lines.push(("weights it began with".to_owned(), weights.path.clone()));
        lines.push(("BLAKE3 of their tensors".to_owned(), weights.hash.to_string()));
    }
    let mut blocks = vec![facts(lines), Block::Heading("Rows"), Block::Table(content::data(source.report))];
    blocks.push(Block::Text("Preparation is fitted on train rows alone.".to_owned()));
    if !data.notes.is_empty() {
        blocks.push(Block::Heading("Notes on the table"));
        blocks.push(Block::List(data.notes.clone()));
    }
    if let Some(settings) = settings.filter(|settings| settings.target.is_some()) {
        blocks.push(Block::Heading("Columns"));
        blocks.push(columns(source, settings));
    }
    blocks.push(Block::Blank("Source system, date of extraction, and who is responsible for the data"));
    Some(Chapter::new("Data lineage", blocks))
}

/// Each column and what became of it.
fn columns(source: &DossierSource<'_>, settings: &DataSettings) -> Block {
    let mut grid = table(&["column", "role", "what became of it", "#inputs", "#read by the net"]);
    let mut other = |name: &str, role: &str, becomes: &str| {
        grid.rows.push(vec![name.to_owned(), role.to_owned(), becomes.to_owned(), "0".to_owned(), "0".to_owned()]);
    };
    let inputs: BTreeSet<&str> = source.columns.iter().map(|column| column.name.as_str()).collect();
    if let Some(target) = &settings.target {
        other(target, "target", "what is predicted");
    }
    if let SplitSpec::Time { column, .. } | SplitSpec::Column { column } = &settings.split {
        other(column, "split", "assigns rows to train, validation and test");
    }
    for name in &settings.groups {
        let is_input = inputs.contains(name.as_str());
        other(
            name,
            "group",
            if is_input { "metrics are reported by it; also an input" } else { "metrics are reported by it" },
        );
    }
    for name in &settings.drop {
        other(name, "dropped", "ignored");
    }
    for column in source.columns {
        let read = column.read.map_or_else(|| "–".to_owned(), |read| number::grouped(read as u64));
        let inputs = number::grouped(column.inputs as u64);
        grid.rows.push(vec![column.name.clone(), "input".to_owned(), column.becomes.clone(), inputs, read]);
    }
    Block::Table(grid)
}

fn split(split: &SplitSpec) -> String {
    let shares = |train: f64, validation: f64, test: f64| format!("shares {train}, {validation}, {test}");
    match split {
        SplitSpec::Stratified { train, validation, test, seed } => {
            format!("at random within classes, {}, seed {seed}", shares(*train, *validation, *test))
        }
        SplitSpec::Time { column, train, validation, test } => {
            format!("by the time in {column}, oldest rows for training, {}", shares(*train, *validation, *test))
        }
        SplitSpec::Column { column } => format!("by the column {column}"),
        SplitSpec::Files { validation, seed } => {
            format!("test set of the data; {validation} of the other rows for validation, seed {seed}")
        }
    }
}
