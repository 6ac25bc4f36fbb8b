//! Small help for reading and writing safetensors whose bytes are not trusted.

use safetensors::{Dtype, SafeTensorError, SafeTensors};

/// A file of tensors that is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum InvalidTensors {
    /// Not a safetensors file, or a tensor is missing.
    #[error("cannot read the tensors: {0}")]
    Unreadable(#[from] SafeTensorError),
    /// A tensor of another type.
    #[error("tensor {name} holds {found:?}, not {expected:?}")]
    Type {
        /// The tensor.
        name: String,
        /// What it should hold.
        expected: Dtype,
        /// What it holds.
        found: Dtype,
    },
    /// A tensor of another shape.
    #[error("tensor {name} has the shape {found:?}, not {expected:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// The shape it should have.
        expected: Vec<usize>,
        /// The shape it has.
        found: Vec<usize>,
    },
    /// A tensor with NaN or infinity in it.
    #[error("tensor {name} holds a number that is not finite")]
    NotFinite {
        /// The tensor.
        name: String,
    },
    /// The metadata or the numbers contradict themselves.
    #[error("{0}")]
    Inconsistent(String),
}

fn checked<'a>(
    file: &SafeTensors<'a>,
    name: &str,
    dtype: Dtype,
    shape: Option<&[usize]>,
) -> Result<&'a [u8], InvalidTensors> {
    let tensor = file.tensor(name)?;
    if tensor.dtype() != dtype {
        return Err(InvalidTensors::Type { name: name.to_owned(), expected: dtype, found: tensor.dtype() });
    }
    if let Some(expected) = shape.filter(|shape| *shape != tensor.shape()) {
        let (expected, found) = (expected.to_vec(), tensor.shape().to_vec());
        return Err(InvalidTensors::Shape { name: name.to_owned(), expected, found });
    }
    Ok(tensor.data())
}

/// A tensor of finite f32 numbers.
///
/// # Errors
/// If it is missing, or of another type or shape, or not finite.
pub fn finite_f32(file: &SafeTensors<'_>, name: &str, shape: &[usize]) -> Result<Vec<f32>, InvalidTensors> {
    let bytes = checked(file, name, Dtype::F32, Some(shape))?;
    let values: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    if values.iter().all(|value| value.is_finite()) {
        Ok(values)
    } else {
        Err(InvalidTensors::NotFinite { name: name.to_owned() })
    }
}

/// A tensor of finite f64 numbers.
///
/// # Errors
/// If it is missing, or of another type or shape, or not finite.
pub fn finite_f64(file: &SafeTensors<'_>, name: &str, shape: &[usize]) -> Result<Vec<f64>, InvalidTensors> {
    let bytes = checked(file, name, Dtype::F64, Some(shape))?;
    let values: Vec<f64> = bytes.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
    if values.iter().all(|value| value.is_finite()) {
        Ok(values)
    } else {
        Err(InvalidTensors::NotFinite { name: name.to_owned() })
    }
}

/// Bytes, such as a file within the file; nothing where there is no such tensor.
///
/// # Errors
/// If it is of another type.
pub fn optional_bytes<'a>(file: &SafeTensors<'a>, name: &str) -> Result<Option<&'a [u8]>, InvalidTensors> {
    match checked(file, name, Dtype::U8, None) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(InvalidTensors::Unreadable(SafeTensorError::TensorNotFound(_))) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A tensor of i8 numbers.
///
/// # Errors
/// If it is missing, or of another type or shape.
pub fn i8_list(file: &SafeTensors<'_>, name: &str, shape: &[usize]) -> Result<Vec<i8>, InvalidTensors> {
    Ok(checked(file, name, Dtype::I8, Some(shape))?.iter().map(|byte| byte.cast_signed()).collect())
}

/// A list of f32 numbers, of whatever length. They may be anything.
///
/// # Errors
/// If it is missing, or of another type.
pub fn f32_list(file: &SafeTensors<'_>, name: &str) -> Result<Vec<f32>, InvalidTensors> {
    let bytes = checked(file, name, Dtype::F32, None)?;
    Ok(bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}

/// A list of u32 numbers, of whatever length.
///
/// # Errors
/// If it is missing, or of another type.
pub fn u32_list(file: &SafeTensors<'_>, name: &str) -> Result<Vec<u32>, InvalidTensors> {
    let bytes = checked(file, name, Dtype::U32, None)?;
    Ok(bytes.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect())
}

/// A list of u64 numbers of that length.
///
/// # Errors
/// If it is missing, or of another type or length.
pub fn u64_list(file: &SafeTensors<'_>, name: &str, length: usize) -> Result<Vec<u64>, InvalidTensors> {
    let bytes = checked(file, name, Dtype::U64, Some(&[length]))?;
    Ok(bytes.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect())
}

/// The bytes of a tensor of f32.
#[must_use]
pub fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The bytes of a tensor of f64.
#[must_use]
pub fn f64_bytes(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The bytes of a tensor of u32.
#[must_use]
pub fn u32_bytes(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The bytes of a tensor of u64.
#[must_use]
pub fn u64_bytes(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}
