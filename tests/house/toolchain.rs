//! What the scripts say of a Rust toolchain: they begin with it, and the manifest of the workspace
//! makes no sense to an old cargo.

use std::path::Path;
use std::process::Command;

/// A folder with a cargo and a rustc that tell these versions.
fn toolchain(folder: &Path, versions: [&str; 2]) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(folder).expect("a folder");
    for (tool, version) in ["cargo", "rustc"].iter().zip(versions) {
        let path = folder.join(tool);
        std::fs::write(&path, format!("#!/bin/sh\necho {tool} {version}\n")).expect("a tool");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("it runs");
    }
}

#[test]
fn scripts_tell_of_a_toolchain_that_is_too_old() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("toolchains");
    let (first, rustups) = (folder.join("first"), folder.join("home/.cargo/bin"));
    let says = |versions, rustup: Option<[&str; 2]>| {
        toolchain(&first, versions);
        let _ = std::fs::remove_dir_all(&rustups);
        if let Some(versions) = rustup {
            toolchain(&rustups, versions);
        }
        let output = Command::new("bash")
            .args([
                "-euc",
                ". scripts/packages.sh; require_cargo; cargo --version",
            ])
            .env("PATH", format!("{}:/usr/bin:/bin", first.display()))
            .env("HOME", folder.join("home"))
            .output()
            .expect("bash runs");
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    };
    let wanted = name_of_version();
    for (versions, rustup, fine, words) in [
        (
            ["1.65.0", "1.65.0"],
            None,
            false,
            "cargo is of version 1.65.0",
        ),
        (
            ["1.100.0", "1.88.1"],
            None,
            false,
            "rustc is of version 1.88.1",
        ),
        (["1.100.0", "1.90.0-nightly"], None, true, "1.100.0"),
        (
            ["1.65.0", "1.65.0"],
            Some(["1.93.0", "1.93.0"]),
            true,
            "1.93.0",
        ),
        (["", ""], Some(["1.66.0", "1.66.0"]), false, "1.66.0"),
        (["", ""], None, false, "cargo tells no version"),
    ] {
        let (succeeds, text) = says(versions, rustup);
        assert_eq!(
            (succeeds, text.contains(words)),
            (fine, true),
            "{versions:?}: {text}"
        );
        let is_told = text.contains(&wanted) && text.contains("https://rustup.rs");
        assert_eq!(is_told, !fine, "{versions:?}: {text}");
    }
}

/// What the scripts say of the version that the workspace needs.
fn name_of_version() -> String {
    let manifest = std::fs::read_to_string("Cargo.toml").expect("the manifest");
    let line = manifest
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "));
    let version = line.expect("a version").trim_matches('"');
    format!("the Rust toolchain {version} or newer is needed")
}
