//! Files that grow: what they add to a sweep, and what the sweep is then.

use std::collections::{HashMap, HashSet};

use secateur_proto::{
    ids::{CellId, StageKey},
    metrics::Direction,
};

use super::*;
use crate::experiment::{
    extension::{NotAnExtension, extension},
    plan::{Control, PackedPlan, Settings},
};

fn part(text: &str, earlier: &[&Plan]) -> Option<Plan> {
    let found = extension(&planned(text), earlier);
    found.unwrap_or_else(|problem| panic!("{text}\n{problem}")).map(|part| part.unpack())
}

fn refused(text: &str, earlier: &[&Plan]) -> NotAnExtension {
    extension(&planned(text), earlier).expect_err("it does not extend the sweep")
}

fn whole(parts: &[&Plan]) -> Plan {
    let plan = Plan::of_parts(parts.iter().map(|part| (*part).clone())).expect("parts");
    PackedPlan::of(&plan).expect("it does not contradict itself");
    plan
}

/// The plan of a sweep of that file alone, or of one that has grown to it: cells have names of their own, and stages and trials another
/// order.
fn by_work(mut plan: Plan) -> Plan {
    plan.trials.sort_by_key(|trial| (trial.seed, trial.stages.last().copied()));
    plan.stages.sort_by_key(|stage| stage.key);
    let mut names: HashMap<CellId, CellId> = HashMap::new();
    for trial in &plan.trials {
        let stage: StageKey = *trial.stages.last().expect("it has stages");
        names.entry(trial.cell.clone()).or_insert_with(|| stage.0.short(16).parse().expect("safe"));
    }
    rename(&mut plan, |cell| names[cell].clone());
    plan.sweep.id = "any".parse().expect("safe");
    plan
}

fn rename(plan: &mut Plan, name: impl Fn(&CellId) -> CellId) {
    for cell in &mut plan.cells {
        cell.id = name(&cell.id);
        for control in [&mut cell.dense_control, &mut cell.random_control, &mut cell.scratch_control] {
            *control = control.as_ref().map(&name);
        }
        cell.other_controls.values_mut().for_each(|control| *control = name(control));
    }
    for trial in &mut plan.trials {
        *trial = super::super::plan::Trial::new(name(&trial.cell), trial.seed, trial.stages.clone());
    }
    plan.merged.iter_mut().for_each(|point| point.into = name(&point.into));
}

#[test]
fn a_grown_sweep_is_what_its_last_file_alone_would_be() {
    const ALL: &str = "controls: all";
    let search = |sampler: &str, trials: u32| {
        let lines = ["  strategy: [magnitude, random]", "  sparsity: {low: 0.5, high: 0.95}"];
        format!("{}search: {{sampler: {sampler}, trials: {trials}, seed: 3}}\n", small_with(&lines))
    };
    let grid = |lines: &[&[&str]]| lines.iter().map(|lines| small_with(lines)).collect::<Vec<_>>();
    let penalty = |strength: &str| format!("regularization: {{kind: l1, strength: {strength}}}");
    let [one, three] = ["1.0e-4", "[0, 1.0e-4, 1.0e-3]"].map(penalty);
    for files in [
        grid(&[&["  sparsity: 0.9"], &["  sparsity: [0.5, 0.9]"], &["  sparsity: [0.5, 0.75, 0.9]", "seeds: 3"]]),
        grid(&[&["  strategy: magnitude", ALL], &["  strategy: [magnitude, taylor]", ALL]]),
        // What was a control is asked for.
        grid(&[&["  strategy: magnitude"], &["  strategy: [magnitude, random]"]]),
        grid(&[&["  sparsity: 0.5", ALL], &["  sparsity: [0, 0.5, 0.9]", ALL]]),
        // Settings that begin to vary.
        grid(&[
            &["  strategy: magnitude\n  scope: global", ALL],
            &["  strategy: magnitude\n  scope: [global, local]\n  granularity: [unstructured, neuron]", ALL],
        ]),
        grid(&[&[&one], &[&three]]),
        // Points that are merged into others, and some that cannot be done.
        grid(&[
            &["  sparsity: [0.5, 0.5001, 0.99999]"],
            &["  sparsity: [0.5, 0.5001, 0.50011, 0.99999]\n  scope: [global, local]"],
        ]),
        // Reference models, whose seeds share a stage.
        grid(&[
            &["references: [logistic]"],
            &["references: [logistic]", "seeds: 3"],
            &["references: [logistic, boosting]", "seeds: 4"],
        ]),
        grid(&[&["controls: none"], &["controls: none", "references: [boosting]"]]),
        grid(&[&["controls: [dense]"], &["controls: [dense, random]"], &[ALL]]),
        vec![search("sobol", 16), search("sobol", 40)],
        vec![search("random", 16), search("random", 40)],
    ] {
        let mut parts: Vec<Plan> = vec![planned(&files[0])];
        for text in &files[1..] {
            let earlier: Vec<&Plan> = parts.iter().collect();
            let new = part(text, &earlier).expect("there is news");
            let known: HashSet<_> = earlier.iter().flat_map(|part| &part.trials).map(|trial| &trial.id).collect();
            assert!(new.trials.iter().all(|trial| !known.contains(&trial.id)), "{text}");
            assert_eq!(part(text, &[&earlier[..], &[&new]].concat()), None, "twice is once: {text}");
            parts.push(new);
        }
        let earlier: Vec<&Plan> = parts.iter().collect();
        let grown = whole(&earlier);
        assert_eq!(grown.sweep.id, parts[0].sweep.id);
        // What was computed before goes by the name that it had.
        assert_eq!(grown.trials[..parts[0].trials.len()], parts[0].trials);
        let last = files.last().expect("files");
        assert_eq!(by_work(grown), by_work(planned(last)), "{last}");
    }
}

