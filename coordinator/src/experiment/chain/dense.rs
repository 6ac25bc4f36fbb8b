//! The dense net is trained.

use secateur_proto::spec::{DenseSpec, ModelSpec, RegularizationSpec, Subject, TrainingSpec};

use super::{Chain, Link};

/// The training of the unpruned net, and of the point that its weights are rewound to.
pub(in crate::experiment) struct Dense<'a> {
    pub(in crate::experiment) model: &'a ModelSpec,
    pub(in crate::experiment) training: TrainingSpec,
    pub(in crate::experiment) penalty: Option<&'a RegularizationSpec>,
    /// The step that later links rewind to, if not the initial net.
    pub(in crate::experiment) rewound_to: Option<u64>,
}

impl Link for Dense<'_> {
    fn add(&self, chain: &mut Chain) {
        let (prepare, seed) = (chain.prepare, chain.seed);
        let spec = |stop_after| DenseSpec {
            prepare,
            model: self.model.clone(),
            training: self.training.clone(),
            regularization: self.penalty.cloned(),
            stop_after,
            seed,
        };
        chain.net = Subject::Dense { stage: chain.push(spec(None)) };
        chain.early = self.rewound_to.map(|step| chain.push(spec(Some(step))));
    }
}
