//! Prepared tensors and their file. Knows nothing of tables.
//!
//! The file is safetensors. For each part p of `train`, `validation` and `test` with n rows it holds
//!
//! | tensor | type | shape | content |
//! |---|---|---|---|
//! | `p.inputs` | F32, or U8 of images | [n, width] | features, row-major |
//! | `p.targets` | F32 | [n] | index of the class; of two, 1 is positive |
//! | `p.rows` | U32 | [n] | row of the table, from 0, ascending |
//! | `p.groups.<i>` | U32 | [n] | index of the row's level of group i |
//!
//! and, under the metadata key `secateur`, a JSON object: `format` (2), `features` (their names), `groups` (`name` and `levels`
//! of each), `classes` (how many), and of images `image` (channels, height, width) and `pixel_scale` (`mean` and `sd`): a byte v
//! stands for the feature (v / 255 − mean) / sd. Equal datasets give equal bytes.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use safetensors::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};

use super::{classes::MAX_CLASSES, encoding::Scale, error::DataError, pixels::Pixels, split::PARTS};

/// The version of the file that this code writes, and the only one that it reads.
pub const DATASET_FORMAT: u32 = 2;

const METADATA_KEY: &str = "secateur";

/// Inputs and targets of every part.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// Names of the features: the columns of `inputs`.
    pub features: Vec<String>,
    /// The columns that metrics are reported by.
    pub groups: Vec<Group>,
    /// How many classes there are, at least two.
    pub classes: u32,
    /// Channels, height and width, where a row is an image.
    pub image: Option<[u32; 3]>,
    /// What the bytes of images became inputs by; of images, and of them alone.
    pub pixel_scale: Option<Scale>,
    /// What nets and preparation are fitted on.
    pub train: Part,
    /// What decisions are made on.
    pub validation: Part,
    /// What nothing is decided on.
    pub test: Part,
}

/// A column that metrics are reported by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its values: sorted texts, then `(missing)` if there is one.
    pub levels: Vec<String>,
}

/// The rows of train, validation or test.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Part {
    /// Row numbers in the table, from 0, ascending.
    pub rows: Vec<u32>,
    /// Shape [rows, features], row-major, finite.
    pub inputs: Vec<f32>,
    /// The index of each row's class: 0 or 1, where 1 is positive, or up to so many classes as there are.
    pub targets: Vec<f32>,
    /// For each group column the index of each row's level.
    pub groups: Vec<Vec<u32>>,
}

impl Part {
    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row. A prepared part always has some.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Rows of each of so many classes.
    #[must_use]
    pub fn of_classes(&self, classes: u32) -> Vec<usize> {
        let mut counts = vec![0; classes as usize];
        for target in &self.targets {
            if let Some(count) = counts.get_mut(*target as usize) {
                *count += 1;
            }
        }
        counts
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata<'a> {
    format: u32,
    features: Cow<'a, [String]>,
    groups: Cow<'a, [Group]>,
    classes: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    image: Option<[u32; 3]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pixel_scale: Option<Scale>,
}

impl Dataset {
    /// Features of a row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.features.len()
    }

    /// The parts with their names.
    #[must_use]
    pub fn parts(&self) -> [(&'static str, &Part); 3] {
        [(PARTS[0], &self.train), (PARTS[1], &self.validation), (PARTS[2], &self.test)]
    }

    /// The file.
    ///
    /// # Errors
    /// If inputs of images are not those of bytes under the scale.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, DataError> {
        let unwritable = |error: &dyn std::fmt::Display| DataError::Prepared(error.to_string());
        let no_bytes = || DataError::Prepared("inputs of images that are not those of bytes".to_owned());
        let pixels = self.pixel_scale.map(|scale| Pixels::of(scale).ok_or_else(no_bytes)).transpose()?;
        let mut tensors = Vec::new();
        for (name, part) in self.parts() {
            let n = part.len();
            let shape = vec![n, self.width()];
            let inputs = match &pixels {
                None => Tensor::floats(shape, &part.inputs),
                Some(pixels) => Tensor::bytes(shape, pixels.bytes(&part.inputs).ok_or_else(no_bytes)?),
            };
            tensors.push((format!("{name}.inputs"), inputs));
            tensors.push((format!("{name}.targets"), Tensor::floats(vec![n], &part.targets)));
            tensors.push((format!("{name}.rows"), Tensor::indices(vec![n], &part.rows)));
            for (index, levels) in part.groups.iter().enumerate() {
                tensors.push((format!("{name}.groups.{index}"), Tensor::indices(vec![n], levels)));
            }
        }
        let metadata = Metadata {
            format: DATASET_FORMAT,
            features: Cow::Borrowed(&self.features),
            groups: Cow::Borrowed(&self.groups),
            classes: self.classes,
            image: self.image,
            pixel_scale: self.pixel_scale,
        };
        let metadata = serde_json::to_string(&metadata).map_err(|error| unwritable(&error))?;
        // One key only: the library writes several in no fixed order.
        let metadata = HashMap::from([(METADATA_KEY.to_owned(), metadata)]);
        safetensors::serialize(tensors, Some(metadata)).map_err(|error| unwritable(&error))
    }

