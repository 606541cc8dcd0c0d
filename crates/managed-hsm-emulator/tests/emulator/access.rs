//! Roles: who may do what, where, and how that is changed; settings, backups and rotation policies.

use serde_json::{Value, json};

use crate::running::{Emulator, program, text};

const OFFICER: &str = "515eb02d-2335-4d2d-92f2-b1cbdf9c3778";
const USER: &str = "21dbd100-6940-42c2-9190-5d6cb909625b";
const AUDITOR: &str = "2c18b078-7c48-4d3a-af88-5a3a1b3f82b3";
const SOMEBODY: &str = "11111111-2222-3333-4444-555555555555";

fn token(emulator: &Emulator, principal: &str) -> String {
    let mut command = program("token", emulator.data());
    let output = command.args(["--principal", principal]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).trim().to_owned()
}

fn assignment(scope: &str, id: u32) -> String {
    format!(
        "{scope}/providers/Microsoft.Authorization/roleAssignments/00000000-0000-0000-0000-{id:012}"
    )
}

fn grant(role: &str) -> Value {
    let definition =
        format!("Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/{role}");
    json!({"properties": {"roleDefinitionId": definition, "principalId": SOMEBODY}})
}

#[tokio::test]
async fn a_principal_may_do_what_its_roles_say_where_they_say_it() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    for key in ["a", "b"] {
        let path = format!("/keys/{key}/create");
        emulator.post(&path, json!({"kty": "EC"})).await.success();
    }
    let token = token(&emulator, SOMEBODY);
    let sign = json!({"alg": "ES256", "value": "A".repeat(43)});
    let signs = async |key: &str| {
        let path = format!("/keys/{key}/sign");
        let answer = emulator
            .call_with(&token, "POST", &path, Some(sign.clone()))
            .await;
        answer.status.as_u16()
    };
    let path = "/keys/a/sign";
    let answer = emulator
        .call_with(&token, "POST", path, Some(sign.clone()))
        .await;
    let (status, code, message) = answer.error();
    assert_eq!((status, code.as_str()), (403, "AccessDenied"));
    let expected = "Not authorized to access Microsoft.KeyVault/managedHsm/keys/sign/action on /keys/a (Activity ID: ";
    assert!(message.starts_with(expected), "{message}");

    let made = emulator
        .call("PUT", &assignment("/keys/a", 1), Some(grant(USER)))
        .await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!((signs("a").await, signs("b").await), (200, 403));
    let made = emulator
        .call("PUT", &assignment("/keys", 2), Some(grant(USER)))
        .await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!((signs("a").await, signs("b").await), (200, 200));
    let random = emulator
        .call_with(&token, "POST", "/rng", Some(json!({"count": 1})))
        .await;
    assert_eq!(random.status, 403, "a role at /keys does not count at /");
    for id in [1, 2] {
        emulator
            .call("DELETE", &assignment("", id), None)
            .await
            .success();
    }
    assert_eq!(signs("a").await, 403);
}

#[tokio::test]
async fn built_in_roles_permit_what_they_name_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    emulator
        .post("/keys/k/create", json!({"kty": "EC"}))
        .await
        .success();
    let token = token(&emulator, SOMEBODY);
    let requests = [
        ("GET", "/keys/k", None),
        ("GET", "/keys", None),
        ("GET", "/deletedkeys", None),
        ("POST", "/keys/k/backup", None),
        ("POST", "/rng", Some(json!({"count": 1}))),
        ("GET", "/settings", None),
        (
            "GET",
            "/providers/Microsoft.Authorization/roleDefinitions",
            None,
        ),
        ("POST", "/keys/new/create", Some(json!({"kty": "EC"}))),
        ("DELETE", "/keys/new", None),
        ("DELETE", "/deletedkeys/new", None),
    ];
    for (role, permitted) in [
        (
            USER,
            [
                true, true, false, true, true, false, true, true, true, false,
            ],
        ),
        (
            OFFICER,
            [
                false, false, true, false, false, false, true, false, false, true,
            ],
        ),
        (
            AUDITOR,
            [
                true, true, true, false, false, false, true, false, false, false,
            ],
        ),
    ] {
        let path = assignment("", 1);
        let made = emulator.call("PUT", &path, Some(grant(role))).await;
        assert_eq!(made.status, 201, "{}", made.body);
        for ((method, path, body), permitted) in requests.clone().into_iter().zip(permitted) {
            let answer = emulator.call_with(&token, method, path, body).await;
            assert_eq!(
                answer.status != 403,
                permitted,
                "{role}: {method} {path}: {}",
                answer.body
            );
        }
        emulator.call("DELETE", &path, None).await.success();
    }
}

