//! Which calls each client makes, kept as files, so that a change is seen: of what we answer,
//! mostly.
//!
//! A file of `tests/traces` names the version of the program that it is of. Another one that makes
//! other calls is skipped. `AKV_RENEW_TRACES=1` writes the files anew.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::programs::{ENGINE, configure_engine, is_there, skip, succeeds};
use crate::support::{Hsm, module};

/// Calls, or a row of calls that is made several times.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Call(String),
    Repeated(usize, Vec<Self>),
}

/// Takes rows of steps that follow each other for one, short rows first.
fn collapse(mut steps: Vec<Step>) -> Vec<Step> {
    let mut len = 1;
    while len <= steps.len() / 2 {
        let mut done = Vec::new();
        let mut left = &steps[..];
        while let Some(first) = left.first() {
            let row = &left[..len.min(left.len())];
            let times = left.chunks(len).take_while(|other| *other == row).count();
            if times > 1 {
                done.push(Step::Repeated(times, row.to_vec()));
                left = &left[times * len..];
            } else {
                done.push(first.clone());
                left = &left[1..];
            }
        }
        // What is shorter now may have short rows again.
        len = if done.len() < steps.len() { 1 } else { len + 1 };
        steps = done;
    }
    steps
}

fn show(steps: &[Step], depth: usize, text: &mut String) {
    for step in steps {
        let indent = "    ".repeat(depth);
        match step {
            Step::Call(call) => writeln!(text, "{indent}{call}"),
            Step::Repeated(times, row) => {
                let written = writeln!(text, "{indent}{times} times");
                show(row, depth + 1, text);
                written
            }
        }
        .expect("text takes all");
    }
}

/// The calls in the module's log, with the codes of those that failed.
fn calls(log: &str) -> Vec<Step> {
    let calls = log.lines().filter_map(|line| {
        let call = &line[line.find(" C_")? + 1..];
        let (name, code) = call.split_once(": ").unwrap_or((call, "0x0"));
        let is_call = !name.contains(' ') && code.starts_with("0x");
        is_call.then(|| Step::Call(call.to_owned()))
    });
    calls.collect()
}

/// The version of a Debian package. None: it isn't installed, or this isn't a Debian.
fn version(package: &str) -> Option<String> {
    let query = ["--show", "--showformat=${Version}", package];
    let output = Command::new("dpkg-query").args(query).output().ok()?;
    let version = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success() && !version.is_empty()).then_some(version)
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/traces/{name}"))
}

