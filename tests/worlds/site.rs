//! The virtual issuer: what it has published, at which edges and URLs, and what it answers.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use aero2::NetworkErrorKind;

use crate::clock::{BASE, SECOND};
use crate::keys::{Algorithm, HONEST, ISSUER, Shape, Token, jwk};
use crate::plan::{Change, Config, Endpoint, Fault, OldUrl, Rotation};
use crate::rng::Rng;

/// A key under its kid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) kid: Option<u32>,
    pub(crate) key: usize,
}

pub(crate) type Set = Arc<Vec<Entry>>;

/// An opaque token of a client.
#[derive(Clone, Debug)]
pub(crate) struct Minted {
    pub(crate) expires: u64,
    pub(crate) revoked: bool,
}

/// Which endpoints an answer depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    Verify,
    Token,
    Introspection,
}

impl Path {
    pub(crate) const ALL: [Self; 3] = [Self::Verify, Self::Token, Self::Introspection];

    pub(crate) fn endpoint(self) -> Endpoint {
        match self {
            Self::Verify => Endpoint::Keys,
            Self::Token => Endpoint::Token,
            Self::Introspection => Endpoint::Introspection,
        }
    }
}

/// What a good answer says.
#[derive(Clone, Debug)]
pub(crate) enum Meaning {
    Nothing,
    Document,
    Keys { set: Set, ttl: u64 },
    Token { text: String, lifetime: u64 },
    Introspection { active: bool },
}

/// Status, headers and body.
type Reply = (u16, Vec<(String, String)>, String);

pub(crate) struct Answer {
    /// `u64::MAX`: never.
    pub(crate) latency: u64,
    pub(crate) result: Result<Reply, NetworkErrorKind>,
    pub(crate) meaning: Meaning,
}

enum Step {
    Change(Change),
    Publish(Entry),
    Sign(Entry),
    Thaw(usize, u64),
    FaultEnds(Endpoint, u64),
    SlowEnds(Endpoint, u64),
}

pub(crate) struct Site {
    pub(crate) config: Config,
    rng: Rng,
    queue: VecDeque<(u64, Step)>,
    pub(crate) published: Set,
    pub(crate) signing: Entry,
    next_key: usize,
    pub(crate) next_kid: u32,
    edges: [Option<(Set, u64)>; 3],
    /// Since when each key has been served at every edge.
    pub(crate) everywhere: BTreeMap<Entry, u64>,
    faults: BTreeMap<Endpoint, (Fault, u64)>,
    slow: BTreeMap<Endpoint, (u64, u64)>,
    cache: (Option<u64>, Option<u64>),
    shape: Shape,
    versions: BTreeMap<Endpoint, u32>,
    old: BTreeMap<Endpoint, (OldUrl, Set)>,
    /// When each endpoint moved last, and whether something that looks well answers at its old URL.
    pub(crate) moved: BTreeMap<Endpoint, (u64, bool)>,
    well: [Option<u64>; 3],
    pub(crate) tokens: Vec<Token>,
    pub(crate) minted: HashMap<String, Minted>,
    ids: u64,
}

impl Site {
    pub(crate) fn new(config: Config, seed: u64, changes: impl Iterator<Item = (u64, Change)>) -> Self {
        let signing = Entry { kid: config.kids.then_some(0), key: 0 };
        let mut site = Self {
            config,
            rng: Rng::new(seed ^ 0x5175),
            queue: changes.map(|(at, change)| (at, Step::Change(change))).collect(),
            published: Arc::new(vec![signing]),
            signing,
            next_key: 1,
            next_kid: 1,
            edges: [const { None }; 3],
            everywhere: BTreeMap::new(),
            faults: BTreeMap::new(),
            slow: BTreeMap::new(),
            cache: (None, None),
            shape: Shape::default(),
            versions: BTreeMap::new(),
            old: BTreeMap::new(),
            moved: BTreeMap::new(),
            well: [Some(0); 3],
            tokens: Vec::new(),
            minted: HashMap::new(),
            ids: 0,
        };
        site.note(0);
        site
    }

    /// Lets everything happen that is due by then.
    pub(crate) fn advance_to(&mut self, t: u64) {
        while self.queue.front().is_some_and(|(at, _)| *at <= t) {
            if let Some((at, step)) = self.queue.pop_front() {
                self.step(at, step);
                self.note(at);
            }
        }
    }

