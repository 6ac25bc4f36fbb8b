//! The four idx files of a folder of grey images (LeCun's MNIST and its kin), and the one file that they are packed into. Names
//! and bytes come from the caller: it knows nothing of folders, splits or nets.
//!
//! The packed file is safetensors of bytes: `train.images` `[n, height, width]`, `train.labels` `[n]`, `test.images` and
//! `test.labels`. It holds what is in the files and nothing of how they are named or compressed, so equal data have equal hashes.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::{
    error::{DataError, shown},
    packed::GZIP_MAGIC,
};

/// The most values that one file may hold: 1 GiB. A gzip of 1 MB can hold it.
pub const MAX_IDX: u64 = 1 << 30;

/// The most pixels of an image: each is an input of a net.
pub const MAX_PIXELS: usize = 1 << 16;

/// What the four files are, in the order in which they are found and packed.
const ROLES: [(&str, &str); 4] =
    [("train", "images-idx3"), ("train", "labels-idx1"), ("t10k", "images-idx3"), ("t10k", "labels-idx1")];

/// Names of the tensors of the packed file, in the order of [`ROLES`].
const TENSORS: [&str; 4] = ["train.images", "train.labels", "test.images", "test.labels"];

/// Finds the four files among the names in a folder: `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`,
/// `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`, each with a point in place of its second hyphen or not, and with or
/// without `.gz`. Other names are passed over.
///
/// # Errors
/// If one of them is missing or there more than once; all of these are told at once.
pub fn find<'a>(names: &'a [String]) -> Result<[&'a str; 4], DataError> {
    let mut problems = Vec::new();
    let found = ROLES.map(|(part, content)| {
        let plain = format!("{part}-{content}-ubyte");
        let spellings = [plain.clone(), format!("{plain}.gz"), dotted(&plain), format!("{}.gz", dotted(&plain))];
        let found: Vec<&'a str> =
            names.iter().map(String::as_str).filter(|name| spellings.iter().any(|s| s == name)).collect();
        match found.as_slice() {
            [] => problems.push(format!("there is no {plain} or {plain}.gz")),
            [_] => {}
            several => problems.push(format!("there are both {}; take all but one away", several.join(" and "))),
        }
        found.first().copied().unwrap_or_default()
    });
    if problems.is_empty() { Ok(found) } else { Err(DataError::IdxFolder(problems)) }
}

/// `train-images-idx3-ubyte` as `train-images.idx3-ubyte`.
fn dotted(name: &str) -> String {
    name.replacen("-idx", ".idx", 1)
}

/// Packs the files, given with their names in the order of [`find`], into one.
///
/// # Errors
/// If a file is not the idx file that its name says, or the files do not belong together.
pub fn pack(files: [(&str, &[u8]); 4]) -> Result<Vec<u8>, DataError> {
    let read = |index: usize| {
        let (name, bytes) = files[index];
        let dimensions = if ROLES[index].1.starts_with("images") { 3 } else { 1 };
        Idx::read(name, bytes, dimensions).map_err(|problem| DataError::Idx { file: name.to_owned(), problem })
    };
    let idx = [read(0)?, read(1)?, read(2)?, read(3)?];
    let mismatch = |index: usize, problem: String| DataError::Idx { file: files[index].0.to_owned(), problem };
    for images in [0, 2] {
        let (rows, labels) = (idx[images].shape[0], idx[images + 1].shape[0]);
        if rows != labels {
            let problem = format!("it has {labels} labels, and {} has {rows} images", files[images].0);
            return Err(mismatch(images + 1, problem));
        }
    }
    let [train, test] = [0, 2].map(|images| &idx[images].shape[1..]);
    if train != test {
        let problem = format!("its images are {} and those of {} {}", by(test), files[0].0, by(train));
        return Err(mismatch(2, problem));
    }
    let unwritable = |error: safetensors::SafeTensorError| DataError::PackedImages(error.to_string());
    let mut tensors = Vec::with_capacity(TENSORS.len());
    for (name, Idx { shape, values }) in TENSORS.into_iter().zip(&idx) {
        tensors.push((name, TensorView::new(Dtype::U8, shape.clone(), values).map_err(unwritable)?));
    }
    safetensors::serialize(tensors, None).map_err(unwritable)
}

