//! TLS with certificates of ML-DSA: OpenSSL on both sides, and rustls as a client, which is of
//! another make.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use crate::ml_dsa::{SETS, hsm};
use crate::support::{EC_P256, Hsm, LOADINGS, Loading, openssl_is_at_least, uri};

#[test]
fn a_server_with_both_kinds_of_certificates_gives_each_client_its_own() {
    if !openssl_is_at_least(3, 5) {
        return;
    }
    let hsm = hsm();
    hsm.create("ec", EC_P256);
    for loading in LOADINGS {
        let (ec, pq) = (uri("ec"), uri("ML-DSA-65"));
        let ec_certificate = hsm.certificate(loading, &ec, &format!("ec-{loading:?}"));
        let pq_certificate = hsm.certificate(loading, &pq, &format!("pq-{loading:?}"));
        let server = hsm.serve_tls(
            loading,
            &[
                "-cert",
                &ec_certificate,
                "-key",
                &ec,
                "-dcert",
                &pq_certificate,
                "-dkey",
                &pq,
            ],
        );
        for (ca, algorithms, signature) in [
            (&pq_certificate, "mldsa65:ECDSA+SHA256", "mldsa65"),
            (&ec_certificate, "ECDSA+SHA256", "ecdsa_secp256r1_sha256"),
        ] {
            let options = ["-CAfile", ca, "-sigalgs", algorithms];
            let text = hsm.connect_tls(Loading::Plain, &server, &options).text();
            assert!(text.contains("HTTP/1.0 200 ok"), "{text}");
            let signature = format!("Signature type: {signature}");
            assert!(text.contains(&signature), "{loading:?}: {text}");
        }
    }
}

#[test]
fn tls_1_3_has_certificates_on_both_sides() {
    if !openssl_is_at_least(3, 5) {
        return;
    }
    let hsm = hsm();
    for (set, _) in SETS {
        for loading in [Loading::AkvFirst, Loading::DefaultFirst] {
            let certificate = hsm.certificate(loading, &uri(set), &format!("{set}-{loading:?}"));
            let of_server = [
                "-key",
                &uri(set),
                "-cert",
                &certificate,
                "-Verify",
                "1",
                "-CAfile",
                &certificate,
                "-verify_return_error",
            ];
            let server = hsm.serve_tls(loading, &of_server);
            let of_client = [
                "-CAfile",
                &certificate,
                "-key",
                &uri(set),
                "-cert",
                &certificate,
                "-tls1_3",
            ];
            let text = hsm.connect_tls(loading, &server, &of_client).text();
            assert!(text.contains("HTTP/1.0 200 ok"), "{text}");
            let signature = format!("Signature type: mldsa{}", &set[7..]);
            assert!(text.contains(&signature), "{text}");
            // A client without the provider.
            let of_server = ["-key", &uri(set), "-cert", &certificate];
            let server = hsm.serve_tls(loading, &of_server);
            let plain = ["-CAfile", &certificate, "-tls1_3"];
            let text = hsm.connect_tls(Loading::Plain, &server, &plain).text();
            assert!(text.contains("HTTP/1.0 200 ok"), "{text}");
            assert!(text.contains(&signature), "{text}");
        }
    }
}

/// A certificate for a key, issued by another key of the same parameter set, whose certificate is
/// returned first. webpki takes none for a server's that is its own CA.
fn issued(hsm: &Hsm, set: &str) -> (String, String) {
    let ca_key = format!("ca-{set}");
    hsm.create(&ca_key, &format!(r#"{{"kty":"AKP-HSM","alg":"{set}"}}"#));
    let file = |name: &str| hsm.path(&format!("{set}-{name}"));
    let (ca, request, leaf) = (file("ca.crt"), file("leaf.csr"), file("leaf.crt"));
    let extensions = hsm.write(
        "leaf.ext",
        "basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost\n",
    );
    for arguments in [
        &[
            "req",
            "-x509",
            "-new",
            "-key",
            &uri(&ca_key),
            "-subj",
            "/CN=ca",
            "-out",
            &ca,
            "-addext",
            "basicConstraints=critical,CA:TRUE",
        ][..],
        &[
            "req",
            "-new",
            "-key",
            &uri(set),
            "-subj",
            "/CN=localhost",
            "-out",
            &request,
        ],
        &[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            &ca,
            "-CAkey",
            &uri(&ca_key),
            "-extfile",
            &extensions,
            "-out",
            &leaf,
        ],
    ] {
        hsm.openssl(Loading::AkvFirst, arguments).succeeds();
    }
    (ca, leaf)
}

/// Asks a server for a page by rustls, which trusts one CA.
fn page_by_rustls(ca: &str, address: SocketAddr) -> Result<String, reqwest::Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let ca = reqwest::Certificate::from_pem(&fs::read(Path::new(ca)).unwrap())?;
        let client = reqwest::Client::builder()
            .tls_certs_only([ca])
            .no_proxy()
            .resolve("localhost", address)
            .build()?;
        let url = format!("https://localhost:{}/", address.port());
        client.get(url).send().await?.text().await
    })
}

#[test]
fn rustls_finishes_handshakes_with_certificates_of_every_parameter_set() {
    if !openssl_is_at_least(3, 5) {
        return;
    }
    let hsm = hsm();
    let chains: Vec<_> = SETS.iter().map(|(set, _)| issued(&hsm, set)).collect();
    for (index, (set, _)) in SETS.iter().enumerate() {
        let (ca, leaf) = &chains[index];
        let key = uri(set);
        let server = hsm.serve_tls(Loading::DefaultFirst, &["-key", &key, "-cert", leaf]);
        let address = server.address.parse().expect("an address");
        let before = hsm
            .requests()
            .iter()
            .filter(|request| request.is_sign())
            .count();
        let page = page_by_rustls(ca, address).unwrap_or_else(|error| panic!("{set}: {error:?}"));
        assert!(page.contains("TLSv1.3"), "{set}: {page}");
        let after = hsm
            .requests()
            .iter()
            .filter(|request| request.is_sign())
            .count();
        assert_eq!(after, before + 1, "{set}");
        // One of another CA is refused, so that the good ones were verified.
        let (other, _) = &chains[(index + 1) % chains.len()];
        assert!(page_by_rustls(other, address).is_err(), "{set}");
    }
}
