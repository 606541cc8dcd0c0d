//! Command-line tools that a person is logged in to: Azure CLI, Azure Developer CLI, Azure
//! PowerShell.

use std::ffi::{OsStr, OsString};
use std::io::{ErrorKind, Read};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use azure_identity::{
    AzureCliCredential, AzureCliCredentialOptions, AzureDeveloperCliCredential,
    AzureDeveloperCliCredentialOptions, Executor,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use process_wrap::std::{ChildWrapper, CommandWrap};
#[cfg(unix)]
use rustix::fd::OwnedFd;
use serde::Deserialize;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::entra::{said, token};
use super::source::{Failure, TokenRequest};
#[cfg(unix)]
use crate::descriptors::Own;
use crate::event_loop;
use crate::foreign::shown;
use crate::settings::credentials::CredentialSettings;
use crate::threads;
use crate::token::AccessToken;

/// How long a tool may take: the Azure CLI needs seconds to start.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The most that is read of what a tool prints, in bytes.
const MAX_PRINTED: u64 = 1 << 20;

pub(super) async fn azure_cli(
    settings: &CredentialSettings,
    request: &TokenRequest<'_>,
) -> Result<AccessToken, Failure> {
    if request.claims.is_some() {
        return Err(Failure::Refused(format!(
            "the service asks for a new login: run 'az login --scope {}'",
            request.scope()
        )));
    }
    let shell = Arc::new(Shell::of("az", settings));
    let credential = AzureCliCredential::new(Some(AzureCliCredentialOptions {
        tenant_id: settings.tenant_id.clone(),
        executor: Some(Arc::clone(&shell) as _),
        ..AzureCliCredentialOptions::default()
    }));
    let credential = credential.map_err(|error| Failure::Refused(said(&error)))?;
    let token = token(credential.as_ref(), request).await;
    token.map_err(|failure| shell.explained(failure))
}

pub(super) async fn azure_developer_cli(
    settings: &CredentialSettings,
    request: &TokenRequest<'_>,
) -> Result<AccessToken, Failure> {
    let shell = Arc::new(Shell::of("azd", settings));
    let credential = AzureDeveloperCliCredential::new(Some(AzureDeveloperCliCredentialOptions {
        tenant_id: settings.tenant_id.clone(),
        executor: Some(Arc::clone(&shell) as _),
    }));
    let credential = credential.map_err(|error| Failure::Refused(said(&error)))?;
    let token = token(credential.as_ref(), request).await;
    token.map_err(|failure| shell.explained(failure))
}

/// azure_identity has no credential of PowerShell yet.
pub(super) async fn azure_power_shell(
    settings: &CredentialSettings,
    request: &TokenRequest<'_>,
) -> Result<AccessToken, Failure> {
    let tenant = settings.tenant_id.as_deref();
    let script = power_shell_script(request.audience, tenant);
    // Encoded as PowerShell wants it: no character of it means anything to a shell.
    let utf16: Vec<u8> = script.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let encoded = STANDARD.encode(utf16);
    let shell = Shell::of("pwsh", settings);
    let arguments = ["-NoProfile", "-NonInteractive", "-EncodedCommand", &encoded];
    let output = shell
        .heard(OsStr::new("pwsh"), &arguments.map(OsStr::new))
        .await
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => Failure::Unavailable("pwsh not found on PATH".to_owned()),
            _ => Failure::Refused(format!("pwsh can't be run: {error}")),
        })?;
    let printed = Zeroizing::new(output.stdout);
    if let Some(token) = power_shell_token(&printed) {
        return Ok(token);
    }
    Err(Failure::Refused(no_token("pwsh", &printed, &output.stderr)))
}