fn by(sizes: &[usize]) -> String {
    sizes.iter().map(usize::to_string).collect::<Vec<_>>().join(" × ")
}

/// The images of one idx file, one after the other: memory does not grow with the file.
pub struct IdxImages<'r> {
    input: Box<dyn Read + 'r>,
    size: [usize; 2],
    left: u32,
    image: Vec<u8>,
}

impl<'r> IdxImages<'r> {
    /// Opens a file of grey images, gzipped or not.
    ///
    /// # Errors
    /// If it is none.
    pub fn open(input: impl Read + 'r) -> Result<Self, DataError> {
        Self::begin(Box::new(input))
            .map_err(|problem| DataError::NewRow(format!("the images cannot be read: {problem}")))
    }

    fn begin(mut input: Box<dyn Read + 'r>) -> Result<Self, String> {
        let mut magic = word(&mut input)?;
        if magic.starts_with(&GZIP_MAGIC) {
            input = Box::new(MultiGzDecoder::new(io::Cursor::new(magic).chain(input)));
            magic = word(&mut input)?;
        }
        if magic != [0, 0, 8, 3] {
            return Err(format!("it is no idx file of grey images: it begins with the bytes {magic:02x?}"));
        }
        let [left, height, width] = [word(&mut input)?, word(&mut input)?, word(&mut input)?].map(u32::from_be_bytes);
        let pixels = (height as usize).checked_mul(width as usize).filter(|pixels| (1..=MAX_PIXELS).contains(pixels));
        let Some(pixels) = pixels else { return Err(format!("its images are {height} × {width}")) };
        Ok(Self { input, size: [height as usize, width as usize], left, image: vec![0; pixels] })
    }

    /// Height and width.
    #[must_use]
    pub const fn size(&self) -> [usize; 2] {
        self.size
    }

    /// The next image. Returns `None` at the end.
    ///
    /// # Errors
    /// If the file is cut short or damaged.
    pub fn next_image(&mut self) -> Result<Option<&[u8]>, DataError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.input.read_exact(&mut self.image).map_err(|error| DataError::NewRow(unreadable(&error)))?;
        Ok(Some(&self.image))
    }
}

/// Writes images of one size as an idx file.
#[must_use]
pub fn write_images([height, width]: [u32; 2], images: &[Vec<u8>]) -> Vec<u8> {
    let count = u32::try_from(images.len()).unwrap_or(u32::MAX);
    let header = [[0, 0, 8, 3], count.to_be_bytes(), height.to_be_bytes(), width.to_be_bytes()];
    header.concat().into_iter().chain(images.concat()).collect()
}

/// One file, decompressed.
struct Idx {
    shape: Vec<usize>,
    values: Vec<u8>,
}

impl Idx {
    fn read(name: &str, bytes: &[u8], dimensions: usize) -> Result<Self, String> {
        let (says_gzip, is_gzip) = (name.ends_with(".gz"), bytes.starts_with(&GZIP_MAGIC));
        match (says_gzip, is_gzip) {
            _ if bytes.is_empty() => Err("it is empty; copy the file again".to_owned()),
            (true, false) => Err("it is not gzip although its name ends in .gz".to_owned()),
            (false, true) => Err("it is gzipped although its name does not end in .gz; add .gz to the name".to_owned()),
            (true, true) => Self::parse(MultiGzDecoder::new(bytes), dimensions),
            (false, false) => Self::parse(bytes, dimensions),
        }
    }

