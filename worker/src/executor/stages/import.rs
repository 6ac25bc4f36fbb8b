//! `import`: evaluates a net that was trained elsewhere.

use secateur_proto::{
    convert::StageWithInputs,
    outcome::{Artifacts, Checkpoint, Role},
    spec::ImportSpec,
};

use super::{Begun, Execute};
use crate::{
    executor::{ended::Ended, evaluation::evaluate, workspace::Workspace},
    train::run::Trained,
};

impl Execute for ImportSpec {
    fn begin<'a>(
        &'a self,
        workspace: &mut Workspace,
        stage: &'a StageWithInputs,
        _: Option<Checkpoint>,
    ) -> Result<Begun<'a>, Ended> {
        workspace.load(&self.model, stage)?;
        let parameters = workspace.read_net(&self.model, stage, Role::Weights)?;
        let trained = Trained { parameters, mask: None, frozen: None, epoch: 0, curve: Vec::new() };
        let prunable = self.model.prunable();
        evaluate(workspace, (&self.model, &prunable), stage, Artifacts::new(), &trained).map(Begun::Completed)
    }
}
