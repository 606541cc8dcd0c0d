//! `openssl.cnf`: `akv` reads what the provider is told by libcrypto, or refuses it.

use std::fs;

use crate::support::{EC_P256, Hsm, Loading, uri};

/// Where nobody listens: which of these ports is asked tells what was read.
const A: &str = "https://localhost:1";
const B: &str = "https://localhost:2";

/// The endpoint that an error names.
fn asked(text: &str) -> Option<&str> {
    [A, B]
        .into_iter()
        .find(|endpoint| text.contains(&format!("can't reach {endpoint}:")))
}

#[test]
fn akv_asks_the_host_that_the_provider_asks() {
    let mut hsm = Hsm::with_keys(&[("k", EC_P256)]);
    hsm.unset("AZURE_MANAGEDHSM_URL");
    hsm.set("AKV_MAX_RETRIES", "0");
    hsm.set("AKV_TEST_ENDPOINT", A);
    let module = hsm.path("modules/akv_provider.so");
    let parts = hsm.file("parts");
    fs::create_dir(&parts).unwrap();
    fs::write(parts.join("a.cnf"), format!("[akv]\nendpoint = {A}\n")).unwrap();
    fs::write(parts.join("b.txt"), format!("[akv]\nendpoint = {B}\n")).unwrap();
    let included = hsm.write("included.txt", format!("endpoint = {A}\n[elsewhere]\n"));
    let parts = parts.display().to_string();
    let head = "openssl_conf = init\n[init]\nproviders = list\n[default_sect]\nactivate = 1\n";
    let list = "[list]\ndefault = default_sect\nakv_provider = akv\n[akv]\nactivate = 1\n";
    let named = |name: &str, further: &str| {
        format!("[list]\ndefault = default_sect\n{name} = akv\n[akv]\nactivate = 1\n{further}\n")
    };
    for (case, text, expected) in [
        ("plain", format!("{list}endpoint = {A}\n"), A),
        (
            "the last counts",
            format!("{list}endpoint = {B}\nendpoint = {A}\n"),
            A,
        ),
        (
            "twice the section",
            format!("{list}endpoint = {B}\n[x]\n[akv]\nendpoint = {A}\n"),
            A,
        ),
        (
            "another name",
            named("hsm", &format!("module = {module}\nendpoint = {A}")),
            A,
        ),
        (
            "an identity",
            named(
                "hsm",
                &format!("identity = akv_provider\nmodule = {module}\nendpoint = {A}"),
            ),
            A,
        ),
        (
            "a label",
            named("1.akv_provider", &format!("endpoint = {A}")),
            A,
        ),
        (
            "a variable",
            format!("[default]\nwhere = {A}\n{list}endpoint = $where\n"),
            A,
        ),
        (
            "of another section",
            format!("[x]\nwhere = {A}\n{list}endpoint = ${{x::where}}\n"),
            A,
        ),
        (
            "of the environment",
            format!("{list}endpoint = $ENV::AKV_TEST_ENDPOINT\n"),
            A,
        ),
        (
            "quotes",
            format!("{list}endpoint = \"https://\"'localhost:'`1` # {B}\n"),
            A,
        ),
        (
            "escapes",
            format!("{list}endpoint = https:\\/\\/localhost\\:1\n"),
            A,
        ),
        (
            "a line that goes on",
            format!("{list}endpoint = https://\\\r\nlocalhost:1\r\n"),
            A,
        ),
        (
            "with its section",
            format!("{list}[x]\nakv::endpoint = {A}\n"),
            A,
        ),
        (
            "a byte order mark",
            format!("\u{feff}{list}endpoint = {A}\n"),
            A,
        ),
        (
            "an included folder",
            format!("{list}endpoint = {B}\n.include {parts}\n"),
            A,
        ),
        (
            "an included file",
            format!("{list}.include = {included}\nendpoint = {B}\n"),
            A,
        ),
        (
            "a missing file",
            format!("{list}endpoint = {A}\n.include /nowhere/x.cnf\n"),
            A,
        ),
        (
            "an included folder by pragma",
            format!("{list}.pragma includedir:{parts}\n.include a.cnf\n"),
            A,
        ),
        (
            "a dollar in a name",
            format!(".pragma dollarid:on\n[default]\na$b = {A}\n{list}endpoint = ${{a$b}}\n"),
            A,
        ),
    ] {
        // The BOM is the file's first.
        let text = match text.strip_prefix('\u{feff}') {
            Some(text) => format!("\u{feff}{head}{text}"),
            None => format!("{head}{text}"),
        };
        let file = hsm.write("case.cnf", text);
        hsm.set("OPENSSL_CONF", &file);
        let provider = hsm
            .openssl(Loading::Plain, &["pkey", "-in", &uri("k"), "-noout"])
            .text();
        let akv = hsm.akv(&["key", "pem", &uri("k")]).text();
        assert_eq!(asked(&provider), Some(expected), "{case}: {provider}");
        assert_eq!(asked(&akv), Some(expected), "{case}: {akv}");
    }
}

