//! Nets that were trained elsewhere: from a file of PyTorch's or of safetensors to tensors of f32, under the names that the file, or a
//! person, gives them. Knows no architecture: who has one compares names and shapes.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::Path,
};

use half::{bf16, f16};
use pytorch_reader::{DType, PytorchError, PytorchReader};
use safetensors::{Dtype, SafeTensorError, SafeTensors, tensor::TensorView};

use crate::tensors::{self, InvalidTensors, f32_bytes};

/// How the name of a file ends that can be read.
pub const ENDINGS: [&str; 3] = [".safetensors", ".pt", ".pth"];

/// The tensors of a file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ForeignNet {
    /// By name: shape and numbers.
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    /// Names of those that hold no floating-point numbers, such as a count of batches.
    pub left_out: Vec<String>,
}

/// A file that is no net.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file, or a tensor in it, cannot be read.
    #[error("cannot read the file")]
    Unreadable(#[from] io::Error),
    /// Not a file of safetensors.
    #[error("not a safetensors file")]
    Safetensors(#[from] SafeTensorError),
    /// Not what PyTorch saves.
    #[error("not a PyTorch state_dict file; save one with torch.save(net.state_dict(), PATH)")]
    Pytorch(#[from] Box<PytorchError>),
    /// The name does not tell what it is.
    #[error("unknown file type (expected a name ending in {})", ENDINGS.join(", "))]
    Unknown,
    /// Nothing is renamed so.
    #[error("rename: no tensor name starts with {0:?} (the names are {1})")]
    NothingToRename(String, String),
    /// Two tensors would have one name.
    #[error("rename: two tensors would be named {0:?}")]
    SameName(String),
}

/// Reads a file of safetensors, or one that PyTorch saved.
///
/// # Errors
/// If it is neither, or damaged.
pub fn read(path: &Path) -> Result<ForeignNet, ImportError> {
    let name = path.to_string_lossy().to_lowercase();
    let [safetensors, pt, pth] = ENDINGS.map(|ending| name.ends_with(ending));
    let mut net = ForeignNet::default();
    if safetensors {
        let bytes = fs::read(path)?;
        for (name, view) in SafeTensors::deserialize(&bytes)?.tensors() {
            net.add(name, view.dtype(), view.shape().to_vec(), view.data());
        }
    } else if pt || pth {
        // What cannot be opened is not a question of the format.
        drop(fs::File::open(path)?);
        for (name, tensor) in PytorchReader::new(path).map_err(Box::new)?.into_tensors() {
            net.add(name, dtype(tensor.dtype()), tensor.shape().to_vec(), &tensor.read()?);
        }
    } else {
        return Err(ImportError::Unknown);
    }
    net.left_out.sort_unstable();
    Ok(net)
}

impl ForeignNet {
    fn add(&mut self, name: String, dtype: Dtype, shape: Vec<usize>, bytes: &[u8]) {
        match numbers(dtype, bytes) {
            Some(numbers) => {
                self.tensors.insert(name, (shape, numbers));
            }
            None => self.left_out.push(name),
        }
    }

    /// The same under other names: of each name, the longest beginning that is among `renamed`, up to its end or a dot, becomes what
    /// stands there; nothing at all if that is empty.
    ///
    /// # Errors
    /// If a beginning is that of no name, or if two tensors would have one name.
    pub fn rename(self, renamed: &[(String, String)]) -> Result<Self, ImportError> {
        let after = |name: &str, beginning: &str| match name.strip_prefix(beginning)? {
            "" => Some(String::new()),
            rest => rest.strip_prefix('.').map(str::to_owned),
        };
        if let Some((unused, _)) =
            renamed.iter().find(|(beginning, _)| !self.tensors.keys().any(|name| after(name, beginning).is_some()))
        {
            let names = self.tensors.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(ImportError::NothingToRename(unused.clone(), names));
        }
        let mut tensors = BTreeMap::new();
        for (name, tensor) in self.tensors {
            let fitting =
                renamed.iter().filter_map(|(beginning, new)| Some((beginning.len(), new, after(&name, beginning)?)));
            let name = match fitting.max_by_key(|(length, ..)| *length) {
                None => name,
                Some((_, new, rest)) if new.is_empty() || rest.is_empty() => format!("{new}{rest}"),
                Some((_, new, rest)) => format!("{new}.{rest}"),
            };
            if tensors.insert(name.clone(), tensor).is_some() {
                return Err(ImportError::SameName(name));
            }
        }
        Ok(Self { tensors, left_out: self.left_out })
    }

    /// The tensors as a file of safetensors. Equal nets give equal bytes.
    ///
    /// # Errors
    /// If there are more than the format can hold.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, InvalidTensors> {
        let buffers: Vec<_> =
            self.tensors.iter().map(|(name, (shape, values))| (name, shape, f32_bytes(values))).collect();
        let views = (buffers.iter())
            .map(|(name, shape, bytes)| Ok((name.as_str(), TensorView::new(Dtype::F32, (*shape).clone(), bytes)?)))
            .collect::<Result<Vec<_>, SafeTensorError>>()?;
        Ok(safetensors::serialize(views, None::<HashMap<String, String>>)?)
    }
}

/// Names and shapes of the tensors of a file that [`ForeignNet::to_safetensors`] made, by name.
///
/// # Errors
/// If it is another one, or holds a number that is not finite.
pub fn shapes(bytes: &[u8]) -> Result<Vec<(String, Vec<usize>)>, InvalidTensors> {
    let file = SafeTensors::deserialize(bytes)?;
    let mut shapes: Vec<_> = file.tensors().into_iter().map(|(name, view)| (name, view.shape().to_vec())).collect();
    shapes.sort_unstable();
    for (name, shape) in &shapes {
        tensors::finite_f32(&file, name, shape)?;
    }
    Ok(shapes)
}

/// Returns little-endian numbers of the type as f32; `None` for a type that is not floating point.
fn numbers(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    let (pairs, quads, eights) = (bytes.as_chunks::<2>().0, bytes.as_chunks::<4>().0, bytes.as_chunks::<8>().0);
    match dtype {
        Dtype::F16 => Some(pairs.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect()),
        Dtype::BF16 => Some(pairs.iter().map(|bytes| bf16::from_le_bytes(*bytes).to_f32()).collect()),
        Dtype::F32 => Some(quads.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()),
        // What is out of range becomes infinite, and is refused as such.
        Dtype::F64 => Some(eights.iter().map(|bytes| f64::from_le_bytes(*bytes) as f32).collect()),
        _ => None,
    }
}

const fn dtype(of_pytorch: DType) -> Dtype {
    match of_pytorch {
        DType::F64 => Dtype::F64,
        DType::F32 => Dtype::F32,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::I64 => Dtype::I64,
        DType::I32 => Dtype::I32,
        DType::I16 => Dtype::I16,
        DType::I8 => Dtype::I8,
        DType::U64 => Dtype::U64,
        DType::U32 => Dtype::U32,
        DType::U16 => Dtype::U16,
        DType::U8 => Dtype::U8,
        DType::Bool => Dtype::BOOL,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn golden(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
    }

    fn pair(old: &str, new: &str) -> (String, String) {
        (old.to_owned(), new.to_owned())
    }

    fn flat(value: &serde_json::Value) -> Vec<f32> {
        match value {
            serde_json::Value::Array(values) => values.iter().flat_map(flat).collect(),
            value => vec![value.as_f64().expect("a number") as f32],
        }
    }

    /// Made by PyTorch; `tests/golden/README.md` says how.
    #[test]
    fn files_of_pytorch_and_of_safetensors_hold_the_net_that_was_saved() {
        let net = read(&golden("foreign.pt")).expect("reads");
        assert_eq!(net, read(&golden("foreign.safetensors")).expect("reads"));
        assert_eq!(net.left_out, ["module.norm.num_batches_tracked"]);
        let index = fs::read(golden("index.json")).expect("is there");
        let index: serde_json::Value = serde_json::from_slice(&index).expect("JSON");
        let expected = index["foreign"].as_object().expect("a map");
        assert_eq!(net.tensors.len(), expected.len());
        for (name, values) in expected {
            assert_eq!(net.tensors[name].1, flat(values), "{name}");
        }
        assert_eq!(net.tensors["module.fc1.weight"].0, [3, 4]);
    }

    #[test]
    fn beginnings_of_names_are_replaced_the_longest_first() {
        let net = read(&golden("foreign.pt")).expect("reads");
        let renamed = [pair("module", ""), pair("module.fc1", "layers.0"), pair("module.fc2.weight", "last")];
        let net = net.rename(&renamed).expect("renames");
        let shapes = shapes(&net.to_safetensors().expect("writes")).expect("reads");
        let names: Vec<&str> = shapes.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["fc2.bias", "last", "layers.0.bias", "layers.0.weight"]);
    }

    #[test]
    fn a_name_that_is_not_there_or_twice_is_refused() {
        let net = read(&golden("foreign.pt")).expect("reads");
        // Half a word is no beginning.
        for beginning in ["mod", "module.fc", "module.fc1.weight.x", ""] {
            let refused = net.clone().rename(&[pair(beginning, "x")]).expect_err("is refused");
            assert!(
                matches!(&refused, ImportError::NothingToRename(_, names) if names.contains("module.fc1.bias")),
                "{refused}"
            );
        }
        let same = [pair("module.fc1", "x"), pair("module.fc2", "x")];
        assert!(matches!(net.rename(&same), Err(ImportError::SameName(_))));
    }

    #[test]
    fn what_is_cut_off_or_no_net_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["foreign.pt", "foreign.safetensors"] {
            let bytes = fs::read(golden(name)).expect("is there");
            let cut = folder.path().join(name);
            for length in (0..bytes.len()).step_by(37) {
                fs::write(&cut, &bytes[..length]).expect("room");
                assert!(read(&cut).is_err(), "{name} is read from {length} of {} bytes", bytes.len());
            }
            fs::write(&cut, b"layers.0.weight: [1, 2]").expect("room");
            assert!(read(&cut).is_err());
        }
        assert!(matches!(read(&folder.path().join("missing.pt")), Err(ImportError::Unreadable(_))));
        assert!(matches!(read(&golden("index.json")), Err(ImportError::Unknown)));
    }

    #[test]
    fn numbers_that_are_not_finite_as_f32_are_refused() {
        for number in [f64::NAN, f64::INFINITY, 1e300] {
            let mut net = ForeignNet::default();
            net.add("a".to_owned(), Dtype::F64, vec![1], &number.to_le_bytes());
            let bytes = net.to_safetensors().expect("writes");
            assert!(matches!(shapes(&bytes), Err(InvalidTensors::NotFinite { .. })));
        }
    }
}
