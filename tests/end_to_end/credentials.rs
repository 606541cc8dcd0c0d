//! Credentials: each by itself, in the order in which they are tried, and through the life of their
//! tokens.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use testing::ReservedPort;

use crate::support::{EC_P256, Hsm, Loading, Outcome, provider_messages};

const KEY: &str = "managedhsm:MyHSM:k";

/// Without anything of Azure's.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

fn hsm() -> Hsm {
    Hsm::with_keys(&[("k", EC_P256)])
}

/// Loads the key by the provider.
fn load_once(hsm: &Hsm) -> Outcome {
    hsm.openssl(Loading::Config, &["pkey", "-in", KEY, "-noout"])
}

/// Loads the key by the provider, and by `akv`, to which the same must happen.
fn load(hsm: &Hsm) -> Outcome {
    let (outcome, akv) = (load_once(hsm), hsm.akv(&["key", "pem", KEY]));
    let same = akv.is_success() == outcome.is_success();
    assert!(same, "{}\n{}", outcome.text(), akv.text());
    let managed = hsm.akv(&["keys", "show", KEY]);
    assert_eq!(managed.is_success(), akv.is_success(), "{}", managed.text());
    outcome
}

/// What the provider says of a failure, after checking that it is one and gives no secret away.
fn refusal(hsm: &Hsm) -> String {
    let outcome = load(hsm);
    let text = outcome.text();
    assert!(!outcome.is_success(), "{text}");
    assert_eq!(provider_messages(&text).len(), 1, "{text}");
    for (name, value) in &hsm.environment {
        let is_secret = ["SECRET", "TOKEN", "HEADER"]
            .iter()
            .any(|word| name.ends_with(word));
        assert!(
            !is_secret || value.is_empty() || !text.contains(value),
            "{text}"
        );
    }
    text
}

