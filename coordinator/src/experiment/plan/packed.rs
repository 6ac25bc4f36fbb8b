//! A plan as those keep it who keep many: small. What is asked for all the time is there as numbers; specs, cells and what was left out
//! are compressed texts.
//!
//! There is none that contradicts itself: whoever has one need not check that parents come before children.

mod json;
mod pieces;

use std::collections::{BTreeMap, HashMap, HashSet};

use secateur_proto::{
    ids::{BundleClass, CellId, ContentHash, StageKey, TrialId},
    outcome::Artifacts,
    spec::StageSpec,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Cell, Merged, Plan, PlannedStage, Refused, SweepInfo, Trial, texts::Texts};

/// A [`Plan`], kept small. Stages and trials are named by their position in it.
#[derive(Debug, Clone, PartialEq)]
pub struct PackedPlan {
    /// What the sweep is called and aims at.
    pub sweep: SweepInfo,
    lists: Lists,
}

/// All of a plan but what the sweep is.
#[derive(Debug, Clone, Default, PartialEq)]
struct Lists {
    stages: Vec<Stage>,
    /// The parents of all stages, as positions of stages.
    parents: Vec<u32>,
    /// Each class once, and whether there are lanes of it.
    classes: Vec<(BundleClass, bool)>,
    /// Of the stages that were given some.
    given: BTreeMap<u32, Artifacts>,
    specs: Texts,
    /// Of each stage, whether it leaves a net.
    nets: Vec<bool>,
    trials: Vec<TrialEntry>,
    /// The stages of all trials, as positions of stages.
    of_trials: Vec<u32>,
    /// The cells that trials are of, each once.
    cell_ids: Vec<CellId>,
    cells: Texts,
    merged: Texts,
    refused: Texts,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Stage {
    key: StageKey,
    lane_steps: u64,
    class: u32,
    /// Where in `parents` the next stage's begin.
    parents_end: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct TrialEntry {
    seed: u64,
    cell: u32,
    /// Where in `of_trials` the next trial's begin.
    stages_end: u32,
}

/// A [`Trial`] that names its stages by their positions, which is shorter.
#[derive(Debug, Serialize, Deserialize)]
struct NumberedTrial {
    cell: CellId,
    seed: u64,
    stages: Vec<u32>,
}

/// A plan that contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPlan {
    /// A stage is listed before what it reads.
    #[error("stage {stage} comes before its parent {parent}, or without it")]
    BeforeItsParent {
        /// Which.
        stage: StageKey,
        /// What it reads.
        parent: StageKey,
    },
    /// A stage is listed again.
    #[error("stage {0} is there twice")]
    StageTwice(StageKey),
    /// A trial is listed again.
    #[error("trial {0} is there twice")]
    TrialTwice(TrialId),
    /// A trial's id is not made of its cell and its seed.
    #[error("trial {0} is called as no trial of its cell and seed is")]
    Misnamed(TrialId),
    /// A trial comes to nothing.
    #[error("trial {0} has no stage")]
    NoStage(TrialId),
    /// A trial has a stage that is not listed.
    #[error("trial {trial} has a stage that is not in the plan: {stage}")]
    UnknownStage {
        /// Which.
        trial: TrialId,
        /// What it has.
        stage: StageKey,
    },
    /// The same by number.
    #[error("trial {trial} has a stage that is not in the plan: number {stage}")]
    NoSuchStage {
        /// Which.
        trial: TrialId,
        /// What it has.
        stage: u32,
    },
    /// A trial would end before one of the stages whose results are its own.
    #[error("trial {trial} does not wait for its stage {stage}")]
    NotAwaited {
        /// Which.
        trial: TrialId,
        /// The stage that nothing behind it reads.
        stage: StageKey,
    },
    /// There are more than can be numbered.
    #[error("it has more than {} stages or trials", u32::MAX)]
    TooLong,
}

impl PackedPlan {
    /// Packs a plan.
    ///
    /// # Errors
    /// If the plan contradicts itself.
    pub fn of(plan: &Plan) -> Result<Self, InvalidPlan> {
        let mut packer = Packer::default();
        plan.stages.iter().try_for_each(|stage| packer.stage(stage))?;
        plan.trials.iter().try_for_each(|trial| packer.trial(trial))?;
        plan.cells.iter().for_each(|cell| packer.cell(cell));
        plan.merged.iter().for_each(|merged| packer.merged(merged));
        plan.refused.iter().for_each(|refused| packer.refused(refused));
        Ok(packer.finish(plan.sweep.clone()))
    }

