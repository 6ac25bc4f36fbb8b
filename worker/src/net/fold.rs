//! Batch normalisations folded into the layers before them, as whatever serves a net does.

use secateur_proto::spec::{LayerKind, ModelSpec, Step, TensorKind};

use super::{NORM_EPSILON, Parameters, tensors_of};

/// Returns the same function with the scale of each batch normalisation in the weights of the layer right before it. What is added stays
/// with the normalisation, which has unit variance and mean 0 then. A normalisation behind anything else stays as it is.
#[must_use]
pub fn fold_norms(model: &ModelSpec, parameters: &Parameters) -> Parameters {
    let architecture = model.architecture();
    let tensors = |kind| tensors_of(model, kind);
    let (weights, biases) = (tensors(TensorKind::Weight), tensors(TensorKind::Bias));
    let (scales, shifts) = (tensors(TensorKind::Scale), tensors(TensorKind::Shift));
    let (means, variances) = (tensors(TensorKind::RunningMean), tensors(TensorKind::RunningVariance));
    let mut folded = parameters.clone();
    for pair in architecture.steps.windows(2) {
        let [Step::Layer(layer), Step::Layer(norm)] = *pair else { continue };
        if !matches!(architecture.layers[norm].kind, LayerKind::BatchNorm { .. }) {
            continue;
        }
        let (Some(weight), Some(scale), Some(shift), Some(mean), Some(variance)) =
            (weights[layer], scales[norm], shifts[norm], means[norm], variances[norm])
        else {
            continue;
        };
        let numbers = &mut folded.tensors;
        let fan_in = numbers[weight].len() / numbers[scale].len().max(1);
        for unit in 0..numbers[scale].len() {
            let of = |tensor: usize| f64::from(numbers[tensor][unit]);
            let factor = of(scale) / (of(variance) + NORM_EPSILON).sqrt();
            let added = of(shift) - of(mean) * factor;
            let times = |number: &mut f32| *number = narrow(f64::from(*number) * factor);
            numbers[weight][unit * fan_in..][..fan_in].iter_mut().for_each(times);
            if let Some(bias) = biases[layer] {
                times(&mut numbers[bias][unit]);
            }
            // A scale of 0 may be one that was removed, and a mask wants it to stay 0. Nothing is left to scale then.
            if numbers[scale][unit] != 0.0 {
                numbers[scale][unit] = 1.0;
            }
            numbers[shift][unit] = narrow(added);
            numbers[mean][unit] = 0.0;
            numbers[variance][unit] = narrow(1.0 - NORM_EPSILON);
        }
    }
    folded
}

#[expect(clippy::cast_possible_truncation, reason = "rounded once, from double precision")]
const fn narrow(number: f64) -> f32 {
    number as f32
}
