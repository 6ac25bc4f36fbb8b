//! Finds the net in a checkpoint: the one dictionary whose tensors are those of the net's, by name and shape.

mod unfit;

use std::collections::{BTreeMap, BTreeSet};

use secateur_proto::spec::{ModelSpec, TensorSpec};

use self::unfit::unfit;
use super::{
    Checkpoint, ForeignNet, ImportError,
    pickle::Tensor,
    source::{flags, floats},
};

/// What a net's layers are called. A tensor of such a name that the net does not have is a sign of another net.
const FAMILIES: [&str; 2] = ["layers.", "norms."];
/// Behind the name of a pruned tensor, as `torch.nn.utils.prune` has it.
const ORIGINAL: &str = "_orig";
/// Counts what the net needs no count of.
const COUNTER: &str = "num_batches_tracked";
/// The most names that a message lists.
const LISTED: usize = 8;

/// What is asked of a checkpoint.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The net.
    pub model: &'a ModelSpec,
    /// Names of the classes.
    pub classes: &'a [String],
    /// The file as the sweep file names it, for messages.
    pub path: &'a str,
    /// Which dictionary of the file, if that is said: its keys, joined by dots.
    pub key: Option<&'a str>,
    /// Beginnings of names in the dictionary, and what stands there in the names of the net's.
    pub rename: &'a [(String, String)],
}

/// A checkpoint in which the net is not found.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    /// The file cannot be read.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// There is no dictionary of that key.
    #[error("key: the file holds no dictionary {key:?} (it holds {known})")]
    Key {
        /// What was asked for.
        key: String,
        /// What there is.
        known: String,
    },
    /// Nothing is renamed so.
    #[error("rename: no tensor name starts with {0:?} (the names are {1})")]
    NothingToRename(String, String),
    /// Two tensors would have one name.
    #[error("rename: two tensors would be named {0:?}")]
    SameName(String),
    /// Several dictionaries hold such a net.
    #[error("{count} dictionaries in the file fit the net: choose one with `weights: {{path: {path}, key: KEY}}`, where KEY is {}", .keys.join(" or "), count = .keys.len())]
    Several {
        /// The file.
        path: String,
        /// Their keys.
        keys: Vec<String>,
    },
    /// None does.
    #[error("no tensors in the file fit the net; {nearest}{hint}")]
    Unfit {
        /// What differs in the dictionary that comes nearest.
        nearest: String,
        /// What to do.
        hint: String,
    },
    /// A tensor of the net holds something else than floating-point numbers.
    #[error("the tensor {name} holds numbers of the type {numbers}, expected a floating-point type")]
    Numbers {
        /// Its name in the file.
        name: String,
        /// Their type.
        numbers: String,
    },
    /// A tensor with NaN or infinity in it.
    #[error("the tensor {0} holds a number that is not finite as a 32-bit float")]
    NotFinite(String),
    /// A mask of something else than 0 and 1.
    #[error("the mask of {0} holds something other than 0 and 1")]
    Mask(String),
}

/// A tensor of the file, and its mask where it was pruned.
#[derive(Debug, Clone)]
struct Part {
    tensor: Tensor,
    mask: Option<Tensor>,
}

/// How the head of the file's net is that of the wanted one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Head {
    Same,
    /// It has a logit for each of two classes, and the net one for the second.
    TwoToOne,
    /// The other way round.
    OneToTwo,
}

/// A dictionary beside the net.
struct Comparison<'a> {
    /// The beginning of its names in the file, with the last dot.
    root: &'a str,
    /// For each wanted tensor its name in the file.
    found: Vec<Option<String>>,
    head: Head,
    missing: Vec<String>,
    wrong: Vec<String>,
    unexpected: Vec<String>,
    matched: usize,
}

impl Comparison<'_> {
    fn differences(&self) -> usize {
        self.missing.len() + self.wrong.len() + self.unexpected.len()
    }

    fn key(&self) -> &str {
        self.root.trim_end_matches('.')
    }
}

