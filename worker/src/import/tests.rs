//! Files of PyTorch's and of others (`tests/golden/README.md` says how they were made), and nets found in them.

use std::{fs, io::Write as _, path::PathBuf};

use proptest::prelude::*;
use secateur_proto::spec::{Activation, ModelSpec};

use super::*;

fn golden(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn checkpoint(name: &str) -> Vec<u8> {
    golden(&format!("checkpoints/{name}"))
}

fn pair(old: &str, new: &str) -> (String, String) {
    (old.to_owned(), new.to_owned())
}

fn classes() -> [String; 2] {
    ["paid".to_owned(), "charged off".to_owned()]
}

fn fit(bytes: Vec<u8>, key: Option<&str>, rename: &[(String, String)]) -> Result<ForeignNet, FitError> {
    let model = ModelSpec::mlp(3, vec![8]);
    Checkpoint::from_bytes(bytes)?.fit(&Wanted { model: &model, classes: &classes(), path: "net.pt", key, rename })
}

fn found(name: &str) -> ForeignNet {
    fit(checkpoint(name), None, &[]).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The values of the net that `checkpoints.py` writes.
fn ramp(number: usize, count: usize) -> Vec<f32> {
    (0..count).map(|place| number as f32 + place as f32 / 64.0).collect()
}

fn is_ramp(net: &ForeignNet) -> bool {
    let expected = [("layers.0.weight", ramp(0, 24)), ("layers.0.bias", ramp(1, 8)), ("layers.1.weight", ramp(2, 8))];
    let expected = expected.into_iter().chain([("layers.1.bias", ramp(3, 1))]);
    net.tensors.len() == 4 && expected.into_iter().all(|(name, values)| net.tensors[name].1 == values)
}

/// The public checkpoint files hold the same net of C01's table: whatever stands around it.
#[test]
fn the_net_is_found_whatever_stands_around_it() {
    let mut notes = String::new();
    let plain = found("plain.pt");
    for name in ["plain.pt", "checkpoint.pth", "lightning.ckpt", "extra-buffers.pt"] {
        let net = found(name);
        assert_eq!(net.tensors.keys().collect::<Vec<_>>(), plain.tensors.keys().collect::<Vec<_>>());
        assert!(net.masks.is_empty());
        notes += &format!("{name}\n{}\n", net.notes.join("\n"));
    }
    for name in ["legacy.pt", "objects.ckpt", "runs.pt", "double.bin"] {
        let net = found(name);
        assert!(is_ramp(&net), "{name}: {net:?}");
        notes += &format!("{name}\n{}\n", net.notes.join("\n"));
    }
    insta::assert_snapshot!(notes);
}

#[test]
fn a_file_is_opened_for_what_it_is() {
    let bytes = checkpoint("checkpoint.pth");
    let expected = found("checkpoint.pth");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&bytes).expect("writes");
    let mut header = vec![0; 512];
    header[..8].copy_from_slice(b"ckpt.pth");
    header[124..135].copy_from_slice(format!("{:011o}", bytes.len()).as_bytes());
    header[156] = b'0';
    header[257..262].copy_from_slice(b"ustar");
    let rest = bytes.len().next_multiple_of(512) - bytes.len();
    let tar = [&header[..], &bytes, &vec![0; rest + 1024]].concat();
    let mut zip = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    zip.start_file("ckpt.pth", zip::write::SimpleFileOptions::default()).expect("writes");
    zip.write_all(&bytes).expect("writes");
    let zip = zip.finish().expect("writes").into_inner();
    for packed in [gzip.finish().expect("writes"), tar, zip, expected.to_safetensors().expect("writes")] {
        assert_eq!(fit(packed, None, &[]).expect("fits").tensors, expected.tensors);
    }
}

#[test]
fn what_is_no_checkpoint_is_called_what_it_is() {
    let mut told = String::new();
    for bytes in [
        &b""[..],
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5355\n",
        b"<!DOCTYPE html><title>Sign in</title>",
        b"{\"layers.0.weight\": [1]}",
        b"layers.0.weight: [1, 2]\n",
        b"\x89HDF\r\n\x1a\n....",
        b"\x80\x04\x95\x0b\0\0\0\0\0\0\0}\x94.",
        &checkpoint("whole.pt"),
    ] {
        let error = fit(bytes.to_vec(), None, &[]).expect_err("is none");
        assert!(matches!(error, FitError::Import(_)), "{error:?}");
        told += &format!("{error}\n");
    }
    insta::assert_snapshot!(told);
    let missing = Checkpoint::open(&PathBuf::from("missing.pt"));
    assert!(matches!(missing.err(), Some(ImportError::Unreadable(_))));
}

#[test]
fn nothing_in_a_pickle_is_executed_and_a_net_does_not_need_it() {
    assert!(is_ramp(&found("runs.pt")));
    // A tensor of the net that is made by a call is missing.
    let error = fit(checkpoint("runs-within.pt"), None, &[]).expect_err("is refused");
    assert!(matches!(&error, FitError::Unfit { nearest, .. } if nearest.contains("missing layers.1.bias")), "{error}");
    assert!(
        matches!(fit(checkpoint("whole.pt"), None, &[]), Err(FitError::Import(ImportError::Object(class))) if class.ends_with(".system"))
    );
    assert!(!Path::new("executed").exists());
}

#[test]
fn of_two_dictionaries_that_fit_the_key_chooses_one() {
    let several = fit(checkpoint("two.pt"), None, &[]).expect_err("are two");
    assert!(
        matches!(&several, FitError::Several { keys, .. } if keys == &["\"ema.module\"", "\"model\""]),
        "{several}"
    );
    for key in ["model", "ema", "ema.module"] {
        assert!(is_ramp(&fit(checkpoint("two.pt"), Some(key), &[]).expect("is chosen")));
    }
    let unknown = fit(checkpoint("two.pt"), Some("state_dict"), &[]).expect_err("is not there");
    assert!(matches!(&unknown, FitError::Key { known, .. } if known == "ema, model"), "{unknown}");
}

#[test]
fn what_was_pruned_stays_pruned() {
    let net = found("pruned.pt");
    let kept: Vec<bool> = (0..24).map(|place| place % 3 != 0).collect();
    assert_eq!(net.masks, BTreeMap::from([("layers.0.weight".to_owned(), kept.clone())]));
    let expected: Vec<f32> =
        ramp(0, 24).into_iter().zip(&kept).map(|(value, kept)| if *kept { value } else { 0.0 }).collect();
    assert_eq!(net.tensors["layers.0.weight"].1, expected);
    let written = net.to_safetensors().expect("writes");
    assert_eq!(contents(&written).expect("reads").removed, BTreeMap::from([("layers.0.weight".to_owned(), 8)]));
    let model = ModelSpec::mlp(3, vec![8]);
    let mask = crate::net::checkpoint::read_given_mask(&model, &written).expect("reads").expect("has masks");
    assert_eq!(mask.kept[0], Some(kept));
    insta::assert_snapshot!(net.notes.join("\n"));
}

#[test]
fn two_logits_are_one_and_one_is_two() {
    let net = found("logits.pt");
    let two = ramp(2, 16);
    let difference: Vec<f32> = two[8..].iter().zip(&two[..8]).map(|(second, first)| second - first).collect();
    assert_eq!(net.tensors["layers.1.weight"], (vec![1, 8], difference));
    assert_eq!(net.tensors["layers.1.bias"], (vec![1], vec![1.0 / 64.0]));
    let model =
        ModelSpec::Mlp { inputs: 3, hidden: vec![8], outputs: 2, activation: Activation::Relu, batch_norm: false };
    let wanted = Wanted { model: &model, classes: &classes(), path: "net.pt", key: None, rename: &[] };
    let wider = Checkpoint::from_bytes(checkpoint("plain.pt")).expect("opens").fit(&wanted).expect("fits");
    let one = found("plain.pt").tensors["layers.1.weight"].1.clone();
    assert_eq!(wider.tensors["layers.1.weight"].1, [vec![0.0; 8], one].concat());
    insta::assert_snapshot!([net.notes, wider.notes].concat().join("\n"));
    // Of three classes there is no such head.
    let three = ["a", "b", "c"].map(str::to_owned);
    let wanted = Wanted { classes: &three, ..wanted };
    assert!(Checkpoint::from_bytes(checkpoint("plain.pt")).expect("opens").fit(&wanted).is_err());
}

#[test]
fn what_does_not_fit_is_one_message_with_the_key_that_helps() {
    let mut told = String::new();
    for name in ["renamed.pt", "deeper.pt", "runs-within.pt", "integers.pt"] {
        told += &format!("{name}: {}\n", fit(checkpoint(name), None, &[]).expect_err("does not fit"));
    }
    let model =
        ModelSpec::Mlp { inputs: 4, hidden: vec![8], outputs: 1, activation: Activation::Relu, batch_norm: true };
    let wanted = Wanted { model: &model, classes: &classes(), path: "net.pt", key: None, rename: &[] };
    let error = Checkpoint::from_bytes(checkpoint("plain.pt")).expect("opens").fit(&wanted).expect_err("does not fit");
    told += &format!("plain.pt: {error}\n");
    insta::assert_snapshot!(told);
    // What the message says helps.
    let rename = [pair("body.fc1", "layers.0"), pair("body.out", "layers.1")];
    for (key, rename) in [(None, &rename[..]), (Some("state_dict"), &rename)] {
        assert!(is_ramp(&fit(checkpoint("renamed.pt"), key, rename).expect("fits")));
    }
}

#[test]
fn beginnings_of_names_are_replaced_the_longest_first() {
    let full =
        [pair("state_dict.body", ""), pair("state_dict.body.fc1", "layers.0"), pair("state_dict.body.out", "layers.1")];
    assert!(is_ramp(&fit(checkpoint("renamed.pt"), None, &full).expect("fits")));
    // Half a word is no beginning.
    for beginning in ["bod", "body.fc", "body.fc1.weight.x"] {
        let refused = fit(checkpoint("renamed.pt"), None, &[pair(beginning, "x")]).expect_err("is refused");
        assert!(matches!(&refused, FitError::NothingToRename(unused, _) if unused == beginning), "{refused}");
    }
    let same = [pair("body.fc1", "x"), pair("body.out", "x")];
    assert!(matches!(fit(checkpoint("renamed.pt"), None, &same), Err(FitError::SameName(_))));
}

#[test]
fn types_of_numbers_views_and_counters_of_pytorch() {
    let (net, index) = (golden("foreign.pt"), golden("index.json"));
    let index: serde_json::Value = serde_json::from_slice(&index).expect("JSON");
    fn flat(value: &serde_json::Value) -> Vec<f32> {
        match value {
            serde_json::Value::Array(values) => values.iter().flat_map(flat).collect(),
            value => vec![value.as_f64().expect("a number") as f32],
        }
    }
    for bytes in [net, golden("foreign.safetensors")] {
        let mut checkpoint = Checkpoint::from_bytes(bytes).expect("opens");
        for (name, values) in index["foreign"].as_object().expect("a map") {
            let tensor = checkpoint.tensors.iter().find(|(other, _)| other == name).expect("is there").1.clone();
            assert_eq!(checkpoint.numbers(&tensor, source::floats).expect("reads"), Some(flat(values)), "{name}");
        }
        assert!(checkpoint.tensors.iter().any(|(name, _)| name.ends_with("num_batches_tracked")));
    }
}

#[test]
fn what_is_cut_off_is_refused() {
    for name in ["legacy.pt", "checkpoint.pth", "pruned.pt"] {
        let bytes = checkpoint(name);
        for length in (0..bytes.len()).step_by(13) {
            assert!(
                fit(bytes[..length].to_vec(), None, &[]).is_err(),
                "{name} is read from {length} of {}",
                bytes.len()
            );
        }
    }
    let bytes = golden("foreign.safetensors");
    for length in (0..bytes.len()).step_by(13) {
        assert!(Checkpoint::from_bytes(bytes[..length].to_vec()).is_err());
    }
}

/// A dictionary that holds another one twice, which holds another one twice, and so on, and one that holds itself.
#[test]
fn what_swells_or_turns_in_circles_ends() {
    let mut swelling = b"\x80\x02}q\0".to_vec();
    for level in 1..40_u8 {
        swelling.extend([b'}', b'q', level, b'(', b'K', 0, b'h', level - 1, b'K', 1, b'h', level - 1, b'u']);
    }
    swelling.push(b'.');
    let circle = b"\x80\x02}q\0K\x01h\0s.".to_vec();
    let long = b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x0f.".to_vec();
    for bytes in [swelling, circle, long] {
        assert!(Checkpoint::from_bytes(bytes).is_err());
    }
}

#[test]
fn numbers_that_are_not_finite_are_refused() {
    let mut bytes = checkpoint("double.bin");
    let place = bytes.windows(8).position(|window| window == 3.0_f64.to_le_bytes()).expect("the last bias");
    bytes[place..place + 8].copy_from_slice(&1e300_f64.to_le_bytes());
    // The checksum of the archive finds it first, unless it is one of other bytes.
    assert!(matches!(fit(bytes, None, &[]), Err(FitError::Import(ImportError::Cut(_)))));
    let mut net = found("plain.pt");
    net.tensors.get_mut("layers.1.bias").expect("is there").1[0] = f32::INFINITY;
    let bytes = net.to_safetensors().expect("writes");
    assert!(matches!(contents(&bytes), Err(InvalidTensors::NotFinite { .. })));
    assert!(matches!(fit(bytes, None, &[]), Err(FitError::NotFinite(_))));
}

proptest! {
    /// Whatever a dictionary is called and how deep it is, the net in it is found, and only there.
    #[test]
    fn a_dictionary_is_found_under_any_name(keys in prop::collection::vec("[a-z_]{1,8}", 0..5)) {
        let net = found("plain.pt");
        let prefix: String = keys.iter().map(|key| format!("{key}.")).collect();
        let renamed = net.tensors.iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor.clone()));
        let file = ForeignNet { tensors: renamed.collect(), ..ForeignNet::default() };
        let again = fit(file.to_safetensors().expect("writes"), None, &[]).expect("fits");
        prop_assert_eq!(again.tensors, net.tensors);
    }
}

