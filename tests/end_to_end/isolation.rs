//! Ordinary commands with software keys give with the provider, wherever it stands, what they give
//! without it.

use std::fs;

use crate::support::{Hsm, LOADINGS, Loading, RSA_2048, openssl_version, sample, skip, uri};

/// What makes the files in `S/`, which plain openssl prepares once.
const FIXTURES: &str = "
    genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out S/rsa.key
    genpkey -algorithm EC -pkeyopt group:P-256 -out S/ec.key
    genpkey -algorithm EC -pkeyopt group:P-256 -out S/peer.key
    genpkey -algorithm ED25519 -out S/ed25519.key
    genpkey -algorithm X25519 -out S/x25519.key
    genpkey -algorithm X25519 -out S/x25519-peer.key
    pkey -in S/rsa.key -pubout -out S/rsa.pub
    pkey -in S/ec.key -pubout -out S/ec.pub
    pkey -in S/peer.key -pubout -out S/peer.pub
    pkey -in S/ed25519.key -pubout -out S/ed25519.pub
    pkey -in S/x25519-peer.key -pubout -out S/x25519-peer.pub
    pkcs8 -topk8 -in S/rsa.key -v2 aes256 -passout pass:secret -out S/encrypted.key
    req -x509 -key S/rsa.key -subj /CN=rsa -days 30 -addext basicConstraints=critical,CA:TRUE -out S/rsa.crt
    req -x509 -key S/ec.key -subj /CN=ec -days 30 -out S/ec.crt
    req -new -key S/ec.key -subj /CN=ec -out S/ec.csr
    dgst -sha256 -sign S/rsa.key -out S/rsa.sig S/message
    dgst -sha384 -sign S/ec.key -out S/ec.sig S/message
    pkeyutl -sign -rawin -inkey S/ed25519.key -in S/message -out S/ed25519.sig
    pkeyutl -encrypt -pubin -inkey S/rsa.pub -pkeyopt rsa_padding_mode:oaep -in S/message -out S/sealed
    cms -sign -binary -nodetach -in S/message -signer S/ec.crt -inkey S/ec.key -outform DER -out S/signed.cms
    cms -encrypt -binary -aes256 -in S/message -outform DER -out S/rsa.cms S/rsa.crt
    cms -encrypt -binary -aes256 -in S/message -outform DER -out S/ec.cms S/ec.crt
    pkcs12 -export -inkey S/rsa.key -in S/rsa.crt -passout pass:secret -out S/rsa.p12
";

