//! Role assignments and definitions as lists, with filters; who is first of many; how many there
//! can be.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::running::Emulator;

const USER: &str = "21dbd100-6940-42c2-9190-5d6cb909625b";
const AUDITOR: &str = "2c18b078-7c48-4d3a-af88-5a3a1b3f82b3";
const ASSIGNMENTS: &str = "providers/Microsoft.Authorization/roleAssignments";
const DEFINITIONS: &str = "/providers/Microsoft.Authorization/roleDefinitions";

fn grant(role: &str, principal: &str) -> Value {
    json!({"properties": {"roleDefinitionId": role, "principalId": principal}})
}

fn guid(number: usize) -> String {
    format!("00000000-0000-0000-0000-{number:012}")
}

async fn assign(emulator: &Emulator, scope: &str, number: usize, role: &str, who: &str) -> u16 {
    let path = format!("{scope}/{ASSIGNMENTS}/{}", guid(number));
    let made = emulator.call("PUT", &path, Some(grant(role, who))).await;
    made.status.as_u16()
}

/// The last digits of the names of the listed assignments that tests made.
async fn listed(emulator: &Emulator, scope: &str, filter: &str) -> BTreeSet<u64> {
    let path = format!("{scope}/{ASSIGNMENTS}?api-version=7.4{filter}");
    let list = emulator.get(&path).await.success();
    let names = list["value"].as_array().unwrap().iter();
    let names = names.map(|one| one["name"].as_str().unwrap());
    names
        .filter_map(|name| name.strip_prefix("00000000-0000-0000-0000-")?.parse().ok())
        .collect()
}

#[tokio::test]
async fn lists_of_assignments_leave_out_single_keys_and_are_filtered() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    for (number, scope, who) in [
        (1, "", "A"),
        (2, "/keys", "A"),
        (3, "/keys/k", "A"),
        (4, "/keys/l", "A"),
        (5, "", "B"),
    ] {
        assert_eq!(assign(&emulator, scope, number, USER, who).await, 201);
    }
    let at_scope = "&$filter=atScope()";
    for (scope, filter, expected) in [
        ("", "", vec![1, 2, 5]),
        ("/keys", "", vec![1, 2, 5]),
        ("/keys/K", "", vec![1, 2, 3, 5]),
        ("", at_scope, vec![1, 5]),
        ("/keys", at_scope, vec![1, 2, 5]),
        ("", "&$filter=principalId+eq+'a'", vec![1, 2]),
        ("", "&$filter=principalId%20eq%20B", vec![5]),
        (
            "",
            "&%24filter=atScope()%20and%20principalId%20eq%20'A'",
            vec![1],
        ),
    ] {
        let found = listed(&emulator, scope, filter).await;
        assert_eq!(found, expected.into_iter().collect(), "{scope} {filter}");
    }
    let path = format!("/{ASSIGNMENTS}?$filter=colour%20eq%20'red'");
    let (status, _, message) = emulator.get(&path).await.error();
    assert_eq!(status, 400);
    assert!(message.contains("colour eq 'red'"), "{message}");
}

#[tokio::test]
async fn lists_of_definitions_are_filtered() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let path = format!("{DEFINITIONS}/{}", guid(1));
    let role = json!({"properties": {"permissions": [], "assignableScopes": ["/"]}});
    let made = emulator.call("PUT", &path, Some(role)).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.json()["properties"]["roleName"], "");
    for (filter, count) in [
        ("", 10),
        ("?$filter=atScopeAndBelow()", 10),
        ("?$filter=type+eq+'CustomRole'", 1),
        ("?$filter=type+eq+'BuiltInRole'", 9),
        ("?$filter=roleName+eq+'Managed+HSM+Restore'", 1),
    ] {
        let list = emulator
            .get(&format!("{DEFINITIONS}{filter}"))
            .await
            .success();
        assert_eq!(list["value"].as_array().unwrap().len(), count, "{filter}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_equal_assignments_at_once_one_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    for round in 0..20 {
        // The names of keys are the same in any case, and so are scopes.
        let scopes = ["/keys/Web", "/keys/web"];
        let who = format!("principal-{round}");
        let requests = (0..32).map(|index| {
            let number = round * 100 + index;
            assign(&emulator, scopes[index % 2], number, USER, &who)
        });
        let mut statuses = futures_util::future::join_all(requests).await;
        statuses.sort_unstable();
        let expected = [&[201][..], &[400; 31]].concat();
        assert_eq!(statuses, expected, "round {round}");
        let made = listed(&emulator, "/keys/web", "").await;
        assert_eq!(made.len(), 1, "round {round}: {made:?}");
        // It makes room for the next round: a key has ten assignments at most.
        let name = guid(made.first().copied().unwrap() as usize);
        let path = format!("/keys/web/{ASSIGNMENTS}/{name}");
        let removals = (0..8).map(|_| emulator.delete(&path));
        let answers = futures_util::future::join_all(removals).await;
        let mut statuses: Vec<u16> = answers.iter().map(|one| one.status.as_u16()).collect();
        statuses.sort_unstable();
        let expected = [&[200][..], &[404; 7]].concat();
        assert_eq!(statuses, expected, "round {round}");
        assert!(listed(&emulator, "/keys/web", "").await.is_empty());
    }
}

