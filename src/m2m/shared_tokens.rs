//! The tokens that a client shares with other processes through a [`TokenStore`].
//!
//! A failure of the store costs the sharing and never the call. Each gives an event, which the caller emits after its flight.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use zeroize::Zeroizing;

use crate::client_auth::Client;
use crate::crypto::sha256;
use crate::error::Error;
use crate::events::Event;
use crate::m2m::stored::{Fingerprint, StoredRefusal, StoredToken};
use crate::m2m::token::AccessToken;
use crate::m2m::token_cache::Fetched;
use crate::m2m::token_cache::entry::{REFUSAL_REMEMBERED, is_refusal};
use crate::m2m::token_request::TokenRequest;
use crate::m2m::token_response::Minted;
use crate::m2m::token_store::{StoreLock, TokenStore};
use crate::time::{Deadline, Now};

pub(crate) struct SharedTokens {
    store: Arc<dyn TokenStore>,
    /// The digest of issuer and client: the keys of all entries of one client begin with it, and of no other.
    client: String,
    /// Tokens up to this time are ignored: the cache was cleared, and the store could not be.
    cleared_at: Mutex<Option<SystemTime>>,
}

impl SharedTokens {
    pub(crate) fn new(store: Arc<dyn TokenStore>, issuer: &str, client_id: &str) -> Self {
        Self { store, client: digest([issuer, client_id]), cleared_at: Mutex::new(None) }
    }

    /// The stored token for the request, if it is not due.
    pub(crate) fn find(&self, request: &TokenRequest, now: Now) -> io::Result<Option<Minted>> {
        let key = self.token_key(request);
        let Some(stored) = self.load(&key, StoredToken::parse)? else { return Ok(None) };
        let cleared = self.cleared_at.lock().is_some_and(|cleared_at| stored.minted_at() <= cleared_at);
        Ok(if cleared { None } else { stored.usable(now) })
    }

    /// The issuer's refusal of the request, if another process got it with this secret within the last seconds.
    pub(crate) fn find_refusal(&self, request: &TokenRequest, client: &Client, now: Now) -> io::Result<Option<Error>> {
        let key = self.refusal_key(request);
        let Some(stored) = self.load(&key, StoredRefusal::parse)? else { return Ok(None) };
        Ok(fingerprint(client, &key).and_then(|secret| stored.error(secret, now)))
    }

    /// The lock under which one process asks the issuer for all. Waits for it for half of what is left of the call; without it the call
    /// asks by itself.
    pub(crate) fn lock(
        &self,
        request: &TokenRequest,
        deadline: Deadline,
        events: &mut Vec<Event>,
    ) -> Option<StoreLock> {
        let budget = deadline.remaining().unwrap_or_default() / 2;
        let lock = self.store.lock(&self.token_key(request), budget);
        lock.unwrap_or_else(|error| {
            events.push(refused(error));
            None
        })
    }

    /// Stores what the issuer answered: a token, or a refusal.
    pub(crate) fn store(&self, request: &TokenRequest, client: &Client, fetched: &Fetched, events: &mut Vec<Event>) {
        let outcome = match &fetched.outcome {
            Ok(minted) => self.store_token(request, minted),
            Err(error) if is_refusal(error) => self.store_refusal(request, client, error, fetched.requested),
            Err(_) => return,
        };
        events.extend(outcome.err().map(not_written));
    }

    fn store_token(&self, request: &TokenRequest, minted: &Minted) -> io::Result<()> {
        let Some(stored) = StoredToken::new(minted) else { return Ok(()) };
        let key = self.token_key(request);
        self.store.store(&key, stored.to_json(&key).as_bytes(), stored.lifetime())
    }

    fn store_refusal(&self, request: &TokenRequest, client: &Client, error: &Error, at: Now) -> io::Result<()> {
        let key = self.refusal_key(request);
        let wait = error.retry_after().unwrap_or_default().max(REFUSAL_REMEMBERED);
        let stored = fingerprint(client, &key).and_then(|secret| StoredRefusal::new(error, secret, at, wait));
        let Some(stored) = stored else { return Ok(()) };
        self.store.store(&key, stored.to_json(&key).as_bytes(), wait)
    }

    /// Removes this very token, if it is still the stored one.
    pub(crate) fn remove(&self, request: &TokenRequest, token: &AccessToken) -> Option<Event> {
        let key = self.token_key(request);
        let outcome = self.load(&key, StoredToken::parse).and_then(|stored| {
            let same = stored.is_some_and(|stored| stored.access_token().digest() == token.digest());
            if same { self.store.remove(&key) } else { Ok(()) }
        });
        outcome.err().map(not_written)
    }

    /// Removes every token of this client.
    pub(crate) fn clear(&self, now: Now) -> Option<Event> {
        let outcome = self.store.remove(&format!("{TOKEN}.{}.", self.client));
        *self.cleared_at.lock() = if outcome.is_err() { now.wall } else { None };
        outcome.err().map(not_written)
    }

    fn load<T>(&self, key: &str, parse: fn(&str, &str) -> Option<T>) -> io::Result<Option<T>> {
        let Some(bytes) = self.store.load(key)? else { return Ok(None) };
        let bytes = Zeroizing::new(bytes);
        let value = std::str::from_utf8(&bytes).ok().and_then(|text| parse(text, key));
        value.map(Some).ok_or_else(|| {
            let location = self.store.location().map_or_else(String::new, |location| format!(": {location}"));
            io::Error::new(io::ErrorKind::InvalidData, format!("it is not the entry that was stored{location}"))
        })
    }

    fn token_key(&self, request: &TokenRequest) -> String {
        self.key(TOKEN, request)
    }

    fn refusal_key(&self, request: &TokenRequest) -> String {
        self.key(REFUSAL, request)
    }

    /// A key says nothing of what it is for: parameters may hold credentials.
    fn key(&self, kind: &str, request: &TokenRequest) -> String {
        let form = request.form().into_iter().flat_map(|(name, value)| [name, value]);
        format!("{kind}.{}.{}", self.client, digest([self.client.as_str()].into_iter().chain(form)))
    }
}

pub(crate) fn refused(error: io::Error) -> Event {
    Event::TokenFileRefused { error: Arc::new(error) }
}

fn not_written(error: io::Error) -> Event {
    Event::TokenFileNotWritten { error: Arc::new(error) }
}

/// Of the secret as its source yields it now.
fn fingerprint(client: &Client, key: &str) -> Option<Fingerprint> {
    let secret = client.secret.read().ok()?;
    let secret = secret.expose_secret();
    let mut text = Zeroizing::new(String::with_capacity(key.len().saturating_add(secret.len())));
    text.push_str(key);
    text.push_str(secret);
    let [first, second, ..] = sha256(text.as_bytes());
    Some(u16::from_be_bytes([first, second]))
}

/// Each part counts with its length, so that no two run together.
fn digest<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let parts: Vec<&str> = parts.into_iter().collect();
    // Room for all, so that no part stays behind where the text moved from.
    let length = parts.iter().fold(0_usize, |sum, part| sum.saturating_add(part.len()).saturating_add(24));
    let mut text = Zeroizing::new(String::with_capacity(length));
    for part in parts {
        // Writing to a String does not fail.
        let _ = write!(text, "{}:{part}", part.len());
    }
    URL_SAFE_NO_PAD.encode(sha256(text.as_bytes()))
}

const TOKEN: &str = "token";
const REFUSAL: &str = "refusal";
