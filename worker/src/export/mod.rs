//! Nets in the formats of others: ONNX with the preparation inside, and safetensors with PyTorch's names.

pub mod onnx;
pub mod pytorch;