    /// Reads the file. Nothing in it is trusted: names, types, shapes and values are all checked.
    ///
    /// # Errors
    /// If the bytes are not what [`Self::to_safetensors`] writes.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self, DataError> {
        read(bytes).map_err(DataError::Prepared)
    }
}

/// The levels of the rows of validation and test, without their inputs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupLevels {
    /// The columns.
    pub groups: Vec<Group>,
    /// For each column the index of each validation row's level.
    pub validation: Vec<Vec<u32>>,
    /// The same of the test rows.
    pub test: Vec<Vec<u32>>,
}

impl GroupLevels {
    /// Reads them from the file of a dataset. Nothing in it is trusted.
    ///
    /// # Errors
    /// If the bytes are not what [`Dataset::to_safetensors`] writes.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self, DataError> {
        read_levels(bytes).map_err(DataError::Prepared)
    }
}

fn read_levels(bytes: &[u8]) -> Result<GroupLevels, String> {
    let groups = metadata_of(bytes)?.groups.into_owned();
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let of_part = |name: &str| -> Result<Vec<Vec<u32>>, String> {
        let of_group = |(index, group): (usize, &Group)| {
            let tensor = Tensor::read(&tensors, format!("{name}.groups.{index}"), Dtype::U32)?;
            let levels: Vec<u32> = tensor.u32s().collect();
            if levels.iter().any(|level| *level as usize >= group.levels.len()) {
                return Err(format!("{name}.groups holds a level that {:?} does not have", group.name));
            }
            Ok(levels)
        };
        groups.iter().enumerate().map(of_group).collect()
    };
    let (validation, test) = (of_part(PARTS[1])?, of_part(PARTS[2])?);
    Ok(GroupLevels { groups, validation, test })
}

fn metadata_of(bytes: &[u8]) -> Result<Metadata<'static>, String> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    let metadata = header.metadata().as_ref().and_then(|metadata| metadata.get(METADATA_KEY));
    let metadata = metadata.ok_or_else(|| format!("there is no metadata {METADATA_KEY:?}"))?;
    let metadata: Metadata<'static> =
        serde_json::from_str(metadata).map_err(|error| format!("the metadata {METADATA_KEY:?} is wrong: {error}"))?;
    if metadata.format != DATASET_FORMAT {
        return Err(format!("it has format {} and this version reads {DATASET_FORMAT}", metadata.format));
    }
    Ok(metadata)
}

