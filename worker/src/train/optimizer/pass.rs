//! A step of all parameters in one pass over memory, for devices whose tensors are in the processor's memory. It
//! computes the same as the tensor operations of [`Optimizer`] and its penalty, number by number with the same
//! rounding. The result is equal bit for bit, and each block of numbers is read and written once.
#![expect(clippy::inline_always, reason = "what is not inlined is not made for wider vectors")]

use std::ops::Range;

use burn::tensor::{Tensor, TensorData};
use secateur_proto::spec::{RegularizationKind, TensorKind};

use super::{Optimizer, Rule, Stepped, column};
use crate::train::{numbers::Numbers, vectors::widest};

/// The size of a block: intermediate values remain in the fastest cache.
const BLOCK: usize = 512;

/// How a rule moves parameters.
#[derive(Debug, Clone, Copy)]
enum Motion {
    Adam { betas: [f32; 2], rests: [f32; 2], root_of_correction_2: f32, eps: f32, inverse_of_correction_1: f32 },
    Momentum { momentum: f32, nesterov: bool },
    Plain,
}

/// The settings for the numbers of one lane and tensor. A decay or penalty is `None` if no lane has one, and 0 if only
/// another lane or tensor has one.
#[derive(Debug, Clone, Copy)]
struct Settings {
    motion: Motion,
    lr: f32,
    coupled_decay: Option<f32>,
    decoupled_decay: Option<f32>,
    penalty: Option<(RegularizationKind, f32)>,
}

/// Parameters and their state, number by number.
struct Block<'a> {
    parameters: &'a mut [f32],
    /// Initially the masked gradient.
    pushes: &'a mut [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
}

impl Optimizer {
    /// A step as described at [`Optimizer::masked_step`].
    pub(super) fn pass(&mut self, parameters: Tensor<2>, gradient: Tensor<2>, mask: Option<&mut Tensor<2>>) -> Stepped {
        let (mut parameters, gradient) = (Numbers::take(parameters), Numbers::take(gradient));
        let norms = match mask {
            Some(mask) => {
                let numbers = Numbers::borrow(mask);
                let norms = widest(
                    #[inline(always)]
                    || self.move_rows(parameters.values_mut(), gradient.values(), Some(numbers.values())),
                );
                *mask = numbers.give(&self.device);
                norms
            }
            None => widest(
                #[inline(always)]
                || self.move_rows(parameters.values_mut(), gradient.values(), None),
            ),
        };
        Stepped {
            parameters: parameters.give(&self.device),
            gradient: gradient.give(&self.device),
            squared_norm: column(&norms, &self.device),
        }
    }

    /// Moves `parameters` along `gradient`, both `[K, P]`, with `mask` on both. Returns the squared norm of each lane's
    /// masked gradient.
    #[inline(always)]
    fn move_rows(&mut self, parameters: &mut [f32], gradient: &[f32], mask: Option<&[f32]>) -> Vec<f32> {
        let (lanes, width) = (self.rates.len(), self.layout.length());
        let motion = self.motion();
        let (mut first, mut second) = self.take_moments();
        let (first_values, second_values) = (values_of(&mut first), values_of(&mut second));
        let mut norms = Vec::with_capacity(lanes);
        for lane in 0..lanes {
            let mut squares = [0.0; 8];
            for tensor in self.layout.tensors() {
                let settings = self.settings(motion, lane, tensor.kind);
                let place = lane * width + tensor.offset;
                for start in (place..place + tensor.length).step_by(BLOCK) {
                    let range = start..(start + BLOCK).min(place + tensor.length);
                    let mask = mask.map(|mask| &mask[range.clone()]);
                    let mut pushes = [0.0; BLOCK];
                    let pushes = &mut pushes[..range.len()];
                    pushes.copy_from_slice(&gradient[range.clone()]);
                    multiply(pushes, mask);
                    add_squares(&mut squares, pushes);
                    let mut block = Block {
                        pushes,
                        first: part(first_values, &range),
                        second: part(second_values, &range),
                        parameters: &mut parameters[range],
                    };
                    block.advance(&settings);
                    multiply(block.parameters, mask);
                }
            }
            norms.push(squares.iter().sum());
        }
        self.give_moments(first, second);
        norms
    }

    fn motion(&self) -> Motion {
        match self.rule {
            Rule::Adam { betas: [beta_1, beta_2], eps, .. } => Motion::Adam {
                betas: [beta_1 as f32, beta_2 as f32],
                rests: [(1.0 - beta_1) as f32, (1.0 - beta_2) as f32],
                root_of_correction_2: (1.0 - beta_2.powi(self.steps)).sqrt() as f32,
                eps: eps as f32,
                inverse_of_correction_1: (1.0 / (1.0 - beta_1.powi(self.steps))) as f32,
            },
            Rule::Sgd { momentum, nesterov, .. } if momentum != 0.0 => {
                Motion::Momentum { momentum: momentum as f32, nesterov }
            }
            Rule::Sgd { .. } => Motion::Plain,
        }
    }

    fn settings(&self, motion: Motion, lane: usize, kind: TensorKind) -> Settings {
        let at_weights = |decays: &Option<Vec<f32>>| {
            decays.as_ref().map(|decays| if kind == TensorKind::Weight { decays[lane] } else { 0.0 })
        };
        Settings {
            motion,
            lr: self.rates[lane],
            coupled_decay: at_weights(&self.coupled_rates),
            decoupled_decay: at_weights(&self.decoupled_rates),
            penalty: self.penalty.of_single_numbers(lane, kind),
        }
    }

