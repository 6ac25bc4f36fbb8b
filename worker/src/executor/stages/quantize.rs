//! `quantize`: rounds the numbers of a trained net, and evaluates what it has become.

use secateur_proto::{
    convert::StageWithInputs,
    metrics::{Metric, Over, Quantity},
    outcome::{Artifacts, Checkpoint, Role},
    spec::QuantizeSpec,
};

use super::{Begun, Execute};
use crate::{
    executor::{ended::Ended, evaluation::evaluate_by, workspace::Workspace},
    net::{checkpoint, flat::FlatLayout},
    train::{
        data::EvaluationRows,
        forward::Net,
        quantization::{quantized, quantized_logits},
        run::Trained,
    },
};

impl Execute for QuantizeSpec {
    fn begin<'a>(
        &'a self,
        workspace: &mut Workspace,
        stage: &'a StageWithInputs,
        _: Option<Checkpoint>,
    ) -> Result<Begun<'a>, Ended> {
        workspace.load(&self.model, stage)?;
        let (model, device) = (&self.model, &workspace.device);
        let parameters = workspace.read_net(model, stage, Role::Checkpoint)?;
        let mask = match stage.inputs.get(&Role::Mask) {
            Some(file) => Some(checkpoint::read_mask(model, &workspace.store.get(file.hash)?)?),
            None => None,
        };
        let data = workspace.data()?;
        let net = quantized(model, &parameters, self.quantization, &data.train_inputs, device);
        // What was removed, and why, is what the stage before says.
        let passed_on = [Role::Mask, Role::Plan].into_iter().filter_map(|role| Some((role, *stage.inputs.get(&role)?)));
        let mut artifacts: Artifacts = passed_on.collect();
        artifacts.insert(Role::Quantized, workspace.store.put(&net.to_safetensors(model)?)?);
        let (architecture, layout) = (Net::of(model), FlatLayout::of(model));
        let parameters = net.parameters.clone();
        let trained = Trained { parameters, mask: mask.clone(), frozen: mask, epoch: 0, curve: Vec::new() };
        let logits = |rows: &EvaluationRows| quantized_logits(&net, &architecture, &layout, &rows.inputs, device);
        let mut result = evaluate_by(&logits, workspace, (model, &self.layers), stage, artifacts, &trained)?;
        if let Ok(size) = Quantity::new(Metric::SizeBytes, Over::Net) {
            #[expect(clippy::cast_precision_loss, reason = "a size")]
            let bytes = net.size_bytes(model) as f64;
            result.metrics.insert(size, bytes);
        }
        Ok(Begun::Completed(result))
    }
}
