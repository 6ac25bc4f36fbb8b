//! The square of the first-order change of the loss if a unit is removed with everything that depends on it: the
//! squared gradient of a gate on the unit.

use secateur_proto::{
    outcome::{Failure, FailureClass},
    spec::Granularity,
};

use super::{Arguments, Context, Definition, Needs, Scores, When, taylor::BATCHES};
use crate::{
    net::units::units,
    prune::probe::{Loss, calibration_rows},
};

pub(super) const CRITERION: Definition = Definition {
    name: "taylor_group",
    formula: "mean of (Σ w · g)² over train batches, the sum over the unit's weights, bias, normalisation and readers",
    source: "Molchanov et al. 2019, arXiv 1906.10771, equation 9; groups of Fang et al. 2023, arXiv 2301.12900",
    parameters: &[BATCHES],
    needs: Needs::Gradients,
    granularity: Granularity::Unit,
    grows_with_layer: false,
    signed: false,
    when: When::Trained,
    requires: None,
    scores,
    compensate: None,
};

/// Every batch has equal weight, including a shorter last one.
fn scores(context: &mut Context<'_>, arguments: &Arguments) -> Result<Scores, Failure> {
    let rows = calibration_rows(context, "rows for taylor", arguments.count("batches"));
    let batches = rows.chunks(context.training.batch_size as usize);
    let count = batches.len() as f64;
    let layers = context.model.layers();
    let mut units = units(context.model);
    let groups = context.layers.iter().map(|layer| {
        let layer = *layer as usize;
        units[layer].take().ok_or_else(|| {
            let message = format!("the units of {} cannot be removed separately", layers[layer].name);
            Failure::new(FailureClass::Input, message)
        })
    });
    let groups = groups.collect::<Result<Vec<_>, _>>()?;
    let mut scores: Vec<Vec<f64>> = groups.iter().map(|units| vec![0.0; units.count]).collect();
    for batch in batches {
        let gradient = context.probe.gradient(context.net, batch, Loss::default())?;
        for (units, scores) in groups.iter().zip(&mut scores) {
            for (unit, score) in scores.iter_mut().enumerate() {
                let change: f64 = (units.places(unit))
                    .map(|(tensor, place)| f64::from(context.net.tensors[tensor][place]) * gradient[tensor][place])
                    .sum();
                *score += change * change / count;
            }
        }
    }
    Ok(Scores::Units(scores))
}
