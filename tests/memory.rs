//! How much memory hostile input can cost, and whether secrets are wiped: an allocator that counts, and that looks into each block that
//! is given back.
#![cfg(test)] // so that helpers count as tests for the lints too
#![expect(unsafe_code, reason = "an allocator cannot be written without; it passes everything on to the system's")]

#[path = "slow/costly.rs"]
mod costly;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::time::{Duration, UNIX_EPOCH};

use aero2::jose::JwkSet;
use aero2::testing::{Endpoint, Fault, ManualClock, TestIssuer};
use aero2::{ClientAuth, Issuer, Request, Response, TransportError};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use costly::costly_tokens;

struct Watching;

#[global_allocator]
static ALLOCATOR: Watching = Watching;

// Of this thread alone, since other tests run beside.
thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
    static NEEDLE: Cell<&'static [u8]> = const { Cell::new(&[]) };
    static FOUND: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator as it came; the block that is looked into is still the caller's.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.get() + layout.size();
        LIVE.set(live);
        PEAK.set(PEAK.get().max(live));
        // Zeroed, so that nothing is found in it that somebody else left there.
        unsafe { System.alloc_zeroed(layout) }
    }

    // `realloc` comes here as well, by its default: a block that moves is given back.
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get().saturating_sub(layout.size()));
        let needle = NEEDLE.get();
        if !needle.is_empty() {
            let bytes = unsafe { std::slice::from_raw_parts(block, layout.size()) };
            FOUND.set(FOUND.get() + bytes.windows(needle.len()).filter(|window| *window == needle).count());
        }
        unsafe { System.dealloc(block, layout) }
    }
}

/// The most that was allocated at once beyond what there was before.
fn peak<T>(run: impl FnOnce() -> T) -> usize {
    let before = LIVE.get();
    PEAK.set(before);
    drop(black_box(run()));
    PEAK.get() - before
}

/// How many blocks were given back with `needle` still in them.
fn left_behind(needle: &'static str, run: impl FnOnce()) -> usize {
    bytes_left_behind(needle.as_bytes(), run)
}

fn bytes_left_behind(needle: &'static [u8], run: impl FnOnce()) -> usize {
    NEEDLE.set(needle);
    FOUND.set(0);
    run();
    NEEDLE.set(&[]);
    FOUND.get()
}

