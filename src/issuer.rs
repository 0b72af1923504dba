//! The issuer that all capabilities hang on.

pub(crate) mod metadata;
