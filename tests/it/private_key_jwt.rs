//! `private_key_jwt` (RFC 7523): what the issuer is sent, checked with the public half of the client's key.

use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use aero2::jose::{Algorithm, CompactJws, Jwk};
use aero2::testing::{ManualClock, TestIssuer};
use aero2::{ClientAuth, Error, Introspection, Issuer, PrivateKeyJwt, Request, Response, SecretSource, Transport};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::recorded;
use crate::support::recorder::Recorder;

const ES256: &str = include_str!("../data/client-keys/es256.pem");
const ES384: &str = include_str!("../data/client-keys/es384.pem");
const EDDSA: &str = include_str!("../data/client-keys/eddsa.pem");
const RS256: &str = include_str!("../data/client-keys/rs256.pem");
const ES256_PUBLIC: &str = include_str!("../data/client-keys/es256.jwk");
const EDDSA_PUBLIC: &str = include_str!("../data/client-keys/eddsa.jwk");

type Form = Vec<(String, String)>;

/// An issuer that keeps what is posted and answers from a list, then "inactive".
#[derive(Clone, Default)]
struct Desk {
    posted: Arc<Mutex<Vec<Form>>>,
    refusals: Arc<Mutex<Vec<&'static str>>>,
}

impl Desk {
    fn issuer(&self, clock: ManualClock) -> Issuer {
        Issuer::builder("https://acme.aero2.dev").transport(Recorder::new(self.clone())).clock(clock).build().unwrap()
    }

    fn posted(&self) -> Vec<Form> {
        self.posted.lock().unwrap().clone()
    }
}

