//! The mean activation of a unit.

use secateur_proto::{outcome::Failure, spec::Granularity};

use super::{
    Arguments, Context, Definition, Needs, Scores, When,
    calibration::{ROWS, mean_of_activations},
    groups::units_of,
};

pub(super) const CRITERION: Definition = Definition {
    name: "mean_activation",
    formula: "mean |value after the activation| over train rows and positions",
    source: "Molchanov et al. 2017, arXiv 1611.06440",
    parameters: &[ROWS],
    needs: Needs::Activations,
    granularity: Granularity::Unit,
    grows_with_layer: false,
    signed: false,
    when: When::Trained,
    requires: None,
    scores,
    compensate: None,
};

fn scores(context: &mut Context<'_>, arguments: &Arguments) -> Result<Scores, Failure> {
    units_of(context)?;
    let means = mean_of_activations(context, "rows for mean_activation", arguments.count("rows"), f64::abs)?;
    Ok(Scores::Units(means))
}
