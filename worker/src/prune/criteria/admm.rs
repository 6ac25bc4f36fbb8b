//! Weights that become small in a training that pulls the net towards sparsity.

use secateur_proto::{outcome::Failure, spec::Granularity};

use super::{
    Arguments, Context, Definition, Needs, ParameterDefinition, Scores, When,
    conditioned::{Competition, EPOCHS, training},
};
use crate::{net::Parameters, prune::probe::Conditioning};

pub(super) const CRITERION: Definition = Definition {
    name: "admm",
    formula: "|W|, W of a training on L + ρ/2 · ‖W − Z + U‖²; each epoch Z = the largest of W + U, U ← U + W − Z",
    source: "Zhang et al. 2018, arXiv 1804.03294",
    parameters: &[EPOCHS, RHO],
    needs: Needs::Training,
    granularity: Granularity::Weight,
    grows_with_layer: false,
    signed: false,
    when: When::Trained,
    requires: None,
    scores,
    compensate: None,
};

const RHO: ParameterDefinition = ParameterDefinition {
    name: "rho",
    summary: "how hard weights are pulled",
    default: 1e-3,
    range: (0.0, 1e6),
    integer: false,
};

/// The alternating direction method of multipliers in its scaled form, by prunable layer.
struct Multipliers {
    competition: Competition,
    rho: f64,
    /// Z.
    sparse: Vec<Vec<f64>>,
    /// U.
    dual: Vec<Vec<f64>>,
}

impl Multipliers {
    /// Sets Z to W + U with all but the largest entries set to zero.
    fn project(&mut self, net: &Parameters) {
        for ((tensor, dual), sparse) in self.competition.tensors.iter().zip(&self.dual).zip(&mut self.sparse) {
            let sums = net.tensors[*tensor].iter().zip(dual).map(|(weight, dual)| f64::from(*weight) + dual);
            *sparse = sums.collect();
        }
        let sizes: Vec<Vec<f64>> =
            self.sparse.iter().map(|layer| layer.iter().map(|value| value.abs()).collect()).collect();
        let kept = self.competition.kept(&sizes, self.competition.count);
        for (value, kept) in self.sparse.iter_mut().flatten().zip(kept.into_iter().flatten()) {
            if !kept {
                *value = 0.0;
            }
        }
    }
}

impl Conditioning for Multipliers {
    fn effective(&mut self, _: u64, _: u64, net: &Parameters) -> Parameters {
        net.clone()
    }

    fn gradient(&mut self, _: u64, net: &Parameters, mut effective: Vec<Vec<f32>>) -> Vec<Vec<f32>> {
        for ((tensor, dual), sparse) in self.competition.tensors.iter().zip(&self.dual).zip(&self.sparse) {
            let gradients = effective[*tensor].iter_mut().zip(&net.tensors[*tensor]);
            for (((gradient, weight), dual), sparse) in gradients.zip(dual).zip(sparse) {
                *gradient += (self.rho * (f64::from(*weight) - sparse + dual)) as f32;
            }
        }
        effective
    }

    fn end_epoch(&mut self, _: u32, net: &Parameters) {
        self.project(net);
        for ((tensor, dual), sparse) in self.competition.tensors.iter().zip(&mut self.dual).zip(&self.sparse) {
            for ((weight, dual), sparse) in net.tensors[*tensor].iter().zip(dual).zip(sparse) {
                *dual += f64::from(*weight) - sparse;
            }
        }
    }
}

fn scores(context: &mut Context<'_>, arguments: &Arguments) -> Result<Scores, Failure> {
    let competition = Competition::of(context)?;
    let (sparse, dual) = (competition.zeros(), competition.zeros());
    let mut multipliers = Multipliers { competition, rho: arguments.number(RHO.name), sparse, dual };
    multipliers.project(context.net);
    let training = training(context, arguments);
    let net = context.probe.condition(context.net, context.removed, &training, context.seed, &mut multipliers)?;
    let size = |tensor: &usize| net.tensors[*tensor].iter().map(|weight| f64::from(weight.abs())).collect();
    Ok(Scores::Conditioned(multipliers.competition.tensors.iter().map(size).collect(), net))
}
