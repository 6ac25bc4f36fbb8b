//! Initial values, made on the host from a seed.

use rand::{Rng, RngExt as _};
use secateur_proto::spec::{Initialization, Layer, LayerKind, ModelSpec, TensorKind};

use super::Parameters;
use crate::random;

impl Parameters {
    /// The initial values that PyTorch gives its layers.
    #[must_use]
    pub fn initial(model: &ModelSpec, seed: u64) -> Self {
        Self::initial_as(model, Initialization::Pytorch, "initial parameters", seed)
    }

    /// Initial values of the given form, from the random numbers of `purpose` and `seed`.
    #[must_use]
    pub fn initial_as(model: &ModelSpec, form: Initialization, purpose: &str, seed: u64) -> Self {
        let mut generator = random::generator(purpose, &[seed]);
        let layers = model.layers();
        let tensors = model.tensors().into_iter().map(|tensor| {
            let layer = &layers[tensor.layer];
            match tensor.kind {
                TensorKind::Weight => weights(layer, form, tensor.numel(), &mut generator),
                TensorKind::Bias if form == Initialization::Pytorch => {
                    uniform(fan_in(layer).sqrt().recip(), tensor.numel(), &mut generator)
                }
                TensorKind::Scale | TensorKind::RunningVariance => vec![1.0; tensor.numel()],
                TensorKind::Bias | TensorKind::Shift | TensorKind::RunningMean => vec![0.0; tensor.numel()],
            }
        });
        Self { tensors: tensors.collect() }
    }
}

fn weights(layer: &Layer, form: Initialization, count: usize, generator: &mut impl Rng) -> Vec<f32> {
    let fan_in = fan_in(layer);
    match form {
        Initialization::Pytorch => uniform(fan_in.sqrt().recip(), count, generator),
        Initialization::KaimingNormal => normal((2.0 / fan_in).sqrt(), count, generator),
        Initialization::GlorotNormal => {
            // A filter's outputs are reached through every place of its kernel.
            let fan_out = f64::from(layer.outputs()) * kernel_area(layer);
            normal((2.0 / (fan_in + fan_out)).sqrt(), count, generator)
        }
        Initialization::LecunNormal => truncated(fan_in.sqrt().recip(), count, generator),
    }
}

fn fan_in(layer: &Layer) -> f64 {
    layer.fan_in() as f64
}

fn kernel_area(layer: &Layer) -> f64 {
    match layer.kind {
        LayerKind::Convolution { kernel, .. } => f64::from(kernel).powi(2),
        LayerKind::Linear { .. } | LayerKind::BatchNorm { .. } => 1.0,
    }
}

fn uniform(bound: f64, count: usize, generator: &mut impl Rng) -> Vec<f32> {
    (0..count).map(|_| (generator.random::<f64>().mul_add(2.0, -1.0) * bound) as f32).collect()
}

/// Box & Muller 1958, two at a time.
fn normal(deviation: f64, count: usize, generator: &mut impl Rng) -> Vec<f32> {
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        // 1 − u is never 0.
        let radius = (-2.0 * (1.0 - generator.random::<f64>()).ln()).sqrt();
        let angle = std::f64::consts::TAU * generator.random::<f64>();
        values.extend([radius * angle.cos(), radius * angle.sin()].map(|value| (value * deviation) as f32));
    }
    values.truncate(count);
    values
}

/// The standard deviation of a standard normal variable that is known to be in ±2: √(1 − 4·φ(2) / (2·Φ(2) − 1)).
const TRUNCATED_DEVIATION: f64 = 0.879_625_661_034_239_8;

/// Of that standard deviation, from a normal distribution without what lies beyond two of its own.
fn truncated(deviation: f64, count: usize, generator: &mut impl Rng) -> Vec<f32> {
    let scale = deviation / TRUNCATED_DEVIATION;
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        values.extend(normal(1.0, 2, generator).into_iter().filter(|value| value.abs() <= 2.0));
    }
    values.truncate(count);
    values.into_iter().map(|value| (f64::from(value) * scale) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_values_have_the_variance_of_their_form() {
        let model = ModelSpec::mlp(400, vec![300]);
        for (form, variance) in [
            (Initialization::KaimingNormal, 2.0 / 400.0),
            (Initialization::GlorotNormal, 2.0 / 700.0),
            (Initialization::LecunNormal, 1.0 / 400.0),
        ] {
            let net = Parameters::initial_as(&model, form, "test", 1);
            let weights: Vec<f64> = net.tensors[0].iter().map(|weight| f64::from(*weight)).collect();
            let mean = weights.iter().sum::<f64>() / weights.len() as f64;
            let measured = weights.iter().map(|weight| (weight - mean).powi(2)).sum::<f64>() / weights.len() as f64;
            // 120,000 draws: the standard error of the variance is 0.4 % of it.
            assert!((measured / variance - 1.0).abs() < 0.02, "{measured} {variance}");
            assert!(net.tensors[1].iter().all(|bias| *bias == 0.0));
        }
    }

    #[test]
    fn a_truncated_normal_distribution_ends_at_two_of_its_deviations() {
        let net = Parameters::initial_as(&ModelSpec::mlp(400, vec![300]), Initialization::LecunNormal, "test", 1);
        let largest = net.tensors[0].iter().fold(0.0_f64, |largest, weight| largest.max(f64::from(weight.abs())));
        // One in a thousand of 120,000 draws lies within 0.5 % of the end.
        let end = 2.0 / 0.879_625_66 / 20.0;
        assert!(largest <= end * (1.0 + 1e-6) && largest > end * 0.995, "{largest} {end}");
    }
}
