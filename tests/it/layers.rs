//! The crate has no import cycle, nothing imports from `lib.rs`, and `testing` sees the public API only, like a user. This holds for the
//! real graph of `src`, so there is no table to keep.
//!
//! A plain token reader, no Rust parser: it follows every path that starts with `crate`, `self`, `super` or the name of a child
//! module, in `use` declarations and in expressions alike. Comments, literals and `#[cfg(test)] mod tests` do not count, and declaring
//! `mod child;` is no import.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// What `testing` may name beside itself: the root's re-exports and the public module.
const PUBLIC: &[&str] = &["lib", "jose"];

#[test]
fn imports_have_no_cycle() {
    let modules = sources();
    assert!(modules.contains_key("lib") && modules.contains_key("error"), "src/ was not read");
    let found = violations(&modules);
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn lib_rs_defines_nothing() {
    let text = strip(&sources()["lib"]);
    let tokens = tokens(&text);
    let defining = ["fn", "struct", "enum", "union", "trait", "impl", "const", "static", "type", "macro_rules"];
    let found: Vec<_> = tokens.iter().filter(|t| defining.contains(t)).collect();
    assert!(found.is_empty(), "lib.rs is a table of contents, but has {found:?}");
}

/// A plugin that is unloaded, or there twice, shares nothing.
#[test]
fn no_file_keeps_state_of_the_process() {
    for (name, text) in sources() {
        assert_eq!(process_state(&strip(&text)), None, "{name}");
    }
    for text in
        ["static ONCE: OnceLock<u8> = OnceLock::new();", "static mut N: u8 = 0;", "thread_local! { static X: u8 = 0 }"]
    {
        assert!(process_state(text).is_some(), "{text}");
    }
    assert_eq!(process_state(&strip("fn f<T: 'static>(name: &'static str) {}")), None);
}

fn process_state(text: &str) -> Option<String> {
    let item =
        |w: &[&str]| w[0] == "static" && (w[1] == "mut" || (w[1].starts_with(char::is_uppercase) && w[2] == ":"));
    tokens(text).windows(3).find(|w| item(w) || w[0] == "thread_local").map(<[&str]>::concat)
}

#[test]
fn planted_violations_are_found() {
    for (file, text, expected) in [
        ("secret", "use crate::error::Error;", "a cycle: error -> secret -> error"),
        ("secret", "use {std::fmt, crate::{error::Error}};", "a cycle: error -> secret -> error"),
        ("secret", "fn f() -> u8 { super::error::CODE }", "a cycle: error -> secret -> error"),
        ("secret", "fn f(_: &crate::error::Error) {}", "a cycle: error -> secret -> error"),
        ("secret", "mod inner { fn f() { crate::error::g::<u8>() } }", "a cycle: error -> secret -> error"),
        ("secret", "use crate::jose::jwk::Jwk;", "a cycle: error -> secret -> jose/jwk -> error"),
        ("jose/key", "use super::*;", "a cycle: jose -> jose/key -> jose"),
        ("error", "use crate::Secret;", "error imports lib"),
        ("error", "use crate::secrets::X;", "error imports lib"),
        ("testing", "use crate::error::Error;", "testing imports error, which is not public"),
    ] {
        let mut modules = BTreeMap::from(
            [
                ("lib", ""),
                ("error", "use crate::secret::Secret;"),
                ("secret", ""),
                ("jose", "mod key; use key::Key;"),
                ("jose/key", ""),
                ("jose/jwk", "use crate::error::Error;"),
                ("testing", "use crate::Secret; use crate::jose::Jwk;"),
            ]
            .map(|(name, text)| (name.to_string(), text.to_string())),
        );
        assert_eq!(violations(&modules), [""; 0], "before");
        modules.get_mut(file).unwrap().push_str(text);
        assert_eq!(violations(&modules), [expected], "{text}");
    }
}

#[test]
fn comments_literals_and_tests_are_no_imports() {
    for text in [
        "//! [`x`](crate::error::Error)\n/* crate::error /* nested */ crate::error::E */ struct S;",
        r##"const A: &str = "crate::error::E \" crate::error::E"; const B: &str = r#"crate::error::E " "#; const C: char = '"';"##,
        "fn f<'a>(x: &'a str) -> char { '\\'' }\n#[cfg(test)]\nmod tests { use crate::error::Error; }",
        "pub(crate) fn f() {} pub(in crate) fn g() {} use std::error::Error; fn h() { std::clock::x() }",
    ] {
        let modules = BTreeMap::from([("secret".to_string(), text.to_string()), ("error".to_string(), String::new())]);
        assert!(violations(&modules).is_empty(), "{text}");
    }
}

/// Every file of `src` by module name: `issuer/keys`, and `lib` for the root.
fn sources() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut modules = BTreeMap::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
            if path.is_dir() {
                folders.push(path);
            } else if let Some(name) = name.strip_suffix(".rs") {
                modules.insert(name.to_string(), fs::read_to_string(&path).unwrap());
            }
        }
    }
    modules
}

fn violations(modules: &BTreeMap<String, String>) -> Vec<String> {
    let mut found = Vec::new();
    let mut graph = BTreeMap::new();
    for (name, text) in modules.iter().filter(|(name, _)| *name != "lib") {
        let own = |other: &str| other.split('/').next() == Some("testing");
        let mut imported = imports(name, text, modules);
        for target in &imported {
            if own(name) && !own(target) {
                if !PUBLIC.contains(&target.as_str()) {
                    found.push(format!("{name} imports {target}, which is not public"));
                }
            } else if target == "lib" {
                found.push(format!("{name} imports lib"));
            }
        }
        imported.remove("lib");
        graph.insert(name.as_str(), imported);
    }
    let mut done = BTreeSet::new();
    for name in graph.keys() {
        visit(name, &graph, &mut Vec::new(), &mut done, &mut found);
    }
    found
}

