//! What the endpoints answer: Aero2's rules, and RFC 6749, 7009, 7662 behind them.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::assertion;
use super::faults::{Endpoint, FaultKind, Patience};
use super::form::{self, Form, Refusal};
use super::json::{Json, Object, Value};
use super::keys::SigningKey;
use super::state::{Client, Proof, State};
use super::token::{TestToken, numeric_date};
use crate::{NetworkErrorKind, Response};

/// Where an issuer is seen from: its URL, taken apart.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) url: String,
    origin: String,
    path: String,
}

impl Site {
    pub(super) fn new(url: &str) -> Self {
        let host = url.find("://").map_or(0, |at| at + 3);
        let path = url.get(host..).and_then(|rest| rest.find('/')).map_or(url.len(), |at| host + at);
        let (origin, path) = url.split_at(path);
        let path = path.trim_end_matches('/');
        Self { url: url.to_owned(), origin: origin.to_owned(), path: path.to_owned() }
    }

    /// Path and query of a URL of this origin.
    pub(super) fn target<'u>(&self, url: &'u str) -> Option<&'u str> {
        url.strip_prefix(&self.origin).filter(|target| target.starts_with('/'))
    }

    pub(super) fn endpoint(&self, path: &str) -> Option<Endpoint> {
        if path.strip_prefix(OAUTH_METADATA) == Some(&self.path) {
            return Some(Endpoint::Discovery);
        }
        let path = path.strip_prefix(&self.path)?;
        match path {
            "/.well-known/openid-configuration" => Some(Endpoint::Discovery),
            "/oauth2/token" => Some(Endpoint::Token),
            "/oauth2/introspect" => Some(Endpoint::Introspection),
            "/oauth2/revoke" => Some(Endpoint::Revocation),
            "/oauth2/jwks.json" => Some(Endpoint::Keys),
            _ => path.starts_with("/oauth2/jwks/").then_some(Endpoint::Keys),
        }
    }

    fn at(&self, path: &str) -> Json {
        Json::from(format!("{}{}{path}", self.origin, self.path))
    }
}

/// A request, however it came.
pub(super) struct Incoming<'a> {
    pub(super) method: &'a str,
    pub(super) target: &'a str,
    pub(super) content_type: Option<&'a str>,
    pub(super) authorization: Option<&'a str>,
    pub(super) body: &'a [u8],
}

impl Incoming<'_> {
    pub(super) fn path(&self) -> &str {
        self.target.split(['?', '#']).next().unwrap_or_default()
    }
}

/// Answers a request, or fails as the script has it.
pub(super) fn handle(
    state: &Arc<State>,
    site: &Site,
    incoming: &Incoming<'_>,
    patience: &Patience<'_>,
) -> Result<Response, NetworkErrorKind> {
    let Some(endpoint) = site.endpoint(incoming.path()) else { return Ok(not_found()) };
    match state.script.arrive(endpoint, patience).map(|fault| fault.0) {
        None => Ok(dated(answer(state, site, &site.url, endpoint, incoming), state.now())),
        Some(FaultKind::Issuer(name)) => Ok(dated(answer(state, site, &name, endpoint, incoming), state.now())),
        Some(FaultKind::Answer { status, headers, body }) => Ok(Response::new(status, headers, body)),
        Some(FaultKind::Transport(kind)) => Err(kind),
    }
}

/// The answer of `endpoint`, under the issuer name `name`.
fn answer(state: &Arc<State>, site: &Site, name: &str, endpoint: Endpoint, incoming: &Incoming<'_>) -> Response {
    let is_document = matches!(endpoint, Endpoint::Discovery | Endpoint::Keys);
    if incoming.method != (if is_document { "GET" } else { "POST" }) {
        return json_answer(405, &Json::object([("error", "Method not allowed")]));
    }
    let result = match endpoint {
        Endpoint::Discovery => return discovery(state, site, name, incoming.path()),
        Endpoint::Keys => return keys(state, incoming.path()),
        Endpoint::Token => token(state, name, incoming),
        Endpoint::Introspection => introspection(state, site, name, incoming),
        Endpoint::Revocation => revocation(state, site, incoming),
    };
    let (status, body) = match result {
        Ok(body) => (200, body),
        Err(refusal) => (refusal.status, refusal.body()),
    };
    let basic = (status == 401 && incoming.authorization.is_some()).then_some(("www-authenticate", "Basic"));
    answer_with(status, &body, [("cache-control", "no-store")].into_iter().chain(basic))
}