    /// The plan that was packed.
    #[must_use]
    pub fn unpack(&self) -> Plan {
        Plan {
            sweep: self.sweep.clone(),
            stages: self.stages().collect(),
            cells: self.cells().collect(),
            trials: self.trials().collect(),
            merged: self.merged().collect(),
            refused: self.refused().collect(),
        }
    }

    /// The plan of a sweep of which nothing is left but what it was called.
    #[must_use]
    pub fn nothing_of(&self) -> Self {
        Packer::default().finish(self.sweep.clone())
    }

    /// Whether two plans have the same stages and the same trials.
    #[must_use]
    pub fn has_the_work_of(&self, other: &Self) -> bool {
        self.keys().eq(other.keys()) && self.trials().eq(other.trials())
    }

    /// How many stages there are.
    #[must_use]
    pub const fn stage_count(&self) -> usize {
        self.lists.stages.len()
    }

    /// How many trials there are.
    #[must_use]
    pub const fn trial_count(&self) -> usize {
        self.lists.trials.len()
    }

    /// The key of the stage at `stage`.
    ///
    /// # Panics
    /// As all that take a position: if there is nothing at it.
    #[must_use]
    pub fn key(&self, stage: usize) -> StageKey {
        self.lists.stages[stage].key
    }

    /// The keys of all stages.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = StageKey> + '_ {
        self.lists.stages.iter().map(|stage| stage.key)
    }

    /// The optimiser steps of a stage.
    #[must_use]
    pub fn lane_steps(&self, stage: usize) -> u64 {
        self.lists.stages[stage].lane_steps
    }

    /// The class of a stage, if it may share a bundle.
    #[must_use]
    pub fn shared_class(&self, stage: usize) -> Option<&BundleClass> {
        let (class, bundled) = &self.lists.classes[self.lists.stages[stage].class as usize];
        bundled.then_some(class)
    }

    /// The stages that a stage reads, as positions, each once.
    pub fn parents(&self, stage: usize) -> impl ExactSizeIterator<Item = usize> + '_ {
        self.lists.parents(stage).iter().map(|parent| *parent as usize)
    }

    /// Files of a stage that are there before any stage has run.
    #[must_use]
    pub fn given(&self, stage: usize) -> Artifacts {
        u32::try_from(stage).ok().and_then(|stage| self.lists.given.get(&stage)).cloned().unwrap_or_default()
    }

    /// Returns the files that the sweep was given: its data, weights, and whatever its stages begin with.
    pub fn files(&self) -> impl Iterator<Item = ContentHash> + '_ {
        let given = self.lists.given.values().flat_map(Artifacts::values).map(|artifact| artifact.hash);
        let weights = self.sweep.weights.as_ref().map(|weights| weights.hash);
        [self.sweep.data.hash].into_iter().chain(weights).chain(given)
    }

    /// What a stage is to do.
    #[must_use]
    pub fn spec(&self, stage: usize) -> StageSpec {
        read(&self.lists.specs.get(stage).expect("each stage has a spec"))
    }

    /// The last stage of a trial, as a position.
    #[must_use]
    pub fn last_stage(&self, trial: usize) -> usize {
        self.lists.of_trials[self.lists.trials[trial].stages_end as usize - 1] as usize
    }

    /// The stages whose results together are a trial's, as positions: the one that leaves its net, and those behind it. Almost always
    /// one. All of them, if none leaves a net.
    #[must_use]
    pub fn result_stages(&self, trial: usize) -> impl DoubleEndedIterator<Item = usize> + '_ {
        let begin = trial.checked_sub(1).map_or(0, |before| self.lists.trials[before].stages_end);
        let stages = &self.lists.of_trials[begin as usize..self.lists.trials[trial].stages_end as usize];
        self.lists.with_the_net(stages).iter().map(|stage| *stage as usize)
    }

    /// What a trial is called.
    #[must_use]
    pub fn trial_id(&self, trial: usize) -> TrialId {
        let trial = &self.lists.trials[trial];
        trial_id(&self.lists.cell_ids[trial.cell as usize], trial.seed)
    }

    /// A trial.
    #[must_use]
    pub fn trial(&self, trial: usize) -> Trial {
        let NumberedTrial { cell, seed, stages } = self.numbered_trial(trial);
        let stages = stages.iter().map(|stage| self.key(*stage as usize)).collect();
        Trial { id: trial_id(&cell, seed), cell, seed, stages }
    }

    fn numbered_trial(&self, trial: usize) -> NumberedTrial {
        let begin = trial.checked_sub(1).map_or(0, |before| self.lists.trials[before].stages_end);
        let TrialEntry { seed, cell, stages_end } = self.lists.trials[trial];
        let stages = self.lists.of_trials[begin as usize..stages_end as usize].to_vec();
        NumberedTrial { cell: self.lists.cell_ids[cell as usize].clone(), seed, stages }
    }

    /// All trials.
    pub fn trials(&self) -> impl ExactSizeIterator<Item = Trial> + '_ {
        (0..self.lists.trials.len()).map(|trial| self.trial(trial))
    }

    /// Where the trial of that name is.
    #[must_use]
    pub fn find_trial(&self, id: &TrialId) -> Option<usize> {
        let (cell, seed) = id.as_str().rsplit_once('-')?;
        let seed: u64 = seed.parse().ok()?;
        let is_it =
            |trial: &TrialEntry| trial.seed == seed && self.lists.cell_ids[trial.cell as usize].as_str() == cell;
        self.lists.trials.iter().position(is_it)
    }

    fn stages(&self) -> impl Iterator<Item = PlannedStage> + '_ {
        let stages = self.lists.stages.iter().enumerate();
        stages.zip(self.lists.specs.iter_from(0)).map(|((position, stage), spec)| {
            let (bundle_class, bundled) = self.lists.classes[stage.class as usize].clone();
            let (key, lane_steps, given) = (stage.key, stage.lane_steps, self.given(position));
            PlannedStage { key, spec: read(&spec), given, bundle_class, bundled, lane_steps }
        })
    }

    /// The trials from this position on.
    fn numbered_trials(&self, from: usize) -> impl Iterator<Item = NumberedTrial> + '_ {
        (from..self.lists.trials.len()).map(|trial| self.numbered_trial(trial))
    }

    fn cells(&self) -> impl Iterator<Item = Cell> + '_ {
        self.lists.cells.iter_from(0).map(|text| read(&text))
    }

    fn merged(&self) -> impl Iterator<Item = Merged> + '_ {
        self.lists.merged.iter_from(0).map(|text| read(&text))
    }

    fn refused(&self) -> impl Iterator<Item = Refused> + '_ {
        self.lists.refused.iter_from(0).map(|text| read(&text))
    }
}

