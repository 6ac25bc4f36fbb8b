//! From a sweep's points to the plan: cells, trials and the stages that they share. A plain function of the spec and of what is known
//! of the files that it names.

mod references;

use std::collections::{BTreeMap, HashMap, HashSet};

use secateur_proto::{
    ids::{CellId, ContentHash, StageKey},
    spec::StageSpec,
};
use serde_json::json;

use super::{
    diagnostic::{Diagnostics, Mark},
    expand::Point,
    facts::InputFacts,
    plan::{
        CONTROL_WIDTHS, Cell, Control, Merged, PackedPlan, Packer, PlannedStage, Refused, Settings, SweepInfo, Trial,
        WeightsSummary, sweep_id,
    },
    propose,
    setting::{AblationSetting, SettingValue as _, pruning, quantization, regularization, training},
    spec::SweepSpec,
    weights,
    work::Work,
};

/// Plans the sweep `spec`, read from the bytes of `file_text`, over its files.
///
/// # Errors
/// If the weights are not those of the net, or if there is nothing to compute: the table has no train rows or no inputs, `exclude`
/// takes every point away, no point can be done, or every point removes nothing and so is a control.
pub fn plan(spec: &SweepSpec, file_text: &str, inputs: InputFacts) -> Result<PackedPlan, Diagnostics> {
    if inputs.inputs == 0 || inputs.rows[0] == 0 {
        let message = format!(
            "found {} input columns and {} train rows, expected at least one of each",
            inputs.inputs, inputs.rows[0]
        );
        return Err(Diagnostics::one(&spec.file, spec.data.path_mark, "data.path", message));
    }
    weights::check(spec, &inputs)?;
    references::check(spec, &inputs)?;
    let weights = spec.grid.listed(&training::CLASS_WEIGHT);
    let problems: Vec<_> = weights.into_iter().flat_map(|weight| weight.problems(&inputs.classes)).collect();
    if !problems.is_empty() {
        return Err(Diagnostics::new(&spec.file, problems));
    }
    PlanBuilder::new(spec, file_text, inputs).extend(propose::proposer(spec).propose(spec, &[]))
}

/// Plans a sweep part by part. Each part has every stage that its trials need, and the trials that no earlier part has.
pub struct PlanBuilder<'a> {
    spec: &'a SweepSpec,
    inputs: InputFacts,
    sweep: SweepInfo,
    prepare: StageKey,
    /// Cells of all parts.
    ids: HashSet<CellId>,
    /// Hashes of the settings of all cells.
    taken: HashSet<ContentHash>,
    /// By a work's identity: the cell that is that work, and the point it was made for.
    by_work: HashMap<StageKey, (CellId, Point)>,
    /// The stages of reference models.
    references: HashSet<StageKey>,
    part: Part,
}

/// The part that is being planned.
#[derive(Default)]
struct Part {
    /// Stages and trials, as they come.
    packer: Packer,
    cells: Vec<Cell>,
    merged: Vec<Merged>,
    refused: Vec<Refused>,
    /// Cells that the file asks for, to make controls for.
    asked: Vec<(Point, Work)>,
    /// Points that remove nothing, which the dense controls stand for.
    dense_points: Vec<(Point, Work)>,
}

impl<'a> PlanBuilder<'a> {
    /// The builder of the sweep `spec`, read from the bytes of `file_text`, over its files.
    #[must_use]
    pub fn new(spec: &'a SweepSpec, file_text: &str, inputs: InputFacts) -> Self {
        Self {
            spec,
            sweep: info(spec, file_text, &inputs),
            prepare: StageSpec::Prepare(spec.data.prepare(inputs.artifact.hash, inputs.reading.clone())).key(),
            inputs,
            ids: HashSet::new(),
            taken: HashSet::new(),
            by_work: HashMap::new(),
            references: HashSet::new(),
            part: Part::default(),
        }
    }

