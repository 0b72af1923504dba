//! A transport that looks at every request before it leaves: where do secrets go?

use std::sync::{Arc, Mutex};

use aero2::{Request, Response, Transport, TransportError};

/// Every client secret of these tests has this in it, in forms that no encoding changes.
pub(crate) const SECRET: &str = "s3cret-of-the-tests";

/// Passes on to another transport and holds each request to the rule: a secret is in the body of a POST or in its `Authorization`,
/// and goes over https or to loopback only, to one of the allowed URLs.
#[derive(Clone)]
pub(crate) struct Recorder<T> {
    inner: T,
    broken_rules: Arc<Mutex<Vec<String>>>,
    carriers: Arc<Mutex<Vec<String>>>,
}

impl<T: Transport> Recorder<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self { inner, broken_rules: Arc::default(), carriers: Arc::default() }
    }

    /// The URLs that a secret was sent to. Panics if one went out in another way than it may.
    pub(crate) fn carriers(&self) -> Vec<String> {
        let broken = self.broken_rules.lock().unwrap();
        assert!(broken.is_empty(), "{broken:#?}");
        self.carriers.lock().unwrap().clone()
    }

    fn check(&self, request: &Request<'_>) {
        let url = request.url();
        let holds = |text: &str| text.contains(SECRET);
        let body = String::from_utf8_lossy(request.body().unwrap_or_default()).into_owned();
        let authorization = request.headers().any(|(name, _)| name == "authorization");
        let in_other_header = request.headers().any(|(name, value)| name != "authorization" && holds(value));
        let shown = format!("{request:?}");
        let mut rule = |broken: bool, what: &str| {
            if broken {
                self.broken_rules.lock().unwrap().push(format!("{what}: {} {url}", request.method()));
            }
        };
        rule(holds(url), "a secret in the URL");
        rule(in_other_header, "a secret in a header");
        rule(holds(&shown), "a secret in Debug");
        rule(request.method() == "GET" && (authorization || request.body().is_some()), "credentials in a GET");
        rule(!is_private(url), "a request over plain http to another machine");
        if holds(&body) || authorization {
            self.carriers.lock().unwrap().push(url.to_owned());
        }
    }
}

fn is_private(url: &str) -> bool {
    ["https://", "http://127.0.0.1:", "http://localhost:", "http://[::1]:"].iter().any(|start| url.starts_with(start))
}

impl<T: Transport> Transport for Recorder<T> {
    fn send(&self, request: &Request<'_>) -> Result<Response, TransportError> {
        self.check(request);
        self.inner.send(request)
    }
}
