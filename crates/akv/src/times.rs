//! Times in the answers that Microsoft's client reads.

use std::sync::Arc;

use azure_core::http::{AsyncRawResponse, HttpClient, Request};
use serde_json::Value;

use crate::output::LAST;

/// Those of keys, in seconds since 1970.
const TIMES: [&str; 6] = [
    "created",
    "deletedDate",
    "exp",
    "nbf",
    "scheduledPurgeDate",
    "updated",
];

/// HTTP with answers that Microsoft's client can take. A time that lies beyond the years that it
/// knows has it refuse all that is in an answer, so that one key would hide a whole listing: such a
/// time counts as the nearest one that it knows.
#[derive(Debug)]
pub(crate) struct WithinYears(pub(crate) Arc<dyn HttpClient>);

#[async_trait::async_trait]
impl HttpClient for WithinYears {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let answer = self.0.execute_request(request).await?;
        let (status, headers, body) = answer.try_into_raw_response().await?.deconstruct();
        let changed = serde_json::from_slice(&body)
            .ok()
            .and_then(|mut json| limit(&mut json).then(|| json.to_string().into_bytes()));
        let body = changed.unwrap_or_else(|| body.to_vec());
        Ok(AsyncRawResponse::from_bytes(status, headers, body))
    }
}

/// Limits all times in an answer, none of which is passed over. Whether there was something to do.
fn limit(json: &mut Value) -> bool {
    match json {
        Value::Array(items) => items.iter_mut().map(limit).filter(|done| *done).count() > 0,
        Value::Object(members) => {
            let members = members.iter_mut();
            members.map(limit_member).filter(|done| *done).count() > 0
        }
        _ => false,
    }
}

fn limit_member((name, value): (&String, &mut Value)) -> bool {
    let is_time = TIMES.contains(&name.as_str());
    match value.as_f64().filter(|_| is_time).and_then(limited) {
        None => limit(value),
        Some(seconds) => {
            *value = seconds.into();
            true
        }
    }
}

/// The nearest time that has a form, if that is another one. None before 1970 is shown.
fn limited(seconds: f64) -> Option<u64> {
    match seconds {
        _ if seconds < 0.0 => Some(0),
        _ if seconds > LAST.as_secs_f64() => Some(LAST.as_secs()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_beyond_all_years_become_the_nearest_and_others_stay() {
        let last = 253_402_300_799_i64;
        let mut answer = json!({
            "value": [
                {"attributes": {"exp": last, "nbf": 0, "created": 1.5, "recoverableDays": 1e300}},
                {"attributes": {"exp": last + 1, "nbf": i64::MIN, "updated": u64::MAX}},
                {"deletedDate": 1e300, "exp": "text", "tags": {"exp": null}},
            ],
        });
        assert!(limit(&mut answer));
        let expected = json!({
            "value": [
                {"attributes": {"exp": last, "nbf": 0, "created": 1.5, "recoverableDays": 1e300}},
                {"attributes": {"exp": last, "nbf": 0, "updated": last}},
                {"deletedDate": last, "exp": "text", "tags": {"exp": null}},
            ],
        });
        assert_eq!(answer, expected);
        assert!(!limit(&mut answer));
    }
}
