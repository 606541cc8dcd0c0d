//! Software keys, in the provider that they belong to.

use std::ffi::{CStr, c_int, c_void};
use std::sync::Arc;

use super::{NOTHING_TO_DO, call};
use crate::openssl::ffi::{Callback, Param, SELECT_ALL, SELECT_PRIVATE_KEY};
use crate::openssl::functions::{self, Keymgmt, Signature};
use crate::openssl::neighbour::{Implementation, Neighbours};
use crate::openssl::params::ParamsIn;

/// Why another provider has not imported a key, or begun to make one.
pub(in crate::openssl) enum NotDone {
    NobodyThere,
    Refused,
}

/// The parameters that private keys consist of, by type: RSA, EC and ML-DSA, ML-DSA.
const PRIVATE_PARTS: [&CStr; 3] = [c"d", c"priv", c"seed"];

/// A software key, in another provider.
pub(in crate::openssl) struct ForeignKey {
    pub(super) implementation: Arc<Implementation<Keymgmt>>,
    pub(in crate::openssl) keydata: *mut c_void,
}

// SAFETY: key objects of a provider may be used from several threads (provider-keymgmt(7)).
unsafe impl Send for ForeignKey {}
// SAFETY: key objects of a provider may be used from several threads at once.
unsafe impl Sync for ForeignKey {}

impl Drop for ForeignKey {
    fn drop(&mut self) {
        call!(self.implementation, functions::KEYMGMT_FREE, (self.keydata));
    }
}

impl ForeignKey {
    pub(super) fn wrap(
        implementation: &Arc<Implementation<Keymgmt>>,
        keydata: *mut c_void,
    ) -> Option<Self> {
        (!keydata.is_null()).then(|| Self {
            implementation: Arc::clone(implementation),
            keydata,
        })
    }

    /// Has another provider import a key of the named type. OpenSSL imports a key mostly for an
    /// operation that is to begin, so the key goes where the core would go for the operation; where
    /// that one doesn't take all of it, to the key management that the core would take, or to
    /// whoever else takes it: a provider of other hardware may know some curves only, or take the
    /// public part of a private key without a word. Such a part has to do where nobody takes more.
    pub(in crate::openssl) fn import(
        neighbours: &Neighbours,
        key_type: &CStr,
        selection: c_int,
        params: *const Param,
    ) -> Result<Self, NotDone> {
        let operation = match key_type.to_bytes() {
            b"EC" => c"ECDSA",
            _ => key_type,
        };
        let of_operation = || {
            let signs = neighbours.find::<Signature>(operation)?;
            neighbours.find_beside(&signs, key_type, &[])
        };
        let of_keys = || neighbours.find::<Keymgmt>(key_type);
        let usual: [&dyn Fn() -> Option<Arc<Implementation<Keymgmt>>>; 2] =
            [&of_operation, &of_keys];
        // SAFETY: OpenSSL passes a parameter list.
        let given = unsafe { ParamsIn::new(params) };
        let private_comes = selection & SELECT_PRIVATE_KEY != 0
            && PRIVATE_PARTS.iter().any(|name| given.is_there(name));
        let mut tried: Vec<Arc<Implementation<Keymgmt>>> = Vec::new();
        let mut part = None;
        let mut import_all = |there: Arc<Implementation<Keymgmt>>| {
            if tried.iter().any(|other| there.is_beside(other)) {
                return None;
            }
            let key = Self::import_into(&there, selection, params);
            tried.push(there);
            let key = key?;
            if private_comes && key.has(SELECT_PRIVATE_KEY) != 1 {
                part.get_or_insert(key);
                return None;
            }
            Some(key)
        };
        let mut usual = usual.into_iter().filter_map(|find| find()).peekable();
        if usual.peek().is_none() {
            return Err(NotDone::NobodyThere);
        }
        let mut whole = usual.find_map(&mut import_all);
        if whole.is_none() && neighbours.are_all_eligible() {
            // Why these don't take it, nobody has asked.
            whole = neighbours.quietly(|| neighbours.first_told_of(key_type, &[], &mut import_all));
        }
        whole.or(part).ok_or(NotDone::Refused)
    }

