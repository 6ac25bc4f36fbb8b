//! The same mathematics implemented a second time: naive, in double precision, on plain vectors, without Burn.

use secateur_proto::spec::OptimizerSpec;

use crate::{data::Part, net::Parameters};

/// Weights `[outputs][inputs]` and biases of each layer.
#[derive(Debug, Clone)]
pub(crate) struct Net {
    pub(crate) layers: Vec<(Vec<Vec<f64>>, Vec<f64>)>,
}

impl Net {
    pub(crate) fn of(parameters: &Parameters) -> Self {
        let layers = parameters.tensors.chunks_exact(2).map(|layer| {
            let (weight, bias) = (&layer[0], &layer[1]);
            let rows = weight.chunks_exact(weight.len() / bias.len());
            let weight = rows.map(|row| row.iter().map(|x| f64::from(*x)).collect()).collect();
            (weight, bias.iter().map(|x| f64::from(*x)).collect())
        });
        Self { layers: layers.collect() }
    }

    pub(crate) fn logit(&self, row: &[f32]) -> f64 {
        self.logits(row)[0]
    }

    pub(crate) fn logits(&self, row: &[f32]) -> Vec<f64> {
        let mut values: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
        for (index, (weight, bias)) in self.layers.iter().enumerate() {
            values = (weight.iter().zip(bias))
                .map(|(row, bias)| row.iter().zip(&values).map(|(w, x)| w * x).sum::<f64>() + bias)
                .collect();
            if index + 1 < self.layers.len() {
                values.iter_mut().for_each(|value| *value = value.max(0.0));
            }
        }
        values
    }

    /// −y ln p − (1 − y) ln(1 − p), averaged over `rows` of a part.
    pub(crate) fn loss(&self, part: &Part, rows: &[i32]) -> f64 {
        let width = part.inputs.len() / part.targets.len();
        let losses = rows.iter().map(|row| {
            let row = *row as usize;
            let probability = 1.0 / (1.0 + (-self.logit(&part.inputs[row * width..][..width])).exp());
            if part.targets[row] == 1.0 { -probability.ln() } else { -(1.0 - probability).ln() }
        });
        losses.sum::<f64>() / rows.len() as f64
    }

    /// The central difference of the loss by one weight, or by one bias if `input` is `None`.
    pub(crate) fn slope(&self, part: &Part, rows: &[i32], layer: usize, output: usize, input: Option<usize>) -> f64 {
        const STEP: f64 = 1e-6;
        let at = |change: f64| {
            let mut net = self.clone();
            let (weight, bias) = &mut net.layers[layer];
            match input {
                Some(input) => weight[output][input] += change,
                None => bias[output] += change,
            }
            net.loss(part, rows)
        };
        (at(STEP) - at(-STEP)) / (2.0 * STEP)
    }
}

/// One parameter under an optimiser, by the algorithms on the pages of `torch.optim`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parameter {
    pub(crate) value: f64,
    first: f64,
    second: f64,
    steps: i32,
}

impl Parameter {
    pub(crate) fn at(value: f64) -> Self {
        Self { value, ..Self::default() }
    }

    /// A step along `gradient`. `decays` is false for a bias.
    pub(crate) fn step(&mut self, rule: &OptimizerSpec, mut gradient: f64, decays: bool) {
        self.steps += 1;
        match *rule {
            OptimizerSpec::Adam { lr, betas, eps, weight_decay } => {
                if decays {
                    gradient += weight_decay * self.value;
                }
                self.adam(lr, betas, eps, gradient);
            }
            OptimizerSpec::AdamW { lr, betas, eps, weight_decay } => {
                if decays {
                    self.value -= lr * weight_decay * self.value;
                }
                self.adam(lr, betas, eps, gradient);
            }
            OptimizerSpec::Sgd { lr, momentum, weight_decay, nesterov } => {
                if decays {
                    gradient += weight_decay * self.value;
                }
                self.first = momentum * self.first + gradient;
                self.value -= lr * if nesterov { gradient + momentum * self.first } else { self.first };
            }
        }
    }

    fn adam(&mut self, lr: f64, betas: [f64; 2], eps: f64, gradient: f64) {
        self.first = betas[0] * self.first + (1.0 - betas[0]) * gradient;
        self.second = betas[1] * self.second + (1.0 - betas[1]) * gradient * gradient;
        let first = self.first / (1.0 - betas[0].powi(self.steps));
        let second = self.second / (1.0 - betas[1].powi(self.steps));
        self.value -= lr * first / (second.sqrt() + eps);
    }
}
