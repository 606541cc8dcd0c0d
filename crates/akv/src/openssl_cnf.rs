//! `openssl.cnf` as libcrypto reads it (config(5), and where that is vague conf_def.c of OpenSSL
//! 3): bytes become sections of names and values. What libcrypto refuses is refused here.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use managed_hsm::{environment, files};

/// The section of what stands before the first one; and where a variable is looked for at last.
pub(crate) const DEFAULT: &str = "default";

/// How many files may be open, each of which has included the next. libcrypto goes on until it has
/// no descriptors left.
const MAX_OPEN: usize = 256;
/// As in libcrypto, for a value with its variables expanded.
const MAX_VALUE_LEN: usize = 65536;

/// All sections of a configuration. Of a name that is there more than once the last value counts.
#[derive(Debug, Default)]
pub(crate) struct Sections {
    all: HashMap<String, Vec<(String, String)>>,
    last: String,
}

impl Sections {
    /// Reads a file and those that it includes.
    ///
    /// # Errors
    /// A sentence that names the file, and the line if it is about one.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let mut reader = Reader {
            sections: Self::default(),
            section: DEFAULT.to_owned(),
            include_folder: None,
            dollar_in_names: false,
            only_absolute: false,
            open: Vec::new(),
            folder: None,
        };
        reader.section(DEFAULT);
        reader.open(path)?;
        reader.lines()?;
        reader.sections.last = reader.section;
        Ok(reader.sections)
    }

    /// The section that the file ends in.
    pub(crate) fn last(&self) -> &str {
        &self.last
    }

    /// The names and values of a section. None: there is no such section.
    pub(crate) fn section(&self, name: &str) -> Option<&[(String, String)]> {
        self.all.get(name).map(Vec::as_slice)
    }

    /// A value of a section itself.
    pub(crate) fn value(&self, section: &str, name: &str) -> Option<&str> {
        let pairs = self.all.get(section)?;
        let found = pairs.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// What a variable stands for, in the section or in general.
    fn variable(&self, section: &str, name: &str) -> Option<String> {
        let own = self.value(section, name).map(str::to_owned);
        let of_environment = || match section {
            "ENV" => environment::variable(name).map(|value| value.to_string_lossy().into_owned()),
            _ => None,
        };
        own.or_else(of_environment)
            .or_else(|| self.value(DEFAULT, name).map(str::to_owned))
    }

    fn set(&mut self, section: &str, name: String, value: String) {
        let pairs = self.all.entry(section.to_owned()).or_default();
        pairs.retain(|(known, _)| *known != name);
        pairs.push((name, value));
    }
}

/// What is known while files are read. An included file goes on in the section that its includer is
/// in, and the other way round.
struct Reader {
    sections: Sections,
    section: String,
    /// `.pragma includedir:`
    include_folder: Option<String>,
    /// `.pragma dollarid:`
    dollar_in_names: bool,
    /// `.pragma abspath:`
    only_absolute: bool,
    /// The files that are read, each included by the one before.
    open: Vec<Open>,
    /// The folder that is included, until the last of its files has been read: libcrypto has one at
    /// a time.
    folder: Option<std::vec::IntoIter<PathBuf>>,
}

/// A file that is read.
struct Open {
    path: PathBuf,
    /// Its lines from the last to the first.
    rest: Vec<Vec<u8>>,
    /// The line that was read.
    number: usize,
}

impl Reader {
    fn section(&mut self, name: &str) {
        self.sections.all.entry(name.to_owned()).or_default();
        self.section = name.to_owned();
    }

