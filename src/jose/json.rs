//! Strict JSON (RFC 8259 within I-JSON's rule of unique names, RFC 7493 §2.3): the one reader of all JSON that this crate takes in.

use std::fmt;
use std::ops::Range;

use miniserde::de::{Deserialize, Map, Seq, Visitor};

/// A JSON object as read: no duplicate members at any depth, no deeper than [`MAX_DEPTH`], nothing after it.
///
/// It is a tape, all nodes in the order of the text with each container knowing its end, so that any document costs two
/// allocations and dropping it never recurses.
#[derive(Clone)]
pub(crate) struct Object {
    texts: String,
    nodes: Vec<Node>,
}

/// One value and, inside an object, its name.
#[derive(Clone)]
struct Node {
    name: Span,
    value: Value,
}

/// Where a decoded text lies in [`Object::texts`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

/// A JSON value. Containers hold the index of the node after their last one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Boolean(bool),
    Number(Number),
    Text(Span),
    Array(u32),
    Object(u32),
}

/// A JSON number in the smallest form that holds it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    Negative(i64),
    Nonnegative(u64),
    Float(f64),
}

impl Number {
    #[expect(
        clippy::as_conversions,
        reason = "the nearest double is what is asked for, and std has no other conversion"
    )]
    pub(crate) fn as_f64(self) -> f64 {
        match self {
            Self::Negative(number) => number as f64,
            Self::Nonnegative(number) => number as f64,
            Self::Float(number) => number,
        }
    }

    pub(crate) fn as_i64(self) -> Option<i64> {
        match self {
            Self::Negative(number) => Some(number),
            Self::Nonnegative(number) => i64::try_from(number).ok(),
            Self::Float(_) => None,
        }
    }

    pub(crate) fn as_u64(self) -> Option<u64> {
        match self {
            Self::Nonnegative(number) => Some(number),
            Self::Negative(number) => u64::try_from(number).ok(),
            Self::Float(_) => None,
        }
    }
}

/// The text is no JSON, or none that this crate takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotAnObject;

/// A member is there, but of another JSON type than asked for (`null` is one).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WrongType;

impl Object {
    /// Reads `text`.
    ///
    /// A number beyond what a double can hold reads as null: it is good JSON, so it may stand in members that nobody reads as a
    /// number, and where one is read null is refused.
    pub(crate) fn parse(text: &str) -> Result<Self, NotAnObject> {
        match miniserde::json::from_str(text) {
            Ok(object) => Ok(object),
            // miniserde fails on such numbers, so on the rare path of a failure they are looked for.
            Err(_) => match without_huge_numbers(text) {
                Some(text) => miniserde::json::from_str(&text).map_err(|_| NotAnObject),
                None => Err(NotAnObject),
            },
        }
    }

