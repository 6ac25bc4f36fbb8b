use secateur_proto::metrics::{Metric, Split};

use super::*;
use crate::report::{
    build,
    example::{self, Sweep},
};

/// The dossier of the first trial of a cell of a sweep.
fn of(sweep: &Sweep, choose: impl Fn(&Report) -> CellReport) -> (Report, Dossier) {
    let (plan, outcomes) = sweep;
    let report = build(plan, outcomes);
    let cell = choose(&report);
    let trial = report.trials.iter().find(|trial| trial.cell == cell.id).expect("a trial").clone();
    let columns =
        [ColumnUse { name: "term | months".into(), becomes: "number: standardised".into(), inputs: 1, read: Some(0) }];
    let strategy = StrategyUse { formula: "|w · ∂L/∂w|".into(), source: "Molchanov et al. 2019".into() };
    let dossier = Dossier::of(&DossierSource {
        report: &report,
        plan,
        trial: &trial,
        cell: &cell,
        why: "It was named in the command.",
        columns: &columns,
        strategy: Some(&strategy),
        recipe: Some("version: 1\nname: one\n"),
        program: "0.0.0",
    });
    (report, dossier)
}

fn headline(report: &Report) -> CellReport {
    report.headline().expect("a good one").clone()
}

#[test]
fn a_dossier_has_all_chapters_and_quotes_the_report() {
    let (report, dossier) = of(&example::realistic(), headline);
    let titles: Vec<&str> = dossier.chapters.iter().map(|chapter| chapter.title).collect();
    assert!(!titles.contains(&"Groups"), "this sweep has none");
    assert_eq!(titles.len(), CHAPTERS.len() - 1);
    let page = dossier.markdown("stem");
    let difference = report.headline().and_then(|cell| cell.minus_baseline(&Metric::Auc.on(Split::Test)));
    let quoted =
        number::difference(Metric::Auc, &difference.expect("paired").summary).replace('[', "\\[").replace(']', "\\]");
    assert!(page.text.matches(&quoted).count() >= 3, "summary, results and benchmark say {quoted}");
    assert!(page.plots.iter().all(|(name, _)| name.starts_with("stem.") && page.text.contains(&format!("]({name})"))));
    insta::assert_snapshot!(page.text);
}

#[test]
fn the_page_needs_neither_scripts_nor_anything_from_outside() {
    let (_, dossier) = of(&example::realistic(), headline);
    let page = dossier.html().replace("http://www.w3.org/2000/svg", "");
    for outside in ["<script", "http:", "https:", "src=", "@import", "url(", "<link", "{{"] {
        assert!(!page.contains(outside), "{outside}");
    }
    for chapter in &dossier.chapters {
        assert!(page.contains(&format!(". {}</h2>", chapter.title)), "{}", chapter.title);
    }
}

#[test]
fn hostile_names_are_text() {
    let first = |report: &Report| report.cells.first().expect("a cell").clone();
    let (_, dossier) = of(&example::hostile(), first);
    let (_, harmless) = of(&example::realistic(), first);
    let (page, harmless) = (dossier.html(), harmless.html());
    for tag in ["<script", "</script", "<img", "<b>", "<!--", "]]>"] {
        assert_eq!(page.matches(tag).count(), harmless.matches(tag).count(), "{tag}");
    }
    let text = dossier.markdown("stem").text;
    let before = text.split("```").next().expect("a beginning");
    assert!(!before.contains('<'), "{before}");
}

#[test]
fn the_baseline_itself_is_compared_with_nothing() {
    let (_, dossier) = of(&example::realistic(), |report| report.baseline_cell().expect("a dense net").clone());
    let text = dossier.markdown("stem").text;
    assert!(dossier.summary.iter().any(|sentence| sentence.ends_with("is the baseline of the sweep.")), "{text}");
    assert!(!dossier.summary.iter().any(|sentence| sentence.contains("minus baseline")));
}

#[test]
fn differences_are_those_of_the_report() {
    let (plan, outcomes) = example::realistic();
    let report = build(&plan, &outcomes);
    let quantity = Metric::Auc.on(Split::Test);
    let mut compared = 0;
    for cell in report.cells.iter().filter(|cell| !cell.control) {
        let trial = report.trials.iter().find(|trial| trial.cell == cell.id).expect("a trial");
        let source = DossierSource {
            report: &report,
            plan: &plan,
            trial,
            cell,
            why: "",
            columns: &[],
            strategy: None,
            recipe: None,
            program: "",
        };
        for (control, expected) in
            [(&cell.random_control, cell.minus_random(&quantity)), (&cell.dense_control, cell.minus_dense(&quantity))]
        {
            let Some(control) = control.as_ref().and_then(|id| report.cell(id)) else { continue };
            let found = source.minus(control, &quantity).map(|total| (total.mean, total.ci95));
            assert_eq!(found, expected.map(|paired| (paired.summary.mean, paired.summary.ci95)));
            compared += 1;
        }
    }
    assert!(compared > 0);
}
