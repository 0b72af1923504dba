//! What the token endpoint answers (RFC 6749 §5.1).

use std::time::Duration;

use zeroize::Zeroizing;

use crate::error::{Detail, Endpoint, Error};
use crate::jose::base64url;
use crate::json::{Number, Object};
use crate::m2m::token::AccessToken;
use crate::time::Now;

/// A token fresh from the issuer.
pub(crate) struct Minted {
    pub(crate) token: AccessToken,
    /// How long it lives from the moment of asking; `None` if it is not to be cached.
    pub(crate) lifetime: Option<Duration>,
}

/// What counts where the answer is silent.
#[derive(Clone, Copy)]
pub(crate) struct Requested<'a> {
    pub(crate) scope: Option<&'a str>,
    pub(crate) at: Now,
    pub(crate) default_lifetime: Option<Duration>,
}

/// Reads the answer to a request.
pub(crate) fn parse_response(text: &str, requested: Requested<'_>) -> Result<Minted, Error> {
    let object = Object::parse_secret(text).map_err(|_| Error::invalid_response(Endpoint::Token, Detail::NotJson))?;
    let string = |name| object.string(name).map_err(|_| wrong(name));
    let token = string("access_token")?.filter(|token| is_header_text(token)).ok_or_else(|| wrong("access_token"))?;
    if !string("token_type")?.is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")) {
        return Err(wrong("token_type"));
    }
    let lifetime = match expires_in(&object)? {
        Some(lifetime) => Some(lifetime),
        None => own_lifetime(token, requested.at).or(requested.default_lifetime),
    };
    let lifetime = lifetime.filter(|lifetime| !lifetime.is_zero());
    let expires_at = lifetime.and_then(|lifetime| requested.at.wall?.checked_add(lifetime));
    let scope = string("scope")?.or(requested.scope).map(str::to_owned);
    Ok(Minted { token: AccessToken::new(token, scope, expires_at), lifetime })
}

fn wrong(member: &'static str) -> Error {
    Error::invalid_response(Endpoint::Token, Detail::Member(member))
}

/// RFC 6750 §2.1 would allow less; what can stand in a header by itself is enough for us.
pub(crate) fn is_header_text(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A number of seconds, or, as some issuers write it, a string of digits. What is beyond every clock is for ever.
fn expires_in(object: &Object) -> Result<Option<Duration>, Error> {
    let Some(element) = object.members().get("expires_in") else { return Ok(None) };
    let lifetime = match (element.as_number(), element.as_str()) {
        (Some(number), _) => number.as_seconds(),
        (_, Some(digits)) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse().map_or(Duration::MAX, Duration::from_secs))
        }
        _ => None,
    };
    lifetime.map(Some).ok_or_else(|| wrong("expires_in"))
}

