//! The effect of removing a weight before training on the gradient flow, which determines how fast the loss falls.

use std::collections::HashMap;

use rand::seq::SliceRandom as _;
use secateur_proto::{
    outcome::Failure,
    spec::{Granularity, TensorKind},
};

use super::{Arguments, Context, Definition, Needs, ParameterDefinition, Scores, When};
use crate::{prune::probe::Loss, random};

pub(super) const CRITERION: Definition = Definition {
    name: "grasp",
    formula: "w · (H g), H and g of the loss of logits / temperature over the weights of all layers, without biases",
    source: "Wang et al. 2020, arXiv 2002.07376, whose score is the negative and whose highest go",
    parameters: &[SAMPLES_PER_CLASS, TEMPERATURE],
    needs: Needs::Gradients,
    granularity: Granularity::Weight,
    grows_with_layer: false,
    signed: true,
    when: When::Initial,
    requires: None,
    scores,
    compensate: None,
};

const SAMPLES_PER_CLASS: ParameterDefinition = ParameterDefinition {
    name: "samples_per_class",
    summary: "train rows of each class in the batch",
    default: 10.0,
    range: (1.0, 1e9),
    integer: true,
};

const TEMPERATURE: ParameterDefinition = ParameterDefinition {
    name: "temperature",
    summary: "what logits are divided by before the loss",
    default: 200.0,
    range: (1e-3, 1e6),
    integer: false,
};

fn scores(context: &mut Context<'_>, arguments: &Arguments) -> Result<Scores, Failure> {
    let loss = Loss { temperature: arguments.number("temperature") };
    let rows = balanced_rows(&context.probe.targets(), arguments.count("samples_per_class"), context.seed);
    let mut direction = context.probe.gradient(context.net, &rows, loss)?;
    for (index, (tensor, values)) in context.model.tensors().iter().zip(&mut direction).enumerate() {
        for (place, value) in values.iter_mut().enumerate() {
            // Weights that an earlier level removed are not part of the net.
            if tensor.kind != TensorKind::Weight || context.removed.is_some_and(|mask| !mask.keeps(index, place)) {
                *value = 0.0;
            }
        }
    }
    let product = context.probe.hessian_vector(context.net, &rows, &direction, loss)?;
    // The order of scores distinguishes −0 from 0; adding 0 makes them ties.
    Ok(context.zip(&product, |weight, product| weight * product + 0.0))
}

/// Returns `of_each` rows of each class at random, or all rows of a smaller class.
fn balanced_rows(targets: &[f32], of_each: usize, seed: u64) -> Vec<u32> {
    let mut rows: Vec<u32> = (0..).take(targets.len()).collect();
    rows.shuffle(&mut random::generator("rows for grasp", &[seed]));
    let mut taken: HashMap<u32, usize> = HashMap::new();
    rows.retain(|row| {
        let taken = taken.entry(targets[*row as usize].to_bits()).or_default();
        *taken += 1;
        *taken <= of_each
    });
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_balanced_over_classes_and_depend_on_the_seed() {
        // 3 rows of class 0, 20 of class 1, 40 of class 2.
        let targets: Vec<f32> = (0..63)
            .map(|row| {
                if row < 3 {
                    0.0
                } else if row < 23 {
                    1.0
                } else {
                    2.0
                }
            })
            .collect();
        let drawn = |of_each, seed| {
            let mut rows = balanced_rows(&targets, of_each, seed);
            rows.sort_unstable();
            rows
        };
        let rows = drawn(10, 1);
        assert!(rows.is_sorted_by(|one, two| one < two), "a row is drawn twice");
        let of = |class: f32| rows.iter().filter(|row| targets[**row as usize] == class).count();
        assert_eq!([0.0, 1.0, 2.0].map(of), [3, 10, 10]);
        assert_eq!(rows, drawn(10, 1));
        assert_ne!(rows, drawn(10, 2));
        assert_eq!(drawn(40, 1), (0..63).collect::<Vec<_>>());
        assert!(balanced_rows(&[], 10, 1).is_empty());
    }
}
