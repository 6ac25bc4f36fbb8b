//! The chain of stages of a trial, made link by link: train, prune, and whatever comes behind. A link adds its stages behind those
//! that are there, and knows none of the others. To add a link, write its file and its `mod` line here; `Work::links` says where it
//! goes.

pub(super) mod dense;
pub(super) mod import;
pub(super) mod measure;
pub(super) mod prune;
pub(super) mod quantize;

use secateur_proto::{
    ids::StageKey,
    spec::{StageSpec, Subject},
};

/// A part of a chain, whatever the seed.
pub(super) trait Link {
    /// Adds its stages.
    fn add(&self, chain: &mut Chain);
}

/// The stages of one seed as far as they are known, parents before children.
#[derive(Debug)]
pub(super) struct Chain {
    /// The stage that prepares the data.
    prepare: StageKey,
    /// Of the trial.
    seed: u64,
    /// The net that the last link left.
    net: Subject,
    /// The stage that left the net that weights are rewound to.
    early: Option<StageKey>,
    stages: Vec<(StageKey, StageSpec)>,
}

impl Chain {
    /// The stages that `links` come to, one behind the other, on the data of `prepare`. The last one's result is the trial's.
    pub(super) fn of(links: &[Box<dyn Link + '_>], prepare: StageKey, seed: u64) -> Vec<(StageKey, StageSpec)> {
        let mut chain = Self { prepare, seed, net: Subject::Initial {}, early: None, stages: Vec::new() };
        links.iter().for_each(|link| link.add(&mut chain));
        chain.stages
    }

    fn push(&mut self, stage: impl Into<StageSpec>) -> StageKey {
        let stage = stage.into();
        let key = stage.key();
        self.stages.push((key, stage));
        key
    }
}
