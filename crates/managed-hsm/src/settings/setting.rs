//! A setting: its names, and how its value is looked up and read.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::environment;
use crate::error::Error;
use crate::files;
use crate::settings::origin::Origin;

/// A setting: its names, what it is without them, and what it is for.
#[derive(Debug)]
pub struct Setting {
    /// The key in a configuration file. None: it has no business in a file that others may read.
    pub key: Option<&'static str>,
    /// The environment variable, which wins over the file.
    pub variable: &'static str,
    /// The value when neither is set.
    pub default: &'static str,
    /// What the value is, and what it does.
    pub help: &'static str,
}

/// A value with its origin.
pub(crate) type Found = Option<(String, Origin)>;

/// How settings are looked up.
pub(crate) type Find<'a> = &'a dyn Fn(&'static Setting) -> Result<Found, Error>;

impl Setting {
    /// The value of the environment variable, unless it is absent or empty. A variable of all programs, such as HTTPS_PROXY,
    /// may be in lower case. Where the [`environment`] doesn't count there is none.
    ///
    /// # Errors
    /// The value is not UTF-8.
    pub fn from_env(&'static self) -> Result<Option<(String, Origin)>, Error> {
        let lower = || match self.variable.ends_with("_PROXY") {
            true => environment::variable(&self.variable.to_ascii_lowercase()),
            false => None,
        };
        let set = lower().or_else(|| environment::variable(self.variable));
        match set.map(std::ffi::OsString::into_string) {
            None => Ok(None),
            Some(Ok(value)) => match files::bare(&value) {
                value if value.trim().is_empty() => Ok(None),
                value => Ok(Some((value.to_owned(), Origin::Variable(self.variable)))),
            },
            Some(Err(_)) => Err(Error::setting(
                &Origin::Variable(self.variable),
                "it is not UTF-8",
            )),
        }
    }
}

/// A setting's text without surrounding white space.
pub(crate) fn text(find: Find<'_>, setting: &'static Setting) -> Result<Option<String>, Error> {
    Ok(find(setting)?.map(|(text, _)| text.trim().to_owned()))
}

/// A setting that names a file.
pub(crate) fn path(find: Find<'_>, setting: &'static Setting) -> Result<Option<PathBuf>, Error> {
    Ok(find(setting)?.map(|(path, _)| PathBuf::from(path)))
}

/// The value of a setting that is on or off.
///
/// # Errors
/// It is neither.
pub fn yes_or_no((text, origin): (String, Origin)) -> Result<bool, Error> {
    match text.trim().to_ascii_lowercase().as_str() {
        "yes" | "true" | "on" | "1" => Ok(true),
        "no" | "false" | "off" | "0" => Ok(false),
        other => Err(Error::setting(
            &origin,
            &format!("'{other}' is neither yes nor no"),
        )),
    }
}

/// A time, in seconds.
pub(crate) fn duration((text, origin): (String, Origin)) -> Result<Duration, Error> {
    match text.trim().parse::<f64>() {
        Ok(seconds) if (0.1..=600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(Error::setting(
            &origin,
            &format!(
                "'{}' is not a number of seconds from 0.1 to 600",
                text.trim()
            ),
        )),
    }
}

/// A number within a range.
pub(crate) fn count(
    (text, origin): (String, Origin),
    range: RangeInclusive<u32>,
) -> Result<u32, Error> {
    match text.trim().parse::<u32>() {
        Ok(count) if range.contains(&count) => Ok(count),
        _ => Err(Error::setting(
            &origin,
            &format!(
                "'{}' is not a number from {} to {}",
                text.trim(),
                range.start(),
                range.end()
            ),
        )),
    }
}

/// The address of a service: HTTPS, a host, nothing else.
pub(crate) fn https((text, origin): (String, Origin)) -> Result<Url, Error> {
    let url = Url::parse(text.trim()).map_err(|error| {
        Error::setting(
            &origin,
            &format!("it is not a URL ({error}); give https://<host>[:<port>]"),
        )
    })?;
    if url.scheme() != "https" || url.host_str().is_none() {
        return Err(Error::setting(
            &origin,
            &format!(
                "it begins with {}: and not with https://<host>; a token is never sent in the clear",
                url.scheme()
            ),
        ));
    }
    let bare = matches!(url.path(), "/" | "") && url.query().is_none() && url.fragment().is_none();
    if !bare || !url.username().is_empty() || url.password().is_some() {
        return Err(Error::setting(
            &origin,
            "it has more than a host and a port; give https://<host>[:<port>]",
        ));
    }
    Ok(url)
}
