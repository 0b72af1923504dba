//! From the text to the tape. Strings, numbers and literals are lexed by hifijson. Ours are the containers, which are followed in a loop,
//! so that no text makes this recurse, and the refusal of duplicate members.

use hifijson::Read as _;
use hifijson::SliceLexer;
use hifijson::escape::Lex as _;
use hifijson::num::Lex as _;
use hifijson::str::LexWrite as _;
use hifijson::token::Lex as _;
use zeroize::Zeroizing;

use crate::json::tape::{Node, Object, Span, Value, walk};

/// The text is no JSON, or none that this crate takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotAnObject;

impl Object {
    /// Reads `text`.
    pub(crate) fn parse(text: impl Into<String>) -> Result<Self, NotAnObject> {
        let mut object = Self::unread(text.into());
        object.read().ok_or(NotAnObject)?;
        Ok(object)
    }

    /// As [`parse`](Self::parse), for a document that holds a token: it is wiped in the end, and if it cannot be read.
    pub(crate) fn parse_secret(text: impl Into<String>) -> Result<Zeroizing<Self>, NotAnObject> {
        let mut object = Zeroizing::new(Self::unread(text.into()));
        object.read().ok_or(NotAnObject)?;
        Ok(object)
    }

    fn read(&mut self) -> Option<()> {
        let mut parser = Parser::new(self.source());
        parser.document()?;
        let Parser { nodes, decoded, .. } = parser;
        self.fill(nodes, decoded.as_deref());
        Some(())
    }
}

struct Parser<'t> {
    text: &'t str,
    lexer: SliceLexer<'t>,
    nodes: Vec<Node>,
    /// What the strings with escapes say. Their spans count on from the end of the text.
    decoded: Option<Zeroizing<String>>,
    level: Level,
    /// The levels around this one.
    parents: Vec<Level>,
}

/// A container that is being read.
#[derive(Clone, Copy, Default)]
struct Level {
    /// Its node.
    container: usize,
    is_object: bool,
    members: usize,
    /// A Bloom filter of one word over the names so far.
    seen: u64,
}

