//! The numbers of tensors that lie in the processor's own memory, taken out and given back without a copy.

use burn::tensor::{Device, Tensor, TensorData};

/// The numbers of a tensor in the processor's memory. Taking them out of a tensor and giving them back moves them, if nobody else
/// holds the tensor.
#[derive(Debug)]
pub(super) struct Numbers(TensorData);

impl Numbers {
    /// Takes the numbers out of `tensor`.
    #[must_use]
    pub(super) fn take<const D: usize>(tensor: Tensor<D>) -> Self {
        Self(tensor.into_data())
    }

    /// Takes the numbers out of `tensor`, which is empty until they are given back.
    #[must_use]
    pub(super) fn borrow<const D: usize>(tensor: &mut Tensor<D>) -> Self {
        let empty = Tensor::empty([0; D], &tensor.device());
        Self::take(std::mem::replace(tensor, empty))
    }

    /// The numbers.
    #[must_use]
    pub(super) fn values(&self) -> &[f32] {
        self.0.as_slice().expect("tensors of a bundle are f32")
    }

    /// The numbers, to be changed.
    #[must_use]
    pub(super) fn values_mut(&mut self) -> &mut [f32] {
        self.0.as_mut_slice().expect("tensors of a bundle are f32")
    }

    /// Gives them back as a tensor.
    #[must_use]
    pub(super) fn give<const D: usize>(self, device: &Device) -> Tensor<D> {
        Tensor::from_data(self.0, device)
    }
}

impl From<TensorData> for Numbers {
    fn from(data: TensorData) -> Self {
        Self(data)
    }
}
