//! An emulator process for one test, and a client that trusts it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The program with its arguments, on `data`.
pub(crate) fn program(command: &str, data: &Path) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_managed-hsm-emulator"));
    program.arg(command).arg("--data-dir").arg(data);
    program
}

pub(crate) fn text(output: &[u8]) -> String {
    String::from_utf8(output.to_vec()).unwrap()
}

pub(crate) struct Emulator {
    process: Child,
    data: PathBuf,
    log: PathBuf,
    pub(crate) url: String,
    /// URLs of further ports: `control`, `metadata`, and HSMs (`NAME`) and vaults (`vault NAME`)
    /// that have one of their own.
    pub(crate) further: HashMap<String, String>,
    client: Client,
    token: String,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        let json = serde_json::from_str(&self.body);
        json.unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub(crate) fn success(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        self.json()
    }

    pub(crate) fn error(&self) -> (u16, String, String) {
        let json = self.json();
        let member = |name: &str| json["error"][name].as_str().unwrap().to_owned();
        (self.status.as_u16(), member("code"), member("message"))
    }
}

/// A client of its own, with connections of its own.
fn client(data: &Path, url: &str) -> Client {
    let ca = fs::read(data.join("ca.pem")).unwrap();
    let port: u16 = url.rsplit_once(':').unwrap().1.parse().unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let domains = [
        "localhost",
        "managedhsm.azure.net",
        "managedhsm.usgovcloudapi.net",
        "managedhsm.azure.cn",
        "vault.azure.net",
        "vault.usgovcloudapi.net",
        "vault.azure.cn",
    ];
    let mut builder = Client::builder();
    for domain in domains {
        for name in ["contoso", "fabrikam", "nobody"] {
            builder = builder.resolve(&format!("{name}.{domain}"), address);
        }
    }
    builder
        .tls_certs_only([reqwest::Certificate::from_pem(&ca).unwrap()])
        .build()
        .unwrap()
}

impl Emulator {
    /// Starts one on the folder `emulator` in `folder`, and waits until it says that it is ready.
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[])
    }

    pub(crate) fn start_with(folder: &Path, arguments: &[&str]) -> Self {
        let data = folder.join("emulator");
        let log = folder.join("log");
        let mut process = program("serve", &data)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let greeting = lines.next().unwrap().unwrap();
        assert!(greeting.contains("not an HSM"), "{greeting}");
        let url = lines.next().unwrap().unwrap();
        let further = arguments.windows(2).filter(|pair| {
            let own_port = pair[0] == "--hsm" && pair[1].contains(':');
            own_port || ["--control-port", "--metadata-port", "--vault"].contains(&pair[0])
        });
        let further = further.map(|_| {
            let line = lines.next().unwrap().unwrap();
            let (name, url) = line.split_once(": ").unwrap();
            (name.to_owned(), url.to_owned())
        });
        let further = further.collect();
        let token = program("token", &data).output().unwrap();
        let client = client(&data, &url);
        Self {
            process,
            data,
            log,
            url,
            further,
            client,
            token: text(&token.stdout).trim().to_owned(),
        }
    }

    /// The number of its process.
    pub(crate) fn process(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// What a command that finds the emulator by its folder prints.
    pub(crate) fn run(&self, command: &str, arguments: &[&str]) -> Output {
        program(command, &self.data)
            .args(arguments)
            .output()
            .unwrap()
    }

    /// A token as `managed-hsm-emulator token` prints it.
    pub(crate) fn token(&self, arguments: &[&str]) -> String {
        text(&self.run("token", arguments).stdout).trim().to_owned()
    }

    pub(crate) fn stop(mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.process), Signal::TERM).unwrap();
        self.process.wait().unwrap()
    }

    /// As `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<String>,
    ) -> Answer {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        // A whole URL is for a further port.
        let url = match path.starts_with('/') {
            true => format!("{}{path}", self.url),
            false => path.to_owned(),
        };
        let mut request = self.client.request(method, url);
        if let Some(token) = token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if let Some(body) = body {
            request = request
                .header("Content-Type", "application/json")
                .body(body);
        }
        let response = request.send().await.unwrap();
        Answer {
            status: response.status(),
            headers: response.headers().clone(),
            body: response.text().await.unwrap(),
        }
    }

    /// With the owner's token, and a body that may be anything.
    pub(crate) async fn send_owned(
        &self,
        method: &str,
        path: &str,
        body: Option<String>,
    ) -> Answer {
        self.send(method, path, Some(&self.token), body).await
    }

    pub(crate) fn another_client(&self) -> Client {
        client(&self.data, &self.url)
    }

    /// As `post`, by another client.
    pub(crate) async fn post_by(&self, client: &Client, path: &str, body: &Value) -> Answer {
        let request = client.post(format!("{}{path}", self.url));
        let request = request.header("Authorization", format!("Bearer {}", self.token));
        let response = request.body(body.to_string()).send().await.unwrap();
        Answer {
            status: response.status(),
            headers: response.headers().clone(),
            body: response.text().await.unwrap(),
        }
    }

    /// As another principal.
    pub(crate) async fn call_with(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        let body = body.map(|body| body.to_string());
        self.send(method, path, Some(token), body).await
    }

    /// A request to the control port.
    pub(crate) async fn control(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let url = format!("{}{path}", self.further["control"]);
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = Client::new().request(method, url).body(body.to_owned());
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// As `send` with the owner's token, where the connection may end without an answer.
    pub(crate) async fn try_post(&self, path: &str, body: &Value) -> reqwest::Result<Answer> {
        let request = self.client.post(format!("{}{path}", self.url));
        let request = request.header("Authorization", format!("Bearer {}", self.token));
        let response = request.body(body.to_string()).send().await?;
        Ok(Answer {
            status: response.status(),
            headers: response.headers().clone(),
            body: response.text().await?,
        })
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, Some(&self.token), None).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, Some(&self.token), None).await
    }

    /// Has a key rotated in two years; without a policy an HSM rotates none.
    pub(crate) async fn set_rotation_policy(&self, key: &str) {
        let action = serde_json::json!({"action": {"type": "Rotate"}, "trigger": {"timeAfterCreate": "P2Y"}});
        let policy = serde_json::json!({"lifetimeActions": [action]});
        let path = format!("/keys/{key}/rotationpolicy");
        self.call("PUT", &path, Some(policy)).await.success();
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call("POST", path, Some(body)).await
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let body = body.map(|body| body.to_string());
        self.send(method, path, Some(&self.token), body).await
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A request by a version of the API.
pub(crate) async fn call(
    emulator: &Emulator,
    method: &str,
    version: &str,
    path: &str,
    body: Option<Value>,
) -> Answer {
    let path = format!("{path}?api-version={version}");
    emulator.call(method, &path, body).await
}
