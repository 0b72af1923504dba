//! What a verification found on its way, and the words for it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::claims::claim_set::{ClaimSet, NumericDate};
use crate::error::TokenErrorKind;
use crate::http::date;
use crate::jose::algorithm::Algorithm;
use crate::resource_server::steps::{Failure, Finding, Refusal, Step};
use crate::resource_server::verify::CallRequirements;

pub(super) struct Report<'a> {
    token: &'a str,
    wall: SystemTime,
    call: CallRequirements<'a>,
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
    expiry: Option<NumericDate>,
    begin: Option<NumericDate>,
    issued: Option<NumericDate>,
    confirmation: &'static str,
    missing_scopes: Vec<String>,
}

impl Facts {
    fn of(claims: &ClaimSet, call: &CallRequirements<'_>) -> Self {
        let slashless = |text: &str| text.trim_end_matches('/').to_owned();
        let named = call.named_scopes();
        Self {
            missing: call.missing(claims).collect(),
            issuer_but_for_slash: claims.issuer().map(slashless) == Some(slashless(&call.policy.issuer)),
            expiry: claims.expires_at(),
            begin: claims.not_before(),
            issued: claims.issued_at(),
            confirmation: confirmation(claims),
            missing_scopes: named.as_slice().iter().filter(|scope| !claims.has_scope(scope)).cloned().collect(),
        }
    }
}

impl<'a> Report<'a> {
    pub(super) fn new(token: &'a str, wall: SystemTime, call: &CallRequirements<'a>) -> Self {
        let (kid, keys, facts) = (String::new(), String::new(), Facts::default());
        Self { token, wall, call: *call, algorithm: None, kid, keys, facts }
    }

    pub(super) fn note(&mut self, finding: &Finding<'_>) {
        match finding {
            Finding::Header { algorithm, kid } => {
                (self.algorithm, self.kid) = (Some(*algorithm), kid.map_or_else(|| "no kid".to_owned(), shown_kid));
            }
            Finding::Keys { keys, stale } => {
                let stale = if *stale { ", past their time to live" } else { "" };
                self.keys = format!("{} usable, {} skipped{stale}", keys.len(), keys.skipped());
                if let (true, Some(reason)) = (keys.is_empty(), keys.skipped_reasons().next()) {
                    self.keys += &format!(": {reason}");
                }
            }
            Finding::Claims(claims) => self.facts = Facts::of(claims, &self.call),
        }
    }

    /// The kind of the refusal and what it is about, or the error that says nothing of the token.
    pub(super) fn failure(&self, failure: &Failure<'_>) -> String {
        match failure {
            Failure::Refused(refusal) => format!("{:?}: {}", refusal.kind, self.reason(refusal)),
            Failure::Unjudged(_, error) => error.to_string(),
        }
    }

    fn reason(&self, Refusal { step, kind, about }: &Refusal<'_>) -> String {
        let about = about.unwrap_or_default();
        match (step, kind) {
            (Step::Form, _) => form(self.token).to_owned(),
            (Step::Critical, _) => "the header has crit".to_owned(),
            (Step::Algorithm, _) => self.refused_algorithm(),
            (Step::Type, _) => format!("typ names another kind of token; expected {}", self.detail(Step::Type)),
            (Step::Key, TokenErrorKind::UnfitKey) => {
                format!("no key for {} ({})", self.detail(Step::Algorithm), self.kid)
            }
            (Step::Key, TokenErrorKind::AmbiguousKey) => "no kid, and several keys would fit".to_owned(),
            (Step::Key, _) => format!("no key of the issuer has this kid ({}; {})", self.kid, self.keys),
            (Step::Signature, _) => format!("not made with the issuer's key ({})", self.kid),
            (Step::Claims, TokenErrorKind::Malformed) => {
                "the claims are not a JSON object with unique members".to_owned()
            }
            (Step::Claims, _) => format!("{about} is of the wrong type or out of range"),
            (Step::Required, _) => format!("missing: {}", self.facts.missing.join(", ")),
            (Step::Issuer, _) if self.facts.issuer_but_for_slash => {
                format!("expected {}; they differ in a trailing slash only", self.call.policy.issuer)
            }
            (Step::Issuer, _) => format!("expected {}", self.call.policy.issuer),
            (Step::TokenUse, _) => format!("{about} says that this is not an access token"),
            (Step::Scopes, _) => {
                format!("missing {}; {}", listed(&self.facts.missing_scopes), self.detail(Step::Scopes))
            }
            (Step::RequiredClaims, _) => format!("{about} has none of the required values"),
            (Step::Authentication, TokenErrorKind::InvalidClaim) => format!("{about} is of the wrong type"),
            (Step::Authentication, _) => format!("{about} is not sufficient; {}", self.detail(Step::Authentication)),
            (Step::Custom, _) => format!("refused by {about:?}"),
            (step, _) => self.detail(*step),
        }
    }