impl Checkpoint {
    /// The net that is wanted, from the one dictionary that fits.
    ///
    /// # Errors
    /// If no dictionary fits, or several do, or their numbers cannot be taken.
    pub fn fit(&mut self, wanted: &Wanted<'_>) -> Result<ForeignNet, FitError> {
        let named = self.source.named(wanted.model).map_err(ImportError::from)?;
        let mut notes = Vec::new();
        if let Some((tensors, of_graph)) = named {
            self.tensors = tensors;
            notes = of_graph.into_iter().map(|note| format!("{}: {note}", wanted.path)).collect();
        }
        let parts = self.parts();
        let roots = self.roots(&parts, wanted)?;
        let specs = wanted.model.tensors();
        let mut comparisons = Vec::new();
        let mut clash = None;
        for root in &roots {
            match renamed(&parts, root, wanted.rename) {
                Ok(None) => {}
                Ok(Some(names)) => comparisons.push(compare(wanted, &specs, &parts, root, &names)),
                Err(error) => clash = clash.or(Some(error)),
            }
        }
        if let (true, Some(clash)) = (comparisons.iter().all(|one| one.differences() > 0), clash) {
            return Err(clash);
        }
        if comparisons.is_empty() {
            let unused = wanted.rename.iter().find(|(old, _)| !parts.keys().any(|name| after(name, old).is_some()));
            let unused = unused.or(wanted.rename.first()).map(|(old, _)| old.clone()).unwrap_or_default();
            return Err(FitError::NothingToRename(unused, listed(parts.keys().cloned())));
        }
        let fitting: Vec<&Comparison<'_>> = comparisons.iter().filter(|one| one.differences() == 0).collect();
        match fitting.as_slice() {
            [one] => {
                let mut net = self.net(wanted, &specs, &parts, one)?;
                net.notes.extend(notes);
                Ok(net)
            }
            [] => Err(unfit(self, wanted, &specs, &comparisons)),
            several => {
                // Names without a key of their own are those of the file itself.
                let keys = several.iter().map(|one| format!("{:?}", one.key())).collect();
                Err(FitError::Several { path: wanted.path.to_owned(), keys })
            }
        }
    }

    /// The tensors by name. Of a pruned one, `weight_orig` and `weight_mask` are `weight`.
    fn parts(&self) -> BTreeMap<String, Part> {
        let mut parts: BTreeMap<String, Part> = self
            .tensors
            .iter()
            .map(|(name, tensor)| (name.clone(), Part { tensor: tensor.clone(), mask: None }))
            .collect();
        let pruned: Vec<String> =
            parts.keys().filter_map(|name| name.strip_suffix(ORIGINAL).map(str::to_owned)).collect();
        for name in pruned {
            let (original, mask) = (format!("{name}{ORIGINAL}"), format!("{name}{}", super::MASK));
            let shape = |name: &str| parts.get(name).map(|part| part.tensor.shape.clone());
            if parts.contains_key(&name) || shape(&original) != shape(&mask) {
                continue;
            }
            if let (Some(original), Some(mask)) = (parts.remove(&original), parts.remove(&mask)) {
                parts.insert(name, Part { tensor: original.tensor, mask: Some(mask.tensor) });
            }
        }
        parts
    }

    /// The beginnings of names that can be those of a dictionary: each up to a dot, and the empty one.
    fn roots<'a>(&self, parts: &'a BTreeMap<String, Part>, wanted: &Wanted<'_>) -> Result<BTreeSet<&'a str>, FitError> {
        let dots = |name: &'a str| name.match_indices('.').map(move |(dot, _)| &name[..=dot]);
        let roots = parts.keys().flat_map(|name| dots(name).chain([""]));
        let Some(key) = wanted.key else { return Ok(roots.collect()) };
        let within = format!("{}.", key.trim_end_matches('.'));
        let roots: BTreeSet<&str> = roots.filter(|root| root.starts_with(&within)).collect();
        if !key.is_empty() && roots.is_empty() {
            let tops =
                parts.keys().filter_map(|name| dots(name).next()).map(|root| root.trim_end_matches('.').to_owned());
            let tops: BTreeSet<String> = tops.collect();
            let known = if tops.is_empty() { "tensors only".to_owned() } else { listed(tops.into_iter()) };
            return Err(FitError::Key { key: key.to_owned(), known });
        }
        // The empty key is the file itself.
        Ok(if key.is_empty() { BTreeSet::from([""]) } else { roots })
    }

