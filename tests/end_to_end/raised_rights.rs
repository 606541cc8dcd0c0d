//! Programs with raised rights: setuid, and with file capabilities. Whoever starts one chooses its
//! environment, and must get nothing of its rights by that.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::{Hsm, Outcome, RSA_2048, skip, uri};

/// Whoever starts the program: nobody.
const USER: u32 = 65534;

/// How the program gets its rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rights {
    /// Not at all.
    Own,
    /// By the set-user-ID bit, root's.
    SetUid,
    /// By a capability of its file.
    Capability,
}

/// The program, the module, and a folder that the user can write to, in a folder that all can read.
struct Place {
    hsm: Hsm,
    program: String,
    modules: String,
    user: String,
}

impl Place {
    /// None, and said so, where this test can't give rights.
    fn prepare() -> Option<Self> {
        let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
        if !is_root || std::env::var_os("AKV_TEST_ROOT").is_some() {
            skip(
                "raised_rights: only root can make programs with raised rights, outside of another root file system",
            );
            return None;
        }
        let hsm = Hsm::with_keys(&[("rsa", RSA_2048)]);
        let program = hsm.compile("raised");
        let (modules, user) = (hsm.path("shipped"), hsm.path("user"));
        for folder in [&modules, &user] {
            fs::create_dir(folder).unwrap();
        }
        fs::copy(
            hsm.file("modules/akv_provider.so"),
            Path::new(&modules).join("akv_provider.so"),
        )
        .unwrap();
        for folder in [hsm.file(""), modules.clone().into()] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
        }
        std::os::unix::fs::chown(&user, Some(USER), Some(USER)).unwrap();
        Some(Self {
            hsm,
            program,
            modules,
            user,
        })
    }

    /// The program with such rights; None, and said so, where it can't get them.
    fn program(&self, rights: Rights) -> Option<String> {
        let path = format!("{}-{rights:?}", self.program);
        fs::copy(&self.program, &path).unwrap();
        let mode = match rights {
            Rights::SetUid => 0o4755,
            Rights::Own | Rights::Capability => 0o755,
        };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        if rights == Rights::Capability {
            let set = Command::new("setcap")
                .args(["cap_dac_override+ep", &path])
                .status();
            if !set.is_ok_and(|status| status.success()) {
                skip(
                    "raised_rights: setcap (libcap2-bin) is needed, and a file system with capabilities",
                );
                return None;
            }
        }
        Some(path)
    }

    /// Runs the program as the user, with these variables and no others.
    fn run(&self, rights: Rights, config: &str, variables: &[(&str, String)]) -> Option<String> {
        let mut command = Command::new("timeout");
        command
            .args(["60", "/usr/bin/setpriv", "--clear-groups"])
            .args([format!("--reuid={USER}"), format!("--regid={USER}")])
            .args([&self.program(rights)?, &self.modules, config, &uri("rsa")])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .current_dir("/");
        let outcome = Outcome::of(command);
        let text = outcome.text();
        let secure = format!("secure={}\n", u8::from(rights != Rights::Own));
        assert!(text.starts_with(&secure), "{rights:?}: {text}");
        Some(text)
    }

    /// The emulator's CA, in a file that the user can read.
    fn readable_ca_file(&self) -> String {
        let file = self.in_user_folder("ca.pem");
        fs::copy(self.hsm.variable("AKV_CA_FILE"), &file).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        file
    }

    fn in_user_folder(&self, name: &str) -> String {
        format!("{}/{name}", self.user)
    }
}

/// Somebody who waits for a connection that must not come.
struct Trap(TcpListener);

impl Trap {
    fn set() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        listener.set_nonblocking(true).unwrap();
        (Self(listener), address)
    }

    /// Whether anybody came.
    fn has_sprung(&self) -> bool {
        match self.0.accept() {
            Ok((connection, _)) => {
                let _ = connection.set_read_timeout(Some(Duration::from_millis(1)));
                true
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                false
            }
        }
    }
}

