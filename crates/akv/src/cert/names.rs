//! Names in certificates: how they are written on the command line, and what RFC 5280 asks of them.
//! A CA vouches for what it signs: a name that programs read differently is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use der::asn1::{Any, Ia5String, ObjectIdentifier, OctetString};
use der::{Tag, Tagged};
use url::Url;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::ext::pkix::name::{GeneralName, OtherName};
use x509_cert::name::Name;

use crate::output::one_line;
use crate::signing::digits;

/// Attributes of a distinguished name with the characters that they may have (RFC 5280, appendix
/// A.1).
const ATTRIBUTES: [(&str, &str, usize); 13] = [
    ("CN", "2.5.4.3", 64),
    ("SN", "2.5.4.4", 32_768),
    ("serialNumber", "2.5.4.5", 64),
    (COUNTRY, "2.5.4.6", 2),
    ("L", "2.5.4.7", 128),
    ("ST", "2.5.4.8", 128),
    ("street", "2.5.4.9", 128),
    ("O", "2.5.4.10", 64),
    ("OU", "2.5.4.11", 64),
    ("title", "2.5.4.12", 64),
    ("UID", "0.9.2342.19200300.100.1.1", 256),
    (DOMAIN, "0.9.2342.19200300.100.1.25", 63),
    (EMAIL, "1.2.840.113549.1.9.1", 255),
];
const COUNTRY: &str = "C";
const DOMAIN: &str = "DC";
const EMAIL: &str = "emailAddress";

/// The name of a user in Active Directory, as an `otherName`.
const USER_PRINCIPAL_NAME: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.20.2.3");
/// A mailbox whose name is not ASCII alone (RFC 9598).
const SMTP_UTF8_MAILBOX: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.8.9");

/// A distinguished name as RFC 4514 or as OpenSSL writes it.
pub(super) fn distinguished_name(text: &str) -> Result<Name, String> {
    let rfc4514 = match text.strip_prefix('/') {
        None => text.to_owned(),
        Some(parts) => {
            let mut parts = unescaped_parts(parts);
            parts.reverse();
            parts.join(",")
        }
    };
    check_escapes(&rfc4514)?;
    let name = rfc4514.parse().map_err(|_| {
        "give CN=www.example.com,O=Example or /O=Example/CN=www.example.com".to_owned()
    })?;
    check_distinguished(&name)?;
    Ok(name)
}

/// The parts between slashes, as RFC 4514 writes them: a comma has no meaning there, nor has a
/// slash that a backslash stands before.
fn unescaped_parts(text: &str) -> Vec<String> {
    let (mut parts, mut part) = (Vec::new(), String::new());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '/' => parts.push(std::mem::take(&mut part)),
            ',' => part.push_str("\\,"),
            '\\' => match characters.next() {
                Some('/') => part.push('/'),
                next => part.extend([Some('\\'), next].into_iter().flatten()),
            },
            other => part.push(other),
        }
    }
    parts.push(part);
    parts
}

/// Refuses a backslash that stands before nothing that it can give another meaning (RFC 4514,
/// section 3).
fn check_escapes(text: &str) -> Result<(), String> {
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            continue;
        }
        let is_good = match characters.next() {
            Some(special) if " \"#+,;<=>\\".contains(special) => true,
            Some(digit) if digit.is_ascii_hexdigit() => characters
                .next()
                .is_some_and(|digit| digit.is_ascii_hexdigit()),
            _ => false,
        };
        if !is_good {
            return Err(
                "a backslash stands before a special character or two hexadecimal digits"
                    .to_owned(),
            );
        }
    }
    Ok(())
}

/// An alternative name with its kind before it, as OpenSSL writes it.
pub(super) fn alternative_name(text: &str) -> Result<GeneralName, String> {
    let forms = || "give DNS:<name>, IP:<address>, email:<address> or URI:<uri>".to_owned();
    let (kind, name) = text.split_once(':').ok_or_else(forms)?;
    let ia5 =
        |name: &str| Ia5String::new(name).map_err(|_| format!("'{}' is not ASCII", one_line(name)));
    let name = match kind.to_ascii_lowercase().as_str() {
        "dns" => GeneralName::DnsName(ia5(name)?),
        "email" => GeneralName::Rfc822Name(ia5(name)?),
        "uri" => GeneralName::UniformResourceIdentifier(ia5(name)?),
        "ip" => {
            let address: IpAddr = name
                .parse()
                .map_err(|_| format!("'{}' is not an IP address", one_line(name)))?;
            GeneralName::from(address)
        }
        _ => return Err(forms()),
    };
    check_alternative(&name)?;
    Ok(name)
}

