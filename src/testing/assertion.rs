//! The assertions by which clients with a key show who they are (RFC 7523 §3).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::json::Object;
use crate::jose::{CompactJws, Jwk};

/// The `client_assertion_type` of a JWT.
pub(super) const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The client that an assertion says it is of.
pub(super) fn claimed_client(assertion: &str) -> Option<String> {
    claims(assertion)?.text("sub").map(str::to_owned)
}

/// The `jti` of an assertion of that client for this issuer (or its token endpoint) that the client's key signed and that is in force.
pub(super) fn verified(assertion: &str, key: &str, client_id: &str, issuer: &str, now: SystemTime) -> Option<String> {
    let key = Jwk::parse(key).ok()?.verification_key().ok()?;
    CompactJws::parse(assertion).ok()?.verify(&key).ok()?;
    let claims = claims(assertion)?;
    let for_us = claims.text("aud").is_some_and(|aud| aud == issuer || aud == format!("{issuer}/oauth2/token"));
    let own = [claims.text("iss"), claims.text("sub")] == [Some(client_id); 2];
    let expires = UNIX_EPOCH.checked_add(Duration::from_secs(claims.number("exp")?))?;
    let in_force = expires > now && expires.duration_since(now).is_ok_and(|left| left <= LONGEST_LIFE);
    claims.text("jti").filter(|_| for_us && own && in_force).map(str::to_owned)
}

fn claims(assertion: &str) -> Option<Object> {
    Object::of(assertion.split('.').nth(1)?)
}

/// RFC 7523 §3 lets an issuer refuse an `exp` that is unreasonably far ahead.
const LONGEST_LIFE: Duration = Duration::from_secs(300);