    /// The next part: the cells of these points, their controls, and every stage that both need, without what earlier parts have.
    ///
    /// # Errors
    /// If there is nothing to compute yet: no point is left, none can be done, or every one removes nothing and so is a control.
    pub fn extend(&mut self, points: impl IntoIterator<Item = Point>) -> Result<PackedPlan, Diagnostics> {
        self.part = Part::default();
        let inputs = &self.inputs;
        let prepare = StageSpec::Prepare(self.spec.data.prepare(inputs.artifact.hash, inputs.reading.clone()));
        self.stage(self.prepare, prepare);
        self.add_asked(points);
        self.add_controls();
        self.add_references();
        self.finish()
    }

    /// The points that the file asks for.
    fn add_asked(&mut self, points: impl IntoIterator<Item = Point>) {
        for point in points {
            let settings = self.spec.grid.settings(&point);
            let work = match Work::of(self.spec, &point, &self.inputs) {
                Ok(work) => work,
                Err(reason) => {
                    self.part.refused.push(Refused { settings, reason });
                    continue;
                }
            };
            if work.is_dense() && self.spec.controls.has(Control::Dense) {
                self.part.dense_points.push((point, work));
                continue;
            }
            let identity = self.identity(&work);
            if let Some((into, kept)) = self.by_work.get(&identity).cloned() {
                let reason = self.why_same(&kept, &point, &work);
                self.part.merged.push(Merged { into, settings, reason });
            } else {
                self.cell(settings, &work, identity, None, point.clone());
                self.part.asked.push((point, work));
            }
        }
    }

    fn add_controls(&mut self) {
        let asked = std::mem::take(&mut self.part.asked);
        for control in &self.spec.controls.list {
            if *control == Control::Dense {
                for (point, work) in asked.iter().chain(&self.part.dense_points.clone()) {
                    self.control(Control::Dense, point, Some(work.dense_control()));
                }
                self.merge_dense_points();
                continue;
            }
            for (point, work) in &asked {
                let other = work.counterpart(*control).and_then(|made| self.made(*control, point, made));
                self.control(*control, point, other);
            }
        }
        let places: HashMap<CellId, usize> =
            self.part.cells.iter().enumerate().map(|(place, cell)| (cell.id.clone(), place)).collect();
        let random =
            asked.iter().map(|(_, work)| work).filter(|work| work.removed().is_some()).map(Work::random_control);
        let works: Vec<Work> = asked.iter().map(|(_, work)| work.clone()).chain(random).collect();
        for work in &works {
            let cell = |work: &Work| self.by_work.get(&self.identity(work)).map(|(id, _)| id.clone());
            let (own, dense) = (cell(work), cell(&work.dense_control()));
            let random = cell(&work.random_control()).filter(|random| own.as_ref() != Some(random));
            let small = work.scratch(false).ok().filter(|_| self.spec.controls.has(Control::ScratchEpochs));
            let small = small.and_then(|small| cell(&small));
            let others = self
                .spec
                .controls
                .list
                .iter()
                .filter(|control| !matches!(control, Control::Dense | Control::Random | Control::ScratchEpochs));
            let others = others.filter_map(|control| {
                let other = cell(&work.counterpart(*control)?.ok()?).filter(|other| own.as_ref() != Some(other));
                Some((*control, other?))
            });
            let others: BTreeMap<Control, CellId> = others.collect();
            if let Some(place) = own.and_then(|own| places.get(&own).copied()) {
                self.part.cells[place].dense_control = dense;
                self.part.cells[place].random_control = random;
                self.part.cells[place].scratch_control = small;
                self.part.cells[place].other_controls = others;
            }
        }
        self.part.asked = asked;
    }

    /// The work of a control; or, where the file names its controls, a word on why there is none, once for each reason.
    fn made(&mut self, control: Control, point: &Point, work: Result<Work, String>) -> Option<Work> {
        let reason = match work {
            Ok(work) => return Some(work),
            Err(reason) => format!("no control {}: {reason}", scratch_name(control)),
        };
        if self.spec.controls.named && self.part.refused.iter().all(|refused| refused.reason != reason) {
            let settings = self.scratch_settings(control, point);
            self.part.refused.push(Refused { settings, reason });
        }
        None
    }

