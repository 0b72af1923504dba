//! Makes an [`M2mClient`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::client_auth::{Client, ClientAuth};
use crate::error::Error;
use crate::issuer::Issuer;
use crate::m2m::shared_tokens::SharedTokens;
use crate::m2m::token_cache::TokenCache;
#[cfg(feature = "file-cache")]
use crate::m2m::token_file::TokenFile;
use crate::m2m::token_request::{Params, TokenOptions, TokenRequest};
use crate::m2m::token_store::TokenStore;
use crate::m2m::{Inner, M2mClient};
use crate::secret::SecretSource;

impl Issuer {
    /// Starts building an [`M2mClient`] for the client `client_id`. The secret is read anew for every token request, so a rotated
    /// one takes effect with the next: see [`SecretSource`].
    pub fn m2m_client(&self, client_id: impl Into<String>, secret: impl Into<SecretSource>) -> M2mClientBuilder {
        M2mClientBuilder {
            issuer: self.clone(),
            client: Client::new(client_id.into(), secret.into()),
            default_scope: None,
            params: Params::default(),
            default_lifetime: None,
            store: None,
        }
    }
}

/// The settings of an [`M2mClient`] that is being built; made by [`Issuer::m2m_client`].
///
/// ```
/// let test = aero2::testing::TestIssuer::new();
/// test.register_client("svc-orders", "secret", ["api:read", "api:write"]);
/// let m2m = test
///     .issuer()
///     .m2m_client("svc-orders", "secret")
///     .default_scope("api:read api:write")
///     .build()?;
/// assert!(m2m.access_token().is_ok());
///
/// let err = test.issuer().m2m_client("svc-orders", "").build().unwrap_err();
/// assert!(err.to_string().contains("the client secret is empty"));
/// # Ok::<(), aero2::Error>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct M2mClientBuilder {
    issuer: Issuer,
    client: Client,
    default_scope: Option<String>,
    params: Params,
    default_lifetime: Option<Duration>,
    store: Option<Arc<dyn TokenStore>>,
}

impl M2mClientBuilder {
    /// The scopes to ask for if a call names none, separated by spaces. Defaults to none: then the issuer grants every scope that
    /// the client has.
    pub fn default_scope(mut self, scope: impl Into<String>) -> Self {
        self.default_scope = Some(scope.into());
        self
    }

    /// An additional parameter of every token request, such as `audience`. If you set the same name several times, all values are
    /// sent.
    pub fn param(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.params.push(name.into(), value.into());
        self
    }

    /// How long a token lives if neither `expires_in` nor the token's own `exp` says it: for issuers that tell it by other means (RFC
    /// 6749 §5.1), such as their documentation. Defaults to none: such a token is not cached.
    pub fn default_lifetime(mut self, lifetime: Duration) -> Self {
        self.default_lifetime = Some(lifetime);
        self
    }

    /// How the client authenticates. Defaults to what the issuer's metadata says, as [`ClientAuth`] describes.
    pub fn client_auth(mut self, auth: impl Into<ClientAuth>) -> Self {
        self.client.auth = Some(auth.into());
        self
    }

    /// Shares the tokens with other processes through a file, so that many processes that start at once make one token request:
    /// for build scripts and command-line tools. A refusal (such as a wrong secret) is shared for as long as it is remembered, too.
    /// Defaults to none. Feature `file-cache`.
    ///
    /// The file and the two locks beside it (`path` with `.lock` and `.write.lock` appended) are private to the user that runs the
    /// program (mode 0600). Their directory must exist and belong to this user or to root, and only its owner may write it (unless it
    /// has the sticky bit, as `/tmp` has). The file contains tokens, digests of what they are for, and when they expire, but never a
    /// client secret. It is not used if it is damaged, not a regular file, owned by another user or writable by others
    /// ([`Event::TokenFileRefused`](crate::Event::TokenFileRefused)). In that case the issuer is asked; also if the wall clock is
    /// not set, or if another process holds the lock for longer than half of the call's
    /// [`timeout`](crate::IssuerBuilder::timeout).
    ///
    /// Several clients may share a file. [`clear_cache`](M2mClient::clear_cache) removes this client's tokens from it,
    /// [`reject`](M2mClient::reject) removes that token, and a forced refresh replaces the token in it.
    #[cfg(feature = "file-cache")]
    pub fn token_file(self, path: impl Into<std::path::PathBuf>) -> Self {
        self.token_store(TokenFile::new(path))
    }

    /// Shares the tokens with other processes through a store of your own; see [`TokenStore`]. It takes the place of a
    /// [`token_file`](Self::token_file), and the other way round. Defaults to none.
    pub fn token_store(mut self, store: impl TokenStore + 'static) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// Builds the client. Does no I/O.
    ///
    /// # Errors
    /// [`Error::Config`] for an empty client id or secret, a malformed scope, or a parameter that this crate sets itself (`grant_type`,
    /// `client_id`, `client_secret`, `scope`).
    pub fn build(self) -> Result<M2mClient, Error> {
        let Self { issuer, client, default_scope, params, default_lifetime, store } = self;
        let client = client.checked()?;
        let shared = store.map(|store| SharedTokens::new(store, issuer.url(), &client.client_id));
        let default = Arc::new(TokenRequest::new(&TokenOptions::new(), default_scope.as_deref(), &params)?);
        let cache = TokenCache::new();
        Ok(M2mClient(Arc::new(Inner {
            issuer,
            client,
            default_scope,
            params,
            default_lifetime,
            default,
            cache,
            shared,
        })))
    }
}

impl fmt::Debug for M2mClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("M2mClientBuilder")
            .field("issuer", &self.issuer.url())
            .field("client_id", &self.client.client_id)
            .finish_non_exhaustive()
    }
}
