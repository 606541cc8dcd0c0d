//! What cargo and scripts/release-build.sh have built, unless it is older than its sources: what is
//! tested is what stands there.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The folder of the workspace.
fn workspace() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    own.expect("this package is in crates/")
}

/// The folder of the profile that this test, or benchmark, was built into.
fn profile() -> PathBuf {
    let test = std::env::current_exe().expect("a program knows its own path");
    let profile = test.ancestors().nth(2).expect("target/<profile>/deps");
    profile.to_owned()
}

/// A program of the workspace, by its name.
///
/// # Panics
/// It isn't there, or is older than what it was built from.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let path = profile().join(name);
    if let Some(problem) = stale(&path) {
        panic!(
            "{}: run `cargo build --workspace` first, with --release for what is built so",
            problem
        );
    }
    path
}

/// What keeps a program from being the one that its sources make. Cargo says beside it what it was
/// built from.
fn stale(program: &Path) -> Option<String> {
    let modified = |path: &Path| {
        std::fs::metadata(path)
            .and_then(|data| data.modified())
            .ok()
    };
    let Some(built) = modified(program) else {
        return Some(format!("{} does not exist", program.display()));
    };
    let file = program.with_extension("d");
    let Ok(info) = std::fs::read_to_string(&file) else {
        return Some(format!("{} can't be read", file.display()));
    };
    let Some((_, sources)) = info.split_once(": ") else {
        return Some(format!("{} names no sources", file.display()));
    };
    let mut sources = sources.split_whitespace().map(Path::new);
    let newer = sources.find(|source| modified(source).is_none_or(|source| source > built))?;
    Some(format!(
        "{} is older than {}",
        program.display(),
        newer.display()
    ))
}

/// The provider as it is shipped.
///
/// # Panics
/// It isn't there, or is older than its sources.
pub fn module() -> &'static Path {
    static MODULE: OnceLock<PathBuf> = OnceLock::new();
    MODULE.get_or_init(|| shipped("akv_provider"))
}

/// The PKCS#11 module as it is shipped.
///
/// # Panics
/// It isn't there, or is older than its sources.
pub fn pkcs11_module() -> &'static Path {
    static MODULE: OnceLock<PathBuf> = OnceLock::new();
    MODULE.get_or_init(|| shipped("akv-pkcs11"))
}

/// A module as it is shipped: scripts/release-build.sh says where it is, unless it is older than
/// its sources. It is in the target folder that AKV_TEST_BUILT names, if any: another machine's,
/// where a test's programs run in a root of that.
fn shipped(package: &str) -> PathBuf {
    let profile = profile();
    let target = match std::env::var_os("AKV_TEST_BUILT") {
        Some(target) => PathBuf::from(target),
        None => profile.parent().expect("target/<profile>").to_owned(),
    };
    let mut command = Command::new(workspace().join("scripts/release-build.sh"));
    command
        .args(["--check", package])
        .env("CARGO_TARGET_DIR", target);
    let output = command.output().expect("the script runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let path = String::from_utf8(output.stdout).expect("a path is text");
    path.trim_end().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::time::{Duration, SystemTime};

    #[test]
    fn a_program_that_is_older_than_a_source_is_named_with_it() {
        let folder = std::env::temp_dir().join(format!("testing-built-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (program, source) = (folder.join("program"), folder.join("main.rs"));
        assert!(stale(&program).unwrap().contains("does not exist"));
        std::fs::write(&program, "").unwrap();
        assert!(stale(&program).unwrap().contains("program.d"));
        std::fs::write(folder.join("program.d"), "").unwrap();
        assert!(stale(&program).unwrap().contains("no sources"));
        let info = format!("{}: {}\n", program.display(), source.display());
        std::fs::write(folder.join("program.d"), info).unwrap();
        let source_file = File::create(&source).unwrap();
        let hour = Duration::from_secs(3600);
        let now = SystemTime::now();
        source_file.set_modified(now - hour).unwrap();
        assert_eq!(stale(&program), None);
        source_file.set_modified(now + hour).unwrap();
        assert!(stale(&program).unwrap().ends_with("main.rs"));
        std::fs::remove_file(&source).unwrap();
        assert!(stale(&program).unwrap().ends_with("main.rs"));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
