//! Values that are made late.

use std::sync::OnceLock;

/// A value that is made when it is first asked for, perhaps by several threads at a time. With
/// [`OnceLock::get_or_init`] alone, a child that is forked meanwhile would wait for ever for the
/// thread that makes it.
pub fn once<T>(place: &OnceLock<T>, make: impl FnOnce() -> T) -> &T {
    match place.get() {
        Some(made) => made,
        None => {
            let made = make();
            place.get_or_init(|| made)
        }
    }
}
