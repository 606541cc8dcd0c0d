//! What `akv completions` prints, in the shells that it is for.

use std::env;
use std::io::Write;
use std::process::{Command, Stdio};

use testing::is_there;

use super::RSA_2048;
use crate::support::{EC_P256, Hsm, skip};

/// An HSM with keys, and the folder of `akv` at the front of PATH.
fn with_keys() -> (Hsm, std::ffi::OsString) {
    let keys = [("web", EC_P256), ("web-old", EC_P256), ("doc", RSA_2048)];
    let hsm = Hsm::with_keys(&keys);
    let akv = testing::built::program("akv");
    let folders = [akv.parent().expect("its folder").to_owned()];
    let path = env::var_os("PATH").unwrap_or_default();
    let path = folders.into_iter().chain(env::split_paths(&path));
    (hsm, env::join_paths(path).expect("folders"))
}

/// What is typed before a tabulator, and what stands there after it.
const TYPED: [(&str, &str); 4] = [
    (
        "akv keys show managedhsm:MyHSM:do",
        "akv keys show managedhsm:MyHSM:doc",
    ),
    (
        "akv sign managedhsm:MyHSM:we",
        "akv sign managedhsm:MyHSM:web",
    ),
    (
        "akv keys show managedhsm:MyHSM:x",
        "akv keys show managedhsm:MyHSM:x",
    ),
    ("akv docto", "akv doctor"),
];

/// Whether a shell is there. If it is not, says that the test is skipped.
fn has(shell: &str) -> bool {
    let is_there = is_there(shell);
    if !is_there {
        skip(&format!("completions: {shell} is not installed"));
    }
    is_there
}

