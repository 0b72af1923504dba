//! A fleet of 100,000 clients of one issuer over a virtual day, on the library's own planning code: how far do their token requests
//! spread after a restart of all at once, and after an outage of ten minutes?
//!
//! `cargo run --release --example fleet` prints the figures and draws the curves; with a file name as argument they are also written
//! there as SVG.

#[macro_use]
mod support;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Write as _;
use std::time::Duration;

#[path = "../src/cache/backoff.rs"]
#[expect(dead_code, reason = "a fleet knows plain failures only")]
mod backoff;
#[path = "../src/m2m/schedule.rs"]
#[expect(dead_code, reason = "no two callers of one client look at once")]
mod schedule;
#[path = "../src/time.rs"]
#[expect(dead_code, unreachable_pub, reason = "the clock of a fleet is a number")]
mod time;

use backoff::Backoff;
use schedule::{Jitter, Plan, Schedule};
use time::Now;

const CLIENTS: u32 = 100_000;
const DAY: u32 = 86_400;
const LIFETIME: u32 = 3_600;
/// Each client wants a token this often, so that is how soon it sees that one is due.
const CALL_PERIOD_MS: u64 = 5_000;
/// For comparison: gateways that report every five minutes.
const REPORT_PERIOD_MS: u64 = 300_000;
/// Looks at a token that are no further apart than this are steady use to the library: a tenth of the life.
const STEADY_MS: u64 = 360_000;
/// From one request of a settled client to its next: the life less a minute and half of 5 %.
const MEAN_PERIOD_MS: u64 = 3_450_000;
const OUTAGE: std::ops::Range<u32> = 21_600..22_200;

/// How the clients of a fleet spread their refreshes.
#[derive(Clone, Copy)]
enum Policy {
    NoJitter,
    /// Every token is due up to 5 % of its life earlier, by a draw of its own.
    FivePercent,
    /// What the library does: besides, in a client in steady use the second token is drawn over nearly its whole life, and so is the
    /// first after a failure.
    Library,
    /// For comparison: already the first token is.
    FirstTokenToo,
}

const POLICIES: [(Policy, &str); 4] = [
    (Policy::NoJitter, "no jitter"),
    (Policy::FivePercent, "5 % jitter alone"),
    (Policy::Library, "the library's"),
    (Policy::FirstTokenToo, "first token too"),
];

/// What happens to the fleet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Story {
    /// All start in the same five seconds.
    Restart,
    /// The phases differ, and at six o'clock the issuer is gone for ten minutes.
    Outage,
}

struct Client {
    schedule: Option<Schedule>,
    jitter: Jitter,
    backoff: Backoff,
    /// When in each period it calls.
    offset: u64,
    /// Between two calls, in milliseconds.
    period: u64,
}

struct Fleet {
    clients: Vec<Client>,
    /// The calls that will do more than to be served, earliest first: when, in milliseconds, and by whom.
    calls: BinaryHeap<Reverse<(u64, u32)>>,
    policy: Policy,
    story: Story,
    random: Random,
    /// Token requests in each second.
    requests: Vec<u32>,
}

impl Fleet {
    fn new(policy: Policy, story: Story, period: u64) -> Self {
        let mut random = Random(42);
        let (mut clients, mut calls) = (Vec::new(), BinaryHeap::new());
        for number in 0..CLIENTS {
            let offset = random.below(period);
            let jitter = if story == Story::Restart { Jitter::First } else { Jitter::Narrow };
            clients.push(Client { schedule: None, jitter, backoff: Backoff::default(), offset, period });
            let start = if story == Story::Restart { 0 } else { random.below(MEAN_PERIOD_MS) };
            calls.push(Reverse((next_call(start, offset, period), number)));
        }
        Self { clients, calls, policy, story, random, requests: vec![0; usize::try_from(DAY).unwrap_or(0)] }
    }

    /// The requests in each second of the day.
    fn run(mut self) -> Vec<u32> {
        while let Some(Reverse((now, number))) = self.calls.pop() {
            let second = now / 1_000;
            let Some(count) = usize::try_from(second).ok().and_then(|second| self.requests.get_mut(second)) else {
                break;
            };
            *count += 1;
            let down =
                self.story == Story::Outage && u32::try_from(second).is_ok_and(|second| OUTAGE.contains(&second));
            let draw = if matches!(self.policy, Policy::NoJitter) { 0.0 } else { self.random.draw() };
            let Some(client) = usize::try_from(number).ok().and_then(|number| self.clients.get_mut(number)) else {
                break;
            };
            if down {
                // The back-off has its jitter in any case.
                client.backoff.failed(at(now), None, self.random.draw());
                client.jitter = client.jitter.after_failure();
            } else {
                client.mint(now, self.policy, draw);
            }
            self.calls.push(Reverse((client.next_request(now), number)));
        }
        self.requests
    }
}

