//! What a verification and a cached token cost: `cargo bench --bench verify`, or with the names of some parts behind `--`.
//!
//! Everything is measured against ring alone on the same token in the same interleaved run, so the ratios hold on a busy machine.
#![expect(
    unsafe_code,
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a benchmark: it counts allocations, computes with floats and may fail"
)]

use std::cell::OnceCell;
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use aero2::jose::Algorithm;
use aero2::testing::TestIssuer;
use aero2::{Issuer, TokenOptions, VerifyOptions};

#[path = "support/allocations.rs"]
mod allocations;
#[path = "support/fixture.rs"]
mod fixture;
#[path = "support/harness.rs"]
mod harness;

use fixture::{AUDIENCE, Fixture};
use harness::{Contender, median, ratio, run};

type Part = (&'static str, fn());

const PARTS: [Part; 12] = [
    ("verify", verify),
    ("repeated", repeated),
    ("threads", threads),
    ("many-verify", || many("verify_token, RS256")),
    ("many-repeated", || many("verify_token, repeated")),
    ("many-token", || many("access_token, cached")),
    ("m2m", m2m),
    ("token-size", token_size),
    ("key-set", key_set),
    ("lists", lists),
    ("scope-sets", scope_sets),
    ("memory", memory),
];

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    for (name, part) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|w| w == name) {
            println!("\n## {name}\n");
            part();
        }
    }
}

fn verify() {
    println!("one `verify_token`, everything checked, keys cached, against one verification by ring alone\n");
    println!("| algorithm | token, bytes | ring, µs | verify_token, µs | ratio | allocations: ring, ours beyond |");
    println!("|---|---|---|---|---|---|");
    for algorithm in [Algorithm::Rs256, Algorithm::Ps256, Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa] {
        let f = Fixture::new(algorithm);
        let ours = || drop(black_box(f.rs.verify_token(black_box(&f.token)).unwrap()));
        let (base_allocations, allocations) = (allocations::per_call(|| f.raw.verify()), allocations::per_call(ours));
        let mut contenders = [Contender::new(|| f.raw.verify()), Contender::new(ours)];
        run(&mut contenders, 4000);
        let [raw, ours] = &contenders;
        println!(
            "| {algorithm:?} | {} | {:.1} | {:.1} | {:.3} | {base_allocations}, {} |",
            f.token.len(),
            raw.best() / 1e3,
            ours.best() / 1e3,
            ratio(ours, raw),
            allocations - base_allocations
        );
    }
}

fn repeated() {
    println!("a token seen before, with `verified_token_cache`, every other check run\n");
    println!(
        "| algorithm | entries | µs | faster than verify_token | allocations | bytes an entry |\n|---|---|---|---|---|---|"
    );
    for (algorithm, entries) in [(Algorithm::Rs256, 64), (Algorithm::Rs256, 10_000), (Algorithm::Es256, 64)] {
        let f = Fixture::new(algorithm);
        let caching = f.issuer.resource_server().audience(AUDIENCE).required_scopes(["orders:read"]);
        let caching = caching.verified_token_cache(entries).build().unwrap();
        // EdDSA and RSA with the same claims give the same token; the number makes each another.
        let make = |n: usize| fixture::access_token(&f.test).claim("n", i64::try_from(n).unwrap()).sign();
        let tokens: Vec<String> = (0..entries.min(2_000)).map(make).collect();
        let ((), bytes) =
            allocations::bytes_held(|| tokens.iter().for_each(|t| drop(caching.verify_token(t).unwrap())));
        let mut next = (0..tokens.len()).cycle();
        let mut hit = || drop(black_box(caching.verify_token(&tokens[next.next().unwrap()]).unwrap()));
        let count = allocations::per_call(&mut hit);
        let mut contenders =
            [Contender::new(|| drop(f.rs.verify_token(black_box(&f.token)).unwrap())), Contender::new(hit)];
        run(&mut contenders, 1000);
        let [full, hit] = &contenders;
        let faster = 1.0 / ratio(hit, full);
        let each = bytes / tokens.len();
        println!("| {algorithm:?} | {entries} | {:.2} | {faster:.0} × | {count} | {each} |", hit.best() / 1e3);
    }
}

fn threads() {
    println!(
        "calls a second with two threads by calls a second with one, the best of 40 turns each; 64 threads share the two cores\n"
    );
    println!("| | 1 thread, calls/s | 2 threads | 64 threads |\n|---|---|---|---|");
    each_shared(|name, call| {
        let turns: Vec<[f64; 3]> = (0..40).map(|_| [1, 2, 64].map(|n| Turn::of(n, call).calls_per_second())).collect();
        let [single, two, many] = [0, 1, 2].map(|n| turns.iter().map(|turn| turn[n]).fold(0.0, f64::max));
        println!("| {name} | {single:.0} | × {:.2} | × {:.2} |", two / single, many / single);
    });
}

