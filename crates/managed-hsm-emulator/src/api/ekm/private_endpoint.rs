//! Private endpoints, by which an HSM reaches the proxy of an external key manager. They are made
//! and deleted when that is answered, and whoever owns the other end agrees at once.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::failure::Failure;
use super::super::reply::Reply;
use super::super::unconfirmed::ekm as refused;
use super::super::{Call, stored_badly, unconfirmed};
use super::goes_by;
use crate::clock::unix_seconds;
use crate::store::{EKM_ENDPOINTS, EKM_OPERATIONS};

/// How many an HSM can have.
const MOST: usize = 2;
const LENGTHS: std::ops::RangeInclusive<usize> = 2..=24;

#[derive(Serialize, Deserialize)]
struct Endpoint {
    name: String,
    private_link_service_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateRequest {
    private_link_service_id: Option<String>,
    request_message: Option<String>,
}

/// How a creation or a deletion has gone.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Operation {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end_time: Option<i64>,
    job_id: String,
    operation_type: String,
    private_endpoint_name: String,
    start_time: i64,
    status: String,
}

/// Names are told apart without regard to case: paths are.
pub(super) fn find(call: &Call<'_>, name: &str) -> Result<(), Failure> {
    endpoint(call, name).map(drop)
}

fn endpoint(call: &Call<'_>, name: &str) -> Result<Endpoint, Failure> {
    let found = call.store.document(EKM_ENDPOINTS, &key(name));
    found.ok_or_else(|| refused::no_endpoint(name))
}

fn key(name: &str) -> String {
    name.to_ascii_lowercase()
}

fn view(endpoint: &Endpoint) -> Value {
    json!({
        "location": "emulator",
        "name": endpoint.name,
        "privateLinkServiceConnectionState": {
            "actionsRequired": "None",
            "description": "Approved by the emulator.",
            "status": "Approved",
        },
        "properties": {
            "privateLinkServiceConnectionName": format!("{}-connection", endpoint.name),
            "privateLinkServiceId": endpoint.private_link_service_id,
        },
        "provisioningState": "Succeeded",
    })
}

pub(super) fn list(call: &Call<'_>) -> Result<Reply, Failure> {
    let endpoints: Vec<Endpoint> = call.store.documents(EKM_ENDPOINTS);
    let views: Vec<Value> = endpoints.iter().map(view).collect();
    Reply::ok(&json!({"value": views}))
}

pub(super) fn get(call: &Call<'_>, name: &str) -> Result<Reply, Failure> {
    Reply::ok(&view(&endpoint(call, name)?))
}

pub(super) fn create(call: &Call<'_>, name: &str) -> Result<Reply, Failure> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let ends = [name.bytes().next(), name.bytes().last()];
    let ends_well = ends.into_iter().all(|end| end != Some(b'-'));
    if !LENGTHS.contains(&name.len()) || !name.bytes().all(allowed) || !ends_well {
        return Err(refused::endpoint_name(name));
    }
    let request: CreateRequest = call.parse()?;
    // It is for the owner of the other end, who is not here.
    drop(request.request_message);
    let service = request.private_link_service_id;
    let service = service.filter(|id| !id.is_empty());
    let endpoint = Endpoint {
        name: name.to_owned(),
        private_link_service_id: service
            .ok_or_else(|| unconfirmed::missing_member("privateLinkServiceId"))?,
    };
    call.put_checked(EKM_ENDPOINTS, &key(name), &endpoint, || {
        let there: Vec<Endpoint> = call.store.documents(EKM_ENDPOINTS);
        let is_there = |other: &Endpoint| other.name.eq_ignore_ascii_case(name);
        match there.len() {
            _ if there.iter().any(is_there) => Err(refused::endpoint_exists(name)),
            MOST.. => Err(refused::too_many_endpoints(MOST)),
            _ => Ok(()),
        }
    })?;
    done(call, "Create", &endpoint.name)
}

pub(super) fn delete(call: &Call<'_>, name: &str) -> Result<Reply, Failure> {
    let endpoint = endpoint(call, name)?;
    let mut in_use = false;
    let removed = call.store.remove_if(EKM_ENDPOINTS, &key(name), || {
        in_use = goes_by(call, name);
        !in_use
    });
    match removed.map_err(|error| stored_badly("private endpoint", &error))? {
        true => done(call, "Delete", &endpoint.name),
        false if in_use => Err(refused::endpoint_in_use(name)),
        false => Err(refused::no_endpoint(name)),
    }
}

pub(super) fn status(call: &Call<'_>, id: &str) -> Result<Reply, Failure> {
    let operation: Option<Operation> = call.store.document(EKM_OPERATIONS, id);
    Reply::ok(&operation.ok_or_else(|| refused::no_operation(id))?)
}

/// Answers that an operation is under way; its status tells that it is done.
fn done(call: &Call<'_>, kind: &str, name: &str) -> Result<Reply, Failure> {
    let id = uuid::Uuid::new_v4().simple().to_string();
    let now = unix_seconds();
    let operation = Operation {
        end_time: Some(now),
        job_id: id.clone(),
        operation_type: kind.to_owned(),
        private_endpoint_name: name.to_owned(),
        start_time: now,
        status: "Succeeded".to_owned(),
    };
    call.put(EKM_OPERATIONS, &id, &operation)?;
    let begun = Operation {
        end_time: None,
        status: "Running".to_owned(),
        ..operation
    };
    let url = format!("https://{}/ekm/privateendpoint/operations/{id}", call.host);
    Reply::accepted(&begun, url, 0)
}
