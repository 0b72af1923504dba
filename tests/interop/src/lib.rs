//! Processes in other languages: issuers that run beside a test, and verifiers that a test asks.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

/// An issuer in a process of its own. It stops on drop.
pub struct Peer {
    process: Child,
    ready: Value,
    /// Held open, or the process would die of its next notice.
    _output: BufReader<ChildStdout>,
}

impl Peer {
    /// npm's `oidc-provider` on this port (0: any), with new keys.
    pub fn oidc_provider(port: u16) -> Self {
        Self::start(Command::new("node").arg(path("oidc-provider.mjs")).arg(port.to_string()))
    }

    /// PyPI's Authlib.
    pub fn authlib() -> Self {
        Self::start(Command::new(python()).arg(path("authlib_issuer.py")))
    }

    fn start(command: &mut Command) -> Self {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?} cannot be started ({e}): use tests/interop/run"));
        // What else it says is for people.
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut lines = output.by_ref().lines().map_while(Result::ok);
        let ready = lines.find_map(|line| serde_json::from_str(&line).ok());
        let ready = ready.unwrap_or_else(|| panic!("{command:?} did not start"));
        Self { process, ready, _output: output }
    }

    /// A member of what the process said when it was ready.
    pub fn says(&self, name: &str) -> &str {
        self.ready[name].as_str().unwrap_or_else(|| panic!("no {name}"))
    }

    pub fn issuer_url(&self) -> &str {
        self.says("issuer")
    }

    pub fn port(&self) -> u16 {
        self.issuer_url().rsplit_once(':').unwrap().1.parse().unwrap()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a verifier in another language makes of a token: its claims, or its refusal.
pub fn verified_by(verifier: Verifier, issuer_url: &str, audience: &str, token: &str) -> Result<Value, String> {
    let mut command = match verifier {
        Verifier::Jose => Command::new("node"),
        Verifier::PyJwt => Command::new(python()),
    };
    let script = match verifier {
        Verifier::Jose => "verify_by_jose.mjs",
        Verifier::PyJwt => "verify_by_pyjwt.py",
    };
    let output = command.arg(path(script)).args([issuer_url, audience, token]).output().expect("use tests/interop/run");
    if output.status.success() {
        Ok(serde_json::from_slice(&output.stdout).expect("claims"))
    } else {
        Err(String::from_utf8(output.stderr).unwrap())
    }
}

/// A library that verifies JWTs.
#[derive(Clone, Copy, Debug)]
pub enum Verifier {
    /// npm's `jose`.
    Jose,
    /// PyPI's `pyjwt`.
    PyJwt,
}

fn python() -> String {
    std::env::var("AERO2_INTEROP_PYTHON").expect("AERO2_INTEROP_PYTHON is set by tests/interop/run")
}

fn path(script: &str) -> String {
    format!("{}/{script}", env!("CARGO_MANIFEST_DIR"))
}
