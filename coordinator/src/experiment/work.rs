//! What a point of the grid comes to: nets, training, exact counts and a chain of stages, but no seed.

use secateur_proto::{
    ids::{ContentHash, StageKey},
    spec::{
        Ablation, CriterionSpec, Granularity, MeasureSettings, ModelSpec, QuantizationSpec, Ranking,
        RegularizationKind, RegularizationSpec, Removal, Schedule, SelectBy, StageSpec, TrainingSpec,
    },
};

use super::{
    chain::{Chain, Link, dense::Dense, import::Import, measure::Measure, prune::Prune, quantize::Quantize},
    counts,
    expand::Point,
    facts::InputFacts,
    parts::{fits, granularity, ladder_of, model, penalty, prunable, schedule},
    plan::Control,
    scratch,
    setting::{
        AblationSetting, Grain, PenaltyPhase, PruneFrom, Scope, Strategy, Then, Timing, pruning, quantization, training,
    },
    spec::SweepSpec,
    weights::goes_on_from,
};

/// Everything that decides a cell's results but the data and the seed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Work {
    pub(super) model: ModelSpec,
    /// The dense net, where it is not trained, and whether it was pruned already.
    weights: Option<(ContentHash, bool)>,
    /// Indices of the prunable layers.
    layers: Vec<u32>,
    training: TrainingSpec,
    /// Which net of a training is pruned.
    prune_from: PruneFrom,
    dense_penalty: Option<RegularizationSpec>,
    retraining: TrainingSpec,
    retrain_penalty: Option<RegularizationSpec>,
    criterion: Option<CriterionSpec>,
    granularity: Granularity,
    ranking: Ranking,
    ablation: Option<Ablation>,
    /// From the first level to the last; one where all goes at once.
    levels: Vec<Removal>,
    way: Way,
    schedule: Schedule,
    /// What is done with the trained net at the end.
    quantization: Option<QuantizationSpec>,
    /// How it is measured then, and the dense net that it is timed beside: a small dense net beside the large one.
    measured: Option<(MeasureSettings, ModelSpec)>,
}

/// The way from the initial net to the pruned one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Pruned before training, and trained for as long as a dense net with its retraining; from other initial weights if so said.
    FromInitial { reinitialized: bool },
    /// The dense net is trained, pruned, and trained again, level by level; the last one from other initial weights if so said.
    FromDense { then: Then, reinitialized: bool },
}

/// Steps of a training on so many rows.
fn steps_of(training: &TrainingSpec, rows: u64) -> u64 {
    rows.div_ceil(training.batch_size.into()).saturating_mul(training.epochs.into())
}

/// Whether a way can begin at a net that is trained already.
fn begins_trained(strategy: &str, timing: &Timing, way: Way) -> Result<(), String> {
    match (timing, way) {
        (Timing::Dynamic { .. } | Timing::Alternating { .. }, _) => {
            Err("a mask that changes from the beginning of training takes a net that is not trained: leave model.weights out".to_owned())
        }
        (_, Way::FromInitial { .. }) => Err(format!("{strategy} prunes before training, and the net of model.weights is trained")),
        (_, Way::FromDense { then: Then::RewindWeights { .. }, .. }) => {
            Err("the earlier weights of the net of model.weights are not known: take another `then` than weight_rewind".to_owned())
        }
        _ => Ok(()),
    }
}

