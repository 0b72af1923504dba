//! `docs/imports.md`: the imports as they are, drawn. `AERO2_DRAW_IMPORTS=1 cargo test --test it layers::drawing` draws it anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

use super::{LEVELS, imports, sources};

/// Whom each module uses. A file at the root of `src` and the folder of its name are one module.
type Graph = BTreeMap<String, BTreeSet<String>>;

#[test]
fn the_drawing_of_the_imports_is_current() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/imports.md");
    let page = page(&graph());
    if env::var_os("AERO2_DRAW_IMPORTS").is_some() {
        fs::write(&file, &page).unwrap();
    }
    let committed = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == page,
        "docs/imports.md is not current: AERO2_DRAW_IMPORTS=1 cargo test --test it layers::drawing"
    );
}

/// The table of levels is about files; with their folders taken as one, there must be no cycle either.
#[test]
fn modules_form_no_cycle() {
    let graph = graph();
    for name in graph.keys() {
        assert!(!reachable(&graph, name).contains(name), "{name} imports itself by way of others");
    }
}

fn graph() -> Graph {
    let files = sources();
    let top = |name: &str| name.split('/').next().unwrap_or(name).to_owned();
    let mut graph = Graph::new();
    for (name, text) in &files {
        let used = imports(name, text, &files);
        graph.entry(top(name)).or_default().extend(used.iter().map(|used| top(used)).filter(|used| *used != top(name)));
    }
    // Chapters name everything in their examples only, and the entries of the fuzz targets are in no build of a user.
    graph.retain(|name, _| name != "guide" && name != "fuzzing");
    for used in graph.values_mut() {
        used.retain(|name| name != "guide" && name != "fuzzing");
    }
    graph
}

fn reachable(graph: &Graph, from: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&String> = graph[from].iter().collect();
    while let Some(name) = open.pop() {
        if found.insert(name.clone()) {
            open.extend(&graph[name]);
        }
    }
    found
}

fn page(graph: &Graph) -> String {
    let mut page = String::from(
        "# The imports of the crate\n\n\
         Each box is a file at the root of `src` together with the folder of its name, and an arrow points to what it uses. Where a module is\n\
         also used by way of another one, its own arrow is left out. No module can reach itself again. `lib` stands for the public API.\n\
         `tests/it/layers.rs` holds every single file to its level, draws this page, and fails if the page is not current.\n\n\
         ```mermaid\nflowchart TD\n",
    );
    for name in order(graph) {
        let used = &graph[name];
        let indirect: BTreeSet<String> = used.iter().flat_map(|used| reachable(graph, used)).collect();
        for used in used.iter().filter(|used| !indirect.contains(*used)) {
            writeln!(page, "    {name} --> {used}").unwrap();
        }
    }
    page.push_str("```\n\n| Module | Uses | Used by |\n|---|---|---|\n");
    for name in order(graph) {
        let users: Vec<&str> = order(graph).filter(|user| graph[*user].contains(name)).collect();
        let uses: Vec<&str> = graph[name].iter().map(String::as_str).collect();
        writeln!(page, "| `{name}` | {} | {} |", listed(&uses), listed(&users)).unwrap();
    }
    page
}

/// Highest level first, as one reads from `lib.rs` down.
fn order(graph: &Graph) -> impl Iterator<Item = &str> {
    let rows = LEVELS.iter().rev().flat_map(|row| row.iter().copied());
    rows.filter(|name| graph.contains_key(*name))
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() { "–".to_owned() } else { names.join(", ") }
}
