//! What every test needs: an emulator of its own with keys in it, and `openssl` run with the
//! provider.

mod judge;
mod loading;
mod started;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::SystemTime;

use tempfile::TempDir;
pub(crate) use testing::{Outcome, skip};
use testing::{Program, Rest, TIME_LIMIT_SECONDS, built};

use self::loading::write_configs;
pub(crate) use self::loading::{LOADINGS, Loading};
pub(crate) use self::started::{Request, TlsServer};

/// A root file system whose programs, `openssl` and its libraries above all, take the place of this
/// machine's: the version matrix sets it. The test's folder and the built files are seen there
/// under the same paths.
const ROOT: &str = "AKV_TEST_ROOT";

/// An RSA key to create.
pub(crate) const RSA_2048: &str = r#"{"kty":"RSA-HSM","key_size":2048}"#;
/// An AES key to create.
pub(crate) const AES_256: &str = r#"{"kty":"oct-HSM","key_size":256}"#;
/// An EC key to create.
pub(crate) const EC_P256: &str = r#"{"kty":"EC-HSM","crv":"P-256"}"#;

/// Whether what takes minutes is tried whole.
pub(crate) fn whole() -> bool {
    std::env::var_os("AKV_WHOLE").is_some()
}

/// All, where AKV_WHOLE is set; else one in so many, another part of them each day. AKV_SAMPLE
/// chooses the part.
pub(crate) fn sample<T>(all: Vec<T>, share: usize) -> Vec<T> {
    if whole() {
        return all;
    }
    let part = match std::env::var("AKV_SAMPLE") {
        Ok(part) => part.parse().expect("AKV_SAMPLE is a number"),
        Err(_) => {
            let now = SystemTime::UNIX_EPOCH.elapsed().expect("it is past 1970");
            usize::try_from(now.as_secs() / 86_400).expect("days are few")
        }
    };
    eprintln!("one in {share} of {}: AKV_SAMPLE={part}", all.len());
    // Moved on by one in each stretch, so that a table whose rows are as long as a stretch gives
    // parts of all columns.
    let numbered = all.into_iter().enumerate();
    let chosen = numbered.filter(|(index, _)| (index + index / share) % share == part % share);
    chosen.map(|(_, one)| one).collect()
}

/// Whether the OpenSSL under test is so new. If not, says that the test is skipped: what it tries
/// isn't there.
pub(crate) fn openssl_is_at_least(major: u32, minor: u32) -> bool {
    let is_there = openssl_version() >= (major, minor);
    if !is_there {
        let thread = thread::current();
        let test = thread.name().unwrap_or_default();
        skip(&format!(
            "{test}: OpenSSL {major}.{minor} or newer is needed"
        ));
    }
    is_there
}

/// Only the lines that this provider put on OpenSSL's error queue, without the thread and the
/// place.
pub(crate) fn provider_messages(text: &str) -> Vec<String> {
    text.lines()
        .filter(|line| line.contains(":error:") && line.contains("akv_provider"))
        .map(|line| line.splitn(3, ":error:").last().unwrap_or(line).to_owned())
        .collect()
}

/// Major and minor version of the OpenSSL under test.
pub(crate) fn openssl_version() -> (u32, u32) {
    static VERSION: OnceLock<(u32, u32)> = OnceLock::new();
    *VERSION.get_or_init(|| {
        let text = Hsm::start()
            .openssl(Loading::Plain, &["version"])
            .succeeds();
        let mut numbers = text
            .split_whitespace()
            .nth(1)
            .expect("openssl prints its version")
            .split('.')
            .map(|number| number.parse().expect("a number"));
        let mut next = || numbers.next().expect("a version has three numbers");
        (next(), next())
    })
}

/// A command line that runs a program, in the root file system if one is set.
pub(crate) fn program(name: &str) -> Vec<OsString> {
    let mut line = Vec::new();
    if let Some(root) = std::env::var_os(ROOT) {
        line.extend(["chroot".into(), root]);
    }
    line.push(name.into());
    line
}

