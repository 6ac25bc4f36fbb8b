//! The `secateur` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    secateur::cli::main()
}
