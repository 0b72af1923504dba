//! Explains why a token was refused: listens to a verification and writes down what each check found.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::claims::claim_set::{ClaimSet, NumericDate};
use crate::error::{Error, TokenErrorKind};
use crate::http::date;
use crate::jose::algorithm::Algorithm;
use crate::jose::jwk::JwkSet;
use crate::resource_server::ResourceServer;
use crate::resource_server::explanation::{CheckOutcome, ExplainedCheck, Explanation};
use crate::resource_server::options::VerifyOptions;
use crate::resource_server::steps::{Check, Step, Trace};
use crate::resource_server::verify::{CallRequirements, Requirements, StringSet};

impl ResourceServer {
    /// Runs every check of [`verify_token`](Self::verify_token) on a token and reports how far it got: for a support ticket, not
    /// for a decision.
    ///
    /// It does what a verification does, including fetching keys, emitting events and counting, but it neither reads nor fills
    /// the cache of verified tokens.
    ///
    /// The result can be logged: it shows the expected names, times, lengths, the algorithm, and both ends of the `kid`. It
    /// contains no part of the token and no other claim values. Do not show it to whoever sent the token.
    ///
    /// ```
    /// use aero2::CheckOutcome;
    /// let test = aero2::testing::TestIssuer::new();
    /// let rs = test.issuer().resource_server().audience("orders").build()?;
    /// let explanation = rs.explain(&test.token().audience("billing").sign());
    ///
    /// println!("{explanation}");
    /// let failed =
    ///     explanation.checks().find(|check| check.outcome() == CheckOutcome::Failed).unwrap();
    /// assert_eq!(
    ///     (failed.name(), failed.detail()),
    ///     ("audience", "WrongAudience: expected orders")
    /// );
    /// # Ok::<(), aero2::Error>(())
    /// ```
    pub fn explain(&self, token: &str) -> Explanation {
        self.explained(token, &CallRequirements::default())
    }

    /// Like [`explain`](Self::explain), with the options of a call of [`verify_token_with`](Self::verify_token_with).
    ///
    /// # Errors
    /// [`Error::Config`] as for [`verify_token_with`](Self::verify_token_with).
    pub fn explain_with(&self, token: &str, options: &VerifyOptions) -> Result<Explanation, Error> {
        Ok(self.explained(token, &options.expectation()?))
    }

    fn explained(&self, token: &str, expectation: &CallRequirements<'_>) -> Explanation {
        let policy = &self.0.policy;
        let mut recorder = Recorder::new(policy, expectation, token.len(), self.issuer().connection().clock.wall());
        let error = self.verify_traced(token, expectation, &mut recorder).err();
        recorder.explanation(error.as_ref())
    }
}

/// What a verification reported while it was listened to.
struct Recorder<'a> {
    policy: &'a Requirements,
    expectation: &'a CallRequirements<'a>,
    token_bytes: usize,
    wall: SystemTime,
    /// How many of [`Step::ALL`] were passed.
    passed: usize,
    algorithm: Option<Algorithm>,
    kid: String,
    keys: String,
    facts: Facts,
}

/// What may be shown of the claims behind a good signature.
#[derive(Default)]
struct Facts {
    missing: Vec<&'static str>,
    issuer_but_for_slash: bool,
    dates: [Option<NumericDate>; 3],
    confirmation: &'static str,
    missing_scopes: StringSet,
}

