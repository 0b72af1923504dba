//! What a test makes go wrong, and when: faults and gates per endpoint, and the counts of requests.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::NetworkErrorKind;

/// An endpoint of a [`TestIssuer`](super::TestIssuer).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    /// The discovery document, at either of its well-known addresses.
    Discovery,
    /// The key set.
    Keys,
    /// The token endpoint.
    Token,
    /// The introspection endpoint.
    Introspection,
    /// The revocation endpoint.
    Revocation,
}

impl Endpoint {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Discovery, Self::Keys, Self::Token, Self::Introspection, Self::Revocation];
}

/// A failure for [`TestIssuer::fail`](super::TestIssuer::fail). `Debug` shows neither headers nor body.
///
/// ```
/// use aero2::testing::{Endpoint, Fault, TestIssuer};
/// use std::time::Duration;
///
/// let test = TestIssuer::new();
/// test.fail(
///     Endpoint::Discovery,
///     1,
///     Fault::status(503).header("retry-after", "7").body("<h1>down</h1>"),
/// );
/// let err = test.issuer().preload().unwrap_err();
/// assert_eq!(err.retry_after(), Some(Duration::from_secs(7)));
/// assert!(test.issuer().preload().is_ok(), "it was to fail once");
/// # Ok::<(), aero2::Error>(())
/// ```
#[derive(Clone)]
pub struct Fault(pub(super) FaultKind);

#[derive(Clone)]
pub(super) enum FaultKind {
    Transport(NetworkErrorKind),
    Answer { status: u16, headers: Vec<(String, String)>, body: Vec<u8> },
    Issuer(String),
}

impl Fault {
    /// No complete response arrives. On [`serve`](super::TestIssuer::serve), the connection breaks in the middle of the response,
    /// whatever the kind.
    pub fn transport(kind: NetworkErrorKind) -> Self {
        Self(FaultKind::Transport(kind))
    }

    /// A response with that status, and without headers or body unless you add them.
    pub fn status(status: u16) -> Self {
        Self(FaultKind::Answer { status, headers: Vec::new(), body: Vec::new() })
    }

    /// A response with a JSON body. Nothing checks that it is JSON.
    pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::status(status).header("content-type", "application/json").body(body)
    }

    /// An HTML page with status 200, as a gateway or a captive portal sends it.
    pub fn garbage() -> Self {
        Self::status(200).header("content-type", "text/html").body("<!doctype html><title>Welcome</title>")
    }

    /// The correct response but in the name of another issuer: in the discovery document, in the `iss` of an introspection
    /// response, and in the `iss` of a minted token.
    pub fn wrong_issuer(url: impl Into<String>) -> Self {
        Self(FaultKind::Issuer(url.into()))
    }

    /// Adds a header to the response.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        if let FaultKind::Answer { headers, .. } = &mut self.0 {
            headers.push((name.into(), value.into()));
        }
        self
    }

    /// Sets the body of the response.
    #[must_use]
    pub fn body(mut self, text: impl Into<Vec<u8>>) -> Self {
        if let FaultKind::Answer { body, .. } = &mut self.0 {
            *body = text.into();
        }
        self
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Fault");
        match &self.0 {
            FaultKind::Transport(kind) => shown.field("kind", kind).finish(),
            // A token may be in the headers and in the body.
            FaultKind::Answer { status, .. } => shown.field("status", status).finish_non_exhaustive(),
            FaultKind::Issuer(url) => shown.field("issuer", url).finish(),
        }
    }
}

/// Holds back the requests to one endpoint until it is released or dropped; made by
/// [`TestIssuer::gate`](super::TestIssuer::gate).
///
/// A request that waits longer than its own time-out fails with [`NetworkErrorKind::Timeout`].
///
/// ```
/// use aero2::testing::{Endpoint, TestIssuer};
///
/// let test = TestIssuer::new();
/// let issuer = test.issuer();
/// let gate = test.gate(Endpoint::Keys);
/// std::thread::scope(|scope| {
///     let cold = scope.spawn(|| issuer.preload());
///     gate.wait_until_reached(1);
///     assert!(!cold.is_finished());
///     gate.release();
///     assert!(cold.join().unwrap().is_ok());
/// });
/// ```
#[derive(Debug)]
pub struct Gate(Arc<GateState>);

#[derive(Debug, Default)]
struct GateState {
    held: Mutex<Held>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Held {
    reached: usize,
    passes: usize,
    open: bool,
}

impl Gate {
    /// Waits until `requests` requests have arrived at the gate since it was set up.
    ///
    /// # Panics
    /// If they have not arrived within 30 seconds, so that a failing test does not hang.
    #[expect(clippy::panic, reason = "a test that waits in vain fails here rather than hanging")]
    pub fn wait_until_reached(&self, requests: usize) {
        let mut held = self.0.held.lock();
        let limit = Instant::now() + LIMIT;
        while held.reached < requests {
            if self.0.changed.wait_until(&mut held, limit).timed_out() {
                panic!("{} of {requests} requests have reached the gate in {LIMIT:?}", held.reached);
            }
        }
    }

