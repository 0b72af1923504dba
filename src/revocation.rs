//! Withdraws a token (RFC 7009).

use std::fmt;
use std::sync::Arc;

use crate::cache::backoff::BackoffScope;
use crate::client_auth::{Client, ClientAuth};
use crate::error::{Detail, Endpoint, Error};
use crate::issuer::Issuer;
use crate::issuer::http_client::readable_object;
use crate::issuer::oauth_request::OAuthRequest;
use crate::issuer::retry_after::WaitScope;
use crate::oauth::TokenTypeHint;
use crate::secret::SecretSource;
use crate::transport::Response;

/// Revokes tokens of one client (RFC 7009). Made by [`Issuer::revoker`]. A clone is a pointer.
///
/// ```
/// use aero2::{Introspection, TokenTypeHint};
/// let test = aero2::testing::TestIssuer::new();
/// let issuer = test.issuer();
/// # let token = test.token().audience("orders").client_id("svc-orders").sign();
/// test.register_client("svc-orders", "secret", ["api:read"]);
/// let revoker = issuer.revoker("svc-orders", "secret").build()?;
/// revoker.revoke(&token, Some(TokenTypeHint::AccessToken))?;
///
/// test.register_resource_server("orders", "secret");
/// let introspector = issuer.introspector("orders", "secret").build()?;
/// assert!(matches!(introspector.introspect(&token)?, Introspection::Inactive));
/// # Ok::<(), aero2::Error>(())
/// ```
#[derive(Clone)]
pub struct Revoker {
    issuer: Issuer,
    client: Arc<Client>,
}

impl Revoker {
    /// Revokes `token`. It is not an error if the token is empty, unknown or already revoked (RFC 7009 §2.2).
    ///
    /// # Errors
    /// [`Error::OAuth`] if the issuer refuses this client. [`Error::Network`] if there is no usable answer. [`Error::Config`] if
    /// the secret cannot be read.
    pub fn revoke(&self, token: &str, hint: Option<TokenTypeHint>) -> Result<(), Error> {
        let mut form = vec![("token", token)];
        form.extend(hint.map(|hint| ("token_type_hint", hint.name())));
        let request = OAuthRequest {
            endpoint: Endpoint::Revocation,
            client: &self.client,
            form: &form,
            backoff: BackoffScope::All,
            wait_scope: WaitScope::Everyone,
            deadline: self.issuer.deadline(),
        };
        self.issuer.oauth_request(&request, check_response)
    }
}

/// A success counts by its status, whatever its body (RFC 7009 §2.2), unless the body plainly is an error.
fn check_response(response: &Response) -> Result<(), Error> {
    let error = readable_object(response).is_some_and(|object| matches!(object.string("error"), Ok(Some(_))));
    if error { Err(Error::invalid_response(Endpoint::Revocation, Detail::Member("error"))) } else { Ok(()) }
}

impl fmt::Debug for Revoker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revoker").field("issuer", &self.issuer.url()).finish_non_exhaustive()
    }
}

impl Issuer {
    /// Starts building a [`Revoker`] for the client to which the tokens were issued.
    pub fn revoker(&self, client_id: impl Into<String>, secret: impl Into<SecretSource>) -> RevokerBuilder {
        RevokerBuilder { issuer: self.clone(), client: Client::new(client_id.into(), secret.into()) }
    }
}

/// The settings of a [`Revoker`] that is being built; made by [`Issuer::revoker`].
#[derive(Clone, Debug)]
#[must_use]
pub struct RevokerBuilder {
    issuer: Issuer,
    client: Client,
}

impl RevokerBuilder {
    /// How the client authenticates. Defaults to what the issuer's metadata says, as [`ClientAuth`] describes.
    pub fn client_auth(mut self, auth: impl Into<ClientAuth>) -> Self {
        self.client.auth = Some(auth.into());
        self
    }

    /// Builds the revoker. Does no I/O.
    ///
    /// # Errors
    /// [`Error::Config`] for an empty client id or secret.
    pub fn build(self) -> Result<Revoker, Error> {
        let client = Arc::new(self.client.checked()?);
        Ok(Revoker { issuer: self.issuer, client })
    }
}
