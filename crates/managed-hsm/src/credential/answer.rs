//! What those who give tokens answer.

use std::time::{Duration, UNIX_EPOCH};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::error::Category;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::foreign::shown;
use crate::token::AccessToken;

/// The longest life of a token that is believed, in seconds: a century. azure_identity adds it to
/// the time of day, and panics where no date is so far off.
const LONGEST_LIFE: f64 = 3_155_760_000.0;

/// The beginning of serde_json's text for what has too many brackets within each other.
const TOO_DEEP: &str = "recursion limit exceeded";

/// An answer with a token (RFC 6749, section 5.1).
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    access_token: Option<Told>,
    /// For how many seconds it is good.
    #[serde(default)]
    expires_in: Option<Told>,
    /// The same of metadata services: until when, in seconds since 1970.
    #[serde(default)]
    expires_on: Option<Told>,
}

/// Services write numbers as texts, too, and with fractions.
#[derive(Deserialize)]
#[serde(untagged)]
enum Told {
    Text(Zeroizing<String>),
    Number(f64),
    Other(IgnoredAny),
}

impl Told {
    fn number(&self) -> Option<f64> {
        match self {
            Self::Text(text) => text.trim().parse().ok(),
            Self::Number(number) => Some(*number),
            Self::Other(_) => None,
        }
    }
}

impl Answer {
    fn of(body: &[u8]) -> Result<Self, String> {
        // The library's own words may quote what was sent, and that may be a token.
        serde_json::from_slice(body).map_err(|error| {
            let is_object = body.trim_ascii_start().starts_with(b"{");
            let problem = match error.classify() {
                Category::Data if is_object => "it has a member more than once",
                _ if error.to_string().starts_with(TOO_DEEP) => "it is nested too deeply",
                _ => "it is no JSON object",
            };
            problem.to_owned()
        })
    }

    fn token(&self) -> Result<AccessToken, String> {
        match &self.access_token {
            Some(Told::Text(text)) => AccessToken::new(text).ok_or_else(|| {
                "its access_token is empty, or has characters that are never in a token".to_owned()
            }),
            Some(_) => Err("its access_token is no text".to_owned()),
            None => Err("it has no access_token".to_owned()),
        }
    }

    /// For how many seconds the token is good.
    fn life(&self) -> Result<i64, String> {
        let told = self.expires_in.as_ref();
        let told = told.ok_or("it does not say for how long its token is good (expires_in)")?;
        let life = told.number();
        let life = life.ok_or("its expires_in is no number of seconds")?;
        match (1.0..=LONGEST_LIFE).contains(&life) {
            true => Ok(life as i64),
            false => Err(format!("its token expires in {life} s (expires_in)")),
        }
    }
}

/// An answer of Entra ID as azure_identity can read it. The error says what is wrong with it.
pub(super) fn of_entra(body: &[u8]) -> Result<Vec<u8>, String> {
    let answer = Answer::of(body)?;
    let (token, life) = (answer.token()?, answer.life()?);
    let answer = json!({
        "access_token": token.expose(), "token_type": "Bearer",
        "expires_in": life, "ext_expires_in": life,
    });
    Ok(answer.to_string().into_bytes())
}

/// The token in an answer of a metadata service. The error says what is wrong with that.
pub(super) fn of_metadata_service(body: &[u8]) -> Result<AccessToken, String> {
    let answer = Answer::of(body)?;
    let token = answer.token()?;
    let expires_on = answer.expires_on.as_ref().and_then(Told::number);
    let expires_on = expires_on.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    Ok(match expires_on.and_then(|at| UNIX_EPOCH.checked_add(at)) {
        Some(at) => token.expiring_at(at),
        None => token,
    })
}

/// A refusal as azure_identity can read it, which knows neither escapes in a text nor answers that
/// aren't JSON, such as those of a proxy on the way.
pub(super) fn refusal_of_entra(host: &str, status: u16, body: &[u8]) -> Vec<u8> {
    let refusal: Value = serde_json::from_slice(body).unwrap_or_default();
    let codes = refusal["error_codes"].as_array().into_iter().flatten();
    let codes = codes.filter_map(|code| i32::try_from(code.as_i64()?).ok());
    let told = reason(body);
    let told = told.unwrap_or_else(|| format!("{host} answered HTTP {status}, with no reason"));
    let told = told.replace('"', "'").replace('\\', "/");
    json!({ "error_codes": codes.collect::<Vec<i32>>(), "error_description": told })
        .to_string()
        .into_bytes()
}

