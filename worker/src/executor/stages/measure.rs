//! `measure`: takes the sizes of a net and the time of its answers, on the processor of this machine, whatever the device.

use secateur_proto::{
    convert::StageWithInputs,
    outcome::{Artifacts, Checkpoint, Failure, FailureClass, Role, StageResult},
    spec::MeasureSpec,
};
use tracing::info;

use super::{Begun, Execute};
use crate::{
    causes::with_causes,
    data::{Dataset, Preparation},
    executor::{
        ended::Ended,
        workspace::{Workspace, input},
    },
    measure::{MeasureError, engine::EngineError, measure},
    net::checkpoint,
    serve::NetFile,
};

impl Execute for MeasureSpec {
    fn begin<'a>(
        &'a self,
        workspace: &mut Workspace,
        stage: &'a StageWithInputs,
        _: Option<Checkpoint>,
    ) -> Result<Begun<'a>, Ended> {
        let read = |role| Ok::<_, Ended>(workspace.store.get(input(stage, role)?.hash)?);
        let preparation = Preparation::from_json(&read(Role::Preparation)?)?;
        let file = if self.quantized {
            NetFile::read(&read(Role::Quantized)?)?
        } else {
            let parameters = checkpoint::read_parameters(&self.model, &read(Role::Checkpoint)?)?;
            NetFile { model: self.model.clone(), parameters, quantized: None }
        };
        let dataset = Dataset::from_safetensors(&read(Role::Prepared)?)?;
        if file.model != self.model || dataset.width() != preparation.width() {
            let message = "the net, the preparation and the prepared rows do not belong together";
            return Err(Failure::new(FailureClass::Input, message).into());
        }
        info!(engine = %self.settings.engine, "measuring a net");
        let measured = measure(&preparation, &file, &self.dense, &self.settings, &dataset.validation.inputs)?;
        let bytes = serde_json::to_vec_pretty(&measured)
            .map_err(|error| Failure::new(FailureClass::Internal, error.to_string()))?;
        let artifacts = Artifacts::from([(Role::Measurement, workspace.store.put(&bytes)?)]);
        Ok(Begun::Completed(StageResult { metrics: measured.metrics(), artifacts }))
    }
}

impl From<MeasureError> for Ended {
    fn from(error: MeasureError) -> Self {
        let class = match error {
            // Another worker may have the engine.
            MeasureError::Engine(EngineError::NotBuilt(_)) => FailureClass::Unfit,
            MeasureError::Engine(EngineError::Thread) => FailureClass::Executor,
            MeasureError::Engine(EngineError::Failed { .. }) | MeasureError::Differs { .. } => FailureClass::Internal,
            MeasureError::Data(_) | MeasureError::NoRows => FailureClass::Input,
        };
        Failure::new(class, with_causes(&error)).into()
    }
}
