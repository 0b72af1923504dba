//! The security core: one pure function of token, keys, policy and time. No I/O, no lock, no clock.
//!
//! The order of refusals is part of the contract. Before any key: length, form, header, algorithm, type ([`Requirements::check_length`],
//! [`UnverifiedToken::read`], [`UnverifiedToken::check_header`]). Then the key, the signature, and only after it the claims
//! ([`UnverifiedToken::check`]), in the order of [`Check::ALL`].

use std::sync::Arc;
use std::time::Duration;

use crate::claims::claim_set::ClaimSet;
use crate::claims::{self, Claims};
use crate::error::{Error, TokenErrorKind};
use crate::issuer::keys::RefetchCause;
use crate::jose::algorithm::Algorithm;
use crate::jose::base64url::Decoder;
use crate::jose::jwk::{Candidates, JwkSet};
use crate::jose::jws::{CompactJws, Header};
use crate::jose::key::VerificationKey;
use crate::json::Object;
use crate::resource_server::sender_constraint::SenderConstraint;
use crate::resource_server::steps::{Check, Step, Trace};

/// What a resource server asks of every token.
#[derive(Clone, Debug)]
pub(crate) struct Requirements {
    pub(crate) issuer: Arc<str>,
    /// `None`: `aud` is not compared.
    pub(crate) audiences: Option<StringSet>,
    pub(crate) tolerance: Duration,
    pub(crate) required_scopes: StringSet,
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) max_token_bytes: usize,
    pub(crate) sender_constrained: SenderConstraint,
}

impl Requirements {
    /// Before any other work.
    pub(crate) fn check_length(&self, token: &str) -> Result<(), TokenErrorKind> {
        if token.len() > self.max_token_bytes { Err(TokenErrorKind::TooLong) } else { Ok(()) }
    }
}

/// What one call asks on top of the [`Requirements`]. The default asks nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CallRequirements<'a> {
    /// In place of the policy's.
    pub(crate) audiences: Option<&'a StringSet>,
    /// Beside the policy's.
    pub(crate) required_scopes: Option<&'a StringSet>,
    /// The thumbprint of the sender's certificate, in base64url.
    pub(crate) certificate: Option<&'a str>,
}

impl CallRequirements<'_> {
    /// `None`: `aud` is not compared.
    pub(crate) fn effective_audiences<'p>(&'p self, policy: &'p Requirements) -> Option<&'p StringSet> {
        self.audiences.or(policy.audiences.as_ref())
    }

    pub(crate) fn all_required_scopes(&self, policy: &Requirements) -> StringSet {
        let more = self.required_scopes.into_iter().flat_map(StringSet::as_slice);
        policy.required_scopes.as_slice().iter().chain(more).cloned().collect()
    }
}

/// A set of names that is searched, sorted so that no token makes the search quadratic.
#[derive(Clone, Debug, Default)]
pub(crate) struct StringSet(Vec<String>);

impl StringSet {
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.binary_search_by(|other| other.as_str().cmp(name)).is_ok()
    }

    pub(crate) fn as_slice(&self) -> &[String] {
        &self.0
    }
}

impl FromIterator<String> for StringSet {
    fn from_iter<I: IntoIterator<Item = String>>(names: I) -> Self {
        let names: Vec<String> = names.into_iter().collect();
        // As slices, since that sort is in every program already, for the names of a large object.
        let mut sorted: Vec<&str> = names.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        sorted.dedup();
        Self(sorted.into_iter().map(str::to_owned).collect())
    }
}

/// A token that passed every check that needs no key.
#[derive(Debug)]
pub(crate) struct UnverifiedToken<'a> {
    jws: CompactJws<'a>,
}

/// What is known of a token after its keys were looked at.
#[derive(Debug)]
pub(crate) enum VerifyOutcome {
    Verified {
        claims: Claims,
        /// The key and algorithm that vouch for it, for [`JwkSet::still_has`].
        key: [u8; 32],
        algorithm: Algorithm,
    },
    /// `worth_a_fetch`: with another key set the token might pass, for all that its unverified claims say. They are told to nobody else.
    UnknownKid {
        worth_a_fetch: bool,
    },
    Refused(TokenErrorKind),
}

impl<'a> UnverifiedToken<'a> {
    /// Steps 1 and 2 without what depends on a policy, of a token whose length was checked. With
    /// [`check_header`](Self::check_header) no key is needed to refuse, so no such token ever causes a request.
    pub(crate) fn read(token: &'a str) -> Result<Self, TokenErrorKind> {
        Self::read_knowing(None, token, &Decoder::new())
    }

    /// As [`read`](Self::read); `known` is the header of a token before this one: the same bytes are not read twice.
    pub(crate) fn read_knowing(
        known: Option<Arc<Header>>,
        token: &'a str,
        decoder: &Decoder,
    ) -> Result<Self, TokenErrorKind> {
        // RFC 7515 allows a payload of nothing, a JWT has claims. It is a matter of form, so it comes before what the header asks for.
        let without_payload = || token.split_once('.').is_some_and(|(_, rest)| rest.starts_with('.'));
        let jws = CompactJws::read(known, token, decoder)
            .map_err(|kind| if without_payload() { TokenErrorKind::Malformed } else { kind })?;
        if jws.unverified_payload().is_empty() { Err(TokenErrorKind::Malformed) } else { Ok(Self { jws }) }
    }

