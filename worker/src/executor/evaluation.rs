//! What a net is worth: its metrics and scores, and the files that a stage leaves of it.

use secateur_proto::{
    convert::StageWithInputs,
    metrics::{Metrics, Over, Split},
    outcome::{Artifacts, Failure, FailureClass, Role, StageOutcome, StageResult},
    spec::ModelSpec,
};

use super::{ended::Ended, workspace::Workspace};
use crate::{
    data::Group,
    metrics,
    net::{checkpoint, flat::FlatLayout},
    scores::{SplitScores, write_scores},
    train::{
        data::EvaluationRows,
        evaluate::logits_of,
        forward::Net,
        run::{EpochRecord, Trained},
    },
};

/// Audits and measures a net and saves it, with the score of every validation and test row, beside `artifacts`. `prunable` are the
/// layers that its metrics take for prunable.
pub(super) fn evaluate(
    workspace: &Workspace,
    (model, prunable): (&ModelSpec, &[u32]),
    stage: &StageWithInputs,
    artifacts: Artifacts,
    trained: &Trained,
) -> Result<StageResult, Ended> {
    let (layout, net) = (FlatLayout::of(model), Net::of(model));
    let logits = |rows: &EvaluationRows| logits_of(&net, &layout, &trained.parameters, &rows.inputs, &workspace.device);
    evaluate_by(&logits, workspace, (model, prunable), stage, artifacts, trained)
}

/// As [`evaluate`], with `logits_of` for what the net answers.
pub(super) fn evaluate_by(
    logits_of: &dyn Fn(&EvaluationRows) -> Vec<f32>,
    workspace: &Workspace,
    (model, prunable): (&ModelSpec, &[u32]),
    stage: &StageWithInputs,
    mut artifacts: Artifacts,
    trained: &Trained,
) -> Result<StageResult, Ended> {
    let violations = trained.frozen.as_ref().map_or(0, |mask| mask.violations(&trained.parameters));
    if violations > 0 {
        let message = format!("{violations} of the removed weights are not zero");
        return Err(Failure::new(FailureClass::Internal, message).into());
    }
    let data = workspace.data()?;
    let outputs = model.outputs() as usize;
    let parts = [(Split::Validation, &data.validation), (Split::Test, &data.test)].map(|(split, rows)| Evaluated {
        split,
        rows: &rows.rows,
        targets: &rows.targets,
        groups: &rows.groups,
        logits: logits_of(rows),
    });
    let mut metrics = metrics::of_net(model, prunable, &trained.parameters)?;
    let (of_rows, scores) = measure(&parts, outputs, &data.groups)?;
    metrics.extend(of_rows);
    let answers: Vec<f32> = parts.iter().flat_map(|part| &part.logits).copied().collect();
    // A layer of zeros alone may be a block that its net goes round.
    if let Some(layer) = trained.parameters.empty_layer(model)
        && is_constant(&answers, outputs)
    {
        return Err(Ended(StageOutcome::Collapsed { layer }));
    }
    let curve = serde_json::to_vec(&Curve { best_epoch: trained.epoch, epochs: &trained.curve })
        .map_err(|error| Failure::new(FailureClass::Internal, error.to_string()))?;
    // With these a result is complete: enough to compute its metrics anew, and to serve the net.
    let data = [Role::Prepared, Role::Preparation];
    artifacts.extend(data.iter().filter_map(|role| Some((*role, *stage.inputs.get(role)?))));
    artifacts
        .insert(Role::Checkpoint, workspace.store.put(&checkpoint::write_parameters(model, &trained.parameters)?)?);
    artifacts.insert(Role::Scores, workspace.store.put(&scores)?);
    artifacts.insert(Role::Curve, workspace.store.put(&curve)?);
    Ok(StageResult { metrics, artifacts })
}

/// Whether several rows of so many logits are all the same row, but for how products of blocks of rows round.
fn is_constant(logits: &[f32], outputs: usize) -> bool {
    let mut rows = logits.chunks_exact(outputs);
    let Some(first) = rows.next().filter(|_| logits.len() > outputs) else { return false };
    let same = |(one, two): (&f32, &f32)| (one - two).abs() <= 1e-6 * (1.0 + one.abs());
    rows.all(|row| first.iter().zip(row).all(same))
}

#[derive(serde::Serialize)]
struct Curve<'a> {
    best_epoch: u32,
    epochs: &'a [EpochRecord],
}

/// What a model answered for the rows of a split.
pub(super) struct Evaluated<'a> {
    pub(super) split: Split,
    /// Row numbers in the table.
    pub(super) rows: &'a [u32],
    /// The class of each row.
    pub(super) targets: &'a [f32],
    /// For each group column the index of each row's level.
    pub(super) groups: &'a [Vec<u32>],
    /// As many of each row as the model has outputs.
    pub(super) logits: Vec<f32>,
}

/// The metrics of answers with `outputs` values a row, over all rows and by level of each of `groups`, and the file of scores.
pub(super) fn measure(parts: &[Evaluated<'_>], outputs: usize, groups: &[Group]) -> Result<(Metrics, Vec<u8>), Ended> {
    let mut metrics = Metrics::new();
    for Evaluated { split, targets, groups: levels, logits, .. } in parts {
        if logits.iter().any(|logit| !logit.is_finite()) {
            return Err(Ended(StageOutcome::Diverged { step: 0 }));
        }
        metrics.extend(metrics::of_outputs(logits, targets, outputs)?.over(&Over::Rows(*split)));
        for (over, slice) in slices(*split, groups, levels) {
            metrics.extend(metrics::of_slice(logits, targets, outputs, &slice)?.over(&over));
        }
    }
    let scores: Vec<SplitScores<'_>> = (parts.iter())
        .map(|Evaluated { split, rows, targets, logits, .. }| SplitScores { split: *split, rows, logits, targets })
        .collect();
    Ok((metrics, write_scores(&scores)?))
}

/// Rows of `split` by level of each of `groups`, as indices in this part; `levels` are those of each row.
fn slices<'a>(
    split: Split,
    groups: &'a [Group],
    levels: &'a [Vec<u32>],
) -> impl Iterator<Item = (Over, Vec<usize>)> + 'a {
    groups.iter().zip(levels).flat_map(move |(group, levels)| {
        let mut rows = vec![Vec::new(); group.levels.len()];
        for (row, level) in levels.iter().enumerate() {
            rows[*level as usize].push(row);
        }
        let over = move |name: &String| Over::slice(split, &group.name, name);
        group.levels.iter().map(over).zip(rows)
    })
}
