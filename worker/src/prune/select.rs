//! Selection: from scores to removed places. Counts are exact, ties are broken by layer and place, and places that
//! earlier levels removed come first.

use secateur_proto::spec::{Along, Granularity, Layer, ModelSpec, PruneSpec, Ranking, Removal};

use super::criteria::Scores;
use crate::net::{Mask, Parameters, weight_tensors};

/// The request of a selection.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The architecture.
    pub model: &'a ModelSpec,
    /// Indices of the prunable layers, ascending.
    pub layers: &'a [u32],
    /// The unit of pruning.
    pub granularity: Granularity,
    /// How scores of different layers are made comparable.
    pub ranking: Ranking,
    /// How many are removed.
    pub removal: &'a Removal,
    /// The net that was scored.
    pub net: &'a Parameters,
    /// What earlier levels removed. It remains removed and counts.
    pub removed: Option<&'a Mask>,
}

impl<'a> Request<'a> {
    /// The request of `spec` for its subject `net`.
    #[must_use]
    pub fn of(spec: &'a PruneSpec, net: &'a Parameters, removed: Option<&'a Mask>) -> Self {
        let PruneSpec { model, layers, granularity, ranking, removal, .. } = spec;
        Self { model, layers, granularity: *granularity, ranking: *ranking, removal, net, removed }
    }
}

/// A prunable layer and its competing places.
#[derive(Debug, Clone)]
pub struct Candidates {
    /// Index among all layers.
    pub index: u32,
    /// The layer.
    pub layer: Layer,
    /// The score of each place, after ranking.
    pub scores: Vec<f64>,
    /// Whether an earlier level removed the place.
    pub gone: Vec<bool>,
}

/// A removed place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// Index among all layers.
    pub layer: u32,
    /// The weight or unit of the layer.
    pub index: u32,
    /// Its score.
    pub score: f64,
}

/// Why a selection is impossible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSelection {
    /// A layer would lose all its weights.
    #[error("layer {layer} would lose all its weights")]
    Collapsed {
        /// Its name.
        layer: String,
    },
    /// A score is NaN or infinite.
    #[error("a score is not finite")]
    NotFinite,
    /// The scores do not fit the request.
    #[error("{0}")]
    Unfit(String),
}

/// The prunable layers with their ranked scores.
///
/// # Errors
/// If a score is not finite, the scores are of units but weights are requested, or the scores are of another net.
pub fn candidates(request: &Request<'_>, scores: &Scores) -> Result<Vec<Candidates>, NoSelection> {
    let unfit = |what: &str| Err(NoSelection::Unfit(what.to_owned()));
    let (layers, weights) = (request.model.layers(), weight_tensors(request.model));
    let (given, of_units) = match scores {
        Scores::Weights(given) | Scores::Conditioned(given, _) => (given, false),
        Scores::Units(given) => (given, true),
    };
    if given.len() != request.layers.len() {
        return unfit("the scores are not one vector for each prunable layer");
    }
    if of_units && request.granularity == Granularity::Weight {
        return unfit("the criterion scores units, but single weights were requested");
    }
    let mut candidates = Vec::with_capacity(given.len());
    for (index, given) in request.layers.iter().zip(given) {
        let layer = &layers[*index as usize];
        let Some(tensor) = weights[*index as usize] else { return unfit("a prunable layer has no weights") };
        let (units, fan_in) = (layer.outputs() as usize, layer.fan_in() as usize);
        let gone = |place: usize| request.removed.is_some_and(|mask| !mask.keeps(tensor, place));
        let (mut scores, gone): (Vec<f64>, Vec<bool>) = match request.granularity {
            Granularity::Weight => (given.clone(), (0..given.len()).map(gone).collect()),
            Granularity::Unit => {
                let of_unit = |unit: usize| match of_units {
                    true => given.get(unit).copied().unwrap_or(f64::NAN),
                    // The average over the weights, so that layers of any fan-in can compete.
                    false => given[unit * fan_in..(unit + 1) * fan_in].iter().sum::<f64>() / fan_in as f64,
                };
                let row_gone = |unit: usize| (unit * fan_in..(unit + 1) * fan_in).all(gone);
                ((0..units).map(of_unit).collect(), (0..units).map(row_gone).collect())
            }
        };
        let expected = if request.granularity == Granularity::Unit { units } else { units * fan_in };
        if scores.len() != expected {
            return unfit("the scores are not one for each place of the layer");
        }
        if scores.iter().zip(&gone).any(|(score, gone)| !score.is_finite() && !gone) {
            return Err(NoSelection::NotFinite);
        }
        if request.ranking == Ranking::Lamp && scores.iter().any(|score| *score < 0.0) {
            return unfit("lamp compares squares, but the criterion has negative scores");
        }
        scores.iter_mut().zip(&gone).filter(|(_, gone)| **gone).for_each(|(score, _)| *score = 0.0);
        rank(request.ranking, &mut scores, &gone);
        candidates.push(Candidates { index: *index, layer: layer.clone(), scores, gone });
    }
    Ok(candidates)
}

