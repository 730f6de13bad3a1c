//! The release before, built from this repository's history: the last one that saves a state in format 2.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

/// Its commit.
const COMMIT: &str = "b4befac";

/// Its program, which is built once and kept in `target`; `None` where the history is not at hand, as in a shallow
/// clone.
pub fn program() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    PROGRAM.get_or_init(build).as_deref()
}

fn build() -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(COMMIT);
    let program = dir.join("barnacle");
    if program.exists() {
        return Some(program);
    }
    let source = dir.join("source");
    fs::create_dir_all(&source).unwrap();
    let archive = dir.join("source.tar");
    let mut git = Command::new("git");
    git.args(["archive", "--output"]).arg(&archive).arg(COMMIT).current_dir(env!("CARGO_MANIFEST_DIR"));
    if !git.stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        eprintln!(
            "{COMMIT} is not in the history that is here: a stand-in that knows only format 2 stands for it"
        );
        return None;
    }
    let unpacked = Command::new("tar").arg("xf").arg(&archive).arg("-C").arg(&source).status().unwrap();
    assert!(unpacked.success(), "{}", archive.display());
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let build = |offline: &[&str]| {
        let mut command = Command::new(&cargo);
        command
            .args(["build", "--quiet", "--locked", "--profile", "quick", "--bin", "barnacle"])
            .args(offline);
        command.current_dir(&source).env("CARGO_TARGET_DIR", dir.join("target")).output().unwrap()
    };
    let mut built = build(&["--offline"]);
    if !built.status.success() {
        built = build(&[]);
    }
    assert!(built.status.success(), "{COMMIT}:\n{}", String::from_utf8_lossy(&built.stderr));
    // Complete or not there.
    fs::rename(dir.join("target/quick/barnacle"), &program).unwrap();
    for rest in [source, dir.join("target")] {
        let _ = fs::remove_dir_all(rest);
    }
    let _ = fs::remove_file(archive);
    Some(program)
}
