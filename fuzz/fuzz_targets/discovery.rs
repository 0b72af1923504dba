//! Oracle: the second reading agrees on whether it is this issuer's document; each endpoint is the document's text byte for byte and
//! https, or Aero2's path where the document is silent.
#![no_main]

use aero2::fuzzing;
use aero2_fuzz::ISSUER;
use aero2_fuzz::strict::{Json, Reading, get};
use aero2_fuzz::urls::read;
use libfuzzer_sys::fuzz_target;

const ENDPOINTS: [(&str, &str); 4] = [
    ("jwks_uri", "/oauth2/jwks.json"),
    ("token_endpoint", "/oauth2/token"),
    ("introspection_endpoint", "/oauth2/introspect"),
    ("revocation_endpoint", "/oauth2/revoke"),
];
const METHODS: [&str; 3] = [
    "token_endpoint_auth_methods_supported",
    "introspection_endpoint_auth_methods_supported",
    "revocation_endpoint_auth_methods_supported",
];

fuzz_target!(|text: &str| {
    let ours = fuzzing::discovery(text, ISSUER);
    let members = match Reading::of(text) {
        Reading::Object(members) => members,
        Reading::Bad => return assert!(ours.is_err()),
        Reading::HugeNumber => return,
    };
    let named = get(&members, "issuer").and_then(Json::text) == Some(ISSUER);
    let texts = ENDPOINTS.iter().all(|(name, _)| get(&members, name).is_none_or(|url| url.text().is_some()));
    let lists = METHODS.iter().all(|name| get(&members, name).is_none_or(|list| list.texts().is_some()));
    assert_eq!(ours.is_ok(), named && texts && lists, "{:?}", ours.as_ref().err());
    let Ok(endpoints) = ours else { return };
    for ((name, default), endpoint) in ENDPOINTS.into_iter().zip(endpoints) {
        match (get(&members, name).and_then(Json::text), endpoint) {
            (None, endpoint) => assert_eq!(endpoint.unwrap(), format!("{ISSUER}{default}")),
            (Some(_), None) => {}
            (Some(named), Some(endpoint)) => {
                assert_eq!(named, endpoint);
                let Some(url) = read(named) else { continue };
                assert_eq!(url.scheme(), "https");
                assert!(url.fragment().is_none());
            }
        }
    }
});
