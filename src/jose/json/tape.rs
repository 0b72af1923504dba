//! The text of a JSON object, read once into a tape of nodes.

use std::ops::Range;

use miniserde::de::{Deserialize, Map, Seq, Visitor};
use zeroize::{Zeroize, Zeroizing};

use crate::jose::json::numbers::without_huge_numbers;

/// A JSON object as read: no duplicate members at any depth, no deeper than [`MAX_DEPTH`], nothing after it.
///
/// It is a tape, all nodes in the order of the text with each container knowing its end, so that any document costs two
/// allocations and dropping it never recurses.
pub(crate) struct Object {
    texts: String,
    nodes: Vec<Node>,
}

/// One value and, inside an object, its name.
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

impl Object {
    /// Reads `text`.
    ///
    /// A number beyond what a double can hold reads as null: it is good JSON, so it may stand in members that nobody reads as a
    /// number, and where one is read null is refused.
    pub(crate) fn parse(text: &str) -> Result<Self, NotAnObject> {
        match miniserde::json::from_str(text) {
            Ok(object) => Ok(object),
            // miniserde fails on such numbers, so on the rare path of a failure they are looked for.
            Err(_) => match without_huge_numbers(text).map(Zeroizing::new) {
                Some(text) => miniserde::json::from_str(&text).map_err(|_| NotAnObject),
                None => Err(NotAnObject),
            },
        }
    }

    /// As [`parse`](Self::parse), for a document that holds a token: what was read of it is wiped in the end.
    pub(crate) fn parse_secret(text: &str) -> Result<Zeroizing<Self>, NotAnObject> {
        Self::parse(text).map(Zeroizing::new)
    }

    /// The decoded text at `span`, which is one of this object's own.
    pub(crate) fn text(&self, span: Span) -> &str {
        usize::try_from(span.start)
            .ok()
            .zip(usize::try_from(span.end).ok())
            .and_then(|(start, end)| self.texts.get(start..end))
            .unwrap_or_default()
    }

    /// The value of the node at `at`.
    pub(crate) fn value(&self, at: usize) -> Option<Value> {
        self.nodes.get(at).map(|node| node.value)
    }

    /// The nodes of the outermost object.
    pub(crate) fn outermost(&self) -> Range<usize> {
        1..self.nodes.len()
    }

    /// Name, place and value of each node of one container, stepping over what is inside them.
    pub(crate) fn walk(&self, nodes: Range<usize>) -> impl Iterator<Item = (Span, usize, Value)> {
        let Range { start: mut at, end } = nodes;
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let here = at;
            let (node, next) = self.node(here)?;
            at = next;
            Some((node.name, here, node.value))
        })
    }

    fn new() -> Self {
        Self { texts: String::with_capacity(TEXTS_AT_FIRST), nodes: Vec::with_capacity(NODES_AT_FIRST) }
    }

    #[inline]
    fn keep(&mut self, text: &str) -> miniserde::Result<Span> {
        let start = self.texts.len();
        if text.len() > self.texts.capacity() - start {
            self.grow(text.len());
        }
        self.texts.push_str(text);
        Ok(Span { start: index(start)?, end: index(self.texts.len())? })
    }

    /// Not in place, since that would leave a copy of what may be a token in freed memory.
    #[cold]
    fn grow(&mut self, more: usize) {
        let needed = self.texts.len().saturating_add(more).max(self.texts.capacity().saturating_mul(2));
        let mut grown = String::with_capacity(needed);
        grown.push_str(&self.texts);
        std::mem::replace(&mut self.texts, grown).zeroize();
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

impl Zeroize for Object {
    fn zeroize(&mut self) {
        self.nodes.clear();
        self.texts.zeroize();
    }
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
        self.object.walk(self.container + 1..self.object.nodes.len()).map(|(name, ..)| self.object.text(name))
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

/// Levels of nesting, the outermost object being the first. No document of OAuth or JOSE comes near it; a reader that follows the
/// text with recursion (`serde_json`'s limit is 128) is safe behind it.
pub(crate) const MAX_DEPTH: usize = 64;

/// Members up to which names are compared one by one rather than sorted.
const FEW_MEMBERS: usize = 32;

/// What a usual access token's claims take, so that its reading allocates once for texts and once for nodes.
const TEXTS_AT_FIRST: usize = 512;
const NODES_AT_FIRST: usize = 24;