    /// The settings of a small net: those of what it stands beside, but for the way of pruning. `model.hidden` stays that of the large net.
    fn scratch_settings(&self, control: Control, point: &Point) -> Settings {
        let mut settings = self.spec.grid.settings(point);
        settings.remove(pruning::SCOPE.path);
        settings.retain(|key, _| !key.starts_with(&format!("{}.", pruning::STRATEGY.path)));
        settings.insert(pruning::STRATEGY.path.to_owned(), json!(scratch_name(control)));
        settings
    }

    /// Points that remove nothing are the dense controls.
    fn merge_dense_points(&mut self) {
        for (point, work) in std::mem::take(&mut self.part.dense_points) {
            let reason = format!(
                "sparsity {} removes none of {} {}: this is the dense control",
                point.get(&pruning::SPARSITY),
                work.prunable(),
                work.what()
            );
            if let Some((into, _)) = self.by_work.get(&self.identity(&work.dense_control())).cloned() {
                self.part.merged.push(Merged { into, settings: self.spec.grid.settings(&point), reason });
            }
        }
    }

    fn control(&mut self, control: Control, point: &Point, work: Option<Work>) {
        let Some(work) = work else { return };
        let identity = self.identity(&work);
        if self.by_work.contains_key(&identity) {
            return;
        }
        let mut settings = self.spec.grid.settings(point);
        let strategy = pruning::STRATEGY.path;
        let mut set = |path: &str, value| settings.insert(path.to_owned(), value);
        match control {
            Control::Dense => {
                set(pruning::STRATEGY.path, json!(work.dense_name()));
                set(pruning::SCOPE.path, json!("none"));
                set(pruning::SPARSITY.path, json!(0.0));
            }
            Control::DenseQuantized => {
                set(pruning::STRATEGY.path, json!(work.dense_name()));
                set(pruning::SCOPE.path, json!("none"));
                set(pruning::SPARSITY.path, json!(0.0));
            }
            Control::Random => {
                set(pruning::STRATEGY.path, json!("random"));
            }
            Control::RandomMatched => {
                set(pruning::ABLATION.path, json!(AblationSetting::RandomMatched.name()));
            }
            Control::Shuffle => {
                set(pruning::ABLATION.path, json!(AblationSetting::Shuffle.name()));
            }
            Control::Reinitialize => {
                set(pruning::ABLATION.path, json!(AblationSetting::Reinitialize.name()));
            }
            // Their cells are made of no point.
            Control::Logistic | Control::Boosting | Control::Scores => return,
            Control::ScratchEpochs | Control::ScratchCompute => {
                settings = self.scratch_settings(control, point);
                if let Some(widths) = work.widths() {
                    settings.insert(CONTROL_WIDTHS.to_owned(), json!(widths));
                }
            }
        }
        if matches!(control, Control::Dense | Control::DenseQuantized) {
            for path in [pruning::GRANULARITY.path, pruning::SCHEDULE.path, pruning::ABLATION.path] {
                settings.remove(path);
            }
        }
        if control == Control::Dense
            && let Some(quantization) = settings.get_mut(quantization::QUANTIZATION.path)
        {
            *quantization = json!("none");
        }
        if matches!(control, Control::Dense | Control::DenseQuantized | Control::Random) {
            settings.retain(|key, _| !key.starts_with(&format!("{strategy}.")));
        }
        // Controls of different cells can have equal settings where those differ in what no setting tells.
        let mut number = 2;
        while self.taken.contains(&hash_of(&settings)) {
            settings.insert("control".to_owned(), json!(number));
            number += 1;
        }
        self.cell(settings, &work, identity, Some(control), point.clone());
    }

