//! What a token store keeps: a token, or a refusal, as JSON text. Times are whole seconds, rounded down.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use zeroize::Zeroizing;

use crate::error::{Endpoint, Error, OAuthError};
use crate::json::Object;
use crate::json::write::push_string;
use crate::m2m::schedule::{Jitter, Plan, Schedule};
use crate::m2m::token::AccessToken;
use crate::m2m::token_response::{Minted, is_header_text};
use crate::time::Now;

/// A token that some process requested.
pub(crate) struct StoredToken {
    token: Zeroizing<String>,
    scope: Option<String>,
    minted_at: SystemTime,
    expires_at: SystemTime,
}

impl StoredToken {
    /// `None` for a token whose end is not known, which no cache keeps.
    pub(crate) fn new(minted: &Minted) -> Option<Self> {
        let expires_at = minted.token.expires_at()?;
        Some(Self {
            token: Zeroizing::new(minted.token.expose_secret().to_owned()),
            scope: minted.token.scope().map(str::to_owned),
            minted_at: expires_at.checked_sub(minted.lifetime?)?,
            expires_at,
        })
    }

    /// Reads the text of [`to_json`](Self::to_json) for that key.
    pub(crate) fn parse(text: &str, key: &str) -> Option<Self> {
        let object = entry_for(text, "aero2_token", key)?;
        // The same rule as for the issuer's answer.
        let token = object.string("token").ok()?.filter(|token| is_header_text(token))?;
        Some(Self {
            token: Zeroizing::new(token.to_owned()),
            scope: object.string("scope").ok()?.map(str::to_owned),
            minted_at: time(&object, "minted_at")?,
            expires_at: time(&object, "expires_at")?,
        })
    }

    pub(crate) fn to_json(&self, key: &str) -> Zeroizing<String> {
        let texts = self.token.len().saturating_add(self.scope.as_ref().map_or(0, String::len));
        // At most six bytes for a character of one, so that the text does not move while it grows.
        let longest = texts.saturating_mul(6).saturating_add(JSON_AROUND_TEXTS);
        let mut out = Zeroizing::new(String::with_capacity(longest));
        let (minted_at, expires_at) = (seconds(self.minted_at), seconds(self.expires_at));
        // Writing to a String does not fail.
        let _ = write!(
            out,
            r#"{{"aero2_token":{VERSION},"key":"{key}","minted_at":{minted_at},"expires_at":{expires_at},"token":"#
        );
        push_string(&self.token, &mut out);
        if let Some(scope) = &self.scope {
            out.push_str(",\"scope\":");
            push_string(scope, &mut out);
        }
        out.push('}');
        out
    }

    pub(crate) fn minted_at(&self) -> SystemTime {
        self.minted_at
    }

    /// How long the token lives from its request.
    pub(crate) fn lifetime(&self) -> Duration {
        self.expires_at.duration_since(self.minted_at).unwrap_or_default()
    }

    /// The token if it is not due by any clock. A clock that stands before the mint was set back since, and says nothing of what is left.
    pub(crate) fn usable(&self, now: Now) -> Option<Minted> {
        let wall = now.wall?;
        let age = wall.duration_since(self.minted_at).ok()?;
        let minted_at = Now { monotonic: Duration::ZERO, wall: Some(self.minted_at) };
        let mut schedule = Schedule::new(self.lifetime(), minted_at, Jitter::Narrow, 0.0);
        if schedule.plan(Now { monotonic: age, wall: Some(wall) }) != Plan::Serve {
            return None;
        }
        Some(Minted { token: self.access_token(), lifetime: self.expires_at.duration_since(wall).ok() })
    }

    pub(crate) fn access_token(&self) -> AccessToken {
        AccessToken::new(&self.token, self.scope.clone(), Some(self.expires_at))
    }
}

/// An OAuth error that some process got, and that will not change by itself soon. Of the secret it has 16 bits of a digest: enough to
/// tell that another secret was refused, too few to find the secret by.
pub(crate) struct StoredRefusal {
    code: String,
    status: u16,
    secret: Fingerprint,
    refused_at: SystemTime,
    wait: Duration,
}

pub(crate) type Fingerprint = u16;

impl StoredRefusal {
    /// `None` for another error, or while the wall clock is not set.
    pub(crate) fn new(error: &Error, secret: Fingerprint, at: Now, wait: Duration) -> Option<Self> {
        let Error::OAuth(error) = error else { return None };
        let (code, status) = (error.error_code().to_owned(), error.status());
        Some(Self { code, status, secret, refused_at: at.wall?, wait })
    }

    /// Reads the text of [`to_json`](Self::to_json) for that key.
    pub(crate) fn parse(text: &str, key: &str) -> Option<Self> {
        let object = entry_for(text, "aero2_refusal", key)?;
        let number = |name| object.number(name).ok()??.as_u64();
        Some(Self {
            code: object.string("error").ok()??.to_owned(),
            status: u16::try_from(number("status")?).ok()?,
            secret: u16::try_from(number("secret")?).ok()?,
            refused_at: time(&object, "refused_at")?,
            wait: Duration::from_secs(number("wait")?),
        })
    }

    pub(crate) fn to_json(&self, key: &str) -> String {
        let Self { status, secret, .. } = self;
        let (refused_at, wait) = (seconds(self.refused_at), self.wait.as_secs());
        let mut out = format!(
            r#"{{"aero2_refusal":{VERSION},"key":"{key}","refused_at":{refused_at},"wait":{wait},"status":{status},"secret":{secret},"error":"#
        );
        push_string(&self.code, &mut out);
        out.push('}');
        out
    }

    /// The error, as long as it is remembered; `secret` is the present one. A record of a time to come, or of a wait beyond the
    /// longest, is ignored.
    pub(crate) fn error(&self, secret: Fingerprint, now: Now) -> Option<Error> {
        let age = now.wall?.duration_since(self.refused_at).ok()?;
        let left = self.wait.checked_sub(age).filter(|left| !left.is_zero() && self.wait <= LONGEST_WAIT)?;
        let error = Error::OAuth(OAuthError::new(Endpoint::Token, &self.code, None, None, self.status));
        (secret == self.secret).then(|| error.with_retry_after(left))
    }
}

/// The object, if it is of that kind, of this version and for that key.
fn entry_for(text: &str, kind: &str, key: &str) -> Option<Zeroizing<Object>> {
    let object = Object::parse_secret(text).ok()?;
    let version = object.number(kind).ok()??.as_u64()?;
    (version == VERSION && object.string("key").ok()? == Some(key)).then_some(object)
}

fn time(object: &Object, name: &str) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_secs(object.number(name).ok()??.as_u64()?))
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The version of the format.
const VERSION: u64 = 1;

/// Names, numbers, the key and signs around the texts of a token.
const JSON_AROUND_TEXTS: usize = 320;

/// The longest `Retry-After` that is honoured.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