#[test]
fn a_grown_file_adds_only_what_is_new() {
    let old = planned(&small_with(&["  sparsity: [0.5, 0.9]"]));
    let text = small_with(&["  sparsity: [0.5, 0.75, 0.9]", "seeds: 3"]);
    let new = part(&text, &[&old]).expect("there is news");
    assert_eq!(new.sweep.id, old.sweep.id);
    assert_eq!(new.trials.len(), planned(&text).trials.len() - old.trials.len());
    let keys: HashSet<_> = new.stages.iter().map(|stage| stage.key).collect();
    assert!(new.trials.iter().flat_map(|trial| &trial.stages).all(|stage| keys.contains(stage)));
    assert_eq!(part(&small_with(&["  sparsity: [0.5, 0.9]"]), &[&old]), None);
    // Comments and the order of values are no news.
    assert_eq!(part(&format!("# the same\n{}", small_with(&["  sparsity: [0.5, 0.9]"])), &[&old]), None);
    // The file of an earlier part asks for less than there is now, and is known.
    assert_eq!(part(&small_with(&["  sparsity: [0.5, 0.9]"]), &[&old, &new]), None);
}

#[test]
fn every_control_that_a_cell_names_is_a_cell_of_the_grown_sweep() {
    let old = planned(&small_with(&["controls: all"]));
    let text = small_with(&["  strategy: magnitude\n  granularity: [unstructured, neuron]", "controls: all"]);
    let new = part(&text, &[&old]).expect("there is news");
    let grown = whole(&[&old, &new]);
    let cells: HashMap<_, _> = grown.cells.iter().map(|cell| (&cell.id, cell)).collect();
    let mut others = 0;
    for cell in &grown.cells {
        let named = [&cell.dense_control, &cell.random_control, &cell.scratch_control];
        assert!(named.into_iter().flatten().all(|control| cells.contains_key(control)), "{cell:?}");
        for (kind, control) in &cell.other_controls {
            assert_eq!(cells[control].control, Some(*kind), "{cell:?}");
            others += 1;
        }
    }
    assert!(others > 4, "{others} controls of other kinds");
    // The controls of the old cell are called as they were, though the grown file alone would call them otherwise.
    let cell = &cells[&old.cells[0].id];
    assert_eq!(cell.other_controls, old.cells[0].other_controls);
    assert_ne!(cell.settings, old.cells[0].settings, "the granularity is said, now that there are several");
    assert!(planned(&text).cells.iter().all(|other| other.id != cell.id));
}

#[test]
fn a_control_that_the_file_asks_for_is_a_control_no_more() {
    let old = planned(&small_with(&["controls: [dense, random]"]));
    let random = |plan: &Plan| plan.cells.iter().find(|cell| cell.settings["pruning.strategy"] == "random").cloned();
    let before = random(&old).expect("a control");
    assert_eq!(before.control, Some(Control::Random));
    let new = part(&small_with(&["  strategy: [magnitude, random]", "controls: [dense, random]"]), &[&old]);
    let new = new.expect("the file asks for a point");
    assert_eq!((new.trials.len(), new.stages.len()), (0, 0), "all of it is there");
    let grown = whole(&[&old, &new]);
    let after = random(&grown).expect("a cell");
    assert_eq!((after.id, after.control), (before.id.clone(), None));
    assert_eq!(grown.cells.len(), old.cells.len());
    // It still is what the other cell is compared with.
    assert_eq!(grown.cells[0].random_control, Some(before.id));
}