    /// Opens a file: its lines are the next.
    fn open(&mut self, path: &Path) -> Result<(), String> {
        if self.open.len() >= MAX_OPEN {
            return Err(format!("{} includes itself", path.display()));
        }
        let bytes = match is_nothing(path) {
            true => Vec::new().into(),
            false => {
                files::read(path).map_err(|problem| format!("{} {problem}", path.display()))?
            }
        };
        let bytes = match self.open.is_empty() {
            true => bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes),
            // Only the first file's is passed over by libcrypto.
            false => &bytes,
        };
        if bytes.contains(&0) {
            return Err(format!(
                "{} has a NUL in it: save it as UTF-8, not UTF-16",
                path.display()
            ));
        }
        self.open.push(Open {
            path: path.to_owned(),
            rest: bytes
                .rsplit(|byte| *byte == b'\n')
                .map(<[u8]>::to_vec)
                .collect(),
            number: 0,
        });
        Ok(())
    }

    /// Reads all lines. After the end of a file comes the next of the folder that is included, even
    /// if it is a file that one of that folder has included; what is left of the including files
    /// follows after the last one.
    fn lines(&mut self) -> Result<(), String> {
        while let Some(mut file) = self.open.pop() {
            let Some((line, number)) = file.next_line() else {
                let next = self.folder.as_mut().and_then(Iterator::next);
                match next {
                    Some(path) => self.open(&path)?,
                    None => self.folder = None,
                }
                continue;
            };
            let place = format!("{} line {number}", file.path.display());
            self.open.push(file);
            self.line(&line).map_err(|problem| match problem {
                Problem::Here(problem) => format!("{place}: {problem}"),
                Problem::There(problem) => problem,
            })?;
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Problem> {
        let line = without_white_space(without_comment(line));
        let Some(first) = line.first() else {
            return Ok(());
        };
        if *first == b'[' {
            let end = line.iter().position(|byte| *byte == b']');
            let end = end.ok_or("a section's name has no ']'")?;
            let name = without_white_space(&line[1..end]);
            let is_of_name =
                |byte: &u8| self.is_of_name(*byte) || is_white_space(byte) || *byte == b'\\';
            if !name.iter().all(is_of_name) {
                return Err("a section's name has characters that belong to no name".into());
            }
            let name = self.value(DEFAULT, name)?;
            self.section(&name);
            return Ok(());
        }
        let name_len = self.name_len(line);
        let (mut name, mut rest) = line.split_at(name_len);
        let mut section = self.section.clone();
        if let Some(own) = rest.strip_prefix(b"::") {
            section = text(name);
            (name, rest) = own.split_at(self.name_len(own));
        }
        let is_apart = rest.first().is_some_and(is_white_space);
        let rest = without_white_space_before(rest);
        let argument = without_white_space(rest.strip_prefix(b"=").unwrap_or(rest));
        // With an equals sign, or with something else after the very word.
        let is_directive = |word: &[u8]| {
            let has_more = name.len() > word.len() || is_apart;
            name.starts_with(word) && (has_more || rest.starts_with(b"="))
        };
        if is_directive(b".pragma") {
            return self.pragma(argument);
        }
        if is_directive(b".include") {
            return self.include(&section, argument);
        }
        let value = rest.strip_prefix(b"=").ok_or_else(|| {
            format!(
                "there is no '=' after '{}'",
                managed_hsm::fit(&text(name), 80)
            )
        })?;
        let value = self.value(&section, without_white_space(value))?;
        self.sections.set(&section, text(name), value);
        Ok(())
    }

    fn is_of_name(&self, byte: u8) -> bool {
        byte.is_ascii_alphanumeric()
            || b"_!.%&*+,/;?@^~|-".contains(&byte)
            || (self.dollar_in_names && byte == b'$')
    }

    /// How long the name is that a line begins with.
    fn name_len(&self, line: &[u8]) -> usize {
        let mut at = 0;
        while let Some(byte) = line.get(at) {
            match byte {
                b'\\' if at + 1 < line.len() => at += 2,
                byte if self.is_of_name(*byte) => at += 1,
                _ => break,
            }
        }
        at
    }

    fn pragma(&mut self, argument: &[u8]) -> Result<(), Problem> {
        let argument = text(argument);
        let (name, value) = argument
            .split_once(':')
            .filter(|(name, value)| !name.is_empty() && !value.is_empty())
            .ok_or("a .pragma is not of the form name:value")?;
        let value = value.trim();
        let is_on = || match value.to_ascii_lowercase().as_str() {
            "on" | "true" => Ok(true),
            "off" | "false" => Ok(false),
            _ => Err(format!(
                ".pragma {name} is neither on nor off",
                name = name.trim()
            )),
        };
        match name.trim() {
            "dollarid" => self.dollar_in_names = is_on()?,
            "abspath" => self.only_absolute = is_on()?,
            "includedir" => self.include_folder = Some(value.to_owned()),
            // As libcrypto does.
            _ => {}
        }
        Ok(())
    }

    /// Opens a file, or all files of a folder that end in .cnf or .conf, in turn. One that is
    /// missing is passed over, as libcrypto does.
    fn include(&mut self, section: &str, argument: &[u8]) -> Result<(), Problem> {
        let named = self.value(section, argument)?;
        let folder = environment::variable("OPENSSL_CONF_INCLUDE").map(PathBuf::from);
        let folder = folder.or_else(|| self.include_folder.clone().map(PathBuf::from));
        // Otherwise it is relative to where the program runs.
        let path = folder.unwrap_or_default().join(named);
        if self.only_absolute && !path.is_absolute() {
            return Err(format!(
                "{} is not absolute, as .pragma abspath wants it",
                path.display()
            )
            .into());
        }
        let Ok(metadata) = std::fs::metadata(&path) else {
            return Ok(());
        };
        let file = match metadata.is_dir() {
            false => Some(path),
            // libcrypto passes over a folder that is included within another one.
            true if self.folder.is_some() => None,
            true => {
                let mut files = configuration_files(&path).into_iter();
                let first = files.next();
                self.folder = first.is_some().then_some(files);
                first
            }
        };
        match file {
            Some(file) => self.open(&file).map_err(Problem::There),
            None => Ok(()),
        }
    }

    /// A value without quotes and escapes, and with what its variables stand for.
    fn value(&self, section: &str, raw: &[u8]) -> Result<String, Problem> {
        let mut value = Vec::new();
        let mut at = 0;
        while let Some(&byte) = raw.get(at) {
            at += 1;
            match byte {
                b'"' | b'\'' | b'`' => {
                    while let Some(&quoted) = raw.get(at) {
                        at += 1;
                        match quoted {
                            _ if quoted == byte => break,
                            b'\\' => {
                                value.extend(raw.get(at));
                                at += 1;
                            }
                            _ => value.push(quoted),
                        }
                    }
                }
                b'\\' => {
                    let escaped = raw.get(at).map(|escaped| match escaped {
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b'b' => 8,
                        b't' => b'\t',
                        other => *other,
                    });
                    value.extend(escaped);
                    at += 1;
                }
                b'$' if !self.dollar_in_names || matches!(raw.get(at), Some(b'{' | b'(')) => {
                    let (meaning, len) = self.expanded(section, &raw[at..])?;
                    value.extend_from_slice(meaning.as_bytes());
                    at += len;
                    if value.len() > MAX_VALUE_LEN {
                        return Err("a value with its variables is too long".into());
                    }
                }
                _ => value.push(byte),
            }
        }
        Ok(text(&value))
    }

    /// What the variable stands for that `raw` begins with, and how long it is there: `x`, `{x}`,
    /// `(x)`, `section::x`.
    fn expanded(&self, section: &str, raw: &[u8]) -> Result<(String, usize), Problem> {
        let close = match raw.first() {
            Some(b'{') => Some(b'}'),
            Some(b'(') => Some(b')'),
            _ => None,
        };
        let start = usize::from(close.is_some());
        let word = |from: usize| {
            let is_of_name = |byte: &u8| {
                byte.is_ascii_alphanumeric()
                    || *byte == b'_'
                    || (self.dollar_in_names && *byte == b'$')
            };
            let rest = raw.get(from..).unwrap_or_default();
            from + rest.iter().take_while(|byte| is_of_name(byte)).count()
        };
        let mut end = word(start);
        let (mut within, mut name) = (section.to_owned(), text(&raw[start..end]));
        if raw.get(end..end + 2) == Some(b"::") {
            within = name;
            let start = end + 2;
            end = word(start);
            name = text(&raw[start..end]);
        }
        if let Some(close) = close {
            if raw.get(end) != Some(&close) {
                return Err(format!("the variable '{name}' has no closing bracket").into());
            }
            end += 1;
        }
        let meaning = self.sections.variable(&within, &name);
        let meaning = meaning.ok_or_else(|| format!("the variable '{name}' has no value"))?;
        Ok((meaning, end))
    }
}

impl Open {
    /// The next line and its number. A backslash at the end goes on with the next line, unless it
    /// is escaped itself.
    fn next_line(&mut self) -> Option<(Vec<u8>, usize)> {
        let mut whole: Option<Vec<u8>> = None;
        while let Some(mut line) = self.rest.pop() {
            self.number += 1;
            while line.ends_with(b"\r") {
                line.pop();
            }
            let whole = whole.get_or_insert_default();
            whole.append(&mut line);
            if !whole.ends_with(b"\\") || whole.ends_with(b"\\\\") {
                break;
            }
            whole.pop();
        }
        whole.map(|line| (line, self.number))
    }
}

/// The files of a folder that libcrypto takes for configuration, in the order in which the system
/// lists them: libcrypto has no other.
fn configuration_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|file| {
        let end = file
            .extension()
            .map(|end| end.to_string_lossy().to_ascii_lowercase());
        end.is_some_and(|end| end == "cnf" || end == "conf") && !file.is_dir()
    });
    files
}

