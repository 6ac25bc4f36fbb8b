//! From packed images to tensors: classes, split, and the one scale of all pixels, fitted on the train rows alone.

use secateur_proto::spec::{DataSettings, SplitSpec, Task};

use super::{
    Dataset, Part, Prepared,
    classes::Classes,
    error::{DataError, some_of},
    idx::PackedImages,
    pixels::{self, Pixels},
    preparation::{ImageInput, PREPARATION_FORMAT, Preparation, Target},
    split,
};

/// Turns packed images into tensors. Rows are numbered from the train file's first to the test file's last.
pub(super) fn prepare(spec: &DataSettings, bytes: &[u8]) -> Result<Prepared, DataError> {
    refuse_columns(spec)?;
    let packed = PackedImages::read(bytes)?;
    let classes = classes(spec.task, &packed)?;
    let SplitSpec::Files { validation, seed } = spec.split else {
        return Err(DataError::Split("is of tables; images have the split {kind: files, validation, seed}".to_owned()));
    };
    let mut rows = split::files(validation, seed, packed.train.labels.len(), &classes)?;
    split::keep(&mut rows, spec, &classes)?;

    let [height, width] = packed.size;
    let pixels_of_image = height as usize * width as usize;
    let image = |row: u32| {
        let (row, train) = (row as usize, packed.train.labels.len());
        let (images, row) = if row < train { (packed.train.images, row) } else { (packed.test.images, row - train) };
        &images[row * pixels_of_image..][..pixels_of_image]
    };
    let mut counts = [0; 256];
    for pixel in rows[0].iter().flat_map(|row| image(*row)) {
        counts[usize::from(*pixel)] += 1;
    }
    let fitted = Pixels::fit(&counts).and_then(|scale| Some((scale, Pixels::of(scale)?)));
    let constant = || DataError::Inputs(vec!["every pixel of every train image has the same value".to_owned()]);
    let (scale, pixels) = fitted.ok_or_else(constant)?;

    let train_rows = rows[0].len();
    let [train, validation, test] = rows.map(|rows| {
        let mut inputs = Vec::with_capacity(rows.len() * pixels_of_image);
        for row in &rows {
            inputs.extend(pixels.standardised(image(*row)));
        }
        Part { inputs, targets: classes.targets(&rows), groups: Vec::new(), rows }
    });
    let shape = [1, height, width];
    let dataset = Dataset {
        features: pixels::names(shape).collect(),
        groups: Vec::new(),
        classes: classes.count(),
        image: Some(shape),
        pixel_scale: Some(scale),
        train,
        validation,
        test,
    };
    let preparation = Preparation {
        format: PREPARATION_FORMAT,
        target: Target { column: None, classes: classes.names },
        train_rows,
        columns: Vec::new(),
        image: Some(ImageInput { shape, scale }),
    };
    Ok(Prepared { preparation, dataset, notes: Vec::new(), periods: None })
}

fn refuse_columns(spec: &DataSettings) -> Result<(), DataError> {
    let DataSettings { target, inputs, drop, groups, .. } = spec;
    if target.is_none() && inputs.is_none() && drop.is_empty() && groups.is_empty() {
        return Ok(());
    }
    Err(DataError::Columns(vec![
        "images have no columns, so there is no target, input, group or dropped one".to_owned(),
    ]))
}

/// The different labels of both files, by number.
fn classes(task: Task, packed: &PackedImages<'_>) -> Result<Classes, DataError> {
    let labels = || packed.train.labels.iter().chain(packed.test.labels);
    let mut is_there = [false; 256];
    for label in labels() {
        is_there[usize::from(*label)] = true;
    }
    let mut indices = [0; 256];
    let mut names = Vec::new();
    for label in (0..256).filter(|label| is_there[*label]) {
        indices[label] = names.len() as u32;
        names.push(label.to_string());
    }
    let shown = some_of(names.iter().map(String::as_str));
    match (task, names.len()) {
        (_, 1) => return Err(DataError::Labels(format!("are all {shown}; there has to be another class"))),
        (Task::Binary, count) if count != 2 => {
            return Err(DataError::Labels(format!("have {count} values where `binary` needs two: {shown}")));
        }
        (Task::Binary | Task::Multiclass, _) => {}
    }
    Ok(Classes { names, of_rows: labels().map(|label| indices[usize::from(*label)]).collect() })
}
