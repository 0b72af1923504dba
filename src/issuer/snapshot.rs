//! Discovery document and keys as one text, so that the next process starts without the network.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::{Endpoint, SnapshotProblem};
use crate::issuer::addresses::Addresses;
use crate::issuer::discovery::Metadata;
use crate::jose::jwk::JwkSet;
use crate::json::Object;
use crate::json::write::push_string;

/// What an issuer had published at a certain time.
pub(crate) struct Snapshot {
    pub(crate) fetched_at: SystemTime,
    pub(crate) ttl: Duration,
    /// `None` where the program gave the key set's URL, so that no document is needed.
    pub(crate) metadata: Option<Metadata>,
    pub(crate) keys: JwkSet,
}

impl Snapshot {
    /// Reads a snapshot of that issuer under these addresses.
    pub(crate) fn parse(text: &str, addresses: &Addresses) -> Result<Self, SnapshotProblem> {
        let object = Object::parse(text).map_err(|_| SnapshotProblem::Malformed)?;
        let seconds = |name| whole_number(&object, name).ok_or(SnapshotProblem::Malformed);
        let optional = |name| object.string(name).map_err(|_| SnapshotProblem::Malformed);
        let string = |name| optional(name)?.ok_or(SnapshotProblem::Malformed);
        if seconds("aero2_snapshot")? != VERSION {
            return Err(SnapshotProblem::Version);
        }
        if string("issuer")? != addresses.issuer().as_str()
            || optional("addresses")?.unwrap_or_default() != addresses.binding()
        {
            return Err(SnapshotProblem::OtherIssuer);
        }
        let document = optional("discovery")?;
        if document.is_none() && addresses.given(Endpoint::Keys).is_none() {
            return Err(SnapshotProblem::Malformed);
        }
        let metadata = document.map(|text| Metadata::parse(text, addresses.issuer())).transpose();
        let fetched_at = UNIX_EPOCH.checked_add(Duration::from_secs(seconds("fetched_at")?));
        Ok(Self {
            fetched_at: fetched_at.ok_or(SnapshotProblem::Malformed)?,
            ttl: Duration::from_secs(seconds("ttl")?).min(MAX_TTL),
            metadata: metadata.map_err(|_| SnapshotProblem::Malformed)?,
            keys: JwkSet::parse(string("keys")?).map_err(|_| SnapshotProblem::Malformed)?,
        })
    }

    /// The text that [`parse`](Self::parse) reads. The two documents stand in it as they came, each as a string.
    pub(crate) fn to_json(&self, addresses: &Addresses) -> String {
        let fetched_at = self.fetched_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (binding, ttl) = (addresses.binding(), self.ttl.as_secs());
        let mut out = format!("{{\"aero2_snapshot\":{VERSION},\"fetched_at\":{fetched_at},\"ttl\":{ttl}");
        let members = [
            ("issuer", Some(addresses.issuer().as_str())),
            ("addresses", Some(&*binding).filter(|binding| !binding.is_empty())),
            ("discovery", self.metadata.as_ref().map(Metadata::text)),
            ("keys", Some(self.keys.text())),
        ];
        for (name, text) in members {
            let Some(text) = text else { continue };
            out.extend([",\"", name, "\":"]);
            push_string(text, &mut out);
        }
        out.push('}');
        out
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
    use crate::http::url::IssuerUrl;
    use crate::issuer::addresses::Given;

    const ISSUER: &str = "https://acme.aero2.dev";

    fn under(given: Given) -> Addresses {
        Addresses::new(IssuerUrl::parse(ISSUER, false).unwrap(), given)
    }

    fn issuer() -> Addresses {
        under(Given::default())
    }

    fn snapshot() -> Snapshot {
        let discovery = format!("{{\"issuer\":\"{ISSUER}\",\n\t\"x\":\"\\u0007\\\\ é\"}}");
        Snapshot {
            fetched_at: UNIX_EPOCH + Duration::from_secs(1_800_000_000),
            ttl: Duration::from_secs(600),
            metadata: Some(Metadata::parse(&discovery, issuer().issuer()).unwrap()),
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
        assert_eq!(read.metadata.unwrap().text(), snapshot().metadata.unwrap().text());
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
    fn a_snapshot_belongs_to_the_addresses_under_which_it_was_made() {
        let given = |url: &str| under(Given { keys: Some(url.to_owned()), ..Given::default() });
        let (plain, one, other) = (issuer(), given("https://k/1"), given("https://k/2"));
        for (made, used, good) in [
            (&plain, &plain, true),
            (&one, &one, true),
            (&one, &other, false),
            (&one, &plain, false),
            (&plain, &one, false),
        ] {
            let outcome = Snapshot::parse(&snapshot().to_json(made), used).map(drop);
            assert_eq!(outcome, if good { Ok(()) } else { Err(SnapshotProblem::OtherIssuer) });
        }
        let without = Snapshot { metadata: None, ..snapshot() };
        assert!(Snapshot::parse(&without.to_json(&one), &one).unwrap().metadata.is_none());
        assert_eq!(problem(&without.to_json(&plain)), SnapshotProblem::Malformed, "a document is needed there");
    }
}
