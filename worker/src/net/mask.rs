//! Which numbers of a net are kept.

use secateur_proto::spec::{ModelSpec, TensorKind};

use super::Parameters;

/// What is kept of each tensor, in the order of [`ModelSpec::tensors`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    /// `true` where a number is kept, in the order of the tensor in files; nothing for a tensor that nothing is taken from.
    pub kept: Vec<Option<Vec<bool>>>,
}

impl Mask {
    /// Keeps everything of a net of so many tensors.
    #[must_use]
    pub fn none(tensors: usize) -> Self {
        Self { kept: vec![None; tensors] }
    }

    /// Keeps everything of `model`, and can take from the weights of the given layers.
    #[must_use]
    pub fn full(model: &ModelSpec, layers: &[u32]) -> Self {
        let kept = model.tensors().into_iter().map(|tensor| {
            let prunable =
                tensor.kind == TensorKind::Weight && layers.iter().any(|layer| *layer as usize == tensor.layer);
            prunable.then(|| vec![true; tensor.numel()])
        });
        Self { kept: kept.collect() }
    }

    /// Removes the weights of a net that are exactly zero.
    #[must_use]
    pub fn of_zeros(model: &ModelSpec, parameters: &Parameters) -> Self {
        let kept = (model.tensors().into_iter().zip(&parameters.tensors)).map(|(tensor, values)| {
            (tensor.kind == TensorKind::Weight).then(|| values.iter().map(|value| *value != 0.0).collect())
        });
        Self { kept: kept.collect() }
    }

    /// Numbers removed.
    #[must_use]
    pub fn removed(&self) -> u64 {
        self.kept.iter().flatten().flatten().filter(|kept| !**kept).count() as u64
    }

    /// Whether the number at `place` of the tensor is kept.
    #[must_use]
    pub fn keeps(&self, tensor: usize, place: usize) -> bool {
        self.kept[tensor].as_ref().is_none_or(|kept| kept[place])
    }

    /// Removes the number at `place` of the tensor, of `length` numbers.
    pub fn remove(&mut self, tensor: usize, place: usize, length: usize) {
        self.kept[tensor].get_or_insert_with(|| vec![true; length])[place] = false;
    }

    /// Removes what another mask removes.
    pub fn remove_all(&mut self, other: &Self) {
        for (mine, theirs) in self.kept.iter_mut().zip(&other.kept) {
            match (mine, theirs) {
                (_, None) => {}
                (mine @ None, Some(theirs)) => *mine = Some(theirs.clone()),
                (Some(mine), Some(theirs)) => mine.iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine &= theirs),
            }
        }
    }

    /// What either removes; nothing if there is neither.
    #[must_use]
    pub fn either(one: Option<&Self>, other: Option<&Self>) -> Option<Self> {
        match (one, other) {
            (Some(one), Some(other)) => {
                let mut both = one.clone();
                both.remove_all(other);
                Some(both)
            }
            (one, other) => one.or(other).cloned(),
        }
    }

    /// Sets removed numbers to exactly zero.
    pub fn apply(&self, parameters: &mut Parameters) {
        for (values, kept) in parameters.tensors.iter_mut().zip(&self.kept) {
            for (value, kept) in values.iter_mut().zip(kept.iter().flatten()) {
                if !kept {
                    *value = 0.0;
                }
            }
        }
    }

    /// Removed numbers that are not exactly zero. Anything but 0 is a defect.
    #[must_use]
    pub fn violations(&self, parameters: &Parameters) -> usize {
        (parameters.tensors.iter().zip(&self.kept))
            .flat_map(|(values, kept)| values.iter().zip(kept.iter().flatten()))
            .filter(|(value, kept)| !**kept && **value != 0.0)
            .count()
    }
}
