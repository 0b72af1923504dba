//! The issuer's URL and the endpoints that it may name: what is a URL for us, and where secrets may go.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::error::{ConfigProblem, Error};

/// An issuer URL that was found good: `https`, or plain `http` on loopback (or where the caller insisted).
///
/// The scheme is taken in lower case only, and nothing is normalized: the text is compared byte for byte with `iss` claims and with
/// the discovery document (OIDC Discovery §4.3), so another spelling of the same URL could never match anyway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IssuerUrl {
    text: String,
    /// Where the path starts, or the end.
    path: usize,
    origin: Origin,
    allow_http: bool,
}

impl IssuerUrl {
    /// `allow_http` lets plain `http` leave this machine.
    pub(crate) fn parse(text: &str, allow_http: bool) -> Result<Self, Error> {
        let url = Url::parse(text).map_err(|problem| Error::config(problem.into()))?;
        if url.query || url.fragment {
            return Err(Error::config(ConfigProblem::IssuerQuery));
        }
        match url.scheme {
            "https" => {}
            "http" if url.loopback || allow_http => {}
            "http" => return Err(Error::config(ConfigProblem::IssuerPlainHttp)),
            _ => return Err(Error::config(ConfigProblem::IssuerScheme)),
        }
        Ok(Self { text: text.to_owned(), path: url.path, origin: url.origin(), allow_http })
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether plain `http` may leave this machine.
    pub(crate) fn allows_http(&self) -> bool {
        self.allow_http
    }

    /// The text as it was configured, byte for byte.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// OIDC Discovery §4.1: a terminating slash is removed before appending.
    pub(crate) fn discovery_url(&self) -> String {
        self.default_endpoint("/.well-known/openid-configuration")
    }

    /// RFC 8414 §3.1: the well-known part is put between host and path; a terminating slash is removed.
    pub(crate) fn oauth_metadata_url(&self) -> String {
        let (origin, path) = self.text.split_at_checked(self.path).unwrap_or((&self.text, ""));
        format!("{origin}/.well-known/oauth-authorization-server{}", path.strip_suffix('/').unwrap_or(path))
    }

    /// The endpoint at `path`, which starts with a slash, below the issuer.
    pub(crate) fn default_endpoint(&self, path: &str) -> String {
        format!("{}{path}", self.text.strip_suffix('/').unwrap_or(&self.text))
    }

    /// Whether keys may be read from, and secrets sent to, this URL of the issuer's discovery document. `https` always (a query is
    /// fine there, RFC 6749 §3.1); plain `http` only if the issuer itself is plain `http`, and then under the issuer's own rule. An `https`
    /// issuer never leads to `http`, not even on loopback, whatever the caller allowed.
    pub(crate) fn check_endpoint(&self, url: &str) -> bool {
        match Url::parse(url) {
            Ok(url) if url.fragment => false,
            Ok(Url { scheme: "https", .. }) => true,
            Ok(Url { scheme: "http", loopback, .. }) => !self.origin.https && (loopback || self.allow_http),
            Ok(_) | Err(_) => false,
        }
    }
}

/// Scheme, host and port of a URL. Two are equal if the scheme, the host in lower case and the port in effect are.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    text: String,
    https: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// A URL that is nothing but an origin, by `https` or `http`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok().filter(|url| url.path == text.len() && is_http(url.scheme))?;
        Some(url.origin())
    }

    /// As it was written, without a slash at the end.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// `https`, or plain `http` to loopback.
    pub(crate) fn is_private(&self) -> bool {
        self.https || is_loopback(&self.host)
    }
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        (self.https, &self.host, self.port) == (other.https, &other.host, other.port)
    }
}

impl Eq for Origin {}

/// A URL that the program gave: `https`, or plain `http` on loopback or with `allow_http`; without user information and fragment.
pub(crate) fn is_good_address(text: &str, allow_http: bool) -> bool {
    Url::parse(text).is_ok_and(|url| {
        let origin = url.origin();
        is_http(url.scheme) && !url.fragment && (origin.is_private() || allow_http)
    })
}