impl<'t> Parser<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            text,
            lexer: SliceLexer::new(text.as_bytes()),
            nodes: Vec::with_capacity(NODES_AT_FIRST),
            decoded: None,
            level: Level::default(),
            parents: Vec::new(),
        }
    }

    fn document(&mut self) -> Option<()> {
        self.take(b'{')?;
        self.push(Span::default(), Value::Object(0));
        self.level.is_object = true;
        self.containers()?;
        self.lexer.ws_peek().is_none().then_some(())
    }

    /// What stands in the outermost container and in all within.
    fn containers(&mut self) -> Option<()> {
        let mut is_first = true;
        loop {
            let mut next = self.lexer.ws_peek()?;
            if next == if self.level.is_object { b'}' } else { b']' } {
                self.lexer.take_next();
                self.close()?;
                match self.parents.pop() {
                    Some(parent) => self.level = parent,
                    None => return Some(()),
                }
                is_first = false;
                continue;
            }
            if !is_first {
                if next != b',' {
                    return None;
                }
                self.lexer.take_next();
                next = self.lexer.ws_peek()?;
            }
            let name = if self.level.is_object {
                let name = self.name(next)?;
                self.take(b':')?;
                next = self.lexer.ws_peek()?;
                name
            } else {
                Span::default()
            };
            is_first = matches!(next, b'{' | b'[');
            if is_first {
                self.lexer.take_next();
                self.open(name, next == b'{')?;
            } else {
                let value = self.scalar(next)?;
                self.push(name, value);
            }
        }
    }

    /// Goes beyond `byte`, if that is what comes next, white space aside.
    fn take(&mut self, byte: u8) -> Option<()> {
        if self.lexer.ws_peek()? != byte {
            return None;
        }
        self.lexer.take_next().map(drop)
    }

    fn scalar(&mut self, next: u8) -> Option<Value> {
        match next {
            b'"' => self.string().map(Value::Text),
            b'-' | b'0'..=b'9' => self.number(),
            _ => Some(self.lexer.null_or_bool()?.map_or(Value::Null, Value::Boolean)),
        }
    }

    /// Names are compared decoded, so that no escape hides a duplicate. In a small object each name that the filter has seen is
    /// compared with all before it; a large one is sorted once at its end, so that no input makes this quadratic.
    fn name(&mut self, next: u8) -> Option<Span> {
        if next != b'"' {
            return None;
        }
        let span = self.string()?;
        let bit = filter_bit(self.bytes_at(span));
        if self.level.seen & bit != 0 && self.level.members < FEW_MEMBERS {
            let name = self.text_at(span);
            if self.names().any(|other| other == name) {
                return None;
            }
        }
        self.level.seen |= bit;
        self.level.members += 1;
        Some(span)
    }

    fn push(&mut self, name: Span, value: Value) {
        self.nodes.push(Node { name, value });
    }

    fn open(&mut self, name: Span, is_object: bool) -> Option<()> {
        self.parents.push(self.level);
        if self.parents.len() >= MAX_DEPTH {
            return None;
        }
        self.level = Level { container: self.nodes.len(), is_object, ..Level::default() };
        self.push(name, if is_object { Value::Object(0) } else { Value::Array(0) });
        Some(())
    }

    fn close(&mut self) -> Option<()> {
        if self.level.members > FEW_MEMBERS {
            let mut names: Vec<&str> = self.names().collect();
            names.sort_unstable();
            if names.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
                return None;
            }
        }
        let end = u32::try_from(self.nodes.len()).ok()?;
        let node = self.nodes.get_mut(self.level.container)?;
        node.value = if self.level.is_object { Value::Object(end) } else { Value::Array(end) };
        Some(())
    }

    /// The names so far in this level's object.
    fn names(&self) -> impl Iterator<Item = &str> {
        let inside = self.level.container + 1..self.nodes.len();
        walk(&self.nodes, inside).map(|(name, ..)| self.text_at(name))
    }

    fn number(&mut self) -> Option<Value> {
        let start = self.at();
        self.lexer.num_ignore().validate().ok()?;
        Span::new(start, self.at()).map(Value::Number)
    }

    /// A string whose opening quote comes next.
    fn string(&mut self) -> Option<Span> {
        self.lexer.take_next();
        let start = self.at();
        let plain = |_: &mut &[u8], _: &mut bool| Ok::<_, hifijson::str::Error>(());
        let escaped = self.lexer.str_fold(false, plain, |lexer, escaped| {
            *escaped = true;
            escape(lexer).map(drop)
        });
        if escaped.ok()? {
            return self.decode(start);
        }
        Span::new(start, self.at() - 1)
    }

    /// The string with escapes that has been read from `start` on.
    #[cold]
    fn decode(&mut self, start: usize) -> Option<Span> {
        // Room for all strings, so that it never moves and leaves no copy behind: it may hold a token.
        let room = || Zeroizing::new(String::with_capacity(self.text.len()));
        let decoded = &mut **self.decoded.get_or_insert_with(room);
        let begin = decoded.len();
        let literal = self.text.as_bytes().get(start..)?;
        let decoded = SliceLexer::new(literal)
            .str_fold(
                decoded,
                |bytes, decoded| {
                    decoded.push_str(std::str::from_utf8(bytes).map_err(hifijson::str::Error::Utf8)?);
                    Ok(())
                },
                |lexer, decoded| {
                    decoded.push(escape(lexer)?);
                    Ok::<_, hifijson::str::Error>(())
                },
            )
            .ok()?;
        Span::new(self.text.len() + begin, self.text.len() + decoded.len())
    }

    fn text_at(&self, span: Span) -> &str {
        let in_text = span.range().and_then(|range| self.text.get(range));
        let in_decoded = || self.decoded.as_ref()?.get(span.back(self.text.len())?.range()?);
        in_text.or_else(in_decoded).unwrap_or_default()
    }

    /// As [`text_at`](Self::text_at), without the look for the ends of characters.
    fn bytes_at(&self, span: Span) -> &[u8] {
        let in_text = span.range().and_then(|range| self.text.as_bytes().get(range));
        in_text.unwrap_or_else(|| self.text_at(span).as_bytes())
    }

    /// How far the text has been read.
    fn at(&self) -> usize {
        self.text.len() - self.lexer.as_slice().len()
    }
}

fn escape(lexer: &mut SliceLexer<'_>) -> Result<char, hifijson::str::Error> {
    let kind = lexer.take_next().ok_or(hifijson::escape::Error::Eof)?;
    Ok(lexer.escape(kind)?)
}

fn filter_bit(bytes: &[u8]) -> u64 {
    let first = bytes.first().copied().map_or(0, u32::from);
    let last = bytes.last().copied().map_or(0, u32::from);
    let middle = bytes.get(bytes.len() / 2).copied().map_or(0, u32::from);
    1_u64.rotate_left(first.wrapping_mul(7).wrapping_add(last.wrapping_mul(3)).wrapping_add(middle))
}

/// Levels of nesting, the outermost object being the first. No document of OAuth or JOSE comes near it; a reader that follows the
/// text with recursion (`serde_json`'s limit is 128) is safe behind it.
pub(super) const MAX_DEPTH: usize = 64;

/// Members up to which names are compared one by one rather than sorted.
const FEW_MEMBERS: usize = 32;

/// What a usual access token's claims take, so that they are allocated once.
const NODES_AT_FIRST: usize = 24;
