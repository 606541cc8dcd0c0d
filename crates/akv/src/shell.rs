//! `akv completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use serde_json::json;

use crate::Arguments;
use crate::failure::Failure;
use crate::output::Report;

/// Completes the names of keys where a word names a vault. Bash cuts words at colons, unless it is
/// told otherwise.
const BASH_KEYS: &str = r#"
_akv_with_keys() {
    local before="${COMP_LINE:0:COMP_POINT}" word vault key prefix
    word="${before##*[[:space:]]}"
    case $word in
        managedhsm:*:* | keyvault:*:*)
            vault="${word%:*}"
            case $COMP_WORDBREAKS in *:*) prefix= ;; *) prefix="$vault:" ;; esac
            COMPREPLY=()
            while IFS= read -r key; do
                case $key in "${word##*:}"*) COMPREPLY+=("$prefix$key") ;; esac
            done < <(AKV_OPERATION_TIMEOUT=3 akv keys list "$vault" --query '[].name' -o tsv 2>/dev/null)
            ;;
        *) _akv "$@" ;;
    esac
}
complete -F _akv_with_keys -o nosort -o bashdefault -o default akv
"#;

#[derive(Args)]
#[command(after_help = "Example:\n  akv completions bash > /etc/bash_completion.d/akv")]
pub(crate) struct Completions {
    /// The shell; in bash the names of keys are completed, too
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(&self) -> Result<Report, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "akv", &mut script);
        let mut text = String::from_utf8_lossy(&script).into_owned();
        if self.shell == Shell::Bash {
            text += BASH_KEYS;
        }
        let about = json!({ "shell": self.shell.to_string(), "script": text });
        Ok(Report::new(text, about))
    }
}
