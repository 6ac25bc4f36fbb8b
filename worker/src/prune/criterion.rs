//! Criteria: the score by which each prunable weight is kept.

use burn::tensor::Device;
use rand::{RngExt as _, seq::SliceRandom as _};
use secateur_proto::spec::{CriterionSpec, ModelSpec, TrainingSpec};

use crate::{
    net::Parameters,
    random,
    train::{
        bundle::{Bundle, Lane, Phase},
        data::DeviceData,
    },
};

/// What a criterion may look at.
#[derive(Debug)]
pub struct Subject<'a> {
    /// The architecture.
    pub model: &'a ModelSpec,
    /// The trained net.
    pub parameters: &'a Parameters,
    /// For the batch size.
    pub training: &'a TrainingSpec,
    /// The train rows.
    pub data: &'a DeviceData,
    /// Where to compute.
    pub device: &'a Device,
    /// The trial's seed.
    pub seed: u64,
}

/// The scores of every weight of every prunable layer, in the order of the weights in files. The lowest go first.
#[must_use]
pub fn scores(criterion: &CriterionSpec, subject: &Subject<'_>) -> Vec<Vec<f32>> {
    match criterion {
        CriterionSpec::Random {} => random_scores(subject),
        CriterionSpec::Magnitude {} => magnitude(subject),
        CriterionSpec::Taylor { batches } => taylor(subject, *batches),
    }
}

/// Uniform in [0, 1). One stream a seed: the masks of a seed are nested over sparsities.
fn random_scores(subject: &Subject<'_>) -> Vec<Vec<f32>> {
    let mut generator = random::generator("random scores", &[subject.seed]);
    (subject.model.prunable_sizes().iter())
        .map(|size| (0..*size).map(|_| generator.random::<f32>()).collect())
        .collect()
}

/// |w| (Han et al. 2015).
fn magnitude(subject: &Subject<'_>) -> Vec<Vec<f32>> {
    prunable(subject).map(|(_, weight)| weight.iter().map(|weight| weight.abs()).collect()).collect()
}

/// |w · g|, the first-order Taylor expansion of the change in loss when w is removed (Molchanov et al. 2017); g is the mean
/// gradient over the rows of `batches` batches of train rows, drawn without replacement, or over all rows if there are fewer.
fn taylor(subject: &Subject<'_>, batches: u32) -> Vec<Vec<f32>> {
    let lane = Lane {
        start: subject.parameters.clone(),
        mask: None,
        training: subject.training.clone(),
        regularization: None,
        seed: subject.seed,
        phase: Phase::Retrain,
    };
    let bundle = Bundle::new(subject.model, &[lane], subject.device);
    let mut rows: Vec<i32> = (0..).take(subject.data.train_rows()).collect();
    rows.shuffle(&mut random::generator("rows for taylor", &[subject.seed]));
    let batch_size = subject.training.batch_size as usize;
    // In f64, and by rows: the last batch may be a short one.
    let mut sum = vec![0.0_f64; bundle.layout().length()];
    let mut count = 0_usize;
    for batch in rows.chunks(batch_size).take(batches as usize) {
        let (_, gradient, _) = bundle.gradient(subject.data, batch.to_vec());
        let gradient = gradient.into_data();
        let gradient: &[f32] = gradient.as_slice().expect("gradients are f32");
        sum.iter_mut().zip(gradient).for_each(|(sum, value)| *sum += f64::from(*value) * batch.len() as f64);
        count += batch.len();
    }
    let mean: Vec<f32> = sum.iter().map(|sum| (sum / count.max(1) as f64) as f32).collect();
    let gradients = bundle.layout().unflatten(&mean);
    prunable(subject)
        .map(|(index, weight)| {
            let gradient = &gradients.layers[index].weight;
            weight.iter().zip(gradient).map(|(weight, gradient)| (weight * gradient).abs()).collect()
        })
        .collect()
}

fn prunable<'a>(subject: &'a Subject<'_>) -> impl Iterator<Item = (usize, &'a [f32])> {
    let layers = subject.model.layers().into_iter().enumerate();
    layers
        .filter(|(_, layer)| layer.prunable)
        .map(|(index, _)| (index, subject.parameters.layers[index].weight.as_slice()))
}

#[cfg(test)]
mod tests;
