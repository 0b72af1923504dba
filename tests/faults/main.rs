//! Every fault at every endpoint: which error it is, within which time, what stays cached, and that nothing leaks. A binary of its own,
//! since cargo runs one after the other: no other test is in the way of what is timed here. It takes seconds, so `cargo test` leaves it
//! out; `cargo xtask slow` runs it.
#![cfg(feature = "ureq")]
#![cfg(test)] // so that helpers count as tests for the lints too

#[cfg(target_os = "linux")]
#[path = "../it/support/child.rs"]
#[expect(dead_code, reason = "shared with tests/it")]
mod child;
mod fault_server;
#[path = "../it/support/http.rs"]
mod http;
#[path = "../it/support/pace.rs"]
mod pace;
#[path = "../it/support/recorder.rs"]
mod recorder;
mod table;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aero2::testing::{ManualClock, TestIssuer};
use aero2::{
    AccessToken, Error, Introspection, Introspector, Issuer, M2mClient, NetworkErrorKind, ResourceServer, Revoker,
    TokenErrorKind, TokenOptions, UreqTransport,
};

use fault_server::{Fault, FaultServer};
use http::Recorded;
use pace::{Late, healthy, in_time, within};
use recorder::Recorder;
use table::Endpoint::{self, Discovery, Introspection as Introspect, Keys, Revocation, Token};
use table::Expect::{self, Fine, Kind, OAuth};
use table::{ENDPOINTS, Row, TABLE, WRONG_BODIES};

use NetworkErrorKind::{InvalidResponse, Timeout, TooLarge};

/// An issuer on fault servers, with a clock in the test's hand.
struct World {
    server: FaultServer,
    /// Where everything but the discovery document is, so that connections for either can be refused alone.
    services: FaultServer,
    clock: ManualClock,
    good: String,
    unknown: String,
}

