//! Leaves the tables for unwinding out of a release build, as `cross/build.sh` does for the boards: a program that ends where
//! it panics never reads them, and they are a twelfth of its size.
//!
//! Cargo has no setting for it that spares the tests, whose harness unwinds. GNU's linker and LLVM's both take the script;
//! where another one was chosen, all stays as it is.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=cross/link.rs");
    println!("cargo::rerun-if-changed=cross/no-unwinding.ld");
    let var = |name: &str| env::var(name).unwrap_or_default();
    // The profile `quick`, which tests run, is one of release too, with an optimization level of its own.
    let released = var("PROFILE") == "release" && var("OPT_LEVEL") == "s";
    let default_linker =
        env::var_os("RUSTC_LINKER").is_none() && !var("CARGO_ENCODED_RUSTFLAGS").contains("link");
    if released && default_linker && var("CARGO_CFG_TARGET_OS") == "linux" {
        let script = format!("{}/cross/no-unwinding.ld", var("CARGO_MANIFEST_DIR"));
        println!("cargo::rustc-link-arg-bin=barnacle=-Wl,--no-eh-frame-hdr");
        println!("cargo::rustc-link-arg-bin=barnacle=-Wl,-T,{script}");
    }
}
