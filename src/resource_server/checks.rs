//! The security core: one pure function of token, keys, policy and time. No I/O, no lock, no clock.
//!
//! The order of refusals is part of the contract. Before any key: length, form, header, algorithm, type ([`Presented::parse`]). Then
//! the key, the signature, and only after it the claims ([`Presented::check`]), in the order of [`Check::ALL`].

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::{Error, TokenErrorKind};
use crate::jose::algorithm::Algorithm;
use crate::jose::claim_set::ClaimSet;
use crate::jose::claims::Claims;
use crate::jose::jwk::{Candidates, JwkSet};
use crate::jose::jws::CompactJws;
use crate::jose::key::VerificationKey;

/// What a resource server asks of every token.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) issuer: Arc<str>,
    /// `None`: `aud` is not compared.
    pub(crate) audiences: Option<Names>,
    pub(crate) tolerance: Duration,
    pub(crate) required_scopes: Names,
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) max_token_bytes: usize,
}

impl Policy {
    /// Before any other work.
    pub(crate) fn check_length(&self, token: &str) -> Result<(), TokenErrorKind> {
        if token.len() > self.max_token_bytes { Err(TokenErrorKind::TooLong) } else { Ok(()) }
    }
}

/// What one call asks on top of the [`Policy`]. The default asks nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Expectation<'a> {
    /// In place of the policy's.
    pub(crate) audiences: Option<&'a Names>,
    /// Beside the policy's.
    pub(crate) required_scopes: Option<&'a Names>,
}

/// A set of names that is searched, sorted so that no token makes the search quadratic.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(Vec<String>);

impl Names {
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.binary_search_by(|other| other.as_str().cmp(name)).is_ok()
    }

    pub(crate) fn as_slice(&self) -> &[String] {
        &self.0
    }
}

impl FromIterator<String> for Names {
    fn from_iter<I: IntoIterator<Item = String>>(names: I) -> Self {
        let mut names: Vec<String> = names.into_iter().collect();
        names.sort_unstable();
        names.dedup();
        Self(names)
    }
}

/// A token that passed every check that needs no key.
#[derive(Debug)]
pub(crate) struct Presented<'a> {
    jws: CompactJws<'a>,
}

/// What is known of a token after its keys were looked at.
#[derive(Debug)]
pub(crate) enum Verdict {
    Verified {
        claims: Claims,
        /// The key and algorithm that vouch for it, for [`JwkSet::serves`].
        key: [u8; 32],
        algorithm: Algorithm,
    },
    /// `worth_a_fetch`: with another key set the token might pass, for all that its unverified claims say. They are told to nobody else.
    UnknownKid {
        worth_a_fetch: bool,
    },
    Refused(TokenErrorKind),
}

impl<'a> Presented<'a> {
    /// Steps 1 and 2: no key is needed to refuse here, so no such token ever causes a request.
    pub(crate) fn parse(token: &'a str, policy: &Policy) -> Result<Self, TokenErrorKind> {
        policy.check_length(token)?;
        let jws = CompactJws::read(token)?;
        if jws.unverified_payload().is_empty() {
            return Err(TokenErrorKind::Malformed);
        }
        if !policy.algorithms.contains(&jws.algorithm()) {
            return Err(TokenErrorKind::UnsupportedAlgorithm);
        }
        if !jws.typ().is_none_or(is_access_token_type) {
            return Err(TokenErrorKind::WrongType);
        }
        Ok(Self { jws })
    }

    /// The header's `kid`, unverified.
    pub(crate) fn kid(&self) -> Option<&str> {
        self.jws.kid()
    }

    /// The header's algorithm, unverified.
    pub(crate) fn algorithm(&self) -> Algorithm {
        self.jws.algorithm()
    }

    /// The claims as anybody may have written them: to choose whom to ask, never to answer by.
    pub(crate) fn unverified_claims(&self) -> Result<ClaimSet, TokenErrorKind> {
        ClaimSet::from_bytes(self.jws.unverified_payload().to_vec())
    }

    /// Steps 3 to 6, at the time `wall`. A token that was verified is used up: its payload has moved into the claims.
    pub(crate) fn check(
        &mut self,
        keys: &JwkSet,
        policy: &Policy,
        expectation: &Expectation<'_>,
        wall: SystemTime,
    ) -> Verdict {
        let algorithm = self.jws.algorithm();
        let verified = match keys.candidates(self.jws.kid(), algorithm) {
            Candidates::One(key) => self.verified_by(&[key]),
            Candidates::Keys(keys) => self.verified_by(&keys),
            Candidates::Unfit => return Verdict::Refused(TokenErrorKind::UnfitKey),
            Candidates::Ambiguous => return Verdict::Refused(TokenErrorKind::AmbiguousKey),
            Candidates::UnknownKid => {
                return Verdict::UnknownKid { worth_a_fetch: self.is_worth_a_fetch(policy, expectation, wall) };
            }
        };
        let checked = verified.and_then(|(claims, key)| {
            check_claims(claims.set(), policy, expectation, wall).map(|()| Verdict::Verified { claims, key, algorithm })
        });
        checked.unwrap_or_else(Verdict::Refused)
    }

    /// The claims, by the first key that made the signature.
    fn verified_by(&mut self, keys: &[&VerificationKey]) -> Result<(Claims, [u8; 32]), TokenErrorKind> {
        let (key, proof) =
            keys.iter().find_map(|key| Some((*key, self.jws.check(key)?))).ok_or(TokenErrorKind::BadSignature)?;
        Ok((Claims::parse(self.jws.take_verified(proof))?, *key.digest()))
    }

