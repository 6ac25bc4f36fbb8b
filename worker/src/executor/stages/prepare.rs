//! `prepare`: reads the table or the packed images, fits the preparation on the train rows, and writes tensors.

use secateur_proto::{
    convert::StageWithInputs,
    metrics::Metrics,
    outcome::{Artifacts, Checkpoint, Failure, FailureClass, Role, StageResult},
    spec::PrepareSpec,
};

use super::{Begun, Execute};
use crate::{
    data,
    executor::{
        ended::Ended,
        workspace::{Workspace, input},
    },
};

impl Execute for PrepareSpec {
    fn begin<'a>(
        &'a self,
        workspace: &mut Workspace,
        stage: &'a StageWithInputs,
        _: Option<Checkpoint>,
    ) -> Result<Begun<'a>, Ended> {
        let store = &workspace.store;
        let prepared = data::prepare(&self.data, &store.get(input(stage, Role::Table)?.hash)?)?;
        let preparation = serde_json::to_vec_pretty(&prepared.preparation)
            .map_err(|error| Failure::new(FailureClass::Internal, error.to_string()))?;
        let artifacts = Artifacts::from([
            (Role::Prepared, store.put(&prepared.dataset.to_safetensors()?)?),
            (Role::Preparation, store.put(&preparation)?),
        ]);
        Ok(Begun::Completed(StageResult { metrics: Metrics::new(), artifacts }))
    }
}