/// What the user tries, and whether it worked.
struct Attempt {
    name: &'static str,
    variables: Vec<(&'static str, String)>,
    worked: Box<dyn Fn(&str) -> bool>,
}

/// Every way in which a variable leads the module somewhere.
fn attempts(place: &Place) -> Vec<Attempt> {
    let dead = "https://127.0.0.1:1".to_owned();
    let short = [
        ("AKV_OPERATION_TIMEOUT", "4".to_owned()),
        ("AKV_MAX_RETRIES", "0".to_owned()),
    ];
    let mut all = Vec::new();
    let mut attempt = |name, variables: Vec<(&'static str, String)>, worked| {
        let variables = variables.into_iter().chain(short.clone()).collect();
        all.push(Attempt {
            name,
            variables,
            worked,
        });
    };
    let made = |path: String| -> Box<dyn Fn(&str) -> bool> {
        Box::new(move |_| fs::remove_file(&path).is_ok())
    };
    let came = |trap: Trap| -> Box<dyn Fn(&str) -> bool> { Box::new(move |_| trap.has_sprung()) };
    let says = |words: &'static str| -> Box<dyn Fn(&str) -> bool> {
        Box::new(move |text| text.contains(words))
    };
    let token = ("AZURE_CLI_ACCESS_TOKEN", "a-token-of-the-user".to_owned());

    let log = place.in_user_folder("log");
    let variables = vec![
        ("AKV_LOG_FILE", log.clone()),
        ("AZURE_MANAGEDHSM_URL", dead.clone()),
    ];
    attempt("a log file", variables, made(log));
    for (name, value) in [("AKV_LOG_LEVEL", "trace"), ("RUST_LOG", "trace")] {
        let variables = vec![
            (name, value.to_owned()),
            token.clone(),
            ("AZURE_MANAGEDHSM_URL", dead.clone()),
        ];
        attempt(name, variables, says("managed_hsm"));
    }

    // A mistake in them is told where they count.
    for name in ["AKV_METRICS_FOLDER", "AKV_METRICS_SOCKETS"] {
        let variables = vec![
            (name, "relative".to_owned()),
            ("AZURE_MANAGEDHSM_URL", dead.clone()),
        ];
        attempt(name, variables, says(name));
    }

    let (trap, address) = Trap::set();
    let variables = vec![
        token.clone(),
        ("AZURE_MANAGEDHSM_URL", format!("https://{address}")),
    ];
    attempt("an endpoint", variables, came(trap));

    let (trap, address) = Trap::set();
    let variables = vec![token.clone(), ("HTTPS_PROXY", format!("http://{address}"))];
    attempt("a proxy", variables, came(trap));
    let (trap, address) = Trap::set();
    let variables = vec![token.clone(), ("https_proxy", format!("http://{address}"))];
    attempt("a proxy in lower case", variables, came(trap));

    let (trap, address) = Trap::set();
    let variables = vec![
        ("IDENTITY_ENDPOINT", format!("http://{address}/")),
        ("IDENTITY_HEADER", "header".to_owned()),
    ];
    attempt("a managed identity", variables, came(trap));

