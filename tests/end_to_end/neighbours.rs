//! Ordinary work with software keys is what it is without the provider: beside whichever other
//! providers, in whatever order, and however they are loaded. A C program does all of the work and
//! says what came of it, once with our provider and once with OpenSSL's `null` in its place, which
//! offers nothing. (Nothing in its place would not do: OpenSSL sorts its providers by name whenever
//! it looks for one more.)
//!
//! Some of the orders and ways are tried; with AKV_WHOLE=1 all are.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::support::{EC_P256, Hsm, Loading, Outcome, RSA_2048, sample, skip, uri, whole};

/// Stands for our provider.
const OURS: &str = "OURS";

/// A PKCS#11 module, for the provider pkcs11.
const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// The program, and what the other providers need.
struct Work {
    hsm: Hsm,
    program: String,
    /// Those of the other providers that can be had here.
    available: Vec<&'static str>,
    missing: Vec<&'static str>,
    fips_section: String,
    /// The step by which the program reads keys that are there already, instead of making them.
    keys: String,
    /// Whether the program does all of its work, or some.
    does_all: bool,
}

impl Work {
    fn start() -> Self {
        let mut hsm = Hsm::start();
        let modules = hsm.openssl_line(Loading::Plain, "version -m").succeeds();
        let folder = modules.split('"').nth(1).expect("a folder").to_owned();
        let root = PathBuf::from(std::env::var_os("AKV_TEST_ROOT").unwrap_or_else(|| "/".into()));
        let is_there = |path: &str| root.join(path.trim_start_matches('/')).exists();
        let (mut available, mut missing) = (vec!["default", "base"], Vec::new());
        for name in ["fips", "legacy", "pkcs11", "tpm2"] {
            let module = format!("{folder}/{name}.so");
            let needs = match name {
                "pkcs11" => SOFTHSM,
                "tpm2" => "/usr/bin/swtpm",
                _ => &module,
            };
            if is_there(&module) && is_there(needs) {
                let link = hsm.file("modules").join(format!("{name}.so"));
                std::os::unix::fs::symlink(&module, link).expect("a link to the module");
                available.push(name);
            } else {
                missing.push(name);
            }
        }
        let mut fips_section = String::new();
        if available.contains(&"fips") {
            let out = hsm.path("fips.cnf");
            let install = format!("fipsinstall -module {folder}/fips.so -out {out}");
            hsm.openssl_line(Loading::Plain, &install).succeeds();
            let text = fs::read_to_string(out).expect("what fipsinstall wrote");
            fips_section = text.replacen("[fips_sect]", "[fips_section]", 1);
        }
        if available.contains(&"pkcs11") {
            make_token(&mut hsm);
            // For a program that loads it without a configuration.
            hsm.set("PKCS11_PROVIDER_MODULE", SOFTHSM);
        }
        let program = hsm.compile("software_work");
        let folder = hsm.path("keys");
        fs::create_dir(&folder).expect("a folder for keys");
        let work = Self {
            hsm,
            program,
            available,
            missing,
            fips_section,
            keys: format!("keys:{folder}"),
            does_all: whole(),
        };
        work.lines(&["own", "load:default", &format!("write:{folder}")]);
        work
    }

    fn has(&self, names: &[&str]) -> bool {
        names.iter().all(|name| self.available.contains(name))
    }

    /// Whether all providers of these steps are here.
    fn can_load(&self, order: &[&str]) -> bool {
        let names = order.iter().filter_map(|step| step.split(':').nth(1));
        names
            .into_iter()
            .all(|name| name == OURS || self.has(&[name]))
    }

    /// A configuration with these providers, in this order.
    fn configuration(&self, file: &str, query: &str, names: &[&str]) -> String {
        let mut text = "openssl_conf = init\n[init]\nproviders = list\n".to_owned();
        if !query.is_empty() {
            text += "alg_section = algorithms\n";
        }
        text += "[list]\n";
        for name in names {
            text += &format!("{name} = {name}_section\n");
        }
        for name in names {
            text += &match *name {
                "fips" => format!("{}\n", self.fips_section),
                "pkcs11" => format!(
                    "[pkcs11_section]\nactivate = 1\n\
                     pkcs11-module-path = {SOFTHSM}\npkcs11-module-token-pin = 1234\n"
                ),
                _ => format!("[{name}_section]\nactivate = 1\n"),
            };
        }
        text += &format!("[algorithms]\ndefault_properties = {query}\n");
        self.hsm.write(file, text)
    }

