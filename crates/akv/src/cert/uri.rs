//! URIs in certificates.

use std::net::{Ipv4Addr, Ipv6Addr};

use url::Url;

use super::names::host;

/// Schemes whose URIs always name a host; browsers look for one wherever it stands.
const WITH_HOST: [&str; 5] = ["http", "https", "ftp", "ws", "wss"];

/// A URI with its scheme (RFC 3986, and RFC 5280, section 4.2.1.6).
pub(super) fn uri(text: &str) -> Result<(), String> {
    let is_good =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte);
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    if let Some(character) = text
        .chars()
        .find(|character| !u8::try_from(*character).is_ok_and(is_good))
    {
        return Err(format!("'{}' has to be escaped", character.escape_debug()));
    }
    let mut escapes = text.split('%').skip(1);
    let is_escape =
        |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    if !escapes.all(is_escape) {
        return Err("'%' stands before two hexadecimal digits".to_owned());
    }
    let (scheme, rest) = text.split_once(':').ok_or("it has no scheme")?;
    let mut of_scheme = scheme.bytes();
    let begins = of_scheme
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic());
    if !begins || !of_scheme.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) {
        return Err("it has no scheme".to_owned());
    }
    let needs_host = WITH_HOST
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known));
    let path = match rest.strip_prefix("//") {
        None if needs_host => return Err(format!("'//' and a host follow '{scheme}:'")),
        None if rest.is_empty() => return Err("nothing is behind its scheme".to_owned()),
        None => rest,
        Some(rest) => {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            match &rest[..end] {
                "" if needs_host => return Err("it names no host".to_owned()),
                "" if rest.is_empty() => return Err("nothing is behind its scheme".to_owned()),
                "" => {}
                // SPIFFE's trust domains may have one; no program resolves them.
                authority if scheme.eq_ignore_ascii_case("spiffe") => {
                    check_authority(&authority.replace('_', "x"))?;
                }
                authority => check_authority(authority)?,
            }
            &rest[end..]
        }
    };
    if path.contains(['[', ']']) || path.matches('#').count() > 1 {
        return Err("'[', ']' and a second '#' have to be escaped".to_owned());
    }
    match Url::parse(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Whom a URI asks (RFC 3986, section 3.2), as it is written: what repairs it finds other hosts.
fn check_authority(authority: &str) -> Result<(), String> {
    let (user, place) = authority.rsplit_once('@').unwrap_or(("", authority));
    if user.contains(['@', '[', ']']) {
        return Err("one '@' at most stands before its host".to_owned());
    }
    let (name, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']').ok_or("']' is missing")?;
            if address.parse::<Ipv6Addr>().is_err() {
                return Err("what stands in '[' and ']' is no address".to_owned());
            }
            match rest {
                "" => (None, None),
                rest => (None, Some(rest.strip_prefix(':').unwrap_or_default())),
            }
        }
        None => match place.split_once(':') {
            Some((name, port)) => (Some(name), Some(port)),
            None => (Some(place), None),
        },
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err() || port.starts_with('+')) {
        return Err("its port is no number".to_owned());
    }
    match name {
        Some(name) if name.parse::<Ipv4Addr>().is_err() => host(name, false),
        _ => Ok(()),
    }
}
