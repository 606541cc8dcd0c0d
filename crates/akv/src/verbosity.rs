//! `-v` and `--debug`: the log, for one command.

use clap::{ArgAction, Args};
use log::LevelFilter;

use crate::OF_ALL;

/// How much is logged.
#[derive(Args)]
pub(crate) struct Verbosity {
    /// Log each request, on standard error or where AKV_LOG_FILE says; -vv as --debug
    #[arg(long, short, global = true, action = ArgAction::Count, help_heading = OF_ALL)]
    verbose: u8,
    /// Log more, for reports of problems; nothing secret. AKV_LOG_LEVEL=debug does the same
    #[arg(long, global = true, help_heading = OF_ALL)]
    debug: bool,
}

impl Verbosity {
    /// None: what the settings say.
    pub(crate) fn level(&self) -> Option<LevelFilter> {
        match (self.debug, self.verbose) {
            (true, _) | (false, 2) => Some(LevelFilter::Debug),
            (false, 0) => None,
            (false, 1) => Some(LevelFilter::Info),
            (false, _) => Some(LevelFilter::Trace),
        }
    }
}
