//! The network between program and issuer: it lets virtual time pass, keeps to the time-outs, and notes all that goes over it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use aero2::{NetworkErrorKind, Request, Response, Transport, TransportError};
use parking_lot::Mutex;

use crate::clock::{BASE, MINUTE, SECOND, Stamp, VirtualClock};
use crate::plan::Endpoint;
use crate::site::{Answer, Entry, Meaning, Set, Site, form_value};

/// A rule that did not hold.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) rule: &'static str,
    pub(crate) t: u64,
    pub(crate) text: String,
}

/// What a run has shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) days: u64,
    pub(crate) tokens: u64,
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    pub(crate) unavailable: u64,
    pub(crate) mints: u64,
    pub(crate) introspections: u64,
    pub(crate) requests: u64,
}

impl Figures {
    pub(crate) fn add(&mut self, other: &Self) {
        self.days += other.days;
        self.tokens += other.tokens;
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.unavailable += other.unavailable;
        self.mints += other.mints;
        self.introspections += other.introspections;
        self.requests += other.requests;
    }
}

/// The keys that the program has.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) set: Set,
    pub(crate) ttl: u64,
    /// When they were asked for and when they came; for a snapshot, when it was taken up.
    pub(crate) asked: Stamp,
    pub(crate) got: Stamp,
    /// How old they were when they came, and what they may have been older than that: a snapshot counts whole seconds, and its file is
    /// not written for each refresh.
    pub(crate) age: u64,
    pub(crate) slack: u64,
    /// They may have been dropped: a clock has once said that they were too old.
    pub(crate) doubtful: bool,
}

impl Held {
    pub(crate) fn youngest(&self, now: Stamp) -> u64 {
        now.elapsed(self.got) + self.age
    }

    pub(crate) fn oldest(&self, now: Stamp) -> u64 {
        now.elapsed(self.asked) + self.age + self.slack
    }

    pub(crate) fn has(&self, entry: Entry) -> bool {
        self.set.contains(&entry)
    }
}

/// What a snapshot holds.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) set: Set,
    pub(crate) ttl: u64,
    /// By the wall clock.
    pub(crate) fetched: u64,
    pub(crate) document: Stamp,
    pub(crate) slack: u64,
}

/// A token as the client has it.
#[derive(Clone, Debug)]
pub(crate) struct HeldToken {
    pub(crate) text: String,
    pub(crate) lifetime: u64,
    pub(crate) asked: Stamp,
    /// It was to be replaced, by force or because it was rejected.
    pub(crate) spent: bool,
}

impl HeldToken {
    pub(crate) fn left(&self, now: Stamp) -> u64 {
        self.lifetime.saturating_sub(now.elapsed(self.asked))
    }
}

/// What one process of the program knows, as far as the oracle can tell from what went over the network.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) held: Option<Held>,
    pub(crate) snapshot: Option<Snapshot>,
    /// The wall clock is not set as long as it is behind this.
    pub(crate) floor: u64,
    /// When the document was asked for that the program has.
    pub(crate) document: Option<Stamp>,
    /// The first request to a URL that is no longer right.
    pub(crate) outdated: BTreeMap<Endpoint, u64>,
    /// The last one.
    pub(crate) last_outdated: BTreeMap<Endpoint, u64>,
    /// By URL: until when no request may be made.
    pub(crate) waits: HashMap<String, (Stamp, u64)>,
    /// The same by endpoint in true time.
    pub(crate) quiet_until: BTreeMap<Endpoint, u64>,
    /// Requests of the last minute, by URL: those that were due, and those that were not.
    pub(crate) due: HashMap<String, VecDeque<u64>>,
    pub(crate) undue: HashMap<String, VecDeque<u64>>,
    pub(crate) tokens: BTreeMap<usize, HeldToken>,
    pub(crate) token_requests: BTreeMap<usize, VecDeque<u64>>,
    /// The last answer about each token that was not from a cache.
    pub(crate) introspected: HashMap<String, (bool, Stamp, Stamp)>,
    /// Calls that took some time: waits that began in one end later.
    pub(crate) spans: VecDeque<(u64, u64)>,
    /// Nothing is expected by time before this: the clocks contradicted each other.
    pub(crate) disturbed: u64,
    pub(crate) stepped_back: Option<u64>,
}

/// One call into the crate.
#[derive(Default)]
pub(crate) struct Call {
    pub(crate) start: Stamp,
    pub(crate) sent: Vec<Sent>,
    pub(crate) refresh_began: Option<u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) endpoint: Endpoint,
    pub(crate) good: bool,
    pub(crate) current: bool,
}

