//! The program under test in its world: the real crate on the virtual clock and the virtual network.

use std::path::PathBuf;
use std::sync::Arc;

use aero2::{AccessToken, Introspector, Issuer, M2mClient, ResourceServer, TokenOptions};
use parking_lot::Mutex;
use std::time::Duration;

use crate::clock::{BASE, HOUR, MINUTE, SECOND, VirtualClock};
use crate::keys::{AUDIENCE, HONEST, ISSUER, Token};
use crate::plan::{CLIENTS, ForgedKid, Machine, Traffic, What, World};
use crate::rng::Rng;
use crate::sim::{Failure, Figures, Model, Net, Sim, Snapshot};
use crate::site::Site;

struct Process {
    issuer: Issuer,
    rs: ResourceServer,
    introspector: Introspector,
    m2m: Vec<M2mClient>,
    last: Vec<Option<AccessToken>>,
}

struct Run {
    clock: Arc<VirtualClock>,
    sim: Arc<Mutex<Sim>>,
    world: World,
    process: Process,
    rng: Rng,
    forged: u64,
    file: Option<PathBuf>,
}

/// One single thing that is done.
enum Operation {
    Machine(Machine),
    Traffic(Traffic),
}

/// Runs a world, and says what has been violated.
pub(crate) fn run(world: &World) -> (Figures, Vec<Failure>) {
    let changes = world.events.iter().filter_map(|event| match &event.what {
        What::Issuer(change) => Some((event.at, change.clone())),
        _ => None,
    });
    let (clock, site) = (Arc::new(VirtualClock::new()), Site::new(world.config.clone(), world.seed, changes));
    let sim = Arc::new(Mutex::new(Sim::new(site)));
    let file = world.config.snapshot_file.then(|| snapshot_path(world.seed));
    let process = start(world, &clock, &sim, None, file.as_ref());
    let rng = Rng::new(world.seed ^ 0x0009_e7a7_0000);
    let mut run = Run { clock, sim, world: world.clone(), process, rng, forged: 0, file };
    for (at, operation) in operations(world) {
        run.clock.advance_to(at);
        run.operate(operation);
    }
    if let Some(directory) = run.file.as_ref().and_then(|file| file.parent()) {
        std::fs::remove_dir_all(directory).unwrap();
    }
    drop(run.process);
    let mut sim = run.sim.lock();
    sim.figures.days = world.days;
    (sim.figures.clone(), std::mem::take(&mut sim.failures))
}

fn snapshot_path(seed: u64) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("aero2-worlds-{}-{seed}", std::process::id()));
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o700)).unwrap();
    }
    directory.join("snapshot.json")
}

/// Every single call and event of the machine, in order of time.
fn operations(world: &World) -> Vec<(u64, Operation)> {
    let mut all = Vec::new();
    for event in &world.events {
        match &event.what {
            What::Issuer(_) => {}
            What::Machine(machine) => all.push((event.at, Operation::Machine(machine.clone()))),
            What::Traffic(traffic) => {
                let (n, gap) = repetitions(traffic);
                all.extend((0..n).map(|i| (event.at + i * gap, Operation::Traffic(traffic.clone()))));
            }
        }
    }
    all.sort_by_key(|(at, _)| *at);
    all
}

fn repetitions(traffic: &Traffic) -> (u64, u64) {
    match traffic {
        Traffic::Verify { n, gap, .. }
        | Traffic::Forge { n, gap, .. }
        | Traffic::Mint { n, gap, .. }
        | Traffic::Introspect { n, gap } => (*n, *gap),
        _ => (1, 0),
    }
}

