//! What programs did, and whether that is what they should do.

use std::process::{Command, Output};

/// What a program did.
#[derive(Debug)]
pub struct Outcome {
    command: String,
    output: Output,
}

impl Outcome {
    /// Runs a command to its end.
    ///
    /// # Panics
    /// The program doesn't start.
    #[must_use]
    pub fn of(mut command: Command) -> Self {
        let output = command.output().expect("the program starts");
        Self {
            command: shown(&command),
            output,
        }
    }

    /// Standard output, as bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.output.stdout
    }

    /// Standard output and standard error, one after the other.
    #[must_use]
    pub fn text(&self) -> String {
        let both = [&self.output.stdout[..], &self.output.stderr[..]].concat();
        String::from_utf8_lossy(&both).into_owned()
    }

    /// Standard output of a program that must have ended well.
    ///
    /// # Panics
    /// It didn't.
    #[track_caller]
    pub fn succeeds(&self) -> String {
        assert!(
            self.output.status.success(),
            "{}\n{}\n{}",
            self.command,
            self.output.status,
            self.text()
        );
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    /// The same as JSON.
    ///
    /// # Panics
    /// The program failed, or wrote something else.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.succeeds()).expect("it is JSON")
    }

    /// Standard error.
    #[must_use]
    pub fn errors(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// The exit status; none: a signal ended it.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    /// Whether the program ended well.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.output.status.success()
    }

    /// Checks that the program failed by itself (no hang, no signal), and that its output holds all
    /// the words, in any case. Returns the output.
    ///
    /// # Panics
    /// It didn't, or lacks a word.
    #[track_caller]
    pub fn fails_with(&self, words: &[&str]) -> String {
        let text = self.text();
        let code = self.output.status.code();
        assert!(
            code.is_some_and(|code| (1..124).contains(&code)),
            "{}\nended with {}, an error was expected\n{text}",
            self.command,
            self.output.status
        );
        let lower = text.to_lowercase();
        for word in words {
            assert!(
                lower.contains(&word.to_lowercase()),
                "{}\nthe message lacks '{word}':\n{text}",
                self.command
            );
        }
        text
    }
}

/// A command as it is shown in failures: without the environment, which has a token.
fn shown(command: &Command) -> String {
    let words = [command.get_program()]
        .into_iter()
        .chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}
