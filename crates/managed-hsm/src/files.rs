//! Files that settings name, and files that hold settings: only here are they read.
//!
//! Whoever signs waits for such a file, so what might never end is refused before it is opened: a
//! FIFO, a device, a file that is too long. A symbolic link to a regular file is fine; Kubernetes's
//! tokens are such links.

use std::borrow::Cow;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::descriptors;

/// The longest file that is read, in bytes: many times a bundle of all public CAs.
const MAX_LEN: u64 = 1 << 22;

/// What text files of Windows editors begin with: U+FEFF in UTF-8, and in both kinds of UTF-16.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const UTF_16_MARKS: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];

/// The bytes of a file. The error is what follows the file's name in a sentence: "can't be read:
/// …".
pub fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let cannot = |error: io::Error| format!("can't be read: {}", descriptors::explained(error));
    check(&std::fs::metadata(path).map_err(cannot)?)?;
    let file = open(path).map_err(cannot)?;
    // It may have become another one meanwhile.
    let metadata = file.metadata().map_err(cannot)?;
    check(&metadata)?;
    // Room for all of it: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(metadata.len() as usize + 1));
    let taken = file.take(MAX_LEN + 1).read_to_end(&mut bytes);
    taken.map_err(cannot)?;
    match bytes.len() as u64 > MAX_LEN {
        false => Ok(bytes),
        true => Err(too_long()),
    }
}

/// The bytes of a file of ASCII or UTF-8, without a byte order mark. The error is as for [`read`].
pub fn read_text(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let bytes = read(path)?;
    match bytes.len() - without_mark(&bytes)?.len() {
        0 => Ok(bytes),
        mark => Ok(Zeroizing::new(bytes[mark..].to_vec())),
    }
}

/// What stands in a file of ASCII or UTF-8 behind a byte order mark, if it has one. The error is as
/// for [`read`].
pub fn without_mark(bytes: &[u8]) -> Result<&[u8], String> {
    if UTF_16_MARKS.iter().any(|mark| bytes.starts_with(mark)) {
        return Err("is UTF-16: save it as UTF-8".to_owned());
    }
    Ok(bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes))
}

/// A text without a byte order mark, and without line ends, at its ends: what comes out of
/// `$(cat file)` for a file of Windows.
pub(crate) fn bare(text: &str) -> &str {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.trim_matches(['\r', '\n'])
}

/// A path for a person. A setting that has the contents of a file in the place of its path is not
/// shown: they may be a private key.
pub(crate) fn shown_path(path: &Path) -> Cow<'_, str> {
    match is_path(path) {
        true => path.to_string_lossy(),
        false => Cow::Borrowed("… (not shown: it is no path)"),
    }
}

/// The path as it is from every folder. A daemon goes to another one than it was started in, where
/// a file of the same name would be somebody else's.
pub(crate) fn from_everywhere(path: PathBuf) -> PathBuf {
    let absolute = is_path(&path).then(|| std::path::absolute(&path));
    // What is no path is not to become a part of one; and the folder may be gone.
    absolute.and_then(Result::ok).unwrap_or(path)
}

/// Whether that may be a path, and isn't what stands in a file.
fn is_path(path: &Path) -> bool {
    /// The longest name of a file.
    const NAME_MAX: usize = 255;
    /// Longer texts of base64 alone are the contents of a file: slashes are in those, too.
    const BASE64_MAX: usize = 200;
    let text = path.to_string_lossy();
    let is_base64 = text.len() > BASE64_MAX
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
    text.split(['/', std::path::MAIN_SEPARATOR])
        .all(|name| name.len() <= NAME_MAX)
        && !is_base64
        && !text.contains(char::is_control)
        && !text.contains("-----BEGIN ")
}

/// Whether a library may read a file that a setting names: if there is one, it is of a kind and a
/// length that [`read`] takes. The error is as for that.
pub(crate) fn check_if_there(path: &Path) -> Result<(), String> {
    std::fs::metadata(path).map_or(Ok(()), |metadata| check(&metadata))
}

