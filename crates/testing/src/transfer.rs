//! Keys on their way from one HSM to another.

use openssl::cipher::Cipher;
use openssl::cipher_ctx::{CipherCtx, CipherCtxFlags};
use openssl::pkey::Public;
use openssl::rsa::{Padding, Rsa};

/// What CKM_RSA_AES_KEY_WRAP makes of a key, by OpenSSL as the other HSM: an AES key under `public`
/// by OAEP with SHA-1, then `key` under that by AES key wrap with padding (RFC 5649).
pub fn wrapped_for_transfer(public: &Rsa<Public>, key: &[u8]) -> Vec<u8> {
    // Always the same, as nothing here is secret.
    let ephemeral = [9; 32];
    let mut out = vec![0; public.size() as usize];
    let len = public.public_encrypt(&ephemeral, &mut out, Padding::PKCS1_OAEP);
    assert_eq!(len.expect("it is encrypted"), out.len());
    let cipher = Cipher::fetch(None, "AES-256-WRAP-PAD", None).expect("OpenSSL has the cipher");
    let mut context = CipherCtx::new().expect("a context");
    context.set_flags(CipherCtxFlags::FLAG_WRAP_ALLOW);
    context
        .encrypt_init(Some(&cipher), Some(&ephemeral), None)
        .expect("the key fits");
    let mut room = vec![0; key.len() + 32];
    let mut len = context
        .cipher_update(key, Some(&mut room))
        .expect("it is wrapped");
    len += context
        .cipher_final(&mut room[len..])
        .expect("it is wrapped");
    out.extend_from_slice(&room[..len]);
    out
}
