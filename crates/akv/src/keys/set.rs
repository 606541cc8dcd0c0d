//! `akv keys set`: what may be done with a key that is there, and what is known of it.

use std::collections::HashMap;
use std::time::SystemTime;

use azure_core::http::RequestContent;
use azure_core::time::OffsetDateTime;
use azure_security_keyvault_keys::models::{
    Key, KeyAttributes, KeyClientGetKeyOptions, KeyClientUpdateKeyPropertiesOptions,
    UpdateKeyPropertiesParameters,
};
use clap::Args;
use managed_hsm::KeyUri;

use super::description::{Told, asked_for, shown};
use super::lifetime::{Lifetime, point_in_time};
use super::{operation, secure_wrap, tag};
use crate::failure::Failure;
use crate::management::Management;
use crate::output::Report;
use crate::progress::Spinner;
use crate::session::Session;

/// Examples, which stand below the options.
const EXAMPLES: &str = "Examples:
  akv keys set managedhsm:MyHSM:web --disabled
  akv keys set managedhsm:MyHSM:web --enabled --expires 365d \\
      --operations sign,verify
  akv keys set managedhsm:MyHSM:web --tag owner=me --untag project";

#[derive(Args)]
#[command(after_help = EXAMPLES, group = clap::ArgGroup::new("change").required(true).multiple(true))]
pub(crate) struct Set {
    /// The key: its newest version, unless one is named
    uri: KeyUri,
    /// Operations that it may be used for from now on, separated by commas: all others are taken
    /// from it
    #[arg(
        long,
        visible_alias = "ops",
        value_name = "OPERATIONS",
        value_delimiter = ',',
        group = "change"
    )]
    operations: Vec<String>,
    /// Let it be used
    #[arg(long, conflicts_with = "disabled", group = "change")]
    enabled: bool,
    /// Do not let it be used
    #[arg(long, group = "change")]
    disabled: bool,
    /// From when on it may be used: 2026-12-31, 2026-12-31T23:59:59Z, or a time from now such as
    /// 12h
    #[arg(long, value_name = "TIME", value_parser = point_in_time, group = "change")]
    not_before: Option<SystemTime>,
    /// Until when it may be used: 2026-12-31, 2026-12-31T23:59:59Z, or a time from now such as 90d
    #[arg(long, value_name = "TIME", value_parser = point_in_time, group = "change")]
    expires: Option<SystemTime>,
    /// A name and value to add, or a new value for a name; may be repeated
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = tag, group = "change")]
    tags: Vec<(String, String)>,
    /// A name to remove with its value; may be repeated
    #[arg(long = "untag", value_name = "NAME", group = "change")]
    untags: Vec<String>,
}

impl Set {
    /// The last of several who change a key's tags at once wins: the service has no way to tell
    /// them apart.
    pub(super) fn run(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("changing the key");
        self.lifetime().check()?;
        let session = Session::start()?;
        let feature = secure_wrap(self.operations.iter().map(|name| name.trim()));
        let management = session.management_with(feature, "change key", &self.uri)?;
        let now = self.key_now(&management)?;
        if let Some(key) = &now {
            let lifetime = Lifetime::of(key.attributes.as_ref());
            self.lifetime().check_with(lifetime)?;
        }
        let parameters = UpdateKeyPropertiesParameters {
            key_attributes: self.attributes(),
            key_ops: match self.operations.is_empty() {
                true => None,
                false => Some(self.operations.iter().map(|name| operation(name)).collect()),
            },
            tags: self.new_tags(now)?,
            ..UpdateKeyPropertiesParameters::default()
        };
        let request = async {
            let content: RequestContent<_> = parameters.try_into()?;
            let options = KeyClientUpdateKeyPropertiesOptions {
                key_version: self.version(),
                ..KeyClientUpdateKeyPropertiesOptions::default()
            };
            let name = self.uri.key.as_str();
            let answer = management
                .keys
                .update_key_properties(name, content, Some(options));
            Told::read(answer.await?)
        };
        let key = management.wait("change key", &self.uri.to_string(), request)?;
        shown(&self.uri, &key)
    }

    fn version(&self) -> Option<String> {
        self.uri.version.as_ref().map(ToString::to_string)
    }

    fn lifetime(&self) -> Lifetime {
        Lifetime {
            not_before: self.not_before,
            expires: self.expires,
        }
    }

    /// What is to be changed, and nothing else.
    fn attributes(&self) -> Option<KeyAttributes> {
        let enabled = match (self.enabled, self.disabled) {
            (false, false) => None,
            (enabled, _) => Some(enabled),
        };
        let (not_before, expires) = (self.not_before, self.expires);
        let is_any = enabled.is_some() || not_before.is_some() || expires.is_some();
        is_any.then(|| KeyAttributes {
            enabled,
            not_before: not_before.map(OffsetDateTime::from),
            expires: expires.map(OffsetDateTime::from),
            ..KeyAttributes::default()
        })
    }

    /// The key as it is, where what is to be changed depends on that.
    fn key_now(&self, management: &Management) -> Result<Option<Key>, Failure> {
        let needs_end = self.not_before.is_some() != self.expires.is_some();
        if !self.changes_tags() && !needs_end {
            return Ok(None);
        }
        let request = async {
            let options = KeyClientGetKeyOptions {
                key_version: self.version(),
                ..KeyClientGetKeyOptions::default()
            };
            let name = self.uri.key.as_str();
            let answer = management.keys.get_key(name, Some(options)).await?;
            answer.into_model()
        };
        match management.wait("load key", &self.uri.to_string(), request) {
            Ok(key) => {
                let kid = key.key.as_ref().and_then(|key| key.kid.as_deref());
                asked_for(&self.uri, kid)?;
                Ok(Some(key))
            }
            // Whoever may change the key, and not read it, can't compare its times: they are for
            // the service to judge then. Tags can't be told without those that there are.
            Err(Failure::Hsm(error)) if error.status() == Some(403) && !self.changes_tags() => {
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    fn changes_tags(&self) -> bool {
        !self.tags.is_empty() || !self.untags.is_empty()
    }

    /// All tags as they are to be: the service only replaces them all.
    fn new_tags(&self, key: Option<Key>) -> Result<Option<HashMap<String, String>>, Failure> {
        let Some(key) = key.filter(|_| self.changes_tags()) else {
            return Ok(None);
        };
        let mut tags = key.tags.unwrap_or_default();
        for name in &self.untags {
            if tags.remove(name).is_none() {
                return Err(Failure::not_found(format!(
                    "{} has no tag '{name}': 'akv keys show' lists those that it has",
                    self.uri
                )));
            }
        }
        tags.extend(self.tags.iter().cloned());
        Ok(Some(tags))
    }
}
