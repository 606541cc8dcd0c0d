//! What becomes of every operation under every fault, in every kind of process: a campaign by a
//! table.
//!
//! A cell is a fault, met once or always, an operation and a process model. It has to end in
//! success, or in one error of the provider's that says what went wrong; nothing hangs, crashes, is
//! wrong or is done twice; and once the fault is over all is well again. Where it is known which of
//! the two it has to be, the table says so.

mod table;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{ChildStdin, ChildStdout, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use testing::built;

use self::table::{
    Expected::{Error, Success},
    FAULTS, LONG, MODELS, OPERATIONS, Run, SHORT, SIGNATURES, When,
};
use crate::support::{AES_256, EC_P256, Hsm, Loading, RSA_2048, sample, uri};

/// Runs at a time, each with an emulator of its own.
const WORKERS: usize = 6;
/// A cell that takes so much longer than it may counts as a hang. Far more than a loaded machine
/// needs.
const GRACE: Duration = Duration::from_secs(30);

/// One that has keys of ML-DSA.
const API_VERSION: &str = "2026-05-01-preview";
const ML_DSA: &str = r#"{"kty":"AKP-HSM","alg":"ML-DSA-65"}"#;

/// What became of an operation.
struct Ended {
    operation: String,
    outcome: Outcome,
    took: Duration,
}

enum Outcome {
    Success,
    /// How many errors of the provider's there were, and their texts.
    Failure(usize, String),
    /// A wrong result, a crash.
    Broken(String),
}

/// An emulator with the keys of the campaign, and all that was prepared for commands.
struct Campaign {
    hsm: Hsm,
    /// Host and port of the control port.
    control: String,
    program: String,
    pkcs11_program: String,
    sealed: String,
    wrapped: String,
    secret: String,
    publics: BTreeMap<&'static str, String>,
    random_config: String,
    /// The environment of one that logs in, who can have another token.
    identity: Vec<(String, String)>,
    token: Vec<(String, String)>,
}

impl Campaign {
    fn start() -> Self {
        let mut hsm = Hsm::start_with(&["--control-port", "0"]);
        let control = std::fs::read_to_string(hsm.file("hsm/control-endpoint"));
        let control = control.expect("the control port is announced");
        let control = control.trim().strip_prefix("http://").expect("a URL");
        let control = control.to_owned();
        hsm.set("AKV_API_VERSION", API_VERSION);
        for (name, body) in [
            ("load", EC_P256),
            ("pkcs1", RSA_2048),
            ("pss", RSA_2048),
            ("ec", EC_P256),
            ("decrypt", RSA_2048),
            ("wrap", AES_256),
            ("encrypt", AES_256),
            ("ml-dsa", ML_DSA),
        ] {
            hsm.create(name, body);
        }
        let secret = hsm.write("secret", "0123456789abcdef0123456789abcdef");
        let signing = OPERATIONS
            .iter()
            .filter(|it| SIGNATURES.contains(&it.name) && it.is_of("commands"));
        let public = |name| hsm.public_key(Loading::AkvFirst, &uri(name));
        let publics = signing.map(|it| (it.name, public(it.name))).collect();
        let decrypt = hsm.public_key(Loading::AkvFirst, &uri("decrypt"));
        let (sealed, wrapped) = (hsm.path("sealed"), hsm.path("wrapped"));
        let seal = format!("pkeyutl -encrypt -pubin -inkey {decrypt} -in {secret} -out {sealed}");
        hsm.openssl_line(Loading::Plain, &seal).succeeds();
        let key = uri("wrap");
        let wrap = format!("pkeyutl -encrypt -inkey {key} -in {secret} -out {wrapped}");
        hsm.openssl_line(Loading::AkvFirst, &wrap).succeeds();
        let config = std::fs::read_to_string(hsm.file("akv.cnf")).expect("a configuration");
        let config = config.replace("[openssl]\n", "[openssl]\nrandom = random\n")
            + "\n[random]\nrandom = AKV-RANDOM\n";
        let random_config = hsm.write("random.cnf", config);
        let program = hsm.compile("faults");
        let pkcs11_program = hsm.path("pkcs11_faults");
        let headers = concat!("-I", env!("CARGO_MANIFEST_DIR"), "/crates/akv-pkcs11");
        hsm.compile_with("pkcs11_faults", &[headers, "-ldl"], &pkcs11_program)
            .succeeds();
        // As with the provider: the HSM's random numbers, and keys of the names that are asked for.
        hsm.write(
            "mhsm-pkcs11.conf",
            r#"{"tokens":[{"slotid":0,"resourceName":"MyHSM"}],"random":"hsm","keyNames":"label"}"#,
        );
        let token = hsm.environment.clone();
        let mut identity = hsm.exports(&["--identity"]);
        identity.retain(|(name, _)| name.starts_with("AZURE_") || name == "AKV_CA_FILE");
        Self {
            hsm,
            control,
            program,
            pkcs11_program,
            sealed,
            wrapped,
            secret,
            publics,
            random_config,
            identity,
            token,
        }
    }