#[tokio::test]
async fn role_definitions_can_be_made_used_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    emulator
        .post("/keys/k/create", json!({"kty": "EC"}))
        .await
        .success();
    let definitions = "/providers/Microsoft.Authorization/roleDefinitions";
    let id = "99999999-0000-0000-0000-000000000001";
    let path = format!("{definitions}/{id}");
    let actions = ["Microsoft.KeyVault/managedHsm/keys/read/action"];
    let role = json!({"properties": {"roleName": "Reader", "description": "reads", "type": "CustomRole",
        "permissions": [{"dataActions": actions}], "assignableScopes": ["/"]}});
    let made = emulator.call("PUT", &path, Some(role)).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.json()["properties"]["roleName"], "Reader");
    let listed = emulator.get(definitions).await.success();
    assert_eq!(listed["value"].as_array().unwrap().len(), 10);
    emulator
        .call("PUT", &assignment("", 7), Some(grant(id)))
        .await;
    let token = token(&emulator, SOMEBODY);
    let read = emulator.call_with(&token, "GET", "/keys/k", None).await;
    assert_eq!(read.status, 200, "{}", read.body);
    // The assignment stays, and grants nothing any more.
    emulator.call("DELETE", &path, None).await.success();
    emulator.get(&assignment("", 7)).await.success();
    let read = emulator.call_with(&token, "GET", "/keys/k", None).await;
    assert_eq!(read.status, 403, "{}", read.body);
    assert_eq!(emulator.get(&path).await.status, 404);
    let built_in = format!("{definitions}/{USER}");
    assert_eq!(emulator.call("DELETE", &built_in, None).await.status, 400);
    assert_eq!(
        emulator.get(&built_in).await.success()["properties"]["type"],
        "AKVBuiltInRole"
    );
}

#[tokio::test]
async fn who_manages_the_roles_of_one_key_reaches_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let made = async |path: &str, role| emulator.call("PUT", path, Some(grant(role))).await.status;
    let (own, elsewhere) = (assignment("/keys/a", 1), assignment("", 2));
    assert_eq!(made(&own, OFFICER).await, 201);
    assert_eq!(made(&elsewhere, USER).await, 201);
    let token = token(&emulator, SOMEBODY);
    let by =
        async |method: &str, path: &str, body| emulator.call_with(&token, method, path, body).await;

    // Through the key's path the HSM-wide assignment isn't there, neither for the key's officer nor
    // for the owner.
    let through_the_key = assignment("/keys/a", 2);
    for method in ["GET", "DELETE"] {
        for answer in [
            by(method, &through_the_key, None).await,
            emulator.call(method, &through_the_key, None).await,
        ] {
            let (status, code, _) = answer.error();
            assert_eq!((status, code.as_str()), (404, "RoleAssignmentNotFound"));
        }
    }
    emulator.get(&elsewhere).await.success();
    assert_eq!(by("GET", &own, None).await.status, 200);

    let everything = json!({"properties": {
        "permissions": [{"dataActions": ["Microsoft.KeyVault/managedHsm/*"]}],
        "assignableScopes": ["/keys"],
    }});
    let definition = |scope| {
        format!(
            "{scope}/providers/Microsoft.Authorization/roleDefinitions/99999999-0000-0000-0000-000000000001"
        )
    };
    emulator.call("DELETE", &elsewhere, None).await.success();
    let answer = by("PUT", &definition("/keys/a"), Some(everything.clone())).await;
    let (status, _, message) = answer.error();
    assert_eq!(status, 403);
    assert!(
        message.contains("roleDefinitions/write/action on / "),
        "{message}"
    );
    let made = emulator
        .call("PUT", &definition(""), Some(everything))
        .await;
    assert_eq!(made.json()["properties"]["assignableScopes"], json!(["/"]));
}

