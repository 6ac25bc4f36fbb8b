//! Sweeps with one to six objectives, and cells that are equal in all of them.

use std::collections::BTreeMap;

use super::*;
use crate::report::{front_csv, html, markdown};

fn objectives() -> Vec<Objective> {
    [Metric::Auc, Metric::NonzeroParameters, Metric::Brier, Metric::Ks, Metric::Macs, Metric::Sparsity]
        .map(|metric| Objective { quantity: metric.on(Split::Validation), direction: metric.better(), margin: None })
        .to_vec()
}

fn rows(csv: &str) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    reader.deserialize().collect::<Result<_, _>>().expect("a table with a header")
}

/// The definition of the front, of every number of objectives; and every form of the report has it.
#[test]
fn the_front_of_one_to_six_objectives_is_in_every_form_of_the_report() {
    let (mut plan, outcomes) = realistic();
    let mut sizes = Vec::new();
    for count in 1..=6 {
        plan.sweep.objectives = objectives()[..count].to_vec();
        let report = build(&plan, &outcomes);
        let costs = |cell: &crate::report::CellReport| -> Vec<f64> {
            let mean = |objective: &Objective| {
                let mean = cell.mean(&objective.quantity).expect("eligible cells have all means");
                if objective.direction == Direction::Maximize { -mean } else { mean }
            };
            plan.sweep.objectives.iter().map(mean).collect()
        };
        let eligible: Vec<_> = report.cells.iter().filter(|cell| cell.eligible).collect();
        for cell in &eligible {
            let own = costs(cell);
            let dominates = |other: &Vec<f64>| other.iter().zip(&own).all(|(other, own)| other <= own) && *other != own;
            assert_eq!(cell.on_front, !eligible.iter().any(|other| dominates(&costs(other))), "{}", cell.id);
        }
        let (page, text) = (html(&report), markdown(&report));
        assert!(text.plots.iter().any(|(name, _)| name == "pareto.svg"));
        for id in &report.front {
            assert!(page.contains(id.as_str()) && text.text.contains(id.as_str()));
        }
        let listed: Vec<String> = rows(&front_csv(&report)).iter().map(|row| row["id"].clone()).collect();
        assert_eq!(listed, report.front.iter().map(ToString::to_string).collect::<Vec<_>>());
        sizes.push(report.front.len());
    }
    // A further objective takes no cell off the front here, for no two cells are equal.
    assert!(sizes.is_sorted(), "{sizes:?}");
}

#[test]
fn equal_cells_are_one_point_with_a_count() {
    let mut cells: Vec<Cell> =
        (0..200).map(|place| cell(&format!("same{place}"), Some("magnitude"), 0.9, None)).collect();
    cells.push(cell("large", Some("magnitude"), 0.5, None));
    cells.push(cell("dense", None, 0.0, Some(Control::Dense)));
    for (place, cell) in cells.iter_mut().enumerate() {
        cell.settings.insert("training.batch_size".to_owned(), json!(place + 1));
    }
    let (plan, mut outcomes) = sweep(cells, 2);
    for place in 0..200 {
        for seed in 1..=2 {
            let trial = format!("same{place}-{seed}");
            change(&mut outcomes, &trial, Metric::Auc, Split::Validation, 0.7);
            change(&mut outcomes, &trial, Metric::NonzeroParameters, Split::Validation, 100.0);
        }
    }
    let report = build(&plan, &outcomes);
    assert_eq!(report.front.len(), 201);
    let page = markdown(&report);
    let (_, front) = page.text.split_once("## The front").expect("a section");
    let (front, _) = front.split_once("\n## ").expect("another section");
    let table: Vec<&str> = front.lines().filter(|line| line.starts_with('|')).collect();
    assert_eq!(table.len(), 4, "{front}");
    assert!(table[0].contains("equal cells") && table[2].contains("| 200 |"), "{front}");
    let (_, plot) = &page.plots[0];
    assert_eq!(plot.matches(">×200<").count(), 1, "{plot}");
    assert!(report.findings().iter().any(|sentence| sentence.contains("201 cells on the front are 2 points")));
    let csv = rows(&front_csv(&report));
    assert_eq!(csv.len(), 201);
    let equal: Vec<_> = csv.iter().filter(|row| row["ties"] == "200").collect();
    assert_eq!(equal.iter().filter(|row| row["tied_with"].is_empty()).count(), 1);
    assert_eq!(equal.iter().filter(|row| row["tied_with"] == "same0").count(), 199);
    assert!(csv.iter().any(|row| row["id"] == "large" && row["ties"] == "1" && row["tied_with"].is_empty()));
}

#[test]
fn of_several_objectives_and_constraints_the_least_infeasible_cell_is_named() {
    let (mut plan, outcomes) = realistic();
    plan.sweep.objectives = objectives();
    let bound = |metric: Metric, min, max| Constraint { quantity: metric.on(Split::Validation), min, max };
    plan.sweep.constraints = vec![bound(Metric::Sparsity, Some(0.9), None), bound(Metric::Auc, Some(0.7), None)];
    let feasible = build(&plan, &outcomes);
    assert!(!feasible.front.is_empty() && feasible.unmet.is_none());
    for id in &feasible.front {
        let cell = feasible.cell(id).expect("on the front");
        assert!(cell.mean(&Metric::Sparsity.on(Split::Validation)).is_some_and(|mean| mean >= 0.9));
    }
    plan.sweep.constraints.push(bound(Metric::Auc, Some(0.99), None));
    let infeasible = build(&plan, &outcomes);
    assert!(infeasible.front.is_empty());
    let nearest = infeasible.unmet.as_ref().expect("no cell meets all").nearest.clone();
    let name = infeasible.cell_labels().of(infeasible.cell(&nearest).expect("a cell"));
    assert!(infeasible.findings().iter().any(|sentence| sentence.contains(&name)), "{:#?}", infeasible.findings());
}