/// Says that a tool printed no token, with what it said instead. What it printed is not shown: it
/// might be a token in a form that isn't known here.
fn no_token(tool: &str, printed: &[u8], said: &[u8]) -> String {
    let problem = match printed.len() {
        _ if printed.trim_ascii().is_empty() => format!("{tool} printed no token"),
        len if len as u64 == MAX_PRINTED => {
            format!("{tool} printed {len} bytes or more, and no token")
        }
        len => format!("{tool} printed no token, but {len} bytes of something else"),
    };
    match String::from_utf8_lossy(said).trim() {
        "" => problem,
        said => format!("{problem}, and said: {}", shown(said)),
    }
}

/// What is wrong with what `az` or `azd` printed, if there is no token in it.
fn complaint(tool: &str, output: &Output) -> Option<String> {
    #[derive(Deserialize)]
    struct Printed {
        #[serde(alias = "accessToken")]
        token: Zeroizing<String>,
    }
    let no_token = || no_token(tool, &output.stdout, &output.stderr);
    if output.status.success() {
        let printed = serde_json::from_slice::<Printed>(&output.stdout).ok();
        let token = printed.and_then(|printed| AccessToken::new(&printed.token));
        return token.is_none().then(no_token);
    }
    // It ends for want of a reader.
    if output.stdout.len() as u64 == MAX_PRINTED {
        return Some(no_token());
    }
    let is_silent = output.stderr.trim_ascii().is_empty();
    is_silent.then(|| format!("{tool} failed and did not say why ({})", output.status))
}

/// Prints a token as JSON. Get-AzAccessToken gives it as text or, newer, as a SecureString.
fn power_shell_script(audience: &str, tenant: Option<&str>) -> String {
    let tenant = tenant.map_or(String::new(), |tenant| format!(" -TenantId '{tenant}'"));
    format!(
        "$ErrorActionPreference = 'Stop'\n\
         Import-Module Az.Accounts -MinimumVersion 2.2.0\n\
         $answer = Get-AzAccessToken -ResourceUrl '{audience}'{tenant} -WarningAction SilentlyContinue\n\
         $token = $answer.Token\n\
         if ($token -is [System.Security.SecureString]) {{\n\
           $token = [System.Net.NetworkCredential]::new('', $token).Password\n\
         }}\n\
         @{{ token = $token; expiresOn = $answer.ExpiresOn.ToUnixTimeSeconds() }} | ConvertTo-Json -Compress\n"
    )
}

fn power_shell_token(printed: &[u8]) -> Option<AccessToken> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Printed {
        token: Zeroizing<String>,
        expires_on: u64,
    }
    // A profile or a module may print other lines.
    let mut lines = printed.split(|byte| *byte == b'\n');
    let printed: Printed = lines.find_map(|line| serde_json::from_slice(line).ok())?;
    let expires_at = UNIX_EPOCH.checked_add(Duration::from_secs(printed.expires_on))?;
    Some(AccessToken::new(&printed.token)?.expiring_at(expires_at))
}

/// Runs a tool in the environment that was there when the settings were read, without what is
/// secret, and for a bounded time.
#[derive(Debug)]
struct Shell {
    tool: &'static str,
    environment: Arc<Vec<(OsString, OsString)>>,
    /// Why there is no token, where azure_identity can't tell.
    failure: Mutex<Option<Failure>>,
}

impl Shell {
    fn of(tool: &'static str, settings: &CredentialSettings) -> Self {
        Self {
            tool,
            environment: Arc::clone(&settings.tools_environment),
            failure: Mutex::default(),
        }
    }

    /// A failure with what is known of the tool.
    fn explained(&self, failure: Failure) -> Failure {
        let known = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        known.clone().unwrap_or(failure)
    }
}

#[async_trait::async_trait]
impl Executor for Shell {
    async fn run(&self, program: &OsStr, arguments: &[&OsStr]) -> std::io::Result<Output> {
        let outcome = self.heard(program, arguments).await;
        let tool = self.tool;
        let failure = match &outcome {
            // A tool that isn't there is no refusal.
            Ok(output) if says_missing(output) => {
                Some(Failure::Unavailable(format!("{tool} not found on PATH")))
            }
            Ok(output) => complaint(tool, output).map(Failure::Refused),
            Err(error) => Some(Failure::Refused(format!("{tool}: {error}"))),
        };
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
        outcome
    }
}