/// The commands, each after what is expected of it:
///
/// - `same`: standard output, and the file after `-out`, are what plain openssl gives;
/// - `works`: it ends well; what it writes differs from time to time;
/// - `judge`: plain openssl runs it, on what the commands before have written; it ends well.
///
/// A version before it: the OpenSSL that has it first. `O/` is the folder of one way to load the
/// provider.
const COMMANDS: &str = "
    works genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out O/rsa.key
    judge pkey -in O/rsa.key -check -noout
    works genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -out O/rsa-pss.key
    judge pkey -in O/rsa-pss.key -check -noout
    works genpkey -algorithm EC -pkeyopt group:P-384 -pkeyopt ec_param_enc:named_curve -out O/ec.key
    judge pkey -in O/ec.key -check -noout
    works genpkey -algorithm EC -pkeyopt group:brainpoolP384r1 -out O/brainpool.key
    judge pkey -in O/brainpool.key -check -noout
    works genpkey -algorithm ED25519 -out O/ed25519.key
    judge pkey -in O/ed25519.key -noout
    works genpkey -algorithm ED448 -out O/ed448.key
    judge pkey -in O/ed448.key -noout
    works genpkey -algorithm X25519 -out O/x25519.key
    works genpkey -algorithm X448 -out O/x448.key
    works genpkey -algorithm DH -pkeyopt group:ffdhe2048 -out O/dh.key
    judge pkey -in O/dh.key -check -noout
    works genpkey -genparam -algorithm DSA -pkeyopt dsa_paramgen_bits:1024 -pkeyopt dsa_paramgen_q_bits:160 -out O/dsa.params
    works genpkey -paramfile O/dsa.params -out O/dsa.key
    judge pkey -in O/dsa.key -check -noout
    works genpkey -genparam -algorithm EC -pkeyopt group:P-521 -out O/ec.params
    works genpkey -paramfile O/ec.params -out O/p521.key
    judge pkey -in O/p521.key -check -noout
    3.5 works genpkey -algorithm ML-KEM-768 -out O/ml-kem.key
    3.5 works genpkey -algorithm ML-DSA-44 -out O/ml-dsa.key
    3.5 works pkeyutl -sign -rawin -inkey O/ml-dsa.key -in S/message -out O/ml-dsa.sig
    3.5 judge pkeyutl -verify -rawin -inkey O/ml-dsa.key -in S/message -sigfile O/ml-dsa.sig
    works ecparam -name prime256v1 -genkey -noout -out O/ecparam.key
    judge ec -in O/ecparam.key -check -noout
    same  ecparam -name secp384r1 -text
    works dhparam -out O/dh.params 512
    judge dhparam -in O/dh.params -noout
    works genrsa -out O/genrsa.key 2048
    judge rsa -in O/genrsa.key -check -noout

    same  pkey -in S/rsa.key -text
    same  pkey -in S/ec.key -text
    same  pkey -in S/ed25519.key -text
    same  pkey -in S/x25519.key -pubout
    same  pkey -in S/rsa.key -pubout -outform DER -out O/spki.der
    same  pkey -in S/encrypted.key -passin pass:secret
    same  pkey -pubin -in S/rsa.pub -text
    same  rsa -in S/rsa.key -traditional
    same  rsa -in S/rsa.key -RSAPublicKey_out
    same  rsa -pubin -in S/rsa.pub -modulus -noout
    same  ec -in S/ec.key -text
    same  ec -in S/ec.key -conv_form compressed -pubout
    same  ec -pubin -in S/ec.pub -param_enc explicit -pubout
    same  pkcs8 -topk8 -nocrypt -in S/ec.key
    works pkcs8 -topk8 -in S/ec.key -v2 aes128 -passout pass:secret -out O/encrypted.key
    judge pkcs8 -in O/encrypted.key -passin pass:secret -out O/decrypted.key
    works pkey -in S/rsa.key -aes256 -passout pass:secret -out O/encrypted-rsa.key
    judge pkey -in O/encrypted-rsa.key -passin pass:secret -noout
    same  storeutl S/rsa.crt
    same  storeutl -keys S/ec.key
    same  storeutl -noout -text S/rsa.pub

    same  dgst -sha256 -hex -sign S/rsa.key S/message
    same  dgst -sha1 -hex -sign S/rsa.key S/message
    same  dgst -sha256 -verify S/rsa.pub -signature S/rsa.sig S/message
    same  dgst -sha384 -verify S/ec.pub -signature S/ec.sig S/message
    same  dgst -sha384 -prverify S/ec.key -signature S/ec.sig S/message
    same  pkeyutl -sign -rawin -inkey S/ed25519.key -in S/message -out O/ed25519.sig
    same  pkeyutl -verify -rawin -pubin -inkey S/ed25519.pub -in S/message -sigfile S/ed25519.sig
    same  pkeyutl -verifyrecover -pubin -inkey S/rsa.pub -in S/rsa.sig -pkeyopt digest:sha256 -out O/recovered
    same  pkeyutl -encrypt -pubin -inkey S/rsa.pub -pkeyopt rsa_padding_mode:none -in S/block -out O/raw
    same  pkeyutl -derive -inkey S/ec.key -peerkey S/peer.pub -out O/ec.secret
    same  pkeyutl -derive -inkey S/x25519.key -peerkey S/x25519-peer.pub -out O/x25519.secret
    same  pkeyutl -decrypt -inkey S/rsa.key -pkeyopt rsa_padding_mode:oaep -in S/sealed
    works pkeyutl -encrypt -pubin -inkey S/rsa.pub -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha512 -in S/message -out O/sealed
    judge pkeyutl -decrypt -inkey S/rsa.key -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha512 -in O/sealed -out O/opened
    works dgst -sha256 -sign S/rsa.key -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:max -out O/pss.sig S/message
    judge dgst -sha256 -verify S/rsa.pub -sigopt rsa_padding_mode:pss -signature O/pss.sig S/message
    works dgst -sha3-384 -sign S/ec.key -out O/ec.sig S/message
    judge dgst -sha3-384 -verify S/ec.pub -signature O/ec.sig S/message
    works dgst -sha256 -sign O/dsa.key -out O/dsa.sig S/message
    judge dgst -sha256 -prverify O/dsa.key -signature O/dsa.sig S/message

    same  req -new -key S/rsa.key -subj /O=Test/CN=rsa -addext subjectAltName=DNS:example.com
    same  req -in S/ec.csr -verify -noout -text
    works req -new -newkey ec -pkeyopt ec_paramgen_curve:P-384 -noenc -keyout O/req.key -subj /CN=x -out O/req.csr
    judge req -in O/req.csr -verify -noout
    works req -x509 -newkey ed25519 -noenc -keyout O/ed.key -subj /CN=x -out O/ed.crt
    judge verify -check_ss_sig -CAfile O/ed.crt O/ed.crt
    works x509 -req -in S/ec.csr -CA S/rsa.crt -CAkey S/rsa.key -set_serial 7 -out O/leaf.crt
    judge verify -CAfile S/rsa.crt O/leaf.crt
    same  x509 -in S/rsa.crt -text
    same  x509 -in S/ec.crt -noout -pubkey -fingerprint -sha256
    same  verify -CAfile S/rsa.crt S/rsa.crt
    works ca -config O/ca.cnf -batch -notext -in S/ec.csr -out O/issued.crt
    judge verify -CAfile S/rsa.crt O/issued.crt
    works ca -config O/ca.cnf -revoke O/issued.crt
    works ca -config O/ca.cnf -gencrl -out O/list.crl
    judge crl -in O/list.crl -CAfile S/rsa.crt -noout
    works crl -in O/list.crl -CAfile S/rsa.crt -noout -text
    works ocsp -index O/index.txt -rsigner S/rsa.crt -rkey S/rsa.key -CA S/rsa.crt -issuer S/rsa.crt -cert O/issued.crt -no_nonce -respout O/answer.der
    judge ocsp -respin O/answer.der -issuer S/rsa.crt -cert O/issued.crt -no_nonce -CAfile S/rsa.crt
    same  ocsp -issuer S/rsa.crt -cert S/ec.crt -no_nonce -reqout O/question.der

    same  cms -verify -binary -inform DER -in S/signed.cms -CAfile S/ec.crt -purpose any
    same  cms -decrypt -binary -inform DER -in S/rsa.cms -inkey S/rsa.key -recip S/rsa.crt
    same  cms -decrypt -binary -inform DER -in S/ec.cms -inkey S/ec.key -recip S/ec.crt
    works cms -sign -binary -nodetach -in S/message -signer S/rsa.crt -inkey S/rsa.key -keyopt rsa_padding_mode:pss -outform DER -out O/signed.cms
    judge cms -verify -binary -inform DER -in O/signed.cms -CAfile S/rsa.crt -purpose any -out O/message
    works cms -encrypt -binary -aes256 -in S/message -outform DER -out O/ec.cms S/ec.crt
    judge cms -decrypt -binary -inform DER -in O/ec.cms -inkey S/ec.key -recip S/ec.crt -out O/message
    works smime -sign -in S/message -signer S/rsa.crt -inkey S/rsa.key -out O/signed.eml
    judge smime -verify -in O/signed.eml -CAfile S/rsa.crt -purpose any -out O/message
    same  pkcs12 -in S/rsa.p12 -passin pass:secret -noenc
    works pkcs12 -export -inkey S/ec.key -in S/ec.crt -passout pass:secret -out O/ec.p12
    judge pkcs12 -in O/ec.p12 -passin pass:secret -noenc -out O/ec.pem
    same  ts -query -data S/message -sha256 -no_nonce -cert -out O/question.tsq
    works ts -reply -config O/ts.cnf -queryfile O/question.tsq -out O/answer.tsr
    judge ts -verify -queryfile O/question.tsq -in O/answer.tsr -CAfile S/rsa.crt

    same  dgst -sha256 S/message
    same  dgst -sha3-512 -r S/message
    same  enc -aes-256-cbc -K 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f -iv 000102030405060708090a0b0c0d0e0f -a -in S/message
    same  enc -aes-256-cbc -pbkdf2 -S 0001020304050607 -pass pass:secret -a -in S/message
    same  enc -chacha20 -K 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f -iv 000102030405060708090a0b0c0d0e0f -a -in S/message
    same  enc -aes128-wrap -K 000102030405060708090a0b0c0d0e0f -iv a6a6a6a6a6a6a6a6 -a -in S/block
    same  kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt key:secret -kdfopt salt:salt -kdfopt info:info HKDF
    same  kdf -keylen 32 -kdfopt digest:SHA512 -kdfopt pass:secret -kdfopt salt:saltsalt -kdfopt iter:1000 PBKDF2
    same  mac -digest SHA256 -macopt key:secretsecretsecret -in S/message HMAC
    same  mac -cipher AES-128-CBC -macopt hexkey:000102030405060708090a0b0c0d0e0f -in S/message CMAC
    same  passwd -6 -salt salt secret
    works rand -hex 32
    works prime -generate -bits 256
    same  ciphers -v ALL
    same  ciphers -s -tls1_3 -v
    works speed -seconds 1 rsa2048
    works speed -seconds 1 ecdsap256
    works speed -seconds 1 -bytes 1024 -evp aes-256-gcm