fn clock() -> ManualClock {
    let clock = ManualClock::new();
    clock.set_wall(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    clock
}

fn world() -> (TestIssuer, Issuer) {
    let test = TestIssuer::builder().clock(clock()).build();
    let issuer = test.issuer();
    issuer.preload().unwrap();
    (test, issuer)
}

#[test]
fn verifying_any_token_takes_memory_in_proportion_to_its_length() {
    let (test, issuer) = world();
    let server = issuer.resource_server().build().unwrap();
    for (name, token) in costly_tokens(&test) {
        let peak = peak(|| server.verify_token(&token));
        println!("{name}: {peak} bytes");
        assert!(peak <= 32 * token.len(), "{name}: {peak} bytes");
    }
    let long = ".".repeat(1 << 24);
    assert!(peak(|| server.verify_token(&long)) < 4096, "a token that is too long is not looked at");
}

#[test]
fn reading_any_answer_of_256_kib_takes_memory_in_proportion_to_its_length() {
    const LIMIT: usize = 256 * 1024;
    let repeated = |start: &str, part: &str, end: &str| {
        format!("{start}{}{end}", part.repeat((LIMIT - start.len() - end.len()) / part.len()))
    };
    let bodies = [
        repeated(r#"{"keys":[0"#, ",0", "]}"),
        repeated(r#"{"keys":[{}"#, ",{}", "]}"),
        repeated(r#"{"keys":[{"kid":"a","kty":"x"}"#, r#",{"kid":"a","kty":"x"}"#, "]}"),
        repeated(r#"{"keys":["#, "[", ""),
        repeated(r#"{"keys":[],"x":""#, "x", "\"}"),
        repeated(r#"{"keys":[0"#, ",1e999", "]}"),
        repeated(r#"{"keys":[1"#, "1", ".]}"),
    ];
    for body in bodies {
        let peak = peak(|| JwkSet::parse(&body));
        println!("{}: {peak} bytes", &body[..20]);
        assert!(peak <= 48 * LIMIT, "{}: {peak} bytes", &body[..20]);

        let test = TestIssuer::builder().clock(clock()).build();
        test.fail(Endpoint::Keys, 1, Fault::json(200, body.clone()));
        let issuer = test.issuer();
        let token = test.token().sign();
        drop(issuer.resource_server().build().unwrap().verify_token(&token));
    }
}

/// The token is in the answer, in what is read of it, in the cache and in the caller's hand; the secret in its source, the form and
/// the header. When all of it is dropped, no block was given back with either in it.
#[test]
fn tokens_and_secrets_are_wiped_before_their_memory_is_given_back() {
    const SECRET: &str = "n33dle-in-the-client-secret";
    const TOKEN: &str = "n33dle-in-the-access-token";
    let answer = |escape: &'static str, end: &'static str| {
        move |request: &Request<'_>| -> Result<Response, TransportError> {
            if request.method() == "GET" {
                return Ok(Response::new(200, [], br#"{"issuer":"https://issuer.example"}"#.to_vec()));
            }
            if request.url().ends_with("introspect") {
                return Ok(Response::new(200, [], br#"{"active":false}"#.to_vec()));
            }
            // Long enough for every buffer to grow, with members before and behind that move it.
            let filler = "x".repeat(700);
            let mut body = Vec::with_capacity(8192);
            body.extend_from_slice(format!(r#"{{"a":"{escape}{filler}","token_type":"Bearer","#).as_bytes());
            body.extend_from_slice(b"\"access_token\":\"");
            body.extend_from_slice(TOKEN.as_bytes());
            let tail = format!(r#"{escape}{filler}","b":"{filler}{escape}{filler}","expires_in":3600{end}"#);
            body.extend_from_slice(tail.as_bytes());
            Ok(Response::new(200, [], body))
        }
    };
    for (auth, escape) in [(ClientAuth::SecretPost, ""), (ClientAuth::SecretBasic, ""), (ClientAuth::SecretPost, "\\/")]
    {
        let answer = answer(escape, "}");
        for needle in [SECRET, TOKEN] {
            let found = left_behind(needle, || {
                let issuer =
                    Issuer::builder("https://issuer.example").transport(answer).clock(clock()).build().unwrap();
                let m2m = issuer.m2m_client("svc", SECRET).client_auth(auth.clone()).build().unwrap();
                let token = m2m.access_token().unwrap();
                assert!(token.expose_secret().starts_with(TOKEN));
                let again = m2m.access_token_with(&aero2::TokenOptions::new().force_refresh()).unwrap();
                m2m.reject(&again);
                drop((token.authorization_header(), m2m, issuer));
                let introspector = Issuer::builder("https://issuer.example").transport(answer).clock(clock()).build();
                let introspector = introspector.unwrap().introspector("svc", SECRET).client_auth(auth.clone()).build();
                let _ = introspector.unwrap().introspect(TOKEN).unwrap();
            });
            assert_eq!(found, 0, "{needle} with {auth:?} {escape}");
        }
    }
    for escape in ["", "\\/"] {
        let found = left_behind(TOKEN, || {
            let cut_off = answer(escape, "");
            let issuer = Issuer::builder("https://issuer.example").transport(cut_off).clock(clock()).build().unwrap();
            issuer.m2m_client("svc", SECRET).build().unwrap().access_token().unwrap_err();
        });
        assert_eq!(found, 0, "in an answer that cannot be read {escape}");
    }
    assert_eq!(left_behind(TOKEN, || drop(TOKEN.to_owned())), 1, "what is not wiped is found");
}

#[test]
fn the_signature_of_a_token_does_not_stay_in_memory() {
    let (test, issuer) = world();
    let rs = issuer.resource_server().audience("orders").build().unwrap();
    for (name, token) in [
        ("accepted", test.token().audience("orders").sign()),
        ("for another audience", test.token().audience("billing").sign()),
        ("of an unknown key", test.token().audience("orders").key_id("unknown").sign()),
        ("of a bad header", test.token().header("crit", vec!["exp"]).sign()),
        ("of bad claims", test.token().raw_payload("[]").sign()),
    ] {
        let signature = URL_SAFE_NO_PAD.decode(token.rsplit('.').next().unwrap()).unwrap();
        let needle = Vec::leak(signature[..32].to_vec());
        assert_eq!(bytes_left_behind(needle, || drop(rs.verify_token(&token))), 0, "{name}");
    }
}

/// Without `expires_in` the token itself says how long it lives, if it is a JWT.
#[test]
fn what_is_decoded_of_a_minted_token_is_wiped() {
    const NEEDLE: &str = "n33dle-in-the-payload";
    let json = format!(r#"{{"exp":1800003600,"x":"{NEEDLE}"}}"#);
    let escaped = format!(r#"{{"exp":1800003600,"x":"\/{NEEDLE}"}}"#);
    let cut_off = format!("{}=", URL_SAFE_NO_PAD.encode(format!("{NEEDLE}{NEEDLE}{NEEDLE}")));
    let payloads = [
        URL_SAFE_NO_PAD.encode(json),
        URL_SAFE_NO_PAD.encode(escaped),
        URL_SAFE_NO_PAD.encode(NEEDLE),
        URL_SAFE_NO_PAD.encode([NEEDLE.as_bytes(), &[0xff]].concat()),
        cut_off,
    ];
    for payload in payloads {
        let body = format!(r#"{{"access_token":"a.{payload}.c","token_type":"Bearer"}}"#);
        let answer = move |request: &Request<'_>| -> Result<Response, TransportError> {
            let metadata = br#"{"issuer":"https://issuer.example"}"#.to_vec();
            Ok(Response::new(200, [], if request.method() == "GET" { metadata } else { body.clone().into_bytes() }))
        };
        let issuer = Issuer::builder("https://issuer.example").transport(answer).clock(clock()).build().unwrap();
        let m2m = issuer.m2m_client("svc", "secret").build().unwrap();
        assert_eq!(left_behind(NEEDLE, || drop(m2m.access_token().unwrap())), 0, "{payload}");
    }
}

#[cfg(feature = "file-cache")]
#[test]
fn what_is_read_of_a_token_file_is_wiped() {
    const TOKEN: &str = "n33dle-in-the-token-file";
    let answer = |request: &Request<'_>| -> Result<Response, TransportError> {
        let token = format!(r#"{{"access_token":"{TOKEN}","token_type":"Bearer","expires_in":3600}}"#).into_bytes();
        let metadata = br#"{"issuer":"https://issuer.example"}"#.to_vec();
        Ok(Response::new(200, [], if request.method() == "GET" { metadata } else { token }))
    };
    let file = std::env::temp_dir().join(format!("aero2-memory-{}.json", std::process::id()));
    let nobody = |_: &Request<'_>| -> Result<Response, TransportError> {
        Err(std::io::Error::other("the token is in the file").into())
    };
    let m2m = |issuer: aero2::IssuerBuilder| {
        let issuer = issuer.clock(clock()).build().unwrap();
        issuer.m2m_client("svc", "secret").token_file(&file).build().unwrap()
    };
    m2m(Issuer::builder("https://issuer.example").transport(answer)).access_token().unwrap();
    let found = left_behind(TOKEN, || {
        let reader = m2m(Issuer::builder("https://issuer.example").transport(nobody));
        assert_eq!(reader.access_token().unwrap().expose_secret(), TOKEN);
    });
    std::fs::remove_file(&file).unwrap();
    assert_eq!(found, 0);
}
