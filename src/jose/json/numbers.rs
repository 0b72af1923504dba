//! Numbers that no double can hold: good JSON, which the reader below us takes for bad.

/// The text with every number that does not fit replaced by null; `None` if there is none. Only literals that are numbers by the
/// grammar (RFC 8259 §6) are touched, so no text becomes JSON by this.
pub(crate) fn without_huge_numbers(text: &str) -> Option<String> {
    // Replacing makes it shorter, so it never moves and leaves no copy behind: it may hold a token.
    let (mut result, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(['"', '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) {
        let (before, from) = rest.split_at_checked(at)?;
        let len = if from.starts_with('"') { string_len(from) } else { number_len(from) };
        let (literal, after) = from.split_at_checked(len.max(1))?;
        let huge = len > 0 && !literal.starts_with('"') && miniserde::json::from_str::<f64>(literal).is_err();
        result.push_str(before);
        result.push_str(if huge { "null" } else { literal });
        rest = after;
    }
    result.push_str(rest);
    (result != text).then_some(result)
}

/// Bytes of the string literal that `text` begins with; all of them if it never ends.
fn string_len(text: &str) -> usize {
    let mut escaped = true;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Bytes of the number that `text` begins with; 0 if it is none. Stops where the grammar does: `01` is the number `0`.
fn number_len(text: &str) -> usize {
    let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let after = |at: usize| text.get(at..).unwrap_or_default();
    let mut len = usize::from(text.starts_with('-'));
    match digits(after(len)) {
        0 => return 0,
        _ if after(len).starts_with('0') => len += 1,
        many => len += many,
    }
    if let Some(fraction) = after(len).strip_prefix('.') {
        match digits(fraction) {
            0 => return 0,
            many => len += 1 + many,
        }
    }
    if let Some(exponent) = after(len).strip_prefix(['e', 'E']) {
        let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        match digits(unsigned) {
            0 => return 0,
            many => len += 1 + (exponent.len() - unsigned.len()) + many,
        }
    }
    len
}
