//! Where the issuer's documents and endpoints are: by its URL, by its discovery document, or by what the program says.

use std::borrow::Cow;

use crate::error::{Detail, Endpoint, Error};
use crate::http::url::{IssuerUrl, Origin, Url};

/// The issuer's URL and the addresses that the program gave. What it gave is never replaced.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    issuer: IssuerUrl,
    given: Given,
}

/// Addresses in place of those that follow from the issuer's URL and its document, each one checked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    pub(crate) metadata: Option<String>,
    pub(crate) keys: Option<String>,
    pub(crate) token: Option<String>,
    pub(crate) introspection: Option<String>,
    pub(crate) revocation: Option<String>,
    /// In place of the issuer's own origin.
    pub(crate) reach_at: Option<Origin>,
    /// In place of the issuer's URL as the `iss` of access tokens.
    pub(crate) token_issuer: Option<String>,
}

impl Addresses {
    pub(crate) fn new(issuer: IssuerUrl, given: Given) -> Self {
        Self { issuer, given }
    }

    pub(crate) fn issuer(&self) -> &IssuerUrl {
        &self.issuer
    }

    /// What the `iss` of access tokens must be.
    pub(crate) fn token_issuer(&self) -> &str {
        self.given.token_issuer.as_deref().unwrap_or_else(|| self.issuer.as_str())
    }

    /// What the program gave for `endpoint`.
    pub(crate) fn given(&self, endpoint: Endpoint) -> Option<&str> {
        match endpoint {
            Endpoint::Discovery => &self.given.metadata,
            Endpoint::Keys => &self.given.keys,
            Endpoint::Token => &self.given.token,
            Endpoint::Introspection => &self.given.introspection,
            Endpoint::Revocation => &self.given.revocation,
        }
        .as_deref()
    }

    /// Where the discovery document is, by OIDC Discovery §4, and where else to look if there is none, by RFC 8414 §3.
    pub(crate) fn discovery_urls(&self) -> (String, Option<String>) {
        if let Some(given) = &self.given.metadata {
            return (given.clone(), None);
        }
        let reached = |url: String| self.reached(&url).map(Cow::into_owned).unwrap_or(url);
        (reached(self.issuer.discovery_url()), Some(reached(self.issuer.oauth_metadata_url())))
    }

    /// The URLs that are known before any document is read.
    pub(crate) fn known_urls(&self) -> Vec<String> {
        let Given { keys, token, introspection, revocation, .. } = &self.given;
        let given = [keys, token, introspection, revocation].into_iter().flatten().cloned();
        given.chain([self.discovery_urls().0]).collect()
    }

    /// Where `endpoint` is: as the program says, as the document says if that may be used, else at Aero2's path.
    pub(crate) fn endpoint<'a>(&'a self, endpoint: Endpoint, named: Option<&'a str>) -> Result<Cow<'a, str>, Error> {
        if let Some(given) = self.given(endpoint) {
            return Ok(Cow::Borrowed(given));
        }
        let path = match endpoint {
            Endpoint::Discovery => return Ok(Cow::Owned(self.discovery_urls().0)),
            Endpoint::Keys => "/oauth2/jwks.json",
            Endpoint::Token => "/oauth2/token",
            Endpoint::Introspection => "/oauth2/introspect",
            Endpoint::Revocation => "/oauth2/revoke",
        };
        let invalid = || Error::invalid_response(endpoint, Detail::EndpointUrl);
        match named {
            Some(url) => self.reached(url).ok_or_else(invalid),
            None => {
                let url = self.issuer.default_endpoint(path);
                Ok(Cow::Owned(self.reached(&url).map(Cow::into_owned).unwrap_or(url)))
            }
        }
    }

