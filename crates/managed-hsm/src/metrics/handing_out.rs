//! Where what is counted goes, by the settings that came first.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::registry::Registry;
use super::reporter::{Plan, Reporter};
use crate::forks::Work;
use crate::settings::client::Settings;

static PLAN: OnceLock<Plan> = OnceLock::new();
/// Whether somebody was told that others have no effect.
static IS_TOLD: AtomicBool = AtomicBool::new(false);

/// Notes what settings ask for. Whether that is anything.
pub(super) fn plan(settings: &Settings) -> bool {
    let Some((front_end, version)) = settings.front_end.measured() else {
        return false;
    };
    let plan = Plan {
        front_end: front_end.to_owned(),
        version: version.to_owned(),
        folder: settings.metrics_folder.clone(),
        sockets: settings.metrics_sockets.clone(),
    };
    if plan.folder.is_none() && plan.sockets.is_none() {
        return false;
    }
    let _work = Work::begin();
    let first = PLAN.get_or_init(|| plan.clone());
    if *first != plan && !IS_TOLD.swap(true, Ordering::Relaxed) {
        log::warn!(
            "metrics-folder and metrics-sockets have no effect here: a process has one of each, by the settings that came first"
        );
    }
    true
}

/// Has the thread run that hands out what is counted.
pub(super) fn report(registry: &Arc<Registry>) {
    if registry.is_reported.load(Ordering::Relaxed) {
        return;
    }
    let Some(plan) = PLAN.get() else { return };
    if registry.is_reported.swap(true, Ordering::SeqCst) {
        return;
    }
    match Reporter::start(plan, registry) {
        Ok(reporter) => registry.reporter.store(Some(Arc::new(reporter))),
        Err(error) => log::warn!("metrics: their thread can't be started: {error}"),
    }
}

/// Ends that thread.
pub(super) fn stop(registry: &Registry) {
    if let Some(reporter) = registry.reporter.swap(None) {
        reporter.stop();
        registry.is_reported.store(false, Ordering::SeqCst);
    }
}

/// Closes what a child has of its parent's socket: it would seem to be listened at when the parent
/// has ended.
pub(super) fn let_go(of_parent: &Registry) {
    drop(of_parent.listener.swap(None));
}
