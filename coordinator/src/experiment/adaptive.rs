//! Seeds that are added while results come in: how many there may be, what was decided, and the part of the plan that a decision comes to.
//!
//! Which cells get seeds is decided from a report (`report::seeds`). What is decided is part of the plan, so a coordinator that starts
//! again continues from it.

use std::collections::{BTreeSet, HashMap, HashSet};

use secateur_proto::{
    ids::{CellId, StageKey},
    vocabulary,
};
use serde::{Deserialize, Serialize};

use super::plan::{InvalidPlan, PackedPlan, Plan, PlannedStage, SweepInfo, Trial};

/// The fewest seeds that an interval is worth looking at: with two it is 13 standard errors wide on each side.
pub(crate) const FEWEST_SEEDS: u32 = 3;

vocabulary! {
    /// When no more seeds are added.
    pub enum Until {
        /// The place of each cell on the front, and which cell is the smallest that is as good as the baseline, are decided.
        FrontSettled = "front_settled",
    }
}

/// What the sweep file says of seeds that are added while results come in. Seeds are 0, 1, 2 and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdaptiveSeeds {
    /// The seeds of each cell at the beginning.
    pub min: u32,
    /// The most seeds of a cell.
    pub max: u32,
    /// How many a contested cell gets in a round.
    pub step: u32,
    /// When no more are added.
    pub until: Until,
}

impl AdaptiveSeeds {
    /// How many are added in a round unless the file says it.
    pub const STEP: u32 = 2;

    /// The seeds of the cells that got some in each of `rounds` rounds.
    #[must_use]
    pub const fn after(&self, rounds: u32) -> u32 {
        let seeds = self.min.saturating_add(rounds.saturating_mul(self.step));
        if seeds < self.max { seeds } else { self.max }
    }

    /// The most rounds that there can be.
    #[must_use]
    pub const fn rounds(&self) -> u32 {
        self.max.saturating_sub(self.min).div_ceil(if self.step == 0 { 1 } else { self.step })
    }

    /// How often results are looked at, at most: before each round and after the last.
    #[must_use]
    pub const fn looks(&self) -> u32 {
        self.rounds() + 1
    }
}

vocabulary! {
    /// Why a cell gets further seeds.
    #[derive(PartialOrd, Ord)]
    pub enum Why {
        /// Whether it is on the front is not decided.
        Front = "front",
        /// Whether it is as good as the baseline is not decided, and it would be the smallest that is.
        Margin = "margin",
    }
}

/// A cell that gets further seeds because results do not decide about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContestedCell {
    /// Which.
    pub cell: CellId,
    /// What is not decided; at least one.
    pub why: BTreeSet<Why>,
    /// A cell beside which its place on the front is not decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rival: Option<CellId>,
}

/// What was decided after a look at the results: which cells get further seeds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedRound {
    /// From 1.
    pub number: u32,
    /// The seeds of each contested cell, and of what it is compared with, after the round.
    pub seeds: u32,
    /// In the order of the plan; at least one.
    pub contested: Vec<ContestedCell>,
    /// The cells that got seeds because a contested one is compared with them, in the order of the plan.
    pub compared: Vec<CellId>,
    /// The front before the round.
    pub front: Vec<CellId>,
    /// The smallest cell that was shown to be as good as the baseline before the round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smallest: Option<CellId>,
}

impl SeedRound {
    /// The cells that get seeds.
    fn cells(&self) -> impl Iterator<Item = &CellId> {
        self.contested.iter().map(|contested| &contested.cell).chain(&self.compared)
    }

    /// The number of contested cells for that reason.
    #[must_use]
    pub fn count(&self, why: Why) -> usize {
        self.contested.iter().filter(|contested| contested.why.contains(&why)).count()
    }
}

impl SweepInfo {
    /// How far a sweep is that adds seeds, in words. `None` if it adds none.
    #[must_use]
    pub fn seeds_so_far(&self) -> Option<String> {
        let AdaptiveSeeds { min, max, .. } = self.adaptive?;
        Some(match self.rounds.last() {
            None => format!("{min} seeds of each cell first, then up to {max} of contested cells"),
            Some(round) => format!(
                "round {} gives contested cells {} seeds (up to {max}): {} for their place on the front, {} for the margin",
                round.number,
                round.seeds,
                round.count(Why::Front),
                round.count(Why::Margin),
            ),
        })
    }
}

/// The part of a sweep's plan that a round comes to: the further trials of its cells, and every stage that they need. It lists no cells, since
/// all are known. `plan` is that of all earlier parts.
///
/// # Errors
/// A defect: the part contradicts itself.
pub fn part(plan: &Plan, round: SeedRound) -> Result<PackedPlan, InvalidPlan> {
    let stages: HashMap<StageKey, &PlannedStage> = plan.stages.iter().map(|stage| (stage.key, stage)).collect();
    let wanted: HashSet<&CellId> = round.cells().collect();
    let mut seeds: HashMap<&CellId, BTreeSet<u64>> = HashMap::new();
    let mut first: Vec<&Trial> = Vec::new();
    for trial in plan.trials.iter().filter(|trial| wanted.contains(&trial.cell)) {
        let of_cell = seeds.entry(&trial.cell).or_default();
        if of_cell.is_empty() {
            first.push(trial);
        }
        of_cell.insert(trial.seed);
    }
    let mut chains: Vec<(&CellId, u64, Vec<PlannedStage>)> = Vec::new();
    for trial in first {
        let known = seeds.get(&trial.cell).cloned().unwrap_or_default();
        for seed in (0..u64::from(round.seeds)).filter(|seed| !known.contains(seed)) {
            chains.push((&trial.cell, seed, with_seed(trial, seed, &stages)));
        }
    }
    let mut listed = HashSet::new();
    let deepest = chains.iter().map(|(_, _, chain)| chain.len()).max().unwrap_or(0);
    // Depth by depth: stages that can share a bundle come together.
    let of_depth = |depth: usize| chains.iter().filter_map(move |(_, _, chain)| chain.get(depth));
    let ordered = (0..deepest).flat_map(of_depth).filter(|stage| listed.insert(stage.key)).cloned().collect();
    let trial = |(cell, seed, chain): &(&CellId, u64, Vec<PlannedStage>)| {
        Trial::new((*cell).clone(), *seed, chain.iter().map(|stage| stage.key).collect())
    };
    let trials = chains.iter().map(trial).collect();
    let rounds = plan.sweep.rounds.iter().cloned().chain([round]).collect();
    let sweep = SweepInfo { rounds, ..plan.sweep.clone() };
    PackedPlan::of(&Plan { sweep, stages: ordered, cells: Vec::new(), trials, merged: Vec::new(), refused: Vec::new() })
}

/// The stages of a trial, as they are with another seed.
fn with_seed(trial: &Trial, seed: u64, stages: &HashMap<StageKey, &PlannedStage>) -> Vec<PlannedStage> {
    let mut renamed: HashMap<StageKey, StageKey> = HashMap::new();
    let mut chain = Vec::with_capacity(trial.stages.len());
    for planned in trial.stages.iter().filter_map(|key| stages.get(key)) {
        let spec = planned.spec.with_seed(seed, &|key| renamed.get(&key).copied().unwrap_or(key));
        let key = spec.key();
        renamed.insert(planned.key, key);
        let bundle_class = spec.bundle_class();
        chain.push(PlannedStage { key, spec, bundle_class, ..(*planned).clone() });
    }
    chain
}
