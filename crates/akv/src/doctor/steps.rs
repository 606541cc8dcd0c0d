//! What was checked, and what came of it.

use serde_json::{Value, json};

use crate::output::{Report, one_line};

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
}

struct Step {
    name: &'static str,
    status: Status,
    detail: String,
    remedy: Option<String>,
    data: Value,
}

/// All checks so far.
#[derive(Default)]
pub(crate) struct Steps(Vec<Step>);

impl Steps {
    /// A check that found nothing wrong.
    pub(crate) fn good(&mut self, name: &'static str, detail: String) {
        self.good_with(name, detail, Value::Null);
    }

    /// A check that found nothing wrong, with figures for programs.
    pub(crate) fn good_with(&mut self, name: &'static str, detail: String, data: Value) {
        self.0.push(Step {
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
        self.0.push(Step {
            name,
            status,
            detail: one_line(&detail),
            remedy: Some(remedy.into()),
            data: Value::Null,
        });
    }

    /// A check that could not be tried, and why.
    pub(crate) fn skip(&mut self, name: &'static str, why: &str) {
        self.0.push(Step {
            name,
            status: Status::Skipped,
            detail: one_line(why),
            remedy: None,
            data: Value::Null,
        });
    }

    fn count(&self, status: Status) -> usize {
        self.0.iter().filter(|step| step.status == status).count()
    }

    /// Bad if a check failed.
    pub(crate) fn report(self) -> Report {
        let failed = self.count(Status::Failed);
        let width = self.0.iter().map(|step| step.name.len()).max();
        let width = width.unwrap_or(0);
        let mut text = String::new();
        for step in &self.0 {
            text += &format!(
                "{:7}  {:width$}  {}\n",
                step.status.name(),
                step.name,
                step.detail
            );
            if let Some(remedy) = &step.remedy {
                text += &format!("{:7}  {:width$}  -> {remedy}\n", "", "");
            }
        }
        text += &match (failed, self.count(Status::Warning)) {
            (0, 0) => "\nAll is well.\n".to_owned(),
            (0, warnings) => format!("\nIt works, with {warnings} warning(s).\n"),
            (failed, _) => format!("\n{failed} check(s) failed.\n"),
        };
        let first = self.0.iter().find(|step| step.status == Status::Failed);
        let steps = self.0.iter().map(|step| {
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
            "steps": steps.collect::<Vec<_>>(),
        });
        let mut report = Report::new(text, json);
        report.is_good = failed == 0;
        report
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
        steps.skip("keys", "none");
        let report = steps.report();
        assert!(report.is_good && report.text.contains("1 warning"));
        assert_eq!(report.json["status"], "ok");

        let mut steps = Steps::default();
        steps.add("tls", Status::Failed, "no\ntrust".to_owned(), "trust");
        let report = steps.report();
        assert!(!report.is_good);
        assert_eq!(report.json["first_failure"], "tls");
        assert!(
            report.text.contains("failed   tls  no trust\n"),
            "{}",
            report.text
        );
        assert!(report.text.contains("-> trust\n"), "{}", report.text);
    }
}
