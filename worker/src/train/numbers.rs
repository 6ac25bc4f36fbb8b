//! Access to the numbers of tensors in the processor's memory without a copy.

use burn::tensor::{Device, Tensor, TensorData};

/// The numbers of a tensor in the processor's memory. Conversion from and to a tensor moves them if the tensor has no
/// other owner.
#[derive(Debug)]
pub(super) struct Numbers(TensorData);

impl Numbers {
    /// Takes the numbers out of `tensor`.
    #[must_use]
    pub(super) fn take<const D: usize>(tensor: Tensor<D>) -> Self {
        Self(tensor.into_data())
    }

    /// Takes the numbers out of `tensor`, which is empty until they are put back.
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

    /// The numbers, mutable.
    #[must_use]
    pub(super) fn values_mut(&mut self) -> &mut [f32] {
        self.0.as_mut_slice().expect("tensors of a bundle are f32")
    }

    /// Converts them back to a tensor.
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