";

/// A line of [`COMMANDS`].
struct Step<'a> {
    since: (u32, u32),
    expected: &'a str,
    command: &'a str,
}

impl<'a> Step<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let line = line.trim();
        let (first, rest) = line.split_once(' ')?;
        let (since, line) = match first.split_once('.') {
            Some((major, minor)) => (number(major, minor), rest),
            None => ((3, 0), line),
        };
        let (expected, command) = line.split_once(' ').expect("a command after the word");
        Some(Self {
            since,
            expected,
            command: command.trim(),
        })
    }
}

fn number(major: &str, minor: &str) -> (u32, u32) {
    let part = |text: &str| text.parse().expect("a version is two numbers");
    (part(major), part(minor))
}

/// What a command gave.
#[derive(PartialEq, Eq)]
struct Given {
    well: bool,
    output: Vec<u8>,
    file: Option<Vec<u8>>,
    text: String,
}

/// Runs a command where `O/` is the named folder.
fn run(hsm: &Hsm, loading: Loading, own: &str, command: &str) -> Given {
    let words: Vec<String> = command
        .split_whitespace()
        .map(|word| match word.split_once('/') {
            Some(("S", name)) => hsm.path(&format!("S/{name}")),
            Some(("O", name)) => hsm.path(&format!("{own}/{name}")),
            _ => word.to_owned(),
        })
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = hsm.openssl(loading, &words);
    let written = words
        .iter()
        .position(|word| *word == "-out" || *word == "-reqout");
    Given {
        well: outcome.is_success(),
        output: outcome.bytes().to_vec(),
        file: written.and_then(|at| fs::read(words[at + 1]).ok()),
        text: outcome.text(),
    }
}

