//! No secret and no token shows: every error, event, log line and `Debug` of a run through everything that can go wrong is searched
//! for every secret, every segment of every token, and every text that a server or a token brought in.

mod search;

use std::collections::BTreeSet;
use std::thread;
use std::time::UNIX_EPOCH;

use aero2::jose::{Algorithm, CompactJws, Jwk, JwkSet};
use aero2::testing::{Endpoint, Fault, Json, ManualClock, TestIssuer};
use aero2::{
    ByIssuer, ClientAuth, Introspection, IssuerBuilder, NetworkErrorKind, PrivateKeyJwt, Request, Secret, SecretSource,
    SenderConstraint, TokenOptions, TokenTypeHint, Transport, TransportError, VerifyOptions,
};

use crate::support::World;
use crate::support::recorder::Recorder;
use search::Search;

const SECRET: &str = "n33dle-client-secret";
const WRONG_SECRET: &str = "n33dle-wrong-secret";
const PROXY_SECRET: &str = "n33dle-proxy-password";
/// In every text that a server answers or a token claims.
const TEXT: &str = "n33dle-text";
const PEM: &str = include_str!("../data/client-keys/es256.pem");

/// Shows each request as it passes by.
struct Watching<T>(T, Search);

impl<T: Transport> Transport for Watching<T> {
    fn send(&self, request: &Request<'_>) -> Result<aero2::Response, TransportError> {
        let body = String::from_utf8_lossy(request.body().unwrap_or_default()).into_owned();
        for (name, value) in body.split('&').filter_map(|pair| pair.split_once('=')) {
            if name.contains("secret") || name.contains("assertion") || name == "token" {
                self.1.token(value);
                self.1.token(&value.replace("%2E", "."));
            }
        }
        let authorization = request.headers().find(|(name, _)| *name == "authorization");
        self.1.hide(authorization.map_or("", |(_, value)| value));
        self.1.debug(request);
        let outcome = self.0.send(request);
        self.1.debug(&outcome);
        outcome
    }
}

fn builder(world: &World, search: &Search) -> IssuerBuilder {
    let events = search.clone();
    let transport = Watching(world.test.transport(), search.clone());
    let builder =
        aero2::Issuer::builder(world.test.url()).transport(Recorder::new(transport)).clock(world.clock.clone());
    let builder = builder.on_event(move |event| {
        events.show(event);
        events.debug(event);
    });
    search.debug(&builder);
    builder
}

