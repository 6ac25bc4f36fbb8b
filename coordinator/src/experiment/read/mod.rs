//! From the tree of a sweep file to a [`SweepSpec`]. Reports every problem, not only the first.

mod data;
mod decision;
mod exclude;
mod goals;
mod measure;
mod reader;
mod references;
mod seeds;
mod table;
mod weights;

use secateur_proto::{ids::ContentHash, spec::Task};

pub(crate) use self::reader::{Field, Fields, Reader};
pub(crate) use self::{
    data::is_table_path, decision::schema as decision_schema, measure::schema as measure_schema,
    references::schema as references_schema,
};
use self::{reader::example, seeds::Seeds};
use super::{
    diagnostic::{Diagnostics, Mark},
    domain::{Axis, Domain},
    expand::Grid,
    plan::Attempts,
    propose::{DIMENSIONS, MAX_SEARCH, Search},
    setting::{self, AnySetting, Around, Form as _, GROUPS, Names, model, training},
    spec::{MAX_CELLS, MAX_TRIALS, SweepSpec, WeightsSpec},
    yaml,
};

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
    let fields = reader.fields(root, &setting::keys_of("", None))?;
    version(reader, &fields);
    let name = reader.required(&fields, "name", NAME).and_then(|field| name(reader, &field));
    // Nothing is computed by it: the documents read it from the text of the file.
    fields.get("purpose").iter().for_each(|field| _ = reader.text(field, "text"));
    let data = reader.required(&fields, "data", "a map").and_then(|field| data::read(reader, &field));
    let task = data.as_ref().map(|data| data.settings.task);
    let maps = Maps::read(reader, &fields);
    let axes = axes(reader, &maps, task);
    let weights = match maps.get("model").and_then(|(map, _)| map.get("weights")) {
        None => Some(None),
        Some(field) => weights::weights(reader, &field).map(Some),
    };
    let search = search(reader, &maps);
    let seeds = reader.required(&fields, "seeds", seeds::SEEDS).and_then(|field| seeds::seeds(reader, &field));
    let objectives = goals::objectives(reader, &fields, data.as_ref());
    let constraints = goals::constraints(reader, &fields, data.as_ref());
    let decision = decision::decision(reader, &fields, task);
    let controls = goals::controls(reader, &fields);
    let references = references::references(reader, &fields, data.as_ref());
    let attempts = fields.get("attempts").map_or(Some(Attempts::default()), |field| goals::attempts(reader, &field));
    let measure = measure::measure(reader, &fields);
    if measure == Some(None) {
        goals::check_measured(reader, &fields, objectives.as_deref(), constraints.as_deref());
    }

    let excluded = fields.get("exclude");
    let Some(grid) = axes.map(Grid::new) else {
        // The axes are not known, so only the shape of what they are excluded by can be checked.
        excluded.iter().for_each(|field| exclude::check_keys(reader, field));
        return None;
    };
    contradictions(reader, &maps, &grid, weights.as_ref().and_then(Option::as_ref));
    let search = search?;
    check_search(reader, &maps, &grid, search);
    check_size(reader, root.mark(), &grid, search, seeds.as_ref());
    let exclude = excluded.map_or(Some(Vec::new()), |field| exclude::exclude(reader, &field, &grid));
    let (seeds, adaptive) = seeds?.list();
    Some(SweepSpec {
        file: file.to_owned(),
        meaning: meaning(root),
        name: name?,
        data: data?,
        grid,
        search,
        weights: weights?,
        seeds,
        adaptive,
        objectives: objectives?,
        constraints: constraints?,
        decision: decision?,
        exclude: exclude?,
        controls: controls?,
        references: references?,
        attempts: attempts?,
        measure: measure?,
    })
}

/// The hash of what decides the work and the results.
fn meaning(root: &Field<'_>) -> ContentHash {
    let mut tree = root.node.canonical();
    if let Some(keys) = tree.as_object_mut() {
        keys.remove("purpose");
    }
    ContentHash::of(tree.to_string().as_bytes())
}

/// A map and its `kind`, where that is known.
type KindedMap<'a> = (Fields<'a>, Option<&'a str>);

