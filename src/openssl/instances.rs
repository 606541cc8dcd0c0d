//! The instances of this provider, one for each library context that it is loaded in.
//!
//! The core takes an instance down when nothing of it is in use any more, which may be after
//! libcrypto itself has ended: a key may be freed last, by the destructor of a C++ object, say. So
//! teardown calls nothing of the core. What the core may call for as long as it lives names an
//! instance by a number, which then leads nowhere.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

use crate::provider::Provider;

static INSTANCES: RwLock<BTreeMap<usize, Instance>> = RwLock::new(BTreeMap::new());

struct Instance {
    provider: *const Provider,
    /// Whether the core was told that it stays.
    stays: bool,
}

// SAFETY: a provider may be used from any thread.
unsafe impl Send for Instance {}
// SAFETY: a provider may be used from several threads at once.
unsafe impl Sync for Instance {}

/// Takes in a new instance, which stays where it is until [`remove`]. Returns its number.
pub(super) fn add(provider: &Provider) -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let instance = Instance {
        provider,
        stays: false,
    };
    let mut instances = INSTANCES.write().unwrap_or_else(PoisonError::into_inner);
    instances.insert(number, instance);
    number
}

/// Forgets an instance. Returns whether it was the last one.
pub(super) fn remove(provider: &Provider) -> bool {
    let mut instances = INSTANCES.write().unwrap_or_else(PoisonError::into_inner);
    instances.retain(|_, instance| !std::ptr::eq(instance.provider, provider));
    instances.is_empty()
}

/// Does something with the instance of this number, if it is still there.
pub(super) fn with(number: usize, act: impl FnOnce(&Provider)) {
    let instances = INSTANCES.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(instance) = instances.get(&number) {
        // SAFETY: it is there until `remove`, which waits for the lock.
        act(unsafe { &*instance.provider });
    }
}

/// Readies all instances for the end of libcrypto, and lets go of what they hold. They stay loaded:
/// libcrypto 3.0 takes down a provider that is given back after its clean-up through locks that it
/// has freed.
pub(super) fn clean_up() {
    let mut instances = INSTANCES.write().unwrap_or_else(PoisonError::into_inner);
    for instance in instances.values_mut() {
        // SAFETY: it is there until `remove`, which waits for the lock.
        let provider = unsafe { &*instance.provider };
        if !std::mem::replace(&mut instance.stays, true) {
            provider.neighbours.keep_own();
        }
        provider.close();
    }
}