#[tokio::test]
async fn wrong_role_requests_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let unknown = grant("99999999-0000-0000-0000-000000000009");
    let not_a_guid = "/providers/Microsoft.Authorization/roleAssignments/me";
    let definition = |id| format!("/providers/Microsoft.Authorization/roleDefinitions/{id}");
    let role = json!({"properties": {"permissions": []}});
    let built_in = "Cannot re-use the name/GUID matching that of a built-in role. Please use a unique role ID.";
    for (method, path, body, status, words) in [
        (
            "GET",
            assignment("", 9),
            None,
            404,
            "Requested role assignment not found",
        ),
        (
            "DELETE",
            assignment("", 9),
            None,
            404,
            "Requested role assignment not found",
        ),
        (
            "PUT",
            assignment("", 9),
            Some(unknown),
            404,
            "role definition",
        ),
        ("PUT", assignment("", 9), Some(json!({})), 400, "properties"),
        ("PUT", not_a_guid.to_owned(), Some(grant(USER)), 400, "GUID"),
        (
            "PUT",
            definition("me"),
            Some(role.clone()),
            400,
            "Role definition name must be a GUID",
        ),
        ("PUT", definition(USER), Some(role), 400, built_in),
        ("DELETE", definition(USER), None, 400, built_in),
        (
            "PUT",
            assignment("/vaults", 9),
            Some(grant(USER)),
            404,
            "Resource not found",
        ),
        (
            "GET",
            "/settings/Speed".to_owned(),
            None,
            400,
            "Invalid setting name",
        ),
    ] {
        let answer = emulator.call(method, &path, body).await;
        let (got, _, message) = answer.error();
        assert_eq!(got, status, "{method} {path}: {message}");
        assert!(message.contains(words), "{method} {path}: {message}");
    }
    let path = assignment("", 1);
    assert_eq!(
        emulator.call("PUT", &path, Some(grant(USER))).await.status,
        201
    );
    for again in [path, assignment("", 2)] {
        let answer = emulator.call("PUT", &again, Some(grant(USER))).await;
        let (status, code, message) = answer.error();
        assert_eq!((status, code.as_str()), (400, "RoleAssignmentExists"));
        let (text, _) = message.split_once(" (Activity ID: ").unwrap();
        assert_eq!(text, "The role assignment already exists.");
    }
}

#[tokio::test]
async fn a_backup_brings_back_all_versions_in_its_own_hsm_only() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let emulator = Emulator::start(folder.path());
    let create = json!({"kty": "RSA", "tags": {"a": "b"}});
    emulator.post("/keys/k/create", create).await.success();
    emulator.set_rotation_policy("k").await;
    let newest = emulator
        .call("POST", "/keys/k/rotate", None)
        .await
        .success();
    let versions = emulator.get("/keys/k/versions").await.success();
    let blob = emulator
        .call("POST", "/keys/k/backup", None)
        .await
        .success();
    assert_eq!(
        emulator.post("/keys/restore", blob.clone()).await.status,
        409
    );
    emulator.call("DELETE", "/keys/k", None).await.success();
    assert_eq!(
        emulator.post("/keys/restore", blob.clone()).await.status,
        409
    );
    emulator.call("DELETE", "/deletedkeys/k", None).await;
    let foreign = Emulator::start(other.path());
    let (status, code, _) = foreign.post("/keys/restore", blob.clone()).await.error();
    assert_eq!((status, code.as_str()), (400, "MalformedBackupBlob"));
    let restored = emulator.post("/keys/restore", blob).await.success();
    assert_eq!(restored, newest);
    assert_eq!(emulator.get("/keys/k/versions").await.success(), versions);
}

