//! What was checked, and what came of it: shown as it is known, and told as a whole at the end.

use std::fmt::Write as _;
use std::io::Write;

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use crate::output::{OutputOptions, Report, one_line};
use crate::progress::Spinner;

/// The width of the longest name of a step.
const WIDTH: usize = "name-resolution".len();
/// The longest detail in the table for an issue, in characters.
const LONGEST_CELL: usize = 160;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Ok,
    /// It works, and may not for long or not everywhere.
    Warning,
    Failed,
    /// It could not be tried.
    Skipped,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }

    /// For terminals; elsewhere it is left out.
    fn style(self) -> Style {
        let colour = match self {
            Self::Ok => AnsiColor::Green,
            Self::Warning => AnsiColor::Yellow,
            Self::Failed => AnsiColor::Red,
            Self::Skipped => return Style::new().dimmed(),
        };
        colour.on_default().bold()
    }
}

struct Step {
    name: &'static str,
    status: Status,
    detail: String,
    remedy: Option<String>,
    data: Value,
}

impl Step {
    /// A line for people, and one for the remedy.
    fn lines(&self) -> String {
        let (style, name) = (self.status.style(), self.status.name());
        let mut text = format!(
            "{style}{name:7}{style:#}  {:WIDTH$}  {}\n",
            self.name, self.detail
        );
        if let Some(remedy) = &self.remedy {
            let _ = writeln!(text, "{:7}  {:WIDTH$}  -> {remedy}", "", "");
        }
        text
    }
}

/// All checks so far.
#[derive(Default)]
pub(crate) struct Steps {
    all: Vec<Step>,
    /// Whether each is shown as it is known.
    is_live: bool,
    /// What is no check here, and could be taken for one.
    beside: Vec<String>,
    /// What is being done.
    spinner: Option<Spinner>,
}

impl Steps {
    /// Shows each step at once where the output is for people.
    pub(crate) fn shown(output: &OutputOptions) -> Self {
        Self {
            is_live: output.is_plain(),
            ..Self::default()
        }
    }

    /// Says what is being done, where it takes longer and standard error is a terminal.
    pub(crate) fn doing(&mut self, what: impl Into<String>) {
        self.spinner = None;
        self.spinner = Some(Spinner::start(what));
    }

    fn push(&mut self, step: Step) {
        self.spinner = None;
        if self.is_live {
            // Whoever has gone is missed when the report is printed.
            let mut out = anstream::stdout().lock();
            let _ = out.write_all(step.lines().as_bytes());
            let _ = out.flush();
        }
        self.all.push(step);
    }

    /// A check that found nothing wrong.
    pub(crate) fn good(&mut self, name: &'static str, detail: String) {
        self.good_with(name, detail, Value::Null);
    }

    /// A check that found nothing wrong, with figures for programs.
    pub(crate) fn good_with(&mut self, name: &'static str, detail: String, data: Value) {
        self.push(Step {
            name,
            status: Status::Ok,
            detail: one_line(&detail),
            remedy: None,
            data,
        });
    }

    /// A check that found something wrong, and what to do.
    pub(crate) fn add(
        &mut self,
        name: &'static str,
        status: Status,
        detail: String,
        remedy: impl Into<String>,
    ) {
        self.push(Step {
            name,
            status,
            detail: one_line(&detail),
            remedy: Some(remedy.into()),
            data: Value::Null,
        });
    }

    /// A check that could not be tried, and why.
    pub(crate) fn skip(&mut self, name: &'static str, why: &str) {
        self.push(Step {
            name,
            status: Status::Skipped,
            detail: one_line(why),
            remedy: None,
            data: Value::Null,
        });
    }

    /// Says of something that it is not looked at, which a reader could take for checked.
    pub(crate) fn beside(&mut self, text: &str) {
        self.beside.push(text.to_owned());
    }

    fn untried(&self) -> Vec<String> {
        let skipped = self.all.iter();
        let skipped = skipped.filter(|step| step.status == Status::Skipped);
        let skipped = skipped.map(|step| format!("{}: {}", step.name, step.detail));
        skipped.chain(self.beside.iter().cloned()).collect()
    }

    fn count(&self, status: Status) -> usize {
        self.all.iter().filter(|step| step.status == status).count()
    }

    /// Bad if a check failed.
    pub(crate) fn report(self) -> Report {
        let failed = self.count(Status::Failed);
        let mut text = match self.is_live {
            true => String::new(),
            false => self.all.iter().map(Step::lines).collect(),
        };
        text += &match (failed, self.count(Status::Warning)) {
            (0, 0) => "\nAll is well.\n".to_owned(),
            (0, warnings) => format!("\nIt works, with {warnings} warning(s).\n"),
            (failed, _) => format!("\n{failed} check(s) failed.\n"),
        };
        let untried = self.untried();
        for line in &untried {
            let _ = writeln!(text, "Not tried: {line}");
        }
        let first = self.all.iter().find(|step| step.status == Status::Failed);
        let steps = self.all.iter().map(|step| {
            json!({
                "step": step.name,
                "status": step.status.name(),
                "detail": step.detail,
                "remedy": step.remedy,
                "data": step.data,
            })
        });
        let json = json!({
            "status": if failed == 0 { "ok" } else { "failed" },
            "first_failure": first.map(|step| step.name),
            "failed": failed,
            "warnings": self.count(Status::Warning),
            "not_tried": untried,
            "steps": steps.collect::<Vec<_>>(),
        });
        let mut report = Report::new(text, json);
        report.is_good = failed == 0;
        report
    }

    /// All steps as a table of Markdown, without remedies.
    pub(crate) fn table(&self) -> String {
        let mut text = format!(
            "akv {}, {} {}\n\n| step | status | detail |\n|---|---|---|\n",
            env!("CARGO_PKG_VERSION"),
            std::env::consts::OS,
            std::env::consts::ARCH
        );
        for step in &self.all {
            let mut detail: String = step.detail.chars().take(LONGEST_CELL).collect();
            if detail.len() < step.detail.len() {
                detail.push('…');
            }
            let detail = detail.replace('|', "\\|");
            let _ = writeln!(
                text,
                "| {} | {} | {detail} |",
                step.name,
                step.status.name()
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_decides_and_a_warning_does_not() {
        let mut steps = Steps::default();
        steps.good("openssl", "OpenSSL 3".to_owned());
        steps.add("clock", Status::Warning, "slow".to_owned(), "set it");
        steps.skip("keys", "no a|b");
        let table = steps.table();
        assert!(table.contains("| openssl | ok | OpenSSL 3 |\n"), "{table}");
        assert!(
            table.ends_with("| keys | skipped | no a\\|b |\n"),
            "{table}"
        );
        let report = steps.report();
        assert!(report.is_good && report.text.contains("1 warning"));
        assert!(report.text.ends_with("Not tried: keys: no a|b\n"));
        assert_eq!(report.json["status"], "ok");

        let mut steps = Steps::default();
        steps.add("tls", Status::Failed, "no\ntrust".to_owned(), "trust");
        let report = steps.report();
        assert!(!report.is_good);
        assert_eq!(report.json["first_failure"], "tls");
        assert!(
            anstream::adapter::strip_str(&report.text)
                .to_string()
                .contains("failed   tls              no trust\n"),
            "{}",
            report.text
        );
        assert!(report.text.contains("-> trust\n"), "{}", report.text);
    }
}