impl Shell {
    /// Runs the tool, and once more if the program takes away what it prints to.
    async fn heard(&self, program: &OsStr, arguments: &[&OsStr]) -> std::io::Result<Output> {
        match self.run_once(program, arguments).await {
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {
                self.run_once(program, arguments).await
            }
            outcome => outcome,
        }
    }

    async fn run_once(&self, program: &OsStr, arguments: &[&OsStr]) -> std::io::Result<Output> {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        let (tool, printed) = Tool::start(command)?;
        let (done, output) = oneshot::channel();
        let worker = Tool(Arc::clone(&tool.0));
        threads::start("akv-tool", move || drop(done.send(worker.output(printed))))?;
        match event_loop::timeout(TIMEOUT, output).await {
            Ok(output) => output.map_err(std::io::Error::other)?,
            Err(_) => Err(std::io::Error::new(
                ErrorKind::TimedOut,
                format!("no answer within {} s", TIMEOUT.as_secs()),
            )),
        }
    }
}

/// Whether a shell found no tool of the name (POSIX, XCU 2.8.2).
#[cfg(unix)]
fn says_missing(output: &Output) -> bool {
    output.status.code() == Some(127)
}

/// Whether a shell found no tool of the name: Windows' has nothing but this text for it.
#[cfg(not(unix))]
fn says_missing(output: &Output) -> bool {
    String::from_utf8_lossy(&output.stderr).contains("' is not recognized")
}

/// Starts a tool with no signal blocked, as they are in threads of ours, and in a group of its own,
/// so that what a shell starts ends with it.
fn start(command: Command) -> std::io::Result<Box<dyn ChildWrapper>> {
    let mut command = CommandWrap::from(command);
    #[cfg(unix)]
    {
        std::os::unix::process::CommandExt::process_group(command.command_mut(), 0);
        command.wrap(process_wrap::std::ResetSigmask);
    }
    command.spawn()
}

/// A running tool; none when it is over. It is ended when nobody waits for it any more.
struct Tool(Arc<Mutex<Option<Box<dyn ChildWrapper>>>>);

impl Drop for Tool {
    fn drop(&mut self) {
        let mut child = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Not waited for yet, so the number is still its own.
        if let Some(child) = child.as_mut() {
            end(child.as_mut());
        }
    }
}

