//! Writing of JSON texts, for the few documents that this crate writes itself.

use std::fmt::Write as _;

/// Adds `text` as a JSON string (RFC 8259 §7).
pub(crate) fn push_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => {
                // Writing to a String does not fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_json_reserves_is_escaped() {
        let mut out = String::from("=");
        push_string("a\"\\/\n\u{0}\u{1f}\u{7f}\u{e9}\u{1f600}", &mut out);
        assert_eq!(out, "=\"a\\\"\\\\/\\u000a\\u0000\\u001f\u{7f}\u{e9}\u{1f600}\"");
    }
}
