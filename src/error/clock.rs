//! A wall clock that is not set.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use crate::error::endpoint::{Parties, write_sources};

/// This machine's wall clock is not set: it shows a time before 2026, or before the snapshot that the issuer started from.
#[derive(Clone)]
pub struct ClockError(Arc<ClockRepr>);

#[derive(Clone, Default)]
struct ClockRepr {
    parties: Parties,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl ClockError {
    pub(super) fn new(source: Option<Arc<dyn StdError + Send + Sync>>) -> Self {
        Self(Arc::new(ClockRepr { parties: Parties::default(), source }))
    }

    pub(super) fn with_host(self, host: &str) -> Self {
        let parties = self.0.parties.clone().or_host(host);
        Self(Arc::new(ClockRepr { parties, ..(*self.0).clone() }))
    }

    pub(super) fn with_client(self, client_id: &str) -> Self {
        let parties = self.0.parties.clone().or_client(client_id);
        Self(Arc::new(ClockRepr { parties, ..(*self.0).clone() }))
    }
}

impl fmt::Display for ClockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parties = &self.0.parties;
        write!(
            f,
            "the wall clock is not set (it is before 2026 or before the snapshot), so no token or certificate{parties} can be judged; set it, for example by NTP"
        )?;
        if f.alternate() { write_sources(f, self) } else { Ok(()) }
    }
}

impl fmt::Debug for ClockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClockError").field(&format!("{self:#}")).finish()
    }
}

impl StdError for ClockError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|e| -> &(dyn StdError + 'static) { e })
    }
}
