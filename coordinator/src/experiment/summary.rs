//! A plan in numbers, for a person to decide whether to run it.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use secateur_proto::{ids::BundleClass, spec::StageSpec};
use serde::{Serialize, Serializer};

use super::{
    adaptive::AdaptiveSeeds,
    plan::{Merged, Periods, Plan, Refused},
};

/// What a plan comes to, and what sharing saves.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlanSummary {
    /// The sweep's name.
    pub name: String,
    /// The sweep's id.
    pub id: String,
    /// Rows for train, validation, test.
    pub rows: [u64; 3],
    /// Classes of the target.
    pub classes: usize,
    /// The positive one of two classes.
    pub positive: Option<String>,
    /// Of a split by time, which times the parts have.
    pub periods: Option<Periods>,
    /// What a person should know of the data.
    pub notes: Vec<String>,
    /// What the numbers of the sweep will not show.
    pub cautions: Vec<String>,
    /// Width of the prepared rows.
    pub inputs: u32,
    /// Cells that the file asks for and that will be computed.
    pub cells: usize,
    /// Cells that the planner added.
    pub controls: usize,
    /// Points that are the same work as another one.
    pub merged: Vec<Merged>,
    /// Points that cannot be done.
    pub refused: Vec<Refused>,
    /// Seeds of every cell; at first, if more are added while results come in.
    pub seeds: usize,
    /// How more are added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<AdaptiveSeeds>,
    /// Cells times seeds, controls among them.
    pub trials: usize,
    /// Stages that will be computed.
    pub stages: StageCounts,
    /// Stages if every trial ran its own.
    pub stages_without_sharing: StageCounts,
    /// Optimiser steps of one net each.
    pub lane_steps: u64,
    /// The same if every trial ran its own stages.
    pub lane_steps_without_sharing: u64,
    /// Lanes that can be trained together, the largest group first.
    pub bundles: Vec<BundleSummary>,
    /// Multiply-accumulates of all training steps, as of dense nets: forward, and backward at twice its cost.
    pub multiply_accumulates: f64,
}

/// Numbers of stages by the name of their kind, all kinds among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageCounts(Vec<(&'static str, usize)>);

impl StageCounts {
    fn none() -> Self {
        Self(StageSpec::KINDS.iter().map(|kind| (*kind, 0)).collect())
    }

    /// Of a kind.
    #[must_use]
    pub fn of(&self, kind: &str) -> usize {
        self.0.iter().find(|(name, _)| *name == kind).map_or(0, |(_, count)| *count)
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> usize {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// Those of the kinds that `others` has more stages of.
    fn fewer_than(&self, others: &Self) -> Self {
        let fewer = self.0.iter().filter(|(kind, count)| *count < others.of(kind));
        Self(fewer.copied().collect())
    }

    fn count(&mut self, spec: &StageSpec) {
        if let Some((_, count)) = self.0.iter_mut().find(|(kind, _)| *kind == spec.kind()) {
            *count += 1;
        }
    }
}

/// `1 prepare, 3 dense, 180 prune`.
impl fmt::Display for StageCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let present = self.0.iter().filter(|(_, count)| *count > 0);
        let present: Vec<String> = present.map(|(kind, count)| format!("{count} {kind}")).collect();
        if present.is_empty() { f.write_str("nothing") } else { f.write_str(&present.join(", ")) }
    }
}

impl Serialize for StageCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

/// Stages that can be lanes of one bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BundleSummary {
    /// Their class.
    pub class: BundleClass,
    /// The kind of their stages.
    pub stage: &'static str,
    /// How many there are.
    pub lanes: usize,
    /// Optimiser steps of all lanes.
    pub lane_steps: u64,
}

impl PlanSummary {
    /// Counts what is in `plan`.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let mut stages = StageCounts::none();
        let mut bundles: BTreeMap<&BundleClass, BundleSummary> = BTreeMap::new();
        let mut multiply_accumulates = 0.0;
        for stage in &plan.stages {
            stages.count(&stage.spec);
            let Some(training) = stage.spec.training() else { continue };
            #[expect(clippy::cast_precision_loss, reason = "an estimate")]
            let rows = plan.sweep.data.rows[0] as f64 * f64::from(training.spec.epochs);
            #[expect(clippy::cast_precision_loss, reason = "an estimate")]
            let step = 3.0 * training.model.macs() as f64;
            multiply_accumulates += rows * step;
            let bundle = bundles.entry(&stage.bundle_class).or_insert_with(|| BundleSummary {
                class: stage.bundle_class.clone(),
                stage: stage.spec.kind(),
                lanes: 0,
                lane_steps: 0,
            });
            bundle.lanes += 1;
            bundle.lane_steps = bundle.lane_steps.saturating_add(stage.lane_steps);
        }
        let by_key: HashMap<_, _> = plan.stages.iter().map(|stage| (stage.key, stage)).collect();
        let mut stages_without_sharing = StageCounts::none();
        let mut lane_steps_without_sharing = 0_u64;
        for stage in plan.trials.iter().flat_map(|trial| &trial.stages).filter_map(|key| by_key.get(key)) {
            stages_without_sharing.count(&stage.spec);
            lane_steps_without_sharing = lane_steps_without_sharing.saturating_add(stage.lane_steps);
        }
        let mut bundles: Vec<_> = bundles.into_values().collect();
        bundles.sort_by(|one, two| two.lane_steps.cmp(&one.lane_steps).then_with(|| one.class.cmp(&two.class)));
        let controls = plan.cells.iter().filter(|cell| cell.control.is_some()).count();
        Self {
            name: plan.sweep.name.clone(),
            id: plan.sweep.id.to_string(),
            rows: plan.sweep.data.rows,
            classes: plan.sweep.data.classes.len(),
            positive: plan.sweep.data.positive().map(|class| class.name.clone()),
            periods: plan.sweep.data.periods.clone(),
            notes: plan.sweep.data.notes.clone(),
            cautions: plan.cautions(),
            inputs: plan.sweep.data.inputs,
            cells: plan.cells.len() - controls,
            controls,
            merged: plan.merged.clone(),
            refused: plan.refused.clone(),
            seeds: plan.trials.len() / plan.cells.len().max(1),
            adaptive: plan.sweep.adaptive,
            trials: plan.trials.len(),
            stages,
            stages_without_sharing,
            lane_steps: plan.stages.iter().fold(0, |sum, stage| sum.saturating_add(stage.lane_steps)),
            lane_steps_without_sharing,
            bundles,
            multiply_accumulates,
        }
    }

    /// The part of the optimiser steps that sharing saves, from 0 to 1.
    #[must_use]
    pub fn saved(&self) -> f64 {
        if self.lane_steps_without_sharing == 0 {
            return 0.0;
        }
        #[expect(clippy::cast_precision_loss, reason = "a share for people")]
        let share = self.lane_steps as f64 / self.lane_steps_without_sharing as f64;
        1.0 - share
    }
}