impl Work {
    /// The work of `point` for the data of `facts`; in words, why it cannot be done.
    pub(super) fn of(spec: &SweepSpec, point: &Point, facts: &InputFacts) -> Result<Self, String> {
        let model = model(spec, point, facts)?;
        let strategy = point.get(&pruning::STRATEGY);
        let grain = *point.get(&pruning::GRANULARITY);
        let layers = prunable(point, &model, grain)?;
        let timing = point.get(&pruning::SCHEDULE);
        let scope = point.get(&pruning::SCOPE);
        let sparsity = *point.get(&pruning::SPARSITY);
        let most = *point.get(&pruning::MAX_LAYER_SPARSITY);
        let names: Vec<_> = {
            let all = model.layers();
            layers.iter().filter_map(|index| all.get(*index as usize).cloned()).collect()
        };
        let removal = |sparsity: f64| counts::removal(&counts::Request { scope, grain, sparsity, most }, &names);
        let levels = match (strategy.criterion, timing) {
            (None, Timing::OneShot) => vec![Removal::Zeros {}],
            (None, _) => {
                return Err(format!("{} removes at once what is zero; take the schedule one_shot", strategy.name));
            }
            (Some(_), Timing::Iterative { ladder, .. }) => {
                ladder_of(ladder, sparsity)?.into_iter().map(removal).collect::<Result<_, _>>()?
            }
            (Some(_), _) => vec![removal(sparsity)?],
        };
        let removes = levels.iter().any(|removal| !removal.is_none());
        fits(strategy, grain, timing, scope, removes)?;

        let class_weights = point.get(&training::CLASS_WEIGHT).of_classes(&facts.classes);
        let [training, retraining] = [point.training(), point.retraining()]
            .map(|training| TrainingSpec { class_weights: class_weights.clone(), ..training });
        let ablation = *point.get(&pruning::ABLATION);
        let reinitialized = removes && ablation == AblationSetting::Reinitialize;
        let way = match timing {
            Timing::Iterative { then, .. } => Way::FromDense { then: *then, reinitialized },
            Timing::Dynamic { .. } | Timing::Alternating { .. } => Way::FromInitial { reinitialized },
            _ if strategy.is_initial() => Way::FromInitial { reinitialized },
            _ => Way::FromDense { then: Then::Finetune, reinitialized },
        };
        if let Some(given) = &facts.weights {
            begins_trained(strategy.name, timing, way)?;
            if removes {
                goes_on_from(given, &names, &levels[0], grain)?;
            }
        }
        let weights = facts.weights.as_ref().map(|given| (given.artifact.hash, !given.removed.is_empty()));
        let penalty = |on: [PenaltyPhase; 2], epochs: u32| penalty(point, &model, on, epochs);
        let competes = layers.len() > 1;
        let sums = strategy.criterion.is_some_and(|criterion| criterion.grows_with_layer);
        let mut work = Self {
            dense_penalty: penalty([PenaltyPhase::Dense, PenaltyPhase::Both], training.epochs)?,
            retrain_penalty: penalty([PenaltyPhase::Retrain, PenaltyPhase::Both], retraining.epochs)?,
            layers,
            training,
            prune_from: *point.get(&pruning::PRUNE_FROM),
            retraining,
            criterion: strategy.spec().filter(|_| removes),
            granularity: if removes { granularity(grain) } else { Granularity::Weight },
            ranking: match (scope, removes) {
                (Scope::Lamp, true) => Ranking::Lamp,
                (Scope::Global, true) if competes && sums => Ranking::LayerMean,
                (_, true) => strategy.ranking,
                (_, false) => Ranking::Raw,
            },
            ablation: match ablation {
                _ if !removes => None,
                AblationSetting::Shuffle => Some(Ablation::ShuffleMask),
                AblationSetting::RandomMatched => Some(Ablation::RandomMatched),
                AblationSetting::None | AblationSetting::Reinitialize => strategy.ablation,
            },
            levels: if removes { levels } else { vec![Removal::NONE; levels.len()] },
            way,
            schedule: Schedule::OneShot,
            quantization: *point.get(&quantization::QUANTIZATION),
            measured: spec.measure.clone().map(|settings| (settings, model.clone())),
            weights,
            model,
        };
        if removes {
            work.schedule = schedule(timing, steps_of(&work.training_of(work.way).0, facts.rows[0]))?;
            let (ablated, capped) = (ablation != AblationSetting::None, most.is_some());
            work.check(strategy, grain, timing, facts.rows[0], [ablated, capped])?;
        }
        Ok(work)
    }

