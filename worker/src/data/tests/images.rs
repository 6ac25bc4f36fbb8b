//! Folders of idx files: what is in them comes out, whatever their names and compression, and whatever is wrong is told.

use std::io::Write as _;

use proptest::prelude::*;
use safetensors::{Dtype, tensor::TensorView};
use secateur_proto::ids::ContentHash;

use super::*;

/// Files of a folder by name.
type Folder = Vec<(String, Vec<u8>)>;

fn gzip(bytes: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

/// An idx file of bytes.
fn idx(shape: &[u32], values: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 0x08, shape.len() as u8];
    shape.iter().for_each(|size| file.extend(size.to_be_bytes()));
    file.extend(values);
    file
}

/// A pixel that says where it is.
fn pixel(row: u32, index: u32) -> u8 {
    (row * 31 + index * 7) as u8
}

fn images(first: u32, rows: u32, [height, width]: [u32; 2]) -> Vec<u8> {
    let pixels = (first..first + rows).flat_map(|row| (0..height * width).map(move |index| pixel(row, index)));
    idx(&[rows, height, width], &pixels.collect::<Vec<_>>())
}

fn labels(first: u32, rows: u32, classes: u8) -> Vec<u8> {
    idx(&[rows], &(first..first + rows).map(|row| row as u8 % classes).collect::<Vec<_>>())
}

/// 60 train and 15 test images of 3 × 2 pixels in three classes.
fn folder() -> Folder {
    vec![
        ("train-images-idx3-ubyte".into(), images(0, 60, [3, 2])),
        ("train-labels-idx1-ubyte".into(), labels(0, 60, 3)),
        ("t10k-images-idx3-ubyte".into(), images(60, 15, [3, 2])),
        ("t10k-labels-idx1-ubyte".into(), labels(60, 15, 3)),
    ]
}

fn pack(folder: &Folder) -> Result<Vec<u8>, DataError> {
    let names: Vec<String> = folder.iter().map(|(name, _)| name.clone()).collect();
    let bytes = |name: &str| folder.iter().find(|(other, _)| other == name).map(|(_, bytes)| bytes.as_slice());
    let found = idx::find(&names)?.map(|name| (name, bytes(name).expect("found among the names")));
    idx::pack(found)
}

fn files(validation: f64, seed: u64) -> SplitSpec {
    SplitSpec::Files { validation, seed }
}

fn of_images() -> DataSettings {
    DataSettings { format: TableFormat::Idx, target: None, task: Task::Multiclass, split: files(0.2, 1), ..spec() }
}

/// What is said when one file is replaced.
fn spoilt(index: usize, name: &str, bytes: Vec<u8>) -> String {
    let mut folder = folder();
    folder[index] = (name.to_owned(), bytes);
    pack(&folder).expect_err("a bad file").to_string()
}

#[test]
fn names_and_compression_do_not_matter() {
    let plain = pack(&folder()).expect("a good folder");
    let mut other = folder();
    other.reverse();
    for (level, (name, bytes)) in other.iter_mut().enumerate() {
        *name = name.replace("-idx", ".idx");
        if level > 0 {
            *name += ".gz";
            // Two members one after the other are one file.
            *bytes = [gzip(&bytes[..9], level as u32), gzip(&bytes[9..], 9)].concat();
        }
    }
    other.push(("README.txt".into(), b"not an idx file".to_vec()));
    other.push(("train-images-idx3-ubyte.bak".into(), vec![]));
    assert_eq!(ContentHash::of(&pack(&other).expect("a good folder")), ContentHash::of(&plain));
    let mut changed = folder();
    *changed[2].1.last_mut().expect("a pixel") ^= 1;
    assert_ne!(pack(&changed).expect("a good folder"), plain);
}

