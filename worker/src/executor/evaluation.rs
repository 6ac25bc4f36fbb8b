//! What a net is worth: its metrics and scores, and the files that a stage leaves of it.

use secateur_proto::{
    convert::StageWithInputs,
    metrics::{Over, Split},
    outcome::{Artifacts, Failure, FailureClass, Role, StageOutcome, StageResult},
    spec::ModelSpec,
};

use super::{ended::Ended, workspace::Workspace};
use crate::{
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
    let mut metrics = metrics::of_net(model, prunable, &trained.parameters)?;
    let (mut scores, mut answers) = (Vec::new(), Vec::new());
    for (split, rows) in [(Split::Validation, &data.validation), (Split::Test, &data.test)] {
        let logits = logits_of(rows);
        if logits.iter().any(|logit| !logit.is_finite()) {
            return Err(Ended(StageOutcome::Diverged { step: 0 }));
        }
        metrics.extend(metrics::of_outputs(&logits, &rows.targets, outputs)?.over(&Over::Rows(split)));
        for (over, slice) in rows.slices(split, &data.groups) {
            metrics.extend(metrics::of_slice(&logits, &rows.targets, outputs, &slice)?.over(&over));
        }
        answers.extend_from_slice(&logits);
        scores.push((split, rows, logits));
    }
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
    let written: Vec<SplitScores<'_>> = (scores.iter())
        .map(|(split, rows, logits)| SplitScores { split: *split, rows: &rows.rows, logits, targets: &rows.targets })
        .collect();
    artifacts.insert(Role::Scores, workspace.store.put(&write_scores(&written)?)?);
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
