//! A second reading of tokens and claims, straight from DESIGN's rules.

use std::time::Duration;

use crate::strict::{Json, Reading, get};
use crate::{NOW, base64url};

/// Names as in `TokenErrorKind`.
pub type Refusal = &'static str;

pub const ALGORITHMS: [&str; 10] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "Ed25519"];

pub struct Token {
    pub signing_input: String,
    pub algorithm: String,
    pub kid: Option<String>,
    pub typ: Option<String>,
    pub payload: Vec<u8>,
    pub signature: Vec<u8>,
}

/// `None` where serde_json cannot tell, see [`Reading::HugeNumber`].
pub fn token(text: &str) -> Option<Result<Token, Refusal>> {
    let parts: Vec<&str> = text.split('.').collect();
    let [header, payload, signature] = parts[..] else { return Some(Err("Malformed")) };
    let decoded = (base64url::decode(header), base64url::decode(payload), base64url::decode(signature));
    let (Some(json), Some(payload_bytes), Some(signature_bytes)) = decoded else { return Some(Err("Malformed")) };
    if signature.is_empty() {
        return Some(Err("Malformed"));
    }
    let Ok(json) = String::from_utf8(json) else { return Some(Err("Malformed")) };
    let members = match Reading::of(&json) {
        Reading::Object(members) => members,
        Reading::Bad => return Some(Err("Malformed")),
        Reading::HugeNumber => return None,
    };
    let text_of =
        |name| get(&members, name).map(|value| value.text().map(str::to_owned).ok_or("Malformed")).transpose();
    Some((|| {
        let (algorithm, kid, typ) = (text_of("alg")?.ok_or("Malformed")?, text_of("kid")?, text_of("typ")?);
        if get(&members, "crit").is_some() {
            return Err("CriticalHeader");
        }
        if !ALGORITHMS.contains(&algorithm.as_str()) {
            return Err("UnsupportedAlgorithm");
        }
        let signing_input = format!("{header}.{payload}");
        Ok(Token { signing_input, algorithm, kid, typ, payload: payload_bytes, signature: signature_bytes })
    })())
}

#[derive(Debug, Default)]
pub struct Claims {
    /// `iss`, `sub`, `jti`, `client_id`, `token_use`.
    pub texts: [Option<String>; 5],
    /// `exp`, `nbf`, `iat`.
    pub dates: [Option<Duration>; 3],
    pub audience: Option<Vec<String>>,
    pub scopes: Vec<String>,
    pub bound: bool,
}

/// The allowed difference of fractions: serde_json reads the nearest double, aero2 the digits down to a nanosecond. So dates agree
/// to one part in 10^15, and within a millisecond of a limit nothing is said, nor where the double is -0, since what is written may
/// be below zero.
fn has_borderline_date(members: &[(String, Json)]) -> bool {
    let limits = [NOW as f64, NOW as f64 - 30.0, NOW as f64 + 30.0, LAST as f64];
    ["exp", "nbf", "iat"].iter().filter_map(|name| get(members, name)).any(|value| match value {
        Json::Float(seconds) => value.is_minus_zero() || limits.iter().any(|limit| (seconds - limit).abs() < 1e-3),
        _ => false,
    })
}

pub fn is_same_date(ours: Option<Duration>, theirs: Option<Duration>) -> bool {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => ours.abs_diff(theirs).as_secs_f64() <= theirs.as_secs_f64() * 1e-15 + 1e-9,
        (ours, theirs) => ours == theirs,
    }
}

/// `None` for the allowed differences.
pub fn claims(text: &str) -> Option<Result<Claims, Refusal>> {
    match Reading::of(text) {
        Reading::Object(members) if has_borderline_date(&members) => None,
        Reading::Object(members) => Some(typed(&members).ok_or("InvalidClaim")),
        Reading::Bad => Some(Err("Malformed")),
        Reading::HugeNumber => None,
    }
}

fn typed(members: &[(String, Json)]) -> Option<Claims> {
    let mut claims = Claims { bound: get(members, "cnf").is_some(), ..Claims::default() };
    for (slot, name) in claims.texts.iter_mut().zip(["iss", "sub", "jti", "client_id", "token_use"]) {
        if let Some(value) = get(members, name) {
            *slot = Some(value.text()?.to_owned());
        }
    }
    for (slot, name) in claims.dates.iter_mut().zip(["exp", "nbf", "iat"]) {
        if let Some(value) = get(members, name) {
            *slot = Some(date(value)?);
        }
    }
    let list = |name| match get(members, name) {
        None => Some(None),
        Some(Json::Text(text)) => Some(Some(vec![text.clone()])),
        Some(value) => value.texts().map(Some),
    };
    claims.audience = list("aud")?;
    if claims.audience.as_ref().is_some_and(Vec::is_empty) {
        return None;
    }
    let (scope, scp) = (list("scope")?, list("scp")?);
    let name = if scope.is_some() { "scope" } else { "scp" };
    let listed = scope.or(scp).unwrap_or_default();
    claims.scopes = match get(members, name) {
        Some(Json::Text(text)) => text.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect(),
        _ => listed.into_iter().filter(|scope| !scope.is_empty()).collect(),
    };
    Some(claims)
}

/// 0 to 9999-12-31T23:59:59, a fraction allowed.
fn date(value: &Json) -> Option<Duration> {
    match value {
        Json::Unsigned(seconds) if *seconds <= LAST => Some(Duration::from_secs(*seconds)),
        Json::Float(seconds) if (0.0..=LAST as f64).contains(seconds) => Some(Duration::from_secs_f64(*seconds)),
        _ => None,
    }
}

/// 9999-12-31T23:59:59Z.
const LAST: u64 = 253_402_300_799;

/// Whether a resource server for that issuer and audience with the required scope `read` and 30 s of tolerance takes these claims at
/// that second: every rule of claims, in any order.
pub fn is_acceptable(claims: &Claims, issuer: &str, audience: &str, now: u64) -> bool {
    let now = Duration::from_secs(now);
    let tolerance = Duration::from_secs(30);
    let [iss, _, _, _, token_use] = &claims.texts;
    let [exp, nbf, iat] = &claims.dates;
    iss.as_deref() == Some(issuer)
        && exp.is_some_and(|exp| exp + tolerance > now)
        && nbf.is_none_or(|nbf| nbf <= now + tolerance)
        && iat.is_none_or(|iat| iat <= now + tolerance)
        && claims.audience.as_ref().is_some_and(|audiences| audiences.iter().any(|other| other == audience))
        && token_use.as_deref().is_none_or(|used| used == "access")
        && claims.scopes.iter().any(|scope| scope == "read")
        && !claims.bound
}
