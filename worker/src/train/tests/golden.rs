//! Nets, batches, gradients and losses of PyTorch, from `tests/golden`.

mod criteria;

use std::{fs, path::Path};

use safetensors::{Dtype, SafeTensors};
use secateur_proto::spec::{Activation, ModelSpec, TensorKind};

use super::{device, lane, masked, nets, sgd, training, values};
use crate::{
    data::{Dataset, Part},
    net::{Mask, Parameters},
    prune::probe::{Loss, Probe as _},
    train::{
        bundle::{Bundle, Gradient},
        data::DeviceData,
        probe::NetProbe,
    },
};

/// The nets of the golden files.
const NETS: [&str; 3] = ["mlp", "mlp10", "conv"];

/// Large enough that every criterion uses all rows.
const ALL_ROWS: f64 = 1000.0;

/// A net and a batch of a golden file. The convolutional net has LeNet-5's structure with 3 × 3 kernels, fewer filters
/// and fewer units, on 12 × 12 images. Here it is embedded in the upper left corner of every tensor of LeNet-5 on 16 ×
/// 16 images, with 0 elsewhere. Everything outside counts as removed, and the function is the same.
struct Golden {
    name: &'static str,
    bytes: Vec<u8>,
    model: ModelSpec,
    net: Parameters,
    /// By tensor: the place of each number of the golden tensor.
    places: Vec<Vec<usize>>,
    /// The places outside.
    outside: Option<Mask>,
    data: DeviceData,
    rows: usize,
}

/// The places of a tensor of shape `inner` in the upper left corner of one of shape `outer`.
fn corner(inner: &[usize], outer: &[usize]) -> Vec<usize> {
    assert_eq!(inner.len(), outer.len());
    let places = (0..inner.iter().product()).map(|mut place| {
        let (mut at, mut stride) = (0, 1);
        for (inner, outer) in inner.iter().zip(outer).rev() {
            at += place % inner * stride;
            place /= inner;
            stride *= outer;
        }
        at
    });
    places.collect()
}

impl Golden {
    fn read(name: &'static str) -> Self {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"));
        let bytes = fs::read(folder.join(format!("{name}.safetensors"))).expect("a golden file");
        let mlp = |inputs, hidden, outputs| ModelSpec::Mlp {
            inputs,
            hidden,
            outputs,
            activation: Activation::Relu,
            batch_norm: false,
        };
        let model = match name {
            "mlp" => mlp(12, vec![16, 8], 1),
            "mlp10" => mlp(20, vec![24, 16], 10),
            _ => ModelSpec::Lenet5 { image: [1, 16, 16], outputs: 10 },
        };
        let file = SafeTensors::deserialize(&bytes).expect("tensors");
        let tensors = model.tensors();
        let mut net = Parameters { tensors: tensors.iter().map(|tensor| vec![0.0; tensor.numel()]).collect() };
        let mut outside = Mask { kept: tensors.iter().map(|tensor| Some(vec![false; tensor.numel()])).collect() };
        let mut places = Vec::new();
        for (index, tensor) in tensors.iter().enumerate() {
            let inner = file.tensor(&tensor.name).expect("a tensor");
            let corner = corner(inner.shape(), &tensor.shape);
            for (place, value) in corner.iter().zip(numbers(&file, &tensor.name)) {
                net.tensors[index][*place] = value as f32;
                outside.kept[index].as_mut().expect("kept")[*place] = true;
            }
            places.push(corner);
        }
        let targets: Vec<f32> = numbers(&file, "targets").into_iter().map(|target| target as f32).collect();
        let (given, rows) = (numbers(&file, "inputs"), targets.len());
        let width = model.inputs() as usize;
        let inner = file.tensor("inputs").expect("inputs").shape()[1..].to_vec();
        let outer = model.image().map_or(vec![width], |image| image.map(|size| size as usize).to_vec());
        let corner = corner(&inner, &outer);
        let mut inputs = vec![0.0; rows * width];
        for (row, given) in inputs.chunks_exact_mut(width).zip(given.chunks_exact(corner.len())) {
            corner.iter().zip(given).for_each(|(place, value)| row[*place] = *value as f32);
        }
        let part = Part { rows: (0..rows as u32).collect(), inputs, targets, groups: Vec::new() };
        let dataset = Dataset {
            features: (0..width).map(|feature| feature.to_string()).collect(),
            groups: Vec::new(),
            classes: model.outputs().max(2),
            image: None,
            pixel_scale: None,
            train: part.clone(),
            validation: part.clone(),
            test: part,
        };
        let outside = (outside.removed() > 0).then_some(outside);
        let data = DeviceData::load(dataset, &device());
        Self { name, model, net, places, outside, data, rows, bytes }
    }

    /// The numbers of a tensor of the file.
    fn numbers(&self, name: &str) -> Vec<f64> {
        numbers(&SafeTensors::deserialize(&self.bytes).expect("tensors"), name)
    }

    /// The inside of a tensor.
    fn inside<T: Copy>(&self, tensor: usize, values: &[T]) -> Vec<T> {
        self.places[tensor].iter().map(|place| values[*place]).collect()
    }

