//! Of [`surface`]: the right value in the right place, and a reason where there is none.

use std::collections::BTreeMap;

use secateur_proto::{
    ids::{CellId, TrialId},
    metrics::{Direction, Metric, Split},
    outcome::StageOutcome,
};
use serde_json::json;

use super::*;
use crate::{
    experiment::plan::{Merged, Objective, Plan, Refused},
    report::{
        build,
        example::{self, Sweep, penalties, realistic},
        html, markdown,
        plot::heatmap,
    },
};

type Outcomes = BTreeMap<TrialId, StageOutcome>;

fn cell_of(plan: &Plan, strategy: &str, strength: f64, sparsity: f64) -> CellId {
    let is = |cell: &&crate::experiment::plan::Cell| {
        let settings = &cell.settings;
        settings.get("pruning.strategy").and_then(Value::as_str).unwrap_or("none") == strategy
            && settings[STRENGTH] == json!(strength)
            && settings[SPARSITY] == json!(sparsity)
    };
    plan.cells.iter().find(is).expect("a cell").id.clone()
}

/// Sets `metric` of the two seeds of a cell, on validation if it is of the data.
fn set(outcomes: &mut Outcomes, cell: &CellId, metric: Metric, values: [f64; 2]) {
    for (seed, value) in (1..).zip(values) {
        let id: TrialId = format!("{cell}-{seed}").parse().expect("an id");
        let Some(StageOutcome::Completed(result)) = outcomes.get_mut(&id) else { panic!("{id} has no result") };
        result.metrics.insert(metric.on(Split::Validation), value);
    }
}

fn end(outcomes: &mut Outcomes, cell: &CellId, seeds: &[u64], outcome: Option<&StageOutcome>) {
    for seed in seeds {
        let id: TrialId = format!("{cell}-{seed}").parse().expect("an id");
        match outcome {
            Some(outcome) => outcomes.insert(id, outcome.clone()),
            None => outcomes.remove(&id),
        };
    }
}

/// The AUC of every cell by hand: seeds differ by 0.02 everywhere, dense controls by strength, cells by `LOSS` from the best of them.
const LOSS: [(f64, f64, f64); 6] = [
    (0.0, 0.5, 0.001),
    (0.0, 0.9, 0.04),
    (1e-4, 0.5, -0.002),
    (1e-4, 0.9, 0.03),
    (1e-3, 0.5, 0.005),
    (1e-3, 0.9, 0.06),
];

fn by_hand() -> Sweep {
    let (plan, mut outcomes) = penalties();
    let dense = |strength: f64| if strength > 0.0 { 0.75 - strength } else { 0.76 };
    for strength in [0.0, 1e-4, 1e-3] {
        let id = cell_of(&plan, "none", strength, 0.0);
        set(&mut outcomes, &id, Metric::Auc, [dense(strength), dense(strength) + 0.02]);
    }
    for (strength, sparsity, loss) in LOSS {
        let id = cell_of(&plan, "magnitude", strength, sparsity);
        set(&mut outcomes, &id, Metric::Auc, [0.76 - loss, 0.76 - loss + 0.02]);
    }
    (plan, outcomes)
}

