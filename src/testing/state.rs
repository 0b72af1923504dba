//! What a test issuer knows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use super::cdn::{Cdn, CdnSettings};
use super::clock::ManualClock;
use super::faults::Script;
use super::json::Json;
use super::keys::{KeyRing, SigningKey};
use crate::Clock;
use crate::jose::Algorithm;

/// What all clones and servers of one issuer share.
pub(super) struct State {
    pub(super) settings: Settings,
    pub(super) keys: Mutex<KeyRing>,
    pub(super) cdn: Mutex<Cdn>,
    pub(super) registry: Mutex<Registry>,
    pub(super) script: Script,
}

/// The clients and tokens that the issuer knows.
#[derive(Default)]
pub(super) struct Registry {
    pub(super) clients: BTreeMap<String, Client>,
    pub(super) refresh_tokens: BTreeMap<String, (String, SystemTime)>,
    pub(super) revoked: BTreeSet<String>,
    /// The `jti` of assertions that were used.
    pub(super) assertions: BTreeSet<String>,
    pub(super) metadata: BTreeMap<String, Option<Json>>,
}

#[derive(Clone)]
pub(super) struct Client {
    pub(super) proof: Proof,
    /// `None` for a client that is not registered for client_credentials.
    pub(super) scopes: Option<Vec<String>>,
}

/// What a client authenticates with.
#[derive(Clone)]
pub(super) enum Proof {
    Secret(String),
    /// A JWK: the public half.
    Key(String),
}

impl State {
    pub(super) fn now(&self) -> SystemTime {
        self.settings.clock.as_ref().map_or_else(SystemTime::now, Clock::wall)
    }

    pub(super) fn register(&self, id: &str, proof: Proof, scopes: Option<Vec<String>>) {
        self.registry.lock().clients.insert(id.to_owned(), Client { proof, scopes });
    }

    pub(super) fn signing_key(&self, algorithm: Algorithm) -> Arc<SigningKey> {
        self.keys.lock().current(algorithm)
    }

    pub(super) fn clock(&self) -> Option<&ManualClock> {
        self.settings.clock.as_ref()
    }
}

/// What does not change while the issuer lives.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) url: String,
    pub(super) clock: Option<ManualClock>,
    pub(super) algorithm: Algorithm,
    pub(super) token_lifetime: Duration,
    pub(super) default_audience: Option<String>,
    pub(super) keys_max_age: Option<Duration>,
    pub(super) cdn: Option<CdnSettings>,
    pub(super) auth_methods: Vec<String>,
    pub(super) oauth_metadata_only: bool,
}
