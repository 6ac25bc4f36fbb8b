//! The model beside the baseline, small dense nets, random pruning and models of other kinds.

use std::collections::BTreeSet;

use secateur_proto::ids::CellId;

use super::{Block, Chapter, DossierSource, covers, shown, shown_difference, table};
use crate::{
    experiment::plan::Control,
    report::{
        glossary::{control_title, title},
        label::Labels,
        model::CellReport,
        number, plot,
    },
};

pub(super) fn chapter(source: &DossierSource<'_>) -> Option<Chapter> {
    let axes = source.axes()?;
    let report = source.report;
    let labels = Labels::of(report);
    let test = axes.test();
    let (size, quality) = (format!("#{}", title(&axes.x)), format!("#{}", report.title(&test)));
    let difference = format!("#{}: this cell minus that model", title(&test));
    let mut grid = table(&["compared as", "model", &size, &quality, "interval of", &difference, "interval of"]);
    let mut row = |role: &str, cell: &CellReport, is_own: bool| {
        let (total, minus) = (cell.total(&test), source.minus(cell, &test).filter(|_| !is_own));
        grid.rows.push(vec![
            role.to_owned(),
            labels.cell(cell),
            cell.mean(&axes.x).map_or_else(|| "–".to_owned(), |mean| number::of_metric(axes.x.metric(), mean)),
            shown(&test, total),
            covers(total.as_ref()).to_owned(),
            shown_difference(&test, minus),
            covers(minus.as_ref()).to_owned(),
        ]);
    };
    row("this cell", source.cell, true);
    let compared = compared_with(source);
    for (role, cell) in &compared {
        row(role, cell, false);
    }
    let mut blocks = vec![
        Block::Text(
            "The baseline (champion of the sweep) is the dense net that is best on validation. Differences are paired seed by seed."
                .to_owned(),
        ),
        Block::Table(grid),
    ];
    if !report.cells.iter().any(|cell| cell.control_kind == Some(Control::Scores)) {
        let text = "The scores of the model in use are not part of this sweep. A column of the table can bring them: \
                    references: [{scores: {column: champion}}].";
        blocks.push(Block::Text(text.to_owned()));
    }
    if !report.cells.iter().any(|cell| cell.control_kind.is_some_and(Control::is_reference)) {
        blocks.push(Block::Text("No model of another kind was compared (references).".to_owned()));
    }
    if let Some(svg) = plot::pareto(report) {
        let caption = format!(
            "Every cell of the sweep: {}. Each mark is a mean over seeds. {}",
            title(&axes.y),
            plot::intervals_caption(report, &axes.y)
        );
        blocks.push(Block::Plot("pareto", caption, svg));
    }
    Some(Chapter::new("Benchmark", blocks))
}

/// The models that the cell is compared with, each once.
fn compared_with<'a>(source: &DossierSource<'a>) -> Vec<(String, &'a CellReport)> {
    let DossierSource { report, cell, .. } = source;
    let baseline = report.baseline.as_ref().map(|baseline| ("baseline".to_owned(), &baseline.cell));
    let named = [
        ("dense net of its own settings", &cell.dense_control),
        ("random pruning", &cell.random_control),
        ("small dense net", &cell.scratch_control),
    ];
    let named = named.into_iter().filter_map(|(role, id)| Some((role.to_owned(), id.as_ref()?)));
    let others = cell.other_controls.iter().map(|(kind, found)| (control_title(*kind).to_owned(), &found.cell));
    let references = report.cells.iter().filter(|cell| cell.control_kind.is_some_and(Control::is_reference));
    let references = references.map(|cell| ("reference model".to_owned(), &cell.id));
    let not_pruned = report.baseline.as_ref().and_then(|baseline| baseline.smallest_not_pruned.as_ref());
    let not_pruned = not_pruned.map(|id| ("smallest unpruned model within the margin".to_owned(), id));
    let mut seen: BTreeSet<&CellId> = BTreeSet::from([&cell.id]);
    let all = baseline.into_iter().chain(named).chain(others).chain(not_pruned).chain(references);
    all.filter(|(_, id)| seen.insert(id)).filter_map(|(role, id)| Some((role, report.cell(id)?))).collect()
}
