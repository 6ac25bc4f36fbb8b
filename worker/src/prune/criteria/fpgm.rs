//! The distance of a unit from the others of its layer: the other units can best replace the one nearest to the
//! geometric median.

use secateur_proto::{outcome::Failure, spec::Granularity};

use super::{
    Arguments, Context, Definition, Needs, Scores, When,
    groups::{is_gone, units_of},
};
use crate::net::units::Units;

pub(super) const CRITERION: Definition = Definition {
    name: "fpgm",
    formula: "Σ_j ‖w_i − w_j‖₂ over the units j of the layer",
    source: "He et al. 2019, arXiv 1811.00250",
    parameters: &[],
    needs: Needs::Weights,
    granularity: Granularity::Unit,
    grows_with_layer: true,
    signed: false,
    when: When::Trained,
    requires: None,
    scores,
    compensate: None,
};

/// Units that an earlier level removed are not counted.
fn scores(context: &mut Context<'_>, _: &Arguments) -> Result<Scores, Failure> {
    let of_layer = |units: Units| {
        let (tensor, fan_in) = units.weight;
        let rows: Vec<&[f32]> = context.net.tensors[tensor].chunks_exact(fan_in).collect();
        let there: Vec<usize> = (0..units.count).filter(|unit| !is_gone(context, &units, *unit)).collect();
        let mut scores = vec![0.0; units.count];
        for (place, one) in there.iter().enumerate() {
            for two in &there[place + 1..] {
                let distance = distance(rows[*one], rows[*two]);
                scores[*one] += distance;
                scores[*two] += distance;
            }
        }
        scores
    };
    Ok(Scores::Units(units_of(context)?.into_iter().map(of_layer).collect()))
}

fn distance(one: &[f32], two: &[f32]) -> f64 {
    one.iter().zip(two).map(|(one, two)| (f64::from(*one) - f64::from(*two)).powi(2)).sum::<f64>().sqrt()
}
