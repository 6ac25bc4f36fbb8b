//! How the net was made.

use super::{Block, Chapter, DossierSource, facts, table};
use crate::report::{label, number};

pub(super) fn chapter(source: &DossierSource<'_>) -> Option<Chapter> {
    let DossierSource { report, plan, trial, cell, .. } = source;
    let mut blocks = Vec::new();
    let find = |key| plan.stages.iter().find(|stage| stage.key == key);
    let stages: Vec<_> = trial.stages.iter().filter_map(|key| find(*key)).collect();
    if let Some(model) = stages.iter().rev().find_map(|stage| stage.spec.model()) {
        let shape = serde_json::to_string(model).unwrap_or_default();
        let count = number::grouped(model.parameters());
        blocks.push(facts([("net", shape), ("parameters before pruning", count)]));
    }
    if let Some(strategy) = source.strategy {
        blocks.push(Block::Text(format!(
            "The strategy scores each weight (or unit) by: {}. The lowest scores are removed first. Source: {}.",
            strategy.formula, strategy.source
        )));
    }
    if let (Some(removed), prunable) = (cell.removed_weights, cell.prunable_weights)
        && removed > 0
    {
        blocks.push(Block::Text(format!(
            "Pruning removes exactly {} of the {} prunable weights or units. Removed weights are exactly zero in this net; \
             each trial is checked for that.",
            number::grouped(removed),
            number::grouped(prunable)
        )));
    }
    blocks.push(Block::List(report.methods.clone()));
    blocks.push(Block::Heading("Settings of the cell"));
    blocks.push(facts(cell.settings.iter().map(|(key, value)| (key.clone(), label::text(value)))));
    blocks.push(Block::Heading("Stages"));
    let mut grid = table(&["stage", "key", "#optimiser steps"]);
    grid.rows.extend(
        stages
            .iter()
            .map(|stage| vec![stage.spec.kind().to_owned(), stage.key.to_string(), number::grouped(stage.lane_steps)]),
    );
    blocks.push(Block::Table(grid));
    blocks.push(Block::Heading("Which net of the cell"));
    blocks.push(Block::Text(format!("Seed {}. {}", trial.seed, source.why)));
    blocks.push(Block::Heading("Sweep file"));
    match source.recipe {
        Some(recipe) => {
            let text = "This sweep file trains this net alone. Its paths are relative to the file, as those of the sweep's own file were.";
            blocks.push(Block::Text(text.to_owned()));
            blocks.push(Block::Code(recipe.to_owned()));
        }
        None => {
            let text = "The planner added this model as a control; the file of the whole sweep trains it.";
            blocks.push(Block::Text(text.to_owned()));
            blocks.push(Block::Code(report.sweep.file_text.clone()));
        }
    }
    blocks.retain(|block| !matches!(block, Block::List(items) if items.is_empty()));
    Some(Chapter::new("Method and parameters", blocks))
}