    /// A request to the control port.
    fn control(&self, method: &str, path: &str, body: &str) {
        let mut stream = TcpStream::connect(&self.control).expect("the control port");
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(status.starts_with('2'), "{method} {path} {body}: {answer}");
    }

    fn end_faults(&self) {
        self.control("DELETE", "/faults", "");
        self.control("PUT", "/certificate", "renewed");
    }

    /// How often a key was made, by the emulator's log: also if the answer was lost.
    fn made(&self, key: &str) -> usize {
        let log = std::fs::read_to_string(self.hsm.file("requests.log")).expect("a log");
        let line = format!(" path=/keys/{key}/create status=200 ");
        log.lines().filter(|entry| entry.contains(&line)).count()
    }

    fn run(&mut self, run: &Run, number: usize) -> Vec<Ended> {
        self.hsm.environment = match run.fault.kind {
            "claims-challenge" => self.identity.clone(),
            _ => self.token.clone(),
        };
        self.hsm.set("AKV_API_VERSION", API_VERSION);
        self.hsm.set("AKV_OPERATION_TIMEOUT", run.timeout());
        self.hsm.set("AKV_CONNECT_TIMEOUT", "5");
        self.hsm.set("AKV_RANDOM", "MyHSM");
        let configuration = self.hsm.path("mhsm-pkcs11.conf");
        self.hsm.set("MHSM_PKCS11_CONF", &configuration);
        let new = format!("new-{number}");
        let mut all = match run.model {
            "commands" => self.commands(run, &new),
            model => match run.of_pkcs11() {
                Some(model) => {
                    let module = built::pkcs11_module();
                    let module = module.to_str().expect("the path is text");
                    self.program(run, &self.pkcs11_program, &[model, &new, module])
                }
                None => self.program(run, &self.program, &[model, &new]),
            },
        };
        self.end_faults();
        if run.meets("create") {
            let made = self.made(&new);
            let created = all.iter_mut().find(|ended| ended.operation == "create");
            // One that is missing is a problem of its own.
            if let Some(created) = created {
                let is_success = matches!(created.outcome, Outcome::Success);
                if made > 1 || (is_success && made == 0) {
                    created.outcome = Outcome::Broken(format!("the key was made {made} times"));
                }
            }
        }
        all
    }

    /// One process for all operations.
    fn program(&self, run: &Run, program: &str, arguments: &[&str]) -> Vec<Ended> {
        let mut command = self.hsm.command(program);
        let errors = self.hsm.file("program.err");
        let log = std::fs::File::create(&errors).expect("a file");
        let mut child = command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the program starts");
        let mut talk = Talk {
            input: child.stdin.take().expect("a pipe"),
            output: BufReader::new(child.stdout.take().expect("a pipe")),
        };
        let mut all = Vec::new();
        let told = |what: &str| {
            let text = std::fs::read_to_string(&errors).unwrap_or_default();
            format!("{what}: {text}")
        };
        let is_ready = talk.until("ready").is_some();
        if is_ready {
            run.sets_out(self);
            talk.go_on();
        }
        let lines = talk.until("done");
        let is_done = lines.is_some();
        for line in lines.unwrap_or_default() {
            all.push(Ended::parse(&line));
        }
        let mut problem = (!is_ready).then(|| told("no preparation"));
        if is_done {
            self.end_faults();
            talk.go_on();
            if talk.until("well").is_none() {
                problem = Some(told("no recovery"));
            }
        }
        drop(talk);
        let status = child.wait().expect("the program ends");
        if is_ready && !is_done {
            problem = Some(told(&format!("no end, but {status}")));
        }
        if !status.success() && problem.is_none() {
            problem = Some(told(&status.to_string()));
        }
        if let Some(problem) = problem {
            all.push(Ended {
                operation: "process".to_owned(),
                outcome: Outcome::Broken(problem),
                took: Duration::ZERO,
            });
        }
        all
    }