    /// The last stage of the first seed: equal for points that are the same work.
    fn identity(&self, work: &Work) -> StageKey {
        work.stages(self.prepare, self.spec.seeds[0]).last().map_or(self.prepare, |(key, _)| *key)
    }

    fn cell(&mut self, settings: Settings, work: &Work, identity: StageKey, control: Option<Control>, point: Point) {
        let id = self.cell_id(&settings);
        self.by_work.insert(identity, (id.clone(), point));
        self.part.cells.push(Cell {
            prunable_weights: work.prunable(),
            removed_weights: work.removed(),
            ..Cell::new(id.clone(), settings, control)
        });
        let prepare = self.prepare;
        self.trials(&id, |seed| work.stages(prepare, seed));
    }

    /// The trials of a cell: of each seed the stages of `chain`, behind the preparation of the data.
    fn trials(&mut self, id: &CellId, chain: impl Fn(u64) -> Vec<(StageKey, StageSpec)>) {
        let seeds = &self.spec.seeds;
        let chains: Vec<_> = seeds.iter().map(|seed| chain(*seed)).collect();
        let mut keys = vec![vec![self.prepare]; chains.len()];
        // Depth by depth: stages that can share a bundle come together.
        let mut chains: Vec<_> = chains.into_iter().map(Vec::into_iter).collect();
        loop {
            let stages: Vec<_> = chains.iter_mut().map(Iterator::next).collect();
            if stages.iter().all(Option::is_none) {
                break;
            }
            for (stage, keys) in stages.into_iter().zip(&mut keys) {
                if let Some((key, spec)) = stage {
                    keys.push(key);
                    self.stage(key, spec);
                }
            }
        }
        for (seed, stages) in seeds.iter().zip(keys) {
            let trial = Trial::new(id.clone(), *seed, stages);
            self.part.packer.trial(&trial).expect("its stages were planned, and each cell has a name of its own");
        }
    }

    /// The first 12 digits of the settings' hash; more only where two cells would share them.
    fn cell_id(&mut self, settings: &Settings) -> CellId {
        let hash = hash_of(settings);
        self.taken.insert(hash);
        let mut digits = 12;
        loop {
            let id: CellId = hash.short(digits).parse().expect("hexadecimal digits are safe");
            if self.ids.insert(id.clone()) {
                return id;
            }
            assert!(digits < 40, "two cells have equal settings");
            digits += 4;
        }
    }

    fn stage(&mut self, key: StageKey, spec: StageSpec) {
        if !self.part.packer.has(&key) {
            let planned = PlannedStage {
                key,
                given: self.inputs.given(&spec),
                bundle_class: spec.bundle_class(),
                bundled: spec.lane_class().is_some(),
                lane_steps: spec.training().map_or(0, |training| training.steps(self.inputs.rows[0])),
                spec,
            };
            self.part.packer.stage(&planned).expect("what a stage reads is planned before it, and few are planned");
        }
    }

