//! From the tree of a sweep file to a [`SweepSpec`]. Reports every problem, not only the first.

mod data;
mod exclude;
mod goals;
mod pruning;
mod reader;
mod schedule;
mod training;
mod weights;

use self::reader::{Field, Fields, Reader};
use super::{
    axis::{Axis, AxisKey},
    diagnostic::{Diagnostics, Mark},
    plan::Attempts,
    setting::Phase,
    spec::{Grid, MAX_CELLS, MAX_TRIALS, SweepSpec},
    yaml,
};

const KEYS: [&str; 14] = [
    "version",
    "name",
    "data",
    "model",
    "training",
    "pruning",
    "regularization",
    "quantization",
    "seeds",
    "objectives",
    "constraints",
    "exclude",
    "controls",
    "attempts",
];

/// Reads the text of a sweep file.
pub(super) fn sweep(file: &str, text: &str) -> Result<SweepSpec, Diagnostics> {
    let (root, problems) = yaml::parse(file, text)?;
    let mut reader = Reader { problems };
    let spec = read(&mut reader, file, &Field::new("", &root));
    match spec {
        Some(spec) if reader.problems.is_empty() => Ok(spec),
        _ => Err(Diagnostics::new(file, reader.problems)),
    }
}

fn read(reader: &mut Reader, file: &str, root: &Field<'_>) -> Option<SweepSpec> {
    let fields = reader.fields(root, &KEYS)?;
    version(reader, &fields);
    let name = reader.required(&fields, "name", NAME).and_then(|field| name(reader, &field));
    let data = reader.required(&fields, "data", "a map").and_then(|field| data::read(reader, &field));
    let model = reader.required(&fields, "model", "a map").and_then(|field| training::model(reader, &field));
    let task = data.as_ref().map(|data| data.task);
    let training =
        reader.required(&fields, "training", "a map").and_then(|field| training::training(reader, &field, task));
    let pruning = reader.required(&fields, "pruning", "a map").and_then(|field| pruning::pruning(reader, &field));
    let penalty = pruning::regularization(reader, &fields);
    if let Some(field) = fields.get("quantization") {
        reader.choice(&field, &[("none", ())], &["int8"]);
    }
    let seeds = reader.required(&fields, "seeds", goals::SEEDS).and_then(|field| goals::seeds(reader, &field));
    let objectives = goals::objectives(reader, &fields, task);
    let constraints = goals::constraints(reader, &fields, task);
    let controls = goals::controls(reader, &fields);
    let attempts = fields.get("attempts").map_or(Some(Attempts::default()), |field| goals::attempts(reader, &field));

    let excluded = fields.get("exclude");
    let grid = assemble(model.as_ref(), training.as_ref(), pruning.as_ref(), penalty.as_ref());
    let Some(grid) = grid else {
        // The axes are not known, so only the shape of what they are excluded by can be checked.
        excluded.iter().for_each(|field| exclude::check_keys(reader, field));
        return None;
    };
    check_size(reader, root.mark(), &grid, seeds.as_ref());
    let exclude = excluded.map_or(Some(Vec::new()), |field| exclude::exclude(reader, &field, &grid));
    let (model, training, pruning, penalty) = (model?, training?, pruning?, penalty?);
    Some(SweepSpec {
        file: file.to_owned(),
        name: name?,
        data: data?,
        grid,
        architecture: model.architecture,
        weights: model.weights,
        initialization: training.initialization,
        optimizer: training.optimizer,
        lr_schedule: training.lr_schedule,
        retrain_lr_schedule: pruning.retrain.lr_schedule,
        dropout: model.dropout,
        warm_up_epochs: penalty.warm_up_epochs,
        healing_epochs: penalty.healing_epochs,
        layers: pruning.layers,
        most_per_layer: pruning.most_per_layer,
        select_by: training.select_by,
        seeds: seeds?.list(),
        objectives: objectives?,
        constraints: constraints?,
        exclude: exclude?,
        controls: controls?,
        attempts: attempts?,
    })
}

fn version(reader: &mut Reader, fields: &Fields<'_>) {
    if let Some(field) = reader.required(fields, "version", "1")
        && field.node.value != yaml::Value::Integer(1)
    {
        reader.wrong(&field, "1, the only version of the sweep file");
    }
}

const NAME: &str = "1 to 48 letters, digits, '-', '_' and '.', the first a letter or digit";

fn name(reader: &mut Reader, field: &Field<'_>) -> Option<String> {
    let safe = |name: &str| {
        name.len() <= 48
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    let name = field.text().filter(|name| safe(name));
    if name.is_none() {
        reader.wrong(field, NAME);
    }
    name.map(str::to_owned)
}

fn assemble(
    model: Option<&training::Model>,
    training: Option<&training::Training>,
    pruning: Option<&pruning::Pruning>,
    penalty: Option<&pruning::Penalty>,
) -> Option<Grid> {
    let (model, training, pruning, penalty) = (model?, training?, pruning?, penalty?);
    Some(Grid {
        hidden: model.hidden.clone(),
        lr: training.lr.clone(),
        weight_decay: training.weight_decay.clone(),
        batch_size: training.batch_size.clone(),
        epochs: training.epochs.clone(),
        clip_gradient_norm: training.clip_gradient_norm.clone(),
        strategy: pruning.strategy.clone(),
        scope: pruning.scope.clone(),
        granularity: pruning.granularity.clone(),
        schedule: pruning.schedule.clone(),
        ablation: pruning.ablation.clone(),
        sparsity: pruning.sparsity.clone(),
        retrain_epochs: pruning.retrain.epochs.clone(),
        retrain_lr: pruning.retrain.lr.clone(),
        regularization: penalty.kind.clone(),
        strength: penalty.strength.clone(),
        phase: penalty.phase.clone(),
    })
}

/// Refuses a grid that is too large before anything of it is made.
fn check_size(reader: &mut Reader, mark: Mark, grid: &Grid, seeds: Option<&goals::Seeds>) {
    let lengths = || {
        let long = grid.axes().into_iter().filter(|axis| axis.len() > 1);
        long.map(|axis| format!("{} ({})", axis.key().path(), axis.len())).collect::<Vec<_>>().join(" × ")
    };
    let cells = grid.len();
    let trials = seeds.map_or(0, |seeds| cells.saturating_mul(seeds.count()));
    if cells > MAX_CELLS {
        let message =
            format!("found a grid of {cells} cells, allowed at most {MAX_CELLS}: shorten an axis of {}", lengths());
        reader.report(mark, "", message);
    } else if trials > MAX_TRIALS {
        let seeds = seeds.map_or(0, goals::Seeds::count);
        let message = format!(
            "found {trials} trials ({cells} cells × {seeds} seeds), allowed at most {MAX_TRIALS}: take fewer seeds or shorten an axis"
        );
        reader.report(mark, "seeds", message);
    }
}

fn single<T>(key: AxisKey, mark: Mark, value: T) -> Axis<T> {
    Axis::default(key, mark, value)
}

/// The penalty of a file that asks for none.
fn no_penalty(mark: Mark) -> pruning::Penalty {
    pruning::Penalty {
        kind: single(AxisKey::RegularizationKind, mark, None),
        strength: single(AxisKey::Strength, mark, 0.0),
        phase: single(AxisKey::Phase, mark, Phase::Both),
        warm_up_epochs: 0,
        healing_epochs: 0,
    }
}