    /// A process for each operation.
    fn commands(&self, run: &Run, new: &str) -> Vec<Ended> {
        run.sets_out(self);
        std::thread::scope(|scope| {
            let threads: Vec<_> = OPERATIONS
                .iter()
                .filter(|operation| operation.is_of("commands"))
                .map(|operation| scope.spawn(move || self.command(operation.name, new)))
                .collect();
            let joined = threads.into_iter().map(|thread| thread.join());
            joined.map(|ended| ended.expect("no panic")).collect()
        })
    }

    fn command(&self, operation: &str, new: &str) -> Ended {
        let out = self.hsm.path(&format!("{operation}.out"));
        let key = match operation {
            "unwrap" => uri("wrap"),
            other => uri(other),
        };
        let Self {
            sealed,
            wrapped,
            secret,
            ..
        } = self;
        let providers = "-provider akv_provider -provider default";
        let line = match operation {
            "load" => format!("pkey {providers} -in {key} -noout"),
            "pkcs1" | "ec" => format!("dgst {providers} -sha256 -sign {key} -out {out} {secret}"),
            "pss" => format!(
                "dgst {providers} -sha256 -sigopt rsa_padding_mode:pss -sign {key} -out {out} {secret}"
            ),
            "ml-dsa" => {
                format!("pkeyutl {providers} -sign -rawin -inkey {key} -in {secret} -out {out}")
            }
            "decrypt" => {
                format!("pkeyutl {providers} -decrypt -inkey {key} -in {sealed} -out {out}")
            }
            "wrap" => format!("pkeyutl {providers} -encrypt -inkey {key} -in {secret} -out {out}"),
            "unwrap" => {
                format!("pkeyutl {providers} -decrypt -inkey {key} -in {wrapped} -out {out}")
            }
            "random" => format!("rand -out {out} 32"),
            "list" => format!("storeutl {providers} -noout managedhsm:MyHSM"),
            "create" => format!(
                "genpkey {providers} -propquery provider=akv_provider -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt uri:{} -out {out}",
                uri(new)
            ),
            other => unreachable!("{other} is not done by a command"),
        };
        let mut command = self.hsm.command("openssl");
        command.args(line.split_whitespace());
        if operation == "random" {
            command.env("OPENSSL_CONF", &self.random_config);
        }
        let _ = std::fs::remove_file(&out);
        let began = Instant::now();
        let output = command.output().expect("openssl starts");
        let took = began.elapsed();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let outcome = match output.status.code() {
            Some(0) => match self.problem(operation, &out) {
                None => Outcome::Success,
                Some(problem) => Outcome::Broken(problem),
            },
            Some(1..124) => {
                let errors = crate::support::provider_messages(&text);
                Outcome::Failure(errors.len(), errors.join(" | "))
            }
            _ => Outcome::Broken(format!("{}: {text}", output.status)),
        };
        Ended {
            operation: operation.to_owned(),
            outcome,
            took,
        }
    }

    /// What is wrong with the result of a command that succeeded.
    fn problem(&self, operation: &str, out: &str) -> Option<String> {
        let read = |path: &str| std::fs::read(path).unwrap_or_default();
        let is_right = match operation {
            "ml-dsa" => {
                let (public, secret) = (&self.publics[operation], &self.secret);
                let line = format!(
                    "pkeyutl -verify -rawin -pubin -inkey {public} -in {secret} -sigfile {out}"
                );
                self.hsm.openssl_line(Loading::Plain, &line).is_success()
            }
            "pkcs1" | "pss" | "ec" => {
                let public = &self.publics[operation];
                let padding = match operation {
                    "pss" => "-sigopt rsa_padding_mode:pss",
                    _ => "",
                };
                let line = format!(
                    "dgst -sha256 {padding} -verify {public} -signature {out} {}",
                    self.secret
                );
                self.hsm.openssl_line(Loading::Plain, &line).is_success()
            }
            "decrypt" | "unwrap" => read(out) == read(&self.secret),
            "wrap" => read(out) == read(&self.wrapped),
            "random" => read(out).len() == 32,
            "create" => !read(out).is_empty(),
            _ => true,
        };
        (!is_right).then(|| "a wrong result".to_owned())
    }
}

/// The two ends of a program that reports and waits.
struct Talk {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Talk {
    /// The lines before the one with this word. None: it never came.
    fn until(&mut self, word: &str) -> Option<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line).unwrap_or(0) == 0 {
                return None;
            }
            if line.trim_end() == word {
                return Some(lines);
            }
            lines.push(line);
        }
    }

    fn go_on(&mut self) {
        // A program that has ended is noticed by what it no longer says.
        let _ = self.input.write_all(b"\n");
    }
}

