//! A refusal by the issuer (RFC 6749 §5.2), with text of the server kept in bounds.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::endpoint::{Endpoint, Parties};

/// The issuer refused the request with an OAuth error (RFC 6749 §5.2).
#[derive(Clone)]
pub struct OAuthError(Arc<OAuthRepr>);

#[derive(Clone)]
struct OAuthRepr {
    endpoint: Endpoint,
    parties: Parties,
    /// How the client authenticated, by the name of RFC 7591 §2.
    auth_method: Option<&'static str>,
    code: String,
    description: Option<String>,
    uri: Option<String>,
    status: u16,
    retry_after: Option<Duration>,
}

impl OAuthError {
    /// Texts of the server as they came; the bounds are put on here.
    pub(crate) fn new(
        endpoint: Endpoint,
        code: &str,
        description: Option<&str>,
        uri: Option<&str>,
        status: u16,
    ) -> Self {
        Self(Arc::new(OAuthRepr {
            endpoint,
            parties: Parties::default(),
            auth_method: None,
            code: code.to_owned(),
            description: description.map(bounded),
            uri: uri.map(bounded),
            status,
            retry_after: None,
        }))
    }

    /// The `error` code, such as `invalid_client`: 1–64 characters of `[a-z0-9_.-]`.
    pub fn error_code(&self) -> &str {
        &self.0.code
    }

    /// The server's `error_description`, cut to 256 characters and without control characters. It is text from the server: log it
    /// only where that is acceptable, and do not show it to users.
    pub fn description(&self) -> Option<&str> {
        self.0.description.as_deref()
    }

    /// The server's `error_uri`, cut in the same way as the description.
    pub fn error_uri(&self) -> Option<&str> {
        self.0.uri.as_deref()
    }

    /// The HTTP status of the response.
    pub fn status(&self) -> u16 {
        self.0.status
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    pub(super) fn with_retry_after(self, wait: Duration) -> Self {
        Self(Arc::new(OAuthRepr { retry_after: Some(wait), ..(*self.0).clone() }))
    }

    pub(super) fn with_host(self, host: &str) -> Self {
        let parties = self.0.parties.clone().or_host(host);
        Self(Arc::new(OAuthRepr { parties, ..(*self.0).clone() }))
    }

    /// `auth_method` is how the client authenticated, by the name of RFC 7591 §2.
    pub(super) fn with_client(self, client_id: &str, auth_method: Option<&'static str>) -> Self {
        let parties = self.0.parties.clone().or_client(client_id);
        let auth_method = self.0.auth_method.or(auth_method);
        Self(Arc::new(OAuthRepr { parties, auth_method, ..(*self.0).clone() }))
    }

    fn registered_code(&self) -> Option<&str> {
        REGISTERED_CODES.iter().find(|code| **code == self.0.code).copied()
    }
}

impl fmt::Display for OAuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OAuthRepr { endpoint, parties, auth_method, status, .. } = &*self.0;
        write!(f, "{endpoint}{parties}: the issuer refused the request")?;
        match self.registered_code() {
            Some(code) => write!(f, " with {code} (status {status})")?,
            None => write!(f, " (status {status})")?,
        }
        match auth_method {
            Some(method) if self.0.code == "invalid_client" => write!(
                f,
                "; {method} was used: check the client's id and secret or key, and whether the issuer expects client_secret_post or client_secret_basic"
            ),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for OAuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A `main` that returns the error shows its Debug.
        f.debug_struct("OAuthError")
            .field("message", &self.to_string())
            .field("retry_after", &self.0.retry_after)
            .finish_non_exhaustive()
    }
}

impl StdError for OAuthError {}

fn bounded(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_SERVER_TEXT).collect()
}

/// Characters kept of a text of the server.
const MAX_SERVER_TEXT: usize = 256;

/// The registered error codes (RFC 6749 §4.1.2.1 and §5.2, RFC 7009 §2.2.1, RFC 8628 §3.5, RFC 8707 §2, RFC 9449 §5 and §8).
const REGISTERED_CODES: [&str; 17] = [
    "access_denied",
    "authorization_pending",
    "expired_token",
    "invalid_client",
    "invalid_dpop_proof",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "invalid_target",
    "invalid_token",
    "server_error",
    "slow_down",
    "temporarily_unavailable",
    "unauthorized_client",
    "unsupported_grant_type",
    "unsupported_token_type",
    "use_dpop_nonce",
];
