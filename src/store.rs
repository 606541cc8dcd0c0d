//! OSSL_STORE loader: turns a key's URI into the key, and an HSM's into the names of its keys.
//! Called by `OSSL_STORE_open` and `OSSL_STORE_load`.
//!
//! A program that wants a key takes the first that it is given. So a URI without a key name gives
//! no key, whatever is expected. It lists names, and with the last one leaves an error on OpenSSL's
//! queue: a program that lists keys has no use for it, and one that was after a key shows it.

use std::collections::VecDeque;
use std::sync::Arc;

use hsm_keys::key_file::KeyFile;
use hsm_keys::{Key, KeyType, PublicKey};
use managed_hsm::{KeyItem, KeyPages, KeyUri, StoreUri, Vault};

use crate::error::{Error, Reason};
use crate::provider::Provider;

/// What the caller of the store wants to see (`OSSL_STORE_expect(3)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Anything,
    PublicKey,
    PrivateKey,
    /// Something that an HSM does not hold: a certificate, say.
    Other,
}

impl Expected {
    /// From the number of an `OSSL_STORE_INFO` type.
    pub(crate) fn from_info_type(info_type: i64) -> Self {
        match info_type {
            0 => Self::Anything,
            3 => Self::PublicKey,
            4 => Self::PrivateKey,
            _ => Self::Other,
        }
    }
}

/// What the store hands out.
#[derive(Debug)]
pub(crate) enum Object {
    Key(Key),
    /// The URI of a key.
    Name(KeyUri),
    /// The same, with what to say to a program that is still without a key.
    LastName(KeyUri, Error),
}

/// What is left to load.
enum Rest {
    Nothing,
    /// Nothing either, but OpenSSL takes a failure for the end unless there seems to be more.
    Failure,
    Key(KeyUri),
    /// The public half of the key that came before.
    PublicHalf(PublicKey),
    Listing(Listing),
}

/// The keys of a vault that are still to be named.
struct Listing {
    vault: Vault,
    items: VecDeque<KeyItem>,
    /// None: all have come.
    pages: Option<KeyPages>,
}

/// An open URI.
pub(crate) struct Loader {
    pub(crate) provider: Arc<Provider>,
    uri: StoreUri,
    /// None: nothing has been loaded yet.
    rest: Option<Rest>,
    expected: Expected,
    /// The property query that OpenSSL will look for key management with.
    pub(crate) query: Option<String>,
}

impl Loader {
    /// Checks the URI. No request is made before [`Loader::load`].
    pub(crate) fn open(provider: Arc<Provider>, uri: &str) -> Result<Self, Error> {
        let uri = uri.parse::<StoreUri>()?;
        Ok(Self {
            provider,
            uri,
            rest: None,
            expected: Expected::Anything,
            query: None,
        })
    }

    pub(crate) fn expect(&mut self, expected: Expected) {
        self.expected = expected;
    }

    /// Whether there is certainly nothing (more) to load.
    pub(crate) fn is_at_end(&self) -> bool {
        matches!(self.rest, Some(Rest::Nothing)) || self.expected == Expected::Other
    }

    /// Loads the next object; None: there is no more. A key is pinned to the version that the HSM
    /// answers with, and followed by its public half where anything is expected. The keys of a
    /// vault are named page by page. Nothing comes after a failure.
    pub(crate) fn load(&mut self) -> Result<Option<Object>, Error> {
        let loaded = self.next();
        if loaded.is_err() {
            self.rest = Some(Rest::Failure);
        }
        loaded
    }

    fn next(&mut self) -> Result<Option<Object>, Error> {
        match self.rest.replace(Rest::Nothing) {
            Some(Rest::Nothing | Rest::Failure) => Ok(None),
            Some(Rest::Key(uri)) => {
                let key = self.load_key(&uri)?;
                // Tokens hold both halves of a key, and BIND looks for both.
                if self.expected == Expected::Anything && key.public.key_type() != KeyType::Aes {
                    self.rest = Some(Rest::PublicHalf(key.public.clone()));
                }
                Ok(Some(Object::Key(key)))
            }
            Some(Rest::PublicHalf(public)) => Ok(Some(Object::Key(Key { public, hsm: None }))),
            Some(Rest::Listing(listing)) => self.next_name(listing),
            None => {
                self.rest = Some(match &self.uri {
                    StoreUri::Key(uri) => Rest::Key(uri.clone()),
                    StoreUri::Vault(vault) => {
                        let pages = self.provider.client()?.keys(vault);
                        Rest::Listing(Listing {
                            vault: vault.clone(),
                            items: VecDeque::new(),
                            pages: Some(pages.map_err(Error::Hsm)?),
                        })
                    }
                });
                self.next()
            }
        }
    }

    fn next_name(&mut self, mut listing: Listing) -> Result<Option<Object>, Error> {
        // One more than is given out, to know the last.
        while listing.items.len() < 2
            && let Some(pages) = &mut listing.pages
        {
            match pages.next_page(&*self.provider.client()?) {
                Ok(Some(page)) => listing.items.extend(page),
                Ok(None) => listing.pages = None,
                Err(cause) if self.expected == Expected::Anything => return Err(Error::Hsm(cause)),
                // Who may not list keys has most likely forgotten the name of one.
                Err(cause) => {
                    return Err(Error::NotListed {
                        vault: listing.vault,
                        cause: Box::new(cause),
                    });
                }
            }
        }
        match listing.items.pop_front() {
            Some(item) if listing.items.is_empty() => Ok(Some(Object::LastName(
                item.uri,
                Error::KeyNameMissing(listing.vault),
            ))),
            Some(item) => {
                self.rest = Some(Rest::Listing(listing));
                Ok(Some(Object::Name(item.uri)))
            }
            None if self.expected == Expected::Anything => Ok(None),
            None => Err(Error::KeyNameMissing(listing.vault)),
        }
    }

    fn load_key(&self, uri: &KeyUri) -> Result<Key, Error> {
        self.provider.check_query(self.query.as_deref())?;
        let key = self.provider.load(&KeyFile::Uri(uri.clone()))?;
        Ok(if self.expected == Expected::PublicKey {
            key.without_private()
        } else {
            key
        })
    }
}

/// Why nothing is read from what `OSSL_STORE_attach` is given.
pub(crate) fn no_attachment() -> Error {
    Error::parameter(
        "bio",
        "keys of an HSM come by their URI, and not from a BIO: use OSSL_STORE_open",
    )
}

/// Why nothing is found by what it is, as `OSSL_STORE_find` would have it.
pub(crate) fn no_search() -> Error {
    Error::unsupported(
        Reason::Search,
        "a search in a store",
        "name the key in the URI; one that names the HSM alone lists the names of its keys",
    )
}

/// Deletes a key with all its versions, if the settings allow it.
pub(crate) fn delete(provider: &Provider, uri: &str) -> Result<(), Error> {
    let uri = uri.parse::<KeyUri>()?;
    if !provider.configuration()?.own.allow_delete {
        return Err(Error::DeletionNotAllowed(uri));
    }
    if uri.version.is_some() {
        return Err(Error::unsupported(
            Reason::DeletionOfVersion,
            "deleting one version of a key",
            "give the key without a version to delete all of them",
        ));
    }
    let client = provider.client()?;
    client.delete_key(&uri.vault, &uri.key).map_err(Error::Hsm)
}