    /// The outermost object.
    pub(crate) fn members(&self) -> Members<'_> {
        Members { object: self, nodes: 1..self.nodes.len() }
    }

    /// The decoded text at `span`, which is one of this object's own.
    pub(crate) fn text(&self, span: Span) -> &str {
        usize::try_from(span.start)
            .ok()
            .zip(usize::try_from(span.end).ok())
            .and_then(|(start, end)| self.texts.get(start..end))
            .unwrap_or_default()
    }

    /// As [`Members::contains`].
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.members().contains(name)
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
    pub(crate) fn number(&self, name: &str) -> Result<Option<Number>, WrongType> {
        self.members().number(name)
    }

    /// As [`Members::strings`].
    pub(crate) fn strings(&self, name: &str) -> Result<Option<Vec<&str>>, WrongType> {
        self.members().strings(name)
    }

    /// As [`Members::objects`].
    pub(crate) fn object(&self, name: &str) -> Result<Option<Members<'_>>, WrongType> {
        self.members().object(name)
    }

    fn new() -> Self {
        Self { texts: String::with_capacity(TEXTS_AT_FIRST), nodes: Vec::with_capacity(NODES_AT_FIRST) }
    }

    fn keep(&mut self, text: &str) -> miniserde::Result<Span> {
        let start = index(self.texts.len())?;
        self.texts.push_str(text);
        Ok(Span { start, end: index(self.texts.len())? })
    }

    fn node(&self, at: usize) -> Option<(&Node, usize)> {
        let node = self.nodes.get(at)?;
        let next = match node.value {
            Value::Array(end) | Value::Object(end) => usize::try_from(end).ok()?,
            _ => at.checked_add(1)?,
        };
        Some((node, next))
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Object(..)")
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
        walk(object, self.nodes.clone()).map(|(name, element)| (object.text(name), element))
    }

    pub(crate) fn get(&self, name: &str) -> Option<Element<'o>> {
        self.iter().find(|(other, _)| *other == name).map(|(_, element)| element)
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(crate) fn string(&self, name: &str) -> Result<Option<&'o str>, WrongType> {
        self.typed(name, |element| element.as_str())
    }

    pub(crate) fn boolean(&self, name: &str) -> Result<Option<bool>, WrongType> {
        self.typed(name, |element| match element.value() {
            Value::Boolean(value) => Some(value),
            _ => None,
        })
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<Number>, WrongType> {
        self.typed(name, |element| match element.value() {
            Value::Number(number) => Some(number),
            _ => None,
        })
    }

    /// An array that holds nothing but strings.
    pub(crate) fn strings(&self, name: &str) -> Result<Option<Vec<&'o str>>, WrongType> {
        self.typed(name, |element| element.elements()?.map(|element| element.as_str()).collect())
    }

    pub(crate) fn object(&self, name: &str) -> Result<Option<Members<'o>>, WrongType> {
        self.typed(name, |element| element.members())
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

    pub(crate) fn members(&self) -> Option<Members<'o>> {
        match self.value {
            Value::Object(end) => Some(Members { object: self.object, nodes: self.inside(end)? }),
            _ => None,
        }
    }

    pub(crate) fn elements(&self) -> Option<impl Iterator<Item = Element<'o>> + use<'o>> {
        match self.value {
            Value::Array(end) => Some(walk(self.object, self.inside(end)?).map(|(_, element)| element)),
            _ => None,
        }
    }

    fn inside(&self, end: u32) -> Option<Range<usize>> {
        Some(self.at.checked_add(1)?..usize::try_from(end).ok()?)
    }
}

impl Object {
    /// The value that [`Element::at`] told of.
    pub(crate) fn element(&self, at: usize) -> Option<Element<'_>> {
        self.nodes.get(at).map(|node| Element { object: self, at, value: node.value })
    }
}

/// The nodes of one container, stepping over what is inside them.
fn walk(object: &Object, nodes: Range<usize>) -> impl Iterator<Item = (Span, Element<'_>)> {
    let Range { start: mut at, end } = nodes;
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let (node, next) = object.node(at)?;
        let element = Element { object, at, value: node.value };
        at = next;
        Some((node.name, element))
    })
}

impl Deserialize for Object {
    fn begin(out: &mut Option<Self>) -> &mut dyn Visitor {
        out.insert(Self::new())
    }
}

/// As the visitor of a whole document it takes an object only.
impl Visitor for Object {
    fn map(&mut self) -> miniserde::Result<Box<dyn Map + '_>> {
        self.nodes.push(Node { name: Span::default(), value: Value::Object(0) });
        Ok(Box::new(Level { object: self, depth: 1, container: 0, members: 0, seen: 0, name: Span::default() }))
    }
}

/// An open container while reading: visitor of its own elements.
struct Level<'a> {
    object: &'a mut Object,
    depth: usize,
    container: usize,
    members: usize,
    /// A Bloom filter of one word over the names so far.
    seen: u64,
    name: Span,
}

impl Level<'_> {
    fn push(&mut self, value: Value) -> miniserde::Result<()> {
        self.object.nodes.push(Node { name: self.name, value });
        Ok(())
    }

    fn open(&mut self, value: Value) -> miniserde::Result<Level<'_>> {
        if self.depth >= MAX_DEPTH {
            return Err(miniserde::Error);
        }
        let container = self.object.nodes.len();
        self.push(value)?;
        Ok(Level { object: self.object, depth: self.depth + 1, container, members: 0, seen: 0, name: Span::default() })
    }

    fn close(&mut self) -> miniserde::Result<()> {
        let next = index(self.object.nodes.len())?;
        match self.object.nodes.get_mut(self.container).map(|node| &mut node.value) {
            Some(Value::Array(end) | Value::Object(end)) => *end = next,
            _ => return Err(miniserde::Error),
        }
        Ok(())
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        walk(self.object, self.container + 1..self.object.nodes.len()).map(|(name, _)| self.object.text(name))
    }
}

