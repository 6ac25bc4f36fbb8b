//! From a net to what goes of it: scores by the spec's criterion, and the plan that they make.

use secateur_proto::{
    outcome::{Failure, FailureClass},
    spec::{Granularity, PruneSpec, Removal},
};

use crate::{
    net::{Mask, Parameters},
    prune::{
        criteria::{Arguments, Context, Definition, Scores},
        plan::PruningPlan,
        probe::Probe,
        schedule::{NoPlan, begins_dense},
        select::{self, Request},
        sensitivity,
    },
};

/// A net to select from.
pub(super) struct Selection<'a> {
    spec: &'a PruneSpec,
    criterion: Option<(&'static Definition, Arguments)>,
    context: Context<'a>,
}

impl<'a> Selection<'a> {
    /// Of `net`, from which `removed` is gone already, what `spec` says.
    ///
    /// # Errors
    /// If there is no such criterion, or it cannot choose on such a schedule.
    pub(super) fn new(
        spec: &'a PruneSpec,
        net: &'a Parameters,
        removed: Option<&'a Mask>,
        probe: &'a mut dyn Probe,
    ) -> Result<Self, Failure> {
        let invalid = |message: String| Failure::new(FailureClass::Input, message);
        let criterion =
            (spec.criterion.as_ref().map(Definition::of).transpose()).map_err(|error| invalid(error.to_string()))?;
        // It would train the net apart from the training whose mask it decides.
        if let Some((definition, _)) = criterion.as_ref().filter(|(definition, _)| definition.changes_the_net())
            && begins_dense(&spec.schedule)
        {
            let message = format!("the criterion {:?} changes the net, and cannot while it trains", definition.name);
            return Err(invalid(message));
        }
        let count = spec.removed().map(|count| match spec.granularity {
            Granularity::Weight => count,
            Granularity::Unit => share_of_weights(spec, count),
        });
        let context = Context {
            model: &spec.model,
            layers: &spec.layers,
            net,
            removed,
            granularity: spec.granularity,
            count,
            counts: counts(spec),
            training: &spec.training,
            seed: spec.seed,
            probe,
        };
        Ok(Self { spec, criterion, context })
    }

    /// The plan, and the net that a criterion trained to score it.
    ///
    /// # Errors
    /// If the net cannot be scored, or the scores not be followed.
    pub(super) fn plan(&mut self) -> Result<(PruningPlan, Option<Parameters>), NoPlan> {
        let Self { spec, criterion, context } = self;
        let scores = match criterion {
            Some((definition, arguments)) => (definition.scores)(context, arguments)?,
            // Nothing is chosen, so nothing competes.
            None => Scores::Weights(context.weights().map(|weights| vec![0.0; weights.len()]).collect()),
        };
        let request = Request::of(spec, context.net, context.removed);
        let removal = shared_out(&request, &scores, context.probe)?;
        let plan = PruningPlan::of(spec, &Request { removal: &removal, ..request }, &scores)?;
        Ok((plan, scores.conditioned().cloned()))
    }

    /// What the net becomes when `mask` is known, by a criterion that makes up for what goes.
    ///
    /// # Errors
    /// If it cannot be made up for.
    pub(super) fn compensated(&mut self, mask: &Mask) -> Result<Parameters, Failure> {
        let compensate =
            self.criterion.as_ref().and_then(|(definition, arguments)| Some((definition.compensate?, arguments)));
        match compensate {
            Some((compensate, arguments)) => compensate(&mut self.context, arguments, mask),
            None => Ok(self.context.net.clone()),
        }
    }
}

/// The removal that is asked for, with counts for each layer where they depend on what layers can bear.
fn shared_out(request: &Request<'_>, scores: &Scores, probe: &mut dyn Probe) -> Result<Removal, NoPlan> {
    let Removal::Sensitivity { count } = *request.removal else { return Ok(request.removal.clone()) };
    let curves = sensitivity::curves(request, &select::candidates(request, scores)?, probe)?;
    Ok(Removal::PerLayer { counts: sensitivity::share(&curves, count)? })
}

/// How many weights of each layer go, where the removal says so.
fn counts(spec: &PruneSpec) -> Option<Vec<u64>> {
    let Removal::PerLayer { counts } = &spec.removal else { return None };
    let layers = spec.prunable_layers();
    Some(match spec.granularity {
        Granularity::Weight => counts.clone(),
        Granularity::Unit => counts
            .iter()
            .zip(&layers)
            .map(|(units, layer)| units * layer.weights() / u64::from(layer.outputs()).max(1))
            .collect(),
    })
}

/// As large a share of the weights as `count` is of the units, rounded.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
fn share_of_weights(spec: &PruneSpec, count: u64) -> u64 {
    let units: u64 = spec.sizes().iter().sum();
    let weights: u64 = spec.prunable_layers().iter().map(|layer| layer.weights()).sum();
    (weights as f64 * count as f64 / units.max(1) as f64).round() as u64
}