#[cfg(unix)]
fn end(child: &dyn ChildWrapper) {
    use rustix::process::{Pid, Signal, kill_process_group};
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

#[cfg(not(unix))]
fn end(child: &mut dyn ChildWrapper) {
    let _ = child.start_kill();
}

impl Tool {
    /// Starts a tool. With it come its standard output and error.
    fn start(mut command: Command) -> std::io::Result<(Self, [Pipe; 2])> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = start(command)?;
        let stdout = child.stdout().take().map(Pipe::new);
        let stderr = child.stderr().take().map(Pipe::new);
        let tool = Self(Arc::new(Mutex::new(Some(child))));
        match (stdout.transpose()?, stderr.transpose()?) {
            (Some(stdout), Some(stderr)) => Ok((tool, [stdout, stderr])),
            _ => Err(std::io::Error::other("what it prints goes elsewhere")),
        }
    }

    /// Reads all that the tool prints, and waits for its end.
    fn output(self, [stdout, stderr]: [Pipe; 2]) -> std::io::Result<Output> {
        let errors = threads::start("akv-tool", move || read_all(stderr))?;
        let stdout = read_all(stdout);
        let stderr = errors.join().unwrap_or_else(|_| Ok(Vec::new()));
        let status = self.wait()?;
        Ok(Output {
            status,
            stdout: stdout?,
            stderr: stderr?,
        })
    }

    fn wait(&self) -> std::io::Result<ExitStatus> {
        loop {
            let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(child) = running.as_mut() else {
                return Err(std::io::Error::other("it was waited for twice"));
            };
            match child.try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => {
                    *running = None;
                    return Ok(status);
                }
                Err(error) => {
                    *running = None;
                    return ended_unseen(error);
                }
            }
            drop(running);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A server that waits for all its children, as nginx does, may have been first. What was printed
/// tells how it went.
#[cfg(unix)]
fn ended_unseen(error: std::io::Error) -> std::io::Result<ExitStatus> {
    use std::os::unix::process::ExitStatusExt;
    match error.raw_os_error() == Some(rustix::io::Errno::CHILD.raw_os_error()) {
        true => Ok(ExitStatus::from_raw(0)),
        false => Err(error),
    }
}

#[cfg(not(unix))]
fn ended_unseen(error: std::io::Error) -> std::io::Result<ExitStatus> {
    Err(error)
}

/// What a tool prints, up to a limit.
fn read_all(from: Pipe) -> std::io::Result<Vec<u8>> {
    let mut printed = Vec::new();
    from.take(MAX_PRINTED).read_to_end(&mut printed)?;
    Ok(printed)
}

/// Our end of what a tool prints to. The program may close it, and get its number for another file,
/// which is neither read nor closed then.
#[cfg(unix)]
struct Pipe(Own<OwnedFd>);

#[cfg(unix)]
impl Pipe {
    fn new(end: impl Into<OwnedFd>) -> std::io::Result<Self> {
        Own::new(end.into()).map(Self)
    }
}

#[cfg(unix)]
impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        Ok(rustix::io::read(self.0.get()?, buffer)?)
    }
}

#[cfg(not(unix))]
struct Pipe(Box<dyn Read + Send>);

#[cfg(not(unix))]
impl Pipe {
    fn new(end: impl Read + Send + 'static) -> std::io::Result<Self> {
        Ok(Self(Box::new(end)))
    }
}

