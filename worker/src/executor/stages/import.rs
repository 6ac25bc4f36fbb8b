//! `import`: evaluates a net that was trained elsewhere.

use secateur_proto::{
    convert::StageWithInputs,
    outcome::{Artifacts, Checkpoint, Failure, FailureClass, Role},
    spec::ImportSpec,
};

use super::{Begun, Execute};
use crate::{
    executor::{
        ended::Ended,
        evaluation::evaluate,
        workspace::{Workspace, input},
    },
    net::checkpoint,
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
        let mut parameters = workspace.read_net(&self.model, stage, Role::Weights)?;
        let mut artifacts = Artifacts::new();
        let mut mask = None;
        if self.masked {
            let given = workspace.store.get(input(stage, Role::Weights)?.hash)?;
            let read = checkpoint::read_given_mask(&self.model, &given)?;
            let read = read.ok_or_else(|| Failure::new(FailureClass::Input, "the net came without its masks"))?;
            read.apply(&mut parameters);
            artifacts.insert(Role::Mask, workspace.store.put(&checkpoint::write_mask(&self.model, &read)?)?);
            mask = Some(read);
        }
        let trained = Trained { parameters, frozen: mask.clone(), mask, epoch: 0, curve: Vec::new() };
        let prunable = self.model.prunable();
        evaluate(workspace, (&self.model, &prunable), stage, artifacts, &trained).map(Begun::Completed)
    }
}