fn is_http(scheme: &str) -> bool {
    ["https", "http"].contains(&scheme)
}

/// An absolute URL of the subset of RFC 3986 that is used here: scheme, host, port, path and query; no user information.
pub(crate) struct Url<'a> {
    text: &'a str,
    scheme: &'a str,
    host: &'a str,
    port: Option<u16>,
    loopback: bool,
    /// Where the path starts in the text.
    path: usize,
    query: bool,
    fragment: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UrlProblem {
    Character,
    NotAbsolute,
    UserInfo,
    Host,
}

impl<'a> Url<'a> {
    /// Everything that another parser might read differently (a backslash, an encoded host, `127.1`) is refused, so that what was
    /// checked here is what the transport connects to.
    pub(crate) fn parse(text: &'a str) -> Result<Self, UrlProblem> {
        if !text.bytes().all(is_url_byte) || !percents_are_whole(text) {
            return Err(UrlProblem::Character);
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlProblem::NotAbsolute)?;
        if !is_scheme(scheme) {
            return Err(UrlProblem::NotAbsolute);
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at_checked(end).ok_or(UrlProblem::Host)?;
        if authority.contains('@') {
            return Err(UrlProblem::UserInfo);
        }
        let (before_fragment, fragment) = rest.split_once('#').map_or((rest, false), |(before, _)| (before, true));
        let (host, port) = split_authority(authority).ok_or(UrlProblem::Host)?;
        Ok(Self {
            text,
            scheme,
            host,
            port,
            loopback: is_loopback(host),
            path: text.len() - rest.len(),
            query: before_fragment.contains('?'),
            fragment,
        })
    }

    pub(crate) fn origin(&self) -> Origin {
        let https = self.scheme == "https";
        Origin {
            text: self.text.get(..self.path).unwrap_or(self.text).to_owned(),
            https,
            host: self.host.to_ascii_lowercase(),
            port: self.port.unwrap_or(if https { 443 } else { 80 }),
        }
    }

    /// Host and port, as they are written.
    pub(crate) fn authority(&self) -> &'a str {
        self.text.get(..self.path).and_then(|origin| origin.split_once("://")).map_or("", |(_, authority)| authority)
    }

    /// Path and query.
    pub(crate) fn after_origin(&self) -> &str {
        self.text.get(self.path..).unwrap_or_default()
    }

    pub(crate) fn has_fragment(&self) -> bool {
        self.fragment
    }
}

impl From<UrlProblem> for ConfigProblem {
    fn from(problem: UrlProblem) -> Self {
        match problem {
            UrlProblem::Character => Self::IssuerCharacter,
            UrlProblem::NotAbsolute => Self::IssuerNotAbsolute,
            UrlProblem::UserInfo => Self::IssuerUserInfo,
            UrlProblem::Host => Self::IssuerHost,
        }
    }
}

/// The characters of RFC 3986 §2: unreserved, reserved and the percent sign. Not among them: white space, controls, non-ASCII, the backslash.
fn is_url_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte)
}

pub(crate) fn percents_are_whole(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| {
        let mut bytes = rest.bytes();
        bytes.next().is_some_and(|b| b.is_ascii_hexdigit()) && bytes.next().is_some_and(|b| b.is_ascii_hexdigit())
    })
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

/// Host and port of an authority without user information, if they are valid.
pub(crate) fn split_authority(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']')?.checked_add(2)?;
            authority.split_at_checked(end)?
        }
        None => authority.split_at_checked(authority.find(':').unwrap_or(authority.len()))?,
    };
    let port = match port.strip_prefix(':') {
        Some(digits) => Some(port_number(digits)?),
        None if port.is_empty() => None,
        None => return None,
    };
    is_host(host).then_some((host, port))
}

fn port_number(digits: &str) -> Option<u16> {
    let digits = digits.bytes().all(|b| b.is_ascii_digit()).then_some(digits)?;
    digits.parse().ok().filter(|port| *port != 0)
}

