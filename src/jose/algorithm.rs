//! The signature algorithms that this crate verifies (RFC 7518 §3.1, RFC 8037 §3.1).

use std::fmt;
use std::str::FromStr;

use crate::error::{ConfigProblem, Error};

/// A JWS signature algorithm (RFC 7518 §3.1, RFC 8037 §3.1).
///
/// There is no `none` and no HMAC, and there never will be: a verifier of public tokens has no use for them (RFC 8725 §3.1,
/// §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256, which Aero2 signs with.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// EdDSA with Ed25519. The name `Ed25519` (RFC 9864) means the same algorithm.
    EdDsa,
}

impl Algorithm {
    /// Every algorithm that this crate verifies; the default of a resource server.
    pub const ALL: &[Self] = &[
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// The name in a JOSE header, such as `RS256`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm with that name, compared byte for byte; `None` if this crate does not verify it.
    pub fn from_name(name: &str) -> Option<Self> {
        if name == "Ed25519" {
            return Some(Self::EdDsa);
        }
        Self::ALL.iter().copied().find(|algorithm| algorithm.name() == name)
    }
}

impl FromStr for Algorithm {
    type Err = Error;

    /// As [`from_name`](Self::from_name), with an [`Error::Config`] for any other name.
    fn from_str(name: &str) -> Result<Self, Error> {
        Self::from_name(name).ok_or_else(|| Error::config(ConfigProblem::Algorithm))
    }
}

impl TryFrom<&str> for Algorithm {
    type Error = Error;

    fn try_from(name: &str) -> Result<Self, Error> {
        name.parse()
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for algorithm in Algorithm::ALL.iter().copied() {
            assert_eq!(Algorithm::from_name(algorithm.name()), Some(algorithm));
            assert_eq!(algorithm.to_string().parse::<Algorithm>().unwrap(), algorithm);
            assert_eq!(Algorithm::try_from(algorithm.name()).unwrap(), algorithm);
        }
        assert_eq!(Algorithm::from_name("Ed25519"), Some(Algorithm::EdDsa));
    }

    #[test]
    fn what_is_never_used_has_no_name() {
        for name in
            ["none", "None", "NONE", "HS256", "HS384", "HS512", "rs256", "ES256K", "ES512", "Ed448", "RSA-OAEP", ""]
        {
            assert_eq!(Algorithm::from_name(name), None, "{name}");
            assert!(name.parse::<Algorithm>().is_err(), "{name}");
        }
    }
}
