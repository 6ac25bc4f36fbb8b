//! The parts of a point's work: its net, its prunable layers, the levels of its ladder, its schedule, its penalty; or why there are none.

use secateur_proto::spec::{
    Granularity, LayerKind, MAX_WEIGHTS, ModelSpec, Ranking, RegularizationKind, RegularizationSpec, Schedule, Task,
};
use secateur_worker::{net::units::units, prune::criteria::Needs};

use super::{
    expand::Point,
    facts::InputFacts,
    setting::{
        Grain, Ladder, ModelKind, Pace, PenaltyPhase, Scope, Selection, Strategy, Timing, model, pruning,
        regularization,
    },
    spec::SweepSpec,
};

/// The most levels of an iterative schedule.
const MAX_LEVELS: usize = 200;

pub(super) fn model(spec: &SweepSpec, point: &Point, facts: &InputFacts) -> Result<ModelSpec, String> {
    let outputs = match spec.data.settings.task {
        Task::Binary => 1,
        Task::Multiclass => u32::try_from(facts.classes.len()).unwrap_or(u32::MAX),
    };
    let image = || facts.image.ok_or_else(|| "the net takes images, and the data are a table".to_owned());
    let inputs = facts.inputs;
    let model = match *point.get(&model::KIND) {
        ModelKind::Mlp | ModelKind::Lenet300100 => ModelSpec::Mlp {
            inputs,
            hidden: point.get(&model::HIDDEN).clone(),
            outputs,
            activation: *point.get(&model::ACTIVATION),
            batch_norm: *point.get(&model::BATCH_NORM),
        },
        ModelKind::ResidualMlp => ModelSpec::ResidualMlp {
            inputs,
            width: *point.get(&model::WIDTH),
            blocks: *point.get(&model::BLOCKS),
            outputs,
            activation: *point.get(&model::ACTIVATION),
        },
        ModelKind::Lenet5 => ModelSpec::Lenet5 { image: image()?, outputs },
        ModelKind::ResidualCnn => ModelSpec::ResidualCnn {
            image: image()?,
            channels: point.get(&model::CHANNELS).clone(),
            blocks: *point.get(&model::BLOCKS),
            outputs,
        },
    };
    model.check().map_err(str::to_owned)?;
    if model.weights() > MAX_WEIGHTS {
        return Err(format!("the net would have {} weights, allowed at most {MAX_WEIGHTS}", model.weights()));
    }
    Ok(model)
}

/// The layers that the file leaves to pruning, of those that the grain can take from.
pub(super) fn prunable(point: &Point, model: &ModelSpec, grain: Grain) -> Result<Vec<u32>, String> {
    let all = model.layers();
    let named = |index: u32, names: &[String]| all.get(index as usize).is_some_and(|layer| names.contains(&layer.name));
    let weighted = |index: &u32| all.get(*index as usize).is_some_and(|layer| layer.weights() > 0);
    let known: Vec<&str> = all.iter().filter(|layer| layer.weights() > 0).map(|layer| layer.name.as_str()).collect();
    let Selection { include, exclude } = point.get(&pruning::LAYERS);
    if let Some(unknown) = include.iter().flatten().chain(exclude).find(|name| !known.contains(&name.as_str())) {
        return Err(format!("the net has no layer {unknown}; it has {}", known.join(", ")));
    }
    let mut layers: Vec<u32> = match include {
        Some(names) => (0..).take(all.len()).filter(weighted).filter(|index| named(*index, names)).collect(),
        None => model.prunable(),
    };
    layers.retain(|index| !named(*index, exclude));
    if matches!(grain, Grain::Neuron | Grain::Filter) {
        let units = units(model);
        // Units that are added to others, and the output layer's, cannot go alone.
        layers.retain(|index| units[*index as usize].is_some());
    }
    if grain == Grain::Neuron {
        layers.retain(|index| matches!(all[*index as usize].kind, LayerKind::Linear { .. }));
    }
    if layers.is_empty() && include.is_some() {
        return Err("no layer is left to prune".to_owned());
    }
    Ok(layers)
}

/// Numbers of a net that go with each unit of a layer: its own, and those that read it. 0 of a layer whose units cannot go alone.
pub(super) fn carried_by_a_unit(model: &ModelSpec, layer: u32) -> u64 {
    units(model).get(layer as usize).and_then(Option::as_ref).map_or(0, |units| units.places(0).count() as u64)
}

/// Whether strategy, grain, timing and scope go together.
pub(super) fn fits(
    strategy: &Strategy,
    grain: Grain,
    timing: &Timing,
    scope: &Scope,
    removes: bool,
) -> Result<(), String> {
    if !removes {
        return Ok(());
    }
    let name = strategy.name;
    let units = matches!(grain, Grain::Neuron | Grain::Filter);
    if strategy.is_of_units() && !units {
        return Err(format!("{name} scores units: take the granularity neuron or filter"));
    }
    if strategy.criterion.is_none() && grain != Grain::Unstructured {
        return Err(format!("{name} removes single weights: take the granularity unstructured"));
    }
    if strategy.is_initial() && matches!(timing, Timing::Iterative { .. } | Timing::Gradual { .. }) {
        return Err(format!("{name} prunes before training: take the schedule one_shot"));
    }
    if let Some(criterion) = strategy.criterion {
        if units && criterion.needs == Needs::Training {
            return Err(format!("{name} trains a choice of single weights: take the granularity unstructured"));
        }
        if criterion.changes_the_net() && matches!(timing, Timing::Gradual { .. } | Timing::Alternating { .. }) {
            return Err(format!(
                "{name} changes the net that it scores, and cannot while it trains: take another schedule"
            ));
        }
        if criterion.signed && (*scope == Scope::Lamp || strategy.ranking != Ranking::Raw) {
            return Err(format!(
                "{name} ranks by signs as well, of which lamp's squares know nothing: take another scope"
            ));
        }
    }
    if units && strategy.ranks_within_rows() {
        return Err(format!(
            "{name} ranks the weights of a row, which says nothing of rows: take {{{name}: {{per_row: 0}}}}"
        ));
    }
    if matches!(timing, Timing::Gradual { .. } | Timing::Dynamic { .. } | Timing::Alternating { .. })
        && (grain != Grain::Unstructured || *scope == Scope::Sensitivity)
    {
        return Err(
            "a mask that changes in training takes single weights and a scope other than sensitivity".to_owned()
        );
    }
    Ok(())
}