    /// Why two points with different settings are the same work.
    fn why_same(&self, kept: &Point, point: &Point, work: &Work) -> String {
        let (removed, weights) = (work.removed(), work.prunable());
        let (strategy, scope) = (kept.differs(point, &pruning::STRATEGY), kept.differs(point, &pruning::SCOPE));
        let mut reasons = Vec::new();
        if kept.differs(point, &pruning::SPARSITY) {
            let (one, two) = (kept.get(&pruning::SPARSITY), point.get(&pruning::SPARSITY));
            reasons.push(match removed {
                Some(removed) => format!("sparsity {one} and {two} both remove {removed} of {weights} {}", work.what()),
                None => "the penalty decides how many weights go, and the sparsity nothing".to_owned(),
            });
        }
        if work.is_dense() && (strategy || scope) {
            reasons.push("where nothing is removed, strategy and scope decide nothing".to_owned());
        } else if scope {
            let same = match removed {
                Some(_) if strategy => "the two strategies are one in these scopes",
                Some(_) if work.layers().len() == 1 => "with one prunable layer all scopes are the same",
                Some(_) => "these scopes come to the same",
                None => "what is zero goes, whatever the scope",
            };
            reasons.push(same.to_owned());
        }
        if kept.differs(point, &regularization::KIND)
            || kept.differs(point, &regularization::STRENGTH)
            || kept.differs(point, &regularization::PHASE)
        {
            reasons.push("without a penalty, its kind, strength and phase decide nothing".to_owned());
        }
        if kept.differs(point, &pruning::PRUNE_FROM) {
            reasons.push("the net that is pruned is the same, so prune_from decides nothing".to_owned());
        }
        if kept.differs(point, &training::CLASS_WEIGHT) {
            reasons.push("both weigh the classes in the same ratios".to_owned());
        }
        if kept.differs(point, &pruning::RETRAIN_LR) || kept.differs(point, &training::LR) {
            reasons.push(format!("both retrain with lr {}", point.retraining().optimizer.lr().json()));
        }
        if reasons.is_empty() { "both come to the same stages".to_owned() } else { reasons.join("; ") }
    }

    fn finish(&mut self) -> Result<PackedPlan, Diagnostics> {
        let Part { mut packer, cells, merged, refused, asked, .. } = std::mem::take(&mut self.part);
        let is_first = self.ids.len() == cells.len();
        if is_first && asked.is_empty() {
            return Err(self.nothing(&merged, &refused));
        }
        cells.iter().for_each(|cell| packer.cell(cell));
        merged.iter().for_each(|merged| packer.merged(merged));
        refused.iter().for_each(|refused| packer.refused(refused));
        Ok(packer.finish(self.sweep.clone()))
    }

    /// Why a sweep has no cell of its own.
    fn nothing(&self, merged: &[Merged], refused: &[Refused]) -> Diagnostics {
        let sparsity = (self.spec.grid.axis(&pruning::SPARSITY).mark, pruning::SPARSITY.path);
        let fail = |(mark, path): (Mark, &str), message: String| Diagnostics::one(&self.spec.file, mark, path, message);
        match (refused.first(), merged.is_empty()) {
            (Some(first), true) => {
                let count = refused.len();
                fail(sparsity, format!("none of the {count} cells can be done; of the first: {}", first.reason))
            }
            (_, false) => {
                fail(sparsity, "no cell removes anything: add a sparsity above 0, or set controls: none".to_owned())
            }
            (None, true) => {
                let mark = self.spec.exclude.first().map_or(Mark::START, |exclusion| exclusion.mark);
                fail((mark, "exclude"), "no cell is left: exclude fewer cells".to_owned())
            }
        }
    }
}

/// What the sweep is called and aims at.
fn info(spec: &SweepSpec, file_text: &str, inputs: &InputFacts) -> SweepInfo {
    let weights = inputs.weights.as_ref().map(|weights| weights.artifact.hash);
    SweepInfo {
        name: spec.name.clone(),
        id: sweep_id(spec.meaning, inputs.artifact.hash, weights),
        file_hash: ContentHash::of(file_text.as_bytes()),
        file_text: file_text.to_owned(),
        objectives: spec.objectives.clone(),
        constraints: spec.constraints.clone(),
        decision: spec.decision,
        attempts: spec.attempts,
        adaptive: spec.adaptive,
        rounds: Vec::new(),
        weights: (spec.weights.iter().zip(&inputs.weights).next())
            .map(|(named, file)| WeightsSummary { path: named.path.clone(), hash: file.artifact.hash }),
        data: inputs.summary(&spec.data.path),
    }
}

/// What a small net is called where a strategy is named.
const fn scratch_name(control: Control) -> &'static str {
    match control {
        Control::ScratchCompute => "scratch (as much compute)",
        _ => "scratch (as many epochs)",
    }
}

fn hash_of(settings: &Settings) -> ContentHash {
    ContentHash::of(&serde_json::to_vec(settings).expect("settings are plain data"))
}
