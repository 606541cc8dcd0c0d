//! Which calls each server makes, from its start to the end of its first connection: kept as those
//! of `traces` are. Each runs as one process, since the calls of several would come in any order.

use testing::ReservedPort;

use crate::programs::{ENGINE, configure_engine, is_there, succeeds};
use crate::servers::{Running, certificate, fetch, lead_to_agent, listens, start_agent, wait_for};
use crate::support::Hsm;
use crate::traces::{compare, hsm, path};

const KEY: &str = "pkcs11:token=localhost;object=ec;type=private";

/// An HSM with a key, and a certificate of it in `ec.pem`.
fn hsm_with_certificate() -> Hsm {
    let mut hsm = hsm("ec");
    configure_engine(&mut hsm);
    certificate(&hsm, "ec");
    hsm
}

/// Starts a server, has a client connect once, and ends it.
fn serve(hsm: &Hsm, program: &str, args: &[&str], port: u16) {
    let mut server = Running::start(hsm, program, args);
    wait_for(program, || listens(port));
    let fetched = fetch(port, &["--tlsv1.3"]);
    assert!(fetched.status.success(), "{program}: {fetched:?}");
    server.stop();
}

#[test]
fn calls_of_gnutls_serv() {
    if !is_there("gnutls-serv") || !is_there("curl") || !is_there(ENGINE) {
        return;
    }
    compare(hsm_with_certificate(), "gnutls-serv", "gnutls-bin", |hsm| {
        let (reserved, path) = (ReservedPort::take(), path());
        let port = reserved.number();
        let text = port.to_string();
        let serve_at = ["--quiet", "--http", "--port", &text, "--provider", &path];
        let own = ["--x509keyfile", KEY, "--x509certfile", "ec.pem"];
        serve(hsm, "gnutls-serv", &[&serve_at[..], &own].concat(), port);
    });
}

#[test]
fn calls_of_openssls_server() {
    if !is_there(ENGINE) || !is_there("curl") {
        return;
    }
    let package = "libengine-pkcs11-openssl";
    compare(hsm_with_certificate(), "engine-server", package, |hsm| {
        let reserved = ReservedPort::take();
        let port = reserved.number();
        let text = port.to_string();
        let serve_at = ["s_server", "-accept", &text, "-www", "-quiet"];
        let key = ["-engine", "pkcs11", "-keyform", "engine", "-key", KEY];
        let own = ["-cert", "ec.pem"];
        serve(hsm, "openssl", &[&serve_at[..], &key, &own].concat(), port);
    });
}

#[test]
fn calls_of_nginx() {
    if !is_there(ENGINE) || !is_there("nginx") || !is_there("curl") {
        return;
    }
    let hsm = hsm_with_certificate();
    let folder = hsm.folder.path().to_str().expect("text").to_owned();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {folder}/{name};"));
    let reserved = ReservedPort::take();
    let port = reserved.number();
    let text = format!(
        "daemon off; master_process off; user root; pid {folder}/pid;\n\
         error_log {folder}/error.log; events {{}}\n\
         http {{ access_log off; {}\nserver {{ listen 127.0.0.1:{port} ssl;\n\
         ssl_certificate {folder}/ec.pem;\nssl_certificate_key \"engine:pkcs11:{KEY}\";\n\
         ssl_protocols TLSv1.3; ssl_session_cache off; ssl_session_tickets off;\n\
         location / {{ return 200 served; }} }} }}\n",
        temporary.concat()
    );
    std::fs::write(hsm.file("nginx.conf"), text).unwrap();
    let conf = format!("{folder}/nginx.conf");
    compare(hsm, "nginx", "nginx", |hsm| {
        serve(hsm, "nginx", &["-p", &folder, "-c", &conf], port);
    });
}

/// The agent has a process of its own for the module.
#[test]
fn calls_of_openssh_agent() {
    if !is_there("ssh-agent") || !is_there("ssh-add") || !is_there("ssh-keygen") {
        return;
    }
    let mut hsm = hsm("ec");
    lead_to_agent(&mut hsm);
    compare(hsm, "ssh-agent", "openssh-client", |hsm| {
        let module = path();
        let (mut agent, listed) = start_agent(hsm, &module);
        std::fs::write(hsm.file("ec.pub"), listed).unwrap();
        let sign = ["-Y", "sign", "-f", "ec.pub", "-n", "file", "data"];
        succeeds(hsm, "ssh-keygen", &sign);
        succeeds(hsm, "ssh-add", &["-e", &module]);
        agent.stop();
    });
}