impl World {
    fn new() -> Self {
        let (server, services, clock) = (FaultServer::start(), FaultServer::start(), ManualClock::new());
        let test = TestIssuer::builder().url(server.url()).clock(clock.clone()).build();
        let (key_set, good) = (test.key_set(), test.token().sign());
        test.rotate_keys();
        let world = Self { server, services, clock, good, unknown: test.token().sign() };
        world.document(|endpoint| world.url_of(endpoint));
        world.respond(Keys, &key_set);
        world
            .respond(Token, &format!(r#"{{"access_token":"{}","token_type":"Bearer","expires_in":3600}}"#, world.good));
        world.respond(Introspect, r#"{"active":true,"sub":"u1"}"#);
        world.respond(Revocation, "{}");
        world
    }

    /// A discovery document that names these URLs.
    fn document(&self, url: impl Fn(Endpoint) -> String) {
        let member = |endpoint: Endpoint| {
            endpoint.member().map(|name| format!(r#","{name}":"{}""#, url(endpoint))).unwrap_or_default()
        };
        let members = ENDPOINTS.map(member);
        self.respond(Discovery, &format!(r#"{{"issuer":"{}"{}}}"#, self.server.url(), members.concat()));
    }

    fn respond(&self, endpoint: Endpoint, body: &str) {
        self.server_of(endpoint).respond(endpoint.path(), body);
    }

    fn server_of(&self, endpoint: Endpoint) -> &FaultServer {
        if endpoint == Discovery { &self.server } else { &self.services }
    }

    fn url_of(&self, endpoint: Endpoint) -> String {
        format!("{}{}", self.server_of(endpoint).url(), endpoint.path())
    }

    fn strike(&self, endpoint: Endpoint, fault: Fault) {
        self.server_of(endpoint).fault(endpoint.path(), fault);
    }

    fn heal(&self) -> Result<(), Late> {
        let healed = self.server.heal().and_then(|()| self.services.heal());
        healed.map_err(|error| Late(format!("the port is taken: {error}")))
    }

    fn requests(&self) -> Vec<Recorded> {
        [self.server.requests(), self.services.requests()].concat()
    }

    fn client(&self, budget: Duration) -> Client {
        let transport = Recorder::new(UreqTransport::builder().no_proxy().build().unwrap());
        let issuer = Issuer::builder(self.server.url()).transport(transport.clone()).clock(self.clock.clone());
        let issuer = issuer.timeout(budget).refresh_timeout(budget / 2).build().unwrap();
        let rs = issuer.resource_server().build().unwrap();
        let m2m = issuer.m2m_client("svc", "hunter2").build().unwrap();
        let introspector = issuer.introspector("svc", "hunter2").cache(8, HOUR).build().unwrap();
        let revoker = issuer.revoker("svc", "hunter2").build().unwrap();
        Client { issuer, rs, m2m, introspector, revoker, transport }
    }
}

const HOUR: Duration = Duration::from_secs(3600);

/// All capabilities of one issuer.
struct Client {
    issuer: Issuer,
    rs: ResourceServer,
    m2m: M2mClient,
    introspector: Introspector,
    revoker: Revoker,
    transport: Recorder<UreqTransport>,
}

impl Client {
    /// A call that needs `endpoint`.
    fn call(&self, endpoint: Endpoint, token: &str) -> Result<(), Error> {
        match endpoint {
            Discovery | Keys => self.issuer.preload(),
            Token => self.m2m.access_token().map(drop),
            Introspect => self.introspector.introspect(token).map(drop),
            Revocation => self.revoker.revoke(token, None),
        }
    }

    /// A call that needs `endpoint` although everything that can be is cached.
    fn call_again(&self, endpoint: Endpoint, token: &str) -> Result<(), Error> {
        match endpoint {
            Keys => match self.rs.verify_token(token) {
                Err(Error::Token(error)) if error.kind() == TokenErrorKind::UnknownKey => Ok(()),
                outcome => outcome.map(|_| panic!("a token without a key")),
            },
            Token => self.m2m.access_token_with(&TokenOptions::new().force_refresh()).map(drop),
            Discovery | Introspect | Revocation => self.call(endpoint, token),
        }
    }

    /// Calls that the caches answer, or fill; the token that is held.
    fn cached(&self, what: &str, budget: Duration, token: &str) -> Result<AccessToken, Late> {
        healthy(what, within(what, budget, || self.rs.verify_token(token))?)?;
        let introspected = healthy(what, within(what, budget, || self.introspector.introspect(token))?)?;
        assert!(matches!(introspected, Introspection::Active(_)), "{what}");
        healthy(what, within(what, budget, || self.m2m.access_token())?)
    }
}

/// Holds `call` to the budget and to one of the outcomes, and its error to silence. Running out of time in their place is being late.
#[track_caller]
fn ends_with(
    what: &str,
    budget: Duration,
    expected: &[Expect],
    secret: &str,
    call: impl FnOnce() -> Result<(), Error>,
) -> Result<Option<Error>, Late> {
    let outcome = within(what, budget, call)?;
    let ended = match &outcome {
        Ok(()) => Fine,
        Err(Error::Network(error)) => Kind(error.kind()),
        Err(Error::OAuth(error)) => {
            OAuth(KNOWN_CODES.iter().find(|code| **code == error.error_code()).expect("a code of the table"))
        }
        Err(error) => panic!("{what}: {error}"),
    };
    let error = outcome.err();
    if let Some(error) = &error {
        let mut shown = format!("{error} {error:?}");
        let mut source = std::error::Error::source(error);
        while let Some(inner) = source {
            shown += &format!(" {inner} {inner:?}");
            source = inner.source();
        }
        for secret in ["LEAK", "hunter2", secret] {
            assert!(!shown.contains(secret), "{what} shows {secret}: {shown}");
        }
    }
    if expected.contains(&ended) {
        return Ok(error);
    }
    assert_eq!(ended, Kind(Timeout), "{what} is not {expected:?}: {error:?}");
    Err(Late(format!("{what} ran out of {budget:?}")))
}

const KNOWN_CODES: [&str; 5] =
    ["invalid_client", "access_denied", "slow_down", "server_error", "temporarily_unavailable"];

fn run_case(row: &Row, column: usize) {
    let (name, fault, expected) = (row.0, row.1, row.2[column]);
    let what = format!("{name} at {:?}", ENDPOINTS[column]);
    in_time(&what, |budget| {
        let world = World::new();
        Case { what: &what, budget, endpoint: ENDPOINTS[column], expected, world: &world }.run(fault)
    });
}

/// One field of the table, and the time that it has.
struct Case<'a> {
    what: &'a str,
    budget: Duration,
    endpoint: Endpoint,
    expected: Expect,
    world: &'a World,
}

impl Case<'_> {
    fn run(&self, fault: Fault) -> Result<(), Late> {
        let (what, endpoint, world) = (self.what, self.endpoint, self.world);
        let (fresh, warm) = (world.client(self.budget), world.client(self.budget));
        let held = warm.cached(what, self.budget, &world.good)?;

        world.strike(endpoint, fault);
        let error = self.ends_with(&world.good, || fresh.call(endpoint, &world.good))?;
        if what.starts_with("429") {
            assert_eq!(error.unwrap().retry_after(), Some(Duration::from_secs(7)), "{what}");
        }
        self.what_is_cached_serves_on(&warm, &held)?;

        // And the fault leaves nothing behind once it is over.
        world.heal()?;
        world.clock.advance(Duration::from_secs(301));
        healthy(&format!("{what}, healed"), fresh.call(endpoint, &world.good))?;
        self.secrets_stayed(&[&fresh, &warm]);
        Ok(())
    }

    /// After an attempt to replace it, and when the caches themselves try that: for keys past their TTL, a token in its last minute,
    /// a discovery document in its last hours.
    fn what_is_cached_serves_on(&self, warm: &Client, held: &AccessToken) -> Result<(), Late> {
        let (what, endpoint, world) = (self.what, self.endpoint, self.world);
        let serves = || {
            let token = warm.cached(what, self.budget, &world.good)?;
            assert_eq!(token.expose_secret(), held.expose_secret(), "{what}");
            Ok(())
        };
        if endpoint != Discovery {
            self.ends_with(&world.unknown, || warm.call_again(endpoint, &world.unknown))?;
        }
        serves()?;
        world.clock.advance(HOUR - Duration::from_secs(50));
        serves()?;
        if endpoint == Discovery {
            world.clock.advance(19 * HOUR);
            healthy(what, within(what, self.budget, || warm.issuer.preload())?)?;
        }
        let (stats, failed) = (warm.issuer.stats(), self.expected != Fine);
        match endpoint {
            Discovery => assert_eq!(stats.discovery_fetches(), 2, "{what}"),
            Keys if failed => assert!(stats.key_fetch_failures() >= 2, "{what}: {stats:?}"),
            Token if failed => assert_eq!(stats.mint_failures(), 2, "{what}"),
            _ => {}
        }
        Ok(())
    }

    fn secrets_stayed(&self, clients: &[&Client]) {
        let what = self.what;
        let allowed = [Token, Introspect, Revocation].map(|endpoint| self.world.url_of(endpoint));
        for client in clients {
            assert!(client.transport.carriers().iter().all(|carrier| allowed.contains(carrier)), "{what}");
        }
        for request in self.world.requests() {
            assert!(!request.path.contains("elsewhere"), "{what} was followed");
            assert!(!request.head.contains("hunter2"), "{what}: a secret in the head");
            assert!(request.method == "POST" || request.body.is_empty(), "{what}: a GET with a body");
            // A document that is silent has the secret go into a header.
            let head = request.head.to_ascii_lowercase();
            let credentials = request.body.contains("client_secret=hunter2") || head.contains("authorization: basic ");
            assert!(request.method == "GET" || credentials, "{what}: no credentials");
        }
    }

    fn ends_with(&self, secret: &str, call: impl FnOnce() -> Result<(), Error>) -> Result<Option<Error>, Late> {
        ends_with(self.what, self.budget, &[self.expected], secret, call)
    }
}

/// The cases wait far more than they work, so many run at once.
fn run_all(cases: usize, run: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(case) = Some(next.fetch_add(1, Ordering::SeqCst)).filter(|case| *case < cases) {
                    run(case);
                }
            });
        }
    });
}

