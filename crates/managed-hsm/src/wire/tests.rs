use super::*;
use crate::key::KeyAction;
use crate::secret::Secret;
use crate::token::AccessToken;

const VERSION: &str = "68b1416e5f6b4d23ab6806d934a09a8b";

fn uri() -> KeyUri {
    "managedhsm:MyHSM:k".parse().unwrap()
}

fn url() -> Url {
    "https://h/keys/k?api-version=7.4".parse().unwrap()
}

fn read(body: &[u8], version: &str) -> Result<Told, String> {
    key(body, &uri(), &url(), &version.parse().unwrap())
}

fn known(body: &[u8], version: &str) -> Key {
    match read(body, version).unwrap() {
        Told::Known(key) => *key,
        Told::Lacks(feature) => panic!("{feature:?} is lacking"),
    }
}

fn bundle(key: &str) -> Vec<u8> {
    format!(
        r#"{{"attributes":{{"enabled":true}},"key":{{"kid":"https://h/keys/k/{VERSION}",{key}}}}}"#
    )
    .into_bytes()
}

#[test]
fn a_recorded_ec_key_is_read_and_pinned() {
    // x and y as in Azure/azure-sdk-for-go, azkeys recording TestSignVerify/MHSM.
    let body = bundle(
        r#""kty":"EC-HSM","crv":"P-256K","key_ops":["sign","verify"],
           "x":"H1LSGIWeoJRwkaEyKOs0wkXvuRhLTOHWJLt0OVEHGoU","y":"Uy7XFE4NvoimRM_uLiRMIEpJpSAD-8kDx3YHw3WeG50""#,
    );
    let key = known(&body, "7.4");
    assert_eq!(key.id.version.as_str(), VERSION);
    assert_eq!(
        key.id.url(KeyAction::UnwrapKey).as_str(),
        format!("https://h/keys/k/{VERSION}/unwrapkey?api-version=7.4")
    );
    assert!(key.permits(KeyOperation::Sign) && !key.permits(&KeyOperation::Decrypt));
    assert!(matches!(
        key.public,
        PublicKey::Ec {
            curve: Curve::P256K,
            ..
        }
    ));
}

