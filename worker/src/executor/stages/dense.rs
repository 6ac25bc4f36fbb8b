//! `dense`: trains the unpruned net from initial values made from the seed.

use secateur_proto::{
    convert::StageWithInputs,
    metrics::Metrics,
    outcome::{Artifacts, Checkpoint, Role, StageResult},
    spec::DenseSpec,
};

use super::{Begun, Execute, Job, Ready, Resumed, initial};
use crate::{
    executor::{checkpoints, ended::Ended, evaluation::evaluate, workspace::Workspace},
    net::checkpoint,
    train::{
        bundle::{Lane, Phase},
        run::Trained,
    },
};

impl Execute for DenseSpec {
    fn begin<'a>(
        &'a self,
        workspace: &mut Workspace,
        stage: &'a StageWithInputs,
        checkpoint: Option<Checkpoint>,
    ) -> Result<Begun<'a>, Ended> {
        workspace.load(&self.model, stage)?;
        let state = checkpoint.and_then(|checkpoint| checkpoints::read(&workspace.store, stage, checkpoint));
        let lane = Lane {
            start: initial(&self.model, &self.training, self.seed),
            mask: None,
            training: self.training.clone(),
            regularization: self.regularization.clone(),
            seed: self.seed,
            phase: Phase::Dense,
            skip_steps: 0,
            stop_after: self.stop_after,
        };
        let resumed = state.map(|(state, _)| Resumed { state, last: None });
        Ok(Begun::Lane(Box::new(Ready { stage, lane, artifacts: Artifacts::new(), job: Box::new(self), resumed })))
    }
}

impl Job for &DenseSpec {
    fn finish(
        &self,
        workspace: &Workspace,
        stage: &StageWithInputs,
        mut artifacts: Artifacts,
        trained: &Trained,
    ) -> Result<StageResult, Ended> {
        if self.stop_after.is_some() {
            let net = workspace.store.put(&checkpoint::write_parameters(&self.model, &trained.parameters)?)?;
            artifacts.insert(Role::EarlyCheckpoint, net);
            return Ok(StageResult { metrics: Metrics::new(), artifacts });
        }
        evaluate(workspace, (&self.model, &self.model.prunable()), stage, artifacts, trained)
    }
}
