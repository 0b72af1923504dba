//! Oracle: active only if the second reading finds `active: true`, well-typed claims, this issuer or none, and a present that lies
//! between `nbf` and `exp`; inactive only if it is said or one of these fails; all else is an error.
#![no_main]

use std::time::Duration;

use aero2::{Introspection, fuzzing};
use aero2_fuzz::strict::{Json, Reading, get};
use aero2_fuzz::{ISSUER, NOW, reference, wall};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let ours = fuzzing::introspection_response(body, ISSUER, wall());
    let Ok(text) = std::str::from_utf8(body) else { return assert!(ours.is_err()) };
    let members = match Reading::of(text) {
        Reading::Object(members) => members,
        Reading::Bad => return assert!(ours.is_err(), "a verdict out of what is no object"),
        Reading::HugeNumber => return,
    };
    let Some(Json::Bool(active)) = get(&members, "active") else { return assert!(ours.is_err()) };
    if !active {
        return assert!(matches!(ours, Ok(Introspection::Inactive)));
    }
    let texts = ["token_type", "username"].iter().all(|name| get(&members, name).is_none_or(|v| v.text().is_some()));
    let claims = match reference::claims(text) {
        Some(Ok(claims)) => claims,
        Some(Err(_)) => return assert!(ours.is_err()),
        None => return,
    };
    if !texts {
        return assert!(ours.is_err());
    }
    let now = Duration::from_secs(NOW);
    let [exp, nbf, _] = claims.dates;
    let vouched = claims.texts[0].as_deref().is_none_or(|iss| iss == ISSUER)
        && exp.is_none_or(|exp| exp > now)
        && nbf.is_none_or(|nbf| nbf <= now);
    match ours.expect("an answer") {
        Introspection::Active(info) => {
            assert!(vouched);
            assert_eq!(info.raw_json(), text);
            assert_eq!(info.subject(), claims.texts[1].as_deref());
            assert_eq!(info.audience(), claims.audience.as_deref());
            assert_eq!(info.token_type(), get(&members, "token_type").and_then(Json::text));
            assert_eq!(info.scopes().map(str::to_owned).collect::<Vec<_>>(), claims.scopes);
        }
        Introspection::Inactive => assert!(!vouched),
    }
});