impl Ended {
    /// `NAME ok MILLISECONDS`, `NAME failed MILLISECONDS ERRORS TEXT` or another word for what may
    /// never be.
    fn parse(line: &str) -> Self {
        let mut words = line.trim_end().splitn(5, ' ');
        let mut next = || words.next().unwrap_or_default();
        let (operation, ended, took, errors, text) = (next(), next(), next(), next(), next());
        let outcome = match ended {
            "ok" => Outcome::Success,
            "failed" => Outcome::Failure(errors.parse().unwrap_or_default(), text.to_owned()),
            _ => Outcome::Broken(line.to_owned()),
        };
        Self {
            operation: operation.to_owned(),
            outcome,
            took: Duration::from_millis(took.parse().unwrap_or_default()),
        }
    }
}

/// What is wrong with a cell. None: it is as it has to be.
fn judge(run: &Run, ended: &Ended) -> Option<String> {
    let limit = Duration::from_secs(run.timeout().parse().expect("a number")) + GRACE;
    if ended.took > limit {
        return Some(format!("took {:?}", ended.took));
    }
    let expected = match run.meets(&ended.operation) {
        true => run.expected(&ended.operation),
        false => Success,
    };
    match (&ended.outcome, expected) {
        (Outcome::Broken(problem), _) => Some(problem.clone()),
        (Outcome::Success, Error) => Some("succeeded, an error was expected".to_owned()),
        (Outcome::Success, _) => None,
        (Outcome::Failure(_, text), Success) => Some(format!("failed: {text}")),
        (Outcome::Failure(1, text), _) => {
            let lower = text.to_lowercase();
            // Its time may be over before the last attempt is answered.
            let words = run.fault.words.iter().chain(&["no answer from"]);
            // Where jobs share a connection of HTTP/2, what befalls one befalls all.
            let shared: &[&str] = match run.model {
                "jobs" => &["connection", "http2", "JSON"],
                _ => &[],
            };
            let mut words = words.chain(shared);
            let is_clear = words.any(|word| lower.contains(&word.to_lowercase()));
            (!is_clear).then(|| format!("the error lacks any of {:?}: {text}", run.fault.words))
        }
        (Outcome::Failure(count, text), _) => Some(format!("{count} errors: {text}")),
    }
}

fn runs() -> Vec<Run> {
    let chosen = std::env::var("AKV_FAULTS").unwrap_or_default();
    let mut runs = Vec::new();
    for fault in FAULTS.iter().filter(|fault| fault.kind.contains(&chosen)) {
        for when in [When::Once, When::Always] {
            // A certificate is shown to all connections or to none.
            if when == When::Once && fault.kind.starts_with("certificate=") {
                continue;
            }
            for model in MODELS {
                runs.push(Run { fault, when, model });
            }
        }
    }
    // Whoever chose faults means all of it.
    match chosen.is_empty() {
        true => sample(runs, 12),
        false => runs,
    }
}