    /// The rest of step 2.
    pub(crate) fn check_header(&self, policy: &Requirements) -> Result<(), TokenErrorKind> {
        if !policy.algorithms.contains(&self.algorithm()) {
            return Err(TokenErrorKind::UnsupportedAlgorithm);
        }
        if !self.jws.typ().is_none_or(is_access_token_type) {
            return Err(TokenErrorKind::WrongType);
        }
        Ok(())
    }

    /// The header, for the token after this one, if it is another than the one before.
    pub(crate) fn new_header(&self) -> Option<&Arc<Header>> {
        self.jws.new_header()
    }

    /// The header's algorithm, unverified.
    pub(crate) fn algorithm(&self) -> Algorithm {
        self.jws.algorithm()
    }

    /// The header's `kid`, unverified.
    pub(crate) fn kid(&self) -> Option<&str> {
        self.jws.kid()
    }

    /// The claims as anybody may have written them: to choose whom to ask, never to answer by.
    pub(crate) fn unverified_claims(&self) -> Result<ClaimSet, TokenErrorKind> {
        ClaimSet::from_bytes(self.jws.unverified_payload().to_vec()).map_err(claims::refused)
    }

    /// The issuer that the token says it is of: to choose whom to ask, never to answer by. No other claim is looked at.
    pub(crate) fn unverified_issuer(&self) -> Result<String, TokenErrorKind> {
        let text = std::str::from_utf8(self.jws.unverified_payload()).map_err(|_| TokenErrorKind::Malformed)?;
        let claims = Object::parse(text).map_err(|_| TokenErrorKind::Malformed)?;
        claims.string("iss").ok().flatten().map(str::to_owned).ok_or(TokenErrorKind::InvalidClaim)
    }

    /// Steps 3 to 6, at the time `wall`, a span since 1970. A token that was verified is used up: its payload has moved into the claims.
    pub(crate) fn check(
        &mut self,
        keys: &JwkSet,
        policy: &Requirements,
        expectation: &CallRequirements<'_>,
        wall: Duration,
        trace: &mut impl Trace,
    ) -> VerifyOutcome {
        let algorithm = self.algorithm();
        let verified = match keys.candidates(self.jws.kid(), algorithm) {
            Candidates::One(key) => self.verified_by(&[key], trace),
            Candidates::Keys(keys) => self.verified_by(&keys, trace),
            Candidates::Unfit => return VerifyOutcome::Refused(TokenErrorKind::UnfitKey),
            Candidates::Ambiguous => return VerifyOutcome::Refused(TokenErrorKind::AmbiguousKey),
            Candidates::UnknownKid => {
                return VerifyOutcome::UnknownKid { worth_a_fetch: self.is_worth_a_fetch(policy, expectation, wall) };
            }
        };
        let checked = verified.and_then(|(claims, key)| {
            check_claims(claims.set(), policy, expectation, wall, trace)?;
            Ok(VerifyOutcome::Verified { claims, key, algorithm })
        });
        checked.unwrap_or_else(VerifyOutcome::Refused)
    }

    /// Why other keys than those that gave this outcome might verify the token, for all that its unverified claims say.
    pub(crate) fn refetch_cause(
        &self,
        outcome: &VerifyOutcome,
        policy: &Requirements,
        expectation: &CallRequirements<'_>,
        wall: Duration,
    ) -> Option<RefetchCause<'_>> {
        match outcome {
            VerifyOutcome::UnknownKid { worth_a_fetch: true } => self.kid().map(RefetchCause::UnknownKid),
            VerifyOutcome::Refused(TokenErrorKind::BadSignature | TokenErrorKind::UnfitKey) => {
                self.is_worth_a_fetch(policy, expectation, wall).then_some(RefetchCause::OtherKey)
            }
            VerifyOutcome::UnknownKid { .. } | VerifyOutcome::Refused(_) | VerifyOutcome::Verified { .. } => None,
        }
    }

    /// The claims, by the first key that made the signature.
    fn verified_by(
        &mut self,
        keys: &[&VerificationKey],
        trace: &mut impl Trace,
    ) -> Result<(Claims, [u8; 32]), TokenErrorKind> {
        trace.passed(Step::Key);
        let (key, proof) =
            keys.iter().find_map(|key| Some((*key, self.jws.check(key)?))).ok_or(TokenErrorKind::BadSignature)?;
        trace.passed(Step::Signature);
        let claims = Claims::parse(self.jws.take_verified(proof))?;
        trace.claims(claims.set());
        trace.passed(Step::Claims);
        Ok((claims, *key.digest()))
    }

    fn is_worth_a_fetch(&self, policy: &Requirements, expectation: &CallRequirements<'_>, wall: Duration) -> bool {
        self.unverified_claims().is_ok_and(|claims| {
            Check::WORTH_A_FETCH.iter().all(|check| check.run(&claims, policy, expectation, wall).is_ok())
        })
    }
}

/// Everything about claims that depends on policy or time, in the order of [`Check::ALL`]. A token from the cache of verified ones goes
/// through it again.
pub(crate) fn check_claims(
    claims: &ClaimSet,
    policy: &Requirements,
    expectation: &CallRequirements<'_>,
    wall: Duration,
    trace: &mut impl Trace,
) -> Result<(), TokenErrorKind> {
    Check::ALL.iter().try_for_each(|check| {
        check.run(claims, policy, expectation, wall)?;
        trace.passed(Step::Check(*check));
        Ok(())
    })
}

