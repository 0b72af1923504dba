//! A token store in a file. Feature `file-cache`.
//!
//! Two locks lie beside the file. The request lock is held across a token request, as no other lock of this crate is: that is what it is
//! for. The change lock is held while the file is replaced, so that no change undoes another. Both die with their holder.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use zeroize::Zeroizing;

use crate::file_cache::file_lock::FileLock;
use crate::file_cache::private_file::{read_private, write_private};
use crate::json::Object;
use crate::json::write::push_string;
use crate::m2m::token_store::{StoreLock, TokenStore};
use crate::time::Deadline;

/// A [`TokenStore`] in a file that is private to the program's user, as
/// [`M2mClientBuilder::token_file`](crate::M2mClientBuilder::token_file) describes it. Feature `file-cache`.
///
/// A store of its own, so that another [`TokenStore`] can wrap it.
#[derive(Clone, Debug)]
pub struct TokenFile {
    path: PathBuf,
    request_lock: PathBuf,
    change_lock: PathBuf,
}

impl TokenFile {
    /// The file at `path`. Its directory must exist. Does no I/O.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let beside = |suffix| {
            let mut name = OsString::from(&path);
            name.push(suffix);
            PathBuf::from(name)
        };
        Self { request_lock: beside(".lock"), change_lock: beside(".write.lock"), path }
    }

    fn read(&self) -> io::Result<Vec<Entry>> {
        let Some(bytes) = read_private(&self.path, MAX_FILE_BYTES)? else { return Ok(Vec::new()) };
        let bytes = Zeroizing::new(bytes);
        let entries = std::str::from_utf8(&bytes).ok().and_then(parse);
        entries.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is not a token file"))
    }

    fn write(&self, entries: &[Entry]) -> io::Result<()> {
        write_private(&self.path, to_json(entries).as_bytes())
    }

    fn lock_for_change(&self) -> io::Result<FileLock> {
        let lock = FileLock::acquire(&self.change_lock, Deadline::after(CHANGE_WAIT));
        let lock = lock.map_err(|error| naming(&self.change_lock, &error))?;
        lock.ok_or_else(|| {
            naming(&self.change_lock, &io::Error::new(io::ErrorKind::TimedOut, "another process holds it"))
        })
    }
}

impl TokenStore for TokenFile {
    fn load(&self, key: &str) -> io::Result<Option<Vec<u8>>> {
        let entries = self.read().map_err(|error| naming(&self.path, &error))?;
        let found = entries.into_iter().find(|entry| entry.key == key);
        Ok(found.map(|entry| entry.value.as_bytes().to_vec()))
    }

    fn store(&self, key: &str, value: &[u8], ttl: Duration) -> io::Result<()> {
        let value = std::str::from_utf8(value).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let now = SystemTime::now();
        let expires_at = now.checked_add(ttl).unwrap_or(now);
        let new = Entry { key: key.to_owned(), value: Zeroizing::new(value.to_owned()), expires_at };
        let _lock = self.lock_for_change()?;
        // A file that cannot be believed is replaced.
        let mut others = self.read().unwrap_or_default();
        others.retain(|other| other.key != key && other.expires_at > now);
        let mut bytes = 0_usize;
        let fits = |entry: &Entry| {
            bytes = bytes.saturating_add(entry.longest_json());
            bytes <= MAX_FILE_BYTES
        };
        // The newest entries stand first.
        let kept: Vec<Entry> = std::iter::once(new).chain(others).take(MAX_ENTRIES).take_while(fits).collect();
        self.write(&kept).map_err(|error| naming(&self.path, &error))
    }

    fn remove(&self, prefix: &str) -> io::Result<()> {
        let _lock = self.lock_for_change()?;
        let mut entries = self.read().map_err(|error| naming(&self.path, &error))?;
        let before = entries.len();
        entries.retain(|entry| !entry.key.starts_with(prefix));
        if entries.len() == before {
            return Ok(());
        }
        self.write(&entries).map_err(|error| naming(&self.path, &error))
    }

    fn lock(&self, _key: &str, budget: Duration) -> io::Result<Option<StoreLock>> {
        let lock = FileLock::acquire(&self.request_lock, Deadline::after(budget));
        Ok(lock.map_err(|error| naming(&self.request_lock, &error))?.map(StoreLock::new))
    }

    fn location(&self) -> Option<String> {
        Some(self.path.display().to_string())
    }
}

/// The error with the path that it is about.
fn naming(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{error}: {}", path.display()))
}

/// One value of the file.
struct Entry {
    key: String,
    value: Zeroizing<String>,
    /// In whole seconds, rounded down.
    expires_at: SystemTime,
}

impl Entry {
    /// At most six bytes for a character of one.
    fn longest_json(&self) -> usize {
        let texts = self.key.len().saturating_add(self.value.len());
        texts.saturating_mul(6).saturating_add(JSON_AROUND_TEXTS)
    }
}

fn parse(text: &str) -> Option<Vec<Entry>> {
    let object = Object::parse_secret(text).ok()?;
    if object.number("aero2_tokens").ok()??.as_u64()? != VERSION {
        return None;
    }
    let parse_entry = |(key, entry): (&str, crate::json::Element<'_>)| {
        let members = entry.members()?;
        let expires_at = Duration::from_secs(members.number("expires_at").ok()??.as_u64()?);
        let value = Zeroizing::new(members.string("value").ok()??.to_owned());
        Some(Entry { key: key.to_owned(), value, expires_at: UNIX_EPOCH.checked_add(expires_at)? })
    };
    object.members().get("entries")?.members()?.iter().map(parse_entry).collect()
}

/// The text that [`parse`] reads, in memory that does not move while it grows.
fn to_json(entries: &[Entry]) -> Zeroizing<String> {
    let longest = entries.iter().fold(JSON_AROUND_TEXTS, |sum, entry| sum.saturating_add(entry.longest_json()));
    let mut out = Zeroizing::new(String::with_capacity(longest));
    // Writing to a String does not fail.
    let _ = write!(out, "{{\"aero2_tokens\":{VERSION},\"entries\":{{");
    for (at, entry) in entries.iter().enumerate() {
        out.push_str(if at == 0 { "" } else { "," });
        push_string(&entry.key, &mut out);
        let expires_at = entry.expires_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let _ = write!(out, ":{{\"expires_at\":{expires_at},\"value\":");
        push_string(&entry.value, &mut out);
        out.push('}');
    }
    out.push_str("}}\n");
    out
}

/// The version of the format. A file of another one is refused, and replaced by one of this.
const VERSION: u64 = 2;

/// As many as a client caches.
const MAX_ENTRIES: usize = 64;

/// The longest file that is read: a token has some kilobytes at most.
const MAX_FILE_BYTES: usize = 1024 * 1024;

/// Names, numbers and signs around the texts of one entry, and of the whole.
const JSON_AROUND_TEXTS: usize = 128;

/// A change takes milliseconds. Its holder was stopped if it takes this long.
const CHANGE_WAIT: Duration = Duration::from_secs(1);
