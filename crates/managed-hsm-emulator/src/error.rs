//! What can keep the emulator from starting or a command from answering. The
//! errors of HTTP are `api::failure`.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a command of the emulator failed; `Display` says what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No data folder was named and none can be derived from the environment.
    #[error("no data folder: neither XDG_DATA_HOME nor HOME is set; name one with --data-dir")]
    NoDataDir,
    /// The data folder, or something in it, is open to others than its owner.
    #[error(
        "{path} is open to other users (mode {mode:04o}), and private keys are kept there: run `chmod {wanted} {path}`, or choose another folder with --data-dir",
        path = path.display()
    )]
    DataOpenToOthers {
        /// The folder or the file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// Those that it should have, as chmod takes them.
        wanted: &'static str,
    },
    /// Another emulator serves from the same folder.
    #[error(
        "another managed-hsm-emulator is using the data folder {}; stop it, or choose another folder with --data-dir",
        .0.display()
    )]
    DataDirInUse(PathBuf),
    /// The folder has never been served from, so that no token can be made.
    #[error(
        "no emulator has been started on the data folder {}; run `managed-hsm-emulator serve` first, or name its folder with --data-dir",
        .0.display()
    )]
    NeverServed(PathBuf),
    /// The file of principals is of no use.
    #[error("the principals in {} can't be used: {problem}; `managed-hsm-emulator serve --help` shows its form", path.display())]
    Principals {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A principal is to have a role that there isn't.
    #[error(
        "there is no built-in role '{0}'; take a name such as 'Managed HSM Crypto User' or 'Key Vault Crypto User', or its id"
    )]
    Role(String),
    /// The command of `run` can't be run.
    #[error("{} can't be run: {source}", program.display())]
    Command {
        /// The command.
        program: std::ffi::OsString,
        /// What keeps it from running.
        source: io::Error,
    },
    /// Deleted keys can't be kept so long.
    #[error("deleted keys are kept for 7 to 90 days, not {0}")]
    RetentionDays(u32),
    /// Two HSMs, or two vaults, are to have one name.
    #[error("'{0}' is named twice ({1})")]
    NameTwice(String, &'static str),
    /// No vault of this name is served.
    #[error("the emulator serves no vault '{0}'; start it with --vault {0}")]
    NoVault(String),
    /// No emulator accepts connections.
    #[error(
        "no emulator is running on the data folder {}; start one with `managed-hsm-emulator serve`, or wait for it with --wait SECONDS",
        .0.display()
    )]
    NotRunning(PathBuf),
    /// No emulator has accepted connections in the time that it was waited for.
    #[error(
        "no emulator has accepted connections on the data folder {} within {} s; see what `managed-hsm-emulator serve` says there, or wait longer",
        .0.display(), .1.as_secs()
    )]
    NotReady(PathBuf, Duration),
    /// What clients are to be told is more than one line.
    #[error(
        "the value of {0} has a line break, so it can't be told in a line; take --format shell or json, or another folder with --data-dir"
    )]
    LineBreak(&'static str),
    /// The data folder has a name that can't be told to clients.
    #[error(
        "the name of the data folder {} is not UTF-8, so clients can't be told of it; choose another with --data-dir",
        .0.display()
    )]
    FolderName(PathBuf),
    /// A file or folder could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was attempted, as a verb.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The address could not be listened on.
    #[error("cannot listen on {address}: {source}; choose another with --listen and --port")]
    Listen {
        /// The address and port.
        address: std::net::SocketAddr,
        /// Why it failed.
        source: io::Error,
    },
    /// A name for the server certificate is neither an IP address nor a DNS name.
    #[error(
        "'{0}' is not a DNS name or an IP address that a certificate can carry (--tls-server-name)"
    )]
    ServerName(String),
    /// The key database is damaged, or could not be written.
    #[error("the key database: {0}")]
    Database(#[from] rusqlite::Error),
    /// The key database was written by a newer program.
    #[error(
        "the key database has schema version {0}, which this program does not know; use the newer managed-hsm-emulator that wrote it"
    )]
    SchemaTooNew(i64),
    /// A stored key cannot be decrypted or parsed.
    #[error(
        "the stored key version {0} cannot be read; the database or the file storage.key is damaged"
    )]
    StoredKey(String),
    /// The database refused a change.
    #[error("the database refused a change: {0}")]
    Store(String),
    /// OpenSSL refused an operation.
    #[error("OpenSSL: {0}")]
    OpenSsl(#[from] openssl::error::ErrorStack),
    /// rustls refused the certificate.
    #[error("TLS set-up: {0}")]
    Tls(#[from] rustls::Error),
    /// What a command prints got nowhere.
    #[error("the output can't be written: {0}")]
    Output(#[source] io::Error),
    /// Input or output of the process itself.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Error {
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }
}
