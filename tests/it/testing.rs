//! The test issuer itself, spoken to over plain HTTP as a program in another language would.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use aero2::jose::Algorithm;
use aero2::testing::{Endpoint, Fault, Json, ManualClock, TestIssuer, TestServer};
use aero2::{Clock, Error, Issuer, NetworkErrorKind, TokenErrorKind};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::pace::{Late, in_time, within};
use crate::support::recorder::Recorder;
use crate::support::{recorded, recorded_builder};

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn error(&self) -> (u16, String) {
        (self.status, self.json()["error"].as_str().unwrap_or_default().to_owned())
    }
}

/// One request on a connection of its own; `None` if the answer breaks off.
fn send(server: &TestServer, head: &str, body: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    let length = body.len();
    write!(stream, "{head}\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Some(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

fn get(server: &TestServer, path: &str) -> Answer {
    send(server, &format!("GET {path} HTTP/1.1"), "").unwrap()
}

fn post(server: &TestServer, path: &str, form: &str) -> Answer {
    let head = format!("POST {path} HTTP/1.1\r\ncontent-type: application/x-www-form-urlencoded");
    send(server, &head, form).unwrap()
}

fn mint(server: &TestServer, more: &str) -> Answer {
    post(server, "/oauth2/token", &format!("grant_type=client_credentials&{CLIENT}{more}"))
}

fn is_active(server: &TestServer, client: &str, token: &str) -> bool {
    let answer = post(server, "/oauth2/introspect", &format!("token={token}&{client}"));
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("cache-control: no-store"));
    let active = answer.json()["active"].as_bool().unwrap();
    assert!(active || answer.body == r#"{"active":false}"#, "an inactive answer says nothing else");
    active
}

fn part(token: &str, index: usize) -> Value {
    let segment = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(segment).unwrap()).unwrap()
}

const CLIENT: &str = "client_id=test-client&client_secret=test-secret";

#[test]
fn the_discovery_document_is_aero2s_own() {
    let server = TestIssuer::new().serve().unwrap();
    let answer = get(&server, "/.well-known/openid-configuration");
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-type: application/json"));
    let document = answer.json();
    assert_eq!(document["issuer"], server.url());
    assert_eq!(document["token_endpoint"], format!("{}/oauth2/token", server.url()));
    assert_eq!(document["jwks_uri"], format!("{}/oauth2/jwks.json", server.url()));
    assert_eq!(document["token_endpoint_auth_methods_supported"], json!(["client_secret_post"]));
    assert!(document.get("introspection_endpoint").is_none());
    assert!(!document["grant_types_supported"].to_string().contains("client_credentials"));
    assert_eq!(get(&server, "/.well-known/oauth-authorization-server").status, 404);
    assert_eq!(get(&server, "/elsewhere").status, 404);
    assert_eq!(post(&server, "/.well-known/openid-configuration", "").status, 405);
}

#[test]
fn members_of_the_discovery_document_can_be_set_and_left_out() {
    let test = TestIssuer::builder().oauth_metadata_only().build();
    let server = test.serve().unwrap();
    test.set_metadata("introspection_endpoint", "https://elsewhere.example/i");
    test.set_metadata("token_endpoint", 7);
    test.remove_metadata("revocation_endpoint");
    assert_eq!(get(&server, "/.well-known/openid-configuration").status, 404);
    let document = get(&server, "/.well-known/oauth-authorization-server").json();
    assert_eq!(document["introspection_endpoint"], "https://elsewhere.example/i");
    assert_eq!(document["token_endpoint"], 7);
    assert!(document.get("revocation_endpoint").is_none());
}

#[test]
fn its_tokens_live_as_long_as_the_builder_says() {
    let (clock, lifetime) = (ManualClock::new(), Duration::from_secs(120));
    let test = TestIssuer::builder().clock(clock.clone()).token_lifetime(lifetime).build();
    test.register_client("svc", "secret", ["a"]);
    let issuer = recorded(&test);
    let minted = issuer.m2m_client("svc", "secret").build().unwrap().access_token().unwrap();
    assert_eq!(minted.expires_at(), Some(clock.wall() + lifetime));
    for token in [test.token().sign(), minted.expose_secret().to_owned()] {
        let claims = issuer.resource_server().build().unwrap().verify_token(&token).unwrap();
        assert_eq!(claims.expires_at(), clock.wall() + lifetime);
    }
}

#[test]
fn the_key_set_follows_the_algorithms_in_use_and_the_rotations() {
    let test = TestIssuer::builder().keys_max_age(Duration::from_secs(300)).build();
    let server = test.serve().unwrap();
    let ids = || -> Vec<String> {
        let set = get(&server, "/oauth2/jwks.json").json();
        set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap_or("-").to_owned()).collect()
    };
    assert_eq!(ids(), ["test-rs256-1"]);
    test.token().algorithm(Algorithm::Es256).sign();
    assert_eq!(ids(), ["test-es256-1", "test-rs256-1"]);
    test.rotate_keys();
    assert_eq!(ids().len(), 4);
    test.rotate_keys_dropping_old();
    assert_eq!(ids(), ["test-es256-3", "test-rs256-3"]);
    test.publish_jwk(r#"{"kty":"oct"}"#);
    assert_eq!(ids(), ["test-es256-3", "test-rs256-3", "-"]);

    assert!(get(&server, "/oauth2/jwks.json").head.contains("cache-control: public, max-age=300"));
    let key = get(&server, "/oauth2/jwks/test-rs256-3").json();
    assert_eq!(
        (&key["kty"], &key["alg"], &key["use"], &key["e"]),
        (&json!("RSA"), &json!("RS256"), &json!("sig"), &json!("AQAB"))
    );
    assert!(key.get("d").is_none());
    assert_eq!(get(&server, "/oauth2/jwks/test-rs256-1").status, 404);
}

#[test]
fn a_token_is_minted_with_the_scopes_asked_for_or_all() {
    let server = TestIssuer::new().serve().unwrap();
    let answer = mint(&server, "");
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("cache-control: no-store"));
    let answer = answer.json();
    assert_eq!(
        (&answer["token_type"], &answer["expires_in"], &answer["scope"]),
        (&json!("Bearer"), &json!(3600), &json!("api:read api:write"))
    );
    let claims = part(answer["access_token"].as_str().unwrap(), 1);
    assert_eq!(
        (&claims["iss"], &claims["sub"], &claims["client_id"]),
        (&json!(server.url()), &json!("test-client"), &json!("test-client"))
    );
    assert_eq!((&claims["token_use"], &claims["scope"]), (&json!("access"), &json!("api:read api:write")));
    assert!(claims.get("aud").is_none());

    let answer = mint(&server, "&scope=api%3Aread&audience=orders&resource=https%3A%2F%2Fbilling.example").json();
    assert_eq!(answer["scope"], "api:read");
    assert_eq!(part(answer["access_token"].as_str().unwrap(), 1)["aud"], json!(["orders", "https://billing.example"]));
}

