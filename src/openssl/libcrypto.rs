//! The libcrypto that loaded us, for the few things that the core has no upcall for. Its functions
//! are looked up at run time, as the provider isn't linked with any; where they can't be found the
//! provider does without.

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_void};

/// `CONF_VALUE`: a line of a configuration file.
#[repr(C)]
struct ConfValue {
    section: *const c_char,
    name: *const c_char,
    value: *const c_char,
}

/// The library that a function of the core is in.
pub(super) struct Libcrypto {
    handle: *mut c_void,
    /// Where the library lies in memory. A program that has libcrypto in itself, and hides it, may
    /// have another one loaded, whose functions know nothing of this core.
    base: *mut c_void,
}

impl Libcrypto {
    /// # Safety
    /// `function` is the address of a function of the core.
    #[cfg(unix)]
    pub(super) unsafe fn holding(function: *const c_void) -> Option<Self> {
        let library = library_of(function)?;
        let file = library.dli_fname;
        let flags = libc::RTLD_LAZY | libc::RTLD_NOLOAD;
        // SAFETY: the name is a string of the dynamic linker's; nothing is loaded anew.
        let mut handle = unsafe { libc::dlopen(file, flags) };
        if handle.is_null() {
            // A program that has libcrypto in itself.
            // SAFETY: NULL means the program.
            handle = unsafe { libc::dlopen(std::ptr::null(), flags) };
        }
        (!handle.is_null()).then_some(Self {
            handle,
            base: library.dli_fbase,
        })
    }

    #[cfg(not(unix))]
    pub(super) unsafe fn holding(_function: *const c_void) -> Option<Self> {
        None
    }

    /// # Safety
    /// `F` is the type of the function.
    #[cfg(unix)]
    pub(super) unsafe fn function<F: Copy>(&self, name: &CStr) -> Option<F> {
        const { assert!(size_of::<F>() == size_of::<*const c_void>()) };
        // SAFETY: the handle is open.
        let address = unsafe { libc::dlsym(self.handle, name.as_ptr()) };
        if address.is_null() || library_of(address)?.dli_fbase != self.base {
            return None;
        }
        // SAFETY: the caller's promise; `F` has the size of a pointer.
        Some(unsafe { std::mem::transmute_copy(&address) })
    }

    #[cfg(not(unix))]
    pub(super) unsafe fn function<F: Copy>(&self, _name: &CStr) -> Option<F> {
        None
    }

    /// The keys in the section of `openssl.cnf` for the provider of this name. Empty where that
    /// can't be known.
    pub(super) fn configured_keys(&self, provider: &CStr) -> Vec<String> {
        self.read_keys(provider).unwrap_or_default()
    }

    fn read_keys(&self, provider: &CStr) -> Option<Vec<String>> {
        type Conf = *mut c_void;
        // SAFETY: the types are those of <openssl/conf.h>, <openssl/stack.h>, <openssl/crypto.h>
        // and <openssl/err.h>.
        unsafe {
            let default_file: unsafe extern "C" fn() -> *mut c_char =
                self.function(c"CONF_get1_default_config_file")?;
            let free_text: unsafe extern "C" fn(*mut c_void, *const c_char, c_int) =
                self.function(c"CRYPTO_free")?;
            let new: unsafe extern "C" fn(*const c_void) -> Conf = self.function(c"NCONF_new")?;
            let load: unsafe extern "C" fn(Conf, *const c_char, *mut c_long) -> c_int =
                self.function(c"NCONF_load")?;
            let string: unsafe extern "C" fn(Conf, *const c_char, *const c_char) -> *const c_char =
                self.function(c"NCONF_get_string")?;
            let section: unsafe extern "C" fn(Conf, *const c_char) -> *const c_void =
                self.function(c"NCONF_get_section")?;
            let free: unsafe extern "C" fn(Conf) = self.function(c"NCONF_free")?;
            let count: unsafe extern "C" fn(*const c_void) -> c_int =
                self.function(c"OPENSSL_sk_num")?;
            let element: unsafe extern "C" fn(*const c_void, c_int) -> *const ConfValue =
                self.function(c"OPENSSL_sk_value")?;
            let set_mark: unsafe extern "C" fn() -> c_int = self.function(c"ERR_set_mark")?;
            let pop_to_mark: unsafe extern "C" fn() -> c_int = self.function(c"ERR_pop_to_mark")?;

            // Absent sections are no errors here.
            set_mark();
            let file = default_file();
            let conf = new(std::ptr::null());
            let mut keys = None;
            if !file.is_null() && !conf.is_null() && load(conf, file, std::ptr::null_mut()) > 0 {
                let path = [c"openssl_conf", c"providers", provider];
                let found = path.iter().try_fold(CString::default(), |within, name| {
                    let within = match within.is_empty() {
                        true => std::ptr::null(),
                        false => within.as_ptr(),
                    };
                    let value = string(conf, within, name.as_ptr());
                    (!value.is_null()).then(|| CStr::from_ptr(value).to_owned())
                });
                let values = found.map(|name| section(conf, name.as_ptr()));
                keys = values.filter(|values| !values.is_null()).map(|values| {
                    (0..count(values))
                        .map(|i| CStr::from_ptr((*element(values, i)).name))
                        .map(|name| name.to_string_lossy().into_owned())
                        .collect()
                });
            }
            if !conf.is_null() {
                free(conf);
            }
            free_text(file.cast(), c"".as_ptr(), 0);
            pop_to_mark();
            keys
        }
    }
}

/// What the dynamic linker knows of the library that an address is in.
#[cfg(unix)]
fn library_of(address: *const c_void) -> Option<libc::Dl_info> {
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: the address is only compared, and there is room for the answer.
    let found = unsafe { libc::dladdr(address, info.as_mut_ptr()) };
    // SAFETY: all of it is set, or zero.
    (found != 0).then(|| unsafe { info.assume_init() })
}

impl Drop for Libcrypto {
    fn drop(&mut self) {
        #[cfg(unix)]
        // SAFETY: the handle is open and not used after this.
        unsafe {
            libc::dlclose(self.handle);
        }
    }
}
