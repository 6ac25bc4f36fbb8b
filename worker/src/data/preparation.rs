//! Everything that is needed to prepare a new row as the train rows were: an artifact of its own, so that a net can be served.

use secateur_proto::spec::{ColumnReading, DataSettings, Reading, SplitSpec};
use serde::{Deserialize, Serialize};

use super::{
    encoding::{Encoding, Numeric, Scale, Unfit},
    error::{DataError, shown},
    idx::MAX_PIXELS,
    new_rows::NewRows,
    pixels::Pixels,
    table::{Column, Table},
    values::{Cells, Values},
};

/// The version of the JSON that this code writes. Version 2, which has no ranges, is read too.
pub const PREPARATION_FORMAT: u32 = 3;

/// How a table, or images, became tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preparation {
    /// [`PREPARATION_FORMAT`].
    pub format: u32,
    /// What is predicted.
    pub target: Target,
    /// How many rows everything was fitted on.
    pub train_rows: usize,
    /// The input columns of a table, in the order of their features; images have none.
    pub columns: Vec<InputColumn>,
    /// How an image becomes inputs; a table has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageInput>,
}

/// What is predicted, and its classes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The column of a table; images have labels of their own.
    pub column: Option<String>,
    /// The values or labels that became 0, 1 and so on, sorted. Of two the second is the positive class.
    pub classes: Vec<String>,
}

/// How an image becomes inputs: every byte v as (v / 255 − mean) / sd.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageInput {
    /// Channels, height, width.
    pub shape: [u32; 3],
    /// Of all pixels / 255 of all train rows.
    pub scale: Scale,
}

impl ImageInput {
    /// Pixels of an image, nothing if they are too many.
    fn pixels(&self) -> Option<usize> {
        let product = self.shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size as usize));
        product.filter(|pixels| (1..=MAX_PIXELS).contains(pixels))
    }
}

/// One input column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputColumn {
    /// Its name.
    pub name: String,
    /// How it becomes features.
    pub encoding: Encoding,
    /// The names of these features.
    pub features: Vec<String>,
    /// How its cells are read.
    #[serde(default, skip_serializing_if = "ColumnReading::is_plain")]
    pub reading: ColumnReading,
}

impl InputColumn {
    /// Parses a text as a number in the spelling of a numeric column; a date is days since 1970. Returns `None` if it is not one.
    #[must_use]
    pub fn number(&self, text: &str) -> Option<f64> {
        Cells::new(&self.reading).ok()?.number(text)
    }
}

impl Preparation {
    /// Features of a prepared row.
    #[must_use]
    pub fn width(&self) -> usize {
        let pixels = self.image.as_ref().and_then(ImageInput::pixels).unwrap_or(0);
        pixels + self.columns.iter().map(|column| column.features.len()).sum::<usize>()
    }

    /// The names of the features of a table, in their order.
    pub fn features(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().flat_map(|column| &column.features).map(String::as_str)
    }

    /// The artifact: JSON for people and programs. Equal preparations give equal bytes.
    ///
    /// # Errors
    /// None in practice: the structs are plain data.
    pub fn to_json(&self) -> Result<Vec<u8>, DataError> {
        serde_json::to_vec_pretty(self).map_err(|error| DataError::Prepared(error.to_string()))
    }

