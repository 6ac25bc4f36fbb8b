//! Gates that a training learns to close.

use rand::RngExt as _;
use secateur_proto::{outcome::Failure, spec::Granularity};

use super::{
    Arguments, Context, Definition, Needs, ParameterDefinition, Scores, When,
    conditioned::{EPOCHS, training},
};
use crate::{net::Parameters, prune::probe::Conditioning, random};

pub(super) const CRITERION: Definition = Definition {
    name: "l0",
    formula: "log α of a hard concrete gate on each weight, trained with the penalty λ · Σ P(gate ≠ 0)",
    source: "Louizos et al. 2018, arXiv 1712.01312",
    parameters: &[EPOCHS, LAMBDA, DROP],
    needs: Needs::Training,
    granularity: Granularity::Weight,
    grows_with_layer: false,
    signed: true,
    when: When::Trained,
    requires: None,
    scores,
    compensate: None,
};

const LAMBDA: ParameterDefinition = ParameterDefinition {
    name: "lambda",
    summary: "the price of an open gate",
    default: 1e-5,
    range: (0.0, 1e6),
    integer: false,
};

const DROP: ParameterDefinition = ParameterDefinition {
    name: "drop",
    summary: "the probability with which a gate is closed at the beginning, before it is stretched",
    default: 0.3,
    range: (1e-3, 0.999),
    integer: false,
};

/// The temperature.
const BETA: f64 = 2.0 / 3.0;
/// Where the stretched interval begins.
const GAMMA: f64 = -0.1;
/// Where it ends.
const ZETA: f64 = 1.1;
/// The minimum distance of uniform noise from 0 and 1, where its logarithm is not finite.
const EDGE: f64 = 1e-6;

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The gate at uniform noise, and its slope by log α.
pub(super) fn sampled(log_alpha: f64, noise: f64) -> (f64, f64) {
    let noise = noise.clamp(EDGE, 1.0 - EDGE);
    let concrete = sigmoid((noise.ln() - (1.0 - noise).ln() + log_alpha) / BETA);
    let stretched = concrete * (ZETA - GAMMA) + GAMMA;
    let slope = (ZETA - GAMMA) * concrete * (1.0 - concrete) / BETA;
    (stretched.clamp(0.0, 1.0), if stretched > 0.0 && stretched < 1.0 { slope } else { 0.0 })
}

/// The gate without noise.
pub(super) fn expected(log_alpha: f64) -> f64 {
    (sigmoid(log_alpha) * (ZETA - GAMMA) + GAMMA).clamp(0.0, 1.0)
}

/// The probability that a gate is not closed, and its slope by log α.
pub(super) fn open(log_alpha: f64) -> (f64, f64) {
    let open = sigmoid(log_alpha - BETA * (-GAMMA / ZETA).ln());
    (open, open * (1.0 - open))
}

/// The gates. Log α is trained with Adam (Kingma & Ba 2015) at the training's learning rate, whatever the optimiser of
/// the weights.
struct Gates {
    tensors: Vec<usize>,
    lambda: f64,
    lr: f64,
    seed: u64,
    log_alpha: Vec<Vec<f64>>,
    moments: Vec<Vec<(f64, f64)>>,
    /// Gate and slope in this step.
    drawn: Vec<Vec<(f64, f64)>>,
}

const BETAS: (f64, f64) = (0.9, 0.999);
const EPSILON: f64 = 1e-8;

impl Gates {
    /// `net` with each weight times its gate.
    fn gated(&self, net: &Parameters, gate: impl Fn(usize, usize) -> f64) -> Parameters {
        let mut gated = net.clone();
        for (layer, tensor) in self.tensors.iter().enumerate() {
            for (place, weight) in gated.tensors[*tensor].iter_mut().enumerate() {
                *weight = (f64::from(*weight) * gate(layer, place)) as f32;
            }
        }
        gated
    }
}

impl Conditioning for Gates {
    fn effective(&mut self, step: u64, _: u64, net: &Parameters) -> Parameters {
        let mut generator = random::generator("noise of hard concrete gates", &[self.seed, step]);
        for (drawn, log_alpha) in self.drawn.iter_mut().flatten().zip(self.log_alpha.iter().flatten()) {
            *drawn = sampled(*log_alpha, generator.random::<f64>());
        }
        self.gated(net, |layer, place| self.drawn[layer][place].0)
    }

    fn gradient(&mut self, step: u64, net: &Parameters, mut effective: Vec<Vec<f32>>) -> Vec<Vec<f32>> {
        let nth = i32::try_from(step + 1).unwrap_or(i32::MAX);
        let corrections = (1.0 - BETAS.0.powi(nth), 1.0 - BETAS.1.powi(nth));
        for (layer, tensor) in self.tensors.iter().enumerate() {
            let gates = self.log_alpha[layer].iter_mut().zip(&mut self.moments[layer]).zip(&self.drawn[layer]);
            let weights = effective[*tensor].iter_mut().zip(&net.tensors[*tensor]);
            for ((gradient, weight), ((log_alpha, (first, second)), (gate, slope))) in weights.zip(gates) {
                let of_loss = f64::from(*gradient) * f64::from(*weight) * slope;
                let of_gate = of_loss + self.lambda * open(*log_alpha).1;
                *first = BETAS.0 * *first + (1.0 - BETAS.0) * of_gate;
                *second = BETAS.1 * *second + (1.0 - BETAS.1) * of_gate * of_gate;
                *log_alpha -= self.lr * (*first / corrections.0) / ((*second / corrections.1).sqrt() + EPSILON);
                *gradient = (f64::from(*gradient) * gate) as f32;
            }
        }
        effective
    }
}

/// The resulting net is the one without noise: each weight times its expected gate.
fn scores(context: &mut Context<'_>, arguments: &Arguments) -> Result<Scores, Failure> {
    let tensors: Vec<usize> = context.prunable().into_iter().map(|(_, tensor)| tensor).collect();
    let drop = arguments.number(DROP.name);
    let begin = (1.0 - drop).ln() - drop.ln();
    let sizes: Vec<usize> = context.weights().map(<[f32]>::len).collect();
    let mut gates = Gates {
        tensors,
        lambda: arguments.number(LAMBDA.name),
        lr: context.training.optimizer.lr(),
        seed: context.seed,
        log_alpha: sizes.iter().map(|size| vec![begin; *size]).collect(),
        moments: sizes.iter().map(|size| vec![(0.0, 0.0); *size]).collect(),
        drawn: sizes.iter().map(|size| vec![(0.0, 0.0); *size]).collect(),
    };
    let training = training(context, arguments);
    let net = context.probe.condition(context.net, context.removed, &training, context.seed, &mut gates)?;
    let net = gates.gated(&net, |layer, place| expected(gates.log_alpha[layer][place]));
    Ok(Scores::Conditioned(gates.log_alpha, net))
}
