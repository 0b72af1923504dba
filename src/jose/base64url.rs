//! Canonical base64url without padding (RFC 7515 §2).

use base64::engine::Engine;
use base64::engine::general_purpose::NO_PAD;

/// The bytes of `text`; `None` for padding, the standard alphabet, white space, and non-zero trailing bits.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    engine().decode(text).ok()
}

/// As [`decode`], for key material, which counts by its value: padding and the standard alphabet are accepted as well.
pub(crate) fn decode_lenient(text: &str) -> Option<Vec<u8>> {
    let standard = |c| match c {
        '+' => '-',
        '/' => '_',
        c => c,
    };
    decode(&text.trim_end_matches('=').chars().map(standard).collect::<String>())
}

/// As [`decode`], after what is in `bytes` already.
pub(crate) fn append(text: &str, bytes: &mut Vec<u8>) -> Option<()> {
    engine().decode_vec(text, bytes).ok()
}

/// The library's vector instructions where the processor has them: without, decoding would be a third of what a verification costs besides
/// the signature check.
#[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", target_feature = "neon")))]
type ForThisProcessor = base64::engine::Simd;

#[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", target_feature = "neon")))]
fn engine() -> ForThisProcessor {
    base64::engine::Simd::url_safe(NO_PAD)
}

#[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", target_feature = "neon"))))]
type ForThisProcessor = base64::engine::GeneralPurpose;

#[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", target_feature = "neon"))))]
fn engine() -> ForThisProcessor {
    base64::engine::GeneralPurpose::new(&base64::alphabet::URL_SAFE, NO_PAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_material_may_have_padding_and_the_standard_alphabet() {
        for text in ["-_8", "+/8", "-_8=", "+/8=", "-/8"] {
            assert_eq!(decode_lenient(text), Some(vec![0xfb, 0xff]), "{text}");
        }
        for text in ["-_9", "-_ 8", "-_8\n", "=-_8", "-=_8", "*_8", "A"] {
            assert_eq!(decode_lenient(text), None, "{text}");
        }
    }

    #[test]
    fn only_canonical_base64url_without_padding_decodes() {
        for text in ["", "AA", "AAA", "AAAA", "-_-_", "AQAB"] {
            assert!(decode(text).is_some(), "{text}");
            assert!(append(text, &mut Vec::new()).is_some(), "{text}");
        }
        let long = "AZaz09-_".repeat(64);
        assert_eq!(decode(&long).map(|bytes| bytes.len()), Some(384));
        for at in 0..long.len() {
            for odd in ["+", "/", "=", " ", "\n", ".", "\0", "{", "\u{e9}"] {
                let mut text = long.clone();
                text.replace_range(at..=at, odd);
                assert!(decode(&text).is_none(), "{odd:?} at {at}");
            }
        }
        for text in
            ["A", "AB", "AAB", "AA==", "AA=", "+/+/", "AA AA", "AAAA\n", "AA\r\n", " AA", "ÄÄ", "A.A", "\0\0", "AAAAA"]
        {
            assert!(decode(text).is_none(), "{text:?}");
            assert!(append(text, &mut Vec::new()).is_none(), "{text:?}");
        }
    }
}
