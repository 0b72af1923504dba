//! Discovery document and keys as one text, so that the next process starts without the network.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::SnapshotProblem;
use crate::http::url::IssuerUrl;
use crate::issuer::discovery::Metadata;
use crate::jose::jwk::JwkSet;
use crate::json::Object;
use crate::json::write::push_string;

/// What an issuer had published at a certain time.
pub(crate) struct Snapshot {
    pub(crate) fetched_at: SystemTime,
    pub(crate) ttl: Duration,
    pub(crate) metadata: Metadata,
    pub(crate) keys: JwkSet,
}

impl Snapshot {
    /// Reads a snapshot of that issuer.
    pub(crate) fn parse(text: &str, issuer: &IssuerUrl) -> Result<Self, SnapshotProblem> {
        let object = Object::parse(text).map_err(|_| SnapshotProblem::Malformed)?;
        let seconds = |name| whole_number(&object, name).ok_or(SnapshotProblem::Malformed);
        let string = |name| object.string(name).ok().flatten().ok_or(SnapshotProblem::Malformed);
        if seconds("aero2_snapshot")? != VERSION {
            return Err(SnapshotProblem::Version);
        }
        if string("issuer")? != issuer.as_str() {
            return Err(SnapshotProblem::OtherIssuer);
        }
        let fetched_at = UNIX_EPOCH.checked_add(Duration::from_secs(seconds("fetched_at")?));
        Ok(Self {
            fetched_at: fetched_at.ok_or(SnapshotProblem::Malformed)?,
            ttl: Duration::from_secs(seconds("ttl")?).min(MAX_TTL),
            metadata: Metadata::parse(string("discovery")?, issuer).map_err(|_| SnapshotProblem::Malformed)?,
            keys: JwkSet::parse(string("keys")?).map_err(|_| SnapshotProblem::Malformed)?,
        })
    }

    /// The text that [`parse`](Self::parse) reads. The two documents stand in it as they came, each as a string.
    pub(crate) fn to_json(&self, issuer: &IssuerUrl) -> String {
        let fetched_at = self.fetched_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut out = format!("{{\"aero2_snapshot\":{VERSION},\"issuer\":");
        push_string(issuer.as_str(), &mut out);
        // Writing to a String does not fail.
        let _ = write!(out, ",\"fetched_at\":{fetched_at},\"ttl\":{},\"discovery\":", self.ttl.as_secs());
        push_string(self.metadata.text(), &mut out);
        out.push_str(",\"keys\":");
        push_string(self.keys.text(), &mut out);
        out.push('}');
        out
    }

    /// How old it is; `None` by a clock that stands before the time at which it was made.
    pub(crate) fn age(&self, wall: SystemTime) -> Option<Duration> {
        wall.duration_since(self.fetched_at).ok()
    }
}

fn whole_number(object: &Object, name: &str) -> Option<u64> {
    object.number(name).ok().flatten()?.as_u64()
}

/// The version of the format. Another one is refused, and the network is used.
const VERSION: u64 = 1;

/// Longer than this nothing is fresh, whatever a snapshot or a `Cache-Control: max-age` says: a revoked key would stay in use.
pub(crate) const MAX_TTL: Duration = Duration::from_secs(24 * 3600);

/// Two documents of 256 KiB with every byte escaped, and the rest. A longer file cannot be a snapshot.
#[cfg(feature = "file-cache")]
pub(crate) const MAX_SNAPSHOT_BYTES: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://acme.aero2.dev";

    fn issuer() -> IssuerUrl {
        IssuerUrl::parse(ISSUER, false).unwrap()
    }

    fn snapshot() -> Snapshot {
        let discovery = format!("{{\"issuer\":\"{ISSUER}\",\n\t\"x\":\"\\u0007\\\\ é\"}}");
        Snapshot {
            fetched_at: UNIX_EPOCH + Duration::from_secs(1_800_000_000),
            ttl: Duration::from_secs(600),
            metadata: Metadata::parse(&discovery, &issuer()).unwrap(),
            keys: JwkSet::parse("{\"keys\":[]}").unwrap(),
        }
    }

    fn problem(text: &str) -> SnapshotProblem {
        Snapshot::parse(text, &issuer()).err().unwrap()
    }

    #[test]
    fn what_is_written_reads_back() {
        let written = snapshot().to_json(&issuer());
        let read = Snapshot::parse(&written, &issuer()).unwrap();
        assert_eq!(read.to_json(&issuer()), written);
        assert_eq!((read.fetched_at, read.ttl), (snapshot().fetched_at, snapshot().ttl));
        assert_eq!(read.metadata.text(), snapshot().metadata.text());
    }

    #[test]
    fn a_half_written_snapshot_is_malformed() {
        let written = snapshot().to_json(&issuer());
        for end in 0..written.len() {
            if let Some(half) = written.get(..end) {
                assert_eq!(problem(half), SnapshotProblem::Malformed);
            }
        }
    }

    #[test]
    fn another_version_another_issuer_and_wrong_members_are_refused() {
        let written = snapshot().to_json(&issuer());
        for (from, to, expected) in [
            ("\"aero2_snapshot\":1", "\"aero2_snapshot\":2", SnapshotProblem::Version),
            ("\"aero2_snapshot\":1", "\"aero2_snapshot\":\"1\"", SnapshotProblem::Malformed),
            ("\"aero2_snapshot\":1,", "", SnapshotProblem::Malformed),
            ("\"issuer\":\"https://acme", "\"issuer\":\"https://evil", SnapshotProblem::OtherIssuer),
            ("\"fetched_at\":1800000000", "\"fetched_at\":-1", SnapshotProblem::Malformed),
            ("\"fetched_at\":1800000000", "\"fetched_at\":18446744073709551615", SnapshotProblem::Malformed),
            ("\"ttl\":600", "\"ttl\":1.5", SnapshotProblem::Malformed),
            ("\\\"keys\\\":[]", "\\\"keys\\\":7", SnapshotProblem::Malformed),
            ("\"{\\\"issuer\\\":\\\"https://acme", "\"{\\\"issuer\\\":\\\"https://evil", SnapshotProblem::Malformed),
        ] {
            let changed = written.replacen(from, to, 1);
            assert_ne!(changed, written, "{from}");
            assert_eq!(problem(&changed), expected, "{to}");
        }
    }

    #[test]
    fn a_clock_before_the_snapshot_knows_no_age() {
        let snapshot = snapshot();
        assert_eq!(snapshot.age(snapshot.fetched_at), Some(Duration::ZERO));
        assert_eq!(snapshot.age(snapshot.fetched_at - Duration::from_secs(1)), None);
    }
}
