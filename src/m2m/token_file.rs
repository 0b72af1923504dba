//! One token for many processes: tokens in a file, and a lock so that one process asks for all.
//!
//! The lock is held across the request, as no other lock of this crate is: that is what it is for. It is one between processes, dies
//! with its holder, and nobody waits for it longer than half of what is left of the call's budget; then the call asks by itself.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::crypto::sha256;
use crate::error::Error;
use crate::events::Event;
use crate::file_cache::file_lock::FileLock;
use crate::file_cache::private_file::{read_private, write_private};
use crate::json::write::push_string;
use crate::json::{Members, Object};
use crate::m2m::schedule::{Moment, Plan, Schedule, Spread};
use crate::m2m::token::AccessToken;
use crate::m2m::token_request::TokenRequest;
use crate::m2m::token_response::Minted;
use crate::m2m::wish::{Obtained, Wish};
use crate::time::{Deadline, Now};

/// Where the tokens of a client are shared.
#[derive(Debug)]
pub(crate) struct TokenFile {
    path: PathBuf,
    lock_path: PathBuf,
    issuer: String,
    client_id: String,
}

impl TokenFile {
    pub(crate) fn new(path: PathBuf, issuer: &str, client_id: &str) -> Self {
        let mut lock_path = path.clone().into_os_string();
        lock_path.push(".lock");
        Self { path, lock_path: lock_path.into(), issuer: issuer.to_owned(), client_id: client_id.to_owned() }
    }

    /// The token of the file, or a new one that goes into it. What is wrong with the file is told by the events and is no reason to
    /// fail: it is then as if there were none.
    pub(crate) fn share(&self, wish: &Wish<'_>) -> (Result<Obtained, Error>, Vec<Event>) {
        // A file says by the wall clock when its tokens end. Without the lock first, since most of the time there is something to read
        // and nothing to wait for.
        if (wish.now)().wall.is_none() {
            return (wish.ask(), Vec::new());
        }
        match self.find(wish) {
            Ok(Some(found)) => (Ok(found), Vec::new()),
            _ => self.ask_for_all(wish),
        }
    }

    fn ask_for_all(&self, wish: &Wish<'_>) -> (Result<Obtained, Error>, Vec<Event>) {
        let mut events = Vec::new();
        let mut refused = |error| {
            events.push(Event::TokenFileRefused { error: Arc::new(error) });
            None
        };
        let patience = wish.deadline.remaining().unwrap_or_default() / 2;
        let until = wish.deadline.or_earlier(Deadline::after(patience));
        let _lock = FileLock::acquire(&self.lock_path, until).unwrap_or_else(&mut refused);
        if let Some(found) = self.find(wish).unwrap_or_else(|error| {
            refused(error);
            None
        }) {
            return (Ok(found), events);
        }
        let obtained = wish.ask();
        if let Some(Err(error)) = obtained.as_ref().ok().map(|new| self.keep(wish, new)) {
            events.push(Event::TokenFileNotWritten { error: Arc::new(error) });
        }
        (obtained, events)
    }

    /// Takes a token out of the file, unless another process holds the lock and so is about to replace it.
    pub(crate) fn forget(&self, token: &AccessToken) -> io::Result<()> {
        let Some(_lock) = FileLock::acquire(&self.lock_path, Deadline::after(Duration::ZERO))? else { return Ok(()) };
        let stored = self.read()?.unwrap_or_default();
        let kept: Vec<&Entry> = stored.iter().filter(|entry| !entry.is(token)).collect();
        if kept.len() == stored.len() { Ok(()) } else { write_private(&self.path, to_json(&kept).as_bytes()) }
    }

    /// Takes every token out of the file.
    pub(crate) fn clear(&self) -> io::Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// A token that is good enough, and not so near its end that it is due.
    fn find(&self, wish: &Wish<'_>) -> io::Result<Option<Obtained>> {
        let stored = self.read()?.unwrap_or_default();
        let at = (wish.now)();
        let key = self.key(wish.asked);
        let found = stored.iter().find(|entry| entry.key == key).and_then(|entry| entry.usable(at));
        let good = found.filter(|minted| (wish.accepts)(&minted.token));
        Ok(good.map(|minted| Obtained { minted, at, from_issuer: false }))
    }

    /// Puts a new token beside those of other wishes that still live, as many as the file may hold.
    fn keep(&self, wish: &Wish<'_>, new: &Obtained) -> io::Result<()> {
        let Some(entry) = Entry::new(self.key(wish.asked), &new.minted) else { return Ok(()) };
        let mut others = self.read().ok().flatten().unwrap_or_default();
        others.retain(|other| other.key != entry.key && new.at.wall.is_none_or(|wall| other.expires_at > wall));
        others.sort_by_key(|other| std::cmp::Reverse(other.minted_at));
        let mut bytes = entry.longest_json();
        let mut kept = vec![&entry];
        for other in others.iter().take(MAX_TOKENS.saturating_sub(1)) {
            bytes = bytes.saturating_add(other.longest_json());
            if bytes > MAX_FILE_BYTES {
                break;
            }
            kept.push(other);
        }
        write_private(&self.path, to_json(&kept).as_bytes())
    }

