//! Writes into the programs and tests of this crate where the loader finds libtorch, so that they start without LD_LIBRARY_PATH,
//! and tells the same to the build scripts of crates that link this one.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // From torch-sys, which has looked for it: in LIBTORCH, in the system, or in what it has downloaded itself.
    if let Ok(folder) = env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{folder}");
        println!("cargo::metadata=LIBTORCH_LIB={folder}");
    }
}