    /// The number of requests that have arrived at the gate since it was set up.
    pub fn reached(&self) -> usize {
        self.0.held.lock().reached
    }

    /// Lets `requests` requests pass, whether they are waiting or arrive later. The gate stays shut for the rest.
    pub fn let_pass(&self, requests: usize) {
        self.0.held.lock().passes += requests;
        self.0.changed.notify_all();
    }

    /// Lets all requests pass, those that are waiting and those that arrive later.
    pub fn release(&self) {
        self.0.held.lock().open = true;
        self.0.changed.notify_all();
    }
}

impl Drop for Gate {
    /// A test that fails while it holds a gate must not hang the threads behind it.
    fn drop(&mut self) {
        self.release();
    }
}

impl GateState {
    fn is_open(&self) -> bool {
        self.held.lock().open
    }

    /// False if the request gave up waiting.
    fn pass(&self, patience: &Patience<'_>) -> bool {
        let mut held = self.held.lock();
        held.reached += 1;
        self.changed.notify_all();
        while !held.open && held.passes == 0 {
            let Some(wait) = patience() else { return false };
            self.changed.wait_for(&mut held, wait);
        }
        held.passes = held.passes.saturating_sub(1);
        true
    }
}

/// How long a request waits on before it is asked again; `None` when it gives up.
pub(super) type Patience<'a> = dyn Fn() -> Option<Duration> + 'a;

/// Counts, gates and faults of all endpoints.
#[derive(Default)]
pub(super) struct Script(Mutex<BTreeMap<Endpoint, Entry>>);

#[derive(Default)]
struct Entry {
    requests: usize,
    faults: VecDeque<(u32, Fault)>,
    gates: Vec<Arc<GateState>>,
}

impl Script {
    /// A request arrives: it is counted, waits at the gates, and meets the fault that is due. No lock is held meanwhile.
    pub(super) fn arrive(&self, endpoint: Endpoint, patience: &Patience<'_>) -> Option<Fault> {
        let gates = {
            let mut endpoints = self.0.lock();
            let entry = endpoints.entry(endpoint).or_default();
            entry.requests += 1;
            entry.gates.retain(|gate| !gate.is_open());
            entry.gates.clone()
        };
        if !gates.iter().all(|gate| gate.pass(patience)) {
            return Some(Fault::transport(NetworkErrorKind::Timeout));
        }
        self.0.lock().entry(endpoint).or_default().next_fault()
    }

    pub(super) fn fail(&self, endpoint: Endpoint, times: u32, fault: Fault) {
        self.0.lock().entry(endpoint).or_default().faults.push_back((times, fault));
    }

    pub(super) fn clear_faults(&self) {
        self.0.lock().values_mut().for_each(|entry| entry.faults.clear());
    }

    pub(super) fn gate(&self, endpoint: Endpoint) -> Gate {
        let gate = Gate(Arc::default());
        self.0.lock().entry(endpoint).or_default().gates.push(gate.0.clone());
        gate
    }

    pub(super) fn requests(&self, endpoint: Endpoint) -> usize {
        self.0.lock().get(&endpoint).map_or(0, |entry| entry.requests)
    }

    pub(super) fn reset_counts(&self) {
        self.0.lock().values_mut().for_each(|entry| entry.requests = 0);
    }
}

impl Entry {
    fn next_fault(&mut self) -> Option<Fault> {
        self.faults.retain(|(times, _)| *times > 0);
        let (times, fault) = self.faults.front_mut()?;
        *times -= 1;
        Some(fault.clone())
    }
}

/// How long a test waits for what must happen.
const LIMIT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_come_in_order_and_end() {
        let script = Script::default();
        script.fail(Endpoint::Token, 2, Fault::status(500));
        script.fail(Endpoint::Token, 0, Fault::status(501));
        script.fail(Endpoint::Token, 1, Fault::status(502));
        let status = |fault: Option<Fault>| match fault {
            Some(Fault(FaultKind::Answer { status, .. })) => status,
            _ => 200,
        };
        let met: Vec<u16> = (0..4).map(|_| status(script.arrive(Endpoint::Token, &|| Some(LIMIT)))).collect();
        assert_eq!(met, [500, 500, 502, 200]);
        assert_eq!((script.requests(Endpoint::Token), script.requests(Endpoint::Keys)), (4, 0));
    }

    #[test]
    fn a_gate_lets_as_many_pass_as_it_is_set_to_and_a_dropped_one_all() {
        let script = Script::default();
        let gate = script.gate(Endpoint::Keys);
        gate.let_pass(1);
        assert!(script.arrive(Endpoint::Keys, &|| Some(LIMIT)).is_none());
        assert!(script.arrive(Endpoint::Keys, &|| None).is_some(), "out of time");
        assert_eq!(gate.reached(), 2);
        std::thread::scope(|scope| {
            let held = scope.spawn(|| script.arrive(Endpoint::Keys, &|| Some(LIMIT)));
            gate.wait_until_reached(3);
            drop(gate);
            assert!(held.join().unwrap().is_none());
        });
    }
}
