//! What about sixty identity providers send, and what this crate makes of it. The cases are data: `tests/data/providers`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aero2::jose::{Algorithm, JwkSet};
use aero2::testing::{ManualClock, TestIssuer};
use aero2::{
    ClientAuth, Clock, Error, Introspection, IntrospectorBuilder, Issuer, IssuerBuilder, M2mClient, M2mClientBuilder,
    NetworkErrorKind, Request, Response, RevokerBuilder, Transport, TransportError,
};
use serde_json::{Value, json};

/// A web of pages by URL. What is asked for is written down.
#[derive(Clone, Default)]
struct Web(Arc<Mutex<State>>);

/// Status, headers, body.
type Page = (u16, Vec<(String, String)>, String);

#[derive(Default)]
struct State {
    pages: HashMap<String, Page>,
    requests: Vec<(String, Option<String>, String)>,
}

impl Web {
    fn put(&self, url: &str, status: u16, headers: &[(String, String)], body: &str) {
        self.0.lock().unwrap().pages.insert(url.to_owned(), (status, headers.to_vec(), body.to_owned()));
    }

    fn urls(&self) -> Vec<String> {
        self.0.lock().unwrap().requests.iter().map(|(url, ..)| url.clone()).collect()
    }

    /// The last request: URL, `Authorization`, body.
    fn last(&self) -> (String, Option<String>, String) {
        self.0.lock().unwrap().requests.last().cloned().expect("a request")
    }
}

impl Transport for Web {
    fn send(&self, request: &Request<'_>) -> Result<Response, TransportError> {
        let mut state = self.0.lock().unwrap();
        let authorization = request.headers().find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        let authorization = authorization.map(|(_, value)| value.to_owned());
        let body = request.body().map_or_else(String::new, |body| String::from_utf8(body.to_vec()).unwrap());
        state.requests.push((request.url().to_owned(), authorization, body));
        let (status, headers, body) =
            state.pages.get(request.url()).cloned().unwrap_or((404, Vec::new(), String::new()));
        Ok(Response::new(status, headers, body.into_bytes()))
    }
}

