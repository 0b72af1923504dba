//! The discovery document (OIDC Discovery §3, RFC 8414 §2): whose it is, and where the endpoints are.

use std::borrow::Cow;

use crate::error::{Detail, Endpoint, Error, NetworkError, NetworkErrorKind};
use crate::http::url::IssuerUrl;
use crate::json::Object;

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
            token: Service::read(&document, "token_endpoint", "token_endpoint_auth_methods_supported")?,
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

    /// Where `endpoint` is: what the document says if that may be used, Aero2's path where it is silent.
    pub(crate) fn endpoint(&self, endpoint: Endpoint, issuer: &IssuerUrl) -> Result<Cow<'_, str>, Error> {
        let (named, default) = match endpoint {
            Endpoint::Discovery => return Ok(Cow::Owned(issuer.discovery_url())),
            Endpoint::Keys => (&self.keys, "/oauth2/jwks.json"),
            Endpoint::Token => (&self.token.url, "/oauth2/token"),
            Endpoint::Introspection => (&self.introspection.url, "/oauth2/introspect"),
            Endpoint::Revocation => (&self.revocation.url, "/oauth2/revoke"),
        };
        match named {
            None => Ok(Cow::Owned(issuer.default_endpoint(default))),
            Some(url) if issuer.check_endpoint(url) => Ok(Cow::Borrowed(url)),
            Some(_) => Err(Error::invalid_response(endpoint, Detail::EndpointUrl)),
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

    const ENDPOINTS: [Endpoint; 4] = [Endpoint::Keys, Endpoint::Token, Endpoint::Introspection, Endpoint::Revocation];
    const NAMES: [&str; 4] = ["jwks_uri", "token_endpoint", "introspection_endpoint", "revocation_endpoint"];

    #[test]
    fn aero2s_paths_stand_in_where_the_document_is_silent() {
        let metadata = parse("").unwrap();
        let paths = ["/oauth2/jwks.json", "/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"];
        for (endpoint, path) in ENDPOINTS.into_iter().zip(paths) {
            assert_eq!(metadata.endpoint(endpoint, &issuer()).unwrap(), format!("{ISSUER}{path}"));
        }
        let with_path = IssuerUrl::parse("https://a.dev/t/", false).unwrap();
        let metadata = Metadata::parse(r#"{"issuer":"https://a.dev/t/"}"#, &with_path).unwrap();
        assert_eq!(metadata.endpoint(Endpoint::Token, &with_path).unwrap(), "https://a.dev/t/oauth2/token");
    }

    #[test]
    fn endpoints_are_those_of_the_document() {
        for (endpoint, name) in ENDPOINTS.into_iter().zip(NAMES) {
            let metadata = parse(&format!(r#","{name}":"https:\/\/other.example\/x?y=z""#)).unwrap();
            assert_eq!(metadata.endpoint(endpoint, &issuer()).unwrap(), "https://other.example/x?y=z");
        }
    }

    #[test]
    fn a_bad_url_is_refused_when_its_endpoint_is_needed_and_not_before() {
        for url in
            ["", "http://acme.aero2.dev/x", "http://127.0.0.1/x", "https://u:p@acme.aero2.dev/x", "ftp://x", "/x"]
        {
            for (endpoint, name) in ENDPOINTS.into_iter().zip(NAMES) {
                let metadata = parse(&format!(r#","{name}":"{url}""#)).unwrap();
                for asked in ENDPOINTS {
                    match metadata.endpoint(asked, &issuer()) {
                        Ok(_) => assert_ne!(asked, endpoint, "{url}"),
                        Err(error) => {
                            assert_eq!(asked, endpoint);
                            let message = format!("{endpoint}: the answer is invalid: {}", Detail::EndpointUrl);
                            assert_eq!(error.to_string(), message);
                        }
                    }
                }
            }
        }
    }

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
            assert_eq!(none.auth_methods(endpoint), None);
            assert_eq!(metadata.auth_methods(endpoint).unwrap(), expected);
        }
    }
}
