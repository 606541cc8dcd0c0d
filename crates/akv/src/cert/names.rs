//! Names in certificates: how they are written on the command line, and what RFC 5280 asks of them.
//! A CA vouches for what it signs: a name that programs read differently is refused.

use std::net::IpAddr;

use der::asn1::{Any, Ia5String, ObjectIdentifier, OctetString};
use der::{Tag, Tagged};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::ext::pkix::name::{GeneralName, OtherName};
use x509_cert::name::Name;

use super::uri::uri;
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
    let by_digits = match text.strip_prefix('/') {
        None => of_rfc4514(text)?,
        Some(parts) => of_openssl(parts)?,
    };
    let name = by_digits.parse().map_err(|_| {
        "give CN=www.example.com,O=Example or /O=Example/CN=www.example.com".to_owned()
    })?;
    check_distinguished(&name)?;
    Ok(name)
}

/// A character in the form of RFC 4514 that never means anything but itself.
fn push_literal(text: &mut String, character: char) {
    for byte in character.encode_utf8(&mut [0; 4]).bytes() {
        text.push_str(&format!("\\{byte:02x}"));
    }
}

/// A name in the form of RFC 4514 with hexadecimal digits for all that is escaped: what parses it
/// takes a comma for one that separates if two backslashes stand somewhere before it.
fn of_rfc4514(text: &str) -> Result<String, String> {
    let mut by_digits = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            by_digits.push(character);
            continue;
        }
        let rest = characters.as_str();
        let digits = rest.get(..2);
        let digits = digits.filter(|two| two.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match (digits, characters.next()) {
            (Some(digits), _) => {
                by_digits.push('\\');
                by_digits.push_str(digits);
                characters.next();
            }
            (None, Some(special)) if special == ' ' || special.is_ascii_punctuation() => {
                push_literal(&mut by_digits, special);
            }
            _ => return Err(
                "'\\' stands before two hexadecimal digits, or before a character such as ',' and '+'"
                    .to_owned(),
            ),
        }
    }
    Ok(by_digits)
}

/// The same of a name in the form of OpenSSL, without its first slash: there a backslash keeps any
/// character that follows, and slashes separate, the most general part first.
fn of_openssl(text: &str) -> Result<String, String> {
    let mut parts = vec![String::new()];
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        let part = parts.len() - 1;
        match character {
            '/' => parts.push(String::new()),
            '\\' => match characters.next() {
                Some(kept) => push_literal(&mut parts[part], kept),
                None => return Err("nothing stands behind the last '\\'".to_owned()),
            },
            ',' | ';' | '"' | '<' | '>' | '#' => push_literal(&mut parts[part], character),
            other => parts[part].push(other),
        }
    }
    parts.reverse();
    Ok(parts.join(","))
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
        DOMAIN => labels(&text),
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
                "its type is {other} instead of UTF8String or PrintableString"
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

/// A host's name. One that ends with a number is an address to browsers, however it is written (URL
/// standard, "ends in a number checker"), and no top-level domain is one.
pub(super) fn host(name: &str, may_be_pattern: bool) -> Result<(), String> {
    let pattern = name.strip_prefix("*.").filter(|_| may_be_pattern);
    let name = pattern.unwrap_or(name);
    labels(name)?;
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_decimal = last.bytes().all(|byte| byte.is_ascii_digit());
    let hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    match is_decimal || hexadecimal.is_some_and(is_number) {
        true => Err("its last part is a number: programs read it as an address".to_owned()),
        false => Ok(()),
    }
}

/// Labels in the "preferred name syntax" (RFC 1034, section 3.5; RFC 1123, section 2.1).
fn labels(name: &str) -> Result<(), String> {
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
        // The last part of each is O; a backslash keeps what follows it from separating.
        for (text, common_name) in [
            (r"CN=a\\\,b,O=x", r"a\,b"),
            (r"CN=a\,b,O=x", "a,b"),
            (r"CN=a\2c\c3\BCb,O=x", "a,\u{fc}b"),
            (r"CN=\#a\=b\ ,O=x", "#a=b "),
            (r"/O=x/CN=a\/O=b", "a/O=b"),
            (r"/O=x/CN=a\\", r"a\"),
            (r"/O=x/CN=a\41", "a41"),
            (r"/O=x/CN=a\+CN=b", "a+CN=b"),
            ("/O=x/CN=#04024869", "#04024869"),
            ("/O=x/CN=a;b\"<,>c", "a;b\"<,>c"),
        ] {
            let name = distinguished_name(text).unwrap();
            let values = name
                .iter()
                .map(|one| self::super::text(&one.value).unwrap());
            assert_eq!(values.collect::<Vec<_>>(), ["x", common_name], "{text}");
        }
        for text in [r"CN=a\", r"CN=a\0", r"CN=a\g1", r"/CN=a\"] {
            assert!(distinguished_name(text).is_err(), "{text}");
        }
        assert!(distinguished_name("www.example.com").is_err());
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
            ("CN=#1e020061", "instead of UTF8String"),
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
            "URI:spiffe://my_domain/service",
            "URI:http://a.example/%20?x=1#y",
            "URI:ldap:///cn=ca?crl",
            "URI:https://me@a.example:8443/x",
            "URI:http://192.0.2.1/",
            "URI:HTTP://[2001:db8::1]:80/",
            "URI:mailto:me@a.example",
            "DNS:1.a.example",
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
            ("URI:/path", "no scheme"),
            ("URI:1x:y", "no scheme"),
            ("URI:urn:", "nothing is behind"),
            ("URI:http://", "names no host"),
            ("URI:http:///www.example.com/", "names no host"),
            ("URI:http:/www.example.com", "'//' and a host"),
            ("URI:HTTPS:www.example.com", "'//' and a host"),
            ("URI:http://a..b/", "a dot has nothing"),
            ("URI:http://-a-/", "a hyphen"),
            ("URI:http://a_b/", "'_' is in it"),
            ("URI:http://0x7f.1/", "is a number"),
            ("URI:http://2130706433/", "is a number"),
            ("URI:http://a.0X7F/", "is a number"),
            ("URI:http://exa%6dple.com/", "'%' is in it"),
            ("URI:http://user:pw@a@b.com/", "one '@'"),
            ("URI:http://me@/", "it is empty"),
            ("URI:http://a.example:x/", "port"),
            ("URI:http://a.example:/", "port"),
            ("URI:http://[::1]x/", "port"),
            ("URI:http://[::g]/", "no address"),
            ("URI:http://a.example/[x]", "have to be escaped"),
            ("URI:http://a.example/#x#y", "have to be escaped"),
            ("DNS:127.1", "is a number"),
            ("DNS:0x7f.1", "is a number"),
            ("DNS:*.10", "is a number"),
            ("email:me@10.1", "is a number"),
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
                "instead of UTF8String",
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