fn not_found() -> Response {
    json_answer(404, &Json::object([("error", "Not found")]))
}

/// Aero2's published document: no introspection endpoint, and client_credentials not among the grants.
fn discovery(state: &State, site: &Site, name: &str, path: &str) -> Response {
    if path.starts_with(OAUTH_METADATA) != state.settings.oauth_metadata_only {
        return not_found();
    }
    let mut members = vec![
        ("issuer", Json::from(name)),
        ("authorization_endpoint", site.at("/oauth2/authorize")),
        ("token_endpoint", site.at("/oauth2/token")),
        ("userinfo_endpoint", site.at("/oauth2/userinfo")),
        ("jwks_uri", site.at("/oauth2/jwks.json")),
        ("revocation_endpoint", site.at("/oauth2/revoke")),
        ("response_types_supported", Json::from(["code"])),
        ("grant_types_supported", Json::from(["authorization_code", "refresh_token"])),
        ("subject_types_supported", Json::from(["public"])),
        ("id_token_signing_alg_values_supported", Json::from([state.settings.algorithm.name()])),
        ("token_endpoint_auth_methods_supported", Json::from(state.settings.auth_methods.clone())),
    ];
    let changes = state.registry.lock().metadata.clone();
    members.retain(|(member, _)| !changes.contains_key(*member));
    let changed = changes.iter().filter_map(|(member, value)| Some((member.as_str(), value.clone()?)));
    members.extend(changed);
    json_answer(200, &Json::object(members))
}

fn keys(state: &State, path: &str) -> Response {
    let max_age = state.settings.keys_max_age.map(|age| format!("public, max-age={}", age.as_secs()));
    let cache_control = max_age.as_deref().map(|value| ("cache-control", value));
    if let Some((_, key_id)) = path.rsplit_once("/jwks/") {
        let key = state.keys.lock().with_id(key_id).map(SigningKey::jwk);
        return key.map_or_else(not_found, |key| answer_with(200, &key, cache_control));
    }
    let origin = || state.keys.lock().key_set();
    let Some(cdn) = state.settings.cdn else { return answer_with(200, &origin(), cache_control) };
    let now = state.now();
    let copy = state.cdn.lock().answer(cdn, now, origin);
    let age = copy.age(now).unwrap_or_default().as_secs().to_string();
    let date = http_date(copy.fetched_at);
    answer_with(200, &copy.body, cache_control.into_iter().chain([("age", age.as_str()), ("date", &date)]))
}

fn token(state: &Arc<State>, name: &str, incoming: &Incoming<'_>) -> Result<Json, Refusal> {
    let (form, id, client) = authenticated(state, name, incoming)?;
    match form.one("grant_type")? {
        Some("client_credentials") => {}
        Some(_) => return Err(Refusal::new(400, "unsupported_grant_type", "only client_credentials is supported")),
        None => return Err(Refusal::new(400, "invalid_request", "grant_type is missing")),
    }
    let Some(registered) = client.scopes else {
        return Err(Refusal::new(400, "unauthorized_client", "the client is not registered for client_credentials"));
    };
    let scope = match form.one("scope")?.filter(|scope| !scope.is_empty()) {
        Some(asked) if asked.split(' ').all(|scope| registered.iter().any(|known| known == scope)) => asked.to_owned(),
        Some(_) => return Err(Refusal::new(400, "invalid_scope", "a scope is not registered for this client")),
        None => registered.join(" "),
    };
    let mut audiences: Vec<&str> = form.all("audience").chain(form.all("resource")).collect();
    audiences.extend(state.settings.default_audience.as_deref().filter(|_| audiences.is_empty()));
    let token = TestToken::new(state.clone(), name.to_owned()).subject(&id).client_id(&id).scope(&scope);
    let token = match audiences.as_slice() {
        [] => token,
        [audience] => token.audience(audience),
        _ => token.audiences(audiences),
    };
    Ok(Json::object([
        ("access_token", Json::from(token.sign())),
        ("token_type", "Bearer".into()),
        ("expires_in", state.settings.token_lifetime.as_secs().into()),
        ("scope", scope.into()),
    ]))
}