    /// The lines that the program prints.
    fn lines(&self, arguments: &[&str]) -> Vec<String> {
        let scope = if self.does_all { "all" } else { "sample" };
        let arguments = [&arguments[..1], &[scope], &arguments[1..]].concat();
        let mut command = self.hsm.command(&self.program);
        let tpm = arguments.iter().any(|argument| argument.contains("tpm2"));
        let tpm = tpm.then(|| Tpm::start(&self.hsm));
        if let Some(tpm) = &tpm {
            command.env("TPM2OPENSSL_TCTI", &tpm.address);
        }
        command.args(&arguments);
        let text = Outcome::of(command).succeeds();
        text.lines().map(str::to_owned).collect()
    }

    /// The differences that our provider makes: what comes again. Hardware of others, and its
    /// providers, fail at times by themselves. `others`: the providers beside it, in their order.
    fn differences(
        &self,
        what: &str,
        others: &[&str],
        without: &[&str],
        with: &[&str],
    ) -> Vec<String> {
        let mut differences = self.seen(what, others, without, with);
        if !differences.is_empty() {
            let again = self.seen(what, others, without, with);
            differences.retain(|difference| again.contains(difference));
        }
        differences
    }

    /// The differences that are seen at once.
    fn seen(&self, what: &str, others: &[&str], without: &[&str], with: &[&str]) -> Vec<String> {
        // Where keys are made by other hardware, or nobody knows software keys but libcrypto
        // itself, what fails may fail for another reason.
        let at = |name| others.iter().position(|other| *other == name);
        let knows_keys = knows_keys(others);
        let hardware = at("pkcs11").or_else(|| at("tpm2"));
        let reasons = match hardware {
            Some(hardware) => at("default").is_some_and(|default| default < hardware),
            None => knows_keys,
        };
        let shown = |lines: Vec<String>| -> Vec<String> {
            let lines = lines.into_iter();
            lines
                // Ours are all the ciphers that there are, and know no software keys.
                .filter(|line| knows_keys || !line.starts_with("AES-"))
                // A key of which the TPM takes the public part goes into the token, and doesn't
                // come out.
                .filter(|line| others != ["tpm2", "pkcs11"] || !line.contains(" todata, "))
                .map(|line| match line.split_once(": failed (") {
                    Some((work, _)) if !reasons => format!("{work}: failed"),
                    _ if !knows_keys => line.replace("recovery: -2", "recovery: -1"),
                    _ => line,
                })
                .collect()
        };
        let (without, with) = (shown(self.lines(without)), shown(self.lines(with)));
        // Without a provider of software keys little can be done.
        let least = if knows_keys { 50 } else { 5 };
        assert!(without.len() > least, "{what}: the program did little");
        // Where hardware of others is asked first, and refuses, it isn't worse if more can be done:
        // ours hands a key to one that takes it.
        let may_be_more = !knows_keys || others.first() == Some(&"tpm2");
        let mut differences = Vec::new();
        for line in lost(&without, &with, may_be_more) {
            differences.push(format!("{what}: only without: {line}"));
        }
        if !may_be_more {
            for line in lost(&with, &without, false) {
                differences.push(format!("{what}: only with: {line}"));
            }
        }
        differences
    }

    /// The differences where a program takes these steps to load providers.
    fn loaded(&self, context: &str, order: &[&str]) -> Vec<String> {
        let others = beside_ours(order);
        // It is loaded by what a configuration has of it.
        let config = others.contains(&"fips").then(|| {
            let section = self.fips_section.replace("activate = 1\n", "");
            let text =
                "openssl_conf = init\n[init]\nproviders = list\n[list]\nfips = fips_section\n";
            let file = self.hsm.write("fips.loaded", format!("{text}{section}\n"));
            format!("config:{file}")
        });
        let keys = (!makes_keys(&others)).then(|| self.keys.clone());
        let steps = |name: &str| -> Vec<String> {
            let steps = order.iter().map(|step| step.replace(OURS, name));
            let before = [context.to_owned()].into_iter().chain(config.clone());
            before.chain(steps).chain(keys.clone()).collect()
        };
        let (without, with) = (steps("null"), steps("akv_provider"));
        let what = with.join(" ");
        let without: Vec<&str> = without.iter().map(String::as_str).collect();
        let with: Vec<&str> = with.iter().map(String::as_str).collect();
        self.differences(&what, &others, &without, &with)
    }