fn cases(file: &str) -> Vec<Value> {
    let path = format!("{}/tests/data/providers/{file}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn seconds(clock: &ManualClock) -> u64 {
    clock.wall().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The JSON text of a value with its times filled in; a text stands for itself.
fn text(value: &Value, now: u64) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    fill(&fill(&text, "\"{text:now", "\"", now), "\"{now", "", now)
}

/// Replaces each `"{now±seconds}"`, whose part before the sign is `start`, by the time between `quote`s.
fn fill(text: &str, start: &str, quote: &str, now: u64) -> String {
    let mut parts = text.split(start);
    let mut out = parts.next().unwrap().to_owned();
    for part in parts {
        let (offset, rest) = part.split_once("}\"").unwrap();
        let time = f64::from(u32::try_from(now).unwrap()) + offset.parse::<f64>().unwrap();
        let time = if offset.contains('.') { format!("{time:.6}") } else { format!("{time:.0}") };
        out += &format!("{quote}{time}{quote}{rest}");
    }
    out
}

fn filled(value: &Value, now: u64) -> Value {
    if value.is_string() && !value.as_str().unwrap().starts_with("{now") {
        return value.clone();
    }
    let quoted = value.as_str().map_or_else(|| value.to_string(), |text| format!("\"{text}\""));
    serde_json::from_str(&fill(&quoted, "\"{now", "", now)).unwrap()
}

fn builder(setup: &Value, web: &Web, clock: &ManualClock) -> IssuerBuilder {
    let mut builder =
        Issuer::builder(setup["issuer"].as_str().unwrap_or(ISSUER)).transport(web.clone()).clock(clock.clone());
    for (name, value) in setup.as_object().unwrap() {
        let url = || value.as_str().unwrap();
        builder = match name.as_str() {
            "metadata_url" => builder.metadata_url(url()),
            "keys_url" => builder.keys_url(url()),
            "token_url" => builder.token_url(url()),
            "introspection_url" => builder.introspection_url(url()),
            "revocation_url" => builder.revocation_url(url()),
            "reach_at" => builder.reach_at(url()),
            "token_issuer" => builder.token_issuer(url()),
            "dangerous_allow_http" => builder.dangerous_allow_http(),
            "issuer" | "audience" | "required_scopes" | "default_lifetime" | "scope" | "client_auth" => builder,
            other => panic!("the setting {other} is unknown"),
        };
    }
    builder
}

/// An error by the name that the cases give it.
fn class(error: &Error) -> String {
    match error {
        Error::Token(e) => format!("{:?}", e.kind()),
        Error::OAuth(e) => format!("oauth:{}", e.error_code()),
        Error::Network(e) => match e.kind() {
            NetworkErrorKind::Status(status) => format!("network:Status({status})"),
            kind => format!("network:{kind:?}"),
        },
        Error::Config(_) => "config".to_owned(),
        other => format!("{other:?}"),
    }
}

fn assert_refused(name: &str, expected: &Value, error: &Error) {
    let class = class(error);
    let any = expected.as_array().map_or_else(|| vec![expected], |any| any.iter().collect());
    assert!(any.iter().any(|one| **one == class), "{name}: {class} where {expected} is expected");
}

/// Whether an error's text has the name of the member, and not what stands there.
fn assert_names(name: &str, case: &Value, error: &Error) {
    let Some(member) = case["expect"]["names"].as_str() else { return };
    let shown = error.to_string();
    assert!(shown.contains(member), "{name}: {shown} does not name {member}");
    let body = &case["input"]["body"];
    if let Some(value) = body.get(member).and_then(Value::as_str).filter(|value| value.len() > 5) {
        assert!(!shown.contains(value), "{name}: {shown} shows the value");
    }
}

fn time(value: Option<SystemTime>) -> Value {
    value.map_or(Value::Null, |time| json!(time.duration_since(UNIX_EPOCH).unwrap().as_secs_f64()))
}

/// Whether all that the case expects is what the accessors return. Times are numbers, compared as such.
fn assert_facts(name: &str, expected: &Value, actual: &Value) {
    for (member, value) in expected.as_object().unwrap() {
        let other = actual.get(member).unwrap_or_else(|| panic!("{name}: no accessor is named {member}"));
        let same = match (value.as_f64(), other.as_f64()) {
            (Some(value), Some(other)) => (value - other).abs() < 1e-6,
            _ => value == other,
        };
        assert!(same, "{name}: {member} is {other} where {value} is expected");
    }
}

#[test]
fn discovery_documents_of_real_providers_lead_to_their_endpoints() {
    for case in cases("discovery") {
        let name = case["name"].as_str().unwrap();
        let (web, clock, expect) = (Web::default(), ManualClock::new(), &case["expect"]);
        for (url, page) in case["input"]["pages"].as_object().unwrap() {
            web.put(
                url,
                u16::try_from(page["status"].as_u64().unwrap()).unwrap(),
                &[],
                &text(&page["body"], seconds(&clock)),
            );
        }
        let issuer = match builder(&case["setup"], &web, &clock).build() {
            Ok(issuer) => issuer,
            Err(error) => {
                assert_refused(name, &expect["discovery"], &error);
                continue;
            }
        };
        if expect["discovery"] != "accepted" {
            assert_refused(name, &expect["discovery"], &issuer.preload().unwrap_err());
            continue;
        }
        let signer = TestIssuer::builder().url(expect["iss"].as_str().unwrap()).clock(clock.clone()).build();
        web.put(expect["keys_from"].as_str().unwrap(), 200, &[], &signer.key_set());
        let verified = issuer.resource_server().build().unwrap().verify_token(&signer.token().sign());
        verified.unwrap_or_else(|error| panic!("{name}: {error}"));
        if let Some(asked) = expect["asked"].as_array() {
            assert_eq!(&web.urls().into_iter().map(Value::from).collect::<Vec<_>>(), asked, "{name}");
        }
        issuer.preload().unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(web.urls().contains(&expect["keys_from"].as_str().unwrap().to_owned()), "{name}");
        check_endpoints(name, &case, &issuer, &web);
    }
}

fn check_endpoints(name: &str, case: &Value, issuer: &Issuer, web: &Web) {
    let auth = case["setup"]["client_auth"].as_str().map(client_auth);
    for endpoint in ["token", "introspection", "revocation"] {
        let Some(expected) = case["expect"].get(endpoint) else { continue };
        // The answer is an error each time; where and how the request is made is what counts.
        match endpoint {
            "token" => {
                let client = issuer.m2m_client("client", "secret");
                drop(with_auth(client, auth.clone(), M2mClientBuilder::client_auth).build().unwrap().access_token());
            }
            "introspection" => {
                let client = issuer.introspector("client", "secret");
                drop(
                    with_auth(client, auth.clone(), IntrospectorBuilder::client_auth).build().unwrap().introspect("t"),
                );
            }
            _ => {
                let client = issuer.revoker("client", "secret");
                drop(with_auth(client, auth.clone(), RevokerBuilder::client_auth).build().unwrap().revoke("t", None));
            }
        }
        let (url, authorization, body) = web.last();
        assert_eq!(url, expected["url"].as_str().unwrap(), "{name}: {endpoint}");
        // Where the document says nothing of an endpoint's own, the case does not judge the method.
        if expected.get("auth").is_none() {
            continue;
        }
        let basic = authorization.is_some_and(|value| value.starts_with("Basic "));
        assert_eq!(basic, expected["auth"] == "basic", "{name}: {endpoint}");
        assert_eq!(body.contains("client_secret=secret"), expected["auth"] == "post", "{name}: {endpoint}");
    }
}

fn client_auth(name: &str) -> ClientAuth {
    match name {
        "post" => ClientAuth::SecretPost,
        "basic" => ClientAuth::SecretBasic,
        other => panic!("no client authentication {other}"),
    }
}

fn with_auth<B>(builder: B, auth: Option<ClientAuth>, set: impl FnOnce(B, ClientAuth) -> B) -> B {
    match auth {
        Some(auth) => set(builder, auth),
        None => builder,
    }
}

#[test]
fn key_sets_of_real_providers_give_their_usable_keys() {
    for case in cases("key_sets") {
        let name = case["name"].as_str().unwrap();
        let (web, clock, expect) = (Web::default(), ManualClock::new(), &case["expect"]);
        let set = text(&case["input"]["set"], seconds(&clock));
        match JwkSet::parse(&set) {
            Err(error) => assert_eq!(expect["set"], class(&error), "{name}"),
            Ok(set) => {
                let kids: Vec<Value> = set.iter().map(|jwk| jwk.kid().map_or(Value::Null, Value::from)).collect();
                assert_eq!(json!([set.len(), set.skipped()]), json!([expect["usable"], expect["skipped"]]), "{name}");
                assert_eq!(Value::from(kids), expect["usable_kids"], "{name}");
                assert_eq!(set.skipped_reasons().count(), set.skipped(), "{name}: each skipped key has a reason");
            }
        }
        serve(&web, ISSUER);
        web.put(&format!("{ISSUER}/oauth2/jwks.json"), 200, &[], &set);
        let preloaded = builder(&case["setup"], &web, &clock).build().unwrap().preload();
        match (&preloaded, &expect["preload"]) {
            (Ok(()), expected) => assert_eq!(expected, "ok", "{name}"),
            (Err(error), expected) => assert_refused(name, expected, error),
        }
        if let Some(token) = case["input"]["token"].as_str() {
            let issuer = builder(&case["setup"], &web, &clock).build().unwrap();
            match (issuer.resource_server().build().unwrap().verify_token(token), &expect["token"]) {
                (Ok(_), expected) => assert_eq!(expected, "accepted", "{name}"),
                (Err(error), expected) => assert_refused(name, expected, &error),
            }
        }
    }
}

#[test]
fn access_tokens_of_real_providers_are_read_as_they_are_meant() {
    for case in cases("access_tokens") {
        let name = case["name"].as_str().unwrap();
        let (web, clock, setup) = (Web::default(), ManualClock::new(), &case["setup"]);
        let signer = TestIssuer::builder().url(ISSUER).clock(clock.clone()).build();
        let issuer = setup["issuer"].as_str().unwrap_or(ISSUER);
        let metadata = setup["metadata_url"].as_str().map_or_else(|| discovery_url(issuer), str::to_owned);
        let keys = setup["keys_url"].as_str().unwrap_or("https://keys.example.com/jwks");
        web.put(&metadata, 200, &[], &json!({"issuer": issuer, "jwks_uri": keys}).to_string());

        let header = &case["input"]["header"];
        let algorithm = header["alg"].as_str().unwrap();
        let algorithm = Algorithm::ALL.iter().copied().find(|known| known.to_string() == algorithm).unwrap();
        web.put(keys, 200, &[], &key_set_for(&signer, algorithm, header["kid"].as_str()));
        let token = signer
            .token()
            .algorithm(algorithm)
            .raw_header(text(header, seconds(&clock)))
            .raw_payload(text(&case["input"]["claims"], seconds(&clock)))
            .sign();

        let mut server = builder(setup, &web, &clock).build().unwrap().resource_server();
        if let Some(audience) = setup["audience"].as_str() {
            server = server.audience(audience);
        }
        match server.build().unwrap().verify_token(&token) {
            Err(error) => assert_refused(name, &case["expect"]["refused"], &error),
            Ok(claims) => {
                let actual = json!({
                    "issuer": claims.issuer(),
                    "subject": claims.subject(),
                    "audience": claims.audience(),
                    "scopes": claims.scopes().collect::<Vec<_>>(),
                    "client_id": claims.client_id(),
                    "client": claims.client(),
                    "expires_at": time(Some(claims.expires_at())),
                    "issued_at": time(claims.issued_at()),
                    "not_before": time(claims.not_before()),
                    "jwt_id": claims.jwt_id(),
                    "token_use": claims.token_use(),
                });
                assert_facts(name, &filled(&case["expect"]["accepted"], seconds(&clock)), &actual);
            }
        }
    }
}

/// The test issuer's key for that algorithm, under another kid.
fn key_set_for(signer: &TestIssuer, algorithm: Algorithm, kid: Option<&str>) -> String {
    // A test issuer makes the key of an algorithm when it first signs by it.
    drop(signer.token().algorithm(algorithm).sign());
    let set: Value = serde_json::from_str(&signer.key_set()).unwrap();
    let mut key =
        set["keys"].as_array().unwrap().iter().find(|key| key["alg"] == algorithm.to_string()).unwrap().clone();
    key["kid"] = json!(kid.unwrap_or("k1"));
    json!({ "keys": [key] }).to_string()
}

#[test]
fn token_responses_of_real_providers_are_cached_for_as_long_as_they_say() {
    for case in cases("token_responses") {
        let name = case["name"].as_str().unwrap();
        let (web, clock, setup) = (Web::default(), ManualClock::new(), &case["setup"]);
        serve(&web, ISSUER);
        answer(&web, TOKEN, &case, &clock);
        let issuer = builder(setup, &web, &clock).build().unwrap();
        let mut client = issuer.m2m_client("client", "secret").default_scope(setup["scope"].as_str().unwrap());
        if let Some(lifetime) = setup["default_lifetime"].as_u64() {
            client = client.default_lifetime(Duration::from_secs(lifetime));
        }
        let client = client.build().unwrap();
        let token = match client.access_token() {
            Err(error) => {
                assert_refused(name, &case["expect"]["refused"], &error);
                assert_names(name, &case, &error);
                continue;
            }
            Ok(token) => token,
        };
        let expected = &case["expect"]["accepted"];
        assert_eq!(token.expose_secret(), expected["token"].as_str().unwrap(), "{name}");
        assert_eq!(json!(token.scope()), expected["scope"], "{name}");
        if let Some(lifetime) = expected.get("expires_in") {
            let left = token.expires_at().map(|at| at.duration_since(clock.wall()).unwrap().as_secs());
            assert_eq!(json!(left), *lifetime, "{name}");
        }
        if let Some(cached) = expected["cached"].as_bool() {
            assert_eq!(is_cached(&client, &web), cached, "{name}");
        }
    }
}

fn is_cached(client: &M2mClient, web: &Web) -> bool {
    let before = web.urls().len();
    client.access_token().unwrap();
    web.urls().len() == before
}

#[test]
fn errors_of_real_providers_are_told_apart() {
    for case in cases("errors") {
        let name = case["name"].as_str().unwrap();
        let (web, clock) = (Web::default(), ManualClock::new());
        serve(&web, ISSUER);
        answer(&web, TOKEN, &case, &clock);
        let issuer = builder(&case["setup"], &web, &clock).build().unwrap();
        let error = issuer.m2m_client("client", "secret").build().unwrap().access_token().unwrap_err();
        assert_error(name, &case, &error);
    }
}

fn assert_error(name: &str, case: &Value, error: &Error) {
    let expect = &case["expect"];
    assert_eq!(expect["class"], class(error), "{name}");
    assert_eq!(expect["retryable"], error.is_retryable(), "{name}");
    assert_eq!(expect["http_status"], error.http_status(), "{name}");
    if let Some(wait) = expect["retry_after"].as_u64() {
        assert_eq!(error.retry_after(), Some(Duration::from_secs(wait)), "{name}");
    }
    if let Error::OAuth(e) = error {
        assert_eq!(expect["status"], e.status(), "{name}");
        match &expect["description"] {
            Value::Bool(true) => {
                let shown = e.description().unwrap();
                assert!(shown.chars().count() <= 256 && !shown.chars().any(char::is_control), "{name}: {shown:?}");
            }
            description => assert_eq!(*description, json!(e.description()), "{name}"),
        }
        assert_eq!(expect["uri"], json!(e.error_uri()), "{name}");
    }
    for hint in expect["hint"].as_array().into_iter().flatten() {
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(hint.as_str().unwrap()), "{name}: {shown} does not have {hint}");
    }
}