#[test]
fn the_token_endpoint_refuses_in_the_words_of_rfc_6749() {
    let test = TestIssuer::new();
    test.register_resource_server("orders", "s");
    let server = test.serve().unwrap();
    let token = |form: &str| post(&server, "/oauth2/token", form).error();
    let grant = "grant_type=client_credentials";
    let refusals = [
        (format!("{grant}&client_id=test-client&client_secret=wrong"), (401, "invalid_client")),
        (format!("{grant}&client_id=nobody&client_secret=test-secret"), (401, "invalid_client")),
        (format!("{grant}&client_id=test-client"), (401, "invalid_client")),
        (grant.to_owned(), (401, "invalid_client")),
        (format!("{grant}&{CLIENT}&scope=admin"), (400, "invalid_scope")),
        (format!("{grant}&{CLIENT}&scope=api%3Aread+admin"), (400, "invalid_scope")),
        (format!("{grant}&client_id=orders&client_secret=s"), (400, "unauthorized_client")),
        (format!("grant_type=password&{CLIENT}"), (400, "unsupported_grant_type")),
        (CLIENT.to_owned(), (400, "invalid_request")),
        (format!("{grant}&{grant}&{CLIENT}"), (400, "invalid_request")),
        (format!("{grant}&{CLIENT}&scope=%"), (400, "invalid_request")),
    ];
    for (form, (status, code)) in refusals {
        assert_eq!(token(&form), (status, code.to_owned()), "{form}");
    }
    let no_form = send(&server, "POST /oauth2/token HTTP/1.1\r\ncontent-type: application/json", "{}").unwrap();
    assert_eq!(no_form.error(), (400, "invalid_request".to_owned()));
    assert_eq!(get(&server, "/oauth2/token").status, 405);
}

