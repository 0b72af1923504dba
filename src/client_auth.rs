//! How a client proves who it is (RFC 6749 §2.3, RFC 7523), and the form that it posts.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::client_auth::private_key_jwt::{ASSERTION_TYPE, PrivateKeyJwt};
use crate::error::{ConfigProblem, Error};
use crate::http::form::{Form, encode, longest_encoded};
use crate::secret::{Secret, SecretSource};
use crate::time::Now;

pub(crate) mod private_key_jwt;
pub(crate) mod signing_key;

/// How a client authenticates at the issuer.
///
/// The default is [`SecretPost`](Self::SecretPost) where the discovery document lists `client_secret_post`, as Aero2's does; else
/// [`SecretBasic`](Self::SecretBasic) where it lists `client_secret_basic` or is silent (RFC 8414 §2). Where the program gave the
/// endpoint's URL itself and no document is read, it is `SecretPost`.
///
/// ```
/// use aero2::{ClientAuth, Issuer};
/// # #[cfg(feature = "ureq")] {
/// let m2m = Issuer::new("https://acme.aero2.dev")?
///     .m2m_client("svc-orders", "secret")
///     .client_auth(ClientAuth::SecretBasic)
///     .build()?;
/// # }
/// # Ok::<(), aero2::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClientAuth {
    /// `client_secret_post`: `client_id` and `client_secret` in the form.
    SecretPost,
    /// `client_secret_basic`: id and secret in an `Authorization` header, each form-encoded first (RFC 6749 §2.3.1).
    SecretBasic,
    /// `private_key_jwt`: an assertion that is signed with the client's private key. The secret source must then yield that key.
    PrivateKeyJwt(PrivateKeyJwt),
}

impl From<PrivateKeyJwt> for ClientAuth {
    fn from(assertion: PrivateKeyJwt) -> Self {
        Self::PrivateKeyJwt(assertion)
    }
}

/// The issuer as an authenticating client sees it, and the time.
#[derive(Clone, Copy)]
pub(crate) struct ServerInfo<'a> {
    pub(crate) issuer: &'a str,
    /// What the issuer says that the endpoint takes, if it says anything.
    pub(crate) offered: Option<&'a [String]>,
    pub(crate) now: Now,
}

/// A client of the issuer.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) client_id: String,
    pub(crate) secret: SecretSource,
    /// `None` leaves the choice to the discovery document.
    pub(crate) auth: Option<ClientAuth>,
}

impl Client {
    pub(crate) fn new(client_id: String, secret: SecretSource) -> Self {
        Self { client_id, secret, auth: None }
    }

    /// The client, if it can be one at all.
    pub(crate) fn checked(self) -> Result<Self, Error> {
        if self.client_id.is_empty() {
            return Err(Error::config(ConfigProblem::EmptyClientId));
        }
        match (self.secret.text(), &self.auth) {
            (Some(text), _) if text.expose_secret().is_empty() => Err(Error::config(ConfigProblem::EmptySecret)),
            (Some(pem), Some(ClientAuth::PrivateKeyJwt(assertion))) => assertion.read_key(pem).map(|_| self),
            (Some(text), _) => check_secret(text).map(|()| self),
            (None, _) => Ok(self),
        }
    }

    fn method(&self, offered: Option<&[String]>) -> &ClientAuth {
        self.auth.as_ref().unwrap_or_else(|| best_of(offered))
    }

    /// How the client authenticates where the metadata says `offered`, by the name of RFC 7591 §2.
    pub(crate) fn method_name(&self, offered: Option<&[String]>) -> &'static str {
        match self.method(offered) {
            ClientAuth::SecretPost => "client_secret_post",
            ClientAuth::SecretBasic => "client_secret_basic",
            ClientAuth::PrivateKeyJwt(_) => "private_key_jwt",
        }
    }

    /// Puts the credentials into the form, or gives the value of the `Authorization` header that carries them.
    pub(crate) fn authenticate(
        &self,
        form: &mut Form,
        server: ServerInfo<'_>,
        secret: &Secret,
    ) -> Result<Option<Secret>, Error> {
        match self.method(server.offered) {
            ClientAuth::SecretPost => {
                check_secret(secret)?;
                form.push("client_id", &self.client_id);
                form.push("client_secret", secret.expose_secret());
            }
            ClientAuth::SecretBasic => {
                check_secret(secret)?;
                return Ok(Some(basic(&self.client_id, secret.expose_secret())));
            }
            ClientAuth::PrivateKeyJwt(jwt) => {
                let assertion = jwt.assertion(&self.client_id, server.issuer, server.now, secret)?;
                // Optional by RFC 7521 §4.2, and some issuers look the client up by it.
                form.push("client_id", &self.client_id);
                form.push("client_assertion_type", ASSERTION_TYPE);
                form.push("client_assertion", assertion.expose_secret());
            }
        }
        Ok(None)
    }
}

/// Finds what cannot be a client secret: it would be sent as it is, and the issuer would only say `invalid_client`.
fn check_secret(secret: &Secret) -> Result<(), Error> {
    let text = secret.expose_secret();
    if text.contains("-----BEGIN ") {
        return Err(Error::config(ConfigProblem::KeyAsSecret));
    }
    if text.trim() != text || text.contains(char::is_control) {
        return Err(Error::config(ConfigProblem::SecretCharacter));
    }
    Ok(())
}