fn introspection(state: &State, site: &Site, name: &str, incoming: &Incoming<'_>) -> Result<Json, Refusal> {
    let (form, caller, _) = authenticated(state, name, incoming)?;
    let token = form.one("token")?.ok_or(Refusal::new(400, "invalid_request", "token is missing"))?;
    let inactive = Json::object([("active", false)]);
    if state.registry.lock().revoked.contains(token) {
        return Ok(inactive);
    }
    if let Some((owner, expires)) = state.registry.lock().refresh_tokens.get(token) {
        let active = *owner == caller && *expires > state.now();
        let members = [
            ("active", true.into()),
            ("client_id", Json::from(owner)),
            ("exp", numeric_date(*expires)),
            ("iss", name.into()),
        ];
        return Ok(if active { Json::object(members) } else { inactive });
    }
    let claims = good_claims(state, site, token).filter(|claims| concerns(claims, &caller));
    Ok(claims.map_or(inactive, |claims| active(&claims, name)))
}

fn active(claims: &Object, name: &str) -> Json {
    let mut members = vec![("active", Json::from(true)), ("token_type", "Bearer".into()), ("iss", name.into())];
    for member in ["scope", "client_id", "exp", "iat", "nbf", "sub", "aud", "jti", "token_use", "cnf"] {
        if let Some(value) = claims.get(member) {
            members.push((member, Json::of(value)));
        }
    }
    Json::object(members)
}

/// The caller is an audience of the access token, or the client that it was issued to.
fn concerns(claims: &Object, caller: &str) -> bool {
    let is_caller = |value: &Value| matches!(value, Value::String(text) if text == caller);
    let is_audience = match claims.get("aud") {
        Some(Value::Array(audiences)) => audiences.iter().any(is_caller),
        Some(audience) => is_caller(audience),
        None => false,
    };
    is_audience || claims.get("client_id").is_some_and(is_caller)
}

/// RFC 7009 §2.1: a client revokes its own tokens. The answer is the same for any other token, which stays.
fn revocation(state: &State, site: &Site, incoming: &Incoming<'_>) -> Result<Json, Refusal> {
    let (form, caller, _) = authenticated(state, &site.url, incoming)?;
    let token = form.one("token")?.ok_or(Refusal::new(400, "invalid_request", "token is missing"))?;
    let claims = good_claims(state, site, token);
    let client_id = claims.as_ref().and_then(|claims| claims.text("client_id"));
    let mut registry = state.registry.lock();
    let owns_refresh = registry.refresh_tokens.get(token).is_some_and(|(owner, _)| *owner == caller);
    if owns_refresh || client_id == Some(caller.as_str()) {
        registry.revoked.insert(token.to_owned());
    }
    Ok(Json::object::<&str, Json>([]))
}

/// The claims of an access token that this issuer signed and that is in force.
fn good_claims(state: &State, site: &Site, token: &str) -> Option<Object> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, payload) = signed.split_once('.')?;
    let header = Object::of(header)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    if !state.keys.lock().with_id(header.text("kid")?)?.verify(signed.as_bytes(), &signature) {
        return None;
    }
    let claims = Object::of(payload)?;
    let now = state.now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    let is = |name: &str, value: &str| claims.text(name) == Some(value);
    let seconds = |name: &str| claims.number(name).filter(|seconds: &f64| seconds.is_finite());
    let in_force = is("iss", &site.url)
        && (is("token_use", "access") || claims.get("token_use").is_none())
        && seconds("exp").is_some_and(|expires| expires > now)
        && (claims.get("nbf").is_none() || seconds("nbf").is_some_and(|begins| begins <= now));
    in_force.then_some(claims)
}