fn faults() -> Vec<Fault> {
    let text = |body: &str| body.replace('#', TEXT);
    let json = |status, body: &str| Fault::json(status, text(body));
    vec![
        Fault::transport(NetworkErrorKind::Dns),
        Fault::transport(NetworkErrorKind::Tls),
        Fault::transport(NetworkErrorKind::Io),
        Fault::garbage(),
        Fault::status(500).body(TEXT),
        Fault::status(302).header("location", text("https://#.example/")),
        Fault::status(429).header("retry-after", "1").body(TEXT),
        Fault::status(429).header("retry-after", TEXT),
        Fault::status(200).body(TEXT),
        Fault::status(200).header("content-encoding", TEXT).body("{}"),
        Fault::status(200).body(vec![0xff; 10]),
        Fault::status(200).body(vec![b'#'; 300_000]),
        json(200, r##"{"#":"#","#":"#"}"##),
        json(200, r##"{"issuer":"https://#.example"}"##),
        json(200, r##"{"issuer":["#"],"jwks_uri":"#"}"##),
        json(200, r##"{"issuer":"https://test.aero2.example","jwks_uri":"https://#@x/","token_endpoint":"#"}"##),
        json(200, r##"{"keys":"#"}"##),
        json(200, r##"{"keys":[{"kid":"#","kty":"#"},"#"]}"##),
        json(200, r##"{"access_token":"# #","token_type":"Bearer"}"##),
        json(200, r##"{"access_token":"n33dle-token-1","token_type":"#"}"##),
        json(200, r##"{"access_token":"n33dle-token-2","token_type":"Bearer","expires_in":"#"}"##),
        json(200, r##"{"active":"#"}"##),
        json(200, r##"{"active":true,"sub":["#"]}"##),
        json(200, r##"{"active":true,"sub":"#","scope":"#","username":"#","x":"#"}"##),
        json(400, r##"{"error":"invalid_scope","error_description":"#","error_uri":"#"}"##),
        json(401, r##"{"error":"invalid_client","error_description":"#"}"##),
        json(403, r##"{"error":"n33dle-text","error_description":"#"}"##),
        json(500, r##"{"error":"# #","message":"#"}"##),
    ]
}

#[test]
fn nothing_that_must_stay_hidden_shows_in_anything() {
    let search = Search::default();
    for needle in
        [SECRET, WRONG_SECRET, PROXY_SECRET, TEXT, TestIssuer::CLIENT_SECRET, "n33dle-token-1", "n33dle-token-2"]
    {
        search.hide(needle);
    }
    PEM.lines().filter(|line| !line.starts_with('-')).for_each(|line| search.hide(line));

    let parts: &[fn(&Search)] = &[
        verification,
        |search| use_clients(search, &world(), usize::MAX),
        boot,
        keys,
        for_tests,
        #[cfg(feature = "file-cache")]
        files,
        #[cfg(feature = "ureq")]
        transports,
    ];
    #[cfg(feature = "log")]
    log_lines::listen();
    thread::scope(|scope| {
        let search = &search;
        for part in parts {
            scope.spawn(move || part(search));
        }
        for endpoint in Endpoint::ALL {
            scope.spawn(move || clients(search, endpoint));
        }
    });
    #[cfg(feature = "log")]
    log_lines::show(&search);
    assert_eq!(search.found(), [""; 0]);
    let (needles, shown) = search.counts();
    assert!(needles > 500 && shown > 300, "{needles} {shown}");
    if cfg!(all(feature = "ureq", feature = "file-cache")) {
        assert_eq!(search.never_shown(&types_with_debug()), [""; 0], "a value of each has to be shown in this file");
    }
}

/// The public types whose `Debug` might show what it was given: all but plain enums and numbers, which are `Copy` and borrow nothing.
fn types_with_debug() -> BTreeSet<String> {
    let name = |line: &str| line.rsplit(" for ").next().unwrap().split('<').next().unwrap().to_owned();
    let listing = include_str!("../../docs/public-api.txt");
    let of =
        |what: &'static str| listing.lines().filter(move |line| line.starts_with("    impl") && line.contains(what));
    let plain: BTreeSet<String> = of(" Copy for ").filter(|line| !line.contains('\'')).map(name).collect();
    let types = of(" Debug for ").map(name).filter(|name| !plain.contains(name)).collect::<BTreeSet<_>>();
    assert!(types.len() > 30, "the listing was not read: {types:?}");
    types
}

/// Tokens good and bad, through every way in.
fn verification(search: &Search) {
    let world = world();
    let token = |world: &World| {
        world.test.token().subject("n33dle-subject").claim("email", TEXT).audience("n33dle-aud-of-token")
    };
    search.hide("n33dle-subject");
    search.hide("n33dle-aud-of-token");
    let issuer = builder(&world, search).build().unwrap();
    let rs = issuer.resource_server().audience("n33dle-aud-of-token").verified_token_cache(8);
    search.debug_without("n33dle-aud-of-token", &rs);
    let rs = rs.build().unwrap();
    let elsewhere = issuer.resource_server().audience("elsewhere").required_scopes(["read"]).build().unwrap();
    let bound = issuer.resource_server().sender_constrained(SenderConstraint::Require).build().unwrap();
    let tokens = [
        token(&world).sign(),
        token(&world).expired().sign(),
        token(&world).bad_signature().sign(),
        token(&world).other_key().sign(),
        token(&world).key_id("n33dle-key-id").sign(),
        token(&world).issuer("https://n33dle-text.example").sign(),
        token(&world).typ(TEXT).sign(),
        token(&world).header("alg", TEXT).sign(),
        token(&world).header("crit", TEXT).sign(),
        token(&world).header("jku", TEXT).sign(),
        token(&world).claim("exp", TEXT).sign(),
        token(&world).token_use(TEXT).sign(),
        token(&world).scope(TEXT).sign(),
        token(&world).claim("aud", vec![Json::from(TEXT)]).sign(),
        token(&world).claim("cnf", TEXT).sign(),
        token(&world).raw_payload(TEXT).sign(),
        token(&world).raw_header(TEXT).sign(),
        format!("n33dle-no-token {TEXT}"),
        "n33dle-part.n33dle-part.n33dle-part".repeat(1000),
    ];
    search.hide("n33dle-key-id");
    for token in &tokens {
        let token = search.token(token);
        for server in [&rs, &rs, &elsewhere, &bound] {
            search.outcome(&server.verify_token(&token));
            search.outcome(&server.authorize(Some(&format!("Bearer {token}"))));
            search.outcome(&server.authorize(Some(&format!("Basic {token}"))));
            let options = VerifyOptions::new().required_scopes(["more"]).client_certificate(TEXT.as_bytes());
            search.debug(&options);
            search.outcome(&server.verify_token_with(&token, &options));
            let explanation = server.explain(&token);
            search.show(explanation.to_string().replace("n33dle-aud-of-token", "its own setting"));
            search.debug_without("n33dle-aud-of-token", (&explanation, explanation.checks().collect::<Vec<_>>()));
        }
        let many = ByIssuer::new([rs.clone()]).unwrap();
        search.outcome(&many.verify_token(&token));
        search.debug(&many);
        search.outcome(&CompactJws::parse(&token));
    }
    if let Ok(claims) = rs.verify_token(&tokens[0]) {
        search.debug((&claims, claims.confirmation(), claims.get("sub")));
    }
    search.debug((&issuer, &rs, &elsewhere, &world.test, &token(&world)));
    world.clock.set_wall(UNIX_EPOCH);
    search.outcome(&elsewhere.verify_token(&tokens[0]));
}

/// Each capability that sends secrets, against each fault at the endpoint.
fn clients(search: &Search, endpoint: Endpoint) {
    for fault in faults() {
        let world = world();
        world.test.fail(endpoint, 3, fault);
        use_clients(search, &world, 3);
    }
}

/// Signing by Ed25519, which is fast in a debug build.
fn world() -> World {
    let clock = ManualClock::new();
    let test = TestIssuer::builder().algorithm(Algorithm::EdDsa).clock(clock.clone()).build();
    test.register_client("svc", SECRET, ["a", "b"]);
    World { test, clock }
}

fn use_clients(search: &Search, world: &World, secrets: usize) {
    let issuer = builder(world, search).build().unwrap();
    let asked = search.token(&world.test.token().subject("n33dle-asked").sign());
    search.hide("n33dle-asked");
    let verified = issuer.resource_server().build().unwrap().verify_token(&asked);
    search.outcome(&verified);
    for (secret, auth) in [
        (SecretSource::from(SECRET), ClientAuth::SecretPost),
        (SecretSource::from(WRONG_SECRET), ClientAuth::SecretBasic),
        (SecretSource::from(PEM), ClientAuth::from(PrivateKeyJwt::new())),
        (SecretSource::from(SECRET), ClientAuth::from(PrivateKeyJwt::new())),
        (SecretSource::from_fn(|| Ok::<_, std::io::Error>(SECRET.to_owned())), ClientAuth::SecretPost),
        (SecretSource::from_fn(|| Err::<String, _>(std::io::Error::other("vault sealed"))), ClientAuth::SecretPost),
        (SecretSource::env("AERO2_TEST_NO_SUCH_VARIABLE"), ClientAuth::SecretPost),
        (SecretSource::file("/no/such/file"), ClientAuth::SecretPost),
    ]
    .into_iter()
    .take(secrets)
    {
        search.debug((&secret, &auth));
        let m2m = issuer.m2m_client("svc", secret.clone()).client_auth(auth.clone()).default_scope("a");
        search.debug(&m2m);
        match m2m.build() {
            Err(error) => search.error(&error),
            Ok(m2m) => {
                let token = m2m.access_token();
                if let Ok(token) = &token {
                    search.token(token.expose_secret());
                    search.debug((token, token.authorization_header()));
                    m2m.reject(token);
                }
                search.outcome(&token);
                let options = TokenOptions::new().scope("b").param("resource", "x").force_refresh();
                search.debug(&options);
                search.outcome(&m2m.access_token_with(&options));
                search.debug(&m2m);
            }
        }
        let introspector = issuer.introspector("svc", secret.clone()).client_auth(auth.clone());
        search.debug(&introspector);
        if let Ok(introspector) = introspector.build() {
            let outcome = introspector.introspect_with(&asked, TokenTypeHint::AccessToken);
            if let Ok(Introspection::Active(info)) = &outcome {
                search.debug(info);
            }
            search.outcome(&outcome);
            search.debug(&introspector);
        }
        let revoker = issuer.revoker("svc", secret).client_auth(auth);
        search.debug(&revoker);
        if let Ok(revoker) = revoker.build() {
            search.outcome(&revoker.revoke(&asked, None));
            search.debug(&revoker);
        }
    }
    search.debug((Secret::from(SECRET), issuer.stats(), &issuer));
}

/// Bad keys, snapshots and settings.
fn boot(search: &Search) {
    let world = World::new();
    for text in [TEXT.to_owned(), format!(r#"{{"{TEXT}":"{TEXT}"}}"#), format!(r#"{{"keys":"{TEXT}"}}"#)] {
        search.outcome(&builder(&world, search).static_keys(&text).build());
        search.outcome(&builder(&world, search).snapshot(&text).build());
        search.outcome(&JwkSet::parse(&text));
        search.outcome(&Jwk::parse(&text));
        search.outcome(&aero2::Issuer::new(&format!("https://{text}@x.example")));
    }
    search.hide(PROXY_SECRET);
    let url = format!("https://user:{PROXY_SECRET}@issuer.example");
    search.outcome(&aero2::Issuer::builder(&url).transport(Recorder::new(world.test.transport())).build());
}

#[cfg(feature = "ureq")]
fn transports(search: &Search) {
    let proxy = format!("http://user:{PROXY_SECRET}@127.0.0.1:1");
    let builder = aero2::UreqTransport::builder().proxy(&proxy).client_certificate_pem(PEM.as_bytes(), PEM.as_bytes());
    search.debug(&builder);
    search.outcome(&builder.build());
    let transport = aero2::UreqTransport::builder().proxy(&proxy).build().unwrap();
    search.debug(&transport);
    let issuer = aero2::Issuer::builder("https://issuer.example").transport(Recorder::new(transport)).build().unwrap();
    search.outcome(&issuer.preload());
    let m2m = issuer.m2m_client("svc", SECRET).build().unwrap();
    search.outcome(&m2m.access_token());
    search.outcome(&aero2::UreqTransport::builder().proxy(&format!("ftp://user:{PROXY_SECRET}@x")).build());
    over_http(search);
}

/// Over real HTTP, so that the lines that ureq and rustls log are seen.
#[cfg(feature = "ureq")]
fn over_http(search: &Search) {
    let world = world();
    let server = world.test.serve().unwrap();
    search.debug(&server);
    let transport = aero2::UreqTransport::builder().build().unwrap();
    let issuer = aero2::Issuer::builder(server.url()).transport(Recorder::new(Watching(transport, search.clone())));
    let issuer = issuer.build().unwrap();
    let asked = search.token(&server.token().subject("n33dle-asked").sign());
    search.outcome(&issuer.resource_server().build().unwrap().verify_token(&asked));
    for auth in [ClientAuth::SecretPost, ClientAuth::SecretBasic] {
        for secret in [SECRET, WRONG_SECRET] {
            let token = issuer.m2m_client("svc", secret).client_auth(auth.clone()).build().unwrap().access_token();
            if let Ok(token) = &token {
                search.token(token.expose_secret());
            }
            search.outcome(&token);
            let introspector = issuer.introspector("svc", secret).client_auth(auth.clone()).build().unwrap();
            search.outcome(&introspector.introspect(&asked));
            search.outcome(
                &issuer.revoker("svc", secret).client_auth(auth.clone()).build().unwrap().revoke(&asked, None),
            );
        }
    }
    // No text in a header: at their own debug level, ureq's lines have all headers of an answer.
    for fault in [Fault::garbage(), Fault::status(500).body(TEXT), Fault::status(302).header("location", "/a")] {
        world.test.fail(Endpoint::Token, 1, fault);
        let m2m = issuer.m2m_client("svc", SECRET).default_scope("b").build().unwrap();
        search.outcome(&m2m.access_token());
    }
}

/// Files that are good, broken, or another's.
#[cfg(feature = "file-cache")]
fn files(search: &Search) {
    let folder = std::env::temp_dir().join(format!("aero2-leaks-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let world = world();
    let (tokens, snapshot) = (folder.join("tokens.json"), folder.join("snapshot.json"));
    for text in [None, Some(TEXT.to_owned()), Some(format!(r#"{{"token":"n33dle-token-1","x":["{TEXT}"]}}"#))] {
        if let Some(text) = text {
            std::fs::write(&tokens, &text).unwrap();
            std::fs::write(&snapshot, &text).unwrap();
        }
        for _ in 0..2 {
            let issuer = builder(&world, search).snapshot_file(&snapshot).build().unwrap();
            let rs = issuer.resource_server().build().unwrap();
            search.outcome(&rs.verify_token(&search.token(&world.test.token().sign())));
            let m2m = issuer.m2m_client("svc", SECRET).default_scope("a").token_file(&tokens);
            search.debug(&m2m);
            let m2m = m2m.build().unwrap();
            let token = m2m.access_token();
            if let Ok(token) = &token {
                search.token(token.expose_secret());
            }
            search.outcome(&token);
            m2m.clear_cache();
            search.debug((&m2m, &issuer));
        }
    }
    search.debug((aero2::TokenFile::new(&tokens), aero2::StoreLock::new(SECRET)));
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Keys as values, private ones too.
fn keys(search: &Search) {
    let private = "n33dle-private-exponent-1";
    search.hide(private);
    let test = TestIssuer::new();
    let mut texts = vec![test.key_set()];
    for member in ["d", "p", "k", "x", "n", "kty", "crv"] {
        texts.push(format!(r#"{{"keys":[{{"kty":"RSA","kid":"a","n":"AQAB","e":"AQAB","{member}":"{private}"}}]}}"#));
        texts.push(format!(r#"{{"kty":"oct","{member}":"{private}"}}"#));
    }
    for text in texts {
        let set = JwkSet::parse(&text);
        search.outcome(&set);
        if let Ok(set) = &set {
            search.debug(set.iter().map(|key| (key, key.verification_key())).collect::<Vec<_>>());
        }
        search.outcome(&Jwk::parse(&text));
        search.outcome(&aero2::Issuer::builder(test.url()).static_keys(&text).build());
    }
}

/// What users hold in their tests.
fn for_tests(search: &Search) {
    let test = TestIssuer::builder().algorithm(Algorithm::EdDsa);
    search.debug(&test);
    let test = test.build();
    test.register_client("svc", SECRET, ["a"]);
    let fault = Fault::json(200, format!(r#"{{"access_token":"n33dle-token-1","x":"{TEXT}"}}"#));
    search.debug((&test, test.transport(), &fault, PrivateKeyJwt::new(), Json::from("a"), ManualClock::new()));
    let gate = test.gate(Endpoint::Token);
    search.debug(&gate);
    let token = test.token().subject("u1").sign();
    search.token(&token);
    search.debug(test.token());
}

#[cfg(feature = "log")]
mod log_lines {
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    use super::Search;

    static LINES: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

    /// Takes the lines of every test that runs at the same time as well, and those of other crates.
    struct Logger;

    impl log::Log for Logger {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }

        fn log(&self, record: &log::Record<'_>) {
            // At that level ureq_proto writes whole messages, of which the documentation of UreqTransport warns.
            if !(record.target().starts_with("ureq_proto") && record.level() == log::Level::Trace) {
                LINES.lock().unwrap().insert(format!("{} {}", record.target(), record.args()));
            }
        }

        fn flush(&self) {}
    }

    pub(super) fn listen() {
        log::set_logger(&Logger).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
    }

    pub(super) fn show(search: &Search) {
        let lines = LINES.lock().unwrap();
        assert!(lines.len() > 20, "{} lines", lines.len());
        lines.iter().for_each(|line| search.show(line));
    }
}
