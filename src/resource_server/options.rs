//! What one call requires of a token beyond, or instead of, what its resource server requires.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::claims::requirements::ClaimRequirements;
use crate::crypto::sha256;
use crate::error::{ConfigProblem, Error};
use crate::oauth::is_scope_token;

/// Other audiences, additional requirements or the client's certificate for one call of
/// [`ResourceServer::verify_token_with`](crate::ResourceServer::verify_token_with).
///
/// A setting that no token can meet is an [`Error::Config`] when the options are used.
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
    pub(crate) claims: ClaimRequirements,
    certificate: Option<String>,
    /// One of them; none: `acr` is not looked at.
    pub(crate) acr_values: Vec<String>,
    pub(crate) max_auth_age: Option<Duration>,
}

impl VerifyOptions {
    /// Options that change nothing yet.
    pub const fn new() -> Self {
        Self { claims: ClaimRequirements::new(), certificate: None, acr_values: Vec::new(), max_auth_age: None }
    }

    /// The audience to expect instead of the resource server's own.
    pub fn audience(self, audience: impl Into<String>) -> Self {
        self.audiences([audience.into()])
    }

    /// The audiences to expect instead of the resource server's own; the token must name at least one. An empty list is an
    /// [`Error::Config`].
    pub fn audiences<A: AsRef<str>>(mut self, audiences: impl IntoIterator<Item = A>) -> Self {
        self.claims.set_audiences(audiences);
        self
    }

    /// Scopes that the token must have in addition to those of the resource server, all of them. An empty list adds nothing.
    pub fn required_scopes<S: AsRef<str>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.claims.add_required_scopes(scopes);
        self
    }

    /// Scopes of which the token must have at least one. A second call is a second condition. An empty list is an
    /// [`Error::Config`].
    pub fn any_scope<S: AsRef<str>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.claims.add_any_scope(scopes);
        self
    }

    /// A claim that must have one of these values, as
    /// [`ResourceServerBuilder::require_claim`](crate::ResourceServerBuilder::require_claim).
    pub fn require_claim<S: AsRef<str>>(mut self, pointer: &str, values: impl IntoIterator<Item = S>) -> Self {
        self.claims.add_claim(pointer, values);
        self
    }

    /// The authentication context classes of which `acr` must be one (RFC 9470 §4). Otherwise the kind is
    /// [`InsufficientAuthentication`](crate::TokenErrorKind::InsufficientAuthentication), and the challenge asks for them.
    ///
    /// ```
    /// use aero2::VerifyOptions;
    /// let test = aero2::testing::TestIssuer::new();
    /// let rs = test.issuer().resource_server().build()?;
    /// let transfer = VerifyOptions::new().acr_values(["urn:mfa"]);
    /// let strong = test.token().claim("acr", "urn:mfa").sign();
    /// assert!(rs.verify_token_with(&strong, &transfer).is_ok());
    ///
    /// let err = rs.verify_token_with(&test.token().sign(), &transfer).unwrap_err();
    /// assert_eq!(
    ///     err.www_authenticate(None).unwrap(),
    ///     r#"Bearer error="insufficient_user_authentication", acr_values="urn:mfa""#
    /// );
    /// # Ok::<(), aero2::Error>(())
    /// ```
    pub fn acr_values<S: AsRef<str>>(mut self, values: impl IntoIterator<Item = S>) -> Self {
        self.acr_values.extend(values.into_iter().map(|value| value.as_ref().to_owned()));
        if self.acr_values.is_empty() {
            self.claims.note(ConfigProblem::NoValues("acr_values"));
        }
        // They go into one list, separated by spaces, as scopes do.
        if !self.acr_values.iter().all(|value| is_scope_token(value)) {
            self.claims.note(ConfigProblem::AcrValue);
        }
        self
    }

    /// How long ago the user may have authenticated at most, by `auth_time` (RFC 9470 §4). Otherwise the kind is
    /// [`InsufficientAuthentication`](crate::TokenErrorKind::InsufficientAuthentication), and the challenge asks for it.
    pub fn max_auth_age(mut self, age: Duration) -> Self {
        self.max_auth_age = Some(age);
        self
    }

    /// The client certificate of the TLS connection on which the token arrived, as DER. It satisfies a token that is bound to it
    /// by `x5t#S256` (RFC 8705 §3): see [`SenderConstraint`](crate::SenderConstraint). Take it from the TLS handshake, or from
    /// a header that only your TLS terminator can set. Anything that is not DER is an [`Error::Config`].
    pub fn client_certificate(mut self, der: &[u8]) -> Self {
        if der.first() != Some(&SEQUENCE) {
            self.claims.note(ConfigProblem::SenderCertificate);
        }
        self.certificate = Some(URL_SAFE_NO_PAD.encode(sha256(der)));
        self
    }

    pub(crate) fn check_settings(&self) -> Result<(), Error> {
        self.claims.check_settings()
    }

    /// The thumbprint of the sender's certificate, in base64url (RFC 8705 §3.1).
    pub(crate) fn certificate(&self) -> Option<&str> {
        self.certificate.as_deref()
    }
}

/// The first byte of every certificate in DER (RFC 5280 §4.1, X.690 §8.9): enough to tell it from PEM and from nothing.
const SEQUENCE: u8 = 0x30;
