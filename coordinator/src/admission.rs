//! Admission: from a sweep file and its data to a plan, or to everything that is wrong with them. The same check runs where a
//! person types the command and in the coordinator.

use std::{io, time::Instant};

use secateur_proto::{
    ids::ContentHash,
    metrics::Over,
    outcome::Artifact,
    spec::{DataSettings, ReferenceModel, ScoresSpec, TableFormat, Task},
};
use secateur_worker::{
    causes::with_causes,
    data::{self, DataError, Dataset, Facts, Group, Resolved, Table},
    import,
};
use tracing::info;

use crate::experiment::{
    self, ClassRows, Diagnostic, Diagnostics, InputFacts, Mark, SweepSpec, WeightsFacts,
    plan::{PackedPlan, Periods},
};

/// The largest sweep file, in bytes: more is no file that a person wrote.
pub const LARGEST_SWEEP_FILE: usize = 1 << 20;

/// The longest plan, in bytes of its JSON: some 200,000 trials. Planning and a report have all of it in memory.
pub const LARGEST_PLAN: u64 = 256 << 20;

/// What a coordinator takes from others at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of an artifact.
    pub artifact: u64,
    /// Bytes of a table's text, or of a net, that a sweep is planned from: planning has it in memory.
    pub input: u64,
    /// Bytes of a plan as JSON.
    pub plan: u64,
    /// Bytes that files leave free on the disk, so that the journal can go on.
    pub keep_free: u64,
    /// Connections of one address at a time.
    pub connections_per_address: usize,
    /// Bytes of what workers say of attempts.
    pub logs: u64,
}

impl Limits {
    /// Of a coordinator that serves its own process alone.
    pub const NONE: Self = Self {
        artifact: u64::MAX,
        input: u64::MAX,
        plan: LARGEST_PLAN,
        keep_free: 0,
        connections_per_address: usize::MAX,
        logs: 1 << 30,
    };
}

/// A file that a sweep names: what it is known by, and what is in it.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// Hash and size.
    pub artifact: Artifact,
    /// The content.
    pub bytes: &'a [u8],
}

impl<'a> Input<'a> {
    /// Of these bytes.
    #[must_use]
    pub fn of(bytes: &'a [u8]) -> Self {
        Self { artifact: Artifact { hash: ContentHash::of(bytes), size: bytes.len() as u64 }, bytes }
    }
}

/// A net that was trained elsewhere, as it is sent.
#[derive(Debug, Clone, Copy)]
pub struct GivenWeights<'a> {
    /// Its tensors, as safetensors.
    pub file: Input<'a>,
    /// Notes of the client on how it found the net in the file.
    pub notes: &'a [String],
}

/// Plans the sweep in `text` over the table, or the packed images, and the tensors of a net that was trained elsewhere.
///
/// # Errors
/// If the sweep file, the others or all together are wrong, or beyond `limits`.
pub fn admit(
    file_name: &str,
    text: &str,
    table: Input<'_>,
    weights: Option<GivenWeights<'_>>,
    limits: Limits,
) -> Result<PackedPlan, Diagnostics> {
    let spec = SweepSpec::parse(file_name, text)?;
    plan(&spec, text, read_data(&spec, table, limits)?, weights, limits)
}

/// What the planner must know of the data.
///
/// # Errors
/// If they are wrong, or do not fit the sweep file.
pub fn read_data(spec: &SweepSpec, table: Input<'_>, limits: Limits) -> Result<InputFacts, Diagnostics> {
    let file_name = spec.file.as_str();
    let begun = Instant::now();
    // Before any of it is unpacked: what swells is refused after so many bytes. What else is wrong with it is said below.
    if let Err(DataError::TooLarge { limit }) = Table::check_size(spec.data.settings.format, table.bytes, limits.input)
    {
        let message = format!("{}: {}", spec.data.path, too_large(limit));
        return Err(Diagnostics::one(file_name, spec.data.path_mark, "data.path", message));
    }
    let wrong = |error: DataError| Diagnostics::new(file_name, problems(spec, table.bytes, &error));
    let Resolved { settings, mut notes } = data::resolve(&spec.data.settings, table.bytes).map_err(wrong)?;
    let prepared = data::prepare(&settings, table.bytes).map_err(wrong)?;
    notes.extend(prepared.notes.iter().cloned());
    let unknown = unknown_levels(spec, &prepared.dataset.groups);
    if !unknown.is_empty() {
        return Err(Diagnostics::new(file_name, unknown));
    }
    check_scores(spec, &settings, table.bytes, &prepared.dataset)?;
    let Facts { train, validation, test, classes, columns, width, image, .. } = prepared.facts();
    let narrow = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let facts = InputFacts {
        artifact: table.artifact,
        rows: [&train, &validation, &test].map(|part| part.rows as u64),
        classes: (classes.into_iter().enumerate())
            .map(|(class, name)| {
                let rows = [&train, &validation, &test].map(|part| part.of_classes[class] as u64);
                ClassRows { name, rows }
            })
            .collect(),
        columns: narrow(columns),
        inputs: narrow(width),
        image,
        reading: settings.reading,
        periods: prepared.periods.map(|data::Periods { column, parts }| Periods { column, parts }),
        notes,
        weights: None,
    };
    info!(rows = facts.rows.iter().sum::<u64>(), inputs = facts.inputs, elapsed = ?begun.elapsed(), "read the data");
    Ok(facts)
}

