//! Units for criteria that score whole units.

use secateur_proto::outcome::{Failure, FailureClass};

use super::Context;
use crate::net::units::{Units, units};

/// The units of each prunable layer.
///
/// # Errors
/// If the units of a layer cannot be removed separately.
pub(super) fn units_of(context: &Context<'_>) -> Result<Vec<Units>, Failure> {
    let mut units = units(context.model);
    let of_layer = |layer: &u32| units[*layer as usize].take().ok_or_else(|| tied(context, *layer));
    context.layers.iter().map(of_layer).collect()
}

/// Whether an earlier level removed the unit, that is its whole row.
pub(super) fn is_gone(context: &Context<'_>, units: &Units, unit: usize) -> bool {
    let (tensor, fan_in) = units.weight;
    context.removed.is_some_and(|mask| (unit * fan_in..(unit + 1) * fan_in).all(|place| !mask.keeps(tensor, place)))
}

fn tied(context: &Context<'_>, layer: u32) -> Failure {
    refused(
        context,
        layer,
        "have units that can be removed separately: they are added to others, or are the net's outputs",
    )
}

/// The failure if layer `layer` lacks something that a criterion needs.
pub(super) fn refused(context: &Context<'_>, layer: u32, what: &str) -> Failure {
    let name = context.model.layers().get(layer as usize).map(|layer| layer.name.clone()).unwrap_or_default();
    Failure::new(FailureClass::Input, format!("{name} does not {what}"))
}

#[cfg(test)]
mod tests;
