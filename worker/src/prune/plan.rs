//! The pruning plan: the sorted list of what is removed and why. Made before it is executed, saved as an artifact, and executed
//! from the saved file.
//!
//! The file is safetensors: `removed.layer` (index among all layers), `removed.index` (place in the layer's weights, `[outputs,
//! inputs]` row-major) and `removed.score`, lowest score first; the metadata entry `plan` says as JSON what was asked and what each
//! layer loses.

use std::collections::HashMap;

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use secateur_proto::{
    ids::StageKey,
    spec::{CriterionSpec, ModelSpec, Removal},
};
use serde::{Deserialize, Serialize};

use crate::{
    net::Mask,
    tensors::{InvalidTensors, f32_bytes, finite_f32, u32_bytes, u32_list},
};

/// What is removed, lowest score first.
#[derive(Debug, Clone, PartialEq)]
pub struct PruningPlan {
    /// What was asked and what each layer loses.
    pub summary: PlanSummary,
    /// The removed weights.
    pub removed: Vec<RemovedWeight>,
}

/// One entry of the list.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RemovedWeight {
    /// Index among all layers.
    pub layer: u32,
    /// Place in the layer's weights.
    pub index: u32,
    /// Why.
    pub score: f32,
}

/// What was asked and what each layer loses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanSummary {
    /// The net that was scored.
    pub dense: StageKey,
    /// How.
    pub criterion: Option<CriterionSpec>,
    /// How many, and among which they compete.
    pub removal: Removal,
    /// Every prunable layer.
    pub layers: Vec<LayerSummary>,
}

/// What one layer loses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerSummary {
    /// `layers.<i>`.
    pub name: String,
    /// Its weights.
    pub weights: u64,
    /// How many of them go.
    pub removed: u64,
    /// The highest score that goes.
    pub highest_removed_score: Option<f32>,
    /// The lowest score that stays.
    pub lowest_kept_score: Option<f32>,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoPlan {
    /// A layer would be left without a weight.
    #[error("layer {layer} would be left without a weight")]
    Collapsed {
        /// Its name.
        layer: String,
    },
    /// A score is NaN or infinite.
    #[error("a score is not finite")]
    NotFinite,
}

impl PruningPlan {
    /// Removes exactly as many weights as `removal` says, the lowest scores first, ties by layer and place. `scores` has one vector
    /// for each prunable layer.
    ///
    /// # Errors
    /// If a layer would be left empty, or a score is not finite.
    ///
    /// # Panics
    /// If scores or removal are not of `model`; a checked spec's are.
    pub fn make(
        model: &ModelSpec,
        dense: StageKey,
        criterion: Option<CriterionSpec>,
        removal: &Removal,
        scores: &[Vec<f32>],
    ) -> Result<Self, NoPlan> {
        let layers: Vec<_> = model.layers().into_iter().enumerate().filter(|(_, layer)| layer.prunable).collect();
        assert_eq!(layers.len(), scores.len(), "one vector of scores for each prunable layer");
        if scores.iter().flatten().any(|score| !score.is_finite()) {
            return Err(NoPlan::NotFinite);
        }
        let sorted = |layers: &[(u32, &[f32])]| {
            let mut entries: Vec<RemovedWeight> = (layers.iter())
                .flat_map(|(layer, scores)| {
                    (0..).zip(scores.iter()).map(|(index, score)| RemovedWeight { layer: *layer, index, score: *score })
                })
                .collect();
            // Stable, and the entries are in the order of layer and place: that is how ties are broken.
            entries.sort_by(|a, b| a.score.total_cmp(&b.score));
            entries
        };
        let indexed: Vec<(u32, &[f32])> = (layers.iter().zip(scores))
            .map(|((index, _), scores)| (u32::try_from(*index).expect("few layers"), scores.as_slice()))
            .collect();
        let mut removed: Vec<RemovedWeight> = match removal {
            Removal::Global { count } => sorted(&indexed).into_iter().take(length(*count)).collect(),
            Removal::PerLayer { counts } => {
                assert_eq!(counts.len(), indexed.len(), "one count for each prunable layer");
                (indexed.iter().zip(counts))
                    .flat_map(|(layer, count)| sorted(&[*layer]).into_iter().take(length(*count)))
                    .collect()
            }
        };
        removed.sort_by(|a, b| a.score.total_cmp(&b.score));
        assert_eq!(removed.len() as u64, removal.total(), "a checked spec removes no more weights than there are");
        let mut goes: HashMap<u32, Vec<bool>> =
            indexed.iter().map(|(layer, scores)| (*layer, vec![false; scores.len()])).collect();
        for entry in &removed {
            goes.entry(entry.layer).or_default()[entry.index as usize] = true;
        }
        let mut summaries = Vec::new();
        for ((_, layer), (index, scores)) in layers.iter().zip(&indexed) {
            let goes = &goes[index];
            let count = goes.iter().filter(|goes| **goes).count();
            if count == scores.len() {
                return Err(NoPlan::Collapsed { layer: layer.name.clone() });
            }
            let of = |wanted: bool| {
                scores.iter().zip(goes).filter(move |(_, goes)| **goes == wanted).map(|(score, _)| *score)
            };
            summaries.push(LayerSummary {
                name: layer.name.clone(),
                weights: scores.len() as u64,
                removed: count as u64,
                highest_removed_score: of(true).max_by(f32::total_cmp),
                lowest_kept_score: of(false).min_by(f32::total_cmp),
            });
        }
        Ok(Self { summary: PlanSummary { dense, criterion, removal: removal.clone(), layers: summaries }, removed })
    }

