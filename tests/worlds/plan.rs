//! What happens in a world and when: drawn from the seed before anything runs, so that a failing world can be shortened.

use crate::clock::{DAY, HOUR, MINUTE, SECOND};
use crate::keys::{Algorithm, Shape};
use crate::rng::Rng;

#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) config: Config,
    pub(crate) days: u64,
    pub(crate) events: Vec<Event>,
}

/// The program's settings, in milliseconds.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) algorithm: Algorithm,
    /// Keys and tokens have a `kid`.
    pub(crate) kids: bool,
    pub(crate) timeout: u64,
    pub(crate) refresh_timeout: u64,
    pub(crate) key_ttl: u64,
    pub(crate) max_stale: u64,
    pub(crate) verified_cache: bool,
    pub(crate) introspection_ttl: u64,
    pub m2m_lifetime: u64,
    /// The snapshot is a file that the crate itself keeps; else the program takes one before it ends.
    pub(crate) snapshot_file: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) at: u64,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Issuer(Change),
    Machine(Machine),
    Traffic(Traffic),
}

/// What the issuer does.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Rotate(Rotation),
    /// Every key but the one that signs leaves the set.
    Withdraw,
    /// A CDN edge keeps what it has.
    EdgeBehind {
        edge: usize,
        lasts: u64,
    },
    Fault {
        endpoint: Endpoint,
        fault: Fault,
        lasts: u64,
    },
    Slow {
        endpoint: Endpoint,
        latency: u64,
        lasts: u64,
    },
    /// How long the key set may be cached, and the `Age` that it comes with, in seconds.
    Cache {
        max_age: Option<u64>,
        age: Option<u64>,
    },
    Shape(Shape),
    /// The document names another URL from now on.
    Move {
        endpoint: Endpoint,
        old: OldUrl,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rotation {
    /// The old keys stay.
    Kept,
    Dropped,
    /// The new key is published that long before it signs.
    Early(u64),
    /// It signs that long before it is published.
    Late(u64),
    /// Another key under the same kid, in place of the old one or beside it.
    SameKid {
        beside: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Endpoint {
    Discovery,
    Keys,
    Token,
    Introspection,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Connect,
    Dns,
    Hang,
    /// With a `Retry-After` in seconds, perhaps.
    Status(u16, Option<u64>),
    /// A page of a captive portal or a proxy.
    Garbage,
    /// A key set without a key; elsewhere as `Garbage`.
    Empty,
}

/// What answers at a URL that the document names no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OldUrl {
    Status(u16),
    NoHost,
    /// What was there then, for ever.
    Frozen,
}

/// What happens to the program and its machine.
#[derive(Clone, Debug)]
pub(crate) enum Machine {
    Step(i64),
    SetRight,
    Suspend(u64),
    /// The program ends and starts again, after that long.
    Restart {
        off: u64,
        snapshot: bool,
        keeps_time: bool,
    },
}

#[derive(Clone, Debug)]
pub(crate) enum Traffic {
    /// Tokens of the issuer; `fresh` ones were signed just now.
    Verify {
        n: u64,
        gap: u64,
        fresh: bool,
    },
    Forge {
        kid: ForgedKid,
        n: u64,
        gap: u64,
    },
    Mint {
        client: usize,
        n: u64,
        gap: u64,
    },
    ForceRefresh {
        client: usize,
    },
    Reject {
        client: usize,
    },
    NewClient {
        client: usize,
    },
    Introspect {
        n: u64,
        gap: u64,
    },
    Revoke,
    /// The program's own timer.
    RefreshIfDue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ForgedKid {
    Known,
    Unknown,
    /// The kid that the next rotation will have.
    Coming,
    /// An expired token with an unknown kid.
    Expired,
}

pub(crate) const CLIENTS: usize = 4;

impl World {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let config = Config::draw(&mut rng);
        let days = rng.pick(&[1, 1, 2, 3]);
        let mut events = Vec::new();
        for day in 0..days {
            draw_day(&mut rng, day * DAY, &config, &mut events);
        }
        let without = std::env::var("AERO2_WORLDS_WITHOUT").unwrap_or_else(|_| String::from(NOT_YET));
        events.retain(|event| event.at < days * DAY && !without.split(',').any(|kind| kind == event.kind()));
        // Stable, so that what was drawn for one moment keeps its order.
        events.sort_by_key(|event| event.at);
        Self { seed, config, days, events }
    }
}

/// Kinds of events that the crate does not stand yet.
const NOT_YET: &str = "step";

impl Config {
    fn draw(rng: &mut Rng) -> Self {
        let (timeout, refresh_timeout) = rng.pick(&[(10, 3), (10, 3), (10, 3), (5, 1)]);
        Self {
            algorithm: rng.pick(&[Algorithm::EdDsa, Algorithm::EdDsa, Algorithm::Es256]),
            kids: !rng.one_in(8),
            timeout: timeout * SECOND,
            refresh_timeout: refresh_timeout * SECOND,
            key_ttl: rng.pick(&[60, 600, 600, 3_600, 7_200]) * SECOND,
            max_stale: rng.pick(&[60, 600, 3_600, 3_600, 86_400]) * SECOND,
            verified_cache: !rng.one_in(4),
            introspection_ttl: rng.pick(&[10, 60, 300]) * SECOND,
            m2m_lifetime: rng.pick(&[15, 60, 300, 3_600, 3_600, 43_200]) * SECOND,
            snapshot_file: cfg!(feature = "file-cache") && rng.one_in(6),
        }
    }
}

fn draw_day(rng: &mut Rng, start: u64, config: &Config, events: &mut Vec<Event>) {
    let mut add = |at: u64, what: What| events.push(Event { at, what });
    // A quiet service that is used all the time.
    let mut t = start + rng.below(MINUTE);
    while t < start + DAY {
        let traffic = match rng.below(16) {
            0 => Traffic::Forge { kid: rng.pick(&FORGED), n: 1, gap: SECOND },
            1..=3 => Traffic::Mint { client: client(rng), n: 1, gap: SECOND },
            4 | 5 => Traffic::Introspect { n: 2, gap: rng.pick(&[SECOND, 20 * SECOND]) },
            6 => Traffic::RefreshIfDue,
            _ => Traffic::Verify { n: 1, gap: SECOND, fresh: rng.one_in(2) },
        };
        add(t, What::Traffic(traffic));
        t += rng.between(20 * SECOND, 8 * MINUTE);
    }
    for _ in 0..rng.between(8, 24) {
        let at = start + rng.below(DAY);
        let (what, lasts) = draw_event(rng, config);
        let set_right = match &what {
            What::Machine(Machine::Restart { keeps_time: false, .. }) => Some(lasts + rng.below(10 * MINUTE)),
            What::Machine(Machine::Step(_)) if !rng.one_in(4) => Some(rng.between(30 * SECOND, 4 * HOUR)),
            _ => None,
        };
        add(at, what);
        if let Some(after) = set_right {
            add(at + after, What::Machine(Machine::SetRight));
            add(at + after, What::Traffic(Traffic::Verify { n: 5, gap: SECOND, fresh: true }));
        }
        // Where something happens, it is looked at closely: right then, when it ends, and an hour later.
        for around in [at, at + lasts] {
            if rng.one_in(4) {
                let kid = rng.pick(&FORGED);
                let before = around.saturating_sub(rng.below(40 * SECOND));
                let (n, gap) = rng.pick(&[(4, 500), (8, 10), (40, SECOND), (40, 3 * SECOND)]);
                add(before, What::Traffic(Traffic::Forge { kid, n, gap }));
            }
            let (n, gap) = rng.pick(&[(40, 3 * SECOND), (24, 5 * SECOND), (50, 2 * SECOND), (12, 10 * SECOND)]);
            add(around.saturating_sub(rng.below(20 * SECOND)), What::Traffic(Traffic::Verify { n, gap, fresh: true }));
            if rng.one_in(2) {
                let (n, gap) = rng.pick(&[(25, 3 * SECOND), (12, 10 * SECOND), (40, SECOND)]);
                add(around, What::Traffic(Traffic::Mint { client: client(rng), n, gap }));
            }
            if rng.one_in(3) {
                let (n, gap) = rng.pick(&[(20, 3 * SECOND), (20, 7 * SECOND)]);
                add(around, What::Traffic(Traffic::Introspect { n, gap }));
            }
        }
        let later = at + lasts + rng.between(2 * MINUTE, 2 * HOUR);
        add(later, What::Traffic(Traffic::Verify { n: 3, gap: 3 * SECOND, fresh: rng.one_in(2) }));
    }
    for _ in 0..rng.between(2, 6) {
        let traffic = match rng.below(4) {
            0 => Traffic::NewClient { client: client(rng) },
            1 => Traffic::ForceRefresh { client: client(rng) },
            2 => Traffic::Reject { client: client(rng) },
            _ => Traffic::Revoke,
        };
        let at = start + rng.below(DAY);
        add(at, What::Traffic(traffic));
        add(at + SECOND, What::Traffic(Traffic::Introspect { n: 20, gap: 11 * SECOND }));
        add(at + SECOND, What::Traffic(Traffic::Mint { client: client(rng), n: 5, gap: 4 * SECOND }));
    }
}

/// Something, and how long until it is over.
fn draw_event(rng: &mut Rng, config: &Config) -> (What, u64) {
    match rng.below(24) {
        0..=6 => {
            let (rotation, lasts) = draw_rotation(rng);
            (What::Issuer(Change::Rotate(rotation)), lasts)
        }
        7 => (What::Issuer(Change::Withdraw), 0),
        8 | 9 => {
            let lasts = rng.between(5, 1_200) * SECOND;
            (What::Issuer(Change::EdgeBehind { edge: usize::try_from(rng.below(3)).unwrap(), lasts }), lasts)
        }
        10..=13 => {
            let lasts = rng.pick(&[5, 30, 120, 900, 3_600, 5_000, 14_400]) * SECOND;
            (What::Issuer(Change::Fault { endpoint: endpoint(rng), fault: draw_fault(rng), lasts }), lasts)
        }
        14 | 15 => {
            let latency = rng.pick(&[300, 1_000, 2_200, 3_500, 4_300, 8_000, 15_000]);
            let lasts = rng.pick(&[60, 600, 5_000, 10_000]) * SECOND;
            (What::Issuer(Change::Slow { endpoint: endpoint(rng), latency, lasts }), lasts)
        }
        16 => {
            let max_age = rng.pick(&[None, Some(10), Some(60), Some(300), Some(600), Some(3_600), Some(86_400)]);
            let age = max_age.filter(|_| rng.one_in(2)).map(|max_age| rng.below(max_age + 60));
            (What::Issuer(Change::Cache { max_age, age }), 0)
        }
        17 => {
            let mut flag = || rng.one_in(2);
            let (nulls, padded, leading_zeros, junk, silent) = (flag(), flag(), flag(), flag(), flag());
            (What::Issuer(Change::Shape(Shape { nulls, padded, leading_zeros, junk, silent })), 0)
        }
        18 => {
            let old = rng.pick(&[
                OldUrl::Status(404),
                OldUrl::Status(403),
                OldUrl::Status(410),
                OldUrl::Status(301),
                OldUrl::Status(500),
                OldUrl::NoHost,
                OldUrl::Frozen,
            ]);
            let endpoint = rng.pick(&[Endpoint::Keys, Endpoint::Keys, Endpoint::Token, Endpoint::Introspection]);
            (What::Issuer(Change::Move { endpoint, old }), 0)
        }
        19 => {
            let by =
                rng.pick(&[-2 * 3_600_000, -90_000, -20_000, -500, 500, 15_000, 90_000, 2 * 3_600_000, 50 * 3_600_000]);
            (What::Machine(Machine::Step(by)), rng.below(MINUTE))
        }
        20 => (What::Machine(Machine::SetRight), 0),
        21 => {
            let lasts = rng.pick(&[30, 600, 3_600, 8 * 3_600]) * SECOND;
            (What::Machine(Machine::Suspend(lasts)), lasts)
        }
        _ => {
            let off = rng.pick(&[2, 60, 1_800, 7_200]) * SECOND;
            let snapshot = config.snapshot_file || rng.one_in(2);
            (What::Machine(Machine::Restart { off, snapshot, keeps_time: !rng.one_in(4) }), off)
        }
    }
}

fn draw_rotation(rng: &mut Rng) -> (Rotation, u64) {
    let delay = rng.pick(&[3, 20, 50, 300, 3_600]) * SECOND;
    match rng.below(7) {
        0 | 1 => (Rotation::Kept, 0),
        2 => (Rotation::Dropped, 0),
        3 => (Rotation::Early(delay), delay),
        4 => (Rotation::Late(delay.min(300 * SECOND)), delay.min(300 * SECOND)),
        _ => (Rotation::SameKid { beside: rng.one_in(3) }, 0),
    }
}

fn draw_fault(rng: &mut Rng) -> Fault {
    let retry_after = rng.pick(&[None, None, Some(0), Some(7), Some(60), Some(299), Some(4_000)]);
    match rng.below(8) {
        0 => Fault::Connect,
        1 => Fault::Dns,
        2 => Fault::Hang,
        3 | 4 => Fault::Status(rng.pick(&[500, 502, 503]), retry_after),
        5 => Fault::Status(429, retry_after),
        6 => Fault::Empty,
        _ => Fault::Garbage,
    }
}

fn endpoint(rng: &mut Rng) -> Endpoint {
    rng.pick(&[
        Endpoint::Discovery,
        Endpoint::Keys,
        Endpoint::Keys,
        Endpoint::Keys,
        Endpoint::Token,
        Endpoint::Introspection,
    ])
}

fn client(rng: &mut Rng) -> usize {
    usize::try_from(rng.below(4)).unwrap()
}

const FORGED: [ForgedKid; 4] = [ForgedKid::Known, ForgedKid::Unknown, ForgedKid::Coming, ForgedKid::Expired];

impl Event {
    /// The name of its kind, by which `AERO2_WORLDS_WITHOUT` leaves events out.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.what {
            What::Issuer(change) => match change {
                Change::Rotate(Rotation::SameKid { .. }) => "same_kid",
                Change::Rotate(Rotation::Late(_)) => "late",
                Change::Rotate(_) => "rotate",
                Change::Withdraw => "withdraw",
                Change::EdgeBehind { .. } => "edge",
                Change::Fault { fault: Fault::Empty, .. } => "empty",
                Change::Fault { .. } => "fault",
                Change::Slow { .. } => "slow",
                Change::Cache { age: Some(_), .. } => "age",
                Change::Cache { .. } => "cache",
                Change::Shape(_) => "shape",
                Change::Move { .. } => "move",
            },
            What::Machine(machine) => match machine {
                Machine::Step(_) => "step",
                Machine::SetRight => "set_right",
                Machine::Suspend(_) => "suspend",
                Machine::Restart { keeps_time: false, .. } => "unset",
                Machine::Restart { .. } => "restart",
            },
            What::Traffic(traffic) => match traffic {
                Traffic::Forge { .. } => "forge",
                Traffic::Introspect { .. } => "introspect",
                Traffic::Verify { .. } => "verify",
                _ => "m2m",
            },
        }
    }
}
