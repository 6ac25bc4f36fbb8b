//! What stages work with: the files of a store, a device, and the prepared data on it.

use burn::tensor::Device;
use secateur_proto::{
    convert::StageWithInputs,
    ids::ContentHash,
    outcome::{Artifact, Failure, FailureClass, Role},
    spec::ModelSpec,
};

use super::ended::Ended;
use crate::{
    data::Dataset,
    net::{Parameters, checkpoint},
    store::Store,
    train::data::DeviceData,
};

/// Files, a device, and data.
#[derive(Debug)]
pub(super) struct Workspace {
    /// Where files are.
    pub(super) store: Store,
    /// Where nets are trained.
    pub(super) device: Device,
    /// The data of the last bundle: the next one most often trains on the same.
    loaded: Option<(ContentHash, DeviceData)>,
}

impl Workspace {
    /// Without data.
    pub(super) const fn new(store: Store, device: Device) -> Self {
        Self { store, device, loaded: None }
    }

    /// Reads a net that the stage was given.
    pub(super) fn read_net(&self, model: &ModelSpec, stage: &StageWithInputs, role: Role) -> Result<Parameters, Ended> {
        Ok(checkpoint::read_parameters(model, &self.store.get(input(stage, role)?.hash)?)?)
    }

    /// Loads the prepared data that the stage reads, unless they are there already.
    pub(super) fn load(&mut self, model: &ModelSpec, stage: &StageWithInputs) -> Result<(), Ended> {
        let hash = input(stage, Role::Prepared)?.hash;
        if self.loaded.as_ref().is_none_or(|(loaded, _)| *loaded != hash) {
            let dataset = Dataset::from_safetensors(&self.store.get(hash)?)?;
            self.loaded = Some((hash, DeviceData::load(dataset, &self.device)));
        }
        let width = self.data()?.width();
        let wanted = model.inputs();
        if width as u64 != wanted {
            let message = format!("the prepared rows have {width} inputs, and the net {wanted}");
            return Err(Failure::new(FailureClass::Input, message).into());
        }
        let (classes, outputs) = (self.data()?.classes, model.outputs());
        if outputs != classes && (outputs, classes) != (1, 2) {
            let message = format!("the prepared rows are of {classes} classes, and the net has {outputs} outputs");
            return Err(Failure::new(FailureClass::Input, message).into());
        }
        Ok(())
    }

    pub(super) fn data(&self) -> Result<&DeviceData, Failure> {
        let missing = || Failure::new(FailureClass::Internal, "no data are loaded");
        self.loaded.as_ref().map(|(_, data)| data).ok_or_else(missing)
    }
}

/// A file that the stage was given.
pub(super) fn input(stage: &StageWithInputs, role: Role) -> Result<Artifact, Failure> {
    let missing = || Failure::new(FailureClass::Input, format!("the stage came without its {}", role.name()));
    stage.inputs.get(&role).copied().ok_or_else(missing)
}