pub(crate) struct Sim {
    pub(crate) site: Site,
    pub(crate) model: Model,
    pub(crate) call: Call,
    /// What the next process starts from.
    pub(crate) saved: Option<Snapshot>,
    pub(crate) failures: Vec<Failure>,
    pub(crate) figures: Figures,
    pub(crate) trace: bool,
}

impl Sim {
    pub(crate) fn new(site: Site) -> Self {
        let (model, call) = (Model::default(), Call::default());
        let trace = std::env::var_os("AERO2_WORLDS_TRACE").is_some();
        Self { site, model, call, saved: None, failures: Vec::new(), figures: Figures::default(), trace }
    }

    pub(crate) fn fail(&mut self, rule: &'static str, t: u64, text: String) {
        if self.failures.len() < 10_000 {
            self.failures.push(Failure { rule, t, text });
        }
    }

    pub(crate) fn expect(&mut self, holds: bool, rule: &'static str, t: u64, text: impl FnOnce() -> String) {
        if !holds {
            self.fail(rule, t, text());
        }
    }

    /// What is left for a request that may take `timeout`, given what the call has taken in virtual time: the crate counts its
    /// deadlines on the machine's own clock, which stands still here.
    fn granted(&mut self, timeout: u64, now: Stamp) -> u64 {
        let (whole, refresh) = (self.site.config.timeout, self.site.config.refresh_timeout);
        let began = if timeout <= refresh { *self.call.refresh_began.get_or_insert(now.t) } else { self.call.start.t };
        let left = (self.call.start.t + whole).saturating_sub(now.t);
        timeout.saturating_sub(now.t - began).min(left)
    }

    /// The rules for requests.
    fn check_request(&mut self, endpoint: Endpoint, url: &str, timeout: u64, now: Stamp) {
        let limit = self.site.config.timeout;
        self.expect(timeout <= limit, "a request within the budget", now.t, || format!("{timeout} ms for {url}"));
        if let Some((since, wait)) = self.model.waits.get(url).copied() {
            let waited = now.elapsed(since);
            self.expect(waited + 1 >= wait, "no request before Retry-After", now.t, || {
                format!("{url}: {waited} ms of {wait} ms")
            });
        }
        let due = match endpoint {
            Endpoint::Keys => {
                self.model.held.as_ref().is_none_or(|held| 5 * held.oldest(now) + 5 * SECOND >= 4 * held.ttl)
            }
            Endpoint::Discovery => self.model.document.is_none_or(|at| now.elapsed(at) >= 19 * 60 * MINUTE),
            Endpoint::Token | Endpoint::Introspection => return,
        };
        let (window, most) = match (due, endpoint) {
            // Where the issuer says itself when to come back, that counts instead of our back-off: once a second at most.
            (true, _) => (&mut self.model.due, if self.model.waits.contains_key(url) { 61 } else { 9 }),
            (false, Endpoint::Keys) => (&mut self.model.undue, 5),
            (false, _) => (&mut self.model.undue, 2),
        };
        let window = window.entry(url.to_owned()).or_default();
        window.push_back(now.t);
        while window.front().is_some_and(|at| at + MINUTE <= now.t) {
            window.pop_front();
        }
        let n = window.len();
        self.expect(n <= most, "requests in a minute", now.t, || format!("{n} for {url}, due: {due}"));
    }

    /// New keys have come: what the program keeps of them for the next process, if it keeps a file.
    fn keep_snapshot(&mut self, now: Stamp) {
        self.model.snapshot = None;
        if now.error() <= MINUTE {
            self.model.floor = 0;
        }
        let Some(held) = &self.model.held else { return };
        if self.site.config.snapshot_file && now.is_set() && now.wall >= self.model.floor {
            let document = self.model.document.unwrap_or(now);
            let (set, ttl) = (held.set.clone(), held.ttl);
            self.saved = Some(Snapshot { set, ttl, fetched: now.wall, document, slack: ttl / 5 + 2 * SECOND });
        }
    }

    fn note_answer(&mut self, url: &str, endpoint: Endpoint, body: &str, meaning: Meaning, asked: Stamp, now: Stamp) {
        match meaning {
            Meaning::Nothing => {}
            Meaning::Document => self.model.document = Some(asked),
            Meaning::Keys { set, ttl } => {
                // The age may count from the beginning of the attempt, which may have read the document first.
                let asked = self.call.start;
                self.model.held = Some(Held { set, ttl, asked, got: now, age: 0, slack: 0, doubtful: false });
                self.keep_snapshot(now);
            }
            Meaning::Token { text, lifetime } => {
                let client = form_value(body, "client_id").strip_prefix('c').and_then(|n| n.parse().ok()).unwrap_or(0);
                self.model.tokens.insert(client, HeldToken { text, lifetime, asked, spent: false });
            }
            Meaning::Introspection { active } => {
                let token = form_value(body, "token").to_owned();
                self.model.introspected.insert(token, (active, asked, now));
            }
        }
        let current = endpoint == Endpoint::Discovery || url == self.site.url(endpoint);
        if current {
            self.model.outdated.remove(&endpoint);
        } else {
            self.model.last_outdated.insert(endpoint, now.t);
        }
        if !current && !self.site.moved.get(&endpoint).is_some_and(|(_, frozen)| *frozen) {
            self.model.outdated.entry(endpoint).or_insert(now.t);
        }
    }
}

