//! The discovery document (OIDC Discovery §3, RFC 8414 §2): how it is read, fetched and cached.

use std::sync::Arc;
use std::time::Duration;

use crate::cache::backoff::BackoffScope;
use crate::cache::refresh_ahead::{Fetch, Fetched, Initial, RefreshAheadCache};
use crate::error::{Detail, Endpoint, Error, NetworkError, NetworkErrorKind};
use crate::events::Count;
use crate::http::url::IssuerUrl;
use crate::issuer::http_client::{HttpClient, Target, body_text};
use crate::json::Object;
use crate::time::{Deadline, Now};

/// The cached document of one issuer.
pub(crate) struct Discovery(RefreshAheadCache<Arc<Metadata>>);

impl Discovery {
    pub(crate) fn new() -> Self {
        // A document never stops serving: without one no token could be minted, and its URLs seldom change.
        Self(RefreshAheadCache::new(Endpoint::Discovery, Duration::MAX))
    }

    /// The document: from the cache where it may serve.
    pub(crate) fn get(
        &self,
        http: &HttpClient,
        scope: BackoffScope,
        deadline: Deadline,
    ) -> Result<Arc<Metadata>, Error> {
        self.0.get(scope, &DiscoveryFetch(http), http.now(), deadline).map(|cached| cached.value)
    }

    /// Has the document read again at the next attempt that needs it, at most once a minute.
    pub(crate) fn mark_due(&self) {
        self.0.mark_due();
    }

    pub(crate) fn refresh_if_due(&self, http: &HttpClient, deadline: Deadline) -> Result<(), Error> {
        self.0.refresh_if_due(&DiscoveryFetch(http), deadline)
    }

    pub(crate) fn next_refresh_in(&self, now: Now) -> Duration {
        self.0.next_refresh_in(now)
    }

    pub(crate) fn retry_now(&self) {
        self.0.retry_now();
    }

    /// Fetches the document whatever is cached, and takes it unless a fetched one is there.
    pub(crate) fn fetch(&self, http: &HttpClient, deadline: Deadline) -> Result<(), Error> {
        let Fetched { value, ttl } = DiscoveryFetch(http).fetch(deadline)?;
        self.0.init(Initial { value, age: Some(Duration::ZERO), ttl, serves_for: None }, http.now());
        Ok(())
    }

    /// The document, if one is cached.
    pub(crate) fn cached(&self, now: Now) -> Option<Arc<Metadata>> {
        self.0.cached(now).map(|cached| cached.value)
    }

    /// Takes a document of that age, unless a fetched one is cached already.
    pub(crate) fn init(&self, metadata: Metadata, age: Duration, now: Now) {
        let value = Arc::new(metadata);
        self.0.init(Initial { value, age: Some(age), ttl: DISCOVERY_TTL, serves_for: None }, now);
    }
}

/// Whether an error says that the endpoint may have moved: any failure of it but a time-out or 429. An OAuth error is an answer of the
/// endpoint.
pub(crate) fn is_endpoint_failure(error: &Error) -> bool {
    let Error::Network(error) = error else { return false };
    !matches!(
        error.kind(),
        NetworkErrorKind::Timeout
            | NetworkErrorKind::Status(429)
            | NetworkErrorKind::RateLimited
            | NetworkErrorKind::Reentrant
    )
}

struct DiscoveryFetch<'a>(&'a HttpClient);

impl Fetch<Arc<Metadata>> for DiscoveryFetch<'_> {
    fn reporting<R>(&self, flight: impl FnOnce() -> R) -> R {
        self.0.events.after_flight(flight)
    }

    fn now(&self) -> Now {
        self.0.now()
    }

    fn refresh_deadline(&self) -> Deadline {
        self.0.refresh_deadline()
    }

    fn fetch(&self, deadline: Deadline) -> Result<Fetched<Arc<Metadata>>, Error> {
        self.0.events.count(Count::DiscoveryFetch);
        let get = |url: &str| {
            self.0.get(Target { endpoint: Endpoint::Discovery, url, deadline }, |response| {
                Metadata::parse(body_text(Endpoint::Discovery, response)?, self.0.addresses.issuer())
            })
        };
        let (first, second) = self.0.addresses.discovery_urls();
        let metadata = match (get(&first), second) {
            (Err(error), Some(second)) if is_absent(&error) => get(&second).map_err(|_| error)?,
            (outcome, _) => outcome?,
        };
        Ok(Fetched { value: Arc::new(metadata), ttl: DISCOVERY_TTL })
    }
}