/// Where programs find something, as an extension names it.
pub(super) fn location(text: &str) -> Result<Ia5String, String> {
    uri(text)?;
    Ia5String::new(text).map_err(|_| "it is not ASCII".to_owned())
}

/// Says what is wrong with an alternative name.
pub(super) fn check_alternative(name: &GeneralName) -> Result<(), String> {
    let (kind, shown, found) = match name {
        GeneralName::DnsName(name) => ("DNS", name.to_string(), host(name.as_str(), true)),
        GeneralName::Rfc822Name(name) => ("email", name.to_string(), mailbox(name.as_str())),
        GeneralName::UniformResourceIdentifier(name) => {
            ("URI", name.to_string(), uri(name.as_str()))
        }
        GeneralName::IpAddress(address) => ("IP", digits(address.as_bytes()), ip_address(address)),
        GeneralName::OtherName(name) => ("otherName", name.type_id.to_string(), other_name(name)),
        GeneralName::DirectoryName(name) if name.is_empty() => {
            ("dirName", String::new(), Err("it is empty".to_owned()))
        }
        GeneralName::DirectoryName(name) => {
            ("dirName", name.to_string(), check_distinguished(name))
        }
        GeneralName::EdiPartyName(_) => {
            let problem = "no program reads such names".to_owned();
            ("ediPartyName", String::new(), Err(problem))
        }
        GeneralName::RegisteredId(_) => return Ok(()),
    };
    found.map_err(|problem| format!("{kind}:{} is not well-formed: {problem}", one_line(&shown)))
}

/// Says what is wrong with a distinguished name. An empty one is a name, too.
pub(super) fn check_distinguished(name: &Name) -> Result<(), String> {
    for attribute in name.iter() {
        let known = ATTRIBUTES.iter();
        let oid = attribute.oid.to_string();
        let known = known.copied().find(|(_, own, _)| *own == oid);
        let (shown, longest) = known.map_or((&*oid, 32_768), |(name, _, longest)| (name, longest));
        check_attribute(attribute, shown, longest).map_err(|(value, problem)| {
            format!("{shown}={} is not well-formed: {problem}", one_line(&value))
        })?;
    }
    Ok(())
}

fn check_attribute(
    attribute: &AttributeTypeAndValue,
    name: &str,
    longest: usize,
) -> Result<(), (String, String)> {
    let text = text(&attribute.value).map_err(|problem| (String::new(), problem))?;
    let found = match name {
        _ if text.is_empty() => Err("it is empty".to_owned()),
        _ if text.chars().count() > longest => Err(format!(
            "it has {} characters, and {longest} at most are allowed",
            text.chars().count()
        )),
        COUNTRY if text.len() != 2 || !text.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
            Err("a country is two letters, as ISO 3166 has them".to_owned())
        }
        EMAIL => mailbox(&text),
        DOMAIN => host(&text, false),
        _ => visible(&text),
    };
    found.map_err(|problem| (text, problem))
}

/// The text of a value, in one of the types that RFC 5280 lets new certificates have.
fn text(value: &Any) -> Result<String, String> {
    let text = match value.tag() {
        Tag::Utf8String => value.decode_as::<String>().ok(),
        Tag::PrintableString => {
            let text = value.decode_as::<der::asn1::PrintableString>();
            text.ok().map(|text| text.to_string())
        }
        Tag::Ia5String => {
            let text = value.decode_as::<Ia5String>();
            text.ok().map(|text| text.to_string())
        }
        other => {
            return Err(format!(
                "its type is {other} in the place of UTF8String or PrintableString"
            ));
        }
    };
    text.ok_or_else(|| format!("it has characters that are none of {}", value.tag()))
}

fn visible(text: &str) -> Result<(), String> {
    match text.chars().find(|character| character.is_control()) {
        None => Ok(()),
        Some(character) => Err(format!(
            "the control character {} is in it",
            character.escape_debug()
        )),
    }
}