fn best_of(offered: Option<&[String]>) -> &'static ClientAuth {
    let lists = |method: &str| offered.is_some_and(|methods| methods.iter().any(|m| m == method));
    if lists("client_secret_basic") && !lists("client_secret_post") {
        &ClientAuth::SecretBasic
    } else {
        &ClientAuth::SecretPost
    }
}

/// `Basic` with both parts form-encoded, so that a colon in the id or any character in the secret arrives as it was. A space becomes
/// `%20`: every form decoder reads that, and so do servers that undo percents only (Authlib is one).
fn basic(client_id: &str, secret: &str) -> Secret {
    let longest = longest_encoded(client_id).saturating_add(longest_encoded(secret)).saturating_add(1);
    let mut pair = Zeroizing::new(String::with_capacity(longest));
    encode(client_id, "%20", &mut pair);
    pair.push(':');
    encode(secret, "%20", &mut pair);
    // Base64 makes four characters of three bytes; doubling is beyond that, so the header is never moved.
    let mut header = String::with_capacity(BASIC.len().saturating_add(pair.len().saturating_mul(2)).saturating_add(4));
    header.push_str(BASIC);
    STANDARD.encode_string(pair.as_bytes(), &mut header);
    Secret::from(header)
}

const BASIC: &str = "Basic ";

#[cfg(test)]
mod tests {
    use super::*;

    fn client(id: &str, auth: Option<ClientAuth>) -> Client {
        Client { client_id: id.to_owned(), secret: "unused".into(), auth }
    }

    /// A clock that is not set, which is no matter where nothing is signed.
    fn now() -> Now {
        Now { wall: None, monotonic: std::time::Duration::ZERO }
    }

    fn form_text(form: &Form) -> &str {
        std::str::from_utf8(form.as_bytes()).unwrap()
    }

    #[test]
    fn forms_are_encoded_as_the_url_standard_says() {
        for (value, encoded) in [
            ("plain-._*AZ09", "plain-._*AZ09"),
            ("api:read api:write", "api%3Aread+api%3Awrite"),
            ("a+b&c=d%~", "a%2Bb%26c%3Dd%25%7E"),
            ("\u{e9}\u{1f600}\r\n\0", "%C3%A9%F0%9F%98%80%0D%0A%00"),
            ("", ""),
        ] {
            let mut form = Form::new();
            form.push("k&", value);
            form.push("z", "1");
            assert_eq!(form_text(&form), format!("k%26={encoded}&z=1"));
        }
    }

    #[test]
    fn a_form_of_any_length_is_whole() {
        let mut form = Form::new();
        for n in 0..200 {
            form.push("name", &"\u{1}".repeat(n));
        }
        let expected: Vec<String> = (0..200).map(|n| format!("name={}", "%01".repeat(n))).collect();
        assert_eq!(form_text(&form), expected.join("&"));
    }

    #[test]
    fn the_secret_goes_into_the_form_unless_the_issuer_takes_basic_only() {
        let (basic, post) = ("client_secret_basic".to_owned(), "client_secret_post".to_owned());
        let other = "private_key_jwt".to_owned();
        let (both, only_basic, only_post) = ([basic.clone(), post.clone()], [other.clone(), basic], [post]);
        for (configured, offered, in_header) in [
            (None, None, false),
            (None, Some(&[][..]), false),
            (None, Some(&[other][..]), false),
            (None, Some(&both[..]), false),
            (None, Some(&only_post[..]), false),
            (None, Some(&only_basic[..]), true),
            (Some(ClientAuth::SecretPost), Some(&only_basic[..]), false),
            (Some(ClientAuth::SecretBasic), Some(&only_post[..]), true),
            (Some(ClientAuth::SecretBasic), None, true),
        ] {
            let mut form = Form::new();
            let server = ServerInfo { issuer: "https://acme.aero2.dev", offered, now: now() };
            let client = client("svc", configured.clone());
            let header = client.authenticate(&mut form, server, &Secret::from("s e")).unwrap();
            assert_eq!(header.is_some(), in_header, "{configured:?} {offered:?}");
            assert_eq!(form_text(&form), if in_header { "" } else { "client_id=svc&client_secret=s+e" });
        }
    }

    #[test]
    fn both_parts_of_basic_are_form_encoded_before_base64() {
        for (id, secret, pair) in
            [("svc", "secret", "svc:secret"), ("a:b", "p:w d%+\u{e9}", "a%3Ab:p%3Aw%20d%25%2B%C3%A9"), ("", "", ":")]
        {
            let header = basic(id, secret);
            let encoded = header.expose_secret().strip_prefix("Basic ").unwrap();
            assert_eq!(STANDARD.decode(encoded).unwrap(), pair.as_bytes());
        }
        assert_eq!(basic("Aladdin", "open sesame").expose_secret(), "Basic QWxhZGRpbjpvcGVuJTIwc2VzYW1l");
    }

    #[test]
    fn debug_of_a_client_shows_no_secret() {
        let client = Client { client_id: "svc".into(), secret: "hunter2".into(), auth: None };
        assert!(!format!("{client:?}").contains("hunter2"));
    }
}