/// Why there is no token, in the words of whoever gives none.
pub(super) fn reason(body: &[u8]) -> Option<String> {
    let refusal: Value = serde_json::from_slice(body).ok()?;
    let of = |name| refusal[name].as_str().filter(|text| !text.is_empty());
    let told = of("error_description").or_else(|| of("message"));
    told.or_else(|| of("error")).map(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_with_a_life_beyond_all_dates_is_refused() {
        let told = |life: i64| {
            of_entra(format!(r#"{{"access_token":"a","expires_in":{life}}}"#).as_bytes())
        };
        for life in [i64::MAX, i64::MIN, 999_999_999_999, -3_000_000_000, -5, 0] {
            let problem = told(life).unwrap_err();
            assert!(problem.starts_with("its token expires in"), "{problem}");
        }
        for life in [1, 3599, LONGEST_LIFE as i64] {
            assert!(told(life).is_ok());
        }
    }

    #[test]
    fn the_life_of_a_token_is_read_in_any_form_of_a_number() {
        for life in ["3599", "3599.5", "\"3599\"", "\"3599.9\"", "3.5999e3"] {
            let body = format!(r#"{{"access_token":"a","expires_in":{life}}}"#);
            let body = of_entra(body.as_bytes()).unwrap();
            let read: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(read["expires_in"], 3599, "{life}");
        }
    }

    #[test]
    fn what_is_wrong_with_an_answer_is_named() {
        for (body, expected) in [
            ("", "it is no JSON object"),
            ("<html>", "it is no JSON object"),
            ("{}", "it has no access_token"),
            (
                r#"{"access_token":"a","access_token":"b"}"#,
                "it has a member more than once",
            ),
            (
                &format!(r#"{{"access_token":{}"#, "[".repeat(1000)),
                "it is nested too deeply",
            ),
            (r#"{"expires_in":9}"#, "it has no access_token"),
            (r#"{"access_token":null}"#, "it has no access_token"),
            (r#"{"access_token":5}"#, "its access_token is no text"),
            (r#"{"access_token":""}"#, "its access_token is empty"),
            (r#"{"access_token":"a b"}"#, "its access_token is empty, or"),
            (r#"{"access_token":"a"}"#, "for how long its token is good"),
            (
                r#"{"access_token":"a","expires_in":"soon"}"#,
                "its expires_in is no number",
            ),
            (
                r#"{"access_token":"a","expires_in":[1]}"#,
                "its expires_in is no number",
            ),
        ] {
            let problem = of_entra(body.as_bytes()).unwrap_err();
            assert!(problem.contains(expected), "{body}: {problem}");
        }
    }

    #[test]
    fn an_expiry_is_read_as_text_and_as_a_number() {
        for expires in ["\"1700000000\"", "1700000000", "1700000000.0"] {
            let body = format!(r#"{{"access_token":"abc","expires_on":{expires}}}"#);
            let at = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
            let token = of_metadata_service(body.as_bytes()).unwrap();
            assert_eq!(token.expires_at(), Some(at));
        }
        for expires in ["null", "-1", "\"tomorrow\"", "1e300"] {
            let body = format!(r#"{{"access_token":"abc","expires_on":{expires}}}"#);
            let token = of_metadata_service(body.as_bytes()).unwrap();
            assert_eq!(token.expires_at(), None);
        }
        assert!(of_metadata_service(br#"{"access_token":"a b","expires_on":"1"}"#).is_err());
    }

    #[test]
    fn a_refusal_is_told_whatever_is_in_it() {
        let told = |body: &str| {
            let body = refusal_of_entra("https://login", 403, body.as_bytes());
            let text = String::from_utf8(body).unwrap();
            assert!(!text.contains('\\'), "{text}");
            text
        };
        let text = told(
            r#"{"error_codes":[7000215],"error_description":"AADSTS7000215: \"no\"\r\nTrace: C:\\x"}"#,
        );
        assert!(
            text.contains("7000215") && text.contains("AADSTS7000215: 'no'"),
            "{text}"
        );
        assert!(told(r#"{"error":"invalid_client"}"#).contains("invalid_client"));
        for body in [
            "",
            "<html>no</html>",
            "{}",
            "[1]",
            r#"{"error_description":5}"#,
        ] {
            let text = told(body);
            assert!(text.contains("https://login answered HTTP 403"), "{text}");
        }
    }
}