#[cfg(not(unix))]
impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::cloud::Cloud;
    use crate::secret::Secret;

    /// Settings with this PATH, and no other variable.
    fn settings(path: &str) -> CredentialSettings {
        CredentialSettings {
            tools_environment: Arc::new(vec![("PATH".into(), path.into())]),
            ..CredentialSettings::default()
        }
    }

    fn shell() -> Shell {
        Shell::of("az", &settings("/usr/bin:/bin"))
    }

    fn run(script: &str) -> std::io::Result<Output> {
        let arguments = [OsStr::new("-c"), OsStr::new(script)];
        let mut events = event_loop::EventLoop::new()?;
        events.run(shell().run(OsStr::new("/bin/sh"), &arguments))
    }

    #[test]
    fn a_tool_is_run_in_the_environment_of_old_and_heard_out() {
        let output = run("echo out; echo err >&2; exit 3").unwrap();
        assert_eq!(
            (output.stdout, output.stderr, output.status.code()),
            (b"out\n".to_vec(), b"err\n".to_vec(), Some(3))
        );
        let environment = run("env").unwrap().stdout;
        assert!(!String::from_utf8(environment).unwrap().contains("CARGO"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_tool_has_no_signal_blocked_though_who_starts_it_has() {
        let status = threads::start("akv-test", || run("cat /proc/self/status")).unwrap();
        let status = status.join().unwrap().unwrap().stdout;
        let status = String::from_utf8(status).unwrap();
        assert!(status.contains("SigBlk:\t0000000000000000"), "{status}");
    }

    #[test]
    fn a_tool_that_nobody_waits_for_is_ended_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", "sleep 60 & echo $! >\"$0\"; wait"])
            .arg(&mark);
        let (tool, _printed) = Tool::start(command).unwrap();
        let sleeper = loop {
            match std::fs::read_to_string(&mark) {
                Ok(text) if text.ends_with('\n') => break text.trim().to_owned(),
                _ => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        drop(tool);
        // A process that is over may still be listed until its new parent has waited for it.
        let state = || {
            let stat = std::fs::read_to_string(format!("/proc/{sleeper}/stat")).ok()?;
            stat.split(") ").nth(1)?.chars().next()
        };
        while !matches!(state(), None | Some('Z')) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_tool_that_says_more_than_anybody_reads_is_heard_as_far_as_that() {
        let output = run("head -c 3000000 /dev/zero").unwrap();
        assert_eq!(output.stdout.len() as u64, MAX_PRINTED);
    }

    /// What comes of an `az` that is this script.
    fn token_of_az(script: &str) -> Result<AccessToken, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let az = folder.path().join("az");
        // By another process: a file that is open for writing, here or in what a test of another
        // thread has forked, can't be run.
        let written = Command::new("/bin/sh")
            .args([
                "-c",
                "printf '#!/bin/sh\n%s\n' \"$1\" >\"$0\" && chmod +x \"$0\"",
            ])
            .args([az.as_os_str(), OsStr::new(script)])
            .status();
        assert!(written.unwrap().success());
        let settings = settings(&format!("{}:/usr/bin:/bin", folder.path().display()));
        let request = TokenRequest {
            audience: "https://managedhsm.azure.net",
            cloud: Cloud::Public,
            claims: None,
        };
        let mut events = event_loop::EventLoop::new().unwrap();
        events.run(azure_cli(&settings, &request))
    }

    /// Why such an `az` gives no token.
    fn told_of_az(script: &str) -> String {
        match token_of_az(script) {
            Err(Failure::Refused(told)) => told,
            other => panic!("{script}: {other:?}"),
        }
    }

    #[test]
    fn what_az_does_instead_of_giving_a_token_is_told() {
        let token = r#"{"accessToken":"a-token","expires_on":4000000000,"tokenType":"Bearer"}"#;
        let given = token_of_az(&format!("echo '{token}'; echo WARNING: old >&2"));
        assert_eq!(given.unwrap().expose(), "a-token");
        let nothing = r#"{"accessToken":null,"expires_on":4000000000,"tokenType":"Bearer"}"#;
        for (script, told) in [
            ("exit 0", "az printed no token"),
            ("echo oops >&2", "az printed no token, and said: oops"),
            (
                "echo '<html>'",
                "az printed no token, but 7 bytes of something else",
            ),
            (
                &format!("echo '{nothing}'"),
                "az printed no token, but 66 bytes of something else",
            ),
            (
                "head -c 20000000 /dev/zero",
                "az printed 1048576 bytes or more, and no token",
            ),
            (
                &format!("echo '{token}'; exit 1"),
                "az failed and did not say why (exit status: 1)",
            ),
            ("echo run az login >&2; exit 1", "run az login"),
        ] {
            assert_eq!(told_of_az(script), told, "{script}");
        }
    }

    #[test]
    fn a_token_is_not_shown_where_az_complains() {
        let token = "eyJhbGciOiJSUzI1NiJ9.eyJvaWQiOiJub2JvZHkifQ.c2lnbmF0dXJl";
        let known = Secret::new("a-secret~of-this-process".to_owned());
        let mut scripts = Vec::new();
        for text in [
            token,
            &token[..30],
            "a-secret~of-this-process",
            "a-secret%7Eof-this-process",
        ] {
            scripts.push(format!("echo 'DEBUG: got {text}' >&2; exit 1"));
            scripts.push(format!("echo '{text}'; echo 'DEBUG: got {text}' >&2"));
        }
        for script in scripts {
            let told = told_of_az(&script);
            assert!(told.ends_with("DEBUG: got …"), "{script}: {told}");
        }
        drop(known);
    }

    #[test]
    fn what_power_shell_prints_is_found_among_other_lines() {
        let printed = b"WARNING: old module\r\n{\"token\":\"abc\",\"expiresOn\":1700000000}\r\n";
        let token = power_shell_token(printed).unwrap();
        let at = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        assert_eq!(token.expires_at(), Some(at));
        assert!(power_shell_token(b"no token").is_none());
    }
}
