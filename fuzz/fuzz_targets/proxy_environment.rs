//! Oracle: a proxy is a host and a port that the crate `url` reads from the same text, and no text that comes back holds a password. Three
//! lines: the proxy's URL, `no_proxy`, and the host.
#![no_main]

use aero2::fuzzing;
use libfuzzer_sys::fuzz_target;
use url::Url;

fuzz_target!(|text: &str| {
    let mut lines = text.splitn(3, '\n');
    let [proxy, no_proxy, host] = [(); 3].map(|()| lines.next().unwrap_or(""));
    let variables = [("https_proxy", proxy), ("no_proxy", no_proxy)];
    let found = fuzzing::proxy(&variables, true, host, 443);
    assert!(!proxy.is_empty() || found.is_none(), "a proxy out of nothing");
    assert!(no_proxy.trim() != "*" || found.is_none(), "everything is exempt");
    assert!(fuzzing::proxy(&variables, false, host, 80).is_none(), "the variable is for https");
    let password = proxy.split_once("://").map_or(proxy, |(_, rest)| rest).split_once('@').map(|(user, _)| user);
    match found {
        None => {}
        Some(Err(shown)) => {
            assert!(password.is_none_or(|password| password.len() < 16 || !shown.contains(password)), "{shown}");
        }
        Some(Ok((host, port))) => {
            let whole = if proxy.contains("://") { proxy.to_owned() } else { format!("http://{proxy}") };
            let url = Url::parse(&whole).expect("what is taken is a URL");
            assert_eq!(url.port_or_known_default(), Some(port));
            assert_eq!(url.host_str().map(str::to_lowercase).is_some(), !host.is_empty());
            assert!(matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none());
        }
    }
});