/// Whether a file or a folder can't be opened just now for what will pass, such as a process that
/// has no descriptors left.
pub fn is_away_for_now(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        let passing = [
            Errno::AGAIN,
            Errno::INTR,
            Errno::IO,
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOMEM,
            Errno::STALE,
        ];
        let code = |error: &io::Error| Errno::from_io_error(error);
        open(path).is_err_and(|error| code(&error).is_some_and(|code| passing.contains(&code)))
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        false
    }
}

fn check(metadata: &Metadata) -> Result<(), String> {
    if !metadata.is_file() {
        return Err("is not a regular file".to_owned());
    }
    match metadata.len() > MAX_LEN {
        false => Ok(()),
        true => Err(too_long()),
    }
}

fn too_long() -> String {
    format!("is longer than {MAX_LEN} bytes")
}

/// Opens a file without waiting for anybody.
#[allow(clippy::disallowed_methods, reason = "files are opened here")]
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt;
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        options.custom_flags(flags.bits().cast_signed());
    }
    options.open(path)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_path_becomes_absolute_and_what_is_none_stays_what_it_is() {
        let from_everywhere = |text: &str| from_everywhere(text.into());
        let absolute = std::env::current_dir().unwrap().join("folder/ca.pem");
        assert_eq!(from_everywhere("folder/ca.pem"), absolute);
        assert_eq!(from_everywhere("/ca.pem"), Path::new("/ca.pem"));
        // As part of a path it would be shown.
        for text in ["QUJD".repeat(60), "-----BEGIN PRIVATE KEY-----".to_owned()] {
            assert_eq!(from_everywhere(&text), Path::new(&text));
        }
    }

    #[test]
    fn what_is_missing_or_closed_to_this_user_is_not_away_for_now() {
        let here = Path::new("/");
        assert!(!is_away_for_now(here) && !is_away_for_now(&here.join("nowhere")));
    }

    #[test]
    fn what_might_never_end_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .unwrap();
        let long = folder.path().join("long");
        File::create(&long).unwrap().set_len(MAX_LEN + 1).unwrap();
        for (path, expected) in [
            (fifo.as_path(), "is not a regular file"),
            (Path::new("/dev/zero"), "is not a regular file"),
            (folder.path(), "is not a regular file"),
            (&long, "is longer than"),
            (Path::new("/nowhere"), "can't be read"),
        ] {
            let problem = read(path).unwrap_err();
            assert!(problem.contains(expected), "{}: {problem}", path.display());
        }
    }

    #[test]
    fn what_is_no_path_is_not_shown() {
        let line = "A".repeat(256);
        for path in [
            "-----BEGIN PRIVATE KEY-----",
            "MIIE\nvQIB",
            &line,
            &format!("/run/{line}"),
            &"MIIE/".repeat(50),
        ] {
            assert_eq!(
                shown_path(Path::new(path)),
                "… (not shown: it is no path)",
                "{path}"
            );
        }
        for path in [
            "/run/secrets/key.pem",
            "C:\\keys\\kéy.pem",
            &"a.b/".repeat(1000),
        ] {
            assert_eq!(shown_path(Path::new(path)), path);
        }
    }

    #[test]
    fn links_are_followed_and_byte_order_marks_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        std::os::unix::fs::symlink(&file, &link).unwrap();
        std::fs::write(&file, b"\xef\xbb\xbftext\r\n").unwrap();
        assert_eq!(**read_text(&link).unwrap(), *b"text\r\n");
        assert_eq!(read(&link).unwrap().len(), 9);
        std::fs::write(&file, b"\xff\xfet\0").unwrap();
        assert!(read_text(&link).unwrap_err().contains("UTF-16"));
        assert_eq!(bare("\u{feff}secret\r\n"), "secret");
    }
}