#[test]
fn introspection_answers_of_real_providers_are_read_as_they_are_meant() {
    for case in cases("introspection") {
        let name = case["name"].as_str().unwrap();
        let (web, clock, expect) = (Web::default(), ManualClock::new(), &case["expect"]);
        let url = case["setup"]["issuer"].as_str().unwrap();
        serve(&web, url);
        answer(&web, INTROSPECTION, &case, &clock);
        let issuer = builder(&case["setup"], &web, &clock).build().unwrap();
        let info = match issuer.introspector("client", "secret").build().unwrap().introspect("t") {
            Err(error) => {
                assert_refused(name, &expect["refused"], &error);
                assert_names(name, &case, &error);
                continue;
            }
            Ok(Introspection::Inactive) => {
                assert_eq!(expect["inactive"], true, "{name}");
                continue;
            }
            Ok(Introspection::Active(info)) => info,
        };
        let actual = json!({
            "issuer": info.issuer(),
            "subject": info.subject(),
            "audience": info.audience(),
            "scopes": info.scopes().collect::<Vec<_>>(),
            "client_id": info.client_id(),
            "token_type": info.token_type(),
            "jwt_id": info.jwt_id(),
            "expires_at": time(info.expires_at()),
            "issued_at": time(info.issued_at()),
            "not_before": time(info.not_before()),
            "sender_constrained": info.confirmation().is_some(),
        });
        assert_facts(name, &filled(&expect["active"], seconds(&clock)), &actual);
    }
}

