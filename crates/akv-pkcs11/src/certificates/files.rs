//! Certificates in files: PEM with any number of them, alone or in folders, and the one folder that
//! programs may write to. There a certificate's label and id stand in lines before it, as
//! explanatory text (RFC 7468, section 2).

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hsm_keys::pem;
use managed_hsm::files;

use super::x509::X509;
use crate::token::tags;

const CERTIFICATE: &str = "CERTIFICATE";
/// The longest text of a certificate in PEM, in characters, and the longest file that is written.
const MAX_TEXT: usize = 1 << 21;
/// The most files of a folder that are looked at.
const MAX_FILES: usize = 10_000;

const LABEL: &str = "CKA_LABEL: ";
const ID: &str = "CKA_ID: ";

/// Where a token's certificates are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    /// Files and folders that are only read.
    pub(crate) places: Vec<PathBuf>,
    /// The folder that programs write to.
    pub(crate) folder: Option<PathBuf>,
}

/// A certificate of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filed {
    pub(crate) x509: X509,
    /// As the file has it.
    pub(crate) label: Option<String>,
    pub(crate) id: Option<Vec<u8>>,
    pub(crate) file: PathBuf,
    /// Whether programs may change the file, since a program has written it.
    pub(crate) is_written: bool,
}

/// A file, and what tells that it has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    path: PathBuf,
    modified: Option<SystemTime>,
    /// When who may read it was changed, too, where the system tells.
    changed: Option<(i64, i64)>,
    len: u64,
    /// Whether it is named itself, and not by its folder.
    is_named: bool,
    is_written: bool,
}

/// What a file of a folder may be instead of a file of certificates.
enum Unusable {
    /// Something else, which is nobody's mistake.
    Other,
    /// It may be something else, or can't be read any more.
    Unreadable(String),
    Problem(String),
}

impl Sources {
    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty() && self.folder.is_none()
    }

    /// Whether a file is named itself, and not by its folder.
    pub(crate) fn names(&self, path: &Path) -> bool {
        self.places.iter().any(|place| place == path)
    }

    /// The files as they are now: those of the folder that programs write to, then the others in
    /// the order of the sources.
    ///
    /// # Errors
    /// A source isn't there.
    pub(crate) fn look(&self) -> Result<Vec<Seen>, String> {
        let mut seen = self.look_into_folder()?;
        seen.extend(self.look_at_places()?);
        Ok(seen)
    }

    /// The files of the folder that programs write to.
    pub(crate) fn look_into_folder(&self) -> Result<Vec<Seen>, String> {
        let Some(folder) = &self.folder else {
            return Ok(Vec::new());
        };
        match folder.try_exists() {
            // What others may have put there is only read.
            Ok(true) => look_into(folder, !is_open(folder)?),
            // It is made when the first certificate is written.
            Ok(false) => Ok(Vec::new()),
            Err(error) => Err(cannot(folder, &error)),
        }
    }

    /// The other files.
    pub(crate) fn look_at_places(&self) -> Result<Vec<Seen>, String> {
        let mut seen = Vec::new();
        for place in &self.places {
            let data = fs::metadata(place).map_err(|error| cannot(place, &error))?;
            match data.is_dir() {
                true => seen.extend(look_into(place, false)?),
                false => seen.push(Seen::new(place.clone(), Some(&data), true, false)),
            }
        }
        Ok(seen)
    }
}

fn cannot(place: &Path, error: &io::Error) -> String {
    let shown = managed_hsm::fit(&place.display().to_string(), 400);
    format!("'{shown}': {error}")
}

fn look_into(folder: &Path, is_written: bool) -> Result<Vec<Seen>, String> {
    let cannot = |error: io::Error| cannot(folder, &error);
    let mut seen = Vec::new();
    for entry in fs::read_dir(folder).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let name = path.file_name().unwrap_or_default();
        // What is hidden is being written.
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        // It may be gone by now, or be a link to where nobody may look.
        let data = match fs::metadata(&path) {
            Ok(data) if data.is_file() => Some(data),
            Err(error) if error.kind() != io::ErrorKind::NotFound => None,
            _ => continue,
        };
        seen.push(Seen::new(path, data.as_ref(), false, is_written));
        if seen.len() > MAX_FILES {
            return Err(format!(
                "'{}': it has more than {MAX_FILES} files",
                folder.display()
            ));
        }
    }
    seen.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(seen)
}

