//! What `docs/rules.md` says of the tests.

use std::fs;
use std::path::Path;

/// A row names tests by their module in `tests/it`, or after the file whose unit tests they are.
#[test]
fn every_rule_of_caching_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/rules.md")).unwrap();
    let mut tests = 0;
    for row in page.lines().filter(|line| line.starts_with("| ") && *line != "| rule | test |") {
        let (_, named) = row.split_once(" | ").unwrap();
        let mut file = String::new();
        let before = tests;
        for name in named.split('`').skip(1).step_by(2) {
            let name = match name.rsplit_once("::") {
                _ if name.ends_with(".rs") => {
                    name.clone_into(&mut file);
                    continue;
                }
                Some((module, name)) => {
                    file = format!("tests/it/{}.rs", module.replace("::", "/"));
                    name
                }
                None => name,
            };
            let source = fs::read_to_string(root.join(&file)).unwrap_or_else(|_| panic!("{row}: no file {file}"));
            assert!(
                source.contains(&format!("#[test]\n    fn {name}("))
                    || source.contains(&format!("#[test]\nfn {name}(")),
                "{file} has no test {name}"
            );
            tests += 1;
        }
        assert!(tests > before, "{row} names no test");
    }
    assert!(tests >= 130, "only {tests} tests were read");
}
