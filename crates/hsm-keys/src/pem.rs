//! PEM (RFC 7468): how it is written, and how one block is read, line by line.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A block of PEM, in lines of 64 characters.
pub fn encode(label: &str, content: &[u8]) -> String {
    let base64 = STANDARD.encode(content);
    let mut pem = format!("-----BEGIN {label}-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, next) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = next;
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

/// Reads one block from `next_line`, which gives None at the end of the file. Returns the content
/// of a block with this label, and None for another one, which is then read past. Its text may have
/// `max_len` characters.
///
/// # Errors
/// The block has the label, but it has no end, is too long or isn't base64.
pub fn read(
    label: &str,
    max_len: usize,
    mut next_line: impl FnMut() -> Option<Vec<u8>>,
) -> Result<Option<Vec<u8>>, &'static str> {
    let found = loop {
        let Some(line) = next_line() else {
            return Ok(None);
        };
        // Windows editors write a byte order mark before the first line.
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line);
        if let Some(label) = delimiter(line, "-----BEGIN ") {
            break label;
        }
    };
    let is_wanted = found == label;
    let mut text = Vec::new();
    while let Some(line) = next_line() {
        if delimiter(&line, "-----END ").is_some_and(|end| end == found) {
            return match is_wanted {
                true => STANDARD
                    .decode(&text)
                    .map(Some)
                    .map_err(|_| "its content is not base64"),
                false => Ok(None),
            };
        }
        if is_wanted {
            text.extend(line.iter().filter(|byte| !byte.is_ascii_whitespace()));
            if text.len() > max_len {
                return Err("it is too long");
            }
        }
    }
    match is_wanted {
        true => Err("its END line is missing"),
        false => Ok(None),
    }
}

/// The label of a delimiter line (RFC 7468, section 3).
fn delimiter(line: &[u8], start: &str) -> Option<String> {
    let label = std::str::from_utf8(line)
        .ok()?
        .trim_end()
        .strip_prefix(start)?
        .strip_suffix("-----")?;
    Some(label.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(
        label: &str,
        max_len: usize,
        text: &str,
    ) -> Vec<Result<Option<Vec<u8>>, &'static str>> {
        let mut lines = text.lines().map(|line| line.as_bytes().to_vec()).peekable();
        let mut blocks = Vec::new();
        while lines.peek().is_some() {
            blocks.push(read(label, max_len, || lines.next()));
        }
        blocks
    }

    #[test]
    fn what_was_written_is_read_behind_other_blocks() {
        for len in [0, 1, 47, 48, 49, 1000] {
            let content = vec![0x5a; len];
            let pem = encode("OURS", &content);
            assert!(pem.lines().all(|line| line.len() <= 64));
            let text = format!("\u{feff}{}words\n{pem}", encode("OTHERS", b"x"));
            assert_eq!(
                read_all("OURS", 2000, &text),
                [Ok(None), Ok(Some(content.clone()))]
            );
            let windows = text.replace('\n', "\r\n");
            assert_eq!(read_all("OURS", 2000, &windows)[1], Ok(Some(content)));
        }
    }

    #[test]
    fn a_damaged_block_is_an_error_and_anothers_is_none() {
        for (text, problem) in [
            ("!\n-----END X-----\n", "its content is not base64"),
            ("AAA\n-----END X-----\n", "its content is not base64"),
            ("AAAA\n", "its END line is missing"),
            ("AAAA\n-----END Y-----\n", "its END line is missing"),
            (
                &format!("{}\n-----END X-----\n", "A".repeat(44)),
                "it is too long",
            ),
        ] {
            let text = format!("-----BEGIN X-----\n{text}");
            assert_eq!(read_all("X", 40, &text)[0], Err(problem), "{text}");
            assert_eq!(read_all("Z", 40, &text), [Ok(None)], "{text}");
        }
        assert_eq!(read_all("X", 8, "no PEM\nat all\n"), [Ok(None)]);
    }
}