/// Bundles or reasons shown one by one; the rest is counted.
const SHOWN: usize = 10;

/// `1 stage`, `2 stages`.
pub(crate) fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

impl fmt::Display for PlanSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [train, validation, test] = self.rows;
        writeln!(f, "sweep    {} ({})", self.name, self.id)?;
        let (classes, inputs) = (self.classes, self.inputs);
        let positive = self.positive.as_ref().map(|name| format!(", positive {name:?}")).unwrap_or_default();
        writeln!(
            f,
            "data     {train} train, {validation} validation, {test} test rows of {classes} classes{positive}; {inputs} inputs"
        )?;
        for (part, [first, last]) in self.periods.iter().flat_map(Periods::named) {
            writeln!(f, "         {part} from {first} to {last}")?;
        }
        for note in &self.notes {
            writeln!(f, "note     {note}")?;
        }
        for caution in &self.cautions {
            writeln!(f, "caution  {caution}")?;
        }
        writeln!(f, "cells    {} asked for, {} added", self.cells, counted(self.controls, "control"))?;
        let (cells, seeds) = (counted(self.cells + self.controls, "cell"), counted(self.seeds, "seed"));
        writeln!(f, "trials   {} ({cells} × {seeds})", self.trials)?;
        if let Some(AdaptiveSeeds { max, step, .. }) = self.adaptive {
            let round = counted(step as usize, "seed");
            writeln!(
                f,
                "then     {round} more in each round of the cells that results do not decide about, up to {max}"
            )?;
        }
        writeln!(
            f,
            "stages   {}: {} ({} without sharing)",
            self.stages.total(),
            self.stages,
            self.stages_without_sharing.total()
        )?;
        writeln!(
            f,
            "shared   {} for {}; sharing saves {:.0} % of the steps",
            self.stages.fewer_than(&self.stages_without_sharing),
            counted(self.trials, "trial"),
            100.0 * self.saved()
        )?;
        writeln!(
            f,
            "work     {} optimiser steps of one net ({} without sharing), about {:.2e} multiply-accumulates",
            self.lane_steps, self.lane_steps_without_sharing, self.multiply_accumulates
        )?;
        let shown = self.bundles.iter().take(SHOWN).map(|bundle| format!("{} {}", bundle.lanes, bundle.stage));
        let more = if self.bundles.len() > SHOWN { ", …" } else { "" };
        let shown = shown.collect::<Vec<_>>().join(", ");
        let groups = counted(self.bundles.len(), "group");
        write!(f, "bundles  {groups} of nets that can be trained together: {shown}{more}")?;
        by_reason(f, "merged", self.merged.iter().map(|point| point.reason.as_str()))?;
        by_reason(f, "refused", self.refused.iter().map(|point| point.reason.as_str()))
    }
}

/// Many points of a grid share a reason; the points themselves are in the data.
fn by_reason<'a>(f: &mut fmt::Formatter<'_>, title: &str, reasons: impl Iterator<Item = &'a str>) -> fmt::Result {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    let mut positions: HashMap<&str, usize> = HashMap::new();
    for reason in reasons {
        let position = *positions.entry(reason).or_insert(counts.len());
        match counts.get_mut(position) {
            Some((_, count)) => *count += 1,
            None => counts.push((reason, 1)),
        }
    }
    let total = counts.iter().map(|(_, count)| count).sum();
    if total > 0 {
        write!(f, "\n{title:8} {} of the grid", counted(total, "point"))?;
    }
    for (reason, count) in counts.iter().take(SHOWN) {
        write!(f, "\n         {count} × {reason}")?;
    }
    if counts.len() > SHOWN {
        write!(f, "\n         … and {}", counted(counts.len() - SHOWN, "more reason"))?;
    }
    Ok(())
}
