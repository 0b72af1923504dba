//! What clients send, forms and Basic credentials, and how it is refused.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::json::Json;

/// An `application/x-www-form-urlencoded` body.
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?;
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decoded(name)?, decoded(value)?))
        });
        pairs.collect::<Option<_>>().map(Self)
    }

    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// RFC 6749 §3.2: a parameter comes once at most.
    pub(super) fn one(&self, name: &str) -> Result<Option<&str>, Refusal> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            _ => Err(Refusal::new(400, "invalid_request", "a parameter comes twice")),
        }
    }
}

/// Id and secret, each form-encoded before they were joined (RFC 6749 §2.3.1).
pub(super) fn basic_credentials(authorization: &str) -> Option<(String, String)> {
    let (scheme, credentials) = authorization.split_once(' ')?;
    let credentials = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let (id, secret) = credentials.split_once(':').filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    Some((decoded(id)?, decoded(secret)?))
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => digit(bytes.next()?)? << 4 | digit(bytes.next()?)?,
            _ => byte,
        });
    }
    String::from_utf8(decoded).ok()
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| digit.try_into().ok())
}

/// An OAuth error (RFC 6749 §5.2).
pub(super) struct Refusal {
    pub(super) status: u16,
    code: &'static str,
    description: &'static str,
}

impl Refusal {
    pub(super) const fn new(status: u16, code: &'static str, description: &'static str) -> Self {
        Self { status, code, description }
    }

    pub(super) fn body(&self) -> Json {
        Json::object([("error", self.code), ("error_description", self.description)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_decoded_and_a_broken_one_refused() {
        let form = Form::parse(b"scope=api%3Aread+x&empty=&flag&resource=a&resource=b&s=%C3%A9%2B").unwrap();
        let one = |name| form.one(name).unwrap_or(Some("twice"));
        assert_eq!(one("scope"), Some("api:read x"));
        assert_eq!((one("empty"), one("flag"), one("none")), (Some(""), Some(""), None));
        assert_eq!((one("s"), one("resource")), (Some("é+"), Some("twice")));
        assert_eq!(form.all("resource").collect::<Vec<_>>(), ["a", "b"]);
        assert!(
            [&b"a=%"[..], b"a=%4", b"a=%zz", b"a=%ff", b"\xff"].into_iter().all(|body| Form::parse(body).is_none())
        );
    }

    #[test]
    fn basic_credentials_are_form_encoded_each() {
        let header = format!("basic {}", STANDARD.encode("a%3Ab:c+d"));
        assert_eq!(basic_credentials(&header), Some(("a:b".to_owned(), "c d".to_owned())));
        assert_eq!(basic_credentials("Bearer YTpi"), None);
    }
}