impl Seen {
    fn new(path: PathBuf, data: Option<&fs::Metadata>, is_named: bool, is_written: bool) -> Self {
        Self {
            path,
            modified: data.and_then(|data| data.modified().ok()),
            changed: data.and_then(changed),
            len: data.map_or(0, fs::Metadata::len),
            is_named,
            is_written,
        }
    }

    fn read(&self) -> Result<Vec<Filed>, Unusable> {
        let shown = self.path.display();
        let text = match files::read_text(&self.path) {
            Ok(text) => text,
            Err(problem) => return Err(Unusable::Unreadable(format!("'{shown}' {problem}"))),
        };
        let filed = parse(&text, &self.path).map_err(|problem| {
            Unusable::Problem(format!("a certificate in '{shown}' {problem}"))
        })?;
        match (&filed[..], self.is_named) {
            ([], true) => Err(Unusable::Problem(format!(
                "'{shown}' holds no certificate in PEM"
            ))),
            ([], false) => Err(Unusable::Other),
            // Others are somebody else's, who has put them there.
            ([alone], _) if self.is_written && self.path.ends_with(name_of(&alone.x509)) => {
                let is_written = true;
                Ok(filed
                    .into_iter()
                    .map(|one| Filed { is_written, ..one })
                    .collect())
            }
            _ => Ok(filed),
        }
    }
}

/// Reads files. What can't be used comes beside the certificates: of a file that is named, and of
/// one in a folder if it was to be a certificate, or was one before. `known`: the files that
/// certificates were in before.
pub(crate) fn read(seen: &[Seen], known: &HashSet<&Path>) -> (Vec<Filed>, Vec<(PathBuf, String)>) {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for file in seen {
        let is_missed = || known.contains(&*file.path) && !is_gone(&file.path);
        match file.read() {
            Ok(filed) => found.extend(filed),
            Err(Unusable::Unreadable(problem)) if file.is_named || is_missed() => {
                problems.push((file.path.clone(), problem));
            }
            Err(Unusable::Other | Unusable::Unreadable(_)) => {}
            Err(Unusable::Problem(problem)) => problems.push((file.path.clone(), problem)),
        }
    }
    (found, problems)
}

/// Whether a file of a folder is there no more, or something else is.
fn is_gone(path: &Path) -> bool {
    match fs::metadata(path) {
        Ok(data) => !data.is_file(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

#[cfg(unix)]
fn changed(data: &fs::Metadata) -> Option<(i64, i64)> {
    use std::os::unix::fs::MetadataExt;
    Some((data.ctime(), data.ctime_nsec()))
}

#[cfg(not(unix))]
fn changed(_: &fs::Metadata) -> Option<(i64, i64)> {
    None
}

/// The certificates in a text.
fn parse(text: &[u8], file: &Path) -> Result<Vec<Filed>, String> {
    let mut lines = text.split(|byte| *byte == b'\n').peekable();
    let mut found = Vec::new();
    while lines.peek().is_some() {
        let (mut label, mut id) = (None, None);
        let block = pem::read(CERTIFICATE, MAX_TEXT, || {
            let line = lines.next()?;
            let text = std::str::from_utf8(line).unwrap_or_default();
            // A label may end with blanks.
            let text = text.strip_suffix('\r').unwrap_or(text);
            if let Some(told) = text.strip_prefix(LABEL) {
                label = Some(told.to_owned());
            } else if let Some(told) = text.strip_prefix(ID) {
                id = Some(tags::decode_id(told).into_owned());
            }
            Some(line.to_vec())
        });
        let der = block.map_err(|problem| format!("can't be read: {problem}"))?;
        if let Some(der) = der {
            found.push(Filed {
                x509: X509::read(&der)?,
                label,
                id,
                file: file.to_owned(),
                is_written: false,
            });
        }
    }
    Ok(found)
}

/// Writes a certificate into the folder, in place of the same one. Returns its file.
///
/// # Errors
/// The folder can't be written to, or others can write to it as well.
pub(crate) fn write(
    folder: &Path,
    x509: &X509,
    label: Option<&str>,
    id: Option<&[u8]>,
) -> Result<PathBuf, String> {
    make(folder)?;
    let name = name_of(x509);
    let path = folder.join(&name);
    written(&path)?;
    let mut text = String::new();
    if let Some(label) = label {
        text += &format!("{LABEL}{label}\n");
    }
    if let Some(id) = id {
        text += &format!("{ID}{}\n", tags::encode_id(id));
    }
    text += &pem::encode(CERTIFICATE, &x509.der);
    if text.len() > MAX_TEXT {
        return Err(format!(
            "with label and id it has more than {MAX_TEXT} bytes"
        ));
    }
    // Readers have the whole file or the one before. Threads may write it at once, and processes
    // with the same number in other containers: each has a draft of its own.
    let mut own = [0; 8];
    managed_hsm::fill_randomly(&mut own).map_err(|error| error.to_string())?;
    let draft = folder.join(format!(".{}.{name}", tags::encode_id(&own)));
    let written = create(&draft)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&draft, &path));
    written.map(|()| path).map_err(|error| {
        let _ = fs::remove_file(&draft);
        format!("'{}' can't be written to: {error}", folder.display())
    })
}

/// The name of its file in the folder.
fn name_of(x509: &X509) -> String {
    format!("{}.pem", tags::encode_id(&x509.fingerprint()))
}

/// Makes a file that others may read and not write, whatever the program's umask: daemons have 0.
fn create(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o644);
    options.open(path)
}

