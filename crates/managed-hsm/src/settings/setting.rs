//! A setting: its names, and how its value is looked up and read.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
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
    /// What numbers it takes, if it is one.
    pub(crate) range: Option<RangeInclusive<f64>>,
    /// What the value is, and what it does, but for the range.
    pub(crate) help: &'static str,
}

/// A value with its origin.
pub(crate) type Found = Option<(String, Origin)>;

/// How settings are looked up.
pub(crate) type Find<'a> = &'a dyn Fn(&'static Setting) -> Result<Found, Error>;

impl Setting {
    /// What the value is, and what it does.
    pub fn meaning(&self) -> String {
        match &self.range {
            None => self.help.to_owned(),
            Some(range) => format!("{}; {} to {}", self.help, range.start(), range.end()),
        }
    }

    /// Whether it is on, by what `find` says of it, else by its default.
    pub(crate) fn is_on(&'static self, find: Find<'_>) -> Result<bool, Error> {
        yes_or_no(self.found(find)?)
    }

    /// The time in seconds that `find` says, else the default.
    pub(crate) fn seconds(&'static self, find: Find<'_>) -> Result<Duration, Error> {
        let seconds = self.number::<f64>(find, "a number of seconds")?;
        Ok(Duration::from_secs_f64(seconds))
    }

    /// The whole number that `find` says, else the default.
    pub(crate) fn count(&'static self, find: Find<'_>) -> Result<u32, Error> {
        self.number(find, "a number")
    }

    fn number<T: Copy + FromStr + Into<f64>>(
        &'static self,
        find: Find<'_>,
        what: &str,
    ) -> Result<T, Error> {
        let (text, origin) = self.found(find)?;
        let text = text.trim();
        let range = self.range.as_ref();
        let range = range.map_or((f64::MIN, f64::MAX), |range| (*range.start(), *range.end()));
        match text.parse::<T>() {
            Ok(number) if (range.0..=range.1).contains(&number.into()) => Ok(number),
            _ => {
                let (from, to) = range;
                let text = text.escape_debug();
                let problem = format!("'{text}' is not {what} from {from} to {to}");
                Err(Error::setting(&origin, &problem))
            }
        }
    }

    /// What `find` says, else the default.
    pub(crate) fn found(&'static self, find: Find<'_>) -> Result<(String, Origin), Error> {
        let default = || (self.default.to_owned(), Origin::Variable(self.variable));
        Ok(find(self)?.unwrap_or_else(default))
    }

    /// The value of the environment variable, unless it is absent or empty. A variable of all
    /// programs, such as HTTPS_PROXY, may be in lower case. Where the [`environment`] doesn't count
    /// there is none.
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

/// A setting that names a file. The path is read from the folder that the program is in now.
pub(crate) fn path(find: Find<'_>, setting: &'static Setting) -> Result<Option<PathBuf>, Error> {
    Ok(find(setting)?.map(|(path, _)| files::from_everywhere(path.into())))
}

/// The value of a setting that is on or off.
///
/// # Errors
/// The value is neither yes nor no.
fn yes_or_no((text, origin): (String, Origin)) -> Result<bool, Error> {
    match text.trim().to_ascii_lowercase().as_str() {
        "yes" | "true" | "on" | "1" => Ok(true),
        "no" | "false" | "off" | "0" => Ok(false),
        other => Err(Error::setting(
            &origin,
            &format!("'{}' is neither yes nor no", other.escape_debug()),
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
