//! What was shown, what must not be in it, and the search for the one in the other.

use std::any::type_name;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::error::Error as StdError;
use std::fmt::{Debug, Display};
use std::sync::{Arc, Mutex};

use aero2::Error;
use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// A part of a token or a secret that stands alone is found from this length.
const PART: usize = 12;
/// Shorter texts turn up by chance.
const SHORTEST: usize = 10;

#[derive(Clone, Default)]
pub(super) struct Search(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    shown: BTreeSet<String>,
    types: BTreeSet<String>,
    needles: BTreeSet<String>,
    /// Found as a whole only, since their parts may show.
    whole: BTreeSet<String>,
}

impl Search {
    pub(super) fn hide(&self, needle: impl AsRef<str>) {
        let needle = needle.as_ref();
        if needle.len() >= SHORTEST {
            self.0.lock().unwrap().needles.insert(needle.to_owned());
        }
    }

    /// Hides a token: each segment, and the JSON in it.
    pub(super) fn token(&self, token: &str) -> String {
        self.hide(token);
        for segment in token.split('.') {
            self.hide(segment);
            if let Ok(json) = engine(&URL_SAFE).decode(segment) {
                let json: String = String::from_utf8_lossy(&json).chars().take(64).collect();
                if json.len() > 40 {
                    self.0.lock().unwrap().whole.insert(json);
                }
            }
        }
        token.to_owned()
    }

    pub(super) fn show(&self, text: impl Display) {
        self.0.lock().unwrap().shown.insert(text.to_string());
    }

    pub(super) fn debug<T: Debug>(&self, value: T) {
        self.debug_without("\0", value);
    }

    /// As `debug`, of a value that was given `own` as a setting and may show it.
    pub(super) fn debug_without<T: Debug>(&self, own: &str, value: T) {
        self.show(format!("{value:?} {value:#?}").replace(own, "its own setting"));
        let names = type_name::<T>().split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_owned);
        self.0.lock().unwrap().types.extend(names);
    }

    pub(super) fn error(&self, error: &Error) {
        self.show(format_args!("{error} {error:#}"));
        self.debug(error);
        match error {
            Error::Token(inner) => self.debug(inner),
            Error::OAuth(inner) => self.debug(inner),
            Error::Network(inner) => self.debug(inner),
            Error::Config(inner) => self.debug(inner),
            Error::Clock(inner) => self.debug(inner),
            _ => {}
        }
        self.show(format_args!("{:?} {:?}", error.www_authenticate(Some("realm")), error.retry_after()));
        self.debug(error.challenge());
        let mut source = error.source();
        while let Some(error) = source {
            self.show(format_args!("{error} {error:#}"));
            self.debug(error);
            source = error.source();
        }
    }

    pub(super) fn outcome<T: Debug>(&self, outcome: &Result<T, Error>) {
        match outcome {
            Ok(value) => self.debug(value),
            Err(error) => self.error(error),
        }
    }

    pub(super) fn counts(&self) -> (usize, usize) {
        let state = self.0.lock().unwrap();
        (state.needles.len(), state.shown.len())
    }

    /// Those of `types` of which no value was shown.
    pub(super) fn never_shown(&self, types: &BTreeSet<String>) -> Vec<String> {
        types.difference(&self.0.lock().unwrap().types).cloned().collect()
    }

    /// Every text in which something hidden, or a part of it, shows: in clear, or encoded in a usual way.
    pub(super) fn found(&self) -> Vec<String> {
        let state = self.0.lock().unwrap();
        let needles = Needles::new(&state);
        let mut known = HashMap::new();
        let mut report = |text: &String| {
            let forms = written_otherwise(text);
            let hit = forms.iter().chain([text]).find_map(|form| needles.hit(form, &mut known))?;
            Some(format!("{hit} shows in {text:.300}"))
        };
        state.shown.iter().filter_map(&mut report).collect()
    }
}

struct Needles<'a> {
    /// Found as they are.
    whole: Vec<&'a String>,
    /// All windows of the others.
    parts: HashSet<&'a [u8]>,
}

impl<'a> Needles<'a> {
    fn new(state: &'a State) -> Self {
        let short = state.needles.iter().filter(|needle| runs(needle).next().is_none());
        let parts = state.needles.iter().flat_map(|needle| runs(needle)).flat_map(|run| run.as_bytes().windows(PART));
        Self { whole: short.chain(&state.whole).collect(), parts: parts.collect() }
    }

    /// `known` has the outcome for each run that was seen before.
    fn hit(&self, text: &str, known: &mut HashMap<String, Option<String>>) -> Option<String> {
        let whole = self.whole.iter().find(|needle| text.contains(**needle)).map(|needle| (*needle).clone());
        whole.or_else(|| {
            runs(text).find_map(|run| {
                if !known.contains_key(run) {
                    let clear = [run.to_owned()];
                    let hit = clear.iter().chain(&decoded(run)).find_map(|text| self.part(text));
                    known.insert(run.to_owned(), hit);
                }
                known[run].clone()
            })
        })
    }

