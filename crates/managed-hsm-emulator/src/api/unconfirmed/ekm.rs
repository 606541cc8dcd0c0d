//! Refusals about the connection to an external key manager. That these things are refused is
//! documented; codes and texts are not.

use http::StatusCode;

use super::Failure;

fn not_found(code: &'static str, message: String) -> Failure {
    Failure::new(StatusCode::NOT_FOUND, code, message)
}

fn conflict(message: String) -> Failure {
    Failure::new(StatusCode::CONFLICT, "Conflict", message)
}

pub(in crate::api) fn no_connection() -> Failure {
    not_found(
        "EkmConnectionNotFound",
        "The HSM has no EKM connection.".to_owned(),
    )
}

pub(in crate::api) fn connection_exists() -> Failure {
    conflict("The HSM has an EKM connection already.".to_owned())
}

pub(in crate::api) fn host(host: &str) -> Failure {
    Failure::bad_parameter(format!(
        "Invalid EKM proxy host: '{host}'. Only letters, digits, hyphens, dots and colons are allowed."
    ))
}

pub(in crate::api) fn ca_certificates() -> Failure {
    Failure::bad_parameter(
        "Property 'server_ca_certificates' must be certificates in DER, encoded with base64.",
    )
}

pub(in crate::api) fn connectivity_mode(mode: &str) -> Failure {
    Failure::bad_parameter(format!("Invalid connectivity mode: '{mode}'"))
}

pub(in crate::api) fn endpoint_name(name: &str) -> Failure {
    Failure::bad_parameter(format!(
        "Invalid private endpoint name: '{name}'. It must be 2-24 letters, digits and hyphens, and begin and end with a letter or digit."
    ))
}

pub(in crate::api) fn no_endpoint(name: &str) -> Failure {
    not_found(
        "EkmPrivateEndpointNotFound",
        format!("There is no private endpoint '{name}'."),
    )
}

pub(in crate::api) fn endpoint_exists(name: &str) -> Failure {
    conflict(format!("There is a private endpoint '{name}' already."))
}

pub(in crate::api) fn endpoint_in_use(name: &str) -> Failure {
    conflict(format!(
        "The EKM connection goes by the private endpoint '{name}'."
    ))
}

pub(in crate::api) fn too_many_endpoints(limit: usize) -> Failure {
    Failure::bad_parameter(format!(
        "The HSM has {limit} private endpoints, which is the limit."
    ))
}

pub(in crate::api) fn no_operation(id: &str) -> Failure {
    not_found(
        "JobNotFound",
        format!("There is no operation '{id}' of private endpoints."),
    )
}
