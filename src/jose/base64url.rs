//! Canonical base64url without padding (RFC 7515 §2), decoded into the stack where it fits.

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

/// Decoded bytes that live on the stack up to `N` of them, and on the heap beyond.
#[derive(Clone)]
pub(crate) struct Decoded<const N: usize> {
    few: [u8; N],
    len: usize,
    many: Vec<u8>,
}

impl<const N: usize> Decoded<N> {
    /// As [`decode`].
    pub(crate) fn new(text: &str) -> Option<Self> {
        let mut few = [0; N];
        if base64::decoded_len_estimate(text.len()) <= N {
            let len = URL_SAFE_NO_PAD.decode_slice(text, &mut few).ok()?;
            return Some(Self { few, len, many: Vec::new() });
        }
        Some(Self { few, len: 0, many: decode(text)? })
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        if self.many.is_empty() { self.few.get(..self.len).unwrap_or_default() } else { &self.many }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_base64url_without_padding_decodes() {
        for text in ["", "AA", "AAA", "AAAA", "-_-_", "AQAB"] {
            assert!(decode(text).is_some(), "{text}");
            assert!(Decoded::<8>::new(text).is_some(), "{text}");
        }
        for text in
            ["A", "AB", "AAB", "AA==", "AA=", "+/+/", "AA AA", "AAAA\n", "AA\r\n", " AA", "ÄÄ", "A.A", "\0\0", "AAAAA"]
        {
            assert!(decode(text).is_none(), "{text:?}");
            assert!(Decoded::<8>::new(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn what_does_not_fit_the_stack_goes_to_the_heap() {
        for len in 0..24_usize {
            let bytes: Vec<u8> = (1..).take(len).collect();
            let text = URL_SAFE_NO_PAD.encode(&bytes);
            assert_eq!(Decoded::<8>::new(&text).unwrap().as_bytes(), bytes);
            assert_eq!(decode(&text).unwrap(), bytes);
        }
    }
}
