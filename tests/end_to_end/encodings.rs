//! AlgorithmIdentifiers in what is signed: strict parsers reject a certificate for a wrong one.

use crate::support::{EC_P256, Hsm, LOADINGS, Loading, RSA_2048, uri};

/// The lines of `asn1parse` that make up the outer signatureAlgorithm of a certificate or request:
/// those between the end of the to-be-signed part and the BIT STRING at depth 1.
fn signature_algorithm(hsm: &Hsm, file: &str) -> Vec<String> {
    let text = hsm
        .openssl(Loading::Plain, &["asn1parse", "-in", file])
        .succeeds();
    let lines: Vec<&str> = text.lines().collect();
    let starts: Vec<usize> = (0..lines.len())
        .filter(|&i| lines[i].contains(":d=1 "))
        .collect();
    assert_eq!(starts.len(), 3, "{text}");
    lines[starts[1]..starts[2]]
        .iter()
        .map(|line| {
            let (_, rest) = line.split_once("l=").expect("asn1parse prints a length");
            rest.split_once(' ').expect("and then a type").1.to_owned()
        })
        .map(|line| {
            line.split_once(": ")
                .map_or_else(|| line.clone(), |(_, kind)| kind.to_owned())
        })
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

#[test]
fn ecdsa_has_no_parameters() {
    let hsm = Hsm::with_keys(&[("ec", EC_P256)]);
    for loading in LOADINGS {
        for hash in ["sha256", "sha384", "sha512"] {
            let csr = hsm.path("request.csr");
            let digest = format!("-{hash}");
            let request = [
                "req",
                "-new",
                &digest,
                "-key",
                &uri("ec"),
                "-subj",
                "/CN=x",
                "-out",
                &csr,
            ];
            hsm.openssl(loading, &request).succeeds();
            let lines = signature_algorithm(&hsm, &csr);
            let oid = format!("OBJECT :ecdsa-with-{}", hash.to_uppercase());
            assert_eq!(lines, ["SEQUENCE".to_owned(), oid], "{loading:?}");
        }
    }
}

#[test]
fn pkcs1_has_a_null_parameter() {
    let hsm = Hsm::with_keys(&[("rsa", RSA_2048)]);
    for loading in LOADINGS {
        for hash in ["sha256", "sha384", "sha512"] {
            let csr = hsm.path("request.csr");
            let digest = format!("-{hash}");
            let request = [
                "req",
                "-new",
                &digest,
                "-key",
                &uri("rsa"),
                "-subj",
                "/CN=x",
                "-out",
                &csr,
            ];
            hsm.openssl(loading, &request).succeeds();
            let lines = signature_algorithm(&hsm, &csr);
            let oid = format!("OBJECT :{hash}WithRSAEncryption");
            assert_eq!(
                lines,
                ["SEQUENCE".to_owned(), oid, "NULL".to_owned()],
                "{loading:?}"
            );
        }
    }
}

#[test]
fn pss_is_labelled_and_has_its_parameters() {
    let hsm = Hsm::with_keys(&[("rsa", RSA_2048)]);
    for loading in LOADINGS {
        for (hash, salt) in [("sha256", "20"), ("sha384", "30"), ("sha512", "40")] {
            let certificate = hsm.path("pss.crt");
            let digest = format!("-{hash}");
            let request = [
                "req",
                "-new",
                "-x509",
                &digest,
                "-key",
                &uri("rsa"),
                "-subj",
                "/CN=x",
                "-sigopt",
                "rsa_padding_mode:pss",
                "-out",
                &certificate,
            ];
            hsm.openssl(loading, &request).succeeds();
            let text = hsm
                .openssl(
                    Loading::Plain,
                    &["x509", "-in", &certificate, "-noout", "-text"],
                )
                .succeeds();
            for part in [
                "Signature Algorithm: rsassaPss".to_owned(),
                format!("Hash Algorithm: {hash}"),
                format!("Mask Algorithm: mgf1 with {hash}"),
                format!("Salt Length: 0x{salt}"),
            ] {
                assert!(text.contains(&part), "{loading:?}: no '{part}' in\n{text}");
            }
            hsm.is_self_signed(&certificate);
        }
    }
}

#[test]
fn a_cms_of_an_ec_key_names_ecdsa_without_parameters() {
    let hsm = Hsm::with_keys(&[("ec", EC_P256)]);
    let certificate = hsm.certificate(Loading::AkvFirst, &uri("ec"), "ec");
    let message = hsm.write("message", "a message to sign\n");
    let signed = hsm.path("signed.pem");
    let sign = [
        "cms",
        "-sign",
        "-binary",
        "-nodetach",
        "-noattr",
        "-nocerts",
        "-md",
        "sha256",
        "-in",
        &message,
        "-signer",
        &certificate,
        "-inkey",
        &uri("ec"),
        "-outform",
        "PEM",
        "-out",
        &signed,
    ];
    hsm.openssl(Loading::AkvFirst, &sign).succeeds();
    let text = hsm
        .openssl(Loading::Plain, &["asn1parse", "-in", &signed])
        .succeeds();
    let lines: Vec<&str> = text.lines().collect();
    let oid = lines
        .iter()
        .position(|line| line.contains("ecdsa-with-SHA256"));
    let after = lines[oid.expect("the algorithm is named") + 1];
    assert!(after.contains("OCTET STRING"), "{text}");
}