    /// Reads the artifact.
    ///
    /// # Errors
    /// If the bytes are not a preparation that this version can apply.
    pub fn from_json(bytes: &[u8]) -> Result<Self, DataError> {
        let invalid = |what: String| DataError::Prepared(what);
        let preparation: Self = serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))?;
        if !(2..=PREPARATION_FORMAT).contains(&preparation.format) {
            return Err(invalid(format!("format {} instead of {PREPARATION_FORMAT}", preparation.format)));
        }
        if let Some(image) = &preparation.image {
            if image.pixels().is_none() || Pixels::of(image.scale).is_none() {
                return Err(invalid("images of a shape or scale that cannot be used".to_owned()));
            }
            if !preparation.columns.is_empty() {
                return Err(invalid("both columns and images".to_owned()));
            }
        }
        for InputColumn { name, encoding, features, reading } in &preparation.columns {
            Cells::new(reading).map_err(|problem| invalid(format!("column {} {problem}", shown(name))))?;
            encoding.check().map_err(|problem| invalid(format!("column {} has {problem}", shown(name))))?;
            if *features != encoding.features(name) {
                return Err(invalid(format!("column {} has features that do not belong to its encoding", shown(name))));
            }
        }
        Ok(preparation)
    }

    /// Prepares one new image, bit for bit as a train row of the same pixels: bytes in the order channels, rows, columns. The
    /// inputs are appended to `out`.
    ///
    /// # Errors
    /// If the preparation is not of images, or of images of another size. Nothing is appended then.
    pub fn apply_image(&self, image: &[u8], out: &mut Vec<f32>) -> Result<(), DataError> {
        let of_images = self.image.as_ref().and_then(|image| Some((image.pixels()?, Pixels::of(image.scale)?)));
        let Some((count, pixels)) = of_images else {
            return Err(DataError::NewRow("the preparation is of a table and not of images".to_owned()));
        };
        if image.len() != count {
            return Err(DataError::NewRow(format!(
                "an image has to have {count} pixels, and this has {}",
                image.len()
            )));
        }
        out.extend(pixels.standardised(image));
        Ok(())
    }

    /// Prepares one new row, bit for bit as a train row of the same cells. `cell` gives the cell of a column, or nothing if the
    /// value is missing. The features are appended to `out`.
    ///
    /// # Errors
    /// If a numeric column holds something else, or the preparation is of images. Nothing is appended then.
    pub fn apply<'a>(&self, cell: impl Fn(&str) -> Option<&'a str>, out: &mut Vec<f32>) -> Result<(), DataError> {
        let rows = NewRows::of(self)?;
        rows.prepare(|column| cell(&self.columns[column].name), out, &mut Vec::new())
    }

    /// Fits the encodings of the input columns on the train rows. Gives the values of the columns too, so that they are read
    /// from their text once.
    pub(super) fn fit<'a>(
        target: Target,
        table: &Table,
        inputs: &[&'a Column],
        reading: &Reading,
        train: &[u32],
    ) -> Result<(Self, Vec<Values<'a>>), DataError> {
        let mut problems = Vec::new();
        let mut columns = Vec::with_capacity(inputs.len());
        let mut all_values = Vec::with_capacity(inputs.len());
        for column in inputs {
            let name = column.name().to_owned();
            let reading = reading.columns.get(&name).cloned().unwrap_or_default();
            let wrong = |problem| DataError::Column { column: name.clone(), problem };
            let values = Values::of(column, &reading, table).map_err(wrong)?;
            match Encoding::fit(&values, &reading, train) {
                Ok(encoding) => {
                    columns.push(InputColumn { features: encoding.features(&name), name, encoding, reading });
                }
                Err(Unfit::AllMissing) => {
                    problems.push(format!("the column {} has no value in any row; name it under `drop`", shown(&name)));
                }
                Err(Unfit::AllMissingInTrain) => problems.push(format!(
                    "the column {} has no value in any train row; name it under `drop` or use another split",
                    shown(&name)
                )),
            }
            all_values.push(values);
        }
        let preparation = Self { format: PREPARATION_FORMAT, target, train_rows: train.len(), columns, image: None };
        if problems.is_empty() && preparation.width() == 0 {
            problems.push(if inputs.is_empty() {
                "no input column is left beside the target, the dropped columns, the groups and the split's own".to_owned()
            } else {
                "every input column has the same value, or only rare levels, in all train rows, so there is nothing to learn \
                 from"
                    .to_owned()
            });
        }
        if problems.is_empty() { Ok((preparation, all_values)) } else { Err(DataError::Inputs(problems)) }
    }

    /// The inputs of `rows`, row-major. `values` are those of the columns, as [`Self::fit`] gave them.
    pub(super) fn encode(&self, values: &[Values<'_>], rows: &[u32]) -> Vec<f32> {
        let width = self.width();
        let mut inputs = vec![0.0; rows.len() * width];
        let mut offset = 0;
        for (InputColumn { encoding, features, reading, .. }, values) in self.columns.iter().zip(values) {
            let own = offset..offset + features.len();
            offset = own.end;
            let outs = inputs.chunks_exact_mut(width).map(|row| &mut row[own.clone()]);
            match (encoding, values) {
                (Encoding::Numeric(numeric), Values::Numbers(numbers)) => {
                    let flags = flags(numeric, reading);
                    for (out, &row) in outs.zip(rows) {
                        let code = numbers.codes.get(row as usize).copied().flatten();
                        let flag = code.and_then(|code| flags[usize::from(code)]);
                        numeric.write(numbers.values[row as usize], flag, out);
                    }
                }
                (Encoding::Categorical(categorical), Values::Levels(levels)) => {
                    let missing = categorical.slot(None);
                    let slots: Vec<_> = levels.names.iter().map(|name| categorical.slot(Some(name))).collect();
                    for (out, &row) in outs.zip(rows) {
                        let slot = levels.of_rows[row as usize].map_or(missing, |level| slots[level as usize]);
                        if let Some(slot) = slot {
                            out[slot] = 1.0;
                        }
                    }
                }
                // A constant has no feature, and an encoding is of the kind of the values that it was fitted on.
                _ => {}
            }
        }
        inputs
    }
}

