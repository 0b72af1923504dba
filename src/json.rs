//! Strict JSON (RFC 8259 within I-JSON's rule of unique names, RFC 7493 §2.3): the one reader of all JSON that this crate takes in.

mod number;
mod parse;
mod tape;
pub(crate) mod write;

use std::ops::Range;

pub(crate) use number::Number;
pub(crate) use tape::{Object, Span, Value};

/// A member has another JSON type than the expected one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WrongType;

impl Object {
    /// The outermost object.
    pub(crate) fn members(&self) -> Members<'_> {
        Members { object: self, nodes: self.outermost() }
    }

    /// The outermost object as a value.
    pub(crate) fn root(&self) -> Option<Element<'_>> {
        self.element(0)
    }

    /// The value at a place that [`Element::at`] gave.
    pub(crate) fn element(&self, at: usize) -> Option<Element<'_>> {
        self.value(at).map(|value| Element { object: self, at, value })
    }

    /// As [`Members::string`].
    pub(crate) fn string(&self, name: &str) -> Result<Option<&str>, WrongType> {
        self.members().string(name)
    }

    /// As [`Members::boolean`].
    pub(crate) fn boolean(&self, name: &str) -> Result<Option<bool>, WrongType> {
        self.members().boolean(name)
    }

    /// As [`Members::number`].
    pub(crate) fn number(&self, name: &str) -> Result<Option<Number<'_>>, WrongType> {
        self.members().number(name)
    }

    /// As [`Members::strings`].
    pub(crate) fn strings(&self, name: &str) -> Result<Option<Vec<&str>>, WrongType> {
        self.members().strings(name)
    }
}

/// The members of one object inside an [`Object`].
#[derive(Clone)]
pub(crate) struct Members<'o> {
    object: &'o Object,
    nodes: Range<usize>,
}

impl<'o> Members<'o> {
    /// Names and values in the order of the text.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'o str, Element<'o>)> + use<'o> {
        let object = self.object;
        object.walk(self.nodes.clone()).map(|(name, at, value)| (object.text(name), Element { object, at, value }))
    }

    /// The value of a member; a member that is null counts as absent.
    pub(crate) fn get(&self, name: &str) -> Option<Element<'o>> {
        let (_, element) = self.iter().find(|(other, _)| *other == name)?;
        (element.value != Value::Null).then_some(element)
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(crate) fn string(&self, name: &str) -> Result<Option<&'o str>, WrongType> {
        self.typed(name, |element| element.as_str())
    }

    pub(crate) fn boolean(&self, name: &str) -> Result<Option<bool>, WrongType> {
        self.typed(name, |element| element.as_bool())
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<Number<'o>>, WrongType> {
        self.typed(name, |element| element.as_number())
    }

    /// An array that holds nothing but strings.
    pub(crate) fn strings(&self, name: &str) -> Result<Option<Vec<&'o str>>, WrongType> {
        self.typed(name, |element| element.elements()?.map(|element| element.as_str()).collect())
    }

    /// The elements of an array, of whatever type.
    pub(crate) fn array(&self, name: &str) -> Result<Option<Vec<Element<'o>>>, WrongType> {
        self.typed(name, |element| element.elements().map(Iterator::collect))
    }

    fn typed<T>(&self, name: &str, read: impl FnOnce(Element<'o>) -> Option<T>) -> Result<Option<T>, WrongType> {
        self.get(name).map(|element| read(element).ok_or(WrongType)).transpose()
    }
}

/// One value inside an [`Object`].
#[derive(Clone, Copy)]
pub(crate) struct Element<'o> {
    object: &'o Object,
    at: usize,
    value: Value,
}

impl<'o> Element<'o> {
    pub(crate) fn value(&self) -> Value {
        self.value
    }