impl Visitor for Level<'_> {
    fn null(&mut self) -> miniserde::Result<()> {
        self.push(Value::Null)
    }

    fn boolean(&mut self, value: bool) -> miniserde::Result<()> {
        self.push(Value::Boolean(value))
    }

    fn string(&mut self, text: &str) -> miniserde::Result<()> {
        let span = self.object.keep(text)?;
        self.push(Value::Text(span))
    }

    fn negative(&mut self, number: i64) -> miniserde::Result<()> {
        self.push(Value::Number(Number::Negative(number)))
    }

    fn nonnegative(&mut self, number: u64) -> miniserde::Result<()> {
        self.push(Value::Number(Number::Nonnegative(number)))
    }

    fn float(&mut self, number: f64) -> miniserde::Result<()> {
        self.push(Value::Number(Number::Float(number)))
    }

    fn seq(&mut self) -> miniserde::Result<Box<dyn Seq + '_>> {
        Ok(Box::new(self.open(Value::Array(0))?))
    }

    fn map(&mut self) -> miniserde::Result<Box<dyn Map + '_>> {
        Ok(Box::new(self.open(Value::Object(0))?))
    }
}

impl Seq for Level<'_> {
    fn element(&mut self) -> miniserde::Result<&mut dyn Visitor> {
        Ok(self)
    }

    fn finish(&mut self) -> miniserde::Result<()> {
        self.close()
    }
}

impl Map for Level<'_> {
    /// Names are compared decoded, so that no escape hides a duplicate. In a small object each name that the filter has seen is
    /// compared with all before it; a large one is sorted once at its end, so that no input makes this quadratic.
    fn key(&mut self, name: &str) -> miniserde::Result<&mut dyn Visitor> {
        let bit = filter_bit(name);
        if self.seen & bit != 0 && self.members < FEW_MEMBERS && self.names().any(|other| other == name) {
            return Err(miniserde::Error);
        }
        self.seen |= bit;
        self.members += 1;
        self.name = self.object.keep(name)?;
        Ok(self)
    }

    fn finish(&mut self) -> miniserde::Result<()> {
        if self.members > FEW_MEMBERS {
            let mut names: Vec<&str> = self.names().collect();
            names.sort_unstable();
            if names.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
                return Err(miniserde::Error);
            }
        }
        self.close()
    }
}

fn filter_bit(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let first = bytes.first().copied().map_or(0, u32::from);
    let last = bytes.last().copied().map_or(0, u32::from);
    let middle = bytes.get(bytes.len() / 2).copied().map_or(0, u32::from);
    1_u64.rotate_left(first.wrapping_mul(7).wrapping_add(last.wrapping_mul(3)).wrapping_add(middle))
}

fn index(at: usize) -> miniserde::Result<u32> {
    u32::try_from(at).map_err(|_| miniserde::Error)
}