/// Checks that each row that nets are evaluated on has the scores that `references` names.
fn check_scores(spec: &SweepSpec, settings: &DataSettings, table: &[u8], dataset: &Dataset) -> Result<(), Diagnostics> {
    let evaluated: Vec<u32> =
        [&dataset.validation, &dataset.test].iter().flat_map(|part| &part.rows).copied().collect();
    for model in &spec.references.models {
        if let ReferenceModel::Scores(ScoresSpec { column, .. }) = model {
            data::given_scores(settings.format, &settings.reading, table, column, &evaluated).map_err(|error| {
                let message = format!("{}: {}", spec.data.path, with_causes(&error));
                Diagnostics::one(&spec.file, spec.references.mark, "references", message)
            })?;
        }
    }
    Ok(())
}

/// Plans the sweep `spec`, read from `text`, over the data of `facts` and the net that came with it.
///
/// # Errors
/// As [`admit`].
pub fn plan(
    spec: &SweepSpec,
    text: &str,
    mut facts: InputFacts,
    weights: Option<GivenWeights<'_>>,
    limits: Limits,
) -> Result<PackedPlan, Diagnostics> {
    let file_name = spec.file.as_str();
    if let (Some(named), Some(GivenWeights { file, notes })) = (&spec.weights, weights) {
        let contents = import::contents(file.bytes).map_err(|error| {
            let message = format!("{}: {}", named.path, with_causes(&error));
            Diagnostics::one(file_name, named.mark, "model.weights", message)
        })?;
        let import::Contents { tensors, removed } = contents;
        facts.weights = Some(WeightsFacts { artifact: file.artifact, tensors, removed });
        facts.notes.extend_from_slice(notes);
    }
    let plan = experiment::plan(spec, text, facts)?;
    let size = json_size(&plan);
    if size > limits.plan {
        let message = format!(
            "the plan of {} trials has {size} bytes, expected at most {}: use fewer seeds, shorten an axis, or split the sweep",
            plan.trial_count(),
            limits.plan
        );
        return Err(Diagnostics::one(file_name, Mark::START, "seeds", message));
    }
    Ok(plan)
}

/// Goals on slices by levels that the columns do not have.
fn unknown_levels(spec: &SweepSpec, groups: &[Group]) -> Vec<Diagnostic> {
    let objectives = spec.objectives.iter().map(|objective| ("objectives", &objective.quantity));
    let constraints = spec.constraints.iter().map(|constraint| ("constraints", &constraint.quantity));
    let unknown = objectives.chain(constraints).filter_map(|(path, quantity)| {
        let Over::Slice(_, slice) = quantity.over() else { return None };
        let levels = &groups.iter().find(|group| group.name == slice.column)?.levels;
        if levels.contains(&slice.level) {
            return None;
        }
        let message = format!("found {quantity}, expected a level of that column: {}", levels.join(", "));
        Some(Diagnostic { mark: Mark::START, path: path.to_owned(), message })
    });
    unknown.collect()
}

/// How long a plan is, without keeping it as text.
fn json_size(plan: &PackedPlan) -> u64 {
    struct Count(u64);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    plan.write_json(&mut count).expect("counting does not fail");
    count.0
}

/// What is said of a file that is larger than `limit` bytes.
#[must_use]
pub fn too_large(limit: u64) -> String {
    format!("sweeps are planned here from files of at most {limit} bytes, unpacked (serve --max-input-size)")
}

