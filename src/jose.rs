//! Building blocks to verify other JWS as strictly as access tokens (RFC 7515, RFC 7517).
//!
//! A [`VerificationKey`] is a key together with the algorithms that it serves, so the header of a token never decides how it is
//! verified. What is special to access tokens (`typ`, claims, times) is not checked here: use a
//! [`ResourceServer`](crate::ResourceServer) for those.

pub(crate) mod algorithm;
pub(crate) mod base64url;
pub(crate) mod jwk;
pub(crate) mod jws;
pub(crate) mod key;

pub use algorithm::Algorithm;
pub use jwk::{Jwk, JwkSet};
pub use jws::CompactJws;
pub use key::VerificationKey;
