//! Nets that were trained elsewhere: from a file of PyTorch's, of safetensors or of ONNX to tensors of f32 under the names of the net's.
//!
//! [`Checkpoint::open`] reads what is in the file, [`Checkpoint::fit`] finds the net in it, and [`ForeignNet::to_safetensors`] writes that
//! as the file that a sweep is planned from and that workers read.

mod fit;
mod onnx;
mod pickle;
mod source;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::Path,
};

use safetensors::{Dtype, SafeTensorError, SafeTensors, tensor::TensorView};

pub use self::{
    fit::{FitError, Wanted},
    onnx::OnnxError,
    pickle::PickleError,
};
use self::{
    pickle::{Id, Node, Objects, Tensor},
    source::{Content, Source, row_major, width},
};
use crate::tensors::{self, InvalidTensors, f32_bytes};

/// What a file has to be, for people.
pub const READABLE: &str =
    "a PyTorch checkpoint (`.pt`, `.pth`, `.ckpt`, `.bin`, `.pth.tar`), `.safetensors` or `.onnx`";

/// How deep dictionaries may be in dictionaries, how many values they may hold in all, and how long a name may be.
const DEEPEST: usize = 32;
const MOST_VALUES: usize = 1 << 18;
const LONGEST_NAME: usize = 1000;
/// The most bytes that a tensor may be scattered over.
const WIDEST_SPAN: u64 = 1 << 32;

/// What is in a file. Numbers of tensors are read when they are asked for.
pub struct Checkpoint {
    source: Source,
    /// By their keys in the dictionaries of the file, joined by dots, in the order of the file.
    tensors: Vec<(String, Tensor)>,
    /// Names of the values that are no tensors.
    others: Vec<String>,
}

/// A file that holds no tensors that can be read.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file, or a tensor in it, cannot be read.
    #[error("cannot read the file")]
    Unreadable(#[from] io::Error),
    /// It is packed, and cannot be unpacked.
    #[error("cannot unpack the file, which is damaged or cut short")]
    Packed(#[source] io::Error),
    /// Not a file of safetensors, though it begins like one.
    #[error("not a safetensors file")]
    Safetensors(#[from] SafeTensorError),
    /// Not what PyTorch saves, though it begins like that.
    #[error("not a PyTorch checkpoint")]
    Pickle(#[from] PickleError),
    /// Something else: what it is, and what to do.
    #[error("the file is {0}")]
    Foreign(&'static str),
    /// A graph of ONNX that is not the net.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// There is a Python object where a dictionary should be. It is not executed.
    #[error(
        "the file holds a Python object ({0}) in place of a state_dict; save one with torch.save(net.state_dict(), PATH)"
    )]
    Object(String),
    /// There is no tensor in it.
    #[error("the file holds no tensors; save them with torch.save(net.state_dict(), PATH)")]
    NoTensors,
    /// It is larger than any checkpoint.
    #[error("the file holds more than {MOST_VALUES} values; save the state_dict alone")]
    TooMany,
    /// Numbers of a tensor are missing.
    #[error("the numbers of a tensor (storage {0}) are not all there: the file is damaged or cut short")]
    Cut(String),
}

impl Checkpoint {
    /// Opens a file, whatever its name.
    ///
    /// # Errors
    /// If it holds no tensors, or is damaged.
    pub fn open(path: &Path) -> Result<Self, ImportError> {
        Self::of(Source::open(path)?)
    }

    /// The same of bytes.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, ImportError> {
        Self::of(Source::of(Box::new(io::Cursor::new(bytes)), 0)?)
    }

    fn of(mut source: Source) -> Result<Self, ImportError> {
        let (mut tensors, others) = match &mut source.content {
            Content::Tensors(all) => (std::mem::take(all), Vec::new()),
            // Its tensors have names once the net is known.
            Content::Onnx(_) => return Ok(Self { source, tensors: Vec::new(), others: Vec::new() }),
            Content::Pickle(objects) => {
                if let Node::Opaque(class) = objects.get(objects.root) {
                    return Err(ImportError::Object(class.clone()));
                }
                let mut flat = Flat { objects, tensors: Vec::new(), others: Vec::new(), values: 0 };
                flat.add(String::new(), objects.root, 0)?;
                (flat.tensors, flat.others)
            }
        };
        // Of a key that is there twice, Python keeps the last value.
        let mut last: HashMap<String, usize> = HashMap::new();
        for (place, (name, _)) in tensors.iter().enumerate() {
            last.insert(name.clone(), place);
        }
        let mut place = 0..;
        tensors.retain(|(name, _)| place.next() == last.get(name).copied());
        if tensors.is_empty() { Err(ImportError::NoTensors) } else { Ok(Self { source, tensors, others }) }
    }

    /// The numbers of a tensor in row-major order, by `convert`. `None` if that does not take their type.
    fn numbers<T: Copy>(
        &mut self,
        tensor: &Tensor,
        convert: fn(Dtype, &[u8]) -> Option<Vec<T>>,
    ) -> Result<Option<Vec<T>>, ImportError> {
        let cut = || ImportError::Cut(tensor.storage.clone());
        let (Ok(dtype), Some(width)) = (&tensor.numbers, width(&tensor.numbers)) else { return Ok(None) };
        if tensor.shape.contains(&0) {
            return Ok(convert(*dtype, &[]));
        }
        let reach = tensor.shape.iter().zip(&tensor.stride).try_fold(0_u64, |reach, (size, stride)| {
            (size - 1).checked_mul(*stride).and_then(|more| reach.checked_add(more))
        });
        let span = reach.and_then(|reach| reach.checked_add(1)?.checked_mul(width)).ok_or_else(cut)?;
        let start = tensor.offset.checked_mul(width).ok_or_else(cut)?;
        let is_row_major = tensor.stride == row_major(&tensor.shape);
        if !is_row_major && span > WIDEST_SPAN {
            return Err(cut());
        }
        let Some(numbers) = convert(*dtype, &self.source.bytes(&tensor.storage, start, span)?) else { return Ok(None) };
        if is_row_major {
            return Ok(Some(numbers));
        }
        let mut places = vec![0_usize];
        for (size, stride) in tensor.shape.iter().zip(&tensor.stride) {
            let (size, stride) = (*size as usize, *stride as usize);
            places = places.iter().flat_map(|place| (0..size).map(move |step| place + step * stride)).collect();
        }
        Ok(Some(places.into_iter().map(|place| numbers[place]).collect()))
    }
}

/// Collects the values of dictionaries by their keys.
struct Flat<'a> {
    objects: &'a Objects,
    tensors: Vec<(String, Tensor)>,
    others: Vec<String>,
    values: usize,
}