impl Lists {
    fn parents(&self, stage: usize) -> &[u32] {
        let begin = stage.checked_sub(1).map_or(0, |before| self.stages[before].parents_end);
        &self.parents[begin as usize..self.stages[stage].parents_end as usize]
    }

    /// Those of a trial's stages, from the last one on that leaves a net.
    fn with_the_net<'s>(&self, stages: &'s [u32]) -> &'s [u32] {
        &stages[stages.iter().rposition(|stage| self.nets[*stage as usize]).unwrap_or(0)..]
    }

    /// Nothing more comes: they take no more room than they must.
    fn shrink(&mut self) {
        self.nets.shrink_to_fit();
        self.stages.shrink_to_fit();
        self.parents.shrink_to_fit();
        self.trials.shrink_to_fit();
        self.of_trials.shrink_to_fit();
        self.cell_ids.shrink_to_fit();
        [&mut self.specs, &mut self.cells, &mut self.merged, &mut self.refused].into_iter().for_each(Texts::shrink);
    }
}

fn trial_id(cell: &CellId, seed: u64) -> TrialId {
    format!("{cell}-{seed}").parse().expect("a cell id and a number are safe")
}

fn written(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("it is plain data")
}

fn read<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).expect("it was written here")
}

/// A plan that is being packed: stages and trials, each after what it needs; the rest in any order.
#[derive(Debug, Default)]
pub struct Packer {
    lists: Lists,
    positions: HashMap<StageKey, u32>,
    class_numbers: HashMap<(BundleClass, bool), u32>,
    cell_numbers: HashMap<CellId, u32>,
    /// The seeds of each cell's trials.
    taken: HashSet<(u32, u64)>,
}

impl Packer {
    /// Whether a stage is there.
    #[must_use]
    pub fn has(&self, stage: &StageKey) -> bool {
        self.positions.contains_key(stage)
    }