/// The error for a refusal; only one of scope tells what would have been enough (RFC 6750 §3.1).
pub(crate) fn refusal(kind: TokenErrorKind, policy: &Requirements, expectation: &CallRequirements<'_>) -> Error {
    if kind != TokenErrorKind::InsufficientScope {
        return Error::token(kind);
    }
    Error::insufficient_scope(expectation.all_required_scopes(policy).as_slice())
}

impl Check {
    const WORTH_A_FETCH: [Self; 5] = [Self::Required, Self::Issuer, Self::Expiry, Self::Audience, Self::TokenUse];

    pub(crate) fn run(
        self,
        claims: &ClaimSet,
        policy: &Requirements,
        expectation: &CallRequirements<'_>,
        wall: Duration,
    ) -> Result<(), TokenErrorKind> {
        let audiences = expectation.effective_audiences(policy);
        let passed = match self {
            Self::Required => has_required(claims, audiences),
            Self::Issuer => claims.issuer() == Some(&*policy.issuer),
            Self::Expiry => is_alive(claims, policy.tolerance, wall),
            Self::Begin => has_begun(claims, policy.tolerance, wall),
            Self::Audience => is_for(claims, audiences),
            Self::TokenUse => claims.token_use().is_none_or(|used| used == "access"),
            Self::Sender => policy.sender_constrained.allows(claims, expectation.certificate),
            Self::Scopes => {
                let more = expectation.required_scopes.is_none_or(|required| has_scopes(claims, required));
                more && has_scopes(claims, &policy.required_scopes)
            }
        };
        if passed { Ok(()) } else { Err(self.kind()) }
    }
}

fn has_required(claims: &ClaimSet, audiences: Option<&StringSet>) -> bool {
    let audience = audiences.is_none() || claims.audiences().is_some();
    claims.issuer().is_some() && claims.expires_at().is_some() && audience
}

/// `exp + tolerance > now` (RFC 7519 §4.1.4: on the second itself the token is over).
fn is_alive(claims: &ClaimSet, tolerance: Duration, wall: Duration) -> bool {
    claims.expires_at().is_some_and(|expiry| expiry.since_epoch().saturating_add(tolerance) > wall)
}

/// `nbf` and `iat`, if present, are not after `now + tolerance`.
fn has_begun(claims: &ClaimSet, tolerance: Duration, wall: Duration) -> bool {
    let latest = wall.saturating_add(tolerance);
    [claims.not_before(), claims.issued_at()].into_iter().flatten().all(|date| date.since_epoch() <= latest)
}

fn is_for(claims: &ClaimSet, audiences: Option<&StringSet>) -> bool {
    let Some(expected) = audiences else { return true };
    claims.audiences().is_some_and(|mut audiences| audiences.any(|audience| expected.contains(audience)))
}