fn start(
    world: &World,
    clock: &Arc<VirtualClock>,
    sim: &Arc<Mutex<Sim>>,
    snapshot: Option<&str>,
    file: Option<&PathBuf>,
) -> Process {
    let config = &world.config;
    let mut builder = Issuer::builder(ISSUER)
        .transport(Net { clock: clock.clone(), sim: sim.clone() })
        .clock(clock.clone())
        .timeout(Duration::from_millis(config.timeout))
        .refresh_timeout(Duration::from_millis(config.refresh_timeout))
        .key_ttl(Duration::from_millis(config.key_ttl))
        .max_stale(Duration::from_millis(config.max_stale));
    if let Some(snapshot) = snapshot {
        builder = builder.snapshot(snapshot);
    }
    #[cfg(feature = "file-cache")]
    if let Some(file) = file {
        builder = builder.snapshot_file(file);
    }
    #[cfg(not(feature = "file-cache"))]
    let _ = file;
    let issuer = builder.build().unwrap();
    let mut rs = issuer.resource_server().audience(AUDIENCE);
    if config.verified_cache {
        rs = rs.verified_token_cache(64);
    }
    let ttl = Duration::from_millis(config.introspection_ttl);
    let introspector = issuer.introspector(AUDIENCE, "secret").cache(64, ttl).build().unwrap();
    let m2m = (0..CLIENTS).map(|client| client_of(&issuer, client)).collect();
    let last = (0..CLIENTS).map(|_| None).collect();
    Process { rs: rs.build().unwrap(), introspector, m2m, last, issuer }
}

fn client_of(issuer: &Issuer, client: usize) -> M2mClient {
    issuer.m2m_client(format!("c{client}"), "secret").client_auth(aero2::ClientAuth::SecretPost).build().unwrap()
}

impl Run {
    fn operate(&mut self, operation: Operation) {
        match operation {
            Operation::Machine(machine) => self.machine(&machine),
            Operation::Traffic(traffic) => self.traffic(&traffic),
        }
    }

    fn machine(&mut self, machine: &Machine) {
        let before = self.clock.now();
        match *machine {
            Machine::Step(ms) => self.clock.step_wall(ms),
            Machine::SetRight => self.clock.set_right(),
            Machine::Suspend(ms) => self.clock.suspend(ms),
            Machine::Restart { off, snapshot, keeps_time } => self.restart(off, snapshot, keeps_time),
        }
        let now = self.clock.now();
        let mut sim = self.sim.lock();
        sim.site.advance_to(now.t);
        let (model, slept) = (&mut sim.model, now.t > before.t);
        if now.wall < before.wall {
            model.stepped_back = Some(now.t);
        }
        // The one clock stood still and the other went back, so waits may take longer than they say.
        if now.wall < before.wall || (slept && model.stepped_back.is_some_and(|at| at + 10 * MINUTE > before.t)) {
            model.disturbed = now.t;
        }
        if now.wall - now.mono.min(now.wall) > before.wall.saturating_sub(before.mono) {
            // Budgets end by the clock that says so first.
            model.due.clear();
            model.undue.clear();
            model.token_requests.clear();
        }
    }

    fn restart(&mut self, off: u64, keeps_snapshot: bool, keeps_time: bool) {
        let text = if keeps_snapshot && self.file.is_none() { self.take_snapshot() } else { None };
        self.clock.boot(off, keeps_time);
        let now = self.clock.now();
        let mut sim = self.sim.lock();
        sim.site.advance_to(now.t);
        if self.file.is_none() && text.is_none() {
            sim.saved = None;
        }
        let snapshot = sim.saved.clone();
        let floor = snapshot.as_ref().map_or(0, |snapshot| snapshot.fetched);
        sim.model = Model { snapshot, floor, ..Model::default() };
        drop(sim);
        self.process = start(&self.world, &self.clock, &self.sim, text.as_deref(), self.file.as_ref());
    }

    fn take_snapshot(&mut self) -> Option<String> {
        self.sim.lock().begin(self.clock.now());
        let text = self.process.issuer.snapshot().ok()?;
        let (now, mut sim) = (self.clock.now(), self.sim.lock());
        let (held, document) = (sim.model.held.clone()?, sim.model.document?);
        let fetched = now.wall.saturating_sub(held.youngest(now));
        let slack = held.oldest(now) - held.youngest(now) + 2 * SECOND;
        sim.saved = Some(Snapshot { set: held.set, ttl: held.ttl, fetched, document, slack });
        Some(text)
    }