/// The form and the client that proved to be itself (RFC 6749 §2.3.1, RFC 7523 §2.2).
fn authenticated(state: &State, name: &str, incoming: &Incoming<'_>) -> Result<(Form, String, Client), Refusal> {
    let media_type = incoming.content_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    if !media_type.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(Refusal::new(400, "invalid_request", "the body must be application/x-www-form-urlencoded"));
    }
    let form = Form::parse(incoming.body).ok_or(Refusal::new(400, "invalid_request", "the body is no form"))?;
    let (secret, jwt) = (form.one("client_secret")?, form.one("client_assertion")?);
    if [secret, jwt, incoming.authorization].iter().flatten().count() > 1 {
        return Err(Refusal::new(400, "invalid_request", "two ways of client authentication at once"));
    }
    let (method, id, shown) = match (incoming.authorization, jwt) {
        (Some(authorization), _) => {
            let (id, secret) = form::basic_credentials(authorization).ok_or(INVALID_CLIENT)?;
            ("client_secret_basic", id, secret)
        }
        (None, Some(jwt)) => {
            let id = assertion::claimed_client(jwt).ok_or(INVALID_CLIENT)?;
            ("private_key_jwt", id, jwt.to_owned())
        }
        (None, None) => {
            let (id, secret) = form.one("client_id")?.zip(secret).ok_or(INVALID_CLIENT)?;
            ("client_secret_post", id.to_owned(), secret.to_owned())
        }
    };
    let client = state.registry.lock().clients.get(&id).cloned().ok_or(INVALID_CLIENT)?;
    let proved = match &client.proof {
        Proof::Secret(secret) => jwt.is_none() && *secret == shown,
        Proof::Key(key) => jwt.is_some_and(|jwt| is_new_assertion(state, &form, jwt, (key, &id, name))),
    };
    let taken = state.settings.auth_methods.iter().any(|known| known == method);
    if proved && taken { Ok((form, id, client)) } else { Err(INVALID_CLIENT) }
}

/// RFC 7523 §3: of the right type, naming no other client than the form, good, and not used before.
fn is_new_assertion(state: &State, form: &Form, jwt: &str, (key, id, name): (&str, &str, &str)) -> bool {
    let is = |member: &str, expected: &str| form.one(member).is_ok_and(|value| value.is_none_or(|v| v == expected));
    let typed = form.all("client_assertion_type").eq([assertion::JWT_BEARER]) && is("client_id", id);
    let jti = assertion::verified(jwt, key, id, name, state.now()).filter(|_| typed);
    jti.is_some_and(|jti| state.registry.lock().assertions.insert(jti))
}

fn json_answer(status: u16, body: &Json) -> Response {
    answer_with(status, body, None)
}

fn answer_with<'h>(status: u16, body: &Json, more: impl IntoIterator<Item = (&'h str, &'h str)>) -> Response {
    let headers = [("content-type", "application/json")].into_iter().chain(more);
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Response::new(status, headers, body.to_string().into_bytes())
}

/// Every server with a clock sends `Date` (RFC 9110 §6.6.1). That of a copy is when the copy was made.
fn dated(response: Response, now: SystemTime) -> Response {
    if response.header("date").is_some() {
        return response;
    }
    let date = ("date".to_owned(), http_date(now));
    let headers: Vec<_> = response.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Response::new(response.status(), headers.into_iter().chain([date]), response.body().to_vec())
}

/// IMF-fixdate (RFC 9110 §5.6.7). The calendar starts at 0000-03-01, so that a leap day ends its year.
fn http_date(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, second) = (since / 86_400, since % 86_400);
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year + u64::from(month >= 10);
    let name =
        |names: &'static str, index: u64| names.split(' ').nth(index.try_into().unwrap_or(0)).unwrap_or_default();
    let weekday = name("Thu Fri Sat Sun Mon Tue Wed", days % 7);
    let month = name("Mar Apr May Jun Jul Aug Sep Oct Nov Dec Jan Feb", month);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

const INVALID_CLIENT: Refusal = Refusal::new(401, "invalid_client", "client authentication failed");

/// RFC 8414 §3.1: the issuer's path comes after it.
const OAUTH_METADATA: &str = "/.well-known/oauth-authorization-server";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates_are_written_as_http_has_them() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_796_083_199, "Mon, 30 Nov 2026 23:59:59 GMT"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(http_date(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn an_issuer_with_a_path_has_its_endpoints_below_it() {
        let site = Site::new("https://login.example/acme/");
        assert_eq!(site.target("https://login.example/acme/oauth2/token"), Some("/acme/oauth2/token"));
        assert_eq!(site.target("https://login.example.evil/acme"), None);
        assert_eq!(site.endpoint("/acme/oauth2/token"), Some(Endpoint::Token));
        assert_eq!(site.endpoint("/oauth2/token"), None);
        assert_eq!(site.endpoint("/.well-known/oauth-authorization-server/acme"), Some(Endpoint::Discovery));
        assert_eq!(site.at("/oauth2/token"), Json::from("https://login.example/acme/oauth2/token"));
    }
}
