//! Asks a real issuer whether a token is active (RFC 7662).
//!
//! ```text
//! export AERO2_ISSUER=https://acme.aero2.dev AERO2_CLIENT_ID=orders-api AERO2_CLIENT_SECRET=…
//! echo "$TOKEN" | cargo run --example introspect
//! ```
//!
//! Pass the token on standard input or in `AERO2_TOKEN`. Aero2 answers only the token's audience (for a refresh token, the client that it
//! was issued to); to everybody else, every token is inactive. The exit status is 0 for an active token, 1 for an inactive one and 2 for an
//! error.

#[path = "support/environment.rs"]
mod environment;
#[macro_use]
mod support;

use std::env;
use std::error::Error as _;
use std::io::stdin;
use std::iter::successors;
use std::process::ExitCode;
use std::time::SystemTime;

use aero2::{Error, Introspection, Issuer, SecretSource, TokenInfo};

use environment::required;

fn main() -> ExitCode {
    support::help("introspect", include_str!("introspect.rs"));
    match introspect() {
        Ok(Introspection::Active(info)) => {
            show(&info);
            ExitCode::SUCCESS
        }
        Ok(Introspection::Inactive) => {
            println!("inactive: expired, revoked, unknown, or not for this client to ask about");
            ExitCode::FAILURE
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::from(2)
        }
    }
}

fn introspect() -> Result<Introspection, String> {
    let [issuer, id, _secret] = required([
        ("AERO2_ISSUER", "https://acme.aero2.dev"),
        ("AERO2_CLIENT_ID", "orders-api"),
        ("AERO2_CLIENT_SECRET", "the secret that the issuer gave to this client"),
    ])?;
    let issuer = Issuer::new(&issuer).map_err(|err| err.to_string())?;
    let secret = SecretSource::env("AERO2_CLIENT_SECRET");
    let introspector = issuer.introspector(id, secret).build().map_err(|err| err.to_string())?;
    introspector.introspect(token()?.trim()).map_err(|err| explain(&err))
}

fn token() -> Result<String, String> {
    if let Ok(token) = env::var("AERO2_TOKEN") {
        return Ok(token);
    }
    let mut line = String::new();
    match stdin().read_line(&mut line) {
        Ok(read) if read > 0 => Ok(line),
        _ => Err("no token: give it on standard input, or in the environment variable AERO2_TOKEN".to_owned()),
    }
}

fn show(info: &TokenInfo) {
    println!("active");
    let expires = info.expires_at().and_then(|at| at.duration_since(SystemTime::now()).ok());
    for (name, value) in [
        ("issuer", info.issuer().map(str::to_owned)),
        ("subject", info.subject().map(str::to_owned)),
        ("client", info.client_id().map(str::to_owned)),
        ("audience", info.audience().map(|audience| audience.join(", "))),
        ("scope", info.scope().map(str::to_owned)),
        ("token type", info.token_type().map(str::to_owned)),
        ("expires in", expires.map(|left| format!("{} s", left.as_secs()))),
    ] {
        println!("{name:<11} {}", value.as_deref().unwrap_or("(not said)"));
    }
}

fn explain(err: &Error) -> String {
    let causes = successors(err.source(), |cause| (*cause).source()).map(|cause| format!("\ncaused by: {cause}"));
    let advice = match err {
        Error::OAuth(e) => e.description().map(|text| format!("\nthe issuer says: {text}")),
        _ if err.is_retryable() => Some("\nthis may pass: try again later".to_owned()),
        _ => None,
    };
    format!("{err}{}{}", causes.collect::<String>(), advice.unwrap_or_default())
}