    fn refused_algorithm(&self) -> String {
        let accepted: Vec<String> = self.call.policy.algorithms.iter().map(ToString::to_string).collect();
        match self.algorithm {
            Some(algorithm) => format!("{algorithm}; expected {}", listed(&accepted)),
            None => "not one that this crate verifies".to_owned(),
        }
    }

    pub(super) fn detail(&self, step: Step) -> String {
        let policy = self.call.policy;
        match step {
            Step::Clock => date::rfc3339(since_epoch(self.wall)),
            Step::Length => format!("{} bytes, at most {}", self.token.len(), policy.max_token_bytes),
            Step::Form => "three parts of base64url".to_owned(),
            Step::Critical => "no crit".to_owned(),
            Step::Algorithm => self.algorithm.map(|algorithm| algorithm.to_string()).unwrap_or_default(),
            Step::Type if policy.rfc9068 => "at+jwt".to_owned(),
            Step::Type => "JWT, at+jwt or absent".to_owned(),
            Step::Keys => self.keys.clone(),
            Step::Key => self.kid.clone(),
            Step::Signature => "made with the issuer's key".to_owned(),
            Step::Claims => "a JSON object, its registered claims of the right types".to_owned(),
            Step::Required => "all present".to_owned(),
            Step::Issuer => policy.issuer.to_string(),
            Step::Expiry => self.expiry(),
            Step::Begin => {
                format!("nbf {}, iat {}, {}", shown_date(self.facts.begin), shown_date(self.facts.issued), self.now())
            }
            Step::Audience => match self.call.audiences() {
                Some(expected) => format!("expected {}", listed(expected.as_slice())),
                None => "not compared".to_owned(),
            },
            Step::TokenUse => "access or absent".to_owned(),
            Step::Scopes => self.scopes(),
            Step::RequiredClaims => self.required_claims(),
            Step::Authentication => self.authentication(),
            Step::Sender => {
                let shown = if self.call.options.certificate().is_some() { "one" } else { "none" };
                format!("{}; certificate shown: {shown}", self.facts.confirmation)
            }
            Step::Custom => {
                let names = policy.custom_checks.iter().map(|custom| format!("{:?}", custom.name));
                or_none("required", &names.collect::<Vec<_>>())
            }
        }
    }

    fn now(&self) -> String {
        format!("now {} ± {} s", date::rfc3339(since_epoch(self.wall)), self.call.policy.tolerance.as_secs())
    }

    fn expiry(&self) -> String {
        let oldest = self.call.policy.max_token_age.map_or_else(String::new, |age| {
            format!(", iat {}, at most {} s ago", shown_date(self.facts.issued), age.as_secs())
        });
        format!("exp {}{oldest}, {}", shown_date(self.facts.expiry), self.now())
    }

    fn scopes(&self) -> String {
        let required = self.call.claims().into_iter().flat_map(|claims| claims.required_scopes.as_slice());
        let any = self.call.claims().into_iter().flat_map(|claims| &claims.any_scope);
        let any = any.map(|scopes| format!("one of {}", listed(scopes.as_slice())));
        or_none("required", &required.cloned().chain(any).collect::<Vec<_>>())
    }