    /// What is kept.
    ///
    /// # Errors
    /// If the plan names a weight that the net does not have, or one twice.
    pub fn mask(&self, model: &ModelSpec) -> Result<Mask, InvalidTensors> {
        let inconsistent = |what: &str| InvalidTensors::Inconsistent(format!("the pruning plan {what}"));
        // Index among all layers to place among the prunable ones.
        let mut place = HashMap::new();
        for (index, _) in (0_u32..).zip(model.layers()).filter(|(_, layer)| layer.prunable) {
            place.insert(index, place.len());
        }
        let mut mask = Mask::full(model);
        for entry in &self.removed {
            let layer = place.get(&entry.layer).ok_or_else(|| inconsistent("names a layer that cannot be pruned"))?;
            let kept = mask.kept[*layer].get_mut(entry.index as usize);
            let kept = kept.ok_or_else(|| inconsistent("names a weight that the net does not have"))?;
            if !std::mem::replace(kept, false) {
                return Err(inconsistent("names a weight twice"));
            }
        }
        Ok(mask)
    }

    /// Writes the plan. Equal plans give equal bytes.
    ///
    /// # Errors
    /// Never for a plan that was made here.
    pub fn write(&self) -> Result<Vec<u8>, InvalidTensors> {
        let layers: Vec<u32> = self.removed.iter().map(|entry| entry.layer).collect();
        let indices: Vec<u32> = self.removed.iter().map(|entry| entry.index).collect();
        let scores: Vec<f32> = self.removed.iter().map(|entry| entry.score).collect();
        let (layers, indices, scores) = (u32_bytes(&layers), u32_bytes(&indices), f32_bytes(&scores));
        let shape = vec![self.removed.len()];
        let views = [
            ("removed.layer", TensorView::new(Dtype::U32, shape.clone(), &layers)?),
            ("removed.index", TensorView::new(Dtype::U32, shape.clone(), &indices)?),
            ("removed.score", TensorView::new(Dtype::F32, shape, &scores)?),
        ];
        let summary = serde_json::to_string(&self.summary).expect("a plan summary is plain data");
        Ok(safetensors::serialize(views, Some(HashMap::from([("plan".to_owned(), summary)])))?)
    }

    /// Reads a plan.
    ///
    /// # Errors
    /// If the bytes are not one.
    pub fn read(bytes: &[u8]) -> Result<Self, InvalidTensors> {
        let inconsistent = |what: String| InvalidTensors::Inconsistent(what);
        let (_, metadata) = SafeTensors::read_metadata(bytes)?;
        let summary = (metadata.metadata().as_ref().and_then(|entries| entries.get("plan")))
            .ok_or_else(|| inconsistent("the file is not a pruning plan".into()))?;
        let summary: PlanSummary = serde_json::from_str(summary)
            .map_err(|error| inconsistent(format!("the pruning plan's summary: {error}")))?;
        let file = SafeTensors::deserialize(bytes)?;
        let layers = u32_list(&file, "removed.layer")?;
        let indices = u32_list(&file, "removed.index")?;
        let scores = finite_f32(&file, "removed.score", &[layers.len()])?;
        if indices.len() != layers.len() || layers.len() as u64 != summary.removal.total() {
            return Err(inconsistent("the pruning plan's lists have different lengths".into()));
        }
        let removed = (layers.into_iter().zip(indices).zip(scores))
            .map(|((layer, index), score)| RemovedWeight { layer, index, score })
            .collect();
        Ok(Self { summary, removed })
    }
}

