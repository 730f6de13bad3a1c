//! Processors of boards, emulated: what the static builds for them take there, counted by a plugin of the emulator.

use crate::rig::Failure;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A processor, and the build that is for it.
pub struct Machine {
    /// Name of the build in `cross/targets`.
    pub name: &'static str,
    emulator: &'static str,
    cpu: &'static str,
}

/// Those that are counted.
pub const MACHINES: [Machine; 2] = [
    Machine { name: "aarch64", emulator: "qemu-aarch64", cpu: "cortex-a72" },
    Machine { name: "armv6", emulator: "qemu-arm", cpu: "arm1176" },
];

impl Machine {
    /// The one of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        MACHINES.iter().find(|machine| machine.name == name)
    }

    /// A program that `cross/build.sh` has put into `set`, once it is there.
    pub fn program(&self, set: &str, program: &str) -> Result<String, Failure> {
        let file = format!("target/{set}/{program}-{}-{}", env!("CARGO_PKG_VERSION"), self.name);
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(&file);
        match path.is_file() {
            true => Ok(path.to_string_lossy().into_owned()),
            false => {
                let bench = if set == "bench-set" { "--bench " } else { "" };
                Err(format!("{file} is missing: cross/build.sh {bench}{} makes it", self.name).into())
            }
        }
    }

    /// What counts there: the compiler, and the emulator with its processor.
    pub fn described(&self, compiler: &str) -> Result<String, Failure> {
        let output = Command::new(self.emulator).arg("--version").output();
        let output = output.map_err(|e| format!("{}: {e} (Debian: qemu-user)", self.emulator))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        Ok(format!("{compiler}, {} {} -cpu {}", self.emulator, version.unwrap_or("?"), self.cpu))
    }

    /// Compiles the plugin as `to`.
    pub fn build_plugin(&self, to: &Path) -> Result<(), Failure> {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/counts/instructions.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-O2", "-shared", "-fPIC", "-o"]).arg(to).arg(source);
        match compiler.status().map_err(|e| format!("cc: {e}"))?.success() {
            true => Ok(()),
            false => Err("the plugin does not compile".into()),
        }
    }

    /// The words that start a program with the plugin, which counts in `out`.
    pub fn words(&self, plugin: &Path, out: &Path) -> Vec<String> {
        let plugin = format!("{},counts={}", plugin.display(), out.display());
        [self.emulator, "-cpu", self.cpu, "-plugin", &plugin].map(String::from).to_vec()
    }
}