/// The maps that hold settings, as far as the file has them.
struct Maps<'a> {
    /// By path: the map and its kind, or where it is missing.
    found: Vec<(&'static str, Result<KindedMap<'a>, Missing>)>,
}

/// Why there is no map to read settings from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// It may be left out, and the file does, or says `none`.
    Left(Mark),
    /// There was a problem, which is reported.
    Reported,
}

impl<'a> Maps<'a> {
    fn read(reader: &mut Reader, root: &Fields<'a>) -> Self {
        let mut maps = Self { found: vec![("", Ok((root.clone(), None)))] };
        let groups = GROUPS.iter().filter(|group| !group.path.starts_with("data"));
        for group in groups {
            let (parent, key) = group.path.rsplit_once('.').unwrap_or(("", group.path));
            let parent = if parent.is_empty() { Some(root) } else { maps.get(parent).map(|(map, _)| map) };
            let map = match parent.map(|parent| (parent, parent.get(key))) {
                None => Err(Missing::Reported),
                Some((parent, None)) if group.is_required => {
                    let keys = setting::keys_of(group.path, None).join(", ");
                    reader.required(parent, key, &format!("a map of {keys}"));
                    Err(Missing::Reported)
                }
                Some((parent, None)) => Err(Missing::Left(parent.mark)),
                Some((_, Some(field))) if !group.is_required && field.is_text("none") => {
                    Err(Missing::Left(field.mark()))
                }
                Some((_, Some(field))) => Self::map(reader, group.path, group.is_required, &field),
            };
            maps.found.push((group.path, map));
        }
        maps
    }

    fn map(
        reader: &mut Reader,
        path: &'static str,
        is_required: bool,
        field: &Field<'a>,
    ) -> Result<KindedMap<'a>, Missing> {
        // The kind decides which other keys are known, so it is read first.
        let kind = kind_of(field, path);
        if !is_required && !matches!(field.node.value, yaml::Value::Map(_)) {
            let keys = setting::keys_of(path, kind);
            reader.wrong(field, &format!("none, or a map of {}{}", keys.join(", "), example(field, &keys)));
            return Err(Missing::Reported);
        }
        let fields = reader.fields(field, &setting::keys_of(path, kind)).ok_or(Missing::Reported)?;
        Ok((fields, kind))
    }

    /// The map at `path` and its kind.
    fn get(&self, path: &str) -> Option<&KindedMap<'a>> {
        self.found.iter().find(|(other, _)| *other == path)?.1.as_ref().ok()
    }

    fn around(&self, setting: &dyn AnySetting) -> Result<(Option<&Fields<'a>>, Option<&'a str>, Mark), Missing> {
        let parent = setting.path().rsplit_once('.').map_or("", |(parent, _)| parent);
        match self.found.iter().find(|(path, _)| *path == parent).map(|(_, map)| map) {
            Some(Ok((map, kind))) => Ok((Some(map), *kind, map.mark)),
            Some(Err(Missing::Left(mark))) => Ok((None, None, *mark)),
            Some(Err(Missing::Reported)) | None => Err(Missing::Reported),
        }
    }
}

/// The `kind` of a map, if some of its keys belong to that kind.
fn kind_of<'a>(field: &Field<'a>, path: &str) -> Option<&'a str> {
    let silent = &mut Reader::default();
    let kind = silent.fields(field, &[])?.get("kind")?.text()?;
    let is_known = |row: setting::Row| row.parent() == path && row.only().contains(&kind);
    setting::rows().any(is_known).then_some(kind)
}

/// What the file says about each setting; `None` for one that does not apply.
fn axes(reader: &mut Reader, maps: &Maps<'_>, task: Option<Task>) -> Option<Vec<Option<Axis>>> {
    let mut axes = Vec::new();
    let mut complete = true;
    for setting in setting::settings() {
        let Ok((map, kind, mark)) = maps.around(setting) else {
            complete = false;
            continue;
        };
        let around = Around { is_present: map.is_some(), kind, task };
        match setting.read(reader, map, &around) {
            None => complete = false,
            Some(read) => axes.push(read.map(|read| Axis {
                setting,
                mark: read.mark.unwrap_or(mark),
                varies: read.varies,
                domain: read.domain,
            })),
        }
    }
    complete.then_some(axes)
}

