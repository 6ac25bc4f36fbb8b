//! The net is quantized.

use secateur_proto::spec::{ModelSpec, QuantizationSpec, QuantizeSpec};

use super::{Chain, Link};

/// The rounding of the net that the link before left.
pub(in crate::experiment) struct Quantize<'a> {
    pub(in crate::experiment) model: &'a ModelSpec,
    pub(in crate::experiment) layers: &'a [u32],
    pub(in crate::experiment) quantization: QuantizationSpec,
}

impl Link for Quantize<'_> {
    fn add(&self, chain: &mut Chain) {
        chain.push(QuantizeSpec {
            prepare: chain.prepare,
            subject: chain.net,
            model: self.model.clone(),
            layers: self.layers.to_vec(),
            quantization: self.quantization,
        });
    }
}
