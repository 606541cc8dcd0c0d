//! The heads of answers over HTTP/1.1 as the service writes them, which hyper can't: it begins each
//! word of a name with a capital letter, and leaves the length of a 204 out.

use std::borrow::Cow;

/// What the head of an answer begins with.
const START: &[u8] = b"HTTP/1.1 ";
const END_OF_LINE: &[u8] = b"\r\n";
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// Bytes that hyper writes at a time: if these begin with the head of an answer, that is written
/// anew.
pub(crate) fn as_the_service(bytes: &[u8]) -> Cow<'_, [u8]> {
    let is_end = |window: &[u8]| window == END_OF_HEAD;
    let end = bytes.windows(END_OF_HEAD.len()).position(is_end);
    let Some(end) = end.filter(|_| bytes.starts_with(START)) else {
        return Cow::Borrowed(bytes);
    };
    let (head, rest) = bytes.split_at(end);
    let Ok(head) = std::str::from_utf8(head) else {
        return Cow::Borrowed(bytes);
    };
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    let mut written = status.as_bytes().to_vec();
    let mut has_length = false;
    for line in lines {
        let (name, value) = line.split_at(line.find(':').unwrap_or(line.len()));
        has_length |= name.eq_ignore_ascii_case("content-length");
        written.extend_from_slice(END_OF_LINE);
        written.extend_from_slice(name_of(name).as_bytes());
        written.extend_from_slice(value.as_bytes());
    }
    if status.split(' ').nth(1) == Some("204") && !has_length {
        written.extend_from_slice(b"\r\nContent-Length: 0");
    }
    written.extend_from_slice(rest);
    Cow::Owned(written)
}

/// As recorded; other names are as hyper writes them.
fn name_of(name: &str) -> Cow<'_, str> {
    let lower = name.to_ascii_lowercase();
    match lower.as_str() {
        "www-authenticate" => Cow::Borrowed("WWW-Authenticate"),
        "azure-asyncoperation" => Cow::Owned(lower),
        _ if lower.starts_with("x-ms-") => Cow::Owned(lower),
        _ => Cow::Borrowed(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_the_length_of_nothing_are_written_as_recorded() {
        for (by_hyper, by_the_service) in [
            (
                "HTTP/1.1 200 OK\r\nX-Ms-Request-Id: X-Ms: 1\r\nX-Frame-Options: a\r\n\r\n\r\nX-Ms-B: c",
                "HTTP/1.1 200 OK\r\nx-ms-request-id: X-Ms: 1\r\nX-Frame-Options: a\r\n\r\n\r\nX-Ms-B: c",
            ),
            (
                "HTTP/1.1 401 Unauthorized\r\nWww-Authenticate: Bearer\r\n\r\n",
                "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\n\r\n",
            ),
            (
                "HTTP/1.1 204 No Content\r\nCache-Control: no-cache\r\n\r\n",
                "HTTP/1.1 204 No Content\r\nCache-Control: no-cache\r\nContent-Length: 0\r\n\r\n",
            ),
            ("HTTP/1.1 204 No Content\r\n", "HTTP/1.1 204 No Content\r\n"),
            ("\r\nX-Ms-A: b\r\n\r\n", "\r\nX-Ms-A: b\r\n\r\n"),
            ("", ""),
        ] {
            let written = as_the_service(by_hyper.as_bytes());
            assert_eq!(std::str::from_utf8(&written).unwrap(), by_the_service);
        }
    }
}