/// Makes a folder with the configurations and the database of a small CA and a time-stamping
/// authority.
fn make_folder(hsm: &Hsm, own: &str) {
    fs::create_dir(hsm.file(own)).expect("a folder");
    let (folder, shared) = (hsm.path(own), hsm.path("S"));
    hsm.write(&format!("{own}/index.txt"), "");
    hsm.write(&format!("{own}/serial"), "01\n");
    hsm.write(
        &format!("{own}/ca.cnf"),
        format!(
            "[ca]\ndefault_ca = small\n[small]\ndatabase = {folder}/index.txt\nserial = {folder}/serial\n\
             new_certs_dir = {folder}\ncertificate = {shared}/rsa.crt\nprivate_key = {shared}/rsa.key\n\
             default_md = sha256\ndefault_days = 10\ndefault_crl_days = 10\npolicy = anything\n\
             [anything]\ncommonName = supplied\n"
        ),
    );
    hsm.write(
        &format!("{own}/ts.cnf"),
        format!(
            "[tsa]\ndefault_tsa = small\n[small]\nserial = {folder}/ts-serial\nsigner_cert = {shared}/tsa.crt\n\
             signer_key = {shared}/rsa.key\nsigner_digest = sha256\ndefault_policy = 1.2.3.4\n\
             digests = sha256\ness_cert_id_alg = sha256\n"
        ),
    );
}

fn prepare(hsm: &Hsm) {
    fs::create_dir(hsm.file("S")).expect("a folder");
    hsm.write("S/message", "a message to sign, to encrypt and to hash\n");
    hsm.write("S/block", [0x5a; 256]);
    let stamping = "req -x509 -key S/rsa.key -subj /CN=tsa -days 30 -addext extendedKeyUsage=critical,timeStamping \
                    -out S/tsa.crt";
    for command in FIXTURES.lines().chain([stamping]) {
        if command.trim().is_empty() {
            continue;
        }
        let given = run(hsm, Loading::Plain, "", command);
        assert!(given.well, "{command}\n{}", given.text);
    }
    // The authority's certificate is self-signed, so whoever verifies trusts it too.
    let read = |name: &str| fs::read(hsm.file(name)).expect("a certificate just made");
    let both = [read("S/rsa.crt"), read("S/tsa.crt")].concat();
    hsm.write("S/rsa.crt", both);
}

