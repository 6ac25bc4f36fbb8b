//! A row for each quantity of each cell minus the same of a control, paired by seed.

use secateur_proto::{ids::CellId, metrics::Quantity};

use super::{DataTable, Kind, QUANTITY, STATISTICS, TableSpec, Value, columns, quantity, statistics};
use crate::{
    experiment::plan::Control,
    report::{
        model::{CellReport, Report},
        statistics::Paired,
    },
};

pub(super) const TABLE: TableSpec = TableSpec { name: "differences", of };

/// What a cell is compared with.
#[derive(Clone, Copy)]
enum Other<'a> {
    Baseline(&'a CellId),
    Control(Control, &'a CellId),
}

fn of(report: &Report) -> DataTable<'_> {
    let head = [("cell", Kind::Text), ("minus", Kind::Text), ("minus_cell", Kind::Text)];
    let tail = [("n_better", Kind::Integer), ("n_worse", Kind::Integer)];
    let columns = columns(head.into_iter().chain(QUANTITY).chain(STATISTICS).chain(tail));
    let rows = report.cells.iter().flat_map(move |cell| {
        others(report, cell).into_iter().flat_map(move |other| {
            cell.measured().filter_map(move |name| {
                let paired = other.difference(cell, name)?;
                let total = match other {
                    Other::Baseline(_) => cell.total_difference(name),
                    Other::Control(..) => None,
                };
                let head: [Value<'_>; 4] = [
                    report.sweep.id.as_str().into(),
                    cell.id.as_str().into(),
                    other.name().into(),
                    other.cell().as_str().into(),
                ];
                let tail: [Value<'_>; 2] = [paired.n_better.into(), paired.n_worse.into()];
                let found = statistics(Some(paired.summary), total);
                Some(head.into_iter().chain(quantity(name)).chain(found).chain(tail).collect())
            })
        })
    });
    DataTable { columns, rows: Box::new(rows) }
}

fn others<'a>(report: &'a Report, cell: &'a CellReport) -> Vec<Other<'a>> {
    let baseline = report.baseline.as_ref().filter(|baseline| baseline.cell != cell.id);
    let named = [
        (Control::Dense, &cell.dense_control),
        (Control::Random, &cell.random_control),
        (Control::ScratchEpochs, &cell.scratch_control),
    ];
    let named = named.into_iter().filter_map(|(control, id)| Some(Other::Control(control, id.as_ref()?)));
    let rest = cell.other_controls.iter().map(|(control, found)| Other::Control(*control, &found.cell));
    baseline.map(|baseline| Other::Baseline(&baseline.cell)).into_iter().chain(named).chain(rest).collect()
}

impl<'a> Other<'a> {
    /// `baseline`, or the name of the control.
    const fn name(self) -> &'static str {
        match self {
            Self::Baseline(_) => "baseline",
            Self::Control(control, _) => control.name(),
        }
    }

    const fn cell(self) -> &'a CellId {
        match self {
            Self::Baseline(cell) | Self::Control(_, cell) => cell,
        }
    }

    fn difference(self, cell: &CellReport, name: &Quantity) -> Option<Paired> {
        match self {
            Self::Baseline(_) => cell.minus_baseline(name),
            Self::Control(Control::Dense, _) => cell.minus_dense(name),
            Self::Control(Control::Random, _) => cell.minus_random(name),
            Self::Control(Control::ScratchEpochs, _) => cell.minus_scratch(name),
            Self::Control(other, _) => cell.minus_other(other, name),
        }
    }
}