#[test]
fn other_goals_are_news_without_trials() {
    let old = planned(SMALL);
    let text = format!("{SMALL}objectives: [{{minimize: brier}}, {{minimize: macs}}]\n");
    let new = part(&text, &[&old]).expect("there are other goals");
    assert!(new.trials.is_empty());
    let grown = whole(&[&old, &new]);
    assert!(grown.sweep.objectives.iter().all(|objective| objective.direction == Direction::Minimize));
    assert_eq!((grown.sweep.file_text.as_str(), grown.cells), (text.as_str(), old.cells.clone()));
    // And so are those of before.
    assert!(part(SMALL, &[&old, &new]).is_some());
}

#[test]
fn a_name_that_an_old_cell_has_is_not_given_again() {
    let old = planned(SMALL);
    let mut file = planned(&small_with(&["  sparsity: [0.5, 0.9]"]));
    let (first, second) = (old.cells[0].id.clone(), "second".parse::<CellId>().expect("safe"));
    let is_new = |cell: &&super::super::plan::Cell| old.cells.iter().all(|other| other.id != cell.id);
    let new = file.cells.iter().find(is_new).expect("a new cell").id.clone();
    // The file's planner calls the new cell as the sweep calls an old one.
    rename(&mut file, |cell| match cell {
        cell if *cell == first => second.clone(),
        cell if *cell == new => first.clone(),
        cell => cell.clone(),
    });
    let part = extension(&file, &[&old]).expect("it grows").expect("there is news").unpack();
    assert!(part.trials.iter().all(|trial| trial.cell != first));
    let grown = whole(&[&old, &part]);
    assert_eq!(by_work(grown), by_work(file));
}

#[test]
fn files_that_do_not_extend_a_sweep_are_told_why() {
    let old = planned(&small_with(&["  sparsity: [0.5, 0.9]"]));
    let changed =
        refused(&small_with(&["training: {optimizer: {kind: adam}, epochs: 21}", "  sparsity: [0.5, 0.9]"]), &[&old]);
    assert!(matches!(changed, NotAnExtension::Changes { .. }));
    // Of the same cells, but with none of the seeds by which that could be seen.
    let seeds = refused(
        &small_with(&["training: {optimizer: {kind: adam}, epochs: 21}", "  sparsity: [0.5, 0.9]", "seeds: [7]"]),
        &[&old],
    );
    let fewer = refused(&small_with(&["  sparsity: [0.5, 0.75]"]), &[&old]);
    assert!(matches!((&seeds, &fewer), (NotAnExtension::Lacks { .. }, NotAnExtension::Lacks { .. })));
    let levels =
        refused(&small_with(&["  strategy: magnitude\n  schedule: iterative", "  sparsity: [0.5, 0.9]"]), &[&old]);
    let mut data = planned(&small_with(&["  sparsity: [0.5, 0.75, 0.9]"]));
    data.sweep.data.hash = ContentHash::of(b"another table");
    let data = extension(&data, &[&old]).expect_err("other data");
    assert!(matches!(data, NotAnExtension::OtherData { .. }));
    let mut version = planned(&small_with(&["training: {optimizer: {kind: adam}, epochs: 21}"]));
    version.sweep.file_hash = old.sweep.file_hash;
    let version = extension(&version, &[&old]).expect_err("other stages");
    assert_eq!(version, NotAnExtension::OtherVersion);
    let told = [changed, seeds, fewer, levels, data, version].map(|problem| problem.to_string());
    insta::assert_snapshot!(told.join("\n"));
}

/// Parts of a planner that plans part by part list nothing again.
#[test]
fn parts_that_list_only_their_own_make_a_whole() {
    let text = small_with(&["  strategy: [magnitude, taylor]", "  sparsity: [0.5, 0.9]"]);
    let spec = SweepSpec::parse("sweep.yaml", &text).expect("a good file");
    let points: Vec<_> = spec.points().collect();
    let mut builder = super::super::PlanBuilder::new(&spec, &text, table());
    let parts = points.chunks(1).map(|points| builder.extend(points.iter().cloned()).expect("cells").unpack());
    let parts: Vec<Plan> = parts.collect();
    let grown = whole(&parts.iter().collect::<Vec<_>>());
    let settings = |plan: &Plan| plan.cells.iter().map(|cell| cell.settings.clone()).collect::<Vec<Settings>>();
    assert_eq!(settings(&grown).iter().collect::<HashSet<_>>().len(), grown.cells.len());
    let controls = grown.cells.iter().map(|cell| cell.control.is_some());
    assert!(controls.is_sorted(), "the file's cells come first");
    let mut sorted = [&grown, &planned(&text)].map(settings);
    sorted.iter_mut().for_each(|settings| settings.sort_by_key(|settings| format!("{settings:?}")));
    assert_eq!(sorted[0], sorted[1]);
}