    /// The header says how much is read: a small archive cannot swell beyond it.
    fn parse(mut file: impl Read, dimensions: usize) -> Result<Self, String> {
        let magic = word(&mut file)?;
        let [0, 0, kind, found] = magic else {
            return Err(format!("it is no idx file: it begins with the bytes {magic:02x?}"));
        };
        match kind {
            0x08 => {}
            0x09 | 0x0b..=0x0e => {
                return Err(format!("it holds values of the type {kind:#04x}; only unsigned bytes (0x08) are read"));
            }
            _ => return Err(format!("it is no idx file: it begins with the bytes {magic:02x?}")),
        }
        if usize::from(found) != dimensions {
            let content = if dimensions == 1 { "labels" } else { "grey images" };
            return Err(format!("it has {found} dimensions, and {content} have {dimensions}"));
        }
        let mut shape = Vec::with_capacity(dimensions);
        for _ in 0..dimensions {
            shape.push(u32::from_be_bytes(word(&mut file)?));
        }
        let values = shape.iter().try_fold(1_u64, |product, &size| product.checked_mul(size.into()));
        let shape: Vec<usize> = shape.into_iter().map(|size| size as usize).collect();
        let values = match values {
            Some(0) => return Err(format!("its sizes are {}, so there is nothing in it", by(&shape))),
            Some(values) if values <= MAX_IDX => values,
            _ => return Err(format!("its sizes are {}, and at most {MAX_IDX} values are read", by(&shape))),
        };
        if shape[1..].iter().product::<usize>() > MAX_PIXELS {
            return Err(format!("its images are {}, and at most {MAX_PIXELS} pixels are read", by(&shape[1..])));
        }
        let mut read = Vec::new();
        file.take(values + 1).read_to_end(&mut read).map_err(|error| unreadable(&error))?;
        match read.len() as u64 {
            length if length < values => {
                Err(format!("it is cut short: its header asks for {values} values, and {length} are there"))
            }
            length if length > values => Err(format!("its header asks for {values} values, and more are there")),
            _ => Ok(Self { shape, values: read }),
        }
    }
}

fn word(file: &mut impl Read) -> Result<[u8; 4], String> {
    let mut word = [0; 4];
    file.read_exact(&mut word).map_err(|error| unreadable(&error))?;
    Ok(word)
}

fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "it is cut short; copy the file again".to_owned(),
        _ => format!("it is damaged ({error}); copy the file again"),
    }
}

/// The packed file, read.
pub(super) struct PackedImages<'a> {
    /// Height and width of every image.
    pub size: [u32; 2],
    /// What nets are trained on and chosen by.
    pub train: Labelled<'a>,
    /// What nothing is decided on.
    pub test: Labelled<'a>,
}

/// Images and their labels.
pub(super) struct Labelled<'a> {
    /// [n, height, width], row-major.
    pub images: &'a [u8],
    /// [n].
    pub labels: &'a [u8],
}

impl<'a> PackedImages<'a> {
    /// Reads what [`pack`] writes. Nothing in it is trusted.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, DataError> {
        Self::checked(bytes).map_err(DataError::PackedImages)
    }

    fn checked(bytes: &'a [u8]) -> Result<Self, String> {
        let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
        let mut tensors = Vec::with_capacity(TENSORS.len());
        for name in TENSORS {
            let tensor = file.tensor(name).map_err(|_| format!("there is no tensor {name}"))?;
            if tensor.dtype() != Dtype::U8 {
                return Err(format!("{name} is {:?} instead of U8", tensor.dtype()));
            }
            tensors.push(tensor);
        }
        if file.len() != TENSORS.len() {
            let names = file.names();
            let other = names.into_iter().find(|name| !TENSORS.contains(name)).unwrap_or_default();
            return Err(format!("it holds another tensor, {}", shown(other)));
        }
        let &[_, height, width] = tensors[0].shape() else { return Err("train.images are no grey images".to_owned()) };
        let size = [height, width].map(|size| u32::try_from(size).unwrap_or(u32::MAX));
        let pixels = height.checked_mul(width).filter(|pixels| (1..=MAX_PIXELS).contains(pixels));
        if pixels.is_none() {
            return Err(format!("images of {} pixels", by(&[height, width])));
        }
        let part = |images: usize| {
            let [images, labels] = [&tensors[images], &tensors[images + 1]];
            let rows = labels.shape().first().copied().unwrap_or_default();
            if rows == 0
                || rows > MAX_IDX as usize
                || labels.shape() != [rows]
                || images.shape() != [rows, height, width]
            {
                return Err(format!("images of shape {:?} and labels of shape {:?}", images.shape(), labels.shape()));
            }
            Ok(Labelled { images: images.data(), labels: labels.data() })
        };
        Ok(Self { size, train: part(0)?, test: part(2)? })
    }
}
