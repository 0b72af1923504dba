//! The names and types that users rely on: it compiles, or the API has changed.

use std::error::Error as StdError;
use std::fmt::Debug;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aero2::jose::{Algorithm, CompactJws, Jwk, JwkSet, VerificationKey};
use aero2::testing::{ManualClock, TestIssuer, TestServer};
use aero2::{
    AccessToken, Claims, Clock, Error, Introspection, Introspector, IntrospectorBuilder, Issuer, IssuerBuilder,
    M2mClient, M2mClientBuilder, NetworkErrorKind, Request, ResourceServer, ResourceServerBuilder, Response, Revoker,
    RevokerBuilder, Secret, SecretSource, Stats, TokenErrorKind, TokenOptions, TokenTypeHint, Transport,
    TransportError, VerifyOptions,
};

use crate::support::recorded;
use crate::support::recorder::Recorder;

fn is_handle<T: Clone + Send + Sync + Debug + 'static>() {}
fn is_shared<T: Send + Sync + 'static>() {}
fn is_copy<T: Copy + Eq + Debug + Send + Sync>() {}

#[test]
fn handles_are_cheap_to_share() {
    is_handle::<Issuer>();
    is_handle::<ResourceServer>();
    is_handle::<M2mClient>();
    is_handle::<Introspector>();
    is_handle::<Revoker>();
    is_handle::<Claims>();
    is_handle::<AccessToken>();
    is_handle::<Error>();
    is_handle::<VerificationKey>();
    is_handle::<JwkSet>();
    is_handle::<SecretSource>();
    is_handle::<Secret>();
    is_shared::<IssuerBuilder>();
    is_shared::<ResourceServerBuilder>();
    is_shared::<M2mClientBuilder>();
    is_shared::<IntrospectorBuilder>();
    is_shared::<RevokerBuilder>();
    is_copy::<TokenErrorKind>();
    is_copy::<NetworkErrorKind>();
    is_copy::<Algorithm>();
    assert!(size_of::<Error>() <= 2 * size_of::<usize>());
}