/// A running emulator, a folder for the test's files, and the settings to reach it. Stops when
/// dropped.
pub(crate) struct Hsm {
    emulator: Program,
    folder: TempDir,
    /// The environment that leads the provider to this emulator.
    pub(crate) environment: Vec<(String, String)>,
}

impl Hsm {
    /// Starts an emulator without keys.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts an emulator without keys, with further options.
    pub(crate) fn start_with(options: &[&str]) -> Self {
        Self::start_in(TempDir::new().expect("a temporary folder"), options)
    }

    /// Starts another emulator with what one that was stopped had: keys, CA, tokens.
    pub(crate) fn replica_of(original: &Self) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let copied = Command::new("cp")
            .arg("-a")
            .arg(original.file("hsm"))
            .arg(folder.path())
            .status();
        assert!(copied.expect("cp runs").success());
        // Where the original was.
        fs::remove_file(folder.path().join("hsm/endpoint")).expect("it was announced");
        Self::start_in(folder, &[])
    }

    /// Starts again at its port, with further options, what was stopped.
    pub(crate) fn restart(&mut self, options: &[&str]) {
        let url = self.variable("AZURE_MANAGEDHSM_URL");
        let port = url.rsplit(':').next().expect("a port");
        let options = [&["--port", port], options].concat();
        self.emulator = serve(self.folder.path(), &options);
        self.exports(&[]);
    }

    /// Starts an emulator on the data in a folder, if there are any.
    fn start_in(folder: TempDir, options: &[&str]) -> Self {
        let modules = folder.path().join("modules");
        fs::create_dir(&modules).expect("a folder for modules");
        std::os::unix::fs::symlink(built::module(), modules.join("akv_provider.so"))
            .expect("a link to the provider");
        write_configs(folder.path(), &modules);
        let emulator = serve(folder.path(), options);
        let mut hsm = Self {
            emulator,
            folder,
            environment: Vec::new(),
        };
        hsm.environment = hsm.exports(&[]);
        hsm
    }

    /// Starts an emulator and creates keys, each a name and the body of the create request.
    pub(crate) fn with_keys(keys: &[(&str, &str)]) -> Self {
        let hsm = Self::start();
        for (name, body) in keys {
            hsm.create(name, body);
        }
        hsm
    }

    /// A command of the emulator's program, on this emulator's data.
    pub(crate) fn emulator_command(&self, arguments: &[&str]) -> Command {
        Program::command(arguments[0], &self.file("hsm"), &arguments[1..])
    }

    /// What the emulator exports, with further options of its command `env`.
    pub(crate) fn exports(&self, extra: &[&str]) -> Vec<(String, String)> {
        self.emulator.exports(extra)
    }

    /// The value of a variable of the environment.
    pub(crate) fn variable(&self, name: &str) -> &str {
        let found = self.environment.iter().find(|(known, _)| known == name);
        &found.unwrap_or_else(|| panic!("{name} is not set")).1
    }

    /// Sets a variable for the programs that follow.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Removes a variable for the programs that follow.
    pub(crate) fn unset(&mut self, name: &str) {
        self.environment.retain(|(known, _)| known != name);
    }

    /// Continues as an application that logs in with a secret, without a token.
    pub(crate) fn log_in(&mut self) {
        self.environment = self.exports(&["--identity"]);
        self.environment
            .retain(|(name, _)| name.starts_with("AZURE_") || name == "AKV_CA_FILE");
    }

    /// Continues with the variables that App Service sets for a managed identity, without a token.
    pub(crate) fn use_app_service(&mut self) {
        self.environment = self.exports(&["--identity"]);
        for name in ["AZURE_CLIENT_SECRET", "AZURE_CLIENT_ID", "AZURE_TENANT_ID"] {
            self.unset(name);
        }
    }

    /// Continues with a token that ends after so many seconds.
    pub(crate) fn use_token_expiring_in(&mut self, seconds: i64) {
        let output = self
            .emulator_command(&["token", &format!("--expires-in={seconds}")])
            .output()
            .expect("the emulator runs");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let token = String::from_utf8(output.stdout).expect("a token is text");
        self.set("AZURE_CLI_ACCESS_TOKEN", token.trim());
    }

    /// Stops the emulator; the environment goes on pointing to where it was.
    pub(crate) fn stop(&mut self) {
        self.emulator.stop();
    }

    fn rest(&self) -> Rest {
        self.rest_at("AZURE_MANAGEDHSM_URL")
    }

    /// What is at the address in a variable.
    fn rest_at(&self, variable: &str) -> Rest {
        Rest {
            url: self.variable(variable).to_owned(),
            ca: self.variable("AKV_CA_FILE").into(),
            token: self.variable("AZURE_CLI_ACCESS_TOKEN").to_owned(),
        }
    }

    /// Creates a key, or a newer version of it. Returns the version.
    pub(crate) fn create(&self, name: &str, body: &str) -> String {
        self.rest().create(name, body)
    }

    /// Creates a key at the address in a variable.
    pub(crate) fn create_in(&self, variable: &str, name: &str, body: &str) {
        self.rest_at(variable).create(name, body);
    }

    /// Makes a newer version as the service's rotation does. Returns it.
    pub(crate) fn rotate(&self, name: &str) -> String {
        self.rest().rotate(name)
    }

    /// Has the HSM rotate a key by a policy, without which `rotate` is refused.
    pub(crate) fn set_rotation_policy(&self, name: &str) {
        self.rest().set_rotation_policy(name);
    }

    /// Brings a key from outside into the HSM. `key`: a JSON Web Key.
    pub(crate) fn import(&self, name: &str, key: &str) {
        self.rest().call(
            "PUT",
            &format!("/keys/{name}"),
            &format!(r#"{{"key":{key}}}"#),
        );
    }

    /// What the HSM tells of a key.
    pub(crate) fn key(&self, name: &str) -> serde_json::Value {
        self.rest().call("GET", &format!("/keys/{name}"), "")
    }

    /// A token that attests what is wanted of it, in the emulator's name.
    pub(crate) fn attest(&self, wanted: &serde_json::Value) -> String {
        let path = "/generate-test-token";
        let answer = self.rest().call("POST", path, &wanted.to_string());
        answer["token"].as_str().expect("a token").to_owned()
    }

    /// Changes a key's attributes or operations.
    pub(crate) fn update(&self, name: &str, body: &str) {
        self.rest().update(name, body);
    }

    /// Gives a principal a role of its own, of these data actions, at the scope of a key.
    pub(crate) fn assign_role(&self, key: &str, principal: &str, data_actions: &[&str]) {
        const ROLE: &str = "44444444-0000-0000-0000-000000000001";
        let permissions = serde_json::json!([{
            "actions": [], "notActions": [], "dataActions": data_actions, "notDataActions": [],
        }]);
        let role = serde_json::json!({"properties": {
            "roleName": "A role for tests", "description": "", "type": "CustomRole",
            "permissions": permissions, "assignableScopes": ["/"],
        }});
        let roles = "/providers/Microsoft.Authorization/roleDefinitions";
        self.rest()
            .call("PUT", &format!("{roles}/{ROLE}"), &role.to_string());
        let assignment = serde_json::json!({"properties": {
            "roleDefinitionId": format!("Microsoft.KeyVault{roles}/{ROLE}"), "principalId": principal,
        }});
        let assignments = "providers/Microsoft.Authorization/roleAssignments";
        let path = format!("/keys/{key}/{assignments}/44444444-0000-0000-0000-000000000002");
        self.rest().call("PUT", &path, &assignment.to_string());
    }

    /// A file of the test.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file of the test, as an argument.
    pub(crate) fn path(&self, name: &str) -> String {
        self.file(name)
            .to_str()
            .expect("the path is text")
            .to_owned()
    }

    /// Writes a file of the test and returns its path.
    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> String {
        fs::write(self.file(name), contents).expect("the file can be written");
        self.path(name)
    }

    /// The requests that the emulator has answered so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        let log = fs::read_to_string(self.file("requests.log")).expect("the log can be read");
        log.lines().filter_map(Request::parse).collect()
    }

    /// A command with the emulator's environment and no other OpenSSL settings.
    pub(crate) fn command(&self, program: &str) -> Command {
        self.limited(&self::program(program))
    }

    /// A command line with a limit on its time.
    pub(crate) fn limited(&self, line: &[OsString]) -> Command {
        let mut command = Command::new("/usr/bin/timeout");
        command.args(["--kill-after=5", TIME_LIMIT_SECONDS]);
        command.args(line);
        // LD_LIBRARY_PATH is cargo's: a program takes its libraries from the root that it runs in.
        let ours = ["LD_LIBRARY_PATH", "RUST_LOG", "AZURE_", "AKV_", "IDENTITY_"];
        for (name, _) in std::env::vars() {
            let upper = name.to_ascii_uppercase();
            if ours.iter().any(|ours| name.starts_with(ours)) || upper.ends_with("_PROXY") {
                command.env_remove(name);
            }
        }
        command
            // What is at the metadata service's own address on this machine is nobody's business
            // here.
            .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9")
            .env("OPENSSL_CONF", self.file("plain.cnf"))
            .env("OPENSSL_MODULES", self.file("modules"))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    fn openssl_command(&self, loading: Loading, arguments: &[&str]) -> Command {
        let mut command = self.command("openssl");
        command.arg(arguments[0]);
        match loading {
            Loading::AkvFirst => {
                command.args(["-provider", "akv_provider", "-provider", "default"]);
            }
            Loading::DefaultFirst => {
                command.args(["-provider", "default", "-provider", "akv_provider"]);
            }
            Loading::Config => {
                command.env("OPENSSL_CONF", self.file("akv.cnf"));
            }
            Loading::Preferred => {
                command.env("OPENSSL_CONF", self.file("preferred.cnf"));
            }
            Loading::Plain => {}
        }
        command.args(&arguments[1..]);
        command
    }

    /// Runs `openssl` to its end.
    pub(crate) fn openssl(&self, loading: Loading, arguments: &[&str]) -> Outcome {
        Outcome::of(self.openssl_command(loading, arguments))
    }

    /// Runs `openssl` with the words of a line as its arguments, so none of them can hold a space.
    pub(crate) fn openssl_line(&self, loading: Loading, line: &str) -> Outcome {
        self.openssl(loading, &line.split_whitespace().collect::<Vec<_>>())
    }

    /// Starts `openssl s_server` on a free port and waits until it accepts connections.
    pub(crate) fn serve_tls(&self, loading: Loading, arguments: &[&str]) -> TlsServer {
        let accept = ["s_server", "-www", "-accept", "127.0.0.1:0"];
        let mut command = self.openssl_command(loading, &[&accept, arguments].concat());
        let errors = self.file("s_server.err");
        command.stderr(File::create(&errors).expect("a log file"));
        let mut process = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("openssl starts");
        let mut output = BufReader::new(process.stdout.take().expect("stdout is a pipe"));
        let mut line = String::new();
        let address = loop {
            line.clear();
            let read = output.read_line(&mut line).expect("s_server prints text");
            assert!(
                read > 0,
                "s_server ended before it accepted: {}",
                fs::read_to_string(&errors).unwrap_or_default()
            );
            if let Some(address) = line.strip_prefix("ACCEPT ") {
                break address.trim().to_owned();
            }
        };
        // A server whose pipe is full would wait for its reader. The thread ends with the server.
        thread::spawn(move || io::copy(&mut output, &mut io::sink()));
        TlsServer {
            process,
            address,
            errors,
        }
    }

    /// Connects to a TLS server with `s_client`, asks for a page and returns all that was printed.
    pub(crate) fn connect_tls(
        &self,
        loading: Loading,
        server: &TlsServer,
        arguments: &[&str],
    ) -> Outcome {
        let connect = [
            "s_client",
            "-connect",
            &server.address,
            "-ign_eof",
            "-brief",
        ];
        let checks = ["-servername", "localhost", "-verify_return_error"];
        let mut command =
            self.openssl_command(loading, &[&connect[..], &checks[..], arguments].concat());
        let request = self.write("request.txt", "GET / HTTP/1.0\r\n\r\n");
        command.stdin(File::open(request).expect("the request can be read"));
        Outcome::of(command)
    }

    /// Compiles a program of `tests/c` against libcrypto and libssl. Returns its path.
    pub(crate) fn compile(&self, name: &str) -> String {
        let program = self.path(name);
        self.compile_with(name, &["-lssl", "-lcrypto"], &program)
            .succeeds();
        program
    }

    /// Compiles a program of `tests/c` against these libraries.
    pub(crate) fn compile_with(&self, name: &str, libraries: &[&str], program: &str) -> Outcome {
        let source = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/c")
            .join(format!("{name}.c"));
        let compiler = self::program("cc");
        let mut command = Command::new(&compiler[0]);
        command
            .args(&compiler[1..])
            .args([
                "-std=gnu11",
                "-Wall",
                "-Wextra",
                "-Werror",
                "-g",
                "-O1",
                "-o",
                program,
            ])
            .arg(source)
            .args(libraries)
            .arg("-lpthread");
        Outcome::of(command)
    }

    /// Runs a program to its end.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Outcome {
        let mut command = self.command(program);
        command.args(arguments);
        Outcome::of(command)
    }

    /// Runs `akv` to its end, outside the root file system if one is set.
    pub(crate) fn akv(&self, arguments: &[&str]) -> Outcome {
        Outcome::of(self.akv_command(arguments))
    }

    /// The same with the words of a line as its arguments, so none of them can hold a space.
    pub(crate) fn akv_line(&self, line: &str) -> Outcome {
        self.akv(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// `akv` with the emulator's environment.
    pub(crate) fn akv_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.limited(&[built::program("akv").into()]);
        command.args(arguments);
        command
    }

    /// Runs a program that ends with status 77 where this OpenSSL has not what it tries.
    #[track_caller]
    pub(crate) fn run_or_skip(&self, program: &str, arguments: &[&str]) -> bool {
        let outcome = self.run(program, arguments);
        if outcome.code() == Some(77) {
            let text = outcome.text();
            skip(text.trim().trim_start_matches("SKIPPED: "));
            return false;
        }
        outcome.succeeds();
        true
    }

    /// Writes the public key of a URI as PEM. Returns the file's path.
    pub(crate) fn public_key(&self, loading: Loading, uri: &str) -> String {
        let pem = self
            .openssl(loading, &["pkey", "-in", uri, "-pubout"])
            .succeeds();
        assert!(pem.contains("BEGIN PUBLIC KEY"), "{pem}");
        let digest = uri.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        self.write(&format!("{digest}.pub.pem"), pem)
    }

    /// Makes a self-signed certificate for localhost with the key of a URI. Returns the file's
    /// path.
    pub(crate) fn certificate(&self, loading: Loading, uri: &str, name: &str) -> String {
        let certificate = self.path(&format!("{name}.crt"));
        self.openssl(
            loading,
            &[
                "req",
                "-new",
                "-x509",
                "-key",
                uri,
                "-subj",
                &format!("/CN={name}"),
                "-days",
                "30",
                "-addext",
                "subjectAltName=DNS:localhost,IP:127.0.0.1",
                "-out",
                &certificate,
            ],
        )
        .succeeds();
        certificate
    }
}

/// Starts an emulator on what is in a test's folder.
fn serve(folder: &Path, options: &[&str]) -> Program {
    Program::start(&folder.join("hsm"), &folder.join("requests.log"), options)
}

/// The URI of a key, whatever its vault.
pub(crate) fn uri(key: &str) -> String {
    format!("managedhsm:MyHSM:{key}")
}
