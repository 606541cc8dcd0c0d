//! Ordinary commands with software keys give what they give without the provider, wherever it stands.

use std::fs;

use crate::support::{Hsm, LOADINGS, Loading};

/// Commands, run one after the other in a folder of files; `{}` is the folder. "=" marks those whose standard output must
/// be the same each time.
const COMMANDS: [&str; 52] = [
    "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out {}/rsa.key",
    "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {}/ec.key",
    "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -pkeyopt ec_param_enc:explicit -out {}/explicit.key",
    "genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -out {}/pss.key",
    "genpkey -algorithm ED25519 -out {}/ed.key",
    "genpkey -algorithm X25519 -out {}/x.key",
    "genpkey -genparam -algorithm EC -pkeyopt ec_paramgen_curve:P-521 -out {}/ec.params",
    "genpkey -paramfile {}/ec.params -out {}/ec521.key",
    "ecparam -name secp384r1 -genkey -noout -out {}/ecparam.key",
    "genrsa -out {}/genrsa.key 2048",
    "pkey -in {}/rsa.key -check -noout",
    "pkey -in {}/ec.key -check -noout",
    "= pkey -in {}/rsa.key -text",
    "= pkey -in {}/ec.key -text",
    "= pkey -in {}/ec.key -pubout -ec_conv_form compressed",
    "= rsa -in {}/rsa.key -modulus -noout",
    "= rsa -in {}/rsa.key -traditional",
    "= ec -in {}/ec.key -conv_form compressed",
    "pkey -in {}/rsa.key -aes256 -passout pass:secret -out {}/sealed.key",
    "= pkey -in {}/sealed.key -passin pass:secret",
    "pkcs8 -topk8 -in {}/ec.key -v2 aes-128-cbc -passout pass:secret -out {}/ec.p8",
    "= pkcs8 -in {}/ec.p8 -passin pass:secret",
    "req -new -x509 -key {}/rsa.key -subj /CN=CA -days 9 -addext basicConstraints=critical,CA:TRUE -out {}/ca.crt",
    "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout {}/leaf.key -subj /CN=leaf -out {}/leaf.csr",
    "req -new -key {}/ed.key -subj /CN=ed -out {}/ed.csr",
    "req -in {}/leaf.csr -verify -noout",
    "ca -batch -config {}/ca.cnf -in {}/leaf.csr -out {}/leaf.crt -notext",
    "verify -CAfile {}/ca.crt {}/leaf.crt",
    "ca -config {}/ca.cnf -gencrl -out {}/ca.crl",
    "crl -in {}/ca.crl -CAfile {}/ca.crt -noout",
    "pkcs12 -export -in {}/leaf.crt -inkey {}/leaf.key -passout pass:secret -out {}/leaf.p12",
    "= pkcs12 -in {}/leaf.p12 -passin pass:secret -nodes -nocerts",
    "cms -sign -in {}/text -signer {}/ca.crt -inkey {}/rsa.key -nodetach -outform PEM -out {}/signed.pem",
    "= cms -verify -in {}/signed.pem -inform PEM -CAfile {}/ca.crt -purpose any",
    "cms -encrypt -aes256 -in {}/text -outform PEM -out {}/sealed.pem {}/ca.crt",
    "= cms -decrypt -in {}/sealed.pem -inform PEM -recip {}/ca.crt -inkey {}/rsa.key",
    "dgst -sha256 -sign {}/ec.key -out {}/ec.sig {}/text",
    "dgst -sha256 -prverify {}/ec.key -signature {}/ec.sig {}/text",
    "= dgst -md5 -sign {}/rsa.key -hex {}/text",
    "= dgst -sha3-256 -sign {}/rsa.key -hex {}/text",
    "pkeyutl -sign -in {}/text -rawin -inkey {}/ed.key -out {}/ed.sig",
    "pkey -in {}/ec.key -pubout -out {}/ec.pub",
    "= pkeyutl -derive -inkey {}/ec.key -peerkey {}/ec.pub",
    "pkeyutl -encrypt -in {}/text -inkey {}/rsa.key -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha512 -out {}/oaep",
    "= pkeyutl -decrypt -in {}/oaep -inkey {}/rsa.key -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha512",
    "= enc -aes-256-cbc -K 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff -iv 00112233445566778899aabbccddeeff -in {}/text",
    "= mac -cipher AES-128-CBC -macopt hexkey:00112233445566778899aabbccddeeff -in {}/text CMAC",
    "= kdf -keylen 32 -kdfopt digest:SHA2-256 -kdfopt key:secret -kdfopt salt:salt HKDF",
    "rand -hex 16",
    "= storeutl -noout {}/ca.crt",
    "speed -seconds 1 rsa2048",
    "speed -seconds 1 -evp aes-256-gcm -bytes 1024",
];

fn ca_files(hsm: &Hsm, folder: &str) {
    let config = format!(
        "[ca]\ndefault_ca=ca0\n[ca0]\ndir={folder}\ndatabase=$dir/index\nserial=$dir/serial\nnew_certs_dir=$dir\n\
         certificate=$dir/ca.crt\nprivate_key=$dir/rsa.key\ndefault_md=sha256\ndefault_days=3\ndefault_crl_days=3\n\
         policy=any\nemail_in_dn=no\n[any]\ncommonName=supplied\n"
    );
    for (name, contents) in [
        ("ca.cnf", config.as_str()),
        ("index", ""),
        ("serial", "01\n"),
        ("text", "some text\n"),
    ] {
        hsm.write(
            &format!("{}/{name}", folder.rsplit('/').next().unwrap_or_default()),
            contents,
        );
    }
}

#[test]
fn software_keys_give_what_they_give_without_the_provider() {
    let hsm = Hsm::start();
    let before = hsm.requests().len();
    // Plain openssl makes the files; each way of loading the provider works on a copy of its own.
    for (number, loading) in LOADINGS.into_iter().enumerate() {
        let folder = hsm.path(&format!("files-{number}"));
        fs::create_dir(&folder).expect("a folder");
        ca_files(&hsm, &folder);
        for line in COMMANDS {
            let (compared, line) = match line.strip_prefix("= ") {
                Some(line) => (true, line),
                None => (false, line),
            };
            let line = line.replace("{}", &folder);
            let arguments: Vec<&str> = line.split(' ').collect();
            let ours = hsm.openssl(loading, &arguments);
            ours.succeeds();
            if compared {
                let plain = hsm.openssl(Loading::Plain, &arguments);
                plain.succeeds();
                assert_eq!(
                    String::from_utf8_lossy(ours.bytes()),
                    String::from_utf8_lossy(plain.bytes()),
                    "{loading:?}: openssl {line}"
                );
            }
        }
        // What was made with the provider is good without it.
        for check in [
            format!("verify -CAfile {folder}/ca.crt {folder}/leaf.crt"),
            format!("req -in {folder}/leaf.csr -verify -noout"),
            format!("pkey -in {folder}/rsa.key -check -noout"),
            format!("pkey -in {folder}/ec521.key -check -noout"),
            format!(
                "dgst -sha256 -prverify {folder}/ec.key -signature {folder}/ec.sig {folder}/text"
            ),
            format!("pkcs12 -in {folder}/leaf.p12 -passin pass:secret -noout"),
        ] {
            let arguments: Vec<&str> = check.split(' ').collect();
            hsm.openssl(Loading::Plain, &arguments).succeeds();
        }
    }
    assert_eq!(
        hsm.requests().len(),
        before,
        "a software key led to a request"
    );
}
