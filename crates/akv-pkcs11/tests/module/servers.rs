//! Programs that stay: TLS servers with their workers, and an agent.

use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use testing::ReservedPort;

use crate::programs::{ENGINE, configure_engine, hsm, is_there, succeeds};
use crate::support::{Hsm, module};

/// Longer than any program takes to begin or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A program in the background, which ends with the test.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn start(hsm: &Hsm, program: &str, args: &[&str]) -> Self {
        let mut command = hsm.command(program);
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let started = command.spawn();
        Self(started.expect("it starts"))
    }

    /// By a signal that `timeout` hands on.
    pub(crate) fn stop(&mut self) {
        kill_process(Pid::from_child(&self.0), Signal::TERM).expect("it can be ended");
        self.0.wait().expect("it ends");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            self.stop();
        }
    }
}

pub(crate) fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what} takes too long");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn listens(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// A request by a connection of its own. `options`: which signatures the client takes.
pub(crate) fn fetch(port: u16, options: &[&str]) -> Output {
    let url = format!("https://127.0.0.1:{port}/");
    let limit = ["-sSk", "--max-time", "20"];
    let mut curl = Command::new("curl");
    let fetched = curl.args(limit).args(options).arg(url).output();
    fetched.expect("curl runs")
}

/// A certificate that a key of the HSM has signed for itself, by libp11's engine.
pub(crate) fn certificate(hsm: &Hsm, key: &str) -> String {
    let file = format!("{key}.pem");
    let uri = format!("pkcs11:token=localhost;object={key};type=private");
    let engine = ["-engine", "pkcs11", "-keyform", "engine", "-key", &uri];
    let out = ["-subj", "/CN=localhost", "-out", &file];
    let request = ["req", "-x509", "-new"];
    succeeds(hsm, "openssl", &[&request[..], &engine, &out].concat());
    file
}

#[test]
fn gnutls_serves_rsa_and_ec_keys() {
    if !is_there("gnutls-serv") || !is_there("gnutls-cli") || !is_there("certtool") {
        return;
    }
    let hsm = hsm();
    let module = module();
    let module = module.to_str().expect("the path is text");
    std::fs::write(
        hsm.file("template"),
        "cn = localhost\ndns_name = localhost\ntls_www_server\nsigning_key\nexpiration_days = 2\n",
    )
    .unwrap();
    for key in ["rsa", "ec"] {
        let url = format!("pkcs11:token=localhost;object={key};type=private");
        let public = format!("pkcs11:token=localhost;object={key};type=public");
        let certificate = format!("{key}.pem");
        let make = ["--generate-self-signed", "--template", "template"];
        let keys = ["--load-privkey", &url, "--load-pubkey", &public];
        let out = ["--provider", module, "--outfile", &certificate];
        succeeds(&hsm, "certtool", &[&make[..], &keys, &out].concat());
        let reserved = ReservedPort::take();
        let port = reserved.number();
        let text = port.to_string();
        let serve = ["--quiet", "--http", "--port", &text, "--provider", module];
        let own = ["--x509keyfile", &url, "--x509certfile", &certificate];
        let mut server = Running::start(&hsm, "gnutls-serv", &[&serve[..], &own].concat());
        wait_for("gnutls-serv", || listens(port));
        let before = hsm.count("sign");
        for version in [&["--tls-max", "1.2"][..], &["--tlsv1.3"]] {
            let fetched = fetch(port, version);
            assert!(fetched.status.success(), "{fetched:?}");
        }
        for priority in [
            "NORMAL:-VERS-ALL:+VERS-TLS1.2",
            "NORMAL:-VERS-ALL:+VERS-TLS1.3",
        ] {
            let trust = ["--x509cafile", &certificate, "--priority", priority];
            let port = ["--port", &text, "localhost"];
            let told = succeeds(&hsm, "gnutls-cli", &[&trust[..], &port].concat());
            assert!(told.contains("Handshake was completed"), "{told}");
        }
        assert_eq!(hsm.count("sign") - before, 4, "{key}");
        server.stop();
    }
}

/// Four workers with an RSA and an EC key each, under load while all is read anew twice: no
/// connection is lost, and each takes one signature.
#[test]
fn nginx_is_reloaded_under_load() {
    if !is_there(ENGINE) || !is_there("nginx") || !is_there("curl") {
        return;
    }
    let mut hsm = hsm();
    configure_engine(&mut hsm);
    let folder = hsm.folder.path().to_str().expect("text").to_owned();
    let keys = ["rsa", "ec"].map(|key| {
        let certificate = certificate(&hsm, key);
        format!(
            "ssl_certificate {folder}/{certificate};\n\
             ssl_certificate_key \"engine:pkcs11:pkcs11:token=localhost;object={key};type=private\";\n"
        )
    });
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {folder}/{name};"));
    let reserved = ReservedPort::take();
    let port = reserved.number();
    let text = format!(
        "daemon off; worker_processes 4; user root; pid {folder}/pid; error_log {folder}/error.log;\n\
         events {{}}\nhttp {{ access_log off; {}\nserver {{ listen 127.0.0.1:{port} ssl;\n{}\
         ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache off; ssl_session_tickets off; location / {{ return 200 served; }} }} }}\n",
        temporary.concat(),
        keys.concat()
    );
    std::fs::write(hsm.file("nginx.conf"), text).unwrap();
    let conf = format!("{folder}/nginx.conf");
    let args = ["-p", &folder, "-c", &conf];
    let mut nginx = Running::start(&hsm, "nginx", &args);
    wait_for("nginx", || listens(port));
    let before = hsm.count("sign");
    let served = load_while(port, |served| {
        for _ in 0..2 {
            let so_far = served.load(Ordering::Relaxed);
            wait_for("the load", || served.load(Ordering::Relaxed) >= so_far + 12);
            let old = workers(&hsm);
            let reload = ["-s", "reload"];
            succeeds(&hsm, "nginx", &[&args[..], &reload].concat());
            wait_for("the reload", || {
                workers(&hsm).iter().all(|worker| !old.contains(worker))
            });
        }
    });
    assert_eq!(hsm.count("sign") - before, served);
    succeeds(&hsm, "nginx", &[&args[..], &["-s", "quit"]].concat());
    assert!(nginx.0.wait().expect("nginx ends").success());
}

