//! Oracle: what is taken for a URL is one by the crate `url` as well, with the very same host, and is https or loopback; nothing of it
//! is rewritten. Two lines: the issuer's URL, and that of an endpoint.
#![no_main]

use aero2::fuzzing;
use aero2_fuzz::urls::read;
use libfuzzer_sys::fuzz_target;
use url::{Host, Url};

fuzz_target!(|text: &str| {
    let (issuer, endpoint) = text.split_once('\n').unwrap_or((text, ""));
    for allow_http in [false, true] {
        let Some(ours) = fuzzing::issuer_url(issuer, allow_http, endpoint) else { continue };
        assert_eq!(ours.text, issuer);
        let bare = issuer.strip_suffix('/').unwrap_or(issuer);
        assert_eq!(ours.discovery, format!("{bare}/.well-known/openid-configuration"));
        assert!(issuer.starts_with("https://") || issuer.starts_with("http://"));
        let Some(url) = read(issuer) else { continue };
        assert!(url.query().is_none() && url.fragment().is_none());
        assert!(url.scheme() == "https" || allow_http || is_loopback(&url));
        let origin = ours.oauth_metadata.split("/.well-known/oauth-authorization-server").next().unwrap();
        assert!(issuer.starts_with(origin));
        if !ours.takes {
            continue;
        }
        let Some(other) = read(endpoint) else { continue };
        assert!(other.fragment().is_none());
        let plain = other.scheme() == "http";
        assert!(other.scheme() == "https" || plain);
        assert!(!plain || url.scheme() == "http", "an https issuer leads to http");
        assert!(!plain || allow_http || is_loopback(&other));
    }
});

fn is_loopback(url: &Url) -> bool {
    match url.host().unwrap() {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}