/// Text and colour of the places of a drawing, in its order.
fn places(svg: &str) -> Vec<(String, String)> {
    let lines: Vec<&str> = svg.lines().collect();
    let colour = |line: &str| {
        let (_, rest) = line.split_once("fill=\"").expect("a colour");
        rest[..7].to_owned()
    };
    let text = |line: &str| {
        let (_, rest) = line.split_once('>').expect("a text");
        rest.trim_end_matches("</text>").to_owned()
    };
    let is_place = |pair: &&[&str]| {
        pair[0].starts_with("<rect") && pair[0].contains(r#"class="""#) && pair[1].starts_with("<text")
    };
    let of_panels = svg.rfind(r#"class="ink strong""#).expect("a panel");
    let legend = svg[..of_panels].lines().count();
    lines[legend - 1..].windows(2).filter(is_place).map(|pair| (text(pair[1]), colour(pair[0]))).collect()
}

#[test]
fn every_value_stands_at_its_strength_and_sparsity() {
    let (plan, outcomes) = by_hand();
    let report = build(&plan, &outcomes);
    let found = surface(&report).expect("three strengths, two sparsities");
    assert!(found.is_relative && found.title().contains("minus the baseline"));
    let [panel] = found.panels.as_slice() else { panic!("{:?}", found.panels) };
    assert_eq!(panel.title, "magnitude · global");
    assert_eq!((&panel.strengths[..], &panel.sparsities[..]), (&[0.0, 1e-4, 1e-3][..], &[0.5, 0.9][..]));
    for (slot, (_, _, loss)) in panel.slots.iter().zip(LOSS) {
        assert!((slot.value.expect("measured") + loss).abs() < 1e-12 && slot.note.is_empty(), "{slot:?} {loss}");
    }
    let drawn: Vec<String> = places(&heatmap(&found)).into_iter().map(|(text, _)| text).collect();
    assert_eq!(drawn, ["−0.0010", "−0.0400", "+0.0020", "−0.0300", "−0.0050", "−0.0600"]);
    let rows = found.grid().rows;
    assert_eq!(rows[3][..3], ["magnitude · global", "1e-4", "0.90"]);
    assert!(rows[3][3].starts_with("0.7400") && rows[3][4].starts_with("−0.0300"), "{:?}", rows[3]);
}

#[test]
fn without_dense_controls_the_values_themselves_are_shown() {
    let (mut plan, outcomes) = by_hand();
    plan.cells.retain(|cell| cell.control.is_none());
    for cell in &mut plan.cells {
        cell.dense_control = None;
    }
    let report = build(&plan, &outcomes);
    let found = surface(&report).expect("three strengths, two sparsities");
    assert!(!found.is_relative && !found.title().contains("dense"));
    let drawn: Vec<String> = places(&heatmap(&found)).into_iter().map(|(text, _)| text).collect();
    assert_eq!(drawn, ["0.7690", "0.7300", "0.7720", "0.7400", "0.7650", "0.7100"]);
    assert!(found.grid().columns.iter().all(|(name, _)| !name.contains("dense")));
}

#[test]
fn a_place_without_a_value_says_why() {
    let (mut plan, mut outcomes) = by_hand();
    let diverged = StageOutcome::Diverged { step: 7 };
    let magnitude = |strength, sparsity| cell_of(&plan, "magnitude", strength, sparsity);
    end(&mut outcomes, &magnitude(0.0, 0.9), &[1, 2], Some(&diverged));
    end(&mut outcomes, &magnitude(1e-4, 0.5), &[2], Some(&diverged));
    end(&mut outcomes, &magnitude(1e-4, 0.9), &[1, 2], None);
    let (gone, refused) = (magnitude(1e-3, 0.5), magnitude(1e-3, 0.9));
    let settings = plan.cells.iter().find(|cell| cell.id == refused).expect("a cell").settings.clone();
    plan.refused.push(Refused { settings, reason: "a layer would be empty".to_owned() });
    // Two places of the last row go, so another sparsity keeps the row.
    let kept = plan.cells.iter_mut().find(|cell| cell.id == gone).expect("a cell");
    kept.settings.insert(SPARSITY.to_owned(), json!(0.7));
    plan.cells.retain(|cell| cell.id != refused);
    let report = build(&plan, &outcomes);
    let found = surface(&report).expect("two by two remain");
    let notes: Vec<(&str, bool)> =
        found.panels[0].slots.iter().map(|slot| (slot.note.as_str(), slot.value.is_some())).collect();
    assert_eq!(
        notes,
        [
            ("", true),
            ("not asked", false),
            ("diverged", false),
            ("1 of 2 seeds", true),
            ("not asked", false),
            ("pending", false),
            ("not asked", false),
            ("", true),
            ("refused", false)
        ]
    );
    let svg = heatmap(&found);
    for text in [">diverged</text>", ">pending</text>", ">refused</text>", ">+0.0020*</text>", ">no value</text>"] {
        assert!(svg.contains(text), "{text}");
    }
    let caption = found.caption();
    assert!(caption.contains("asterisk") && caption.contains("6 places have no value"), "{caption}");
    assert_eq!(found.grid().rows[2].last().map(String::as_str), Some("diverged"));
}

#[test]
fn all_strengths_are_compared_with_the_same_dense_net() {
    let (plan, mut outcomes) = by_hand();
    end(&mut outcomes, &cell_of(&plan, "none", 1e-4, 0.0), &[1, 2], Some(&StageOutcome::Cancelled));
    let report = build(&plan, &outcomes);
    let found = surface(&report).expect("three strengths, two sparsities");
    let notes: Vec<&str> = found.panels[0].slots.iter().map(|slot| slot.note.as_str()).collect();
    assert_eq!(notes, [""; 6]);
    let drawn: Vec<String> = places(&heatmap(&found)).into_iter().map(|(text, _)| text).collect();
    assert_eq!(drawn, ["−0.0010", "−0.0400", "+0.0020", "−0.0300", "−0.0050", "−0.0600"]);
}

#[test]
fn the_brightest_place_is_the_best_whichever_way_is_better() {
    let (mut plan, outcomes) = by_hand();
    let drawn = |plan: &Plan| {
        let report = build(plan, &outcomes);
        let found = surface(&report).expect("three strengths, two sparsities");
        (found.caption(), places(&heatmap(&found)))
    };
    let (caption, higher) = drawn(&plan);
    assert!(caption.contains("higher is better"));
    let colour = |places: &[(String, String)], wanted: &str| {
        places.iter().find(|(text, _)| text == wanted).expect("drawn").1.clone()
    };
    assert_eq!([colour(&higher, "+0.0020"), colour(&higher, "−0.0600")], ["#fee838", "#00224e"]);
    plan.sweep.objectives[0] =
        Objective { quantity: Metric::Auc.on(Split::Validation), direction: Direction::Minimize, margin: None };
    let (caption, lower) = drawn(&plan);
    assert!(caption.contains("lower is better"));
    // The best dense net is another one now.
    assert_eq!([colour(&lower, "+0.0130"), colour(&lower, "−0.0490")], ["#00224e", "#fee838"]);
}

#[test]
fn free_sparsity_is_told_from_what_was_forced() {
    let (plan, mut outcomes) = penalties();
    let free = |strength| cell_of(&plan, "regularized", strength, 0.9);
    set(&mut outcomes, &free(0.0), Metric::Sparsity, [0.0, 0.0]);
    set(&mut outcomes, &free(1e-4), Metric::Sparsity, [0.62, 0.64]);
    end(&mut outcomes, &free(1e-3), &[1, 2], Some(&StageOutcome::Cancelled));
    // 9,101 of 10,112 weights were asked for, 0.9000198.
    set(&mut outcomes, &cell_of(&plan, "magnitude", 1e-3, 0.9), Metric::Sparsity, [0.95, 0.97]);
    let report = build(&plan, &outcomes);
    assert!(report.cells.iter().filter(|cell| cell.removed_weights.is_none()).all(|c| c.requested_sparsity.is_none()));
    let found = surface(&report).expect("three strengths, two sparsities");
    assert_eq!(
        found.free_sparsity(),
        ["Free sparsity, made by the penalty alone (regularized · global): 0.0 % at λ = 0, 63.0 % at λ = 1e-4, \
             no result at λ = 0.001."]
    );
    assert_eq!(found.panels.len(), 1, "a free sparsity is no column");
    let grid = found.grid();
    let of = |row: &[String]| [row[2].clone(), row[6].clone()];
    assert_eq!(of(&grid.rows[5]), ["0.90", "+0.0600"]);
    assert_eq!(of(&grid.rows[7]), ["free", "–"]);
    assert!(grid.rows.iter().all(|row| row.len() == grid.columns.len()));
    let page = markdown(&report).text;
    assert!(page.contains("63.0 % at λ = 1e-4") && html(&report).contains("63.0 % at λ = 1e-4"));
}

#[test]
fn a_point_of_the_same_work_has_its_value_in_its_own_panel() {
    let (mut plan, outcomes) = by_hand();
    // Of two kinds of penalty, the strength zero was computed under the first only.
    for cell in &mut plan.cells {
        let is_second = cell.settings[STRENGTH] == json!(1e-3) || cell.settings[STRENGTH] == json!(1e-4);
        cell.settings.insert("regularization.kind".to_owned(), json!(if is_second { "l2" } else { "l1" }));
    }
    let zero = |sparsity| {
        let into = cell_of(&plan, "magnitude", 0.0, sparsity);
        let mut settings = plan.cells.iter().find(|cell| cell.id == into).expect("a cell").settings.clone();
        settings.insert("regularization.kind".to_owned(), json!("l2"));
        Merged { into, settings, reason: "without a penalty its kind decides nothing".to_owned() }
    };
    let mut merged = vec![zero(0.5), zero(0.9)];
    // A second name of a column is no column.
    let mut twin = zero(0.9);
    twin.settings.insert(SPARSITY.to_owned(), json!(0.900_02));
    merged.push(twin);
    plan.merged = merged;
    let report = build(&plan, &outcomes);
    let found = surface(&report).expect("l2 has three strengths");
    let [panel] = found.panels.as_slice() else { panic!("{:?}", found.panels) };
    assert_eq!(panel.title, "magnitude · global · kind l2");
    assert_eq!((&panel.strengths[..], &panel.sparsities[..]), (&[0.0, 1e-4, 1e-3][..], &[0.5, 0.9][..]));
    assert!((panel.slots[1].value.expect("that of l1") + 0.04).abs() < 1e-12);
}

#[test]
fn one_strength_or_one_sparsity_has_no_heat_map() {
    for (key, value) in [(STRENGTH, 0.0), (SPARSITY, 0.5)] {
        let (mut plan, outcomes) = penalties();
        plan.cells.retain(|cell| cell.control.is_some() || cell.settings[key] == json!(value));
        let report = build(&plan, &outcomes);
        assert!(surface(&report).is_none(), "{key}");
        assert!(!html(&report).contains("Strength and sparsity"));
        let page = markdown(&report);
        assert!(
            !page.text.contains("Strength and sparsity") && page.plots.iter().all(|(name, _)| !name.contains("heat"))
        );
    }
    let (plan, _) = penalties();
    assert!(surface(&build(&plan, &BTreeMap::new())).is_none(), "nothing is measured");
}

#[test]
fn more_than_there_is_room_for_is_counted() {
    let (base, _) = penalties();
    let cell = |strategy: String, strength: f64, sparsity: f64| {
        let mut cell = base.cells[0].clone();
        cell.settings.insert("pruning.strategy".to_owned(), json!(strategy));
        cell.settings.insert(STRENGTH.to_owned(), json!(strength));
        cell.settings.insert(SPARSITY.to_owned(), json!(sparsity));
        cell.id = format!("{strategy}-{strength}-{sparsity}").parse().expect("an id");
        cell
    };
    let mut cells = Vec::new();
    for strategy in 0..15 {
        let sparsities = if strategy == 0 { 40 } else { 2 };
        for strength in [0.0, 0.1] {
            cells.extend((0..sparsities).map(|at| cell(format!("s{strategy}"), strength, f64::from(at) / 50.0)));
        }
    }
    let (plan, outcomes) = example::sweep(cells, 1);
    let report = build(&plan, &outcomes);
    let found = surface(&report).expect("many");
    assert_eq!((found.panels.len(), found.panels[0].sparsities.len()), (12, 32));
    let caption = found.caption();
    assert!(caption.contains("3 more panels had") && caption.contains("8 more rows or columns had"), "{caption}");
    assert_eq!(found.grid().rows.len(), 2 * 32 + 11 * 4);
    assert!(heatmap(&found).len() < 100_000);
}

#[test]
fn hostile_names_and_numbers_are_text() {
    let evil = "</script><img src=x onerror=alert(1)>\"' ]]> \u{202e}\u{0} | `x` <b>";
    let (mut plan, mut outcomes) = by_hand();
    for cell in plan.cells.iter_mut().filter(|cell| cell.control.is_none()) {
        cell.settings.insert("pruning.strategy".to_owned(), json!(evil));
        // What is no number, or none that a sweep can hold, has no place.
        if cell.removed_weights.is_none() {
            cell.settings.insert(STRENGTH.to_owned(), json!(evil));
        }
        cell.settings.insert(evil.to_owned(), json!(cell.control.is_none()));
    }
    let id = cell_of(&plan, evil, 1e-3, 0.9);
    set(&mut outcomes, &id, Metric::Auc, [-f64::MAX, -f64::MAX]);
    let report = build(&plan, &outcomes);
    let found = surface(&report).expect("three strengths, two sparsities");
    let svg = heatmap(&found);
    assert!(svg.contains("&lt;/script&gt;") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    let (harmless, outcomes) = by_hand();
    let harmless = build(&harmless, &outcomes);
    let pages = [html(&report), html(&harmless)];
    for tag in ["<script", "</script", "<img", "<b>", "]]>"] {
        assert_eq!(pages[0].matches(tag).count(), pages[1].matches(tag).count(), "{tag}");
    }
    let page = markdown(&report);
    for text in page.plots.iter().map(|(_, svg)| svg).chain([&pages[0], &page.text]) {
        assert!(!text.contains(['\u{0}', '\u{202e}']));
    }
    assert!(page.plots.iter().all(|(_, svg)| !svg.contains("<img") && !svg.contains("<b>")));
}

#[test]
fn controls_have_panels_of_their_own_after_the_cells() {
    let (plan, outcomes) = realistic();
    let report = build(&plan, &outcomes);
    let found = surface(&report).expect("three strengths, five sparsities");
    let titles: Vec<&str> = found.panels.iter().map(|panel| panel.title.as_str()).collect();
    assert_eq!(
        titles,
        ["random · global", "magnitude · global", "magnitude · local", "taylor · global", "random · local (control)"]
    );
    assert!(found.panels.iter().all(|panel| panel.slots.len() == 15));
}
