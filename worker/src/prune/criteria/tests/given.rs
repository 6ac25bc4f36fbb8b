//! Measurements of a net that a test provides; golden files.

use std::collections::BTreeMap;

use safetensors::{Dtype, SafeTensors};
use secateur_proto::{
    outcome::Failure,
    spec::{Granularity, ModelSpec, TrainingSpec},
};

use super::{
    super::{Arguments, Context, Definition},
    training,
};
use crate::{
    net::{Mask, Parameters},
    prune::probe::{Conditioning, Loss, Probe},
};

/// A probe that returns given measurements.
pub(crate) struct Given {
    pub(crate) rows: usize,
    /// By row, then tensor.
    pub(crate) gradients: Vec<Vec<Vec<f64>>>,
    /// By layer, then row.
    pub(crate) inputs: Vec<Vec<Vec<f64>>>,
    /// By layer, then unit, then row.
    pub(crate) activations: Vec<Vec<Vec<f64>>>,
    pub(crate) loss: fn(&Parameters) -> f64,
}

impl Given {
    pub(crate) fn nothing() -> Self {
        let loss = |_: &Parameters| panic!("the loss was asked for");
        Self { rows: 0, gradients: Vec::new(), inputs: Vec::new(), activations: Vec::new(), loss }
    }

    /// Gradients by row of a net of which only the first tensor matters.
    pub(crate) fn gradients(gradients: &[Vec<f64>]) -> Self {
        let gradients: Vec<Vec<Vec<f64>>> = gradients.iter().map(|row| vec![row.clone()]).collect();
        Self { rows: gradients.len(), gradients, ..Self::nothing() }
    }

    /// Inputs by row of the first layer.
    pub(crate) fn inputs(inputs: &[Vec<f64>]) -> Self {
        Self { rows: inputs.len(), inputs: vec![inputs.to_vec()], ..Self::nothing() }
    }

    /// Calls `of` with the criterion, these parameters instead of the defaults, and only the first layer prunable.
    pub(crate) fn first_layer<T>(
        &mut self,
        criterion: &str,
        given: &[(&str, f64)],
        (model, net, removed): (&ModelSpec, &Parameters, Option<&Mask>),
        of: impl FnOnce(&Definition, &mut Context<'_>, &Arguments) -> T,
    ) -> T {
        let given: BTreeMap<String, f64> = given.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        let spec = Definition::named(criterion).expect("a criterion").spec(&given);
        let (definition, arguments) = Definition::of(&spec).expect("arguments");
        let training = training();
        let (layers, seed, count) = (&[0_u32][..], 1, None);
        let mut context = Context {
            model,
            layers,
            net,
            removed,
            count,
            counts: None,
            granularity: Granularity::Weight,
            training: &training,
            seed,
            probe: self,
        };
        of(definition, &mut context, &arguments)
    }
}

impl Probe for Given {
    fn rows(&self) -> usize {
        self.rows
    }

    fn targets(&self) -> Vec<f32> {
        panic!("targets were asked for")
    }

    fn gradient(&mut self, _: &Parameters, _: &[u32], _: Loss) -> Result<Vec<Vec<f64>>, Failure> {
        panic!("the mean gradient was asked for")
    }

    fn hessian_vector(&mut self, _: &Parameters, _: &[u32], _: &[Vec<f64>], _: Loss) -> Result<Vec<Vec<f64>>, Failure> {
        panic!("the Hessian was asked for")
    }

    fn sample_gradients(
        &mut self,
        _: &Parameters,
        rows: &[u32],
        each: &mut dyn FnMut(&[Vec<f64>]),
    ) -> Result<(), Failure> {
        assert!(!self.gradients.is_empty(), "gradients were asked for");
        rows.iter().for_each(|row| each(&self.gradients[*row as usize]));
        Ok(())
    }

    fn flow(&mut self, _: &[Vec<f64>]) -> Result<Vec<Vec<f64>>, Failure> {
        panic!("the flow was asked for")
    }

    fn layer_inputs(&mut self, _: &Parameters, rows: &[u32]) -> Result<Vec<Vec<f64>>, Failure> {
        assert!(!self.inputs.is_empty(), "inputs were asked for");
        let of_rows = |layer: &Vec<Vec<f64>>| rows.iter().flat_map(|row| layer[*row as usize].clone()).collect();
        Ok(self.inputs.iter().map(of_rows).collect())
    }

    fn activations(&mut self, _: &Parameters, rows: &[u32]) -> Result<Vec<Vec<Vec<f64>>>, Failure> {
        assert!(!self.activations.is_empty(), "activations were asked for");
        let of_rows = |unit: &Vec<f64>| rows.iter().map(|row| unit[*row as usize]).collect();
        Ok(self.activations.iter().map(|layer| layer.iter().map(of_rows).collect()).collect())
    }

    fn validation_loss(&mut self, net: &Parameters) -> Result<f64, Failure> {
        Ok((self.loss)(net))
    }

    fn condition(
        &mut self,
        _: &Parameters,
        _: Option<&Mask>,
        _: &TrainingSpec,
        _: u64,
        _: &mut dyn Conditioning,
    ) -> Result<Parameters, Failure> {
        panic!("a training was asked for")
    }
}

/// A file of worker/tests/golden.
pub(crate) struct Golden(Vec<u8>);

impl Golden {
    pub(crate) fn open(name: &str) -> Self {
        let path = format!("{}/tests/golden/{name}.safetensors", env!("CARGO_MANIFEST_DIR"));
        Self(std::fs::read(path).expect("a golden file"))
    }

    /// The rows of a tensor along its last dimension.
    pub(crate) fn matrix(&self, name: &str) -> Vec<Vec<f64>> {
        let file = SafeTensors::deserialize(&self.0).expect("safetensors");
        let tensor = file.tensor(name).expect(name);
        let columns = tensor.shape().last().copied().expect("a shape");
        let bytes = tensor.data();
        let numbers: Vec<f64> = match tensor.dtype() {
            Dtype::U8 => bytes.iter().map(|byte| f64::from(*byte)).collect(),
            Dtype::F32 => bytes.as_chunks().0.iter().map(|number| f64::from(f32::from_le_bytes(*number))).collect(),
            Dtype::F64 => bytes.as_chunks().0.iter().map(|number| f64::from_le_bytes(*number)).collect(),
            Dtype::I64 => bytes.as_chunks().0.iter().map(|number| i64::from_le_bytes(*number) as f64).collect(),
            other => panic!("{name} holds {other:?}"),
        };
        numbers.chunks_exact(columns).map(<[f64]>::to_vec).collect()
    }

    /// All numbers of a tensor.
    pub(crate) fn numbers(&self, name: &str) -> Vec<f64> {
        self.matrix(name).concat()
    }
}