#[test]
fn every_operation_ends_well_or_in_one_error_under_every_fault() {
    let runs = runs();
    let next = AtomicUsize::new(0);
    let ended = Mutex::new(Vec::new());
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                let mut campaign = Campaign::start();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(run) = runs.get(number) else { break };
                    let cells = campaign.run(run, number);
                    ended.lock().expect("no panic").push((number, cells));
                }
            });
        }
    });
    let ended = ended.into_inner().expect("no panic");
    let mut counts: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    let mut problems = Vec::new();
    let mut longest = [Duration::ZERO; 2];
    for (number, cells) in &ended {
        let run = &runs[*number];
        let wanted = OPERATIONS.iter().filter(|it| it.is_of(run.model)).count();
        if cells.len() != wanted {
            let (kind, when, model) = (run.fault.kind, run.when, run.model);
            let count = cells.len();
            problems.push(format!(
                "{kind} {when:?} {model}: {count} of {wanted} cells"
            ));
        }
        let failed = cells
            .iter()
            .filter(|cell| matches!(cell.outcome, Outcome::Failure(..)));
        let failed = failed.count();
        if run.fails_once() && failed != 1 {
            let (kind, model) = (run.fault.kind, run.model);
            problems.push(format!("{kind} Once {model}: {failed} operations failed"));
        }
        for cell in cells {
            let problem = judge(run, cell);
            // One that can't meet the fault is no cell of the table.
            if run.meets(&cell.operation) {
                let count = counts.entry(run.model).or_default();
                count[match (&problem, &cell.outcome) {
                    (Some(_), _) => 2,
                    (None, Outcome::Success) => 0,
                    (None, _) => 1,
                }] += 1;
            }
            let kind = usize::from(run.timeout() == SHORT);
            longest[kind] = longest[kind].max(cell.took);
            if let Some(problem) = problem {
                let (kind, when, model) = (run.fault.kind, run.when, run.model);
                let operation = &cell.operation;
                problems.push(format!("{kind} {when:?} {operation} {model}: {problem}"));
            }
            if std::env::var_os("AKV_FAULTS_SHOW").is_some()
                && let Outcome::Failure(_, text) = &cell.outcome
            {
                eprintln!(
                    "{} {:?} {}: {text}",
                    run.fault.kind, run.when, cell.operation
                );
            }
        }
    }
    eprintln!("process model     success    error   broken");
    let mut sum = [0; 3];
    for (model, count) in &counts {
        let [success, error, broken] = count;
        eprintln!("{model:16} {success:8} {error:8} {broken:8}");
        for (total, one) in sum.iter_mut().zip(count) {
            *total += one;
        }
    }
    let [success, error, broken] = sum;
    eprintln!(
        "all              {success:8} {error:8} {broken:8}\n{} cells in {} s; the longest took {:.1} s of {LONG}, and {:.1} s of {SHORT}",
        success + error + broken,
        began.elapsed().as_secs(),
        longest[0].as_secs_f64(),
        longest[1].as_secs_f64()
    );
    assert!(
        problems.is_empty(),
        "{}\n{}",
        problems.len(),
        problems.join("\n")
    );
}

#[test]
fn faults_leave_no_descriptor_and_no_thread_behind() {
    const ROUNDS: usize = 45;
    let mut campaign = Campaign::start();
    let kinds = FAULTS.iter().filter(|fault| {
        let slow = fault.kind.contains("60000") || fault.kind == "silence";
        let of_connections = fault.kind.contains("handshake") || fault.kind.contains("connection");
        !slow && !of_connections && !fault.kind.contains('=')
    });
    for fault in kinds {
        campaign.control("POST", "/faults", &format!("{},share=0.01", fault.kind));
    }
    campaign.hsm.set("AKV_RANDOM", "MyHSM");
    // Keys are loaded in spite of faults, or it is tried again.
    let rounds = (0..20).find_map(|_| {
        let arguments = ["repeat", "new", &ROUNDS.to_string()];
        let outcome = campaign.hsm.run(&campaign.program, &arguments);
        outcome.is_success().then(|| outcome.text())
    });
    let rounds = rounds.expect("the keys are loaded at last");
    let rounds: Vec<[usize; 2]> = rounds
        .lines()
        .filter_map(|line| {
            let mut numbers = line.strip_prefix("round ")?.split(' ');
            let mut next = || numbers.next()?.parse().ok();
            Some([next()?, next()?])
        })
        .collect();
    assert_eq!(rounds.len(), ROUNDS);
    // A connection may be on its way at any moment. What stays behind is there from then on.
    let (early, late) = (&rounds[..ROUNDS / 3], &rounds[ROUNDS / 3 * 2..]);
    for what in [0, 1] {
        let most = early.iter().map(|round| round[what]).max();
        let least = late.iter().map(|round| round[what]).min();
        assert!(least <= most, "{rounds:?}");
    }
}
