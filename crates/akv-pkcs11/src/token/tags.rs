//! Tags of a key in the HSM that hold attributes of PKCS#11, as the TLS Offload Library has them:
//! `p11_pri_…` for the private key and `p11_pub_…` for the public one.
//!
//! No public source says how that library spells the attributes' names and encodes their values.
//! What is written is one form (UTF-8 for labels, hexadecimal digits for ids); what is read may
//! have any that is plausible, where no key has just what is sought. Should the real form become
//! known, this module is all that changes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// Marks keys that live as long as a session, and says who has made it.
pub(crate) const SESSION: &str = "p11_session";
/// Marks keys whose public half was destroyed.
pub(crate) const PUBLIC_HIDDEN: &str = "p11_pub_hidden";

/// In how many bytes a label or an id is taken for one that is spelt otherwise.
const SHORTEST_CODED: usize = 4;

/// One of the two objects that a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    Private,
    Public,
}

impl Half {
    pub(crate) const BOTH: [Self; 2] = [Self::Private, Self::Public];

    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Private => Self::Public,
            Self::Public => Self::Private,
        }
    }

    const fn prefix(self) -> &'static str {
        match self {
            Self::Private => "p11_pri_",
            Self::Public => "p11_pub_",
        }
    }
}

/// The tags of a key, which are many where there are many keys, in little room.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tags {
    /// Names and values, one after the other.
    text: Box<str>,
    /// Where each of them ends.
    ends: Box<[usize]>,
}

impl<'a> FromIterator<(&'a String, &'a String)> for Tags {
    fn from_iter<T: IntoIterator<Item = (&'a String, &'a String)>>(tags: T) -> Self {
        let (mut text, mut ends) = (String::new(), Vec::new());
        for part in tags.into_iter().flat_map(<[&String; 2]>::from) {
            text.push_str(part);
            ends.push(text.len());
        }
        Self {
            text: text.into(),
            ends: ends.into(),
        }
    }
}

impl Tags {
    fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = 0;
        self.ends.chunks_exact(2).map(move |ends| {
            let (name, value) = (&self.text[start..ends[0]], &self.text[ends[0]..ends[1]]);
            start = ends[1];
            (name, value)
        })
    }

    /// Those of a key that hold labels and ids: by them programs look for it.
    pub(crate) fn of_names(tags: &BTreeMap<String, String>) -> Self {
        let is_name = |name: &str, half| is_for(name, half, "LABEL") || is_for(name, half, "ID");
        let names = tags.iter().filter(|(name, _)| {
            Half::BOTH
                .into_iter()
                .any(|half| is_name(name.as_str(), half))
        });
        names.collect()
    }

    /// The value of a tag for an attribute, whose name is without `CKA_`.
    pub(crate) fn read(&self, half: Half, attribute: &str) -> Option<&str> {
        let mut tags = self.iter();
        let found = tags.find(|(name, _)| is_for(name, half, attribute));
        found.map(|(_, value)| value)
    }

    /// Whether the labels and ids in them are the same.
    pub(super) fn has_names(&self, other: &Self) -> bool {
        let mut all = Half::BOTH.into_iter().flat_map(|half| {
            let attributes = ["LABEL", "ID"];
            attributes.map(|attribute| (half, attribute))
        });
        all.all(|(half, attribute)| self.read(half, attribute) == other.read(half, attribute))
    }

    /// The value of the tag of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value)
    }

    /// All of them, to be changed.
    pub(crate) fn to_map(&self) -> BTreeMap<String, String> {
        let tags = self.iter();
        tags.map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }
}

/// Sets a tag for an attribute, in place of one that is spelt otherwise.
pub(crate) fn write(
    tags: &mut BTreeMap<String, String>,
    half: Half,
    attribute: &str,
    value: String,
) {
    tags.retain(|name, _| !is_for(name, half, attribute));
    tags.insert(format!("{}CKA_{attribute}", half.prefix()), value);
}

/// Whether a tag of this name is for an attribute.
fn is_for(name: &str, half: Half, attribute: &str) -> bool {
    let Some((prefix, name)) = name.split_at_checked(half.prefix().len()) else {
        return false;
    };
    let bare = match name.split_at_checked(4) {
        Some((cka, bare)) if cka.eq_ignore_ascii_case("CKA_") => bare,
        _ => name,
    };
    prefix.eq_ignore_ascii_case(half.prefix()) && bare.eq_ignore_ascii_case(attribute)
}

