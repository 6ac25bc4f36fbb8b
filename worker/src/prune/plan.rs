//! The pruning plan: the sorted list of what is removed and why. It is made before it is executed, saved as an
//! artifact, and executed from the saved file.
//!
//! The file is safetensors with four tensors. `removed.layer` is the index among all layers. `removed.index` is the
//! weight's place, `[outputs, inputs, …]` row-major, or the unit. `removed.score` is the score. `removed.step` is the
//! training step after which the place was removed for good; 0 means before the training. Entries are in the order of
//! steps, and within a step by ascending score. The metadata entry `plan` is JSON with the request and the counts of
//! each layer, with the scores of the last change.
//!
//! If a mask changes while the net trains, every change is a plan of its own, and the mask is made from the plan as
//! written and read back. Plans that a later change replaces are not kept: a gradual schedule has them all in its
//! steps, and for a dynamic one only the last plan is valid. The plan of the last change is saved before it is
//! executed, as any other.

use std::collections::{HashMap, HashSet};

use rand::seq::SliceRandom as _;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use secateur_proto::spec::{Ablation, CriterionSpec, Granularity, ModelSpec, PruneSpec, Ranking, Removal, Subject};
use serde::{Deserialize, Serialize};

use super::{
    criteria::Scores,
    select::{Candidates, NoSelection, Place, Request, candidates, select},
};
use crate::{
    net::{Mask, Parameters, units::units, weight_tensors},
    random,
    tensors::{InvalidTensors, f64_bytes, finite_f64, u32_bytes, u32_list, u64_bytes, u64_list},
};

/// What is removed, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct PruningPlan {
    /// The request and the counts of each layer.
    pub summary: PlanSummary,
    /// The removed places.
    pub removed: Vec<RemovedPlace>,
}

/// One entry of the list.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RemovedPlace {
    /// Index among all layers.
    pub layer: u32,
    /// The weight's place in the layer, or the unit.
    pub index: u32,
    /// Its score.
    pub score: f64,
    /// The number of training steps after which it was removed for good.
    pub step: u64,
}

/// The request and the counts of each layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanSummary {
    /// The net that was scored.
    pub subject: Subject,
    /// How it was scored.
    pub criterion: Option<CriterionSpec>,
    /// The unit of pruning.
    pub granularity: Granularity,
    /// How scores of different layers were made comparable.
    pub ranking: Ranking,
    /// How many are removed, and among which they compete.
    pub removal: Removal,
    /// The ablation, if the stage is a control.
    pub ablation: Option<Ablation>,
    /// Every prunable layer.
    pub layers: Vec<LayerSummary>,
}

/// The counts of one layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerSummary {
    /// `layers.<i>`.
    pub name: String,
    /// The number of its weights or units.
    pub places: u64,
    /// The number that is removed.
    pub removed: u64,
    /// The highest removed score.
    pub highest_removed_score: Option<f64>,
    /// The lowest kept score.
    pub lowest_kept_score: Option<f64>,
}

impl PruningPlan {
    /// Removes exactly as many places as `spec` says from its subject `net`, of which `removed` is already removed: the
    /// lowest scores first, ties by layer and place.
    ///
    /// # Errors
    /// If a layer would be left empty, a score is not finite, or the scores do not fit the spec.
    ///
    /// # Panics
    /// If the spec was not checked.
    pub fn make(
        spec: &PruneSpec,
        net: &Parameters,
        removed: Option<&Mask>,
        scores: &Scores,
    ) -> Result<Self, NoSelection> {
        Self::of(spec, &Request::of(spec, net, removed), scores)
    }

    /// As [`Self::make`], for another request than that of `spec`.
    ///
    /// # Errors
    /// As [`Self::make`].
    pub fn of(spec: &PruneSpec, request: &Request<'_>, scores: &Scores) -> Result<Self, NoSelection> {
        let candidates = candidates(request, scores)?;
        let mut places = select(request, &candidates)?;
        if let Some(asked) = request.removal.total(&spec.prunable_layers()) {
            assert_eq!(places.len() as u64, asked, "a checked spec removes no more than there is");
        }
        if let Some(ablation) = spec.ablation {
            places = ablate(ablation, &candidates, places, spec.seed);
        }
        Ok(Self::listing(spec, &candidates, places))
    }

