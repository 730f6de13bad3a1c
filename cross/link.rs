//! Makes the default release build as small as `cross/build.sh` makes those of the boards.
//!
//! The tables for unwinding are left out: a program that ends where it panics never reads them, and they are a twelfth of
//! its size. Cargo has no setting for it that spares the tests, whose harness unwinds. GNU's linker and LLVM's both take
//! the script; where another one was chosen, all stays as it is.
//!
//! Relative relocations are packed (DT_RELR of the ELF gABI), where this host's C library knows them: glibc from 2.36 on.

use std::{env, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=cross/link.rs");
    println!("cargo::rerun-if-changed=cross/no-unwinding.ld");
    let var = |name: &str| env::var(name).unwrap_or_default();
    // The profile `quick`, which tests run, is one of release too, with an optimization level of its own.
    let released = var("PROFILE") == "release" && var("OPT_LEVEL") == "s";
    let default_linker =
        env::var_os("RUSTC_LINKER").is_none() && !var("CARGO_ENCODED_RUSTFLAGS").contains("link");
    if !released || !default_linker || var("CARGO_CFG_TARGET_OS") != "linux" {
        return;
    }
    let script = format!("{}/cross/no-unwinding.ld", var("CARGO_MANIFEST_DIR"));
    println!("cargo::rustc-link-arg-bin=barnacle=-Wl,--no-eh-frame-hdr");
    println!("cargo::rustc-link-arg-bin=barnacle=-Wl,-T,{script}");
    if var("TARGET") == "x86_64-unknown-linux-gnu" && var("HOST") == var("TARGET") && glibc() >= Some((2, 36))
    {
        println!("cargo::rustc-link-arg-bin=barnacle=-Wl,-z,pack-relative-relocs");
    }
}

/// Version of this host's glibc; `None` where it cannot be told.
fn glibc() -> Option<(u32, u32)> {
    let said = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let said = String::from_utf8(said.stdout).ok()?;
    let (major, minor) = said.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
}