impl Trace for Recorder<'_> {
    fn passed(&mut self, step: Step) {
        self.passed = Step::ALL.iter().position(|other| *other == step).map_or(self.passed, |at| at + 1);
    }

    fn header(&mut self, algorithm: Algorithm, kid: Option<&str>) {
        (self.algorithm, self.kid) = (Some(algorithm), kid.map_or_else(|| "no kid".to_owned(), shown_kid));
    }

    fn keys(&mut self, keys: &JwkSet, stale: bool) {
        let stale = if stale { ", past their time to live" } else { "" };
        self.keys = format!("{} usable, {} skipped{stale}", keys.len(), keys.skipped());
        self.passed(Step::Keys);
    }

    fn claims(&mut self, claims: &ClaimSet) {
        let there = [claims.issuer().is_some(), claims.expires_at().is_some(), claims.audiences().is_some()];
        let slashless = |text: &str| text.trim_end_matches('/').to_owned();
        let scopes = self.expectation.all_required_scopes(self.policy);
        self.facts = Facts {
            missing: ["iss", "exp", "aud"]
                .into_iter()
                .zip(there)
                .filter(|(_, there)| !there)
                .map(|(name, _)| name)
                .collect(),
            issuer_but_for_slash: claims.issuer().map(slashless) == Some(slashless(&self.policy.issuer)),
            dates: [claims.expires_at(), claims.not_before(), claims.issued_at()],
            confirmation: confirmation(claims),
            missing_scopes: scopes.as_slice().iter().filter(|scope| !claims.has_scope(scope)).cloned().collect(),
        };
    }
}

impl<'a> Recorder<'a> {
    fn new(
        policy: &'a Requirements,
        expectation: &'a CallRequirements<'a>,
        token_bytes: usize,
        wall: SystemTime,
    ) -> Self {
        let (kid, keys, facts) = (String::new(), String::new(), Facts::default());
        Self { policy, expectation, token_bytes, wall, passed: 0, algorithm: None, kid, keys, facts }
    }

    fn explanation(&self, error: Option<&Error>) -> Explanation {
        let failed = error.map(|error| (self.failed_at(error), error));
        let explain = |(at, step): (usize, &Step)| match failed {
            Some((failed, _)) if at > failed => (*step, CheckOutcome::NotReached, String::new()),
            Some((failed, error)) if at == failed => (*step, CheckOutcome::Failed, self.failure(*step, error)),
            _ => (*step, CheckOutcome::Passed, self.detail(*step)),
        };
        let checks = Step::ALL.iter().enumerate().map(explain);
        let checks = checks.map(|(step, outcome, detail)| ExplainedCheck::new(name(step), outcome, detail));
        Explanation::new(checks.collect())
    }

    /// The first step that was not passed and refuses like that. What can tell nothing of the token can only be the next step.
    fn failed_at(&self, error: &Error) -> usize {
        let Error::Token(error) = error else { return self.passed };
        let rest = Step::ALL.iter().enumerate().skip(self.passed);
        rest.into_iter().find(|(_, step)| step.refuses_with(error.kind())).map_or(self.passed, |(at, _)| at)
    }

    /// The kind of the refusal and what it is about, or the error that is none of the token's.
    fn failure(&self, step: Step, error: &Error) -> String {
        let Error::Token(error) = error else { return error.to_string() };
        let kind = error.kind();
        let why = match (step, kind) {
            (Step::Form, _) => FORM.to_owned(),
            (Step::Critical, _) => "the header has crit".to_owned(),
            (Step::Algorithm, _) => self.refused_algorithm(),
            (Step::Type, _) => "typ names another kind of token than JWT or at+jwt".to_owned(),
            (Step::Key, TokenErrorKind::UnfitKey) => {
                format!("no key for {} ({})", self.detail(Step::Algorithm), self.kid)
            }
            (Step::Key, TokenErrorKind::AmbiguousKey) => "no kid, and several keys would fit".to_owned(),
            (Step::Key, _) => format!("no key of the issuer has this kid ({}; {})", self.kid, self.keys),
            (Step::Signature, _) => format!("not made with the issuer's key ({})", self.kid),
            (Step::Claims, TokenErrorKind::Malformed) => {
                "the claims are not a JSON object with unique members".to_owned()
            }
            (Step::Claims, _) => "a registered claim is of the wrong type or out of range".to_owned(),
            (Step::Check(check), _) => self.failed_check(check),
            (step, _) => self.detail(step),
        };
        format!("{kind:?}: {why}")
    }

