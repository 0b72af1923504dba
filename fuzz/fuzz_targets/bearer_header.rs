//! Oracle: the token and what stands before it make up the header byte for byte, and what stands before is the scheme and spaces.
#![no_main]

use aero2::{TokenErrorKind, fuzzing};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|header: &str| {
    let (scheme, rest) = header.split_at(header.find(' ').unwrap_or(header.len()));
    match fuzzing::bearer_header(Some(header)) {
        Ok(token) => {
            let before = header.strip_suffix(token).expect("the token ends the header");
            let spaces = &before[6..];
            assert!(before[..6].eq_ignore_ascii_case("bearer"));
            assert!(!spaces.is_empty() && spaces.bytes().all(|byte| byte == b' '));
            let bare = token.trim_end_matches('=');
            assert!(!bare.is_empty() && bare.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b)));
        }
        Err(TokenErrorKind::MissingToken) => assert!(!scheme.eq_ignore_ascii_case("bearer")),
        Err(kind) => {
            assert_eq!(kind, TokenErrorKind::Malformed);
            assert!(scheme.eq_ignore_ascii_case("bearer"));
            let token = rest.trim_start_matches(' ');
            let bare = token.trim_end_matches('=');
            assert!(bare.is_empty() || !bare.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b)));
        }
    }
});
