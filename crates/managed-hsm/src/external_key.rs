//! Keys whose material an external key manager has: the HSM knows them by an id, and asks there.

use std::fmt;
use std::str::FromStr;

/// The id of a key in an external key manager: 1 to 64 letters, digits and hyphens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ExternalKeyId(String);

const MAX_LEN: usize = 64;

impl ExternalKeyId {
    /// The id as it stands in requests.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ExternalKeyId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        match (1..=MAX_LEN).contains(&text.len()) && text.bytes().all(allowed) {
            true => Ok(Self(text.to_owned())),
            false => Err(format!(
                "the id of an external key has 1 to {MAX_LEN} letters, digits and hyphens"
            )),
        }
    }
}

impl fmt::Display for ExternalKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_the_documented_characters_and_length() {
        for good in ["a", "Key-1", &"9".repeat(64)] {
            assert_eq!(good.parse::<ExternalKeyId>().unwrap().as_str(), good);
        }
        for bad in ["", "a_b", "a b", "ä", "a/b", &"9".repeat(65)] {
            let problem = bad.parse::<ExternalKeyId>().unwrap_err();
            assert!(problem.contains("64"), "{problem}");
        }
    }
}
