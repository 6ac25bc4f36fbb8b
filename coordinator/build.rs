//! Writes into the programs and tests of this crate where the loader finds libtorch, when the worker is built with it.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if let Ok(folder) = env::var("DEP_SECATEUR_WORKER_LIBTORCH_LIB") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{folder}");
    }
}
