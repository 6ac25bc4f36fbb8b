use super::*;

#[test]
fn every_name_is_known_in_every_build_and_written_as_it_is_read() {
    for (text, written) in [
        ("cpu", "cpu"),
        ("libtorch:cpu", "libtorch:cpu"),
        ("libtorch:cuda:0", "libtorch:cuda:0"),
        ("libtorch:cuda:65535", "libtorch:cuda:65535"),
        ("libtorch:mps", "libtorch:mps"),
        ("wgpu", "wgpu:0"),
        ("wgpu:7", "wgpu:7"),
        ("wgpu:cpu", "wgpu:cpu"),
    ] {
        let device: DeviceName = text.parse().expect("a name");
        assert_eq!(device.to_string(), written);
        assert_eq!(written.parse(), Ok(device));
    }
}

#[test]
fn any_other_name_is_told_what_there_is_and_what_is_nearest() {
    for (text, nearest) in [
        ("", "cpu"),
        ("gpu", "wgpu"),
        ("CPU", "cpu"),
        ("cpu ", "cpu"),
        ("cpu:0", "cpu"),
        ("cuda", "libtorch:cuda:0"),
        ("cuda:3", "libtorch:cuda:0"),
        ("mps", "libtorch:mps"),
        ("libtorch", "libtorch:cpu"),
        ("libtorch:cuda", "libtorch:cuda:0"),
        ("libtorch:cuda:", "libtorch:cuda:0"),
        ("libtorch:cuda:-1", "libtorch:cuda:0"),
        ("libtorch:cuda:+1", "libtorch:cuda:0"),
        ("libtorch:cuda:00", "libtorch:cuda:0"),
        ("libtorch:cuda:65536", "libtorch:cuda:0"),
        ("wgpu:", "wgpu:0"),
        ("wgpu:gpu", "wgpu:cpu"),
        ("webgpu", "wgpu"),
    ] {
        let error = text.parse::<DeviceName>().expect_err(text).to_string();
        assert!(error.contains(SYNTAX) && error.ends_with(&format!("did you mean {nearest:?}?")), "{text}: {error}");
    }
    assert!("x".repeat(1 << 20).parse::<DeviceName>().expect_err("long").to_string().len() < 300);
}

#[test]
fn a_backend_that_was_left_out_says_how_to_get_it() {
    for (text, backend, feature) in [
        ("libtorch:cpu", Backend::Libtorch, "libtorch"),
        ("libtorch:cuda:0", Backend::Libtorch, "libtorch"),
        ("libtorch:mps", Backend::Libtorch, "libtorch"),
        ("wgpu", Backend::Wgpu, "wgpu"),
        ("wgpu:cpu", Backend::Wgpu, "wgpu"),
    ] {
        let device: DeviceName = text.parse().expect("a name");
        let left_out = Backend::features_not_built().contains(&feature);
        assert_ne!(left_out, Backend::built().contains(&backend));
        if left_out {
            let error = device.open().expect_err("left out").to_string();
            assert!(error.ends_with(&format!("cargo build --features {feature}")), "{error}");
            assert!(backend.devices().is_empty());
        }
    }
}

#[test]
fn what_nvidias_program_prints_is_read() {
    let found = nvidia_line("NVIDIA H100 80GB HBM3, 81559\n").expect("a line");
    assert_eq!((found.what.as_str(), found.memory), ("NVIDIA H100 80GB HBM3", Some(85_520_809_984)));
    assert_eq!(nvidia_line("No devices were found"), None);
    assert_eq!(nvidia_line("GPU, [N/A]"), None);
}

#[test]
fn the_processor_has_memory() {
    let processor = processor();
    assert!(!processor.what.is_empty());
    // Linux reports it.
    assert!(!cfg!(target_os = "linux") || processor.memory.is_some_and(|bytes| bytes > 1 << 26));
}