    /// What can only be said of a work as a whole.
    fn check(
        &self,
        strategy: &Strategy,
        grain: Grain,
        timing: &Timing,
        rows: u64,
        [ablated, capped]: [bool; 2],
    ) -> Result<(), String> {
        if let Timing::Iterative { then: Then::RewindWeights { step }, .. } = timing {
            let steps = steps_of(&self.training, rows);
            if *step >= steps {
                return Err(format!(
                    "there is no step {step} to rewind to: the dense net is trained for {steps} steps"
                ));
            }
        }
        let proximal = |penalty: &RegularizationSpec| {
            matches!(penalty.kind, RegularizationKind::L1 | RegularizationKind::GroupLasso)
        };
        if strategy.criterion.is_none() && !self.dense_penalty.as_ref().is_some_and(proximal) {
            return Err(format!(
                "{} removes what a penalty drove to zero in the dense net: take l1 or group_lasso with a strength above 0, in the phase dense or both",
                strategy.name
            ));
        }
        if let Some(requires) = strategy.criterion.and_then(|criterion| criterion.requires)
            && !requires.is_met(&self.model, &self.layers)
        {
            return Err(format!("{} {requires}", strategy.name));
        }
        if strategy.criterion.is_none() && capped {
            return Err(format!(
                "{} removes what is zero, however much of a layer that is: leave max_layer_sparsity out",
                strategy.name
            ));
        }
        if matches!(timing, Timing::Gradual { .. } | Timing::Dynamic { .. } | Timing::Alternating { .. }) && ablated {
            return Err("an ablation changes a mask that there is, and this schedule makes its own while it trains: take one_shot or iterative".to_owned());
        }
        if matches!(grain, Grain::Grouped { .. }) && self.ablation.is_some() {
            return Err("a mask that is drawn anew keeps no pattern: take the granularity unstructured".to_owned());
        }
        Ok(())
    }

    /// The training of what is left that goes with `way`, and its penalty.
    fn training_of(&self, way: Way) -> (TrainingSpec, Option<RegularizationSpec>) {
        match way {
            Way::FromDense { then: Then::Finetune, reinitialized: false } => {
                (self.retraining.clone(), self.retrain_penalty.clone())
            }
            Way::FromDense { .. } => (self.training.clone(), self.dense_penalty.clone()),
            Way::FromInitial { .. } => {
                let epochs = self.training.epochs.saturating_add(self.retraining.epochs);
                (TrainingSpec { epochs, ..self.training.clone() }, self.dense_penalty.clone())
            }
        }
    }

    /// What goes in the end.
    pub(super) fn removal(&self) -> &Removal {
        self.levels.last().unwrap_or(&Removal::NONE)
    }

    /// Indices of the prunable layers.
    pub(super) fn layers(&self) -> &[u32] {
        &self.layers
    }

    /// Whether nothing goes.
    pub(super) fn is_dense(&self) -> bool {
        self.removal().is_none() && self.quantization.is_none()
    }

    /// Whether the net loses anything.
    fn removes(&self) -> bool {
        !self.removal().is_none()
    }

    /// Whether the net is quantized.
    const fn is_quantized(&self) -> bool {
        self.quantization.is_some()
    }

    /// The dense control, quantized in the same way.
    pub(super) fn dense_quantized(&self) -> Self {
        Self { quantization: self.quantization, ..self.dense_control() }
    }

    /// What can go: weights or units.
    pub(super) fn prunable(&self) -> u64 {
        let layers = self.model.layers();
        let size = |index: &u32| match (layers.get(*index as usize), self.granularity) {
            (None, _) => 0,
            (Some(layer), Granularity::Weight) => layer.weights(),
            (Some(layer), Granularity::Unit) => u64::from(layer.outputs()),
        };
        self.layers.iter().map(size).sum()
    }

