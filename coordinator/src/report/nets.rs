//! What the files of nets say beside their metrics: which columns of the table each net reads, and on which machine it was measured.
//! The files are read by the caller.

use secateur_proto::{
    ids::{CellId, ContentHash},
    outcome::Role,
};
use serde::{Deserialize, Serialize};

use super::{
    content::Grid,
    label::Labels,
    model::{CellReport, Report, TrialReport},
    number, ties,
};

/// The most nets that are read.
const MOST_NETS: usize = 1_000;

/// Reads the files of nets. `None` if a file is gone or damaged.
pub trait NetFiles {
    /// The columns of a preparation, and for each whether the net reads it.
    fn columns(&mut self, net: ContentHash, preparation: ContentHash) -> Option<Vec<(String, bool)>>;

    /// Where and by what a net was measured.
    fn machine(&mut self, measurement: ContentHash) -> Option<MeasuredOn>;
}

/// What the files of nets say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OfNets {
    inputs: Option<InputsRead>,
    machines: Vec<MachineReport>,
}

/// Which columns the nets of the front read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputsRead {
    /// The input columns of the table.
    pub columns: Vec<String>,
    /// Cells of the front, in its order.
    pub cells: Vec<CellInputs>,
}

/// Which columns the nets of a cell read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellInputs {
    /// The cell.
    pub cell: CellId,
    /// Nets of it: one for each seed that completed.
    pub nets: u64,
    /// By column, how many of them read it.
    pub read_by: Vec<u64>,
}

/// Where and by what a net was measured.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct MeasuredOn {
    /// With its version.
    pub engine: String,
    /// The machine.
    pub machine: Machine,
}

/// A machine while a net was measured.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Machine {
    /// Its name.
    pub processor: String,
    /// How many the process could use.
    pub cores: u64,
    /// Whether the thread stayed on one.
    pub pinned: bool,
    /// Processors that were busy beside the thread.
    pub busy_beside: Option<f64>,
}

/// Where and by what nets were measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MachineReport {
    /// With its version.
    pub engine: String,
    /// The name of the processor.
    pub processor: String,
    /// Processors that the process could use.
    pub cores: u64,
    /// Whether the thread stayed on one of them.
    pub pinned: bool,
    /// Nets that were measured so.
    pub nets: u64,
    /// The most processors that were busy beside the thread. `None` where the system does not say.
    pub busy_beside: Option<f64>,
}

/// Reads what the files of the nets of `report` say: the columns of the front's nets, and the machines of all, up to a bound.
pub fn of_nets(report: &Report, files: &mut dyn NetFiles) -> OfNets {
    OfNets { inputs: inputs(report, files), machines: machines(report, files) }
}

fn inputs(report: &Report, files: &mut dyn NetFiles) -> Option<InputsRead> {
    let mut left = MOST_NETS;
    let mut found: Option<InputsRead> = None;
    for cell in &report.front {
        let completed = report.trials.iter().filter(|trial| trial.cell == *cell && trial.outcome == "completed");
        let trials: Vec<&TrialReport> = completed.collect();
        let Some(rest) = left.checked_sub(trials.len()) else { break };
        left = rest;
        let nets: Option<Vec<Vec<(String, bool)>>> = (trials.iter())
            .map(|trial| {
                let hash = |role| trial.artifacts.get(&role).copied();
                files.columns(hash(Role::Checkpoint)?, hash(Role::Preparation)?)
            })
            .collect();
        let Some(nets) = nets.filter(|nets| !nets.is_empty()) else { continue };
        let columns: Vec<String> = nets[0].iter().map(|(name, _)| name.clone()).collect();
        if columns.is_empty() || nets.iter().any(|net| net.len() != columns.len()) {
            continue;
        }
        let count = |column: usize| nets.iter().filter(|net| net[column].1).count() as u64;
        let read_by = (0..columns.len()).map(count).collect();
        let found = found.get_or_insert_with(|| InputsRead { columns: columns.clone(), cells: Vec::new() });
        if found.columns == columns {
            found.cells.push(CellInputs { cell: cell.clone(), nets: nets.len() as u64, read_by });
        }
    }
    found
}

