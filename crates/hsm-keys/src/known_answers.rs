//! Known answers: does what is computed here, and not in the HSM, give what it should?

use managed_hsm::Curve;

use crate::digest::Digest;
use crate::digest_info;
use crate::error::Error;
use crate::public_key::PublicKey;

/// FIPS 180-2, appendix B.1: the message is "abc".
const SHA256_OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// RFC 6979, appendix A.2.5: P-256 with SHA-256, the message is "sample".
const P256_X: &str = "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6";
const P256_Y: &str = "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299";
const P256_SIGNATURE: &str = "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716\
     f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8";

/// A signature by OpenSSL 3.0 with a key that was made for it: PKCS#1 v1.5 with SHA-256, the
/// message is "abc".
const RSA_MODULUS: &str = "a7e56855a48a90ad125803a0bec574f55a02ce295db2ef87b465f90617a07052f9f48f1f5a597bfd86c4fc2dcd45f795ae13\
     06bfad4bebbffcea3a4f896e95369483815fc1c5a6b2341fc4eb64c873f23cbe74f1754c5b60ebdccd8da246a0dfba58f586\
     50f32e026ec57c5d35f17f7f38668598f8a1eec98b1653ba47a54fd5808df205ae44f55bf80a1d3a39b2561d6db3f31bee57\
     118617e5d27c304c17fa9b67e427f25d8ed03e76bf56d1e6bc4fe97b57060443a5a0a74adc0fb9fdd331adb605ec7b6eed50\
     ccf1cfaeb6c63cba7e4641598f94ff80cf1f2ad34713b9fb744244aadee38490fada6fac48d47d8e4e3457de3dff1519a382\
     e4861b204cb7";
const RSA_SIGNATURE: &str = "9c6c6572a7e6f1522de2cd07aed586f0f39bda94ac6c99adbfd67f08b32bba83c8c4407a284b5e13b734b35225c0289125c7\
     643e4f8caf5e5471eaa0a3b38bcc036c3eb0204d4d719853539766bc4db72deb2034a78338d3c17393e3a6401431fa0e809f\
     f06993f135c29a8164486294d554e4e0f11f9662ebfea910f253a18303c2f810014e9907676dd0fd299285b68fe3b850da6b\
     c8f96e37d71323a959981292a6f378e6f7029b785b343ea6393fce6fbf804e4754d7f0192e8569d95c435729ae9d3cedb2f0\
     fb66f0a7f9cd7e7deb1c53873f5578b6eb149ed9131c07db1740ef3490562adc03c9d98e2970f057ad93d9959bd886998ba6\
     9a5785c5fe03";

/// Runs all of them.
///
/// # Errors
/// An answer is wrong: the library was damaged, or runs on a machine that computes wrongly.
pub fn run() -> Result<(), Error> {
    let sha256 = Digest::named("SHA256", |_| true)?;
    let abc = sha256.of(b"abc");
    check("SHA-256", *abc == *hex(SHA256_OF_ABC))?;
    let public = managed_hsm::PublicKey::ec(Curve::P256, hex(P256_X), hex(P256_Y));
    let Ok(PublicKey::Ec(ec)) = public.map(Into::into) else {
        return check("public keys", false);
    };
    let signature = hex(P256_SIGNATURE);
    check("ECDSA", ec.verify_fixed(&sha256.of(b"sample"), &signature))?;
    check("ECDSA", !ec.verify_fixed(&abc, &signature))?;
    let public = managed_hsm::PublicKey::rsa(hex(RSA_MODULUS), vec![1, 0, 1]);
    let Ok(PublicKey::Rsa(rsa)) = public.map(Into::into) else {
        return check("public keys", false);
    };
    let (info, signature) = (digest_info::encode(sha256, &abc), hex(RSA_SIGNATURE));
    check("RSA", rsa.verify_pkcs1(&info, &signature))?;
    check("RSA", !rsa.verify_pkcs1(&info[1..], &signature))
}

fn check(what: &'static str, good: bool) -> Result<(), Error> {
    match good {
        true => Ok(()),
        false => Err(Error::WrongAnswer(what)),
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn all_known_answers_are_given() {
        super::run().unwrap();
    }
}