    fn traffic(&mut self, traffic: &Traffic) {
        match *traffic {
            Traffic::Verify { fresh, .. } => {
                let now = self.clock.now();
                let mut sim = self.sim.lock();
                sim.site.advance_to(now.t);
                let token = if fresh { sim.site.fresh_token(now.t) } else { sim.site.earlier_token(now.t) };
                drop(sim);
                self.verify(&token);
            }
            Traffic::Forge { kid, .. } => {
                let token = self.forge(kid);
                self.verify(&token);
            }
            Traffic::Mint { client, .. } => self.mint(client, false),
            Traffic::ForceRefresh { client } => self.mint(client, true),
            Traffic::Reject { client } => self.reject(client),
            Traffic::NewClient { client } => {
                self.process.m2m[client] = client_of(&self.process.issuer, client);
                self.process.last[client] = None;
                let mut sim = self.sim.lock();
                sim.model.tokens.remove(&client);
                sim.model.token_requests.remove(&client);
            }
            Traffic::Introspect { .. } => self.introspect(),
            Traffic::Revoke => {
                if let Some(token) = self.process.last.iter().flatten().next() {
                    let revoker = self.process.issuer.revoker(AUDIENCE, "secret").build().unwrap();
                    self.sim.lock().begin(self.clock.now());
                    let _ = revoker.revoke(token.expose_secret(), None);
                }
            }
            Traffic::RefreshIfDue => {
                let before = self.begin();
                let result = self.process.issuer.refresh_if_due();
                self.sim.lock().refreshed(before.as_ref(), self.clock.now(), &result);
            }
        }
    }

    fn begin(&self) -> Option<crate::sim::Held> {
        let mut sim = self.sim.lock();
        sim.begin(self.clock.now());
        sim.model.held.clone()
    }

    fn verify(&mut self, token: &Token) {
        let before = self.begin();
        let result = self.process.rs.verify_token(&token.text);
        self.sim.lock().verified(token, before.as_ref(), self.clock.now(), &result);
    }

    fn forge(&mut self, kid: ForgedKid) -> Token {
        let (sim, now) = (self.sim.lock(), self.clock.now());
        let key = HONEST + usize::try_from(self.rng.below(16)).unwrap();
        self.forged += 1;
        let own = sim.site.config.kids.then(|| 1_000_000 + u32::try_from(self.forged).unwrap());
        let kid_of = match kid {
            ForgedKid::Known => sim.site.signing.kid,
            ForgedKid::Coming => own.map(|_| sim.site.next_kid),
            ForgedKid::Unknown | ForgedKid::Expired => own,
        };
        let t = if kid == ForgedKid::Expired { now.t.saturating_sub(5 * HOUR) } else { now.t };
        Token::sign(sim.site.algorithm(), key, kid_of, t, HOUR, "admin")
    }

    fn mint(&mut self, client: usize, forced: bool) {
        let now = self.clock.now();
        let mut sim = self.sim.lock();
        sim.begin(now);
        let lived = sim.model.tokens.get(&client).filter(|token| !token.spent).map(|token| token.left(now));
        drop(sim);
        let options = TokenOptions::new();
        let options = if forced { options.force_refresh() } else { options };
        let result = self.process.m2m[client].access_token_with(&options);
        self.sim.lock().minted(client, forced, lived, self.clock.now(), &result);
        if let Ok(token) = result {
            self.process.last[client] = Some(token);
        }
    }

    fn reject(&mut self, client: usize) {
        let Some(token) = self.process.last[client].take() else { return };
        self.process.m2m[client].reject(&token);
        if let Some(held) = self.sim.lock().model.tokens.get_mut(&client) {
            held.spent |= held.text == token.expose_secret();
        }
    }

    fn introspect(&mut self) {
        let tokens: Vec<String> =
            self.process.last.iter().flatten().map(|token| token.expose_secret().to_owned()).collect();
        let token =
            if tokens.is_empty() || self.rng.one_in(10) { String::from("at-unknown") } else { self.rng.pick(&tokens) };
        let known = {
            let mut sim = self.sim.lock();
            sim.begin(self.clock.now());
            sim.model.introspected.get(&token).copied()
        };
        let result = self.process.introspector.introspect(&token);
        self.sim.lock().introspected(&token, known, self.clock.now(), &result);
    }
}

/// What an event's time says to a reader.
pub(crate) fn readable(t: u64) -> String {
    let seconds = t / SECOND;
    let wall = (BASE + t) / SECOND;
    format!(
        "day {} {:02}:{:02}:{:02}.{:03} ({wall})",
        seconds / 86_400,
        seconds / 3_600 % 24,
        seconds / 60 % 60,
        seconds % 60,
        t % SECOND
    )
}
