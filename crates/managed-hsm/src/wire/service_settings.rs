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

/// The setting of this name.
pub(crate) fn setting(body: &[u8], name: &str) -> Result<ServiceSetting, String> {
    let told: Setting = parse(body)?;
    match told.name.raw().eq_ignore_ascii_case(name) {
        true => Ok(told.read()),
        false => Err(format!("it tells of the setting '{}'", told.name)),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_setting_than_the_one_asked_for_is_refused() {
        let body = br#"{"name":"One","type":"boolean","value":"true"}"#;
        assert_eq!(setting(body, "one").unwrap().value.raw(), "true");
        let refused = setting(body, "Other").unwrap_err();
        assert_eq!(refused, "it tells of the setting 'One'");
    }
}