#[test]
fn packed_images_become_the_rows_that_they_were() {
    let prepared = prepare(&of_images(), &pack(&folder()).expect("packs")).expect("good images");
    let dataset = &prepared.dataset;
    assert_eq!((dataset.classes, dataset.image, dataset.width()), (3, Some([1, 3, 2]), 6));
    assert_eq!(dataset.features[3], "pixel[0,1,1]");
    assert_eq!(
        prepared.preparation.target,
        Target { column: None, classes: ["0", "1", "2"].map(str::to_owned).to_vec() }
    );
    assert_eq!(dataset.test.rows, (60..75).collect::<Vec<_>>());
    let facts = prepared.facts();
    assert_eq!(facts.train, PartFacts { rows: 48, of_classes: vec![16; 3] });
    assert_eq!(facts.validation, PartFacts { rows: 12, of_classes: vec![4; 3] });
    assert_eq!(facts.test, PartFacts { rows: 15, of_classes: vec![5; 3] });
    let mut all: Vec<u32> = dataset.parts().iter().flat_map(|(_, part)| part.rows.clone()).collect();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..75));

    // Mean and standard deviation of the train rows alone, in two passes over the values themselves.
    let values = || dataset.train.rows.iter().flat_map(|row| (0..6).map(|index| f64::from(pixel(*row, index)) / 255.0));
    let mean = values().sum::<f64>() / 288.0;
    let sd = (values().map(|value| (value - mean).powi(2)).sum::<f64>() / 288.0).sqrt();
    let scale = dataset.pixel_scale.expect("images");
    assert!((scale.mean - mean).abs() < 1e-12 && (scale.sd - sd).abs() < 1e-12, "{scale:?}");
    for (_, part) in dataset.parts() {
        for ((row, inputs), target) in part.rows.iter().zip(part.inputs.chunks_exact(6)).zip(&part.targets) {
            assert_eq!(*target, (row % 3) as f32);
            for (index, input) in (0..).zip(inputs) {
                let expected = (f64::from(pixel(*row, index)) / 255.0 - mean) / sd;
                assert!((f64::from(*input) - expected).abs() < 1e-6);
            }
        }
    }
}

#[test]
fn the_file_of_images_holds_a_byte_a_pixel() {
    let mut said = Said::default();
    let prepared = prepare(&of_images(), &pack(&folder()).expect("packs")).expect("good images");
    let bytes = prepared.dataset.to_safetensors().expect("bytes");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("tensors");
    let inputs = file.tensor("train.inputs").expect("inputs");
    assert_eq!((inputs.dtype(), inputs.data().len()), (Dtype::U8, 48 * 6));
    assert_eq!(inputs.data()[0], pixel(prepared.dataset.train.rows[0], 0));
    assert_eq!(Dataset::from_safetensors(&bytes), Ok(prepared.dataset.clone()));

    let mut other = prepared.dataset.clone();
    other.test.inputs[0] += 0.001;
    said.push(other.to_safetensors().expect_err("no byte").to_string());
    let refused = |change: fn(&mut Dataset)| {
        let mut dataset = prepared.dataset.clone();
        change(&mut dataset);
        Dataset::from_safetensors(&dataset.to_safetensors().expect("bytes")).expect_err("a bad file").to_string()
    };
    said.push(refused(|data| data.pixel_scale = None));
    said.push(refused(|data| data.image = None));
    said.push(refused(|data| data.image = Some([3, 3, 2])));
    said.push(refused(|data| data.image = Some([u32::MAX; 3])));
    said.push(refused(|data| data.classes = 4));
    said.push(refused(|data| data.classes = 2));
    said.push(refused(|data| data.classes = 1));
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let sd = format!("\\\"sd\\\":{}", prepared.dataset.pixel_scale.expect("images").sd);
    assert!(text.contains(&sd));
    let zero = format!("\\\"sd\\\":{:1$}", 0, sd.len() - 7);
    let at = bytes.windows(sd.len()).position(|window| window == sd.as_bytes()).expect("in the metadata");
    let mut changed = bytes.clone();
    changed[at..at + sd.len()].copy_from_slice(zero.as_bytes());
    said.push(Dataset::from_safetensors(&changed).expect_err("no scale").to_string());
    insta::assert_snapshot!(said.0);
}

