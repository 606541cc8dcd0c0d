//! Versions of the service's API: which one requests name, and what came with which.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// A version of the service's API, such as `7.4`, `2025-07-01` or `2026-05-01-preview`. The later
/// one is the greater one.
#[derive(Clone, Debug)]
pub struct ApiVersion {
    text: String,
    /// Major and minor version and zero, or year, month and day; then the number of the preview.
    order: [u32; 4],
}

/// What a stable version has in the place of the number of a preview.
const STABLE: u32 = u32::MAX;

/// What not every version of the API has. This is the one place that says since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// The algorithms `CKM_AES_KEY_WRAP` and `CKM_AES_KEY_WRAP_PAD`.
    AesKeyWrapMechanisms,
    /// The algorithms HS256, HS384 and HS512.
    Hmac,
    /// Keys of ML-DSA.
    MlDsa,
    /// The settings of an HSM.
    ServiceSettings,
    /// Secure wrap and unwrap.
    SecureWrap,
    /// Keys whose material an external key manager has.
    ExternalKeys,
    /// Random bytes.
    Random,
    /// Roles, and assignments of them.
    Roles,
    /// AES keys.
    SymmetricKeys,
}

impl Feature {
    /// The first version that has it, of those that the service was seen to take.
    pub(crate) const fn since(self) -> &'static str {
        match self {
            // Of stable versions: previews had these before.
            Self::AesKeyWrapMechanisms | Self::Hmac => "2025-07-01",
            Self::SecureWrap | Self::ExternalKeys => "2026-04-01",
            Self::MlDsa => "2026-05-01-preview",
            Self::ServiceSettings => "7.4",
            Self::Random => "7.3",
            Self::Roles | Self::SymmetricKeys => "7.2",
        }
    }

    /// For sentences.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::AesKeyWrapMechanisms => "AES key wrap by its PKCS#11 mechanisms",
            Self::Hmac => "HMAC",
            Self::MlDsa => "ML-DSA",
            Self::ServiceSettings => "settings of the HSM",
            Self::SecureWrap => "secure wrap",
            Self::ExternalKeys => "external keys",
            Self::Random => "random bytes",
            Self::Roles => "roles",
            Self::SymmetricKeys => "AES keys",
        }
    }
}

impl ApiVersion {
    /// Whether the version is one of a preview, which the service may withdraw.
    pub fn is_preview(&self) -> bool {
        self.order[3] != STABLE
    }

    /// The version as it stands in requests.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The version for a request that needs a feature: this one, or the first stable one that has
    /// it. None: only a preview has it, and a preview is for the user to choose.
    pub(crate) fn with(&self, feature: Feature) -> Option<Self> {
        let since: Self = feature.since().parse().expect("a version");
        match *self >= since {
            true => Some(self.clone()),
            false => Some(since).filter(|since| !since.is_preview()),
        }
    }
}

impl FromStr for ApiVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        order(text)
            .map(|order| Self {
                text: text.to_owned(),
                order,
            })
            .ok_or_else(|| {
                format!(
                    "'{}' is no version of the API: give one such as 7.4, 2025-07-01 or \
                     2026-05-01-preview",
                    text.escape_debug()
                )
            })
    }
}

fn order(text: &str) -> Option<[u32; 4]> {
    let (version, preview) = match text.split_once("-preview") {
        None => (text, STABLE),
        Some((version, "")) => (version, 0),
        Some((version, number)) => (version, digits(number.strip_prefix('.')?)?),
    };
    let dates: Vec<&str> = version.split('-').collect();
    let numbers: Vec<&str> = version.split('.').collect();
    match (dates.as_slice(), numbers.as_slice()) {
        ([year, month, day], _) if version.len() == 10 => {
            Some([digits(year)?, digits(month)?, digits(day)?, preview])
        }
        (_, [major, minor]) => Some([digits(major)?, digits(minor)?, 0, preview]),
        _ => None,
    }
}

/// A number of at most four digits, and nothing but digits.
fn digits(text: &str) -> Option<u32> {
    let is_number = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

impl PartialEq for ApiVersion {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for ApiVersion {}

impl PartialOrd for ApiVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ApiVersion {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order.cmp(&other.order)
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> ApiVersion {
        text.parse().unwrap()
    }

    #[test]
    fn later_versions_are_greater_ones_and_previews_come_before_their_release() {
        let ordered = [
            "7.0",
            "7.2-preview",
            "7.2",
            "7.4",
            "7.6-preview.1",
            "7.6-preview.2",
            "7.6",
            "2025-06-01-preview",
            "2025-07-01",
            "2026-01-01-preview",
            "2026-05-01-preview",
            "2026-05-01",
        ];
        for pair in ordered.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
        }
        for text in ordered {
            assert_eq!(version(text).is_preview(), text.contains("preview"));
            assert_eq!(version(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_version_is_refused_and_shown() {
        for text in [
            "",
            "7",
            "v7.4",
            "7.4.1",
            "7.+4",
            "2026-5-1",
            "2026-05-01-beta",
            "2026-05-01-preview2",
            "7.4&x=y",
            "7.4 ",
            "99999.1",
        ] {
            let problem = text.parse::<ApiVersion>().unwrap_err();
            assert!(problem.contains(&format!("'{text}'")), "{problem}");
        }
    }

    #[test]
    fn a_feature_raises_the_version_to_a_stable_one_only() {
        let with = |set: &str, feature| version(set).with(feature).map(|given| given.to_string());
        let (wrap, ml_dsa) = (Feature::AesKeyWrapMechanisms, Feature::MlDsa);
        assert_eq!(with("7.4", wrap).as_deref(), Some("2025-07-01"));
        assert_eq!(
            with("2026-01-01-preview", wrap).as_deref(),
            Some("2026-01-01-preview")
        );
        for feature in [Feature::SecureWrap, Feature::ExternalKeys] {
            for set in ["7.4", "2025-07-01", "2026-01-01-preview"] {
                assert_eq!(with(set, feature).as_deref(), Some("2026-04-01"));
            }
            let later = "2026-05-01-preview";
            assert_eq!(with(later, feature).as_deref(), Some(later));
        }
        for (feature, since) in [
            (Feature::Random, "7.3"),
            (Feature::Roles, "7.2"),
            (Feature::SymmetricKeys, "7.2"),
        ] {
            assert_eq!(with("7.1", feature).as_deref(), Some(since));
            assert_eq!(with("7.4", feature).as_deref(), Some("7.4"));
        }
        assert_eq!(with("2025-07-01", ml_dsa), None);
        for enough in ["2026-05-01-preview", "2026-05-01", "2026-07-01-preview"] {
            assert_eq!(with(enough, ml_dsa).as_deref(), Some(enough));
        }
    }
}