    /// What that is.
    pub(super) const fn what(&self) -> &'static str {
        match self.granularity {
            Granularity::Weight => "weights",
            Granularity::Unit => "units",
        }
    }

    /// How much of that goes, where it is known before anything is trained.
    pub(super) fn removed(&self) -> Option<u64> {
        let layers = self.model.layers();
        let layers: Vec<_> = self.layers.iter().filter_map(|index| layers.get(*index as usize).cloned()).collect();
        self.removal().total(&layers)
    }

    /// What a dense control of this way is called where a strategy is named.
    pub(super) fn dense_name(&self) -> String {
        match (self.way, self.levels.len()) {
            (Way::FromDense { then: Then::Finetune, .. }, 1) => "none".to_owned(),
            (Way::FromDense { then: Then::Finetune, .. }, levels) => format!("none (retrained {levels} times)"),
            (Way::FromDense { then: Then::RewindLearningRate, .. }, 1) => "none (trained twice)".to_owned(),
            (Way::FromDense { then: Then::RewindLearningRate, .. }, levels) => {
                format!("none (trained {} times)", levels + 1)
            }
            (Way::FromDense { .. }, _) => "none (trained once)".to_owned(),
            (Way::FromInitial { .. }, _) => "none (trained once, for all epochs)".to_owned(),
        }
    }

    /// The widths that the form of its net leaves open.
    pub(super) fn widths(&self) -> Option<Vec<u32>> {
        scratch::widths(&self.model)
    }

    /// The same with nothing removed: trained for just as long.
    pub(super) fn dense_control(&self) -> Self {
        Self {
            criterion: None,
            granularity: Granularity::Weight,
            ranking: Ranking::Raw,
            ablation: None,
            levels: match self.way {
                // Each level trains on with what there is, so levels add up.
                Way::FromDense { then: Then::Finetune | Then::RewindLearningRate, reinitialized: false } => {
                    vec![Removal::NONE; self.levels.len()]
                }
                _ => vec![Removal::NONE],
            },
            way: match self.way {
                Way::FromDense { then: then @ (Then::Finetune | Then::RewindLearningRate), reinitialized: false } => {
                    Way::FromDense { then, reinitialized: false }
                }
                // A net that begins anew is compared with a dense net of its own training.
                Way::FromDense { .. } => Way::FromDense { then: Then::RewindWeights { step: 0 }, reinitialized: false },
                Way::FromInitial { .. } => Way::FromInitial { reinitialized: false },
            },
            schedule: Schedule::OneShot,
            quantization: None,
            ..self.clone()
        }
    }

    /// What a control of that kind does in place of this work, or why it cannot be made. Returns `None` if there is no such control.
    pub(super) fn counterpart(&self, control: Control) -> Option<Result<Self, String>> {
        match control {
            Control::Dense => Some(Ok(self.dense_control())),
            Control::DenseQuantized => self.is_quantized().then(|| Ok(self.dense_quantized())),
            // They are no nets.
            Control::Logistic | Control::Boosting | Control::Scores => None,
            // Every other control takes something away.
            _ if !self.removes() => None,
            Control::ScratchEpochs => Some(self.scratch(false)),
            Control::ScratchCompute => Some(self.scratch(true)),
            // What a penalty drives to zero is not chosen, so nothing else can be chosen in its place.
            _ if self.removed().is_none() => None,
            Control::Random => Some(Ok(self.random_control())),
            Control::RandomMatched => Some(Ok(self.ablated(AblationSetting::RandomMatched))),
            Control::Shuffle => Some(Ok(self.ablated(AblationSetting::Shuffle))),
            Control::Reinitialize => Some(Ok(self.ablated(AblationSetting::Reinitialize))),
        }
    }

    /// The same with random weights removed.
    pub(super) fn random_control(&self) -> Self {
        Self {
            criterion: Some(CriterionSpec::new("random", &[])),
            ranking: Ranking::Raw,
            ablation: None,
            ..self.clone()
        }
    }

    /// The same with a change to the mask, or to what is left.
    pub(super) fn ablated(&self, ablation: AblationSetting) -> Self {
        let mut work = self.clone();
        match ablation {
            AblationSetting::None => {}
            // A pattern is none when it is drawn anew, and a mask that is made in training is another one after any change.
            AblationSetting::Shuffle | AblationSetting::RandomMatched
                if matches!(self.removal(), Removal::Grouped { .. }) => {}
            _ if self.schedule != Schedule::OneShot => {}
            AblationSetting::Shuffle => work.ablation = Some(Ablation::ShuffleMask),
            AblationSetting::RandomMatched => work.ablation = Some(Ablation::RandomMatched),
            AblationSetting::Reinitialize => {
                work.way = match work.way {
                    Way::FromInitial { .. } => Way::FromInitial { reinitialized: true },
                    Way::FromDense { then, .. } => Way::FromDense { then, reinitialized: true },
                };
            }
        }
        work
    }

    /// Epochs from the initial net to the pruned one; those of a net that is given are taken to be what the file says of a dense one.
    fn epochs(&self) -> u32 {
        let levels = u32::try_from(self.levels.len()).unwrap_or(u32::MAX);
        let again = match self.way {
            Way::FromDense { then: Then::Finetune, reinitialized: false } => {
                levels.saturating_mul(self.retraining.epochs)
            }
            Way::FromDense { then: Then::RewindLearningRate, reinitialized: false } => {
                levels.saturating_mul(self.training.epochs)
            }
            // It begins anew.
            Way::FromDense { .. } => 0,
            Way::FromInitial { .. } => self.retraining.epochs,
        };
        self.training.epochs.saturating_add(again)
    }

    /// A dense net of about as many parameters as are left, trained from its beginning for as many epochs, or for as many
    /// multiply-accumulates.
    ///
    /// # Errors
    /// In words, if that many parameters are not known or no such net can be made.
    pub(super) fn scratch(&self, same_compute: bool) -> Result<Self, String> {
        let removed = self.removed().ok_or("how many weights a penalty drives to zero is not known before")?;
        let model = match self.granularity {
            Granularity::Weight => {
                scratch::of_parameters(&self.model, self.model.parameters().saturating_sub(removed))?
            }
            Granularity::Unit => scratch::of_units(&self.model, &self.layers, self.removal())?,
        };
        let further = if same_compute { scratch::further_epochs(&self.model, &model, self.epochs()) } else { 0 };
        let mut work = self.dense_quantized();
        work.layers = model.prunable();
        work.weights = None;
        work.way = Way::FromInitial { reinitialized: false };
        work.levels = vec![Removal::NONE];
        (work.training.epochs, work.retraining.epochs) = (self.epochs().saturating_add(further), 0);
        work.model = model;
        Ok(work)
    }

    /// What is done of it, one behind the other.
    fn links(&self) -> Vec<Box<dyn Link + '_>> {
        let mut links = self.training_links();
        if let Some(quantization) = self.quantization {
            links.push(Box::new(Quantize { model: &self.model, layers: &self.layers, quantization }));
        }
        if let Some((settings, dense)) = &self.measured {
            let quantized = self.quantization.is_some();
            links.push(Box::new(Measure { model: &self.model, quantized, dense, settings }));
        }
        links
    }

    /// What is done until the net is trained for the last time.
    fn training_links(&self) -> Vec<Box<dyn Link + '_>> {
        let (then, reinitialized) = match self.way {
            Way::FromInitial { reinitialized } => {
                let then = if reinitialized { Then::Reinitialize } else { Then::Finetune };
                return vec![Box::new(self.level(self.removal(), then, self.way, self.ablation))];
            }
            Way::FromDense { then, reinitialized } => (then, reinitialized),
        };
        let rewound_to = match then {
            Then::RewindWeights { step } => Some(step).filter(|step| *step > 0),
            Then::Finetune | Then::RewindLearningRate | Then::Reinitialize => None,
        };
        let (model, penalty) = (&self.model, self.dense_penalty.as_ref());
        let training = self.to_be_pruned(self.training.clone());
        let mut links: Vec<Box<dyn Link + '_>> = match self.weights {
            Some((weights, masked)) => vec![Box::new(Import { model, weights, masked })],
            None => vec![Box::new(Dense { model, training, penalty, rewound_to })],
        };
        if let Some((last, before)) = self.levels.split_last() {
            // A change of the last mask or of the last start leaves the levels before it as they are, so that they are shared.
            let plain = Way::FromDense { then, reinitialized: false };
            for removal in before {
                let level = self.level(removal, then, plain, None);
                links.push(Box::new(Prune { training: self.to_be_pruned(level.training), ..level }));
            }
            let then = if reinitialized { Then::Reinitialize } else { then };
            links.push(Box::new(self.level(last, then, self.way, self.ablation)));
        }
        links
    }

    /// A training that leaves the net that is pruned next.
    fn to_be_pruned(&self, training: TrainingSpec) -> TrainingSpec {
        match self.prune_from {
            PruneFrom::Best => training,
            PruneFrom::Last => TrainingSpec { select_by: SelectBy::Last, ..training },
        }
    }

    fn level<'a>(&'a self, removal: &'a Removal, then: Then, way: Way, ablation: Option<Ablation>) -> Prune<'a> {
        let (training, penalty) = self.training_of(way);
        Prune {
            model: &self.model,
            layers: &self.layers,
            criterion: self.criterion.as_ref(),
            granularity: self.granularity,
            ranking: self.ranking,
            removal,
            ablation,
            then,
            schedule: self.schedule,
            training,
            penalty,
        }
    }

    /// The stages of one seed with their keys, parents before children; the last one's result is the trial's.
    pub(super) fn stages(&self, prepare: StageKey, seed: u64) -> Vec<(StageKey, StageSpec)> {
        Chain::of(&self.links(), prepare, seed)
    }
}
