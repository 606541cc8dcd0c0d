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
        (!handle.is_null()).then(|| Self {
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

    /// What the default configuration file says of the provider of this name. None: that can't be
    /// known.
    pub(super) fn configured(&self, provider: &CStr) -> Option<Configured> {
        // SAFETY: the types are those of <openssl/conf.h>, <openssl/crypto.h> and <openssl/err.h>.
        unsafe {
            let default_file: unsafe extern "C" fn() -> *mut c_char =
                self.function(c"CONF_get1_default_config_file")?;
            let free_text: unsafe extern "C" fn(*mut c_void, *const c_char, c_int) =
                self.function(c"CRYPTO_free")?;
            let set_mark: unsafe extern "C" fn() -> c_int = self.function(c"ERR_set_mark")?;
            let pop_to_mark: unsafe extern "C" fn() -> c_int = self.function(c"ERR_pop_to_mark")?;
            let reading = Reading::by(self)?;

            let file = default_file();
            if file.is_null() {
                return None;
            }
            // Absent sections are no errors here.
            set_mark();
            // A FIFO that was read to its end would be waited for.
            let configured = match is_regular(CStr::from_ptr(file)) {
                true => reading.read(file, provider),
                false => None,
            };
            free_text(file.cast(), c"".as_ptr(), 0);
            pop_to_mark();
            configured
        }
    }
}

/// A key in the provider's section.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: String,
    /// Its value, if that is the name of a section, too: libcrypto takes it for that section, and
    /// the key has no value.
    pub(crate) section: Option<String>,
}

/// What a configuration file says of a provider.
#[derive(Default)]
pub(super) struct Configured {
    pub(super) keys: Vec<Key>,
    /// What libcrypto makes of them: names and values.
    pub(super) parameters: Vec<(String, String)>,
}

type Conf = *mut c_void;

/// How deep sections may name sections.
const MAX_DEPTH: usize = 8;

/// The functions that a configuration file is read by.
struct Reading {
    new: unsafe extern "C" fn(*const c_void) -> Conf,
    load: unsafe extern "C" fn(Conf, *const c_char, *mut c_long) -> c_int,
    string: unsafe extern "C" fn(Conf, *const c_char, *const c_char) -> *const c_char,
    section: unsafe extern "C" fn(Conf, *const c_char) -> *const c_void,
    free: unsafe extern "C" fn(Conf),
    count: unsafe extern "C" fn(*const c_void) -> c_int,
    element: unsafe extern "C" fn(*const c_void, c_int) -> *const ConfValue,
}

impl Reading {
    fn by(libcrypto: &Libcrypto) -> Option<Self> {
        // SAFETY: the types are those of <openssl/conf.h> and <openssl/stack.h>.
        unsafe {
            Some(Self {
                new: libcrypto.function(c"NCONF_new")?,
                load: libcrypto.function(c"NCONF_load")?,
                string: libcrypto.function(c"NCONF_get_string")?,
                section: libcrypto.function(c"NCONF_get_section")?,
                free: libcrypto.function(c"NCONF_free")?,
                count: libcrypto.function(c"OPENSSL_sk_num")?,
                element: libcrypto.function(c"OPENSSL_sk_value")?,
            })
        }
    }

    /// # Safety
    /// `file` is a string.
    unsafe fn read(&self, file: *const c_char, provider: &CStr) -> Option<Configured> {
        // SAFETY: NULL means the usual format; the caller promises a string.
        unsafe {
            let conf = (self.new)(std::ptr::null());
            if conf.is_null() {
                return None;
            }
            let mut configured = None;
            if (self.load)(conf, file, std::ptr::null_mut()) > 0 {
                configured = self.find(conf, provider).map(|section| {
                    let mut configured = Configured::default();
                    self.collect(conf, &section, "", &mut configured);
                    configured
                });
            }
            (self.free)(conf);
            configured
        }
    }

    /// The name of the provider's section.
    ///
    /// # Safety
    /// `conf` is a configuration.
    unsafe fn find(&self, conf: Conf, provider: &CStr) -> Option<CString> {
        let path = [c"openssl_conf", c"providers", provider];
        path.iter().try_fold(CString::default(), |within, name| {
            let within = match within.is_empty() {
                true => std::ptr::null(),
                false => within.as_ptr(),
            };
            // SAFETY: the caller promises a configuration, which has strings.
            unsafe {
                let value = (self.string)(conf, within, name.as_ptr());
                (!value.is_null()).then(|| CStr::from_ptr(value).to_owned())
            }
        })
    }

    /// Takes in a section, and the sections that its values name: their keys get the key's name
    /// before their own.
    ///
    /// # Safety
    /// `conf` is a configuration.
    unsafe fn collect(&self, conf: Conf, section: &CStr, before: &str, into: &mut Configured) {
        // SAFETY: the caller promises a configuration. What is in it are strings, and stays.
        unsafe {
            let values = (self.section)(conf, section.as_ptr());
            if values.is_null() || before.matches('.').count() > MAX_DEPTH {
                return;
            }
            for i in 0..(self.count)(values) {
                let line = &*(self.element)(values, i);
                let (name, value) = (CStr::from_ptr(line.name), CStr::from_ptr(line.value));
                let name = format!("{before}{}", name.to_string_lossy());
                let is_section = !(self.section)(conf, value.as_ptr()).is_null();
                let text = value.to_string_lossy().into_owned();
                if before.is_empty() {
                    into.keys.push(Key {
                        name: name.clone(),
                        section: is_section.then(|| text.clone()),
                    });
                }
                match is_section {
                    true => self.collect(conf, value, &format!("{name}."), into),
                    false => into.parameters.push((name, text)),
                }
            }
        }
    }
}

#[cfg(unix)]
fn is_regular(file: &CStr) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::OsStr::from_bytes(file.to_bytes());
    std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
}

#[cfg(not(unix))]
fn is_regular(_file: &CStr) -> bool {
    false
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
