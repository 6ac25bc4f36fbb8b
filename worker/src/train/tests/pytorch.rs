//! Losses, logits, gradients and optimisers against files made by PyTorch.

use std::{collections::BTreeMap, fs};

use burn::tensor::{Tensor, TensorData};
use safetensors::{Dtype, SafeTensors};
use secateur_proto::spec::{Activation, ModelSpec, OptimizerSpec};

use super::{dataset, device, lane, mlp, sgd, tensor, training, values};
use crate::{
    net::{Parameters, flat::FlatLayout},
    train::{
        bundle::{Bundle, Lane},
        data::DeviceData,
        evaluate::logits,
        optimizer::Optimizer,
    },
};

/// The tensors of a golden file as doubles.
fn golden(name: &str) -> BTreeMap<String, Vec<f64>> {
    let path = format!("{}/tests/golden/{name}.safetensors", env!("CARGO_MANIFEST_DIR"));
    let bytes = fs::read(path).expect("a golden file");
    let file = SafeTensors::deserialize(&bytes).expect("a file of tensors");
    let tensors = file.tensors().into_iter().map(|(name, view)| {
        let bytes = view.data();
        let values = match view.dtype() {
            Dtype::F32 => bytes.as_chunks().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect(),
            Dtype::F64 => bytes.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect(),
            Dtype::I64 => bytes.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes) as f64).collect(),
            Dtype::U8 => bytes.iter().map(|byte| f64::from(*byte)).collect(),
            other => panic!("{name} holds {other:?}"),
        };
        (name, values)
    });
    tensors.collect()
}

fn floats(values: &[f64]) -> Vec<f32> {
    values.iter().map(|value| *value as f32).collect()
}

fn assert_close(found: &[f32], expected: &[f64], bound: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((f64::from(*found) - expected).abs() < bound, "{what}[{place}]: {found} instead of {expected}");
    }
}

/// Trains the net of a golden file in a bundle beside another one, with or without the mask of the file.
fn check(name: &str, model: &ModelSpec, masked: bool) {
    let file = golden(name);
    let names: Vec<String> = model.tensors().into_iter().map(|tensor| tensor.name).collect();
    let kept = |name: &String| file.get(&format!("custom.mask.{name}")).filter(|_| masked);
    let start = (names.iter())
        .map(|name| match kept(name) {
            Some(kept) => file[name].iter().zip(kept).map(|(value, kept)| (value * kept) as f32).collect(),
            None => floats(&file[name]),
        })
        .collect();
    let targets = floats(&file["targets"]);
    let rows = targets.len();
    let width = file["inputs"].len() / rows;
    let mut dataset = dataset(1, width, rows);
    (dataset.train.inputs, dataset.train.targets) = (floats(&file["inputs"]), targets);
    let data = DeviceData::load(dataset, &device());
    let other = lane(model, 1, training(sgd(0.1), rows as u32, 1));
    let lanes = [other.clone(), Lane { start: Parameters { tensors: start }, ..other }];
    let bundle = Bundle::new(model, &lanes, &device());
    let order: Vec<i32> = (0..2).flat_map(|_| (0..).take(rows)).collect();
    let found = bundle.gradient(&data, order.into());
    let prefix = if masked { "custom." } else { "" };
    assert_close(&values(&found.loss)[1], &file[&format!("{prefix}loss")], 1e-6, "loss");
    let gradient = bundle.layout().unflatten(&values(&found.gradient)[1]);
    for (name, mut found) in names.iter().zip(gradient.tensors) {
        if let Some(kept) = kept(name) {
            found.iter_mut().zip(kept).for_each(|(found, kept)| *found *= *kept as f32);
        }
        assert_close(&found, &file[&format!("{prefix}gradient.{name}")], 1e-6, name);
    }
    if !masked {
        let found = logits(bundle.net(), bundle.parameters(), bundle.layout(), &data.train_inputs);
        assert_close(&found[1], &file["logits"], 1e-6, "logits");
    }
}

#[test]
fn passes_are_those_of_pytorch() {
    let classes = ModelSpec::Mlp {
        inputs: 20,
        hidden: vec![24, 16],
        outputs: 10,
        activation: Activation::Relu,
        batch_norm: false,
    };
    for masked in [false, true] {
        check("mlp", &mlp(12, &[16, 8]), masked);
        check("mlp10", &classes, masked);
    }
}

/// All optimisers of one kind in one bundle: they only differ in numbers of the lane.
#[test]
fn update_rules_are_those_of_pytorch() {
    let (lr, betas, eps) = (0.01, [0.9, 0.999], 1e-8);
    let adam = |weight_decay| OptimizerSpec::Adam { lr, betas, eps, weight_decay };
    let sgd = |momentum, nesterov, weight_decay| OptimizerSpec::Sgd { lr, momentum, weight_decay, nesterov };
    let file = golden("optimizers");
    for bundle in [
        vec![("adam", adam(0.0)), ("adam_decay", adam(0.01))],
        vec![("adamw", OptimizerSpec::AdamW { lr, betas, eps, weight_decay: 0.01 })],
        vec![("sgd", sgd(0.0, false, 0.0)), ("sgd_decay", sgd(0.0, false, 5e-4))],
        vec![("momentum", sgd(0.9, false, 0.0)), ("momentum_decay", sgd(0.9, false, 5e-4))],
        vec![("nesterov", sgd(0.9, true, 0.0)), ("nesterov_decay", sgd(0.9, true, 5e-4))],
    ] {
        // One linear layer of 50 weights; its bias is not compared, since it does not decay.
        let model = mlp(50, &[]);
        let lanes: Vec<Lane> = bundle.iter().map(|(_, rule)| lane(&model, 0, training(rule.clone(), 1, 1))).collect();
        let mut optimizer = Optimizer::new(&lanes, &FlatLayout::of(&model), &device());
        let rows = |weights: &[f64]| vec![[floats(weights), vec![0.0]].concat(); lanes.len()];
        let mut parameters = tensor(&rows(&file["start"]));
        for (step, gradient) in (1..).zip(file["gradients"].chunks_exact(50)) {
            parameters = optimizer.step(parameters, tensor(&rows(gradient)));
            for ((name, _), found) in bundle.iter().zip(values(&parameters)) {
                if let Some(expected) = file.get(&format!("{name}.f32.step{step}")) {
                    assert_close(&found[..50], expected, 1e-6, &format!("{name} after {step} steps"));
                }
            }
        }
        assert_eq!(file["gradients"].len(), 100 * 50);
    }
}

/// PyTorch's cross-entropy of logits (1000, 0, −1000) is 0, 1000 and 2000 by class, not infinite.
#[test]
fn the_loss_of_several_classes_does_not_overflow() {
    use crate::train::forward::lane_losses;
    let logits = |rows: Vec<f32>| Tensor::<3>::from_data(TensorData::new(rows, [3, 1, 3]), &device());
    let found = lane_losses(logits([1000.0, 0.0, -1000.0].repeat(3)), tensor(&[vec![0.0], vec![1.0], vec![2.0]]), None);
    assert_eq!(found.into_data().try_into_vec::<f32>().expect("f32"), [0.0, 1000.0, 2000.0]);
}
