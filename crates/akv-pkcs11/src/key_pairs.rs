//! Key pairs, which are made in the HSM.

use std::collections::BTreeMap;
use std::sync::Arc;

use cryptoki_sys::*;
use hsm_keys::{EcCurve, KeyType, der};
use managed_hsm::{BroughtKey, ForeignText, KeyMaterial, KeyOperation, Life, NewKey, NewKeyKind};

use crate::attributes::{Attribute, Rule, name};
use crate::configuration::Options;
use crate::error::{Error, Purpose};
use crate::ffi::convert::{MechanismIn, Place, TemplateIn};
use crate::fixed::{NewKeyFacts, Origin, check_fixed, check_given, differs, read_only};
use crate::making::{Naming, make_by_name};
use crate::mechanisms::{Kind, Mechanism};
use crate::ml_dsa;
use crate::module::Module;
use crate::objects::{check_life, check_tag, first_second};
use crate::sessions::{Session, closed_meanwhile};
use crate::template::{self, Template};
use crate::token::objects::{DERIVE_KEY, StoredKey};
use crate::token::tags::{self, Half};

/// Where a new key comes from.
pub(crate) enum Source {
    /// The HSM makes it.
    Made(NewKeyKind),
    /// A program has brought it.
    Brought(KeyMaterial),
}

impl Source {
    const fn purpose(&self) -> Purpose {
        match self {
            Self::Made(_) => Purpose::Create,
            Self::Brought(KeyMaterial::Transfer { .. }) => Purpose::Transfer,
            Self::Brought(_) => Purpose::Import,
        }
    }
}

/// What the templates of a new key come to.
#[derive(Default)]
pub(crate) struct NewKeyTemplate {
    pub(crate) tags: BTreeMap<String, String>,
    label: Option<String>,
    /// What the templates want the key for, and what not: none of the former means all the rest.
    wanted: Vec<KeyOperation>,
    unwanted: Vec<KeyOperation>,
    /// What keys of the type can be used for.
    possible: &'static [KeyOperation],
    life: Life,
}

pub(crate) fn generate(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    mechanism: Option<MechanismIn<'_>>,
    public: TemplateIn<'_>,
    private: TemplateIn<'_>,
    mut public_key: Place<'_, CK_OBJECT_HANDLE>,
    mut private_key: Place<'_, CK_OBJECT_HANDLE>,
) -> Result<(), Error> {
    let session = module.session(session)?;
    public_key.check()?;
    private_key.check()?;
    let given = mechanism.ok_or_else(|| Error::code(CKR_ARGUMENTS_BAD))?;
    let kind = Mechanism::find(given.type_).map(|mechanism| mechanism.kind);
    let Some(kind @ (Kind::RsaKeyPair | Kind::EcKeyPair | Kind::MlDsaKeyPair)) = kind else {
        return Err(Error::code(CKR_MECHANISM_INVALID));
    };
    if !given.parameter()?.is_empty() {
        return Err(Error::code(CKR_MECHANISM_PARAM_INVALID));
    }
    let (public, private) = (Template::read(&public)?, Template::read(&private)?);
    let of = match kind {
        Kind::MlDsaKeyPair => KeyType::MlDsa(ml_dsa::parameter_set(&public)?),
        Kind::EcKeyPair => KeyType::Ec,
        _ => KeyType::Rsa,
    };
    check_agreement(&module.options, &public, &private)?;
    let lives_in = lives_in(module, &session, is_token_key(&public, &private)?)?;
    let mut wanted = NewKeyTemplate::default();
    let new = NewKeyFacts {
        options: &module.options,
        of,
        is_to_stay: lives_in.is_none(),
        from: Origin::Hsm,
    };
    for (half, template) in [(Half::Public, &public), (Half::Private, &private)] {
        wanted.read(new, half, template)?;
    }
    let kind = match of {
        KeyType::Ec => NewKeyKind::Ec(curve(&public)?.curve),
        KeyType::MlDsa(set) => NewKeyKind::MlDsa(set),
        KeyType::Rsa | KeyType::Aes => rsa(&public)?,
    };
    let source = Source::Made(kind);
    let stored = wanted.make_for(module, &session, source, lives_in)?;
    public_key.put(stored.handle(Half::Public))?;
    private_key.put(stored.handle(Half::Private))
}