    /// The moments, or initial ones: adding minus zero changes no number, not even minus zero.
    fn take_moments(&mut self) -> (Option<Numbers>, Option<Numbers>) {
        let shape = [self.rates.len(), self.layout.length()];
        let begin = |moment: Option<Tensor<2>>| {
            Some(moment.map_or_else(
                || Numbers::from(TensorData::new(vec![-0.0_f32; shape[0] * shape[1]], shape)),
                Numbers::take,
            ))
        };
        match &mut self.rule {
            Rule::Adam { moments, .. } => {
                let (first, second) = moments.take().unzip();
                (begin(first), begin(second))
            }
            Rule::Sgd { momentum, velocity, .. } if *momentum != 0.0 => (begin(velocity.take()), None),
            Rule::Sgd { .. } => (None, None),
        }
    }

    fn give_moments(&mut self, first: Option<Numbers>, second: Option<Numbers>) {
        let [first, second] = [first, second].map(|numbers| numbers.map(|numbers| numbers.give(&self.device)));
        match &mut self.rule {
            Rule::Adam { moments, .. } => *moments = first.zip(second),
            Rule::Sgd { velocity, .. } => *velocity = first,
        }
    }
}

fn values_of(numbers: &mut Option<Numbers>) -> &mut [f32] {
    match numbers {
        Some(numbers) => numbers.values_mut(),
        None => &mut [],
    }
}

/// A part of a row; empty if the optimiser does not have the row.
fn part<'a>(row: &'a mut [f32], range: &Range<usize>) -> &'a mut [f32] {
    row.get_mut(range.clone()).unwrap_or_default()
}

#[inline(always)]
fn multiply(values: &mut [f32], factors: Option<&[f32]>) {
    for (value, factor) in values.iter_mut().zip(factors.unwrap_or_default()) {
        *value *= factor;
    }
}

#[inline(always)]
fn add_squares(sums: &mut [f32; 8], values: &[f32]) {
    let (chunks, rest) = values.as_chunks::<8>();
    for chunk in chunks {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += value * value;
        }
    }
    for (sum, value) in sums.iter_mut().zip(rest) {
        *sum += value * value;
    }
}

/// 1, −1 or 0; also for NaN.
#[inline(always)]
fn sign(value: f32) -> f32 {
    f32::from(u8::from(value > 0.0)) - f32::from(u8::from(value < 0.0))
}

impl Block<'_> {
    #[inline(always)]
    fn advance(&mut self, settings: &Settings) {
        self.add_penalty(settings.penalty);
        if let Some(decay) = settings.coupled_decay {
            for (push, parameter) in self.pushes.iter_mut().zip(&*self.parameters) {
                *push += parameter * decay;
            }
        }
        if let Some(decay) = settings.decoupled_decay {
            self.scale(-(decay * settings.lr) + 1.0);
        }
        if let Some((RegularizationKind::L2Decoupled, strength)) = settings.penalty {
            self.scale(-(strength * settings.lr) + 1.0);
        }
        self.move_along(settings.motion, settings.lr);
        if let Some((RegularizationKind::L1, strength)) = settings.penalty {
            let threshold = strength * settings.lr;
            for parameter in &mut *self.parameters {
                *parameter -= parameter.min(threshold).max(-threshold);
            }
        }
    }

    #[inline(always)]
    fn scale(&mut self, factor: f32) {
        for parameter in &mut *self.parameters {
            *parameter *= factor;
        }
    }

    #[inline(always)]
    fn add_penalty(&mut self, penalty: Option<(RegularizationKind, f32)>) {
        let Some((kind, strength)) = penalty else { return };
        let numbers = self.pushes.iter_mut().zip(&*self.parameters);
        match kind {
            // Skipped for 0: a product with 0 may be NaN in a lane that is about to diverge.
            RegularizationKind::L1Subgradient | RegularizationKind::BatchNormScale | RegularizationKind::L2
                if strength == 0.0 =>
            {
                numbers.for_each(|(push, _)| *push += 0.0);
            }
            RegularizationKind::L1Subgradient | RegularizationKind::BatchNormScale => {
                numbers.for_each(|(push, parameter)| *push += sign(*parameter) * strength);
            }
            RegularizationKind::L2 => numbers.for_each(|(push, parameter)| *push += parameter * strength),
            // They act before or after the step, or not on single numbers.
            RegularizationKind::L1
            | RegularizationKind::L2Decoupled
            | RegularizationKind::GroupLasso
            | RegularizationKind::GroupNorm
            | RegularizationKind::Growing => {}
        }
    }

    #[inline(always)]
    fn move_along(&mut self, motion: Motion, lr: f32) {
        let numbers = self.parameters.iter_mut().zip(&*self.pushes);
        match motion {
            Motion::Adam { betas, rests, root_of_correction_2, eps, inverse_of_correction_1 } => {
                let moments = self.first.iter_mut().zip(&mut *self.second);
                for ((parameter, push), (first, second)) in numbers.zip(moments) {
                    *first = *first * betas[0] + push * rests[0];
                    *second = *second * betas[1] + push * push * rests[1];
                    let denominator = second.sqrt() / root_of_correction_2 + eps;
                    *parameter -= *first / denominator * inverse_of_correction_1 * lr;
                }
            }
            Motion::Momentum { momentum, nesterov } => {
                for ((parameter, push), velocity) in numbers.zip(&mut *self.first) {
                    *velocity = *velocity * momentum + push;
                    *parameter -= lr * if nesterov { push + *velocity * momentum } else { *velocity };
                }
            }
            Motion::Plain => numbers.for_each(|(parameter, push)| *parameter -= push * lr),
        }
    }
}
