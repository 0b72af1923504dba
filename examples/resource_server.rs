//! A threaded HTTP API that needs a token. It responds with 200, 401, 403 or 503, each with the headers that belong to it.
//!
//! `cargo run --example resource_server` starts an issuer of its own and prints commands to try. With your issuer:
//!
//! ```text
//! AERO2_ISSUER=https://acme.aero2.dev AERO2_AUDIENCE=orders-api cargo run --example resource_server
//! ```
//!
//! | Variable | Meaning |
//! |---|---|
//! | `AERO2_ISSUER` | the issuer's URL; if it is not set, a test issuer starts on loopback |
//! | `AERO2_AUDIENCE` | the audience that tokens must have; `orders-api` if not set, none if empty |
//! | `AERO2_SCOPE` | the scope that `GET /orders` requires; `orders:read` if not set, none if empty |
//! | `LISTEN` | the address to listen on; `127.0.0.1:8080` if not set |

#[macro_use]
mod support;

use std::env;
use std::error::Error;
use std::process::ExitCode;
use std::thread;

use aero2::testing::{TestIssuer, TestServer};
use aero2::{Issuer, ResourceServer};
use tiny_http::{Header, Request, Response, Server};

fn main() -> ExitCode {
    support::help("resource_server", include_str!("resource_server.rs"));
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), Box<dyn Error + Send + Sync>> {
    let setting = |name: &str, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let (audience, scope) = (setting("AERO2_AUDIENCE", "orders-api"), setting("AERO2_SCOPE", "orders:read"));
    let listen = setting("LISTEN", "127.0.0.1:8080");

    // Lives until the program ends: dropping it would stop it.
    let test = if env::var_os("AERO2_ISSUER").is_none() { Some(TestIssuer::new().serve()?) } else { None };
    let issuer = Issuer::new(&test.as_ref().map_or_else(|| setting("AERO2_ISSUER", ""), |test| test.url().to_owned()))?;
    // Optional, so that the first caller need not wait for the keys. If the issuer is down, the API starts all the same.
    if let Err(err) = issuer.preload() {
        eprintln!("starting without the issuer's keys: {err}");
    }
    let mut api = issuer.resource_server();
    if !audience.is_empty() {
        api = api.audience(&*audience);
    }
    if !scope.is_empty() {
        api = api.required_scopes([&*scope]);
    }
    let api = api.build()?;

    let http = Server::http(&*listen).map_err(|err| format!("cannot listen on LISTEN={listen}: {err}"))?;
    println!("listening on http://{}", http.server_addr());
    if let Some(test) = &test {
        print_commands(test, &http.server_addr().to_string(), &audience, &scope);
    }
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                for request in http.incoming_requests() {
                    // The client has gone: nobody is left to be told.
                    let _ = answer(request, &api);
                }
            });
        }
    });
    Ok(())
}

fn answer(request: Request, api: &ResourceServer) -> std::io::Result<()> {
    if request.url() != "/orders" {
        return request.respond(Response::from_string("not found\n").with_status_code(404));
    }
    let authorization = request.headers().iter().find(|header| header.field.equiv("Authorization"));
    match api.authorize(authorization.map(|header| header.value.as_str())) {
        Ok(claims) => {
            let who = claims.subject().unwrap_or("nobody");
            println!("200 {who}");
            request.respond(Response::from_string(format!("the orders of {who}\n")))
        }
        Err(err) => {
            // The details are for this log. The client gets the status, the challenge and a generic sentence.
            eprintln!("{} {err:?}", err.http_status());
            let challenge = err.www_authenticate(Some("orders")).map(|value| ("WWW-Authenticate", value));
            let retry_after = err.retry_after().map(|wait| ("Retry-After", wait.as_secs().max(1).to_string()));
            let body = if err.http_status() < 500 { format!("{err}\n") } else { "try again later\n".to_owned() };
            let mut response = Response::from_string(body).with_status_code(err.http_status());
            for (name, value) in challenge.into_iter().chain(retry_after) {
                response.add_header(header(name, &value));
            }
            request.respond(response)
        }
    }
}

#[expect(clippy::expect_used, reason = "names and values are printable ASCII: this crate makes them so")]
fn header(name: &str, value: &str) -> Header {
    Header::from_bytes(name, value).expect("an ASCII header")
}

fn print_commands(issuer: &TestServer, listen: &str, audience: &str, scope: &str) {
    let good = issuer.token().subject("u1").audience(audience).scope(scope);
    let (expired, powerless) = (good.clone().expired(), good.clone().scope("profile"));
    let curl = format!("curl -i http://{listen}/orders");
    println!(
        "its issuer is a test issuer at {}; set AERO2_ISSUER to use yours\n\nTry these:\n\n401, no token:\n{curl}",
        issuer.url()
    );
    for (what, token) in [("200", good), ("401, expired", expired), ("403, without the scope", powerless)] {
        println!("\n{what}:\n{curl} -H 'Authorization: Bearer {}'", token.sign());
    }
    println!(
        "\n503: restart it with AERO2_ISSUER=http://127.0.0.1:9, where nothing listens, and send the token for 200 again\n"
    );
}

const WORKERS: usize = 8;
