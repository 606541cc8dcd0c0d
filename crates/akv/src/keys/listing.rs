//! `akv keys list`.

use std::collections::HashMap;

use azure_core::error::ErrorKind;
use azure_security_keyvault_keys::models::KeyAttributes;
use clap::Args;
use futures_util::{Stream, StreamExt, TryStreamExt};
use managed_hsm::{KeyUri, MAX_LISTED, StoreUri, Vault};
use serde_json::{Value, json};

use super::description::{
    add_attributes, asked_for, identified, rfc3339, shown_tags, shown_time, yes_or_no,
};
use crate::failure::Failure;
use crate::output::{Report, table};
use crate::progress::Spinner;
use crate::session::Session;

#[derive(Args)]
#[command(after_help = "Examples:
  akv keys list managedhsm:MyHSM
  akv keys list managedhsm:MyHSM:web            # its versions
  akv keys list managedhsm:MyHSM --deleted
  akv keys list managedhsm:MyHSM --query '[?enabled].name' -o tsv")]
pub(crate) struct List {
    /// managedhsm:<HSM>, keyvault:<vault>, or a key, for its versions
    what: StoreUri,
    /// List the deleted keys that can be recovered
    #[arg(long)]
    deleted: bool,
}

impl List {
    pub(super) fn run(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("listing keys");
        let session = Session::start()?;
        match &self.what {
            StoreUri::Vault(vault) if self.deleted => deleted_keys(&session, vault),
            StoreUri::Vault(vault) => keys(&session, vault),
            StoreUri::Key(_) if self.deleted => Err(Failure::usage(
                "--deleted lists the deleted keys of a whole HSM or key vault: leave out the name of the key",
            )),
            StoreUri::Key(uri) => versions(&session, uri),
        }
    }
}

/// A key or a version in a listing.
struct Row {
    uri: KeyUri,
    attributes: Option<KeyAttributes>,
    tags: Option<HashMap<String, String>>,
}

fn keys(session: &Session, vault: &Vault) -> Result<Report, Failure> {
    let management = session.management(vault)?;
    let pager = async { all(management.keys.list_key_properties(None)?).await };
    let found: Vec<_> = management.wait("list keys of", &vault.to_string(), pager)?;
    let rows = found.into_iter().map(|key| {
        Ok(Row {
            uri: identified(vault, key.kid.as_deref())?,
            attributes: key.attributes,
            tags: key.tags,
        })
    });
    listing("key", rows.collect::<Result<_, Failure>>()?)
}

/// All of a listing, unless it has no end.
async fn all<T>(listing: impl Stream<Item = azure_core::Result<T>>) -> azure_core::Result<Vec<T>> {
    let taken: Vec<T> = listing.take(MAX_LISTED + 1).try_collect().await?;
    match taken.len() > MAX_LISTED {
        false => Ok(taken),
        true => Err(azure_core::Error::with_message(
            ErrorKind::DataConversion,
            format!("the listing has more than {MAX_LISTED} entries"),
        )),
    }
}

fn versions(session: &Session, uri: &KeyUri) -> Result<Report, Failure> {
    let management = session.management(&uri.vault)?;
    let pager = async {
        let name = uri.key.as_str();
        all(management.keys.list_key_properties_versions(name, None)?).await
    };
    let found: Vec<_> = management.wait("list versions of", &uri.to_string(), pager)?;
    let all = KeyUri {
        version: None,
        ..uri.clone()
    };
    let rows = found.into_iter().map(|key| {
        Ok(Row {
            uri: asked_for(&all, key.kid.as_deref())?,
            attributes: key.attributes,
            tags: key.tags,
        })
    });
    let mut rows = rows.collect::<Result<Vec<Row>, Failure>>()?;
    rows.sort_by_key(|row| row.attributes.as_ref().and_then(|known| known.created));
    listing("version", rows)
}

/// The report of a listing, in the order given.
fn listing(what: &str, rows: Vec<Row>) -> Result<Report, Failure> {
    let json = rows.iter().map(|row| {
        let mut shown = json!({ "key": row.uri.to_string(), "name": row.uri.key.as_str() });
        if let Some(version) = &row.uri.version {
            shown["version"] = version.as_str().into();
        }
        add_attributes(&mut shown, row.attributes.as_ref());
        shown["tags"] = json!(row.tags.clone().unwrap_or_default());
        shown
    });
    let json: Vec<Value> = json.collect();
    let text = rows.iter().map(|row| {
        let attributes = row.attributes.clone().unwrap_or_default();
        let name = match &row.uri.version {
            Some(version) => version.to_string(),
            None => row.uri.key.to_string(),
        };
        vec![
            name,
            yes_or_no(attributes.enabled.unwrap_or(true)),
            shown_time(attributes.created),
            shown_time(attributes.expires),
            shown_tags(row.tags.as_ref()),
        ]
    });
    let text = table(
        &[what, "enabled", "created", "expires", "tags"],
        text.collect(),
    );
    Ok(Report::new(text, Value::Array(json)))
}

fn deleted_keys(session: &Session, vault: &Vault) -> Result<Report, Failure> {
    let management = session.management(vault)?;
    let pager = async { all(management.keys.list_deleted_key_properties(None)?).await };
    let found: Vec<_> = management.wait("list deleted keys of", &vault.to_string(), pager)?;
    let (mut text, mut json) = (Vec::new(), Vec::new());
    for key in found {
        let uri = identified(vault, key.kid.as_deref())?;
        text.push(vec![
            uri.key.to_string(),
            shown_time(key.deleted_date),
            shown_time(key.scheduled_purge_date),
        ]);
        json.push(json!({
            "key": uri.to_string(),
            "name": uri.key.as_str(),
            "deleted": rfc3339(key.deleted_date),
            "purged": rfc3339(key.scheduled_purge_date),
        }));
    }
    let text = table(&["key", "deleted", "purged"], text);
    Ok(Report::new(text, Value::Array(json)))
}