impl Transport for Desk {
    fn send(&self, request: &Request<'_>) -> Result<Response, aero2::TransportError> {
        let Some(body) = request.body() else {
            return Ok(Response::new(200, [], br#"{"issuer":"https://acme.aero2.dev"}"#.to_vec()));
        };
        assert!(request.headers().all(|(name, _)| name != "authorization"));
        let pairs = std::str::from_utf8(body).unwrap().split('&').map(|pair| pair.split_once('=').unwrap());
        self.posted.lock().unwrap().push(pairs.map(|(name, value)| (name.to_owned(), undo_percents(value))).collect());
        Ok(match self.refusals.lock().unwrap().pop() {
            Some(error) => Response::new(401, [], format!(r#"{{"error":"{error}"}}"#).into_bytes()),
            None => Response::new(200, [], br#"{"active":false}"#.to_vec()),
        })
    }
}

fn undo_percents(value: &str) -> String {
    let mut parts = value.split('%');
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).unwrap()
}

fn field<'f>(form: &'f Form, name: &str) -> Option<&'f str> {
    form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

fn ask(issuer: &Issuer, pem: impl Into<SecretSource>, auth: impl Into<ClientAuth>) -> Result<Introspection, Error> {
    issuer.introspector("svc-\"orders\"", pem).client_auth(auth).build()?.introspect("t")
}

/// Header and claims of an assertion that the public key verifies.
fn verified(assertion: &str, jwk: &str) -> (Value, Value) {
    let key = Jwk::parse(jwk).unwrap().verification_key().unwrap();
    let payload = CompactJws::parse(assertion).unwrap().verify(&key).unwrap();
    let header = URL_SAFE_NO_PAD.decode(assertion.split('.').next().unwrap()).unwrap();
    (serde_json::from_slice(&header).unwrap(), serde_json::from_slice(&payload).unwrap())
}

#[test]
fn every_kind_of_key_signs_an_assertion_that_its_public_half_verifies() {
    for (pem, jwk, algorithm) in [
        (ES256, ES256_PUBLIC, "ES256"),
        (ES384, include_str!("../data/client-keys/es384.jwk"), "ES384"),
        (EDDSA, EDDSA_PUBLIC, "EdDSA"),
        (RS256, include_str!("../data/client-keys/rs256.jwk"), "RS256"),
    ] {
        let desk = Desk::default();
        assert!(ask(&desk.issuer(ManualClock::new()), pem, PrivateKeyJwt::new()).is_ok());
        let [form] = &desk.posted()[..] else { panic!("not one request") };
        let (header, _) = verified(field(form, "client_assertion").unwrap(), jwk);
        assert_eq!(header, json!({"alg": algorithm, "typ": "JWT"}));
    }
}

#[test]
fn the_assertion_says_what_rfc_7523_asks_for() {
    let clock = ManualClock::new();
    clock.set_wall(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let desk = Desk::default();
    let issuer = desk.issuer(clock);
    let _ = ask(&issuer, ES256, PrivateKeyJwt::new().key_id("key \"1\"")).unwrap();
    let _ = ask(&issuer, ES256, PrivateKeyJwt::new().audience("https://acme.aero2.dev/oauth2/token")).unwrap();

    let [first, second] = &desk.posted()[..] else { panic!("not two requests") };
    assert_eq!(field(first, "client_id"), Some("svc-\"orders\""));
    assert_eq!(field(first, "client_assertion_type"), Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
    assert_eq!((field(first, "client_secret"), field(first, "token")), (None, Some("t")));
    let (header, mut claims) = verified(field(first, "client_assertion").unwrap(), ES256_PUBLIC);
    assert_eq!(header["kid"], "key \"1\"");
    let id = claims.as_object_mut().unwrap().remove("jti").unwrap();
    assert_eq!(id.as_str().unwrap().len(), 22);
    assert_eq!(
        claims,
        json!({
            "iss": "svc-\"orders\"", "sub": "svc-\"orders\"", "aud": "https://acme.aero2.dev",
            "iat": 1_800_000_000, "exp": 1_800_000_060,
        })
    );
    let (_, claims) = verified(field(second, "client_assertion").unwrap(), ES256_PUBLIC);
    assert_eq!(claims["aud"], "https://acme.aero2.dev/oauth2/token");
    assert_ne!(claims["jti"], id, "no assertion is used twice");
}

#[test]
fn an_rsa_key_signs_by_the_algorithm_that_was_asked_for() {
    for algorithm in [Algorithm::Rs384, Algorithm::Rs512, Algorithm::Ps256, Algorithm::Ps384, Algorithm::Ps512] {
        let desk = Desk::default();
        let _ = ask(&desk.issuer(ManualClock::new()), RS256, PrivateKeyJwt::new().algorithm(algorithm)).unwrap();
        let jwk = include_str!("../data/client-keys/rs256.jwk");
        let (header, _) = verified(field(&desk.posted()[0], "client_assertion").unwrap(), jwk);
        assert_eq!(header["alg"], algorithm.name());
    }
}

#[test]
fn what_is_no_key_to_sign_with_is_refused_when_the_client_is_built() {
    let issuer = Desk::default().issuer(ManualClock::new());
    let refused = |pem: &str, auth: PrivateKeyJwt| match issuer.revoker("svc", pem).client_auth(auth).build() {
        Err(Error::Config(e)) => e.to_string(),
        other => panic!("{other:?}"),
    };
    let no_pem =
        "private_key_jwt needs the client's private key as its secret; pass a PKCS#8 PEM, -----BEGIN PRIVATE KEY-----";
    let cut = &ES256[..ES256.len() / 2];
    for text in ["hunter2", ES256_PUBLIC, &ES256.replace("PRIVATE", "EC PRIVATE"), cut, &ES256.replace("M", "!")] {
        assert_eq!(refused(text, PrivateKeyJwt::new()), no_pem);
    }
    let no_kind = "the client's private key is of a kind that cannot sign; use P-256, P-384, Ed25519, or RSA with 2048 to 4096 bits";
    for text in [
        include_str!("../data/client-keys/refused/p521.pem"),
        include_str!("../data/client-keys/refused/secp256k1.pem"),
        include_str!("../data/client-keys/refused/rsa1024.pem"),
        include_str!("../data/client-keys/refused/ed448.pem"),
        "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----",
    ] {
        assert_eq!(refused(text, PrivateKeyJwt::new()), no_kind);
    }
    let unfit = "the client's private key is not for the algorithm that was set; do not set one, or use a key for it";
    for (pem, algorithm) in [
        (ES256, Algorithm::Es384),
        (ES256, Algorithm::Rs256),
        (EDDSA, Algorithm::Es256),
        (RS256, Algorithm::EdDsa),
        (RS256, Algorithm::Es256),
    ] {
        assert_eq!(refused(pem, PrivateKeyJwt::new().algorithm(algorithm)), unfit, "{algorithm}");
    }
    assert_eq!(
        refused("", PrivateKeyJwt::new()),
        "the client secret is empty; use the one that the issuer gave to this client"
    );
}

#[test]
fn a_key_may_stand_amid_other_text_and_with_any_line_ends() {
    let issuer = Desk::default().issuer(ManualClock::new());
    for text in [
        format!("subject=svc\n{ES256}\n-----BEGIN CERTIFICATE-----"),
        ES256.replace('\n', "\r\n"),
        ES256.replace("=\n", "="),
    ] {
        assert!(issuer.revoker("svc", text).client_auth(PrivateKeyJwt::new()).build().is_ok());
    }
}

#[test]
fn without_a_set_wall_clock_nothing_is_signed_or_sent() {
    let clock = ManualClock::new();
    clock.set_wall(UNIX_EPOCH);
    let desk = Desk::default();
    assert!(matches!(ask(&desk.issuer(clock), ES256, PrivateKeyJwt::new()), Err(Error::Clock(_))));
    assert!(desk.posted().is_empty());
}

#[test]
fn a_key_that_was_rotated_meanwhile_is_tried_after_invalid_client() {
    let desk = Desk::default();
    desk.refusals.lock().unwrap().push("invalid_client");
    let keys = Mutex::new(vec![EDDSA, ES256]);
    let source = SecretSource::from_fn(move || keys.lock().unwrap().pop().map(str::to_owned).ok_or("no more keys"));
    assert!(ask(&desk.issuer(ManualClock::new()), source, PrivateKeyJwt::new()).is_ok());
    let [first, second] = &desk.posted()[..] else { panic!("not two requests") };
    verified(field(first, "client_assertion").unwrap(), ES256_PUBLIC);
    verified(field(second, "client_assertion").unwrap(), EDDSA_PUBLIC);
}

#[test]
fn a_bad_key_from_a_source_fails_the_call_and_shows_nowhere() {
    let desk = Desk::default();
    let source = SecretSource::from_fn(|| Ok::<_, Error>(ES256.replace("M", "!")));
    let error = ask(&desk.issuer(ManualClock::new()), source, PrivateKeyJwt::new()).unwrap_err();
    assert!(matches!(error, Error::Config(_)));
    assert!(!format!("{error:?}").contains('!'));
    assert!(desk.posted().is_empty());
}

#[test]
fn all_three_capabilities_work_with_a_key_and_with_no_other() {
    let test = TestIssuer::builder().client_auth_methods(["private_key_jwt"]).build();
    test.register_client_key("svc", ES256_PUBLIC, ["api:read"]);
    let issuer = recorded(&test);
    let auth = || PrivateKeyJwt::new().key_id("1");
    let m2m = issuer.m2m_client("svc", ES256).client_auth(auth()).build().unwrap();
    let token = m2m.access_token().unwrap();
    let introspector = issuer.introspector("svc", ES256).client_auth(auth()).build().unwrap();
    assert!(matches!(introspector.introspect(token.expose_secret()), Ok(Introspection::Active(_))));
    let revoker = issuer.revoker("svc", ES256).client_auth(auth()).build().unwrap();
    revoker.revoke(token.expose_secret(), None).unwrap();
    assert!(matches!(introspector.introspect(token.expose_secret()), Ok(Introspection::Inactive)));

    let to_another = auth().audience("https://another.example");
    for (id, pem, auth) in [("svc", EDDSA, auth()), ("nobody", ES256, auth()), ("svc", ES256, to_another)] {
        let refused = issuer.m2m_client(id, pem).client_auth(auth).build().unwrap().access_token();
        assert!(matches!(refused, Err(Error::OAuth(e)) if e.error_code() == "invalid_client"));
    }
    let with_secret = issuer.m2m_client(TestIssuer::CLIENT_ID, TestIssuer::CLIENT_SECRET).build().unwrap();
    assert!(with_secret.access_token().is_err(), "this issuer takes keys only");
}

#[test]
fn the_parameters_of_the_assertion_are_not_for_others() {
    let issuer = Desk::default().issuer(ManualClock::new());
    for name in ["client_assertion", "client_assertion_type"] {
        let client = issuer.m2m_client("svc", "secret").param(name, "x").build();
        assert!(matches!(client, Err(Error::Config(e)) if e.to_string().contains(name)), "{name}");
    }
}
