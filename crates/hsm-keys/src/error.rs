//! Why an operation with a key failed, as a sentence for a person.

/// A failure of an operation with a key. A front end may add which of its options would help.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The request failed.
    #[error(transparent)]
    Client(#[from] managed_hsm::Error),
    /// The URI in a key file is malformed.
    #[error(transparent)]
    Uri(#[from] managed_hsm::UriError),
    /// A private key is needed.
    #[error(
        "this key holds only a public part: give the key's URI where a private key is expected"
    )]
    MissingPrivateKey,
    /// The key's `key_ops` lack the operation.
    #[error(
        "key {key} does not permit '{operation}' (its key_ops are: {permitted}): create a key, or \
         update this one, with '{operation}' in its key_ops"
    )]
    NotPermitted {
        /// The key's URI.
        key: String,
        /// What was to be done.
        operation: String,
        /// What the key may do.
        permitted: String,
    },
    /// A key of another type is needed.
    #[error("invalid key: the key can't {operation}: its type is {kind}")]
    WrongKeyType {
        /// What the key is.
        kind: &'static str,
        /// What was to be done.
        operation: String,
    },
    /// Numbers that are no public key.
    #[error("invalid key: {0}")]
    PublicKey(#[from] managed_hsm::PublicKeyError),
    /// The library does not encrypt with this key.
    #[error("invalid key: the RSA public key can't be used for encryption")]
    UnusableForEncryption,
    /// A key file is damaged, or of a version to come.
    #[error(
        "invalid key: the key file ('AKV PROVIDER URI') can't be read: {0}; write it again with \
         'akv key pem'"
    )]
    KeyFile(String),
    /// The public key in a key file is not that of the key that it names.
    #[error(
        "the public key in the key file is not that of key {key} ({problem}): nothing was done \
         with it; write the key file again with 'akv key pem {key}', and if it stays so, check \
         what stands between this machine and the HSM"
    )]
    OtherPublicKey {
        /// The key's URI.
        key: String,
        /// How that was found out.
        problem: String,
    },
    /// The HSM refused what a key file made one ask for.
    #[error(
        "{cause}; if this is no {kind} key, the key file is wrong: write it again with 'akv key \
         pem'"
    )]
    Unproven {
        /// The refusal.
        cause: Box<managed_hsm::Error>,
        /// What the key file says that the key is.
        kind: &'static str,
    },
    /// A hash function that is not known, or not fit.
    #[error("the digest '{name}' can't be used with this key: use one of {fitting}")]
    UnknownDigest {
        /// What was asked for.
        name: String,
        /// What there is.
        fitting: String,
    },
    /// A digest that its hash function does not make.
    #[error("a digest of {expected} bytes ({digest}) is expected, {got} bytes were given")]
    DigestLength {
        /// The hash function.
        digest: &'static str,
        /// The length of its digests.
        expected: usize,
        /// The length of what was given.
        got: usize,
    },
    /// A context string that ML-DSA has no room for.
    #[error("a context string of ML-DSA has at most 255 bytes, {0} were given")]
    ContextLength(usize),
    /// What is no μ.
    #[error("a message representative μ of ML-DSA has 64 bytes, {0} were given")]
    MuLength(usize),
    /// The HSM makes no RSA signatures with the hash function.
    #[error(
        "an RSA signature with {0} is not supported by Managed HSM: use SHA256, SHA384 or SHA512"
    )]
    RsaDigest(&'static str),
    /// The HSM takes a salt as long as the digest only.
    #[error(
        "a PSS salt of {} is not supported by Managed HSM: use one as long as the digest, \
         {digest_len} bytes for {digest}",
        salt_len.map_or_else(
            || "the greatest possible length".to_owned(),
            |len| format!("{len} bytes"),
        )
    )]
    SaltLength {
        /// What was asked for; None: the longest that fits.
        salt_len: Option<usize>,
        /// The hash function.
        digest: &'static str,
        /// The length of its digests.
        digest_len: usize,
    },
    /// The HSM takes the same hash function for the digest and for MGF1 only.
    #[error(
        "PSS with {digest} and MGF1 with {mgf1} is not supported by Managed HSM: use the same hash \
         for both"
    )]
    Mgf1Digest {
        /// The hash function of the digest.
        digest: &'static str,
        /// That of MGF1.
        mgf1: &'static str,
    },
    /// The HSM pads each signature.
    #[error(
        "an RSA signature without padding is not supported by Managed HSM: use PKCS#1 v1.5 or PSS"
    )]
    BareSignature,
    /// PSS depends on the hash function.
    #[error("PSS needs the name of the digest: set it")]
    DigestNameMissing,
    /// More bytes than an RSA key can sign as they are.
    #[error(
        "{got} bytes without the name of a digest can't be signed: this RSA key has room for \
         {most}; name the digest"
    )]
    NoRoom {
        /// The length of what was given.
        got: usize,
        /// The greatest length.
        most: usize,
    },
    /// The HSM does not sign bytes as they are.
    #[error(
        "an RSA signature of bytes without the name of a digest: the HSM refused to only pad them \
         ({0}); name the digest"
    )]
    NoRawSignatures(Box<managed_hsm::Error>),
    /// More bytes than the HSM takes, all of which count.
    #[error("{got} bytes can't be signed with {curve}: the HSM takes {most} at most")]
    TooLongForCurve {
        /// The curve.
        curve: &'static str,
        /// The length of what was given.
        got: usize,
        /// The greatest length.
        most: usize,
    },
    /// What the HSM gave is not a signature by the key.
    #[error(
        "the HSM's answer for key {key} is not a signature by that key ({problem}): nothing was \
         signed; try again, and if it stays so, check what stands between this machine and the HSM"
    )]
    WrongSignature {
        /// The key's URI.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A signature from which nothing can be recovered.
    #[error("nothing can be recovered from the signature: {0}")]
    NotRecovered(String),
    /// OAEP with hash functions that the HSM does not have.
    #[error(
        "RSA-OAEP with {oaep} and MGF1 with {mgf1} is not supported by Managed HSM: use SHA1 for \
         both or SHA256 for both"
    )]
    OaepHash {
        /// The hash function of the label.
        oaep: &'static str,
        /// That of MGF1.
        mgf1: &'static str,
    },
    /// More than an RSA key can encrypt.
    #[error(
        "at most {most} bytes fit into this RSA key with this padding, {got} were given: encrypt a \
         symmetric key instead, and the data with that"
    )]
    PlaintextLength {
        /// The greatest length.
        most: usize,
        /// The length of what was given.
        got: usize,
    },
    /// A ciphertext that the RSA key has not made.
    #[error("a ciphertext for this RSA key has {expected} bytes, {got} were given")]
    CiphertextLength {
        /// The length of the key's ciphertexts.
        expected: usize,
        /// The length of what was given.
        got: usize,
    },
    /// What the HSM gave is no plaintext for the key.
    #[error(
        "the HSM's answer for key {key} is not what was encrypted: it has {got} bytes, and at most \
         {most} fit into this RSA key; try again, and if it stays so, check what stands between \
         this machine and the HSM"
    )]
    WrongPlaintext {
        /// The key's URI.
        key: String,
        /// The greatest length.
        most: usize,
        /// The length of what the HSM gave.
        got: usize,
    },
    /// AES key wrap works on blocks.
    #[error("AES key wrap {what} a multiple of 8 and at least {least} bytes, {got} were given")]
    WrapLength {
        /// What it does.
        what: &'static str,
        /// The least length.
        least: usize,
        /// The length of what was given.
        got: usize,
    },
    /// AES-CBC, or decryption with AES-GCM, without its initialisation vector.
    #[error("no initialisation vector is set")]
    InitialisationVectorMissing,
    /// The HSM takes a ciphertext with its tag.
    #[error(
        "AES-GCM decryption before the tag is known is not supported by Managed HSM: set the tag \
         before the ciphertext is passed in"
    )]
    TagMissing,
    /// A size that AES does not have.
    #[error("AES has no keys of {0} bits")]
    AesKeySize(u32),
    /// What is computed here is wrong.
    #[error("internal error, please report it: the self-test of {0} failed")]
    WrongAnswer(&'static str),
}