#[test]
fn a_new_image_is_prepared_bit_for_bit_as_a_train_row() {
    let mut said = Said::default();
    let prepared = prepare(&of_images(), &pack(&folder()).expect("packs")).expect("good images");
    let preparation = Preparation::from_json(&prepared.preparation.to_json().expect("bytes")).expect("a preparation");
    assert_eq!(preparation.width(), 6);
    let part = &prepared.dataset.validation;
    for (row, inputs) in part.rows.iter().zip(part.inputs.chunks_exact(6)) {
        let image: Vec<u8> = (0..6).map(|index| pixel(*row, index)).collect();
        let mut found = vec![];
        preparation.apply_image(&image, &mut found).expect("an image");
        assert!(found.iter().map(|value| value.to_bits()).eq(inputs.iter().map(|value| value.to_bits())));
    }
    let mut out = vec![];
    let wrong = preparation.apply_image(&[0; 5], &mut out).expect_err("another size").to_string();
    said.push(&wrong);
    said.push(preparation.apply(|_| None, &mut out).expect_err("no table").to_string());
    let of_table = super::prepared(&table(&["0,1", "1,2"])).preparation;
    assert!(of_table.apply_image(&[0; 6], &mut out).expect_err("no image").to_string().contains("of a table"));
    assert!(out.is_empty());
    let json = String::from_utf8(prepared.preparation.to_json().expect("bytes")).expect("a text");
    for (from, to) in [
        ("\"sd\": 0.", "\"sd\": -0."),
        ("\"mean\": ", "\"mean\": 99999999999999999999"),
        ("\n      3,", "\n      4294967295,"),
    ] {
        assert!(json.contains(from), "{json}");
        let found = Preparation::from_json(json.replace(from, to).as_bytes()).expect_err("changed").to_string();
        said.push(&found);
    }
    insta::assert_snapshot!(said.0);
}

#[test]
fn missing_and_ambiguous_files_are_told_all_at_once() {
    let found = pack(&vec![]).expect_err("no file").to_string();
    assert_eq!(found.matches("there is no ").count(), 4, "{found}");
    let mut folder = folder();
    folder.remove(3);
    folder.push(("train-images.idx3-ubyte.gz".into(), vec![]));
    folder.push(("T10K-labels-idx1-ubyte".into(), vec![]));
    let found = pack(&folder).expect_err("two problems").to_string();
    let expected = "the folder has to hold four idx files: there are both train-images-idx3-ubyte and \
                    train-images.idx3-ubyte.gz; take all but one away; there is no t10k-labels-idx1-ubyte or \
                    t10k-labels-idx1-ubyte.gz";
    assert_eq!(found, expected);
}

#[test]
fn what_is_no_idx_file_is_told_with_its_name() {
    let mut said = Said::default();
    const IMAGES: &str = "train-images-idx3-ubyte";
    let good = images(0, 60, [3, 2]);
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    for bytes in [
        vec![],
        good[..3].to_vec(),
        good[..15].to_vec(),
        good[..16].to_vec(),
        good[..good.len() - 1].to_vec(),
        [good.as_slice(), b"\n"].concat(),
        with(0, 1),
        with(2, 0x0a),
        with(2, 0x0d),
        with(3, 4),
        labels(0, 60, 3),
        idx(&[60, 0, 2], &[]),
        idx(&[u32::MAX; 3], &[]),
        idx(&[1, 300, 300], &[]),
        gzip(&good, 6),
        b"PNG or so".to_vec(),
    ] {
        let found = spoilt(0, IMAGES, bytes);
        said.push(&found);
    }
    let found = spoilt(1, "train-labels-idx1-ubyte", images(0, 60, [3, 2]));
    said.push(&found);
    insta::assert_snapshot!(said.0);
}