    /// The plan of what is already removed from the subject `net`: the initial plan of a schedule that removes nothing
    /// at the start.
    ///
    /// # Errors
    /// If the net does not have the spec's architecture.
    pub fn of_gone(spec: &PruneSpec, net: &Parameters, removed: Option<&Mask>) -> Result<Self, NoSelection> {
        let weights = weight_tensors(&spec.model);
        let none = |layer: &u32| weights[*layer as usize].map_or(0, |tensor| net.tensors[tensor].len());
        let scores = Scores::Weights(spec.layers.iter().map(|layer| vec![0.0; none(layer)]).collect());
        let candidates = candidates(&Request::of(spec, net, removed), &scores)?;
        let gone = (candidates.iter()).flat_map(|layer| {
            let places = (0..).zip(&layer.gone).filter(|(_, gone)| **gone);
            places.map(|(index, _)| Place { layer: layer.index, index, score: 0.0 })
        });
        let gone = gone.collect();
        Ok(Self::listing(spec, &candidates, gone))
    }

    fn listing(spec: &PruneSpec, candidates: &[Candidates], places: Vec<Place>) -> Self {
        let layers = candidates.iter().map(|layer| summary(layer, &places)).collect();
        let removed = places.into_iter();
        Self {
            summary: PlanSummary {
                subject: spec.subject,
                criterion: spec.criterion.clone(),
                granularity: spec.granularity,
                ranking: spec.ranking,
                removal: spec.removal.clone(),
                ablation: spec.ablation,
                layers,
            },
            removed: removed
                .map(|Place { layer, index, score }| RemovedPlace { layer, index, score, step: 0 })
                .collect(),
        }
    }

    /// This plan, executed after `steps` steps.
    #[must_use]
    pub fn at(mut self, steps: u64) -> Self {
        self.removed.iter_mut().for_each(|entry| entry.step = steps);
        self
    }

    /// The plan `newer`, executed after `steps` steps. Places that this plan removes as well keep their step.
    #[must_use]
    pub fn followed_by(&self, newer: Self, steps: u64) -> Self {
        let place = |entry: &RemovedPlace| (entry.layer, entry.index);
        let still: HashSet<(u32, u32)> = newer.removed.iter().map(place).collect();
        let known: HashSet<(u32, u32)> = self.removed.iter().map(place).collect();
        let before = self.removed.iter().filter(|entry| still.contains(&place(entry))).copied();
        let newer = newer.at(steps);
        let after = newer.removed.iter().filter(|entry| !known.contains(&place(entry))).copied();
        Self { removed: before.chain(after).collect(), summary: newer.summary }
    }

