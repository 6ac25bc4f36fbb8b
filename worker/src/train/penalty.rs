//! Penalties on the parameters `[K, P]` of a bundle: what they add to the gradient, and what they do before and after a
//! step. Biases, shifts and running statistics are not penalised.

use burn::tensor::{Device, Tensor, TensorData};
use secateur_proto::spec::{RegularizationKind, RegularizationSpec, TensorKind};

use super::bundle::Lane;
use crate::net::flat::FlatLayout;

/// The share of the weights of each layer but the last that a growing penalty applies to.
pub const GROWING_SHARE: f64 = 0.5;

/// How much stronger the penalty on the weakest group is than that on the strongest, as a power of two (Fang et al.
/// 2023).
const RAMP: f64 = 4.0;

/// Replaces the length of a group of zeros, and the difference between groups of equal length.
const TINY: f32 = 1e-30;

/// The period of a penalty in an epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Period {
    /// The penalty has not begun.
    WarmUp,
    /// The penalty applies.
    On {
        /// The share of its epochs that have begun, above 0 and up to 1.
        progress: f64,
    },
    /// The penalty is over, and weights that are exactly zero remain zero.
    Healing,
}

impl Period {
    /// The period of `epoch`, from 1, of `epochs`. If warm-up and healing overlap, healing wins.
    #[must_use]
    pub fn of(penalty: &RegularizationSpec, epoch: u32, epochs: u32) -> Self {
        let last = epochs.saturating_sub(penalty.healing_epochs);
        if epoch > last {
            Self::Healing
        } else if epoch <= penalty.warm_up_epochs {
            Self::WarmUp
        } else {
            let begun = f64::from(epoch - penalty.warm_up_epochs);
            Self::On { progress: begun / f64::from(last - penalty.warm_up_epochs) }
        }
    }
}

/// The penalties of the lanes of a bundle, which have the same kind.
#[derive(Debug)]
pub struct Penalty {
    kind: Option<RegularizationKind>,
    of_lane: Vec<Option<RegularizationSpec>>,
    layout: FlatLayout,
    device: Device,
    /// `[K, 1]`: the current λ.
    strength: Tensor<2>,
    /// The same on the host.
    strengths: Vec<f32>,
    /// `[K, P]`: λ where it applies, 0 elsewhere, or `None` if no lane is penalised now.
    places: Option<Tensor<2>>,
}

impl Penalty {
    /// The penalties of `lanes`, at full strength until an epoch begins.
    #[must_use]
    pub fn new(lanes: &[Lane], layout: &FlatLayout, device: &Device) -> Self {
        let mut penalty = Self {
            kind: lanes.iter().find_map(|lane| lane.regularization.as_ref().map(|penalty| penalty.kind)),
            of_lane: lanes.iter().map(|lane| lane.regularization.clone()).collect(),
            layout: layout.clone(),
            device: device.clone(),
            strength: Tensor::zeros([lanes.len(), 1], device),
            strengths: vec![0.0; lanes.len()],
            places: None,
        };
        let full = Period::On { progress: 1.0 };
        penalty.set(&|_| full, &|| lanes.iter().flat_map(|lane| layout.flatten(&lane.start)).collect());
        penalty
    }

    /// Begins `epoch`, from 1, of `epochs`, with the parameters `[K, P]`.
    ///
    /// A growing penalty chooses its weights again: of each layer but the last those among the [`GROWING_SHARE`] of the
    /// smallest magnitude, of weights that are not zero. This does not depend on earlier epochs, so a resumed training
    /// continues identically.
    pub fn begin_epoch(&mut self, epoch: u32, epochs: u32, parameters: &Tensor<2>) {
        self.set(&|penalty| Period::of(penalty, epoch, epochs), &|| parameters.to_data().iter::<f32>().collect());
    }

