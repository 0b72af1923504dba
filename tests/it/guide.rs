//! What the guide and the other pages say about the code.

use std::fs;
use std::path::{Path, PathBuf};

/// Each row of the page of defaults ends with what stands in the code, in whatever file.
#[test]
fn the_page_of_defaults_says_what_the_code_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/guide/decisions/defaults.md")).unwrap();
    let code: String = files(&root.join("src")).iter().filter_map(|file| fs::read_to_string(file).ok()).collect();
    let mut rows = 0;
    for row in page.lines().filter(|line| line.ends_with("` |")) {
        let quoted = row.trim_end_matches("` |").rsplit('`').next().unwrap();
        assert!(code.contains(quoted), "the code has no {quoted}");
        rows += 1;
    }
    assert!(rows >= 35, "only {rows} rows were read");
}

/// `src/guide.rs` and `src/guide/` name every chapter that there is.
#[test]
fn every_chapter_is_in_the_guide() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let modules: String =
        ["src/guide.rs", "src/guide/decisions.rs"].map(|file| fs::read_to_string(root.join(file)).unwrap()).concat();
    for folder in ["docs/guide", "docs/guide/decisions"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let chapter = format!("{folder}/{}", path.file_name().unwrap().to_str().unwrap());
                assert!(modules.contains(&chapter), "{chapter} is not in the guide");
            }
        }
    }
}

/// The list of messages in the chapter on errors quotes them as they are; `…` stands for more of the message.
#[test]
fn the_messages_that_the_guide_explains_are_those_of_the_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = files(&root.join("src/error"));
    sources.push(root.join("src/error.rs"));
    let code: String = sources.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let page = fs::read_to_string(root.join("docs/guide/errors.md")).unwrap();
    let (_, list) = page.split_once("# Messages you may meet").unwrap();
    let mut rows = 0;
    // "missing token", "invalid token" and the codes of OAuth are no literals of their own.
    for row in list.lines().filter(|row| row.starts_with("- `") && !row.contains(" token`") && !row.contains("… with "))
    {
        let message = row.split('`').nth(1).unwrap().trim_matches(['…', ' ']);
        for part in message.split(": ") {
            assert!(code.contains(part), "no message says: {part}");
        }
        rows += 1;
    }
    assert!(rows >= 7, "only {rows} rows were read");
}

/// Where a name is long, `…` stands for the rest of it.
#[test]
fn the_tests_that_the_security_policy_names_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tests: String = files(&root.join("tests/it")).iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let names: Vec<&str> = tests.split("\nfn ").filter_map(|after| after.split('(').next()).collect();
    let policy = fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let quoted = policy.lines().filter(|line| line.starts_with('|')).flat_map(|row| row.split('`').skip(1).step_by(2));
    let mut seen = 0;
    for quoted in quoted.filter(|quoted| quoted.contains("::")) {
        let name = quoted.rsplit("::").next().unwrap();
        let fits = |test: &&str| name.split('…').try_fold(*test, |rest, part| Some(rest.split_once(part)?.1)).is_some();
        assert!(names.iter().any(fits), "there is no test {quoted}");
        seen += 1;
    }
    assert!(seen >= 20, "only {seen} names were read");
}

/// What is longer is cut off in the rendered pages.
#[test]
fn examples_are_as_wide_as_the_rendered_page() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in files(&root.join("src")).into_iter().chain(files(&root.join("docs/guide"))) {
        let is_rust = path.extension().is_some_and(|extension| extension == "rs");
        if !is_rust && path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        // Outside of code; in code; in what a program prints, which is as wide as it is.
        let mut fence = None;
        let source = fs::read_to_string(&path).unwrap();
        for line in source.lines() {
            let comment = line.trim_start().strip_prefix("///").or(line.trim_start().strip_prefix("//!"));
            let Some(text) = (if is_rust { comment } else { Some(line) }) else { continue };
            if let Some(language) = text.trim_start().strip_prefix("```") {
                fence = if fence.is_some() { None } else { Some(language) };
            }
            let shown = text.strip_prefix(' ').filter(|_| is_rust).unwrap_or(text);
            let code = fence.is_some_and(|language| language != "text");
            let fits = !code || shown.starts_with("# ") || shown.chars().count() <= 92;
            assert!(fits, "{}: {line}", path.display());
        }
    }
}

/// On a phone of 390 px a table has 360: what is wider breaks inside words. Widths are by eye: 8.5 px for a character of code, 7.6 of text.
#[test]
fn tables_of_the_rendered_pages_fit_a_phone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in files(&root.join("src")).into_iter().chain(files(&root.join("docs/guide"))) {
        // The keys of the test issuer are no text.
        let source = fs::read_to_string(&path).unwrap_or_default();
        let shown =
            |line: &str| line.trim_start().trim_start_matches("//!").trim_start_matches("///").trim().to_owned();
        let lines: Vec<String> = source.lines().map(shown).collect();
        // The table of defaults quotes the code, for its maintainers.
        let is_table = |lines: &&[String]| lines.get(1).is_some_and(|rule| rule.starts_with("|-"));
        let is_exempt = path.ends_with("decisions/defaults.md");
        for table in lines.split(|line| !line.starts_with('|')).filter(is_table).filter(|_| !is_exempt) {
            let rows: Vec<Vec<f64>> =
                table.iter().map(|row| row.trim_matches('|').split('|').map(widest_word).collect()).collect();
            let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
            let column = |at: usize| rows.iter().filter_map(|row| row.get(at).copied()).fold(0.0, f64::max) + 11.0;
            let width: f64 = (0..columns).map(column).sum();
            assert!(width <= 360.0, "{}: {width} px: {}", path.display(), table[0]);
        }
    }
}

/// Of a cell, without the targets of its links.
fn widest_word(cell: &str) -> f64 {
    let mut targets = cell.split("](");
    let mut text = targets.next().unwrap_or_default().to_owned();
    targets.for_each(|rest| text.push_str(rest.split_once(')').map_or("", |(_, rest)| rest)));
    let (mut code, mut width, mut widest) = (false, 0.0, 0.0_f64);
    for c in text.chars() {
        match c {
            '`' => code = !code,
            ' ' => width = 0.0,
            '[' | ']' | '-' => {}
            _ => width += if code { 8.5 } else { 7.6 },
        }
        widest = widest.max(width);
    }
    widest
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