/// libcrypto goes on with the next file of a folder before the rest of one that includes another,
/// and passes over a folder within a folder.
#[test]
fn akv_reads_what_a_folder_includes_in_the_order_of_libcrypto() {
    let mut hsm = Hsm::with_keys(&[("k", EC_P256)]);
    hsm.unset("AZURE_MANAGEDHSM_URL");
    hsm.set("AKV_MAX_RETRIES", "0");
    let [outer, inner] = ["outer", "inner"].map(|name| hsm.file(name));
    fs::create_dir(&outer).unwrap();
    fs::create_dir(&inner).unwrap();
    let empty = hsm.write("empty.txt", "# nothing\n");
    let nested = inner.display().to_string();
    let file = hsm.write(
        "case.cnf",
        format!(
            "openssl_conf = init\n[init]\nproviders = list\n[list]\ndefault = default_sect\n\
             akv_provider = akv\n[default_sect]\nactivate = 1\n[akv]\nactivate = 1\n\
             .include {}\n",
            outer.display()
        ),
    );
    hsm.set("OPENSSL_CONF", &file);
    fs::write(inner.join("x.cnf"), format!("[akv]\nendpoint = {B}\n")).unwrap();
    let (a, b) = (
        format!("[akv]\nendpoint = {A}\n"),
        format!("[akv]\nendpoint = {B}\n"),
    );
    for (case, first, second) in [
        (
            "a folder within",
            format!("{a}.include {nested}\n"),
            String::new(),
        ),
        (
            "a file within the first",
            format!("[akv]\n.include {empty}\n{a}"),
            b.clone(),
        ),
        (
            "a file within the second",
            b,
            format!("[akv]\n.include {empty}\n{a}"),
        ),
        (
            "a folder after a folder",
            format!("[akv]\n.include {empty}\n.include {nested}\n{a}"),
            String::new(),
        ),
    ] {
        fs::write(outer.join("1.cnf"), first).unwrap();
        fs::write(outer.join("2.conf"), second).unwrap();
        let provider = hsm
            .openssl(Loading::Plain, &["pkey", "-in", &uri("k"), "-noout"])
            .text();
        let akv = hsm.akv(&["key", "pem", &uri("k")]).text();
        let expected = asked(&provider);
        assert!(expected.is_some(), "{case}: {provider}");
        assert_eq!(asked(&akv), expected, "{case}: {akv}");
    }
}

#[test]
fn akv_refuses_a_setting_that_the_provider_does_not_know() {
    let mut hsm = Hsm::with_keys(&[("k", EC_P256)]);
    let file = hsm.write(
        "misspelt.cnf",
        "openssl_conf = init\n[init]\nproviders = list\n[list]\ndefault = default_sect\nakv_provider = akv\n\
         [default_sect]\nactivate = 1\n[akv]\nactivate = 1\nrequire-post-quantum-tls = yes\n",
    );
    hsm.set("OPENSSL_CONF", &file);
    let misspelt = &[
        "'require-post-quantum-tls' in openssl.cnf",
        "there is no such setting",
    ];
    hsm.openssl(Loading::Plain, &["pkey", "-in", &uri("k"), "-noout"])
        .fails_with(misspelt);
    hsm.akv(&["keys", "show", &uri("k")]).fails_with(misspelt);
}

#[test]
fn a_setting_whose_value_is_a_section_is_refused_by_both() {
    let mut hsm = Hsm::with_keys(&[("k", EC_P256)]);
    for (setting, section) in [
        ("cloud = china", "[china]\nx = y\n"),
        ("random = MyHSM", "[MyHSM]\n"),
    ] {
        let file = hsm.write(
            "sections.cnf",
            format!(
                "openssl_conf = init\n[init]\nproviders = list\n[list]\ndefault = default_sect\n\
                 akv_provider = akv\n[default_sect]\nactivate = 1\n[akv]\nactivate = 1\n\
                 {setting}\n{section}"
            ),
        );
        hsm.set("OPENSSL_CONF", &file);
        let (key, value) = setting.split_once(" = ").unwrap();
        let (key, value) = (format!("'{key}'"), format!("'{value}'"));
        let words: &[&str] = &[&key, &value, "rename the section"];
        hsm.openssl(Loading::Plain, &["pkey", "-in", &uri("k"), "-noout"])
            .fails_with(words);
        hsm.akv(&["keys", "show", &uri("k")]).fails_with(words);
    }
}

/// Where there is a library alone, with no program that tells where its configuration is.
#[test]
fn akv_finds_the_configuration_without_the_openssl_program() {
    let mut hsm = Hsm::start();
    let told = hsm.openssl(Loading::Plain, &["version", "-d"]).text();
    let folder = told
        .split('"')
        .nth(1)
        .expect("a folder in quotes")
        .to_owned();
    hsm.unset("OPENSSL_CONF");
    let shown = |hsm: &Hsm, path: Option<&str>| {
        let mut command = hsm.akv_command(&["config", "show"]);
        command.env_remove("OPENSSL_CONF");
        if let Some(path) = path {
            command.env("PATH", path);
        }
        let output = command.output().expect("it runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let with_program = shown(&hsm, None);
    assert_eq!(shown(&hsm, Some("/nowhere")), with_program, "{folder}");
    assert!(with_program.contains("openssl.cnf"), "{with_program}");
}

#[test]
fn akv_refuses_what_libcrypto_refuses() {
    let mut hsm = Hsm::with_keys(&[("k", EC_P256)]);
    let head = "openssl_conf = init\n[init]\nproviders = list\n[list]\nakv_provider = akv\n[akv]\nactivate = 1\n";
    for (text, words) in [
        ("endpoint = $nothing\n", "no value"),
        ("endpoint = ${x\n", "closing bracket"),
        ("[akv\n", "no ']'"),
        ("endpoint\n", "no '='"),
        (".pragma abspath:on\n.include x.cnf\n", "not absolute"),
    ] {
        let file = hsm.write("case.cnf", format!("{head}{text}"));
        hsm.set("OPENSSL_CONF", &file);
        let refused = hsm.openssl(Loading::Plain, &["pkey", "-in", &uri("k"), "-noout"]);
        assert!(!refused.is_success(), "{text}: {refused:?}");
        let told = hsm
            .akv(&["keys", "show", &uri("k")])
            .fails_with(&[words, "case.cnf line "]);
        assert!(!told.contains("can't reach"), "{told}");
        hsm.akv(&["doctor"]).fails_with(&[words]);
    }
}
