//! Vectors of the standards, and what is refused.

use super::*;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
        .collect()
}

fn by_name(name: &str) -> EncryptionAlgorithm {
    EncryptionAlgorithm::by_name(name).unwrap()
}

/// RFC 3394, sections 4.1 to 4.6, and RFC 5649, section 6.
#[test]
fn key_wrap_gives_the_vectors_of_its_rfcs() {
    let data = "00112233445566778899AABBCCDDEEFF0001020304050607";
    let key = "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F";
    let wide = "00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F";
    for (name, key, data, expected) in [
        (
            "A128KW",
            &key[..32],
            &data[..32],
            "1FA68B0A8112B447AEF34BD8FB5A7B829D3E862371D2CFE5",
        ),
        (
            "A192KW",
            &key[..48],
            &data[..32],
            "96778B25AE6CA435F92B5B97C050AED2468AB8A17AD84E5D",
        ),
        (
            "A256KW",
            key,
            &data[..32],
            "64E8C3F9CE0F5BA263E9777905818A2A93C8191E7D6E8AE7",
        ),
        (
            "A192KW",
            &key[..48],
            data,
            "031D33264E15D33268F24EC260743EDCE1C6C7DDEE725A936BA814915C6762D2",
        ),
        (
            "A256KW",
            key,
            data,
            "A8F9BC1612C68B3FF6E6F4FBE30E71E4769C8B80A32CB8958CD5D17D6B254DA1",
        ),
        (
            "A256KW",
            key,
            wide,
            "28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21",
        ),
        (
            "CKM_AES_KEY_WRAP_PAD",
            "5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8",
            "466f7250617369",
            "afbeb0f07dfbf5419200f2ccb50bb24f",
        ),
        (
            "CKM_AES_KEY_WRAP_PAD",
            "5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8",
            "c37b7e6492584340bed12207808941155068f738",
            "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a",
        ),
        (
            "CKM_AES_KEY_WRAP",
            &key[..32],
            &data[..32],
            "1FA68B0A8112B447AEF34BD8FB5A7B829D3E862371D2CFE5",
        ),
    ] {
        let material = KeyMaterial::from_oct(hex(key).into());
        let wrapped = encrypt(&material, by_name(name), &hex(data), None, None).unwrap();
        assert_eq!(wrapped.value, hex(expected), "{name}");
        assert_eq!(
            *decrypt(&material, by_name(name), wrapped.clone()).unwrap(),
            hex(data)
        );
        let mut changed = wrapped;
        changed.value[3] ^= 1;
        assert!(matches!(
            decrypt(&material, by_name(name), changed),
            Err(KeyError::Input("value"))
        ));
    }
}

/// NIST SP 800-38A, sections F.2.1 to F.2.6: the first two blocks.
#[test]
fn cbc_gives_the_vectors_of_nist() {
    let iv = hex("000102030405060708090a0b0c0d0e0f");
    let plaintext = hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51");
    for (name, key, expected) in [
        (
            "A128CBC",
            "2b7e151628aed2a6abf7158809cf4f3c",
            "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2",
        ),
        (
            "A192CBC",
            "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
            "4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a",
        ),
        (
            "A256CBC",
            "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
            "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d",
        ),
    ] {
        let key = KeyMaterial::from_oct(hex(key).into());
        let iv = Some(iv.clone());
        let encrypted = encrypt(&key, by_name(name), &plaintext, iv.clone(), None).unwrap();
        assert_eq!(encrypted.value, hex(expected), "{name}");
        let decrypted = decrypt(&key, by_name(name), encrypted).unwrap();
        assert_eq!(*decrypted, plaintext, "{name}");
        // Padded, the same blocks are followed by one of padding.
        let padded = by_name(&format!("{name}PAD"));
        let padded = encrypt(&key, padded, &plaintext, iv, None).unwrap();
        assert_eq!(padded.value[..32], hex(expected), "{name}PAD");
        assert_eq!(padded.value.len(), 48);
    }
}

/// Test cases 4, 10 and 16 of the GCM specification that was submitted to NIST.
#[test]
fn gcm_opens_the_vectors_of_its_specification() {
    let key = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308";
    let plaintext = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39";
    for (name, key, value, tag) in [
        (
            "A128GCM",
            &key[..32],
            "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091",
            "5bc94fbc3221a5db94fae95ae7121a47",
        ),
        (
            "A192GCM",
            &key[..48],
            "3980ca0b3c00e841eb06fac4872a2757859e1ceaa6efd984628593b40ca1e19c7d773d00c144c525ac619d18c84a3f4718e2448b2fe324d9ccda2710",
            "2519498e80f1478f37ba55bd6d27618c",
        ),
        (
            "A256GCM",
            key,
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
            "76fc6ece0f4e1768cddf8853bb2d551b",
        ),
    ] {
        let material = KeyMaterial::from_oct(hex(key).into());
        let ciphertext = Ciphertext {
            value: hex(value),
            iv: Some(hex("cafebabefacedbaddecaf888")),
            aad: Some(hex("feedfacedeadbeeffeedfacedeadbeefabaddad2")),
            tag: Some(hex(tag)),
        };
        let opened = decrypt(&material, by_name(name), ciphertext.clone()).unwrap();
        assert_eq!(*opened, hex(plaintext), "{name}");
        let other_aad = Ciphertext {
            aad: None,
            ..ciphertext
        };
        assert!(decrypt(&material, by_name(name), other_aad).is_err());
    }
}

