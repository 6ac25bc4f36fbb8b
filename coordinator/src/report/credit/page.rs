//! The section of the page: a part for each subject, with its table, its notes and its plot.

use super::{
    super::{content::Grid, label::Labels, model::Report, number, plot::points as plot_points, rows::Total},
    CreditCell, CreditReport, DecisionReport,
    estimate::Estimate,
    text::{between_text, decision_text, difference, fixed, name_of, none, percent, percents, points, side, signed},
};
use crate::experiment::plan::{Control, Decision};

/// A subject of the section.
#[derive(Debug)]
pub(in super::super) struct Part {
    pub(in super::super) title: String,
    /// What the table means, in sentences.
    pub(in super::super) notes: Vec<String>,
    pub(in super::super) plot: Option<Plot>,
    pub(in super::super) grid: Grid,
}

/// A plot with its caption, and the name of its file.
#[derive(Debug)]
pub(in super::super) struct Plot {
    pub(in super::super) name: &'static str,
    pub(in super::super) caption: String,
    pub(in super::super) svg: String,
}

/// The parts of the section. Empty if nothing is known.
pub(in super::super) fn parts(report: &Report, labels: &Labels) -> Vec<Part> {
    let Some(credit) = &report.credit else { return Vec::new() };
    let page = Page { report, credit, labels };
    let parts = [
        page.decisions(),
        page.groups(),
        page.approval_by_group(),
        page.calibration(),
        page.recalibration(),
        page.ranking(),
        page.deciles(),
    ];
    let mut parts: Vec<Part> = parts.into_iter().flatten().collect();
    if let Some(first) = parts.first_mut() {
        first.notes.insert(0, page.about());
    }
    parts
}

struct Page<'a> {
    report: &'a Report,
    credit: &'a CreditReport,
    labels: &'a Labels,
}

