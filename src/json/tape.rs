//! The text of a JSON object, read once into a tape of nodes.

use std::ops::Range;

use zeroize::Zeroize;

/// A JSON object as read: no duplicate members at any depth, no deeper than [`MAX_DEPTH`](super::parse::MAX_DEPTH), nothing after it.
///
/// It is a tape, all nodes in the order of the text with each container knowing its end, so that a usual document costs two
/// allocations and dropping none recurses.
pub(crate) struct Object {
    /// The text as read and, behind it, what its strings with escapes say.
    texts: String,
    source_len: usize,
    nodes: Vec<Node>,
}

/// One value and, inside an object, its name.
pub(super) struct Node {
    pub(super) name: Span,
    pub(super) value: Value,
}

/// Where a string's text lies in [`Object::texts`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// `None` for a place that no span can name.
    pub(super) fn new(start: usize, end: usize) -> Option<Self> {
        Some(Self { start: u32::try_from(start).ok()?, end: u32::try_from(end).ok()? })
    }

    /// The span that lies `bytes` before this one.
    pub(super) fn back(self, bytes: usize) -> Option<Self> {
        let bytes = u32::try_from(bytes).ok()?;
        Some(Self { start: self.start.checked_sub(bytes)?, end: self.end.checked_sub(bytes)? })
    }

    pub(super) fn range(self) -> Option<Range<usize>> {
        Some(usize::try_from(self.start).ok()?..usize::try_from(self.end).ok()?)
    }
}

/// A JSON value. Containers hold the index of the node after their last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Null,
    Boolean(bool),
    /// Its literal.
    Number(Span),
    Text(Span),
    Array(u32),
    Object(u32),
}

impl Object {
    /// What is not read yet.
    pub(super) fn unread(text: String) -> Self {
        Self { source_len: text.len(), texts: text, nodes: Vec::new() }
    }

    /// Takes in what the text was read into.
    ///
    /// `decoded` is what its strings with escapes say; their spans count on from the end of the text.
    pub(super) fn fill(&mut self, nodes: Vec<Node>, decoded: Option<&String>) {
        self.nodes = nodes;
        if let Some(decoded) = decoded {
            // Not in place, since that would leave a copy of what may be a token in freed memory.
            let mut texts = String::with_capacity(self.texts.len().saturating_add(decoded.len()));
            texts.push_str(&self.texts);
            texts.push_str(decoded);
            std::mem::replace(&mut self.texts, texts).zeroize();
        }
    }

    /// The text as read.
    pub(crate) fn source(&self) -> &str {
        self.texts.get(..self.source_len).unwrap_or_default()
    }

    /// The decoded text at `span`, which is one of this object's own.
    pub(crate) fn text(&self, span: Span) -> &str {
        span.range().and_then(|range| self.texts.get(range)).unwrap_or_default()
    }

    /// The value of the node at `at`.
    pub(crate) fn value(&self, at: usize) -> Option<Value> {
        self.nodes.get(at).map(|node| node.value)
    }

    /// The nodes of the outermost object.
    pub(crate) fn outermost(&self) -> Range<usize> {
        1..self.nodes.len()
    }

    /// As the function [`walk`], of this object's nodes.
    pub(crate) fn walk(&self, nodes: Range<usize>) -> impl Iterator<Item = (Span, usize, Value)> {
        walk(&self.nodes, nodes)
    }
}

/// Name, place and value of each of the nodes of one container, stepping over what is inside them.
pub(super) fn walk(
    nodes: &[Node],
    Range { start: mut at, end }: Range<usize>,
) -> impl Iterator<Item = (Span, usize, Value)> {
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let here = at;
        let node = nodes.get(here)?;
        at = match node.value {
            Value::Array(end) | Value::Object(end) => usize::try_from(end).ok()?,
            _ => here.checked_add(1)?,
        };
        Some((node.name, here, node.value))
    })
}

impl Zeroize for Object {
    fn zeroize(&mut self) {
        self.nodes.clear();
        self.texts.zeroize();
    }
}