/// Makes the folder for its owner alone, unless it is there.
fn make(folder: &Path) -> Result<(), String> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    let made = builder.create(folder);
    made.map_err(|error| cannot(folder, &error))?;
    match is_open(folder)? {
        false => Ok(()),
        true => Err(format!(
            "'{}' can be written to by others than its owner: chmod go-w {0}",
            folder.display()
        )),
    }
}

/// Whether others than its owner can write to a folder.
fn is_open(folder: &Path) -> Result<bool, String> {
    let data = fs::metadata(folder).map_err(|error| cannot(folder, &error))?;
    Ok(is_open_to_others(&data))
}

#[cfg(unix)]
fn is_open_to_others(data: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    data.mode() & 0o022 != 0
}

#[cfg(not(unix))]
fn is_open_to_others(_: &fs::Metadata) -> bool {
    false
}

/// The certificate of a file that [`write()`] has written, as it is just now. None: the file isn't
/// there.
///
/// # Errors
/// There is one that no program has written.
pub(crate) fn written(path: &Path) -> Result<Option<Filed>, String> {
    let Ok(data) = fs::metadata(path) else {
        return Ok(None);
    };
    let there = Seen::new(path.to_owned(), Some(&data), false, true).read();
    let mut filed = there.unwrap_or_default().into_iter();
    match filed.next().filter(|one| one.is_written) {
        Some(written) => Ok(Some(written)),
        None => Err(format!(
            "'{}' is there, and not as a program has written it: move it away",
            path.display()
        )),
    }
}