    let mark = place.in_user_folder("ran");
    let tools = place.in_user_folder("tools");
    fs::create_dir_all(&tools).unwrap();
    for tool in ["pwsh", "az", "azd"] {
        let path = format!("{tools}/{tool}");
        fs::write(&path, format!("#!/bin/sh\n: >{mark}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    for credential in [
        "AzurePowerShellCredential",
        "AzureCliCredential",
        "AzureDeveloperCliCredential",
    ] {
        let variables = vec![
            ("AZURE_TOKEN_CREDENTIALS", credential.to_owned()),
            ("PATH", format!("{tools}:/usr/bin:/bin")),
        ];
        attempt(credential, variables, made(mark.clone()));
    }

    let good = &place.hsm;
    let of_hsm = |name: &'static str| (name, good.variable(name).to_owned());
    let endpoint = of_hsm("AZURE_MANAGEDHSM_URL");
    let real_token = of_hsm("AZURE_CLI_ACCESS_TOKEN");
    let ca = fs::read(good.variable("AKV_CA_FILE")).unwrap();
    let ca_file = place.in_user_folder("ca.pem");
    fs::write(&ca_file, ca).unwrap();
    for variable in ["AKV_CA_FILE", "SSL_CERT_FILE"] {
        let variables = vec![
            endpoint.clone(),
            real_token.clone(),
            (variable, ca_file.clone()),
        ];
        attempt(variable, variables, says("\nsigned\n"));
    }
    let token_file = place.in_user_folder("token");
    fs::write(&token_file, &real_token.1).unwrap();
    let variables = vec![
        endpoint,
        ("AKV_CA_FILE", ca_file),
        ("AKV_TOKEN_FILE", token_file),
    ];
    attempt("a token file", variables, says("\nsigned\n"));
    all
}

#[test]
fn nothing_of_the_environment_counts_in_a_program_with_raised_rights() {
    let Some(place) = Place::prepare() else {
        return;
    };
    for attempt in attempts(&place) {
        for rights in [Rights::Own, Rights::SetUid, Rights::Capability] {
            let Some(text) = place.run(rights, "-", &attempt.variables) else {
                continue;
            };
            let worked = (attempt.worked)(&text);
            // Without raised rights it does, so the attempt is a real one.
            assert_eq!(
                worked,
                rights == Rights::Own,
                "{} with {rights:?}: {text}",
                attempt.name
            );
        }
    }
}

#[test]
fn a_certificate_file_of_the_environment_is_not_trusted_beside_settings_of_the_configuration() {
    let Some(place) = Place::prepare() else {
        return;
    };
    let ca_file = place.readable_ca_file();
    let config = configuration(&place, "");
    let variables = [("SSL_CERT_FILE", ca_file)];
    for (rights, signs) in [
        (Rights::Own, true),
        (Rights::SetUid, false),
        (Rights::Capability, false),
    ] {
        if let Some(text) = place.run(rights, &config, &variables) {
            assert_eq!(text.contains("\nsigned\n"), signs, "{rights:?}: {text}");
            assert!(
                signs || text.contains("UnknownIssuer"),
                "{rights:?}: {text}"
            );
        }
    }
}

#[test]
fn a_program_with_raised_rights_signs_by_its_own_configuration() {
    let Some(place) = Place::prepare() else {
        return;
    };
    let log = place.hsm.path("root.log");
    let ca_file = place.hsm.variable("AKV_CA_FILE");
    let config = configuration(&place, &format!("ca-file = {ca_file}\nlog-file = {log}\n"));
    let text = place.run(Rights::SetUid, &config, &[]).unwrap();
    assert!(text.contains("\nsigned\n"), "{text}");
    let log = fs::metadata(log).unwrap();
    assert_eq!((log.uid(), log.mode() & 0o777), (0, 0o600));
    assert!(log.len() > 0);
}

#[test]
fn a_program_with_raised_rights_is_told_of_credentials_that_count_there() {
    let Some(place) = Place::prepare() else {
        return;
    };
    let config = place.hsm.write(
        "lacking.cnf",
        "openssl_conf = init\n[init]\nproviders = providers\n[providers]\nakv_provider = akv\n[akv]\n\
         endpoint = https://127.0.0.1:1\nimds-host = http://127.0.0.1:9\n",
    );
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
    for (rights, advised) in [
        (Rights::Own, "set AZURE_CLI_ACCESS_TOKEN"),
        (Rights::SetUid, "set 'token-file' in openssl.cnf"),
        (Rights::Capability, "set 'token-file' in openssl.cnf"),
    ] {
        let Some(text) = place.run(rights, &config, &[]) else {
            continue;
        };
        assert!(text.contains("no credential"), "{rights:?}: {text}");
        assert!(text.contains(advised), "{rights:?}: {text}");
        let names_variable = text.contains("AZURE_") || text.contains("AKV_");
        assert_eq!(names_variable, rights == Rights::Own, "{rights:?}: {text}");
    }
}

/// Values that libcrypto takes, or passes over, and that name what no processor has.
#[test]
fn a_variable_of_libcrypto_does_not_end_the_process() {
    let Some(place) = Place::prepare() else {
        return;
    };
    let ca_file = place.readable_ca_file();
    let config = configuration(&place, &format!("ca-file = {ca_file}\n"));
    for value in ["0x100000:0x0", ":0x4", "~0x0:|0x4"] {
        let variables = ["OPENSSL_ia32cap", "OPENSSL_armcap"].map(|name| (name, value.to_owned()));
        for rights in [Rights::Own, Rights::SetUid, Rights::Capability] {
            if let Some(text) = place.run(rights, &config, &variables) {
                assert!(text.contains("\nsigned\n"), "{value}, {rights:?}: {text}");
            }
        }
    }
}

/// A configuration with the emulator's address and a token.
fn configuration(place: &Place, further: &str) -> String {
    let token = place
        .hsm
        .write("root.token", place.hsm.variable("AZURE_CLI_ACCESS_TOKEN"));
    fs::set_permissions(&token, fs::Permissions::from_mode(0o644)).unwrap();
    let config = place.hsm.write(
        "raised.cnf",
        format!(
            "openssl_conf = init\n[init]\nproviders = providers\n[providers]\nakv_provider = akv\n[akv]\n\
             endpoint = {}\ntoken-file = {token}\nmax-retries = 0\n{further}",
            place.hsm.variable("AZURE_MANAGEDHSM_URL")
        ),
    );
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
    config
}
