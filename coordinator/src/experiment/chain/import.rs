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
}

impl Link for Import<'_> {
    fn add(&self, chain: &mut Chain) {
        let import = ImportSpec { prepare: chain.prepare, model: self.model.clone(), weights: self.weights };
        chain.net = Subject::Dense { stage: chain.push(import) };
    }
}