/// Puts a program on PATH.
pub(crate) fn stand_in(hsm: &mut Hsm, name: &str, script: &str) {
    let folder = hsm.file("bin");
    fs::create_dir_all(&folder).expect("a folder for programs");
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("the program can be written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
        .expect("it can be made executable");
    let path = format!("{}:{PATH}", folder.display());
    hsm.set("PATH", &path);
}

#[test]
fn what_keeps_an_application_from_entra_id_is_told() {
    let mut hsm = hsm();
    hsm.log_in();
    let authority = ReservedPort::take();
    hsm.set("AZURE_AUTHORITY_HOST", &authority.url());
    let text = refusal(&hsm);
    let unreached = format!("{} can't be reached", authority.url());
    for words in [unreached.as_str(), "Connection refused"] {
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn an_application_logs_in_with_a_secret() {
    let mut hsm = hsm();
    hsm.log_in();
    load(&hsm).succeeds();
    hsm.set("AZURE_CLIENT_SECRET", "not-the-secret");
    let text = refusal(&hsm);
    assert!(
        text.contains("ClientSecretCredential") && text.contains("AADSTS7000215"),
        "{text}"
    );
}

#[test]
fn a_managed_identity_is_that_of_app_service_or_of_the_machine() {
    let mut hsm = hsm();
    hsm.use_app_service();
    load(&hsm).succeeds();
    hsm.set("IDENTITY_HEADER", "not-the-header");
    assert!(refusal(&hsm).contains("ManagedIdentityCredential"));

    for name in ["IDENTITY_HEADER", "IDENTITY_ENDPOINT"] {
        hsm.unset(name);
    }
    let host = hsm.variable("AZURE_MANAGEDHSM_URL").to_owned();
    hsm.set("AZURE_POD_IDENTITY_AUTHORITY_HOST", &host);
    load(&hsm).succeeds();
    hsm.set(
        "AKV_MANAGED_IDENTITY",
        "object:99999999-0000-0000-0000-000000000000",
    );
    let text = refusal(&hsm);
    assert!(
        text.contains("Identity not found") && text.contains("AKV_MANAGED_IDENTITY"),
        "{text}"
    );
}

#[test]
fn each_tool_that_a_person_is_logged_in_to_gives_tokens() {
    // Arguments as each tool documents them; what it prints, too.
    let az = r#"[ "$*" = "account get-access-token -o json --scope https://managedhsm.azure.net/.default" ] || { echo "az: $*" >&2; exit 2; }
env >"$WITNESS"
echo "{\"accessToken\":\"$TOKEN_FOR_TEST\",\"expiresOn\":\"2099-01-01 00:00:00.000000\",\"expires_on\":$EXPIRES,\"tokenType\":\"Bearer\"}""#;
    let azd = r#"[ "$*" = "auth token -o json --no-prompt --scope https://managedhsm.azure.net/.default" ] || { echo "azd: $*" >&2; exit 2; }
env >"$WITNESS"
echo "{\"token\":\"$TOKEN_FOR_TEST\",\"expiresOn\":\"2099-01-01T00:00:00Z\"}""#;
    let pwsh = r#"[ "$1 $2 $3" = "-NoProfile -NonInteractive -EncodedCommand" ] || exit 2
echo "$4" | base64 -d | tr -d '\000' | grep -q "Get-AzAccessToken -ResourceUrl 'https://managedhsm.azure.net'" || exit 3
env >"$WITNESS"
echo "WARNING: a line of another module"
echo "{\"token\":\"$TOKEN_FOR_TEST\",\"expiresOn\":$EXPIRES}""#;
    for (tool, script, name) in [
        ("az", az, "AzureCliCredential"),
        ("azd", azd, "AzureDeveloperCliCredential"),
        ("pwsh", pwsh, "AzurePowerShellCredential"),
    ] {
        let mut hsm = hsm();
        let token = hsm.variable("AZURE_CLI_ACCESS_TOKEN").to_owned();
        hsm.unset("AZURE_CLI_ACCESS_TOKEN");
        hsm.set("TOKEN_FOR_TEST", &token);
        hsm.set("EXPIRES", "4070908800");
        hsm.set("IDENTITY_HEADER", "not-for-tools");
        let witness = hsm.path("witness");
        hsm.set("WITNESS", &witness);
        stand_in(&mut hsm, tool, script);
        // Found in its turn, and when it is the only one.
        load(&hsm).succeeds();
        hsm.set("AZURE_TOKEN_CREDENTIALS", name);
        load(&hsm).succeeds();
        let environment = fs::read_to_string(witness).expect("the tool was run");
        assert!(!environment.contains("not-for-tools"), "{environment}");

        stand_in(
            &mut hsm,
            tool,
            "echo 'ERROR: Please run the login command.' >&2; exit 1",
        );
        let text = refusal(&hsm);
        assert!(
            text.contains(name) && text.contains("Please run the login command"),
            "{text}"
        );
        hsm.set("PATH", PATH);
        let text = refusal(&hsm);
        assert!(
            text.contains(&format!("{tool} not found on PATH")),
            "{text}"
        );
    }
}

#[test]
fn a_token_file_is_read_and_its_problems_are_told() {
    let mut hsm = hsm();
    let token = hsm.variable("AZURE_CLI_ACCESS_TOKEN").to_owned();
    hsm.unset("AZURE_CLI_ACCESS_TOKEN");
    let file = hsm.write("token", format!("{token}\n"));
    hsm.set("AKV_TOKEN_FILE", &file);
    load(&hsm).succeeds();
    hsm.write("token", "two words");
    let text = refusal(&hsm);
    assert!(
        text.contains(&file) && text.contains("does not hold a token"),
        "{text}"
    );
    fs::remove_file(&file).expect("the file is there");
    let text = refusal(&hsm);
    assert!(
        text.contains(&file) && text.contains("can't be read"),
        "{text}"
    );
}

#[test]
fn without_any_credential_each_is_named_with_what_it_lacks() {
    let mut hsm = hsm();
    hsm.unset("AZURE_CLI_ACCESS_TOKEN");
    hsm.set("PATH", PATH);
    let text = refusal(&hsm);
    for words in [
        "AccessToken: AZURE_CLI_ACCESS_TOKEN is not set",
        "TokenFile: AKV_TOKEN_FILE is not set",
        "ClientSecretCredential: AZURE_CLIENT_SECRET is not set",
        "ClientCertificateCredential: AZURE_CLIENT_CERTIFICATE_PATH is not set",
        "WorkloadIdentityCredential: AZURE_FEDERATED_TOKEN_FILE is not set",
        "ManagedIdentityCredential: no instance metadata service answers at http://127.0.0.1:9",
        "AzureCliCredential: az not found on PATH",
        "AzureDeveloperCliCredential: azd not found on PATH",
        "AzurePowerShellCredential: pwsh not found on PATH",
        "az account get-access-token",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    hsm.set("AZURE_TOKEN_CREDENTIALS", "prod");
    assert!(!refusal(&hsm).contains("AzureCliCredential"));
    hsm.set("AZURE_CLIENT_SECRET", "hush-hush");
    hsm.set("AZURE_TOKEN_CREDENTIALS", "ClientSecretCredential");
    assert!(refusal(&hsm).contains("AZURE_TENANT_ID is not set"));
}

#[test]
fn a_token_of_the_environment_that_has_expired_is_not_replaced_by_another() {
    let mut hsm = hsm();
    hsm.log_in();
    hsm.use_token_expiring_in(-60);
    let text = refusal(&hsm);
    assert!(
        text.contains("AccessToken expired at 20") && text.contains("az account get-access-token"),
        "{text}"
    );
}

#[test]
fn a_request_for_claims_is_met_by_a_new_token_where_one_can_be_had() {
    let hsm = Hsm::start_with(&["--fault", "claims-challenge,operation=k"]);
    hsm.create("k", EC_P256);
    let text = refusal(&hsm);
    assert!(
        text.contains("AccessToken") && text.contains("401"),
        "{text}"
    );

    let mut hsm = Hsm::start_with(&["--fault", "claims-challenge,operation=k,count=1"]);
    hsm.create("k", EC_P256);
    hsm.log_in();
    load(&hsm).succeeds();
}

#[test]
fn a_server_signs_on_while_its_tokens_expire() {
    let mut hsm = Hsm::start_with(&["--token-lifetime", "2"]);
    hsm.create("k", EC_P256);
    let certificate = hsm.path("server.pem");
    hsm.log_in();
    hsm.openssl(
        Loading::Config,
        &[
            "req",
            "-new",
            "-x509",
            "-key",
            KEY,
            "-subj",
            "/CN=localhost",
            "-out",
            &certificate,
        ],
    )
    .succeeds();
    let server = hsm.serve_tls(Loading::Config, &["-key", KEY, "-cert", &certificate]);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(7) {
        let page = hsm.connect_tls(Loading::Plain, &server, &["-CAfile", &certificate]);
        page.succeeds();
    }
}

const CLIENT: &str = "33333333-0000-0000-0000-000000000001";
const PRINCIPAL: &str = "33333333-0000-0000-0000-000000000002";

/// An emulator with a principal besides the owner who may use keys, and logs in as `how` says: a
/// member of the principals' file.
fn hsm_with_principal(folder: &tempfile::TempDir, how: &str, options: &[&str]) -> Hsm {
    let file = folder.path().join("principals.json");
    let principals = format!(
        r#"[{{"client_id":"{CLIENT}","object_id":"{PRINCIPAL}",{how},"roles":[{{"role":"Managed HSM Crypto User"}}]}}]"#
    );
    fs::write(&file, principals).expect("the principals can be written");
    let file = file.to_str().expect("the path is text");
    let mut hsm = Hsm::start_with(&[&["--principals", file], options].concat());
    hsm.create("k", EC_P256);
    hsm.log_in();
    hsm.set("AZURE_CLIENT_ID", CLIENT);
    hsm.unset("AZURE_CLIENT_SECRET");
    hsm
}

#[test]
fn an_application_logs_in_with_a_certificate_in_every_form() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    let plain = Hsm::start();
    let run = |arguments: &str| {
        let arguments: Vec<String> = arguments
            .split(' ')
            .map(|word| match word.strip_prefix('@') {
                Some(name) => file(name),
                None => word.to_owned(),
            })
            .collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        plain.openssl(Loading::Plain, &arguments).succeeds();
    };
    run("req -x509 -newkey rsa:2048 -nodes -subj /CN=app -days 2 -keyout @key.pem -out @cert.pem");
    run("rsa -in @key.pem -traditional -out @pkcs1.pem");
    run("rsa -in @key.pem -traditional -aes256 -passout pass:opensesame -out @dek.pem");
    run("pkcs8 -topk8 -in @key.pem -passout pass:opensesame -out @encrypted.pem");
    run("pkcs12 -export -inkey @key.pem -in @cert.pem -passout pass:opensesame -out @app.p12");
    run(
        "req -x509 -newkey rsa:2048 -nodes -subj /CN=other -days 2 -keyout @other-key.pem -out @other.pem",
    );
    let certificate = fs::read_to_string(file("cert.pem")).expect("the certificate is there");
    for (name, key) in [
        ("both.pem", "key.pem"),
        ("old.pem", "pkcs1.pem"),
        ("locked.pem", "encrypted.pem"),
        ("traditional.pem", "dek.pem"),
        ("mixed.pem", "other-key.pem"),
    ] {
        let key = fs::read_to_string(file(key)).expect("the key is there");
        fs::write(file(name), format!("{key}{certificate}")).expect("the file can be written");
    }
    let other =
        [file("other-key.pem"), file("other.pem")].map(|name| fs::read(name).expect("it is there"));
    fs::write(file("foreign.pem"), other.concat()).expect("the file can be written");

    let how = format!(r#""certificates":[{}]"#, serde_json::json!(certificate));
    let mut hsm = hsm_with_principal(&folder, &how, &[]);
    for (name, password) in [
        ("both.pem", ""),
        ("old.pem", ""),
        ("locked.pem", "opensesame"),
        ("app.p12", "opensesame"),
    ] {
        hsm.set("AZURE_CLIENT_CERTIFICATE_PATH", &file(name));
        hsm.set("AZURE_CLIENT_CERTIFICATE_PASSWORD", password);
        for chain in ["no", "true"] {
            hsm.set("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN", chain);
            load(&hsm).succeeds();
        }
    }
    for (name, password, words) in [
        ("foreign.pem", "", "AADSTS700027"),
        ("mixed.pem", "", "not the one of its first certificate"),
        ("traditional.pem", "opensesame", "openssl pkcs8 -topk8"),
        ("locked.pem", "", "set AZURE_CLIENT_CERTIFICATE_PASSWORD"),
        (
            "locked.pem",
            "wrong-password",
            "does not open its private key",
        ),
        (
            "app.p12",
            "wrong-password",
            "AZURE_CLIENT_CERTIFICATE_PASSWORD",
        ),
        ("cert.pem", "", "holds no private key"),
        ("key.pem", "", "holds no certificate"),
        ("missing.pem", "", "missing.pem"),
    ] {
        hsm.set("AZURE_CLIENT_CERTIFICATE_PATH", &file(name));
        hsm.set("AZURE_CLIENT_CERTIFICATE_PASSWORD", password);
        let text = refusal(&hsm);
        assert!(
            text.contains("ClientCertificateCredential") && text.contains(words),
            "{name}: {text}"
        );
    }
}

#[test]
fn an_application_logs_in_with_a_token_of_another_issuer() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let how = format!(
        r#""federated_credentials":[{{"issuer":"https://sts.windows.net/00000000-0000-0000-0000-000000000000/","subject":"{PRINCIPAL}"}}]"#
    );
    let mut hsm = hsm_with_principal(&folder, &how, &[]);
    let token = |audience: &str| {
        let output = hsm
            .emulator_command(&["token", "--audience", audience, "--principal", PRINCIPAL])
            .output()
            .expect("the emulator runs");
        String::from_utf8(output.stdout).expect("a token is text")
    };
    let (good, bad) = (
        token("api://AzureADTokenExchange"),
        token("api://SomethingElse"),
    );
    let file = hsm.write("federated", good);
    hsm.set("AZURE_FEDERATED_TOKEN_FILE", &file);
    load(&hsm).succeeds();
    hsm.write("federated", bad);
    let text = refusal(&hsm);
    assert!(
        text.contains("WorkloadIdentityCredential") && text.contains("AADSTS7002"),
        "{text}"
    );
    fs::remove_file(&file).expect("the file is there");
    assert!(refusal(&hsm).contains("can't be read"));
}

/// Also where the file, or the variable, is not what it ought to be.
#[test]
fn a_private_key_is_not_shown() {
    let mut hsm = hsm();
    hsm.unset("AZURE_CLI_ACCESS_TOKEN");
    hsm.set("AZURE_TOKEN_CREDENTIALS", "ClientCertificateCredential");
    hsm.set("AZURE_TENANT_ID", CLIENT);
    hsm.set("AZURE_CLIENT_ID", CLIENT);
    let key = hsm.openssl_line(Loading::Plain, "genpkey -algorithm RSA");
    let key = key.succeeds();
    let line = hsm.write("line.pem", key.replace('\n', ""));
    let cut = hsm.write("cut.pem", &key[..1000]);
    for (path, words) in [
        (&line, "line ends been lost"),
        (&cut, "is it cut off"),
        (&key, "it is no path"),
    ] {
        hsm.set("AZURE_CLIENT_CERTIFICATE_PATH", path);
        let text = refusal(&hsm);
        assert!(text.contains(words), "{text}");
        for secret in ["MII", "77, 73, 73", &key[100..120]] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    hsm.set("AKV_CA_FILE", &line);
    let text = refusal(&hsm);
    assert!(text.contains("line ends been lost"), "{text}");
    assert!(!text.contains("77, 73, 73"), "{text}");
}

#[test]
fn a_user_assigned_identity_is_found_by_each_of_its_ids_over_plain_http() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let how = r#""managed_identity":true,"resource_id":"/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/demo""#;
    let mut hsm = hsm_with_principal(&folder, how, &["--metadata-port", "0"]);
    for (name, value) in hsm.exports(&["--identity"]) {
        if name.starts_with("IDENTITY_") || name == "AZURE_POD_IDENTITY_AUTHORITY_HOST" {
            hsm.set(&name, &value);
        }
    }
    let app_service = hsm.variable("IDENTITY_ENDPOINT").to_owned();
    assert!(
        app_service.starts_with("http://127.0.0.1:")
            || app_service.starts_with("http://localhost:"),
        "{app_service}"
    );
    hsm.unset("AZURE_CLIENT_ID");
    let resource = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/demo";
    let object = format!("object:{PRINCIPAL}");
    for endpoint in [app_service.as_str(), ""] {
        hsm.set("IDENTITY_ENDPOINT", endpoint);
        for id in [CLIENT, &object, resource] {
            hsm.set("AKV_MANAGED_IDENTITY", id);
            load(&hsm).succeeds();
        }
        hsm.set(
            "AKV_MANAGED_IDENTITY",
            "99999999-0000-0000-0000-000000000000",
        );
        assert!(refusal(&hsm).contains("ManagedIdentityCredential"));
    }
}

#[test]
fn keys_of_a_key_vault_are_used_with_tokens_for_it() {
    let mut hsm = Hsm::start_with(&["--vault", "MyVault"]);
    hsm.create("k", EC_P256);
    let hsm_token = hsm.variable("AZURE_CLI_ACCESS_TOKEN").to_owned();
    let of_vault = hsm.exports(&["--vault", "MyVault"]);
    for (name, value) in &of_vault {
        hsm.set(name, value);
    }
    hsm.create_in(
        "AZURE_KEYVAULT_URL",
        "v",
        r#"{"kty":"RSA","key_size":2048}"#,
    );
    let uri = "keyvault:MyVault:v";
    let message = hsm.write("message", "signed by a vault");
    let (signature, public) = (hsm.path("signature"), hsm.path("public.pem"));
    hsm.openssl(
        Loading::Config,
        &["pkey", "-in", uri, "-pubout", "-out", &public],
    )
    .succeeds();
    hsm.openssl(
        Loading::Config,
        &[
            "dgst", "-sha256", "-sign", uri, "-out", &signature, &message,
        ],
    )
    .succeeds();
    hsm.verifies(&["-sha256"], &public, &signature, &message);
    let text = hsm
        .openssl(Loading::Config, &["pkey", "-in", uri, "-noout", "-text"])
        .succeeds();
    assert!(
        text.contains("in Azure Key Vault") && text.contains("Vault: MyVault"),
        "{text}"
    );
    // A token for HSMs is none for vaults.
    hsm.set("AZURE_CLI_ACCESS_TOKEN", &hsm_token);
    let text = hsm
        .openssl(Loading::Config, &["pkey", "-in", uri, "-noout"])
        .text();
    assert!(text.contains("AKV10022") && text.contains("401"), "{text}");
    // An application gets one for each, in the same process.
    hsm.log_in();
    for (name, value) in &of_vault {
        if name == "AZURE_KEYVAULT_URL" {
            hsm.set(name, value);
        }
    }
    for uri in [uri, KEY] {
        hsm.openssl(Loading::Config, &["pkey", "-in", uri, "-noout"])
            .succeeds();
    }
}

/// An HSM with the keys `k`, `other` and `rsa`, and a folder that belongs to it, where an
/// application may do these things with `k`.
fn with_role(data_actions: &[&str]) -> (Hsm, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("principals.json");
    let principals = format!(
        r#"[{{"client_id":"{CLIENT}","object_id":"{PRINCIPAL}","client_secret":"s3cret"}}]"#
    );
    fs::write(&file, principals).expect("the principals can be written");
    let hsm = Hsm::start_with(&["--principals", file.to_str().expect("the path is text")]);
    for key in ["k", "other"] {
        hsm.create(key, EC_P256);
    }
    let rsa = r#"{"kty":"RSA-HSM","key_size":2048}"#;
    hsm.create("rsa", rsa);
    hsm.assign_role("k", PRINCIPAL, data_actions);
    (hsm, folder)
}

/// Goes on as the application.
fn become_application(hsm: &mut Hsm) {
    hsm.log_in();
    hsm.set("AZURE_CLIENT_ID", CLIENT);
    hsm.set("AZURE_CLIENT_SECRET", "s3cret");
}

#[test]
fn a_role_that_only_signs_is_enough_with_a_key_file() {
    let (mut hsm, _folder) = with_role(&["Microsoft.KeyVault/managedHsm/keys/sign/action"]);
    let (file, message) = (hsm.path("k.pem"), hsm.write("message", "to be signed"));
    hsm.akv(&["key", "pem", KEY, "--out", &file]).succeeds();
    become_application(&mut hsm);
    load(&hsm).fails_with(&["403"]);
    let sign = ["dgst", "-sha256", "-out", "/dev/null", "-sign"];
    hsm.openssl(Loading::Config, &[&sign[..], &[&file, &message]].concat())
        .succeeds();
}

#[test]
fn a_role_that_reads_one_key_and_signs_with_it_is_enough() {
    // As in docs/azure.md.
    let (mut hsm, _folder) = with_role(&[
        "Microsoft.KeyVault/managedHsm/keys/read/action",
        "Microsoft.KeyVault/managedHsm/keys/sign/action",
    ]);
    become_application(&mut hsm);
    load(&hsm).succeeds();
    let message = hsm.write("message", "to be signed");
    hsm.akv(&["sign", KEY, &message]).succeeds();
    hsm.akv(&["doctor", KEY]).succeeds();
    for line in [
        "keys show managedhsm:MyHSM:other",
        "keys list managedhsm:MyHSM",
        "keys create managedhsm:MyHSM:new --type rsa",
        "keys create managedhsm:MyHSM:k --type ec --curve P-256",
        "keys rotate managedhsm:MyHSM:k",
        "keys delete managedhsm:MyHSM:k --yes",
        "doctor managedhsm:MyHSM:rsa",
    ] {
        hsm.akv_line(line).fails_with(&["403"]);
    }
}
