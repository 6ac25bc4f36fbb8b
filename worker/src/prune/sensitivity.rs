//! Counts for each layer so that the removal costs every layer about as much: the sensitivity analysis of Han et al.
//! 2015 and Li et al. 2017.
//!
//! The cost is the increase of the validation loss when the layer alone loses that many of its lowest scores. It is
//! measured at some shares of the layer and interpolated linearly. It never decreases: if removing more is free,
//! removing less was free too.

use secateur_proto::{
    outcome::{Failure, FailureClass},
    spec::Granularity,
};

use super::{
    probe::Probe,
    select::{Candidates, NoSelection, Request, sorted},
};
use crate::net::{
    Parameters,
    units::{Units, units},
    weight_tensors,
};

/// Shares of a layer at which the loss is measured, in addition to all but one place.
const SHARES: [f64; 10] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95];

/// The cost of pruning a layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// The layer's name.
    pub layer: String,
    /// Removed places, and by how much the validation loss then exceeds that of the net: from what earlier levels
    /// removed, at no cost, to all but one. Both ascend.
    pub points: Vec<(u64, f64)>,
}

impl Curve {
    fn gone(&self) -> u64 {
        self.points.first().map_or(0, |(count, _)| *count)
    }

    fn most(&self) -> u64 {
        self.points.last().map_or(0, |(count, _)| *count)
    }

    /// The cost of removing one more place, from the first after those already removed to all but one.
    fn costs(&self) -> impl Iterator<Item = f64> + '_ {
        self.points.iter().zip(self.points.iter().skip(1)).flat_map(|((begin, low), (end, high))| {
            let slope = (high - low) / (end - begin) as f64;
            (1..=end - begin).map(move |step| if high.is_finite() { low + slope * step as f64 } else { f64::INFINITY })
        })
    }
}

/// The curve of each prunable layer.
///
/// # Errors
/// If the loss cannot be measured or is not finite for the net itself, or the units of a layer cannot be removed
/// separately.
pub fn curves(request: &Request<'_>, candidates: &[Candidates], probe: &mut dyn Probe) -> Result<Vec<Curve>, Failure> {
    let before = probe.validation_loss(request.net)?;
    if !before.is_finite() {
        return Err(Failure::new(FailureClass::Input, "the validation loss of the scored net is not finite"));
    }
    let removals = Removals::of(request);
    let mut curves = Vec::with_capacity(candidates.len());
    for layer in candidates {
        let order = sorted(std::slice::from_ref(layer));
        let mut removed = layer.gone.iter().filter(|gone| **gone).count();
        let mut highest = 0.0;
        let mut points = vec![(removed as u64, highest)];
        let mut net = request.net.clone();
        for count in counts(order.len(), removed) {
            for place in &order[removed..count] {
                removals.remove(&mut net, layer, place.index as usize)?;
            }
            removed = count;
            let rise = probe.validation_loss(&net)? - before;
            highest = if rise.is_finite() { f64::max(highest, rise) } else { f64::INFINITY };
            points.push((count as u64, highest));
        }
        curves.push(Curve { layer: layer.layer.name.clone(), points });
    }
    Ok(curves)
}

/// Divides `count` among the layers so that moving a removal to another layer would not reduce the cost. Equal costs
/// are divided in proportion to what layers can lose. With a higher `count` no layer loses less.
///
/// # Errors
/// If a layer would be left empty, or earlier levels removed more.
pub fn share(curves: &[Curve], count: u64) -> Result<Vec<u64>, NoSelection> {
    let mut counts: Vec<u64> = curves.iter().map(Curve::gone).collect();
    let more = (count.checked_sub(counts.iter().sum()))
        .ok_or_else(|| NoSelection::Unfit("earlier levels removed more than the requested count".to_owned()))?;
    // Within a layer costs never fall and shares rise, so the cheapest steps overall are the first ones of each layer.
    let mut steps: Vec<(f64, f64, usize)> = (curves.iter().enumerate())
        .flat_map(|(layer, curve)| {
            let length = (curve.most() - curve.gone()) as f64;
            (1_u32..).zip(curve.costs()).map(move |(step, cost)| (cost, f64::from(step) / length, layer))
        })
        .collect();
    let taken = usize::try_from(more).ok().filter(|more| *more <= steps.len());
    let Some(taken) = taken else {
        let last = |one: &&Curve, two: &&Curve| {
            let cost = |curve: &Curve| curve.points.last().map_or(0.0, |(_, cost)| *cost);
            cost(one).total_cmp(&cost(two))
        };
        let layer = curves.iter().min_by(last).map(|curve| curve.layer.clone()).unwrap_or_default();
        return Err(NoSelection::Collapsed { layer });
    };
    if (1..steps.len()).contains(&taken) {
        steps.select_nth_unstable_by(taken, |one, two| {
            one.0.total_cmp(&two.0).then_with(|| one.1.total_cmp(&two.1)).then_with(|| one.2.cmp(&two.2))
        });
    }
    steps[..taken].iter().for_each(|(_, _, layer)| counts[*layer] += 1);
    Ok(counts)
}

/// The counts to measure for a layer of `places`, of which `gone` are already removed.
fn counts(places: usize, gone: usize) -> Vec<usize> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a length")]
    let shares = SHARES.iter().map(|share| (share * places as f64).round() as usize);
    let most = places.saturating_sub(1);
    let mut counts: Vec<usize> = shares.chain([most]).filter(|count| (gone + 1..=most).contains(count)).collect();
    counts.sort_unstable();
    counts.dedup();
    counts
}

/// Sets everything that depends on a place to zero.
struct Removals {
    granularity: Granularity,
    weights: Vec<Option<usize>>,
    units: Vec<Option<Units>>,
}

impl Removals {
    fn of(request: &Request<'_>) -> Self {
        let (weights, units) = (weight_tensors(request.model), units(request.model));
        Self { granularity: request.granularity, weights, units }
    }

    fn remove(&self, net: &mut Parameters, layer: &Candidates, place: usize) -> Result<(), Failure> {
        let index = layer.index as usize;
        let what = match self.granularity {
            Granularity::Weight => self.weights[index].map(|tensor| net.tensors[tensor][place] = 0.0),
            Granularity::Unit => self.units[index]
                .as_ref()
                .map(|units| units.places(place).for_each(|(tensor, place)| net.tensors[tensor][place] = 0.0)),
        };
        let cannot = || format!("no unit of {} can be removed separately", layer.layer.name);
        what.ok_or_else(|| Failure::new(FailureClass::Input, cannot()))
    }
}

#[cfg(test)]
mod tests;
