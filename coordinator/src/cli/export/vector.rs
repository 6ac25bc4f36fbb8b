//! Ten rows to test whatever serves a net with, and the scores that it has to give them.

use secateur_worker::{
    data::{DataError, idx, sample},
    serve::{NetFile, Scorer},
};

use super::super::saved::SavedNet;

/// Made rows and their scores. No row of the sweep's table is among them.
pub(super) struct TestVector {
    /// The columns that are given; none of images.
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
    images: Option<([u32; 2], Vec<Vec<u8>>)>,
    scores: Vec<Vec<f64>>,
    classes: Vec<String>,
    /// The largest difference between the probabilities of the net as it was trained and those of the smaller one.
    pub(super) difference: f64,
}

impl TestVector {
    /// The scores by a net and by the smaller one that computes the same.
    pub(super) fn of(net: &SavedNet, (small, inputs): (&NetFile, &[u32])) -> Result<Self, DataError> {
        let preparation = &net.preparation;
        let full = Scorer::new(preparation, &net.file, net.inputs.clone())?;
        let small = Scorer::new(preparation, small, Some(inputs.to_vec()))?;
        let mut scores = Vec::new();
        let mut difference = 0.0_f64;
        let mut add = |of_full: Vec<f64>, of_small: Vec<f64>| {
            let differences = of_full.iter().zip(&of_small).map(|(one, two)| (one - two).abs());
            difference = differences.fold(difference, f64::max);
            scores.push(of_full);
        };
        let classes = preparation.target.classes.clone();
        if let (Some(images), Some(image)) = (sample::images(preparation), &preparation.image) {
            for image in &images {
                add(full.score_image(image)?, small.score_image(image)?);
            }
            let [_, height, width] = image.shape;
            let (columns, rows) = (Vec::new(), Vec::new());
            return Ok(Self { columns, rows, images: Some(([height, width], images)), scores, classes, difference });
        }
        let all = sample::rows(preparation);
        for row in &all {
            let cell = |column: usize| row.get(column).map(String::as_str);
            add(full.score(cell, &mut Vec::new())?, small.score(cell, &mut Vec::new())?);
        }
        let read: Vec<usize> = (0..preparation.columns.len()).filter(|column| small.reads()[*column]).collect();
        let columns = read.iter().map(|column| preparation.columns[*column].name.clone()).collect();
        let rows = all.into_iter().map(|row| read.iter().map(|column| row[*column].clone()).collect()).collect();
        Ok(Self { columns, rows, images: None, scores, classes, difference })
    }

    /// Its files by name.
    pub(super) fn files(&self, name: &str) -> Result<Vec<(String, Vec<u8>)>, csv::Error> {
        let scores = if self.classes.len() == 2 {
            vec!["probability".to_owned()]
        } else {
            self.classes.iter().map(|class| format!("probability of {class}")).collect()
        };
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(self.columns.iter().chain(&scores))?;
        for (at, scores) in self.scores.iter().enumerate() {
            let row = self.rows.get(at).into_iter().flatten().cloned();
            writer.write_record(row.chain(scores.iter().map(f64::to_string)))?;
        }
        let bytes = writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))?;
        let mut files = vec![(format!("{name}.rows.csv"), bytes)];
        if let Some((size, images)) = &self.images {
            files.push((format!("{name}.rows-images-idx3-ubyte"), idx::write_images(*size, images)));
        }
        Ok(files)
    }
}
