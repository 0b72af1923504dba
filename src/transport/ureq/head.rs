//! As much of an answer's header section as this crate reads itself.

/// The length of a whole header section with its empty line; a line may end without a carriage return (RFC 9112 §2.2).
pub(super) fn head_length(input: &[u8]) -> Option<usize> {
    let mut end = 0_usize;
    for line in input.split_inclusive(|byte| *byte == b'\n') {
        end = end.saturating_add(line.len());
        match line {
            b"\n" | b"\r\n" => return Some(end),
            _ => {}
        }
    }
    None
}

/// The code of a status line of HTTP/1.x (RFC 9112 §4).
pub(super) fn status(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.")?;
    let (version, rest) = rest.split_first()?;
    let code = rest.strip_prefix(b" ")?;
    let (code, rest) = code.split_at_checked(3)?;
    let ends = rest.first().is_some_and(|byte| matches!(byte, b' ' | b'\r' | b'\n'));
    let digits = version.is_ascii_digit() && code.iter().all(u8::is_ascii_digit) && code.first() != Some(&b'0');
    (ends && digits).then(|| std::str::from_utf8(code).ok()?.parse().ok())?
}

/// Whether another answer follows. After "101 Switching Protocols" HTTP ends.
pub(super) fn is_interim(status: u16) -> bool {
    matches!(status, 100 | 102..=199)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_whole_with_its_empty_line() {
        for (input, length) in [
            (&b"HTTP/1.1 200 OK\r\n\r\nrest"[..], Some(19)),
            (b"HTTP/1.1 200 OK\r\na: b\r\n\r\n", Some(25)),
            (b"HTTP/1.1 200\n\n", Some(14)),
            (b"HTTP/1.1 200 OK\r\n", None),
            (b"HTTP/1.1 200 OK\r\na: b\r\n\r", None),
            (b"", None),
        ] {
            assert_eq!(head_length(input), length, "{input:?}");
        }
    }

    #[test]
    fn a_status_line_is_of_http_1() {
        for (head, code) in [
            (&b"HTTP/1.1 200 Connection established\r\n\r\n"[..], Some(200)),
            (b"HTTP/1.0 201\r\n\r\n", Some(201)),
            (b"HTTP/1.1 100 \n\n", Some(100)),
            (b"HTTP/2 200\r\n\r\n", None),
            (b"HTTP/1.1 2000\r\n\r\n", None),
            (b"HTTP/1.1 020 x\r\n\r\n", None),
            (b"HTTP/1.1  200\r\n\r\n", None),
            (b"HTTP/1.1 20\r\n\r\n", None),
            (b"HTTP/1.x 200\r\n\r\n", None),
            (b"SSH-2.0-OpenSSH_9.9\r\n\r\n", None),
        ] {
            assert_eq!(status(head), code, "{head:?}");
        }
    }
}