/// What is wrong with the data, at the places of the file that it does not fit.
fn problems(spec: &SweepSpec, bytes: &[u8], error: &DataError) -> Vec<Diagnostic> {
    let data = &spec.data;
    let at = |mark, path: &str, message: String| Diagnostic {
        mark,
        path: path.to_owned(),
        message: format!("{}: {message}", data.path),
    };
    let of_table = || vec![at(data.path_mark, "data.path", with_causes(error))];
    match error {
        DataError::Columns(_) if data.settings.format != TableFormat::Idx => {
            let Ok(table) = secateur_worker::data::table(&data.settings, bytes) else { return of_table() };
            let unknown = data.named.iter().filter(|named| table.column(&named.name).is_none());
            let problems: Vec<_> =
                unknown.map(|named| at(named.mark, &named.path, table.unknown("the column", &named.name))).collect();
            if problems.is_empty() { of_table() } else { problems }
        }
        DataError::All(errors) => errors.iter().flat_map(|error| problems(spec, bytes, error)).collect(),
        DataError::Column { column, .. } => {
            let path = format!("data.columns.{column}");
            let said = data.named.iter().find(|named| named.path == path);
            vec![said.map_or_else(
                || at(data.path_mark, "data.path", with_causes(error)),
                |said| at(said.mark, &said.path, with_causes(error)),
            )]
        }
        DataError::Positive { .. } => {
            let mark = data.positive_mark.unwrap_or(data.path_mark);
            vec![at(mark, "data.positive", with_causes(error))]
        }
        DataError::Target { .. } => match data.named.first() {
            Some(target) => vec![at(target.mark, &target.path, with_causes(error))],
            None => of_table(),
        },
        DataError::Labels(_) if data.settings.task == Task::Binary => {
            vec![at(data.task_mark, "data.task", with_causes(error))]
        }
        DataError::Rows(_) => vec![at(data.rows_mark, "data.rows", with_causes(error))],
        DataError::Split(_) | DataError::OneClass(_) | DataError::AbsentClass(_) => {
            vec![at(data.split_mark, "data.split", with_causes(error))]
        }
        _ => of_table(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_that_no_journal_takes_is_refused() {
        let text = "version: 1\nname: s\ndata: {path: table.csv, target: y, task: binary, split: {kind: stratified, train: 0.6, \
                    validation: 0.2, test: 0.2, seed: 1}}\nmodel: {kind: mlp, hidden: [4]}\ntraining: {optimizer: {kind: adam, lr: \
                    1.0e-2}, batch_size: 8, epochs: 2}\npruning: {strategy: magnitude, sparsity: 0.5, retrain: {epochs: 1}}\nseeds: 2\n";
        let rows = (0..60).map(|row| format!("{}.5,{}\n", row * 7 % 11, row % 2));
        let table = format!("a,y\n{}", rows.collect::<String>());
        let admitted = |plan| {
            let limits = Limits { plan, ..Limits::NONE };
            admit("sweep.yaml", text, Input::of(table.as_bytes()), None, limits)
        };
        let plan = admitted(u64::MAX).expect("is admitted");
        let size = serde_json::to_vec(&plan).expect("plain data").len() as u64;
        assert_eq!(admitted(size).expect("is just short enough"), plan);
        let refused = admitted(size - 1).expect_err("is too long");
        let [Diagnostic { path, message, .. }] = &refused.list[..] else { panic!("{refused}") };
        assert!(path == "seeds" && message.contains(&size.to_string()), "{refused}");
    }

    /// A small sweep over a table, with these lines under `data`.
    fn admitted(data: &str, table: &str) -> Result<PackedPlan, Diagnostics> {
        let text = format!(
            "version: 1\nname: s\ndata:\n  path: table.csv\n  target: y\n  task: binary\n  {}\nmodel: {{kind: mlp, hidden: [4]}}\n\
             training: {{optimizer: {{kind: adam, lr: 1.0e-2}}, batch_size: 8, epochs: 2}}\n\
             pruning: {{strategy: magnitude, sparsity: 0.5, retrain: {{epochs: 1}}}}\nseeds: 2\n",
            data.replace('\n', "\n  ")
        );
        admit("sweep.yaml", &text, Input::of(table.as_bytes()), None, Limits::NONE)
    }

    #[test]
    fn scores_that_are_missing_or_none_are_refused_at_the_key() {
        let admitted = |score: &dyn Fn(usize) -> String| {
            let rows = (0..60).map(|row| format!("{}.5,{},{}\n", row * 7 % 11, score(row), row % 2));
            let table = format!("a,champion,y\n{}", rows.collect::<String>());
            let text = format!(
                "version: 1\nname: s\ndata:\n  path: table.csv\n  target: y\n  task: binary\n  drop: [champion]\n  {AT_RANDOM}\n\
                 model: {{kind: mlp, hidden: [4]}}\ntraining: {{optimizer: {{kind: adam, lr: 1.0e-2}}, batch_size: 8, epochs: 2}}\n\
                 pruning: {{strategy: magnitude, sparsity: 0.5, retrain: {{epochs: 1}}}}\nseeds: 2\n\
                 references: [{{scores: {{column: champion}}}}]\n"
            );
            admit("sweep.yaml", &text, Input::of(table.as_bytes()), None, Limits::NONE)
        };
        admitted(&|row| format!("0.{:02}", row % 100)).expect("is admitted");
        for wrong in ["", "1.01", "high"] {
            let refused = admitted(&|_| wrong.to_owned()).expect_err("is refused");
            assert!(refused.list.iter().all(|problem| problem.path == "references"), "{refused}");
        }
    }

    const AT_RANDOM: &str = "split: {kind: stratified, train: 0.6, validation: 0.2, test: 0.2, seed: 1}";

    fn loans(income: impl Fn(usize) -> String) -> String {
        let rows = (0..60).map(|row| {
            let issued = format!("{:02}/{:02}/20{:02}", 13 + row % 15, 1 + row * 7 % 12, 1 + row % 9);
            format!("{},{issued},{}\n", income(row), ["Fully Paid", "Charged Off"][row % 2])
        });
        format!("income,issued,y\n{}", rows.collect::<String>())
    }

    #[test]
    fn what_is_found_in_a_table_is_in_the_plan() {
        let split =
            "split: {kind: time, column: issued, train: 0.6, validation: 0.2, test: 0.2}\npositive: Charged Off";
        let table = loans(|row| format!("\"$1,{:03}.50\"", row * 7 % 60));
        let plan = admitted(split, &table).unwrap_or_else(|problems| panic!("{problems}")).unpack();
        let data = &plan.sweep.data;
        assert_eq!(data.positive().map(|class| class.name.as_str()), Some("Charged Off"));
        assert_eq!(data.periods.as_ref().map(|periods| periods.column.as_str()), Some("issued"));
        insta::assert_snapshot!(experiment::PlanSummary::of(&plan).to_string());
        let json = serde_json::to_string(&plan.sweep).expect("plain data");
        assert!(
            data.notes.len() == 2 && data.notes.iter().all(|note| json.contains(&note.replace('"', "\\\""))),
            "{json}"
        );
    }

    #[test]
    fn what_is_wrong_with_a_column_is_at_its_place() {
        let stray = loans(|row| if row == 7 { "?".to_owned() } else { format!("{row}.5") });
        let mut told = String::new();
        for (data, table) in [
            (String::new(), &stray),
            ("columns:\n  income: number".to_owned(), &stray),
            ("columns:\n  incom: number".to_owned(), &stray),
            ("columns:\n  income: categorical\npositive: Default".to_owned(), &stray),
            ("columns:\n  issued: {date: \"%Y-%m-%d\"}\ndrop: [income]".to_owned(), &stray),
        ] {
            let problems = admitted(&format!("{AT_RANDOM}\n{data}"), table).expect_err("is refused");
            told += &format!("{data}\n{problems}\n");
        }
        insta::assert_snapshot!(told);
        admitted(&format!("{AT_RANDOM}\ncolumns: {{income: {{missing: ['?']}}}}"), &stray).expect("is admitted");
    }

    #[test]
    fn a_goal_on_a_level_that_the_column_has_not_is_refused() {
        let text = |level: &str| {
            format!(
                "version: 1\nname: levels\ndata: {{path: t.csv, target: y, task: binary, groups: [g], split: {{kind: stratified, \
                 train: 0.6, validation: 0.2, test: 0.2, seed: 1}}}}\nmodel: {{kind: mlp, hidden: [4]}}\ntraining: {{optimizer: \
                 {{kind: adam, lr: 1.0e-2}}, batch_size: 8, epochs: 2}}\npruning: {{strategy: magnitude, sparsity: 0.5, retrain: \
                 {{epochs: 1}}}}\nseeds: 2\nconstraints: [{{metric: 'brier@test[g={level}]', max: 0.5}}]\n"
            )
        };
        let rows = (0..60).map(|row| format!("{}.5,{},{}\n", row * 7 % 11, ["north", "south"][row % 3 / 2], row % 2));
        let table = format!("a,g,y\n{}", rows.collect::<String>());
        let admitted = |level: &str| admit("sweep.yaml", &text(level), Input::of(table.as_bytes()), None, Limits::NONE);
        admitted("south").expect("is admitted");
        let refused = admitted("east").expect_err("there is no such level");
        let [Diagnostic { path, message, .. }] = &refused.list[..] else { panic!("{refused}") };
        assert!(path == "constraints" && message.contains("north, south"), "{refused}");
    }
}