#[test]
fn revocation_answers_of_real_providers_are_read_as_they_are_meant() {
    for case in cases("revocation") {
        let name = case["name"].as_str().unwrap();
        let (web, clock) = (Web::default(), ManualClock::new());
        serve(&web, ISSUER);
        answer(&web, REVOCATION, &case, &clock);
        let issuer = builder(&case["setup"], &web, &clock).build().unwrap();
        match issuer.revoker("client", "secret").build().unwrap().revoke("t", None) {
            Ok(()) => assert_eq!(case["expect"]["ok"], true, "{name}"),
            Err(error) => assert_error(name, &case, &error),
        }
    }
}

/// A discovery document for `issuer`, with the endpoints of these tests.
fn serve(web: &Web, issuer: &str) {
    let document = json!({
        "issuer": issuer,
        "jwks_uri": format!("{ISSUER}/oauth2/jwks.json"),
        "token_endpoint": TOKEN,
        "introspection_endpoint": INTROSPECTION,
        "revocation_endpoint": REVOCATION,
    });
    web.put(&discovery_url(issuer), 200, &[], &document.to_string());
}

fn discovery_url(issuer: &str) -> String {
    format!("{}/.well-known/openid-configuration", issuer.strip_suffix('/').unwrap_or(issuer))
}

/// Puts the case's answer where the endpoint is.
fn answer(web: &Web, url: &str, case: &Value, clock: &ManualClock) {
    let input = &case["input"];
    let status = u16::try_from(input["status"].as_u64().unwrap()).unwrap();
    let headers = input["headers"].as_object().into_iter().flatten();
    let headers: Vec<_> = headers.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect();
    web.put(url, status, &headers, &text(&input["body"], seconds(clock)));
}

const ISSUER: &str = "https://op.example.com";
const TOKEN: &str = "https://op.example.com/token";
const INTROSPECTION: &str = "https://op.example.com/introspect";
const REVOCATION: &str = "https://op.example.com/revoke";