#[test]
fn damaged_archives_are_told_with_their_name() {
    let mut said = Said::default();
    const NAME: &str = "train-images-idx3-ubyte.gz";
    let plain = images(0, 60, [3, 2]);
    let good = gzip(&plain, 6);
    let mut damaged = good.clone();
    let checksum = damaged.len() - 6;
    damaged[checksum] ^= 1;
    for bytes in [
        vec![],
        plain.clone(),
        good[..good.len() - 1].to_vec(),
        good[..20].to_vec(),
        damaged,
        [good.as_slice(), b"and something"].concat(),
        [good.as_slice(), &gzip(b"x", 6)].concat(),
        gzip(&plain[..100], 6),
        // A gigabyte of zeros behind a header that asks for six.
        gzip(&[idx(&[1, 3, 2], &[]), vec![0; 100_000_000]].concat(), 1),
    ] {
        let found = spoilt(0, NAME, bytes);
        said.push(&found);
    }
    insta::assert_snapshot!(said.0);
}

#[test]
fn files_that_do_not_belong_together() {
    let mut said = Said::default();
    let found = spoilt(1, "train-labels-idx1-ubyte", labels(0, 59, 3));
    said.push(&found);
    let found = spoilt(2, "t10k-images-idx3-ubyte.gz", gzip(&images(60, 15, [2, 3]), 6));
    said.push(&found);
    insta::assert_snapshot!(said.0);
}

#[test]
fn packed_files_are_checked() {
    let mut said = Said::default();
    let good = pack(&folder()).expect("packs");
    let of = |bytes: &[u8]| prepare(&of_images(), bytes).expect_err("a bad file").to_string();
    for end in 0..good.len() {
        of(&good[..end]);
    }
    let packed = |tensors: &[(&str, &[usize])]| {
        let zeros = vec![0; 1000];
        let views: Vec<_> = (tensors.iter())
            .map(|(name, shape)| {
                let bytes = &zeros[..shape.iter().product()];
                (*name, TensorView::new(Dtype::U8, shape.to_vec(), bytes).expect("fits"))
            })
            .collect();
        of(&safetensors::serialize(views, None).expect("bytes"))
    };
    let good: [(&str, &[usize]); 4] =
        [("train.images", &[5, 2, 2]), ("train.labels", &[5]), ("test.images", &[3, 2, 2]), ("test.labels", &[3])];
    let with = |index: usize, name, shape| {
        let mut tensors = good;
        tensors[index] = (name, shape);
        packed(&tensors)
    };
    said.push(packed(&good));
    said.push(packed(&good[..3]));
    said.push(packed(&[good.as_slice(), &[("more", &[1])]].concat()));
    said.push(with(0, "train.images", &[5, 4]));
    said.push(with(0, "train.images", &[4, 2, 2]));
    said.push(with(2, "test.images", &[3, 2, 1]));
    said.push(with(3, "test.labels", &[3, 1]));
    let none: [(&str, &[usize]); 4] =
        [("train.images", &[0, 2, 2]), ("train.labels", &[0]), ("test.images", &[3, 2, 2]), ("test.labels", &[3])];
    said.push(packed(&none));
    assert!(
        prepare(&DataSettings { format: TableFormat::Csv, ..of_images() }, &pack(&folder()).expect("packs")).is_err()
    );
    insta::assert_snapshot!(said.0);
}

#[test]
fn what_is_asked_of_images_has_to_fit_them() {
    let mut said = Said::default();
    let of = |spec: DataSettings, folder: &Folder| {
        prepare(&spec, &pack(folder).expect("packs")).expect_err("no fit").to_string()
    };
    let found = of(DataSettings { task: Task::Binary, ..of_images() }, &folder());
    said.push(&found);
    let found = of(DataSettings { split: stratified(1), ..of_images() }, &folder());
    said.push(&found);
    for validation in [0.0, 1.0, -0.1, f64::NAN, f64::INFINITY] {
        let found = of(DataSettings { split: files(validation, 1), ..of_images() }, &folder());
        said.push(&found);
    }
    let found = of(DataSettings { split: files(0.001, 1), ..of_images() }, &folder());
    said.push(&found);
    let found = of(DataSettings { target: Some("y".into()), ..of_images() }, &folder());
    said.push(&found);
    let mut fewer = folder();
    fewer[3].1 = labels(60, 15, 2);
    let found = of(of_images(), &fewer);
    said.push(&found);
    let mut blank = folder();
    blank[0].1 = idx(&[60, 3, 2], &[9; 360]);
    said.push(of(of_images(), &blank));
    let found = problem(&DataSettings { split: files(0.2, 1), ..spec() }, &table(&["0,1", "1,2"]));
    said.push(&found);

    let mut two = folder();
    (two[1].1, two[3].1) = (labels(0, 60, 2), labels(60, 15, 2));
    let prepared =
        prepare(&DataSettings { task: Task::Binary, ..of_images() }, &pack(&two).expect("packs")).expect("two classes");
    assert_eq!(prepared.dataset.classes, 2);
    insta::assert_snapshot!(said.0);
}