    fn refused_algorithm(&self) -> String {
        let taken: Vec<String> = self.policy.algorithms.iter().map(ToString::to_string).collect();
        match self.algorithm {
            Some(algorithm) => format!("{algorithm}; expected {}", listed(&taken)),
            None => "not one that this crate verifies".to_owned(),
        }
    }

    fn failed_check(&self, check: Check) -> String {
        match check {
            Check::Required => format!("missing: {}", self.facts.missing.join(", ")),
            Check::Issuer if self.facts.issuer_but_for_slash => {
                format!("expected {}; they differ in a trailing slash only", self.policy.issuer)
            }
            Check::Issuer => format!("expected {}", self.policy.issuer),
            Check::TokenUse => "token_use is not access".to_owned(),
            Check::Scopes => {
                let required = self.expectation.all_required_scopes(self.policy);
                let missing = self.facts.missing_scopes.as_slice();
                format!("missing {}; required {}", listed(missing), listed(required.as_slice()))
            }
            Check::Audience | Check::Expiry | Check::Begin | Check::Sender => self.passed_check(check),
        }
    }

    fn detail(&self, step: Step) -> String {
        match step {
            Step::Clock => date::rfc3339(since_epoch(self.wall)),
            Step::Length => format!("{} bytes, at most {}", self.token_bytes, self.policy.max_token_bytes),
            Step::Form => "three parts of base64url".to_owned(),
            Step::Critical => "no crit".to_owned(),
            Step::Algorithm => self.algorithm.map(|algorithm| algorithm.to_string()).unwrap_or_default(),
            Step::Type => "JWT, at+jwt or absent".to_owned(),
            Step::Keys => self.keys.clone(),
            Step::Key => self.kid.clone(),
            Step::Signature => "made with the issuer's key".to_owned(),
            Step::Claims => "a JSON object, its registered claims of the right types".to_owned(),
            Step::Check(check) => self.passed_check(check),
        }
    }

    fn passed_check(&self, check: Check) -> String {
        let [expiry, begin, issued] = self.facts.dates.map(|date| date.map(|date| date::rfc3339(date.since_epoch())));
        let now = || format!("now {} ± {} s", date::rfc3339(since_epoch(self.wall)), self.policy.tolerance.as_secs());
        let date = |date: Option<String>| date.unwrap_or_else(|| "none".to_owned());
        match check {
            Check::Required => "all present".to_owned(),
            Check::Issuer => self.policy.issuer.to_string(),
            Check::Expiry => format!("exp {}, {}", date(expiry), now()),
            Check::Begin => format!("nbf {}, iat {}, {}", date(begin), date(issued), now()),
            Check::Audience => match self.expectation.effective_audiences(self.policy) {
                Some(expected) => format!("expected {}", listed(expected.as_slice())),
                None => "not compared".to_owned(),
            },
            Check::TokenUse => "access or absent".to_owned(),
            Check::Sender => {
                let shown = if self.expectation.certificate.is_some() { "one" } else { "none" };
                format!("{}; certificate shown: {shown}", self.facts.confirmation)
            }
            Check::Scopes => match self.expectation.all_required_scopes(self.policy).as_slice() {
                [] => "none required".to_owned(),
                required => format!("required {}", listed(required)),
            },
        }
    }
}

fn name(step: Step) -> &'static str {
    match step {
        Step::Clock => "clock",
        Step::Length => "length",
        Step::Form => "form",
        Step::Critical => "extensions",
        Step::Algorithm => "algorithm",
        Step::Type => "type",
        Step::Keys => "key set",
        Step::Key => "key",
        Step::Signature => "signature",
        Step::Claims => "claims",
        Step::Check(Check::Required) => "required",
        Step::Check(Check::Issuer) => "issuer",
        Step::Check(Check::Expiry) => "expiry",
        Step::Check(Check::Begin) => "begin",
        Step::Check(Check::Audience) => "audience",
        Step::Check(Check::TokenUse) => "token use",
        Step::Check(Check::Sender) => "sender",
        Step::Check(Check::Scopes) => "scopes",
    }
}