/// Whether there may be no document at this URL, so that the other one is worth a request.
fn is_absent(error: &Error) -> bool {
    let Error::Network(network) = error else { return false };
    matches!(network.kind(), NetworkErrorKind::Status(400 | 401 | 403 | 404 | 405 | 410))
        && error.retry_after().is_none()
}

/// Endpoints seldom move; where one fails, the document is read again.
const DISCOVERY_TTL: Duration = Duration::from_secs(24 * 3600);

/// A discovery document whose `issuer` is the configured one, byte for byte, and whose members are of the right types.
#[derive(Clone, Debug)]
pub(crate) struct Metadata {
    keys: Option<String>,
    token: Service,
    introspection: Service,
    revocation: Service,
    /// The document itself, for a snapshot.
    text: String,
}

/// One OAuth endpoint as the document describes it.
#[derive(Clone, Debug)]
struct Service {
    url: Option<String>,
    auth_methods: Option<Vec<String>>,
}

impl Metadata {
    /// Endpoints are not looked at here but when they are needed: a bad URL of one that is never used is no reason to fail.
    pub(crate) fn parse(text: &str, issuer: &IssuerUrl) -> Result<Self, Error> {
        let document = Object::parse(text).map_err(|_| invalid(Detail::NotJson))?;
        let named = document.string("issuer").ok().flatten().ok_or_else(|| invalid(Detail::Member("issuer")))?;
        if named != issuer.as_str() {
            return Err(mismatch(named, issuer.as_str()));
        }
        Ok(Self {
            keys: url(&document, "jwks_uri")?,
            token: Service::read(&document, "token_endpoint", "token_endpoint_auth_methods_supported")?.or_basic(),
            introspection: Service::read(
                &document,
                "introspection_endpoint",
                "introspection_endpoint_auth_methods_supported",
            )?,
            revocation: Service::read(&document, "revocation_endpoint", "revocation_endpoint_auth_methods_supported")?,
            text: text.to_owned(),
        })
    }

    /// The text that the document was read from.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// What the document says where `endpoint` is. It may be a URL that must not be used.
    pub(crate) fn endpoint(&self, endpoint: Endpoint) -> Option<&str> {
        match endpoint {
            Endpoint::Discovery => None,
            Endpoint::Keys => self.keys.as_deref(),
            Endpoint::Token => self.token.url.as_deref(),
            Endpoint::Introspection => self.introspection.url.as_deref(),
            Endpoint::Revocation => self.revocation.url.as_deref(),
        }
    }

    /// The ways of client authentication that `endpoint` takes, if the document says so: its own list, else that of the token endpoint.
    pub(crate) fn auth_methods(&self, endpoint: Endpoint) -> Option<&[String]> {
        let own = match endpoint {
            Endpoint::Introspection => &self.introspection.auth_methods,
            Endpoint::Revocation => &self.revocation.auth_methods,
            Endpoint::Discovery | Endpoint::Keys | Endpoint::Token => &None,
        };
        own.as_deref().or(self.token.auth_methods.as_deref())
    }
}

impl Service {
    fn read(document: &Object, url_name: &'static str, methods_name: &'static str) -> Result<Self, Error> {
        let methods = document.strings(methods_name).map_err(|_| invalid(Detail::Member(methods_name)))?;
        Ok(Self {
            url: url(document, url_name)?,
            auth_methods: methods.map(|methods| methods.iter().map(|method| (*method).to_owned()).collect()),
        })
    }

    /// A document that is silent means `client_secret_basic` (RFC 8414 §2).
    fn or_basic(self) -> Self {
        let methods = self.auth_methods.unwrap_or_else(|| vec!["client_secret_basic".to_owned()]);
        Self { auth_methods: Some(methods), ..self }
    }
}

fn url(document: &Object, name: &'static str) -> Result<Option<String>, Error> {
    let text = document.string(name).map_err(|_| invalid(Detail::Member(name)))?;
    Ok(text.map(str::to_owned))
}

fn invalid(detail: Detail) -> Error {
    Error::invalid_response(Endpoint::Discovery, detail)
}