#[test]
fn labels_with_gaps_are_classes_in_their_order() {
    let mut folder = folder();
    for file in [1, 3] {
        folder[file].1.iter_mut().skip(8).for_each(|label| *label = [7, 200, 30][usize::from(*label)]);
    }
    let prepared = prepare(&of_images(), &pack(&folder).expect("packs")).expect("good images");
    assert_eq!(prepared.preparation.target.classes, ["7", "30", "200"]);
    assert_eq!(prepared.dataset.test.targets[..3], [0.0, 2.0, 1.0]);
}

#[test]
fn fewer_rows_are_a_sample_of_the_train_rows_alone() {
    let packed = pack(&folder()).expect("packs");
    let whole = prepare(&of_images(), &packed).expect("good images").dataset;
    let of = |rows| prepare(&DataSettings { rows: Some(rows), ..of_images() }, &packed);
    let some = of(10).expect("good images");
    assert_eq!(some.facts().train, PartFacts { rows: 10, of_classes: vec![4, 3, 3] });
    assert_eq!(some.preparation.train_rows, 10);
    assert!(some.dataset.train.rows.iter().all(|row| whole.train.rows.contains(row)));
    assert_eq!(some.dataset.validation.rows, whole.validation.rows);
    assert_eq!(some.dataset.test.rows, whole.test.rows);
    // The scale is that of the rows that are left.
    assert_ne!(some.dataset.pixel_scale, whole.pixel_scale);
    assert_eq!(of(48).expect("good images").dataset, whole);
    assert_eq!(of(u32::MAX).expect("good images").dataset, whole);
    let found = of(2).expect_err("a class is left out").to_string();
    assert_eq!(found, "2 rows leave no train row of the class \"2\", which has 16 of 48; keep more");
    let other = DataSettings { rows: Some(10), split: files(0.2, 2), ..of_images() };
    assert_ne!(prepare(&other, &packed).expect("good images").dataset.train.rows, some.dataset.train.rows);
}

