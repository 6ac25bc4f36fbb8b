//! A constant number of removed weights, of which the weakest kept ones are replaced (Mocanu et al. 2018, arXiv
//! 1707.04780; Evci et al. 2020, arXiv 1911.11134).

use std::{cmp::Ordering, f64::consts::PI};

use rand::seq::SliceRandom as _;
use secateur_proto::{
    outcome::{Failure, FailureClass},
    spec::{Growth, Schedule},
};

use super::{MaskSchedule, NoPlan, Plans, settled};
use crate::{
    net::{Mask, Parameters, weight_tensors},
    prune::{
        plan::{PruningPlan, RemovedPlace},
        select::NoSelection,
    },
    random,
};

/// Drops the smallest weights of each layer and grows as many removed ones. Weights that earlier levels removed do not
/// grow.
pub(super) struct Dynamic<'a> {
    plans: Plans<'a>,
    plan: PruningPlan,
    mask: Mask,
}

/// The dropped and grown places of one layer, with |w| of the dropped ones and the least |w| of the kept ones.
struct Change {
    dropped: Vec<(usize, f64)>,
    grown: Vec<usize>,
    lowest_kept: Option<f64>,
}

impl<'a> Dynamic<'a> {
    pub(super) fn new(plans: Plans<'a>, begin: PruningPlan) -> Result<Self, NoPlan> {
        let mask = plans.mask(&begin)?;
        Ok(Self { plans, plan: begin, mask })
    }

    /// The share of a layer's weights that is replaced after `steps` steps: constant for SET, and decreasing along a
    /// cosine to 0 for RigL.
    fn share(&self, steps: u64) -> f64 {
        match self.plans.spec.schedule {
            Schedule::Dynamic { growth: Growth::Random, fraction, .. } => fraction,
            Schedule::Dynamic { growth: Growth::Gradient, fraction, end, .. } => {
                fraction / 2.0 * (1.0 + (PI * steps as f64 / end as f64).cos())
            }
            Schedule::OneShot | Schedule::Gradual { .. } | Schedule::Alternating { .. } => 0.0,
        }
    }

    /// The places of a layer that may grow, in order of preference.
    fn growing(
        &self,
        steps: u64,
        layer: u32,
        removed: Vec<usize>,
        gradient: Option<&[f32]>,
    ) -> Result<Vec<usize>, NoPlan> {
        let mut places = removed;
        if let Schedule::Dynamic { growth: Growth::Random, .. } = self.plans.spec.schedule {
            places.shuffle(&mut random::generator("regrowth", &[self.plans.spec.seed, steps, u64::from(layer)]));
            return Ok(places);
        }
        let unknown = || Failure::new(FailureClass::Internal, "growth by gradient needs a gradient");
        let gradient = gradient.ok_or_else(unknown)?;
        if places.iter().any(|place| !gradient[*place].is_finite()) {
            return Err(NoSelection::NotFinite.into());
        }
        // Stable: ties are broken by place.
        places.sort_by(|one, two| gradient[*two].abs().total_cmp(&gradient[*one].abs()));
        Ok(places)
    }

    fn change(
        &self,
        steps: u64,
        layer: u32,
        tensor: usize,
        weights: &[f32],
        gradient: Option<&[f32]>,
    ) -> Result<Change, NoPlan> {
        let (mut kept, removed): (Vec<usize>, Vec<usize>) =
            (0..weights.len()).partition(|place| self.mask.keeps(tensor, *place));
        if kept.iter().any(|place| !weights[*place].is_finite()) {
            return Err(NoSelection::NotFinite.into());
        }
        let may_grow = |place: &usize| self.plans.earlier.is_none_or(|earlier| earlier.keeps(tensor, *place));
        let mut grown = self.growing(steps, layer, removed.into_iter().filter(may_grow).collect(), gradient)?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
        let count = ((self.share(steps) * kept.len() as f64).round() as usize).min(grown.len());
        grown.truncate(count);
        kept.sort_by(|one, two| weights[*one].abs().total_cmp(&weights[*two].abs()));
        let size = |place: &usize| f64::from(weights[*place].abs());
        Ok(Change {
            dropped: kept[..count].iter().map(|place| (*place, size(place))).collect(),
            lowest_kept: kept.get(count).map(size),
            grown,
        })
    }
}

impl MaskSchedule for Dynamic<'_> {
    fn is_due(&self, steps: u64) -> bool {
        match self.plans.spec.schedule {
            Schedule::Dynamic { every, end, .. } => steps > 0 && steps <= end && steps.is_multiple_of(every),
            Schedule::OneShot | Schedule::Gradual { .. } | Schedule::Alternating { .. } => false,
        }
    }

    fn update(&mut self, steps: u64, net: &Parameters, gradient: Option<&Parameters>) -> Result<Mask, NoPlan> {
        let tensors = weight_tensors(&self.plans.spec.model);
        let mut entries = self.plan.removed.clone();
        for (position, layer) in self.plans.spec.layers.iter().enumerate() {
            let Some(tensor) = tensors[*layer as usize] else { continue };
            let gradient = gradient.map(|gradient| gradient.tensors[tensor].as_slice());
            let change = self.change(steps, *layer, tensor, &net.tensors[tensor], gradient)?;
            let Some((_, highest_dropped)) = change.dropped.last() else { continue };
            let summary = &mut self.plan.summary.layers[position];
            summary.highest_removed_score = Some(*highest_dropped);
            summary.lowest_kept_score = change.lowest_kept;
            let mut grows = vec![false; net.tensors[tensor].len()];
            change.grown.iter().for_each(|place| grows[*place] = true);
            entries.retain(|entry| entry.layer != *layer || !grows[entry.index as usize]);
            entries.extend(change.dropped.into_iter().map(|(place, score)| RemovedPlace {
                layer: *layer,
                index: u32::try_from(place).unwrap_or(u32::MAX),
                score,
                step: steps,
            }));
        }
        entries.sort_by(|one, two| match one.step.cmp(&two.step) {
            Ordering::Equal => one.score.total_cmp(&two.score),
            other => other,
        });
        self.plan.removed = entries;
        self.mask = self.plans.execute(&self.plan, steps == self.settled())?;
        Ok(self.mask.clone())
    }

    fn plan(&self) -> Option<&PruningPlan> {
        Some(&self.plan)
    }

    fn go_on_from(&mut self, plan: PruningPlan) -> Result<(), NoPlan> {
        self.mask = self.plans.mask(&plan)?;
        self.plan = plan;
        Ok(())
    }

    fn grows(&self) -> bool {
        true
    }

    fn settled(&self) -> u64 {
        settled(&self.plans.spec.schedule)
    }
}