fn mismatch(named: &str, configured: &str) -> Error {
    let bare = |url: &str| url.strip_suffix('/').unwrap_or(url).to_owned();
    let detail = if bare(named) == bare(configured) { Detail::TrailingSlash } else { Detail::None };
    Error::Network(NetworkError::new(NetworkErrorKind::IssuerMismatch, Endpoint::Discovery).with_detail(detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://acme.aero2.dev";

    fn issuer() -> IssuerUrl {
        IssuerUrl::parse(ISSUER, false).unwrap()
    }

    fn parse(members: &str) -> Result<Metadata, Error> {
        Metadata::parse(&format!(r#"{{"issuer":"{ISSUER}"{members}}}"#), &issuer())
    }

    const NAMES: [&str; 4] = ["jwks_uri", "token_endpoint", "introspection_endpoint", "revocation_endpoint"];

    #[test]
    fn another_issuer_is_refused_and_a_trailing_slash_named() {
        for (configured, named, slash) in [
            (ISSUER, "https://other.aero2.dev", false),
            (ISSUER, "https://ACME.aero2.dev", false),
            (ISSUER, "https://acme.aero2.dev:443", false),
            (ISSUER, "", false),
            (ISSUER, "https://acme.aero2.dev//", false),
            (ISSUER, "https://acme.aero2.dev/", true),
            ("https://acme.aero2.dev/", ISSUER, true),
        ] {
            let issuer = IssuerUrl::parse(configured, false).unwrap();
            let error = Metadata::parse(&format!(r#"{{"issuer":"{named}"}}"#), &issuer).unwrap_err();
            let Error::Network(network) = &error else { panic!("{error}") };
            assert_eq!(network.kind(), NetworkErrorKind::IssuerMismatch, "{named}");
            assert_eq!(error.to_string().contains(&Detail::TrailingSlash.to_string()), slash, "{named}");
        }
    }

    #[test]
    fn a_document_that_is_not_what_it_must_be_is_refused() {
        for text in ["", "null", "[]", "\"x\"", "{", "{} {}", "\u{feff}{}", "<html>"] {
            let error = Metadata::parse(text, &issuer()).unwrap_err();
            assert!(error.to_string().ends_with(&Detail::NotJson.to_string()), "{text}: {error}");
        }
        for members in [
            r#","issuer":"https://acme.aero2.dev""#,
            r#","\u0069ssuer":"https://other.example""#,
            r#","x":{"a":1,"a":1}"#,
        ] {
            let error = parse(members).unwrap_err();
            assert!(error.to_string().ends_with(&Detail::NotJson.to_string()), "{members}: {error}");
        }
        for text in ["{}", r#"{"issuer":null}"#, r#"{"issuer":7}"#, r#"{"issuer":["https://acme.aero2.dev"]}"#] {
            let error = Metadata::parse(text, &issuer()).unwrap_err();
            assert!(error.to_string().ends_with(&Detail::Member("issuer").to_string()), "{text}: {error}");
        }
    }

    #[test]
    fn a_member_of_the_wrong_type_is_an_error_and_not_absent() {
        let methods = [
            "token_endpoint_auth_methods_supported",
            "introspection_endpoint_auth_methods_supported",
            "revocation_endpoint_auth_methods_supported",
        ];
        for name in NAMES.into_iter().chain(methods) {
            for value in ["7", "true", "{}", "[1]", "[null]", "[[]]"] {
                let error = parse(&format!(r#","{name}":{value}"#)).unwrap_err();
                assert!(
                    error.to_string().ends_with(&format!("the member {name} is missing or wrong")),
                    "{name} {value}"
                );
            }
        }
        assert!(parse(r#","userinfo_endpoint":7,"x":1e400"#).is_ok());
        let nulls: String = NAMES.into_iter().chain(methods).map(|name| format!(",\"{name}\":null")).collect();
        assert!(parse(&nulls).is_ok());
    }

    #[test]
    fn an_endpoint_takes_its_own_ways_of_authentication_or_else_the_token_endpoints() {
        let none = parse("").unwrap();
        let metadata =
            parse(r#","token_endpoint_auth_methods_supported":["a"],"revocation_endpoint_auth_methods_supported":[]"#)
                .unwrap();
        for (endpoint, expected) in
            [(Endpoint::Token, &["a"][..]), (Endpoint::Introspection, &["a"]), (Endpoint::Revocation, &[])]
        {
            assert_eq!(none.auth_methods(endpoint).unwrap(), ["client_secret_basic"], "RFC 8414 §2");
            assert_eq!(metadata.auth_methods(endpoint).unwrap(), expected);
        }
    }
}
