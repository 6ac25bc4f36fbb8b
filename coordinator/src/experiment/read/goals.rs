//! Reads `objectives`, `constraints` and what else a sweep aims at.

use std::num::NonZeroU32;

use secateur_proto::{
    metrics::{Direction, InvalidQuantity, Metric, Quantity, Split},
    spec::Task,
};

use super::{
    super::{
        diagnostic::{did_you_mean, quote},
        plan::{Attempts, Constraint, Control, Objective},
        spec::{Controls, DataSpec},
        yaml::Value,
    },
    reader::{Field, Fields, Reader},
};

/// A metric, which is on validation unless the text says what it is over.
fn quantity(reader: &mut Reader, field: &Field<'_>, data: Option<&DataSpec>) -> Option<Quantity> {
    let task = data.map(|data| data.settings.task);
    let names = || Metric::ALL.iter().map(|metric| (metric.name(), *metric));
    let quantity = match field.text().filter(|text| text.contains('@')) {
        None => {
            let names: Vec<_> = names().collect();
            reader.choice(field, &names, &[])?.on(Split::Validation)
        }
        Some(text) => match text.parse::<Quantity>() {
            Ok(quantity) => quantity,
            Err(error) => {
                let hint = match &error {
                    InvalidQuantity::Metric(name) => did_you_mean(name, names().map(|(name, _)| name)),
                    _ => String::new(),
                };
                reader.report(field.mark(), &field.path, format!("{error}{hint}"));
                return None;
            }
        },
    };
    if let (Some(column), Some(data)) = (quantity.column(), data)
        && !data.settings.groups.iter().any(|group| group == column)
    {
        let groups = if data.settings.groups.is_empty() { "none".to_owned() } else { data.settings.groups.join(", ") };
        let hint = did_you_mean(column, data.settings.groups.iter().map(String::as_str));
        let message = format!("found the column {}, expected a column of data.groups ({groups}){hint}", quote(column));
        reader.report(field.mark(), &field.path, message);
        return None;
    }
    if quantity.metric() == Metric::Ks && task == Some(Task::Multiclass) {
        reader.report(field.mark(), &field.path, "ks is defined for two classes only, and the task is multiclass");
        return None;
    }
    Some(quantity)
}

/// The front's default axes: what is chosen among several classes is judged by its errors.
fn default_objectives(task: Option<Task>) -> Vec<Objective> {
    let of_data = match task {
        Some(Task::Multiclass) => Metric::Error,
        Some(Task::Binary) | None => Metric::Auc,
    };
    let objective =
        |metric: Metric| Objective { quantity: metric.on(Split::Validation), direction: metric.better(), margin: None };
    vec![objective(of_data), objective(Metric::NonzeroParameters)]
}

pub(super) fn objectives(reader: &mut Reader, fields: &Fields<'_>, data: Option<&DataSpec>) -> Option<Vec<Objective>> {
    let Some(field) = fields.get("objectives") else {
        return Some(default_objectives(data.map(|data| data.settings.task)));
    };
    let allowed = "a list such as [{maximize: auc}, {minimize: nonzero_parameters}]";
    let Some(items) = field.items().filter(|items| !items.is_empty()) else {
        reader.wrong(&field, allowed);
        return None;
    };
    let same = |one: &Objective, two: &Objective| one.quantity == two.quantity;
    let mut of_data = 0;
    let objectives = reader.values(&field, items, same, |reader, item| {
        let fields = reader.fields(item, &["maximize", "minimize", "margin"])?;
        let (field, direction) = match (fields.get("maximize"), fields.get("minimize")) {
            (Some(field), None) => (field, Direction::Maximize),
            (None, Some(field)) => (field, Direction::Minimize),
            _ => {
                reader.report(item.mark(), &item.path, "expected exactly one of maximize and minimize");
                return None;
            }
        };
        let quantity = quantity(reader, &field, data)?;
        if quantity.split() == Some(Split::Test) {
            let message =
                format!("found {quantity}, but the front is chosen on validation; test may only be in constraints");
            reader.report(field.mark(), &field.path, message);
            return None;
        }
        if quantity.better() != direction {
            let name = quantity.text_or_on(Split::Validation);
            let better = match quantity.better() {
                Direction::Maximize => "higher values are better: use maximize",
                Direction::Minimize => "lower values are better: use minimize",
            };
            reader.report(field.mark(), &field.path, format!("found {name}, whose {better}"));
            return None;
        }
        of_data += u32::from(!quantity.metric().is_of_net());
        let Some(field) = fields.get("margin") else { return Some(Objective { quantity, direction, margin: None }) };
        if quantity.metric().is_of_net() || of_data > 1 {
            let message =
                "found a margin, but only the first metric of the data has one: how much of it a net may lose";
            reader.report(field.mark(), &field.path, message);
            return None;
        }
        let margin = reader.number(&field, "a number above 0", |margin| margin > 0.0)?;
        Some(Objective { quantity, direction, margin: Some(margin) })
    })?;
    if !objectives.iter().any(|objective| !objective.quantity.metric().is_of_net()) {
        let message = "found only metrics of the net, expected at least one of the data, such as auc";
        reader.report(field.mark(), &field.path, message);
        return None;
    }
    Some(objectives)
}