fn read(bytes: &[u8]) -> Result<Dataset, String> {
    let metadata = metadata_of(bytes)?;
    let Metadata { classes, image, pixel_scale, .. } = metadata;
    let (features, groups) = (metadata.features.into_owned(), metadata.groups.into_owned());
    if features.is_empty() {
        return Err("it has no features".into());
    }
    if !(2..=MAX_CLASSES as u32).contains(&classes) {
        return Err(format!("it has {classes} classes"));
    }
    let sizes = image.map(|sizes| sizes.iter().try_fold(1_usize, |product, &size| product.checked_mul(size as usize)));
    if image.is_some() != pixel_scale.is_some() || sizes.is_some_and(|pixels| pixels != Some(features.len())) {
        return Err("its image, scale and features do not belong together".into());
    }
    let unusable = || "its scale of pixels cannot be used".to_owned();
    let pixels = pixel_scale.map(|scale| Pixels::of(scale).ok_or_else(unusable)).transpose()?;

    let tensors = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let expected = PARTS.len() * (3 + groups.len());
    if tensors.len() != expected {
        return Err(format!("it holds {} tensors instead of {expected}", tensors.len()));
    }
    let mut seen = HashSet::new();
    let mut part = |name: &str| -> Result<Part, String> {
        let rows = Tensor::read(&tensors, format!("{name}.rows"), Dtype::U32)?;
        let &[n] = rows.shape.as_slice() else { return Err(format!("{name}.rows is not a vector")) };
        let vector = |what: &str, dtype| Tensor::read(&tensors, format!("{name}.{what}"), dtype)?.shaped(&[n]);
        let dtype = if pixels.is_some() { Dtype::U8 } else { Dtype::F32 };
        let inputs = Tensor::read(&tensors, format!("{name}.inputs"), dtype)?.shaped(&[n, features.len()])?;
        let part = Part {
            rows: rows.u32s().collect(),
            inputs: match &pixels {
                None => inputs.f32s().collect(),
                Some(pixels) => pixels.standardised(&inputs.bytes).collect(),
            },
            targets: vector("targets", Dtype::F32)?.f32s().collect(),
            groups: (0..groups.len())
                .map(|index| Ok(vector(&format!("groups.{index}"), Dtype::U32)?.u32s().collect()))
                .collect::<Result<_, String>>()?,
        };
        if !part.inputs.iter().all(|value| value.is_finite()) {
            return Err(format!("{name}.inputs holds a value that is not finite"));
        }
        let is_class = |target: &f32| (0.0..classes as f32).contains(target) && target.fract() == 0.0;
        if !part.targets.iter().all(is_class) {
            return Err(format!("{name}.targets holds a value that is none of {classes} classes"));
        }
        if part.of_classes(classes).contains(&0) {
            return Err(format!("{name} does not have rows of every class"));
        }
        if !part.rows.is_sorted_by(|a, b| a < b) || !part.rows.iter().all(|row| seen.insert(*row)) {
            return Err(format!("{name}.rows is not ascending, or shares a row with another part"));
        }
        for (levels, group) in part.groups.iter().zip(&groups) {
            if levels.iter().any(|level| *level as usize >= group.levels.len()) {
                return Err(format!("{name}.groups holds a level that {:?} does not have", group.name));
            }
        }
        Ok(part)
    };
    let (train, validation, test) = (part(PARTS[0])?, part(PARTS[1])?, part(PARTS[2])?);
    Ok(Dataset { features, groups, classes, image, pixel_scale, train, validation, test })
}

/// One tensor of the file: little-endian, as safetensors has it.
struct Tensor<'a> {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Cow<'a, [u8]>,
}

impl<'a> Tensor<'a> {
    fn floats(shape: Vec<usize>, values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { name: String::new(), dtype: Dtype::F32, shape, bytes: Cow::Owned(bytes) }
    }

    fn indices(shape: Vec<usize>, values: &[u32]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { name: String::new(), dtype: Dtype::U32, shape, bytes: Cow::Owned(bytes) }
    }

    fn bytes(shape: Vec<usize>, bytes: Vec<u8>) -> Self {
        Self { name: String::new(), dtype: Dtype::U8, shape, bytes: Cow::Owned(bytes) }
    }

    fn read(tensors: &SafeTensors<'a>, name: String, dtype: Dtype) -> Result<Self, String> {
        let view = tensors.tensor(&name).map_err(|_| format!("there is no tensor {name}"))?;
        if view.dtype() != dtype {
            return Err(format!("{name} is {:?} instead of {dtype:?}", view.dtype()));
        }
        Ok(Self { name, dtype, shape: view.shape().to_vec(), bytes: Cow::Borrowed(view.data()) })
    }

    fn shaped(self, shape: &[usize]) -> Result<Self, String> {
        if self.shape == shape {
            return Ok(self);
        }
        Err(format!("{} has shape {:?} instead of {shape:?}", self.name, self.shape))
    }

    fn words(&self) -> impl Iterator<Item = [u8; 4]> {
        self.bytes.as_chunks().0.iter().copied()
    }

    fn f32s(&self) -> impl Iterator<Item = f32> {
        self.words().map(f32::from_le_bytes)
    }

    fn u32s(&self) -> impl Iterator<Item = u32> {
        self.words().map(u32::from_le_bytes)
    }
}

impl View for Tensor<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}