    /// The mask of kept weights.
    ///
    /// # Errors
    /// If the plan names a weight or unit that does not exist, or names one twice.
    pub fn mask(&self, model: &ModelSpec, layers: &[u32]) -> Result<Mask, InvalidTensors> {
        let inconsistent = |what: &str| InvalidTensors::Inconsistent(format!("the pruning plan {what}"));
        let (weights, units, tensors) = (weight_tensors(model), units(model), model.tensors());
        let mut mask = Mask::full(model, layers);
        let mut seen: HashMap<u32, Vec<bool>> = HashMap::new();
        for entry in &self.removed {
            let layer = entry.layer as usize;
            let weight = layers.contains(&entry.layer).then(|| weights.get(layer).copied().flatten()).flatten();
            let weight = weight.ok_or_else(|| inconsistent("names a layer that cannot be pruned"))?;
            let unknown = || inconsistent("names a weight or unit that the net does not have");
            let place = entry.index as usize;
            let numel = tensors[weight].numel();
            let count = match self.summary.granularity {
                Granularity::Weight => numel,
                Granularity::Unit => units[layer].as_ref().map(|units| units.count).ok_or_else(unknown)?,
            };
            let seen = seen.entry(entry.layer).or_insert_with(|| vec![false; count]);
            if std::mem::replace(seen.get_mut(place).ok_or_else(unknown)?, true) {
                return Err(inconsistent("names a weight or unit twice"));
            }
            match (&units[layer], self.summary.granularity) {
                (Some(units), Granularity::Unit) => units.remove(model, &mut mask, place),
                _ => mask.remove(weight, place, numel),
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
        let scores: Vec<f64> = self.removed.iter().map(|entry| entry.score).collect();
        let steps: Vec<u64> = self.removed.iter().map(|entry| entry.step).collect();
        let (layers, indices) = (u32_bytes(&layers), u32_bytes(&indices));
        let (scores, steps) = (f64_bytes(&scores), u64_bytes(&steps));
        let shape = vec![self.removed.len()];
        let views = [
            ("removed.layer", TensorView::new(Dtype::U32, shape.clone(), &layers)?),
            ("removed.index", TensorView::new(Dtype::U32, shape.clone(), &indices)?),
            ("removed.score", TensorView::new(Dtype::F64, shape.clone(), &scores)?),
            ("removed.step", TensorView::new(Dtype::U64, shape, &steps)?),
        ];
        let summary = serde_json::to_string(&self.summary).expect("a plan summary is plain data");
        Ok(safetensors::serialize(views, Some(HashMap::from([("plan".to_owned(), summary)])))?)
    }

    /// Reads a plan.
    ///
    /// # Errors
    /// If the bytes are not a plan.
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
        let scores = finite_f64(&file, "removed.score", &[layers.len()])?;
        let steps = u64_list(&file, "removed.step", layers.len())?;
        let asked: u64 = summary.layers.iter().map(|layer| layer.removed).sum();
        if indices.len() != layers.len() || layers.len() as u64 != asked {
            return Err(inconsistent("the pruning plan's lists have different lengths".into()));
        }
        let removed = (layers.into_iter().zip(indices).zip(scores).zip(steps))
            .map(|(((layer, index), score), step)| RemovedPlace { layer, index, score, step })
            .collect();
        Ok(Self { summary, removed })
    }
}

/// Replaces the selected places by others, with the same count in each layer.
fn ablate(ablation: Ablation, candidates: &[Candidates], places: Vec<Place>, seed: u64) -> Vec<Place> {
    let purpose = match ablation {
        Ablation::ShuffleMask => "shuffled mask",
        // The random scores of the seed, so that this control is random pruning with another method's counts.
        Ablation::RandomMatched => "random scores",
    };
    let mut generator = random::generator(purpose, &[seed]);
    let mut others = Vec::with_capacity(places.len());
    for layer in candidates {
        let count = places.iter().filter(|place| place.layer == layer.index).count();
        let (gone, mut free): (Vec<usize>, Vec<usize>) = (0..layer.scores.len()).partition(|place| layer.gone[*place]);
        free.shuffle(&mut generator);
        let mut chosen: Vec<usize> = gone.into_iter().chain(free).take(count).collect();
        chosen.sort_unstable();
        others.extend(chosen.into_iter().map(|place| Place {
            layer: layer.index,
            index: u32::try_from(place).unwrap_or(u32::MAX),
            score: layer.scores[place],
        }));
    }
    others.sort_by(|one, two| one.score.total_cmp(&two.score));
    others
}

fn summary(layer: &Candidates, places: &[Place]) -> LayerSummary {
    let mut goes = vec![false; layer.scores.len()];
    for place in places.iter().filter(|place| place.layer == layer.index) {
        goes[place.index as usize] = true;
    }
    let of = |wanted: bool| {
        layer.scores.iter().zip(&goes).filter(move |(_, goes)| **goes == wanted).map(|(score, _)| *score)
    };
    LayerSummary {
        name: layer.layer.name.clone(),
        places: layer.scores.len() as u64,
        removed: of(true).count() as u64,
        highest_removed_score: of(true).max_by(f64::total_cmp),
        lowest_kept_score: of(false).min_by(f64::total_cmp),
    }
}

#[cfg(test)]
pub(crate) mod tests;
