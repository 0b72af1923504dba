//! What the guide says of the code.

use std::fs;
use std::path::{Path, PathBuf};

/// Each row of the page of defaults ends with a file and what stands in it.
#[test]
fn the_page_of_defaults_says_what_the_code_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/guide/decisions/defaults.md")).unwrap();
    let mut rows = 0;
    for row in page.lines().filter(|line| line.contains("`src/")) {
        let place = row.rsplit(" | ").next().unwrap();
        let [_, file, between, code, _] = place.split('`').collect::<Vec<_>>()[..] else { panic!("{row}") };
        assert_eq!(between, ": ", "{row}");
        let source = fs::read_to_string(root.join(file)).unwrap_or_else(|_| panic!("{file} is no file"));
        assert!(source.contains(code), "{file} has no {code}");
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

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