/// A file of ONNX as that net.
fn graph(name: &str, activation: Activation, batch_norm: bool) -> Result<ForeignNet, FitError> {
    let model = ModelSpec::Mlp { inputs: 3, hidden: vec![8], outputs: 1, activation, batch_norm };
    let bytes = golden(&format!("onnx/{name}.onnx"));
    Checkpoint::from_bytes(bytes)?.fit(&Wanted {
        model: &model,
        classes: &classes(),
        path: "net.onnx",
        key: None,
        rename: &[],
    })
}

#[test]
fn a_net_of_scikit_learn_is_read_from_onnx() {
    let text = String::from_utf8(golden("onnx/sklearn.csv")).expect("text");
    let expected: Vec<f32> = text.lines().map(|line| line.parse().expect("a number")).collect();
    let net = graph("sklearn", Activation::Relu, false).expect("fits");
    let order = ["layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias"];
    let found: Vec<f32> = order.into_iter().flat_map(|name| net.tensors[name].1.clone()).collect();
    assert_eq!(found, expected);
    assert_eq!(net.notes, Vec::<String>::new());
}

#[test]
fn nets_in_the_forms_of_exporters_are_read_from_onnx() {
    for (name, activation) in [("torch", Activation::Relu), ("gelu", Activation::Gelu), ("tanh", Activation::Tanh)] {
        let net = graph(name, activation, false).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(is_ramp(&net), "{name}: {net:?}");
    }
}

