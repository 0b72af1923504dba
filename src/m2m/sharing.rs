//! How the tokens of a client are shared with other processes: through a file, or not at all. Here, and only here, it matters whether
//! the feature `file-cache` is on.

#[cfg(feature = "file-cache")]
use std::{io, sync::Arc};

use crate::error::Error;
use crate::events::Event;
use crate::m2m::token::AccessToken;
#[cfg(feature = "file-cache")]
use crate::m2m::token_file::TokenFile;
use crate::m2m::wish::{Obtained, Wish};

/// What this process has in common with others. The events are for the caller to emit, when no lock and no flight is held up by it.
#[derive(Debug, Default)]
pub(crate) struct Sharing {
    #[cfg(feature = "file-cache")]
    file: Option<TokenFile>,
}

impl Sharing {
    #[cfg(feature = "file-cache")]
    pub(crate) fn through(file: TokenFile) -> Self {
        Self { file: Some(file) }
    }

    /// A token of the issuer, or of whichever process asked first.
    pub(crate) fn obtain(&self, wish: &Wish<'_>) -> (Result<Obtained, Error>, Vec<Event>) {
        #[cfg(feature = "file-cache")]
        if let Some(file) = &self.file {
            return file.share(wish);
        }
        (wish.ask(), Vec::new())
    }

    /// Keeps a rejected token from other processes, and from this one.
    #[cfg_attr(
        not(feature = "file-cache"),
        expect(clippy::unused_self, reason = "there is no file without the feature")
    )]
    pub(crate) fn forget(&self, _token: &AccessToken) -> Option<Event> {
        #[cfg(feature = "file-cache")]
        return self.file.as_ref().and_then(|file| not_written(file.forget(_token)));
        #[cfg(not(feature = "file-cache"))]
        None
    }

    /// Keeps every token that was minted up to now from other processes, and from this one.
    #[cfg_attr(
        not(feature = "file-cache"),
        expect(clippy::unused_self, reason = "there is no file without the feature")
    )]
    pub(crate) fn clear(&self) -> Option<Event> {
        #[cfg(feature = "file-cache")]
        return self.file.as_ref().and_then(|file| not_written(file.clear()));
        #[cfg(not(feature = "file-cache"))]
        None
    }
}

#[cfg(feature = "file-cache")]
fn not_written(outcome: io::Result<()>) -> Option<Event> {
    outcome.err().map(|error| Event::TokenFileNotWritten { error: Arc::new(error) })
}