/// MNIST itself (LeCun, Cortes & Burges 1998), where the environment says that it is: its counts and its well-known scale.
#[test]
fn mnist() {
    let Some(folder) = std::env::var_os("SECATEUR_MNIST").map(std::path::PathBuf::from) else { return };
    let entries = std::fs::read_dir(&folder).expect("the folder is there");
    let names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name")).collect();
    let found =
        idx::find(&names).expect("four files").map(|name| (name, std::fs::read(folder.join(name)).expect("reads")));
    let packed = idx::pack(found.each_ref().map(|(name, bytes)| (*name, bytes.as_slice()))).expect("good files");
    let prepared = prepare(&DataSettings { split: files(0.1, 42), ..of_images() }, &packed).expect("good images");
    let facts = prepared.facts();
    assert_eq!([&facts.train, &facts.validation, &facts.test].map(|part| part.rows), [54_001, 5999, 10_000]);
    // Each class by itself: a tenth of its images, rounded.
    assert_eq!(facts.validation.of_classes, [592, 674, 596, 613, 584, 542, 592, 626, 585, 595]);
    assert_eq!(facts.test.of_classes, [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
    let not_test: Vec<usize> =
        facts.train.of_classes.iter().zip(&facts.validation.of_classes).map(|(a, b)| a + b).collect();
    assert_eq!(not_test, [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]);
    assert_eq!(prepared.dataset.image, Some([1, 28, 28]));
    let scale = prepared.dataset.pixel_scale.expect("images");
    assert!((scale.mean - 0.1307).abs() < 3e-4 && (scale.sd - 0.3081).abs() < 3e-4, "{scale:?}");
    let bytes = prepared.dataset.to_safetensors().expect("bytes");
    assert!(bytes.len() < 70_000 * (784 + 8) + 100_000, "{} bytes", bytes.len());
    assert_eq!(Dataset::from_safetensors(&bytes), Ok(prepared.dataset));
}

proptest! {
    #[test]
    fn what_is_packed_is_read(
        size in (1_u32..5, 1_u32..5),
        train in proptest::collection::vec((0_u8..3, any::<[u8; 16]>()), 30..60),
        test in proptest::collection::vec((0_u8..3, any::<[u8; 16]>()), 1..20),
        (validation, seed, rows) in (0.1..0.9_f64, any::<u64>(), proptest::option::of(1_u32..60)),
    ) {
        let pixels = (size.0 * size.1) as usize;
        let image = |row: &(u8, [u8; 16])| row.1[..pixels].to_vec();
        let images = |rows: &[(u8, [u8; 16])]| {
            idx(&[rows.len() as u32, size.0, size.1], &rows.iter().flat_map(image).collect::<Vec<_>>())
        };
        let labels = |rows: &[(u8, [u8; 16])]| idx(&[rows.len() as u32], &rows.iter().map(|row| row.0).collect::<Vec<_>>());
        let folder: Folder = vec![
            ("train-images-idx3-ubyte".into(), images(&train)),
            ("train-labels-idx1-ubyte.gz".into(), gzip(&labels(&train), 3)),
            ("t10k-images.idx3-ubyte.gz".into(), gzip(&images(&test), 9)),
            ("t10k-labels.idx1-ubyte".into(), labels(&test)),
        ];
        let spec = DataSettings { split: files(validation, seed), rows, ..of_images() };
        let prepared = match prepare(&spec, &pack(&folder).expect("packs")) {
            Ok(prepared) => prepared,
            Err(error) => {
                let explained = matches!(
                    error,
                    DataError::AbsentClass(_) | DataError::OneClass(_) | DataError::Labels(_) | DataError::Rows(_) | DataError::Inputs(_)
                );
                prop_assert!(explained, "{error}");
                return Ok(());
            }
        };
        let all: Vec<_> = train.iter().chain(&test).collect();
        let classes = &prepared.preparation.target.classes;
        for (_, part) in prepared.dataset.parts() {
            for ((row, inputs), target) in part.rows.iter().zip(part.inputs.chunks_exact(pixels)).zip(&part.targets) {
                let (label, values) = all[*row as usize];
                prop_assert_eq!(&classes[*target as usize], &label.to_string());
                let mut expected = vec![];
                prepared.preparation.apply_image(&values[..pixels], &mut expected).expect("an image");
                prop_assert_eq!(inputs, expected);
            }
        }
        let left = train.len() - prepared.dataset.validation.len();
        prop_assert_eq!(prepared.dataset.train.len(), rows.map_or(left, |rows| left.min(rows as usize)));
        let bytes = prepared.dataset.to_safetensors().expect("bytes");
        prop_assert_eq!(Dataset::from_safetensors(&bytes), Ok(prepared.dataset));
    }

    #[test]
    fn no_bytes_can_panic_the_reader_of_images(
        bytes in proptest::collection::vec(any::<u8>(), 0..60),
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
    ) {
        let _ = prepare(&of_images(), &bytes);
        let mut packed = pack(&folder()).expect("packs");
        let at_packed = at.index(packed.len());
        packed[at_packed] = value;
        let _ = prepare(&of_images(), &packed);
        for name in ["train-images-idx3-ubyte", "train-images-idx3-ubyte.gz"] {
            let mut folder = folder();
            folder[0] = (name.to_owned(), bytes.clone());
            prop_assert!(pack(&folder).is_err());
            let mut damaged = if name.ends_with(".gz") { gzip(&images(0, 60, [3, 2]), 6) } else { images(0, 60, [3, 2]) };
            let at = at.index(damaged.len());
            damaged[at] = value;
            folder[0].1 = damaged;
            let _ = pack(&folder);
        }
    }
}
