//! What the fuzz targets in `fuzz/` reach of the inside. Compiled under `cfg(fuzzing)` alone, which cargo-fuzz sets: no build of a
//! user has this module.

use std::time::{Duration, SystemTime};

use crate::claims::claim_set::{ClaimSet, ClaimsProblem, NumericDate};
use crate::error::{Endpoint, Error, TokenErrorKind};
use crate::http::authorization;
use crate::http::date;
use crate::http::headers;
use crate::http::url::IssuerUrl;
use crate::introspection::parse_response as read_introspection;
use crate::introspection::response::Introspection;
use crate::issuer::addresses::{Addresses, Given};
use crate::issuer::discovery::Metadata;
use crate::issuer::snapshot::Snapshot;
use crate::jose::jws::CompactJws;
use crate::m2m::token_response::{Requested, parse_response as read_token};
use crate::time::Now;
use crate::transport::Response;
#[cfg(feature = "ureq")]
use crate::transport::ureq::proxy::environment::{ProxyEnvironment, Route};

#[derive(Debug, PartialEq)]
pub struct Jws {
    pub algorithm: &'static str,
    pub kid: Option<String>,
    pub typ: Option<String>,
    pub signing_input: String,
    pub payload: Vec<u8>,
    pub signature: Vec<u8>,
}

pub fn jws(token: &str) -> Result<Jws, TokenErrorKind> {
    let jws = CompactJws::read(None, token)?;
    let (signing_input, payload, signature) = jws.parts();
    Ok(Jws {
        algorithm: jws.algorithm().name(),
        kid: jws.kid().map(str::to_owned),
        typ: jws.typ().map(str::to_owned),
        signing_input: signing_input.to_owned(),
        payload: payload.to_vec(),
        signature: signature.to_vec(),
    })
}

#[derive(Debug, PartialEq)]
pub struct ClaimTexts {
    pub raw: String,
    /// `iss`, `sub`, `jti`, `client_id`, `token_use`.
    pub texts: [Option<String>; 5],
    /// `exp`, `nbf`, `iat`, since 1970.
    pub dates: [Option<Duration>; 3],
    pub audience: Option<Vec<String>>,
    pub scope: Option<String>,
    pub scopes: Vec<String>,
    pub bound: bool,
}

pub fn claims(text: &str) -> Result<ClaimTexts, TokenErrorKind> {
    let set = ClaimSet::parse(text.to_owned()).map_err(|problem| match problem {
        ClaimsProblem::NotAnObject => TokenErrorKind::Malformed,
        ClaimsProblem::Claim(_) => TokenErrorKind::InvalidClaim,
    })?;
    let owned = |text: Option<&str>| text.map(str::to_owned);
    Ok(ClaimTexts {
        raw: set.raw_json().to_owned(),
        texts: [set.issuer(), set.subject(), set.jwt_id(), set.client_id(), set.token_use()].map(owned),
        dates: [set.expires_at(), set.not_before(), set.issued_at()].map(|date| date.map(NumericDate::since_epoch)),
        audience: set.audience().map(<[String]>::to_vec),
        scope: owned(set.scope()),
        scopes: set.scopes().map(str::to_owned).collect(),
        bound: set.is_sender_constrained(),
    })
}

/// The endpoints of a discovery document of that issuer: keys, token, introspection, revocation.
pub fn discovery(text: &str, issuer: &str) -> Result<[Option<String>; 4], Error> {
    let issuer = IssuerUrl::parse(issuer, false)?;
    let metadata = Metadata::parse(text, &issuer)?;
    let addresses = Addresses::new(issuer, Given::default());
    let endpoints = [Endpoint::Keys, Endpoint::Token, Endpoint::Introspection, Endpoint::Revocation];
    Ok(endpoints.map(|endpoint| addresses.endpoint(endpoint, metadata.endpoint(endpoint)).ok().map(String::from)))
}

/// Token, scope and lifetime.
pub fn token_response(text: &str, wall: SystemTime) -> Result<(String, Option<String>, Option<Duration>), Error> {
    let requested = Requested { scope: None, at: Now::new(wall, Duration::ZERO), default_lifetime: None };
    let minted = read_token(text, requested)?;
    let scope = minted.token.scope().map(str::to_owned);
    Ok((minted.token.expose_secret().to_owned(), scope, minted.lifetime))
}

pub fn introspection_response(body: &[u8], issuer: &str, wall: SystemTime) -> Result<Introspection, Error> {
    let response = Response::new(200, [], body.to_vec());
    read_introspection(&response, issuer, Now::new(wall, Duration::ZERO))
}

pub fn bearer_header(value: Option<&str>) -> Result<&str, TokenErrorKind> {
    authorization::bearer_token(value)
}

pub struct Url {
    pub text: String,
    pub discovery: String,
    pub oauth_metadata: String,
    /// Whether `endpoint` may be one of this issuer's.
    pub takes: bool,
}

pub fn issuer_url(text: &str, allow_http: bool, endpoint: &str) -> Option<Url> {
    let url = IssuerUrl::parse(text, allow_http).ok()?;
    Some(Url {
        text: url.as_str().to_owned(),
        discovery: url.discovery_url(),
        oauth_metadata: url.oauth_metadata_url(),
        takes: url.check_endpoint(endpoint),
    })
}

pub fn max_age(value: &str) -> Option<Duration> {
    headers::max_age([("cache-control", value)])
}

pub fn retry_after(value: &str, wall: SystemTime) -> Option<Duration> {
    headers::retry_after(value, wall)
}

pub fn http_date(value: &str, wall: SystemTime) -> Option<SystemTime> {
    date::http_date(value, wall)
}

/// The snapshot as it would be written again, and its time to live.
pub fn snapshot(text: &str, issuer: &str) -> Option<(String, Duration)> {
    let addresses = Addresses::new(IssuerUrl::parse(issuer, false).ok()?, Given::default());
    let snapshot = Snapshot::parse(text, &addresses).ok()?;
    Some((snapshot.to_json(&addresses), snapshot.ttl))
}

/// The host and port of the proxy for `https` to that host, and whether that variable can be used; `None` is a direct connection.
#[cfg(feature = "ureq")]
pub fn proxy(variables: &[(&str, &str)], https: bool, host: &str, port: u16) -> Option<Result<(String, u16), String>> {
    let find = |wanted: &str| variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned());
    match ProxyEnvironment::read(find, false).route(https, host, port) {
        Route::Direct => None,
        Route::Proxy(address) => Some(Ok((address.proxy().host().to_owned(), address.proxy().port()))),
        Route::Unusable { variable, place } => Some(Err(format!("{variable} {}", place.unwrap_or_default()))),
    }
}