    fn set(&mut self, period: &dyn Fn(&RegularizationSpec) -> Period, parameters: &dyn Fn() -> Vec<f32>) {
        let Some(kind) = self.kind else { return };
        let strengths: Vec<f64> = (self.of_lane.iter())
            .map(|penalty| match penalty.as_ref().map(|penalty| (penalty.strength, period(penalty))) {
                Some((strength, Period::On { progress })) if kind == RegularizationKind::Growing => strength * progress,
                Some((strength, Period::On { .. })) => strength,
                Some((_, Period::WarmUp | Period::Healing)) | None => 0.0,
            })
            .collect();
        let places = at(penalised(kind), &strengths, &self.layout, &self.device);
        self.places = match places {
            Some(places) if kind == RegularizationKind::Growing => {
                let rows = parameters();
                let chosen = rows.chunks_exact(self.layout.length()).flat_map(|row| smallest(row, &self.layout));
                let chosen = TensorData::new(chosen.collect::<Vec<f32>>(), places.dims());
                Some(places * Tensor::from_data(chosen, &self.device))
            }
            places => places,
        };
        let column: Vec<f32> = strengths.iter().map(|strength| *strength as f32).collect();
        self.strength = Tensor::from_data(TensorData::new(column.clone(), [strengths.len(), 1]), &self.device);
        self.strengths = column;
    }

    /// Whether the penalty applies to each number separately, with values of its lane and tensor. True without a
    /// penalty.
    #[must_use]
    pub fn is_of_single_numbers(&self) -> bool {
        match self.kind {
            Some(
                RegularizationKind::L1
                | RegularizationKind::L1Subgradient
                | RegularizationKind::L2
                | RegularizationKind::L2Decoupled
                | RegularizationKind::BatchNormScale,
            )
            | None => true,
            Some(RegularizationKind::GroupLasso | RegularizationKind::GroupNorm | RegularizationKind::Growing) => false,
        }
    }

    /// Kind and λ of such a penalty for the tensors of that kind in a lane, where λ is 0 if they are not penalised.
    /// `None` if no lane is penalised now.
    #[must_use]
    pub fn of_single_numbers(&self, lane: usize, tensor: TensorKind) -> Option<(RegularizationKind, f32)> {
        let (kind, _) = self.kind.zip(self.places.as_ref())?;
        Some((kind, if tensor == penalised(kind) { self.strengths[lane] } else { 0.0 }))
    }

    /// The gradient including that of the penalty.
    #[must_use]
    pub fn add_gradient(&self, parameters: &Tensor<2>, gradient: Tensor<2>) -> Tensor<2> {
        let (Some(kind), Some(places)) = (self.kind, &self.places) else { return gradient };
        match kind {
            RegularizationKind::L2 | RegularizationKind::Growing => {
                gradient + only_at(places, parameters.clone() * places.clone())
            }
            RegularizationKind::L1Subgradient | RegularizationKind::BatchNormScale => {
                gradient + only_at(places, parameters.clone().sign() * places.clone())
            }
            RegularizationKind::GroupNorm => {
                let pushes = self.map_weights(parameters, |weights| {
                    let lengths = lengths(&weights);
                    let (longest, shortest) = (lengths.clone().max_dim(2), lengths.clone().min_dim(2));
                    let span = (longest.clone() - shortest).clamp_min(TINY);
                    let harder = ((longest - lengths) / span).mul_scalar(RAMP * std::f64::consts::LN_2).exp();
                    weights * harder
                });
                gradient + only_at(places, pushes * places.clone())
            }
            RegularizationKind::L1 | RegularizationKind::L2Decoupled | RegularizationKind::GroupLasso => gradient,
        }
    }

    /// The parameters before a step of rate `lr` `[K, 1]`.
    #[must_use]
    pub fn before_step(&self, parameters: Tensor<2>, lr: &Tensor<2>) -> Tensor<2> {
        match (self.kind, &self.places) {
            (Some(RegularizationKind::L2Decoupled), Some(places)) => {
                parameters * (places.clone() * lr.clone()).neg().add_scalar(1.0)
            }
            _ => parameters,
        }
    }