fn length(count: u64) -> usize {
    usize::try_from(count).expect("a checked spec has at most 2^31 weights")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secateur_proto::ids::ContentHash;

    use super::*;

    fn model() -> ModelSpec {
        ModelSpec::Mlp { inputs: 3, hidden: vec![4, 2] }
    }

    fn make(removal: &Removal, scores: &[Vec<f32>]) -> Result<PruningPlan, NoPlan> {
        let criterion = Some(CriterionSpec::Magnitude {});
        PruningPlan::make(&model(), StageKey(ContentHash::of(b"dense")), criterion, removal, scores)
    }

    #[test]
    fn ties_go_by_layer_and_place() {
        let scores = vec![vec![1.0; 12], vec![1.0; 8]];
        let plan = make(&Removal::Global { count: 3 }, &scores).expect("a plan");
        let places: Vec<(u32, u32)> = plan.removed.iter().map(|entry| (entry.layer, entry.index)).collect();
        assert_eq!(places, [(0, 0), (0, 1), (0, 2)]);
    }

    #[test]
    fn a_layer_that_would_be_emptied_is_a_collapse_and_a_nan_no_score() {
        let scores = vec![vec![1.0; 12], vec![0.5; 8]];
        let collapsed = NoPlan::Collapsed { layer: "layers.1".into() };
        assert_eq!(make(&Removal::Global { count: 8 }, &scores), Err(collapsed));
        assert!(make(&Removal::PerLayer { counts: vec![5, 3] }, &scores).is_ok());
        let scores = vec![vec![f32::NAN; 12], vec![0.5; 8]];
        assert_eq!(make(&Removal::Global { count: 1 }, &scores), Err(NoPlan::NotFinite));
    }

    proptest! {
        #[test]
        fn exactly_the_lowest_scores_go_and_the_file_says_so(
            first in proptest::collection::vec(0_u8..6, 12),
            second in proptest::collection::vec(0_u8..6, 8),
            share in 0.0..0.55_f64,
            local in any::<bool>(),
        ) {
            let scores: Vec<Vec<f32>> =
                [first, second].iter().map(|layer| layer.iter().map(|score| f32::from(*score)).collect()).collect();
            let count = |size: usize| (share * size as f64) as u64;
            let removal = if local {
                Removal::PerLayer { counts: scores.iter().map(|layer| count(layer.len())).collect() }
            } else {
                Removal::Global { count: count(20) }
            };
            let plan = match make(&removal, &scores) {
                Ok(plan) => plan,
                Err(NoPlan::Collapsed { .. }) => return Ok(()),
                Err(error) => return Err(TestCaseError::fail(error.to_string())),
            };
            let mask = plan.mask(&model()).expect("a mask");
            prop_assert_eq!(mask.removed(), removal.total());
            // No kept weight scores below a removed one that it competed with.
            for (index, layer) in plan.summary.layers.iter().enumerate() {
                let kept = mask.kept[index].iter().filter(|kept| **kept).count() as u64;
                prop_assert_eq!(kept, layer.weights - layer.removed);
                if let (Some(removed), Some(kept)) = (layer.highest_removed_score, layer.lowest_kept_score) {
                    prop_assert!(removed <= kept);
                }
            }
            if !local {
                let removed = plan.removed.last().map(|entry| entry.score);
                let kept = plan.summary.layers.iter().filter_map(|layer| layer.lowest_kept_score).min_by(f32::total_cmp);
                prop_assert!(removed.is_none_or(|removed| kept.is_none_or(|kept| removed <= kept)));
            }
            prop_assert!(plan.removed.is_sorted_by(|a, b| a.score <= b.score));
            let bytes = plan.write().expect("writes");
            prop_assert_eq!(PruningPlan::read(&bytes).expect("reads"), plan);
        }
    }

    #[test]
    fn a_damaged_plan_is_refused() {
        let scores = vec![vec![1.0; 12], vec![1.0; 8]];
        let plan = make(&Removal::Global { count: 3 }, &scores).expect("a plan");
        let bytes = plan.write().expect("writes");
        for end in 0..bytes.len() {
            assert!(PruningPlan::read(&bytes[..end]).is_err());
        }
        let mut twice = plan.clone();
        twice.removed[1] = twice.removed[0];
        assert!(twice.mask(&model()).is_err());
        let mut outside = plan;
        outside.removed[0].index = 12;
        assert!(outside.mask(&model()).is_err());
    }
}
