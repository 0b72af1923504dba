//! A token that a call wants, and the one that it got.

use crate::error::Error;
use crate::m2m::token::AccessToken;
use crate::m2m::token_request::TokenRequest;
use crate::m2m::token_response::Minted;
use crate::time::{Deadline, Now};

/// A token as one call wants it.
#[cfg_attr(not(feature = "file-cache"), expect(dead_code, reason = "some of it matters for a shared token only"))]
pub(crate) struct Wish<'a> {
    pub(crate) asked: &'a TokenRequest,
    /// Whether a token that another process asked for will do.
    pub(crate) accepts: &'a dyn Fn(&AccessToken) -> bool,
    pub(crate) deadline: Deadline,
    pub(crate) now: &'a dyn Fn() -> Now,
    /// Asks the issuer, at that moment.
    pub(crate) mint: &'a dyn Fn(Now) -> Result<Minted, Error>,
}

impl Wish<'_> {
    pub(crate) fn ask(&self) -> Result<Obtained, Error> {
        let at = (self.now)();
        (self.mint)(at).map(|minted| Obtained { minted, at, from_issuer: true })
    }
}

/// A token, and where it is from.
pub(crate) struct Obtained {
    pub(crate) minted: Minted,
    /// The moment from which its lifetime counts.
    pub(crate) at: Now,
    /// Whether the issuer was asked for it just now.
    pub(crate) from_issuer: bool,
}