    fn all_rows(&self) -> Vec<u32> {
        (0..self.rows as u32).collect()
    }

    /// Compares every tensor with that of the file whose name begins with `prefix`.
    fn assert_tensors(&self, tensors: &[Vec<f64>], prefix: &str) {
        for (index, (tensor, found)) in self.model.tensors().iter().zip(tensors).enumerate() {
            let name = format!("{prefix}{}", tensor.name);
            let (found, expected) = (self.inside(index, found), self.numbers(&name));
            assert_eq!(found.len(), expected.len(), "{} {name}", self.name);
            assert!(expected.iter().any(|value| value.abs() > 1e-3), "{} {name} is nothing to compare with", self.name);
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 2e-7, "{} {name}: {found} instead of {expected}", self.name);
            }
        }
    }
}

fn numbers(file: &SafeTensors<'_>, name: &str) -> Vec<f64> {
    let tensor = file.tensor(name).expect(name);
    let data = tensor.data();
    match tensor.dtype() {
        Dtype::F32 => data.as_chunks().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect(),
        Dtype::F64 => data.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect(),
        Dtype::I64 => data.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes) as f64).collect(),
        Dtype::U8 => data.iter().map(|byte| f64::from(*byte)).collect(),
        other => panic!("{name} holds {other:?}"),
    }
}

/// Within `tolerance` of the largest number expected.
fn assert_near(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    assert!(largest > 0.0, "{what} is nothing to compare with");
    for (found, expected) in found.iter().zip(expected) {
        let bound = tolerance * largest;
        assert!((found - expected).abs() <= bound, "{what}: {found} instead of {expected}");
    }
}

fn doubles(tensors: &[Vec<f32>]) -> Vec<Vec<f64>> {
    tensors.iter().map(|values| values.iter().map(|value| f64::from(*value)).collect()).collect()
}

#[test]
fn losses_and_gradients_are_pytorchs() {
    for name in NETS {
        let golden = Golden::read(name);
        let device = device();
        let loss = golden.numbers("loss")[0];
        let mut probe = NetProbe::new(&golden.model, &golden.data, &device);
        let measured = probe.validation_loss(&golden.net).expect("a loss");
        assert!((measured - loss).abs() < 1e-6, "{name}: {measured} instead of {loss}");
        let gradient = probe.gradient(&golden.net, &golden.all_rows(), Loss::default()).expect("a gradient");
        golden.assert_tensors(&gradient, "gradient.");

        let mut lane = lane(&golden.model, 1, training(sgd(1.0), golden.rows as u32, 1));
        lane.start = golden.net.clone();
        let bundle = Bundle::new(&golden.model, &[lane.clone(), lane], &device);
        let rows: Vec<i32> = (0..2).flat_map(|_| 0..golden.rows as i32).collect();
        let Gradient { loss: losses, gradient, .. } = bundle.gradient(&golden.data, rows.into());
        for (lane, (losses, gradient)) in values(&losses).iter().zip(values(&gradient)).enumerate() {
            assert!((f64::from(losses[0]) - loss).abs() < 1e-6, "{name}, lane {lane}: {losses:?} instead of {loss}");
            golden.assert_tensors(&doubles(&bundle.layout().unflatten(&gradient).tensors), "gradient.");
        }
    }
}

/// With plain gradient descent at a rate of 1 the change of a step is the gradient.
#[test]
fn a_step_under_a_mask_goes_along_pytorchs_gradient_under_that_mask() {
    for name in NETS {
        let golden = Golden::read(name);
        let tensors = golden.model.tensors();
        let mut mask = golden.outside.clone().unwrap_or_else(|| Mask::none(tensors.len()));
        for (index, tensor) in tensors.iter().enumerate() {
            let prunable = golden.model.prunable().contains(&(tensor.layer as u32));
            if tensor.kind == TensorKind::Weight && prunable {
                let kept = golden.numbers(&format!("custom.mask.{}", tensor.name));
                for (place, _) in golden.places[index].iter().zip(kept).filter(|(_, kept)| *kept == 0.0) {
                    mask.remove(index, *place, tensor.numel());
                }
            }
        }
        let mut lane = lane(&golden.model, 1, training(sgd(1.0), golden.rows as u32, 1));
        lane.start = golden.net.clone();
        let lane = masked(lane, mask.clone());
        let before = lane.start.clone();
        let mut bundle = Bundle::new(&golden.model, &[lane], &device());
        let (guard, _) = bundle.step(&golden.data, (0..golden.rows as i32).collect::<Vec<_>>().into());
        let (loss, expected) = (f64::from(values(&guard)[0][0]), golden.numbers("custom.loss")[0]);
        assert!((loss - expected).abs() < 1e-6, "{name}: {loss} instead of {expected}");
        let after = nets(&bundle).remove(0);
        assert_eq!(mask.violations(&after), 0, "{name}");
        let way: Vec<Vec<f64>> = (doubles(&before.tensors).iter().zip(doubles(&after.tensors)))
            .map(|(before, after)| before.iter().zip(after).map(|(before, after)| before - after).collect())
            .collect();
        golden.assert_tensors(&way, "custom.gradient.");
    }
}
