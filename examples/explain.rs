//! Why was this token refused? For a support ticket, this shows every check, for a good token and several bad ones from a test issuer
//! in memory.
//!
//! `cargo run --example explain`
//!
//! The tables contain no part of a token and, apart from times, no values of claims, so they can go into a ticket. Do not show them to
//! whoever sent the token. They prove nothing: only `verify_token` decides who is let in.

#[macro_use]
mod support;

use aero2::testing::{Json, TestIssuer};
use aero2::{ByIssuer, Error, VerifyOptions};

fn main() -> Result<(), Error> {
    support::help("explain", include_str!("explain.rs"));
    let test = TestIssuer::new();
    let orders = test.issuer().resource_server().audience("orders").required_scopes(["orders:read"]).build()?;
    let token = || test.token().subject("u1").audience("orders").scope("orders:read");

    for (what, token) in [
        ("A good token", token().sign()),
        ("Not a token at all", "eyJhbGciOiJSUzI1NiJ9.e30".to_owned()),
        ("An unsigned token", token().header("alg", "none").sign()),
        ("Signed with a key that the issuer does not publish", token().key_id("2019-old-key").sign()),
        ("Changed after it was signed", token().bad_signature().sign()),
        ("Expired an hour ago", token().expired().sign()),
        ("For another service", token().audience("billing").sign()),
        ("The issuer URL has a trailing slash", token().issuer(format!("{}/", test.url())).sign()),
        ("An ID token", token().token_use("id").sign()),
        (
            "Bound to a DPoP key, sent as a plain bearer token",
            token().claim("cnf", Json::object([("jkt", "…")])).sign(),
        ),
        ("Without the required scope", token().scope("profile").sign()),
    ] {
        println!("{what}\n{}\n", orders.explain(&token));
    }

    let stricter = VerifyOptions::new().required_scopes(["orders:write"]);
    println!(
        "A good token, on a route that requires another scope\n{}\n",
        orders.explain_with(&token().sign(), &stricter)?
    );

    // With several tenants: first find the one that the token belongs to, then ask why it is refused there.
    let tenants = ByIssuer::new([orders])?;
    let expired = token().expired().sign();
    let tenant = tenants.route(&expired)?;
    println!("An expired token of the tenant {}\n{}", tenant.issuer().url(), tenant.explain(&expired));
    Ok(())
}