pub(super) fn constraints(
    reader: &mut Reader,
    fields: &Fields<'_>,
    data: Option<&DataSpec>,
) -> Option<Vec<Constraint>> {
    let Some(field) = fields.get("constraints") else { return Some(Vec::new()) };
    let Some(items) = field.items() else {
        reader.wrong(&field, "a list such as [{metric: brier, max: 0.15}]");
        return None;
    };
    if items.is_empty() {
        return Some(Vec::new());
    }
    let same = |one: &Constraint, two: &Constraint| one.quantity == two.quantity;
    reader.values(&field, items, same, |reader, item| {
        let fields = reader.fields(item, &["metric", "min", "max"])?;
        let field = reader.required(&fields, "metric", "the name of a metric");
        let quantity = field.and_then(|field| quantity(reader, &field, data));
        let mut complete = true;
        let [min, max] = ["min", "max"].map(|key| {
            let bound = reader.number(&fields.get(key)?, "a finite number", |_| true);
            complete &= bound.is_some();
            bound
        });
        if !complete {
            return None;
        }
        if min.is_none() && max.is_none() {
            reader.report(item.mark(), &item.path, "missing bound, expected min, max or both");
            return None;
        }
        if let (Some(low), Some(high)) = (min, max)
            && low > high
        {
            reader.report(item.mark(), &item.path, format!("min {low} is above max {high}"));
            return None;
        }
        Some(Constraint { quantity: quantity?, min, max })
    })
}

/// Refuses goals that only measured nets have a value of.
pub(super) fn check_measured(
    reader: &mut Reader,
    fields: &Fields<'_>,
    objectives: Option<&[Objective]>,
    constraints: Option<&[Constraint]>,
) {
    let objectives = objectives.into_iter().flatten().map(|objective| ("objectives", &objective.quantity));
    let constraints = constraints.into_iter().flatten().map(|constraint| ("constraints", &constraint.quantity));
    for (key, quantity) in objectives.chain(constraints).filter(|(_, quantity)| quantity.metric().needs_measuring()) {
        if let Some(field) = fields.get(key) {
            let message = format!("found {quantity}, which nets have only where they are measured: add measure: true");
            reader.report(field.mark(), &field.path, message);
        }
    }
}

/// One number for all, or numbers by what fails.
pub(super) fn attempts(reader: &mut Reader, field: &Field<'_>) -> Option<Attempts> {
    const MOST: u32 = 1_000;
    let count = |reader: &mut Reader, field: &Field<'_>| reader.integer(field, 1_u32, MOST).and_then(NonZeroU32::new);
    if !matches!(field.node.value, Value::Map(_)) {
        let all = Some(count(reader, field)?);
        return Some(Attempts { executor: all, out_of_memory: all, storage: all });
    }
    let fields = reader.fields(field, &["executor", "out_of_memory", "storage"])?;
    let mut complete = true;
    let [executor, out_of_memory, storage] = ["executor", "out_of_memory", "storage"].map(|key| {
        let count = count(reader, &fields.get(key)?);
        complete &= count.is_some();
        count
    });
    complete.then_some(Attempts { executor, out_of_memory, storage })
}

/// `auto`, `none`, or a list of controls.
pub(super) fn controls(reader: &mut Reader, fields: &Fields<'_>) -> Option<Controls> {
    let Some(field) = fields.get("controls") else { return Some(Controls::auto()) };
    let named = |list| Controls { list, named: true };
    match field.text() {
        Some("auto") => return Some(Controls::auto()),
        Some("none") => return Some(named(Vec::new())),
        Some("all") => return Some(named(Control::of_nets().collect())),
        _ => {}
    }
    if field.items().is_none() {
        let hint = field.text().map(|text| did_you_mean(text, ["auto", "none", "all"])).unwrap_or_default();
        let names = Control::of_nets().map(Control::name).collect::<Vec<_>>().join(", ");
        reader.wrong(&field, &format!("auto, none, all, or a list of {names}{hint}"));
        return None;
    }
    let names: Vec<_> = Control::of_nets().map(|control| (control.name(), control)).collect();
    let read = |reader: &mut Reader, field: &Field<'_>| {
        if let Some(reference) =
            Control::ALL.iter().find(|control| control.is_reference() && field.is_text(control.name()))
        {
            let message =
                format!("{reference} is a reference model: name it in references, such as references: [{reference}]");
            reader.report(field.mark(), &field.path, message);
            return None;
        }
        reader.choice(field, &names, &[])
    };
    reader.values(&field, field.items_or_self(), PartialEq::eq, read).map(named)
}
