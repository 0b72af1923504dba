//! Secrets in transit: every request of this suite passes `support::recorder`, which holds each to the rule where secrets may be.

use std::fs;
use std::path::Path;

/// Lines that hand a transport to an issuer in words of their own, each with the reason.
const EXCEPTIONS: &[&str] = &[
    // Recorders by these names.
    ".transport(recorder.clone())",
    ".transport(boxed)",
    // A closure is a transport: this one sends nothing.
    ".transport(closure)",
    // The pages of real providers, one of them over plain http in a container network; their secret is a word.
    ".transport(web.clone())",
];

#[test]
fn every_issuer_of_this_suite_is_recorded() {
    let mut recorded = 0;
    for (path, text) in sources(Path::new("tests/it")) {
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            let place = || format!("{path}:{}: {line}", number + 1);
            let itself = [concat!("test.", "issuer()"), concat!(".issuer", "_builder()")];
            assert!(!itself.iter().any(|text| line.contains(text)), "use support::recorded: {}", place());
            let Some((_, given)) =
                line.split_once(concat!(".trans", "port(")).filter(|(_, rest)| !rest.starts_with(')'))
            else {
                continue;
            };
            let known = EXCEPTIONS.iter().any(|exception| line.contains(exception));
            assert!(known || given.contains("Recorder::new("), "not recorded: {}", place());
            recorded += 1;
        }
    }
    assert!(recorded > 20, "{recorded}");
}

/// The modules, without what supports them.
fn sources(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let name = entry.file_name().into_string().unwrap();
        if path.is_dir() && name != "support" {
            found.extend(sources(&path));
        } else if name.ends_with(".rs") && !["support.rs", "in_transit.rs"].contains(&&*name) {
            found.push((path.display().to_string(), fs::read_to_string(path).unwrap()));
        }
    }
    found
}