/// The session that a new key lives as long as; None: it is to stay.
///
/// # Errors
/// The session or the configuration allows no such key.
pub(crate) fn lives_in(
    module: &Module,
    session: &Session,
    is_token_key: bool,
) -> Result<Option<CK_SESSION_HANDLE>, Error> {
    if is_token_key {
        return session.check_read_write().map(|()| None);
    }
    match module.options.refuses_session_keys {
        true => Err(Error::because(
            CKR_TEMPLATE_INCONSISTENT,
            "keys for a session alone are refused here (sessionKeys): set CKA_TOKEN to true",
        )),
        false => Ok(Some(session.handle)),
    }
}

/// Whether the key is to outlive the session. One object can't without the other.
fn is_token_key(public: &Template<'_>, private: &Template<'_>) -> Result<bool, Error> {
    let of_public = public.flag(CKA_TOKEN)?;
    let of_private = private.flag(CKA_TOKEN)?;
    Ok(of_private.or(of_public).unwrap_or(false))
}

/// Refuses templates that tell what both keys have as two different things: the HSM has it once.
fn check_agreement(
    options: &Options,
    public: &Template<'_>,
    private: &Template<'_>,
) -> Result<(), Error> {
    let differ = |type_| {
        let told = public.bytes(type_).zip(private.bytes(type_));
        told.is_some_and(|(of_public, of_private)| {
            !of_public.is_empty() && !of_private.is_empty() && of_public != of_private
        })
    };
    let shared = [
        CKA_MODULUS_BITS,
        CKA_PUBLIC_EXPONENT,
        CKA_EC_PARAMS,
        CKA_START_DATE,
        CKA_END_DATE,
    ];
    if let Some(type_) = shared.into_iter().find(|type_| differ(*type_)) {
        let problem = format!(
            "the templates of the two keys have {} with two values, and the HSM has it once for both",
            name(type_)
        );
        return Err(Error::because(CKR_TEMPLATE_INCONSISTENT, problem));
    }
    match differ(CKA_TOKEN) {
        true => differs(options, CKA_TOKEN),
        false => Ok(()),
    }
}

/// Who makes a key for a session, for whoever finds it left behind.
pub(crate) fn maker() -> String {
    let process = std::process::id();
    #[cfg(unix)]
    return format!(
        "{process}@{}",
        rustix::system::uname().nodename().to_string_lossy()
    );
    #[cfg(not(unix))]
    process.to_string()
}

fn rsa(public: &Template<'_>) -> Result<NewKeyKind, Error> {
    let bits = public
        .number(CKA_MODULUS_BITS)?
        .ok_or_else(|| template::incomplete(CKA_MODULUS_BITS))?;
    if ![2048, 3072, 4096].contains(&bits) {
        return Err(Error::because(
            CKR_KEY_SIZE_RANGE,
            format!("the HSM makes RSA keys of 2048, 3072 and 4096 bits, not of {bits}"),
        ));
    }
    let exponent = public.bytes(CKA_PUBLIC_EXPONENT).map(|bytes| {
        let bytes = managed_hsm::number::minimal(bytes);
        match bytes.len() {
            1..=4 => Ok(bytes
                .iter()
                .fold(0u32, |number, byte| number << 8 | u32::from(*byte))),
            _ => Err(template::invalid(
                CKA_PUBLIC_EXPONENT,
                "it has more than 32 bits, or none",
            )),
        }
    });
    Ok(NewKeyKind::Rsa {
        bits: u32::try_from(bits).unwrap_or_default(),
        // The usual one needs no words.
        public_exponent: exponent.transpose()?.filter(|exponent| *exponent != 65537),
    })
}

