//! Full backups and restores, to and from a folder of blob storage; and the restore of one key.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::Call;
use super::failure::Failure;
use super::reply::Reply;
use super::{end_of_job, unconfirmed};
use crate::blobs::{self, Container};
use crate::clock::{rfc3339_now, unix_seconds};
use crate::store::{JOBS, Restored, StoreError};

/// The kinds of jobs.
const BACKUP: &str = "backup";
const RESTORE: &str = "restore";

/// Seconds until the status is worth asking for, as recorded since 2022.
const COME_AGAIN: u32 = 10;
/// Of a second, in the name of a backup's folder.
const HUNDREDTH: Duration = Duration::from_millis(10);

/// What a request wants of blob storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    Backup,
    Restore,
    RestoreKey(String),
    /// Whether a backup, or a restore, would succeed.
    CheckBackup,
    CheckRestore,
    /// How a backup, or a restore, of this job goes.
    BackupStatus(String),
    RestoreStatus(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Storage {
    storage_resource_uri: Option<String>,
    token: Option<String>,
    use_managed_identity: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RestoreRequest {
    sas_token_parameters: Option<Storage>,
    #[serde(alias = "folder")]
    folder_to_restore: Option<String>,
}

/// A backup or restore, as its status tells.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Job {
    /// A backup has it, null until it is done; a restore doesn't.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    azure_storage_blob_container_uri: Option<Option<String>>,
    end_time: Option<i64>,
    error: Option<JobError>,
    job_id: String,
    start_time: i64,
    status: String,
    status_details: Option<String>,
}

/// A member that is there, if only as null.
fn present<'de, D: Deserializer<'de>>(member: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(member).map(Some)
}

#[derive(Serialize, Deserialize)]
struct JobError {
    code: String,
    message: String,
}

/// What the status tells of a job that has succeeded.
#[derive(Default)]
struct Done {
    /// Where a backup is.
    uri: Option<String>,
    details: Option<String>,
}

impl Done {
    fn at(uri: String) -> Self {
        Self {
            uri: Some(uri),
            details: None,
        }
    }

    fn told(details: String) -> Self {
        Self {
            uri: None,
            details: Some(details),
        }
    }
}

pub(super) fn answer(call: &Call<'_>, action: Action) -> Result<Reply, Failure> {
    match action {
        Action::Backup => {
            let storage: Storage = call.parse()?;
            let container = container(call, Some(storage))?;
            run(call, BACKUP, || Ok(Done::at(back_up(call, &container)?)))
        }
        Action::CheckBackup => {
            let storage: Storage = call.parse()?;
            let container = container(call, Some(storage))?;
            run(call, BACKUP, || {
                container.check().map_err(storage_failed)?;
                Ok(Done::at(container.url.clone()))
            })
        }
        Action::Restore => restore(call, |blob| {
            call.store.restore_all(blob)?;
            Ok(Done::default())
        }),
        Action::RestoreKey(name) => restore(call, |blob| {
            let restored = call.store.restore_one(blob, &name)?;
            Ok(Done::told(of_versions(&restored)))
        }),
        Action::CheckRestore => restore(call, |blob| match call.store.is_full_backup(blob) {
            true => Ok(Done::default()),
            false => Err(StoreError::ForeignBackup),
        }),
        Action::BackupStatus(id) => status(call, BACKUP, &id),
        Action::RestoreStatus(id) => status(call, RESTORE, &id),
    }
}

fn status(call: &Call<'_>, kind: &str, id: &str) -> Result<Reply, Failure> {
    let job: Option<Job> = call.store.document(JOBS, &name(kind, id));
    let job = job.ok_or_else(|| unconfirmed::no_such_job(id))?;
    let is_done = job.end_time.is_none_or(|end| end <= unix_seconds());
    Reply::ok(&if is_done { job } else { job.begun() })
}

impl Job {
    /// What is told of it as long as it goes on.
    fn begun(self) -> Self {
        Self {
            azure_storage_blob_container_uri: self.azure_storage_blob_container_uri.map(|_| None),
            end_time: None,
            error: None,
            status: "InProgress".to_owned(),
            status_details: None,
            ..self
        }
    }
}

/// What a job is kept under.
fn name(kind: &str, id: &str) -> String {
    format!("{kind}/{id}")
}

fn container(call: &Call<'_>, storage: Option<Storage>) -> Result<Container, Failure> {
    let missing = || unconfirmed::missing_member("storageResourceUri");
    let storage = storage.ok_or_else(missing)?;
    let uri = storage.storage_resource_uri.ok_or_else(missing)?;
    // A folder asks nobody who they are; storage of the service wants a token or an identity.
    if storage.token.is_none() && storage.use_managed_identity != Some(true) {
        return Err(unconfirmed::missing_member("token"));
    }
    let root = &call.shared.blobs;
    Container::parse(root, &uri, storage.token.as_deref())
        .ok_or_else(|| unconfirmed::storage_uri(&uri))
}

/// Carries out a job, and answers that it is under way; how it went is told by its status.
fn run(
    call: &Call<'_>,
    kind: &str,
    job: impl FnOnce() -> Result<Done, JobError>,
) -> Result<Reply, Failure> {
    let _alone = call
        .shared
        .one_backup
        .try_lock()
        .map_err(|_| unconfirmed::backup_in_progress())?;
    let id = uuid::Uuid::new_v4().simple().to_string();
    let start_time = unix_seconds();
    let (outcome, error) = match job() {
        Ok(outcome) => (outcome, None),
        // The same words, as in the two failures that are known.
        Err(error) => (Done::told(error.message.clone()), Some(error)),
    };
    let done = Job {
        azure_storage_blob_container_uri: (kind == BACKUP).then_some(outcome.uri),
        end_time: Some(end_of_job()),
        status: if error.is_none() {
            "Succeeded"
        } else {
            "Failed"
        }
        .to_owned(),
        error,
        job_id: id.clone(),
        start_time,
        status_details: outcome.details,
    };
    call.put(JOBS, &name(kind, &id), &done)?;
    let pending = format!("https://{}/{kind}/{id}/pending", call.host);
    Reply::accepted(&done.begun(), pending, COME_AGAIN)
}

/// Writes a backup. Returns the URL of its folder.
fn back_up(call: &Call<'_>, container: &Container) -> Result<String, JobError> {
    let blob = call.store.back_up_all().map_err(|error| failed(&error))?;
    let host = call.host.split([':', '.']).next().unwrap_or_default();
    let now = rfc3339_now();
    let digits = now.chars().filter(char::is_ascii_digit);
    let time: String = digits.take("YYYYMMDDhhmmss".len() + 2).collect();
    let folder = format!("mhsm-{host}-{time}");
    container.write(&folder, &blob).map_err(storage_failed)?;
    // Nobody else makes a backup meanwhile, so that no two have one name.
    std::thread::sleep(HUNDREDTH);
    Ok(format!("{}/{folder}", container.url))
}

fn restore(
    call: &Call<'_>,
    take: impl FnOnce(&[u8]) -> Result<Done, StoreError>,
) -> Result<Reply, Failure> {
    let request: RestoreRequest = call.parse()?;
    let folder = request.folder_to_restore;
    let folder = folder.ok_or_else(|| unconfirmed::missing_member("folderToRestore"))?;
    let container = container(call, request.sas_token_parameters)?;
    run(call, RESTORE, || {
        let blob = container.read(&folder).map_err(storage_failed)?;
        take(&blob).map_err(|error| failed(&error))
    })
}

/// As recorded by azure-sdk-for-java and azure-sdk-for-js (`beginSelectiveKeyRestore`), where a key
/// with one version counts 2. Unconfirmed: what one with more counts.
fn of_versions(restored: &Restored) -> String {
    let (made, kept) = match restored {
        Restored::All(versions) => (versions + 1, 0),
        Restored::Kept(versions) => (0, versions + 1),
    };
    format!(
        "Number of successful key versions restored: {made}, Number of key versions could not overwrite: {kept}"
    )
}

fn failed(error: &StoreError) -> JobError {
    let code = match error {
        StoreError::ForeignBackup => "MalformedBackupBlob",
        StoreError::Exists | StoreError::Deleted => "Conflict",
        // Of a key that isn't in the backup, as azure-sdk-for-cpp's suite expects it
        // (`RestoreSelectiveInvalidKeyStatus`).
        StoreError::NotFound => {
            return JobError {
                code: "No key versions are updated".to_owned(),
                message: "The given key or its versions NOT found".to_owned(),
            };
        }
        _ => "InternalServerError",
    };
    JobError {
        code: code.to_owned(),
        message: format!("The backup or restore failed: {error}."),
    }
}

/// Of an address without a container as azure-sdk-for-cpp's suite expects it
/// (`BackupFullErrorStatus`). Unconfirmed: that its message is its code.
fn storage_failed(problem: blobs::Problem) -> JobError {
    if problem.is::<blobs::NoContainer>() {
        let code = problem.to_string();
        let message = code.clone();
        return JobError { code, message };
    }
    JobError {
        code: "StorageError".to_owned(),
        message: format!("The blob storage failed: {problem}."),
    }
}