#[tokio::test]
async fn a_rotation_policy_dates_new_versions_and_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    emulator
        .post("/keys/k/create", json!({"kty": "EC"}))
        .await
        .success();
    let path = "/keys/k/rotationpolicy";
    let none = json!({"attributes": {"created": 0, "expiryTime": "", "updated": 0}, "id": ""});
    assert_eq!(emulator.get(path).await.success(), none);
    let (status, _, message) = emulator.post("/keys/k/rotate", json!({})).await.error();
    assert_eq!(status, 400);
    assert!(
        message.starts_with("You must set a key rotation policy first"),
        "{message}"
    );
    let rotate = |trigger: Value| json!([{"action": {"type": "Rotate"}, "trigger": trigger}]);
    for (expiry, actions, words) in [
        (json!("90 days"), json!([]), "90 days"),
        (
            json!("P90D"),
            rotate(json!({"timeAfterCreate": "soon"})),
            "soon",
        ),
        (
            Value::Null,
            rotate(json!({"timeBeforeExpiry": "P30D"})),
            "expiryTime",
        ),
        (
            json!("P90D"),
            json!([{"action": {"type": "Notify"}, "trigger": {"timeBeforeExpiry": "P30D"}}]),
            "Notify",
        ),
        (
            json!("P90D"),
            rotate(json!({"timeAfterCreate": "P27D"})),
            "28 days",
        ),
    ] {
        let body = json!({"attributes": {"expiryTime": expiry}, "lifetimeActions": actions});
        let (status, _, message) = emulator.call("PUT", path, Some(body)).await.error();
        assert_eq!(status, 400);
        assert!(message.contains(words), "{message}");
    }
    let body = json!({"attributes": {"expiryTime": "P90D"}, "lifetimeActions": rotate(json!({"timeBeforeExpiry": "P30D"}))});
    emulator.call("PUT", path, Some(body)).await.success();
    let rotated = emulator
        .call("POST", "/keys/k/rotate", None)
        .await
        .success();
    let attributes = &rotated["attributes"];
    let lifetime = attributes["exp"].as_i64().unwrap() - attributes["created"].as_i64().unwrap();
    assert_eq!(lifetime, 90 * 86_400);
    assert_eq!(emulator.get("/keys/none/rotationpolicy").await.status, 404);
}

#[tokio::test]
async fn exportable_keys_have_a_release_policy() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    // {"version":"1.0.0","anyOf":[]}
    let policy = json!({"data": "eyJ2ZXJzaW9uIjoiMS4wLjAiLCJhbnlPZiI6W119"});
    for (body, status) in [
        (
            json!({"kty": "EC", "attributes": {"exportable": true}}),
            400,
        ),
        (json!({"kty": "EC", "release_policy": policy}), 400),
        (
            json!({"kty": "EC", "attributes": {"exportable": true}, "release_policy": {"data": "AA"}}),
            400,
        ),
        (
            // {}: it says no version.
            json!({"kty": "EC", "attributes": {"exportable": true}, "release_policy": {"data": "e30"}}),
            400,
        ),
        (
            json!({"kty": "EC", "attributes": {"exportable": true}, "release_policy": policy}),
            200,
        ),
    ] {
        let answer = emulator.post("/keys/k/create", body.clone()).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
    }
    // Whether it is one is said when it is made.
    for (exportable, status) in [(true, 200), (false, 400)] {
        let body = Some(json!({"attributes": {"exportable": exportable, "enabled": true}}));
        let answer = emulator.call("PATCH", "/keys/k", body).await;
        assert_eq!(answer.status, status, "{exportable}: {}", answer.body);
    }
    let shown = emulator.get("/keys/k").await.success();
    assert_eq!(shown["attributes"]["exportable"], true);
}