/// One row of `threads` for two seconds, for `scripts/contention` to profile.
fn many(wanted: &str) {
    println!("| 64 threads | calls/s | waits for a lock, per million calls |\n|---|---|---|");
    each_shared(|name, call| {
        if name == wanted {
            let turns: Vec<Turn> = (0..50).map(|_| Turn::of(64, call)).collect();
            let calls = turns.iter().map(|turn| turn.calls).sum::<u64>();
            let speed = median(turns.iter().map(Turn::calls_per_second).collect());
            // Linux alone counts them.
            let waits = turns.iter().map(|turn| turn.waits).sum::<Option<u64>>();
            let waits = waits.map_or("-".to_owned(), |waits| format!("{:.1}", waits as f64 * 1e6 / calls as f64));
            println!("| {name} | {speed:.0} | {waits} |");
        }
    });
}

/// What threads share: ring alone for comparison, and one handle of each kind.
fn each_shared(mut measure: impl FnMut(&str, &(dyn Fn() + Sync))) {
    let f = Fixture::new(Algorithm::Rs256);
    let caching = f.issuer.resource_server().audience(AUDIENCE).verified_token_cache(1024).build().unwrap();
    // Each thread has a token of its own, as callers have.
    let tokens: Vec<String> = (0..64).map(|n| fixture::access_token(&f.test).claim("n", n).sign()).collect();
    let next = AtomicUsize::new(0);
    thread_local!(static OWN: OnceCell<usize> = const { OnceCell::new() });
    let own = || &tokens[OWN.with(|own| *own.get_or_init(|| next.fetch_add(1, Relaxed))) % tokens.len()];
    tokens.iter().for_each(|token| drop(caching.verify_token(token).unwrap()));
    let m2m = f.m2m();
    let rows: [(&str, &(dyn Fn() + Sync)); 4] = [
        ("ring alone, RS256", &|| f.raw.verify()),
        ("verify_token, RS256", &|| drop(f.rs.verify_token(&f.token).unwrap())),
        ("verify_token, repeated", &|| drop(caching.verify_token(own()).unwrap())),
        ("access_token, cached", &|| drop(m2m.access_token().unwrap())),
    ];
    rows.into_iter().for_each(|(name, call)| measure(name, call));
}

/// One window for all threads: a thread that had no turn in it adds nothing.
struct Turn {
    calls: u64,
    /// How often a thread slept: inside a call it has nothing else to wait for than a lock.
    waits: Option<u64>,
    window: Duration,
}

impl Turn {
    fn of(threads: usize, call: &(dyn Fn() + Sync)) -> Self {
        let (ready, stop) = (Barrier::new(threads + 1), AtomicBool::new(false));
        thread::scope(|scope| {
            let work = || {
                ready.wait();
                let (mut calls, before) = (0, sleeps());
                while !stop.load(Relaxed) {
                    (0..16).for_each(|_| call());
                    calls += 16;
                }
                (calls, sleeps().zip(before).map(|(after, before)| after - before))
            };
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let start = Instant::now();
            ready.wait();
            thread::sleep(Duration::from_millis(40));
            stop.store(true, Relaxed);
            let counted: Vec<(u64, Option<u64>)> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
            Self {
                calls: counted.iter().map(|(calls, _)| calls).sum(),
                waits: counted.iter().map(|(_, waits)| *waits).sum(),
                window: start.elapsed(),
            }
        })
    }

    fn calls_per_second(&self) -> f64 {
        self.calls as f64 / self.window.as_secs_f64()
    }
}

/// How often this thread gave the processor up to wait for something, as Linux counts it.
fn sleeps() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/thread-self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?.trim().parse().ok()
}

fn m2m() {
    let f = Fixture::new(Algorithm::Rs256);
    let m2m = f.m2m();
    let options = TokenOptions::new().scope("orders:read");
    let plain = || drop(black_box(m2m.access_token().unwrap()));
    let scoped = || drop(black_box(m2m.access_token_with(black_box(&options)).unwrap()));
    println!("| from the cache | ns | allocations |\n|---|---|---|");
    for (name, call) in [("access_token", &plain as &dyn Fn()), ("access_token_with(scope)", &scoped)] {
        let count = allocations::per_call(call);
        let mut contenders = [Contender::new(call)];
        run(&mut contenders, 1000);
        println!("| {name} | {:.0} | {count} |", contenders[0].best());
    }
}

/// Beyond ring: what grows is our part of it.
fn token_size() {
    println!("| token, bytes | ring, µs | verify_token, µs | ours beyond, µs | allocations |\n|---|---|---|---|---|");
    for bytes in [512, 1024, 2048, 4096, 8192, 16_384] {
        let f = Fixture::with_token_bytes(Algorithm::Es256, bytes);
        let ours = || drop(black_box(f.rs.verify_token(black_box(&f.token)).unwrap()));
        let count = allocations::per_call(ours);
        let mut contenders = [Contender::new(|| f.raw.verify()), Contender::new(ours)];
        run(&mut contenders, 500);
        let [raw, ours] = &contenders;
        let (raw, ours) = (raw.best() / 1e3, ours.best() / 1e3);
        println!("| {} | {raw:.1} | {ours:.1} | {:.2} | {count} |", f.token.len(), ours - raw);
    }
}

