//! The security core: one pure function of token, keys, requirements and time. No I/O, no lock, no clock.
//!
//! The order of refusals is part of the contract ([`Step`]). Before any key: length, form, header, algorithm, type
//! ([`Requirements::check_length`], [`UnverifiedToken::parse`], [`UnverifiedToken::check_header`]). Then the key, the signature, and only
//! after it the claims ([`UnverifiedToken::verify`]).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::claims::claim_set::{ClaimSet, NumericDate};
use crate::claims::requirements::{ClaimRequirements, StringSet};
use crate::claims::{Claims, Present, SignedClaims};
use crate::error::{Error, TokenErrorKind as Kind};
use crate::jose::algorithm::Algorithm;
use crate::jose::jwk::{Candidates, JwkSet};
use crate::jose::jws::{CompactJws, Header};
use crate::jose::key::{SignatureChecked, VerificationKey};
use crate::json::Object;
use crate::resource_server::options::VerifyOptions;
use crate::resource_server::sender_constraint::SenderConstraint;
use crate::resource_server::steps::{Finding, Refusal, Step};
use crate::resource_server::verified_cache::VerifiedToken;

/// What a resource server requires of every token.
#[derive(Clone, Debug)]
pub(crate) struct Requirements {
    pub(crate) issuer: Arc<str>,
    pub(crate) claims: ClaimRequirements,
    pub(crate) tolerance: Duration,
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) max_token_bytes: usize,
    pub(crate) sender_constrained: SenderConstraint,
    pub(crate) max_token_age: Option<Duration>,
    pub(crate) require_not_before: bool,
    pub(crate) rfc9068: bool,
    pub(crate) custom_checks: Vec<CustomCheck>,
}

/// A check of the program's own.
#[derive(Clone)]
pub(crate) struct CustomCheck {
    pub(crate) name: String,
    pub(crate) check: Arc<dyn Fn(&Claims) -> bool + Send + Sync>,
}

impl fmt::Debug for CustomCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CustomCheck").field(&self.name).finish()
    }
}

impl Requirements {
    /// Before any other work.
    pub(crate) fn check_length(&self, token: &str) -> Result<(), Refusal<'static>> {
        require(token.len() <= self.max_token_bytes, Step::Length, Kind::TooLong)
    }
}

/// A token that passed every check that needs no key.
#[derive(Debug)]
pub(crate) struct UnverifiedToken<'a> {
    jws: CompactJws<'a>,
}

impl<'a> UnverifiedToken<'a> {
    /// Steps 1 and 2 of a token whose length was checked, without what depends on a policy. With [`check_header`](Self::check_header) no key
    /// is needed to refuse, so no such token ever causes a request. A header of the same bytes as `known` is not read again.
    pub(crate) fn parse(token: &'a str, known: Option<Arc<Header>>) -> Result<Self, Refusal<'static>> {
        let form = Refusal::new(Step::Form, Kind::Malformed);
        // RFC 7515 allows an empty payload, a JWT has claims. It is a matter of form, so it comes before what the header says.
        let without_payload = || token.split('.').nth(1).is_some_and(str::is_empty);
        let jws = CompactJws::read(known, token).map_err(|kind| match kind {
            _ if without_payload() => form,
            Kind::CriticalHeader => Refusal::new(Step::Critical, kind),
            Kind::UnsupportedAlgorithm => Refusal::new(Step::Algorithm, kind),
            _ => form,
        })?;
        if jws.unverified_payload().is_empty() { Err(form) } else { Ok(Self { jws }) }
    }

    /// The rest of step 2.
    pub(crate) fn check_header(&self, policy: &Requirements) -> Result<(), Refusal<'static>> {
        require(policy.algorithms.contains(&self.algorithm()), Step::Algorithm, Kind::UnsupportedAlgorithm)?;
        let is_access_token = self.jws.typ().map_or(!policy.rfc9068, |typ| is_access_token_type(typ, policy.rfc9068));
        require(is_access_token, Step::Type, Kind::WrongType)
    }