    /// The parameters after a step of rate `lr` `[K, 1]` and the proximal part of the penalty.
    #[must_use]
    pub fn after_step(&self, parameters: Tensor<2>, lr: &Tensor<2>) -> Tensor<2> {
        match (self.kind, &self.places) {
            (Some(RegularizationKind::L1), Some(places)) => {
                // w − clamp(w, −t, t) is sign(w) · max(|w| − t, 0).
                let threshold = places.clone() * lr.clone();
                let clamped = parameters.clone().min_pair(threshold.clone()).max_pair(threshold.neg());
                parameters - clamped
            }
            (Some(RegularizationKind::GroupLasso), Some(_)) => {
                let threshold = (self.strength.clone() * lr.clone()).reshape([-1, 1, 1, 1]);
                self.map_weights(&parameters, |weights| {
                    let [_, before, _, after] = weights.dims();
                    let size = ((before * after) as f64).sqrt();
                    let shares = threshold.clone().mul_scalar(size) / lengths(&weights).clamp_min(TINY);
                    weights * shares.neg().add_scalar(1.0).clamp_min(0.0)
                })
            }
            _ => parameters,
        }
    }

    /// Applies `change` to the weights of each layer, as `[K, before, units, after]`.
    fn map_weights(&self, parameters: &Tensor<2>, change: impl Fn(Tensor<4>) -> Tensor<4>) -> Tensor<2> {
        let lanes = parameters.dims()[0];
        let parts = (self.layout.tensors().iter()).map(|tensor| {
            let values = parameters.clone().slice([0..lanes, tensor.offset..tensor.offset + tensor.length]);
            if tensor.kind != TensorKind::Weight {
                return values;
            }
            let [before, units, after] = tensor.by_unit();
            change(values.reshape([lanes, before, units, after])).reshape([lanes, tensor.length])
        });
        Tensor::cat(parts.collect(), 1)
    }
}

/// The 2-norm of each unit's weights `[K, before, units, after]`: `[K, 1, units, 1]`.
fn lengths(weights: &Tensor<4>) -> Tensor<4> {
    (weights.clone() * weights.clone()).sum_dim(1).sum_dim(3).sqrt()
}

/// `pushes` where `places` are not 0, and 0 elsewhere. A product would not do: it may be NaN in a lane that is about to
/// diverge and is not penalised itself.
fn only_at(places: &Tensor<2>, pushes: Tensor<2>) -> Tensor<2> {
    pushes.mask_fill(places.clone().equal_elem(0.0), 0.0)
}

/// The kind of tensors that a penalty applies to.
const fn penalised(kind: RegularizationKind) -> TensorKind {
    match kind {
        RegularizationKind::BatchNormScale => TensorKind::Scale,
        _ => TensorKind::Weight,
    }
}

/// A row that is 1 at the weights that magnitude would remove, 0 elsewhere. Of equal weights the first is removed
/// first.
fn smallest(row: &[f32], layout: &FlatLayout) -> Vec<f32> {
    let mut chosen = vec![0.0; row.len()];
    let weights: Vec<_> = layout.tensors().iter().filter(|tensor| tensor.kind == TensorKind::Weight).collect();
    for tensor in weights.split_last().map(|(_, others)| others).unwrap_or_default() {
        let mut places: Vec<usize> = (tensor.offset..tensor.offset + tensor.length).collect();
        places.retain(|place| row[*place] != 0.0);
        places.sort_by(|one, two| row[*one].abs().total_cmp(&row[*two].abs()));
        places.truncate((places.len() as f64 * GROWING_SHARE) as usize);
        places.into_iter().for_each(|place| chosen[place] = 1.0);
    }
    chosen
}

/// `[K, P]`: each lane's value at its weights, 0 elsewhere, or `None` if all are 0.
#[must_use]
pub fn at_weights(values: &[f64], layout: &FlatLayout, device: &Device) -> Option<Tensor<2>> {
    at(TensorKind::Weight, values, layout, device)
}

fn at(kind: TensorKind, values: &[f64], layout: &FlatLayout, device: &Device) -> Option<Tensor<2>> {
    values.iter().any(|value| *value != 0.0).then(|| {
        let rows: Vec<f32> = values.iter().flat_map(|value| layout.at(kind, *value as f32)).collect();
        Tensor::from_data(TensorData::new(rows, [values.len(), layout.length()]), device)
    })
}
