//! What cells and trials have, by quantity: of whole splits, of slices, and of the net alike.

use secateur_proto::metrics::Quantity;

use super::{CellReport, TrialReport};
use crate::{
    experiment::plan::Control,
    report::{
        rows::Total,
        statistics::{Paired, Summary},
    },
};

impl CellReport {
    /// The mean of `quantity` over the seeds and its uncertainty. Returns `None` if no seed has a value.
    #[must_use]
    pub fn summary(&self, quantity: &Quantity) -> Option<Summary> {
        let whole = self.metrics.get(quantity).copied();
        whole.or_else(|| self.quantities.get(quantity)?.summary())
    }

    /// This cell's `quantity` minus that of the baseline.
    #[must_use]
    pub fn minus_baseline(&self, quantity: &Quantity) -> Option<Paired> {
        let whole = self.difference_to_baseline.as_ref().and_then(|all| all.get(quantity)).copied();
        whole.or_else(|| self.quantities.get(quantity)?.difference_to_baseline)
    }

    /// The mean of `quantity` with the uncertainty of seeds, and of rows where that is known.
    pub(in crate::report) fn total(&self, quantity: &Quantity) -> Option<Total> {
        let known = self.uncertainty.get(quantity).map(|found| found.value);
        known.or_else(|| Some(Total::of_seeds(&self.summary(quantity)?)))
    }

    /// The same of its difference to the baseline.
    pub(in crate::report) fn total_difference(&self, quantity: &Quantity) -> Option<Total> {
        let known = self.uncertainty.get(quantity).and_then(|found| found.difference_to_baseline);
        known.or_else(|| Some(Total::of_seeds(&self.minus_baseline(quantity)?.summary)))
    }

    /// This cell's `quantity` minus that of its own dense control, trained with the same settings.
    #[must_use]
    pub fn minus_dense(&self, quantity: &Quantity) -> Option<Paired> {
        let whole = self.difference_to_dense.as_ref().and_then(|all| all.get(quantity)).copied();
        whole.or_else(|| self.quantities.get(quantity)?.difference_to_dense)
    }

    /// This cell's `quantity` minus that of its random control.
    #[must_use]
    pub fn minus_random(&self, quantity: &Quantity) -> Option<Paired> {
        let whole = self.difference_to_random.as_ref().and_then(|all| all.get(quantity)).copied();
        whole.or_else(|| self.quantities.get(quantity)?.difference_to_random)
    }

    /// This cell's `quantity` minus that of its small dense net.
    #[must_use]
    pub fn minus_scratch(&self, quantity: &Quantity) -> Option<Paired> {
        let whole = self.difference_to_scratch.as_ref().and_then(|all| all.get(quantity)).copied();
        whole.or_else(|| self.quantities.get(quantity)?.difference_to_scratch)
    }

    /// This cell's `quantity` minus that of a control of another kind.
    #[must_use]
    pub fn minus_other(&self, control: Control, quantity: &Quantity) -> Option<Paired> {
        self.other_controls.get(&control)?.difference.get(quantity).copied()
    }

    /// The mean of `quantity`.
    pub(in crate::report) fn mean(&self, quantity: &Quantity) -> Option<f64> {
        self.summary(quantity).map(|summary| summary.mean)
    }

    /// Everything that it has a mean of.
    pub(in crate::report) fn measured(&self) -> impl Iterator<Item = &Quantity> {
        let others = self.quantities.iter().filter(|(_, report)| report.mean.is_some());
        self.metrics.iter().map(|(quantity, _)| quantity).chain(others.map(|(quantity, _)| quantity))
    }
}

impl TrialReport {
    /// The value of `quantity`, if there is one.
    #[must_use]
    pub fn value(&self, quantity: &Quantity) -> Option<f64> {
        let whole = self.metrics.get(quantity).copied();
        whole.or_else(|| self.quantities.get(quantity)?.value)
    }

    /// Everything that it has a value of.
    pub(in crate::report) fn values(&self) -> impl Iterator<Item = (&Quantity, f64)> {
        let others = self.quantities.iter().filter_map(|(quantity, found)| Some((quantity, found.value?)));
        self.metrics.iter().map(|(quantity, value)| (quantity, *value)).chain(others)
    }
}