fn is_host(host: &str) -> bool {
    if let Some(address) = bracketed(host) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    if host.len() > MAX_HOST || !name.split('.').all(label) {
        return false;
    }
    // Resolvers read `127.1`, `0x7f.1` and `2130706433` as addresses; only the dotted form is unmistakable.
    let last = name.rsplit('.').next().unwrap_or(name);
    let numeric = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x") || last.starts_with("0X");
    !numeric || host.parse::<Ipv4Addr>().is_ok()
}

/// `localhost`, `127.0.0.0/8` and `::1` (RFC 6761 §6.3, RFC 1122 §3.2.1.3, RFC 4291 §2.5.3).
pub(crate) fn is_loopback(host: &str) -> bool {
    match bracketed(host) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok_and(|a| a.is_loopback()),
        None => host.eq_ignore_ascii_case("localhost") || host.parse::<Ipv4Addr>().is_ok_and(|a| a.is_loopback()),
    }
}

fn bracketed(host: &str) -> Option<&str> {
    host.strip_prefix('[')?.strip_suffix(']')
}

/// RFC 1035 §2.3.4.
const MAX_LABEL: usize = 63;
const MAX_HOST: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer(text: &str) -> IssuerUrl {
        IssuerUrl::parse(text, false).unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn good_issuers_are_taken_byte_for_byte() {
        for text in [
            "https://acme.aero2.dev",
            "https://acme.aero2.dev/",
            "https://ACME.aero2.dev:8443/Tenant/a%2Fb/",
            "https://acme.aero2.dev.",
            "https://xn--bcher-kva.example/a;b=1,2/~x",
            "https://my_service/@user",
            "https://10.0.0.1:65535",
            "https://[2001:db8::1]:443/x",
            "http://localhost",
            "http://LocalHost:8080/",
            "http://127.0.0.1:1/x",
            "http://127.255.255.254",
            "http://[::1]:8080",
            "http://[0:0:0:0:0:0:0:1]",
        ] {
            assert_eq!(issuer(text).as_str(), text);
        }
    }

    use ConfigProblem as P;

    const BAD_ISSUERS: &[(&str, P)] = &[
        ("", P::IssuerNotAbsolute),
        ("acme.aero2.dev", P::IssuerNotAbsolute),
        ("//acme.aero2.dev", P::IssuerNotAbsolute),
        ("/oauth2", P::IssuerNotAbsolute),
        ("https:", P::IssuerNotAbsolute),
        ("https:/acme.aero2.dev", P::IssuerNotAbsolute),
        ("https:acme.aero2.dev", P::IssuerNotAbsolute),
        ("://acme.aero2.dev", P::IssuerNotAbsolute),
        ("1https://acme.aero2.dev", P::IssuerNotAbsolute),
        ("acme.aero2.dev/https://x", P::IssuerNotAbsolute),
        ("ftp://acme.aero2.dev", P::IssuerScheme),
        ("HTTPS://acme.aero2.dev", P::IssuerScheme),
        ("Http://localhost", P::IssuerScheme),
        ("httpss://acme.aero2.dev", P::IssuerScheme),
        ("http://acme.aero2.dev", P::IssuerPlainHttp),
        ("http://localhost.example", P::IssuerPlainHttp),
        ("http://localhost.", P::IssuerPlainHttp),
        ("http://a.localhost", P::IssuerPlainHttp),
        ("http://127.0.0.1.example", P::IssuerPlainHttp),
        ("http://128.0.0.1", P::IssuerPlainHttp),
        ("http://0.0.0.0", P::IssuerPlainHttp),
        ("http://[::2]", P::IssuerPlainHttp),
        ("http://[::]", P::IssuerPlainHttp),
        ("http://[::ffff:127.0.0.1]", P::IssuerPlainHttp),
        ("https://user@acme.aero2.dev", P::IssuerUserInfo),
        ("https://user:pw@acme.aero2.dev", P::IssuerUserInfo),
        ("https://@acme.aero2.dev", P::IssuerUserInfo),
        ("http://localhost@evil.example", P::IssuerUserInfo),
        ("https://acme.aero2.dev?", P::IssuerQuery),
        ("https://acme.aero2.dev/?a=b", P::IssuerQuery),
        ("https://acme.aero2.dev#", P::IssuerQuery),
        ("https://acme.aero2.dev/x#y?z", P::IssuerQuery),
        ("https://", P::IssuerHost),
        ("https:///oauth2", P::IssuerHost),
        ("https://:443", P::IssuerHost),
        ("https://.", P::IssuerHost),
        ("https://acme..dev", P::IssuerHost),
        ("https://.acme.dev", P::IssuerHost),
        ("https://acme.aero2.dev:", P::IssuerHost),
        ("https://acme.aero2.dev:0", P::IssuerHost),
        ("https://acme.aero2.dev:65536", P::IssuerHost),
        ("https://acme.aero2.dev:+443", P::IssuerHost),
        ("https://acme.aero2.dev:443:443", P::IssuerHost),
        ("https://acme.aero2.dev:https", P::IssuerHost),
        ("https://acme%2Eaero2.dev", P::IssuerHost),
        ("https://acme,dev", P::IssuerHost),
        ("http://127.1", P::IssuerHost),
        ("http://2130706433", P::IssuerHost),
        ("http://0x7f.0.0.1", P::IssuerHost),
        ("http://0x7f000001", P::IssuerHost),
        ("http://127.0.0.01", P::IssuerHost),
        ("http://127.0.0.1.", P::IssuerHost),
        ("https://[::1", P::IssuerHost),
        ("https://[::1]x", P::IssuerHost),
        ("https://[]", P::IssuerHost),
        ("https://[127.0.0.1]", P::IssuerHost),
        ("https://[fe80::1%25eth0]", P::IssuerHost),
        ("https://::1", P::IssuerHost),
        (" https://acme.aero2.dev", P::IssuerCharacter),
        ("https://acme.aero2.dev\n", P::IssuerCharacter),
        ("https://acme.aero2.dev/a b", P::IssuerCharacter),
        ("https://acme.aero2.dev/\u{0}", P::IssuerCharacter),
        ("https://b\u{fc}cher.example", P::IssuerCharacter),
        ("https://acme.aero2.dev/\u{200b}", P::IssuerCharacter),
        ("https://acme.aero2.dev\\@evil.example", P::IssuerCharacter),
        ("https:\\\\acme.aero2.dev", P::IssuerCharacter),
        ("https://acme.aero2.dev/\"", P::IssuerCharacter),
        ("https://acme.aero2.dev/{tenant}", P::IssuerCharacter),
        ("https://acme.aero2.dev/%", P::IssuerCharacter),
        ("https://acme.aero2.dev/%2", P::IssuerCharacter),
        ("https://acme.aero2.dev/%zz", P::IssuerCharacter),
    ];

    #[test]
    fn bad_issuers_are_refused_with_what_is_wrong() {
        for (text, problem) in BAD_ISSUERS {
            let error = IssuerUrl::parse(text, false).map(|_| ()).expect_err(text).to_string();
            assert_eq!(error, problem.to_string(), "{text:?}");
        }
    }

    #[test]
    fn hosts_and_labels_are_taken_up_to_their_limits() {
        let label = "a".repeat(63);
        assert!(IssuerUrl::parse(&format!("https://{label}.dev"), false).is_ok());
        assert!(IssuerUrl::parse(&format!("https://{label}a.dev"), false).is_err());
        let host = [&*label, &*label, &*label, &*label].join(".");
        assert!(IssuerUrl::parse(&format!("https://{host}"), false).is_ok());
        assert!(IssuerUrl::parse(&format!("https://{host}."), false).is_err());
    }

    #[test]
    fn plain_http_elsewhere_takes_the_dangerous_permission_and_nothing_else_does() {
        assert!(IssuerUrl::parse("http://acme.internal:8080", true).is_ok());
        assert!(IssuerUrl::parse("ftp://acme.internal", true).is_err());
        assert!(IssuerUrl::parse("http://user@acme.internal", true).is_err());
    }

    #[test]
    fn a_trailing_slash_is_dropped_before_appending() {
        for (text, discovery, oauth) in [
            (
                "https://a.dev",
                "https://a.dev/.well-known/openid-configuration",
                "https://a.dev/.well-known/oauth-authorization-server",
            ),
            (
                "https://a.dev/",
                "https://a.dev/.well-known/openid-configuration",
                "https://a.dev/.well-known/oauth-authorization-server",
            ),
            (
                "https://a.dev:8443/t/x",
                "https://a.dev:8443/t/x/.well-known/openid-configuration",
                "https://a.dev:8443/.well-known/oauth-authorization-server/t/x",
            ),
            (
                "https://[::1]:1/t/",
                "https://[::1]:1/t/.well-known/openid-configuration",
                "https://[::1]:1/.well-known/oauth-authorization-server/t",
            ),
        ] {
            let issuer = issuer(text);
            assert_eq!(issuer.discovery_url(), discovery);
            assert_eq!(issuer.oauth_metadata_url(), oauth);
        }
        assert_eq!(issuer("https://a.dev/t/").default_endpoint("/oauth2/token"), "https://a.dev/t/oauth2/token");
    }

    #[test]
    fn endpoints_of_an_https_issuer_are_https() {
        let issuer = IssuerUrl::parse("https://acme.aero2.dev", true).unwrap();
        for (url, good) in [
            ("https://acme.aero2.dev/oauth2/token", true),
            ("https://other.example:8443/token?tenant=a&x=1", true),
            ("https://a.dev", true),
            ("https://localhost/token", true),
            ("http://acme.aero2.dev/token", false),
            ("http://localhost/token", false),
            ("http://127.0.0.1/token", false),
            ("HTTPS://acme.aero2.dev/token", false),
            ("ftp://acme.aero2.dev/token", false),
            ("file:///etc/passwd", false),
            ("javascript:alert(1)", false),
            ("//acme.aero2.dev/token", false),
            ("/oauth2/token", false),
            ("https:/acme.aero2.dev/token", false),
            ("https:acme.aero2.dev", false),
            ("https://acme.aero2.dev\\@evil.example/token", false),
            ("https://acme.aero2.dev/token#", false),
            ("https://acme.aero2.dev/token#x", false),
            ("https://user@acme.aero2.dev/token", false),
            ("https://user:pw@acme.aero2.dev/token", false),
            ("https://acme.aero2.dev/token ", false),
            ("\thttps://acme.aero2.dev/token", false),
            ("https://acme.aero2.dev/t\u{f6}ken", false),
            ("https://acme.aero2.dev/to\r\nken", false),
            ("https://", false),
            ("https://acme.aero2.dev:99999/", false),
            ("", false),
        ] {
            assert_eq!(issuer.check_endpoint(url), good, "{url:?}");
        }
    }

    #[test]
    fn endpoints_of_a_plain_http_issuer_keep_to_its_own_rule() {
        let (loopback, anywhere) = ("http://localhost:8080", "http://keycloak.internal");
        for (issuer, allow, url, good) in [
            (loopback, false, "http://127.0.0.1:9/keys", true),
            (loopback, false, "https://acme.aero2.dev/keys", true),
            (loopback, false, "http://keycloak.internal/keys", false),
            (loopback, true, "http://keycloak.internal/keys", true),
            (anywhere, true, "http://keycloak.internal/keys", true),
            (anywhere, true, "http://user@keycloak.internal/keys", false),
        ] {
            assert_eq!(IssuerUrl::parse(issuer, allow).unwrap().check_endpoint(url), good, "{issuer} {url}");
        }
    }
}
