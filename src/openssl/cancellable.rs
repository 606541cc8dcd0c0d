//! Functions of dispatch tables that are cancellation points.

/// A function of a dispatch table that is a cancellation point after it has done its work. `input`
/// and `no_input` are the forms that operations have; a function with a form of its own names its
/// parameters and their types.
macro_rules! cancellable {
    ($function:ident: input) => {
        cancellable!($function(
            context: *mut std::ffi::c_void,
            out: *mut u8,
            len: *mut usize,
            capacity: usize,
            input: *const u8,
            input_len: usize,
        ))
    };
    ($function:ident: no_input) => {
        cancellable!($function(
            context: *mut std::ffi::c_void,
            out: *mut u8,
            len: *mut usize,
            capacity: usize,
        ))
    };
    ($function:ident($($parameter:ident: $type:ty,)*)) => {
        hsm_module::cancellable!($function($($parameter: $type),*) -> std::ffi::c_int)
    };
}
pub(super) use cancellable;
