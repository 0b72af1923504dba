//! The resource server: access tokens in, claims or a refusal out.

pub(crate) mod checks;