/// An id as it is written.
pub(crate) fn encode_id(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An id as it is read: hexadecimal digits, else base64, else the text itself.
pub(crate) fn decode_id(text: &str) -> Cow<'_, [u8]> {
    hex(text)
        .or_else(|| STANDARD.decode(text).ok())
        .or_else(|| URL_SAFE_NO_PAD.decode(text).ok())
        .map_or(Cow::Borrowed(text.as_bytes()), Cow::Owned)
}

/// Whether a tag's value, which does not say what a program looks for, may be another spelling of
/// it. What is short is found in too much: the label 31 is no spelling of the label 1.
pub(crate) fn may_mean(text: &str, sought: &[u8]) -> bool {
    sought.len() >= SHORTEST_CODED && means(text, sought)
}

/// Whether a tag's value may stand for what a program looks for, however short.
pub(crate) fn means(text: &str, sought: &[u8]) -> bool {
    text.as_bytes() == sought || meanings(text).any(|meaning| meaning == sought)
}

/// All that a tag's value may stand for, beside the text itself.
pub(crate) fn meanings(text: &str) -> impl Iterator<Item = Vec<u8>> {
    let decoded = [
        hex(text),
        STANDARD.decode(text).ok(),
        URL_SAFE_NO_PAD.decode(text).ok(),
    ];
    decoded.into_iter().flatten()
}

/// Hexadecimal digits, perhaps after 0x, perhaps with colons between bytes.
fn hex(text: &str) -> Option<Vec<u8>> {
    let text = text.strip_prefix("0x").unwrap_or(text).replace(':', "");
    let is_digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if text.is_empty() || !text.len().is_multiple_of(2) || !is_digits {
        return None;
    }
    let pairs = (0..text.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn names_are_read_in_any_spelling() {
        for name in [
            "p11_pri_CKA_LABEL",
            "p11_pri_LABEL",
            "P11_PRI_cka_label",
            "p11_pri_label",
        ] {
            let all = tags(&[("other", "x"), (name, "tlsKey")]);
            let tags = Tags::of_names(&all);
            assert_eq!(tags.read(Half::Private, "LABEL"), Some("tlsKey"));
            assert_eq!(tags.read(Half::Public, "LABEL"), None);
            assert_eq!(tags.read(Half::Private, "ID"), None);
            assert!(tags.get(name) == Some("tlsKey") && tags.get("other").is_none());
            assert_eq!(all.iter().collect::<Tags>().to_map(), all);
        }
    }

    #[test]
    fn a_tag_that_is_written_replaces_others_for_the_same_attribute() {
        let mut tags = tags(&[
            ("p11_pri_label", "a"),
            ("p11_pub_LABEL", "b"),
            ("mine", "a"),
        ]);
        write(&mut tags, Half::Private, "LABEL", "c".to_owned());
        let expected = self::tags(&[
            ("mine", "a"),
            ("p11_pri_CKA_LABEL", "c"),
            ("p11_pub_LABEL", "b"),
        ]);
        assert_eq!(tags, expected);
    }

    #[test]
    fn values_mean_what_any_plausible_encoding_says() {
        for text in ["0a0B", "0x0a0b", "0a:0b", "Cgs=", "Cgs"] {
            assert!(means(text, &[10, 11]), "{text}");
            assert_eq!(*decode_id(text), [10, 11], "{text}");
        }
        assert!(means("tlsKey", b"tlsKey") && !means("tlsKey", b"tls"));
        assert!(may_mean("746c734b6579", b"tlsKey") && may_mean("dGxzS2V5", b"tlsKey"));
        for (text, short) in [
            ("31", "1"),
            ("MQ==", "1"),
            ("3230", "20"),
            ("323130", "210"),
        ] {
            assert!(!may_mean(text, short.as_bytes()), "{text}");
        }
        assert_eq!(*decode_id(&encode_id(&[1, 0xff])), [1, 0xff]);
        // A sign belongs to no byte: this is base64.
        assert_eq!(*decode_id("+a+b"), [0xf9, 0xaf, 0x9b]);
        assert_eq!(*decode_id("my key"), *b"my key");
    }
}
