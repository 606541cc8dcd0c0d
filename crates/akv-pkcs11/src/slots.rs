//! Slots and tokens: what there is, without asking the HSM.

use std::sync::Arc;

use cryptoki_sys::{
    CK_EFFECTIVELY_INFINITE, CK_FLAGS, CK_MECHANISM_INFO, CK_MECHANISM_TYPE, CK_SLOT_ID,
    CK_SLOT_INFO, CK_TOKEN_INFO, CK_ULONG, CK_UNAVAILABLE_INFORMATION, CK_UTF8CHAR, CK_VERSION,
    CKF_DONT_BLOCK, CKF_HW_SLOT, CKF_LOGIN_REQUIRED, CKF_REMOVABLE_DEVICE, CKF_RNG,
    CKF_SO_PIN_LOCKED, CKF_TOKEN_INITIALIZED, CKF_TOKEN_PRESENT, CKF_USER_PIN_INITIALIZED,
    CKR_ARGUMENTS_BAD, CKR_FUNCTION_NOT_SUPPORTED, CKR_MECHANISM_INVALID, CKR_NO_EVENT,
};

use crate::error::Error;
use crate::ffi::convert::{List, Place};
use crate::general::{MANUFACTURER, VERSION, padded};
use crate::mechanisms::{MECHANISMS, Mechanism};
use crate::module::Module;

/// The longest PIN: a token of Entra ID has to fit.
const MAX_PIN_LEN: CK_ULONG = 4096;

pub(crate) fn get_slot_list(
    module: &Arc<Module>,
    only_with_token: bool,
    mut list: List<'_, CK_SLOT_ID>,
) -> Result<(), Error> {
    let slots = module.slots.iter();
    let slots = slots.filter(|slot| !only_with_token || slot.token.is_ok());
    list.put(&slots.map(|slot| slot.id).collect::<Vec<_>>())
}

pub(crate) fn get_slot_info(
    module: &Arc<Module>,
    id: CK_SLOT_ID,
    mut info: Place<'_, CK_SLOT_INFO>,
) -> Result<(), Error> {
    let slot = module.slot(id)?;
    let (description, present) = match &slot.token {
        Ok(token) => (format!("Azure {}", token.vault()), CKF_TOKEN_PRESENT),
        // What can't be taken out is always there, as the standard has it.
        Err(_) => (
            format!("Azure Managed HSM, slot {id}"),
            CKF_REMOVABLE_DEVICE,
        ),
    };
    info.put(CK_SLOT_INFO {
        slotDescription: padded(&description),
        manufacturerID: padded(MANUFACTURER),
        flags: CKF_HW_SLOT | present,
        hardwareVersion: CK_VERSION::default(),
        firmwareVersion: CK_VERSION::default(),
    })
}

pub(crate) fn get_token_info(
    module: &Arc<Module>,
    id: CK_SLOT_ID,
    mut info: Place<'_, CK_TOKEN_INFO>,
) -> Result<(), Error> {
    let token = module.token(id)?;
    let (sessions, read_write) = module.sessions.count(id);
    let login: CK_FLAGS = match token.requires_login() {
        true => CKF_LOGIN_REQUIRED,
        false => 0,
    };
    info.put(CK_TOKEN_INFO {
        label: padded(token.label()),
        manufacturerID: padded("Microsoft"),
        model: padded(token.model()),
        serialNumber: padded(token.serial()),
        flags: CKF_TOKEN_INITIALIZED
            | CKF_USER_PIN_INITIALIZED
            | CKF_SO_PIN_LOCKED
            | CKF_RNG
            | login,
        ulMaxSessionCount: CK_EFFECTIVELY_INFINITE,
        ulSessionCount: sessions,
        ulMaxRwSessionCount: CK_EFFECTIVELY_INFINITE,
        ulRwSessionCount: read_write,
        ulMaxPinLen: MAX_PIN_LEN,
        ulMinPinLen: 0,
        ulTotalPublicMemory: CK_UNAVAILABLE_INFORMATION,
        ulFreePublicMemory: CK_UNAVAILABLE_INFORMATION,
        ulTotalPrivateMemory: CK_UNAVAILABLE_INFORMATION,
        ulFreePrivateMemory: CK_UNAVAILABLE_INFORMATION,
        hardwareVersion: CK_VERSION::default(),
        firmwareVersion: VERSION,
        utcTime: [b'0'; 16],
    })
}

pub(crate) fn get_mechanism_list(
    module: &Arc<Module>,
    id: CK_SLOT_ID,
    mut list: List<'_, CK_MECHANISM_TYPE>,
) -> Result<(), Error> {
    let service = module.token(id)?.vault().service;
    let there = MECHANISMS.iter().filter(|known| known.is_of(service));
    let types = there.map(|mechanism| mechanism.type_);
    list.put(&types.collect::<Vec<_>>())
}

pub(crate) fn get_mechanism_info(
    module: &Arc<Module>,
    id: CK_SLOT_ID,
    type_: CK_MECHANISM_TYPE,
    mut info: Place<'_, CK_MECHANISM_INFO>,
) -> Result<(), Error> {
    let service = module.token(id)?.vault().service;
    let mechanism = Mechanism::find(type_).filter(|known| known.is_of(service));
    let mechanism = mechanism.ok_or_else(|| Error::code(CKR_MECHANISM_INVALID))?;
    let (least, most) = mechanism.key_sizes();
    info.put(CK_MECHANISM_INFO {
        ulMinKeySize: least,
        ulMaxKeySize: most,
        flags: mechanism.flags(&module.options),
    })
}

/// Azure makes tokens, and gives them their names.
pub(crate) fn init_token(
    module: &Arc<Module>,
    id: CK_SLOT_ID,
    _pin: *mut CK_UTF8CHAR,
    _pin_len: CK_ULONG,
    _label: *mut CK_UTF8CHAR,
) -> Result<(), Error> {
    module.token(id)?;
    Err(Error::code(CKR_FUNCTION_NOT_SUPPORTED))
}

/// Tokens neither come nor go.
pub(crate) fn wait_for_slot_event(
    _: &Arc<Module>,
    flags: CK_FLAGS,
    slot: Place<'_, CK_SLOT_ID>,
    reserved: Place<'_, std::ffi::c_void>,
) -> Result<(), Error> {
    slot.check()?;
    if reserved.check().is_ok() {
        return Err(Error::because(CKR_ARGUMENTS_BAD, "pReserved is not NULL"));
    }
    Err(Error::code(match flags & CKF_DONT_BLOCK {
        0 => CKR_FUNCTION_NOT_SUPPORTED,
        _ => CKR_NO_EVENT,
    }))
}
