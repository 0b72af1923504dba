//! Gets a client_credentials token from a real issuer.
//!
//! ```text
//! export AERO2_ISSUER=https://acme.aero2.dev AERO2_CLIENT_ID=orders-worker AERO2_CLIENT_SECRET=…
//! cargo run --example m2m
//! cargo run --quiet --example m2m -- --token | cargo run --quiet --example introspect
//! ```
//!
//! | Variable | Meaning |
//! |---|---|
//! | `AERO2_ISSUER`, `AERO2_CLIENT_ID`, `AERO2_CLIENT_SECRET` | required |
//! | `AERO2_SCOPE` | the scope to ask for; if it is not set, the issuer decides |
//! | `AERO2_AUDIENCE`, `AERO2_RESOURCE` | the parameters `audience` and `resource` (RFC 8707), for issuers that expect one |

#[path = "support/environment.rs"]
mod environment;
#[macro_use]
mod support;

use std::env;
use std::error::Error as _;
use std::iter::successors;
use std::process::ExitCode;
use std::time::SystemTime;

use aero2::{AccessToken, Error, Issuer, M2mClient, SecretSource};

use environment::required;

fn main() -> ExitCode {
    support::help("m2m [-- --token]", include_str!("m2m.rs"));
    let bare = env::args().nth(1).as_deref() == Some("--token");
    match client().and_then(|client| if bare { print_token(&client) } else { report(&client) }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn client() -> Result<M2mClient, String> {
    let [issuer, id, _secret] = required([
        ("AERO2_ISSUER", "https://acme.aero2.dev"),
        ("AERO2_CLIENT_ID", "orders-worker"),
        ("AERO2_CLIENT_SECRET", "the secret that the issuer gave to this client"),
    ])?;
    let issuer = Issuer::new(&issuer).map_err(|err| err.to_string())?;
    // Read anew at every mint, so a rotated secret takes effect by itself.
    let mut client = issuer.m2m_client(id, SecretSource::env("AERO2_CLIENT_SECRET"));
    if let Some(scope) = env::var("AERO2_SCOPE").ok().filter(|scope| !scope.is_empty()) {
        client = client.default_scope(scope);
    }
    for (variable, parameter) in [("AERO2_AUDIENCE", "audience"), ("AERO2_RESOURCE", "resource")] {
        if let Ok(value) = env::var(variable) {
            client = client.param(parameter, value);
        }
    }
    client.build().map_err(|err| err.to_string())
}

fn report(client: &M2mClient) -> Result<(), String> {
    let token = client.access_token().map_err(|err| explain(&err))?;
    println!("minted a token of {} characters (never print a token; `-- --token` does, for a pipe)", length(&token));
    println!("granted scope  {}", token.scope().unwrap_or("(the issuer does not say)"));
    match token.expires_at().and_then(|at| at.duration_since(SystemTime::now()).ok()) {
        Some(left) => println!("expires in     {} s", left.as_secs()),
        None => println!("expires        (the issuer does not say, or the clock of this machine is not set)"),
    }
    let again = client.access_token().map_err(|err| explain(&err))?;
    let cached = again.expose_secret() == token.expose_secret();
    println!("asked again    {}", if cached { "the same token, from the cache" } else { "another token" });
    Ok(())
}

fn print_token(client: &M2mClient) -> Result<(), String> {
    println!("{}", client.access_token().map_err(|err| explain(&err))?.expose_secret());
    Ok(())
}

fn length(token: &AccessToken) -> usize {
    token.expose_secret().len()
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
