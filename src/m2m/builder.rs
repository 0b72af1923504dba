//! Makes an [`M2mClient`].

use crate::client_auth::{Client, ClientAuth};
use crate::error::Error;
use crate::issuer::Issuer;
use crate::m2m::M2mClient;
use crate::m2m::options::Params;
use crate::m2m::sharing::Sharing;
#[cfg(feature = "file-cache")]
use crate::m2m::token_file::TokenFile;
use crate::secret::SecretSource;

impl Issuer {
    /// Begins an [`M2mClient`] for the client `client_id`. The secret is read anew for every token request, so a rotated one takes effect
    /// with the next; see [`SecretSource`].
    pub fn m2m_client(&self, client_id: impl Into<String>, secret: impl Into<SecretSource>) -> M2mClientBuilder {
        M2mClientBuilder {
            issuer: self.clone(),
            client: Client::new(client_id.into(), secret.into()),
            default_scope: None,
            params: Params::default(),
            #[cfg(feature = "file-cache")]
            token_file: None,
        }
    }
}

/// Makes an [`M2mClient`]; from [`Issuer::m2m_client`].
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
#[derive(Clone, Debug)]
#[must_use]
pub struct M2mClientBuilder {
    issuer: Issuer,
    client: Client,
    default_scope: Option<String>,
    params: Params,
    #[cfg(feature = "file-cache")]
    token_file: Option<std::path::PathBuf>,
}

impl M2mClientBuilder {
    /// The scopes to ask for where a call names none, separated by spaces. Defaults to none, for which the issuer grants every scope that
    /// the client has.
    pub fn default_scope(mut self, scope: impl Into<String>) -> Self {
        self.default_scope = Some(scope.into());
        self
    }

    /// A further parameter of every token request, such as `audience`; several of one name are sent as several.
    pub fn param(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.params.push(name.into(), value.into());
        self
    }

    /// How the client shows who it is. Defaults to `client_secret_post`, unless the discovery document lists `client_secret_basic`
    /// and not that.
    pub fn client_auth(mut self, auth: impl Into<ClientAuth>) -> Self {
        self.client.auth = Some(auth.into());
        self
    }

    /// Shares the tokens with other processes through a file, so that many that start at once make one token request: for build scripts
    /// and command line tools. Defaults to none. Feature `file-cache`.
    ///
    /// The file is for the user that runs the program alone (mode 0600), and so is the lock beside it, `path` with `.lock` appended; their
    /// directory must exist. It holds tokens, digests of what they are for and when they end, never a client secret. One that another
    /// user owns or may write to, that is no regular file or damaged is not used
    /// ([`Event::TokenFileRefused`](crate::Event::TokenFileRefused)): then the issuer is asked, as it is where the wall clock is not set or
    /// where another process holds the lock for longer than half of the call's [`timeout`](crate::IssuerBuilder::timeout).
    ///
    /// Several clients may share a file. [`clear_cache`](M2mClient::clear_cache) removes it, [`reject`](M2mClient::reject) takes that
    /// token out of it, and a forced refresh replaces what it holds.
    #[cfg(feature = "file-cache")]
    pub fn token_file(mut self, path: impl Into<std::path::PathBuf>) -> Self {
        self.token_file = Some(path.into());
        self
    }

    /// The client. Does no I/O.
    ///
    /// # Errors
    /// [`Error::Config`] for an empty client id or secret, a malformed scope, or a parameter that this crate sets itself (`grant_type`,
    /// `client_id`, `client_secret`, `scope`).
    pub fn build(self) -> Result<M2mClient, Error> {
        let client = self.client.checked()?;
        #[cfg(feature = "file-cache")]
        let sharing = self.token_file.map_or_else(Sharing::default, |path| {
            Sharing::through(TokenFile::new(path, self.issuer.url(), &client.client_id))
        });
        #[cfg(not(feature = "file-cache"))]
        let sharing = Sharing::default();
        M2mClient::new(self.issuer, client, self.default_scope, self.params, sharing)
    }
}