/// A host in the "preferred name syntax" (RFC 1034, section 3.5; RFC 1123, section 2.1).
fn host(name: &str, may_be_pattern: bool) -> Result<(), String> {
    let pattern = name.strip_prefix("*.").filter(|_| may_be_pattern);
    let name = pattern.unwrap_or(name);
    if name.is_empty() {
        return Err("it is empty".to_owned());
    }
    if name.len() > 253 {
        return Err("it is longer than 253 characters".to_owned());
    }
    if name.parse::<IpAddr>().is_ok() {
        return Err("it is an address: write IP: before it".to_owned());
    }
    let is_good = |character: char| character.is_ascii_alphanumeric() || "-.".contains(character);
    if let Some(character) = name.chars().find(|character| !is_good(*character)) {
        return Err(format!(
            "'{}' is in it, and a host's name has letters, digits and hyphens between its dots",
            character.escape_debug()
        ));
    }
    if name.rsplit('.').next().is_some_and(is_number) {
        return Err("its last part is a number, which programs take for an address".to_owned());
    }
    for label in name.split('.') {
        match label {
            "" => return Err("a dot has nothing before or behind it".to_owned()),
            _ if label.len() > 63 => {
                return Err("it has more than 63 characters between two dots".to_owned());
            }
            _ if label.starts_with('-') || label.ends_with('-') => {
                return Err("a hyphen stands beside a dot, or at an end".to_owned());
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether what stands behind a host's last dot is a number in one of the forms that browsers read.
fn is_number(label: &str) -> bool {
    let hexadecimal = label
        .strip_prefix("0x")
        .or_else(|| label.strip_prefix("0X"));
    match hexadecimal {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// A mailbox (RFC 5321, section 4.1.2), without the forms that have quotes or addresses.
fn mailbox(text: &str) -> Result<(), String> {
    visible(text)?;
    let (local, domain) = text
        .rsplit_once('@')
        .ok_or("it is no address such as me@example.com")?;
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte);
    let mut atoms = local.split('.');
    match local.len() <= 64 && atoms.all(|atom| !atom.is_empty() && atom.bytes().all(is_good)) {
        true => host(domain, false),
        false => Err("what stands before '@' is no mailbox's name".to_owned()),
    }
}

/// A URI with its scheme (RFC 3986, and RFC 5280, section 4.2.1.6).
fn uri(text: &str) -> Result<(), String> {
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
    match Url::parse(text) {
        Ok(url) if url.path().is_empty() && !url.has_host() => {
            Err("nothing is behind its scheme".to_owned())
        }
        // The parser mends what it reads, as browsers do, and other programs don't.
        Ok(url) => authority(text, url.is_special() && url.scheme() != "file"),
        Err(error) => Err(error.to_string()),
    }
}

/// The host of a URI, as it is written, which `has_to_be` there: a name in full or an address.
fn authority(text: &str, has_to_be: bool) -> Result<(), String> {
    let rest = text.split_once(':').map_or("", |(_, rest)| rest);
    let authority = rest.strip_prefix("//").map(|rest| {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        &rest[..end]
    });
    let authority = match authority {
        None | Some("") if has_to_be => return Err("'//' and a host have to be in it".to_owned()),
        None | Some("") => return Ok(()),
        Some(authority) => authority,
    };
    let (user, place) = authority.rsplit_once('@').unwrap_or(("", authority));
    if user.contains('@') {
        return Err("'@' is in its host twice".to_owned());
    }
    let (name, port) = match place
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        Some((address, port)) => match address.parse::<Ipv6Addr>() {
            Ok(_) => ("", port),
            Err(_) => return Err("what stands in brackets is no address".to_owned()),
        },
        None => place.split_at(place.find(':').unwrap_or(place.len())),
    };
    if !port
        .strip_prefix(':')
        .unwrap_or(port)
        .bytes()
        .all(|byte| byte.is_ascii_digit())
    {
        return Err("its port is no number".to_owned());
    }
    match name.is_empty() && place.starts_with('[') || name.parse::<Ipv4Addr>().is_ok() {
        true => Ok(()),
        false => host(name, false).map_err(|problem| format!("its host: {problem}")),
    }
}

fn ip_address(address: &OctetString) -> Result<(), String> {
    match address.as_bytes().len() {
        4 | 16 => Ok(()),
        len => Err(format!("an address has 4 or 16 octets, and not {len}")),
    }
}

/// A name of a kind of its own, whose type is its kind's to say, such as the SEQUENCE of Kerberos
/// principals (RFC 4556). A text has the form of its kind, where that is known.
fn other_name(name: &OtherName) -> Result<(), String> {
    let is_text = [USER_PRINCIPAL_NAME, SMTP_UTF8_MAILBOX].contains(&name.type_id)
        || matches!(
            name.value.tag(),
            Tag::Utf8String | Tag::PrintableString | Tag::Ia5String
        );
    if !is_text {
        return Ok(());
    }
    let text = text(&name.value)?;
    visible(&text)?;
    let parts = text.split_once('@');
    match parts.is_some_and(|(user, domain)| !user.is_empty() && !domain.is_empty()) {
        false if name.type_id == USER_PRINCIPAL_NAME => Err(format!(
            "'{}' is no user principal name such as me@example.com",
            one_line(&text)
        )),
        _ if text.is_empty() => Err("it is empty".to_owned()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_writing_a_name_mean_the_same() {
        let rfc4514 = distinguished_name("CN=www.example.com,O=Example\\, Inc.").unwrap();
        let slashes = distinguished_name("/O=Example, Inc./CN=www.example.com").unwrap();
        assert_eq!(rfc4514, slashes);
        assert!(distinguished_name("www.example.com").is_err());
        let slash = distinguished_name("/O=a\\/b/CN=c").unwrap();
        assert_eq!(slash, distinguished_name("CN=c,O=a/b").unwrap());
        for text in ["CN=a\\", "CN=a\\0", "CN=a\\x", "/CN=a\\"] {
            let told = distinguished_name(text).unwrap_err();
            assert!(told.contains("a backslash stands before"), "{text}: {told}");
        }
    }

    #[test]
    fn distinguished_names_are_within_the_bounds_of_rfc_5280() {
        let long = |name: &str, len| format!("{name}={}", "x".repeat(len));
        for text in [
            "C=CH,CN=a",
            &long("CN", 64),
            &long("L", 128),
            "CN=M\u{fc}ller,DC=example",
        ] {
            assert!(distinguished_name(text).is_ok(), "{text}");
        }
        for (text, words) in [
            ("CN=", "CN= is not well-formed: it is empty"),
            (&*long("CN", 65), "65 characters, and 64"),
            (&*long("O", 65), "65 characters"),
            ("C=CHE", "3 characters"),
            ("C=C1", "two letters"),
            ("CN=a\\00b", "control character \\0"),
            ("CN=#1e020061", "in the place of UTF8String"),
            ("DC=a b", "' ' is in it"),
            ("emailAddress=me", "no address such as"),
        ] {
            let told = distinguished_name(text).unwrap_err();
            assert!(told.contains(words), "{text}: {told}");
        }
    }

    #[test]
    fn alternative_names_are_of_four_kinds() {
        for name in [
            "DNS:a.example",
            "DNS:*.a.example",
            "DNS:xn--mller-kva.example",
            "DNS:localhost",
            "ip:192.0.2.1",
            "IP:::1",
            "email:a.b+c@b.example",
            "URI:urn:x",
            "URI:spiffe://example.org/my/service",
            "URI:http://a.example/%20?x=1#y",
            "URI:ldap:///cn=ca?crl",
            "URI:file:///etc/ca.crl",
            "URI:http://192.0.2.1:8080/a",
            "URI:http://[2001:db8::1]:8080/a",
            "URI:http://[2001:db8::1]",
            "URI:https://me:secret@a.example:443?x",
        ] {
            assert!(alternative_name(name).is_ok(), "{name}");
        }
        for name in ["a.example", "IP:here", "DNS:m\u{fc}ller", "dir:x"] {
            assert!(alternative_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn an_alternative_name_that_programs_could_read_differently_is_refused() {
        let long = "a".repeat(64);
        for (text, words) in [
            ("DNS:", "it is empty"),
            ("DNS:*.", "it is empty"),
            ("DNS:a\0.example", "'\\0' is in it"),
            ("DNS:a b", "' ' is in it"),
            ("DNS:a_b.example", "'_' is in it"),
            ("DNS:a.*.example", "'*' is in it"),
            ("DNS:.example", "a dot has nothing"),
            ("DNS:a.example.", "a dot has nothing"),
            ("DNS:-a.example", "a hyphen"),
            ("DNS:192.0.2.1", "write IP: before it"),
            (&*format!("DNS:{long}"), "more than 63"),
            (&*format!("DNS:{}a", "a.".repeat(127)), "longer than 253"),
            ("email:a", "no address such as"),
            ("email:@a.example", "before '@'"),
            ("email:a..b@a.example", "before '@'"),
            ("email:a\n@a.example", "control character \\n"),
            ("email:Me <me@a.example>", "before '@'"),
            ("URI:", "it is empty"),
            ("URI:/path", "without a base"),
            ("URI:urn:", "nothing is behind"),
            ("URI:http://", "host"),
            ("URI:http:///www.example.com/", "'//' and a host"),
            ("URI:http:/www.example.com", "'//' and a host"),
            ("URI:https:www.example.com", "'//' and a host"),
            ("URI:http://a..b/", "a dot has nothing"),
            ("URI:http://-a-/", "a hyphen"),
            ("URI:spiffe://a_b/c", "'_' is in it"),
            ("URI:http://0x7f.1/", "its last part is a number"),
            ("URI:http://2130706433/", "its last part is a number"),
            ("URI:http://exa%6dple.com/", "'%' is in it"),
            ("URI:http://user:pw@a@b.example/", "twice"),
            ("URI:http://[::g]/", "address"),
            ("DNS:127.1", "its last part is a number"),
            ("DNS:a.0x7f", "its last part is a number"),
            ("URI:http://a.example/a b", "' ' has to be escaped"),
            ("URI:http://a.example/%zz", "two hexadecimal digits"),
        ] {
            let told = alternative_name(text).unwrap_err();
            assert!(told.contains(words), "{text:?}: {told}");
        }
    }

    #[test]
    fn names_of_requests_alone_are_checked_too() {
        let other = |type_id: &str, value: Any| {
            let type_id = ObjectIdentifier::new_unwrap(type_id);
            check_alternative(&GeneralName::OtherName(OtherName { type_id, value }))
        };
        let utf8 = |text: &str| Any::new(Tag::Utf8String, text.as_bytes()).unwrap();
        let upn = "1.3.6.1.4.1.311.20.2.3";
        assert_eq!(other(upn, utf8("me@example.com")), Ok(()));
        // A Kerberos principal, and the GUID of a domain controller, are no texts.
        let principal = Any::new(Tag::Sequence, &b"\x05\x00"[..]).unwrap();
        assert_eq!(other("1.3.6.1.5.2.2", principal), Ok(()));
        let guid = Any::new(Tag::OctetString, &[7; 16][..]).unwrap();
        assert_eq!(other("1.3.6.1.4.1.311.25.1", guid), Ok(()));
        assert!(other("1.2.3", utf8("a\0b")).is_err());
        for (value, words) in [
            (utf8("me"), "no user principal name"),
            (utf8("me@a\0.example"), "control character"),
            (
                Any::new(Tag::OctetString, &b"me@a"[..]).unwrap(),
                "in the place of UTF8String",
            ),
            (Any::new(Tag::Utf8String, &b"\xff"[..]).unwrap(), "none of"),
        ] {
            let told = other(upn, value).unwrap_err();
            assert!(
                told.starts_with("otherName:1.3.6") && told.contains(words),
                "{told}"
            );
        }
        let address = |octets: &[u8]| {
            check_alternative(&GeneralName::IpAddress(OctetString::new(octets).unwrap()))
        };
        assert_eq!(address(&[0; 16]), Ok(()));
        for octets in [&[][..], &[10, 0, 0], &[0; 8]] {
            let told = address(octets).unwrap_err();
            assert!(told.contains("4 or 16 octets, and not"), "{told}");
        }
        let nobody = check_alternative(&GeneralName::DirectoryName(Name::default()));
        assert!(nobody.unwrap_err().contains("it is empty"));
    }
}
