//! What one call asks of a token beyond, or instead of, what its resource server asks.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::crypto::sha256;
use crate::error::{ConfigProblem, Error};
use crate::oauth::is_scope_token;
use crate::resource_server::verify::{CallRequirements, StringSet};

/// Other audiences, additional scopes or the client's certificate for one call of
/// [`ResourceServer::verify_token_with`](crate::ResourceServer::verify_token_with).
///
/// ```
/// use aero2::VerifyOptions;
/// let test = aero2::testing::TestIssuer::new();
/// let rs = test.issuer().resource_server().audience("shop").build()?;
/// let token = test.token().audience("orders").scope("orders:write").sign();
///
/// let writing = VerifyOptions::new().audience("orders").required_scopes(["orders:write"]);
/// assert!(rs.verify_token_with(&token, &writing).is_ok());
/// assert!(rs.verify_token(&token).is_err());
/// # Ok::<(), aero2::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct VerifyOptions {
    audiences: Option<StringSet>,
    required_scopes: Option<StringSet>,
    certificate: Option<Certificate>,
}

#[derive(Clone, Debug)]
enum Certificate {
    /// SHA-256 of the DER in base64url (RFC 8705 §3.1).
    Thumbprint(String),
    NotDer,
}

impl VerifyOptions {
    /// Options that change nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The audience to expect instead of the resource server's own.
    pub fn audience(self, audience: impl Into<String>) -> Self {
        self.audiences([audience.into()])
    }

    /// The audiences to expect instead of the resource server's own; the token must name at least one. An empty list is an
    /// [`Error::Config`] when the options are used.
    pub fn audiences<A: AsRef<str>>(mut self, audiences: impl IntoIterator<Item = A>) -> Self {
        self.audiences = Some(audiences.into_iter().map(owned).collect());
        self
    }

    /// Scopes that the token must have in addition to those of the resource server. An empty list adds nothing.
    pub fn required_scopes<S: AsRef<str>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        let more = scopes.into_iter().map(owned);
        let all = self.required_scopes.iter().flat_map(StringSet::as_slice).cloned().chain(more).collect();
        self.required_scopes = Some(all);
        self
    }

    /// The client certificate of the TLS connection on which the token arrived, as DER. It satisfies a token that is bound to it
    /// by `x5t#S256` (RFC 8705 §3): see [`SenderConstraint`](crate::SenderConstraint). Take it from the TLS handshake, or from
    /// a header that only your TLS terminator can set. Anything that is not DER is an [`Error::Config`] when the options are
    /// used.
    pub fn client_certificate(mut self, der: &[u8]) -> Self {
        let thumbprint = || Certificate::Thumbprint(URL_SAFE_NO_PAD.encode(sha256(der)));
        self.certificate = Some(if der.first() == Some(&SEQUENCE) { thumbprint() } else { Certificate::NotDer });
        self
    }

    pub(crate) fn expectation(&self) -> Result<CallRequirements<'_>, Error> {
        self.audiences.as_ref().map_or(Ok(()), check_audiences)?;
        self.required_scopes.as_ref().map_or(Ok(()), check_scopes)?;
        let certificate = match &self.certificate {
            None => None,
            Some(Certificate::Thumbprint(thumbprint)) => Some(thumbprint.as_str()),
            Some(Certificate::NotDer) => return Err(Error::config(ConfigProblem::SenderCertificate)),
        };
        let (audiences, required_scopes) = (self.audiences.as_ref(), self.required_scopes.as_ref());
        Ok(CallRequirements { audiences, required_scopes, certificate })
    }
}

/// So that lists of `&str`, of `String` and of references to either are taken alike.
pub(crate) fn owned(name: impl AsRef<str>) -> String {
    name.as_ref().to_owned()
}

/// An audience list that some token can satisfy.
pub(crate) fn check_audiences(audiences: &StringSet) -> Result<(), Error> {
    match audiences.as_slice() {
        [] => Err(Error::config(ConfigProblem::EmptyAudienceList)),
        all if all.iter().any(String::is_empty) => Err(Error::config(ConfigProblem::EmptyAudience)),
        _ => Ok(()),
    }
}

/// Each a scope-token (RFC 6749 §3.3): one with a space in it would never be found.
pub(crate) fn check_scopes(scopes: &StringSet) -> Result<(), Error> {
    let well_formed = scopes.as_slice().iter().all(|scope| is_scope_token(scope));
    if well_formed { Ok(()) } else { Err(Error::config(ConfigProblem::Scope)) }
}

/// The first byte of every certificate in DER (RFC 5280 §4.1, X.690 §8.9): enough to tell it from PEM and from nothing.
const SEQUENCE: u8 = 0x30;