    /// Adds a stage.
    ///
    /// # Errors
    /// If it is there, what it reads is not, or there are too many.
    pub fn stage(&mut self, stage: &PlannedStage) -> Result<(), InvalidPlan> {
        let position = next(self.lists.stages.len())?;
        let first = self.lists.parents.len();
        for parent in stage.spec.parents() {
            let unknown = || InvalidPlan::BeforeItsParent { stage: stage.key, parent };
            let parent = *self.positions.get(&parent).ok_or_else(unknown)?;
            if !self.lists.parents[first..].contains(&parent) {
                self.lists.parents.push(parent);
            }
        }
        if self.positions.insert(stage.key, position).is_some() {
            return Err(InvalidPlan::StageTwice(stage.key));
        }
        let class =
            number_of(&mut self.lists.classes, &mut self.class_numbers, &(stage.bundle_class.clone(), stage.bundled))?;
        if !stage.given.is_empty() {
            self.lists.given.insert(position, stage.given.clone());
        }
        self.lists.specs.push(&written(&stage.spec));
        self.lists.nets.push(stage.spec.leaves_net());
        let (key, lane_steps, parents_end) = (stage.key, stage.lane_steps, next(self.lists.parents.len())?);
        self.lists.stages.push(Stage { key, lane_steps, class, parents_end });
        Ok(())
    }

    /// Adds a trial.
    ///
    /// # Errors
    /// If it is there, one of its stages is not, it is misnamed, or there are too many.
    pub fn trial(&mut self, trial: &Trial) -> Result<(), InvalidPlan> {
        if trial.id != trial_id(&trial.cell, trial.seed) {
            return Err(InvalidPlan::Misnamed(trial.id.clone()));
        }
        let position = |stage: &StageKey| {
            let unknown = || InvalidPlan::UnknownStage { trial: trial.id.clone(), stage: *stage };
            self.positions.get(stage).copied().ok_or_else(unknown)
        };
        let stages = trial.stages.iter().map(position).collect::<Result<_, _>>()?;
        self.numbered_trial(&NumberedTrial { cell: trial.cell.clone(), seed: trial.seed, stages })
    }

    fn numbered_trial(&mut self, trial: &NumberedTrial) -> Result<(), InvalidPlan> {
        next(self.lists.trials.len())?;
        let id = || trial_id(&trial.cell, trial.seed);
        let cell = number_of(&mut self.lists.cell_ids, &mut self.cell_numbers, &trial.cell)?;
        if !self.taken.insert((cell, trial.seed)) {
            return Err(InvalidPlan::TrialTwice(id()));
        }
        if trial.stages.is_empty() {
            return Err(InvalidPlan::NoStage(id()));
        }
        if let Some(stage) = trial.stages.iter().find(|stage| **stage as usize >= self.lists.stages.len()) {
            return Err(InvalidPlan::NoSuchStage { trial: id(), stage: *stage });
        }
        // Once the last stage has completed, so have all whose results are the trial's.
        let mut awaited: Vec<u32> = trial.stages.last().copied().into_iter().collect();
        for stage in self.lists.with_the_net(&trial.stages).iter().rev() {
            if !awaited.contains(stage) {
                let stage = self.lists.stages[*stage as usize].key;
                return Err(InvalidPlan::NotAwaited { trial: id(), stage });
            }
            awaited.extend(self.lists.parents(*stage as usize));
        }
        self.lists.of_trials.extend(&trial.stages);
        self.lists.trials.push(TrialEntry { seed: trial.seed, cell, stages_end: next(self.lists.of_trials.len())? });
        Ok(())
    }

    /// Adds a cell.
    pub fn cell(&mut self, cell: &Cell) {
        self.lists.cells.push(&written(cell));
    }

    /// Adds a point of the grid that is the same work as another one.
    pub fn merged(&mut self, merged: &Merged) {
        self.lists.merged.push(&written(merged));
    }

    /// Adds a point of the grid that cannot be done.
    pub fn refused(&mut self, refused: &Refused) {
        self.lists.refused.push(&written(refused));
    }

    /// The plan of all that was added.
    #[must_use]
    pub fn finish(self, sweep: SweepInfo) -> PackedPlan {
        let mut lists = self.lists;
        lists.shrink();
        PackedPlan { sweep, lists }
    }
}

/// The position of what comes next.
fn next(length: usize) -> Result<u32, InvalidPlan> {
    u32::try_from(length).map_err(|_| InvalidPlan::TooLong)
}

/// The number of a value in a list that has each once.
fn number_of<T: Clone + Eq + std::hash::Hash>(
    list: &mut Vec<T>,
    numbers: &mut HashMap<T, u32>,
    value: &T,
) -> Result<u32, InvalidPlan> {
    if let Some(number) = numbers.get(value) {
        return Ok(*number);
    }
    let number = next(list.len())?;
    list.push(value.clone());
    numbers.insert(value.clone(), number);
    Ok(number)
}
