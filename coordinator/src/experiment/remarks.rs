//! What a reader of a plan or its report must know beside the numbers: what they cannot show, and how nets are pruned.

use std::collections::{BTreeSet, HashMap};

use secateur_proto::{
    ids::{CellId, StageKey},
    metrics::{FEWEST_ROWS, Metric, Over, Quantity, Split},
    spec::{SelectBy, StageSpec, Task},
};

use super::plan::{ClassRows, Control, DataSummary, Plan};

/// Rows of each class below which a part gets a caution. Validations of models of risk need at least 100 events and 100 non-events
/// (Vergouwe et al. 2005, J Clin Epidemiol 58:475; Collins, Ogundimu & Altman 2016, Stat Med 35:214).
const ENOUGH_ROWS: u64 = 100;

/// Seeds below which a claim of a report is worded with caution. With two, an interval is 13 standard errors wide on each side.
pub(crate) const FEW_SEEDS_FOR_CLAIMS: u64 = 3;

/// Rows of a class below which a claim is, whatever its interval says: with few, an interval of rows is itself a rough estimate.
pub(crate) const FEW_ROWS_FOR_CLAIMS: u64 = 50;

/// How much of validation's share of positives that of test may differ by before a caution.
const MOST_CHANGE: f64 = 0.25;

const PARTS: [&str; 3] = ["train", "validation", "test"];

impl Plan {
    /// What is predicted.
    #[must_use]
    pub fn task(&self) -> Task {
        let outputs = self.stages.iter().find_map(|stage| stage.spec.model()).map(|model| model.outputs());
        match outputs {
            Some(1) => Task::Binary,
            Some(_) => Task::Multiclass,
            None if self.sweep.data.classes.len() == 2 => Task::Binary,
            None => Task::Multiclass,
        }
    }

    /// What a quantity is worth of a net that guesses, where that depends on the data.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of rows")]
    pub fn chance(&self, quantity: &Quantity) -> Option<f64> {
        let (Metric::AveragePrecision, Over::Rows(split)) = (quantity.metric(), quantity.over()) else { return None };
        let data = &self.sweep.data;
        match (self.task(), data.positive()) {
            (Task::Binary, Some(positive)) => {
                let part = match split {
                    Split::Validation => 1,
                    Split::Test => 2,
                };
                Some(positive.rows[part] as f64 / data.rows[part].max(1) as f64)
            }
            // The mean of the shares of all classes.
            _ => Some(1.0 / data.classes.len().max(1) as f64),
        }
    }

    /// What the numbers of the sweep cannot show, or show in a light of their own.
    #[must_use]
    pub fn cautions(&self) -> Vec<String> {
        let mut cautions = self.sweep.data.cautions();
        cautions.extend(self.few_seeds());
        let weighs =
            |stage: &StageSpec| stage.training().is_some_and(|training| !training.spec.class_weights.is_empty());
        if self.stages.iter().any(|stage| weighs(&stage.spec)) {
            cautions.push(
                "training.class_weight is set: predicted probabilities are not calibrated, so log_loss, brier and ece get worse \
                 (metrics are never weighted)"
                    .to_owned(),
            );
        }
        let objectives = self.sweep.objectives.iter().map(|objective| &objective.quantity);
        let goals = objectives.chain(self.sweep.constraints.iter().map(|constraint| &constraint.quantity));
        let timed: BTreeSet<&str> =
            goals.map(Quantity::metric).filter(|metric| metric.is_timed()).map(Metric::name).collect();
        if !timed.is_empty() {
            let timed = timed.into_iter().collect::<Vec<_>>().join(", ");
            cautions.push(format!(
                "the front depends on {timed}, which is measured and differs from run to run: another run can choose another front"
            ));
        }
        cautions
    }

    /// What few seeds are not enough for.
    fn few_seeds(&self) -> Option<String> {
        let mut seeds: HashMap<&CellId, u64> = HashMap::new();
        self.trials.iter().for_each(|trial| *seeds.entry(&trial.cell).or_default() += 1);
        let fewest = *seeds.values().min()?;
        let so = match fewest {
            1 => "there are no intervals, and no cell can be tested against the baseline",
            _ => "intervals over seeds are very wide, and hardly any cell can be shown to be as good as the baseline",
        };
        let seeds = if fewest == 1 { "seed" } else { "seeds" };
        (fewest < FEW_SEEDS_FOR_CLAIMS)
            .then(|| format!("cells have {fewest} {seeds}, fewer than {FEW_SEEDS_FOR_CLAIMS}: {so}"))
    }

