//! Nets on the host, as files hold them, against the same nets on a device.

use rand::RngExt as _;
use secateur_proto::spec::{Activation, ModelSpec};

use super::{
    device,
    quantization::{EIGHT, answers, float, furthest, rows, spread, trained},
    zoo,
};
use crate::{
    net::{Parameters, checkpoint},
    quantize::QuantizedNet,
    random,
    serve::{HostNet, NetFile},
    train::quantization::quantized,
};

/// Nets of all kinds and activations.
fn models() -> Vec<ModelSpec> {
    let of = |activation| ModelSpec::Mlp { inputs: 6, hidden: vec![7, 5], outputs: 3, activation, batch_norm: false };
    let mut models = zoo();
    models.extend([of(Activation::Gelu), of(Activation::Silu), of(Activation::Tanh)]);
    models.push(ModelSpec::ResidualCnn { image: [1, 6, 5], channels: vec![17, 4], blocks: 2, outputs: 4 });
    models.push(ModelSpec::Lenet5 { image: [2, 17, 16], outputs: 3 });
    models
}

/// The logits of each row by a net on the host.
fn on_host(file: &NetFile, rows: &[f32], taken: &[u32]) -> Vec<f32> {
    let net = HostNet::of(file);
    let width = rows.len() / ROWS;
    let row = |row: &[f32]| net.logits(&taken.iter().map(|input| row[*input as usize]).collect::<Vec<_>>());
    rows.chunks_exact(width).flat_map(row).collect()
}

const ROWS: usize = 40;

fn all(model: &ModelSpec) -> Vec<u32> {
    (0..).take(usize::try_from(model.inputs()).expect("a width")).collect()
}

/// Takes a third of the inputs of the first layer away, and some weights everywhere.
fn pruned(model: &ModelSpec, mut net: Parameters) -> Parameters {
    let mut generator = random::generator("test zeros", &[]);
    for (tensor, values) in model.tensors().iter().zip(&mut net.tensors).filter(|(tensor, _)| tensor.shape.len() > 1) {
        let columns = tensor.shape[1..].iter().product::<usize>();
        for (place, value) in values.iter_mut().enumerate() {
            let is_gone = tensor.layer == 0 && place % columns % 3 == 1;
            if is_gone || generator.random::<f32>() < 0.3 {
                *value = 0.0;
            }
        }
    }
    net
}

#[test]
fn a_net_on_the_host_answers_as_on_a_device() {
    for model in models() {
        let net = trained(&model, 3);
        let inputs = rows(&model, ROWS, 4);
        let file = NetFile::read(&checkpoint::write_parameters(&model, &net).expect("writes")).expect("reads");
        assert_eq!(file.model, model);
        let values = inputs.to_data().iter::<f32>().collect::<Vec<_>>();
        let (expected, found) = (float(&model, &net, &inputs), on_host(&file, &values, &all(&model)));
        assert!(furthest(&expected, &found) <= 1e-5 * spread(&expected).max(1.0), "{model:?}");
    }
}

#[test]
fn a_quantized_net_on_the_host_answers_as_on_a_device() {
    for model in models() {
        let inputs = rows(&model, ROWS, 4);
        let net = quantized(&model, &trained(&model, 3), EIGHT, &inputs, &device());
        let bytes = net.to_safetensors(&model).expect("writes");
        let file = NetFile::read(&bytes).expect("reads");
        let again = file.quantized.as_ref().expect("it is quantized");
        assert_eq!((again.layers(), &again.parameters), (net.layers(), &net.parameters), "{model:?}");
        assert_eq!(again.to_safetensors(&model).expect("writes"), bytes);
        let values = inputs.to_data().iter::<f32>().collect::<Vec<_>>();
        let (expected, found) = (answers(&model, &net, &inputs), on_host(&file, &values, &all(&model)));
        // Sums in another order may be rounded to the next level.
        let spread = spread(&expected);
        let differences: Vec<f32> = expected.iter().zip(&found).map(|(one, two)| (one - two).abs()).collect();
        let near = differences.iter().filter(|difference| **difference <= 1e-5 * spread).count();
        assert!(near * 5 >= differences.len() * 4, "{model:?}: {near} of {}", differences.len());
        assert!(furthest(&expected, &found) <= 0.05 * spread, "{model:?}");
    }
}

#[test]
fn a_net_without_what_it_does_not_need_answers_the_same() {
    for model in models() {
        let net = pruned(&model, trained(&model, 3));
        let inputs = rows(&model, ROWS, 4);
        let values = inputs.to_data().iter::<f32>().collect::<Vec<_>>();
        let quantized = quantized(&model, &net, EIGHT, &inputs, &device());
        let float = NetFile { model: model.clone(), parameters: net.clone(), quantized: None };
        let parameters = quantized.parameters.clone();
        let quantized = NetFile { model: model.clone(), parameters, quantized: Some(quantized) };
        for file in [float, quantized] {
            let (small, taken) = file.compacted(None);
            let (expected, found) = (on_host(&file, &values, &all(&model)), on_host(&small, &values, &taken));
            assert!(furthest(&expected, &found) <= 1e-5 * spread(&expected).max(1.0), "{model:?}");
            let is_perceptron = matches!(model, ModelSpec::Mlp { .. } | ModelSpec::ResidualMlp { .. });
            assert_eq!(taken.len() < all(&model).len(), is_perceptron, "{model:?}");
        }
    }
}

#[test]
fn files_that_are_no_nets() {
    let model = ModelSpec::mlp(3, vec![2]);
    let net = Parameters::initial(&model, 1);
    let plain = checkpoint::write_parameters(&model, &net).expect("writes");
    let levels = vec![None; model.layers().len()];
    let quantized = QuantizedNet::of(&model, net, EIGHT, levels).to_safetensors(&model).expect("writes");
    let mask = checkpoint::write_mask(&model, &crate::net::Mask::full(&model, &[0])).expect("writes");
    assert!(NetFile::read(b"").is_err() && NetFile::read(&mask).is_err());
    for bytes in [plain, quantized] {
        assert!(NetFile::read(&bytes).is_ok());
        for end in 0..bytes.len() {
            assert!(NetFile::read(&bytes[..end]).is_err(), "{end}");
        }
        // No byte of the description may bring it down.
        for place in 8..bytes.len().min(400) {
            let mut changed = bytes.clone();
            changed[place] = changed[place].wrapping_add(1);
            let _ = NetFile::read(&changed);
        }
    }
}