    /// The differences where a configuration has these providers, and ours at a place among them.
    fn configured(&self, context: &str, query: &str, names: &[&str], at: usize) -> Vec<String> {
        let place = |name| [&names[..at], &[name], &names[at..]].concat();
        let (without, with) = (place("null"), place("akv_provider"));
        let what = format!("{context} context, '{query}', {}", with.join(" "));
        // The program's arguments tell what is in it.
        let stem = format!("{}.{at}", names.join("-"));
        let without =
            "config:".to_owned() + &self.configuration(&(stem.clone() + ".null"), query, &without);
        let with =
            "config:".to_owned() + &self.configuration(&(stem + ".akv_provider"), query, &with);
        let (mut without, mut with) = (vec![context, &without], vec![context, &with]);
        if !makes_keys(names) {
            without.push(&self.keys);
            with.push(&self.keys);
        }
        self.differences(&what, names, &without, &with)
    }
}

/// A token of SoftHSM for the provider pkcs11.
fn make_token(hsm: &mut Hsm) {
    let tokens = hsm.path("tokens");
    fs::create_dir(&tokens).expect("a folder for tokens");
    let configuration = hsm.write("softhsm.conf", format!("directories.tokendir = {tokens}\n"));
    hsm.set("SOFTHSM2_CONF", &configuration);
    let line = "--init-token --free --label tokens --pin 1234 --so-pin 1234";
    let arguments: Vec<&str> = line.split(' ').collect();
    hsm.run("softhsm2-util", &arguments).succeeds();
}

/// A software TPM. A new one for each run: without a resource manager, what a program leaves in it
/// stays there. It isn't told to end with its first connection, which clients open for a look.
struct Tpm {
    process: Child,
    address: String,
}

impl Tpm {
    fn start(hsm: &Hsm) -> Self {
        let state = hsm.path("tpm");
        let _ = fs::remove_dir_all(&state);
        fs::create_dir(&state).expect("a folder for the TPM");
        let socket = format!("{state}/socket");
        let mut command = hsm.command("swtpm");
        command
            .args(["socket", "--tpm2"])
            .args(["--tpmstate", &format!("dir={state}")])
            .args(["--server", &format!("type=unixio,path={socket}")])
            .args(["--ctrl", &format!("type=unixio,path={socket}.ctrl")])
            .args(["--flags", "not-need-init,startup-clear"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = command.spawn().expect("swtpm starts");
        let sockets = [socket.clone(), format!("{socket}.ctrl")];
        let is_there = (0..6000).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            let mut all = sockets.iter();
            all.all(|socket| fs::exists(socket).unwrap_or_default())
        });
        assert!(is_there, "swtpm makes no sockets");
        Self {
            process,
            address: format!("swtpm:path={socket}"),
        }
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The other providers, in an order; where ours stands among them in the sample.
const SAMPLE: [(&[&str], usize); 8] = [
    (&["default", "legacy"], 0),
    (&["default", "fips"], 0),
    (&["fips", "base"], 1),
    (&["fips"], 0),
    (&["legacy", "fips"], 1),
    (&["tpm2", "default"], 1),
    (&["pkcs11", "default"], 1),
    (&["default", "tpm2"], 2),
];

/// Whether software keys can be made by these providers. With a TPM ahead of the
/// others keys are read: it would make all keys, and has no room for so many.
fn makes_keys(names: &[&str]) -> bool {
    let has = |name| names.contains(&name);
    names.first() != Some(&"tpm2") && (has("default") || has("fips"))
}

const ALL: [&str; 6] = ["default", "fips", "legacy", "base", "pkcs11", "tpm2"];

/// The lines that others don't have at their place. `may_be_more`: the others may do what failed.
fn lost<'a>(lines: &'a [String], others: &[String], may_be_more: bool) -> Vec<&'a String> {
    let mut rest = others.iter();
    let mut lost = Vec::new();
    for line in lines {
        let mut after = rest.clone();
        if after.any(|other| other == line || may_be_more && is_more(line, other)) {
            rest = after;
        } else {
            lost.push(line);
        }
    }
    lost
}

