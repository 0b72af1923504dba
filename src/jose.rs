//! Building blocks for other JWS, with the same rigour as the resource server's own.

mod algorithm;

pub use algorithm::Algorithm;