/// Removes a file that [`write()`] has written.
///
/// # Errors
/// It can't be removed, or is another one by now.
pub(crate) fn remove(path: &Path) -> Result<(), String> {
    written(path)?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(format!("'{}' can't be removed: {error}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::process::Command;

    use super::*;

    fn certificate() -> X509 {
        let certificate = testing::Certificate::for_localhost().certificate;
        X509::read(&certificate.to_der().unwrap()).unwrap()
    }

    fn in_folder(folder: &Path) -> Result<Vec<Filed>, String> {
        let sources = Sources {
            places: Vec::new(),
            folder: Some(folder.to_owned()),
        };
        let (found, problems) = read(&sources.look()?, &HashSet::new());
        assert_eq!(problems, []);
        Ok(found)
    }

    #[test]
    fn label_and_id_are_read_as_they_were_written_and_what_could_not_be_read_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let x509 = certificate();
        for label in ["web", " two  words ", " ", "\u{a0}é\u{2028}", "CKA_ID: 00"] {
            write(folder.path(), &x509, Some(label), Some(&[0, 10, 13])).unwrap();
            let found = in_folder(folder.path()).unwrap();
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].label.as_deref(), Some(label));
            assert_eq!(found[0].id.as_deref(), Some(&[0, 10, 13][..]));
            assert!(found[0].is_written);
        }
        let long = "l".repeat(MAX_TEXT);
        let problem = write(folder.path(), &x509, Some(&long), None).unwrap_err();
        assert!(problem.contains("more than"), "{problem}");
        assert_eq!(in_folder(folder.path()).unwrap().len(), 1);
    }

    #[test]
    fn threads_may_write_the_same_certificate_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let x509 = certificate();
        write(folder.path(), &x509, Some("first"), None).unwrap();
        std::thread::scope(|scope| {
            for number in 0..4 {
                let (folder, x509) = (folder.path(), &x509);
                scope.spawn(move || {
                    for _ in 0..50 {
                        write(folder, x509, Some(&format!("thread {number}")), None).unwrap();
                        assert_eq!(in_folder(folder).unwrap().len(), 1);
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    /// In a process of its own, since all threads have one umask.
    #[test]
    fn others_can_not_write_to_a_file_whatever_the_umask() {
        const NAME: &str =
            "certificates::files::tests::others_can_not_write_to_a_file_whatever_the_umask";
        const FOLDER: &str = "AKV_TEST_FOLDER";
        if let Some(folder) = std::env::var_os(FOLDER) {
            write(Path::new(&folder), &certificate(), None, None).unwrap();
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let own = std::env::current_exe().unwrap();
        let mut program = Command::new("sh");
        program.args(["-c", r#"umask 0 && exec "$@""#, "sh"]);
        program.arg(own).args([NAME, "--exact"]);
        assert!(
            program
                .env(FOLDER, folder.path())
                .status()
                .unwrap()
                .success()
        );
        let files = fs::read_dir(folder.path()).unwrap();
        let modes = files.map(|file| file.unwrap().metadata().unwrap().permissions().mode());
        assert_eq!(modes.map(|mode| mode & 0o777).collect::<Vec<_>>(), [0o644]);
    }

    #[test]
    fn what_no_program_has_written_is_neither_changed_nor_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (x509, folder) = (certificate(), folder.path());
        let path = write(folder, &x509, None, None).unwrap();
        let ours = fs::read(&path).unwrap();
        // Somebody has made a chain of it.
        let chain = [
            &ours[..],
            pem::encode(CERTIFICATE, &certificate().der).as_bytes(),
        ]
        .concat();
        for others in [&chain[..], b"", b"-----BEGIN CERTIFICATE-----\n"] {
            fs::write(&path, others).unwrap();
            for problem in [
                write(folder, &x509, Some("web"), None).map(drop),
                remove(&path),
            ] {
                assert!(problem.unwrap_err().contains("move it away"));
            }
            assert_eq!(fs::read(&path).unwrap(), others);
        }
        fs::write(&path, ours).unwrap();
        assert!(in_folder(folder).unwrap()[0].is_written);
        fs::set_permissions(folder, PermissionsExt::from_mode(0o777)).unwrap();
        assert!(!in_folder(folder).unwrap()[0].is_written);
        fs::set_permissions(folder, PermissionsExt::from_mode(0o755)).unwrap();
        remove(&path).unwrap();
        assert!(!path.exists());
        remove(&path).unwrap();
    }

    #[test]
    fn what_can_not_be_read_is_told_if_it_held_certificates_and_is_still_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("link");
        let sources = Sources {
            places: vec![folder.path().to_owned()],
            folder: None,
        };
        symlink(&path, &path).unwrap();
        let seen = sources.look().unwrap();
        let (none, known) = (HashSet::new(), HashSet::from([&*path]));
        assert_eq!(read(&seen, &none), (Vec::new(), Vec::new()));
        let (found, problems) = read(&seen, &known);
        assert_eq!((found.len(), problems.len()), (0, 1));
        assert!(problems[0].1.contains("can't be read"), "{problems:?}");
        fs::remove_file(&path).unwrap();
        assert_eq!(read(&seen, &known), (Vec::new(), Vec::new()));
        assert_eq!(sources.look(), Ok(Vec::new()));
        // Who may read it is told by neither its time nor its length.
        fs::write(&path, "").unwrap();
        let before = sources.look().unwrap();
        // The clock of the files' system has ticks.
        std::thread::sleep(std::time::Duration::from_millis(50));
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        assert_ne!(sources.look().unwrap(), before);
    }

    #[test]
    fn a_folder_that_can_not_be_looked_at_is_no_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let round = folder.path().join("round");
        assert_eq!(in_folder(&round), Ok(Vec::new()));
        symlink(&round, &round).unwrap();
        assert!(in_folder(&round).unwrap_err().contains("round"));
    }
}