/// Whether work that failed is done.
fn is_more(without: &str, with: &str) -> bool {
    let failed = without.strip_suffix(": failed");
    failed.is_some_and(|work| with.strip_suffix(": done") == Some(work))
}

/// Whether one of these providers knows software keys of the usual types.
fn knows_keys(names: &[&str]) -> bool {
    names.contains(&"default") || names.contains(&"fips")
}

/// The providers beside ours after a program has loaded them by these steps.
fn beside_ours<'a>(order: &[&'a str]) -> Vec<&'a str> {
    let names = order.iter().filter_map(|step| step.split(':').nth(1));
    let mut others: Vec<&str> = names.filter(|name| *name != OURS).collect();
    // OpenSSL falls back to that one until a provider is loaded without keeping it.
    if order.iter().all(|step| step.starts_with("fallback:")) && !others.contains(&"default") {
        others.push("default");
    }
    others
}

/// Each other provider alone, and all pairs of them, in both orders.
fn all_orders() -> Vec<(Vec<&'static str>, usize)> {
    let pairs = ALL
        .iter()
        .flat_map(|one| ALL.iter().map(move |two| [*one, *two]));
    pairs
        .filter(|[one, two]| one != two)
        .map(|pair| pair.to_vec())
        .chain(ALL.map(|name| vec![name]))
        .flat_map(|order| (0..=order.len()).map(move |at| (order.clone(), at)))
        .collect()
}

#[test]
fn all_other_providers_are_there_to_be_tried() {
    let missing = Work::start().missing;
    if !missing.is_empty() {
        skip(&format!(
            "software keys beside {}: not installed here, or what they need isn't (SoftHSM, swtpm)",
            missing.join(", ")
        ));
    }
}

