//! Which proxy a request goes through, if any.

pub(crate) mod address;
pub(crate) mod environment;

use ureq::Proxy;
use ureq::http::Uri;

use crate::error::{ConfigError, ConfigProblem};
use crate::http::url::is_loopback;
use crate::transport::ureq::proxy::address::ProxyAddress;
use crate::transport::ureq::proxy::environment::{ProxyEnvironment, Route};

/// How the proxy is found.
pub(super) enum ProxyChoice {
    Environment(ProxyEnvironment),
    Direct,
    Given(ProxyAddress),
}

impl ProxyChoice {
    /// The proxy for `uri`; `None` connects directly. Plain `http` takes one only where `plain_http_proxied`.
    pub(super) fn proxy_for(&self, uri: &Uri, plain_http_proxied: bool) -> Result<Option<Proxy>, ConfigError> {
        let https = uri.scheme_str() == Some("https");
        if !https && !plain_http_proxied {
            return Ok(None);
        }
        match self {
            Self::Direct => Ok(None),
            Self::Given(address) => Ok(Some(address.proxy().clone())),
            Self::Environment(environment) => {
                let host = uri.host().unwrap_or_default();
                if is_loopback(host) {
                    return Ok(None);
                }
                let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
                match environment.route(https, host, port) {
                    Route::Direct => Ok(None),
                    Route::Proxy(address) => Ok(Some(address.proxy().clone())),
                    Route::Unusable { variable, place } => Err(ConfigError::from(ConfigProblem::ProxyVariable {
                        variable,
                        place: place.map(str::to_owned),
                    })),
                }
            }
        }
    }
}
