//! A plugin with a C interface: it gets a token, and says whom a token is for.
//!
//! All that it has is in the handle. Nothing is static, no thread is started, so when the host has closed its handles it can unload the
//! plugin.

use std::ffi::{CStr, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use aero2::{Error, Issuer, M2mClient, ResourceServer};

/// What a handle points to.
pub struct Orders {
    issuer: Issuer,
    m2m: M2mClient,
    api: ResourceServer,
}

impl Orders {
    fn new(issuer: &str, client_id: &str, client_secret: &str) -> Result<Self, Error> {
        let issuer = Issuer::new(issuer)?;
        let m2m = issuer.m2m_client(client_id, client_secret).build()?;
        let api = issuer.resource_server().required_scopes(["api:read"]).build()?;
        Ok(Self { issuer, m2m, api })
    }

    /// Calls itself, as it were: takes a token and verifies it.
    fn check(&self) -> Result<bool, Error> {
        let token = self.m2m.access_token()?;
        let claims = self.api.authorize(Some(token.authorization_header().expose_secret()))?;
        Ok(claims.has_scope("api:read"))
    }
}

/// A new handle, or null. Sends nothing.
///
/// # Safety
/// The texts end in a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orders_open(issuer: *const c_char, id: *const c_char, secret: *const c_char) -> *mut Orders {
    // SAFETY: promised by the caller.
    let [issuer, id, secret] = [issuer, id, secret].map(|text| unsafe { CStr::from_ptr(text) }.to_str());
    let (Ok(issuer), Ok(id), Ok(secret)) = (issuer, id, secret) else { return ptr::null_mut() };
    let orders = catch_unwind(|| Orders::new(issuer, id, secret).ok().map(Box::new));
    orders.ok().flatten().map_or(ptr::null_mut(), Box::into_raw)
}

/// 0 if a token could be had and was good, else the HTTP status that fits the error. Any number of threads may call it at once.
///
/// # Safety
/// `orders` is from [`orders_open`] and not closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orders_check(orders: *const Orders) -> i32 {
    // SAFETY: promised by the caller.
    let orders = unsafe { &*orders };
    match catch_unwind(AssertUnwindSafe(|| orders.check())) {
        Ok(Ok(true)) => 0,
        Ok(Ok(false)) => 403,
        Ok(Err(error)) => i32::from(error.http_status()),
        Err(_) => 500,
    }
}

/// How many requests this handle has made for discovery, keys and tokens.
///
/// # Safety
/// As [`orders_check`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orders_requests(orders: *const Orders) -> u64 {
    // SAFETY: promised by the caller.
    let stats = unsafe { &*orders }.issuer.stats();
    stats.discovery_fetches() + stats.key_fetches() + stats.tokens_minted()
}

/// Closes a handle: its connections and its memory go.
///
/// # Safety
/// `orders` is from [`orders_open`], not closed, and no thread is in a call with it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn orders_close(orders: *mut Orders) {
    // SAFETY: promised by the caller.
    drop(unsafe { Box::from_raw(orders) });
}