#[test]
fn an_issuer_takes_every_option() -> Result<(), Error> {
    let test = TestIssuer::new();
    let clock = ManualClock::new();
    let issuer = Issuer::builder(test.url())
        .transport(Recorder::new(test.transport()))
        .clock(clock.clone())
        .timeout(Duration::from_secs(10))
        .refresh_timeout(Duration::from_secs(3))
        .key_ttl(Duration::from_secs(600))
        .max_stale(Duration::from_secs(3600))
        .build()?;
    issuer.preload()?;
    issuer.refresh_if_due()?;
    let stats: Stats = issuer.stats();
    let counts: [u64; 10] = [
        stats.discovery_fetches(),
        stats.key_fetches(),
        stats.key_fetch_failures(),
        stats.stale_keys_served(),
        stats.unknown_kids_refused(),
        stats.rate_limited(),
        stats.tokens_minted(),
        stats.mint_failures(),
        stats.introspections(),
        stats.verified_cache_hits(),
    ];
    assert_eq!(counts, [1, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    Issuer::builder(test.url())
        .transport(Arc::new(Recorder::new(test.transport())))
        .clock(Arc::new(clock.clone()))
        .build()?
        .preload()?;
    Issuer::builder(test.url()).transport(Recorder::new(test.clone())).clock(clock.clone()).build()?.preload()?;
    let boxed: Box<dyn Transport> = Box::new(Recorder::new(test.transport()));
    let clock: Box<dyn Clock> = Box::new(clock);
    Issuer::builder(test.url()).transport(boxed).clock(clock).build()?.preload()?;
    let closure = |_: &Request<'_>| -> Result<Response, TransportError> {
        Err(TransportError::new(NetworkErrorKind::Connect).with_source("no network here"))
    };
    let error = Issuer::builder(test.url()).transport(closure).build()?.preload().unwrap_err();
    assert_eq!(error.source().unwrap().to_string(), "no network here");
    Ok(())
}

#[test]
fn a_resource_server_takes_every_option_and_claims_tell_everything() -> Result<(), Error> {
    let test = TestIssuer::new();
    let issuer = recorded(&test);
    let rs = issuer
        .resource_server()
        .audience("my-service")
        .clock_tolerance(Duration::from_secs(30))
        .required_scopes(["api:read"])
        .algorithms([Algorithm::Rs256])
        .max_token_bytes(16 * 1024)
        .verified_token_cache(1024)
        .build()?;
    let token = test
        .token()
        .subject("u1")
        .audience("my-service")
        .scope("api:read")
        .lifetime(Duration::from_secs(60))
        .claim("email", "u1@example.com")
        .claim("admin", true)
        .claim("level", 7)
        .claim("ratio", 0.5)
        .sign();
    let claims: Claims = rs.verify_token(&token)?;
    let issuer: &str = claims.issuer();
    let subject: Option<&str> = claims.subject();
    let audience: &[String] = claims.audience();
    let expires_at: SystemTime = claims.expires_at();
    let _: (Option<SystemTime>, Option<SystemTime>) = (claims.issued_at(), claims.not_before());
    let _: (Option<&str>, Option<&str>, Option<&str>) = (claims.jwt_id(), claims.client_id(), claims.token_use());
    let scope: Option<&str> = claims.scope();
    let scopes: Vec<&str> = claims.scopes().collect();
    assert_eq!((issuer, subject, audience), (test.url(), Some("u1"), &["my-service".to_owned()][..]));
    assert!(expires_at > SystemTime::now() && claims.has_scope("api:read"));
    assert_eq!((scope, scopes), (Some("api:read"), vec!["api:read"]));
    assert_eq!(claims.get_str("email"), Some("u1@example.com"));
    assert_eq!(
        (claims.get_bool("admin"), claims.get_i64("level"), claims.get_f64("ratio")),
        (Some(true), Some(7), Some(0.5))
    );
    assert!(claims.raw_json().starts_with('{'));

    let options = VerifyOptions::new().audience("orders-api").required_scopes(["orders:write"]);
    assert!(rs.verify_token_with(&token, &options).is_err());
    rs.verify_token_with(&token, &VerifyOptions::new().audiences(["my-service", "other"]))?;
    rs.authorize(Some(&format!("Bearer {token}")))?;
    rs.authorize(None).unwrap_err();
    Ok(())
}

#[test]
fn every_accessor_of_the_claims_tells_what_the_token_says_or_that_it_is_silent() -> Result<(), Error> {
    let test = TestIssuer::new();
    let rs = recorded(&test).resource_server().build()?;
    let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    let token = test
        .token()
        .subject("u1")
        .scope("read write")
        .claim("iat", 1_700_000_000)
        .claim("nbf", 1_700_000_001)
        .claim("jti", "t1")
        .claim("client_id", "c1")
        .claim("text", "x")
        .claim("yes", true)
        .claim("no", false)
        .claim("whole", -7)
        .claim("part", 0.5);
    let claims = rs.verify_token(&token.sign())?;
    assert_eq!((claims.issued_at(), claims.not_before()), (at(1_700_000_000), at(1_700_000_001)));
    assert_eq!((claims.subject(), claims.jwt_id(), claims.client_id()), (Some("u1"), Some("t1"), Some("c1")));
    assert_eq!((claims.token_use(), claims.scope()), (Some("access"), Some("read write")));
    assert!(claims.has_scope("read") && claims.has_scope("write") && !claims.has_scope("rea"));
    assert_eq!((claims.get_str("text"), claims.get_str("yes"), claims.get_str("none")), (Some("x"), None, None));
    assert_eq!(
        (claims.get_bool("yes"), claims.get_bool("no"), claims.get_bool("text")),
        (Some(true), Some(false), None)
    );
    assert_eq!((claims.get_i64("whole"), claims.get_i64("part"), claims.get_i64("none")), (Some(-7), None, None));
    assert_eq!(
        (claims.get_f64("whole"), claims.get_f64("part"), claims.get_f64("none")),
        (Some(-7.0), Some(0.5), None)
    );
    assert!(claims.confirmation().is_none() && claims.audience().is_empty());

    let bare = format!(r#"{{"iss":"{}","exp":9999999999}}"#, test.url());
    let claims = rs.verify_token(&test.token().raw_payload(bare).sign())?;
    assert_eq!((claims.issued_at(), claims.not_before()), (None, None));
    assert_eq!((claims.subject(), claims.jwt_id(), claims.client_id()), (None, None, None));
    assert_eq!((claims.token_use(), claims.scope(), claims.scopes().count()), (None, None, 0));
    Ok(())
}

#[cfg(feature = "serde")]
#[test]
fn claims_become_a_type_of_the_callers() -> Result<(), Error> {
    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct MyClaims {
        sub: String,
        level: u8,
    }
    let test = TestIssuer::new();
    let claims =
        recorded(&test).resource_server().build()?.verify_token(&test.token().subject("u").claim("level", 7).sign())?;
    assert_eq!(claims.deserialize::<MyClaims>()?, MyClaims { sub: "u".into(), level: 7 });
    assert_eq!(serde_json::to_value(&claims).unwrap()["level"], 7);
    let other =
        recorded(&test).resource_server().build()?.verify_token(&test.token().claim("level", "seven").sign())?;
    assert!(
        matches!(other.deserialize::<MyClaims>(), Err(Error::Token(e)) if e.kind() == TokenErrorKind::InvalidClaim)
    );
    Ok(())
}

#[test]
fn an_m2m_client_takes_every_option_and_a_token_tells_everything() -> Result<(), Error> {
    let test = TestIssuer::new();
    let issuer = recorded(&test);
    let m2m = issuer
        .m2m_client(TestIssuer::CLIENT_ID, TestIssuer::CLIENT_SECRET)
        .default_scope("api:read api:write")
        .param("audience", "orders")
        .build()?;
    let token: AccessToken = m2m.access_token()?;
    let again = m2m.access_token_with(&TokenOptions::new().scope("api:read").param("resource", "x").force_refresh())?;
    m2m.clear_cache();
    m2m.reject(&token);
    let text: &str = token.expose_secret();
    let header: Secret = token.authorization_header();
    assert_eq!(header.expose_secret(), format!("Bearer {text}"));
    let _: (Option<&str>, Option<SystemTime>) = (token.scope(), token.expires_at());
    assert_eq!(again.scope(), Some("api:read"));
    for reserved in ["grant_type", "client_id", "client_secret", "scope"] {
        let builder = issuer.m2m_client("c", "s").param(reserved, "x").build();
        assert!(matches!(builder, Err(Error::Config(_))), "{reserved}");
        let call = m2m.access_token_with(&TokenOptions::new().param(reserved, "x"));
        assert!(matches!(call, Err(Error::Config(_))), "{reserved}");
    }
    Ok(())
}

#[test]
fn secrets_come_from_text_environment_file_and_function() -> Result<(), Error> {
    let test = TestIssuer::new();
    let issuer = recorded(&test);
    let mint =
        |secret: SecretSource| issuer.m2m_client(TestIssuer::CLIENT_ID, secret).build()?.access_token().map(drop);
    mint(TestIssuer::CLIENT_SECRET.into())?;
    mint(String::from(TestIssuer::CLIENT_SECRET).into())?;
    mint(SecretSource::from_fn(|| Ok::<_, io::Error>(TestIssuer::CLIENT_SECRET.to_owned())))?;
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("secret-{}", std::process::id()));
    for end in ["", "\n", "\r\n"] {
        std::fs::write(&path, format!("{}{end}", TestIssuer::CLIENT_SECRET)).unwrap();
        mint(SecretSource::file(&path))?;
    }
    for broken in [
        SecretSource::env("AERO2_TEST_NO_SUCH_VARIABLE"),
        SecretSource::file("/no/such/file"),
        SecretSource::from_fn(|| Err::<String, _>("the vault is sealed")),
        SecretSource::from_fn(|| Ok::<_, io::Error>(String::new())),
    ] {
        let error = mint(broken).unwrap_err();
        assert!(matches!(error, Error::Config(_)) && !error.to_string().contains("sealed"), "{error}");
    }
    let sealed = mint(SecretSource::from_fn(|| Err::<String, _>("the vault is sealed"))).unwrap_err();
    assert_eq!(sealed.source().unwrap().to_string(), "the vault is sealed");
    Ok(())
}

#[test]
fn names_are_taken_however_they_are_held() -> Result<(), Error> {
    const NAMES: &[&str] = &["orders", "billing"];
    let (name, secret) = (String::from("orders"), String::from(TestIssuer::CLIENT_SECRET));
    let owned: Vec<String> = NAMES.iter().map(|name| (*name).to_owned()).collect();
    let test = TestIssuer::new();
    test.register_client("svc", &secret, NAMES);
    let issuer = recorded(&test);
    let token = test.token().subject(&name).audience(name.clone()).scope(format!("{name} billing")).sign();
    for builder in [
        issuer.resource_server().audiences(NAMES).required_scopes(NAMES),
        issuer.resource_server().audiences(&owned).required_scopes(&owned),
        issuer.resource_server().audiences(owned.clone()).required_scopes(owned.clone()),
        issuer.resource_server().audiences(["orders", "billing"]).required_scopes(["orders"]),
        issuer.resource_server().audience(&name).required_scopes("orders billing".split(' ')),
        issuer.resource_server().audience(name.clone()).required_scopes([name.clone()]),
    ] {
        let rs = builder.build()?;
        rs.verify_token(&token)?;
        rs.verify_token_with(&token, &VerifyOptions::new().audiences(NAMES).required_scopes(&owned))?;
        rs.verify_token_with(&token, &VerifyOptions::new().audience(&name).required_scopes([&name]))?;
    }
    for none in [issuer.resource_server().audiences([""; 0]), issuer.resource_server().audiences(Vec::<String>::new())]
    {
        assert!(matches!(none.build(), Err(Error::Config(_))));
    }
    issuer.m2m_client("svc", &secret).default_scope(&name).build()?.access_token()?;
    Ok(())
}

#[test]
fn introspection_and_revocation_take_what_they_say() -> Result<(), Error> {
    let test = TestIssuer::new();
    let issuer = recorded(&test);
    test.register_resource_server("my-service", "secret");
    let introspector = issuer.introspector("my-service", "secret").build()?;
    let token = test.token().audience("my-service").sign();
    match introspector.introspect(&token)? {
        Introspection::Active(info) => {
            let audience: Option<&[String]> = info.audience();
            assert_eq!(audience, Some(&["my-service".to_owned()][..]));
            let _: (Option<&str>, Option<&str>, Option<SystemTime>) =
                (info.issuer(), info.token_type(), info.expires_at());
        }
        Introspection::Inactive => panic!("inactive"),
    }
    let _ = introspector.introspect_with(&token, TokenTypeHint::RefreshToken)?;
    issuer
        .revoker(TestIssuer::CLIENT_ID, TestIssuer::CLIENT_SECRET)
        .build()?
        .revoke(&token, Some(TokenTypeHint::RefreshToken))?;
    Ok(())
}

#[test]
fn errors_answer_what_callers_ask() {
    let test = TestIssuer::new();
    let wrong = recorded(&test).m2m_client(TestIssuer::CLIENT_ID, "wrong").build().unwrap().access_token().unwrap_err();
    let (retryable, wait, status, challenge): (bool, Option<Duration>, u16, Option<String>) =
        (wrong.is_retryable(), wrong.retry_after(), wrong.http_status(), wrong.www_authenticate(Some("realm")));
    assert_eq!((retryable, wait, status, challenge), (false, Some(Duration::from_secs(10)), 500, None));
    match wrong {
        Error::Token(e) => panic!("{:?}", e.kind()),
        Error::OAuth(e) => {
            let facts: (&str, Option<&str>, Option<&str>, u16) =
                (e.error_code(), e.description(), e.error_uri(), e.status());
            assert_eq!((facts.0, facts.3), ("invalid_client", 401));
        }
        Error::Network(e) => panic!("{:?}", e.kind()),
        Error::Config(e) => panic!("{e}"),
        Error::Clock(e) => panic!("{e}"),
        other => panic!("{other}"),
    }
    for (kind, expected) in
        [(io::ErrorKind::TimedOut, NetworkErrorKind::Timeout), (io::ErrorKind::BrokenPipe, NetworkErrorKind::Io)]
    {
        assert_eq!(TransportError::from(io::Error::from(kind)).kind(), expected);
    }
}

#[test]
fn the_building_blocks_verify_any_jws() -> Result<(), Error> {
    let test = TestIssuer::new();
    let token = test.token().sign();
    let set = JwkSet::parse(&test.key_set())?;
    assert_eq!((set.len(), set.is_empty(), set.skipped(), set.iter().count()), (1, false, 0, 1));
    let key: VerificationKey = set.iter().next().unwrap().verification_key()?;
    let payload: Vec<u8> = CompactJws::parse(&token)?.verify(&key)?;
    assert!(payload.starts_with(b"{"));
    assert!(matches!(Jwk::parse("{}").and_then(|jwk| jwk.verification_key()), Err(Error::Config(_))));
    Ok(())
}

#[test]
fn a_test_issuer_serves_on_loopback() -> Result<(), Error> {
    let test = TestIssuer::new();
    let server: TestServer = test.serve().unwrap();
    assert!(server.url().starts_with("http://127.0.0.1:"));
    #[cfg(feature = "ureq")]
    server.issuer().resource_server().build()?.verify_token(&server.token().sign())?;
    let clock = ManualClock::new();
    let shared = clock.clone();
    clock.advance(Duration::from_secs(5));
    clock.set_wall(SystemTime::UNIX_EPOCH);
    assert_eq!((shared.monotonic(), shared.wall()), (clock.monotonic(), SystemTime::UNIX_EPOCH));
    Ok(())
}
