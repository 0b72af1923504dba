//! The contributor's loop: `cargo xtask check` before each commit. It needs Rust and a C compiler, nothing else.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;
use std::{env, fs, io};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  check      format, lint, test and docs: what is needed before a commit, in minutes
  format     rustfmt on every package; `format --fix` writes the files
  lint       clippy with each set of features
  test       all tests with each set of features, but those of `slow`
  docs       the documentation, in which every link must resolve
  slow       the tests that take more than a second
  packages   clippy on the packages beside the main one: fuzz targets, model check, examples, …

`bash .ci/run` does all that and the heavy checks; the list of its steps is at its end.";

/// Each set of features that is linted and tested.
const FEATURES: [&[&str]; 3] = [&["--all-features"], &[], &["--no-default-features"]];
const NO_WARNINGS: [&str; 3] = ["--", "-D", "warnings"];
/// In the manifest of a package that clippy cannot check here, with the reason.
const NOT_LINTED: &str = "# not linted: ";

type Outcome = Result<(), String>;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let started = Instant::now();
    match run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(()) => {
            println!("done in {} s", started.elapsed().as_secs());
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Outcome {
    match arguments {
        ["check"] => {
            format(&["--check"])?;
            lint()?;
            test()?;
            docs()
        }
        ["format"] => format(&["--check"]),
        ["format", "--fix"] => format(&[]),
        ["lint"] => lint(),
        ["test"] => test(),
        ["docs"] => docs(),
        ["slow"] => cargo("test", &["--all-features", "--test", "slow", "--test", "faults"], &[]),
        ["packages"] => packages(),
        _ => Err(USAGE.to_owned()),
    }
}

fn format(how: &[&str]) -> Outcome {
    for manifest in manifests()? {
        cargo("fmt", &[how, &["--all", "--manifest-path", &manifest]].concat(), &[])?;
    }
    Ok(())
}

fn lint() -> Outcome {
    for features in FEATURES {
        cargo("clippy", &[&["--all-targets"], features, &NO_WARNINGS].concat(), &[])?;
    }
    // `--all-targets` leaves out the tests that `cargo test` does.
    let left_out = ["--all-features", "--test", "slow", "--test", "faults"];
    cargo("clippy", &[&left_out[..], &NO_WARNINGS].concat(), &[])?;
    cargo(
        "clippy",
        &[&["--manifest-path", "xtask/Cargo.toml", "--target-dir", "target/xtask"], &NO_WARNINGS[..]].concat(),
        &[],
    )
}

fn test() -> Outcome {
    for features in FEATURES {
        cargo("test", features, &[])?;
    }
    Ok(())
}

fn docs() -> Outcome {
    cargo("doc", &["--no-deps", "--all-features"], &[("RUSTDOCFLAGS", "-D warnings")])
}

fn packages() -> Outcome {
    for manifest in manifests()? {
        let text = fs::read_to_string(root().join(&manifest)).map_err(|error| format!("{manifest}: {error}"))?;
        if let Some((_, reason)) = text.split_once(NOT_LINTED) {
            println!("{manifest}: not linted: {}", reason.lines().next().unwrap_or_default());
        } else if manifest != "Cargo.toml" {
            // In its folder, whose .cargo/config.toml may add flags.
            let folder = root().join(manifest.trim_end_matches("/Cargo.toml"));
            let target = root().join("target").display().to_string();
            println!("{manifest}:");
            let package = ["--all-targets", "--workspace", "--target-dir", &target];
            cargo_in(&folder, "clippy", &[&package[..], &NO_WARNINGS].concat(), &[])?;
        }
    }
    Ok(())
}

fn cargo(command: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Outcome {
    cargo_in(&root(), command, arguments, environment)
}

/// Runs `cargo COMMAND --quiet ARGUMENTS`.
fn cargo_in(folder: &Path, command: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Outcome {
    let shown = [&[command], arguments].concat().join(" ");
    println!("cargo {shown}");
    let started = Instant::now();
    let program = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut process = Command::new(program);
    process.arg(command).arg("--quiet").args(arguments).envs(environment.iter().copied()).current_dir(folder);
    match process.status() {
        Ok(status) if status.success() => {
            println!("  {:.1} s", started.elapsed().as_secs_f32());
            Ok(())
        }
        Ok(_) => Err(format!("cargo {shown} failed")),
        Err(error) => Err(format!("cargo cannot be started: {error}")),
    }
}

/// The manifests of all workspaces, as paths from the root with `/`.
fn manifests() -> Result<Vec<String>, String> {
    let mut found = vec!["Cargo.toml".to_owned()];
    visit(&root(), "", &mut found).map_err(|error| format!("{}: {error}", root().display()))?;
    found.sort();
    Ok(found)
}

fn visit(folder: &Path, name: &str, found: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let child = entry.file_name().to_string_lossy().into_owned();
        if child.starts_with('.') || ["target", "node_modules", "src"].contains(&child.as_str()) {
            continue;
        }
        let path = format!("{name}{child}");
        if entry.file_type()?.is_dir() {
            visit(&entry.path(), &format!("{path}/"), found)?;
        } else if child == "Cargo.toml" && fs::read_to_string(entry.path())?.lines().any(|line| line == "[workspace]") {
            found.push(path);
        }
    }
    Ok(())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}