/// Settings that do not go together.
fn contradictions(reader: &mut Reader, maps: &Maps<'_>, grid: &Grid, weights: Option<&WeightsSpec>) {
    let hidden = grid.axes().find(|axis| axis.path() == model::HIDDEN.path && axis.listed().len() > 1);
    if let (Some(file), Some(hidden)) = (weights, hidden) {
        let message = format!("found several nets, but {} holds one; use one list of widths", file.path);
        reader.report(hidden.mark, hidden.path(), message);
    }
    let optimizer = maps.get("training.optimizer").and_then(|(map, _)| map.get("nesterov"));
    if let Some(field) = optimizer
        && grid.listed(&training::NESTEROV) == [&true]
        && grid.listed(&training::MOMENTUM) == [&0.0]
    {
        reader.wrong(&field, "false, or true with a momentum above 0");
    }
}

/// The map `search`; `Some(None)` if the file asks for the whole grid.
fn search(reader: &mut Reader, maps: &Maps<'_>) -> Option<Option<Search>> {
    let map = match maps.found.iter().find(|(path, _)| *path == "search").map(|(_, map)| map) {
        None | Some(Err(Missing::Left(_))) => return Some(None),
        Some(Err(Missing::Reported)) => return None,
        Some(Ok((map, _))) => map,
    };
    let sampler = reader.required(map, "sampler", "random or sobol").and_then(|field| Names.read(reader, &field));
    let trials = reader.required(map, "trials", "a number of cells");
    let trials = trials.and_then(|field| reader.integer(&field, 1, MAX_SEARCH));
    let seed = map.get("seed").map_or(Some(0), |field| reader.integer(&field, 0, u64::MAX));
    Some(Some(Search { sampler: sampler?, trials: trials?, seed: seed? }))
}

/// Only a search draws from ranges, and only what varies can be drawn.
fn check_search(reader: &mut Reader, maps: &Maps<'_>, grid: &Grid, search: Option<Search>) {
    let is_range = |axis: &Axis| matches!(axis.domain, Domain::Range(_));
    if search.is_none() {
        for axis in grid.axes().filter(|axis| is_range(axis)) {
            let message = "found a range, which needs `search`; a grid needs a list of values";
            reader.report(axis.mark, axis.path(), message);
        }
        return;
    }
    let mark = maps.get("search").map_or(Mark::START, |(map, _)| map.mark);
    match grid.axes().filter(|axis| is_range(axis) || axis.listed().len() > 1).count() {
        0 => reader.report(mark, "search", "nothing to search: give at least one key a range or a list of values"),
        varying if varying > DIMENSIONS => {
            let message = format!("found {varying} keys that vary, expected at most {DIMENSIONS} in a search");
            reader.report(mark, "search", message);
        }
        _ => {}
    }
}

fn version(reader: &mut Reader, fields: &Fields<'_>) {
    if let Some(field) = reader.required(fields, "version", "1")
        && field.node.value != yaml::Value::Integer(1)
    {
        reader.wrong(&field, "1, the only version of the format");
    }
}

const NAME: &str = "1 to 48 letters, digits, '-', '_' and '.', starting with a letter or digit";

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

/// Refuses a grid that is too large before anything of it is made.
fn check_size(reader: &mut Reader, mark: Mark, grid: &Grid, search: Option<Search>, seeds: Option<&Seeds>) {
    let lengths = || {
        let long = grid.axes().filter(|axis| axis.listed().len() > 1);
        long.map(|axis| format!("{} ({})", axis.path(), axis.listed().len())).collect::<Vec<_>>().join(" × ")
    };
    let cells = search.map_or_else(|| grid.len(), |search| search.trials.into());
    let trials = seeds.map_or(0, |seeds| cells.saturating_mul(seeds.count()));
    if cells > MAX_CELLS {
        let message =
            format!("found a grid of {cells} cells, expected at most {MAX_CELLS}: shorten an axis of {}", lengths());
        reader.report(mark, "", message);
    } else if trials > MAX_TRIALS {
        let seeds = seeds.map_or(0, Seeds::count);
        let message = format!(
            "found {trials} trials ({cells} cells × {seeds} seeds), expected at most {MAX_TRIALS}: use fewer seeds or shorten an axis"
        );
        reader.report(mark, "seeds", message);
    }
}
