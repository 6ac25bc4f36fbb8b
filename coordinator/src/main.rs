//! The `secateur` program.

use std::process::ExitCode;

/// Gives back what a burst of work leaves behind, whichever thread made it: the system's allocator keeps most of a plan's making and of a journal's
/// reading for as long as the process lives.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    secateur::cli::main()
}