#[tokio::test]
async fn there_are_no_more_roles_and_assignments_than_an_hsm_can_have() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    // The owner has three at the top.
    for (base, scope, room) in [(1000, "/keys/k", 10), (2000, "/keys", 50), (3000, "", 47)] {
        for number in 0..=room {
            let who = format!("principal-{number}");
            let made = assign(&emulator, scope, base + number, AUDITOR, &who).await;
            let expected = if number < room { 201 } else { 400 };
            assert_eq!(made, expected, "{number} at {scope}/");
        }
    }
    let role = json!({"properties": {"permissions": []}});
    for number in 0..=50 {
        let path = format!("{DEFINITIONS}/{}", guid(number));
        let made = emulator.call("PUT", &path, Some(role.clone())).await;
        let expected = if number < 50 { 201 } else { 400 };
        assert_eq!(made.status, expected, "{}", made.body);
    }
    // One that is there can be changed.
    let path = format!("{DEFINITIONS}/{}", guid(0));
    assert_eq!(emulator.call("PUT", &path, Some(role)).await.status, 201);
}

/// As recorded by azure-sdk-for-js, in `recording_can_create_update_and_delete_a_role_definition`,
/// and of none by azure-sdk-for-java, in `KeyVaultAccessControlClientTest.getRoleDefinition`.
#[tokio::test]
async fn a_role_keeps_its_permissions_as_they_were_sent() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let action = |name: &str| format!("Microsoft.KeyVault/managedHsm/{name}/action");
    let permission = |allowed: &[String], not: &[String]| json!({"actions": [], "dataActions": allowed, "notActions": [], "notDataActions": not});
    let backup = permission(&[action("backup/start"), action("backup/status")], &[]);
    let no_encryption = permission(&[], &[action("keys/encrypt")]);
    let path = format!("{DEFINITIONS}/{}", guid(1));
    for (sent, expected) in [
        (
            json!([backup, no_encryption]),
            json!([backup, no_encryption]),
        ),
        (json!([backup]), json!([backup])),
        (json!([{}]), json!([permission(&[], &[])])),
        (json!([]), json!([])),
        (Value::Null, json!([])),
    ] {
        let mut role = json!({"properties": {"roleName": "x", "assignableScopes": ["/"]}});
        if !sent.is_null() {
            role["properties"]["permissions"] = sent;
        }
        let made = emulator.call("PUT", &path, Some(role)).await;
        assert_eq!(made.status, 201, "{}", made.body);
        assert_eq!(made.json()["properties"]["permissions"], expected);
        assert_eq!(emulator.get(&path).await.success(), made.json());
    }
    let removed = emulator.delete(&path).await.success();
    assert_eq!(removed["properties"]["permissions"], json!([]));
}

/// As recorded by azure-sdk-for-net, in `RbacScopeAssignment/CreateRoleAssignmentAsync`.
#[tokio::test]
async fn an_id_of_an_assignment_can_be_used_at_each_scope() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let scopes = ["", "/keys", "/keys/k", "/keys/L"];
    for scope in scopes {
        assert_eq!(assign(&emulator, scope, 1, USER, "A").await, 201, "{scope}");
    }
    assert_eq!(assign(&emulator, "/keys/l", 1, USER, "B").await, 400);
    let path = |scope: &str| format!("{scope}/{ASSIGNMENTS}/{}", guid(1));
    let scope_of = |answer: &Value| answer["properties"]["scope"].as_str().unwrap().to_owned();
    // Each is reached by its own scope, until it is gone.
    for scope in ["/keys/l", "/keys/k", "/keys"] {
        let shown = emulator.get(&path(scope)).await.success();
        assert!(scope_of(&shown).eq_ignore_ascii_case(scope));
        assert_eq!(emulator.delete(&path(scope)).await.success(), shown);
        let answer = emulator.get(&path(scope)).await;
        assert_eq!(answer.status, 404, "{scope}: {}", answer.body);
    }
    assert_eq!(scope_of(&emulator.get(&path("")).await.success()), "/");
    // As after a restart.
    emulator.kill();
    let emulator = Emulator::start(folder.path());
    assert_eq!(scope_of(&emulator.delete(&path("")).await.success()), "/");
    assert_eq!(emulator.get(&path("")).await.status, 404);
}

#[tokio::test]
async fn roles_have_the_names_of_documents_and_of_recordings() {
    for role in [
        "Managed HSM Backup",
        "Managed HSM Backup User",
        "Managed HSM Restore",
        "6efe6056-5259-49d2-8b3d-d3d73544b20b",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let principals = folder.path().join("principals.json");
        let one = json!([{"client_id": "c", "object_id": "o", "roles": [{"role": role}]}]);
        std::fs::write(&principals, one.to_string()).unwrap();
        let arguments = ["--principals", principals.to_str().unwrap()];
        let emulator = Emulator::start_with(folder.path(), &arguments);
        let token = emulator.token(&["--principal", "o"]);
        let restores = role.contains("Restore") || role.starts_with('6');
        let body = Some(json!({"value": "AAAA"}));
        let answer = emulator
            .call_with(&token, "POST", "/keys/restore", body)
            .await;
        let expected = if restores { 400 } else { 403 };
        assert_eq!(answer.status, expected, "{role}: {}", answer.body);
        let answer = emulator
            .call_with(&token, "POST", "/keys/k/backup", None)
            .await;
        let expected = if restores { 403 } else { 404 };
        assert_eq!(answer.status, expected, "{role}: {}", answer.body);
    }
}
