//! How often a unit is active: one minus the average percentage of zeros.

use secateur_proto::{
    outcome::{Failure, FailureClass},
    spec::Granularity,
};

use super::{
    Arguments, Context, Definition, Needs, Requires, Scores, When,
    calibration::{ROWS, mean_of_activations},
    groups::units_of,
};

pub(super) const CRITERION: Definition = Definition {
    name: "apoz",
    formula: "1 − the share of zeros after the activation, over train rows and positions",
    source: "Hu et al. 2016, arXiv 1607.03250",
    parameters: &[ROWS],
    needs: Needs::Activations,
    granularity: Granularity::Unit,
    grows_with_layer: false,
    signed: false,
    when: When::Trained,
    requires: Some(Requires::Zeros),
    scores,
    compensate: None,
};

fn scores(context: &mut Context<'_>, arguments: &Arguments) -> Result<Scores, Failure> {
    units_of(context)?;
    if !Requires::Zeros.is_met(context.model, context.layers) {
        return Err(Failure::new(FailureClass::Input, format!("apoz {}", Requires::Zeros)));
    }
    let busy = |value: f64| if value == 0.0 { 0.0 } else { 1.0 };
    let means = mean_of_activations(context, "rows for apoz", arguments.count("rows"), busy)?;
    Ok(Scores::Units(means))
}