    /// Everything that the program gave, as one text: what was fetched under other addresses is not to be used under these. Empty where
    /// the issuer's URL says it all.
    pub(crate) fn binding(&self) -> String {
        let Given { metadata, keys, token, introspection, revocation, reach_at, token_issuer } = &self.given;
        let reach_at = reach_at.as_ref().map(|origin| origin.as_str().to_owned());
        let named = [
            ("metadata_url", metadata),
            ("keys_url", keys),
            ("token_url", token),
            ("introspection_url", introspection),
            ("revocation_url", revocation),
            ("reach_at", &reach_at),
            ("token_issuer", token_issuer),
        ];
        let lines = named.into_iter().filter_map(|(name, value)| Some(format!("{name} {}", value.as_deref()?)));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The URL at which this program reaches what the issuer has at `url`; `None` if it must not be used.
    fn reached<'u>(&self, url: &'u str) -> Option<Cow<'u, str>> {
        if let Some(at) = &self.given.reach_at {
            let parsed = Url::parse(url).ok().filter(|url| !url.has_fragment())?;
            if &parsed.origin() == self.issuer.origin() {
                return Some(Cow::Owned(format!("{}{}", at.as_str(), parsed.after_origin())));
            }
            if parsed.origin() == *at {
                return Some(Cow::Borrowed(url));
            }
        }
        self.issuer.check_endpoint(url).then_some(Cow::Borrowed(url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issuer::discovery::Metadata;

    const ISSUER: &str = "https://login.example.com/realms/m";

    fn addresses(given: Given) -> Addresses {
        Addresses::new(IssuerUrl::parse(ISSUER, false).unwrap(), given)
    }

    fn reaching(origin: &str) -> Addresses {
        addresses(Given { reach_at: Some(Origin::parse(origin).unwrap()), ..Given::default() })
    }

    fn document(members: &str) -> Metadata {
        let issuer = IssuerUrl::parse(ISSUER, false).unwrap();
        Metadata::parse(&format!(r#"{{"issuer":"{ISSUER}"{members}}}"#), &issuer).unwrap()
    }

    const ENDPOINTS: [Endpoint; 4] = [Endpoint::Keys, Endpoint::Token, Endpoint::Introspection, Endpoint::Revocation];
    const NAMES: [&str; 4] = ["jwks_uri", "token_endpoint", "introspection_endpoint", "revocation_endpoint"];

    #[test]
    fn aero2s_paths_stand_in_where_the_document_is_silent() {
        let (silent, plain) = (document(""), addresses(Given::default()));
        let paths = ["/oauth2/jwks.json", "/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"];
        for (endpoint, path) in ENDPOINTS.into_iter().zip(paths) {
            assert_eq!(plain.endpoint(endpoint, silent.endpoint(endpoint)).unwrap(), format!("{ISSUER}{path}"));
            let there = reaching("http://keycloak:8080");
            assert_eq!(there.endpoint(endpoint, None).unwrap(), format!("http://keycloak:8080/realms/m{path}"));
        }
        let with_slash = Addresses::new(IssuerUrl::parse("https://a.dev/t/", false).unwrap(), Given::default());
        assert_eq!(with_slash.endpoint(Endpoint::Token, None).unwrap(), "https://a.dev/t/oauth2/token");
    }

    #[test]
    fn endpoints_are_those_of_the_document_unless_the_program_gave_them() {
        let given = Some(String::from("http://127.0.0.1:1/given"));
        for (endpoint, name) in ENDPOINTS.into_iter().zip(NAMES) {
            let document = document(&format!(r#","{name}":"https:\/\/other.example\/x?y=z""#));
            let plain = addresses(Given::default());
            assert_eq!(plain.endpoint(endpoint, document.endpoint(endpoint)).unwrap(), "https://other.example/x?y=z");
            let all = Given {
                keys: given.clone(),
                token: given.clone(),
                introspection: given.clone(),
                revocation: given.clone(),
                ..Given::default()
            };
            assert_eq!(
                addresses(all).endpoint(endpoint, document.endpoint(endpoint)).unwrap(),
                "http://127.0.0.1:1/given"
            );
        }
    }

    #[test]
    fn a_bad_url_is_refused_when_its_endpoint_is_needed_and_not_before() {
        let plain = addresses(Given::default());
        for url in
            ["", "http://login.example.com/x", "http://127.0.0.1/x", "https://u:p@login.example.com/x", "ftp://x", "/x"]
        {
            for (endpoint, name) in ENDPOINTS.into_iter().zip(NAMES) {
                let document = document(&format!(r#","{name}":"{url}""#));
                for needed in ENDPOINTS {
                    let outcome = plain.endpoint(needed, document.endpoint(needed));
                    assert_eq!(outcome.is_err(), needed == endpoint, "{url}");
                }
            }
        }
    }

    #[test]
    fn every_url_of_the_issuers_origin_is_reached_at_the_given_one_and_no_other_is() {
        let there = reaching("http://keycloak:8080");
        for (named, reached) in [
            ("https://login.example.com/keys?x=1", Some("http://keycloak:8080/keys?x=1")),
            ("https://LOGIN.example.com:443/keys", Some("http://keycloak:8080/keys")),
            ("https://login.example.com", Some("http://keycloak:8080")),
            ("http://keycloak:8080/keys", Some("http://keycloak:8080/keys")),
            ("http://KeyCloak:8080/keys", Some("http://KeyCloak:8080/keys")),
            ("https://cdn.example.com/keys", Some("https://cdn.example.com/keys")),
            ("https://login.example.com:8443/keys", Some("https://login.example.com:8443/keys")),
            ("https://login.example.com.evil.example/keys", Some("https://login.example.com.evil.example/keys")),
            ("http://login.example.com/keys", None),
            ("http://keycloak/keys", None),
            ("http://keycloak:8081/keys", None),
            ("http://127.0.0.1/keys", None),
            ("https://user@login.example.com/keys", None),
            ("https://login.example.com/keys#x", None),
        ] {
            let document = document(&format!(r#","jwks_uri":"{named}""#));
            let found = there.endpoint(Endpoint::Keys, document.endpoint(Endpoint::Keys)).ok();
            assert_eq!(found.as_deref(), reached, "{named}");
        }
        let (first, second) = there.discovery_urls();
        assert_eq!(first, "http://keycloak:8080/realms/m/.well-known/openid-configuration");
        assert_eq!(second.unwrap(), "http://keycloak:8080/.well-known/oauth-authorization-server/realms/m");
    }

    #[test]
    fn a_given_document_is_looked_for_at_its_url_only() {
        let url = String::from("https://idp.internal/m?p=policy");
        let given = addresses(Given { metadata: Some(url.clone()), ..Given::default() });
        assert_eq!(given.discovery_urls(), (url, None));
    }

    #[test]
    fn each_address_is_in_the_binding() {
        let given = |url: &str| Some(url.to_owned());
        let each = [
            Given { metadata: given("https://x"), ..Given::default() },
            Given { keys: given("https://x"), ..Given::default() },
            Given { token: given("https://x"), ..Given::default() },
            Given { introspection: given("https://x"), ..Given::default() },
            Given { revocation: given("https://x"), ..Given::default() },
            Given { reach_at: Origin::parse("https://x"), ..Given::default() },
            Given { token_issuer: given("https://x"), ..Given::default() },
            Given::default(),
        ];
        let mut bindings = each.map(|given| addresses(given).binding());
        bindings.sort();
        assert!(bindings.windows(2).all(|pair| pair[0] != pair[1]), "{bindings:?}");
        assert_eq!(bindings[0], "");
    }
}
