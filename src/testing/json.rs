//! Values for claims and header members, written as JSON text; and reading of what the endpoints are sent.

use std::convert::Infallible;
use std::fmt::{self, Write as _};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hifijson::IterLexer;
use hifijson::token::Lex as _;
use hifijson::value::parse_bounded;

/// A JSON value for [`TestToken::claim`](super::TestToken::claim) and [`TestToken::header`](super::TestToken::header).
///
/// Strings, booleans, numbers and lists convert by themselves. [`Json::raw`] takes any text, valid or not.
///
/// ```
/// use aero2::testing::Json;
///
/// assert_eq!(Json::from("a\"b").to_string(), r#""a\"b""#);
/// assert_eq!(Json::from(vec!["orders", "billing"]).to_string(), r#"["orders","billing"]"#);
/// assert_eq!(
///     Json::object([("tier", Json::from(3)), ("trial", Json::from(false))]).to_string(),
///     r#"{"tier":3,"trial":false}"#
/// );
/// assert_eq!(Json::raw("1e400").to_string(), "1e400");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(String);

impl Json {
    /// The text as it is. Nothing checks that it is JSON.
    pub fn raw(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// `null`.
    pub fn null() -> Self {
        Self::raw("null")
    }

    /// An object with these members, in this order. A name that occurs twice is written twice.
    pub fn object<N: AsRef<str>, V: Into<Self>>(members: impl IntoIterator<Item = (N, V)>) -> Self {
        let members = members.into_iter().map(|(name, value)| format!("{}:{}", quoted(name.as_ref()), value.into()));
        Self(format!("{{{}}}", members.collect::<Vec<_>>().join(",")))
    }

    /// What was read, written again.
    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::null(),
            Value::Bool(value) => (*value).into(),
            Value::Number((literal, _)) => Self::raw(literal),
            Value::String(text) => text.into(),
            Value::Array(values) => Self::array(values.iter().map(Self::of)),
            Value::Object(members) => Self::object(members.iter().map(|(name, value)| (name, Self::of(value)))),
        }
    }

    fn array<V: Into<Self>>(values: impl IntoIterator<Item = V>) -> Self {
        let values = values.into_iter().map(|value| value.into().0);
        Self(format!("[{}]", values.collect::<Vec<_>>().join(",")))
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self(quoted(text))
    }
}

impl From<&String> for Json {
    fn from(text: &String) -> Self {
        Self(quoted(text))
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Self(quoted(&text))
    }
}

impl From<f64> for Json {
    /// `null` for a number that JSON cannot say (an infinity, or no number).
    fn from(number: f64) -> Self {
        if number.is_finite() { Self(number.to_string()) } else { Self::null() }
    }
}

impl<V: Into<Json>> From<Vec<V>> for Json {
    fn from(values: Vec<V>) -> Self {
        Self::array(values)
    }
}

impl<V: Into<Json>, const N: usize> From<[V; N]> for Json {
    fn from(values: [V; N]) -> Self {
        Self::array(values)
    }
}

impl<V: Clone + Into<Json>> From<&[V]> for Json {
    fn from(values: &[V]) -> Self {
        Self::array(values.iter().cloned())
    }
}

macro_rules! from_display {
    ($($kind:ty),+) => {
        $(impl From<$kind> for Json {
            fn from(value: $kind) -> Self {
                Self(value.to_string())
            }
        })+
    };
}

from_display!(bool, i32, i64, u32, u64, usize);

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\u{0}'..='\u{1f}' => {
                // Writing to a String cannot fail.
                let _ = write!(quoted, "\\u{:04x}", u32::from(character));
            }
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

/// A value that an endpoint was sent.
pub(super) type Value = hifijson::value::Value<String, String>;

/// An object that an endpoint was sent: the header or the payload of a token.
pub(super) struct Object(Vec<(String, Value)>);

impl Object {
    /// Of one part of a token.
    pub(super) fn of(segment: &str) -> Option<Self> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(segment).ok()?).ok()?;
        let mut lexer = IterLexer::new(text.bytes().map(Ok::<_, Infallible>));
        match lexer.exactly_one(IterLexer::ws_peek, |next, lexer| parse_bounded(MAX_DEPTH, next, lexer)) {
            Ok(Value::Object(members)) => Some(Self(members)),
            _ => None,
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().rfind(|(other, _)| other == name).map(|(_, value)| value)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    pub(super) fn number<N: FromStr>(&self, name: &str) -> Option<N> {
        match self.get(name) {
            Some(Value::Number((literal, _))) => literal.parse().ok(),
            _ => None,
        }
    }
}

/// So that no token overflows the stack of a test's server.
const MAX_DEPTH: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_is_written_as_json() {
        let written = [
            (Json::from("tab\t, quote\", backslash\\, é"), r#""tab\u0009, quote\", backslash\\, é""#),
            (Json::from(String::from("x")), r#""x""#),
            (Json::from(true), "true"),
            (Json::from(-7), "-7"),
            (Json::from(u64::MAX), "18446744073709551615"),
            (Json::from(1.5), "1.5"),
            (Json::from(f64::NAN), "null"),
            (Json::from([[1, 2], [3, 4]]), "[[1,2],[3,4]]"),
            (Json::from(Vec::<&str>::new()), "[]"),
            (Json::object([("a", 1), ("a", 2)]), r#"{"a":1,"a":2}"#),
        ];
        for (json, text) in written {
            assert_eq!(json.to_string(), text);
        }
    }
}
