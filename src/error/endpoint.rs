//! Where something went wrong, for messages.

use std::error::Error as StdError;
use std::fmt::{self, Write};
use std::sync::Arc;

/// Which of the issuer's documents or endpoints a request was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Endpoint {
    /// The discovery document (OIDC Discovery §4, RFC 8414 §3).
    Discovery,
    /// The key set (RFC 7517 §5).
    Keys,
    /// The token endpoint (RFC 6749 §3.2).
    Token,
    /// The introspection endpoint (RFC 7662 §2).
    Introspection,
    /// The revocation endpoint (RFC 7009 §2).
    Revocation,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Discovery => "discovery document",
            Self::Keys => "key set",
            Self::Token => "token endpoint",
            Self::Introspection => "introspection endpoint",
            Self::Revocation => "revocation endpoint",
        })
    }
}

/// The host of the issuer, and the client whose request it was, as far as they are known.
#[derive(Clone, Default)]
pub(super) struct Parties {
    host: Option<Arc<str>>,
    client: Option<Arc<str>>,
}

impl Parties {
    /// Adds the host, unless one is known: the request knows it better than its caller.
    pub(super) fn or_host(self, host: &str) -> Self {
        Self { host: self.host.or_else(|| Some(host.into())), ..self }
    }

    pub(super) fn or_client(self, client_id: &str) -> Self {
        Self { client: self.client.or_else(|| Some(client_id.into())), ..self }
    }
}

impl fmt::Display for Parties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(host) = &self.host {
            write!(f, " of {host}")?;
        }
        match &self.client {
            Some(client) => write!(OneLine(f), " for client {client}"),
            None => Ok(()),
        }
    }
}

/// What `{:#}` adds to an error: its chain of sources, each after a colon.
pub(super) fn write_sources(f: &mut fmt::Formatter<'_>, error: &dyn StdError) -> fmt::Result {
    let mut source = error.source();
    while let Some(error) = source {
        write!(OneLine(f), ": {error}")?;
        source = error.source();
    }
    Ok(())
}

/// Writes control characters as spaces, so that no text of another crate or program begins a line of its own in a log.
struct OneLine<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl Write for OneLine<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| self.0.write_char(if c.is_control() { ' ' } else { c }))
    }
}
