//! How often a unit says something: one less the average percentage of zeros.

use secateur_proto::{
    outcome::{Failure, FailureClass},
    spec::{Activation, Granularity, Step},
};

use super::{
    Arguments, Context, Definition, Needs, Scores, When,
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
    scores,
    compensate: None,
};

/// Of other activations than ReLU hardly any value is zero, so all units would be alike.
fn scores(context: &mut Context<'_>, arguments: &Arguments) -> Result<Scores, Failure> {
    units_of(context)?;
    let other = |step: &Step| matches!(step, Step::Activation(activation) if *activation != Activation::Relu);
    if context.model.architecture().steps.iter().any(other) {
        return Err(Failure::new(
            FailureClass::Input,
            "apoz counts zeros, and of the activations only relu gives them",
        ));
    }
    let busy = |value: f64| if value == 0.0 { 0.0 } else { 1.0 };
    let means = mean_of_activations(context, "rows for apoz", arguments.count("rows"), busy)?;
    Ok(Scores::Units(means))
}
