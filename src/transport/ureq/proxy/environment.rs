//! The proxy variables of the environment, by curl's rules: a pure function of the variables and the target.

use std::net::IpAddr;

use crate::transport::ureq::proxy::address::{ProxyAddress, UnusableProxy};

/// What the environment says of proxies.
pub(crate) struct ProxyEnvironment {
    https: Option<Variable>,
    http: Option<Variable>,
    exempt: Vec<Exempt>,
}

/// The first variable that counts, and the proxy that it names.
struct Variable {
    name: &'static str,
    proxy: Result<ProxyAddress, UnusableProxy>,
}

/// The way to a target.
pub(crate) enum Route<'a> {
    Direct,
    Proxy(&'a ProxyAddress),
    Unusable {
        variable: &'static str,
        /// Host and port, if that much can be read.
        place: Option<&'a str>,
    },
}

impl ProxyEnvironment {
    /// Reads the variables of this process.
    pub(crate) fn of_this_process() -> Self {
        let lossy = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        Self::read(lossy, cfg!(windows))
    }

    /// A variable that is set to nothing counts as not set, and the name in lower case comes first.
    ///
    /// A CGI program has the request's header `Proxy` in `HTTP_PROXY`, and `REQUEST_METHOD` beside it. On Windows the names have no case, so
    /// `http_proxy` is the same variable there.
    pub(crate) fn read(variable: impl Fn(&str) -> Option<String>, windows: bool) -> Self {
        let is_cgi = variable("REQUEST_METHOD").is_some();
        let http: &[&str] = match (is_cgi, windows) {
            (false, _) => &["http_proxy", "HTTP_PROXY"],
            (true, false) => &["http_proxy"],
            (true, true) => &[],
        };
        let first = |names: &[&'static str]| {
            names.iter().chain(&["all_proxy", "ALL_PROXY"]).find_map(|name| {
                let value = variable(name).filter(|value| !value.is_empty())?;
                Some(Variable { name, proxy: ProxyAddress::parse(&value) })
            })
        };
        let exempt = ["no_proxy", "NO_PROXY"].iter().find_map(|name| variable(name).filter(|value| !value.is_empty()));
        Self {
            https: first(&["https_proxy", "HTTPS_PROXY"]),
            http: first(http),
            exempt: exempt.map(|list| exemptions(&list)).unwrap_or_default(),
        }
    }

    /// `host` is as it stands in a URL, an IPv6 address in brackets.
    pub(crate) fn route(&self, https: bool, host: &str, port: u16) -> Route<'_> {
        let Some(variable) = (if https { &self.https } else { &self.http }) else { return Route::Direct };
        let host = bare(host);
        let address = host.parse().ok();
        if self.exempt.iter().any(|exempt| exempt.covers(host, address, port)) {
            return Route::Direct;
        }
        match &variable.proxy {
            Ok(proxy) => Route::Proxy(proxy),
            Err(unusable) => Route::Unusable { variable: variable.name, place: unusable.place.as_deref() },
        }
    }
}

/// One entry of `no_proxy`.
#[derive(Debug)]
enum Exempt {
    Everything,
    /// A domain with its subdomains.
    Domain(String, Option<u16>),
    Addresses(Network, Option<u16>),
}

impl Exempt {
    fn parse(entry: &str) -> Option<Self> {
        if let Some(network) = Network::parse(bare(entry)) {
            return Some(Self::Addresses(network, None));
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (entry, None),
        };
        if let Some(network) = Network::parse(bare(host)) {
            return Some(Self::Addresses(network, port));
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        let host = host.strip_prefix('.').unwrap_or(host);
        (!host.is_empty()).then(|| Self::Domain(host.to_ascii_lowercase(), port))
    }

    fn covers(&self, host: &str, address: Option<IpAddr>, port: u16) -> bool {
        let at = |of: &Option<u16>| of.is_none_or(|of| of == port);
        match (self, address) {
            (Self::Everything, _) => true,
            (Self::Addresses(network, of), Some(address)) => at(of) && network.contains(address),
            (Self::Domain(domain, of), None) => at(of) && is_within(host, domain),
            (Self::Addresses(..), None) | (Self::Domain(..), Some(_)) => false,
        }
    }
}

/// The entries of a list separated by commas or blanks. As in curl, a star counts only where it stands alone.
fn exemptions(list: &str) -> Vec<Exempt> {
    if list.trim() == "*" {
        return vec![Exempt::Everything];
    }
    list.split([',', ' ', '\t']).filter(|entry| !entry.is_empty()).filter_map(Exempt::parse).collect()
}

fn is_within(host: &str, domain: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// An address, or all that begin with the same bits.
#[derive(Debug)]
struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = bare(address).parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(most), |bits| bits.parse().ok())?;
        (bits <= most).then_some(Self { address, bits })
    }

    fn contains(&self, address: IpAddr) -> bool {
        let differing = match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => (ours.to_bits() ^ theirs.to_bits()).leading_zeros(),
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => (ours.to_bits() ^ theirs.to_bits()).leading_zeros(),
            _ => return false,
        };
        differing >= self.bits
    }
}

fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `direct`, the proxy's host, or `!` and the variable that is to blame.
    fn route(variables: &[(&str, &str)], windows: bool, url: &str) -> String {
        let find = |wanted: &str| {
            let same = |name: &str| if windows { name.eq_ignore_ascii_case(wanted) } else { name == wanted };
            variables.iter().find(|(name, _)| same(name)).map(|(_, value)| (*value).to_owned())
        };
        let uri: ureq::http::Uri = url.parse().unwrap();
        let https = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        match ProxyEnvironment::read(find, windows).route(https, uri.host().unwrap(), port) {
            Route::Direct => "direct".to_owned(),
            Route::Proxy(address) => address.proxy().host().to_owned(),
            Route::Unusable { variable, .. } => format!("!{variable}"),
        }
    }

    #[test]
    fn the_most_specific_variable_that_is_not_empty_counts() {
        const HTTPS: &str = "https://a.example/";
        const HTTP: &str = "http://a.example/";
        for (variables, url, expected) in [
            (&[][..], HTTPS, "direct"),
            (&[("https_proxy", "p")], HTTPS, "p"),
            (&[("HTTPS_PROXY", "p")], HTTPS, "p"),
            (&[("https_proxy", "low"), ("HTTPS_PROXY", "up")], HTTPS, "low"),
            (&[("https_proxy", ""), ("HTTPS_PROXY", "up")], HTTPS, "up"),
            (&[("https_proxy", ""), ("all_proxy", "all")], HTTPS, "all"),
            (&[("HTTPS_PROXY", "p"), ("all_proxy", "all")], HTTPS, "p"),
            (&[("all_proxy", "low"), ("ALL_PROXY", "up")], HTTPS, "low"),
            (&[("ALL_PROXY", "up")], HTTPS, "up"),
            (&[("ALL_PROXY", "socks5://p:1080"), ("HTTPS_PROXY", "p")], HTTPS, "p"),
            (&[("http_proxy", "p"), ("HTTP_PROXY", "p")], HTTPS, "direct"),
            (&[("https_proxy", "p"), ("HTTPS_PROXY", "p")], HTTP, "direct"),
            (&[("http_proxy", "low"), ("HTTP_PROXY", "up")], HTTP, "low"),
            (&[("HTTP_PROXY", "up")], HTTP, "up"),
            (&[("ALL_PROXY", "all")], HTTP, "all"),
            (&[("https_proxy", "socks5://p"), ("ALL_PROXY", "p")], HTTPS, "!https_proxy"),
            (&[("HTTPS_PROXY", "ftp://p")], HTTPS, "!HTTPS_PROXY"),
            (&[("HTTPS_PROXY", " ")], HTTPS, "!HTTPS_PROXY"),
            (&[("all_proxy", "not a proxy")], HTTPS, "!all_proxy"),
            (&[("ALL_PROXY", "http://")], HTTPS, "!ALL_PROXY"),
            (&[("ALL_PROXY", "p\n")], HTTPS, "!ALL_PROXY"),
            (&[("HTTP_PROXY", "socks5://p")], HTTPS, "direct"),
            (&[("HTTPS_PROXY", "socks5://p"), ("NO_PROXY", "a.example")], HTTPS, "direct"),
        ] {
            assert_eq!(route(variables, false, url), expected, "{variables:?} {url}");
        }
    }

    #[test]
    fn a_cgi_program_takes_no_proxy_from_its_client() {
        let cgi = ("REQUEST_METHOD", "GET");
        for (variables, windows, expected) in [
            (&[cgi, ("HTTP_PROXY", "p")][..], false, "direct"),
            (&[cgi, ("http_proxy", "p"), ("HTTP_PROXY", "evil")], false, "p"),
            (&[("REQUEST_METHOD", ""), ("HTTP_PROXY", "p")], false, "direct"),
            (&[cgi, ("HTTP_PROXY", "p"), ("ALL_PROXY", "all")], false, "all"),
            (&[cgi, ("http_proxy", "p")], true, "direct"),
            (&[cgi, ("HTTP_PROXY", "p"), ("ALL_PROXY", "all")], true, "all"),
            (&[("Http_Proxy", "p")], true, "p"),
        ] {
            assert_eq!(route(variables, windows, "http://a.example/"), expected, "{variables:?} {windows}");
        }
    }

    #[test]
    fn no_proxy_lists_hosts_domains_addresses_networks_and_ports() {
        for (list, url, direct) in [
            ("*", "https://a.example", true),
            (" * ", "https://a.example", true),
            ("a.example", "https://a.example", true),
            ("A.Example", "https://a.EXAMPLE", true),
            ("x, a.example", "https://a.example", true),
            ("x a.example", "https://a.example", true),
            ("x,\ta.example ,", "https://a.example", true),
            ("corp.test", "https://x.corp.test", true),
            (".corp.test", "https://x.corp.test", true),
            (".corp.test", "https://corp.test", true),
            ("corp.test.", "https://corp.test", true),
            ("corp.test", "https://corp.test.", true),
            ("corp.test", "https://xcorp.test", false),
            ("x.corp.test", "https://corp.test", false),
            ("a.example", "https://b.example", false),
            ("test", "https://x.corp.test", true),
            (".", "https://a.example", false),
            (",", "https://a.example", false),
            ("a.example:443", "https://a.example", true),
            ("a.example:443", "https://a.example:443", true),
            ("a.example:443", "https://a.example:8443", false),
            ("a.example:8443", "https://x.a.example:8443", true),
            ("a.example:x", "https://a.example", false),
            ("10.0.0.1", "https://10.0.0.1", true),
            ("10.0.0.1", "https://10.0.0.2", false),
            ("0.0.1", "https://10.0.0.1", false),
            ("10.0.0.1:8443", "https://10.0.0.1:8443", true),
            ("10.0.0.1:8443", "https://10.0.0.1", false),
            ("10.0.0.0/8", "https://10.255.1.2", true),
            ("10.0.0.0/8", "https://11.0.0.1", false),
            ("10.1.0.0/15", "https://10.0.3.4", true),
            ("192.168.7.1/32", "https://192.168.7.1", true),
            ("192.168.7.1/33", "https://192.168.7.1", false),
            ("192.168.7.1/x", "https://192.168.7.1", false),
            ("10.0.0.0/8", "https://10.example", false),
            ("2001:db8::1", "https://[2001:db8::1]", true),
            ("2001:DB8:0::1", "https://[2001:db8::1]", true),
            ("[2001:db8::1]", "https://[2001:db8::1]", true),
            ("[2001:db8::1]:8443", "https://[2001:db8::1]:8443", true),
            ("[2001:db8::1]:8443", "https://[2001:db8::1]", false),
            ("2001:db8::/32", "https://[2001:db8:ffff::1]", true),
            ("2001:db8::/32", "https://[2001:db9::1]", false),
            ("::/0", "https://[2001:db9::1]", true),
            ("::/0", "https://10.0.0.1", false),
            ("::ffff:10.0.0.1", "https://10.0.0.1", false),
        ] {
            let variables = [("HTTPS_PROXY", "p"), ("NO_PROXY", list)];
            assert_eq!(route(&variables, false, url), if direct { "direct" } else { "p" }, "{list:?} {url}");
        }
    }

    #[test]
    fn no_proxy_in_lower_case_comes_first_unless_it_is_empty() {
        for (low, up, expected) in [("a.example", "x", "direct"), ("x", "a.example", "p"), ("", "a.example", "direct")]
        {
            let variables = [("HTTPS_PROXY", "p"), ("no_proxy", low), ("NO_PROXY", up)];
            assert_eq!(route(&variables, false, "https://a.example/"), expected, "{low} {up}");
        }
        let variables = [("HTTPS_PROXY", "p"), ("no_proxy", "a.example"), ("NO_PROXY", "")];
        assert_eq!(route(&variables, false, "https://a.example/"), "direct");
    }
}
