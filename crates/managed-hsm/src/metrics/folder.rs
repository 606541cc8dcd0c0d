//! A process's file in a folder that node_exporter reads.
//!
//! It reads files whose names end in `.prom`, while they are written, too. So a file gets that name
//! when it is whole. It is another user's program: the file may be read by all.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_NOW};
use rustix::fs::{fchmod, fstat, open, rename, unlink, utimensat};

use super::process::Process;

/// How the name of a whole file ends, and of one under way.
const WHOLE: &str = ".prom";
const UNDER_WAY: &str = ".prom.tmp";

/// How old a file is that nobody renews: its process has ended, where nothing else tells that, or
/// goes on as another program. One that is removed too early is written again.
const OLD: Duration = Duration::from_secs(600);

/// The file of this process.
pub(super) struct TextFile {
    folder: PathBuf,
    path: PathBuf,
    front_end: String,
    process: Process,
    /// What was written last.
    written: String,
}

impl TextFile {
    pub(super) fn new(folder: &Path, front_end: &str) -> Self {
        let process = Process::current();
        Self {
            path: folder.join(format!("{front_end}-{}{WHOLE}", process.number)),
            folder: folder.to_owned(),
            front_end: front_end.to_owned(),
            process,
            written: String::new(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Has the file say this. If it does so already only its time is renewed, by which others see
    /// that the process lives.
    pub(super) fn write(&mut self, text: &str) -> rustix::io::Result<()> {
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        };
        let now = Timestamps {
            last_access: now,
            last_modification: now,
        };
        if self.written == text
            && utimensat(CWD, &self.path, &now, AtFlags::SYMLINK_NOFOLLOW).is_ok()
        {
            return Ok(());
        }
        let temporary = self.path.with_extension(&UNDER_WAY[1..]);
        // Of a process that had the same number.
        let _ = unlink(&temporary);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
        let mut file = File::from(open(&temporary, flags, mode)?);
        // Whatever the program's umask is.
        fchmod(&file, mode)?;
        let whole = format!("{}\n{text}", self.process);
        if let Err(error) = file.write_all(whole.as_bytes()) {
            let _ = unlink(&temporary);
            let errno = rustix::io::Errno::from_io_error(&error);
            return Err(errno.unwrap_or(rustix::io::Errno::IO));
        }
        rename(&temporary, &self.path)?;
        text.clone_into(&mut self.written);
        Ok(())
    }

    /// Removes the file.
    pub(super) fn remove(&mut self) {
        if !self.written.is_empty() {
            let _ = unlink(&self.path);
            self.written.clear();
        }
    }

    /// Removes files of such processes as have ended without doing so.
    pub(super) fn sweep(&self) {
        let Ok(entries) = std::fs::read_dir(&self.folder) else {
            return;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            if path != self.path && self.is_left_over(&path) {
                let _ = unlink(&path);
                log::debug!("removed {}, whose process has ended", path.display());
            }
        }
    }

    /// Whether a file is of our kind, and its process has ended.
    fn is_left_over(&self, path: &Path) -> bool {
        let name = path.file_name().and_then(|name| name.to_str());
        let number = name.and_then(|name| name.strip_prefix(&self.front_end)?.strip_prefix('-'));
        let Some(number) = number else {
            return false;
        };
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let is_whole = number.strip_suffix(WHOLE).is_some_and(is_number);
        if !is_whole && !number.strip_suffix(UNDER_WAY).is_some_and(is_number) {
            return false;
        }
        let Some((process, age)) = look(path) else {
            return false;
        };
        age >= OLD || process.and_then(|process| process.has_ended()) == Some(true)
    }
}

/// Whose a file is, if it says so, and how long ago it was renewed. None: it is no file.
fn look(path: &Path) -> Option<(Option<Process>, Duration)> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(open(path, flags, Mode::empty()).ok()?);
    let stat = fstat(&file).ok()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return None;
    }
    let mut begin = Vec::new();
    file.take(200).read_to_end(&mut begin).ok()?;
    let begin = String::from_utf8_lossy(&begin);
    let process = begin.lines().next().and_then(Process::parse);
    let renewed = Duration::from_secs(stat.st_mtime.try_into().ok()?);
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .ok()?;
    Some((process, now.saturating_sub(renewed)))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_whole_and_for_all_to_read_and_goes() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = TextFile::new(folder.path(), "akv_test");
        // Left by one of the same number, and a trap.
        let target = folder.path().join("target");
        std::fs::write(&target, "kept").unwrap();
        symlink(&target, file.path.with_extension("prom.tmp")).unwrap();
        file.write("one 1\n").unwrap();
        let name = format!("akv_test-{}.prom", std::process::id());
        assert_eq!(names(folder.path()), [name.as_str(), "target"]);
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "kept");
        let metadata = std::fs::metadata(&file.path).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o644);
        let text = std::fs::read_to_string(&file.path).unwrap();
        assert!(
            text.starts_with("# process ") && text.ends_with("\none 1\n"),
            "{text}"
        );
        // The same again is no new file; another is.
        file.write("one 1\n").unwrap();
        assert_eq!(std::fs::metadata(&file.path).unwrap().ino(), metadata.ino());
        file.write("one 2\n").unwrap();
        assert_ne!(std::fs::metadata(&file.path).unwrap().ino(), metadata.ino());
        // One that somebody has removed comes again.
        std::fs::remove_file(&file.path).unwrap();
        file.write("one 2\n").unwrap();
        assert!(file.path.exists());
        file.remove();
        assert_eq!(names(folder.path()), ["target"]);
    }

    #[test]
    fn files_of_processes_that_have_ended_are_removed_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let own = Process::current();
        let line = own.to_string();
        let words: Vec<&str> = line.split(' ').collect();
        let (number, started, space) = (words[2], words[4], words[6]);
        // Of a number that was given again, and of one that nobody has.
        let reused = format!("# process {number} started 1 in {space}\n");
        let gone = format!("# process 4194304 started {started} in {space}\n");
        let elsewhere = format!("# process {number} started 1 in pid:[1]\n");
        let alive = format!("{line}\n");
        let files = [
            ("akv_test-1.prom", &reused, false),
            ("akv_test-2.prom", &gone, false),
            ("akv_test-3.prom.tmp", &gone, false),
            ("akv_test-4.prom", &alive, true),
            ("akv_test-5.prom", &elsewhere, true),
            ("akv_test-x.prom", &gone, true),
            ("akv_other-2.prom", &gone, true),
            ("akv_test-2.text", &gone, true),
        ];
        for (name, text, _) in &files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let link = folder.path().join("akv_test-9.prom");
        symlink(folder.path().join("akv_other-2.prom"), &link).unwrap();
        let file = TextFile::new(folder.path(), "akv_test");
        file.sweep();
        for (name, _, stays) in &files {
            assert_eq!(folder.path().join(name).exists(), *stays, "{name}");
        }
        assert!(link.symlink_metadata().is_ok());
        // Where numbers mean others, a file that is not renewed has lost its process.
        let old = SystemTime::now() - 2 * OLD;
        let elsewhere = folder.path().join("akv_test-5.prom");
        File::options()
            .append(true)
            .open(&elsewhere)
            .unwrap()
            .set_modified(old)
            .unwrap();
        file.sweep();
        assert!(!elsewhere.exists());
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let mut file = TextFile::new(Path::new("/nonexistent/metrics"), "akv_test");
        assert_eq!(file.write("one 1\n"), Err(rustix::io::Errno::NOENT));
        file.sweep();
    }
}