pub(super) const fn granularity(grain: Grain) -> Granularity {
    match grain {
        Grain::Unstructured | Grain::Grouped { .. } => Granularity::Weight,
        Grain::Neuron | Grain::Filter => Granularity::Unit,
    }
}

/// The sparsities of all levels, the last one `sparsity` itself.
pub(super) fn ladder_of(ladder: &Ladder, sparsity: f64) -> Result<Vec<f64>, String> {
    let mut levels: Vec<f64> = match ladder {
        Ladder::Levels(levels) => levels.iter().copied().filter(|level| *level < sparsity).collect(),
        Ladder::Rounds(rounds) => {
            (1..*rounds).map(|round| 1.0 - (1.0 - sparsity).powf(f64::from(round) / f64::from(*rounds))).collect()
        }
        Ladder::Fraction(fraction) => {
            // Powers, not products: a level is the same number in every ladder. One that leaves hardly more than the last is the last.
            let level = |round: i32| 1.0 - (1.0 - fraction).powi(round);
            let is_before = |level: &f64| 1.0 - level > (1.0 - sparsity) * 1.01;
            (1..).map(level).take_while(is_before).take(MAX_LEVELS + 1).collect()
        }
    };
    levels.push(sparsity);
    if levels.len() > MAX_LEVELS {
        return Err(format!("more than {MAX_LEVELS} levels on the way to sparsity {sparsity}; take a larger fraction"));
    }
    Ok(levels)
}

/// The schedule of a mask, in steps of the training of what is left, which has `steps`.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "shares of a training"
)]
pub(super) fn schedule(timing: &Timing, steps: u64) -> Result<Schedule, String> {
    let at = |share: f64| (share * steps as f64).round() as u64;
    let never = |what: &str, every: u64, until: u64| {
        format!(
            "{what} every {every} steps would never come: its part of the training has {until} of {steps} steps; take a smaller number"
        )
    };
    Ok(match *timing {
        Timing::OneShot | Timing::Iterative { .. } => Schedule::OneShot,
        Timing::Gradual { shape, begin, end, pace } => {
            let (begin, end) = (at(begin), at(end));
            let span = end.saturating_sub(begin);
            let (every, times) = match pace {
                // The first removal is at the beginning, the last at the end.
                Pace::Times(times) => ((span / times.saturating_sub(1).max(1)).max(1), times),
                Pace::Every(every) => (every, span / every + 1),
            };
            if matches!(pace, Pace::Every(every) if every > span) {
                return Err(never("a gradual removal", every, span));
            }
            let last = begin + (times - 1) * every;
            if last >= steps {
                return Err(format!("{times} removals take {last} steps, and the training has {steps}"));
            }
            Schedule::Gradual { shape, begin, every, times }
        }
        Timing::Dynamic { growth, fraction, every, end } => {
            // The net is trained with its last mask, be it one step.
            let end = at(end).min(steps.saturating_sub(1));
            if every > end {
                return Err(never("a change of the mask", every, end));
            }
            Schedule::Dynamic { growth, fraction, every, end }
        }
        Timing::Alternating { every, end } => {
            let end = at(end);
            if every.saturating_mul(2) > end {
                return Err(never("a phase", every, end));
            }
            Schedule::Alternating { every, end }
        }
    })
}

pub(super) fn penalty(
    point: &Point,
    model: &ModelSpec,
    on: [PenaltyPhase; 2],
    epochs: u32,
) -> Result<Option<RegularizationSpec>, String> {
    let strength = *point.get(&regularization::STRENGTH);
    let is_on = strength > 0.0 && on.contains(point.get(&regularization::PHASE));
    let Some(kind) = point.get(&regularization::KIND).filter(|_| is_on) else { return Ok(None) };
    if kind == RegularizationKind::BatchNormScale && model.layers().iter().all(|layer| layer.weights() > 0) {
        return Err("batch_norm_scale takes a net with batch normalisation".to_owned());
    }
    let (warm_up_epochs, healing_epochs) =
        (*point.get(&regularization::WARM_UP_EPOCHS), *point.get(&regularization::HEALING_EPOCHS));
    if warm_up_epochs.saturating_add(healing_epochs) >= epochs {
        return Err(format!(
            "{warm_up_epochs} epochs of warm-up and {healing_epochs} of healing leave none of {epochs} to the penalty"
        ));
    }
    Ok(Some(RegularizationSpec { kind, strength, warm_up_epochs, healing_epochs }))
}