    fn net(
        &mut self,
        wanted: &Wanted<'_>,
        specs: &[TensorSpec],
        parts: &BTreeMap<String, Part>,
        fitting: &Comparison<'_>,
    ) -> Result<ForeignNet, FitError> {
        let mut net = ForeignNet::default();
        let mut types = BTreeSet::new();
        let head = wanted.model.layers().len().saturating_sub(1);
        for (spec, name) in specs.iter().zip(fitting.found.iter().flatten()) {
            let part = &parts[name];
            let wrong = || FitError::Numbers {
                name: name.clone(),
                numbers: part.tensor.numbers.as_ref().map_or_else(Clone::clone, |dtype| format!("{dtype:?}")),
            };
            let mut values = self.numbers(&part.tensor, floats)?.ok_or_else(wrong)?;
            if !values.iter().all(|value| value.is_finite()) {
                return Err(FitError::NotFinite(name.clone()));
            }
            types.extend(part.tensor.numbers.as_ref().ok().map(|dtype| format!("{dtype:?}")));
            let mut kept = match &part.mask {
                Some(mask) => Some(self.numbers(mask, flags)?.ok_or_else(|| FitError::Mask(name.clone()))?),
                None => None,
            };
            for (value, kept) in values.iter_mut().zip(kept.iter().flatten()) {
                if !kept {
                    *value = 0.0;
                }
            }
            if spec.layer == head {
                let half = values.len() / 2;
                match fitting.head {
                    Head::Same => {}
                    Head::TwoToOne => {
                        let (first, second) = values.split_at(half);
                        values = second.iter().zip(first).map(|(two, one)| two - one).collect();
                        // What one of the two logits has is kept.
                        kept = kept.map(|kept| {
                            let (first, second) = kept.split_at(half);
                            second.iter().zip(first).map(|(two, one)| *two || *one).collect()
                        });
                    }
                    Head::OneToTwo => {
                        values = [vec![0.0; values.len()], values].concat();
                        kept = kept.map(|kept| [kept.clone(), kept].concat());
                    }
                }
            }
            net.masks.extend(kept.filter(|kept| kept.contains(&false)).map(|kept| (spec.name.clone(), kept)));
            net.tensors.insert(spec.name.clone(), (spec.shape.clone(), values));
        }
        net.notes = self.notes(wanted, parts, fitting, &types, &net);
        Ok(net)
    }

    /// What a person should know of how the net was found.
    fn notes(
        &self,
        wanted: &Wanted<'_>,
        parts: &BTreeMap<String, Part>,
        fitting: &Comparison<'_>,
        types: &BTreeSet<String>,
        net: &ForeignNet,
    ) -> Vec<String> {
        let mut notes = Vec::new();
        if !fitting.root.is_empty() {
            notes.push(format!("the net is the dictionary {:?} of the file", fitting.key()));
        }
        let others: Vec<&str> = types.iter().map(String::as_str).filter(|name| *name != "F32").collect();
        if !others.is_empty() {
            notes.push(format!("numbers of the type {} are converted to 32-bit floats", others.join(" and ")));
        }
        match (fitting.head, wanted.classes) {
            (Head::TwoToOne, [first, second]) => notes.push(format!(
                "the last layer has a logit for each of two classes; the net takes the second minus the first, which gives the same \
                 probabilities if the first is that of {first:?} and the second that of {second:?}"
            )),
            (Head::OneToTwo, [first, second]) => notes.push(format!(
                "the last layer has one logit; the net takes it for {second:?} and 0 for {first:?}, which gives the same probabilities if \
                 it is that of {second:?}"
            )),
            _ => {}
        }
        let removed: usize = net.masks.values().flatten().filter(|kept| !**kept).count();
        if removed > 0 {
            let names: Vec<String> = net.masks.keys().cloned().collect();
            notes.push(format!(
                "the net is pruned already: the masks of {} remove {removed} numbers, which stay removed in every cell and control",
                listed(names.into_iter())
            ));
        }
        let taken: BTreeSet<&str> = fitting.found.iter().flatten().map(String::as_str).collect();
        let left = (self.tensors.iter().map(|(name, _)| name.as_str()))
            .filter(|name| {
                let whole = name.strip_suffix(ORIGINAL).or_else(|| name.strip_suffix(super::MASK)).unwrap_or(name);
                !(taken.contains(name) || taken.contains(whole) && parts[whole].mask.is_some())
            })
            .map(|name| (name, true));
        let others = self.others.iter().map(|name| (name.as_str(), false));
        let mut groups: Vec<(String, usize)> = Vec::new();
        for (name, is_tensor) in left.chain(others) {
            let group = group(name, fitting.root);
            let place = groups.iter().position(|(known, _)| *known == group).unwrap_or_else(|| {
                groups.push((group, 0));
                groups.len() - 1
            });
            groups[place].1 += usize::from(is_tensor);
        }
        if !groups.is_empty() {
            let named = groups.into_iter().map(|(name, tensors)| match tensors {
                0 | 1 => name,
                tensors => format!("{name} ({tensors} tensors)"),
            });
            notes.push(format!("left aside, as the net does not have them: {}", listed(named)));
        }
        notes.into_iter().map(|note| format!("{}: {note}", wanted.path)).collect()
    }
}

/// What a name that is left aside is listed under: where it leaves the keys of the net's dictionary, and within that its layer.
fn group(name: &str, root: &str) -> String {
    if name.ends_with(COUNTER) {
        return COUNTER.to_owned();
    }
    if let Some(rest) = name.strip_prefix(root) {
        let layer = rest.rsplit_once('.').map_or(rest, |(layer, _)| layer);
        return if root.is_empty() {
            rest.split('.').next().unwrap_or(rest).to_owned()
        } else {
            format!("{root}{layer}")
        };
    }
    let keys: Vec<&str> = name.split('.').collect();
    let shared = keys.iter().zip(root.split('.')).take_while(|(one, other)| *one == other).count();
    keys[..(shared + 1).min(keys.len())].join(".")
}

