//! How a new key gets its name, and how it becomes known that it is there.

use cryptoki_sys::CKR_FUNCTION_FAILED;
use managed_hsm::{Client, Key, KeyName, KeyUri};

use crate::error::{Error, Purpose};
use crate::random;
use crate::report;
use crate::sessions::Session;
use crate::token::Asked;
use crate::token::tags;

/// How often a random name that is taken is replaced by another one.
const MAX_NAMES: usize = 3;

/// What a new key is called.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Naming<'a> {
    /// By this label, if it can be a name.
    By(&'a str),
    Random,
    /// By a random name, since the key goes with a session: the HSM keeps the name of a deleted key
    /// from all others for as long as the key can be recovered.
    OfSession,
}

/// Has the HSM make or take in a key. A random name that is taken, if only by a deleted key, is
/// replaced.
pub(crate) fn make_by_name(
    session: &Session,
    naming: Naming<'_>,
    purpose: Purpose,
    make: impl Fn(&Client, &KeyName) -> Result<Key, managed_hsm::Error>,
) -> Result<(Asked, Key), Error> {
    let token = &session.token;
    let asked = token.asking()?;
    let by_label: Option<KeyName> = match naming {
        Naming::By(label) => label.parse().ok(),
        Naming::Random | Naming::OfSession => None,
    };
    // Of two threads that want the same name, the second one finds the key of the first.
    let _turn = by_label.as_ref().map(|_| token.turn_to_name());
    if let Some(name) = &by_label {
        refuse_taken(session, name)?;
    }
    let mut attempts = 0;
    loop {
        let name = match &by_label {
            Some(name) => name.clone(),
            None => random_name()?,
        };
        attempts += 1;
        let error = match asked.ask(|client| make(client, &name))? {
            Ok(made) => {
                warn_of_other(session, &name, naming);
                return Ok((asked.answered(token), made));
            }
            Err(error) => error,
        };
        let is_taken = error.status() == Some(409);
        if is_taken && by_label.is_none() && attempts < MAX_NAMES {
            continue;
        }
        if !matches!(error, managed_hsm::Error::Undecided { .. }) {
            return Err(token.refusal(purpose, &error));
        }
        // Nobody else has given a key a random name. Of a label it can't be told who has.
        let found = match by_label {
            Some(_) => None,
            None => Some(asked.ask(|client| get(client, session, &name))?),
        };
        let is_made = match found {
            Some(Ok(made)) => {
                warn_of_other(session, &name, naming);
                return Ok((asked.answered(token), made));
            }
            Some(Err(error)) => error.status() != Some(404),
            None => true,
        };
        let mut refusal = token.refusal(purpose, error.reason());
        if is_made {
            let told = refusal.cause.get_or_insert_default();
            told.push_str(&left_behind(&name, naming));
        }
        return Err(refusal);
    }
}

/// Tells of a key to stay that no later process finds.
fn warn_of_other(session: &Session, name: &KeyName, naming: Naming<'_>) {
    if !matches!(naming, Naming::OfSession) && !session.token.is_configured(name.as_str()) {
        report::warning(&format!(
            "the key {name} is none of those that the token's keys names: this process finds it, \
             and others do once its name stands there"
        ));
    }
}

/// What is said of a key that may be there and that nobody has a handle of.
fn left_behind(name: &KeyName, naming: Naming<'_>) -> String {
    let remedy = match naming {
        Naming::OfSession => "'akv pkcs11 sweep' deletes it",
        Naming::By(_) | Naming::Random => "look whether it is there",
    };
    format!("; the key {name} may have been made all the same: {remedy}")
}

/// A name that a label asks for must not be another key's: it would get a new version.
fn refuse_taken(session: &Session, name: &KeyName) -> Result<(), Error> {
    match session.token.ask(|client| get(client, session, name))? {
        Err(error) if error.status() == Some(404) => Ok(()),
        Err(error) => Err(session.token.refusal(Purpose::Create, &error)),
        Ok(_) => Err(Error::because(
            CKR_FUNCTION_FAILED,
            format!("there is a key {name} already, and keyNames is label: choose another label"),
        )),
    }
}

fn get(client: &Client, session: &Session, name: &KeyName) -> Result<Key, managed_hsm::Error> {
    client.get_key(&KeyUri {
        vault: session.token.vault().clone(),
        key: name.clone(),
        version: None,
    })
}

/// As the TLS Offload Library names keys.
fn random_name() -> Result<KeyName, Error> {
    let mut random = [0; 16];
    random::fill(&mut random)?;
    format!("p11-{}", tags::encode_id(&random))
        .parse()
        .map_err(|_| Error::code(CKR_FUNCTION_FAILED))
}