    fn part(&self, text: &str) -> Option<String> {
        let window = text.as_bytes().windows(PART).find(|window| self.parts.contains(window));
        let whole = || self.whole.iter().find(|needle| text.contains(**needle)).map(|needle| needle.as_bytes());
        Some(String::from_utf8_lossy(window.or_else(whole)?).into_owned())
    }
}

/// What of a text may be a token, a secret or an encoding of one.
fn runs(text: &str) -> impl Iterator<Item = &str> {
    let ends = |c| !matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '+' | '/' | '=' | '%' | '~' | '-');
    text.split(ends).filter(|run| run.len() >= PART)
}

/// The text without escapes, without percent-encoding, and with lists of numbers taken for bytes.
fn written_otherwise(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    if text.contains('\\') {
        out.push(text.replace('\\', ""));
    }
    if text.contains('%') {
        out.push(percent_decoded(text));
    }
    let mut bytes = Vec::new();
    for word in text.split(|c: char| c == '[' || c == ']' || c == ',' || c.is_whitespace()).filter(|w| !w.is_empty()) {
        match word.parse::<u8>() {
            Ok(byte) => bytes.push(byte),
            Err(_) if bytes.len() >= SHORTEST => {
                out.push(String::from_utf8_lossy(&std::mem::take(&mut bytes)).into_owned());
            }
            Err(_) => bytes.clear(),
        }
    }
    if bytes.len() >= SHORTEST {
        out.push(String::from_utf8_lossy(&bytes).into_owned());
    }
    out
}

fn percent_decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What the run reads as base64, from any of its first four characters on, and as hexadecimal digits.
fn decoded(run: &str) -> Vec<String> {
    let mut out = Vec::new();
    let alphabet = if run.contains(['+', '/']) { &STANDARD } else { &URL_SAFE };
    let bare = run.split(['=', '%', '~']).next().unwrap_or_default();
    for part in (0..4).filter_map(|start| bare.get(start..)) {
        let whole = part.len() - usize::from(part.len() % 4 == 1);
        out.extend(engine(alphabet).decode(&part[..whole]).ok());
    }
    let digits: Vec<u8> = run.bytes().filter_map(|c| char::from(c).to_digit(16)?.try_into().ok()).collect();
    if digits.len() == run.len() {
        let pairs = |digits: &[u8]| digits.chunks_exact(2).map(|pair| pair[0] * 16 + pair[1]).collect();
        out.extend([pairs(&digits), pairs(&digits[1..])]);
    }
    out.into_iter().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect()
}

fn engine(alphabet: &base64::alphabet::Alphabet) -> GeneralPurpose {
    let lenient = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
    GeneralPurpose::new(alphabet, lenient.with_decode_padding_mode(DecodePaddingMode::Indifferent))
}

#[test]
fn the_search_finds_whatever_form_it_shows_in() {
    let token = "aaaaaaaaaaaabbbb.ccccccccccccdddd.eeeeeeeeeeeeffff";
    let search = || {
        let search = Search::default();
        search.token(token);
        search.hide("n33dle-one-secret");
        search.hide("n33dle-\"b\"");
        search.debug(aero2::testing::TestIssuer::new());
        assert_eq!(search.found(), [""; 0]);
        search
    };
    let hex: String = "n33dle-one-secret".bytes().map(|byte| format!("{byte:02x}")).collect();
    let base64 = engine(&STANDARD).encode("n33dle-one-secret");
    let shifted = engine(&URL_SAFE).encode(">n33dle-one-secret");
    for shown in [
        token.split('.').nth(1).unwrap(),
        "the token begins with aaaaaaaaaaaab",
        "and ends in ?eeeeeeeeeeff!",
        "x.ccccccccccccdddd",
        "n33dle-one-s",
        "n33dle%2Done%2dsecret",
        &format!("{:?}", b"n33dle-one-secret"),
        &format!("{:#?}", b"n33dle-one-secret"),
        &format!("{:?}", "n33dle-\"b\""),
        &hex,
        &format!("0{hex}"),
        &base64,
        &shifted,
        &format!("Basic {}", engine(&STANDARD).encode("id:n33dle-one-secret")),
    ] {
        let search = search();
        search.show(shown);
        assert!(!search.found().is_empty(), "{shown}");
    }
    let harmless = search();
    harmless.show("the token begins with aaaaaaa and n33dle-one is no secret; [110, 51, 51]");
    assert_eq!(harmless.found(), [""; 0]);
}

#[test]
fn the_claims_of_a_token_are_found_as_json_too() {
    let search = Search::default();
    let json = r#"{"iss":"https://issuer.example","sub":"somebody","scope":"everything"}"#;
    search.token(&format!("e30.{}.c2ln", engine(&URL_SAFE).encode(json).trim_end_matches('=')));
    search.show("https://issuer.example somebody");
    assert_eq!(search.found(), [""; 0]);
    search.show(json);
    assert!(!search.found().is_empty());
}