/// What is left of a JWT's life by its own `exp`; `None` if that cannot be told. It is unverified and decides on caching only: the
/// resource server verifies the token. While the wall clock is not set, `iat` takes its place.
fn own_lifetime(token: &str, asked: Now) -> Option<Duration> {
    let mut parts = token.split('.');
    let (_, payload, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else { return None };
    let mut decoded = Zeroizing::new(Vec::with_capacity(payload.len()));
    base64url::append(payload, &mut decoded)?;
    let claims = Object::parse_secret(std::str::from_utf8(&decoded).ok()?).ok()?;
    let date = |name| claims.number(name).ok().flatten().and_then(Number::as_seconds);
    let now = match asked.wall {
        Some(wall) => wall.duration_since(std::time::UNIX_EPOCH).ok()?,
        None => date("iat")?,
    };
    Some(date("exp")?.saturating_sub(now))
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn at(wall: u64) -> Now {
        Now::new(UNIX_EPOCH + Duration::from_secs(wall), Duration::from_secs(5))
    }

    fn requested(scope: Option<&str>, at: Now) -> Requested<'_> {
        Requested { scope, at, default_lifetime: None }
    }

    fn answer(members: &str) -> Result<Minted, Error> {
        parse_response(
            &format!(r#"{{"access_token":"t","token_type":"Bearer"{members}}}"#),
            requested(Some("asked"), at(NOW)),
        )
    }

    fn lifetime(members: &str) -> Option<Duration> {
        answer(members).unwrap().lifetime
    }

    fn refused(text: &str) -> String {
        parse_response(text, requested(None, at(NOW))).map(|_| ()).unwrap_err().to_string()
    }

    fn jwt(claims: &str) -> String {
        use base64::engine::{Engine, general_purpose::URL_SAFE_NO_PAD};
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    fn jwt_lifetime(claims: &str, wall: u64) -> Option<Duration> {
        let text = format!(r#"{{"access_token":"{}","token_type":"bearer"}}"#, jwt(claims));
        parse_response(&text, requested(None, at(wall))).unwrap().lifetime
    }

    #[test]
    fn expires_in_is_a_number_not_below_zero_or_a_string_of_digits() {
        for (value, seconds) in [
            ("3600", 3_600.0),
            ("3600.0", 3_600.0),
            ("3599.5", 3_599.5),
            ("36e2", 3_600.0),
            ("1", 1.0),
            (r#""3600""#, 3_600.0),
            (r#""007""#, 7.0),
        ] {
            assert_eq!(
                lifetime(&format!(r#","expires_in":{value}"#)),
                Some(Duration::from_secs_f64(seconds)),
                "{value}"
            );
        }
        for value in
            ["-1", "-0.5", "true", "[]", "{}", r#""""#, r#""-1""#, r#""+1""#, r#"" 1""#, r#""1.5""#, r#""1e3""#]
        {
            let err = answer(&format!(r#","expires_in":{value}"#)).map(|_| ()).unwrap_err().to_string();
            assert_eq!(
                err, "token endpoint: the answer is invalid: the member expires_in is missing or wrong",
                "{value}"
            );
        }
    }

    #[test]
    fn a_lifetime_of_nothing_is_not_cached() {
        for value in ["0", "0.0", "-0", r#""0""#] {
            let minted = answer(&format!(r#","expires_in":{value}"#)).unwrap();
            assert_eq!(minted.lifetime, None, "{value}");
            assert_eq!(minted.token.expires_at(), None);
        }
        assert_eq!(lifetime(""), None);
    }

    #[test]
    fn a_lifetime_beyond_every_clock_is_for_ever() {
        let max = u64::MAX.to_string();
        for value in
            ["1e300", "18446744073709551616", &max, &format!(r#""{max}0""#), &format!(r#""{}""#, "9".repeat(400))]
        {
            let minted = answer(&format!(r#","expires_in":{value}"#)).unwrap();
            assert!(minted.lifetime.unwrap() >= Duration::from_secs(1 << 62), "{value}");
            assert_eq!(minted.token.expires_at(), None);
        }
        // No double holds it, so it is no number that anybody can have meant.
        assert!(answer(r#","expires_in":1e400"#).is_err());
    }

    #[test]
    fn without_expires_in_the_jwt_says_itself_when_it_expires() {
        let exp = NOW + 600;
        assert_eq!(jwt_lifetime(&format!(r#"{{"exp":{exp}}}"#), NOW), Some(Duration::from_secs(600)));
        assert_eq!(jwt_lifetime(&format!(r#"{{"exp":{exp}.5}}"#), NOW), Some(Duration::from_millis(600_500)));
        for claims in
            ["{}", r#"{"exp":"1800000600"}"#, r#"{"exp":-1}"#, r#"{"exp":1800000000}"#, r#"{"exp":5}"#, "[]", "x"]
        {
            assert_eq!(jwt_lifetime(claims, NOW), None, "{claims}");
        }
        assert!(jwt_lifetime(r#"{"exp":1e300}"#, NOW).is_some());
    }

    #[test]
    fn while_the_wall_clock_is_not_set_a_jwt_lives_from_iat_to_exp() {
        let claims = format!(r#"{{"iat":{NOW},"exp":{}}}"#, NOW + 600);
        assert_eq!(jwt_lifetime(&claims, 0), Some(Duration::from_secs(600)));
        assert_eq!(jwt_lifetime(&format!(r#"{{"exp":{NOW}}}"#), 0), None);
        let minted =
            parse_response(r#"{"access_token":"t","token_type":"Bearer","expires_in":60}"#, requested(None, at(0)))
                .unwrap();
        assert_eq!((minted.lifetime, minted.token.expires_at()), (Some(Duration::from_secs(60)), None));
    }

    #[test]
    fn the_default_lifetime_counts_only_where_the_issuer_tells_no_expiry() {
        let lifetime = |token: &str, members: &str| {
            let text = format!(r#"{{"access_token":"{token}","token_type":"Bearer"{members}}}"#);
            let default_lifetime = Some(Duration::from_secs(900));
            parse_response(&text, Requested { default_lifetime, ..requested(None, at(NOW)) }).unwrap().lifetime
        };
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(lifetime("opaque", ""), seconds(900));
        assert_eq!(lifetime(&jwt("{}"), ""), seconds(900));
        assert_eq!(lifetime("opaque", r#","expires_in":60"#), seconds(60));
        assert_eq!(lifetime("opaque", r#","expires_in":0"#), None);
        assert_eq!(lifetime(&jwt(&format!(r#"{{"exp":{}}}"#, NOW + 30)), ""), seconds(30));
        assert_eq!(lifetime(&jwt(&format!(r#"{{"exp":{}}}"#, NOW - 30)), ""), None, "it is over by its own word");
    }

    #[test]
    fn the_token_is_printable_and_of_type_bearer() {
        for text in [
            r#"{"access_token":"t"}"#,
            r#"{"access_token":"t","token_type":"DPoP"}"#,
            r#"{"access_token":"t","token_type":""}"#,
            r#"{"access_token":"t","token_type":null}"#,
            r#"{"access_token":"t","token_type":"Bearer "}"#,
        ] {
            assert!(refused(text).ends_with("the member token_type is missing or wrong"), "{text}");
        }
        for token in [r#""""#, r#""a b""#, r#""a\n""#, r#""caf\u00e9""#, r#""\u007f""#, "null", "1", r#"["t"]"#] {
            let text = format!(r#"{{"access_token":{token},"token_type":"Bearer"}}"#);
            assert!(refused(&text).ends_with("the member access_token is missing or wrong"), "{text}");
        }
        assert!(refused(r#"{"token_type":"Bearer"}"#).ends_with("the member access_token is missing or wrong"));
        for kind in ["Bearer", "bearer", "BEARER"] {
            assert!(
                parse_response(&format!(r#"{{"access_token":"t","token_type":"{kind}"}}"#), requested(None, at(NOW)))
                    .is_ok()
            );
        }
    }

    #[test]
    fn what_is_no_strict_json_object_is_refused() {
        for text in ["", "<html>", "[]", r#"{"access_token":"t","token_type":"Bearer""#] {
            assert!(refused(text).contains("not a JSON object"), "{text}");
        }
        assert!(answer(r#","expires_in":1,"expires_in":2"#).is_err());
        assert!(answer(r#","scope":["a"]"#).is_err());
    }

    #[test]
    fn the_scope_is_the_granted_one_or_where_the_answer_is_silent_the_one_asked_for() {
        assert_eq!(answer(r#","scope":"granted""#).unwrap().token.scope(), Some("granted"));
        assert_eq!(answer("").unwrap().token.scope(), Some("asked"));
    }

    #[test]
    fn a_token_tells_when_it_expires_and_shows_nothing_of_itself() {
        let minted = parse_response(
            r#"{"access_token":"hunter2","token_type":"Bearer","expires_in":60,"scope":"hunter3"}"#,
            requested(None, at(NOW)),
        )
        .unwrap();
        assert_eq!(minted.token.expires_at(), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(NOW + 60)));
        assert_eq!(minted.token.expose_secret(), "hunter2");
        assert_eq!(minted.token.authorization_header().expose_secret(), "Bearer hunter2");
        assert!(!format!("{:?}", minted.token).contains("hunter"));
    }
}
