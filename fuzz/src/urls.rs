//! URLs as the crate `url` reads them.

use url::{Host, Url};

/// What aero2 took for a URL is one here too, with the very same host; `None` for the allowed difference: labels that begin with `xn--`
/// are letters like any others there, and `url` decodes them.
pub fn read(text: &str) -> Option<Url> {
    let authority = text.split_once("://")?.1;
    let authority = &authority[..authority.find(['/', '?', '#']).unwrap_or(authority.len())];
    if authority.to_ascii_lowercase().contains("xn--") {
        return None;
    }
    let url = Url::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert!(text.is_ascii() && url.username().is_empty() && url.password().is_none(), "{text}");
    let host = match authority
        .rfind(']')
        .map_or_else(|| authority.find(':'), |at| authority[at..].find(':').map(|n| at + n))
    {
        Some(colon) => &authority[..colon],
        None => authority,
    };
    match url.host().unwrap() {
        Host::Domain(name) => assert_eq!(name, host.to_ascii_lowercase()),
        Host::Ipv4(address) => assert_eq!(address.to_string(), host),
        Host::Ipv6(address) => assert_eq!(Ok(address), host.trim_matches(['[', ']']).parse()),
    }
    Some(url)
}