#[test]
fn basic_authentication_is_taken_where_it_is_allowed() {
    let basic =
        format!("authorization: Basic {}", base64::engine::general_purpose::STANDARD.encode("test-client:test-secret"));
    let head = format!("POST /oauth2/token HTTP/1.1\r\ncontent-type: application/x-www-form-urlencoded\r\n{basic}");
    let form = "grant_type=client_credentials";
    let post_only = TestIssuer::new().serve().unwrap();
    let refused = send(&post_only, &head, form).unwrap();
    assert_eq!(refused.error(), (401, "invalid_client".to_owned()));
    assert!(refused.head.contains("www-authenticate: Basic"));

    let basic_only = TestIssuer::builder().client_auth_methods(["client_secret_basic"]).build().serve().unwrap();
    assert_eq!(send(&basic_only, &head, form).unwrap().status, 200);
    assert_eq!(mint(&basic_only, "").status, 401);
    assert_eq!(
        send(&basic_only, &head, &format!("{form}&{CLIENT}")).unwrap().error(),
        (400, "invalid_request".to_owned())
    );
    let document = get(&basic_only, "/.well-known/openid-configuration").json();
    assert_eq!(document["token_endpoint_auth_methods_supported"], json!(["client_secret_basic"]));
}

#[test]
fn introspection_vouches_for_what_is_good_and_for_nothing_else() {
    let clock = ManualClock::new();
    let test = TestIssuer::with_clock(clock.clone());
    test.register_resource_server("orders", "s");
    test.register_resource_server("billing", "s");
    let server = test.serve().unwrap();
    let orders = "client_id=orders&client_secret=s";
    let good = server.token().audiences(["orders", "shipping"]).client_id("test-client").scope("api:read").sign();

    let answer =
        post(&server, "/oauth2/introspect", &format!("token={good}&token_type_hint=access_token&{orders}")).json();
    assert_eq!(
        (&answer["active"], &answer["token_type"], &answer["scope"]),
        (&json!(true), &json!("Bearer"), &json!("api:read"))
    );
    assert_eq!((&answer["iss"], &answer["aud"]), (&json!(server.url()), &json!(["orders", "shipping"])));
    assert!(answer["exp"].is_u64() && answer["iat"].is_u64());
    assert!(is_active(&server, CLIENT, &good), "the client that it was issued to");
    assert!(!is_active(&server, "client_id=billing&client_secret=s", &good), "neither audience nor client");

    let ahead = clock.wall() + Duration::from_secs(60);
    let refused = [
        server.token().audience("orders").expired().sign(),
        server.token().audience("orders").not_before(ahead).sign(),
        server.token().audience("orders").without_claim("exp").sign(),
        server.token().audience("orders").bad_signature().sign(),
        server.token().audience("orders").other_key().sign(),
        server.token().audience("orders").without_key_id().sign(),
        server.token().audience("orders").token_use("id").sign(),
        server.token().audience("orders").raw_payload("[]").sign(),
        test.token().audience("orders").sign(), // the same issuer under another URL
        server.token().sign(),
        "unknown".to_owned(),
        String::new(),
    ];
    for token in refused {
        assert!(!is_active(&server, orders, &token), "{token}");
    }
    let wrong = post(&server, "/oauth2/introspect", &format!("token={good}&client_id=orders&client_secret=wrong"));
    assert_eq!(wrong.error(), (401, "invalid_client".to_owned()));
    clock.advance(Duration::from_secs(3600));
    assert!(!is_active(&server, orders, &good));
}

