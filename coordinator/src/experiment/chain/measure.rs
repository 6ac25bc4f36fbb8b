//! The trained net is measured.

use secateur_proto::spec::{MeasureSettings, MeasureSpec, ModelSpec};

use super::{Chain, Link};

/// Sizes and times of the net that the links before left.
pub(in crate::experiment) struct Measure<'a> {
    pub(in crate::experiment) model: &'a ModelSpec,
    /// Whether the last link quantized it.
    pub(in crate::experiment) quantized: bool,
    /// The dense net that it is timed beside.
    pub(in crate::experiment) dense: &'a ModelSpec,
    pub(in crate::experiment) settings: &'a MeasureSettings,
}

impl Link for Measure<'_> {
    fn add(&self, chain: &mut Chain) {
        let Some((net, _)) = chain.stages.last() else { return };
        chain.push(MeasureSpec {
            prepare: chain.prepare,
            net: *net,
            model: self.model.clone(),
            quantized: self.quantized,
            dense: self.dense.clone(),
            settings: self.settings.clone(),
        });
    }
}
