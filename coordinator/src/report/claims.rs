//! Claims from few seeds or few rows, which are worded with caution.

use super::{model::Report, number};
use crate::experiment::remarks::{FEW_ROWS_FOR_CLAIMS, FEW_SEEDS_FOR_CLAIMS};

/// The claim, with what it is made from if that is little.
pub(super) fn worded(report: &Report, claim: String) -> String {
    let reasons = reasons(report);
    if reasons.is_empty() { claim } else { format!("With caution, from {}: {claim}", reasons.join(" and ")) }
}

/// What there is too little of for a claim.
fn reasons(report: &Report) -> Vec<String> {
    let seeds = report.cells.iter().filter(|cell| cell.eligible || cell.deployable);
    let quantity = report.baseline.as_ref().map(|baseline| &baseline.quantity);
    let quantity = quantity.or(report.objectives.first().map(|objective| &objective.quantity));
    let seeds = seeds.filter_map(|cell| Some(cell.summary(quantity?)?.n)).min();
    let seeds = seeds.filter(|seeds| *seeds < FEW_SEEDS_FOR_CLAIMS).map(|seeds| number::count(seeds, "seed"));
    // Of many classes a claim is about all rows.
    let classes = if report.data.classes.len() == 2 { &report.data.classes[..] } else { &[] };
    let parts = [(1, "validation"), (2, "test")];
    let counts = classes.iter().flat_map(|class| parts.map(|(place, part)| (class.rows[place], part, &class.name)));
    let fewest = counts.min_by_key(|(rows, ..)| *rows);
    let rows = fewest
        .filter(|(rows, ..)| *rows < FEW_ROWS_FOR_CLAIMS)
        .map(|(rows, part, name)| format!("{} of the class {name:?} in {part}", number::count(rows, "row")));
    seeds.into_iter().chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use crate::{
        experiment::plan::Plan,
        report::{build, example},
    };

    #[test]
    fn claims_from_little_say_so() {
        let (mut plan, outcomes) = example::realistic();
        let claims = |plan: &Plan| -> Vec<String> {
            let found = build(plan, &outcomes).findings();
            found.into_iter().filter(|found| found.starts_with("With caution")).collect()
        };
        assert_eq!(claims(&plan), Vec::<String>::new());
        plan.trials.retain(|trial| trial.seed < 3);
        plan.sweep.data.classes[1].rows[1] = 49;
        insta::assert_snapshot!(claims(&plan).join("\n"));
    }
}
