//! Several HSMs in one process.

use serde_json::json;

use crate::running::{Emulator, program, text};

fn at(emulator: &Emulator, host: &str, path: &str) -> String {
    let url = emulator.url.replace("localhost", host);
    format!("{url}{path}")
}

#[tokio::test]
async fn hsms_are_told_apart_by_name_and_keep_keys_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--hsm", "Contoso", "--hsm", "fabrikam:0"];
    let emulator = Emulator::start_with(folder.path(), &arguments);
    let contoso = at(&emulator, "contoso.managedhsm.azure.net", "/keys/k");
    let fabrikam = at(&emulator, "fabrikam.managedhsm.azure.net", "/keys/k");
    let create = json!({"kty": "EC"});
    let created = emulator.post(&format!("{contoso}/create"), create).await;
    let kid = created.success()["key"]["kid"].as_str().unwrap().to_owned();
    assert!(kid.starts_with("https://contoso.managedhsm."), "{kid}");
    assert_eq!(emulator.get(&fabrikam).await.error().1, "KeyNotFound");
    emulator.get(&contoso).await.success();

    // The first is also found under localhost, and both under their names there.
    emulator.get("/keys/k").await.success();
    let local = at(&emulator, "contoso.localhost", "/keys/k");
    emulator.get(&local).await.success();
    let local = at(&emulator, "fabrikam.localhost", "/keys/k");
    assert_eq!(emulator.get(&local).await.status, 404);

    // A port of its own makes the name unimportant.
    let own = &emulator.further["fabrikam"];
    let create = json!({"kty": "RSA", "key_size": 2048});
    let created = emulator.post(&format!("{own}/keys/r/create"), create).await;
    created.success();
    let by_name = at(&emulator, "fabrikam.managedhsm.azure.net", "/keys/r");
    assert_eq!(
        emulator.get(&by_name).await.success()["key"]["kty"],
        "RSA-HSM"
    );
}

#[tokio::test]
async fn a_name_that_is_not_served_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start_with(folder.path(), &["--hsm", "contoso"]);
    let url = at(&emulator, "nobody.managedhsm.azure.net", "/keys/k");
    let (status, code, message) = emulator.get(&url).await.error();
    assert_eq!((status, code.as_str()), (404, "HsmNotFound"));
    assert!(message.contains("nobody.managedhsm"), "{message}");
    assert!(message.contains("--hsm"), "{message}");
}

#[tokio::test]
async fn roles_of_one_hsm_say_nothing_about_another() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--hsm", "contoso", "--hsm", "fabrikam"];
    let emulator = Emulator::start_with(folder.path(), &arguments);
    let somebody = "0ab4c3ee-0e42-4a29-9e33-51b1a9c2a2a1";
    let path = "/keys/providers/Microsoft.Authorization/roleAssignments/7a0e2c52-9f4b-4cf2-9a20-4f0dd2a2e1b1";
    let contoso = |path: &str| at(&emulator, "contoso.managedhsm.azure.net", path);
    let fabrikam = |path: &str| at(&emulator, "fabrikam.managedhsm.azure.net", path);
    let role = "Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/21dbd100-6940-42c2-9190-5d6cb909625b";
    let body = json!({"properties": {"roleDefinitionId": role, "principalId": somebody}});
    let granted = emulator.call("PUT", &contoso(path), Some(body)).await;
    assert_eq!(granted.status, 201, "{}", granted.body);
    let token = emulator.run("token", &["--principal", somebody]).stdout;
    let token = text(&token);
    let create = Some(json!({"kty": "EC"}));
    let here = contoso("/keys/k/create");
    let there = fabrikam("/keys/k/create");
    let call = |path: String| emulator.call_with(token.trim(), "POST", path.leak(), create.clone());
    assert_eq!(call(here).await.status, 200);
    assert_eq!(call(there).await.status, 403);
}

#[test]
fn bad_names_are_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a", "my_hsm", "contoso:https"] {
        let mut serve = program("serve", folder.path());
        let output = serve.args(["--hsm", name]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}");
        let error = text(&output.stderr);
        assert!(error.contains("--hsm"), "{name}: {error}");
    }
}

#[test]
fn a_name_given_twice_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut serve = program("serve", &folder.path().join("emulator"));
    let output = serve.args(["--hsm", "contoso", "--hsm", "CONTOSO"]);
    let output = output.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.contains("'contoso' is named twice"), "{error}");
}
