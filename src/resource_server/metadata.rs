//! The metadata of a protected resource (RFC 9728).

use crate::claims::requirements::StringSet;
use crate::error::{ConfigProblem, Error};
use crate::http::url::IssuerUrl;
use crate::json::write::push_string;
use crate::resource_server::ResourceServer;
use crate::resource_server::sender_constraint::SenderConstraint;

impl ResourceServer {
    /// The metadata of this resource server (RFC 9728 §2) as a JSON document, for clients that find out by themselves which
    /// issuer to ask. Serve it as `application/json` at the well-known path of `resource` (§3.1), which is the URL by which
    /// clients know your service. `scopes_supported` are the scopes that the builder names.
    ///
    /// ```
    /// let test = aero2::testing::TestIssuer::with_url("https://acme.aero2.dev");
    /// let rs = test.issuer().resource_server().required_scopes(["orders:read"]).build()?;
    /// let document = rs.protected_resource_metadata("https://api.example")?;
    /// assert!(document.contains(r#""authorization_servers":["https://acme.aero2.dev"]"#));
    /// assert!(document.contains(r#""scopes_supported":["orders:read"]"#));
    /// # Ok::<(), aero2::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`] if `resource` is not an https URL without fragment (§1.2; http is accepted on loopback).
    pub fn protected_resource_metadata(&self, resource: &str) -> Result<String, Error> {
        if !is_resource_url(resource) {
            return Err(Error::config(ConfigProblem::ResourceUrl));
        }
        let policy = &self.0.policy;
        let mut out = String::from("{\"resource\":");
        push_string(resource, &mut out);
        out.push_str(",\"authorization_servers\":");
        push_strings([self.0.issuer.url()], &mut out);
        let scopes = StringSet::of(policy.claims.named_scopes());
        if !scopes.as_slice().is_empty() {
            out.push_str(",\"scopes_supported\":");
            push_strings(scopes.as_slice(), &mut out);
        }
        out.push_str(",\"bearer_methods_supported\":[\"header\"]");
        if policy.sender_constrained == SenderConstraint::Require {
            out.push_str(",\"tls_client_certificate_bound_access_tokens\":true");
        }
        out.push('}');
        Ok(out)
    }
}

fn push_strings<S: AsRef<str>>(texts: impl IntoIterator<Item = S>, out: &mut String) {
    out.push('[');
    for (n, text) in texts.into_iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        push_string(text.as_ref(), out);
    }
    out.push(']');
}

/// An https URL without fragment (RFC 9728 §1.2), or an http one on loopback. A query is allowed.
pub(crate) fn is_resource_url(url: &str) -> bool {
    let (before_query, query) = url.split_once('?').unwrap_or((url, ""));
    let is_clean = query.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'"' | b'\\'));
    is_clean && IssuerUrl::parse(before_query, false).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_an_https_url_without_fragment() {
        for url in ["https://api.example", "https://api.example/v1?x=1", "http://127.0.0.1:8080/mcp"] {
            assert!(is_resource_url(url), "{url}");
        }
        for url in
            ["", "api.example", "http://api.example", "https://api.example#x", "https://api.example?x#y", "ftp://x"]
        {
            assert!(!is_resource_url(url), "{url}");
        }
    }
}