/// The lines that only one of two texts has, in the way of `diff`.
fn difference(expected: &str, found: &str, hsm: &Hsm) -> String {
    std::fs::write(hsm.file("expected"), expected).unwrap();
    std::fs::write(hsm.file("found"), found).unwrap();
    let output = hsm
        .command("diff")
        .args(["-u", "expected", "found"])
        .output()
        .expect("diff runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Has a program of a package run, and compares its calls with those of the file `name`.
pub(crate) fn compare(mut hsm: Hsm, name: &str, package: &str, run: impl FnOnce(&Hsm)) {
    let Some(version) = version(package) else {
        return skip(&format!("the version of {package} is not known"));
    };
    let log = hsm.file("calls.log");
    hsm.set("AKV_LOG_LEVEL", "debug");
    hsm.set("AKV_LOG_FILE", log.clone());
    run(&hsm);
    let calls = calls(&std::fs::read_to_string(log).expect("the module has a log"));
    assert!(calls.len() > 5, "{calls:?}");
    let mut found = format!("{package} {version}\n");
    show(&collapse(calls), 0, &mut found);
    if std::env::var_os("AKV_RENEW_TRACES").is_some() {
        return std::fs::write(file(name), found).expect("the file is written");
    }
    let expected = std::fs::read_to_string(file(name)).unwrap_or_default();
    let (of, expected_calls) = expected.split_once('\n').unwrap_or_default();
    let (_, found_calls) = found.split_once('\n').unwrap_or_default();
    if found_calls == expected_calls {
        return;
    }
    if !of.is_empty() && Some(of) != found.lines().next() {
        return skip(&format!(
            "the calls in tests/traces/{name} are of {of}, those of {package} {version} differ: renew them \
             with AKV_RENEW_TRACES=1"
        ));
    }
    panic!(
        "{package} makes other calls than tests/traces/{name} has (AKV_RENEW_TRACES=1 renews it):\n{}",
        difference(&expected, &found, &hsm)
    );
}

/// An HSM with one key: the order of several is nobody's promise.
pub(crate) fn hsm(key: &str) -> Hsm {
    let hsm = Hsm::start();
    hsm.rest.create(
        key,
        match key {
            "rsa" => r#"{"kty":"RSA-HSM","key_size":2048}"#,
            _ => r#"{"kty":"EC-HSM","crv":"P-256"}"#,
        },
    );
    std::fs::write(hsm.file("data"), "what is signed").unwrap();
    hsm
}

pub(crate) fn path() -> String {
    module().to_str().expect("the path is text").to_owned()
}

#[test]
fn calls_of_pkcs11_tool() {
    if !is_there("pkcs11-tool") {
        return;
    }
    let tool = |hsm: &Hsm, args: &[&str]| {
        succeeds(
            hsm,
            "pkcs11-tool",
            &[&["--module", &path()][..], args].concat(),
        );
    };
    compare(hsm("rsa"), "pkcs11-tool-list", "opensc", |hsm| {
        tool(hsm, &["-O"]);
    });
    compare(hsm("ec"), "pkcs11-tool-sign", "opensc", |hsm| {
        // This version looks for no label when it signs.
        let sign = ["-s", "-m", "ECDSA-SHA256", "--label", "ec"];
        tool(
            hsm,
            &[&sign[..], &["-i", "data", "-o", "signature"]].concat(),
        );
    });
    compare(hsm("rsa"), "pkcs11-tool-generate", "opensc", |hsm| {
        let generate = ["--keypairgen", "--key-type", "EC:prime256v1"];
        tool(hsm, &[&generate[..], &["--label", "new"]].concat());
    });
}

#[test]
fn calls_of_p11tool() {
    if !is_there("p11tool") {
        return;
    }
    let tool = |hsm: &Hsm, args: &[&str]| {
        succeeds(
            hsm,
            "p11tool",
            &[&["--provider", &path()][..], args].concat(),
        );
    };
    compare(hsm("rsa"), "p11tool-list", "gnutls-bin", |hsm| {
        tool(hsm, &["--list-all"]);
    });
    compare(hsm("ec"), "certtool-certificate", "gnutls-bin", |hsm| {
        std::fs::write(hsm.file("template"), "cn = x\nexpiration_days = 2\n").unwrap();
        let url = |of: &str| format!("pkcs11:token=localhost;object=ec;type={of}");
        let (private, public) = (url("private"), url("public"));
        let make = ["--generate-self-signed", "--template", "template"];
        let keys = ["--load-privkey", &private, "--load-pubkey", &public];
        let out = ["--provider", &path(), "--outfile", "certificate.pem"];
        succeeds(hsm, "certtool", &[&make[..], &keys, &out].concat());
        let verify = "verify -check_ss_sig -CAfile certificate.pem certificate.pem";
        let verify: Vec<&str> = verify.split(' ').collect();
        succeeds(hsm, "openssl", &verify);
        assert_eq!(hsm.count("sign"), 1);
    });
    compare(hsm("rsa"), "p11tool-sign", "gnutls-bin", |hsm| {
        let url = "pkcs11:token=localhost;object=rsa;type=private";
        tool(hsm, &["--test-sign", "--batch", url]);
    });
}

#[test]
fn calls_of_java() {
    if !is_there("keytool") {
        return;
    }
    let hsm = hsm("rsa");
    let text = format!("name = akv\nlibrary = {}\nslotListIndex = 0\n", path());
    std::fs::write(hsm.file("java.cfg"), text).unwrap();
    let store = [
        "-keystore",
        "NONE",
        "-storetype",
        "PKCS11",
        "-storepass",
        "x",
        "-providerClass",
        "sun.security.pkcs11.SunPKCS11",
        "-providerArg",
        "java.cfg",
    ];
    compare(hsm, "keytool-list", "openjdk-17-jre-headless", |hsm| {
        succeeds(hsm, "keytool", &[&["-list"][..], &store].concat());
    });
}

#[test]
fn calls_of_libp11s_engine() {
    if !is_there(ENGINE) {
        return;
    }
    for key in ["rsa", "ec"] {
        let mut hsm = hsm(key);
        configure_engine(&mut hsm);
        let name = format!("engine-sign-{key}");
        compare(hsm, &name, "libengine-pkcs11-openssl", |hsm| {
            let uri = format!("pkcs11:token=localhost;object={key};type=private");
            let engine = ["dgst", "-engine", "pkcs11", "-keyform", "engine"];
            let sign = ["-sha256", "-sign", &uri, "-out", "signature", "data"];
            succeeds(hsm, "openssl", &[&engine[..], &sign].concat());
        });
    }
}

#[test]
fn calls_of_nss() {
    if !is_there("certutil") || !is_there("modutil") {
        return;
    }
    let hsm = hsm("rsa");
    std::fs::create_dir(hsm.file("nss")).unwrap();
    let database = ["-d", "sql:nss"];
    let make = ["-N", "--empty-password"];
    succeeds(&hsm, "certutil", &[&make[..], &database].concat());
    let path = path();
    let add = ["-add", "akv", "-libfile", &path];
    let force = ["-force", "-dbdir", "sql:nss"];
    succeeds(&hsm, "modutil", &[&force[..], &add].concat());
    compare(hsm, "certutil-list", "libnss3-tools", |hsm| {
        let list = ["-K", "-h", "localhost"];
        succeeds(hsm, "certutil", &[&list[..], &database].concat());
    });
}

#[test]
fn calls_of_openssh() {
    if !is_there("ssh-keygen") {
        return;
    }
    let list = |hsm: &Hsm| succeeds(hsm, "ssh-keygen", &["-D", &path()]);
    compare(hsm("rsa"), "ssh-keygen-list", "openssh-client", |hsm| {
        list(hsm);
    });
    let hsm = hsm("rsa");
    let listed = list(&hsm);
    let authority = listed.lines().find(|line| line.starts_with("ssh-rsa"));
    std::fs::write(hsm.file("ca.pub"), authority.expect("the RSA key")).unwrap();
    let new = ["-q", "-t", "ed25519", "-N", "", "-f", "user"];
    succeeds(&hsm, "ssh-keygen", &new);
    compare(hsm, "ssh-keygen-sign", "openssh-client", |hsm| {
        let sign = ["-s", "ca.pub", "-I", "somebody", "user.pub"];
        succeeds(hsm, "ssh-keygen", &[&["-D", &path()][..], &sign].concat());
    });
}

#[test]
fn rows_of_calls_are_collapsed() {
    let calls = |text: &str| -> Vec<Step> {
        let letters = text.chars();
        letters
            .map(|letter| Step::Call(letter.to_string()))
            .collect()
    };
    let shown = |text: &str| {
        let mut shown = String::new();
        show(&collapse(calls(text)), 0, &mut shown);
        shown.replace("    ", ">").replace('\n', " ")
    };
    assert_eq!(shown("abc"), "a b c ");
    assert_eq!(shown("aab"), "2 times >a b ");
    assert_eq!(shown("xababy"), "x 2 times >a >b y ");
    assert_eq!(shown("aabaab"), "2 times >2 times >>a >b ");
    let log = "DEBUG C_Sign: 0x150\nTRACE GET /C_x\nDEBUG C_Sign\nDEBUG C_Sign: slot 0: a\n";
    let expected = ["C_Sign: 0x150", "C_Sign"].map(|call| Step::Call(call.to_owned()));
    assert_eq!(super::traces::calls(log), expected);
}