#[test]
fn work_with_software_keys_is_the_same_beside_other_providers() {
    let work = Work::start();
    let mut differences = Vec::new();
    let some = SAMPLE.map(|(names, at)| (names.to_vec(), at)).to_vec();
    let tried = match whole() {
        true => all_orders(),
        false => sample(some, 2),
    };
    for (names, at) in tried.iter().filter(|(names, _)| work.has(names)) {
        differences.extend(work.configured("own", "", names, *at));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn work_with_software_keys_is_the_same_by_a_property_query() {
    let work = Work::start();
    let mut differences = Vec::new();
    let queries = [
        ("?fips=yes", ["default", "fips"]),
        ("fips=yes", ["fips", "base"]),
        ("fips=yes", ["default", "fips"]),
        ("?provider=akv_provider", ["default", "legacy"]),
        ("provider=default", ["default", "legacy"]),
        ("?provider=legacy", ["legacy", "default"]),
        ("fips=no", ["default", "fips"]),
    ];
    for (query, names) in sample(queries.to_vec(), 3) {
        if work.has(&names) {
            differences.extend(work.configured("own", query, &names, 0));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn work_with_software_keys_is_the_same_where_the_algorithms_pass_for_fips() {
    let mut work = Work::start();
    work.hsm.set("AKV_ASSUME_FIPS", "yes");
    let mut differences = Vec::new();
    let queries = [
        ("?fips=yes", ["default", "fips"]),
        ("fips=yes", ["fips", "base"]),
        ("", ["default", "legacy"]),
    ];
    for (query, names) in sample(queries.to_vec(), 3) {
        if work.has(&names) {
            differences.extend(work.configured("own", query, &names, 0));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Ours and each other provider, in both orders, each loaded in each way.
fn all_loads() -> Vec<[String; 2]> {
    const WAYS: [&str; 3] = ["load", "fallback", "only"];
    let orders = ALL
        .iter()
        .flat_map(|other| [[OURS, *other], [*other, OURS]]);
    let ways = WAYS
        .iter()
        .flat_map(|one| WAYS.iter().map(move |two| [*one, *two]));
    orders
        .flat_map(|names| {
            let step = move |ways: [&str; 2], at: usize| format!("{}:{}", ways[at], names[at]);
            ways.clone()
                .map(move |ways| [0, 1].map(|at| step(ways, at)))
        })
        .collect()
}

#[test]
fn work_with_software_keys_is_the_same_however_a_program_loads_providers() {
    let mut work = Work::start();
    let orders: [&[&str]; 7] = [
        &["fallback:OURS"],
        &["fallback:OURS", "fallback:legacy"],
        &["only:OURS", "load:default"],
        &["load:legacy", "fallback:OURS", "load:default"],
        &["load:OURS", "load:default"],
        &["load:default", "load:OURS"],
        &["only:default", "only:OURS"],
    ];
    // With each order, both kinds of library contexts.
    let contexts = ["default", "own"];
    let all = orders
        .iter()
        .flat_map(|order| contexts.map(|context| (context, *order)));
    let mut differences = Vec::new();
    for (context, order) in sample(all.collect(), 7) {
        if work.can_load(order) {
            differences.extend(work.loaded(context, order));
        }
    }
    // So many that each does some of the work.
    work.does_all = false;
    let loads = all_loads();
    let all = loads
        .iter()
        .flat_map(|order| contexts.map(|context| (context, order.each_ref().map(String::as_str))));
    for (context, order) in sample(all.collect(), 72) {
        // Where no other has ciphers, there are ours, and no work that could be the same.
        if work.can_load(&order) && knows_keys(&beside_ours(&order)) {
            differences.extend(work.loaded(context, &order));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Such a program's libcrypto can't be asked which provider it would take.
#[test]
fn work_with_software_keys_is_the_same_in_a_program_that_hides_its_libcrypto() {
    let mut work = Work::start();
    let program = work.hsm.path("static");
    let libraries = ["-l:libssl.a", "-l:libcrypto.a", "-ldl"];
    let compiled = work.hsm.compile_with("software_work", &libraries, &program);
    if !compiled.is_success() {
        return skip("a program with libcrypto in itself: it needs libraries that aren't here");
    }
    work.program = program;
    let mut differences = Vec::new();
    let orders = [
        &["fallback:OURS"][..],
        &["load:OURS", "load:default"],
        &["load:default", "load:OURS"],
    ];
    for order in sample(orders.to_vec(), 3) {
        differences.extend(work.loaded("own", order));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// `default_properties = fips=yes`, as OpenSSL's documents have it (fips_module(7)).
#[test]
fn keys_of_the_hsm_sign_under_fips_where_the_settings_allow_it() {
    let mut work = Work::start();
    if !work.has(&["fips"]) {
        return skip("keys of the HSM under fips=yes: there is no FIPS provider");
    }
    work.hsm.create("rsa", RSA_2048);
    work.hsm.create("ec", EC_P256);
    let file = work.configuration("fips.conf", "fips=yes", &["fips", "base", "akv_provider"]);
    let key_file = work.hsm.path("key.pem");
    let write = format!("pkey -in {} -out {key_file}", uri("ec"));
    work.hsm.openssl_line(Loading::Config, &write).succeeds();
    let message = work.hsm.write("message", "m");
    let signature = work.hsm.path("signature");
    for key in [uri("rsa"), uri("ec"), key_file] {
        let arguments = [
            "dgst", "-sha256", "-sign", &key, "-out", &signature, &message,
        ];
        work.hsm.unset("AKV_ASSUME_FIPS");
        work.hsm.set("OPENSSL_CONF", &file);
        work.hsm
            .openssl(Loading::Plain, &arguments)
            .fails_with(&["left out by the property query", "assume-fips = yes"]);
        work.hsm.set("AKV_ASSUME_FIPS", "yes");
        work.hsm.openssl(Loading::Plain, &arguments).succeeds();
        work.hsm.unset("OPENSSL_CONF");
        let public = work.hsm.public_key(Loading::Config, &key);
        work.hsm
            .verifies(&["-sha256"], &public, &signature, &message);
    }
}

/// `fips` takes the public parts of such keys, and writes none.
#[test]
fn keys_of_the_hsm_are_shown_beside_fips_alone() {
    let mut work = Work::start();
    if !work.has(&["fips"]) {
        return skip("keys of the HSM beside fips alone: there is no FIPS provider");
    }
    work.hsm.create("ec", EC_P256);
    let orders = [["fips", "akv_provider"], ["akv_provider", "fips"]];
    for (number, names) in orders.iter().enumerate() {
        let file = work.configuration(&format!("shown.{number}"), "", names);
        work.hsm.set("OPENSSL_CONF", &file);
        for option in ["-text_pub", "-text"] {
            let arguments = ["pkey", "-in", &uri("ec"), "-noout", option];
            let text = work.hsm.openssl(Loading::Plain, &arguments).succeeds();
            assert!(
                text.contains("(256 bit)") && text.contains("pub:"),
                "{text}"
            );
        }
    }
}