    /// How nets are pruned, as far as it is not in the settings of the cells, and what reference models are.
    #[must_use]
    pub fn methods(&self) -> Vec<String> {
        let stages: HashMap<StageKey, &StageSpec> = self.stages.iter().map(|stage| (stage.key, &stage.spec)).collect();
        let asked: BTreeSet<_> = self.cells.iter().filter(|cell| cell.control.is_none()).map(|cell| &cell.id).collect();
        let trials = self.trials.iter().filter(|trial| asked.contains(&trial.cell));
        let pruned = trials.flat_map(|trial| &trial.stages).filter_map(|key| stages.get(key)).filter(|stage| {
            // A stage with a mask.
            stage.training().is_some_and(|training| training.schedule.is_some())
        });
        let methods: BTreeSet<&str> = pruned
            .map(|stage| {
                let subject = stage.parents().into_iter().filter_map(|key| stages.get(&key)).find(|parent| parent.leaves_net());
                match subject.map(|subject| subject.training().map(|training| training.spec.select_by)) {
                    None => "A net is pruned before it is trained.",
                    Some(None) => "The net that is pruned is that of model.weights.",
                    Some(Some(SelectBy::Last)) => {
                        "The net that is scored and pruned is that of the last epoch of the training before (pruning.prune_from: last, or \
                         training.select_by: last)."
                    }
                    Some(Some(SelectBy::Auc)) => {
                        "The net that is scored and pruned is that of the best epoch of the training before, by AUC on validation \
                         (pruning.prune_from: best)."
                    }
                    Some(Some(SelectBy::LogLoss)) => {
                        "The net that is scored and pruned is that of the best epoch of the training before, by log loss on validation \
                         (pruning.prune_from: best)."
                    }
                    Some(Some(SelectBy::Accuracy)) => {
                        "The net that is scored and pruned is that of the best epoch of the training before, by accuracy on validation \
                         (pruning.prune_from: best)."
                    }
                }
            })
            .collect();
        let has_references = self.cells.iter().any(|cell| cell.control.is_some_and(Control::is_reference));
        let references = has_references.then_some(
            "Reference models are fitted on the train rows of the nets and have no seed, so every seed has the same result and intervals \
             over seeds have no width. The parameters of gradient boosting are the values of leaves and the thresholds of splits.",
        );
        methods.into_iter().chain(references).map(str::to_owned).collect()
    }
}

impl DataSummary {
    /// The parts that have so few rows of a class that what is measured, or learned, of it says little, and how the parts differ.
    #[must_use]
    pub fn cautions(&self) -> Vec<String> {
        (0..PARTS.len()).filter_map(|part| self.few_rows(part)).chain(self.change_of_population()).collect()
    }

    /// What changes between the parts: their times, or the share of positives between validation and test.
    #[expect(clippy::cast_precision_loss, reason = "counts of rows")]
    fn change_of_population(&self) -> Option<String> {
        let share = |class: &ClassRows, part: usize| class.rows[part] as f64 / self.rows[part].max(1) as f64;
        let shares = self.positive().map(|class| [0, 1, 2].map(|part| share(class, part)));
        let listed = shares.map(|shares| {
            let [train, validation, test] = shares.map(|share| format!("{:.2} %", 100.0 * share));
            format!("the share of positives is {train}, {validation} and {test}")
        });
        let so = "Intervals cover none of this; probabilities and cut-offs chosen on validation do not carry over";
        if self.periods.is_some() {
            let listed = listed.map(|listed| format!(": {listed}")).unwrap_or_default();
            return Some(format!(
                "validation is later than train and test later than both{listed}. {so}. The last periods may not have had time to default"
            ));
        }
        let [_, validation, test] = shares?;
        let listed = listed?;
        ((test - validation).abs() > MOST_CHANGE * validation)
            .then(|| format!("{listed} in train, validation and test. {so}"))
    }