#[test]
fn every_algorithm_round_trips_with_its_key_and_refuses_others() {
    let keys = [
        KeyMaterial::generate_rsa(2048, 65537).unwrap(),
        KeyMaterial::generate_ec(crate::curve::Curve::P256).unwrap(),
        KeyMaterial::generate_oct(128).unwrap(),
        KeyMaterial::generate_oct(192).unwrap(),
        KeyMaterial::generate_oct(256).unwrap(),
    ];
    for algorithm in ALGORITHMS {
        let plaintext = [7; 32];
        let mut fitting = 0;
        for key in &keys {
            let iv = Some(vec![1; 16]);
            let aad = Some(b"aad".to_vec());
            let encrypted = match encrypt(key, algorithm, &plaintext, iv, aad) {
                Ok(encrypted) => encrypted,
                Err(KeyError::Incompatible) => continue,
                Err(error) => panic!("{}: {error}", algorithm.name),
            };
            fitting += 1;
            assert_ne!(encrypted.value, plaintext);
            assert_eq!(*decrypt(key, algorithm, encrypted).unwrap(), plaintext);
        }
        let expected = match algorithm.scheme {
            Scheme::Wrap { bits: None, .. } => 3,
            _ => 1,
        };
        assert_eq!(fitting, expected, "{}", algorithm.name);
    }
}

#[test]
fn rsa_ciphertexts_keep_their_leading_zeros() {
    let key = KeyMaterial::generate_rsa(2048, 65537).unwrap();
    for name in ["RSA1_5", "RSA-OAEP", "RSA-OAEP-256"] {
        let sealed =
            std::iter::repeat_with(|| encrypt(&key, by_name(name), b"sealed", None, None).unwrap())
                .find(|sealed| sealed.value[0] == 0)
                .expect("one of 256");
        let with = |value: Vec<u8>| Ciphertext {
            value,
            ..Ciphertext::default()
        };
        for value in [
            sealed.value[1..].to_vec(),
            [&[0], &sealed.value[..]].concat(),
        ] {
            assert!(matches!(
                decrypt(&key, by_name(name), with(value)),
                Err(KeyError::Input("value"))
            ));
        }
        assert_eq!(*decrypt(&key, by_name(name), sealed).unwrap(), b"sealed");
    }
}

/// Under valgrind this shows whether a failing unwrap stays within its buffer.
#[test]
fn what_is_no_wrapped_key_is_refused_at_every_length() {
    let key = KeyMaterial::generate_oct(256).unwrap();
    for name in ["A256KW", "CKM_AES_KEY_WRAP", "CKM_AES_KEY_WRAP_PAD"] {
        for length in 0..80 {
            let ciphertext = Ciphertext {
                value: vec![0xa5; length],
                ..Ciphertext::default()
            };
            let refused = decrypt(&key, by_name(name), ciphertext);
            assert!(
                matches!(refused, Err(KeyError::Input("value"))),
                "{name}, {length} bytes"
            );
        }
    }
}

#[test]
fn inputs_that_do_not_fit_are_named() {
    let key = KeyMaterial::generate_oct(256).unwrap();
    let failure = |name, value: &[u8], iv| match encrypt(&key, by_name(name), value, iv, None) {
        Err(KeyError::Input(member)) => member,
        other => panic!("{other:?}"),
    };
    assert_eq!(failure("A256CBC", &[0; 15], Some(vec![0; 16])), "value");
    assert_eq!(failure("A256CBC", &[0; 16], None), "iv");
    assert_eq!(failure("A256CBCPAD", &[0; 16], Some(vec![0; 12])), "iv");
    assert_eq!(failure("A256KW", &[0; 12], None), "value");
    let sealed = encrypt(&key, by_name("A256GCM"), b"x", None, None).unwrap();
    let untagged = Ciphertext {
        tag: None,
        ..sealed.clone()
    };
    let forged = Ciphertext {
        value: vec![sealed.value[0] ^ 1],
        ..sealed
    };
    for ciphertext in [untagged, forged] {
        assert!(matches!(
            decrypt(&key, by_name("A256GCM"), ciphertext),
            Err(KeyError::Input("tag"))
        ));
    }
}
