//! A refusal by the issuer (RFC 6749 §5.2), with text of the server kept in bounds.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The issuer refused the request with an OAuth error (RFC 6749 §5.2).
#[derive(Clone)]
pub struct OAuthError(Arc<OAuthRepr>);

#[derive(Clone)]
struct OAuthRepr {
    code: String,
    description: Option<String>,
    uri: Option<String>,
    status: u16,
    retry_after: Option<Duration>,
}

impl OAuthError {
    /// Texts of the server as they came; the bounds are put on here.
    pub(crate) fn new(code: &str, description: Option<&str>, uri: Option<&str>, status: u16) -> Self {
        let (description, uri) = (description.map(bounded), uri.map(bounded));
        Self(Arc::new(OAuthRepr { code: code.to_owned(), description, uri, status, retry_after: None }))
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

    fn registered_code(&self) -> Option<&str> {
        REGISTERED_CODES.iter().find(|code| **code == self.0.code).copied()
    }
}

impl fmt::Display for OAuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.registered_code() {
            Some(code) => write!(f, "the issuer refused the request with {code} (status {})", self.0.status),
            None => write!(f, "the issuer refused the request (status {})", self.0.status),
        }
    }
}

impl fmt::Debug for OAuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.registered_code().unwrap_or("(not registered)");
        f.debug_struct("OAuthError").field("error_code", &code).field("status", &self.0.status).finish_non_exhaustive()
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