    /// Has another provider's key management import a key.
    pub(super) fn import_into(
        implementation: &Arc<Implementation<Keymgmt>>,
        selection: c_int,
        params: *const Param,
    ) -> Option<Self> {
        let keydata = call!(
            implementation,
            functions::KEYMGMT_NEW,
            (implementation.context)
        );
        let key = Self::wrap(implementation, keydata)?;
        let imported = call!(
            implementation,
            functions::KEYMGMT_IMPORT,
            (key.keydata, selection, params)
        );
        (imported != 0).then_some(key)
    }

    pub(in crate::openssl) fn has(&self, selection: c_int) -> c_int {
        call!(
            self.implementation,
            functions::KEYMGMT_HAS,
            (self.keydata, selection)
        )
    }

    /// All that the key consists of: some providers export nothing if more is selected.
    pub(super) fn parts(&self) -> c_int {
        match self.has(SELECT_PRIVATE_KEY) {
            1 => SELECT_ALL,
            _ => SELECT_ALL & !SELECT_PRIVATE_KEY,
        }
    }

    pub(in crate::openssl) fn validate(&self, selection: c_int, check: c_int) -> c_int {
        call!(
            self.implementation, functions::KEYMGMT_VALIDATE, (self.keydata, selection, check), or NOTHING_TO_DO
        )
    }

    pub(in crate::openssl) fn matches(&self, other: &Self, selection: c_int) -> c_int {
        if !self.implementation.is_beside(&other.implementation) {
            let moved = other.moved_to(&self.implementation, selection);
            return moved.map_or(0, |moved| self.matches(&moved, selection));
        }
        call!(
            self.implementation,
            functions::KEYMGMT_MATCH,
            (self.keydata, other.keydata, selection)
        )
    }

    pub(in crate::openssl) fn export(
        &self,
        selection: c_int,
        callback: Callback,
        argument: *mut c_void,
    ) -> c_int {
        call!(
            self.implementation,
            functions::KEYMGMT_EXPORT,
            (self.keydata, selection, callback, argument)
        )
    }

    /// The selected parts of the key as an object of another provider.
    pub(super) fn moved_to(
        &self,
        implementation: &Arc<Implementation<Keymgmt>>,
        selection: c_int,
    ) -> Option<Self> {
        let mut moved = None;
        self.exported(selection, |params| {
            moved = Self::import_into(implementation, selection, params);
            c_int::from(moved.is_some())
        });
        moved
    }

    /// Calls `take` with the selected parts of the key.
    pub(super) fn exported(
        &self,
        selection: c_int,
        mut take: impl FnMut(*const Param) -> c_int,
    ) -> c_int {
        unsafe extern "C" fn pass<F: FnMut(*const Param) -> c_int>(
            params: *const Param,
            take: *mut c_void,
        ) -> c_int {
            // SAFETY: the argument is the one below.
            let take = unsafe { &mut *take.cast::<F>() };
            take(params)
        }
        fn passing<F: FnMut(*const Param) -> c_int>(_: &F) -> Callback {
            pass::<F>
        }
        let callback = passing(&take);
        self.export(selection, callback, std::ptr::from_mut(&mut take).cast())
    }

    /// The name of an EC key's curve.
    pub(in crate::openssl) fn group(&self) -> Option<String> {
        let mut name = [0u8; 80];
        let mut params = [Param::text_room(c"group", &mut name), Param::END];
        if self.get_params(params.as_mut_ptr()) == 0 {
            return None;
        }
        let name = CStr::from_bytes_until_nul(&name).ok()?.to_str().ok()?;
        (!name.is_empty()).then(|| name.to_owned())
    }

    pub(in crate::openssl) fn get_params(&self, params: *mut Param) -> c_int {
        call!(
            self.implementation, functions::KEYMGMT_GET_PARAMS, (self.keydata, params), or NOTHING_TO_DO
        )
    }

    pub(in crate::openssl) fn set_params(&self, params: *const Param) -> c_int {
        call!(
            self.implementation, functions::KEYMGMT_SET_PARAMS, (self.keydata, params), or NOTHING_TO_DO
        )
    }

    pub(in crate::openssl) fn duplicate(&self, selection: c_int) -> Option<Self> {
        let keydata = call!(
            self.implementation,
            functions::KEYMGMT_DUP,
            (self.keydata, selection)
        );
        Self::wrap(&self.implementation, keydata)
    }
}
