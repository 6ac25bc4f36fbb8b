//! The net is pruned to one level, and trained again.

use secateur_proto::spec::{
    Ablation, CriterionSpec, Granularity, ModelSpec, PruneSpec, Ranking, RegularizationSpec, Removal, Schedule, Start,
    Subject, TrainingSpec,
};

use super::{super::setting::Then, Chain, Link};

/// One level of a pruning.
pub(in crate::experiment) struct Prune<'a> {
    pub(in crate::experiment) model: &'a ModelSpec,
    pub(in crate::experiment) layers: &'a [u32],
    pub(in crate::experiment) criterion: Option<&'a CriterionSpec>,
    pub(in crate::experiment) granularity: Granularity,
    pub(in crate::experiment) ranking: Ranking,
    pub(in crate::experiment) removal: &'a Removal,
    pub(in crate::experiment) ablation: Option<Ablation>,
    /// What the training of what is left begins from.
    pub(in crate::experiment) then: Then,
    pub(in crate::experiment) schedule: Schedule,
    pub(in crate::experiment) training: TrainingSpec,
    pub(in crate::experiment) penalty: Option<RegularizationSpec>,
}

impl Link for Prune<'_> {
    fn add(&self, chain: &mut Chain) {
        let (start, skip_steps) = match (self.then, chain.early) {
            (Then::Finetune | Then::RewindLearningRate, _) => (Start::Scored {}, 0),
            (Then::RewindWeights { step }, Some(stage)) => (Start::Rewound { stage }, step),
            // Before the first step there is the initial net.
            (Then::RewindWeights { .. }, None) => (Start::Initial {}, 0),
            (Then::Reinitialize, _) => (Start::Reinitialized {}, 0),
        };
        let level = PruneSpec {
            prepare: chain.prepare,
            subject: chain.net,
            model: self.model.clone(),
            layers: self.layers.to_vec(),
            criterion: self.criterion.filter(|_| !self.removal.is_none()).cloned(),
            granularity: self.granularity,
            ranking: self.ranking,
            removal: self.removal.clone(),
            ablation: self.ablation,
            start,
            schedule: self.schedule,
            training: self.training.clone(),
            skip_steps,
            regularization: self.penalty.clone(),
            seed: chain.seed,
        };
        chain.net = Subject::Pruned { stage: chain.push(level) };
    }
}
