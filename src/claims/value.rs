//! Any value inside the claims, and the pointer that finds it (RFC 6901).

use std::borrow::Cow;
use std::fmt;

use crate::json::{Element, Object, Value};

/// A value of a claim, whatever its JSON type; made by [`Claims::get`](crate::Claims::get) and
/// [`Claims::pointer`](crate::Claims::pointer). `Debug` does not show it.
///
/// ```
/// use aero2::testing::Json;
/// let test = aero2::testing::TestIssuer::new();
/// let rs = test.issuer().resource_server().build()?;
/// let access = Json::object([("roles", vec!["reader", "editor"])]);
/// let claims = rs.verify_token(&test.token().claim("realm_access", access).sign())?;
///
/// let roles = claims.pointer("/realm_access/roles").unwrap();
/// assert!(roles.is_array() && roles.iter().any(|role| role.as_str() == Some("editor")));
/// let (name, _) = claims.get("realm_access").unwrap().members().next().unwrap();
/// assert_eq!(name, "roles");
/// # Ok::<(), aero2::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct ClaimValue<'a>(Element<'a>);

impl<'a> ClaimValue<'a> {
    /// `None` for null, which counts as absent.
    pub(crate) fn new(element: Element<'a>) -> Option<Self> {
        (element.value() != Value::Null).then_some(Self(element))
    }

    /// The text of a string.
    pub fn as_str(self) -> Option<&'a str> {
        self.0.as_str()
    }

    /// The value of a boolean.
    pub fn as_bool(self) -> Option<bool> {
        self.0.as_bool()
    }

    /// The value of an integer; `None` if it is written with a fraction or an exponent, or does not fit.
    pub fn as_i64(self) -> Option<i64> {
        self.0.as_number()?.as_i64()
    }

    /// The value of a number; `None` if it does not fit.
    pub fn as_f64(self) -> Option<f64> {
        self.0.as_number()?.as_f64()
    }

    /// Whether this is a JSON object.
    pub fn is_object(self) -> bool {
        self.0.members().is_some()
    }

    /// Whether this is a JSON array.
    pub fn is_array(self) -> bool {
        self.0.elements().is_some()
    }

    /// The members of an array, in their order; nothing for any other type.
    pub fn iter(self) -> impl Iterator<Item = ClaimValue<'a>> + use<'a> {
        self.0.elements().into_iter().flatten().map(ClaimValue)
    }

    /// The names and values of an object, in their order and without those that are null; nothing for any other type.
    pub fn members(self) -> impl Iterator<Item = (&'a str, ClaimValue<'a>)> + use<'a> {
        let members = self.0.members().into_iter().flat_map(|members| members.iter());
        members.filter_map(|(name, element)| Some((name, ClaimValue::new(element)?)))
    }
}

impl fmt::Debug for ClaimValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClaimValue(..)")
    }
}

/// A JSON Pointer (RFC 6901), taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Pointer {
    text: String,
    tokens: Vec<String>,
}

impl Pointer {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let tokens = tokens(text)?.map(|token| token.map(Cow::into_owned)).collect::<Option<_>>()?;
        Some(Self { text: text.to_owned(), tokens })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn find<'o>(&self, object: &'o Object) -> Option<ClaimValue<'o>> {
        let found = self.tokens.iter().try_fold(object.root()?, |element, token| child(element, token))?;
        ClaimValue::new(found)
    }
}

/// As [`Pointer::find`], for a pointer that is used once.
pub(crate) fn find<'o>(object: &'o Object, pointer: &str) -> Option<ClaimValue<'o>> {
    let found = tokens(pointer)?.try_fold(object.root()?, |element, token| child(element, &token?))?;
    ClaimValue::new(found)
}

/// The reference tokens (RFC 6901 §4), each `None` if its escapes are wrong.
fn tokens(pointer: &str) -> Option<impl Iterator<Item = Option<Cow<'_, str>>>> {
    if !pointer.is_empty() && !pointer.starts_with('/') {
        return None;
    }
    Some(pointer.split('/').skip(1).map(unescaped))
}

fn unescaped(token: &str) -> Option<Cow<'_, str>> {
    if !token.contains('~') {
        return Some(Cow::Borrowed(token));
    }
    let mut parts = token.split('~');
    let mut out = parts.next()?.to_owned();
    for part in parts {
        let (escaped, rest) = part.split_at_checked(1)?;
        out.push(match escaped {
            "0" => '~',
            "1" => '/',
            _ => return None,
        });
        out.push_str(rest);
    }
    Some(Cow::Owned(out))
}

fn child<'o>(element: Element<'o>, token: &str) -> Option<Element<'o>> {
    if let Some(members) = element.members() {
        return members.get(token);
    }
    let is_index = token == "0" || (!token.starts_with('0') && token.bytes().all(|byte| byte.is_ascii_digit()));
    element.elements()?.nth(token.parse().ok().filter(|_| is_index)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_finds_what_rfc_6901_says_it_does() {
        let text = r#"{"foo":["bar",{"b":"z"},null],"":"0","a/b":"1","c%d":"2"," ":"7","m~n":"8","0":"9","o":{"x":{"y":"d"}}}"#;
        let object = Object::parse(text).unwrap();
        for (pointer, expected) in [
            ("/foo/0", "bar"),
            ("/foo/1/b", "z"),
            ("/", "0"),
            ("/a~1b", "1"),
            ("/c%d", "2"),
            ("/ ", "7"),
            ("/m~0n", "8"),
            ("/0", "9"),
            ("/o/x/y", "d"),
        ] {
            assert_eq!(find(&object, pointer).unwrap().as_str(), Some(expected), "{pointer}");
            assert_eq!(Pointer::parse(pointer).unwrap().find(&object).unwrap().as_str(), Some(expected), "{pointer}");
        }
        assert!(find(&object, "").unwrap().is_object() && find(&object, "/foo").unwrap().is_array());
        for pointer in ["/foo/2", "/foo/3", "/foo/00", "/foo/-", "/foo/+1", "/foo/", "/x", "/o/x/y/z", "/foo/1/b/0"] {
            assert!(find(&object, pointer).is_none(), "{pointer}");
        }
        for pointer in ["foo", "foo/0", "/m~n", "/m~2n", "/~", "#/foo", " /foo"] {
            assert!(find(&object, pointer).is_none() && Pointer::parse(pointer).is_none(), "{pointer}");
        }
    }
}