#[test]
fn ordinary_commands_give_what_they_give_without_the_provider() {
    let hsm = Hsm::start();
    prepare(&hsm);
    let version = openssl_version();
    let steps: Vec<Step<'_>> = COMMANDS
        .lines()
        .filter_map(Step::parse)
        .filter(|step| step.since <= version)
        .collect();
    assert!(steps.len() > 100, "{}", steps.len());
    make_folder(&hsm, "plain");
    let model: Vec<Given> = steps
        .iter()
        .map(|step| run(&hsm, Loading::Plain, "plain", step.command))
        .collect();
    let mut failures = Vec::new();
    for (step, given) in steps.iter().zip(&model) {
        if !given.well {
            failures.push(format!(
                "without the provider: {}\n{}",
                step.command, given.text
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    for (i, loading) in sample(LOADINGS.into_iter().enumerate().collect(), 3) {
        let own = format!("own-{i}");
        make_folder(&hsm, &own);
        for (step, model) in steps.iter().zip(&model) {
            let judge = step.expected == "judge";
            let by = if judge { Loading::Plain } else { loading };
            let given = run(&hsm, by, &own, step.command);
            let right = match step.expected {
                "same" => given.output == model.output && given.file == model.file,
                "works" | "judge" => true,
                other => panic!("'{other}' is unknown"),
            };
            if !given.well || !right {
                failures.push(format!(
                    "{loading:?}: {} {}\n{}\nwithout the provider:\n{}",
                    step.expected, step.command, given.text, model.text
                ));
            }
        }
    }
    assert!(
        hsm.requests()
            .iter()
            .all(|request| request.method == "GET" && request.path == "/"),
        "an ordinary command led to a request: {:?}",
        hsm.requests()
    );
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Whoever names the module in a section of another name has the provider twice; one instance must
/// not ask the other, which would ask it in turn.
#[test]
fn the_provider_may_be_there_under_two_names() {
    let hsm = Hsm::start();
    let text = fs::read_to_string(hsm.file("akv.cnf")).expect("a configuration");
    let twice = text.replacen(
        "akv_provider = akv\n",
        "akv_provider = akv\nother = akv\n",
        1,
    );
    assert_ne!(text, twice);
    hsm.write("akv.cnf", twice);
    for line in [
        "ciphers -s -tls1_3",
        "genpkey -algorithm EC -pkeyopt group:P-256 -out /dev/null",
    ] {
        hsm.openssl_line(Loading::Config, line).succeeds();
    }
    let listed = hsm
        .openssl_line(Loading::Config, "list -providers")
        .succeeds();
    assert!(listed.contains("  other\n"), "{listed}");
}

/// OpenSSL's FIPS provider has keys and no encoders; those of the base provider can't read its
/// keys.
#[test]
fn software_keys_of_the_fips_provider_are_written_and_used() {
    let hsm = Hsm::with_keys(&[("rsa", RSA_2048)]);
    let modules = hsm.openssl_line(Loading::Plain, "version -m").succeeds();
    let folder = modules.split('"').nth(1).expect("a folder");
    let module = format!("{folder}/fips.so");
    let install = format!(
        "fipsinstall -module {module} -out {}",
        hsm.path("fipsmodule.cnf")
    );
    if !hsm.openssl_line(Loading::Plain, &install).is_success() {
        return skip("keys of the FIPS provider: it is not installed (openssl-provider-fips)");
    }
    let text = fs::read_to_string(hsm.file("akv.cnf")).expect("a configuration");
    let fips = fs::read_to_string(hsm.file("fipsmodule.cnf")).expect("a configuration");
    let text = text.replacen(
        "default = standard\n",
        "fips = fips_sect\nbase = standard\n",
        1,
    ) + &fips.replacen(
        "[fips_sect]\n",
        &format!("[fips_sect]\nmodule = {module}\n"),
        1,
    );
    hsm.write("akv.cnf", text);
    let (message, signature) = (hsm.write("message", "m"), hsm.path("signature"));
    let (key, public) = (hsm.path("key.pem"), hsm.path("public.pem"));
    for algorithm in [
        "RSA -pkeyopt rsa_keygen_bits:2048",
        "EC -pkeyopt group:P-256",
    ] {
        for line in [
            format!("genpkey -algorithm {algorithm} -out {key}"),
            format!("pkey -in {key} -text -noout"),
            format!("pkey -in {key} -pubout -out {public}"),
            format!("dgst -sha256 -sign {key} -out {signature} {message}"),
            format!("dgst -sha256 -verify {public} -signature {signature} {message}"),
        ] {
            hsm.openssl_line(Loading::Config, &line).succeeds();
        }
        let check = format!("pkey -in {key} -check -noout");
        hsm.openssl_line(Loading::Plain, &check).succeeds();
    }
    let key = uri("rsa");
    for line in [
        format!("pkey -in {key} -text_pub -noout"),
        format!("dgst -sha256 -sign {key} -out {signature} {message}"),
        format!("dgst -sha256 -verify {key} -signature {signature} {message}"),
    ] {
        hsm.openssl_line(Loading::Config, &line).succeeds();
    }
}
