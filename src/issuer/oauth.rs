//! A request to an OAuth endpoint: the URL of the discovery document, client authentication, one more try with a rotated secret.

use crate::cache::backoff::BackoffScope;
use crate::client_auth::{Client, ServerInfo};
use crate::error::{Endpoint, Error};
use crate::events::Count;
use crate::http::form::Form;
use crate::issuer::Issuer;
use crate::secret::Secret;
use crate::time::Deadline;
use crate::transport::Response;

impl Issuer {
    /// Posts `form` to the endpoint with client authentication. Only a 200 is `Ok`.
    ///
    /// After `invalid_client` the secret's source is read once more: if it yields another secret, that one is tried. `scope` is about the wait
    /// after a discovery document that could not be had.
    pub(crate) fn oauth_request(
        &self,
        endpoint: Endpoint,
        client: &Client,
        form: &[(&str, &str)],
        scope: BackoffScope,
        deadline: Deadline,
    ) -> Result<Response, Error> {
        let metadata = self.metadata(scope, deadline)?;
        let url = metadata.endpoint(endpoint, self.issuer_url())?;
        let post = |secret: &Secret| {
            if endpoint == Endpoint::Introspection {
                self.events().count(Count::Introspection);
            }
            self.connection().post(endpoint, &url, deadline, || {
                let mut body = Form::new();
                for (name, value) in form {
                    body.push(name, value);
                }
                let offered = metadata.auth_methods(endpoint);
                let server = ServerInfo { issuer: self.url(), offered, now: self.now() };
                let authorization = client.authenticate(&mut body, server, secret)?;
                Ok((body, authorization))
            })
        };
        let secret = client.secret.read()?;
        let refused = match post(&secret) {
            Err(Error::OAuth(e)) if e.error_code() == "invalid_client" => Error::OAuth(e),
            outcome => return outcome,
        };
        match client.secret.read() {
            Ok(rotated) if !rotated.is_same(&secret) => post(&rotated),
            _ => Err(refused),
        }
    }
}
