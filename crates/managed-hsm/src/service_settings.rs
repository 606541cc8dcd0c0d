//! Settings of a Managed HSM itself, which the service keeps.

use std::str::FromStr;

use bytes::Bytes;
use http::Method;

use crate::api_version::Feature;
use crate::client::Client;
use crate::error::Error;
use crate::foreign::ForeignText;
use crate::request::Request;
use crate::uri::Vault;
use crate::wire::service_settings as wire;

/// The name of a setting: letters and digits, such as `AllowKeyManagementOperationsThroughARM`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSettingName(String);

impl FromStr for ServiceSettingName {
    type Err = String;

    /// A name with other characters would lead to another path.
    fn from_str(name: &str) -> Result<Self, String> {
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        match is_name {
            true => Ok(Self(name.to_owned())),
            false => Err("the name of a setting has letters and digits only".to_owned()),
        }
    }
}

impl ServiceSettingName {
    fn path(&self) -> String {
        format!("/settings/{}", self.0)
    }
}

/// A setting of an HSM.
#[derive(Clone, Debug)]
pub struct ServiceSetting {
    /// Its name, such as `AllowKeyManagementOperationsThroughARM`.
    pub name: ForeignText,
    /// What its value is, such as `boolean`.
    pub kind: ForeignText,
    /// Its value.
    pub value: ForeignText,
}

impl Client {
    /// All settings of an HSM.
    pub fn service_settings(&self, vault: &Vault) -> Result<Vec<ServiceSetting>, Error> {
        let request = self.setting_request("list settings of", vault, "/settings")?;
        self.ask(request, wire::settings)
    }

    /// One setting of an HSM.
    pub fn service_setting(
        &self,
        vault: &Vault,
        name: &ServiceSettingName,
    ) -> Result<ServiceSetting, Error> {
        let request = self.setting_request("get setting of", vault, &name.path())?;
        let name = name.clone();
        self.ask(request, move |body| wire::setting(body, &name.0))
    }

    /// Changes a setting of an HSM. Returns it as it is now.
    pub fn set_service_setting(
        &self,
        vault: &Vault,
        name: &ServiceSettingName,
        value: &str,
    ) -> Result<ServiceSetting, Error> {
        let request = Request {
            method: Method::PATCH,
            body: Some(Bytes::from(wire::setting_request(value))),
            ..self.setting_request("change setting of", vault, &name.path())?
        };
        let name = name.clone();
        self.ask(request, move |body| wire::setting(body, &name.0))
    }

    /// A request that may be repeated: the same value once more changes nothing.
    fn setting_request(
        &self,
        operation: &'static str,
        vault: &Vault,
        path: &str,
    ) -> Result<Request, Error> {
        let mut request = Request::of_vault(operation, vault, self.url(vault, path)?);
        self.raise(&mut request, Feature::ServiceSettings)?;
        Ok(request)
    }
}
