//! What a caller asks a token for.

use std::fmt;

use zeroize::Zeroizing;

use crate::error::{ConfigProblem, Error};
use crate::oauth::is_scope_token;

/// What to ask for in one call, instead of the client's defaults.
///
/// ```
/// use aero2::TokenOptions;
/// let test = aero2::testing::TestIssuer::new();
/// test.register_client("svc-orders", "secret", ["api:read", "api:write"]);
/// let m2m = test.issuer().m2m_client("svc-orders", "secret").build()?;
/// let read_only = TokenOptions::new().scope("api:read");
/// assert_eq!(m2m.access_token_with(&read_only)?.scope(), Some("api:read"));
///
/// let unknown = TokenOptions::new().scope("api:delete");
/// let Err(aero2::Error::OAuth(e)) = m2m.access_token_with(&unknown) else {
///     panic!("accepted")
/// };
/// assert_eq!(e.error_code(), "invalid_scope");
/// # Ok::<(), aero2::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct TokenOptions {
    pub(crate) scope: Option<String>,
    pub(crate) params: Params,
    pub(crate) force_refresh: bool,
}

impl TokenOptions {
    /// Options that change nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The scopes to ask for, separated by spaces, in any order. Defaults to the client's
    /// [`default_scope`](crate::M2mClientBuilder::default_scope).
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// An additional parameter of the token request, such as `resource` (RFC 8707). If you set the same name several times, all
    /// values are sent. It replaces the client's own parameter of that name. Tokens for different parameters are cached
    /// separately.
    pub fn param(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.params.push(name.into(), value.into());
        self
    }

    /// Asks the issuer for a new token, whatever the cache contains. Concurrent callers may share the request, but none of them
    /// gets a token that was requested before its call.
    pub fn force_refresh(mut self) -> Self {
        self.force_refresh = true;
        self
    }

    pub(crate) fn asks_for_defaults(&self) -> bool {
        self.scope.is_none() && self.params.0.is_empty()
    }
}

/// Further parameters of a token request. A value may be a credential: `Debug` shows the names only, and the memory is wiped.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Params(Vec<(String, Zeroizing<String>)>);

impl Params {
    pub(crate) fn push(&mut self, name: String, value: String) {
        self.0.push((name, Zeroizing::new(value)));
    }

    /// These, and of the others those whose name is not among these, in a fixed order.
    fn over(&self, others: &Self) -> Self {
        let own = |name: &str| self.0.iter().any(|(other, _)| other == name);
        let kept = others.0.iter().filter(|(name, _)| !own(name));
        let mut all: Vec<_> = kept.chain(&self.0).cloned().collect();
        all.sort_by(|(name, value), (other, its)| name.cmp(other).then_with(|| value.as_str().cmp(its.as_str())));
        Self(all)
    }
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// What a token is asked for, in a form in which two that mean the same are equal: the key of the cache.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TokenRequest {
    scope: Option<String>,
    params: Params,
}

impl TokenRequest {
    /// What a call asks for of a client with such defaults.
    pub(crate) fn new(options: &TokenOptions, default_scope: Option<&str>, defaults: &Params) -> Result<Self, Error> {
        let scope = options.scope.as_deref().or(default_scope).map(scope_set).transpose()?;
        let params = options.params.over(defaults);
        if let Some((name, _)) = params.0.iter().find(|(name, _)| RESERVED.contains(&name.as_str())) {
            return Err(Error::config(ConfigProblem::ReservedParameter(name.clone())));
        }
        Ok(Self { scope, params })
    }

    pub(crate) fn scope(&self) -> Option<&str> {
        self.scope.as_deref()
    }

