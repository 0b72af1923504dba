//! Wire formats of HTTP: URLs, headers, dates, forms.

pub(crate) mod authorization;
pub(crate) mod date;
pub(crate) mod form;
pub(crate) mod headers;
pub(crate) mod url;
