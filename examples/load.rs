//! Sixteen threads verify tokens for a while, and the issuer on loopback rotates its keys every second. Then once more, and every
//! second the issuer is killed (its connections break, its port refuses) and restarted on that port half a second later. What does a
//! caller notice?
//!
//! `cargo run --release --example load --features testing,ureq -- 30` runs 30 seconds of each, and fails unless every token of a known
//! key was accepted.
//!
//! The keys are kept for a second only, so that some caller is always about to fetch them, over a dead connection too. The token of a
//! brand-new key is first presented by one caller until it is accepted. That it is refused meanwhile (the budget for unknown keys, the
//! back-off after a failed fetch) does not count as a failed verification; the line `new keys` shows how often it happened, and why.

#[macro_use]
mod support;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aero2::testing::{Endpoint, TestIssuer, TestServer};
use aero2::{Error, Issuer, ResourceServer};

const THREADS: usize = 16;
const HALF_A_SECOND: Duration = Duration::from_millis(500);
/// Tokens of the latest keys are in use.
const TOKENS: usize = 8;
type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    support::help("load --release --features testing,ureq [-- SECONDS]", include_str!("load.rs"));
    let seconds = std::env::args().nth(1).map_or(Ok(30), |text| text.parse());
    let Ok(seconds) = seconds.map(Duration::from_secs) else {
        eprintln!("usage: load [SECONDS]");
        return ExitCode::FAILURE;
    };
    let outcome = run("keys rotate every second", seconds, false)
        .and_then(|calm| Ok(calm & run("and the issuer is killed and restarted every second", seconds, true)?));
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

/// One story of `length`; whether no verification failed.
fn run(title: &str, length: Duration, outages: bool) -> Result<bool, Failure> {
    let test = TestIssuer::new();
    let server = test.serve()?;
    let issuer = Issuer::builder(server.url()).key_ttl(Duration::from_secs(1)).build()?;
    let rs = issuer.resource_server().audience("orders").build()?;
    let first = token(&server);
    rs.verify_token(&first)?;
    let tokens = RwLock::new(vec![first]);
    let over = AtomicBool::new(false);
    let start = Instant::now();
    let (told, new_keys) = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| hammer(&rs, &tokens, &over))).collect();
        let new_keys = rotate(&test, server, &rs, &tokens, start + length, outages);
        over.store(true, Ordering::SeqCst);
        (threads.into_iter().map(thread::ScopedJoinHandle::join).collect::<Result<Vec<_>, _>>(), new_keys)
    });
    let told = told.map_err(|_| "a thread panicked")?;
    Ok(report(title, start.elapsed(), told, &new_keys?, &issuer, &test))
}

fn token(server: &TestServer) -> String {
    server.token().audience("orders").sign()
}

/// What one thread, or all of them, saw.
#[derive(Default)]
struct Seen {
    latencies: Vec<Duration>,
    errors: BTreeMap<String, u64>,
}

impl Seen {
    fn note(&mut self, error: &Error) {
        *self.errors.entry(error.to_string()).or_default() += 1;
    }
}

fn hammer(rs: &ResourceServer, tokens: &RwLock<Vec<String>>, over: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    while !over.load(Ordering::SeqCst) {
        let Ok(round) = tokens.read().map(|tokens| tokens.clone()) else { return seen };
        for token in &round {
            let start = Instant::now();
            let outcome = rs.verify_token(token);
            seen.latencies.push(start.elapsed());
            if let Err(error) = outcome {
                seen.note(&error);
            }
        }
    }
    seen
}

/// Rotates each second, and kills and restarts the server if there are to be outages; how the tokens of new keys fared.
fn rotate(
    test: &TestIssuer,
    server: TestServer,
    rs: &ResourceServer,
    tokens: &RwLock<Vec<String>>,
    end: Instant,
    outages: bool,
) -> Result<Seen, Failure> {
    let (mut seen, port) = (Seen::default(), server.port());
    let mut server = Some(server);
    while Instant::now() < end {
        if outages {
            drop(server.take());
        }
        test.rotate_keys();
        thread::sleep(HALF_A_SECOND);
        let up = match server.take() {
            Some(up) => up,
            None => test.serve_on(port)?,
        };
        let (new, until) = (token(&up), Instant::now() + HALF_A_SECOND);
        let accepted = introduce(rs, &new, until, &mut seen);
        if let (true, Ok(mut tokens)) = (accepted, tokens.write()) {
            tokens.push(new);
            let surplus = tokens.len().saturating_sub(TOKENS);
            tokens.drain(..surplus);
        }
        thread::sleep(until.saturating_duration_since(Instant::now()));
        server = Some(up);
    }
    Ok(seen)
}

/// Presents the token of a new key until it is accepted or time is up.
fn introduce(rs: &ResourceServer, new: &str, until: Instant, seen: &mut Seen) -> bool {
    let start = Instant::now();
    while Instant::now() < until {
        match rs.verify_token(new) {
            Ok(_) => {
                seen.latencies.push(start.elapsed());
                return true;
            }
            Err(error) => seen.note(&error),
        }
        thread::sleep(Duration::from_millis(20));
    }
    false
}

fn report(title: &str, took: Duration, told: Vec<Seen>, new: &Seen, issuer: &Issuer, test: &TestIssuer) -> bool {
    let mut all = Seen::default();
    for seen in told {
        all.latencies.extend(seen.latencies);
        for (error, times) in seen.errors {
            *all.errors.entry(error).or_default() += times;
        }
    }
    all.latencies.sort_unstable();
    let (count, failed) = (all.latencies.len(), all.errors.values().sum::<u64>());
    let per_second = u128::try_from(count).unwrap_or_default() * 1000 / took.as_millis().max(1);
    let at = |permille: usize| all.latencies.get(count * permille / 1000).copied().unwrap_or_default();
    let max = all.latencies.last().copied().unwrap_or_default();
    let stats = issuer.stats();
    println!("{title}: {THREADS} threads, {:.1} s", took.as_secs_f64());
    println!("  verifications     {count:>9}, {per_second} a second");
    println!("  latency           p50 {:.1?}, p99 {:.1?}, max {max:.1?}", at(500), at(990));
    println!("  errors            {failed:>9} ({})", listed(&all.errors));
    println!("  new keys          {:>9} accepted; before that, refused: {}", new.latencies.len(), listed(&new.errors));
    println!(
        "  requests          {:>9} for keys, {} of them failed; {} arrived at the issuer; {} verifications with keys beyond their time to live\n",
        stats.key_fetches(),
        stats.key_fetch_failures(),
        test.requests(Endpoint::Keys),
        stats.stale_keys_served(),
    );
    failed == 0 && count > 0
}

fn listed(errors: &BTreeMap<String, u64>) -> String {
    if errors.is_empty() {
        return String::from("none");
    }
    errors.iter().map(|(error, times)| format!("{times} × {error}")).collect::<Vec<_>>().join(", ")
}