/// The curve in CKA_EC_PARAMS: an object identifier, or a name as a PrintableString.
pub(crate) fn curve(public: &Template<'_>) -> Result<&'static EcCurve, Error> {
    let params = public
        .bytes(CKA_EC_PARAMS)
        .ok_or_else(|| template::incomplete(CKA_EC_PARAMS))?;
    let by_oid = managed_hsm::Curve::ALL
        .map(EcCurve::of)
        .into_iter()
        .find(|curve| der::object_identifier(curve.oid) == params);
    let by_name = || match params {
        [0x13, len, name @ ..] if usize::from(*len) == name.len() => {
            EcCurve::by_name(std::str::from_utf8(name).ok()?)
        }
        _ => None,
    };
    by_oid.or_else(by_name).ok_or_else(|| {
        let code = match params.first() {
            Some(0x06 | 0x13) => CKR_CURVE_NOT_SUPPORTED,
            _ => CKR_DOMAIN_PARAMS_INVALID,
        };
        let problem =
            "the HSM has the curves P-256, P-384, P-521 and secp256k1, named by CKA_EC_PARAMS";
        Error::because(code, problem)
    })
}

impl NewKeyTemplate {
    /// Has the HSM make the key. One for a session is not left behind if another thread has closed
    /// that meanwhile, or logged its user out.
    pub(crate) fn make_for(
        self,
        module: &Module,
        session: &Session,
        source: Source,
        lives_in: Option<CK_SESSION_HANDLE>,
    ) -> Result<Arc<StoredKey>, Error> {
        let token = &session.token;
        let user = token.client()?;
        let made = self.make(session, &module.options, source, lives_in)?;
        if lives_in.is_none() || (module.is_open(session) && token.is_asked_by(&user)) {
            return Ok(made);
        }
        match token.delete_by(&user, &made) {
            // Who has closed the session may have seen it.
            Err(error) if error.code == CKR_OBJECT_HANDLE_INVALID => Err(closed_meanwhile()),
            Err(error) => Err(error),
            Ok(()) => Err(closed_meanwhile()),
        }
    }

    /// Has the HSM make the key, or take it in.
    pub(crate) fn make(
        mut self,
        session: &Session,
        options: &Options,
        source: Source,
        lives_in: Option<CK_SESSION_HANDLE>,
    ) -> Result<Arc<StoredKey>, Error> {
        if lives_in.is_some() {
            self.tags.insert(tags::SESSION.to_owned(), maker());
        }
        check_life(self.life)?;
        let vault = session.token.vault();
        let operations = self.operations()?;
        let (life, tags) = (self.life, self.tags);
        let tags = tags.into_iter().collect();
        let naming = match (lives_in, self.label.as_deref()) {
            (Some(_), _) => Naming::OfSession,
            (None, Some(label)) if options.names_by_label => Naming::By(label),
            (None, _) => Naming::Random,
        };
        let purpose = source.purpose();
        let (asked, made) = match source {
            Source::Made(kind) => {
                let new = NewKey {
                    kind,
                    operations,
                    life,
                    tags,
                    ..NewKey::default()
                };
                make_by_name(session, naming, purpose, |client, name| {
                    client.create_key(vault, name, &new)
                })
            }
            Source::Brought(material) => {
                let brought = BroughtKey {
                    material,
                    operations,
                    life,
                    tags,
                };
                make_by_name(session, naming, purpose, |client, name| {
                    client.import_key(vault, name, &brought)
                })
            }
        }?;
        Ok(session.token.add(&asked, made, lives_in))
    }

    /// What the key is to be used for; nothing: what the service gives a new key by itself, which
    /// is all.
    fn operations(&self) -> Result<Vec<KeyOperation>, Error> {
        if !self.wanted.is_empty() || self.unwanted.is_empty() {
            return Ok(self.wanted.clone());
        }
        let left = self.possible.iter();
        let left: Vec<_> = left
            .filter(|operation| !self.unwanted.contains(operation))
            .cloned()
            .collect();
        match left.is_empty() {
            false => Ok(left),
            true => Err(Error::because(
                CKR_TEMPLATE_INCONSISTENT,
                "the templates leave nothing that the key could be used for",
            )),
        }
    }

    /// Keeps that the key was not born in the HSM, which the service doesn't tell.
    pub(crate) fn note_import(&mut self) {
        tags::write(&mut self.tags, Half::Private, "LOCAL", "0".to_owned());
    }

    /// Keeps what the service doesn't tell of a secret key.
    pub(crate) fn note_secret(&mut self, kind: Option<CK_KEY_TYPE>, len: Option<usize>) {
        let mut note = |attribute, number: String| {
            tags::write(&mut self.tags, Half::Private, attribute, number);
        };
        if let Some(len) = len {
            note("VALUE_LEN", len.to_string());
        }
        if let Some(kind) = kind.filter(|kind| *kind != CKK_AES) {
            note("KEY_TYPE", kind.to_string());
        }
    }

    /// Takes in a template.
    ///
    /// # Errors
    /// The HSM makes no such key.
    pub(crate) fn read(
        &mut self,
        new: NewKeyFacts<'_>,
        half: Half,
        template: &Template<'_>,
    ) -> Result<(), Error> {
        let NewKeyFacts { options, of, .. } = new;
        self.possible = operations_of(of);
        for (type_, value) in template.iter() {
            match &Attribute::require(type_)?.rule {
                Rule::Label => {
                    let label = template::text(type_, value)?;
                    self.tag(type_, half, "LABEL", label.clone())?;
                    self.label = Some(label).filter(|label| !label.is_empty());
                }
                Rule::Id => self.tag(type_, half, "ID", tags::encode_id(value))?,
                Rule::Usage(operation) if !template::flag(type_, value)? => {
                    self.unwanted.push(operation.clone());
                }
                Rule::Usage(operation) => {
                    if !self.wanted.contains(operation)
                        && is_possible(options, of, type_, operation)?
                    {
                        self.wanted.push(operation.clone());
                    }
                }
                Rule::Start if value.is_empty() => {}
                Rule::Start => self.life.not_before = Some(first_second(type_, value)?),
                Rule::End if value.is_empty() => {}
                Rule::End => {
                    self.life.expires = Some(first_second(type_, value)? + template::DAY);
                }
                Rule::Given => check_given(of, half, type_, value)?,
                Rule::Fixed => {
                    // The service lets a key derive others, in name, unless it is told what for.
                    if type_ == CKA_DERIVE {
                        let derive = ForeignText::new(DERIVE_KEY);
                        self.unwanted.push(KeyOperation::Other(derive));
                    }
                    check_fixed(new, half, type_, value)?;
                }
                Rule::Never => return Err(read_only(type_)),
            }
        }
        Ok(())
    }

    /// An empty value needs no tag.
    fn tag(
        &mut self,
        type_: CK_ATTRIBUTE_TYPE,
        half: Half,
        attribute: &str,
        text: String,
    ) -> Result<(), Error> {
        check_tag(type_, &text)?;
        if !text.is_empty() {
            tags::write(&mut self.tags, half, attribute, text);
        }
        Ok(())
    }
}

/// What keys of a type can be used for, beside their import, export and release.
const fn operations_of(of: KeyType) -> &'static [KeyOperation] {
    use KeyOperation::{Decrypt, Encrypt, Sign, UnwrapKey, Verify, WrapKey};
    match of {
        KeyType::Rsa => &[Encrypt, Decrypt, Sign, Verify, WrapKey, UnwrapKey],
        KeyType::Aes => &[Encrypt, Decrypt, Sign, Verify, WrapKey, UnwrapKey],
        KeyType::Ec | KeyType::MlDsa(_) => &[Sign, Verify],
    }
}

/// Whether keys of the type can be used so. What they can't is left out, with a warning.
fn is_possible(
    options: &Options,
    of: KeyType,
    type_: CK_ATTRIBUTE_TYPE,
    operation: &KeyOperation,
) -> Result<bool, Error> {
    let is_signature = matches!(operation, KeyOperation::Sign | KeyOperation::Verify);
    let is_possible = match of {
        KeyType::Rsa | KeyType::Aes => true,
        KeyType::Ec | KeyType::MlDsa(_) => is_signature,
    };
    if is_possible {
        return Ok(true);
    }
    differs(options, type_)?;
    Ok(false)
}