#[test]
fn a_client_revokes_its_own_tokens_and_is_told_yes_whatever_it_asks() {
    let test = TestIssuer::new();
    test.register_client("other", "s", ["x"]);
    let server = test.serve().unwrap();
    let refresh = test.refresh_token("test-client");
    let other = "client_id=other&client_secret=s";
    let access = mint(&server, "").json()["access_token"].as_str().unwrap().to_owned();
    for token in [&access, &refresh] {
        assert!(is_active(&server, CLIENT, token) && !is_active(&server, other, token));
        for (client, still_active) in [(other, true), (CLIENT, false)] {
            let answer = post(&server, "/oauth2/revoke", &format!("token={token}&{client}"));
            assert_eq!((answer.status, answer.body.as_str()), (200, "{}"));
            assert_eq!(is_active(&server, CLIENT, token), still_active);
        }
    }
    assert_eq!(post(&server, "/oauth2/revoke", &format!("token=unknown&{CLIENT}")).body, "{}");
    assert_eq!(post(&server, "/oauth2/revoke", "token=x").error(), (401, "invalid_client".to_owned()));

    let second = mint(&server, "").json()["access_token"].as_str().unwrap().to_owned();
    test.revoke(&second);
    assert!(!is_active(&server, CLIENT, &second));
}

#[test]
fn a_bare_token_is_a_good_one_and_each_method_changes_one_thing() {
    let clock = ManualClock::new();
    let test = TestIssuer::with_clock(clock.clone());
    let now = clock.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let claims = part(&test.token().sign(), 1);
    assert_eq!(
        (&claims["iss"], &claims["sub"], &claims["token_use"]),
        (&json!(test.url()), &json!("test-subject"), &json!("access"))
    );
    assert_eq!((&claims["iat"], &claims["exp"]), (&json!(now.as_secs()), &json!(now.as_secs() + 3600)));
    assert_eq!(claims.as_object().unwrap().len(), 6, "{claims}");
    assert_eq!(part(&test.token().sign(), 0), json!({"alg": "RS256", "typ": "JWT", "kid": "test-rs256-1"}));
    let bare = test.token();
    assert_ne!(part(&bare.sign(), 1)["jti"], part(&bare.sign(), 1)["jti"]);

    let token = test
        .token()
        .subject("u1")
        .audience("a")
        .scope("x y")
        .client_id("c")
        .token_use("id")
        .issuer("https://other.example")
        .lifetime(Duration::from_secs(60))
        .issued_at(clock.wall() - Duration::from_millis(500))
        .claim("list", ["a", "b"])
        .claim("n", 1)
        .claim("n", Json::null())
        .without_claim("jti")
        .key_id("k")
        .typ("at+jwt")
        .header("crit", vec!["b64"])
        .without_header("alg")
        .sign();
    let expected = json!({"iss": "https://other.example", "sub": "u1", "aud": "a", "scope": "x y", "client_id": "c", "token_use": "id",
        "exp": now.as_secs_f64() + 59.5, "iat": now.as_secs_f64() - 0.5, "list": ["a", "b"], "n": null});
    assert_eq!(part(&token, 1), expected);
    assert_eq!(part(&token, 0), json!({"kid": "k", "typ": "at+jwt", "crit": ["b64"]}));

    let raw = test.token().raw_header("{}").raw_payload(*b"\xff").sign_with(<[u8]>::to_vec).sign();
    assert_eq!(raw, "e30._w.ZTMwLl93");
}

#[test]
fn faults_and_gates_work_over_loopback() {
    let test = TestIssuer::new();
    let server = test.serve().unwrap();
    test.fail(Endpoint::Keys, 1, Fault::transport(NetworkErrorKind::Timeout));
    test.fail(Endpoint::Keys, 1, Fault::status(429).header("retry-after", "3"));
    test.fail(Endpoint::Keys, 1, Fault::garbage());
    test.fail(Endpoint::Discovery, 1, Fault::wrong_issuer("https://evil.example"));
    assert!(send(&server, "GET /oauth2/jwks.json HTTP/1.1", "").is_none(), "the connection breaks");
    let limited = get(&server, "/oauth2/jwks.json");
    assert!(limited.status == 429 && limited.head.contains("retry-after: 3") && limited.body.is_empty());
    assert!(get(&server, "/oauth2/jwks.json").body.starts_with("<!doctype html>"));
    assert_eq!(get(&server, "/oauth2/jwks.json").json()["keys"].as_array().unwrap().len(), 1);
    assert_eq!(get(&server, "/.well-known/openid-configuration").json()["issuer"], "https://evil.example");
    assert_eq!((test.requests(Endpoint::Keys), test.requests(Endpoint::Discovery)), (4, 1));
    test.fail(Endpoint::Keys, u32::MAX, Fault::status(500));
    assert_eq!(get(&server, "/oauth2/jwks.json").status, 500);
    test.clear_faults();
    test.reset_counts();

    let gate = test.gate(Endpoint::Keys);
    std::thread::scope(|scope| {
        let held: Vec<_> = (0..20).map(|_| scope.spawn(|| get(&server, "/oauth2/jwks.json").status)).collect();
        gate.wait_until_reached(20);
        assert_eq!(get(&server, "/.well-known/openid-configuration").status, 200, "only the keys are held back");
        gate.release();
        assert!(held.into_iter().all(|thread| thread.join().unwrap() == 200));
    });
    assert_eq!(test.requests(Endpoint::Keys), 20);
}