/// Whether a configuration file, if there is one, is of a kind that can be read to its end.
///
/// # Errors
/// A sentence that names the file.
pub(crate) fn check_kind(path: &Path) -> Result<(), String> {
    match std::fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() && !is_nothing(path) => {
            Err(format!("{} is not a regular file", path.display()))
        }
        _ => Ok(()),
    }
}

/// Whether it is the device that reads as an empty file, which to libcrypto is a configuration like
/// any other.
fn is_nothing(path: &Path) -> bool {
    path.canonicalize()
        .is_ok_and(|path| path == Path::new("/dev/null"))
}

/// What is wrong: with this line, or with a file that it includes.
enum Problem {
    Here(String),
    There(String),
}

impl From<String> for Problem {
    fn from(problem: String) -> Self {
        Self::Here(problem)
    }
}

impl From<&str> for Problem {
    fn from(problem: &str) -> Self {
        Self::Here(problem.to_owned())
    }
}

/// A line up to a '#' that is neither quoted nor escaped.
fn without_comment(line: &[u8]) -> &[u8] {
    let mut quote = None;
    let mut escaped = false;
    for (at, &byte) in line.iter().enumerate() {
        match (byte, quote) {
            _ if escaped => escaped = false,
            (b'\\', _) => escaped = true,
            (b'#', None) => return &line[..at],
            (b'"' | b'\'' | b'`', None) => quote = Some(byte),
            (_, Some(open)) if open == byte => quote = None,
            _ => {}
        }
    }
    line
}

fn is_white_space(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn without_white_space_before(text: &[u8]) -> &[u8] {
    let start = text.iter().take_while(|byte| is_white_space(byte)).count();
    &text[start..]
}

fn without_white_space(text: &[u8]) -> &[u8] {
    let text = without_white_space_before(text);
    let end = text.iter().rposition(|byte| !is_white_space(byte));
    &text[..end.map_or(0, |at| at + 1)]
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