    /// What a token is for, as a digest: parameters may hold credentials, and the file says nothing about them. Each part counts with its
    /// length, so that no two run together.
    fn key(&self, asked: &TokenRequest) -> String {
        let mut text = Zeroizing::new(String::new());
        let form = asked.form().into_iter().flat_map(|(name, value)| [name, value]);
        for part in [self.issuer.as_str(), &self.client_id].into_iter().chain(form) {
            // Writing to a String does not fail.
            let _ = write!(text, "{}:{part}", part.len());
        }
        URL_SAFE_NO_PAD.encode(sha256(text.as_bytes()))
    }

    fn read(&self) -> io::Result<Option<Vec<Entry>>> {
        let Some(bytes) = read_private(&self.path, MAX_FILE_BYTES)? else { return Ok(None) };
        let bytes = Zeroizing::new(bytes);
        let entries = std::str::from_utf8(&bytes).ok().and_then(parse);
        entries.map(Some).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is not a token file"))
    }
}

/// One token of the file. Times are whole seconds, rounded down.
struct Entry {
    key: String,
    token: Zeroizing<String>,
    scope: Option<String>,
    minted_at: SystemTime,
    expires_at: SystemTime,
}

impl Entry {
    /// `None` for a token whose end is not known, which no cache keeps.
    fn new(key: String, minted: &Minted) -> Option<Self> {
        let expires_at = minted.token.expires_at()?;
        Some(Self {
            key,
            token: Zeroizing::new(minted.token.expose_secret().to_owned()),
            scope: minted.token.scope().map(str::to_owned),
            minted_at: expires_at.checked_sub(minted.lifetime?)?,
            expires_at,
        })
    }

    fn is(&self, token: &AccessToken) -> bool {
        sha256(self.token.as_bytes()) == *token.digest()
    }

    /// The token if it is not due by any clock. One that stands before the mint was put back since, and then nobody can say what is
    /// left.
    fn usable(&self, now: Now) -> Option<Minted> {
        let wall = now.wall?;
        let age = wall.duration_since(self.minted_at).ok()?;
        let lifetime = self.expires_at.duration_since(self.minted_at).ok()?;
        let minted_at = Moment { monotonic: Duration::ZERO, wall: Some(self.minted_at) };
        let mut schedule = Schedule::new(lifetime, minted_at, Spread::Narrow, 0.0);
        if schedule.plan(Moment { monotonic: age, wall: Some(wall) }) != Plan::Serve {
            return None;
        }
        let token = AccessToken::new(&self.token, self.scope.clone(), Some(self.expires_at));
        Some(Minted { token, lifetime: self.expires_at.duration_since(wall).ok() })
    }

    /// At most six bytes for a character of one.
    fn longest_json(&self) -> usize {
        let texts = self.token.len().saturating_add(self.scope.as_ref().map_or(0, String::len));
        texts.saturating_mul(6).saturating_add(JSON_AROUND_TEXTS)
    }
}

fn parse(text: &str) -> Option<Vec<Entry>> {
    let object = Object::parse_secret(text).ok()?;
    if object.members().number("aero2_tokens").ok()??.as_u64()? != VERSION {
        return None;
    }
    let tokens = object.members().get("tokens")?.members()?;
    tokens.iter().map(|(key, entry)| parse_entry(key, &entry.members()?)).collect()
}

fn parse_entry(key: &str, members: &Members<'_>) -> Option<Entry> {
    let time = |name| {
        let seconds = members.number(name).ok()??.as_u64()?;
        UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    };
    let token = members.string("token").ok()??;
    // What would not be taken from the issuer's answer is not taken from here.
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    Some(Entry {
        key: key.to_owned(),
        token: Zeroizing::new(token.to_owned()),
        scope: members.string("scope").ok()?.map(str::to_owned),
        minted_at: time("minted_at")?,
        expires_at: time("expires_at")?,
    })
}

/// The text that [`parse`] reads, in memory that does not move while it grows.
fn to_json(entries: &[&Entry]) -> Zeroizing<String> {
    let seconds = |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let longest = entries.iter().fold(JSON_AROUND_TEXTS, |sum, entry| sum.saturating_add(entry.longest_json()));
    let mut out = Zeroizing::new(String::with_capacity(longest));
    let _ = write!(out, "{{\"aero2_tokens\":{VERSION},\"tokens\":{{");
    for (at, entry) in entries.iter().enumerate() {
        out.push_str(if at == 0 { "" } else { "," });
        push_string(&entry.key, &mut out);
        let (minted_at, expires_at) = (seconds(entry.minted_at), seconds(entry.expires_at));
        let _ = write!(out, ":{{\"minted_at\":{minted_at},\"expires_at\":{expires_at},\"token\":");
        push_string(&entry.token, &mut out);
        if let Some(scope) = &entry.scope {
            out.push_str(",\"scope\":");
            push_string(scope, &mut out);
        }
        out.push('}');
    }
    out.push_str("}}\n");
    out
}

/// The version of the format. A file of another one is refused, and replaced by one of this.
const VERSION: u64 = 1;

/// As many as a client keeps in memory.
const MAX_TOKENS: usize = 64;

/// Beyond this a file is none of ours: a token has some kilobytes at most.
const MAX_FILE_BYTES: usize = 1024 * 1024;

/// StringSet, numbers and signs around the texts of one entry, and of the whole.
const JSON_AROUND_TEXTS: usize = 256;