    /// Where the value lies, for [`Object::element`].
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn as_str(&self) -> Option<&'o str> {
        match self.value {
            Value::Text(span) => Some(self.object.text(span)),
            _ => None,
        }
    }

    pub(crate) fn as_bool(&self) -> Option<bool> {
        match self.value {
            Value::Boolean(value) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn as_number(&self) -> Option<Number<'o>> {
        match self.value {
            Value::Number(span) => Some(Number(self.object.text(span))),
            _ => None,
        }
    }

    pub(crate) fn members(&self) -> Option<Members<'o>> {
        match self.value {
            Value::Object(end) => Some(Members { object: self.object, nodes: self.inside(end)? }),
            _ => None,
        }
    }

    pub(crate) fn elements(&self) -> Option<impl Iterator<Item = Element<'o>> + use<'o>> {
        match self.value {
            Value::Array(end) => {
                let object = self.object;
                Some(object.walk(self.inside(end)?).map(|(_, at, value)| Element { object, at, value }))
            }
            _ => None,
        }
    }

    fn inside(&self, end: u32) -> Option<Range<usize>> {
        Some(self.at.checked_add(1)?..usize::try_from(end).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::parse::{MAX_DEPTH, NotAnObject};
    use super::*;

    fn nested(depth: usize) -> String {
        format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1))
    }

    fn wide(names: usize, last: &str) -> String {
        let members: String = (0..names).map(|n| format!("\"n{n}\":{n},")).collect();
        format!("{{{members}\"{last}\":0}}")
    }

    #[test]
    fn an_object_of_good_json_reads() {
        for text in [
            "{}",
            " {\t\"a\" : 1 }\r\n",
            r#"{"a":null,"b":true,"c":-0,"d":1e2,"e":1.5,"f":"x","g":[],"h":{}}"#,
            r#"{"a":{"b":1},"b":{"b":1},"c":[{"b":1},{"b":1}]}"#,
            r#"{"a":"\ud83d\ude00\u0000\"\\\/"}"#,
            r#"{"A":1,"a":2,"":3}"#,
            &nested(MAX_DEPTH),
            &wide(31, "x"),
            &wide(32, "x"),
            &wide(3000, "x"),
        ] {
            assert!(Object::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn all_else_is_refused() {
        for text in [
            "",
            " ",
            "null",
            "1",
            "\"a\"",
            "[]",
            "[{}]",
            "{",
            "}",
            "{}}",
            "{} {}",
            "{},",
            "{}x",
            "\u{feff}{}",
            "{,}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{'a':1}",
            "{\"a\":01}",
            "{\"a\":1.}",
            "{\"a\":.5}",
            "{\"a\":+1}",
            "{\"a\":-}",
            "{\"a\":1e}",
            "{\"a\":NaN}",
            "{\"a\":Infinity}",
            "{\"a\":0x1}",
            "{\"a\":tru}",
            "{\"a\":True}",
            "{\"a\":[1,]}",
            "{\"a\":[1 2]}",
            "{\"a\":[}",
            "{\"a\":1 \"b\":2}",
            "{\"a\":1;\"b\":2}",
            "{\"a\":[1;2]}",
            "{\"a\"=1}",
            "{\"a\":1,,\"b\":2}",
            "{\"a\"::1}",
            "{\"a\":\"\n\"}",
            "{\"a\":\"\0\"}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u12\"}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":\"\\udc00\"}",
            "{\"a\":\"\\ud800\\u0041\"}",
            "{\"\\ud800\":1}",
            "{\"a\":1}//",
            "/**/{}",
            "{\"a\":1}\0",
            "{\"a\":\"",
            "{\"a\":\"\\\"}",
        ] {
            assert_eq!(Object::parse(text).err(), Some(NotAnObject), "{text:?}");
        }
    }

    #[test]
    fn a_duplicate_member_is_refused_at_any_depth_and_through_escapes() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"a":1,"b":{"c":1,"d":2,"c":3}}"#,
            r#"{"a":[[{"c":1,"\u0063":2}]]}"#,
            r#"{"a":{"x":{}},"b":[1,{"y":2}],"a":3}"#,
            r#"{"":1,"":2}"#,
            &wide(31, "n0"),
            &wide(32, "n31"),
            &wide(32, "n0"),
            &wide(3000, "n0"),
            &wide(3000, "n2999"),
            &wide(3000, "\\u006e1"),
        ] {
            assert_eq!(Object::parse(text).err(), Some(NotAnObject), "{text}");
        }
    }

    #[test]
    fn nesting_beyond_the_limit_is_refused() {
        for depth in [MAX_DEPTH + 1, 10_000, 100_000] {
            assert_eq!(Object::parse(nested(depth)).err(), Some(NotAnObject));
        }
        let objects = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        assert!(Object::parse(objects(MAX_DEPTH)).is_ok());
        assert_eq!(Object::parse(objects(MAX_DEPTH + 1)).err(), Some(NotAnObject));
    }

    #[test]
    fn a_number_may_be_beyond_all_doubles() {
        let long = "9".repeat(400);
        for number in ["1e400", "-1e400", "1E+400", "1.5e99999999999999999999", "-123.25e309", &long] {
            let text = format!(r#"{{"a":{number},"b":"{number}","c":[{number},1],"d":"\"{number}","e":2}}"#);
            let object = Object::parse(&text).unwrap();
            assert_eq!(object.number("a"), Ok(Some(Number(number))));
            assert_eq!(object.string("b"), Ok(Some(number)));
            assert_eq!(object.string("d"), Ok(Some(format!("\"{number}").as_str())));
            assert_eq!(object.number("e"), Ok(Some(Number("2"))));
        }
        for text in [
            r#"{"a":01e400}"#,
            r#"{"a":1e400x}"#,
            r#"{"a":1e400.5}"#,
            r#"{"a":--1e400}"#,
            r#"{"a":1e400"}"#,
            r#"{"a":1.e400}"#,
            r#"{1e400:1}"#,
            r#"{"a":1e400,"a":1}"#,
            r#"{"a":true1e400}"#,
            r#"{"a":1e400e1}"#,
            "1e400",
            r#"{"a":1e400]"#,
            r#"{"a":1e4001e400}"#,
            r#"{"a":+1e400}"#,
        ] {
            assert_eq!(Object::parse(text).err(), Some(NotAnObject), "{text}");
        }
    }

    #[test]
    fn a_member_of_another_type_is_never_absent() {
        let object = Object::parse(
            r#"{"null":null,"text":"x","yes":true,"one":1,"list":["a","b"],"mixed":["a",1],"object":{"in":"y"}}"#,
        )
        .unwrap();
        assert_eq!(object.string("text"), Ok(Some("x")));
        assert_eq!(object.boolean("yes"), Ok(Some(true)));
        assert_eq!(object.number("one"), Ok(Some(Number("1"))));
        assert_eq!(object.strings("list"), Ok(Some(vec!["a", "b"])));
        assert_eq!(object.members().get("object").unwrap().members().unwrap().string("in"), Ok(Some("y")));
        for name in ["one", "yes", "list", "object"] {
            assert_eq!(object.string(name), Err(WrongType), "{name}");
        }
        for name in ["text", "object", "list"] {
            assert_eq!(object.boolean(name), Err(WrongType), "{name}");
            assert_eq!(object.number(name), Err(WrongType), "{name}");
        }
        for name in ["text", "mixed", "object"] {
            assert_eq!(object.strings(name), Err(WrongType), "{name}");
        }
        for name in ["text", "list"] {
            assert!(object.members().get(name).unwrap().members().is_none(), "{name}");
            assert!(object.members().contains(name));
        }
        for name in ["absent", "in", "null"] {
            assert_eq!(object.string(name), Ok(None), "{name}");
            assert_eq!(object.boolean(name), Ok(None), "{name}");
            assert_eq!(object.number(name), Ok(None), "{name}");
            assert_eq!(object.strings(name), Ok(None), "{name}");
            assert!(!object.members().contains(name), "{name}");
        }
    }
}
