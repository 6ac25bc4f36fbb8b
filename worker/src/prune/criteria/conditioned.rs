//! Shared parts of criteria that train: the competing weights, and which of them have the lowest scores.

use std::ops::Range;

use secateur_proto::{
    outcome::{Failure, FailureClass},
    spec::TrainingSpec,
};

use super::{Arguments, Context, ParameterDefinition};

pub(super) const EPOCHS: ParameterDefinition = ParameterDefinition {
    name: "epochs",
    summary: "epochs of the training that finds the scores",
    default: 3.0,
    range: (1.0, 1e4),
    integer: true,
};

/// The weights among which a conditioned training chooses.
#[derive(Debug, Clone)]
pub(super) struct Competition {
    /// For each prunable layer, the index of its weight tensor.
    pub(super) tensors: Vec<usize>,
    /// For each prunable layer, what earlier levels removed.
    gone: Vec<Vec<bool>>,
    /// The number of weights to remove in total.
    pub(super) count: u64,
    /// The number for each layer, if layers do not compete.
    counts: Option<Vec<u64>>,
}

impl Competition {
    /// The competing weights of `context`.
    ///
    /// # Errors
    /// If the number to remove is not known.
    pub(super) fn of(context: &Context<'_>) -> Result<Self, Failure> {
        let unknown = "the criterion needs the number of weights to remove, which this removal does not define";
        let count = context.count.ok_or_else(|| Failure::new(FailureClass::Input, unknown))?;
        let tensors: Vec<usize> = context.prunable().into_iter().map(|(_, tensor)| tensor).collect();
        let gone = |tensor: &usize| {
            let places = 0..context.net.tensors[*tensor].len();
            places.map(|place| context.removed.is_some_and(|removed| !removed.keeps(*tensor, place))).collect()
        };
        Ok(Self { gone: tensors.iter().map(gone).collect(), tensors, count, counts: context.counts.clone() })
    }

    /// The number that is already removed.
    pub(super) fn lost(&self) -> u64 {
        self.gone.iter().flatten().filter(|gone| **gone).count() as u64
    }

    /// The total number of places.
    pub(super) fn places(&self) -> u64 {
        self.gone.iter().map(Vec::len).sum::<usize>() as u64
    }

    /// Zero for every place.
    pub(super) fn zeros(&self) -> Vec<Vec<f64>> {
        self.gone.iter().map(|layer| vec![0.0; layer.len()]).collect()
    }

    /// Which places are kept if the `count` lowest are removed: places that are already removed first, ties by layer
    /// and place. Either of all layers together, or from each layer a proportional share of its own count.
    pub(super) fn kept(&self, scores: &[Vec<f64>], count: u64) -> Vec<Vec<bool>> {
        let mut kept: Vec<Vec<bool>> = self.gone.iter().map(|layer| vec![true; layer.len()]).collect();
        let Some(counts) = &self.counts else {
            self.remove_lowest(scores, 0..self.gone.len(), count, &mut kept);
            return kept;
        };
        let (lost, all) = (self.lost(), self.count);
        let share = count.saturating_sub(lost) as f64 / all.saturating_sub(lost).max(1) as f64;
        for (layer, count) in counts.iter().enumerate() {
            let gone = self.gone[layer].iter().filter(|gone| **gone).count() as u64;
            let now = gone + (count.saturating_sub(gone) as f64 * share.min(1.0)).round() as u64;
            self.remove_lowest(scores, layer..layer + 1, now, &mut kept);
        }
        kept
    }

    fn remove_lowest(&self, scores: &[Vec<f64>], layers: Range<usize>, count: u64, kept: &mut [Vec<bool>]) {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let mut places: Vec<(bool, f64, usize, usize)> = layers
            .flat_map(|layer| {
                let (gone, scores) = (&self.gone[layer], &scores[layer]);
                let places = gone.iter().zip(scores).enumerate();
                places.map(move |(place, (gone, score))| (!gone, *score, layer, place))
            })
            .collect();
        if count > 0 && count < places.len() {
            places.select_nth_unstable_by(count - 1, |one, two| {
                one.0.cmp(&two.0).then(one.1.total_cmp(&two.1)).then((one.2, one.3).cmp(&(two.2, two.3)))
            });
        }
        for (_, _, layer, place) in places.into_iter().take(count) {
            kept[layer][place] = false;
        }
    }
}

/// The settings of the conditioned training: those of retraining, but with the criterion's number of epochs.
pub(super) fn training(context: &Context<'_>, arguments: &Arguments) -> TrainingSpec {
    let epochs = u32::try_from(arguments.count(EPOCHS.name)).unwrap_or(u32::MAX);
    TrainingSpec { epochs, ..context.training.clone() }
}

#[cfg(test)]
mod tests;