fn confirmation(claims: &ClaimSet) -> &'static str {
    match (claims.key_thumbprint(), claims.certificate_thumbprint()) {
        _ if !claims.is_sender_constrained() => "not bound",
        (None, Some(_)) if claims.sole_certificate_thumbprint().is_some() => "bound to a client certificate",
        (None, Some(_)) => "bound to a client certificate and more",
        (Some(_), None) => "bound to a DPoP key",
        (Some(_), Some(_)) => "bound to a DPoP key and a client certificate",
        (None, None) => "bound to something unknown",
    }
}

/// The name of a key is public where the issuer has such a key, and otherwise whatever somebody wrote: both ends of it, if they are
/// harmless in a log, tell keys apart and hold nothing.
fn shown_kid(kid: &str) -> String {
    let harmless = kid
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'+' | b'/' | b'='));
    let shown = match (kid.get(..KID_START), kid.len().checked_sub(KID_END).and_then(|from| kid.get(from..))) {
        _ if !harmless => "not shown",
        (Some(start), Some(end)) if kid.len() > SHORT_KID => &format!("{start}…{end}"),
        _ => kid,
    };
    format!("kid {shown}, {} bytes", kid.len())
}

/// StringSet of the configuration, as many as a line can hold.
fn listed(names: &[String]) -> String {
    let (first, rest) = names.split_at(names.len().min(LISTED));
    let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
    first.join(", ") + &more
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

const FORM: &str = "not three parts of canonical base64url, or the header is not a JSON object with a string alg";

/// Of a key's name; a short one is shown whole.
const SHORT_KID: usize = 12;
const KID_START: usize = 8;
const KID_END: usize = 4;

/// Of audiences, scopes and algorithms.
const LISTED: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_kid_a_little_is_shown_if_it_is_harmless() {
        for (kid, shown) in [
            ("", "kid , 0 bytes"),
            ("key-1", "kid key-1, 5 bytes"),
            ("key-20261201", "kid key-20261201, 12 bytes"),
            ("key-202612010", "kid key-2026…2010, 13 bytes"),
            ("a\r\nb", "kid not shown, 4 bytes"),
            ("\u{1b}[31m", "kid not shown, 5 bytes"),
            ("äöüäöüäöüäöü", "kid not shown, 24 bytes"),
        ] {
            assert_eq!(shown_kid(kid), shown);
        }
    }

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = (0..10).map(|n| n.to_string()).collect();
        assert_eq!(listed(&names), "0, 1, 2, 3, 4, 5, 6, 7 and 2 more");
        assert_eq!(listed(&names[..8]), "0, 1, 2, 3, 4, 5, 6, 7");
        assert_eq!(listed(&[]), "");
    }

    #[test]
    fn every_kind_of_refusal_belongs_to_a_step() {
        use TokenErrorKind as Kind;
        for kind in [
            Kind::TooLong,
            Kind::Malformed,
            Kind::UnsupportedAlgorithm,
            Kind::CriticalHeader,
            Kind::WrongType,
            Kind::UnknownKey,
            Kind::UnfitKey,
            Kind::AmbiguousKey,
            Kind::BadSignature,
            Kind::InvalidClaim,
            Kind::WrongIssuer,
            Kind::Expired,
            Kind::NotYetValid,
            Kind::WrongAudience,
            Kind::WrongTokenUse,
            Kind::SenderConstrained,
            Kind::InsufficientScope,
        ] {
            assert!(Step::ALL.iter().any(|step| step.refuses_with(kind)), "{kind:?}");
        }
    }
}
