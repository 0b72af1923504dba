//! The attack table: tokens and keys as somebody makes them who wants in, each with how it ends.
//!
//! One module per place of attack, one test per class, one line per token. [`forge`] signs any bytes with real keys, so what is refused
//! is refused for the reason told and not for a broken signature. Every line is held against a plain resource server and against one
//! with a cache of verified tokens, each asked twice and before and after a good token. CVE numbers name a well-known case of the class in some other library.

mod claims;
mod forge;
mod form;
mod header;
mod keys;
mod signatures;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::UNIX_EPOCH;

use aero2::testing::ManualClock;
use aero2::{Claims, Error, Issuer, Request, ResourceServer, Response, TokenErrorKind, TransportError};

use crate::support::recorder::Recorder;
use crate::support::secs;

/// Tokens of one class, against one key set.
struct Attack {
    keys: String,
    max_token_bytes: usize,
    /// What the header alone condemns must cost no request.
    without_request: bool,
}

impl Attack {
    /// Against the usual keys: `rsa`, `p256`, `p384` and `ed`, none bound to an algorithm.
    fn new() -> Self {
        Self::on(&forge::usual_keys())
    }

    fn on(keys: &str) -> Self {
        Self { keys: keys.to_owned(), max_token_bytes: 16 * 1024, without_request: false }
    }

    fn without_request(self) -> Self {
        Self { without_request: true, ..self }
    }

    fn max_token_bytes(self, max_token_bytes: usize) -> Self {
        Self { max_token_bytes, ..self }
    }

    /// The token is refused, as `expected`.
    #[track_caller]
    fn row(&self, name: &str, token: &str, expected: TokenErrorKind) {
        for outcome in self.outcomes(token) {
            let error = outcome.err().unwrap_or_else(|| panic!("{name}: accepted"));
            let Error::Token(refusal) = &error else { panic!("{name}: {error:?}") };
            assert_eq!(refusal.kind(), expected, "{name}");
            let scope = expected == TokenErrorKind::InsufficientScope;
            assert_eq!(error.http_status(), if scope { 403 } else { 401 }, "{name}");
            assert_eq!(error.to_string(), if scope { "insufficient scope" } else { "invalid token" }, "{name}");
            let debug = format!("{error:?}");
            assert!(!token.split('.').any(|part| part.len() > 8 && debug.contains(part)), "{name}: {debug}");
        }
    }

    /// The token is no attack, or one that is known and harmless: the other side of the line.
    #[track_caller]
    fn accepted(&self, name: &str, token: &str) {
        for outcome in self.outcomes(token) {
            outcome.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        }
    }

    fn outcomes(&self, token: &str) -> Vec<Result<Claims, Error>> {
        let (plain, requests) = self.server(false);
        let (caching, _) = self.server(true);
        let cold = plain.verify_token(token);
        assert!(!self.without_request || requests.load(Ordering::Relaxed) == 0, "caused a request");
        // From here on each server has seen a good token, where the key set lets it.
        let _ = (plain.verify_token(&forge::good()), caching.verify_token(&forge::good()));
        vec![cold, plain.verify_token(token), caching.verify_token(token), caching.verify_token(token)]
    }

    fn server(&self, cache: bool) -> (ResourceServer, Arc<AtomicUsize>) {
        let clock = ManualClock::new();
        clock.set_wall(UNIX_EPOCH + secs(forge::NOW));
        let (keys, requests) = (self.keys.clone(), Arc::new(AtomicUsize::new(0)));
        let count = requests.clone();
        let transport = move |request: &Request<'_>| -> Result<Response, TransportError> {
            count.fetch_add(1, Ordering::Relaxed);
            let body = match request.url().strip_prefix(forge::ISSUER) {
                Some("/.well-known/openid-configuration") => format!(r#"{{"issuer":"{}"}}"#, forge::ISSUER),
                Some("/oauth2/jwks.json") => keys.clone(),
                _ => panic!("a token caused a request to {}", request.url()),
            };
            Ok(Response::new(200, [], body.into_bytes()))
        };
        let issuer = Issuer::builder(forge::ISSUER).transport(Recorder::new(transport)).clock(clock).build().unwrap();
        let server = issuer.resource_server().audience(forge::AUDIENCE).required_scopes(["read"]);
        let server = server.max_token_bytes(self.max_token_bytes);
        let server = if cache { server.verified_token_cache(16) } else { server };
        (server.build().unwrap(), requests)
    }
}

#[test]
fn the_token_that_the_attacks_start_from_is_good() {
    let attack = Attack::new();
    attack.accepted("Ed25519", &forge::good());
    for (kid, algorithm) in [("rsa", "RS256"), ("rsa", "PS512"), ("p256", "ES256"), ("p384", "ES384")] {
        attack.accepted(algorithm, &forge::signed(&forge::header(algorithm, kid), forge::CLAIMS));
    }
}
