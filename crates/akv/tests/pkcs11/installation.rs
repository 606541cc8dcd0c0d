//! What `scripts/install.sh` installs, used from where it lies.

use std::fs;
use std::path::{Path, PathBuf};

use testing::built;

use crate::support::{Hsm, is_there, skip};

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/install.sh")
}

/// The programs and modules as they were built by cargo.
fn built() -> String {
    let provider = built::program("libakv_provider.so");
    let folder = provider.parent().and_then(Path::to_str).expect("text");
    folder.to_owned()
}

#[test]
fn all_that_is_installed_into_a_folder_works_there() {
    let hsm = Hsm::start();
    let folder = hsm.file("usr/local/akv");
    let prefix = folder.to_str().expect("text").to_owned();
    let told = hsm.run(&script(), &[&built(), &prefix]).succeeds();
    assert!(told.contains("OpenSSL loads it"), "{told}");

    let emulator = hsm.run(&folder.join("managed-hsm-emulator"), &["--version"]);
    assert!(emulator.succeeds().starts_with("managed-hsm-emulator "));
    for page in ["man1/akv.1", "man1/managed-hsm-emulator.1"] {
        assert!(folder.join("man").join(page).exists(), "no {page}");
    }

    // The tools find the module beside them.
    let create = folder.join("mhsm_p11_create_key");
    let made = hsm.run(&create, &["--EC", "P-256", "--label", "tlsKey"]);
    assert!(
        made.succeeds()
            .starts_with("Key is generated successfully.\n")
    );
    let list = folder.join("mhsm_p11_list_keys");
    assert!(hsm.run(&list, &[]).succeeds().contains("Label: tlsKey"));
    let info = hsm
        .run(&folder.join("akv"), &["pkcs11", "info", "--json"])
        .json();
    assert_eq!(info["module"], format!("{prefix}/akv_pkcs11.so"));

    let module = folder.join("libmhsm-pkcs11.so");
    let module = module.to_str().expect("text");
    if is_there("pkcs11-tool") {
        let tool = Path::new("pkcs11-tool");
        let slots = hsm.run(tool, &["--module", module, "-L"]).succeeds();
        assert!(slots.contains("token label        : localhost"), "{slots}");
        let objects = hsm.run(tool, &["--module", module, "-O"]).succeeds();
        assert!(objects.contains("label:      tlsKey"), "{objects}");
    }
    let description = fs::read_to_string(folder.join("akv_pkcs11.module")).unwrap();
    assert_eq!(description, format!("module: {prefix}/akv_pkcs11.so\n"));
    p11_kit_loads(&hsm, &folder);
}

/// In a view of the file system in which p11-kit's folder has what was installed.
fn p11_kit_loads(hsm: &Hsm, folder: &Path) {
    let modules = hsm.file("modules");
    fs::create_dir(&modules).unwrap();
    let file = modules.join("akv_pkcs11.module");
    fs::copy(folder.join("akv_pkcs11.module"), file).unwrap();
    let view = |script: &str| {
        let bind = "mount --bind \"$0\" /usr/share/p11-kit/modules && ";
        let script = format!("{bind}{script}");
        let modules = modules.to_str().expect("text");
        let unshare = ["--map-root-user", "--mount", "sh", "-c", &script, modules];
        hsm.run(Path::new("unshare"), &unshare)
    };
    if !is_there("p11-kit") {
        return;
    }
    if !view("true").is_success() {
        return skip("file systems can't be mounted here, as p11-kit's folder would be");
    }
    let listed = view("p11-kit list-modules").succeeds();
    assert!(listed.contains("akv_pkcs11: /"), "{listed}");
    assert!(listed.contains("token: localhost"), "{listed}");
}

#[test]
fn what_others_have_installed_is_left_alone_and_own_links_are_renewed() {
    let hsm = Hsm::start();
    let folder = hsm.file("prefix");
    let prefix = folder.to_str().expect("text").to_owned();
    fs::create_dir(&folder).unwrap();
    let library = folder.join("libmhsm-pkcs11.so");
    fs::write(&library, "the TLS Offload Library").unwrap();
    let links = [
        ("mhsm_p11_create_key", "/opt/elsewhere", "/opt/elsewhere"),
        ("mhsm_p11_list_keys", "/opt/old/akv", "akv"),
    ];
    for (name, before, _) in links {
        std::os::unix::fs::symlink(before, folder.join(name)).unwrap();
    }
    let told = hsm.run(&script(), &[&built(), &prefix]).succeeds();
    assert_eq!(told.matches("Left alone").count(), 2, "{told}");
    let words = format!("Left alone {prefix}/libmhsm-pkcs11.so");
    assert!(told.contains(&words), "{told}");
    let left = fs::read_to_string(&library).unwrap();
    assert_eq!(left, "the TLS Offload Library");
    for (name, _, after) in links {
        let link = fs::read_link(folder.join(name)).unwrap();
        assert_eq!(link, Path::new(after));
    }
}