    fn is_worth_a_fetch(&self, policy: &Policy, expectation: &Expectation<'_>, wall: SystemTime) -> bool {
        self.unverified_claims().is_ok_and(|claims| {
            Check::WORTH_A_FETCH.iter().all(|check| check.run(&claims, policy, expectation, wall).is_ok())
        })
    }
}

/// Everything about claims that depends on policy or time, in the order of [`Check::ALL`]. A token from the cache of verified ones goes
/// through it again.
pub(crate) fn check_claims(
    claims: &ClaimSet,
    policy: &Policy,
    expectation: &Expectation<'_>,
    wall: SystemTime,
) -> Result<(), TokenErrorKind> {
    Check::ALL.iter().try_for_each(|check| check.run(claims, policy, expectation, wall))
}

/// The error for a refusal; only one of scope tells what would have been enough (RFC 6750 §3.1).
pub(crate) fn refusal(kind: TokenErrorKind, policy: &Policy, expectation: &Expectation<'_>) -> Error {
    if kind != TokenErrorKind::InsufficientScope {
        return Error::token(kind);
    }
    let more = expectation.required_scopes.into_iter().flat_map(|names| names.as_slice());
    let required: Names = policy.required_scopes.as_slice().iter().chain(more).cloned().collect();
    Error::insufficient_scope(required.as_slice())
}

/// One check of the claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// `iss`, `exp`, and `aud` where one is expected, are there (their types were checked on reading).
    Required,
    Issuer,
    Expiry,
    /// `nbf` and `iat`.
    Begin,
    Audience,
    TokenUse,
    Scopes,
}

impl Check {
    /// What says most about the token comes first, and what its holder may lack, a scope, comes last: 403 is for nothing else.
    pub(crate) const ALL: [Self; 7] =
        [Self::Required, Self::Issuer, Self::Expiry, Self::Begin, Self::Audience, Self::TokenUse, Self::Scopes];

    const WORTH_A_FETCH: [Self; 5] = [Self::Required, Self::Issuer, Self::Expiry, Self::Audience, Self::TokenUse];

    pub(crate) fn run(
        self,
        claims: &ClaimSet,
        policy: &Policy,
        expectation: &Expectation<'_>,
        wall: SystemTime,
    ) -> Result<(), TokenErrorKind> {
        let audiences = expectation.audiences.or(policy.audiences.as_ref());
        let (passed, kind) = match self {
            Self::Required => (has_required(claims, audiences), TokenErrorKind::InvalidClaim),
            Self::Issuer => (claims.issuer() == Some(&*policy.issuer), TokenErrorKind::WrongIssuer),
            Self::Expiry => (is_alive(claims, policy.tolerance, wall), TokenErrorKind::Expired),
            Self::Begin => (has_begun(claims, policy.tolerance, wall), TokenErrorKind::NotYetValid),
            Self::Audience => (is_for(claims, audiences), TokenErrorKind::WrongAudience),
            Self::TokenUse => (claims.token_use().is_none_or(|used| used == "access"), TokenErrorKind::WrongTokenUse),
            Self::Scopes => {
                let more = expectation.required_scopes.is_none_or(|required| has_scopes(claims, required));
                (more && has_scopes(claims, &policy.required_scopes), TokenErrorKind::InsufficientScope)
            }
        };
        if passed { Ok(()) } else { Err(kind) }
    }
}

fn has_required(claims: &ClaimSet, audiences: Option<&Names>) -> bool {
    let audience = audiences.is_none() || claims.audiences().is_some();
    claims.issuer().is_some() && claims.expires_at().is_some() && audience
}

/// `exp + tolerance > now` (RFC 7519 §4.1.4: on the second itself the token is over).
fn is_alive(claims: &ClaimSet, tolerance: Duration, wall: SystemTime) -> bool {
    claims.expires_at().is_some_and(|expiry| expiry.since_epoch().saturating_add(tolerance) > since_epoch(wall))
}

/// `nbf` and `iat`, if present, are not after `now + tolerance`.
fn has_begun(claims: &ClaimSet, tolerance: Duration, wall: SystemTime) -> bool {
    let latest = since_epoch(wall).saturating_add(tolerance);
    [claims.not_before(), claims.issued_at()].into_iter().flatten().all(|date| date.since_epoch() <= latest)
}

fn is_for(claims: &ClaimSet, audiences: Option<&Names>) -> bool {
    let Some(expected) = audiences else { return true };
    claims.audiences().is_some_and(|mut audiences| audiences.any(|audience| expected.contains(audience)))
}

fn has_scopes(claims: &ClaimSet, required: &Names) -> bool {
    let required = required.as_slice();
    if required.len() <= FEW_SCOPES {
        return required.iter().all(|scope| claims.has_scope(scope));
    }
    let mut granted: Vec<&str> = claims.scopes().collect();
    granted.sort_unstable();
    required.iter().all(|scope| granted.binary_search(&scope.as_str()).is_ok())
}

/// RFC 9068 §4 and RFC 7519 §5.1; what is no access token by its own word is refused (RFC 8725 §3.11). A prefix `application/` is the
/// same type in full (RFC 7515 §4.1.9).
fn is_access_token_type(typ: &str) -> bool {
    let bare = match typ.split_at_checked(APPLICATION.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(APPLICATION) => rest,
        _ => typ,
    };
    bare.eq_ignore_ascii_case("JWT") || bare.eq_ignore_ascii_case("at+jwt")
}

/// A wall clock before 1970 is as unset as one at 1970; the caller has refused both before.
fn since_epoch(wall: SystemTime) -> Duration {
    wall.duration_since(UNIX_EPOCH).unwrap_or_default()
}

const APPLICATION: &str = "application/";

/// Required scopes up to which the token's are searched one by one rather than sorted.
const FEW_SCOPES: usize = 4;