/// The rest of a name behind a beginning that ends with it or at a dot.
fn after(name: &str, beginning: &str) -> Option<String> {
    match name.strip_prefix(beginning)? {
        "" => Some(String::new()),
        rest => rest.strip_prefix('.').map(str::to_owned),
    }
}

/// The names of a dictionary's tensors as the net may have them, with those in the file: of each, the longest beginning that is renamed
/// is replaced. `None` if a beginning is that of no name.
fn renamed(
    parts: &BTreeMap<String, Part>,
    root: &str,
    rename: &[(String, String)],
) -> Result<Option<BTreeMap<String, String>>, FitError> {
    let mut names = BTreeMap::new();
    let mut used = vec![false; rename.len()];
    for full in parts.range(root.to_owned()..).map(|(name, _)| name).take_while(|name| name.starts_with(root)) {
        let name = &full[root.len()..];
        let mut longest: Option<(usize, String)> = None;
        for (used, (old, new)) in used.iter_mut().zip(rename) {
            let Some(rest) = after(name, old) else { continue };
            *used = true;
            if longest.as_ref().is_none_or(|(length, _)| *length < old.len()) {
                let dot = if new.is_empty() || rest.is_empty() { "" } else { "." };
                longest = Some((old.len(), format!("{new}{dot}{rest}")));
            }
        }
        let name = longest.map_or_else(|| name.to_owned(), |(_, name)| name);
        if names.insert(name.clone(), full.clone()).is_some() {
            return Err(FitError::SameName(name));
        }
    }
    Ok(used.iter().all(|used| *used).then_some(names))
}

/// The shape that a tensor of the head has in a net with the other number of logits for two classes.
fn other_head(wanted: &Wanted<'_>, spec: &TensorSpec) -> Option<(Head, Vec<u64>)> {
    let is_head = spec.layer + 1 == wanted.model.layers().len() && wanted.classes.len() == 2;
    let (head, outputs) = match spec.shape.first() {
        Some(1) => (Head::TwoToOne, 2),
        Some(2) => (Head::OneToTwo, 1),
        _ => return None,
    };
    let rest = spec.shape.iter().skip(1).map(|size| *size as u64);
    is_head.then(|| (head, std::iter::once(outputs).chain(rest).collect()))
}

fn compare<'a>(
    wanted: &Wanted<'_>,
    specs: &[TensorSpec],
    parts: &BTreeMap<String, Part>,
    root: &'a str,
    names: &BTreeMap<String, String>,
) -> Comparison<'a> {
    let shape = |spec: &TensorSpec| names.get(&spec.name).map(|full| parts[full].tensor.shape.clone());
    let others: Vec<Option<(Head, Vec<u64>)>> = specs.iter().map(|spec| other_head(wanted, spec)).collect();
    // All tensors of the head have the other shape, or none has.
    let mut of_head = specs.iter().zip(&others).filter_map(|(spec, other)| Some((spec, other.as_ref()?))).peekable();
    let other = of_head.peek().map(|(_, (head, _))| *head);
    let has_other = other.is_some() && of_head.all(|(spec, (_, other))| shape(spec).as_ref() == Some(other));
    let head = other.filter(|_| has_other).unwrap_or(Head::Same);
    let mut comparison = Comparison {
        root,
        found: Vec::new(),
        head,
        missing: Vec::new(),
        wrong: Vec::new(),
        unexpected: Vec::new(),
        matched: 0,
    };
    for (spec, other) in specs.iter().zip(&others) {
        let expected = match other {
            Some((_, other)) if has_other => other.clone(),
            _ => spec.shape.iter().map(|size| *size as u64).collect(),
        };
        comparison.found.push(names.get(&spec.name).cloned());
        match shape(spec) {
            None => comparison.missing.push(format!("{} {expected:?}", spec.name)),
            Some(found) if found != expected => {
                comparison.wrong.push(format!("{} is {found:?} (expected {expected:?})", spec.name));
            }
            Some(_) => comparison.matched += 1,
        }
    }
    let known: BTreeSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    let unexpected = names.iter().filter(|(name, _)| {
        FAMILIES.iter().any(|family| name.starts_with(family))
            && !known.contains(name.as_str())
            && !name.ends_with(COUNTER)
    });
    comparison.unexpected = unexpected.map(|(name, full)| format!("{name} {:?}", parts[full].tensor.shape)).collect();
    comparison
}

/// Names for a message.
fn listed(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    let more = names.len().saturating_sub(LISTED);
    let shown = names.iter().take(LISTED).cloned().collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}
