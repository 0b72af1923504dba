//! A transport that looks at every request before it leaves: where do secrets go?

use std::sync::{Arc, Mutex};

use aero2::{Request, Response, Transport, TransportError};

/// Passes on to another transport and panics at a request that breaks the rule: a secret is in the form of a POST or in its
/// `Authorization`, and goes over https or to loopback only.
#[derive(Clone)]
pub(crate) struct Recorder<T> {
    inner: T,
    carriers: Arc<Mutex<Vec<String>>>,
}

impl<T: Transport> Recorder<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self { inner, carriers: Arc::default() }
    }

    /// The URLs that a secret was sent to.
    #[cfg(feature = "ureq")]
    pub(crate) fn carriers(&self) -> Vec<String> {
        self.carriers.lock().unwrap().clone()
    }

    fn look_at(&self, request: &Request<'_>) {
        let (method, url) = (request.method(), request.url());
        let body = String::from_utf8_lossy(request.body().unwrap_or_default()).into_owned();
        let authorization = request.headers().find(|(name, _)| *name == "authorization").map(|(_, value)| value);
        let credentials: Vec<&str> =
            body.split('&').filter_map(|pair| pair.split_once('=')).filter_map(secret).collect();
        let secrets: Vec<&str> = credentials.iter().copied().chain(authorization).collect();

        let private = ["https://", "http://127.0.0.1:", "http://localhost:", "http://[::1]:"];
        assert!(private.iter().any(|start| url.starts_with(start)), "{method} {url} goes over plain http");
        match method {
            "GET" => assert!(body.is_empty() && authorization.is_none(), "GET {url} carries credentials"),
            "POST" => assert!(!secrets.is_empty(), "POST {url} carries no credentials"),
            other => panic!("{other} {url}"),
        }
        let shown = format!("{request:?}");
        for secret in &secrets {
            let in_header = |(name, value): (&str, &str)| name != "authorization" && value.contains(secret);
            assert!(!url.contains(secret), "{method} carries a secret in its URL");
            assert!(!shown.contains(secret), "{method} {url} shows a secret in Debug");
            assert!(!request.headers().any(in_header), "{method} {url} carries a secret in a header");
        }
        if !secrets.is_empty() {
            self.carriers.lock().unwrap().push(url.to_owned());
        }
    }
}

/// The value of a form's member that must stay secret, if it is long enough not to turn up elsewhere by chance.
fn secret<'a>((name, value): (&str, &'a str)) -> Option<&'a str> {
    let named = matches!(name, "client_secret" | "client_assertion" | "token");
    (named && value.len() >= 5).then_some(value)
}

impl<T: Transport> Transport for Recorder<T> {
    fn send(&self, request: &Request<'_>) -> Result<Response, TransportError> {
        self.look_at(request);
        self.inner.send(request)
    }

    fn check(&self, request: &Request<'_>) -> Result<(), TransportError> {
        self.inner.check(request)
    }
}