fn has_scopes(claims: &ClaimSet, required: &StringSet) -> bool {
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

const APPLICATION: &str = "application/";

/// Required scopes up to which the token's are searched one by one rather than sorted.
const FEW_SCOPES: usize = 4;

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use ring::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;
    use TokenErrorKind::*;

    const NOW: u64 = 1_800_000_000;
    const HEADER: &str = r#"{"alg":"EdDSA","kid":"k"}"#;
    const CLAIMS: &str =
        r#"{"iss":"https://acme.aero2.dev","aud":"orders","exp":1800000060,"token_use":"access","scope":"read write"}"#;

    fn names(names: &[&str]) -> StringSet {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn parse<'a>(token: &'a str, policy: &Requirements) -> Result<UnverifiedToken<'a>, TokenErrorKind> {
        parse_knowing(token, policy, None)
    }

    fn parse_knowing<'a>(
        token: &'a str,
        policy: &Requirements,
        known: Option<Arc<Header>>,
    ) -> Result<UnverifiedToken<'a>, TokenErrorKind> {
        policy.check_length(token)?;
        let presented = UnverifiedToken::read_knowing(known, token, &Decoder::new())?;
        presented.check_header(policy).map(|()| presented)
    }

    fn policy() -> Requirements {
        Requirements {
            issuer: "https://acme.aero2.dev".into(),
            audiences: Some(names(&["orders", "billing"])),
            tolerance: Duration::from_secs(30),
            required_scopes: names(&["read"]),
            algorithms: Algorithm::ALL.to_vec(),
            max_token_bytes: 16 * 1024,
            sender_constrained: Default::default(),
        }
    }

    fn key(seed: u8) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
    }

    fn sign_with(seed: u8, header: &str, payload: &[u8]) -> String {
        let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = URL_SAFE_NO_PAD.encode(key(seed).sign(input.as_bytes()));
        format!("{input}.{signature}")
    }

    fn sign(header: &str, payload: &str) -> String {
        sign_with(1, header, payload.as_bytes())
    }

    /// A key of a set: `more` is JSON members, with a comma before each.
    fn jwk(seed: u8, more: &str) -> String {
        let x = URL_SAFE_NO_PAD.encode(key(seed).public_key().as_ref());
        format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"{more}}}"#)
    }

    fn set(keys: &[String]) -> JwkSet {
        JwkSet::parse(&format!(r#"{{"keys":[{}]}}"#, keys.join(","))).unwrap()
    }

    fn usual_keys() -> JwkSet {
        set(&[jwk(1, r#","kid":"k""#)])
    }

    fn check(
        token: &str,
        keys: &JwkSet,
        policy: &Requirements,
        expectation: &CallRequirements<'_>,
        now: u64,
    ) -> Result<Claims, TokenErrorKind> {
        match parse(token, policy)?.check(keys, policy, expectation, Duration::from_secs(now), &mut ()) {
            VerifyOutcome::Verified { claims, .. } => Ok(claims),
            VerifyOutcome::UnknownKid { .. } => Err(UnknownKey),
            VerifyOutcome::Refused(kind) => Err(kind),
        }
    }

    fn kind_of(token: &str) -> Option<TokenErrorKind> {
        check(token, &usual_keys(), &policy(), &CallRequirements::default(), NOW).err()
    }

    /// The usual claims with `name` set to the JSON `value`, or without it.
    fn claims_with(name: &str, value: Option<&str>) -> String {
        let mut claims: serde_json::Map<String, serde_json::Value> = serde_json::from_str(CLAIMS).unwrap();
        claims.remove(name);
        let rest = serde_json::to_string(&claims).unwrap();
        match value {
            Some(value) => rest.replacen('{', &format!("{{\"{name}\":{value},"), 1),
            None => rest,
        }
    }

    fn kind_with(name: &str, value: Option<&str>) -> Option<TokenErrorKind> {
        kind_of(&sign(HEADER, &claims_with(name, value)))
    }

    #[test]
    fn a_good_token_passes_and_its_claims_come_out() {
        let claims = check(&sign(HEADER, CLAIMS), &usual_keys(), &policy(), &CallRequirements::default(), NOW).unwrap();
        assert_eq!(claims.issuer(), "https://acme.aero2.dev");
        assert_eq!(claims.audience(), ["orders"]);
        assert_eq!(claims.expires_at(), UNIX_EPOCH + Duration::from_secs(NOW + 60));
        assert_eq!(claims.raw_json(), CLAIMS);
        assert_eq!(format!("{claims:?}"), "Claims(..)");
    }

    #[test]
    fn the_length_is_limited() {
        let token = sign(HEADER, CLAIMS);
        let limited = |max_token_bytes| {
            check(
                &token,
                &usual_keys(),
                &Requirements { max_token_bytes, ..policy() },
                &CallRequirements::default(),
                NOW,
            )
            .err()
        };
        assert_eq!((limited(token.len()), limited(token.len() - 1)), (None, Some(TooLong)));
        let dots = ".".repeat(16 * 1024 + 1);
        assert_eq!((kind_of(&dots), kind_of(&dots[1..])), (Some(TooLong), Some(Malformed)));
    }

    #[test]
    fn a_token_is_three_parts_of_canonical_base64url() {
        let good = sign(HEADER, CLAIMS);
        let parts: Vec<&str> = good.split('.').collect();
        let [header, payload, signature] = parts[..] else { panic!() };
        let last = |text: &str, to: char| format!("{}{to}", &text[..text.len() - 1]);
        let bad = [
            String::new(),
            ".".to_owned(),
            "..".to_owned(),
            header.to_owned(),
            format!("{header}.{payload}"),
            format!("{header}.{payload}."),
            format!(".{payload}.{signature}"),
            format!("{header}..{signature}"),
            format!("{good}."),
            format!(".{good}"),
            format!("{good}.{signature}"),
            format!("{header}.{payload}.{payload}.{payload}.{signature}"),
            format!("{good}.."),
            format!("{good}="),
            format!("{good}=="),
            format!("{header}={}", &good[header.len()..]),
            format!(" {good}"),
            format!("{good} "),
            format!("{good}\n"),
            format!("{header}.\t{payload}.{signature}"),
            format!("{header}.{payload}.{}", last(signature, 'h')),
            format!("{header}.{payload}.{signature}AAA"),
            format!("{header}.{payload}.+/{}", &signature[2..]),
            format!("{header}.{payload}.é{}", &signature[2..]),
            format!("{header}.{payload}.\0{}", &signature[1..]),
            format!("\u{feff}{good}"),
            format!(r#"{{"protected":"{header}","payload":"{payload}","signature":"{signature}"}}"#),
            format!("Bearer {good}"),
        ];
        for token in bad {
            assert_eq!(kind_of(&token), Some(Malformed), "{token}");
        }
    }

    #[test]
    fn a_header_is_an_object_with_a_text_alg() {
        for header in [
            "",
            "{",
            "[]",
            "null",
            "\"EdDSA\"",
            "{}",
            r#"{"kid":"k"}"#,
            r#"{"alg":null,"kid":"k"}"#,
            r#"{"alg":1}"#,
            r#"{"alg":["EdDSA"]}"#,
            r#"{"alg":{"a":1}}"#,
            r#"{"alg":true}"#,
            r#"{"alg":"EdDSA","alg":"EdDSA","kid":"k"}"#,
            r#"{"alg":"EdDSA","\u0061lg":"none","kid":"k"}"#,
            r#"{"alg":"EdDSA","kid":"k","x":{"y":1,"y":1}}"#,
            r#"{"alg":"EdDSA","kid":null}"#,
            r#"{"alg":"EdDSA","kid":1}"#,
            r#"{"alg":"EdDSA","kid":["k"]}"#,
            r#"{"alg":"EdDSA","kid":{}}"#,
            r#"{"alg":"EdDSA","kid":"k","typ":null}"#,
            r#"{"alg":"EdDSA","kid":"k","typ":1}"#,
            r#"{"alg":"EdDSA","kid":"k","typ":["JWT"]}"#,
            r#"{"alg":"EdDSA","kid":"k"} {}"#,
            "\u{feff}{\"alg\":\"EdDSA\",\"kid\":\"k\"}",
            r#"{"alg":"EdDSA","kid":"\ud800"}"#,
            r#"{"ALG":"EdDSA","kid":"k"}"#,
        ] {
            assert_eq!(kind_of(&sign(header, CLAIMS)), Some(Malformed), "{header}");
        }
        let deep =
            |levels: usize| format!(r#"{{"alg":"EdDSA","kid":"k","x":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
        assert_eq!(kind_of(&sign(&deep(63), CLAIMS)), None);
        assert_eq!(kind_of(&sign(&deep(64), CLAIMS)), Some(Malformed));
        assert_eq!(kind_of(&sign(&deep(5000), CLAIMS)), Some(Malformed));
        let token = sign(HEADER, CLAIMS);
        let no_utf8 = URL_SAFE_NO_PAD.encode(b"{\"alg\":\"EdDSA\",\"kid\":\"\xff\"}");
        assert_eq!(kind_of(&format!("{no_utf8}{}", &token[token.find('.').unwrap()..])), Some(Malformed));
    }

    #[test]
    fn any_crit_is_refused() {
        for crit in ["null", "[]", "[\"b64\"]", "[\"exp\"]", "\"b64\"", "1", "{}", "true", "[null]"] {
            let header = format!(r#"{{"alg":"EdDSA","kid":"k","b64":false,"crit":{crit}}}"#);
            assert_eq!(kind_of(&sign(&header, CLAIMS)), Some(CriticalHeader), "{crit}");
        }
        assert_eq!(kind_of(&sign(r#"{"alg":"EdDSA","kid":"k","cr\u0069t":[]}"#, CLAIMS)), Some(CriticalHeader));
        assert_eq!(kind_of(&sign(r#"{"crit":[],"alg":"none"}"#, CLAIMS)), Some(CriticalHeader));
        assert_eq!(kind_of(&sign(r#"{"crit":[],"alg":1}"#, CLAIMS)), Some(Malformed));
        assert_eq!(kind_of(&sign(r#"{"crit":[]}"#, CLAIMS)), Some(Malformed));
        assert_eq!(kind_of(&sign(r#"{"alg":"EdDSA","kid":"k","b64":true,"x":{"crit":[]}}"#, CLAIMS)), None);
    }

    #[test]
    fn only_the_algorithms_of_the_policy_are_taken() {
        for alg in [
            "none", "None", "NONE", "nOnE", "HS256", "HS384", "HS512", "eddsa", "ES512", "ES256K", "RS1", "RSA-OAEP",
            "dir", "",
        ] {
            let header = format!(r#"{{"alg":"{alg}","kid":"k","typ":"dpop+jwt"}}"#);
            assert_eq!(kind_of(&sign(&header, CLAIMS)), Some(UnsupportedAlgorithm), "{alg}");
        }
        assert_eq!(kind_of(&sign(r#"{"alg":"Ed25519","kid":"k"}"#, CLAIMS)), None);
        let without = Requirements { algorithms: vec![Algorithm::Rs256], ..policy() };
        let kind = check(&sign(HEADER, CLAIMS), &usual_keys(), &without, &CallRequirements::default(), NOW).err();
        assert_eq!(kind, Some(UnsupportedAlgorithm));
    }

    #[test]
    fn only_the_types_of_access_tokens_are_taken() {
        let with = |typ: &str| kind_of(&sign(&format!(r#"{{"alg":"EdDSA","kid":"k","typ":"{typ}"}}"#), CLAIMS));
        for typ in [
            "JWT",
            "jwt",
            "Jwt",
            "at+jwt",
            "AT+JWT",
            "at+JWT",
            "application/jwt",
            "application/at+jwt",
            "APPLICATION/At+Jwt",
        ] {
            assert_eq!(with(typ), None, "{typ}");
        }
        for typ in [
            "",
            "JOSE",
            "dpop+jwt",
            "logout+jwt",
            "secevent+jwt",
            "at+jwt ",
            " JWT",
            "JWTX",
            "id+jwt",
            "application/",
            "application/dpop+jwt",
            "text/jwt",
            "application/application/jwt",
            "JWE",
            "at jwt",
            "aé+jwtxxxxxé",
            "applicationé/jwt",
        ] {
            assert_eq!(with(typ), Some(WrongType), "{typ}");
        }
    }

    #[test]
    fn a_key_in_the_header_is_never_read() {
        let own = jwk(2, "");
        for member in [
            format!(r#""jwk":{own}"#),
            r#""jku":"https://evil.example/keys""#.to_owned(),
            r#""x5u":"https://evil.example/cert","x5c":["AA=="],"x5t":"AA""#.to_owned(),
            r#""jwk":1,"jku":2,"x5u":3,"x5c":4,"x5t":5"#.to_owned(),
        ] {
            let header = format!(r#"{{"alg":"EdDSA","kid":"k",{member}}}"#);
            assert_eq!(kind_of(&sign_with(2, &header, CLAIMS.as_bytes())), Some(BadSignature), "{member}");
            assert_eq!(kind_of(&sign(&header, CLAIMS)), None, "{member}");
        }
    }

    #[test]
    fn the_key_is_found_by_kid_and_decides_whether_it_fits() {
        let with = |header: &str, keys: &[String]| {
            check(&sign(header, CLAIMS), &set(keys), &policy(), &CallRequirements::default(), NOW).err()
        };
        let kid = |seed, kid: &str| jwk(seed, &format!(r#","kid":"{kid}""#));
        let no_kid = r#"{"alg":"EdDSA"}"#;
        let table: [(&str, &[String], Option<TokenErrorKind>); 24] = [
            (HEADER, &[kid(1, "k")], None),
            (HEADER, &[], Some(UnknownKey)),
            (HEADER, &[kid(1, "other")], Some(UnknownKey)),
            (HEADER, &[kid(1, "K")], Some(UnknownKey)),
            (HEADER, &[jwk(1, "")], Some(UnknownKey)),
            (HEADER, &[kid(2, "k")], Some(BadSignature)),
            (HEADER, &[kid(2, "k"), kid(1, "k")], None),
            (HEADER, &[kid(2, "k"), kid(3, "k"), kid(1, "k")], None),
            (HEADER, &[kid(2, "k"), kid(3, "k")], Some(BadSignature)),
            (HEADER, &[kid(2, "k"), kid(1, "other")], Some(BadSignature)),
            (no_kid, &[kid(1, "k")], None),
            (no_kid, &[jwk(1, "")], None),
            (no_kid, &[jwk(1, ""), kid(2, "k")], Some(AmbiguousKey)),
            (no_kid, &[jwk(1, ""), jwk(1, "")], Some(AmbiguousKey)),
            (no_kid, &[], Some(UnfitKey)),
            (no_kid, &[jwk(1, r#","use":"enc""#)], Some(UnfitKey)),
            (no_kid, &[jwk(1, ""), jwk(2, r#","use":"enc""#)], None),
            (HEADER, &[jwk(1, r#","kid":"k","alg":"ES256""#)], Some(UnfitKey)),
            (HEADER, &[jwk(1, r#","kid":"k","use":"enc""#)], Some(UnfitKey)),
            (HEADER, &[jwk(1, r#","kid":"k","key_ops":["sign"]"#)], Some(UnfitKey)),
            (HEADER, &[jwk(1, r#","kid":"k","use":"enc""#), kid(1, "k")], None),
            (r#"{"alg":"RS256","kid":"k"}"#, &[kid(1, "k")], Some(UnfitKey)),
            (HEADER, &[jwk(1, r#","kid":"k","d":"AA""#)], Some(UnknownKey)),
            (HEADER, &[r#"{"kty":"oct","kid":"k","k":"AAAA"}"#.to_owned()], Some(UnknownKey)),
        ];
        for (header, keys, kind) in table {
            assert_eq!(with(header, keys), kind, "{header} with {keys:?}");
        }
    }

    #[test]
    fn claims_are_not_looked_at_before_the_signature() {
        for payload in ["", "no json", "{}", r#"{"iss":1}"#, CLAIMS] {
            let token = sign_with(2, HEADER, payload.as_bytes());
            let kind = if payload.is_empty() { Malformed } else { BadSignature };
            assert_eq!(kind_of(&token), Some(kind), "{payload}");
        }
        let (good, other) = (sign(HEADER, CLAIMS), sign(HEADER, &claims_with("sub", Some("\"x\""))));
        let (input, signature) = (&good[..good.rfind('.').unwrap()], &other[other.rfind('.').unwrap()..]);
        assert_eq!(kind_of(&format!("{input}{signature}")), Some(BadSignature));
    }

    #[test]
    fn a_payload_is_an_object_with_unique_names() {
        for payload in ["null", "[]", "\"x\"", "1", "{", "no json", r#"{"iss":"a","iss":"b"}"#, "\u{feff}{}"] {
            assert_eq!(kind_of(&sign(HEADER, payload)), Some(Malformed), "{payload}");
        }
        assert_eq!(
            kind_of(&sign(HEADER, &CLAIMS.replacen('{', r#"{"\u0069ss":"https://acme.aero2.dev","#, 1))),
            Some(Malformed)
        );
        assert_eq!(kind_of(&sign_with(1, HEADER, b"{\"iss\":\"\xff\"}")), Some(Malformed));
        assert_eq!(kind_with("x", Some(r#"{"a":[{"b":1,"b":2}]}"#)), Some(Malformed));
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(kind_with("x", Some(&deep(63))), None);
        assert_eq!(kind_with("x", Some(&deep(64))), Some(Malformed));
    }

    #[test]
    fn a_claim_that_is_needed_must_be_there() {
        for name in ["iss", "exp", "aud"] {
            assert_eq!(kind_with(name, None), Some(InvalidClaim), "{name}");
            assert_eq!(kind_with(name, Some("null")), Some(InvalidClaim), "{name}");
        }
        let any = Requirements { audiences: None, ..policy() };
        let without = sign(HEADER, &claims_with("aud", None));
        assert!(check(&without, &usual_keys(), &any, &CallRequirements::default(), NOW).is_ok());
        for absent in ["null", "[]"] {
            assert_eq!(kind_with("aud", Some(absent)), Some(InvalidClaim), "{absent}");
            let absent = sign(HEADER, &claims_with("aud", Some(absent)));
            assert!(check(&absent, &usual_keys(), &any, &CallRequirements::default(), NOW).is_ok());
        }
        for name in ["sub", "nbf", "iat", "jti", "client_id", "token_use", "scp"] {
            assert_eq!(kind_with(name, None), None, "{name}");
            assert_eq!(kind_with(name, Some("null")), None, "{name}");
            assert_eq!(kind_with(name, Some("{}")), Some(InvalidClaim), "{name}");
        }
        assert_eq!(kind_with("big", Some("1e400")), None);
        assert_eq!(kind_with("exp", Some("1e400")), Some(InvalidClaim));
    }

    #[test]
    fn the_issuer_is_compared_byte_for_byte() {
        for issuer in [
            "",
            "https://acme.aero2.dev/",
            "https://ACME.aero2.dev",
            "https://acme.aero2.de",
            "https://acme.aero2.dev.evil.example",
            "http://acme.aero2.dev",
            "https://acme.aero2.dev#",
            " https://acme.aero2.dev",
            "https://аcme.aero2.dev",
            "https://acme.aero2.dev:443",
        ] {
            assert_eq!(kind_with("iss", Some(&format!("\"{issuer}\""))), Some(WrongIssuer), "{issuer}");
        }
        assert_eq!(kind_with("iss", Some(r#""https:\/\/acme.aero2.d\u0065v""#)), None);
    }

    #[test]
    fn a_token_lives_from_nbf_and_iat_to_exp_within_the_tolerance() {
        let at = |name: &str, value: u64| kind_with(name, Some(&value.to_string()));
        assert_eq!(
            (at("exp", NOW - 29), at("exp", NOW - 30), at("exp", NOW - 31)),
            (None, Some(Expired), Some(Expired))
        );
        assert_eq!((at("exp", 0), at("exp", 253_402_300_799)), (Some(Expired), None));
        assert_eq!(kind_with("exp", Some("1799999970.5")), None);
        for name in ["nbf", "iat"] {
            assert_eq!(
                (at(name, 0), at(name, NOW + 30), at(name, NOW + 31)),
                (None, None, Some(NotYetValid)),
                "{name}"
            );
            assert_eq!(kind_with(name, Some("1800000030.5")), Some(NotYetValid), "{name}");
        }
        let patient = Requirements { tolerance: Duration::MAX, ..policy() };
        let old = sign(HEADER, &claims_with("exp", Some("0")));
        assert!(check(&old, &usual_keys(), &patient, &CallRequirements::default(), NOW).is_ok());
        let strict = Requirements { tolerance: Duration::ZERO, ..policy() };
        let last = |now| check(&sign(HEADER, CLAIMS), &usual_keys(), &strict, &CallRequirements::default(), now).err();
        assert_eq!((last(NOW + 59), last(NOW + 60)), (None, Some(Expired)));
    }

    #[test]
    fn an_expected_audience_is_among_the_tokens() {
        for aud in [r#""orders""#, r#""billing""#, r#"["orders"]"#, r#"["x","billing"]"#, r#"["orders","orders"]"#] {
            assert_eq!(kind_with("aud", Some(aud)), None, "{aud}");
        }
        for aud in [r#""""#, r#""order""#, r#""orders ""#, r#""Orders""#, r#"["x"]"#, r#""orders billing""#, r#"[""]"#]
        {
            assert_eq!(kind_with("aud", Some(aud)), Some(WrongAudience), "{aud}");
        }
        let other = names(&["shipping"]);
        let expectation = CallRequirements { audiences: Some(&other), ..CallRequirements::default() };
        let with = |aud: &str| {
            check(&sign(HEADER, &claims_with("aud", Some(aud))), &usual_keys(), &policy(), &expectation, NOW).err()
        };
        assert_eq!((with(r#""orders""#), with(r#""shipping""#)), (Some(WrongAudience), None));
        let none = Requirements { audiences: None, ..policy() };
        let missing = sign(HEADER, &claims_with("aud", None));
        assert_eq!(check(&missing, &usual_keys(), &none, &expectation, NOW).err(), Some(InvalidClaim));
    }

    #[test]
    fn another_token_use_is_refused() {
        for used in ["id", "session", "refresh", "Access", "access ", ""] {
            assert_eq!(kind_with("token_use", Some(&format!("\"{used}\""))), Some(WrongTokenUse), "{used}");
        }
    }

    #[test]
    fn every_required_scope_is_needed() {
        let with = |scope: &str, policy: &Requirements, more: &[&str]| {
            let more = names(more);
            let expectation = CallRequirements { required_scopes: Some(&more), ..CallRequirements::default() };
            check(&sign(HEADER, &claims_with("scope", Some(scope))), &usual_keys(), policy, &expectation, NOW).err()
        };
        let usual = policy();
        assert_eq!(with(r#""read""#, &usual, &[]), None);
        assert_eq!(with(r#""write""#, &usual, &[]), Some(InsufficientScope));
        assert_eq!(with(r#""readonly""#, &usual, &[]), Some(InsufficientScope));
        assert_eq!(with(r#""read write""#, &usual, &["write"]), None);
        assert_eq!(with(r#""read""#, &usual, &["write"]), Some(InsufficientScope));
        assert_eq!(with(r#""write""#, &usual, &["write"]), Some(InsufficientScope));
        assert_eq!(with(r#"["write","read"]"#, &usual, &["write"]), None);
        assert_eq!(with(r#"["read write"]"#, &usual, &[]), Some(InsufficientScope));
        assert_eq!(kind_with("scope", None), Some(InsufficientScope));
        let many = Requirements { required_scopes: names(&["a", "b", "c", "d", "e", "f"]), ..policy() };
        assert_eq!(with(r#""f e d c b a z""#, &many, &[]), None);
        assert_eq!(with(r#""f e d c b z""#, &many, &[]), Some(InsufficientScope));
        let none = Requirements { required_scopes: names(&[]), ..policy() };
        assert_eq!(with(r#""""#, &none, &[]), None);
    }

    #[test]
    fn the_first_refusal_in_order_is_the_one_told() {
        let order: [(&str, &str, TokenErrorKind); 7] = [
            ("jti", "1", InvalidClaim),
            ("iss", "\"other\"", WrongIssuer),
            ("exp", "1", Expired),
            ("nbf", "1900000000", NotYetValid),
            ("aud", "\"other\"", WrongAudience),
            ("token_use", "\"id\"", WrongTokenUse),
            ("scope", "\"other\"", InsufficientScope),
        ];
        for first in 0..order.len() {
            let mut claims: serde_json::Map<String, serde_json::Value> = serde_json::from_str(CLAIMS).unwrap();
            for (name, value, _) in &order[first..] {
                claims.insert((*name).to_owned(), serde_json::from_str(value).unwrap());
            }
            assert_eq!(kind_of(&sign(HEADER, &serde_json::to_string(&claims).unwrap())), Some(order[first].2));
        }
    }

    #[test]
    fn an_unknown_kid_is_worth_a_fetch_only_if_the_claims_could_pass() {
        let worth = |payload: &str| {
            let token = sign_with(9, r#"{"alg":"EdDSA","kid":"new"}"#, payload.as_bytes());
            let policy = policy();
            let mut presented = parse(&token, &policy).unwrap();
            assert_eq!(presented.kid(), Some("new"));
            match presented.check(
                &usual_keys(),
                &policy,
                &CallRequirements::default(),
                Duration::from_secs(NOW),
                &mut (),
            ) {
                VerifyOutcome::UnknownKid { worth_a_fetch } => worth_a_fetch,
                other => panic!("{other:?}"),
            }
        };
        assert!(worth(CLAIMS));
        assert!(worth(&claims_with("scope", None)));
        assert!(worth(&claims_with("nbf", Some("1900000000"))));
        for (name, value) in [
            ("iss", None),
            ("iss", Some("\"other\"")),
            ("aud", None),
            ("aud", Some("\"other\"")),
            ("exp", None),
            ("exp", Some("1")),
            ("token_use", Some("\"id\"")),
            ("sub", Some("1")),
        ] {
            assert!(!worth(&claims_with(name, value)), "{name}: {value:?}");
        }
        assert!(!worth("no json") && !worth(r#"{"a":1,"a":2}"#));
    }

    #[test]
    fn a_token_can_be_checked_again_with_newer_keys() {
        let (token, policy) = (sign_with(9, r#"{"alg":"EdDSA","kid":"new"}"#, CLAIMS.as_bytes()), policy());
        let mut presented = parse(&token, &policy).unwrap();
        let verdict =
            presented.check(&usual_keys(), &policy, &CallRequirements::default(), Duration::from_secs(NOW), &mut ());
        assert!(matches!(verdict, VerifyOutcome::UnknownKid { worth_a_fetch: true }));
        let newer = set(&[jwk(1, r#","kid":"k""#), jwk(9, r#","kid":"new""#)]);
        let verdict = presented.check(&newer, &policy, &CallRequirements::default(), Duration::from_secs(NOW), &mut ());
        let VerifyOutcome::Verified { key, algorithm, .. } = verdict else { panic!("{verdict:?}") };
        assert!(newer.still_has(&key, algorithm));
        assert!(!newer.still_has(&key, Algorithm::Es256) && !usual_keys().still_has(&key, algorithm));
    }

    #[test]
    fn a_refusal_of_scope_names_every_scope_that_was_required() {
        let more = names(&["write", "read", "admin"]);
        let expectation = CallRequirements { required_scopes: Some(&more), ..CallRequirements::default() };
        let challenge = |kind| refusal(kind, &policy(), &expectation).www_authenticate(None).unwrap();
        assert_eq!(challenge(InsufficientScope), r#"Bearer error="insufficient_scope", scope="admin read write""#);
        assert_eq!(challenge(Expired), r#"Bearer error="invalid_token""#);
    }

    #[test]
    fn a_known_header_spares_reading_and_changes_no_answer() {
        let policy = policy();
        let first = sign(HEADER, CLAIMS);
        let known = parse(&first, &policy).unwrap().new_header().cloned();
        assert!(known.is_some());
        let same = sign(HEADER, &claims_with("sub", Some("\"x\"")));
        let presented = parse_knowing(&same, &policy, known.clone()).unwrap();
        assert!(presented.new_header().is_none());
        for header in [
            r#"{"alg":"EdDSA","kid":"other"}"#,
            r#"{"kid":"k","alg":"EdDSA"}"#,
            r#"{"alg":"EdDSA","kid":"k","typ":"jwt"}"#,
        ] {
            let token = sign(header, CLAIMS);
            let presented = parse_knowing(&token, &policy, known.clone()).unwrap();
            assert!(presented.new_header().is_some(), "{header}");
            assert_eq!(presented.kid(), parse(&token, &policy).unwrap().kid());
        }
        for header in [
            r#"{"alg":"none"}"#,
            r#"{"alg":"EdDSA","kid":"k","crit":[]}"#,
            r#"{"alg":"EdDSA","kid":"k","typ":"id"}"#,
            "{}",
            "",
        ] {
            let token = sign(header, CLAIMS);
            let with = parse_knowing(&token, &policy, known.clone()).err();
            assert!(with.is_some() && with == parse(&token, &policy).err(), "{header}");
        }
        let other = Requirements { algorithms: vec![Algorithm::Rs256], ..policy.clone() };
        assert_eq!(parse_knowing(&first, &other, known).err(), Some(UnsupportedAlgorithm));
    }
}