/// The way to the virtual issuer.
pub(crate) struct Net {
    pub(crate) clock: Arc<VirtualClock>,
    pub(crate) sim: Arc<Mutex<Sim>>,
}

impl Transport for Net {
    fn send(&self, request: &Request<'_>) -> Result<Response, TransportError> {
        let mut sim = self.sim.lock();
        let asked = self.clock.now();
        let url = request.url();
        let Some(endpoint) = Site::endpoint(url) else {
            // Revocation, and the discovery URL of RFC 8414, which is not there.
            return Ok(revoke_or_not_found(&mut sim, request));
        };
        // Whole seconds, since a little real time has passed.
        let timeout = u64::try_from(request.timeout().as_millis()).unwrap().next_multiple_of(SECOND);
        sim.site.advance_to(asked.t);
        sim.check_request(endpoint, url, timeout, asked);
        let granted = sim.granted(timeout, asked);
        let body = String::from_utf8_lossy(request.body().unwrap_or_default()).into_owned();
        let Answer { latency, result, meaning } = sim.site.answer(endpoint, url, &body, asked.t);
        sim.figures.requests += 1;
        let in_time = latency < granted;
        self.clock.advance(latency.min(granted));
        let now = self.clock.now();
        let good = in_time && !matches!(meaning, Meaning::Nothing);
        let current = endpoint == Endpoint::Discovery || url == sim.site.url(endpoint);
        sim.call.sent.push(Sent { endpoint, good, current });
        if sim.trace {
            eprintln!("{:>10} {url} {timeout} {granted} in time: {in_time} {result:?}", asked.t);
        }
        sim.note_answer(url, endpoint, &body, if good { meaning } else { Meaning::Nothing }, asked, now);
        if !in_time {
            return Err(TransportError::new(NetworkErrorKind::Timeout));
        }
        let (status, mut headers, body) = result.map_err(TransportError::new)?;
        let retry_after =
            headers.iter().find(|(name, _)| name == "retry-after").and_then(|(_, value)| value.parse().ok());
        if let Some(seconds) = retry_after.filter(|_: &u64| status != 200) {
            let wait = seconds.clamp(1, 300) * SECOND;
            sim.model.waits.insert(url.to_owned(), (now, wait));
            sim.model.quiet_until.insert(endpoint, now.t + wait);
        }
        headers.push((String::from("date"), http_date(now.t)));
        Ok(Response::new(status, headers, body.into_bytes()))
    }
}

fn revoke_or_not_found(sim: &mut Sim, request: &Request<'_>) -> Response {
    let body = String::from_utf8_lossy(request.body().unwrap_or_default()).into_owned();
    let revoked = request.url().ends_with("/revoke");
    if let Some(minted) = sim.site.minted.get_mut(form_value(&body, "token")) {
        minted.revoked = revoked;
    }
    Response::new(if revoked { 200 } else { 404 }, [], Vec::new())
}

/// RFC 9110 §5.6.7, for 2027 and after.
fn http_date(t: u64) -> String {
    let seconds = (BASE + t) / SECOND;
    let since = Duration::from_secs(seconds);
    debug_assert!(UNIX_EPOCH.checked_add(since).is_some());
    let days = seconds / 86_400;
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][usize::try_from(days % 7).unwrap()];
    // Days since 2024-03-01, so that the leap day is the last of its four years.
    let mut left = days - 19_783;
    let (mut year, mut month) = (2024 + 4 * (left / 1_461), 2);
    left %= 1_461;
    let in_year = (left / 365).min(3);
    (year, left) = (year + in_year, left - in_year * 365);
    for length in [31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 31, 29] {
        if left < length {
            break;
        }
        (left, month) = (left - length, month + 1);
    }
    let year = year + u64::from(month > 11);
    let names = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{weekday}, {:02} {} {year} {hour:02}:{minute:02}:{second:02} GMT", left + 1, names[month % 12])
}

#[test]
fn a_date_is_written_as_http_wants_it() {
    for (t, date) in [(0, "Fri, 15 Jan 2027 08:00:00 GMT"), (35_481_599, "Tue, 29 Feb 2028 23:59:59 GMT")] {
        assert_eq!(http_date(t * SECOND), date);
    }
}