    /// The same of one part.
    fn few_rows(&self, part: usize) -> Option<String> {
        let (name, rows) = (PARTS[part], self.rows[part]);
        let fewer_than = |bound: u64| self.classes.iter().filter(move |class| class.rows[part] < bound);
        let counts = |classes: &mut dyn Iterator<Item = &ClassRows>| {
            let counts: Vec<String> = classes
                .take(5)
                .map(|class| format!("{} of {rows} rows of the class {:?}", class.rows[part], class.name))
                .collect();
            counts.join(", ")
        };
        if fewer_than(FEWEST_ROWS as u64).next().is_some() {
            let counts = counts(&mut fewer_than(FEWEST_ROWS as u64));
            let so = if part == 0 {
                "too few to learn from"
            } else {
                "too few for any claim about how rows are ranked (auc, gini, ks, average_precision)"
            };
            return Some(format!("{name} has {counts}, fewer than {FEWEST_ROWS}: {so}"));
        }
        // Of many classes a claim is about all rows, not about one class against another.
        let [zero, one] = self.classes.as_slice() else { return None };
        fewer_than(ENOUGH_ROWS).next()?;
        let counts = counts(&mut fewer_than(ENOUGH_ROWS));
        let so = if part == 0 {
            "few to learn from".to_owned()
        } else {
            format!(
                "on another sample of this size, an AUC of {TYPICAL_AUC} would vary by ±{:.2}; intervals over seeds do not include this",
                1.96 * auc_error(TYPICAL_AUC, zero.rows[part], one.rows[part])
            )
        };
        Some(format!("{name} has {counts}, fewer than {ENOUGH_ROWS}: {so}"))
    }
}

/// The AUC that cautions speak of.
const TYPICAL_AUC: f64 = 0.8;

/// Returns the standard error of an AUC over `zeros` and `ones` rows of the two classes (Hanley & McNeil 1982).
#[expect(clippy::cast_precision_loss, reason = "counts of rows")]
fn auc_error(auc: f64, zeros: u64, ones: u64) -> f64 {
    let (zeros, ones) = (zeros as f64, ones as f64);
    let (two_ones, two_zeros) = (auc / (2.0 - auc), 2.0 * auc * auc / (1.0 + auc));
    let square = auc * auc;
    let sum = auc * (1.0 - auc) + (ones - 1.0) * (two_ones - square) + (zeros - 1.0) * (two_zeros - square);
    (sum / (zeros * ones)).sqrt()
}

#[cfg(test)]
mod tests {
    use secateur_proto::ids::ContentHash;

    use super::*;
    use crate::experiment::plan::Periods;

    #[test]
    fn another_share_of_positives_in_test_is_a_caution() {
        let summary = |validation: u64, test: u64| DataSummary {
            path: "table.csv".to_owned(),
            hash: ContentHash::of(b"table"),
            size: 5,
            rows: [3_000, 1_000, 1_000],
            classes: vec![
                ClassRows { name: "0".to_owned(), rows: [2_400, 1_000 - validation, 1_000 - test] },
                ClassRows { name: "1".to_owned(), rows: [600, validation, test] },
            ],
            columns: 2,
            inputs: 2,
            image: None,
            periods: None,
            notes: Vec::new(),
        };
        assert_eq!(summary(200, 249).cautions(), Vec::<String>::new());
        assert_eq!(summary(200, 251).cautions().len(), 1);
        assert_eq!(summary(200, 149).cautions().len(), 1);
        let parts = [["2007", "2012"], ["2013", "2013"], ["2014", "2015"]].map(|part| part.map(str::to_owned));
        let periods = Some(Periods { column: "issued".to_owned(), parts });
        let later = DataSummary { periods, ..summary(200, 200) };
        assert!(later.cautions()[0].contains("20.00 %, 20.00 % and 20.00 %"), "{:?}", later.cautions());
    }

    /// Of scores that say nothing, the variance is that of the Mann–Whitney statistic: (m + n + 1) / (12 · m · n).
    #[test]
    fn of_an_auc_of_one_half_the_error_is_that_of_mann_and_whitney() {
        for (zeros, ones) in [(1_u32, 1_u32), (140, 60), (11_999, 1), (51, 58)] {
            let expected = (f64::from(zeros + ones + 1) / (12.0 * f64::from(zeros) * f64::from(ones))).sqrt();
            let found = auc_error(0.5, zeros.into(), ones.into());
            assert!((found - expected).abs() < 1e-12, "{found} instead of {expected}");
        }
    }
}