    /// Since when everything on that path has answered well at its present URLs.
    pub(crate) fn well_since(&self, path: Path) -> Option<u64> {
        Path::ALL.into_iter().zip(self.well).find(|(other, _)| *other == path).and_then(|(_, since)| since)
    }

    fn later(&mut self, at: u64, step: Step) {
        let position = self.queue.partition_point(|(other, _)| *other <= at);
        self.queue.insert(position, (at, step));
    }

    fn id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    fn step(&mut self, t: u64, step: Step) {
        match step {
            Step::Change(change) => self.change(t, &change),
            Step::Publish(entry) => self.publish(entry),
            Step::Sign(entry) => self.signing = entry,
            Step::Thaw(edge, id) => {
                self.edges[edge].take_if(|(_, own)| *own == id);
            }
            Step::FaultEnds(endpoint, id) => {
                self.faults.retain(|other, (_, own)| (*other, *own) != (endpoint, id));
            }
            Step::SlowEnds(endpoint, id) => {
                self.slow.retain(|other, (_, own)| (*other, *own) != (endpoint, id));
            }
        }
    }

    fn change(&mut self, t: u64, change: &Change) {
        match *change {
            Change::Rotate(rotation) => self.rotate(t, rotation),
            Change::Withdraw => self.published = Arc::new(vec![self.signing]),
            Change::EdgeBehind { edge, lasts } => {
                let id = self.id();
                self.edges[edge] = Some((self.published.clone(), id));
                self.later(t + lasts, Step::Thaw(edge, id));
            }
            Change::Fault { endpoint, fault, lasts } => {
                let id = self.id();
                self.faults.insert(endpoint, (fault, id));
                self.later(t + lasts, Step::FaultEnds(endpoint, id));
            }
            Change::Slow { endpoint, latency, lasts } => {
                let id = self.id();
                self.slow.insert(endpoint, (latency, id));
                self.later(t + lasts, Step::SlowEnds(endpoint, id));
            }
            Change::Cache { max_age, age } => self.cache = (max_age, age),
            Change::Shape(shape) => self.shape = shape,
            Change::Move { endpoint, old } => {
                *self.versions.entry(endpoint).or_default() += 1;
                self.old.insert(endpoint, (old, self.published.clone()));
                let frozen = endpoint == Endpoint::Keys && old == OldUrl::Frozen;
                self.moved.insert(endpoint, (t, frozen));
            }
        }
    }

    fn rotate(&mut self, t: u64, rotation: Rotation) {
        let key = self.next_key % HONEST;
        self.next_key += 1;
        let same_kid = matches!(rotation, Rotation::SameKid { .. });
        let kid = if same_kid { self.signing.kid } else { self.config.kids.then_some(self.next_kid) };
        self.next_kid += u32::from(!same_kid);
        let entry = Entry { kid, key };
        match rotation {
            Rotation::Early(delay) if self.config.kids => {
                self.publish(entry);
                self.later(t + delay, Step::Sign(entry));
                return;
            }
            Rotation::Late(delay) => self.later(t + delay, Step::Publish(entry)),
            Rotation::Dropped => self.published = Arc::new(vec![entry]),
            Rotation::SameKid { beside: false } => {
                let others = self.published.iter().filter(|other| other.kid != kid);
                self.published = Arc::new([entry].iter().chain(others).copied().collect());
            }
            _ => self.publish(entry),
        }
        self.signing = entry;
    }

    /// Without kids there is one key.
    fn publish(&mut self, entry: Entry) {
        let kept = if self.config.kids { 4 } else { 0 };
        let others = self.published.iter().filter(|other| **other != entry).take(kept);
        self.published = Arc::new([entry].iter().chain(others).copied().collect());
    }

    fn note(&mut self, t: u64) {
        let before = std::mem::take(&mut self.everywhere);
        for entry in self.published.iter() {
            if self.edges.iter().flatten().all(|(set, _)| set.contains(entry)) {
                self.everywhere.insert(*entry, before.get(entry).copied().unwrap_or(t));
            }
        }
        for (at, path) in Path::ALL.into_iter().enumerate() {
            let is_well = self.is_well(path);
            self.well[at] = if is_well { self.well[at].or(Some(t)) } else { None };
        }
    }

    fn is_well(&self, path: Path) -> bool {
        let both = [Endpoint::Discovery, path.endpoint()];
        let latency: u64 = both.iter().map(|endpoint| self.latency(*endpoint)).sum();
        // An attempt may need both of them twice, where an endpoint has moved.
        both.iter().all(|endpoint| !self.faults.contains_key(endpoint)) && 2 * latency + 500 < self.config.timeout
    }

