//! Numbers that no double can hold: good JSON, which the reader below us takes for bad.

/// The text with every number that does not fit replaced by null; `None` if there is none, or if the text is no JSON anyway. Only literals that are numbers by the
/// grammar (RFC 8259 §6) are touched, so no text becomes JSON by this.
pub(crate) fn without_huge_numbers(text: &str) -> Option<String> {
    // Replacing makes it shorter, so it never moves and leaves no copy behind: it may hold a token.
    let (mut result, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(['"', '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) {
        let (before, from) = rest.split_at_checked(at)?;
        // What begins like a number and is none makes the text no JSON. To go on after its first digit would read the others again and
        // again.
        let len = if from.starts_with('"') { string_len(from) } else { number_len(from)? };
        let (literal, after) = from.split_at_checked(len)?;
        let huge = !literal.starts_with('"') && miniserde::json::from_str::<f64>(literal).is_err();
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

/// Bytes of the number that `text` begins with, if it is one: `01` and `1.` are none.
fn number_len(text: &str) -> Option<usize> {
    let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let after = |at: usize| text.get(at..).unwrap_or_default();
    let mut len = usize::from(text.starts_with('-'));
    match digits(after(len)) {
        0 => return None,
        many if many > 1 && after(len).starts_with('0') => return None,
        many => len += many,
    }
    if let Some(fraction) = after(len).strip_prefix('.') {
        match digits(fraction) {
            0 => return None,
            many => len += 1 + many,
        }
    }
    if let Some(exponent) = after(len).strip_prefix(['e', 'E']) {
        let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        match digits(unsigned) {
            0 => return None,
            many => len += 1 + (exponent.len() - unsigned.len()) + many,
        }
    }
    Some(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_that_no_double_holds_are_replaced() {
        for (text, replaced) in [
            ("[1e400]", Some("[null]")),
            ("[-1e400,1,\"1e400\",\"\\\"1e400\"]", Some("[null,1,\"1e400\",\"\\\"1e400\"]")),
            ("[1e400,0,-0,0.5,10,1e5,1E+5,1e-400]", Some("[null,0,-0,0.5,10,1e5,1E+5,1e-400]")),
            ("[0,-0,10,0.5,1e5,1E+5,1e-400]", None),
            ("[0e400]", None),
            ("\"1e400", None),
        ] {
            assert_eq!(without_huge_numbers(text).as_deref(), replaced, "{text}");
        }
    }

    #[test]
    fn what_begins_like_a_number_and_is_none_ends_it() {
        for text in ["[1e400,01]", "[1e400,00]", "[1e400,1.]", "[1e400,1.x]", "[1e400,1e]", "[1e400,1e+]", "[1e400,-]"]
        {
            assert_eq!(without_huge_numbers(text), None, "{text}");
        }
    }
}
