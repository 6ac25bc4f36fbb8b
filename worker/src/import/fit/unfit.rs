//! Why no dictionary of a checkpoint fits a net, in one message with the key that helps.

use std::{cmp::Reverse, collections::BTreeMap};

use secateur_proto::spec::TensorSpec;

use super::{COUNTER, Checkpoint, Comparison, FitError, Wanted, listed, other_head};

/// The most differences of each kind that the message lists.
const LISTED_DIFFERENCES: usize = 3;

/// Why nothing fits: what differs in what comes nearest, and what helps.
pub(super) fn unfit(
    checkpoint: &Checkpoint,
    wanted: &Wanted<'_>,
    specs: &[TensorSpec],
    comparisons: &[Comparison<'_>],
) -> FitError {
    let nearest = comparisons.iter().max_by_key(|one| (one.matched, Reverse((one.differences(), one.root.len()))));
    let difference = nearest.filter(|nearest| nearest.matched + nearest.wrong.len() > 0).map(|nearest| {
        let some = |what: &str, names: &[String]| {
            let more = names.len().saturating_sub(LISTED_DIFFERENCES);
            let shown = names.iter().take(LISTED_DIFFERENCES).cloned().collect::<Vec<_>>().join(", ");
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            (!names.is_empty()).then(|| format!("{what}{shown}{more}"))
        };
        let differences = [
            some("missing ", &nearest.missing),
            some("", &nearest.wrong),
            some("not in the net: ", &nearest.unexpected),
        ];
        let differences: Vec<String> = differences.into_iter().flatten().collect();
        let place = if nearest.root.is_empty() { "the file itself".to_owned() } else { format!("{:?}", nearest.key()) };
        format!("nearest is {place}: {}", differences.join("; "))
    });
    let renaming = comparisons.iter().find_map(|one| Some((one.key(), renaming(checkpoint, wanted, specs, one.root)?)));
    let hint = match renaming {
        Some((key, pairs)) => {
            let key = if key.is_empty() { String::new() } else { format!("key: {key}, ") };
            format!(
                "; the shapes match under other names, so if the layers do too, use `weights: {{path: {}, {key}rename: {{{pairs}}}}}`",
                wanted.path
            )
        }
        None if nearest.is_some_and(|nearest| nearest.unexpected.iter().any(|name| name.starts_with("norms."))) => {
            "; the net in the file has batch normalisation: `model.batch_norm: true` gives the sweep's one, too"
                .to_owned()
        }
        None => String::new(),
    };
    let nearest = difference.unwrap_or_else(|| {
        let expected = listed(specs.iter().map(|spec| format!("{} {:?}", spec.name, spec.shape)));
        let found = checkpoint.tensors.iter().map(|(name, tensor)| format!("{name} {:?}", tensor.shape));
        format!("expected {expected}; found {}", listed(found))
    });
    FitError::Unfit { nearest, hint }
}

/// The tensors of a layer: the last parts of their names, with their shapes.
type OfLayer<'a> = BTreeMap<&'a str, Vec<u64>>;

/// Puts tensors together that differ in the last part of their names, in their order.
fn by_layer<'a>(tensors: impl Iterator<Item = (&'a str, Vec<u64>)>) -> Vec<(&'a str, OfLayer<'a>)> {
    let mut layers: Vec<(&str, OfLayer<'_>)> = Vec::new();
    for (name, shape) in tensors {
        let (layer, part) = name.rsplit_once('.').unwrap_or(("", name));
        match layers.iter_mut().find(|(known, _)| *known == layer) {
            Some((_, parts)) => _ = parts.insert(part, shape),
            None => layers.push((layer, BTreeMap::from([(part, shape)]))),
        }
    }
    layers
}

/// How the layers of a dictionary would have to be renamed: each of the net has exactly one of the same tensors, or those with such tensors
/// come in the same order.
fn renaming(checkpoint: &Checkpoint, wanted: &Wanted<'_>, specs: &[TensorSpec], root: &str) -> Option<String> {
    let names =
        checkpoint.tensors.iter().filter_map(|(name, tensor)| Some((name.strip_prefix(root)?, tensor.shape.clone())));
    let found = by_layer(names.filter(|(name, _)| !name.ends_with(COUNTER)).take(specs.len() * 4));
    let of_net = |has_other_head: bool| {
        let shape = |spec: &TensorSpec| match other_head(wanted, spec) {
            Some((_, other)) if has_other_head => other,
            _ => spec.shape.iter().map(|size| *size as u64).collect(),
        };
        by_layer(specs.iter().map(|spec| (spec.name.as_str(), shape(spec))).collect::<Vec<_>>().into_iter())
    };
    [false, true].into_iter().find_map(|has_other_head| {
        let layers = of_net(has_other_head);
        let alike: Vec<_> = found.iter().filter(|(_, parts)| layers.iter().any(|(_, other)| other == parts)).collect();
        let only = |parts: &OfLayer<'_>| {
            let mut same = found.iter().filter(|(_, other)| other == parts);
            same.next().filter(|_| same.next().is_none())
        };
        let unique: Option<Vec<&str>> = layers.iter().map(|(_, parts)| only(parts).map(|(name, _)| *name)).collect();
        let in_order = || {
            let is_so =
                alike.len() == layers.len() && alike.iter().zip(&layers).all(|((_, one), (_, other))| one == other);
            is_so.then(|| alike.iter().map(|(name, _)| *name).collect())
        };
        let names = unique.or_else(in_order)?;
        let pairs: Vec<String> = names.iter().zip(&layers).map(|(old, (new, _))| format!("{old}: {new}")).collect();
        // A layer without a name cannot be renamed, and names that fit already need not be.
        (names.iter().all(|name| !name.is_empty()) && names.iter().zip(&layers).any(|(old, (new, _))| old != new))
            .then(|| pairs.join(", "))
    })
}