/// Follows the imports of `name` in depth; `path` leads to it.
fn visit<'g>(
    name: &'g str,
    graph: &'g BTreeMap<&str, BTreeSet<String>>,
    path: &mut Vec<&'g str>,
    done: &mut BTreeSet<&'g str>,
    found: &mut Vec<String>,
) {
    if let Some(start) = path.iter().position(|other| *other == name) {
        found.push(format!("a cycle: {} -> {name}", path[start..].join(" -> ")));
        return;
    }
    if done.contains(name) {
        return;
    }
    path.push(name);
    for target in &graph[name] {
        visit(target, graph, path, done, found);
    }
    path.pop();
    done.insert(name);
}

/// The modules that this file names, itself excepted.
fn imports(name: &str, text: &str, modules: &BTreeMap<String, String>) -> BTreeSet<String> {
    let text = strip(text);
    let tokens = tokens(&text);
    let here: Vec<&str> = if name == "lib" { Vec::new() } else { name.split('/').collect() };
    let children: Vec<&str> = tokens.windows(3).filter(|w| w[0] == "mod" && w[2] == ";").map(|w| w[1]).collect();
    let mut paths = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        let starts = matches!(*token, "crate" | "super" | "self") || children.contains(token);
        if starts && tokens.get(i + 1) == Some(&"::") && (i == 0 || tokens[i - 1] != "::") {
            read_tree(&tokens, i, &[], &mut paths);
        }
    }
    let targets = paths.iter().map(|path| resolve(&here, path, modules));
    targets.filter(|target| target != name).collect()
}

/// Reads one path or use tree from `at`, adds each full path to `paths` and returns where it ends.
fn read_tree<'a>(tokens: &[&'a str], mut at: usize, prefix: &[&'a str], paths: &mut Vec<Vec<&'a str>>) -> usize {
    let mut path = prefix.to_vec();
    loop {
        match tokens.get(at) {
            Some(&"{") => {
                at += 1;
                while at < tokens.len() && tokens[at] != "}" {
                    // `as name` and commas between the trees are passed over.
                    at = if is_word(tokens[at]) { read_tree(tokens, at, &path, paths) } else { at + 1 };
                }
                return at + 1;
            }
            Some(&"self") if !path.is_empty() => at += 1,
            Some(word) if is_word(word) => {
                path.push(word);
                at += 1;
            }
            _ => break,
        }
        if tokens.get(at) == Some(&"as") {
            at += 2;
        }
        if tokens.get(at) != Some(&"::") {
            break;
        }
        at += 1;
    }
    paths.push(path);
    at
}

/// The file that a path leads into: the longest beginning of it that is one, else the root.
fn resolve(here: &[&str], path: &[&str], modules: &BTreeMap<String, String>) -> String {
    let mut full = if path.first() == Some(&"crate") { Vec::new() } else { here.to_vec() };
    for segment in path {
        match *segment {
            "crate" | "self" => {}
            "super" => drop(full.pop()),
            other => full.push(other),
        }
    }
    while !full.is_empty() && !modules.contains_key(&full.join("/")) {
        full.pop();
    }
    if full.is_empty() { "lib".to_string() } else { full.join("/") }
}

fn is_word(token: &str) -> bool {
    token.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// Words and `::`; every other character is a token by itself.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let end = if rest.starts_with("::") { 2 } else { word.max(first.len_utf8()) };
        let (token, after) = rest.split_at(end);
        tokens.push(token);
        rest = after.trim_start();
    }
    tokens
}

/// The text without comments and literals, up to the unit tests at its end.
fn strip(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if rest.starts_with("/*") {
            rest = after_block_comment(rest);
        } else if c == '"' {
            rest = after_string(after);
        } else if (rest.starts_with("r\"") || rest.starts_with("r#"))
            && !out.ends_with(|c: char| c.is_alphanumeric() && c != 'b')
        {
            rest = after_raw_string(after);
        } else if c == '\'' {
            rest = after_char_or_lifetime(after);
        } else {
            out.push(c);
            rest = after;
        }
    }
    let tests = out.find("#[cfg(test)]\nmod ").unwrap_or(out.len());
    out.truncate(tests);
    out
}

fn after_block_comment(text: &str) -> &str {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    &text[at..]
}

fn after_string(text: &str) -> &str {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' if !escaped => return &text[at + 1..],
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    ""
}

/// `text` starts behind the `r`. A raw identifier (`r#type`) is no string and stays.
fn after_raw_string(text: &str) -> &str {
    let hashes = text.len() - text.trim_start_matches('#').len();
    let Some(body) = text[hashes..].strip_prefix('"') else { return &text[hashes..] };
    let end = format!("\"{}", "#".repeat(hashes));
    body.split_once(&end).map_or("", |(_, rest)| rest)
}

/// `text` starts behind the `'`.
fn after_char_or_lifetime(text: &str) -> &str {
    if let Some(escape) = text.strip_prefix('\\') {
        let body = &escape[escape.chars().next().map_or(0, char::len_utf8)..];
        return body.split_once('\'').map_or("", |(_, rest)| rest);
    }
    let first = text.chars().next().map_or(0, char::len_utf8);
    text[first..].strip_prefix('\'').unwrap_or(text)
}