impl Client {
    fn mint(&mut self, now: u64, policy: Policy, draw: f64) {
        let jitter = match policy {
            Policy::NoJitter | Policy::FivePercent => Jitter::Narrow,
            Policy::FirstTokenToo if self.jitter == Jitter::First => Jitter::Wide,
            Policy::Library | Policy::FirstTokenToo => self.jitter,
        };
        self.jitter = jitter.after_token();
        self.backoff.succeeded();
        self.schedule = Some(Schedule::new(Duration::from_secs(u64::from(LIFETIME)), at(now), jitter, draw));
    }

    /// The next call that finds more to do than to take the token: it is due, and no back-off forbids to ask.
    fn next_request(&mut self, now: u64) -> u64 {
        let waited = self.backoff.wait(at(now)).and_then(|wait| u64::try_from(wait.as_millis()).ok());
        let mut call = next_call(now + waited.unwrap_or(0).max(1), self.offset, self.period);
        let Some(schedule) = &mut self.schedule else { return call };
        // All calls look at the token, and to the plan those within a stride are as good as one.
        let stride = (STEADY_MS / self.period).max(1) * self.period;
        let mut earliest = call;
        let mut seen = *schedule;
        while seen.plan(at(call)) == Plan::Serve {
            *schedule = seen;
            earliest = call + self.period;
            call += stride;
        }
        let due = |call: &u64| { *schedule }.plan(at(*call)) != Plan::Serve;
        let steps = (call - earliest) / self.period;
        (0..steps).map(|step| earliest + step * self.period).find(due).unwrap_or(call)
    }
}

fn next_call(earliest: u64, offset: u64, period: u64) -> u64 {
    earliest.saturating_sub(offset).div_ceil(period) * period + offset
}

fn at(millis: u64) -> Now {
    Now { monotonic: Duration::from_millis(millis), wall: None }
}

/// SplitMix64: the same day on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn draw(&mut self) -> f64 {
        let bits = u32::try_from(self.next() >> 32).unwrap_or(0);
        f64::from(bits) / (f64::from(u32::MAX) + 1.0)
    }
}

/// Requests per second, minute by minute.
fn per_minute(requests: &[u32]) -> Vec<f64> {
    requests.chunks(60).map(|minute| f64::from(minute.iter().sum::<u32>()) / 60.0).collect()
}

fn peak(minutes: &[f64], from: u32, to: u32) -> f64 {
    slice(minutes, from, to).iter().fold(0.0, |peak, rate| rate.max(peak))
}

fn mean(minutes: &[f64], from: u32, to: u32) -> f64 {
    let minutes = slice(minutes, from, to);
    minutes.iter().sum::<f64>() / f64::from(u32::try_from(minutes.len()).unwrap_or(u32::MAX))
}

/// The minutes between two seconds of the day.
fn slice(minutes: &[f64], from: u32, to: u32) -> &[f64] {
    let index = |second: u32| usize::try_from(second / 60).unwrap_or(usize::MAX);
    minutes.get(index(from)..index(to)).unwrap_or_default()
}

/// A line of blocks, a block per quarter of an hour: its peak minute on a logarithmic scale, an eighth for each factor of two.
fn curve(minutes: &[f64]) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let block = |quarter: &[f64]| {
        let peak = quarter.iter().fold(0.0_f64, |peak, rate| rate.max(peak));
        let mut level = BLOCKS.iter().zip(0..).take_while(|(_, n)| peak >= f64::from(8 << n));
        level.by_ref().last().map_or(' ', |(block, _)| *block)
    };
    minutes.chunks(15).map(block).collect()
}