/// What a shell prints for a script, with the emulator's settings.
fn printed(hsm: &Hsm, path: &std::ffi::OsStr, shell: [&str; 3], file: &str) -> String {
    let mut command: Command = hsm.limited(&shell.map(Into::into));
    command
        .arg(file)
        .env("PATH", path)
        .env("HOME", hsm.file(""));
    let output = command.output().expect("the shell runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn bash_completes_the_names_of_keys() {
    let keys = [("web", EC_P256), ("web-old", EC_P256), ("doc", RSA_2048)];
    let hsm = Hsm::with_keys(&keys);
    let script = hsm.akv(&["completions", "bash"]).succeeds();
    let script = hsm.write("completions", script);
    let akv = hsm.akv_command(&[]);
    let program = akv.get_args().last().expect("the program").to_owned();
    let program = program.to_str().expect("text");
    for (breaks, line, expected) in [
        (" :", "akv keys show managedhsm:MyHSM:we", "web web-old"),
        (" ", "akv sign managedhsm:MyHSM:d", "managedhsm:MyHSM:doc"),
        (" :", "akv keys show managedhsm:MyHSM:x", ""),
        (" :", "akv keys rotat", "rotate rotation-policy"),
    ] {
        let shell = format!(
            "akv() {{ {program} \"$@\"; }}; . {script}; COMP_WORDBREAKS='{breaks}'; COMP_LINE='{line}'
            COMP_POINT=${{#COMP_LINE}}; COMP_WORDS=($COMP_LINE); COMP_CWORD=2
            _akv_with_keys akv \"${{COMP_WORDS[2]}}\" \"${{COMP_WORDS[1]}}\"
            echo \"${{COMPREPLY[*]}}\""
        );
        let mut command = hsm.command("bash");
        let output = command.args(["-c", &shell]).output().expect("bash runs");
        let told = String::from_utf8_lossy(&output.stdout);
        assert_eq!(told.trim(), expected, "{line}: {output:?}");
    }
}

/// Readline cuts the line into words itself, as it does for a person.
#[test]
fn bash_completes_what_is_typed_at_a_terminal() {
    if !has("script") {
        return;
    }
    let (hsm, path) = with_keys();
    let script = hsm.akv(&["completions", "bash"]).succeeds();
    let script = hsm.write("completions", script);
    let mut typed = TYPED.to_vec();
    typed.push((
        "akv keys create managedhsm:MyHSM:n --cur",
        "akv keys create managedhsm:MyHSM:n --curve",
    ));
    let mut keys = format!("PS1=; . {script}\n");
    for (line, _) in &typed {
        // Then to the beginning of the line, to print what stands there instead of doing it.
        keys += &format!("{line}\t\u{1}echo G''OT \n");
    }
    let shell = "stty cols 200 rows 40; exec bash --norc --noprofile -i";
    let line = [
        "script",
        "--quiet",
        "--return",
        "--command",
        shell,
        "/dev/null",
    ];
    let mut command = hsm.limited(&line.map(Into::into));
    command
        .env("PATH", path)
        .env("HOME", hsm.file(""))
        .env("INPUTRC", "/dev/null")
        .env("TERM", "dumb")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut shell = command.spawn().expect("script runs");
    let mut input = shell.stdin.take().expect("a pipe");
    input
        .write_all(format!("{keys}exit\n").as_bytes())
        .expect("it is typed");
    let output = shell.wait_with_output().expect("it ends");
    drop(input);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let got = told.lines().filter_map(|line| line.split_once("GOT "));
    let got: Vec<&str> = got.map(|(_, line)| line.trim_end()).collect();
    let expected: Vec<&str> = typed.iter().map(|(_, expected)| *expected).collect();
    assert_eq!(got, expected, "{told}");
}

#[test]
fn fish_completes_the_names_of_keys() {
    if !has("fish") {
        return;
    }
    let (hsm, path) = with_keys();
    let script = hsm.akv(&["completions", "fish"]).succeeds();
    let script = hsm.write("akv.fish", script);
    for (line, expected) in [
        (
            "akv keys show managedhsm:MyHSM:we",
            &["managedhsm:MyHSM:web", "managedhsm:MyHSM:web-old"][..],
        ),
        ("akv sign managedhsm:MyHSM:d", &["managedhsm:MyHSM:doc"]),
        ("akv keys show managedhsm:MyHSM:x", &[]),
        ("akv keys rotat", &["rotate", "rotation-policy"]),
    ] {
        let asked = hsm.write(
            "ask.fish",
            format!("source {script}; complete -C '{line}'\n"),
        );
        let told = printed(&hsm, &path, ["fish", "--no-config", "--private"], &asked);
        let words = told.lines().filter_map(|line| line.split('\t').next());
        assert_eq!(words.collect::<Vec<_>>(), expected, "{line}");
    }
}

#[test]
fn zsh_completes_the_names_of_keys() {
    if !has("zsh") {
        return;
    }
    let (hsm, path) = with_keys();
    let script = hsm.akv(&["completions", "zsh"]).succeeds();
    hsm.write("_akv", script);
    // What is typed at a terminal, with a tabulator at the end, is shown as the arguments of print.
    let keys: String = TYPED
        .iter()
        .map(|(line, _)| {
            format!("zpty -w -n z '{line}'$'\\t'; zpty -w z $'\\x01print -r -- GOT '\n")
        })
        .collect();
    let folder = hsm.path("");
    let start = format!(
        "zmodload zsh/zpty; zpty z 'zsh -f -i'
        zpty -w z 'PS1=; fpath=({folder} $fpath); autoload -U compinit; compinit -u -D'\n"
    );
    let end = "zpty -w z exit; while zpty -r z line; do print -r -- \"$line\"; done\n";
    let asked = hsm.write("ask.zsh", [&start, &keys, end].concat());
    let told = printed(&hsm, &path, ["zsh", "-f", "-e"], &asked);
    let got = told
        .lines()
        .filter_map(|line| line.trim_end().strip_prefix("GOT "));
    let got: Vec<&str> = got.collect();
    let expected: Vec<&str> = TYPED.iter().map(|(_, expected)| *expected).collect();
    assert_eq!(got, expected, "{told}");
}
