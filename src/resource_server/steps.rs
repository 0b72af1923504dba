//! The steps of a verification, in their order, which is part of the contract; and how it can end without claims.

use crate::claims::claim_set::{ClaimSet, ClaimsProblem};
use crate::error::{Error, TokenErrorKind};
use crate::jose::algorithm::Algorithm;
use crate::jose::jwk::JwkSet;

/// A step of a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Clock,
    Length,
    /// Three parts of base64url, and the header's JSON.
    Form,
    Critical,
    Algorithm,
    Type,
    /// The issuer's key set is there.
    Keys,
    /// It has a key for the token.
    Key,
    Signature,
    /// The payload's JSON, and the types of the registered claims.
    Claims,
    /// The claims that must be there.
    Required,
    Issuer,
    Expiry,
    /// `nbf` and `iat`.
    Begin,
    Audience,
    TokenUse,
    Scopes,
    /// What `require_claim` names.
    RequiredClaims,
    /// `acr` and `auth_time` (RFC 9470).
    Authentication,
    /// `cnf`.
    Sender,
    /// The program's own checks.
    Custom,
}

impl Step {
    pub(crate) const ALL: &[Self] = &[
        Self::Clock,
        Self::Length,
        Self::Form,
        Self::Critical,
        Self::Algorithm,
        Self::Type,
        Self::Keys,
        Self::Key,
        Self::Signature,
        Self::Claims,
        Self::Required,
        Self::Issuer,
        Self::Expiry,
        Self::Begin,
        Self::Audience,
        Self::TokenUse,
        Self::Scopes,
        Self::RequiredClaims,
        Self::Authentication,
        Self::Sender,
        Self::Custom,
    ];
}

/// A token that a step refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal<'p> {
    pub(crate) step: Step,
    pub(crate) kind: TokenErrorKind,
    /// The claim, pointer or check that it is about. Never a value.
    pub(crate) about: Option<&'p str>,
}

impl<'p> Refusal<'p> {
    pub(crate) fn new(step: Step, kind: TokenErrorKind) -> Self {
        Self { step, kind, about: None }
    }

    pub(crate) fn about(self, name: &'p str) -> Self {
        Self { about: Some(name), ..self }
    }
}

impl From<ClaimsProblem> for Refusal<'_> {
    fn from(problem: ClaimsProblem) -> Self {
        match problem {
            ClaimsProblem::NotAnObject => Self::new(Step::Claims, TokenErrorKind::Malformed),
            ClaimsProblem::Claim(name) => Self::new(Step::Claims, TokenErrorKind::InvalidClaim).about(name),
        }
    }
}

/// How a verification ended without claims.
pub(crate) enum Failure<'p> {
    Refused(Refusal<'p>),
    /// The token could not be judged.
    Unjudged(Step, Error),
}

impl<'p> From<Refusal<'p>> for Failure<'p> {
    fn from(refusal: Refusal<'p>) -> Self {
        Self::Refused(refusal)
    }
}

/// What a verification found on its way, for an explanation.
pub(crate) enum Finding<'a> {
    Header {
        algorithm: Algorithm,
        kid: Option<&'a str>,
    },
    Keys {
        keys: &'a JwkSet,
        stale: bool,
    },
    /// Claims behind a good signature, before any check of them.
    Claims(&'a ClaimSet),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_steps_are_listed_in_their_order() {
        assert!(Step::ALL.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(Step::ALL.last(), Some(&Step::Custom));
    }
}