const WORKERS: usize = 8;

/// The whole table, in a process of its own where threads and file descriptors can be counted.
#[test]
fn every_fault_at_every_endpoint_is_its_documented_error_and_leaves_nothing_behind() {
    #[cfg(target_os = "linux")]
    if !child::is_child() {
        return child::run("every_fault_at_every_endpoint_is_its_documented_error_and_leaves_nothing_behind", &[]);
    }
    run_case(&TABLE[0], 0);
    let before = left();
    run_all(TABLE.len() * ENDPOINTS.len(), |case| {
        run_case(&TABLE[case / ENDPOINTS.len()], case % ENDPOINTS.len());
    });
    // A thread that was joined may still show for a moment, here and in the first count.
    let ended = Instant::now() + Duration::from_secs(30);
    while left().iter().zip(before).any(|(now, before)| *now > before) {
        assert!(Instant::now() < ended, "{before:?} threads and file descriptors became {:?}", left());
        std::thread::yield_now();
    }
}

/// This process's threads and file descriptors.
fn left() -> [usize; 2] {
    ["task", "fd"].map(|of| std::fs::read_dir(format!("/proc/self/{of}")).map_or(0, Iterator::count))
}

#[test]
fn every_member_of_the_wrong_type_is_an_invalid_response() {
    let cases: Vec<(Endpoint, &str)> =
        WRONG_BODIES.iter().flat_map(|(endpoint, bodies)| bodies.iter().map(|body| (*endpoint, *body))).collect();
    run_all(cases.len(), |case| {
        let (endpoint, body) = cases[case];
        let what = format!("{body} at {endpoint:?}");
        fails_with(&what, &[Kind(InvalidResponse)], endpoint, |world| {
            world.respond(endpoint, &body.replace("URL", world.server.url()));
        });
    });
}