/// Its batch normalisation computes x · 1 / √(1 − ε + ε) + bias.
#[test]
fn a_batch_normalisation_that_is_not_in_the_file_changes_nothing() {
    let net = graph("torch", Activation::Relu, true).expect("fits");
    let values = |name: &str| net.tensors[name].1.clone();
    let expected = ramp(1, 8);
    let bias: Vec<f32> = (values("norms.0.bias").iter().zip(&values("layers.0.bias"))).map(|(a, b)| a + b).collect();
    assert_eq!(bias, expected);
    for (variance, scale) in values("norms.0.running_var").iter().zip(values("norms.0.weight")) {
        assert!((f64::from(scale) / (f64::from(*variance) + 1e-5).sqrt() - 1.0).abs() < 1e-7);
    }
    assert_eq!(net.notes, ["net.onnx: the batch normalisation norms.0 is folded into the layer before it in the file"]);
}

#[test]
fn what_is_another_net_is_named_node_by_node() {
    let error = |name, activation| graph(name, activation, false).expect_err("another net").to_string();
    let bytes = golden("onnx/torch.onnx");
    let model = ModelSpec::mlp(3, vec![8, 4]);
    let wanted = Wanted { model: &model, classes: &classes(), path: "net.onnx", key: None, rename: &[] };
    let deeper = Checkpoint::from_bytes(bytes).expect("a graph").fit(&wanted).expect_err("another net").to_string();
    let messages =
        [error("tanh", Activation::Relu), error("torch", Activation::Gelu), error("gelu", Activation::Silu), deeper];
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn a_graph_that_turns_in_a_circle_is_refused() {
    use crate::onnx::{GraphProto, ModelProto, NodeProto, ValueInfoProto};
    use prost::Message as _;
    let node = NodeProto {
        input: vec!["input".to_owned()],
        output: vec!["input".to_owned()],
        op_type: Some("Identity".to_owned()),
        ..NodeProto::default()
    };
    let input = vec![ValueInfoProto { name: Some("input".to_owned()), ..ValueInfoProto::default() }];
    let graph = Some(GraphProto { node: vec![node], input, ..GraphProto::default() });
    let bytes = ModelProto { ir_version: Some(8), graph, ..ModelProto::default() }.encode_to_vec();
    let error = fit(bytes, None, &[]).expect_err("no net").to_string();
    assert!(error.contains("layers.0"), "{error}");
}

proptest! {
    /// Files of ONNX with bytes that are missing or changed are refused or read, without a panic.
    #[test]
    fn damaged_graphs_are_no_panic(
        name in prop::sample::select(vec!["sklearn", "torch", "gelu", "tanh"]),
        cut in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut bytes = golden(&format!("onnx/{name}.onnx"));
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        let cut = cut.index(bytes.len() * 2);
        bytes.truncate(cut);
        _ = fit(bytes, None, &[]);
    }
}
