//! The body of a POST: `application/x-www-form-urlencoded`.

use zeroize::Zeroizing;

/// A body of `application/x-www-form-urlencoded`. It never grows in place, since that would leave a copy of a secret in freed memory.
pub(crate) struct Form(Zeroizing<String>);

impl Form {
    pub(crate) fn new() -> Self {
        Self(Zeroizing::new(String::new()))
    }

    pub(crate) fn push(&mut self, name: &str, value: &str) {
        self.reserve(longest_encoded(name).saturating_add(longest_encoded(value)).saturating_add(2));
        if !self.0.is_empty() {
            self.0.push('&');
        }
        encode(name, "+", &mut self.0);
        self.0.push('=');
        encode(value, "+", &mut self.0);
    }

    /// The encoded form.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    fn reserve(&mut self, more: usize) {
        let needed = self.0.len().saturating_add(more);
        if needed > self.0.capacity() {
            let mut grown = Zeroizing::new(String::with_capacity(needed.max(self.0.capacity().saturating_mul(2))));
            grown.push_str(&self.0);
            self.0 = grown;
        }
    }
}

/// The URL standard's serializer, which RFC 6749 Appendix B asks for: letters, digits and `*-._` stay.
pub(crate) fn encode(text: &str, space: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => out.push(char::from(byte)),
            b' ' => out.push_str(space),
            _ => {
                out.push('%');
                out.push(hex_digit(byte >> 4));
                out.push(hex_digit(byte & 0xf));
            }
        }
    }
}

fn hex_digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).map_or('0', |digit| digit.to_ascii_uppercase())
}

/// The longest that [`encode`] makes of `text`, in bytes.
pub(crate) fn longest_encoded(text: &str) -> usize {
    text.len().saturating_mul(3)
}
