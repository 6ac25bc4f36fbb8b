//! The weights that the flow of ones through the net depends on. It needs no data, and is measured again after each of
//! many small cuts, so that no layer loses its last weight while others have many.

use secateur_proto::{outcome::Failure, spec::Granularity};

use super::{Arguments, Context, Definition, Needs, ParameterDefinition, Scores, When};

pub(super) const CRITERION: Definition = Definition {
    name: "synflow",
    formula: "|w| · ∂R/∂|w|, R the sum of the outputs for an input of ones with weights |w| and no biases or activations",
    source: "Tanaka et al. 2020, arXiv 2006.05467, algorithm 1",
    parameters: &[ITERATIONS],
    needs: Needs::Weights,
    granularity: Granularity::Weight,
    grows_with_layer: false,
    signed: true,
    when: When::Initial,
    requires: None,
    scores,
    compensate: None,
};

const ITERATIONS: ParameterDefinition = ParameterDefinition {
    name: "iterations",
    summary: "cuts, each of which leaves the same share of the weights",
    default: 100.0,
    range: (1.0, 1e5),
    integer: true,
};

/// A weight of a prunable layer.
#[derive(Clone, Copy)]
struct Place {
    /// The index of the layer among the prunable ones.
    layer: usize,
    tensor: usize,
    index: usize,
    score: f64,
}

/// Kept weights have the score of the last cut. Cut weights have negative scores, lower the earlier they were cut, so
/// that exactly the cut weights are removed. Nothing is cut without a count, nor if whole units are pruned, whose flow
/// is that of their weights.
///
/// With n cuts, cut k leaves a share of d^(k/n) of the original weights, where d is the share that is kept in the end.
fn scores(context: &mut Context<'_>, arguments: &Arguments) -> Result<Scores, Failure> {
    let prunable: Vec<usize> = context.prunable().into_iter().map(|(_, tensor)| tensor).collect();
    let mut weights: Vec<Vec<f64>> = (context.net.tensors.iter())
        .map(|tensor| tensor.iter().map(|weight| f64::from(weight.abs())).collect())
        .collect();
    let places = prunable.iter().enumerate().flat_map(|(layer, tensor)| {
        (0..weights[*tensor].len()).map(move |index| Place { layer, tensor: *tensor, index, score: 0.0 })
    });
    let (gone, mut left): (Vec<Place>, Vec<Place>) =
        places.partition(|place| context.removed.is_some_and(|mask| !mask.keeps(place.tensor, place.index)));
    let count = usize::try_from(context.count.unwrap_or(0)).unwrap_or(usize::MAX);
    let goes = count.saturating_sub(gone.len()).min(left.len());
    let goes = if context.granularity == Granularity::Unit { 0 } else { goes };
    let cuts = if goes == 0 { 1 } else { arguments.count("iterations") };
    let (all, density) = (left.len(), (left.len() - goes) as f64 / left.len().max(1) as f64);
    let mut scores: Vec<Vec<f64>> = prunable.iter().map(|tensor| vec![0.0; weights[*tensor].len()]).collect();
    for cut in 1..=cuts {
        let flow = context.probe.flow(&weights)?;
        for place in &mut left {
            place.score = weights[place.tensor][place.index] * flow[place.tensor][place.index];
            scores[place.layer][place.index] = place.score;
        }
        if left.iter().any(|place| !place.score.is_finite()) {
            // Overflow: their order is meaningless, and selection rejects such scores.
            break;
        }
        let kept = all - cut_by(cut, cuts, all, density, goes);
        let mut order = left.clone();
        // The sort is stable and the places are in the order of layer and index, which breaks ties.
        order.sort_by(|one, two| one.score.total_cmp(&two.score));
        for (nth, place) in (all - left.len()..).zip(&order[..left.len() - kept]) {
            scores[place.layer][place.index] = nth as f64 - goes as f64;
            weights[place.tensor][place.index] = 0.0;
        }
        left.retain(|place| scores[place.layer][place.index] >= 0.0);
    }
    Ok(Scores::Weights(scores))
}

/// The number of `all` weights that are removed by the end of cut `cut` of `cuts`: `goes` by the last.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
fn cut_by(cut: usize, cuts: usize, all: usize, density: f64, goes: usize) -> usize {
    if cut == cuts {
        return goes;
    }
    let share = 1.0 - density.powf(cut as f64 / cuts as f64);
    ((share * all as f64).round() as usize).min(goes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn densities_fall_by_the_same_factor() {
        let density = |cut| 1000 - cut_by(cut, 5, 1000, 0.01, 990);
        // 0.01^(k/5) as in the paper's figure.
        assert_eq!([1, 2, 3, 4, 5].map(density), [398, 158, 63, 25, 10]);
    }

    #[test]
    fn the_last_cut_leaves_exactly_what_is_asked_and_none_takes_back() {
        for (all, goes) in [(1, 1), (7, 0), (7, 7), (1000, 999), (864, 778), (12_345, 1)] {
            let cuts = 100;
            let density = (all - goes) as f64 / all as f64;
            let counts: Vec<usize> = (1..=cuts).map(|cut| cut_by(cut, cuts, all, density, goes)).collect();
            assert_eq!(counts.last(), Some(&goes));
            assert!(counts.is_sorted());
        }
    }
}
