//! What people really run: pkcs11-tool, p11tool, openssl with libp11's engine, ssh-keygen.

use std::process::Command;

use testing::{Outcome, ReservedPort};

use crate::support::{Hsm, module};

/// The engine of libp11.
pub(crate) const ENGINE: &str = "/usr/lib/x86_64-linux-gnu/engines-3/pkcs11.so";

/// Says that a check can't run here, and why.
pub(crate) fn skip(reason: &str) {
    testing::skip(&format!("PKCS#11: {reason}"));
}

/// Whether a program is there. If not, says loudly that the check is skipped.
pub(crate) fn is_there(program: &str) -> bool {
    let found = testing::is_there(program);
    if !found {
        skip(&format!("{program} is not installed"));
    }
    found
}

pub(crate) fn hsm() -> Hsm {
    let hsm = Hsm::start();
    hsm.rest
        .create("rsa", r#"{"kty":"RSA-HSM","key_size":2048}"#);
    hsm.rest.create("ec", r#"{"kty":"EC-HSM","crv":"P-256"}"#);
    std::fs::write(hsm.file("data"), "what is signed").unwrap();
    hsm
}

/// Runs a program that succeeds. Returns all that it says.
#[track_caller]
pub(crate) fn succeeds(hsm: &Hsm, program: &str, args: &[&str]) -> String {
    let mut command = hsm.command(program);
    command.args(args);
    let outcome = Outcome::of(command);
    outcome.succeeds();
    outcome.text()
}

fn pkcs11_tool(hsm: &Hsm, args: &[&str]) -> String {
    let module = module();
    let module = module.to_str().expect("the path is text");
    succeeds(hsm, "pkcs11-tool", &[&["--module", module], args].concat())
}

#[test]
fn pkcs11_tool_lists_generates_signs_and_tests() {
    if !is_there("pkcs11-tool") {
        return;
    }
    let hsm = hsm();
    let before = hsm.requests().len();
    assert!(pkcs11_tool(&hsm, &["-L"]).contains("token initialized"));
    assert!(pkcs11_tool(&hsm, &["-M"]).contains("SHA256-RSA-PKCS-PSS"));
    assert_eq!(hsm.requests().len(), before);
    let objects = pkcs11_tool(&hsm, &["-O"]);
    for words in ["label:      rsa", "label:      ec", "never extractable"] {
        assert!(objects.contains(words), "{objects}");
    }
    for (kind, id) in [
        ("rsa:2048", "0a"),
        ("EC:prime256v1", "0b"),
        ("EC:secp384r1", "0c"),
    ] {
        let generate = [
            "--keypairgen",
            "--key-type",
            kind,
            "--label",
            "made",
            "--id",
            id,
        ];
        pkcs11_tool(&hsm, &generate);
    }
    for (id, mechanism) in [
        ("0a", "SHA256-RSA-PKCS"),
        ("0a", "SHA256-RSA-PKCS-PSS"),
        ("0b", "ECDSA-SHA256"),
        ("0c", "ECDSA-SHA384"),
    ] {
        let sign = [
            "-s",
            "-m",
            mechanism,
            "--id",
            id,
            "-i",
            "data",
            "-o",
            "signature",
        ];
        pkcs11_tool(&hsm, &sign);
        let verify = ["--verify", "-m", mechanism, "--id", id, "-i", "data"];
        let file = ["--signature-file", "signature"];
        let told = pkcs11_tool(&hsm, &[&verify[..], &file].concat());
        assert!(told.contains("Signature is valid"), "{told}");
    }
    assert_eq!(hsm.count("sign"), 4);
    // The two commands of the TLS Offload Library's users; the flags are what they have.
    let told = pkcs11_tool(&hsm, &["--test", "--login", "--pin", "x"]);
    assert!(told.contains("No errors"), "{told}");
}

/// It makes a pair, gives it another id and label, signs, and deletes it. A command line that
/// starts cold: the key and the signature, on one connection. pkcs11-tool takes the first private
/// key there is, whatever the label, so the token has to say which keys there are; else there is
/// the list.
#[test]
fn pkcs11_tool_signs_cold_by_two_requests() {
    if !is_there("pkcs11-tool") {
        return;
    }
    let mut hsm = Hsm::start();
    hsm.rest.create("ec", r#"{"kty":"EC-HSM","crv":"P-256"}"#);
    std::fs::write(hsm.file("data"), "what is signed").unwrap();
    for (of_token, count) in [(r#","keys":["ec"]"#, 2), ("", 3)] {
        hsm.configure(&format!(
            r#"{{"tokens":[{{"resourceName":"localhost"{of_token}}}],"maxConnections":1}}"#
        ));
        let before = hsm.requests().len();
        let sign = ["--sign", "-m", "ECDSA-SHA256", "--label", "ec"];
        pkcs11_tool(
            &hsm,
            &[&sign[..], &["-i", "data", "-o", "signature"]].concat(),
        );
        let requests = &hsm.requests()[before..];
        let connections: std::collections::HashSet<u64> =
            requests.iter().map(|request| request.connection).collect();
        assert_eq!(connections.len(), 1, "{requests:?}");
        assert_eq!(requests.len(), count, "{requests:?}");
        let signs = requests.iter().filter(|request| request.is("sign"));
        assert_eq!(signs.count(), 1, "{requests:?}");
    }
}

#[test]
fn pkcs11_tool_tests_elliptic_curves() {
    if !is_there("pkcs11-tool") {
        return;
    }
    let mut hsm = Hsm::start();
    hsm.configure(r#"{"tokens":[{"resourceName":"localhost"}],"allowDelete":true}"#);
    for curve in ["prime256v1", "secp384r1", "secp521r1", "secp256k1"] {
        let kind = format!("EC:{curve}");
        let test = ["--test-ec", "--session-rw", "--login", "--pin", "x"];
        let key = ["--key-type", &kind, "--label", "made", "--id", "99"];
        let told = pkcs11_tool(&hsm, &[&test[..], &key].concat());
        assert!(
            told.contains("Deleting the private and the public key"),
            "{told}"
        );
    }
    assert!(hsm.count("sign") >= 4);
    assert!(!pkcs11_tool(&hsm, &["-O"]).contains("Object;"));
}

#[test]
fn pkcs11_tool_deletes_where_that_is_allowed() {
    if !is_there("pkcs11-tool") {
        return;
    }
    let mut hsm = hsm();
    let id = |told: &str| {
        let line = told.lines().find(|line| line.contains("ID:"));
        let id = line.and_then(|line| line.split_whitespace().nth(1));
        id.expect("the id is told").to_owned()
    };
    let id = id(&pkcs11_tool(&hsm, &["-O", "-y", "privkey"]));
    let module = module().to_str().expect("the path is text");
    let delete = ["--module", module, "-b", "-y", "privkey", "--id", &id];
    let refused = hsm.command("pkcs11-tool").args(delete).output();
    let refused = refused.expect("it runs");
    assert!(!refused.status.success());
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(told.contains("allow it with allowDelete"), "{told}");
    assert!(pkcs11_tool(&hsm, &["-O"]).contains(&id));
    hsm.configure(r#"{"tokens":[{"resourceName":"localhost"}],"allowDelete":true}"#);
    pkcs11_tool(&hsm, &delete[2..]);
    assert!(!pkcs11_tool(&hsm, &["-O"]).contains(&id));
}

/// The first of the commands is that of Azure Cloud HSM's users, with the PIN of theirs.
#[test]
fn pkcs11_tool_makes_aes_keys_and_decrypts() {
    if !is_there("pkcs11-tool") {
        return;
    }
    let mut hsm = hsm();
    let login = [
        "--sensitive",
        "--private",
        "--login",
        "--login-type",
        "user",
        "--pin",
        "cu1:user1234",
    ];
    let generate = ["--keygen", "--key-type", "AES:32"];
    let told = pkcs11_tool(&hsm, &[&login[..], &generate].concat());
    assert!(told.contains("AES length 32"), "{told}");
    let further = ["--label", "aes", "--id", "0d"];
    pkcs11_tool(&hsm, &[&generate[..], &further].concat());
    let generate = ["--keypairgen", "--key-type", "rsa:2048", "--id", "0e"];
    pkcs11_tool(&hsm, &generate);
    let public = ["--read-object", "--type", "pubkey", "--id", "0e"];
    pkcs11_tool(&hsm, &[&public[..], &["-o", "public.der"]].concat());

    let decrypts = |hsm: &Hsm, mechanism: &[&str], id: &str| {
        let rest = ["--id", id, "-i", "sealed", "-o", "opened"];
        let _ = std::fs::remove_file(hsm.file("opened"));
        pkcs11_tool(hsm, &[&["--decrypt", "-m"], mechanism, &rest].concat());
        let opened = std::fs::read(hsm.file("opened")).expect("it was written");
        assert_eq!(opened, b"what is signed", "{mechanism:?}");
    };
    let seal = "pkeyutl -encrypt -pubin -keyform DER -inkey public.der -in data -out sealed";
    let seal: Vec<&str> = seal.split(' ').collect();
    for (options, mechanism) in [
        ("-pkeyopt rsa_padding_mode:pkcs1", "RSA-PKCS"),
        (
            "-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha1",
            "RSA-PKCS-OAEP --hash-algorithm SHA-1",
        ),
        (
            "-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256",
            "RSA-PKCS-OAEP --hash-algorithm SHA256 --mgf MGF1-SHA256",
        ),
    ] {
        let options: Vec<&str> = options.split(' ').collect();
        let mechanism: Vec<&str> = mechanism.split(' ').collect();
        succeeds(&hsm, "openssl", &[&seal[..], &options].concat());
        decrypts(&hsm, &mechanism, "0e");
    }
    let mechanism = ["AES-CBC-PAD", "--iv", "00112233445566778899aabbccddeeff"];
    let rest = ["--id", "0d", "-i", "data", "-o", "sealed"];
    pkcs11_tool(
        &hsm,
        &[&["--encrypt", "-m"], &mechanism[..], &rest].concat(),
    );
    decrypts(&hsm, &mechanism, "0d");

    assert_eq!((hsm.count("encrypt"), hsm.count("decrypt")), (1, 4));

    // With random numbers of the HSM, as well.
    hsm.configure(r#"{"tokens":[{"resourceName":"localhost"}],"random":"hsm"}"#);
    let told = pkcs11_tool(&hsm, &["--test", "--login", "--pin", "x"]);
    for row in ["Decryption (currently only for RSA)", "No errors"] {
        assert!(told.contains(row), "{told}");
    }
    let decryption = told.split("Decryption").nth(1).unwrap_or_default();
    assert!(decryption.contains("RSA-PKCS: OK"), "{told}");
    assert!(hsm.count("rng") > 0);
}

#[test]
fn pkcs11_tool_imports_keys_and_authenticates() {
    if !is_there("pkcs11-tool") {
        return;
    }
    let mut hsm = hsm();
    hsm.configure(r#"{"tokens":[{"resourceName":"localhost"}],"allowImport":true}"#);
    let make = |line: &str| {
        let args: Vec<&str> = line.split(' ').collect();
        succeeds(&hsm, "openssl", &args);
    };
    make("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.pem");
    make("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ec.pem");
    for (name, id, mechanism) in [
        ("rsa", "21", "SHA256-RSA-PKCS"),
        ("ec", "22", "ECDSA-SHA256"),
    ] {
        let file = format!("{name}.pem");
        let write = ["--write-object", &file, "--type", "privkey"];
        let names = ["--id", id, "--label", "brought", "--usage-sign"];
        pkcs11_tool(&hsm, &[&write[..], &names].concat());
        let sign = ["-s", "-m", mechanism, "--id", id, "-i", "data"];
        let openssl = ["-f", "openssl", "-o", "signature"];
        pkcs11_tool(&hsm, &[&sign[..], &openssl].concat());
        let verify = [
            "dgst",
            "-sha256",
            "-prverify",
            &file,
            "-signature",
            "signature",
        ];
        let told = succeeds(&hsm, "openssl", &[&verify[..], &["data"]].concat());
        assert!(told.contains("Verified OK"), "{told}");
    }
    crate::support::import_aes(&hsm.rest, "mac", &[7; 32]);
    let id = "--id";
    let listed = pkcs11_tool(&hsm, &["-O", "--type", "secrkey"]);
    let found = listed
        .split("ID:")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next());
    let found = found.expect("the key is listed");
    let sign = [
        "-s",
        "-m",
        "SHA256-HMAC",
        id,
        found,
        "-i",
        "data",
        "-o",
        "mac",
    ];
    pkcs11_tool(&hsm, &sign);
    let key = openssl::pkey::PKey::hmac(&[7; 32]).unwrap();
    let digest = openssl::hash::MessageDigest::sha256();
    let mut signer = openssl::sign::Signer::new(digest, &key).unwrap();
    let expected = signer.sign_oneshot_to_vec(b"what is signed").unwrap();
    assert_eq!(std::fs::read(hsm.file("mac")).unwrap(), expected);
    assert_eq!(hsm.count("sign"), 3);
}

#[test]
fn pkcs11_tool_forks_and_has_threads() {
    if !is_there("pkcs11-tool") {
        return;
    }
    let hsm = hsm();
    pkcs11_tool(&hsm, &["--test-fork"]);
    pkcs11_tool(&hsm, &["--test-threads", "ILGISLT0"]);
}

#[test]
fn gnutls_lists_and_signs() {
    if !is_there("p11tool") {
        return;
    }
    let hsm = hsm();
    hsm.rest
        .create("aes", r#"{"kty":"oct-HSM","key_size":256}"#);
    let module = module();
    let module = module.to_str().expect("the path is text");
    let provider = ["--provider", module];
    let listed = succeeds(&hsm, "p11tool", &[&provider[..], &["--list-all"]].concat());
    assert!(listed.contains("object=rsa;type=private"), "{listed}");
    assert!(listed.contains("object=ec;type=public"), "{listed}");
    let secrets = [&provider[..], &["--list-all", "--only-urls"]].concat();
    let listed = succeeds(&hsm, "p11tool", &secrets);
    assert!(listed.contains("object=aes;type=secret-key"), "{listed}");
    let random = [
        &provider[..],
        &["--generate-random=20", "pkcs11:token=localhost"],
    ]
    .concat();
    succeeds(&hsm, "p11tool", &random);
    for key in ["rsa", "ec"] {
        let url = format!("pkcs11:token=localhost;object={key};type=private");
        succeeds(
            &hsm,
            "p11tool",
            &[&provider[..], &["--test-sign", "--batch", &url]].concat(),
        );
    }
    assert_eq!(hsm.count("sign"), 2);
}

/// Has openssl load libp11's engine with the module.
pub(crate) fn configure_engine(hsm: &mut Hsm) {
    let text = format!(
        "openssl_conf = conf\n[conf]\nengines = engines\n[engines]\npkcs11 = pkcs11\n[pkcs11]\n\
         engine_id = pkcs11\ndynamic_path = {ENGINE}\nMODULE_PATH = {}\ninit = 1\n\
         [req]\ndistinguished_name = name\n[name]\n",
        module().display()
    );
    let path = hsm.file("openssl.cnf");
    std::fs::write(&path, text).unwrap();
    hsm.set("OPENSSL_CONF", path);
}

#[test]
fn openssl_signs_by_libp11s_engine() {
    if !is_there(ENGINE) {
        return;
    }
    let mut hsm = hsm();
    configure_engine(&mut hsm);
    for key in ["rsa", "ec"] {
        let uri = format!("pkcs11:token=localhost;object={key};type=private");
        let engine = ["-engine", "pkcs11", "-keyform", "engine"];
        let sign = [
            "dgst",
            "-sha256",
            "-sign",
            &uri,
            "-out",
            "signature",
            "data",
        ];
        succeeds(&hsm, "openssl", &[&sign[..1], &engine, &sign[1..]].concat());
        let public = ["-in", &uri, "-pubout", "-out", "public.pem"];
        let export = ["pkey", "-engine", "pkcs11", "-inform", "engine"];
        succeeds(&hsm, "openssl", &[&export[..], &public].concat());
        let verify = ["-verify", "public.pem", "-signature", "signature", "data"];
        let told = succeeds(
            &hsm,
            "openssl",
            &[&["dgst", "-sha256"][..], &verify].concat(),
        );
        assert!(told.contains("Verified OK"), "{told}");
    }
    assert_eq!(hsm.count("sign"), 2);
}

#[test]
fn openssl_decrypts_by_libp11s_engine() {
    if !is_there(ENGINE) {
        return;
    }
    let mut hsm = hsm();
    configure_engine(&mut hsm);
    let uri = "pkcs11:token=localhost;object=rsa;type=private";
    let engine = ["-engine", "pkcs11"];
    let run = |command: &[&str]| {
        succeeds(
            &hsm,
            "openssl",
            &[&command[..1], &engine, &command[1..]].concat(),
        )
    };
    run(&[
        "pkey",
        "-inform",
        "engine",
        "-in",
        uri,
        "-pubout",
        "-out",
        "public.pem",
    ]);
    for padding in ["pkcs1", "oaep"] {
        let padding = format!("rsa_padding_mode:{padding}");
        let options = ["-pkeyopt", &padding, "-in"];
        let seal = ["pkeyutl", "-encrypt", "-pubin", "-inkey", "public.pem"];
        let seal = [&seal[..], &options, &["data", "-out", "sealed"]].concat();
        succeeds(&hsm, "openssl", &seal);
        let open = ["pkeyutl", "-decrypt", "-keyform", "engine", "-inkey", uri];
        run(&[&open[..], &options, &["sealed", "-out", "opened"]].concat());
        let opened = std::fs::read(hsm.file("opened")).expect("it was written");
        assert_eq!(opened, b"what is signed");
    }
    assert_eq!(hsm.count("decrypt"), 2);
}

/// As users of the TLS Offload Library have it, with workers, and with a reload. The identity is
/// the environment's, which nginx takes from its workers: libp11 0.4.12 takes no PIN of more than
/// 32 characters.
#[test]
fn nginx_serves_by_libp11s_engine() {
    if !is_there(ENGINE) || !is_there("nginx") || !is_there("curl") {
        return;
    }
    let mut hsm = hsm();
    let folder = hsm.folder.path().to_str().expect("text").to_owned();
    hsm.configure(
        r#"{"tokens":[{"slotid":1,"protocol":"https://","uri":"managedhsm.azure.net",
            "resourceName":"MyHSM","resourceType":"mhsm"}],"msi":{"identityMSI":false}}"#,
    );
    configure_engine(&mut hsm);
    let reserved = ReservedPort::take();
    let port = reserved.number();
    for key in ["rsa", "ec"] {
        let uri = format!("pkcs11:token=MyHSM;object={key};type=private;pin-value=");
        let engine = [
            "req", "-x509", "-new", "-engine", "pkcs11", "-keyform", "engine",
        ];
        let subject = ["-key", &uri, "-subj", "/CN=localhost", "-out", "cert.pem"];
        succeeds(&hsm, "openssl", &[&engine[..], &subject].concat());
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {folder}/{name};"));
        let text = format!(
            "daemon off; worker_processes 2; user root; pid {folder}/pid; error_log {folder}/error.log;\n\
             events {{}}\nhttp {{ access_log off; {}\nserver {{ listen 127.0.0.1:{port} ssl;\n\
             ssl_certificate {folder}/cert.pem;\nssl_certificate_key \"engine:pkcs11:{uri}\";\n\
             ssl_session_cache off; ssl_session_tickets off; location / {{ return 200 served; }} }} }}\n",
            temporary.concat()
        );
        std::fs::write(hsm.file("nginx.conf"), text).unwrap();
        let before = hsm.count("sign");
        let conf = format!("{folder}/nginx.conf");
        let mut nginx = hsm
            .command("nginx")
            .args(["-p", &folder, "-c", &conf])
            .spawn()
            .expect("nginx starts");
        let fetch = || {
            let url = format!("https://127.0.0.1:{port}/");
            let retry = [
                "-sk",
                "--retry",
                "40",
                "--retry-connrefused",
                "--retry-delay",
                "1",
            ];
            let fetched = Command::new("curl").args(retry).arg(url).output();
            String::from_utf8_lossy(&fetched.expect("curl runs").stdout).into_owned()
        };
        let signal =
            |name: &str| succeeds(&hsm, "nginx", &["-p", &folder, "-c", &conf, "-s", name]);
        let mut served: Vec<String> = (0..4).map(|_| fetch()).collect();
        signal("reload");
        std::thread::sleep(std::time::Duration::from_secs(2));
        served.extend((0..4).map(|_| fetch()));
        signal("stop");
        let status = nginx.wait().expect("nginx ends");
        let log = std::fs::read_to_string(hsm.file("error.log")).unwrap_or_default();
        assert_eq!(served, ["served"; 8], "{log}");
        assert!(status.success(), "{log}");
        assert_eq!(hsm.count("sign") - before, 8, "{log}");
        std::fs::remove_file(hsm.file("error.log")).unwrap();
    }
}

#[test]
fn nss_lists_and_generates_keys_and_signs_requests() {
    if !is_there("certutil") || !is_there("modutil") {
        return;
    }
    let hsm = hsm();
    let module = module();
    let module = module.to_str().expect("the path is text");
    std::fs::create_dir(hsm.file("nss")).unwrap();
    let certutil = |args: &[&str]| succeeds(&hsm, "certutil", &[args, &["-d", "sql:nss"]].concat());
    certutil(&["-N", "--empty-password"]);
    let add = [
        "-force", "-dbdir", "sql:nss", "-add", "akv", "-libfile", module,
    ];
    succeeds(&hsm, "modutil", &add);
    let listed = certutil(&["-K", "-h", "localhost"]);
    let line = listed.lines().find(|line| line.ends_with(" rsa"));
    let id = line.and_then(|line| line.split_whitespace().rev().nth(1));
    let id = id.expect("the RSA key has an id");
    std::fs::write(hsm.file("noise"), [7; 64]).unwrap();
    for key in [
        &["-k", id][..],
        &["-g", "2048", "-z", "noise"],
        &["-k", "ec", "-q", "nistp256", "-z", "noise"],
    ] {
        let request = [
            "-R",
            "-h",
            "localhost",
            "-s",
            "CN=x",
            "-a",
            "-o",
            "request.pem",
        ];
        certutil(&[&request[..], key].concat());
        let verify = ["req", "-in", "request.pem", "-verify", "-noout"];
        let told = succeeds(&hsm, "openssl", &verify);
        assert!(told.contains("verify OK"), "{told}");
    }
    let listed = certutil(&["-K", "-h", "localhost"]);
    assert_eq!(listed.matches("p11-").count(), 2, "{listed}");
    assert_eq!(hsm.count("sign"), 3);
}

#[test]
fn openssh_lists_keys_and_signs_certificates() {
    if !is_there("ssh-keygen") {
        return;
    }
    let hsm = hsm();
    let module = module();
    let module = module.to_str().expect("the path is text");
    let listed = succeeds(&hsm, "ssh-keygen", &["-D", module]);
    let authority = listed.lines().find(|line| line.starts_with("ssh-rsa"));
    let authority = authority.expect("the RSA key is listed");
    assert!(listed.contains("ecdsa-sha2-nistp256"), "{listed}");
    std::fs::write(hsm.file("ca.pub"), format!("{authority}\n")).unwrap();
    let new = ["-q", "-t", "ed25519", "-N", "", "-f", "user"];
    succeeds(&hsm, "ssh-keygen", &new);
    let sign = ["-D", module, "-s", "ca.pub", "-I", "somebody", "user.pub"];
    succeeds(&hsm, "ssh-keygen", &sign);
    let shown = succeeds(&hsm, "ssh-keygen", &["-L", "-f", "user-cert.pub"]);
    assert!(shown.contains("somebody"), "{shown}");
    assert_eq!(hsm.count("sign"), 1);
}
