//! Opens the file of a checkpoint by its content, whatever its name says: what PyTorch saves (a zip archive, or a row of pickles as before
//! version 1.6), safetensors, and either of them alone in a gzip file or in an archive. Numbers are read when they are asked for.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufReader, Cursor, Read, Seek, SeekFrom},
    path::Path,
};

use flate2::read::MultiGzDecoder;
use safetensors::{Dtype, SafeTensorError, tensor::Metadata};
use secateur_proto::spec::ModelSpec;
use zip::{ZipArchive, result::ZipError};

use super::{
    ImportError,
    onnx::{Onnx, OnnxError, Tensors},
    pickle::{Node, Numbers, Objects, PickleError, Storage, Tensor},
};

/// The most bytes that are unpacked into memory.
const MOST_UNPACKED: u64 = 1 << 30;
/// The longest header of a safetensors file.
const LONGEST_HEADER: u64 = 100 << 20;
/// How deep archives may be in archives.
const MOST_LAYERS: u8 = 3;

/// Something to read from anywhere in it.
pub(super) trait Input: Read + Seek + Send {}
impl<T: Read + Seek + Send> Input for T {}

/// What begins with these bytes holds no tensors that are read here: what it is, and what to do.
const FOREIGN: &[(&[u8], &str)] = &[
    (
        b"version https://git-lfs.github.com/spec/",
        "a Git LFS pointer and not the file that it stands for; run `git lfs pull`",
    ),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes them; save the tensors with safetensors"),
    (b"\x93NUMPY", "a NumPy array; save the tensors with safetensors"),
    (b"GGUF", "a GGUF file; save the tensors with safetensors"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd; decompress it (`zstd -d`)"),
    (b"BZh91AY&SY", "compressed by bzip2; decompress it (`bunzip2`)"),
    (b"\xfd7zXZ\0", "compressed by xz; decompress it (`unxz`)"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; unpack it"),
    (b"Rar!\x1a\x07", "a RAR archive; unpack it"),
    (b"<!doctype", "an HTML page, perhaps one that asks to sign in; download the file again"),
    (b"<html", "an HTML page, perhaps one that asks to sign in; download the file again"),
    (b"{", "JSON; save the tensors with safetensors, or with torch.save(net.state_dict(), PATH)"),
];

const NOT_A_CHECKPOINT: &str =
    "neither a PyTorch checkpoint nor a safetensors file; save one with torch.save(net.state_dict(), PATH)";

/// Tensors by name, and notes for people.
pub(super) type Named = (Vec<(String, Tensor)>, Vec<String>);

/// What a file holds: objects, and where the numbers of its tensors are.
pub(super) struct Source {
    pub(super) content: Content,
    numbers: Storages,
}

pub(super) enum Content {
    Pickle(Objects),
    /// Tensors by name.
    Tensors(Vec<(String, Tensor)>),
    /// A graph.
    Onnx(Box<Onnx>),
}

enum Storages {
    Zip {
        archive: Box<ZipArchive<Box<dyn Input>>>,
        folder: String,
    },
    /// Where each begins, and its bytes.
    Ranges {
        input: Box<dyn Input>,
        places: HashMap<String, (u64, u64)>,
    },
}

impl Source {
    pub(super) fn open(path: &Path) -> Result<Self, ImportError> {
        let file = File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(ImportError::Foreign("a folder; name the file in it that holds the tensors"));
        }
        Self::of(Box::new(BufReader::new(file)), 0)
    }

    /// `layers`: how many archives it was in.
    pub(super) fn of(mut input: Box<dyn Input>, layers: u8) -> Result<Self, ImportError> {
        let mut head = Vec::new();
        (&mut input).take(512).read_to_end(&mut head)?;
        input.rewind()?;
        if head.is_empty() {
            return Err(ImportError::Foreign("empty"));
        }
        if layers > MOST_LAYERS {
            return Err(ImportError::Foreign("an archive in an archive in an archive; unpack it"));
        }
        match head.as_slice() {
            [b'P', b'K', 3, 4, ..] => zip(input, layers),
            [0x1f, 0x8b, ..] => Self::of(unpacked(MultiGzDecoder::new(input))?, layers + 1),
            [0x80, 2..=5, ..] => pickles(input),
            head if head.get(257..262) == Some(b"ustar") => tar(input, layers),
            head if head.get(4..9) == Some(b"\0\0\0\0{") => safetensors(input),
            // The first field of a file of ONNX is the version of its format. Many other files begin like that.
            [8, 1..=32, ..] if let Some(onnx) = onnx(&mut input)? => Ok(onnx),
            head => {
                let start = head.strip_prefix("\u{feff}".as_bytes()).unwrap_or(head).trim_ascii_start();
                let is = |magic: &[u8]| start.get(..magic.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(magic));
                let known = FOREIGN.iter().find(|(magic, _)| is(magic));
                Err(ImportError::Foreign(known.map_or(NOT_A_CHECKPOINT, |(_, what)| what)))
            }
        }
    }

    /// The names and shapes that the tensors of a graph have in the net that is wanted, and what to know of it. `None` if it is no graph.
    pub(super) fn named(&mut self, model: &ModelSpec) -> Result<Option<Named>, OnnxError> {
        let Content::Onnx(onnx) = &self.content else { return Ok(None) };
        let Tensors { tensors, places, bytes, notes } = onnx.tensors(model)?;
        self.numbers = Storages::Ranges { input: Box::new(Cursor::new(bytes)), places };
        Ok(Some((tensors, notes)))
    }

    /// Bytes of a storage.
    pub(super) fn bytes(&mut self, storage: &str, start: u64, length: u64) -> Result<Vec<u8>, ImportError> {
        let cut = || ImportError::Cut(storage.to_owned());
        let end = start.checked_add(length).ok_or_else(cut)?;
        let mut bytes = Vec::new();
        match &mut self.numbers {
            Storages::Zip { archive, folder } => {
                let mut entry = archive.by_name(&format!("{folder}data/{storage}")).map_err(|_| cut())?;
                io::copy(&mut (&mut entry).take(start), &mut io::sink()).map_err(|_| cut())?;
                (&mut entry).take(length).read_to_end(&mut bytes).map_err(|_| cut())?;
                // The checksum is compared at the end.
                if end == entry.size() {
                    entry.read(&mut [0]).map_err(|_| cut())?;
                }
            }
            Storages::Ranges { input, places } => {
                let (place, size) = *places.get(storage).ok_or_else(cut)?;
                if end > size {
                    return Err(cut());
                }
                input.seek(SeekFrom::Start(place + start))?;
                input.take(length).read_to_end(&mut bytes)?;
            }
        }
        if bytes.len() as u64 == length { Ok(bytes) } else { Err(cut()) }
    }
}

/// `None` if it is no graph.
fn onnx(input: &mut Box<dyn Input>) -> Result<Option<Source>, ImportError> {
    let mut bytes = Vec::new();
    input.take(MOST_UNPACKED + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_UNPACKED {
        return Ok(None);
    }
    let numbers = Storages::Ranges { input: Box::new(io::empty()), places: HashMap::new() };
    Ok(Onnx::read(&bytes).map(|onnx| Source { content: Content::Onnx(Box::new(onnx)), numbers }))
}

fn unpacked(mut packed: impl Read) -> Result<Box<dyn Input>, ImportError> {
    let mut bytes = Vec::new();
    (&mut packed).take(MOST_UNPACKED + 1).read_to_end(&mut bytes).map_err(ImportError::Packed)?;
    if bytes.len() as u64 > MOST_UNPACKED {
        return Err(ImportError::Foreign("more than 1 GiB when it is unpacked; unpack it first"));
    }
    Ok(Box::new(Cursor::new(bytes)))
}

/// What `torch.save` writes, or an archive that somebody put a checkpoint in.
fn zip(input: Box<dyn Input>, layers: u8) -> Result<Source, ImportError> {
    let damaged = |error: ZipError| match error {
        ZipError::Io(error) => ImportError::Packed(error),
        error => ImportError::Packed(io::Error::other(error)),
    };
    let mut archive = ZipArchive::new(input).map_err(damaged)?;
    let names: Vec<String> = archive.file_names().filter_map(|name| Some(name.ok()?.into_owned())).collect();
    let pickle = names.iter().find(|name| *name == "data.pkl" || name.ends_with("/data.pkl"));
    let Some(pickle) = pickle else {
        let mut files = names.iter().filter(|name| !name.ends_with('/'));
        return match (files.next(), files.next()) {
            (Some(only), None) => {
                let inner = unpacked(archive.by_name(only).map_err(damaged)?)?;
                Source::of(inner, layers + 1)
            }
            _ if names.iter().any(|name| name == "[Content_Types].xml") => {
                Err(ImportError::Foreign("an Office document; name the file that holds the tensors"))
            }
            _ if names.iter().all(|name| name.ends_with(".npy")) => {
                Err(ImportError::Foreign("NumPy arrays (.npz); save the tensors with safetensors"))
            }
            _ => Err(ImportError::Foreign(
                "a zip archive of several files and not a PyTorch checkpoint; unpack it, and name the file that holds the tensors",
            )),
        };
    };
    let folder = pickle.trim_end_matches("data.pkl").to_owned();
    if names.contains(&format!("{folder}constants.pkl")) {
        return Err(ImportError::Foreign(
            "a TorchScript program; load it and save its tensors: torch.save(torch.jit.load(PATH).state_dict(), NEW_PATH)",
        ));
    }
    if let Ok(mut order) = archive.by_name(&format!("{folder}byteorder")) {
        let mut text = String::new();
        (&mut order).take(16).read_to_string(&mut text).map_err(ImportError::Packed)?;
        if text.trim() == "big" {
            return Err(ImportError::Foreign(
                "of a machine with another order of bytes; save the tensors with safetensors",
            ));
        }
    }
    let objects = {
        let entry = archive.by_name(pickle).map_err(damaged)?;
        Objects::read(&mut BufReader::new(entry), &mut 0)?
    };
    Ok(Source { content: Content::Pickle(objects), numbers: Storages::Zip { archive: Box::new(archive), folder } })
}

/// The number that a file of `torch.save` before version 1.6 begins with, as the pickle of one integer.
const MAGIC: &[u8] = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// A pickle; or what `torch.save` wrote before version 1.6: a magic number, a version, facts of the machine, the objects, the names of
/// their storages, and these, each with its length before it.
fn pickles(mut input: Box<dyn Input>) -> Result<Source, ImportError> {
    let mut head = [0; 15];
    let is_of_torch = input.read_exact(&mut head).is_ok() && head[2..] == *MAGIC;
    input.rewind()?;
    let mut reader = BufReader::new(input);
    let mut position = 0;
    if is_of_torch {
        for _ in 0..3 {
            Objects::read(&mut reader, &mut position)?;
        }
    }
    let objects = Objects::read(&mut reader, &mut position)?;
    let mut places = HashMap::new();
    if is_of_torch {
        let keys = Objects::read(&mut reader, &mut position)?;
        let mut input = reader.into_inner();
        let end = input.seek(SeekFrom::End(0))?;
        let storages: HashMap<&str, &Storage> =
            objects.storages().map(|storage| (storage.key.as_str(), storage)).collect();
        let Node::List(keys_in_order) = keys.get(keys.root) else { return Err(PickleError::Damaged(position).into()) };
        for key in keys_in_order {
            let Node::Text(key) = keys.get(*key) else { return Err(PickleError::Damaged(position).into()) };
            // One that no tensor refers to has no size that is known, and neither has what stands behind it.
            let Some(width) = storages.get(key.as_str()).and_then(|storage| width(storage.numbers.as_ref()?)) else {
                break;
            };
            input.seek(SeekFrom::Start(position))?;
            let mut count = [0; 8];
            input.read_exact(&mut count).map_err(|_| PickleError::Cut)?;
            let size = u64::from_le_bytes(count).checked_mul(width).ok_or(PickleError::Cut)?;
            position += 8;
            if position.checked_add(size).is_none_or(|behind| behind > end) {
                return Err(PickleError::Cut.into());
            }
            places.insert(key.clone(), (position, size));
            position += size;
        }
        return Ok(Source { content: Content::Pickle(objects), numbers: Storages::Ranges { input, places } });
    }
    Ok(Source { content: Content::Pickle(objects), numbers: Storages::Ranges { input: reader.into_inner(), places } })
}

/// Bytes of a number. `None` for types that are not known.
pub(super) fn width(numbers: &Numbers) -> Option<u64> {
    numbers.as_ref().ok().filter(|dtype| dtype.bitsize() % 8 == 0).map(|dtype| dtype.bitsize() as u64 / 8)
}

fn safetensors(mut input: Box<dyn Input>) -> Result<Source, ImportError> {
    let mut head = vec![0; 8];
    input.read_exact(&mut head)?;
    let length = u64::from_le_bytes(<[u8; 8]>::try_from(&head[..]).unwrap_or_default());
    if length > LONGEST_HEADER {
        return Err(SafeTensorError::HeaderTooLarge.into());
    }
    (&mut input).take(length).read_to_end(&mut head)?;
    let header = head.get(8..).filter(|header| header.len() as u64 == length);
    let header = header.ok_or(SafeTensorError::InvalidHeaderLength)?;
    let metadata: Metadata = serde_json::from_slice(header).map_err(SafeTensorError::InvalidHeaderDeserialization)?;
    let begin = 8 + length;
    if input.seek(SeekFrom::End(0))? != begin + metadata.data_len() as u64 {
        return Err(SafeTensorError::MetadataIncompleteBuffer.into());
    }
    let (mut tensors, mut places) = (Vec::new(), HashMap::new());
    for name in metadata.offset_keys() {
        let Some(info) = metadata.info(&name) else { continue };
        let (start, end) = info.data_offsets;
        places.insert(name.clone(), (begin + start as u64, (end - start) as u64));
        let shape: Vec<u64> = info.shape.iter().map(|size| *size as u64).collect();
        let tensor =
            Tensor { storage: name.clone(), numbers: Ok(info.dtype), offset: 0, stride: row_major(&shape), shape };
        tensors.push((name, tensor));
    }
    Ok(Source { content: Content::Tensors(tensors), numbers: Storages::Ranges { input, places } })
}

/// The strides of a tensor whose numbers stand in order.
pub(super) fn row_major(shape: &[u64]) -> Vec<u64> {
    let mut stride = vec![1; shape.len()];
    for place in (1..shape.len()).rev() {
        stride[place - 1] = shape[place].saturating_mul(stride[place]);
    }
    stride
}

/// Bytes of a header in an archive of tar, and of what sizes are rounded up to.
const BLOCK: u64 = 512;

/// The only file in an archive.
fn tar(mut input: Box<dyn Input>, layers: u8) -> Result<Source, ImportError> {
    let damaged = || ImportError::Packed(io::Error::new(io::ErrorKind::InvalidData, "the tar archive is damaged"));
    let (mut position, mut files) = (0_u64, Vec::new());
    let end = input.seek(SeekFrom::End(0))?;
    while position + BLOCK <= end && files.len() < 2 {
        let mut header = [0; BLOCK as usize];
        input.seek(SeekFrom::Start(position))?;
        input.read_exact(&mut header)?;
        if header.iter().all(|byte| *byte == 0) {
            break;
        }
        let size = std::str::from_utf8(&header[124..136]).ok().map(|size| size.trim_matches(['\0', ' ']));
        let size = size.and_then(|size| u64::from_str_radix(size, 8).ok()).ok_or_else(damaged)?;
        // Others are folders, links and further headers.
        if matches!(header[156], b'0' | 0) {
            files.push((position + BLOCK, size));
        }
        position = position.saturating_add(BLOCK).saturating_add(size.div_ceil(BLOCK) * BLOCK);
    }
    let [(start, size)] = files[..] else {
        return Err(ImportError::Foreign(
            "a tar archive of several files; unpack it, and name the file that holds the tensors",
        ));
    };
    input.seek(SeekFrom::Start(start))?;
    Source::of(unpacked(input.take(size))?, layers + 1)
}

/// Numbers of floating point as f32. `None` for other types.
pub(super) fn floats(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    use half::{bf16, f16};
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

/// Whether each number is 1; `None` if one is neither 0 nor 1, or the type can hold neither.
pub(super) fn flags(dtype: Dtype, bytes: &[u8]) -> Option<Vec<bool>> {
    let of_integers = |width: usize| -> Option<Vec<f32>> {
        let number = |bytes: &[u8]| bytes[1..].iter().all(|byte| *byte == 0).then(|| f32::from(bytes[0]));
        bytes.chunks_exact(width).map(number).collect()
    };
    let numbers = match dtype {
        Dtype::BOOL | Dtype::U8 | Dtype::I8 => of_integers(1),
        Dtype::I16 | Dtype::U16 => of_integers(2),
        Dtype::I32 | Dtype::U32 => of_integers(4),
        Dtype::I64 | Dtype::U64 => of_integers(8),
        dtype => floats(dtype, bytes),
    }?;
    let flag = |number: f32| if number == 1.0 { Some(true) } else { (number == 0.0).then_some(false) };
    numbers.into_iter().map(flag).collect()
}