impl Page<'_> {
    fn name(&self, cell: &CreditCell) -> String {
        let name = name_of(self.report, self.labels, &cell.cell);
        let is_baseline = self.credit.cells.first().is_some_and(|first| first.cell == cell.cell);
        if is_baseline { format!("{name} (baseline)") } else { name }
    }

    /// Whether all seeds have the same model, so that nothing is known between them.
    fn is_one_model(&self, cell: &CreditCell) -> bool {
        let kind = self.report.cell(&cell.cell).and_then(|cell| cell.control_kind);
        kind.is_some_and(Control::is_reference)
    }

    fn shown(&self) -> Option<&CreditCell> {
        self.credit.cells.iter().find(|cell| Some(&cell.cell) == self.credit.shown.as_ref())
    }

    fn grid(&self, columns: &[(&str, bool)], row: impl Fn(&CreditCell) -> Vec<Vec<String>>) -> Grid {
        let columns = columns.iter().map(|(name, is_number)| ((*name).to_owned(), *is_number)).collect();
        Grid { columns, rows: self.credit.cells.iter().flat_map(row).collect() }
    }

    fn about(&self) -> String {
        let positive = self.report.data.positive().map_or("", |class| class.name.as_str());
        let left_out = match self.credit.left_out {
            0 => String::new(),
            count => format!(" Left out: {} more, beyond a bound or without scores.", number::count(count, "cell")),
        };
        format!(
            "Bad is the positive class, {positive}; rows with low scores are approved. Everything is measured on test. Square brackets hold 95 % intervals of seeds and rows where nothing else is said. Shown are the baseline, the cells that the findings name, the fronts, the reference models and the small dense nets.{left_out}"
        )
    }

    fn decisions(&self) -> Option<Part> {
        if self.report.decision.is_none() { self.rates() } else { self.decision() }
    }

    /// Without a decision of the file: several approval rates of the cell that the findings are about.
    fn rates(&self) -> Option<Part> {
        let (baseline, shown) = (self.credit.cells.first()?, self.shown()?);
        let mut grid = Grid::new(&[]);
        grid.columns = [
            ("approved on validation", true),
            ("bad rate, baseline", true),
            ("bad rate, minus baseline", true),
            ("decided differently from the baseline", true),
            ("from a baseline of another seed", true),
            ("between seeds of the baseline", true),
        ]
        .map(|(name, is_number)| (name.to_owned(), is_number))
        .to_vec();
        grid.rows = (baseline.decisions.iter().zip(&shown.decisions))
            .map(|(own, other)| {
                vec![
                    decision_text(&own.decision),
                    own.bad_rate.map_or_else(none, |rate| percents(&rate.value)),
                    difference(other.bad_rate.as_ref()),
                    other.swapped.as_ref().map_or_else(none, percents),
                    other.swapped_from_other_seeds.map_or_else(none, percent),
                    own.between_seeds.map_or_else(none, |between| between_text(&between)),
                ]
            })
            .collect();
        let name = name_of(self.report, self.labels, &shown.cell);
        Some(Part {
            title: "Decisions at several approval rates".to_owned(),
            notes: vec![
                format!(
                    "The sweep file names no decision, so this is {name} at several. `decision: {{approve: 0.7}}` or `decision: {{cost: {{bad_approved: 5, good_declined: 1}}}}` chooses one; then the tables have all cells, and approval by group."
                ),
                CUT_OFFS.to_owned(),
            ],
            plot: None,
            grid,
        })
    }

    fn decision(&self) -> Option<Part> {
        let decision = self.report.decision?;
        let mut columns = vec![
            ("cell", false),
            ("approved", true),
            ("bad rate of the approved", true),
            ("minus baseline", true),
            ("decided differently from the baseline", true),
            ("from a baseline of another seed", true),
            ("between its own seeds", true),
            ("newly approved", true),
            ("newly declined", true),
            ("approved at the baseline's bad rate (seeds)", true),
            ("minus baseline (seeds)", true),
        ];
        let has_cost = matches!(decision, Decision::Cost { .. });
        if has_cost {
            columns.extend([("cost of a row", true), ("cost, minus baseline", true)]);
        }
        let grid = self.grid(&columns, |cell| {
            let is_one_model = self.is_one_model(cell);
            let row = |found: &DecisionReport| {
                let mut row = vec![
                    self.name(cell),
                    percents(&found.approved.value),
                    found.bad_rate.map_or_else(none, |rate| percents(&rate.value)),
                    difference(found.bad_rate.as_ref()),
                    found.swapped.as_ref().map_or_else(none, percents),
                    found.swapped_from_other_seeds.map_or_else(none, percent),
                    found.between_seeds.filter(|_| !is_one_model).map_or_else(none, |between| between_text(&between)),
                    found.swapped_in.map_or_else(none, side),
                    found.swapped_out.map_or_else(none, side),
                    found.approved_at_bad_rate.map_or_else(none, |found| percents(&found.value)),
                    difference(found.approved_at_bad_rate.as_ref()),
                ];
                if has_cost {
                    let difference = found.cost.and_then(|cost| cost.minus_baseline);
                    row.push(found.cost.map_or_else(none, |cost| fixed(&cost.value, 4)));
                    row.push(difference.map_or_else(none, |found| signed(&found, 4)));
                }
                row
            };
            cell.decisions.iter().map(row).collect()
        });
        Some(Part {
            title: format!("Decisions: {}", decision_text(&decision)),
            notes: vec![
                CUT_OFFS.to_owned(),
                "Decided differently: the share of the test rows with another decision than the baseline of the same seed has. From a baseline of another seed: the mean over all pairs of different seeds. Between its own seeds: the same for two seeds of the cell, the mean over all pairs and its range; – for a model that all seeds share. What training the baseline again does is its own value there. Compare it with the column of another seed, because nets of the same seed share their beginning. Newly approved and newly declined, against the baseline, have their share of the rows and their bad rate, over all seeds.".to_owned(),
                "Approved at the baseline's bad rate: the cut-off is the highest at which validation's bad rate is at most that of the baseline of the same seed. The baseline's share, in the difference, is found in the same way. The cut-off is found on a noisy validation curve; no interval counts that. With other validation rows the share would move by several times the width shown.".to_owned(),
            ],
            plot: None,
            grid,
        })
    }

    fn groups(&self) -> Option<Part> {
        let columns = [
            ("cell", false),
            ("column", false),
            ("level", false),
            ("rows", true),
            ("positives", true),
            ("AUC", true),
            ("AUC, minus baseline", true),
            ("probability minus outcome", true),
            ("that, minus baseline", true),
        ];
        let grid = self.grid(&columns, |cell| {
            let row = |group: &super::GroupReport| {
                vec![
                    self.name(cell),
                    group.column.clone(),
                    group.level.clone(),
                    number::grouped(group.rows),
                    number::grouped(group.positives),
                    group.auc.map_or_else(none, |auc| fixed(&auc.value, 4)),
                    group.auc.and_then(|auc| auc.minus_baseline).map_or_else(none, |found| signed(&found, 4)),
                    group.calibration.map_or_else(none, |found| points(&found.value)),
                    difference(group.calibration.as_ref()),
                ]
            };
            cell.groups.iter().map(row).collect()
        });
        (!grid.rows.is_empty()).then(|| Part {
            title: "Ranking and calibration by group".to_owned(),
            notes: vec![
                "Probability minus outcome: the mean predicted probability minus the share of positives, in percentage points. Above 0, the group is judged riskier than it is. Nothing is measured with fewer than 10 rows, or of an AUC 10 rows of each class. Intervals are of one group each: of many groups, some lie outside theirs by chance.".to_owned(),
            ],
            plot: None,
            grid,
        })
    }

    fn approval_by_group(&self) -> Option<Part> {
        self.report.decision?;
        let columns = [
            ("cell", false),
            ("column", false),
            ("level", false),
            ("approved", true),
            ("approved, minus baseline", true),
            ("ratio to the highest", true),
            ("bad declined (TPR)", true),
            ("TPR, minus baseline", true),
            ("good declined (FPR)", true),
            ("FPR, minus baseline", true),
        ];
        let grid = self.grid(&columns, |cell| {
            let share = |found: Option<&Estimate>| found.map_or_else(none, |found| percents(&found.value));
            let row = |group: &super::GroupReport| {
                let ratio = group.approval_ratio.map_or_else(none, |ratio| {
                    let mean = number::fixed(ratio.mean, 3);
                    let verdict = match (ratio.is_below(), ratio.is_undecided()) {
                        (true, _) => ", below 0.8",
                        (false, true) => ", not decided",
                        (false, false) => "",
                    };
                    match ratio.ci95 {
                        Some([low, high]) => {
                            format!("{mean} [{}, {}]{verdict}", number::fixed(low, 3), number::fixed(high, 3))
                        }
                        None => format!("{mean}{verdict}"),
                    }
                });
                vec![
                    self.name(cell),
                    group.column.clone(),
                    group.level.clone(),
                    share(group.approved.as_ref()),
                    difference(group.approved.as_ref()),
                    ratio,
                    share(group.positives_declined.as_ref()),
                    difference(group.positives_declined.as_ref()),
                    share(group.negatives_declined.as_ref()),
                    difference(group.negatives_declined.as_ref()),
                ]
            };
            cell.groups.iter().map(row).collect()
        });
        (!grid.rows.is_empty()).then(|| Part {
            title: "Approval and errors by group".to_owned(),
            notes: vec![
                "Ratio to the highest: the approval rate divided by the highest one among the levels of the column with at least 100 rows and 2 % of the rows; missing values are no such level. The four-fifths rule asks for at least 0.8. Below 0.8: all of the interval is. Not decided: a part of it is. The rule is about protected groups; whether a column is one, the report does not know. Bad declined is the share of the positives that is declined, good declined that of the negatives.".to_owned(),
            ],
            plot: None,
            grid,
        })
    }

    fn calibration(&self) -> Option<Part> {
        let columns = [
            ("cell", false),
            ("probability minus outcome", true),
            ("slope", true),
            ("intercept", true),
            ("ECE", true),
            ("ECE if calibrated", true),
            ("Brier", true),
            ("reliability", true),
            ("resolution", true),
            ("uncertainty", true),
        ];
        let grid = self.grid(&columns, |cell| {
            let found = &cell.calibration;
            let value =
                |found: Option<&Estimate>, decimals| found.map_or_else(none, |found| fixed(&found.value, decimals));
            let part = |of: fn(&super::BrierParts) -> f64| {
                found.brier.as_ref().map_or_else(none, |parts| number::fixed(of(parts), 5))
            };
            vec![vec![
                self.name(cell),
                found.in_the_large.map_or_else(none, |found| points(&found.value)),
                value(found.slope.as_ref(), 3),
                value(found.intercept.as_ref(), 3),
                value(found.ece.as_ref(), 4),
                found.ece_if_calibrated.map_or_else(none, |ece| number::fixed(ece, 4)),
                part(|parts| parts.brier),
                part(|parts| parts.reliability),
                part(|parts| parts.resolution),
                part(|parts| parts.uncertainty),
            ]]
        });
        let lines: Vec<_> = (self.credit.cells.first().into_iter().chain(self.shown()))
            .map(|cell| {
                let points = cell.calibration.curve.iter().map(|point| (point.predicted, point.observed)).collect();
                (self.name(cell), points)
            })
            .collect();
        let svg = plot_points("Reliability curve", ["mean probability", "share of positives"], "calibrated", &lines);
        Some(Part {
            title: "Calibration".to_owned(),
            notes: vec![
                "Slope and intercept: of the logistic regression of the outcome on the log-odds (Cox 1958). 1 and 0 are right; a slope below 1 is overconfident. ECE: the mean distance between probability and share of positives over ten groups of as many rows. It is never 0: ECE if calibrated is its mean for right probabilities. Its interval does not count that.".to_owned(),
                "Parts of the Brier score (Murphy 1973) over the same ten groups: reliability − resolution + uncertainty, and a small rest within the groups. Small reliability and large resolution are better.".to_owned(),
            ],
            plot: svg.map(|svg| Plot {
                name: "reliability",
                caption: "Reliability: ten groups of rows by probability, means over the seeds".to_owned(),
                svg,
            }),
            grid,
        })
    }

    fn recalibration(&self) -> Option<Part> {
        let columns = [
            ("cell", false),
            ("method", false),
            ("Brier, as trained", true),
            ("Brier, recalibrated minus as trained", true),
            ("ECE, as trained", true),
            ("ECE, recalibrated minus as trained (seeds)", true),
        ];
        let grid = self.grid(&columns, |cell| {
            let found = &cell.calibration;
            let row = |after: &super::Recalibrated| {
                vec![
                    self.name(cell),
                    if after.method == "platt" { "Platt" } else { "isotonic" }.to_owned(),
                    found.brier.map_or_else(none, |parts| number::fixed(parts.brier, 5)),
                    signed(&after.brier_change, 5),
                    found.ece.map_or_else(none, |ece| number::fixed(ece.value.mean, 4)),
                    after.ece_change.map_or_else(none, |change| signed(&change, 4)),
                ]
            };
            found.recalibrated.iter().map(row).collect()
        });
        (!grid.rows.is_empty()).then(|| Part {
            title: "Recalibration".to_owned(),
            notes: vec![
                "Platt's (Platt 1999) and isotonic recalibration, fitted on every second validation row of each net and measured on test. Negative changes are improvements. The saved nets are not recalibrated. Intervals take the fit as given; with other validation rows the changes would vary two to four times as much.".to_owned(),
            ],
            plot: None,
            grid,
        })
    }

    fn ranking(&self) -> Option<Part> {
        let columns = [
            ("cell", false),
            ("EMP", true),
            ("EMP, minus baseline", true),
            ("partial Gini", true),
            ("minus baseline (seeds)", true),
            ("PSI from the baseline (seeds)", true),
            ("PSI between its own seeds", true),
            ("PSI, validation to test (seeds)", true),
            ("if unchanged", true),
        ];
        let grid = self.grid(&columns, |cell| {
            let found = &cell.ranking;
            let psi = |found: Option<Total>| found.map_or_else(none, |found| fixed(&found, 4));
            let minus = |found: Option<Estimate>, print: fn(&Total) -> String| {
                found.and_then(|found| found.minus_baseline).map_or_else(none, |found| print(&found))
            };
            vec![vec![
                self.name(cell),
                found.expected_maximum_profit.map_or_else(none, |found| fixed(&found.value, 5)),
                minus(found.expected_maximum_profit, |found| signed(found, 5)),
                found.partial_gini.map_or_else(none, |found| fixed(&found.value, 4)),
                minus(found.partial_gini, |found| signed(found, 4)),
                psi(found.psi_from_baseline),
                found
                    .psi_between_seeds
                    .filter(|_| !self.is_one_model(cell))
                    .map_or_else(none, |psi| number::fixed(psi, 4)),
                psi(found.psi_validation_to_test),
                found.psi_if_unchanged.map_or_else(none, |psi| number::fixed(psi, 5)),
            ]]
        });
        Some(Part {
            title: "Profit and stability of scores".to_owned(),
            notes: vec![
                "EMP: expected maximum profit of a loan as a share of it, with the parameters of Verbraken et al. 2014 (no loss 0.55, full loss 0.1, return 0.2644). Partial Gini: that of the rows with a probability of at most 0.4 (Lessmann et al. 2015).".to_owned(),
                "PSI: population stability index over the tenths of the scores that it starts from. Below 0.1 scores count as stable, from 0.25 on as shifted; these bounds ignore the number of rows. If unchanged: the mean that chance alone gives, (B − 1) (1/n + 1/m). A low PSI does not show that bad rates are stable.".to_owned(),
            ],
            plot: None,
            grid,
        })
    }

    fn deciles(&self) -> Option<Part> {
        let shown = self.shown().or(self.credit.cells.first())?;
        let mut grid = Grid::new(&[]);
        grid.columns =
            ["riskiest rows", "bad rate", "lift", "gains", "KS"].map(|name| (name.to_owned(), true)).to_vec();
        let row = |decile: &super::Decile| {
            vec![
                format!("{} %", number::fixed(decile.depth * 100.0, 0)),
                percent(decile.bad_rate),
                number::fixed(decile.lift, 2),
                percent(decile.gains),
                number::fixed(decile.ks, 4),
            ]
        };
        grid.rows = shown.ranking.deciles.iter().map(row).collect();
        let lines: Vec<_> = (self.credit.cells.first().into_iter().chain(self.shown()))
            .map(|cell| {
                let points = cell.ranking.deciles.iter().map(|decile| (decile.depth, decile.gains));
                (self.name(cell), std::iter::once((0.0, 0.0)).chain(points).collect())
            })
            .collect();
        let svg =
            plot_points("Gains", ["share of the rows, riskiest first", "share of the positives"], "chance", &lines);
        let name = name_of(self.report, self.labels, &shown.cell);
        (!grid.rows.is_empty()).then(|| Part {
            title: "Lift and gains".to_owned(),
            notes: vec![format!(
                "{name} by tenths of the rows, the highest scores first, means over the seeds. Lift is the bad rate of the tenth over that of all rows; gains are the share of all positives up to here; KS is that minus the share of all negatives."
            )],
            plot: svg.map(|svg| Plot {
                name: "gains",
                caption: "Gains: the share of the positives among the riskiest rows, means over the seeds".to_owned(),
                svg,
            }),
            grid,
        })
    }
}

const CUT_OFFS: &str = "The cut-off of each net is chosen on its validation rows and applied to test. Intervals take it as given. Rows that tie at the cut-off are approved together.";