    /// The header, if it had to be read.
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

    /// The issuer that the token names, unverified: it chooses the resource server. No other claim is looked at.
    pub(crate) fn unverified_issuer(&self) -> Result<String, Kind> {
        let text = std::str::from_utf8(self.jws.unverified_payload()).map_err(|_| Kind::Malformed)?;
        let claims = Object::parse(text).map_err(|_| Kind::Malformed)?;
        claims.string("iss").ok().flatten().map(str::to_owned).ok_or(Kind::InvalidClaim)
    }

    /// Whether the token might pass with other keys, for all that its unverified claims say.
    pub(crate) fn precheck(&self, call: &CallRequirements<'_>, wall: Duration) -> bool {
        let claims = ClaimSet::from_bytes(self.jws.unverified_payload().to_vec());
        claims.is_ok_and(|claims| call.precheck(&claims, wall))
    }

    /// Steps 3 to 6, at the time `wall`, a span since 1970. A token whose signature is good is used up: its payload moves into the claims.
    pub(crate) fn verify<'p>(
        &mut self,
        keys: &JwkSet,
        call: &CallRequirements<'p>,
        wall: Duration,
        found: &mut dyn FnMut(Finding<'_>),
    ) -> Result<VerifiedToken, Refusal<'p>> {
        let (key, proof) = self.check_signature(keys)?;
        let claims = SignedClaims::parse(self.jws.take_verified(proof))?;
        found(Finding::Claims(claims.set()));
        let present = call.check_claims(claims.set(), wall)?;
        let claims = claims.accept(present);
        call.run_custom_checks(&claims)?;
        Ok(VerifiedToken { claims, key, algorithm: self.algorithm() })
    }

    /// The digest of the first key that made the signature.
    fn check_signature(&self, keys: &JwkSet) -> Result<([u8; 32], SignatureChecked), Refusal<'static>> {
        let refused = |kind| Err(Refusal::new(Step::Key, kind));
        match keys.candidates(self.kid(), self.algorithm()) {
            Candidates::One(key) => self.checked_by(&[key]),
            Candidates::Keys(keys) => self.checked_by(&keys),
            Candidates::Unfit => refused(Kind::UnfitKey),
            Candidates::Ambiguous => refused(Kind::AmbiguousKey),
            Candidates::UnknownKid => refused(Kind::UnknownKey),
        }
    }

    fn checked_by(&self, keys: &[&VerificationKey]) -> Result<([u8; 32], SignatureChecked), Refusal<'static>> {
        let checked = keys.iter().find_map(|key| Some((*key.digest(), self.jws.check(key)?)));
        checked.ok_or(Refusal::new(Step::Signature, Kind::BadSignature))
    }
}

/// What one call requires: the policy, and the options of the call.
#[derive(Clone, Copy)]
pub(crate) struct CallRequirements<'p> {
    pub(crate) policy: &'p Requirements,
    pub(crate) options: &'p VerifyOptions,
}

impl<'p> CallRequirements<'p> {
    /// # Errors
    /// [`Error::Config`] for options that no token can meet.
    pub(crate) fn new(policy: &'p Requirements, options: &'p VerifyOptions) -> Result<Self, Error> {
        options.check_settings()?;
        Ok(Self { policy, options })
    }

