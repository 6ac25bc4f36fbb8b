//! Standard output that cannot be written, or whose reader has closed it.

use std::{
    fs::File,
    io,
    process::{Command, Output, Stdio},
};

const COMMANDS: [&[&str]; 4] =
    [&["settings"], &["schema"], &["strategies", "--output", "json"], &["completions", "bash"]];

fn ends(command: &[&str], stdout: impl Into<Stdio>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_secateur")).args(command).stdout(stdout).output().expect("it starts")
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_exit_code_1() {
    for command in COMMANDS {
        let full = File::options().write(true).open("/dev/full").expect("Linux has it");
        let ended = ends(command, full);
        assert_eq!(ended.status.code(), Some(1), "{command:?}");
        assert!(!ended.stderr.is_empty(), "{command:?} says nothing");
    }
}

#[test]
fn a_reader_that_has_closed_the_pipe_is_no_error() {
    for command in COMMANDS {
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(reader);
        let ended = ends(command, writer);
        let stderr = String::from_utf8_lossy(&ended.stderr);
        assert_eq!((ended.status.code(), stderr.as_ref()), (Some(0), ""), "{command:?}");
    }
}