/// The text with every number that does not fit replaced by null; `None` if there is none. Only literals that are numbers by the
/// grammar (RFC 8259 §6) are touched, so no text becomes JSON by this.
fn without_huge_numbers(text: &str) -> Option<String> {
    let (mut result, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(['"', '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) {
        let (before, from) = rest.split_at_checked(at)?;
        let len = if from.starts_with('"') { string_len(from) } else { number_len(from) };
        let (literal, after) = from.split_at_checked(len.max(1))?;
        let huge = len > 0 && !literal.starts_with('"') && miniserde::json::from_str::<f64>(literal).is_err();
        result.push_str(before);
        result.push_str(if huge { "null" } else { literal });
        rest = after;
    }
    result.push_str(rest);
    (result != text).then_some(result)
}

/// Bytes of the string literal that `text` begins with; all of them if it never ends.
fn string_len(text: &str) -> usize {
    let mut escaped = true;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Bytes of the number that `text` begins with; 0 if it is none. Stops where the grammar does: `01` is the number `0`.
fn number_len(text: &str) -> usize {
    let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let after = |at: usize| text.get(at..).unwrap_or_default();
    let mut len = usize::from(text.starts_with('-'));
    match digits(after(len)) {
        0 => return 0,
        _ if after(len).starts_with('0') => len += 1,
        many => len += many,
    }
    if let Some(fraction) = after(len).strip_prefix('.') {
        match digits(fraction) {
            0 => return 0,
            many => len += 1 + many,
        }
    }
    if let Some(exponent) = after(len).strip_prefix(['e', 'E']) {
        let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        match digits(unsigned) {
            0 => return 0,
            many => len += 1 + (exponent.len() - unsigned.len()) + many,
        }
    }
    len
}

/// Levels of nesting, the outermost object being the first. No document of OAuth or JOSE comes near it; a reader that follows the
/// text with recursion (`serde_json`'s limit is 128) is safe behind it.
pub(crate) const MAX_DEPTH: usize = 64;

/// Members up to which names are compared one by one rather than sorted.
const FEW_MEMBERS: usize = 32;

/// What a usual access token's claims take, so that its reading allocates once for texts and once for nodes.
const TEXTS_AT_FIRST: usize = 512;
const NODES_AT_FIRST: usize = 24;

#[cfg(test)]
mod tests {
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
            assert_eq!(Object::parse(&nested(depth)).err(), Some(NotAnObject));
        }
        let objects = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        assert!(Object::parse(&objects(MAX_DEPTH)).is_ok());
        assert_eq!(Object::parse(&objects(MAX_DEPTH + 1)).err(), Some(NotAnObject));
    }

    #[test]
    fn a_number_beyond_a_double_reads_as_null_and_changes_nothing_else() {
        let long = "9".repeat(400);
        for number in ["1e400", "-1e400", "1E+400", "1.5e99999999999999999999", "-123.25e309", &long] {
            let text = format!(r#"{{"a":{number},"b":"{number}","c":[{number},1],"d":"\"{number}","e":2}}"#);
            let object = Object::parse(&text).unwrap();
            assert_eq!(object.members().get("a").unwrap().value(), Value::Null);
            assert_eq!(object.string("b"), Ok(Some(number)));
            assert_eq!(object.string("d"), Ok(Some(format!("\"{number}").as_str())));
            assert_eq!(object.number("e"), Ok(Some(Number::Nonnegative(2))));
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
        assert_eq!(object.number("one"), Ok(Some(Number::Nonnegative(1))));
        assert_eq!(object.strings("list"), Ok(Some(vec!["a", "b"])));
        assert_eq!(object.object("object").unwrap().unwrap().string("in"), Ok(Some("y")));
        for name in ["null", "one", "yes", "list", "object"] {
            assert_eq!(object.string(name), Err(WrongType), "{name}");
        }
        for name in ["null", "text", "object", "list"] {
            assert_eq!(object.boolean(name), Err(WrongType), "{name}");
            assert_eq!(object.number(name), Err(WrongType), "{name}");
        }
        for name in ["null", "text", "mixed", "object"] {
            assert_eq!(object.strings(name), Err(WrongType), "{name}");
        }
        for name in ["null", "text", "list"] {
            assert!(object.object(name).is_err(), "{name}");
            assert!(object.contains(name));
        }
        assert_eq!(object.string("absent"), Ok(None));
        assert_eq!(object.string("in"), Ok(None));
        assert!(!object.contains("in"));
    }

    #[test]
    fn a_number_keeps_the_smallest_form_that_holds_it() {
        let number = |text: &str| Object::parse(&format!("{{\"n\":{text}}}")).unwrap().number("n").unwrap().unwrap();
        assert_eq!(number("9223372036854775807").as_i64(), Some(i64::MAX));
        assert_eq!(number("9223372036854775808").as_i64(), None);
        assert_eq!(number("9223372036854775808").as_u64(), Some(1 << 63));
        assert_eq!(number("-9223372036854775808").as_i64(), Some(i64::MIN));
        assert_eq!(number("-9223372036854775809").as_i64(), None);
        assert_eq!(number("18446744073709551615").as_u64(), Some(u64::MAX));
        assert_eq!(number("18446744073709551616").as_u64(), None);
        assert_eq!(number("-0").as_u64(), Some(0));
        assert_eq!(number("-1").as_u64(), None);
        assert_eq!((number("1.0").as_i64(), number("1.0").as_u64()), (None, None));
        assert_eq!((number("1.5").as_f64(), number("-2").as_f64(), number("3").as_f64()), (1.5, -2.0, 3.0));
    }
}