    /// `None`: `aud` is not compared.
    pub(crate) fn audiences(&self) -> Option<&'p StringSet> {
        self.options.claims.audiences.as_ref().or(self.policy.claims.audiences.as_ref())
    }

    /// The policy's conditions, then the call's.
    pub(crate) fn claims(&self) -> [&'p ClaimRequirements; 2] {
        [&self.policy.claims, &self.options.claims]
    }

    /// Every scope that a condition names.
    pub(crate) fn named_scopes(&self) -> StringSet {
        StringSet::of(self.claims().into_iter().flat_map(ClaimRequirements::named_scopes))
    }

    /// Everything about claims that depends on requirements or time. A token from the cache of verified ones goes through it again.
    pub(crate) fn check_claims(&self, claims: &ClaimSet, wall: Duration) -> Result<Present, Refusal<'p>> {
        let present = self.check_required(claims)?;
        self.check_issuer(claims)?;
        self.check_expiry(claims, wall)?;
        self.check_begin(claims, wall)?;
        self.check_audience(claims)?;
        self.check_token_use(claims)?;
        let has_scopes = self.claims().into_iter().all(|required| required.has_scopes(claims));
        require(has_scopes, Step::Scopes, Kind::InsufficientScope)?;
        if let Some(unmet) = self.claims().into_iter().find_map(|required| required.unmet_claim(claims)) {
            return Err(Refusal::new(Step::RequiredClaims, Kind::InsufficientClaim).about(unmet.pointer.as_str()));
        }
        self.check_authentication(claims, wall)?;
        let sender_is_right = self.policy.sender_constrained.allows(claims, self.options.certificate());
        require(sender_is_right, Step::Sender, Kind::SenderConstrained)?;
        Ok(present)
    }

    /// What a token must pass to be worth a fetch of other keys.
    fn precheck(&self, claims: &ClaimSet, wall: Duration) -> bool {
        self.check_required(claims).is_ok()
            && self.check_issuer(claims).is_ok()
            && self.check_expiry(claims, wall).is_ok()
            && self.check_audience(claims).is_ok()
            && self.check_token_use(claims).is_ok()
    }

    pub(crate) fn run_custom_checks(&self, claims: &Claims) -> Result<(), Refusal<'p>> {
        match self.policy.custom_checks.iter().find(|custom| !(custom.check)(claims)) {
            Some(custom) => Err(Refusal::new(Step::Custom, Kind::CheckFailed).about(&custom.name)),
            None => Ok(()),
        }
    }

    /// The names of the claims that must be there and are not.
    pub(crate) fn missing(&self, claims: &ClaimSet) -> impl Iterator<Item = &'static str> + use<> {
        let strict = self.policy.rfc9068;
        [
            ("iss", true, claims.issuer().is_some()),
            ("exp", true, claims.expires_at().is_some()),
            ("aud", strict || self.audiences().is_some(), claims.audiences().is_some()),
            ("sub", strict, claims.subject().is_some()),
            ("client_id", strict, claims.client_id().is_some()),
            ("iat", strict || self.policy.max_token_age.is_some(), claims.issued_at().is_some()),
            ("nbf", self.policy.require_not_before, claims.not_before().is_some()),
            ("jti", strict, claims.jwt_id().is_some()),
        ]
        .into_iter()
        .filter(|(_, is_required, is_there)| *is_required && !is_there)
        .map(|(name, ..)| name)
    }

    fn check_required(&self, claims: &ClaimSet) -> Result<Present, Refusal<'p>> {
        let missing = |name| Refusal::new(Step::Required, Kind::InvalidClaim).about(name);
        match (self.missing(claims).next(), claims.expires_at()) {
            (Some(name), _) => Err(missing(name)),
            (None, None) => Err(missing("exp")),
            (None, Some(expires_at)) => Ok(Present { issuer: self.policy.issuer.clone(), expires_at }),
        }
    }

    fn check_issuer(&self, claims: &ClaimSet) -> Result<(), Refusal<'p>> {
        require(claims.issuer() == Some(&*self.policy.issuer), Step::Issuer, Kind::WrongIssuer)
    }

    /// `exp + tolerance > now` (RFC 7519 §4.1.4: on the second itself the token is over), and the same for the greatest age.
    fn check_expiry(&self, claims: &ClaimSet, wall: Duration) -> Result<(), Refusal<'p>> {
        let is_alive = |end: Duration| end.saturating_add(self.policy.tolerance) > wall;
        let is_young = self.policy.max_token_age.is_none_or(|age| {
            claims.issued_at().is_some_and(|issued| is_alive(issued.since_epoch().saturating_add(age)))
        });
        let has_not_expired = claims.expires_at().is_some_and(|expiry| is_alive(expiry.since_epoch()));
        require(has_not_expired && is_young, Step::Expiry, Kind::Expired)
    }

    /// `nbf` and `iat`, if present, are not after `now + tolerance`.
    fn check_begin(&self, claims: &ClaimSet, wall: Duration) -> Result<(), Refusal<'p>> {
        let latest = wall.saturating_add(self.policy.tolerance);
        let dates = [claims.not_before(), claims.issued_at()];
        let has_begun = dates.into_iter().flatten().all(|date| date.since_epoch() <= latest);
        require(has_begun, Step::Begin, Kind::NotYetValid)
    }

    fn check_audience(&self, claims: &ClaimSet) -> Result<(), Refusal<'p>> {
        let Some(expected) = self.audiences() else { return Ok(()) };
        let is_expected =
            claims.audiences().is_some_and(|mut audiences| audiences.any(|audience| expected.contains(audience)));
        require(is_expected, Step::Audience, Kind::WrongAudience)
    }

    /// Aero2 says in `token_use` what kind of token this is, Keycloak in the claim `typ`. OpenID Connect Core §3.1.3.6 defines `at_hash`
    /// for ID tokens, but some issuers write it to access tokens, so it counts only where RFC 9068 is required.
    fn check_token_use(&self, claims: &ClaimSet) -> Result<(), Refusal<'p>> {
        let wrong = |name| Err(Refusal::new(Step::TokenUse, Kind::WrongTokenUse).about(name));
        if claims.token_use().is_some_and(|used| used != "access") {
            return wrong("token_use");
        }
        if claims.typ().is_some_and(|typ| OTHER_TOKENS.contains(&typ)) {
            return wrong("typ");
        }
        if self.policy.rfc9068 && claims.get("at_hash").is_some() {
            return wrong("at_hash");
        }
        Ok(())
    }

    /// RFC 9470 §5 and §6.1.
    fn check_authentication(&self, claims: &ClaimSet, wall: Duration) -> Result<(), Refusal<'p>> {
        let refused = |kind, name| Refusal::new(Step::Authentication, kind).about(name);
        let accepted = self.options.acr_values.as_slice();
        if !accepted.is_empty() {
            let acr = claims.authentication_class().map_err(|_| refused(Kind::InvalidClaim, "acr"))?;
            if !acr.is_some_and(|acr| accepted.iter().any(|accepted| accepted == acr)) {
                return Err(refused(Kind::InsufficientAuthentication, "acr"));
            }
        }
        if let Some(max_age) = self.options.max_auth_age {
            let at = claims.authenticated_at().map_err(|_| refused(Kind::InvalidClaim, "auth_time"))?;
            let tolerance = self.policy.tolerance;
            let is_recent = at.map(NumericDate::since_epoch).is_some_and(|at| {
                at <= wall.saturating_add(tolerance) && at.saturating_add(max_age).saturating_add(tolerance) > wall
            });
            if !is_recent {
                return Err(refused(Kind::InsufficientAuthentication, "auth_time"));
            }
        }
        Ok(())
    }
}

