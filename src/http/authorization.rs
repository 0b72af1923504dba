//! The `Authorization` header's Bearer scheme (RFC 6750 §2.1).

use crate::error::TokenErrorKind;

/// The token in the value of an `Authorization` header.
///
/// `MissingToken` without a header, or with one of another scheme; `Malformed` for a Bearer header that holds no token by the
/// grammar `"Bearer" 1*SP b64token`. The scheme ends at the first space and is case-insensitive (RFC 9110 §11.1).
pub(crate) fn bearer_token(authorization: Option<&str>) -> Result<&str, TokenErrorKind> {
    let value = authorization.ok_or(TokenErrorKind::MissingToken)?;
    let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return Err(TokenErrorKind::MissingToken);
    }
    let token = rest.trim_start_matches(' ');
    if is_b64token(token) { Ok(token) } else { Err(TokenErrorKind::Malformed) }
}

/// The one value of a request's `Authorization` headers; `Malformed` for several, and for one with anything but visible ASCII and blanks.
pub(crate) fn single_value<V: AsRef<[u8]>>(
    values: impl IntoIterator<Item = V>,
) -> Result<Option<String>, TokenErrorKind> {
    let mut values = values.into_iter();
    let Some(value) = values.next() else { return Ok(None) };
    let value = value.as_ref();
    let is_clean = value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    match std::str::from_utf8(value) {
        Ok(text) if is_clean && values.next().is_none() => Ok(Some(text.to_owned())),
        _ => Err(TokenErrorKind::Malformed),
    }
}

/// `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`
fn is_b64token(token: &str) -> bool {
    let characters = token.trim_end_matches('=');
    !characters.is_empty()
        && characters
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_header_gives_its_token() {
        for (value, token) in [
            ("Bearer abc", "abc"),
            ("bearer abc", "abc"),
            ("BEARER abc", "abc"),
            ("bEaReR   abc", "abc"),
            ("Bearer a.b-c_d~e+f/g==", "a.b-c_d~e+f/g=="),
            ("Bearer Bearer", "Bearer"),
        ] {
            assert_eq!(bearer_token(Some(value)), Ok(token), "{value}");
        }
    }

    #[test]
    fn a_request_has_one_authorization_header_of_visible_ascii() {
        assert_eq!(single_value(Vec::<&str>::new()), Ok(None));
        assert_eq!(single_value(["Bearer abc"]), Ok(Some("Bearer abc".to_owned())));
        for values in [&[&b"Bearer abc"[..], b"Bearer abc"][..], &[b"Basic YTpi", b"Bearer abc"], &[b"Bearer a\xff"]] {
            assert_eq!(single_value(values), Err(TokenErrorKind::Malformed), "{values:?}");
        }
        for value in ["Bearer \u{e4}", "Bearer a\0", "Bearer a\r\nX: y", "\u{7f}"] {
            assert_eq!(single_value([value]), Err(TokenErrorKind::Malformed), "{value:?}");
        }
    }

    #[test]
    fn no_header_and_another_scheme_are_no_token() {
        assert_eq!(bearer_token(None), Err(TokenErrorKind::MissingToken));
        for value in [
            "",
            " ",
            " Bearer abc",
            "Basic abc",
            "Bearerabc",
            "Bearer\tabc",
            "Bearer,abc",
            "DPoP abc",
            "Beare r",
            "Bearer: abc",
        ] {
            assert_eq!(bearer_token(Some(value)), Err(TokenErrorKind::MissingToken), "{value:?}");
        }
    }

    #[test]
    fn a_bearer_header_without_a_token_by_the_grammar_is_malformed() {
        for value in [
            "Bearer",
            "Bearer ",
            "bearer  ",
            "Bearer =",
            "Bearer a b",
            "Bearer abc ",
            "Bearer a,b",
            "Bearer \"abc\"",
            "Bearer a=b",
            "Bearer \tabc",
            "Bearer abc\n",
            "Bearer äbc",
            "Bearer a\0b",
        ] {
            assert_eq!(bearer_token(Some(value)), Err(TokenErrorKind::Malformed), "{value:?}");
        }
    }
}