/// Makes the scores of a layer comparable with those of others without changing their order.
fn rank(ranking: Ranking, scores: &mut [f64], gone: &[bool]) {
    match ranking {
        Ranking::Raw => {}
        Ranking::LayerNorm => {
            let norm = scores.iter().map(|score| score * score).sum::<f64>().sqrt() + 1e-8;
            scores.iter_mut().for_each(|score| *score /= norm);
        }
        Ranking::LayerMean => {
            let left = gone.iter().filter(|gone| !**gone).count();
            let mean = scores.iter().sum::<f64>() / left.max(1) as f64;
            if mean > 0.0 {
                scores.iter_mut().for_each(|score| *score /= mean);
            }
        }
        Ranking::Lamp => {
            let mut order: Vec<usize> = (0..scores.len()).filter(|place| !gone[*place]).collect();
            order.sort_by(|one, two| scores[*two].abs().total_cmp(&scores[*one].abs()));
            // From the largest on: the sum of the squares of scores at least as large; equal scores count for each
            // other.
            let mut sum = 0.0;
            let mut begin = 0;
            while begin < order.len() {
                let size = scores[order[begin]].abs();
                let end = begin + order[begin..].iter().take_while(|place| scores[**place].abs() == size).count();
                let square = size * size;
                sum += square * (end - begin) as f64;
                for place in &order[begin..end] {
                    scores[*place] = if sum > 0.0 { square / sum } else { 0.0 };
                }
                begin = end;
            }
        }
    }
}

/// Selects the places to remove, lowest score first. Places that earlier levels removed come before all others.
///
/// # Errors
/// If a layer would be left empty, or the removal is not possible for these candidates.
///
/// # Panics
/// If counts do not match the layers, which a checked spec rules out.
pub fn select(request: &Request<'_>, candidates: &[Candidates]) -> Result<Vec<Place>, NoSelection> {
    let mut removed = match request.removal {
        Removal::Global { count, caps } => global(candidates, length(*count), caps.as_deref())?,
        Removal::PerLayer { counts } => {
            assert_eq!(counts.len(), candidates.len(), "one count for each prunable layer");
            (candidates.iter().zip(counts))
                .flat_map(|(layer, count)| sorted(std::slice::from_ref(layer)).into_iter().take(length(*count)))
                .collect()
        }
        Removal::Grouped { keep, group, along } => grouped(candidates, *keep as usize, *group as usize, *along),
        Removal::Zeros {} => zeros(request, candidates),
        Removal::Sensitivity { .. } => {
            return Err(NoSelection::Unfit(
                "sensitivity must be converted to counts before weights are selected".to_owned(),
            ));
        }
    };
    removed.sort_by(|one, two| one.score.total_cmp(&two.score));
    for layer in candidates {
        let count = removed.iter().filter(|place| place.layer == layer.index).count();
        if count >= layer.scores.len() {
            return Err(NoSelection::Collapsed { layer: layer.layer.name.clone() });
        }
    }
    Ok(removed)
}

/// Every place of these layers, in the order of removal.
pub(super) fn sorted(layers: &[Candidates]) -> Vec<Place> {
    let mut places: Vec<(bool, Place)> = (layers.iter())
        .flat_map(|layer| {
            (0..)
                .zip(layer.scores.iter().zip(&layer.gone))
                .map(|(index, (score, gone))| (!gone, Place { layer: layer.index, index, score: *score }))
        })
        .collect();
    // The sort is stable and the places are in the order of layer and index, which breaks ties.
    places.sort_by(|(one_kept, one), (two_kept, two)| {
        one_kept.cmp(two_kept).then_with(|| one.score.total_cmp(&two.score))
    });
    places.into_iter().map(|(_, place)| place).collect()
}

fn global(candidates: &[Candidates], count: usize, caps: Option<&[u64]>) -> Result<Vec<Place>, NoSelection> {
    let Some(caps) = caps else { return Ok(sorted(candidates).into_iter().take(count).collect()) };
    let mut left: Vec<u64> = caps.to_vec();
    let mut removed = Vec::with_capacity(count);
    for place in sorted(candidates) {
        if removed.len() == count {
            break;
        }
        let layer = candidates.iter().position(|layer| layer.index == place.layer).unwrap_or(0);
        if left[layer] > 0 {
            left[layer] -= 1;
            removed.push(place);
        }
    }
    if removed.len() < count {
        return Err(NoSelection::Unfit("the caps of the layers leave more than the sparsity allows".to_owned()));
    }
    Ok(removed)
}

/// All but the best of every group in a row. An incomplete group at the end of a row keeps as many as it can.
fn grouped(candidates: &[Candidates], keep: usize, group: usize, along: Along) -> Vec<Place> {
    let mut removed = Vec::new();
    for layer in candidates {
        let (fan_in, rows) = (length(layer.layer.fan_in()), length(along.rows(&layer.layer)));
        // The rows of a unit are interleaved: the weights of one row are `rows` apart.
        for first in (0..layer.layer.outputs() as usize).flat_map(|unit| (0..rows).map(move |row| unit * fan_in + row))
        {
            let columns = fan_in / rows;
            for start in (0..columns).step_by(group) {
                let mut places: Vec<usize> =
                    (start..(start + group).min(columns)).map(|column| first + column * rows).collect();
                let goes = places.len().saturating_sub(keep);
                places.sort_by(|one, two| {
                    (!layer.gone[*one]).cmp(&!layer.gone[*two]).then(layer.scores[*one].total_cmp(&layer.scores[*two]))
                });
                removed.extend(places.into_iter().take(goes).map(|place| Place {
                    layer: layer.index,
                    index: u32::try_from(place).unwrap_or(u32::MAX),
                    score: layer.scores[place],
                }));
            }
        }
    }
    removed
}

fn zeros(request: &Request<'_>, candidates: &[Candidates]) -> Vec<Place> {
    let weights = weight_tensors(request.model);
    (candidates.iter())
        .flat_map(|layer| {
            let values = weights[layer.index as usize].map(|tensor| request.net.tensors[tensor].as_slice());
            let zero = (0..).zip(values.unwrap_or_default()).filter(|(_, weight)| **weight == 0.0);
            zero.map(|(index, _)| Place { layer: layer.index, index, score: 0.0 }).collect::<Vec<_>>()
        })
        .collect()
}

fn length(count: u64) -> usize {
    usize::try_from(count).expect("a checked spec has at most 2^31 weights")
}
