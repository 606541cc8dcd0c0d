//! Configuration files of the PKCS#11 module: whatever is in them, it starts and shows its slots,
//! or says why not.
#![no_main]

mod module {
    pub use cryptoki_sys::*;

    // Links the module.
    use akv_pkcs11 as _;

    unsafe extern "C" {
        pub fn C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV;
    }
}

use std::ffi::CString;
use std::os::unix::fs::OpenOptionsExt;
use std::ptr::null_mut;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use module::*;

/// The file, as its text for `pReserved`.
static FILE: LazyLock<CString> = LazyLock::new(|| {
    // SAFETY: nothing else runs yet. The log is the environment's, so that no file names another
    // place for it.
    unsafe { std::env::set_var("AKV_LOG_LEVEL", "off") };
    let path = std::env::temp_dir().join(format!("akv-fuzz-{}.conf", std::process::id()));
    CString::new(path.to_str().expect("text")).expect("no zero")
});

fuzz_target!(|data: &[u8]| {
    let path = FILE.to_str().expect("text");
    let mut options = std::fs::File::options();
    let mut file = options
        .mode(0o600)
        .create(true)
        .truncate(true)
        .write(true)
        .open(path)
        .expect("a file");
    std::io::Write::write_all(&mut file, data).expect("it can be written");
    drop(file);
    let mut args = CK_C_INITIALIZE_ARGS {
        CreateMutex: None,
        DestroyMutex: None,
        LockMutex: None,
        UnlockMutex: None,
        flags: CKF_OS_LOCKING_OK,
        pReserved: FILE.as_ptr().cast_mut().cast(),
    };
    let mut list = null_mut();
    // SAFETY: the pointers lead to what PKCS#11 says.
    unsafe {
        assert_eq!(C_GetFunctionList(&mut list), CKR_OK);
        let p11 = &*list;
        let code = p11.C_Initialize.expect("a function")((&raw mut args).cast());
        assert_ne!(code, CKR_GENERAL_ERROR);
        if code != CKR_OK {
            return;
        }
        let mut slots = [0; 64];
        let mut count = 64;
        let listed = p11.C_GetSlotList.expect("a function")(0, slots.as_mut_ptr(), &mut count);
        if listed == CKR_OK {
            for slot in &slots[..count as usize] {
                let mut slot_info = std::mem::zeroed();
                let mut token_info = std::mem::zeroed();
                let info = p11.C_GetSlotInfo.expect("a function")(*slot, &mut slot_info);
                assert_eq!(info, CKR_OK);
                let info = p11.C_GetTokenInfo.expect("a function")(*slot, &mut token_info);
                assert!(info == CKR_OK || info == CKR_TOKEN_NOT_PRESENT, "{info:#x}");
            }
        }
        assert_eq!(p11.C_Finalize.expect("a function")(null_mut()), CKR_OK);
    }
});