    fn latency(&self, endpoint: Endpoint) -> u64 {
        self.slow.get(&endpoint).map_or(LATENCY, |(latency, _)| *latency)
    }

    /// The URL of an endpoint in its present version.
    pub(crate) fn url(&self, endpoint: Endpoint) -> String {
        let path = PATHS.iter().find(|(other, _)| *other == endpoint).map_or("", |(_, path)| path);
        match self.versions.get(&endpoint) {
            None => format!("{ISSUER}{path}"),
            Some(version) => format!("https://v{version}.w.example{path}"),
        }
    }

    /// The endpoint that a URL means.
    pub(crate) fn endpoint(url: &str) -> Option<Endpoint> {
        PATHS.iter().find(|(_, path)| url.ends_with(path)).map(|(endpoint, _)| *endpoint)
    }

    pub(crate) fn answer(&mut self, endpoint: Endpoint, url: &str, body: &str, t: u64) -> Answer {
        self.advance_to(t);
        let latency = self.latency(endpoint);
        let is_old = endpoint != Endpoint::Discovery && url != self.url(endpoint);
        if let Some((old, set)) = self.old.get(&endpoint).filter(|_| is_old) {
            return match old {
                OldUrl::Status(status) => answer(latency, *status, Vec::new(), "moved"),
                OldUrl::NoHost => Answer { latency, result: Err(NetworkErrorKind::Dns), meaning: Meaning::Nothing },
                OldUrl::Frozen if endpoint == Endpoint::Keys => self.key_set(latency, set.clone()),
                OldUrl::Frozen => answer(latency, 404, Vec::new(), "moved"),
            };
        }
        if let Some((fault, _)) = self.faults.get(&endpoint) {
            return faulty(*fault, latency, endpoint);
        }
        match endpoint {
            Endpoint::Discovery => self.document(latency),
            Endpoint::Keys => {
                let edge = usize::try_from(self.rng.below(3)).unwrap();
                let set = self.edges[edge].as_ref().map_or_else(|| self.published.clone(), |(set, _)| set.clone());
                self.key_set(latency, set)
            }
            Endpoint::Token => self.token(latency, t),
            Endpoint::Introspection => self.introspection(latency, body, t),
        }
    }

    fn document(&self, latency: u64) -> Answer {
        let mut text = format!("{{\"issuer\":\"{ISSUER}\"");
        let names = [
            (Endpoint::Keys, "jwks_uri"),
            (Endpoint::Token, "token_endpoint"),
            (Endpoint::Introspection, "introspection_endpoint"),
        ];
        for (endpoint, name) in names {
            if !self.shape.silent || self.versions.contains_key(&endpoint) {
                text += &format!(",\"{name}\":\"{}\"", self.url(endpoint));
            }
        }
        if self.shape.nulls {
            text += ",\"revocation_endpoint\":null,\"token_endpoint_auth_methods_supported\":null,\"op_tos_uri\":null";
        } else {
            text += ",\"token_endpoint_auth_methods_supported\":[\"client_secret_post\"]";
        }
        text += if self.shape.junk { ",\n\t\"x\":[[{}],1e5,{\"y\":null}] }\n" } else { "}" };
        Answer { meaning: Meaning::Document, ..answer(latency, 200, Vec::new(), &text) }
    }

    fn key_set(&self, latency: u64, set: Set) -> Answer {
        let mut keys: Vec<String> =
            set.iter().map(|entry| jwk(self.config.algorithm, entry.key, entry.kid, self.shape)).collect();
        if self.shape.junk {
            keys.insert(0, String::from("{\"kty\":\"oct\",\"k\":\"c2VjcmV0\",\"kid\":\"k0\"}"));
            keys.push(String::from("{\"kty\":\"XYZ\",\"kid\":null}"));
            keys.push(String::from("{\"kty\":\"RSA\",\"n\":\"AQ\",\"e\":\"AQAB\",\"use\":\"enc\"}"));
        }
        let (max_age, age) = self.cache;
        let mut headers = Vec::new();
        if let Some(max_age) = max_age {
            headers.push((String::from("cache-control"), format!("public, max-age={max_age}, must-revalidate")));
        }
        if let Some(age) = age {
            headers.push((String::from("age"), age.to_string()));
        }
        let left = max_age.map(|max_age| max_age.saturating_sub(age.unwrap_or(0)).clamp(60, 86_400) * SECOND);
        let meaning = Meaning::Keys { set, ttl: left.unwrap_or(self.config.key_ttl) };
        Answer { meaning, ..answer(latency, 200, headers, &format!("{{\"keys\":[{}]}}", keys.join(", "))) }
    }