    /// Pointers and accepted values are the configuration's, not the token's.
    fn required_claims(&self) -> String {
        let required = self.call.claims().into_iter().flat_map(|claims| &claims.claims);
        let shown =
            required.map(|claim| format!("{} one of {}", claim.pointer.as_str(), listed(claim.values.as_slice())));
        or_none("required", &shown.collect::<Vec<_>>())
    }

    fn authentication(&self) -> String {
        let options = self.call.options;
        let acr = (!options.acr_values.is_empty()).then(|| format!("acr one of {}", listed(&options.acr_values)));
        let age = options.max_auth_age.map(|age| format!("auth_time at most {} s ago", age.as_secs()));
        or_none("required", &acr.into_iter().chain(age).collect::<Vec<_>>())
    }
}

/// The name of a step in the table.
pub(super) fn name(step: Step) -> &'static str {
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
        Step::Required => "required",
        Step::Issuer => "issuer",
        Step::Expiry => "expiry",
        Step::Begin => "begin",
        Step::Audience => "audience",
        Step::TokenUse => "token use",
        Step::Scopes => "scopes",
        Step::RequiredClaims => "required claims",
        Step::Authentication => "authentication",
        Step::Sender => "sender",
        Step::Custom => "custom checks",
    }
}

fn or_none(verb: &str, names: &[String]) -> String {
    if names.is_empty() { format!("none {verb}") } else { format!("{verb} {}", listed(names)) }
}

fn shown_date(date: Option<NumericDate>) -> String {
    date.map_or_else(|| "none".to_owned(), |date| date::rfc3339(date.since_epoch()))
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

/// A `kid` is public where the issuer has such a key, and otherwise any text: both ends of it, if they are harmless in a log, tell keys
/// apart and give nothing away.
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

/// Names of the configuration, as many as a line can hold.
fn listed(names: &[String]) -> String {
    let (first, rest) = names.split_at(names.len().min(LISTED));
    let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
    first.join(", ") + &more
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// What is wrong with the form of a token, by what people pass in its place most often.
fn form(token: &str) -> &'static str {
    let scheme = token.split_once(' ').map(|(scheme, _)| scheme.to_ascii_lowercase());
    if matches!(scheme.as_deref(), Some("bearer" | "dpop")) {
        "it begins with the scheme of an Authorization header; pass the token alone, or the header's value to authorize"
    } else if token.starts_with(['"', '\'']) || token.ends_with(['"', '\'']) {
        "it is in quotes; pass the token without them"
    } else if token.contains(char::is_whitespace) {
        "it contains white space or a line end; pass the token without"
    } else if token.starts_with('{') {
        "it is JSON and not the compact form"
    } else if !token.contains('.') {
        "it is not a JWT but an opaque token, which only the issuer can judge; use an Introspector"
    } else if token.split('.').count() == 5 {
        "it is encrypted (JWE), which is not supported"
    } else {
        "not three parts of canonical base64url, or the header is not a JSON object with a string alg"
    }
}

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
    fn what_people_pass_in_place_of_a_token_is_told_apart() {
        let cases = [
            ("Bearer eyJ.e30.AA", "scheme"),
            ("bearer  x", "scheme"),
            ("\"eyJ.e30.AA\"", "quotes"),
            ("'eyJ.e30.AA", "quotes"),
            ("eyJ.e30.AA\n", "white space"),
            (" eyJ.e30.AA", "white space"),
            ("2YotnFZFEjr1zCsicMWpAA", "opaque"),
            ("", "opaque"),
            ("a.b.c.d.e", "encrypted"),
            ("{\"payload\":\"a.b\"}", "JSON"),
            ("a.b", "three parts"),
            ("eyJ.e30.AA", "three parts"),
        ];
        for (token, expected) in cases {
            assert!(form(token).contains(expected), "{token}");
        }
    }

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = (0..10).map(|n| n.to_string()).collect();
        assert_eq!(listed(&names), "0, 1, 2, 3, 4, 5, 6, 7 and 2 more");
        assert_eq!(listed(&names[..8]), "0, 1, 2, 3, 4, 5, 6, 7");
        assert_eq!(listed(&[]), "");
    }
}