fn machines(report: &Report, files: &mut dyn NetFiles) -> Vec<MachineReport> {
    let mut found: Vec<MachineReport> = Vec::new();
    let measured = report.trials.iter().filter_map(|trial| trial.artifacts.get(&Role::Measurement).copied());
    for MeasuredOn { engine, machine } in measured.take(MOST_NETS).filter_map(|hash| files.machine(hash)) {
        let Machine { processor, cores, pinned, busy_beside } = machine;
        let own = MachineReport { engine, processor, cores, pinned, nets: 1, busy_beside };
        match found.iter().position(|other| other.key() == own.key()) {
            None => found.push(own),
            Some(place) => {
                let same = &mut found[place];
                same.nets += 1;
                same.busy_beside = [same.busy_beside, own.busy_beside].into_iter().flatten().reduce(f64::max);
            }
        }
    }
    found.sort_by(|one, other| one.key().cmp(&other.key()));
    found
}

impl MachineReport {
    /// What nets that were measured alike share.
    fn key(&self) -> (&str, &str, u64, bool) {
        (&self.engine, &self.processor, self.cores, self.pinned)
    }
}

impl OfNets {
    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.machines.len() + self.inputs.as_ref().map_or(0, |inputs| inputs.columns.len() + inputs.cells.len())
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Report {
    /// The same report with what the files of nets say.
    #[must_use]
    pub fn with_nets(mut self, nets: &OfNets) -> Self {
        self.inputs_read = nets.inputs.clone();
        self.machines = nets.machines.clone();
        self
    }
}

/// Of each point of the front, the columns that its nets do not read. Empty if all read all.
pub(super) fn unread_grid(report: &Report, labels: &Labels) -> Grid {
    let mut grid = Grid::of(&[
        ("cell", false),
        ("nets", true),
        ("read by all", true),
        ("read by none: need not be collected", false),
        ("read by some nets only", false),
        ("id", false),
    ]);
    let Some(read) = &report.inputs_read else { return grid };
    let points = ties::front_points(report);
    for cell in ties::first_cells(&points) {
        let Some(found) = read.cells.iter().find(|found| found.cell == cell.id) else { continue };
        let named = |keep: &dyn Fn(u64) -> Option<String>| {
            let columns = read.columns.iter().zip(&found.read_by);
            let names: Vec<String> =
                columns.filter_map(|(name, count)| Some(format!("{name}{}", keep(*count)?))).collect();
            if names.is_empty() { "–".to_owned() } else { names.join(", ") }
        };
        let all = found.read_by.iter().filter(|count| **count == found.nets).count();
        if all == read.columns.len() {
            continue;
        }
        let some = |count| (count > 0 && count < found.nets).then(|| format!(" ({count} of {})", found.nets));
        grid.rows.push(vec![
            labels.cell(cell),
            number::grouped(found.nets),
            format!("{all} of {}", read.columns.len()),
            named(&|count| (count == 0).then(String::new)),
            named(&some),
            cell.id.to_string(),
        ]);
    }
    grid
}

/// How the machines that nets were measured on are to be taken, in sentences. Empty if none was measured.
pub(super) fn machine_notes(report: &Report) -> Vec<String> {
    let mut notes: Vec<String> = report.machines.iter().map(machine_note).collect();
    if notes.is_empty() {
        return notes;
    }
    if notes.len() > 1 {
        notes.push(
            "The nets were not measured alike: compare the measured speed-ups, and no microseconds or rows per second."
                .to_owned(),
        );
    }
    notes.push(
        "Times were taken there and then and differ from run to run. A measured speed-up compares a net with a dense net of the original \
         architecture, timed in turns; a theoretical one compares it with itself without zeros. What the preparation of a row takes is not \
         in the times."
            .to_owned(),
    );
    notes
}

fn machine_note(found: &MachineReport) -> String {
    let MachineReport { engine, processor, cores, pinned, nets, busy_beside } = found;
    let kept = if *pinned { "kept on one processor" } else { "which the system moved between processors" };
    let beside = match busy_beside {
        None => "What else the machine did meanwhile is not known.".to_owned(),
        Some(busy) => {
            let told = format!("Other work kept at most {} processors busy meanwhile", number::fixed(*busy, 2));
            if *busy < 0.25 { told + "." } else { told + ": the times may be too long." }
        }
    };
    format!(
        "{} measured by {engine} on {processor} ({}), on one thread, {kept}. {beside}",
        number::count(*nets, "net"),
        number::count(*cores, "processor"),
    )
}

/// Cells that were measured, first those of the front, then the controls.
pub(super) fn measured_cells(report: &Report) -> Vec<&CellReport> {
    let points = ties::front_points(report);
    let is_measured = |cell: &&CellReport| cell.measured().any(|quantity| quantity.metric().needs_measuring());
    let controls = report.cells.iter().filter(|cell| cell.control);
    ties::first_cells(&points).into_iter().chain(controls).filter(is_measured).collect()
}
