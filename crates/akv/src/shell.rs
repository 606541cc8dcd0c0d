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

/// The same for zsh, instead of the function that it looks for, which then has another name.
const ZSH_KEYS: &str = r#"
_akv() {
    local -a keys
    case $PREFIX in
        managedhsm:*:*|keyvault:*:*)
            keys=(${(f)"$(AKV_OPERATION_TIMEOUT=3 akv keys list "${PREFIX%:*}" --query '[].name' -o tsv 2>/dev/null)"})
            compset -P '*:'
            compadd -a keys
            ;;
        *) _akv_without_keys "$@" ;;
    esac
}
"#;

/// What the last lines of the script for zsh begin with.
const ZSH_END: &str = "\nif [ \"$funcstack[1]\" = \"_akv\" ]; then";

/// The same for fish, which adds them to what it knows already.
const FISH_KEYS: &str = r#"
function __fish_akv_keys
    set -l vault (string match --regex '^(?:managedhsm|keyvault):[^:]*(?=:)' -- (commandline --current-token))
    or return
    AKV_OPERATION_TIMEOUT=3 akv keys list $vault --query '[].name' -o tsv 2>/dev/null | string replace --regex '^' "$vault:"
end
complete --command akv --condition 'string match --quiet --regex "^(managedhsm|keyvault):[^:]*:" -- (commandline --current-token)' --no-files --arguments '(__fish_akv_keys)'
"#;

#[derive(Args)]
#[command(after_help = "Example:\n  akv completions bash > /etc/bash_completion.d/akv")]
pub(crate) struct Completions {
    /// The shell; in bash, zsh and fish the names of keys are completed, too
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(&self) -> Result<Report, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "akv", &mut script);
        let mut text = String::from_utf8_lossy(&script).into_owned();
        match self.shell {
            Shell::Bash => text += BASH_KEYS,
            Shell::Fish => text += FISH_KEYS,
            Shell::Zsh => text = with_keys_in_zsh(&text),
            _ => {}
        }
        let about = json!({ "shell": self.shell.to_string(), "script": text });
        Ok(Report::new(text, about))
    }
}

/// The script for zsh, whose last lines call `_akv` or name it to zsh: what was that before is
/// called by what completes keys.
fn with_keys_in_zsh(script: &str) -> String {
    let (functions, end) = script.split_once(ZSH_END).unwrap_or((script, ""));
    let functions = functions.replacen("\n_akv() {\n", "\n_akv_without_keys() {\n", 1);
    [&functions, ZSH_KEYS, ZSH_END, end].concat()
}
