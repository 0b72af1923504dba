//! Why was this token refused? The checks one by one, as for a support ticket: a good token and several bad ones, of a test issuer in
//! memory.
//!
//! `cargo run --example explain`
//!
//! The tables hold no part of a token and no value of a claim but times, so they may go into a ticket; they are not for whoever sent
//! the token. And they prove nothing: requests are let in by `verify_token` alone.

use aero2::testing::{Json, TestIssuer};
use aero2::{ByIssuer, Error, VerifyOptions};

fn main() -> Result<(), Error> {
    let test = TestIssuer::new();
    let orders = test.issuer().resource_server().audience("orders").required_scopes(["orders:read"]).build()?;
    let token = || test.token().subject("u1").audience("orders").scope("orders:read");

    for (what, token) in [
        ("A good token", token().sign()),
        ("Not a token at all", "eyJhbGciOiJSUzI1NiJ9.e30".to_owned()),
        ("One without a signature", token().header("alg", "none").sign()),
        ("Of a key that the issuer does not publish", token().key_id("2019-old-key").sign()),
        ("Changed on the way", token().bad_signature().sign()),
        ("Of yesterday", token().expired().sign()),
        ("For another service", token().audience("billing").sign()),
        ("The issuer URL written with a slash", token().issuer(format!("{}/", test.url())).sign()),
        ("An ID token", token().token_use("id").sign()),
        (
            "Bound to a DPoP key, sent as a plain bearer token",
            token().claim("cnf", Json::object([("jkt", "…")])).sign(),
        ),
        ("Without the scope", token().scope("profile").sign()),
    ] {
        println!("{what}\n{}\n", orders.explain(&token));
    }

    let stricter = VerifyOptions::new().required_scopes(["orders:write"]);
    println!("With what one route asks on top\n{}\n", orders.explain_with(&token().sign(), &stricter)?);

    // Among many tenants: first where the token belongs, then why it does not get through there.
    let tenants = ByIssuer::new([orders])?;
    let expired = token().expired().sign();
    let tenant = tenants.route(&expired)?;
    println!("At the tenant {}\n{}", tenant.issuer().url(), tenant.explain(&expired));
    Ok(())
}