#[test]
fn a_dropped_server_is_gone_even_with_requests_held_back_and_comes_back_at_the_same_port() {
    let test = TestIssuer::new();
    let server = test.serve().unwrap();
    let (port, gate) = (server.port(), test.gate(Endpoint::Keys));
    let mut held = TcpStream::connect(("127.0.0.1", port)).unwrap();
    held.write_all(b"GET /oauth2/jwks.json HTTP/1.1\r\n\r\n").unwrap();
    let mut idle = TcpStream::connect(("127.0.0.1", port)).unwrap();
    gate.wait_until_reached(1);
    drop(server);
    let mut rest = String::new();
    // Either an end or a reset, but no waiting.
    let _ = idle.read_to_string(&mut rest);
    let _ = held.read_to_string(&mut rest);
    assert!(!rest.contains("\r\n"), "{rest}");
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    drop(gate);
    let again = test.serve_on(port).unwrap();
    assert_eq!(get(&again, "/oauth2/jwks.json").status, 200);
    assert!(test.serve_on(port).is_err(), "the port is taken");
}

#[test]
fn one_connection_serves_many_requests() {
    let server = TestIssuer::new().serve().unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    for _ in 0..3 {
        stream.write_all(b"GET /elsewhere HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut answer = vec![0; 4096];
        let mut filled = 0;
        while !answer[..filled].ends_with(br#"{"error":"Not found"}"#) {
            filled += stream.read(&mut answer[filled..]).unwrap();
        }
        assert!(answer.starts_with(b"HTTP/1.1 404 "));
    }
}

fn kind(result: Result<aero2::Claims, Error>) -> TokenErrorKind {
    match result.unwrap_err() {
        Error::Token(e) => e.kind(),
        other => panic!("{other}"),
    }
}

#[test]
fn a_token_of_every_algorithm_just_works_and_its_bad_twins_do_not() {
    for &algorithm in Algorithm::ALL {
        let test = TestIssuer::new();
        let rs = recorded(&test).resource_server().build().unwrap();
        assert!(rs.verify_token(&test.token().sign()).is_ok(), "the keys are cached before the algorithm is in use");
        let token = test.token().algorithm(algorithm);
        assert!(rs.verify_token(&token.sign()).is_ok(), "{algorithm}");
        assert_eq!(kind(rs.verify_token(&token.clone().bad_signature().sign())), TokenErrorKind::BadSignature);
        assert_eq!(kind(rs.verify_token(&token.clone().other_key().sign())), TokenErrorKind::BadSignature);
        assert_eq!(kind(rs.verify_token(&token.clone().key_id("k").sign())), TokenErrorKind::UnknownKey);
        assert_eq!(kind(rs.verify_token(&token.header("alg", "none").sign())), TokenErrorKind::UnsupportedAlgorithm);
    }
}

#[test]
fn an_issuer_may_sign_with_another_algorithm_and_authenticate_by_basic() {
    let builder = TestIssuer::builder().url("https://login.example/acme").algorithm(Algorithm::EdDsa);
    let test = builder.client_auth_methods(["client_secret_basic"]).default_audience("orders").build();
    let issuer = recorded(&test);
    let token = issuer.m2m_client("test-client", "test-secret").build().unwrap().access_token().unwrap();
    let claims =
        issuer.resource_server().audience("orders").build().unwrap().verify_token(token.expose_secret()).unwrap();
    assert_eq!((claims.issuer(), claims.client_id()), ("https://login.example/acme", Some("test-client")));
    assert_eq!(part(token.expose_secret(), 0)["alg"], "EdDSA");
}

#[test]
fn the_transport_knows_no_other_host() {
    let test = TestIssuer::new();
    let other =
        Issuer::builder("https://test.aero2.example.evil").transport(Recorder::new(test.transport())).build().unwrap();
    assert!(matches!(other.preload(), Err(Error::Network(e)) if e.kind() == NetworkErrorKind::Dns));
    assert_eq!(test.requests(Endpoint::Discovery), 0);
}

#[test]
fn a_request_held_back_in_memory_fails_when_its_time_is_up() {
    in_time("a request that is held back", |budget| {
        let test = TestIssuer::new();
        let gate = test.gate(Endpoint::Discovery);
        let issuer = recorded_builder(&test).timeout(budget).build().unwrap();
        let outcome = within("preload", budget, || issuer.preload())?;
        assert!(matches!(outcome, Err(Error::Network(e)) if e.kind() == NetworkErrorKind::Timeout));
        if gate.reached() == 0 {
            return Err(Late(String::from("the request")));
        }
        assert_eq!(gate.reached(), 1);
        drop(gate);
        assert!(recorded(&test).preload().is_ok());
        Ok(())
    });
}

#[test]
fn a_transport_fault_over_loopback_fails_even_on_a_connection_that_was_used_before() {
    let test = TestIssuer::new();
    let server = test.serve().unwrap();
    let m2m = server.issuer().m2m_client("test-client", "test-secret").build().unwrap();
    m2m.access_token().unwrap();
    m2m.clear_cache();
    test.fail(Endpoint::Token, 1, Fault::transport(NetworkErrorKind::Io));
    assert!(matches!(m2m.access_token(), Err(Error::Network(e)) if e.kind() == NetworkErrorKind::Io));
    assert_eq!(test.requests(Endpoint::Token), 2);
}

#[test]
fn no_debug_output_holds_a_token_or_a_secret() {
    let test = TestIssuer::new();
    let server = test.serve().unwrap();
    let shown =
        format!("{test:?} {server:?} {:?} {:?} {:?}", test.transport(), test.token(), test.gate(Endpoint::Keys));
    assert!(shown.contains("https://test.aero2.example") && !shown.contains("test-secret"), "{shown}");
}

#[test]
fn the_debug_output_of_a_fault_shows_neither_headers_nor_body() {
    let fault = Fault::json(401, r#"{"access_token":"n33dle"}"#).header("x-token", "n33dle");
    assert_eq!(format!("{fault:?}"), "Fault { status: 401, .. }");
    assert_eq!(format!("{:?}", Fault::transport(NetworkErrorKind::Dns)), "Fault { kind: Dns }");
    assert_eq!(format!("{:?}", Fault::wrong_issuer("https://h")), r#"Fault { issuer: "https://h" }"#);
}

#[test]
fn an_edge_of_a_content_delivery_network_serves_its_copy_until_it_is_old_and_says_how_old_it_is() {
    let clock = ManualClock::new();
    let test = TestIssuer::builder().clock(clock.clone()).cdn(2, Duration::from_secs(60)).build();
    let server = test.serve().unwrap();
    let keys = || {
        let answer = get(&server, "/oauth2/jwks.json");
        let age = answer.head.lines().find_map(|line| line.strip_prefix("age: ")).map(str::to_owned);
        assert_eq!(answer.head.matches("date: ").count(), 1, "{}", answer.head);
        (answer.json()["keys"].as_array().unwrap().len(), age.unwrap())
    };
    assert_eq!(keys(), (1, "0".to_owned()), "the first edge fetches");
    test.rotate_keys();
    clock.advance(Duration::from_secs(59));
    assert_eq!(keys(), (2, "0".to_owned()), "the second edge fetches");
    assert_eq!(keys(), (1, "59".to_owned()), "the first one is behind");
    clock.advance(Duration::from_secs(1));
    assert_eq!(keys(), (2, "1".to_owned()));
    assert_eq!(keys(), (2, "0".to_owned()), "the first one fetches again");
}