fn main() -> std::io::Result<()> {
    support::help("fleet --release [-- FILE.svg]", include_str!("fleet.rs"));
    if cfg!(debug_assertions) {
        eprintln!("A debug build needs minutes for this: cargo run --release --example fleet");
    }
    println!("{CLIENTS} clients of one issuer, tokens of {LIFETIME} s, a call every 5 s each, over a virtual day.");
    println!(
        "Token requests per second. A column of a curve is a quarter of an hour's peak minute: ▁ 8 … █ 1024 and more.\n"
    );
    println!(
        "After a restart of all at once: the restart's own minute, the rest of the first lifetime, and from the second on"
    );
    println!("{:18}{:>10}{:>10}{:>10}{:>10}{:>12}", "", "1st minute", "1st life", "peak", "mean", "peak / mean");
    let mut curves = Vec::new();
    for (policy, name) in POLICIES {
        curves.push((format!("restart, {name}"), restart(name, policy, CALL_PERIOD_MS)));
    }
    println!("and of clients that call every five minutes");
    for (policy, name) in [POLICIES[1], POLICIES[2]] {
        restart(name, policy, REPORT_PERIOD_MS);
    }
    println!("\nAfter an outage of ten minutes: while it lasts, the first two minutes after it, and from then on");
    println!("{:18}{:>10}{:>10}{:>10}{:>10}{:>12}", "", "outage", "catch-up", "peak", "mean", "peak / mean");
    // The first token's spread has no part in this.
    for (policy, name) in POLICIES.into_iter().take(3) {
        let minutes = per_minute(&Fleet::new(policy, Story::Outage, CALL_PERIOD_MS).run());
        let after = OUTAGE.end + 120;
        let (later, average) = (peak(&minutes, after, DAY), mean(&minutes, after, DAY));
        let (down, catch_up) = (peak(&minutes, OUTAGE.start, OUTAGE.end), peak(&minutes, OUTAGE.end, after));
        println!("{name:18}{down:10.1}{catch_up:10.1}{later:10.1}{average:10.1}{:12.2}", later / average);
        curves.push((format!("outage, {name}"), minutes));
    }
    println!();
    for (name, minutes) in &curves {
        println!("{name:26}|{}|", curve(minutes));
    }
    if let Some(path) = std::env::args().nth(1) {
        std::fs::write(&path, svg(&curves))?;
        println!("\nThe curves by the minute are in {path}");
    }
    Ok(())
}

/// Runs a day that begins with a restart, prints its figures and gives its minutes.
fn restart(name: &str, policy: Policy, period: u64) -> Vec<f64> {
    let minutes = per_minute(&Fleet::new(policy, Story::Restart, period).run());
    // Whoever calls seldom sees that the first token is due as much later.
    let second = LIFETIME + u32::try_from(period / 1_000).unwrap_or(0);
    let (later, average) = (peak(&minutes, second, DAY), mean(&minutes, second, DAY));
    let (first, life) = (peak(&minutes, 0, 60), peak(&minutes, 60, second));
    println!("{name:18}{first:10.1}{life:10.1}{later:10.1}{average:10.1}{:12.2}", later / average);
    minutes
}

/// One chart above the other, requests per second on a logarithmic scale from 1 to 2048.
fn svg(curves: &[(String, Vec<f64>)]) -> String {
    let mut out = String::new();
    let height = 140 * curves.len();
    let _ = writeln!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="1000" height="{height}" font-family="sans-serif" font-size="12">"#
    );
    let _ = writeln!(out, r#"<rect width="100%" height="100%" fill="white"/>"#);
    for ((name, minutes), top) in curves.iter().zip((0_u32..).step_by(140)) {
        let _ = writeln!(out, r#"<text x="40" y="{}">{name}</text>"#, top + 14);
        for exponent in [0_u32, 5, 10] {
            let y = f64::from(top) + 130.0 - f64::from(exponent) * 10.0;
            let _ = writeln!(
                out,
                r##"<path d="M40 {y}H980" stroke="#ddd"/><text x="4" y="{}">{}</text>"##,
                y + 4.0,
                1 << exponent
            );
        }
        let points: Vec<String> = (0_u32..)
            .zip(minutes)
            .map(|(minute, rate)| {
                let (x, y) =
                    (40.0 + f64::from(minute) * 940.0 / 1440.0, f64::from(top) + 130.0 - rate.max(1.0).log2() * 10.0);
                format!("{x:.1},{y:.1}")
            })
            .collect();
        let _ = writeln!(out, r##"<polyline fill="none" stroke="#06c" points="{}"/>"##, points.join(" "));
    }
    out.push_str("</svg>\n");
    out
}
