//! Canonical base64url without padding (RFC 7515 §2).

use base64::engine::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The bytes of `text`; `None` for padding, the standard alphabet, white space, and non-zero trailing bits.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// As [`decode`], after what is in `bytes` already.
pub(crate) fn append(text: &str, bytes: &mut Vec<u8>) -> Option<()> {
    URL_SAFE_NO_PAD.decode_vec(text, bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_base64url_without_padding_decodes() {
        for text in ["", "AA", "AAA", "AAAA", "-_-_", "AQAB"] {
            assert!(decode(text).is_some(), "{text}");
            assert!(append(text, &mut Vec::new()).is_some(), "{text}");
        }
        for text in
            ["A", "AB", "AAB", "AA==", "AA=", "+/+/", "AA AA", "AAAA\n", "AA\r\n", " AA", "ÄÄ", "A.A", "\0\0", "AAAAA"]
        {
            assert!(decode(text).is_none(), "{text:?}");
            assert!(append(text, &mut Vec::new()).is_none(), "{text:?}");
        }
    }
}
