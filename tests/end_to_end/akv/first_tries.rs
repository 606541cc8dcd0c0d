//! What people type first who know the command lines of Azure, AWS, Google or step: each line does
//! what was meant, or says what to type.

use super::RSA_2048;
use crate::support::{EC_P256, Hsm};

/// What is to come of a line.
enum Then {
    /// It does what was meant, and says this.
    Does(&'static str),
    /// It does what was asked for, with this output, and says on standard error what to type.
    Notes(&'static str, &'static str),
    /// It ends with this status, and says this.
    Says(i32, &'static str),
}

use Then::{Does, Notes, Says};

const LINES: [(&str, Then); 84] = [
    ("--help", Does("Usage: akv")),
    ("help keys create", Does("akv keys create managedhsm:")),
    ("--version", Does("akv 0")),
    ("version", Says(2, "akv --version")),
    ("login", Says(2, "az login")),
    ("account show", Says(2, "akv token")),
    ("whoami", Says(2, "akv token")),
    ("token", Does("AccessToken")),
    ("configure", Says(2, "akv config enable")),
    ("status", Says(2, "akv doctor")),
    ("ca certificate", Says(2, "akv cert self-signed --ca")),
    ("certificate create", Says(2, "akv cert self-signed")),
    ("kms create-key", Says(2, "akv keys")),
    (
        "create-key",
        Says(2, "akv keys create managedhsm:<HSM>:<key>"),
    ),
    ("list", Says(2, "akv keys list")),
    ("key list", Says(2, "managedhsm:<HSM>")),
    ("keys ls managedhsm:MyHSM", Does("web")),
    (
        "key list managedhsm:MyHSM -o tsv",
        Does("managedhsm:MyHSM:web\tweb"),
    ),
    (
        "key list managedhsm:MyHSM --query [].name -o tsv",
        Does("doc\nweb\n"),
    ),
    (
        "-o json keys list managedhsm:MyHSM",
        Does("\"name\": \"web\""),
    ),
    (
        "key list managedhsm:MyHSM --output yamlc",
        Does("name: web"),
    ),
    (
        "key list managedhsm:MyHSM --format json",
        Says(2, "-o table, json, tsv, yaml or none"),
    ),
    (
        "key check managedhsm:MyHSM:web --valid-for abc",
        Says(2, "such as 90d"),
    ),
    ("key list MyHSM", Says(2, "managedhsm:MyHSM")),
    (
        "key list --hsm-name MyHSM",
        Says(2, "managedhsm:MyHSM instead of such"),
    ),
    (
        "keyvault key list --hsm-name MyHSM",
        Says(2, "akv key list managedhsm:<HSM>"),
    ),
    (
        "key list managedhsm:MyHSM --maxresults 5",
        Says(2, "--query '[:10]'"),
    ),
    (
        "key list-versions managedhsm:MyHSM:web",
        Says(2, "akv keys list managedhsm:<HSM>:<key>"),
    ),
    ("key list-deleted --hsm-name MyHSM", Says(2, "--deleted")),
    (
        "key show --hsm-name MyHSM --name web",
        Says(2, "managedhsm:MyHSM:web instead of such"),
    ),
    (
        "key show -n web --vault-name MyVault --version 0123456789abcdef0123456789abcdef",
        Says(
            2,
            "keyvault:MyVault:web?version=0123456789abcdef0123456789abcdef instead of such",
        ),
    ),
    (
        "key show --id https://myhsm.managedhsm.azure.net/keys/web",
        Says(
            2,
            "https://myhsm.managedhsm.azure.net/keys/web instead of such",
        ),
    ),
    (
        "key show https://myhsm.managedhsm.azure.net/keys/web",
        Does("EC, P-256"),
    ),
    ("key show web", Says(2, "managedhsm:<HSM>:web")),
    ("key show MyHSM:web", Says(2, "managedhsm:MyHSM:web")),
    ("key show MyHSM/web", Says(2, "managedhsm:<HSM>:<key>")),
    (
        "key show managedhsm:MyHSM",
        Says(2, "the key name is missing"),
    ),
    ("key show managedhsm:MyHSM:nothing", Says(3, "KeyNotFound")),
    ("key describe managedhsm:MyHSM:web", Does("EC, P-256")),
    // What a query doesn't find is null or nothing, with status 0, as scripts know it of Azure's.
    (
        "key get managedhsm:MyHSM:web --query key.kty",
        Notes(
            "null\n",
            "no member 'key.kty'; type --query \"type\"; the members are ",
        ),
    ),
    (
        "key show managedhsm:MyHSM:web --query key.kid -o tsv",
        Notes("", "type --query \"kid\""),
    ),
    (
        "key show managedhsm:MyHSM:web --query attributes.enabled",
        Notes("null\n", "type --query \"enabled\""),
    ),
    (
        "key show managedhsm:MyHSM:web --query key.crv",
        Notes("null\n", "type --query \"curve\""),
    ),
    (
        "key show managedhsm:MyHSM:web --query publicKey",
        Notes("null\n", "the members are created, curve, enabled, "),
    ),
    (
        "key list managedhsm:MyHSM --query [].kid -o tsv",
        Notes("", "type --query \"[].key\"; the members of each are "),
    ),
    (
        "key list managedhsm:MyHSM --query name",
        Notes("null\n", "the output is a list; type --query \"[].name\""),
    ),
    (
        "key show managedhsm:MyHSM:web --query expires",
        Notes("null\n", ""),
    ),
    (
        "key create managedhsm:MyHSM:a1 --kty RSA-HSM --size 3072",
        Does("RSA, 3072 bits"),
    ),
    (
        "key create managedhsm:MyHSM:a2 --kty EC --curve p256",
        Does("EC, P-256"),
    ),
    (
        "key create managedhsm:MyHSM:a3 --kty EC-HSM --curve secp384r1 --ops sign,verify",
        Does("sign, verify"),
    ),
    (
        "key create managedhsm:MyHSM:a4 --kty oct --tag a=1 --tag b=2",
        Does("a=1, b=2"),
    ),
    (
        "key create managedhsm:MyHSM:a5 --type rsa2048",
        Says(2, "--type rsa --size 2048"),
    ),
    (
        "key create managedhsm:MyHSM:a5 --type ECC_NIST_P256",
        Says(2, "--type ec --curve P-256"),
    ),
    (
        "key create managedhsm:MyHSM:a5 --type aes-256",
        Says(2, "--type oct --size 256"),
    ),
    (
        "key create managedhsm:MyHSM:a5 --kty RSA-HSM --size 1024",
        Says(2, "2048, 3072 or 4096"),
    ),
    (
        "key create managedhsm:MyHSM:a5 --kty EC-HSM",
        Says(2, "--curve"),
    ),
    ("key create managedhsm:MyHSM:a5", Says(2, "--type")),
    (
        "key create managedhsm:MyHSM:a5 --kty EC --curve P-256 --ops sign verify",
        Says(2, "--operations sign,verify"),
    ),
    (
        "key create managedhsm:MyHSM:a5 --kty EC --curve P-256 --tag a=1 b=2",
        Says(2, "--tag b=2"),
    ),
    (
        "key create managedhsm:MyHSM:a5 --kty RSA --protection hsm",
        Says(2, "in it always"),
    ),
    (
        "key create managedhsm:MyHSM:a5 --kty RSA --exportable --policy p.json",
        Says(2, "--release-policy"),
    ),
    (
        "key create managedhsm:MyHSM:a5 --kty RSA --key-size 3072",
        Says(2, "--size 3072"),
    ),
    (
        "key create managedhsm:MyHSM:web --type ec --curve P-256 --if-absent",
        Does("EC, P-256"),
    ),
    (
        "key import managedhsm:MyHSM:a6 --pem-file key.pem",
        Says(2, "<URI> <FILE>"),
    ),
    (
        "key set-attributes managedhsm:MyHSM:web --enabled true",
        Says(2, "have no value"),
    ),
    ("key disable managedhsm:MyHSM:web", Says(2, "--disabled")),
    (
        "key rotate managedhsm:MyHSM:web",
        Says(7, "akv keys rotation-policy set"),
    ),
    (
        "key rotation-policy update managedhsm:MyHSM:web --rotate-after P90D",
        Does("P90D"),
    ),
    (
        "key download managedhsm:MyHSM:web",
        Does("BEGIN PUBLIC KEY"),
    ),
    (
        "key get-public-key managedhsm:MyHSM:web",
        Says(2, "akv keys public"),
    ),
    ("key delete managedhsm:MyHSM:doc", Says(2, "--yes")),
    (
        "key rm -y managedhsm:MyHSM:doc",
        Does("akv keys recover managedhsm:MyHSM:doc"),
    ),
    ("key undelete managedhsm:MyHSM:doc", Does("RSA")),
    ("key sign managedhsm:MyHSM:web", Says(2, "akv sign")),
    (
        "sign MESSAGE managedhsm:MyHSM:web",
        Says(2, "the key comes first: managedhsm:MyHSM:web MESSAGE"),
    ),
    // How the DER of each signature by P-256 begins in base64. At its end is "=" three times in
    // four.
    ("sign managedhsm:MyHSM:web MESSAGE", Does("ME")),
    (
        "sign managedhsm:MyHSM:web MESSAGE -o MESSAGE.sig",
        Says(2, "--out MESSAGE.sig"),
    ),
    (
        "sign managedhsm:MyHSM:web MESSAGE -a ES256",
        Says(2, "--algorithm PS256"),
    ),
    (
        "sign managedhsm:MyHSM:web MESSAGE --algorithm sha256",
        Says(2, "ES256"),
    ),
    (
        "encrypt managedhsm:MyHSM:doc --value hello",
        Says(2, "- is standard input"),
    ),
    ("random", Says(2, "managedhsm:<HSM>")),
    ("random managedhsm:MyHSM --count 4 --hex", Does("\n")),
    ("role assignment create --role x", Says(2, "akv roles")),
    (
        "role list managedhsm:MyHSM -o json --query [0].scope",
        Does("\"/\""),
    ),
];

#[test]
fn each_line_that_comes_to_mind_does_what_was_meant_or_says_what_to_type() {
    let hsm = Hsm::with_keys(&[("doc", RSA_2048), ("web", EC_P256)]);
    let message = hsm.write("message", "hello");
    let mut wrong = Vec::new();
    for (line, then) in &LINES {
        let outcome = hsm.akv_line(&line.replace("MESSAGE", &message));
        let (status, words) = match then {
            Does(words) | Notes(_, words) => (0, words),
            Says(status, words) => (*status, words),
        };
        let output = String::from_utf8_lossy(outcome.bytes()).into_owned();
        let errors = outcome.errors();
        let words = words.replace("MESSAGE", &message);
        let is_told = match then {
            Does(_) => output.contains(&words),
            Notes(found, "") => output == *found && errors.is_empty(),
            Notes(found, _) => output == *found && errors.contains(&words),
            Says(..) => errors.contains(&words),
        };
        if outcome.code() != Some(status) || !is_told {
            let told = outcome.text();
            wrong.push(format!(
                "akv {line}\n  wanted: {status} {words}\n  {:?} {told}",
                outcome.code()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