    /// The form of the token request (RFC 6749 §4.4.2), without the client's credentials.
    pub(crate) fn form(&self) -> Vec<(&str, &str)> {
        let mut form = vec![("grant_type", "client_credentials")];
        form.extend(self.scope().map(|scope| ("scope", scope)));
        form.extend(self.params.0.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        form
    }
}

/// A set of scopes in a fixed order. An empty one is refused: without the parameter the issuer would grant every scope that the
/// client has, and nobody who writes an empty list means that.
fn scope_set(scope: &str) -> Result<String, Error> {
    let mut scopes: Vec<&str> = scope.split(' ').filter(|scope| !scope.is_empty()).collect();
    if scopes.is_empty() || !scopes.iter().all(|scope| is_scope_token(scope)) {
        return Err(Error::config(ConfigProblem::Scope));
    }
    scopes.sort_unstable();
    scopes.dedup();
    Ok(scopes.join(" "))
}

/// What this crate sets itself (RFC 6749 §2.3.1, §4.4.2; RFC 7523 §2.2).
const RESERVED: [&str; 6] =
    ["grant_type", "client_id", "client_secret", "client_assertion", "client_assertion_type", "scope"];

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(options: &TokenOptions) -> Result<TokenRequest, Error> {
        let mut defaults = Params::default();
        defaults.push("audience".into(), "orders".into());
        TokenRequest::new(options, Some("api:write api:read"), &defaults)
    }

    #[test]
    fn scopes_are_a_set_whatever_their_order_and_number() {
        for scope in
            ["api:read api:write", "api:write api:read", "api:read api:write api:read", " api:write  api:read "]
        {
            assert_eq!(
                asked(&TokenOptions::new().scope(scope)).unwrap(),
                asked(&TokenOptions::new()).unwrap(),
                "{scope:?}"
            );
        }
        for scope in ["api:read", "api:read api:writ", "api:readapi:write", "API:read api:write"] {
            assert_ne!(
                asked(&TokenOptions::new().scope(scope)).unwrap(),
                asked(&TokenOptions::new()).unwrap(),
                "{scope:?}"
            );
        }
    }

    #[test]
    fn a_scope_is_separated_by_spaces_only_and_never_empty() {
        for scope in ["", " ", "a\tb", "a\nb", "a\"b", "a\\b", "a\u{7f}", "caf\u{e9}", "a\u{a0}b"] {
            let err = asked(&TokenOptions::new().scope(scope)).unwrap_err();
            assert!(matches!(err, Error::Config(_)), "{scope:?}");
        }
    }

    #[test]
    fn parameters_of_a_call_replace_the_clients_of_the_same_name() {
        let both = asked(&TokenOptions::new().param("resource", "b").param("resource", "a")).unwrap();
        assert_eq!(
            both.form(),
            [
                ("grant_type", "client_credentials"),
                ("scope", "api:read api:write"),
                ("audience", "orders"),
                ("resource", "a"),
                ("resource", "b"),
            ]
        );
        let replaced = asked(&TokenOptions::new().param("audience", "billing")).unwrap();
        assert_eq!(replaced.form().last(), Some(&("audience", "billing")));
        assert_ne!(both, replaced);
        let swapped = asked(&TokenOptions::new().param("resource", "a").param("resource", "b")).unwrap();
        assert_eq!(both, swapped);
    }

    #[test]
    fn a_name_and_a_value_are_not_run_together_in_the_key() {
        let one = asked(&TokenOptions::new().param("a", "b=c")).unwrap();
        let other = asked(&TokenOptions::new().param("a=b", "c")).unwrap();
        assert_ne!(one, other);
    }

    #[test]
    fn what_this_crate_sets_itself_is_refused_as_a_parameter() {
        for name in RESERVED {
            let err = asked(&TokenOptions::new().param(name, "x")).unwrap_err();
            assert_eq!(
                err.to_string(),
                format!("the parameter {name} is set by this crate; use the client's own settings instead")
            );
        }
    }

    #[test]
    fn debug_shows_no_value_of_a_parameter() {
        let shown = format!("{:?}", TokenOptions::new().param("assertion", "hunter2"));
        assert!(shown.contains("assertion") && !shown.contains("hunter2"), "{shown}");
    }
}