fn require(passed: bool, step: Step, kind: Kind) -> Result<(), Refusal<'static>> {
    if passed { Ok(()) } else { Err(Refusal::new(step, kind)) }
}

/// RFC 9068 §4 and RFC 7519 §5.1; a token that names itself another kind is refused (RFC 8725 §3.11). A prefix `application/` is the same
/// type in full (RFC 7515 §4.1.9).
fn is_access_token_type(typ: &str, strict: bool) -> bool {
    let bare = match typ.split_at_checked(APPLICATION.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(APPLICATION) => rest,
        _ => typ,
    };
    bare.eq_ignore_ascii_case("at+jwt") || (!strict && bare.eq_ignore_ascii_case("JWT"))
}

const APPLICATION: &str = "application/";

/// What Keycloak writes to the claim `typ` of tokens that are no access tokens.
const OTHER_TOKENS: [&str; 4] = ["ID", "Refresh", "Offline", "Logout"];

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use ring::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;
    use Kind::*;

    const NOW: u64 = 1_800_000_000;
    const HEADER: &str = r#"{"alg":"EdDSA","kid":"k"}"#;
    const CLAIMS: &str =
        r#"{"iss":"https://acme.aero2.dev","aud":"orders","exp":1800000060,"token_use":"access","scope":"read write"}"#;

    fn parse<'a>(token: &'a str, policy: &Requirements) -> Result<UnverifiedToken<'a>, Kind> {
        parse_knowing(token, policy, None)
    }

    fn parse_knowing<'a>(
        token: &'a str,
        policy: &Requirements,
        known: Option<Arc<Header>>,
    ) -> Result<UnverifiedToken<'a>, Kind> {
        let parsed = policy.check_length(token).and_then(|()| UnverifiedToken::parse(token, known));
        let checked = parsed.and_then(|parsed| parsed.check_header(policy).map(|()| parsed));
        checked.map_err(|refusal| refusal.kind)
    }

    fn policy() -> Requirements {
        let mut claims = ClaimRequirements::new();
        claims.set_audiences(["orders", "billing"]);
        claims.add_required_scopes(["read"]);
        Requirements {
            issuer: "https://acme.aero2.dev".into(),
            claims,
            tolerance: Duration::from_secs(30),
            algorithms: Algorithm::ALL.to_vec(),
            max_token_bytes: 16 * 1024,
            sender_constrained: SenderConstraint::default(),
            max_token_age: None,
            require_not_before: false,
            rfc9068: false,
            custom_checks: Vec::new(),
        }
    }

    /// Without audiences and scopes.
    fn lax() -> Requirements {
        Requirements { claims: ClaimRequirements::new(), ..policy() }
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
        options: &VerifyOptions,
        now: u64,
    ) -> Result<Claims, Kind> {
        let call = CallRequirements { policy, options };
        let verified = parse(token, policy)?.verify(keys, &call, Duration::from_secs(now), &mut |_| ());
        verified.map(|token| token.claims).map_err(|refusal| refusal.kind)
    }

    fn kind_of(token: &str) -> Option<Kind> {
        check(token, &usual_keys(), &policy(), &VerifyOptions::new(), NOW).err()
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

    fn kind_with(name: &str, value: Option<&str>) -> Option<Kind> {
        kind_of(&sign(HEADER, &claims_with(name, value)))
    }

    #[test]
    fn a_good_token_passes_and_its_claims_come_out() {
        let claims = check(&sign(HEADER, CLAIMS), &usual_keys(), &policy(), &VerifyOptions::new(), NOW).unwrap();
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
            check(&token, &usual_keys(), &Requirements { max_token_bytes, ..policy() }, &VerifyOptions::new(), NOW)
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
        let kind = check(&sign(HEADER, CLAIMS), &usual_keys(), &without, &VerifyOptions::new(), NOW).err();
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
            check(&sign(header, CLAIMS), &set(keys), &policy(), &VerifyOptions::new(), NOW).err()
        };
        let kid = |seed, kid: &str| jwk(seed, &format!(r#","kid":"{kid}""#));
        let no_kid = r#"{"alg":"EdDSA"}"#;
        let table: [(&str, &[String], Option<Kind>); 24] = [
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
        let any = lax();
        let without = sign(HEADER, &claims_with("aud", None));
        assert!(check(&without, &usual_keys(), &any, &VerifyOptions::new(), NOW).is_ok());
        for absent in ["null", "[]"] {
            assert_eq!(kind_with("aud", Some(absent)), Some(InvalidClaim), "{absent}");
            let absent = sign(HEADER, &claims_with("aud", Some(absent)));
            assert!(check(&absent, &usual_keys(), &any, &VerifyOptions::new(), NOW).is_ok());
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
        assert!(check(&old, &usual_keys(), &patient, &VerifyOptions::new(), NOW).is_ok());
        let strict = Requirements { tolerance: Duration::ZERO, ..policy() };
        let last = |now| check(&sign(HEADER, CLAIMS), &usual_keys(), &strict, &VerifyOptions::new(), now).err();
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
        let options = VerifyOptions::new().audience("shipping");
        let with = |aud: &str| {
            check(&sign(HEADER, &claims_with("aud", Some(aud))), &usual_keys(), &policy(), &options, NOW).err()
        };
        assert_eq!((with(r#""orders""#), with(r#""shipping""#)), (Some(WrongAudience), None));
        let none = lax();
        let missing = sign(HEADER, &claims_with("aud", None));
        assert_eq!(check(&missing, &usual_keys(), &none, &options, NOW).err(), Some(InvalidClaim));
    }

    #[test]
    fn another_token_use_is_refused() {
        for used in ["id", "session", "refresh", "Access", "access ", ""] {
            assert_eq!(kind_with("token_use", Some(&format!("\"{used}\""))), Some(WrongTokenUse), "{used}");
        }
        for typ in ["ID", "Refresh", "Offline", "Logout"] {
            assert_eq!(kind_with("typ", Some(&format!("\"{typ}\""))), Some(WrongTokenUse), "{typ}");
        }
        for typ in ["null", "7", r#""Bearer""#, r#""JWT""#, r#""id""#] {
            assert_eq!(kind_with("typ", Some(typ)), None, "{typ}");
        }
    }

    #[test]
    fn every_required_scope_is_needed() {
        let with = |scope: &str, policy: &Requirements, more: &[&str]| {
            let options = VerifyOptions::new().required_scopes(more);
            check(&sign(HEADER, &claims_with("scope", Some(scope))), &usual_keys(), policy, &options, NOW).err()
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
        let mut many = lax();
        many.claims.add_required_scopes(["a", "b", "c", "d", "e", "f"]);
        assert_eq!(with(r#""f e d c b a z""#, &many, &[]), None);
        assert_eq!(with(r#""f e d c b z""#, &many, &[]), Some(InsufficientScope));
        let none = lax();
        assert_eq!(with(r#""""#, &none, &[]), None);
    }

    #[test]
    fn the_first_refusal_in_order_is_the_one_told() {
        let order: [(&str, &str, Kind); 7] = [
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
    fn other_keys_are_worth_a_fetch_only_if_the_claims_could_pass() {
        let worth = |payload: &str| {
            let token = sign_with(9, r#"{"alg":"EdDSA","kid":"new"}"#, payload.as_bytes());
            let (policy, options) = (policy(), VerifyOptions::new());
            let call = CallRequirements { policy: &policy, options: &options };
            parse(&token, &policy).unwrap().precheck(&call, Duration::from_secs(NOW))
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
    fn a_token_can_be_verified_again_with_newer_keys() {
        let (token, policy) = (sign_with(9, r#"{"alg":"EdDSA","kid":"new"}"#, CLAIMS.as_bytes()), policy());
        let options = VerifyOptions::new();
        let call = CallRequirements { policy: &policy, options: &options };
        let mut parsed = parse(&token, &policy).unwrap();
        let mut verify = |keys: &JwkSet| parsed.verify(keys, &call, Duration::from_secs(NOW), &mut |_| ());
        let unknown = Refusal { step: Step::Key, kind: UnknownKey, about: None };
        assert_eq!(verify(&usual_keys()).err(), Some(unknown));
        let bad = Refusal { step: Step::Signature, kind: BadSignature, about: None };
        assert_eq!(verify(&set(&[jwk(1, r#","kid":"new""#)])).err(), Some(bad));
        let newer = set(&[jwk(1, r#","kid":"k""#), jwk(9, r#","kid":"new""#)]);
        let VerifiedToken { key, algorithm, .. } = verify(&newer).ok().unwrap();
        assert!(newer.still_has(&key, algorithm));
        assert!(!newer.still_has(&key, Algorithm::Es256) && !usual_keys().still_has(&key, algorithm));
    }

    #[test]
    fn claims_that_a_policy_requires_must_be_there() {
        let kind = |policy: &Requirements, claims: &str| {
            check(&sign(HEADER, claims), &usual_keys(), policy, &VerifyOptions::new(), NOW).err()
        };
        let with_nbf = Requirements { require_not_before: true, ..policy() };
        assert_eq!(kind(&with_nbf, CLAIMS), Some(InvalidClaim));
        assert_eq!(kind(&with_nbf, &claims_with("nbf", Some("1"))), None);
        let young = Requirements { max_token_age: Some(Duration::from_secs(60)), ..policy() };
        assert_eq!(kind(&young, CLAIMS), Some(InvalidClaim));
        for (age, expected) in [(0, None), (89, None), (90, Some(Expired)), (3600, Some(Expired))] {
            let claims = claims_with("iat", Some(&(NOW - age).to_string()));
            assert_eq!(kind(&young, &claims), expected, "{age}");
        }
    }

    #[test]
    fn rfc_9068_by_the_letter() {
        let strict = Requirements { rfc9068: true, ..policy() };
        let claims = CLAIMS.replacen('{', r#"{"sub":"s","client_id":"c","iat":1799999999,"jti":"j","#, 1);
        let kind = |header: &str, claims: &str| {
            check(&sign(header, claims), &usual_keys(), &strict, &VerifyOptions::new(), NOW).err()
        };
        let header = r#"{"alg":"EdDSA","kid":"k","typ":"at+jwt"}"#;
        assert_eq!(kind(header, &claims), None);
        assert_eq!(kind(&header.replace("at+jwt", "application/AT+JWT"), &claims), None);
        for other in [HEADER.to_owned(), header.replace("at+jwt", "JWT")] {
            assert_eq!(kind(&other, &claims), Some(WrongType), "{other}");
        }
        for name in ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"] {
            assert_eq!(kind(header, &claims.replace(&format!("\"{name}\""), "\"x\"")), Some(InvalidClaim), "{name}");
        }
        assert_eq!(kind(header, &claims.replacen('{', r#"{"at_hash":"x","#, 1)), Some(WrongTokenUse));
        assert_eq!(kind_with("at_hash", Some("\"x\"")), None);
    }

    #[test]
    fn a_step_up_is_asked_for_by_class_and_by_age() {
        let kind = |options: &VerifyOptions, name: &str, value: Option<&str>| {
            check(&sign(HEADER, &claims_with(name, value)), &usual_keys(), &policy(), options, NOW).err()
        };
        let class = VerifyOptions::new().acr_values(["urn:mfa", "urn:key"]);
        for (value, expected) in [
            (None, Some(InsufficientAuthentication)),
            (Some("null"), Some(InsufficientAuthentication)),
            (Some("\"urn:pwd\""), Some(InsufficientAuthentication)),
            (Some("\"urn:key\""), None),
            (Some("7"), Some(InvalidClaim)),
        ] {
            assert_eq!(kind(&class, "acr", value), expected, "{value:?}");
            assert_eq!(kind(&VerifyOptions::new(), "acr", value), None, "{value:?}");
        }
        let age = VerifyOptions::new().max_auth_age(Duration::from_secs(300));
        for (value, expected) in [
            (None, Some(InsufficientAuthentication)),
            (Some(NOW - 329), None),
            (Some(NOW - 330), Some(InsufficientAuthentication)),
            (Some(NOW + 30), None),
            (Some(NOW + 31), Some(InsufficientAuthentication)),
        ] {
            let value = value.map(|value| value.to_string());
            assert_eq!(kind(&age, "auth_time", value.as_deref()), expected, "{value:?}");
        }
        assert_eq!(kind(&age, "auth_time", Some("\"soon\"")), Some(InvalidClaim));
        assert_eq!(kind(&VerifyOptions::new(), "auth_time", Some("\"soon\"")), None);
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
