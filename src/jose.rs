//! Building blocks for other JWS, with the same rigour as the resource server's own (RFC 7515, RFC 7517).
//!
//! A [`VerificationKey`] is a key and the algorithms that it serves, so a token's header never chooses how it is verified. What is
//! said about access tokens, `typ`, claims and times, is not looked at here: for those there is
//! [`ResourceServer`](crate::ResourceServer).

pub(crate) mod algorithm;
pub(crate) mod base64url;
pub(crate) mod claim_set;
pub(crate) mod claims;
pub(crate) mod json;
pub(crate) mod jwk;
pub(crate) mod jws;
pub(crate) mod key;

pub use algorithm::Algorithm;
pub use jwk::{Jwk, JwkSet};
pub use jws::CompactJws;
pub use key::VerificationKey;