/// For each code of a column's reading which flag it has, if some train row had it.
pub(super) fn flags(numeric: &Numeric, reading: &ColumnReading) -> Vec<Option<usize>> {
    let codes = reading.codes.iter().flatten();
    codes.map(|code| numeric.codes.iter().position(|used| used == code)).collect()
}

/// The columns in their roles.
pub(super) struct Roles<'a> {
    pub target: &'a Column,
    pub split: Option<&'a Column>,
    pub groups: Vec<&'a Column>,
    pub inputs: Vec<&'a Column>,
}

impl<'a> Roles<'a> {
    /// Finds the columns that a spec names, or says all that does not fit.
    pub(super) fn find(spec: &DataSettings, table: &'a Table) -> Result<Self, DataError> {
        let mut problems = Vec::new();
        let mut find = |what: &str, name: &str| {
            let column = table.column(name);
            if column.is_none() {
                problems.push(table.unknown(what, name));
            }
            column
        };
        let split_name = match &spec.split {
            SplitSpec::Stratified { .. } | SplitSpec::Files { .. } => None,
            SplitSpec::Time { column, .. } | SplitSpec::Column { column } => Some(column.as_str()),
        };
        let target_name = spec.target.as_deref();
        let target = target_name.and_then(|name| find("the target", name));
        let split = split_name.and_then(|name| find("the split's column", name));
        let groups: Vec<_> = spec.groups.iter().filter_map(|name| find("the group", name)).collect();
        for name in &spec.drop {
            find("the dropped column", name);
        }
        let named: Option<Vec<_>> =
            spec.inputs.as_ref().map(|names| names.iter().filter_map(|name| find("the input", name)).collect());
        match target_name {
            Some(target) => problems.extend(conflicts(spec, target, split_name)),
            None => problems.push("a table has to have a target".to_owned()),
        }
        let (Some(target), true) = (target, problems.is_empty()) else { return Err(DataError::Columns(problems)) };

        let taken = |name: &str| {
            Some(name) == target_name
                || Some(name) == split_name
                || spec.drop.iter().chain(&spec.groups).any(|other| other == name)
        };
        let inputs = named.unwrap_or_else(|| table.columns().iter().filter(|column| !taken(column.name())).collect());
        Ok(Self { target, split, groups, inputs })
    }
}

fn conflicts(spec: &DataSettings, target: &str, split: Option<&str>) -> Vec<String> {
    let mut problems = Vec::new();
    let inputs = spec.inputs.as_deref().unwrap_or_default();
    if split == Some(target) {
        problems.push(format!("the target {} cannot be the split's column", shown(target)));
    }
    for (what, names) in [("an input", inputs), ("dropped", &spec.drop), ("a group", &spec.groups)] {
        if names.iter().any(|name| name == target) {
            problems.push(format!("the target {} cannot be {what}", shown(target)));
        }
    }
    for name in inputs {
        if Some(name.as_str()) == split {
            problems.push(format!("the split's column {} cannot be an input", shown(name)));
        }
        if spec.drop.contains(name) {
            problems.push(format!("the column {} is an input and dropped", shown(name)));
        }
    }
    for (what, names) in [("inputs", inputs), ("groups", &spec.groups)] {
        let mut seen = std::collections::HashSet::new();
        problems.extend(
            names.iter().filter(|name| !seen.insert(*name)).map(|name| format!("{what} name {} twice", shown(name))),
        );
    }
    problems
}
