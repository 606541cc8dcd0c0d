//! Roles of an HSM and its settings.

use crate::support::{Hsm, vault};
use managed_hsm::{
    DATA_ACTION_PREFIX, Error, Guid, NewRole, RoleAssignment, RoleScope, ServiceSettingName,
};

const CRYPTO_USER: &str = "21dbd100-6940-42c2-9190-5d6cb909625b";

fn code(error: &Error) -> &str {
    match error {
        Error::Service { code, .. } => code.raw(),
        other => panic!("{other}"),
    }
}

fn of(all: &[RoleAssignment], principal: Guid) -> Vec<&RoleAssignment> {
    let principal = principal.to_string();
    let found = all.iter().filter(|one| one.principal.raw() == principal);
    found.collect()
}

#[test]
fn a_role_is_assigned_listed_and_taken_back_where_it_was_given() {
    let hsm = Hsm::start();
    let client = hsm.client();
    let roles = client.role_definitions(&vault()).expect("roles");
    let user = roles
        .iter()
        .find(|role| role.name.raw() == "Managed HSM Crypto User")
        .expect("each HSM has it");
    assert_eq!(user.id.to_string(), CRYPTO_USER);
    assert!(!user.is_custom);
    let sign = format!("{DATA_ACTION_PREFIX}keys/sign/action");
    assert!(user.data_actions.iter().any(|action| action.raw() == sign));

    let somebody = Guid::random();
    let key: RoleScope = "/keys/k".parse().expect("a scope");
    for scope in [RoleScope::Hsm, RoleScope::Keys, key.clone()] {
        let assigned = client.assign_role(&vault(), &scope, somebody, user.id);
        let assigned = assigned.expect("it is assigned");
        assert_eq!(assigned.scope.raw(), scope.to_string());
        assert_eq!(assigned.role, user.id);
        assert_eq!(assigned.principal.raw(), somebody.to_string());
        let again = client.assign_role(&vault(), &scope, somebody, user.id);
        assert_eq!(code(&again.unwrap_err()), "RoleAssignmentExists");
    }
    let all = client.role_assignments(&vault(), &RoleScope::Hsm);
    assert_eq!(of(&all.expect("a list"), somebody).len(), 2);
    let all = client.role_assignments(&vault(), &key).expect("a list");
    let at_key = of(&all, somebody);
    assert_eq!(at_key.len(), 3);
    let at_key = at_key.iter().find(|one| one.scope.raw() == "/keys/k");
    let id = at_key.expect("it is there").id;
    let other: RoleScope = "/keys/other".parse().expect("a scope");
    let refused = client.remove_role_assignment(&vault(), &other, id);
    assert_eq!(code(&refused.unwrap_err()), "RoleAssignmentNotFound");
    let removed = client.remove_role_assignment(&vault(), &key, id);
    removed.expect("it is removed");
    let all = client.role_assignments(&vault(), &key).expect("a list");
    assert_eq!(of(&all, somebody).len(), 2);
}

#[test]
fn a_role_is_made_replaced_and_removed() {
    let hsm = Hsm::start();
    let client = hsm.client();
    let id = Guid::random();
    let action = |name: &str| format!("{DATA_ACTION_PREFIX}{name}");
    let mut role = NewRole {
        name: "Signer".to_owned(),
        description: "signs".to_owned(),
        data_actions: vec![action("keys/*")],
        not_data_actions: vec![action("keys/delete")],
    };
    for _ in 0..2 {
        let made = client.define_role(&vault(), id, &role);
        let made = made.expect("it is made");
        assert!(made.is_custom && made.id == id);
        assert_eq!(made.name.raw(), role.name);
        assert_eq!(made.data_actions[0].raw(), role.data_actions[0]);
        assert_eq!(made.not_data_actions[0].raw(), role.not_data_actions[0]);
        let all = client.role_definitions(&vault()).expect("roles");
        let found = all.iter().filter(|one| one.id == id);
        assert_eq!(found.count(), 1);
        role.name = "Reader".to_owned();
    }
    client.delete_role(&vault(), id).expect("it is removed");
    let all = client.role_definitions(&vault()).expect("roles");
    assert!(all.iter().all(|one| one.id != id));
    let built_in = CRYPTO_USER.parse().expect("a GUID");
    assert!(client.delete_role(&vault(), built_in).is_err());
}

#[test]
fn a_setting_of_the_hsm_is_read_and_changed() {
    let hsm = Hsm::start();
    // Requests name the version that brought settings, even where others are for an older one.
    let client = hsm.client_with(|settings| {
        settings.api_version = "7.2".parse().expect("a version");
    });
    let name: ServiceSettingName = "AllowKeyManagementOperationsThroughARM"
        .parse()
        .expect("a name");
    let all = client.service_settings(&vault()).expect("settings");
    assert_eq!((all.len(), all[0].kind.raw()), (1, "boolean"));
    let one = client.service_setting(&vault(), &name).expect("a setting");
    assert_eq!(one.value.raw(), "false");
    let changed = client.set_service_setting(&vault(), &name, "true");
    assert_eq!(changed.expect("it is changed").value.raw(), "true");
    let one = client.service_setting(&vault(), &name).expect("a setting");
    assert_eq!(one.value.raw(), "true");
    let unknown = "NoSuchThing".parse().expect("a name");
    let refused = client.service_setting(&vault(), &unknown).unwrap_err();
    assert_eq!(code(&refused), "InvalidSetting");
    for text in ["", "a/b", "../keys", "a?b"] {
        assert!(text.parse::<ServiceSettingName>().is_err(), "{text}");
    }
}

#[test]
fn an_assignment_is_asked_for_once_even_if_the_answer_is_lost() {
    let hsm = Hsm::start();
    let client = hsm.client();
    let there = client.role_assignments(&vault(), &RoleScope::Hsm);
    let there = there.expect("a list").len();
    hsm.fault("lost-answer,path=/keys/providers,count=1");
    let role = CRYPTO_USER.parse().expect("a GUID");
    let lost = client.assign_role(&vault(), &RoleScope::Keys, Guid::random(), role);
    assert!(lost.is_err());
    let asked = hsm.emulator.requests.list();
    let asked = asked.iter().filter(|one| one.method == "PUT").count();
    assert_eq!(asked, 1);
    let now = client.role_assignments(&vault(), &RoleScope::Hsm);
    assert_eq!(now.expect("a list").len(), there + 1);
}
