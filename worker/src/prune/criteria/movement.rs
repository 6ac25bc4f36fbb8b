//! Keeps weights that fine-tuning moves away from zero.

use secateur_proto::{
    outcome::Failure,
    spec::{Granularity, Ramp},
};

use super::{
    Arguments, Context, Definition, Needs, Scores, When,
    conditioned::{Competition, EPOCHS, training},
};
use crate::{
    net::Parameters,
    prune::{probe::Conditioning, schedule::removed_at},
};

pub(super) const CRITERION: Definition = Definition {
    name: "movement",
    formula: "S, S ← S − lr · (∂L/∂W′) · W over fine-tuning, W′ = W where S is among the highest, 0 elsewhere",
    source: "Sanh et al. 2020, arXiv 2005.07683",
    parameters: &[EPOCHS],
    needs: Needs::Training,
    granularity: Granularity::Weight,
    grows_with_layer: false,
    signed: true,
    when: When::Trained,
    requires: None,
    scores,
    compensate: None,
};

/// The scores' gradient by the straight-through estimator. Their learning rate does not matter: they start at 0 and
/// only their order counts.
struct Movement {
    competition: Competition,
    lr: f64,
    scores: Vec<Vec<f64>>,
    kept: Vec<Vec<bool>>,
}

impl Conditioning for Movement {
    /// The sparsity rises along a cubic ramp, from zero at the first step to its final value at the last.
    fn effective(&mut self, step: u64, steps: u64, net: &Parameters) -> Parameters {
        let Competition { count, .. } = self.competition;
        let progress = step as f64 / steps.saturating_sub(1).max(1) as f64;
        let (lost, places) = (self.competition.lost(), self.competition.places());
        self.kept = self.competition.kept(&self.scores, removed_at(Ramp::Cubic, lost, count, places, progress));
        let mut effective = net.clone();
        for (tensor, kept) in self.competition.tensors.iter().zip(&self.kept) {
            let weights = effective.tensors[*tensor].iter_mut().zip(kept);
            weights.filter(|(_, kept)| !**kept).for_each(|(weight, _)| *weight = 0.0);
        }
        effective
    }

    fn gradient(&mut self, _: u64, net: &Parameters, mut effective: Vec<Vec<f32>>) -> Vec<Vec<f32>> {
        for ((tensor, kept), scores) in self.competition.tensors.iter().zip(&self.kept).zip(&mut self.scores) {
            let gradients = effective[*tensor].iter_mut().zip(&net.tensors[*tensor]);
            for (((gradient, weight), kept), score) in gradients.zip(kept).zip(scores) {
                *score -= self.lr * f64::from(*gradient) * f64::from(*weight);
                if !kept {
                    *gradient = 0.0;
                }
            }
        }
        effective
    }
}

fn scores(context: &mut Context<'_>, arguments: &Arguments) -> Result<Scores, Failure> {
    let competition = Competition::of(context)?;
    let lr = context.training.optimizer.lr();
    let mut movement = Movement { scores: competition.zeros(), kept: Vec::new(), competition, lr };
    let training = training(context, arguments);
    let net = context.probe.condition(context.net, context.removed, &training, context.seed, &mut movement)?;
    Ok(Scores::Conditioned(movement.scores, net))
}