#[test]
fn answers_that_are_not_the_key_asked_for_are_refused() {
    let rsa = r#""kty":"RSA-HSM","n":"AQAB","e":"AQAB""#;
    let cases: [(&[u8], &str); 15] = [
        (b"", "not the JSON"),
        (b"[]", "not the JSON"),
        (br#"{"key":{"kid":"https://h/keys/k/123","kty":"oct"}}"#, "has no version"),
        (
            br#"{"key":{"kid":"https://h\u001b[2J/keys/k/68b1416e5f6b4d23ab6806d934a09a8b","kty":"oct"}}"#,
            "its kid 'https://h\\u{1b}[2J/keys/k/68b1416e5f6b4d23ab6806d934a09a8b' is not a URL",
        ),
        (
            "{\"key\":{\"kid\":\"https://h\u{202e}/keys/k/68b1416e5f6b4d23ab6806d934a09a8b\",\"kty\":\"oct\"}}".as_bytes(),
            "is not a URL",
        ),
        (&bundle(rsa), "not an RSA public key"),
        (&bundle(r#""kty":"EC","crv":"P-256","x":"AQ","y":"AgM""#), "no point of the curve P-256"),
        (&bundle(r#""kty":"RSA","n":"A A","e":"AQAB""#), "not base64url"),
        (&bundle(r#""kty":"RSA","e":"AQAB""#), "no 'n'"),
        (&bundle(r#""kty":"EC","crv":"P-257""#), "curve 'P-257' is unknown"),
        (&bundle(r#""kty":"OKP""#), "type 'OKP' is unknown"),
        (&bundle(r#""kty":"AKP","alg":"ML-KEM-768","pub":"AA""#), "algorithm 'ML-KEM-768' is unknown"),
        (&bundle(r#""kty":"AKP","alg":"ML-DSA-44""#), "no 'pub'"),
        (&bundle(r#""kty":"AKP","alg":"ML-DSA-44","pub":"AAAA""#), "has 1312 bytes, 3 were given"),
        (
            br#"{"key":{"kid":"https://h/keys/other/68b1416e5f6b4d23ab6806d934a09a8b","kty":"oct"}}"#,
            "another key's",
        ),
    ];
    for (body, expected) in cases {
        let problem = read(body, "2026-05-01-preview").map(|_| ()).unwrap_err();
        assert!(problem.contains(expected), "{problem}");
    }
}

/// Who changes one of them writes all of them back.
#[test]
fn tags_are_handed_on_as_they_are() {
    let token = AccessToken::new("a-token-that-nobody-else-has").unwrap();
    let statement = "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.eyJvd25lciI6IngifQ.c2ln";
    let body = format!(
        r#"{{"key":{{"kid":"https://h/keys/k/{VERSION}","kty":"oct"}},
            "tags":{{"statement":"{statement}","{0}":"is {0}"}}}}"#,
        token.expose()
    );
    let tags = known(body.as_bytes(), "7.4").properties.tags;
    assert_eq!(tags["statement"], statement);
    assert_eq!(tags[token.expose()], format!("is {}", token.expose()));
}

/// A password of a proxy may be "localhost", and a file's may be the name of what the key is for.
#[test]
fn a_short_secret_in_a_name_or_a_host_changes_neither() {
    let secrets = ["hsm-example", "signing"].map(|text| Secret::new(text.to_owned()));
    // Of a version, too, another text may have so much.
    let _token = AccessToken::new(&VERSION[8..24]).unwrap();
    let uri: KeyUri = "managedhsm:MyHSM:signing-key".parse().unwrap();
    let url = "https://hsm-example/keys/signing-key?api-version=7.4";
    let kid = format!("https://hsm-example/keys/signing-key/{VERSION}");
    let body = format!(r#"{{"key":{{"kid":"{kid}","kty":"oct"}}}}"#);
    let url = url.parse().unwrap();
    let told = key(body.as_bytes(), &uri, &url, &"7.4".parse().unwrap()).unwrap();
    let Told::Known(told) = told else {
        panic!("it is known");
    };
    let pinned = format!("managedhsm:MyHSM:signing-key?version={VERSION}");
    assert_eq!(told.id.to_string(), pinned);
    assert_eq!(told.kid.raw(), kid);

    let listing = format!(r#"{{"value":[{{"kid":"{kid}"}}]}}"#);
    let (items, _) = key_page(listing.as_bytes(), &uri.vault).unwrap();
    assert_eq!(items[0].uri.to_string(), pinned);

    let asked = (told.id.key, told.id.version);
    let answer = format!(r#"{{"kid":"{kid}","value":"AQI"}}"#);
    assert_eq!(*value(answer.as_bytes(), &asked).unwrap(), [1, 2]);
    let other = answer.replace("signing-key", "signing");
    let problem = value(other.as_bytes(), &asked).unwrap_err();
    assert_eq!(problem, "it is by the key '…'");
    drop(secrets);
}

#[test]
fn an_identifier_that_repeats_a_token_is_not_handed_on() {
    let token = AccessToken::new("a-token-that-is-told-to-all").unwrap();
    let kid = format!("https://{}.h/keys/k/{VERSION}", token.expose());
    let body = format!(r#"{{"key":{{"kid":"{kid}","kty":"oct"}}}}"#);
    let told = known(body.as_bytes(), "7.4");
    assert_eq!(told.kid.raw(), format!("https://h/keys/k/{VERSION}"));
}

#[test]
fn a_key_of_ml_dsa_is_read_where_the_version_has_such_keys() {
    for set in ParameterSet::ALL {
        let public = vec![7; set.public_key_len()];
        let encoded = BASE64.encode(&public);
        for kty in ["AKP", "AKP-HSM"] {
            let body = bundle(&format!(
                r#""kty":"{kty}","alg":"{set}","pub":"{encoded}","key_ops":["sign","verify"]"#
            ));
            let key = known(&body, "2026-05-01-preview");
            let expected = PublicKey::ml_dsa(set, public.clone()).unwrap();
            assert_eq!(key.public, expected);
            for version in ["7.4", "2025-07-01", "2026-01-01-preview"] {
                let told = read(&body, version).unwrap();
                assert!(matches!(told, Told::Lacks(Feature::MlDsa)), "{version}");
            }
        }
    }
    // Such a version may tell nothing of it but the type.
    let told = read(&bundle(r#""kty":"AKP-HSM""#), "7.4").unwrap();
    assert!(matches!(told, Told::Lacks(Feature::MlDsa)));
}

#[test]
fn a_signature_by_another_key_or_version_is_refused() {
    let id = (uri().key, VERSION.parse().unwrap());
    let answer =
        |version| format!(r#"{{"kid":"https://h/keys/k/{version}","value":"AQI"}}"#).into_bytes();
    assert_eq!(*value(&answer(VERSION), &id).unwrap(), [1, 2]);
    assert_eq!(*value(br#"{"value":"AQI"}"#, &id).unwrap(), [1, 2]);
    for body in [
        &br#"{"value":""}"#[..],
        br#"{"value":"+/"}"#,
        br#"{"value":null}"#,
        b"{}",
    ] {
        assert!(value(body, &id).is_err());
    }
    assert!(
        value(&answer("0123456789abcdef0123456789abcdef"), &id)
            .unwrap_err()
            .contains("by version")
    );
    let problem = value(&answer(""), &id).unwrap_err();
    assert!(problem.contains("names no version"), "{problem}");
    let others = format!(r#"{{"kid":"https://h/keys/other/{VERSION}","value":"AQI"}}"#);
    let problem = value(others.as_bytes(), &id).unwrap_err();
    assert!(problem.contains("by the key 'other'"), "{problem}");
}

#[test]
fn requests_are_compact_and_unpadded() {
    assert_eq!(
        *operation_request("ES256", &[0xff; 4], &[]),
        br#"{"alg":"ES256","value":"_____w"}"#
    );
    assert_eq!(
        *operation_request("A256GCM", b"a", &[("aad", None), ("iv", Some(&[0]))]),
        br#"{"alg":"A256GCM","iv":"AA","value":"YQ"}"#
    );
    assert_eq!(
        *external_mu_request(&[0xff; 4]),
        br#"{"external_mu":"_____w"}"#
    );
    assert_eq!(*algorithm_request("A256KW"), br#"{"alg":"A256KW"}"#);
    assert_eq!(
        *secure_unwrap_request("A256KW", &[0xff; 4], "a\"b"),
        br#"{"alg":"A256KW","target":"a\"b","value":"_____w"}"#
    );
}

#[test]
fn a_page_names_its_keys_and_the_next() {
    let body = br#"{"nextLink":"https://h/keys?$skiptoken=x","value":[
        {"attributes":{"enabled":false},"kid":"https://h/keys/a"},{"kid":"https://h/keys/b/"}]}"#;
    assert!(key_page(body, &uri().vault).is_err());
    let body = br#"{"nextLink":"https://h/keys?$skiptoken=x","value":[
        {"attributes":{"enabled":false},"kid":"https://h/keys/a"}]}"#;
    let (items, next) = key_page(body, &uri().vault).unwrap();
    assert_eq!(items[0].uri.to_string(), "managedhsm:MyHSM:a");
    assert!(!items[0].enabled);
    assert_eq!(next.as_deref(), Some("https://h/keys?$skiptoken=x"));
    let (items, next) = key_page(br#"{"value":[]}"#, &uri().vault).unwrap();
    assert!(items.is_empty() && next.is_none());
}

#[test]
fn a_create_request_says_only_what_is_asked_for() {
    let key = NewKey {
        kind: NewKeyKind::Ec(Curve::P384),
        ..NewKey::default()
    };
    assert_eq!(*create_request(&key), br#"{"crv":"P-384","kty":"EC-HSM"}"#);
    let key = NewKey {
        kind: NewKeyKind::MlDsa(ParameterSet::MlDsa65),
        ..NewKey::default()
    };
    assert_eq!(
        *create_request(&key),
        br#"{"alg":"ML-DSA-65","kty":"AKP-HSM"}"#
    );
    let key = NewKey {
        kind: NewKeyKind::External("a-1".parse().unwrap()),
        operations: vec![KeyOperation::WrapKey],
        ..NewKey::default()
    };
    assert_eq!(
        *create_request(&key),
        br#"{"attributes":{"external_key":{"id":"a-1"}},"key_ops":["wrapKey"]}"#
    );
    let key = NewKey {
        life: Life {
            not_before: Some(1),
            expires: Some(2),
        },
        ..key
    };
    assert_eq!(
        *create_request(&key),
        br#"{"attributes":{"exp":2,"external_key":{"id":"a-1"},"nbf":1},"key_ops":["wrapKey"]}"#
    );
}