impl Flat<'_> {
    fn add(&mut self, name: String, id: Id, depth: usize) -> Result<(), ImportError> {
        self.values += 1;
        if self.values > MOST_VALUES {
            return Err(ImportError::TooMany);
        }
        let objects = self.objects;
        let join = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
        match objects.get(id) {
            Node::Tensor(tensor) => self.tensors.push((name, tensor.clone())),
            _ if depth >= DEEPEST || name.len() > LONGEST_NAME => {}
            Node::Dict(entries) if !entries.is_empty() => {
                for (key, value) in entries {
                    let key = match objects.get(*key) {
                        Node::Text(key) => key.clone(),
                        Node::Int(key) => key.to_string(),
                        // Names of tensors are texts.
                        _ => continue,
                    };
                    self.add(join(&key), *value, depth + 1)?;
                }
            }
            Node::List(items) if !items.is_empty() => {
                for (place, item) in items.iter().enumerate() {
                    self.add(join(&place.to_string()), *item, depth + 1)?;
                }
            }
            _ => self.others.push(name),
        }
        Ok(())
    }
}

/// A net under the names of the sweep's.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ForeignNet {
    /// By name: shape and numbers.
    pub tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    /// Of tensors that were pruned: whether each number is kept. Those that are not are zero.
    pub masks: BTreeMap<String, Vec<bool>>,
    /// What a person should know of how it was found.
    pub notes: Vec<String>,
}

/// Behind the name of a tensor, the name of its mask.
pub(crate) const MASK: &str = "_mask";

impl ForeignNet {
    /// The tensors and masks as a file of safetensors. Equal nets give equal bytes.
    ///
    /// # Errors
    /// If there are more than the format can hold.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, InvalidTensors> {
        let numbers =
            self.tensors.iter().map(|(name, (shape, values))| (name.clone(), shape, Dtype::F32, f32_bytes(values)));
        let masks = self.masks.iter().filter_map(|(name, kept)| {
            let (shape, _) = self.tensors.get(name)?;
            Some((format!("{name}{MASK}"), shape, Dtype::U8, kept.iter().map(|kept| u8::from(*kept)).collect()))
        });
        let buffers: Vec<(_, _, _, Vec<u8>)> = numbers.chain(masks).collect();
        let views = (buffers.iter())
            .map(|(name, shape, dtype, bytes)| Ok((name.as_str(), TensorView::new(*dtype, (*shape).clone(), bytes)?)))
            .collect::<Result<Vec<_>, SafeTensorError>>()?;
        Ok(safetensors::serialize(views, None::<HashMap<String, String>>)?)
    }
}

/// What is in a file that [`ForeignNet::to_safetensors`] made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Names and shapes of the tensors, by name.
    pub tensors: Vec<(String, Vec<usize>)>,
    /// Of tensors with a mask: how many of their numbers are removed.
    pub removed: BTreeMap<String, u64>,
}

/// Reads names, shapes and masks of a file that [`ForeignNet::to_safetensors`] made.
///
/// # Errors
/// If it is another one, or holds a number that is not finite.
pub fn contents(bytes: &[u8]) -> Result<Contents, InvalidTensors> {
    let file = SafeTensors::deserialize(bytes)?;
    let mut contents = Contents::default();
    for (name, view) in file.tensors() {
        if let (Dtype::U8, Some(of)) = (view.dtype(), name.strip_suffix(MASK)) {
            let removed = view.data().iter().filter(|kept| **kept == 0).count() as u64;
            contents.removed.insert(of.to_owned(), removed);
        } else {
            tensors::finite_f32(&file, &name, view.shape())?;
            contents.tensors.push((name, view.shape().to_vec()));
        }
    }
    contents.tensors.sort_unstable();
    Ok(contents)
}
