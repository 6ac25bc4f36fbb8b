//! A net that was trained elsewhere takes the place of the dense one.

use secateur_proto::{
    ids::ContentHash,
    spec::{ImportSpec, ModelSpec, Subject},
};

use super::{Chain, Link};

/// The evaluation of that net.
pub(in crate::experiment) struct Import<'a> {
    pub(in crate::experiment) model: &'a ModelSpec,
    /// The hash of the file of its parameters.
    pub(in crate::experiment) weights: ContentHash,
    /// Whether it was pruned already.
    pub(in crate::experiment) masked: bool,
}

impl Link for Import<'_> {
    fn add(&self, chain: &mut Chain) {
        let Self { model, weights, masked } = *self;
        let stage = chain.push(ImportSpec { prepare: chain.prepare, model: model.clone(), weights, masked });
        chain.net = if masked { Subject::Pruned { stage } } else { Subject::Dense { stage } };
    }
}