fn key_set() {
    println!("| keys | verify_token with the last one's token, µs |\n|---|---|");
    for keys in [1, 4, 16, 64] {
        let test = TestIssuer::builder().algorithm(Algorithm::EdDsa).build();
        // The first key stays the signing one; others of its kind stand before it.
        let set: serde_json::Value = serde_json::from_str(&test.key_set()).unwrap();
        for n in 1..keys {
            let mut other = set["keys"][0].clone();
            other["kid"] = format!("another-{n}").into();
            test.publish_jwk(other.to_string());
        }
        let issuer = test.issuer();
        let rs = issuer.resource_server().audience(AUDIENCE).build().unwrap();
        let token = fixture::access_token(&test).sign();
        println!("| {keys} | {:.1} |", best_micros(|| drop(black_box(rs.verify_token(&token).unwrap()))));
    }
}

fn lists() {
    println!(
        "| n | audiences in the token, µs | audiences accepted, µs | scopes in the token and required, µs |\n|---|---|---|---|"
    );
    let f = Fixture::new(Algorithm::EdDsa);
    let names = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}{i}")).collect::<Vec<_>>();
    let rs = f.issuer.resource_server().max_token_bytes(1 << 20).build().unwrap();
    for n in [1, 10, 100, 1000] {
        let audiences = [names("aud:", n), vec![AUDIENCE.to_owned()]].concat();
        let scopes = names("scope:", n);
        let token = f.test.token().audience(AUDIENCE).scope("scope:0");
        let many_audiences = f.test.token().audiences(&audiences).sign();
        let many_scopes = token.clone().scope(scopes.join(" ")).sign();
        let one = token.sign();
        let for_one = VerifyOptions::new().audience(AUDIENCE);
        let for_many = VerifyOptions::new().audiences(audiences.clone());
        let all_scopes = VerifyOptions::new().required_scopes(scopes.clone());
        let time = |token: &str, options: &VerifyOptions| {
            best_micros(|| drop(black_box(rs.verify_token_with(token, options).unwrap())))
        };
        let (in_token, accepted) = (time(&many_audiences, &for_one), time(&one, &for_many));
        println!("| {n} | {in_token:.1} | {accepted:.1} | {:.1} |", time(&many_scopes, &all_scopes));
    }
}

fn scope_sets() {
    println!("| cached scope sets | access_token_with the oldest, ns |\n|---|---|");
    let test = TestIssuer::new();
    let scopes: Vec<String> = (0..64).map(|n| format!("scope:{n}")).collect();
    test.register_client("svc", "secret", &scopes);
    let issuer = test.issuer();
    let m2m = issuer.m2m_client("svc", "secret").build().unwrap();
    for sets in [1, 4, 16, 64] {
        let options: Vec<TokenOptions> = scopes[..sets].iter().map(|s| TokenOptions::new().scope(s.as_str())).collect();
        options.iter().for_each(|o| drop(m2m.access_token_with(o).unwrap()));
        let mut contenders = [Contender::new(|| drop(black_box(m2m.access_token_with(&options[0]).unwrap())))];
        run(&mut contenders, 100);
        println!("| {sets} | {:.0} |", contenders[0].best());
    }
}

fn memory() {
    println!("| bytes each, of | 1 | 100 | 10,000 |\n|---|---|---|---|");
    let test = TestIssuer::new();
    let idle = |n: usize| {
        let (kept, bytes) = allocations::bytes_held(|| (0..n).map(|_| idle_issuer(&test)).collect::<Vec<_>>());
        drop(kept);
        bytes / n
    };
    println!("| idle Issuer | {} | {} | {} |", idle(1), idle(100), idle(10_000));
    let issuer = idle_issuer(&test);
    let servers = |n: usize| {
        let build = || issuer.resource_server().audience(AUDIENCE).build().unwrap();
        let (kept, bytes) = allocations::bytes_held(|| (0..n).map(|_| build()).collect::<Vec<_>>());
        drop(kept);
        bytes / n
    };
    println!("| ResourceServer | {} | {} | {} |", servers(1), servers(100), servers(10_000));
    let warm = |n: usize| {
        let make = || {
            let issuer = idle_issuer(&test);
            issuer.preload().unwrap();
            issuer
        };
        let (kept, bytes) = allocations::bytes_held(|| (0..n).map(|_| make()).collect::<Vec<_>>());
        drop(kept);
        bytes / n
    };
    println!("| Issuer with discovery document and keys | {} | {} | {} |", warm(1), warm(100), warm(10_000));
}

fn idle_issuer(test: &TestIssuer) -> Issuer {
    Issuer::builder(test.url()).transport(test.transport()).build().unwrap()
}

fn best_micros(call: impl Fn()) -> f64 {
    let mut contenders = [Contender::new(call)];
    run(&mut contenders, 200);
    contenders[0].best() / 1e3
}