/// The processes that nginx's master has started.
fn workers(hsm: &Hsm) -> Vec<String> {
    let master = std::fs::read_to_string(hsm.file("pid")).expect("nginx writes its number");
    let master = master.trim();
    let children = format!("/proc/{master}/task/{master}/children");
    let children = std::fs::read_to_string(children).unwrap_or_default();
    children.split_whitespace().map(str::to_owned).collect()
}

/// Connects in several threads, with either key, while `change` goes on. Returns how often.
fn load_while(port: u16, change: impl FnOnce(&AtomicUsize)) -> usize {
    let (served, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for cipher in [
            "ECDHE-RSA-AES128-GCM-SHA256",
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            "DEFAULT",
        ] {
            let (served, is_over) = (&served, &is_over);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let options = match cipher {
                        "DEFAULT" => vec!["--tlsv1.3"],
                        _ => vec!["--tls-max", "1.2", "--ciphers", cipher],
                    };
                    let fetched = fetch(port, &options);
                    assert_eq!(fetched.stdout, b"served", "{fetched:?}");
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        change(&served);
        is_over.store(true, Ordering::Relaxed);
    });
    served.into_inner()
}

/// Has OpenSSH's programs find the agent, and give it the PIN that it asks for, which is empty.
pub(crate) fn lead_to_agent(hsm: &mut Hsm) {
    let ask = hsm.file("ask");
    std::fs::write(&ask, "#!/bin/sh\necho\n").unwrap();
    succeeds(hsm, "chmod", &["755", "ask"]);
    hsm.set("SSH_ASKPASS", ask);
    hsm.set("SSH_ASKPASS_REQUIRE", "force");
    hsm.set("SSH_AUTH_SOCK", hsm.file("agent"));
}

/// Starts an agent with the HSM's keys; with it come their public parts, a line each.
pub(crate) fn start_agent(hsm: &Hsm, module: &str) -> (Running, String) {
    let socket = hsm.file("agent");
    let at = socket.to_str().expect("text");
    let agent = Running::start(hsm, "ssh-agent", &["-D", "-a", at, "-P", module]);
    wait_for("ssh-agent", || UnixStream::connect(&socket).is_ok());
    succeeds(hsm, "ssh-add", &["-s", module]);
    (agent, succeeds(hsm, "ssh-add", &["-L"]))
}

/// An agent of OpenSSH's that has the HSM's keys: it signs files, and certificates of users and
/// hosts.
#[test]
fn openssh_agent_signs_files_and_certificates() {
    if !is_there("ssh-agent") || !is_there("ssh-add") || !is_there("ssh-keygen") {
        return;
    }
    let mut hsm = hsm();
    let module = module();
    let module = module.to_str().expect("the path is text");
    lead_to_agent(&mut hsm);
    let (mut agent, listed) = start_agent(&hsm, module);
    for (key, beginning) in [("rsa", "ssh-rsa"), ("ec", "ecdsa-sha2-nistp256")] {
        let line = listed.lines().find(|line| line.starts_with(beginning));
        let line = line.unwrap_or_else(|| panic!("{beginning}: {listed}"));
        let public = format!("{key}.pub");
        std::fs::write(hsm.file(&public), format!("{line}\n")).unwrap();
        std::fs::write(hsm.file("signers"), format!("somebody {line}\n")).unwrap();
        let before = hsm.count("sign");
        let space = ["-n", "file"];
        let sign = ["-Y", "sign", "-f", &public];
        let _ = std::fs::remove_file(hsm.file("data.sig"));
        succeeds(&hsm, "ssh-keygen", &[&sign[..], &space, &["data"]].concat());
        let verify = hsm
            .command("ssh-keygen")
            .args(["-Y", "verify", "-f", "signers", "-I", "somebody"])
            .args(space)
            .args(["-s", "data.sig"])
            .stdin(std::fs::File::open(hsm.file("data")).unwrap())
            .output()
            .unwrap();
        assert!(verify.status.success(), "{verify:?}");
        for (of, options) in [("user", &[][..]), ("host", &["-h"])] {
            let name = format!("{of}-{key}");
            let new = ["-q", "-t", "ed25519", "-N", "", "-f", &name];
            succeeds(&hsm, "ssh-keygen", &new);
            let file = format!("{name}.pub");
            let authority = ["-U", "-s", &public, "-I", of, "-n", of];
            let sign = [&authority[..], options, &[&file]].concat();
            succeeds(&hsm, "ssh-keygen", &sign);
            let file = format!("{name}-cert.pub");
            let shown = succeeds(&hsm, "ssh-keygen", &["-L", "-f", &file]);
            assert!(shown.contains(&format!("{of} certificate")), "{shown}");
        }
        assert_eq!(hsm.count("sign") - before, 3, "{key}");
    }
    succeeds(&hsm, "ssh-add", &["-e", module]);
    let output = hsm.command("ssh-add").arg("-L").output().unwrap();
    assert!(!output.status.success(), "{output:?}");
    agent.stop();
}
