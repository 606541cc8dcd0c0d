//! The bodies of requests and answers about settings of an HSM.

use serde::Deserialize;
use serde_json::json;

use super::parse;
use crate::foreign::ForeignText;
use crate::service_settings::ServiceSetting;

#[derive(Deserialize)]
struct Setting {
    name: ForeignText,
    value: ForeignText,
    #[serde(rename = "type", default)]
    kind: ForeignText,
}

#[derive(Deserialize)]
struct Settings {
    settings: Vec<Setting>,
}

/// All settings.
pub(crate) fn settings(body: &[u8]) -> Result<Vec<ServiceSetting>, String> {
    let all: Settings = parse(body)?;
    Ok(all.settings.into_iter().map(Setting::read).collect())
}

/// A setting.
pub(crate) fn setting(body: &[u8]) -> Result<ServiceSetting, String> {
    parse(body).map(Setting::read)
}

/// Body of a request for another value of a setting, which is a text whatever its type.
pub(crate) fn setting_request(value: &str) -> Vec<u8> {
    json!({ "value": value }).to_string().into_bytes()
}

impl Setting {
    fn read(self) -> ServiceSetting {
        ServiceSetting {
            name: self.name,
            kind: self.kind,
            value: self.value,
        }
    }
}
