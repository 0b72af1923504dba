//! Tokens that are bound to a key of their sender (RFC 7800, RFC 8705, RFC 9449): what a resource server does about them.

use crate::claims::claim_set::ClaimSet;

/// What a resource server does with a token that the claim `cnf` binds to a key of its sender.
///
/// A service that accepts such a token without asking for that key would accept it from a thief as well, so the default is to
/// refuse it (RFC 8705 §3, RFC 9449 §7). This crate can check one kind of binding itself: `x5t#S256`, which names a TLS client
/// certificate, against the certificate in [`VerifyOptions::client_certificate`](crate::VerifyOptions::client_certificate). Every
/// refusal has the kind [`SenderConstraint`](crate::TokenErrorKind::SenderConstrained).
///
/// If `cnf` contains anything besides `x5t#S256`, such as a DPoP key or an unknown method, the certificate alone does not satisfy
/// it. This is stricter than RFC 7800 §3.1, which says to ignore unknown methods: an issuer that names two methods wants both.
///
/// ```
/// use aero2::testing::{Json, TestIssuer};
/// use aero2::{Error, SenderConstraint, TokenErrorKind, VerifyOptions};
/// # let certificate = [0x30, 0x03, 0x02, 0x01, 0x05];
/// # let thumbprint = "QXx3Y8TjIKa3R7PLDG0i-TdBspoytIWUuOtMFE_m1yk";
/// let test = TestIssuer::new();
/// let bound = test.token().claim("cnf", Json::object([("x5t#S256", thumbprint)])).sign();
///
/// let rs = test.issuer().resource_server().build()?;
/// let Err(Error::Token(e)) = rs.verify_token(&bound) else { panic!("accepted") };
/// assert_eq!(e.kind(), TokenErrorKind::SenderConstrained);
/// // The certificate of this connection, as the TLS library gives it.
/// assert!(
///     rs.verify_token_with(&bound, &VerifyOptions::new().client_certificate(&certificate))
///         .is_ok()
/// );
///
/// // Every token must be bound.
/// let strict = test
///     .issuer()
///     .resource_server()
///     .sender_constrained(SenderConstraint::Require)
///     .build()?;
/// assert!(strict.verify_token(&test.token().sign()).is_err());
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SenderConstraint {
    /// Refuses a bound token, unless it is bound to the client certificate that the call passes. Accepts plain bearer tokens.
    #[default]
    CheckIfBound,
    /// As [`CheckIfBound`](Self::CheckIfBound), but also refuses plain bearer tokens.
    Require,
    /// Accepts a token whatever it is bound to. Only for callers that check [`Claims::confirmation`](crate::Claims::confirmation)
    /// themselves, for example against a DPoP proof. If the call passes a client certificate and the token has `x5t#S256`, they
    /// must still match.
    DangerousIgnore,
}

impl SenderConstraint {
    /// `certificate`: the thumbprint of the one that the sender showed, in base64url.
    pub(crate) fn allows(self, claims: &ClaimSet, certificate: Option<&str>) -> bool {
        if !claims.is_sender_constrained() {
            return self != Self::Require;
        }
        match self {
            Self::CheckIfBound | Self::Require => is_same(claims.sole_certificate_thumbprint(), certificate),
            Self::DangerousIgnore => match claims.certificate_thumbprint() {
                Some(expected) if certificate.is_some() => is_same(Some(expected), certificate),
                _ => true,
            },
        }
    }
}

/// Whether both are there and equal, in a time that does not tell how far they are: canonical base64url, so equal texts are equal digests.
fn is_same(expected: Option<&str>, shown: Option<&str>) -> bool {
    let (Some(expected), Some(shown)) = (expected, shown) else { return false };
    let differing = expected.bytes().zip(shown.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
    expected.len() == shown.len() && differing == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(text: &str) -> ClaimSet {
        ClaimSet::parse(text.to_owned()).unwrap()
    }

    #[test]
    fn a_certificate_satisfies_the_binding_to_it_and_no_other() {
        use SenderConstraint::{CheckIfBound, DangerousIgnore as Accept, Require};
        // claims, certificate, allowed by CheckIfBound, by Require, by Accept
        for (text, certificate, allowed) in [
            ("{}", None, [true, false, true]),
            ("{}", Some("abc"), [true, false, true]),
            (r#"{"cnf":{"x5t#S256":"abc"}}"#, Some("abc"), [true, true, true]),
            (r#"{"cnf":{"x5t#\u0053256":"\u0061bc"}}"#, Some("abc"), [true, true, true]),
            (r#"{"cnf":{"x5t#S256":"abc"}}"#, None, [false, false, true]),
            (r#"{"cnf":{"x5t#S256":"abc"}}"#, Some("abd"), [false, false, false]),
            (r#"{"cnf":{"x5t#S256":"abc"}}"#, Some("bac"), [false, false, false]),
            (r#"{"cnf":{"x5t#S256":"abc"}}"#, Some("ab"), [false, false, false]),
            (r#"{"cnf":{"x5t#S256":"ab"}}"#, Some("abc"), [false, false, false]),
            (r#"{"cnf":{"x5t#S256":""}}"#, Some("abc"), [false, false, false]),
            (r#"{"cnf":{"x5t#S256":"abc","jkt":"k"}}"#, Some("abc"), [false, false, true]),
            (r#"{"cnf":{"x5t#S256":"abc","jkt":"k"}}"#, Some("abd"), [false, false, false]),
            (r#"{"cnf":{"x5t#S256":"abc","new":1}}"#, Some("abc"), [false, false, true]),
            (r#"{"cnf":{"jkt":"k"}}"#, Some("k"), [false, false, true]),
            (r#"{"cnf":{"x5t#S256":["abc"]}}"#, Some("abc"), [false, false, true]),
            (r#"{"cnf":{}}"#, Some("abc"), [false, false, true]),
            (r#"{"cnf":null}"#, Some("abc"), [true, false, true]),
            (r#"{"cnf":"abc"}"#, Some("abc"), [false, false, true]),
            (r#"{"cnf":[{"x5t#S256":"abc"}]}"#, Some("abc"), [false, false, true]),
            (r#"{"cnf":false}"#, None, [false, false, true]),
        ] {
            let claims = claims(text);
            let outcome = [CheckIfBound, Require, Accept].map(|mode| mode.allows(&claims, certificate));
            assert_eq!(outcome, allowed, "{text} {certificate:?}");
        }
    }
}
