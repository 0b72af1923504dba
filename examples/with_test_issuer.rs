//! Runs a program against a test issuer on loopback, and tells how often it asked: for tests of whole programs, in any language.
//!
//! ```text
//! cargo run --example with_test_issuer -- cargo run --example m2m
//! ```
//!
//! The program finds `AERO2_ISSUER`, `AERO2_CLIENT_ID` and `AERO2_CLIENT_SECRET` in its environment. Its status is this one's.

#[macro_use]
mod support;

use std::env;
use std::process::{Command, ExitCode};

use aero2::testing::{Endpoint, TestIssuer};

fn main() -> ExitCode {
    support::help("with_test_issuer -- PROGRAM [ARGUMENT…]", include_str!("with_test_issuer.rs"));
    let arguments: Vec<String> = env::args().skip(1).collect();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<bool, String> {
    let (program, arguments) = arguments.split_first().ok_or("usage: with_test_issuer PROGRAM [ARGUMENTS]")?;
    let test = TestIssuer::new();
    let server = test.serve().map_err(|err| format!("no port: {err}"))?;
    let status = Command::new(program)
        .args(arguments)
        .env("AERO2_ISSUER", server.url())
        .env("AERO2_CLIENT_ID", TestIssuer::CLIENT_ID)
        .env("AERO2_CLIENT_SECRET", TestIssuer::CLIENT_SECRET)
        .status()
        .map_err(|err| format!("{program}: {err}"))?;
    println!(
        "requests: {} discovery, {} keys, {} token, {} introspection, {} revocation",
        test.requests(Endpoint::Discovery),
        test.requests(Endpoint::Keys),
        test.requests(Endpoint::Token),
        test.requests(Endpoint::Introspection),
        test.requests(Endpoint::Revocation),
    );
    Ok(status.success())
}