    fn token(&mut self, latency: u64, t: u64) -> Answer {
        let lifetime = self.config.m2m_lifetime;
        let text = format!("at-{}", self.id());
        self.minted.insert(text.clone(), Minted { expires: t + lifetime, revoked: false });
        let scope = if self.shape.nulls { "null" } else { "\"api\"" };
        let body = format!(
            "{{\"access_token\":\"{text}\",\"token_type\":\"Bearer\",\"expires_in\":{},\"scope\":{scope}}}",
            lifetime / SECOND
        );
        Answer { meaning: Meaning::Token { text, lifetime }, ..answer(latency, 200, Vec::new(), &body) }
    }

    fn introspection(&self, latency: u64, body: &str, t: u64) -> Answer {
        let text = form_value(body, "token");
        let minted = self.minted.get(text).filter(|minted| !minted.revoked && t < minted.expires);
        let body = match minted {
            None => String::from("{\"active\":false}"),
            Some(minted) => {
                let odd = if self.shape.nulls {
                    ",\"aud\":null,\"nbf\":null,\"username\":null"
                } else if self.shape.junk {
                    ",\"aud\":[]"
                } else {
                    ""
                };
                let exp = (BASE + minted.expires) / SECOND;
                format!("{{\"active\":true,\"iss\":\"{ISSUER}\",\"exp\":{exp}{odd}}}")
            }
        };
        let meaning = Meaning::Introspection { active: minted.is_some() };
        Answer { meaning, ..answer(latency, 200, Vec::new(), &body) }
    }

    /// A token that the issuer signs now.
    pub(crate) fn fresh_token(&mut self, t: u64) -> Token {
        let newest = self.tokens.last().filter(|token| {
            (token.kid, token.key) == (self.signing.kid, self.signing.key) && token.issued + 30 * SECOND > BASE + t
        });
        if let Some(token) = newest {
            return token.clone();
        }
        let lifetime = self.rng.pick(&[300, 900, 3_600, 3_600, 3_600]) * SECOND;
        let Entry { kid, key } = self.signing;
        let token = Token::sign(self.config.algorithm, key, kid, t, lifetime, "user");
        self.tokens.push(token.clone());
        if self.tokens.len() > 24 {
            self.tokens.remove(0);
        }
        token
    }

    /// One of those that it signed before.
    pub(crate) fn earlier_token(&mut self, t: u64) -> Token {
        if self.tokens.is_empty() {
            return self.fresh_token(t);
        }
        self.rng.pick(&self.tokens)
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        self.config.algorithm
    }
}

fn answer(latency: u64, status: u16, headers: Vec<(String, String)>, body: &str) -> Answer {
    Answer { latency, result: Ok((status, headers, body.to_owned())), meaning: Meaning::Nothing }
}

fn faulty(fault: Fault, latency: u64, endpoint: Endpoint) -> Answer {
    let error = |latency, kind| Answer { latency, result: Err(kind), meaning: Meaning::Nothing };
    match fault {
        Fault::Connect => error(latency, NetworkErrorKind::Connect),
        Fault::Dns => error(latency, NetworkErrorKind::Dns),
        Fault::Hang => error(u64::MAX, NetworkErrorKind::Timeout),
        Fault::Status(status, retry_after) => {
            let header = retry_after.map(|seconds| (String::from("retry-after"), seconds.to_string()));
            answer(latency, status, header.into_iter().collect(), "out of order")
        }
        Fault::Empty if endpoint == Endpoint::Keys => answer(latency, 200, Vec::new(), "{\"keys\":[]}"),
        Fault::Empty | Fault::Garbage => answer(latency, 200, Vec::new(), "<html>Please log in</html>"),
    }
}

pub(crate) fn form_value<'a>(body: &'a str, name: &str) -> &'a str {
    body.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
}

const LATENCY: u64 = 20;

const PATHS: [(Endpoint, &str); 4] = [
    (Endpoint::Discovery, "/.well-known/openid-configuration"),
    (Endpoint::Keys, "/oauth2/jwks.json"),
    (Endpoint::Token, "/oauth2/token"),
    (Endpoint::Introspection, "/oauth2/introspect"),
];
