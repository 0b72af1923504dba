//! A test in a process of its own: for what is set per process (environment variables, the default provider of rustls) or counted
//! per process (threads, file descriptors).

use std::ffi::OsStr;
use std::process::Command;

/// In the child: whether this process was started by [`run`].
pub(crate) fn is_child() -> bool {
    std::env::var_os(MARK).is_some()
}

/// In the child: what the parent passed.
pub(crate) fn passed(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("the parent passed no {name}"))
}

/// This very test (its path as libtest prints it), to be run once more in a fresh process.
pub(crate) fn command(test: &str, environment: &[(&str, &str)]) -> Command {
    // An emulated test cannot start itself: scripts/cross-test says by which emulator it can.
    let runner = std::env::var("AERO2_TEST_RUNNER").unwrap_or_default();
    let program = std::env::current_exe().unwrap();
    let mut words = runner.split_whitespace().map(OsStr::new).chain([program.as_os_str()]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).args([test, "--exact", "--nocapture", "--test-threads=1"]).env(MARK, "1");
    for name in PROXY_VARIABLES {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command.envs(environment.iter().copied());
    command
}

/// Runs the test in a child and takes over its outcome.
pub(crate) fn run(test: &str, environment: &[(&str, &str)]) {
    let output = command(test, environment).output().unwrap();
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "{test} in a child:\n{text}");
    assert!(text.contains("1 passed"), "no test is called {test}:\n{text}");
}

const MARK: &str = "AERO2_TEST_CHILD";
const PROXY_VARIABLES: [&str; 5] = ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "REQUEST_METHOD"];