/// A fresh client's call that needs `endpoint` of a world that `spoil` was at.
fn fails_with(what: &str, expected: &[Expect], endpoint: Endpoint, spoil: impl Fn(&World)) {
    in_time(what, |budget| {
        let world = World::new();
        spoil(&world);
        let client = world.client(budget);
        ends_with(what, budget, expected, &world.good, || client.call(endpoint, &world.good)).map(drop)
    });
}

#[test]
fn a_fast_storm_of_1xx_ends_by_the_limit_of_the_headers_or_the_budget() {
    for storm in [
        Fault::Answer(|line, _| line.repeat("HTTP/1.1 103 x\r\nlink: LEAK\r\n\r\n", usize::MAX)),
        Fault::Answer(|line, _| line.repeat("HTTP/1.1 100 x\r\n\r\n", usize::MAX)),
    ] {
        for endpoint in ENDPOINTS {
            let what = format!("a storm at {endpoint:?}");
            fails_with(&what, &[Kind(TooLarge), Kind(Timeout)], endpoint, |world| {
                world.strike(endpoint, storm);
            });
        }
    }
}

#[test]
fn an_endpoint_that_secrets_may_not_go_to_gets_no_request() {
    for endpoint in [Token, Introspect, Revocation] {
        for url in [
            "http://elsewhere.example/",
            "ftp://127.0.0.1/",
            "http://user:password@127.0.0.1/",
            "http://127.0.0.1\\\\@elsewhere.example/",
            "http://127.0.0.1/#x",
            "/relative",
            "",
        ] {
            in_time(url, |budget| {
                let world = World::new();
                world.document(|other| if other == endpoint { url.to_owned() } else { world.url_of(other) });
                let client = world.client(budget);
                ends_with(url, budget, &[Kind(InvalidResponse)], &world.good, || client.call(endpoint, &world.good))?;
                assert_eq!(world.requests().len(), 1, "for the document alone");
                assert!(client.transport.carriers().is_empty());
                healthy(url, client.issuer.preload())
            });
        }
    }
}

#[test]
fn no_secret_is_sent_on_the_word_of_another_issuers_document() {
    in_time("mismatch", |budget| {
        let world = World::new();
        world.respond(Discovery, r#"{"issuer":"http://127.0.0.1:1"}"#);
        let client = world.client(budget);
        for endpoint in [Token, Introspect, Revocation] {
            let mismatch = &[Kind(NetworkErrorKind::IssuerMismatch)];
            ends_with("mismatch", budget, mismatch, &world.good, || client.call(endpoint, &world.good))?;
        }
        assert!(client.transport.carriers().is_empty());
        Ok(())
    });
}
