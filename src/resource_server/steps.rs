//! The steps of a verification by name, in their order, which is part of the contract; and how to listen to one.

use crate::claims::claim_set::ClaimSet;
use crate::error::TokenErrorKind;
use crate::jose::algorithm::Algorithm;
use crate::jose::jwk::JwkSet;

/// A step on the way of a token through its verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Clock,
    Length,
    /// Three parts of base64url, and the header's JSON.
    Form,
    Critical,
    Algorithm,
    Type,
    /// The issuer's key set can be had.
    Keys,
    /// It has a key for the token.
    Key,
    Signature,
    /// The payload's JSON, and the types of the registered claims.
    Claims,
    Check(Check),
}

impl Step {
    pub(crate) const ALL: [Self; 18] = [
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
        Self::Check(Check::Required),
        Self::Check(Check::Issuer),
        Self::Check(Check::Expiry),
        Self::Check(Check::Begin),
        Self::Check(Check::Audience),
        Self::Check(Check::TokenUse),
        Self::Check(Check::Sender),
        Self::Check(Check::Scopes),
    ];

    /// Whether a refusal of that kind can be this step's.
    pub(crate) fn refuses_with(self, kind: TokenErrorKind) -> bool {
        use TokenErrorKind as Kind;
        match self {
            Self::Clock | Self::Keys => false,
            Self::Length => kind == Kind::TooLong,
            Self::Form => kind == Kind::Malformed,
            Self::Critical => kind == Kind::CriticalHeader,
            Self::Algorithm => kind == Kind::UnsupportedAlgorithm,
            Self::Type => kind == Kind::WrongType,
            Self::Key => matches!(kind, Kind::UnknownKey | Kind::UnfitKey | Kind::AmbiguousKey),
            Self::Signature => kind == Kind::BadSignature,
            Self::Claims => matches!(kind, Kind::Malformed | Kind::InvalidClaim),
            Self::Check(check) => kind == check.kind(),
        }
    }
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
    /// `cnf`.
    Sender,
    Scopes,
}

impl Check {
    /// What says most about the token comes first, and what its holder may lack, a scope, comes last: 403 is for nothing else.
    pub(crate) const ALL: [Self; 8] = [
        Self::Required,
        Self::Issuer,
        Self::Expiry,
        Self::Begin,
        Self::Audience,
        Self::TokenUse,
        Self::Sender,
        Self::Scopes,
    ];

    /// What a token that fails is refused with.
    pub(crate) fn kind(self) -> TokenErrorKind {
        match self {
            Self::Required => TokenErrorKind::InvalidClaim,
            Self::Issuer => TokenErrorKind::WrongIssuer,
            Self::Expiry => TokenErrorKind::Expired,
            Self::Begin => TokenErrorKind::NotYetValid,
            Self::Audience => TokenErrorKind::WrongAudience,
            Self::TokenUse => TokenErrorKind::WrongTokenUse,
            Self::Sender => TokenErrorKind::SenderConstrained,
            Self::Scopes => TokenErrorKind::InsufficientScope,
        }
    }
}

/// Listens to a verification in order to explain it. A verification itself listens with `()`, which costs nothing.
pub(crate) trait Trace {
    fn passed(&mut self, _step: Step) {}

    /// What the header asks for.
    fn header(&mut self, _algorithm: Algorithm, _kid: Option<&str>) {}

    fn keys(&mut self, _keys: &JwkSet, _stale: bool) {}

    /// Claims behind a good signature, before any check of them.
    fn claims(&mut self, _claims: &ClaimSet) {}
}

impl Trace for () {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checks_of_the_claims_are_the_last_steps_in_their_order() {
        let (_, last) = Step::ALL.split_at(Step::ALL.len() - Check::ALL.len());
        assert!(last.iter().copied().eq(Check::ALL.map(Step::Check)));
    }

    #[test]
    fn a_refusal_is_of_the_step_that_makes_it_and_of_no_other() {
        use TokenErrorKind as Kind;
        for (kind, expected) in [
            (Kind::MissingToken, &[][..]),
            (Kind::TooLong, &[Step::Length]),
            (Kind::Malformed, &[Step::Form, Step::Claims]),
            (Kind::CriticalHeader, &[Step::Critical]),
            (Kind::UnsupportedAlgorithm, &[Step::Algorithm]),
            (Kind::WrongType, &[Step::Type]),
            (Kind::UnknownKey, &[Step::Key]),
            (Kind::UnfitKey, &[Step::Key]),
            (Kind::AmbiguousKey, &[Step::Key]),
            (Kind::BadSignature, &[Step::Signature]),
            (Kind::InvalidClaim, &[Step::Claims, Step::Check(Check::Required)]),
            (Kind::WrongIssuer, &[Step::Check(Check::Issuer)]),
            (Kind::Expired, &[Step::Check(Check::Expiry)]),
            (Kind::NotYetValid, &[Step::Check(Check::Begin)]),
            (Kind::WrongAudience, &[Step::Check(Check::Audience)]),
            (Kind::WrongTokenUse, &[Step::Check(Check::TokenUse)]),
            (Kind::SenderConstrained, &[Step::Check(Check::Sender)]),
            (Kind::InsufficientScope, &[Step::Check(Check::Scopes)]),
        ] {
            let steps: Vec<Step> = Step::ALL.into_iter().filter(|step| step.refuses_with(kind)).collect();
            assert_eq!(steps, expected, "{kind:?}");
        }
    }
}
