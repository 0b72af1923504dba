//! A proxy's URL: `[http[s]://][user[:password]@]host[:port][/]` and nothing else.

use ureq::Proxy;

use crate::http::url::{percents_are_whole, split_authority};

/// An HTTP proxy that can be used.
pub(crate) struct ProxyAddress(Proxy);

/// A proxy that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnusableProxy {
    /// Host and port, if that much can be read.
    pub(crate) place: Option<String>,
}

impl ProxyAddress {
    pub(crate) fn parse(text: &str) -> Result<Self, UnusableProxy> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (user, place) = authority.split_once('@').map_or((None, authority), |(user, place)| (Some(user), place));
        let unusable = |place: Option<String>| UnusableProxy { place };
        if split_authority(place).is_none() || user.is_some_and(|user| !is_user(user)) {
            return Err(unusable(None));
        }
        if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return Err(unusable(Some(place.to_owned())));
        }
        let whole = format!("{}://{authority}", scheme.to_ascii_lowercase());
        Proxy::new(&whole).map(Self).map_err(|_| unusable(Some(place.to_owned())))
    }

    pub(crate) fn proxy(&self) -> &Proxy {
        &self.0
    }
}

/// Visible ASCII without what ends or begins another part of a URL, with whole percent-encodings.
fn is_user(text: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, b'!'..=b'~') && !b"@/?#[]\\".contains(&byte);
    !text.is_empty() && text.bytes().all(allowed) && percents_are_whole(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_proxy_url_is_read() {
        for (text, scheme, host, port, user, password) in [
            ("proxy", "HTTP", "proxy", 80, None, None),
            ("proxy:3128", "HTTP", "proxy", 3128, None, None),
            ("http://proxy.example/", "HTTP", "proxy.example", 80, None, None),
            ("HTTP://proxy.example", "HTTP", "proxy.example", 80, None, None),
            ("https://proxy.example", "HTTPS", "proxy.example", 443, None, None),
            ("https://10.0.0.1:8443/", "HTTPS", "10.0.0.1", 8443, None, None),
            ("http://[2001:db8::1]:3128", "HTTP", "[2001:db8::1]", 3128, None, None),
            ("u@proxy:1", "HTTP", "proxy", 1, Some("u"), None),
            ("http://svc:p%23w%40x@proxy:3128", "HTTP", "proxy", 3128, Some("svc"), Some("p#w@x")),
            ("http://u:a:b!$&'()*+,;=~@proxy", "HTTP", "proxy", 80, Some("u"), Some("a:b!$&'()*+,;=~")),
        ] {
            let address = ProxyAddress::parse(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
            let proxy = address.proxy();
            assert_eq!((proxy.host(), proxy.port()), (host, port), "{text}");
            assert_eq!((proxy.username(), proxy.password()), (user, password), "{text}");
            assert_eq!(proxy.protocol().to_string(), scheme, "{text}");
        }
    }

    #[test]
    fn all_else_is_no_proxy() {
        for text in [
            "",
            "/",
            "http://",
            "http:///",
            "http://:3128",
            "http://u:p@",
            "http://@proxy",
            "http://p:notaport",
            "http://p:0",
            "http://p:65536",
            "http://p:",
            "http://svc:p#w@proxy:3128",
            "http://svc:p/w@proxy:3128",
            "http://svc:p@w@proxy:3128",
            "http://svc:%zz@proxy:3128",
            "http://svc:%ff@proxy:3128",
            "http://proxy:3128/path",
            "http://proxy:3128//",
            "http://proxy:3128?x",
            "http://proxy:3128#x",
            "http://proxy:3128\n",
            " http://proxy:3128",
            "http://pro xy",
            "http://pr\u{f6}xy",
            "not a proxy",
            "http:proxy",
            "http:/proxy:3128",
            "://proxy",
            "http://http://proxy",
            "::1",
            "http://::1",
        ] {
            assert!(ProxyAddress::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_proxy_of_another_kind_is_named_by_host_and_port_alone() {
        for scheme in ["socks4", "socks5", "socks5h", "SOCKS5", "ftp", "file"] {
            let unusable = ProxyAddress::parse(&format!("{scheme}://user:hunter2@proxy.example:1080")).err().unwrap();
            assert_eq!(unusable.place.as_deref(), Some("proxy.example:1080"), "{scheme}");
        }
        for text in ["socks5://hunter2", "http://hunter2@p:x", "http://u:hunter2#@proxy"] {
            let unusable = ProxyAddress::parse(text).err().unwrap();
            assert!(unusable.place.is_none_or(|place| place == "hunter2"), "{text}: only a host is named");
        }
    }
}
