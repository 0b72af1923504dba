//! A request that a client makes at an OAuth endpoint: where it goes, how the client authenticates, and one more try with a rotated secret.

use crate::cache::backoff::BackoffScope;
use crate::client_auth::{Client, ServerInfo};
use crate::error::{Endpoint, Error};
use crate::http::form::Form;
use crate::issuer::Issuer;
use crate::issuer::discovery::is_endpoint_failure;
use crate::issuer::http_client::Target;
use crate::issuer::retry_after::WaitScope;
use crate::secret::Secret;
use crate::time::Deadline;
use crate::transport::Response;

pub(crate) struct OAuthRequest<'a> {
    pub(crate) endpoint: Endpoint,
    pub(crate) client: &'a Client,
    pub(crate) form: &'a [(&'a str, &'a str)],
    /// Which waits after a discovery document that could not be fetched bind this request.
    pub(crate) backoff: BackoffScope,
    pub(crate) wait_scope: WaitScope,
    pub(crate) deadline: Deadline,
}

impl Issuer {
    /// Posts the form with client authentication and reads the answer.
    ///
    /// After `invalid_client` the secret's source is read once more: if it yields another secret, that one is tried.
    pub(crate) fn oauth_request<T>(
        &self,
        request: &OAuthRequest<'_>,
        read: impl Fn(&Response) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.attempt(request, read).map_err(|error| self.placed(error).with_client(&request.client.client_id, None))
    }

    fn attempt<T>(&self, request: &OAuthRequest<'_>, read: impl Fn(&Response) -> Result<T, Error>) -> Result<T, Error> {
        let &OAuthRequest { endpoint, client, deadline, .. } = request;
        let http = self.http();
        http.check_wait(endpoint, request.wait_scope)?;
        let metadata = match http.addresses.given(endpoint) {
            Some(_) => None,
            None => Some(self.metadata(request.backoff, deadline)?),
        };
        let named = metadata.as_ref().and_then(|metadata| metadata.endpoint(endpoint));
        let mark_due = |_: &Error| self.discovery().mark_due();
        let url = http.addresses.endpoint(endpoint, named).inspect_err(mark_due)?;
        let offered = metadata.as_ref().and_then(|metadata| metadata.auth_methods(endpoint));
        let post = |secret: &Secret| {
            let form = || {
                let mut form = Form::new();
                for (name, value) in request.form {
                    form.push(name, value);
                }
                let server = ServerInfo { issuer: self.url(), offered, now: self.now() };
                let authorization = client.authenticate(&mut form, server, secret)?;
                Ok((form, authorization))
            };
            let outcome = http.post(Target { endpoint, url: &url, deadline }, request.wait_scope, form, &read);
            outcome.map_err(|error| {
                if metadata.is_some() && is_endpoint_failure(&error) {
                    mark_due(&error);
                }
                error.with_client(&client.client_id, Some(client.method_name(offered)))
            })
        };
        let secret = client.secret.read()?;
        let refused = match post(&secret) {
            Err(Error::OAuth(e)) if e.error_code() == "invalid_client" => Error::OAuth(e),
            outcome => return outcome,
        };
        if refused.retry_after().is_some() {
            return Err(refused);
        }
        match client.secret.read() {
            Ok(rotated) if !rotated.is_same(&secret) => post(&rotated),
            _ => Err(refused),
        }
    }
}
