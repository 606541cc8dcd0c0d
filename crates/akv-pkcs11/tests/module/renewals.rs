//! Certificates and time: keys that are rotated, files that change, logins, and a vault's own.

use std::path::Path;

use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use testing::Rest;
use testing::emulator::{Options, Request, VAULT_AUDIENCE};

use crate::authority::{Authority, public_key};
use crate::certificates::{
    CERTIFICATE, EC, PRIVATE, RSA, bytes, configure, label, read, template, write,
};
use crate::support::{Hsm, code, initialized, makes_calls, only, session};

/// A server that starts anew goes on with the certificate that it has, and with the key of that.
#[test]
fn a_certificate_keeps_its_version_of_a_key_visible_after_a_rotation() {
    if !makes_calls() {
        for tags in [
            r#""tags":{}"#,
            r#""tags":{"p11_pri_CKA_ID":"0b","p11_pub_CKA_ID":"0b"}"#,
        ] {
            let mut hsm = Hsm::start();
            let body = format!(r#"{{"kty":"RSA-HSM","key_size":2048,{tags}}}"#);
            let versions = [hsm.rest.create("web", &body), hsm.rest.rotate("web")];
            hsm.rest
                .create("other", r#"{"kty":"EC-HSM","crv":"P-384"}"#);
            let authority = Authority::new();
            let leaf = authority.issue_for(&hsm.rest, "web", 1);
            write(&hsm.file("web.pem"), &[&leaf, &authority.certificate]);
            let newest = hsm.rest.rotate("web");
            let text = format!(r#""certificates":[{:?}]"#, hsm.file("web.pem"));
            configure(&mut hsm, &text);
            hsm.set("TEST_CHAIN", hsm.file("web.pem"));
            hsm.set(
                "TEST_TAGGED",
                if tags.contains("0b") { "yes" } else { "no" },
            );
            hsm.run();
            let requests = hsm.requests();
            let signed = requests.iter().filter(|request| request.is("sign"));
            let signed: Vec<&str> = signed.map(|request| &*request.path).collect();
            assert!(signed[0].contains(&versions[1]), "{signed:?}");
            assert!(signed[1].contains(&newest), "{signed:?}");
            assert_eq!(hsm.count("versions"), 1, "{requests:?}");
        }
        return;
    }
    let chain = read("TEST_CHAIN");
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let private = session.find_objects(&[PRIVATE, label("web")]).unwrap();
    assert_eq!(private.len(), 2, "the certificate's, and the newest");
    let leaf = only(&session, &[CERTIFICATE, label("web")]);
    let id = Attribute::Id(bytes(&session, leaf, AttributeType::Id));
    if std::env::var_os("TEST_TAGGED").unwrap() == "yes" {
        assert_eq!(id, Attribute::Id(vec![0x0b]));
    }
    // The certificate's comes first, and is the only one with its id.
    assert_eq!(only(&session, &[PRIVATE, id.clone()]), private[0]);
    assert_eq!(only(&session, &[CERTIFICATE, id]), leaf);
    let public = chain[0].public_key().unwrap().rsa().unwrap().n().to_vec();
    let read = session.get_attributes(private[0], &[AttributeType::Modulus]);
    assert_eq!(read.unwrap(), [Attribute::Modulus(public)]);
    for key in private {
        session.sign(&Mechanism::Sha256RsaPkcs, key, b"x").unwrap();
    }
    // All that there is.
    assert_eq!(session.find_objects(&[PRIVATE]).unwrap().len(), 3);
    assert_eq!(
        session
            .find_objects(&[PRIVATE, label("web")])
            .unwrap()
            .len(),
        2
    );
}

/// A rotation copies tags, and the id in them is the certificate's version's.
#[test]
fn the_newest_version_is_found_by_the_id_of_its_public_key_by_whoever_has_just_begun() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        let tagged = r#"{"kty":"RSA-HSM","key_size":2048,
            "tags":{"p11_pri_CKA_ID":"0b","p11_pub_CKA_ID":"0b"}}"#;
        hsm.rest.create("web", tagged);
        hsm.rest.create("other", &tagged.replace("0b", "0c"));
        let leaf = Authority::new().issue_for(&hsm.rest, "web", 1);
        write(&hsm.file("web.pem"), &[&leaf]);
        hsm.rest.rotate("web");
        let text = format!(r#""certificates":[{:?}]"#, hsm.file("web.pem"));
        configure(&mut hsm, &text);
        let newest = public_key(&hsm.rest, "web").rsa().unwrap();
        let bits = newest.public_key_to_der_pkcs1().unwrap();
        let file = hsm.file("id");
        std::fs::write(&file, openssl::sha::sha1(&bits)).unwrap();
        hsm.set("TEST_ID", file.clone());
        for with_label in ["no", "yes"] {
            hsm.set("TEST_LABEL", with_label);
            hsm.run();
        }
        // Others are not asked for where a tag tells which is meant.
        std::fs::write(&file, [0x0b]).unwrap();
        hsm.set("TEST_LABEL", "no");
        let before = hsm.requests().len();
        hsm.run();
        let asked = hsm.requests().split_off(before);
        let of_other = |one: &&Request| one.path.starts_with("/keys/other");
        return assert_eq!(asked.iter().filter(of_other).count(), 0, "{asked:?}");
    }
    let id = std::fs::read(std::env::var_os("TEST_ID").unwrap()).unwrap();
    let mut sought = vec![PRIVATE, Attribute::Id(id.clone())];
    if std::env::var("TEST_LABEL").unwrap() == "yes" {
        sought.push(label("web"));
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let found = only(&session, &sought);
    assert_eq!(bytes(&session, found, AttributeType::Id), id);
}

#[test]
fn an_id_that_another_version_shows_is_not_given_and_others_are_given_with_effect() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        let tagged = r#"{"kty":"EC-HSM","crv":"P-256",
            "tags":{"p11_pri_CKA_ID":"0b0c0d0e","p11_pub_CKA_ID":"0b0c0d0e"}}"#;
        let first = hsm.rest.create("web", tagged);
        let leaf = Authority::new().issue_for(&hsm.rest, "web", 1);
        write(&hsm.file("web.pem"), &[&leaf]);
        hsm.rest.rotate("web");
        let text = format!(r#""certificates":[{:?}]"#, hsm.file("web.pem"));
        configure(&mut hsm, &text);
        let told = hsm.run();
        let words =
            format!("that of another version of the key, managedhsm:localhost:web?version={first}");
        return assert!(told.contains("CKA_ID") && told.contains(&words), "{told}");
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let of_certificate = Attribute::Id(vec![0x0b, 0x0c, 0x0d, 0x0e]);
    let kept = only(&session, &[PRIVATE, of_certificate.clone()]);
    let all = session.find_objects(&[PRIVATE, label("web")]).unwrap();
    let newest = all.into_iter().find(|key| *key != kept).unwrap();
    let id = |key| Attribute::Id(bytes(&session, key, AttributeType::Id));
    let own = id(newest);
    assert_ne!(own, of_certificate);
    let public = only(
        &session,
        &[Attribute::Class(ObjectClass::PUBLIC_KEY), own.clone()],
    );
    let set = |key, id: &Attribute| session.update_attributes(key, std::slice::from_ref(id));
    let refused = |key, id| assert_eq!(code(set(key, id)), RvError::AttributeValueInvalid);
    refused(newest, &of_certificate);
    refused(public, &of_certificate);
    refused(kept, &own);
    // What it has already.
    for (key, its) in [(newest, &own), (kept, &of_certificate)] {
        set(key, its).unwrap();
        assert_eq!(id(key), *its);
    }
    // The other object of the pair stays as it is.
    let new = Attribute::Id(vec![1, 2, 3, 4]);
    set(newest, &new).unwrap();
    assert_eq!((id(newest), id(public)), (new.clone(), own));
    assert_eq!(only(&session, &[PRIVATE, new.clone()]), newest);
    set(public, &new).unwrap();
    assert_eq!(id(public), new);
    assert_eq!(id(kept), of_certificate);
    // An id that no version shows any more may be given to another.
    set(kept, &Attribute::Id(vec![5])).unwrap();
    set(newest, &of_certificate).unwrap();
    assert_eq!(only(&session, &[PRIVATE, of_certificate]), newest);
}

#[test]
fn files_that_change_are_read_again_and_broken_ones_serve_on() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.rest.create("rsa", RSA);
        let authority = Authority::new();
        let old = authority.issue_for(&hsm.rest, "rsa", 1);
        let new = authority.issue_for(&hsm.rest, "rsa", 2);
        let file = hsm.file("cert.pem");
        write(&file, &[&old]);
        write(&hsm.file("chain.pem"), &[&old, &new]);
        configure(&mut hsm, &format!(r#""certificates":[{file:?}]"#));
        hsm.set("TEST_CHAIN", hsm.file("chain.pem"));
        hsm.set("TEST_FILE", file);
        let told = hsm.run();
        return assert!(told.contains("cert.pem"), "{told}");
    }
    let chain = read("TEST_CHAIN");
    let file = std::env::var_os("TEST_FILE").unwrap();
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let value = || {
        let found = only(&session, &[CERTIFICATE]);
        bytes(&session, found, AttributeType::Value)
    };
    let pause = || std::thread::sleep(std::time::Duration::from_millis(2100));
    assert_eq!(value(), chain[0].to_der().unwrap());
    write(Path::new(&file), &[&chain[1]]);
    pause();
    assert_eq!(value(), chain[1].to_der().unwrap());
    std::fs::write(
        &file,
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    pause();
    assert_eq!(value(), chain[1].to_der().unwrap());
    std::fs::remove_file(&file).unwrap();
    pause();
    assert_eq!(value(), chain[1].to_der().unwrap());
}

#[test]
fn certificates_are_seen_before_a_login() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        let tagged = r#"{"kty":"EC-HSM","crv":"P-256","tags":{"p11_pri_CKA_ID":"0b0c"}}"#;
        hsm.rest.create("ec", tagged);
        let authority = Authority::new();
        let leaf = authority.issue_for(&hsm.rest, "ec", 1);
        write(&hsm.file("ec.pem"), &[&leaf]);
        let text = format!(r#""certificates":[{:?}]"#, hsm.file("ec.pem"));
        configure(&mut hsm, &text);
        hsm.unset("AZURE_CLI_ACCESS_TOKEN");
        let token = hsm.emulator.token.clone();
        hsm.set("TEST_TOKEN", token);
        hsm.run();
        return;
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let certificate = only(&session, &[CERTIFICATE]);
    assert_eq!(session.find_objects(&[PRIVATE]).unwrap(), []);
    let pin = AuthPin::new(std::env::var("TEST_TOKEN").unwrap().into());
    session.login(UserType::User, Some(&pin)).unwrap();
    let id = Attribute::Id(vec![0x0b, 0x0c]);
    assert_eq!(only(&session, &[CERTIFICATE, id.clone()]), certificate);
    only(&session, &[PRIVATE, id]);
    session.logout().unwrap();
    assert_eq!(only(&session, &[CERTIFICATE]), certificate);
}

#[test]
fn mistakes_in_the_certificates_of_a_token_are_named() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        std::fs::write(hsm.file("empty.pem"), "nothing\n").unwrap();
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        std::fs::write(hsm.file("broken.pem"), broken).unwrap();
        for (place, words) in [
            ("absent.pem", "No such file"),
            ("empty.pem", "holds no certificate in PEM"),
            ("broken.pem", "is no X.509 certificate"),
        ] {
            let file = hsm.file(place);
            configure(&mut hsm, &format!(r#""certificates":[{file:?}]"#));
            let told = hsm.run();
            for words in ["'tokens[0].certificates'", place, words] {
                assert!(told.contains(words), "{words}: {told}");
            }
        }
        return;
    }
    assert_eq!(initialized().get_slots_with_token().unwrap(), []);
}

#[test]
fn a_name_of_a_file_makes_no_line_of_its_own_on_standard_error() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        let folder = hsm.file("folder");
        std::fs::create_dir(&folder).unwrap();
        let name = "x\nakv_pkcs11: C_Sign: forged\u{1b}[31m.pem";
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        std::fs::write(folder.join(name), broken).unwrap();
        configure(&mut hsm, &format!(r#""certificates":[{folder:?}]"#));
        let told = hsm.run();
        let mut lines = told.lines();
        let line = lines.find(|line| line.contains("forged")).expect(&told);
        assert!(
            !line.starts_with("akv_pkcs11: C_Sign") && !told.contains('\u{1b}'),
            "{told}"
        );
        return assert!(
            line.contains("x akv_pkcs11: C_Sign: forged\\u{1b}[31m.pem"),
            "{told}"
        );
    }
    let session = session(&initialized());
    assert_eq!(session.find_objects(&[CERTIFICATE]).unwrap(), []);
}

/// Those of CAs have none in the HSM.
#[test]
fn the_hsm_is_not_asked_again_for_keys_that_certificates_do_not_have() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.rest.create("ec", EC);
        let authority = Authority::new();
        let stranger = Authority::new();
        write(
            &hsm.file("cas.pem"),
            &[&authority.certificate, &stranger.certificate],
        );
        let text = format!(r#""certificates":[{:?}]"#, hsm.file("cas.pem"));
        configure(&mut hsm, &text);
        hsm.run();
        return assert_eq!(hsm.count("versions"), 1, "{:?}", hsm.requests());
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    for _ in 0..3 {
        assert_eq!(session.find_objects(&[PRIVATE]).unwrap().len(), 1);
        assert_eq!(session.find_objects(&[CERTIFICATE]).unwrap().len(), 2);
        assert_eq!(
            session.find_objects(&[PRIVATE, label("ec")]).unwrap().len(),
            1
        );
    }
}

/// A key vault with the key "plain", and "web" with its certificate; a file has that one, too.
fn with_vault(of_token: &str) -> Hsm {
    let mut hsm = Hsm::start_with(Options {
        vaults: vec!["MyVault:0".parse().unwrap()],
        ..Options::default()
    });
    let mut further = hsm.emulator.further.iter();
    let found = further.find(|(name, _)| name.eq_ignore_ascii_case("vault MyVault"));
    let url = found.expect("the vault is served").1.clone();
    let token = hsm.emulator.mint(VAULT_AUDIENCE, 3600).unwrap();
    let vault = Rest {
        url: url.clone(),
        ca: hsm.rest.ca.clone(),
        token: token.clone(),
    };
    vault.create("plain", r#"{"kty":"EC","crv":"P-256"}"#);
    let own = testing::Certificate::for_localhost();
    let key = own.key.private_key_to_pem_pkcs8().unwrap();
    let value = [own.pem(), key].concat();
    let value = String::from_utf8(value).unwrap();
    let body = serde_json::json!({ "value": value }).to_string();
    vault.call("POST", "/certificates/web/import", &body);
    std::fs::write(hsm.file("chain.pem"), own.pem()).unwrap();
    hsm.set("TEST_CHAIN", hsm.file("chain.pem"));
    hsm.set("AZURE_CLI_ACCESS_TOKEN", token);
    hsm.configure(&format!(
        r#"{{"tokens":[{{"resourceName":"MyVault","resourceType":"vault","endpoint":"{url}"{of_token}}}]}}"#
    ));
    hsm
}

/// A vault keeps certificates with their keys, so they need no files.
#[test]
fn certificates_of_a_key_vault_are_found_beside_their_keys() {
    if !makes_calls() {
        let hsm = with_vault("");
        let before = hsm.requests().len();
        hsm.run();
        let requests = &hsm.requests()[before..];
        let asked = requests
            .iter()
            .filter(|one| one.path.starts_with("/certificates/web/"));
        return assert_eq!(asked.count(), 1, "{requests:?}");
    }
    let chain = read("TEST_CHAIN");
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    // Whoever only signs asks for no certificates.
    let key = only(&session, &[PRIVATE, label("web")]);
    let certificate = only(&session, &[CERTIFICATE, label("web")]);
    let der = bytes(&session, certificate, AttributeType::Value);
    assert_eq!(der, chain[0].to_der().unwrap());
    let id = Attribute::Id(bytes(&session, certificate, AttributeType::Id));
    assert_eq!(only(&session, &[PRIVATE, id]), key);
    assert_eq!(session.find_objects(&[CERTIFICATE]).unwrap(), [certificate]);
    let gone = session.destroy_object(certificate);
    assert_eq!(code(gone), RvError::ActionProhibited);
    session.sign(&Mechanism::Ecdsa, key, &[1; 32]).unwrap();
}

/// Those of files are there all the same, unless they are sought by what only their keys have.
#[test]
fn that_certificates_can_not_be_told_is_not_told_as_there_are_none() {
    if !makes_calls() {
        let hsm = with_vault(r#","maxRetries":0"#);
        hsm.emulator.faults.add("drop").expect("a fault");
        let told = hsm.run();
        assert!(told.contains("C_FindObjectsInit: "), "{told}");
        let mut hsm = with_vault("");
        let conf = std::fs::read_to_string(hsm.file("mhsm-pkcs11.conf")).unwrap();
        let further = format!(
            r#","certificates":[{:?}]}}],"maxRetries":0}}"#,
            hsm.file("chain.pem")
        );
        hsm.configure(&conf.replace("}]}", &further));
        hsm.set("TEST_HAS_FILE", "yes");
        hsm.emulator.faults.add("drop").expect("a fault");
        let told = hsm.run();
        let words = "the vault's certificates can't be told";
        return assert!(told.contains(words), "{told}");
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let has_file = std::env::var_os("TEST_HAS_FILE").is_some();
    match has_file {
        true => drop(only(&session, &[CERTIFICATE])),
        false => {
            let refused = session.find_objects(&[CERTIFICATE]);
            assert_eq!(code(refused), RvError::DeviceError);
        }
    }
    let by_id = [CERTIFICATE, Attribute::Id(vec![7; 20])];
    let refused = session.find_objects(&by_id);
    assert_eq!(code(refused), RvError::DeviceError);
}

/// Who has written a certificate has that one, and not the vault's, which is there again after it.
#[test]
fn what_a_program_has_written_is_found_before_the_same_certificate_of_a_key_vault() {
    if !makes_calls() {
        let mut hsm = with_vault("");
        let folder = hsm.file("written");
        let conf = std::fs::read_to_string(hsm.file("mhsm-pkcs11.conf")).unwrap();
        let further = format!(r#","certificateDirectory":{folder:?}}}]}}"#);
        hsm.configure(&conf.replace("}]}", &further));
        hsm.run();
        return assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    }
    let chain = read("TEST_CHAIN");
    let der = chain[0].to_der().unwrap();
    let given = [CERTIFICATE, label("mine"), Attribute::Id(vec![9])];
    let by_value = [CERTIFICATE, Attribute::Value(der)];
    let written = |session: &Session| {
        let given = [
            label("mine"),
            Attribute::Id(vec![9]),
            Attribute::Token(true),
        ];
        session.create_object(&template(&chain[0], &given)).unwrap()
    };
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    // One is written before the vault was asked, and one after it.
    for is_known in [false, true] {
        if is_known {
            only(&session, &[CERTIFICATE, label("web")]);
        }
        let made = written(&session);
        for sought in [&given[..], &by_value, &[CERTIFICATE]] {
            assert_eq!(only(&session, sought), made, "{is_known} {sought:?}");
        }
        session
            .update_attributes(made, &[label("renamed")])
            .unwrap();
        assert_eq!(only(&session, &[CERTIFICATE, label("renamed")]), made);
        session.destroy_object(made).unwrap();
        let of_vault = only(&session, &by_value);
        assert_ne!(of_vault, made);
        assert_eq!(bytes(&session, of_vault, AttributeType::Label), b"web");
    }
    // The next process finds what the one before has written.
    written(&session);
    drop(session);
    pkcs11.finalize().unwrap();
    let pkcs11 = initialized();
    let session = crate::support::session(&pkcs11);
    let found = only(&session, &[CERTIFICATE]);
    assert_eq!(only(&session, &given), found);
    session.destroy_object(found).unwrap();
    only(&session, &[CERTIFICATE, label("web")]);
}
