//! The whole crate in one minute, over real HTTP: an issuer on this machine, a client that gets a token, a resource server that
//! verifies it and refuses others, introspection and revocation.
//!
//! Run it with `cargo run --example quickstart`. To use your own issuer, change the URL, the client and its secret.

#[macro_use]
mod support;

use std::error::Error;
use std::time::SystemTime;

use aero2::testing::{Endpoint, TestIssuer};
use aero2::{Introspection, Issuer, ResourceServer, TokenTypeHint};

fn main() -> Result<(), Box<dyn Error>> {
    support::help("quickstart", include_str!("quickstart.rs"));
    // Stands in for https://{your app}.aero2.dev, with the clients that you would register there.
    let test = TestIssuer::new();
    test.register_client("orders-worker", "worker-secret", ["orders:read", "orders:write"]);
    test.register_resource_server("orders-api", "api-secret");
    let server = test.serve()?;

    println!("1. An issuer runs at {}, in place of your https://acme.aero2.dev", server.url());
    let issuer = Issuer::new(server.url())?;

    println!("\n2. A worker gets a token for calling the API (client_credentials)");
    let worker = issuer.m2m_client("orders-worker", "worker-secret").param("audience", "orders-api").build()?;
    let token = worker.access_token()?;
    let lifetime = token.expires_at().and_then(|at| at.duration_since(SystemTime::now()).ok()).unwrap_or_default();
    println!("   granted scope     {}", token.scope().unwrap_or("(none)"));
    println!("   expires in        {} minutes", lifetime.as_secs().div_ceil(60));
    let again = worker.access_token()?;
    let same = token.expose_secret() == again.expose_secret();
    println!("   asked again       {}", if same { "the same token, from the cache" } else { "another token" });

    println!("\n3. The API verifies it, with the issuer's public keys and without asking the issuer");
    let api = issuer.resource_server().audience("orders-api").required_scopes(["orders:read"]).build()?;
    let claims = api.authorize(Some(token.authorization_header().expose_secret()))?;
    println!("   issuer            {}", claims.issuer());
    println!("   subject           {}", claims.subject().unwrap_or("(none)"));
    println!("   audience          {}", claims.audience().join(", "));
    println!("   scopes            {}", claims.scopes().collect::<Vec<_>>().join(", "));

    println!("\n4. What the API refuses: the reason (for its own log) and its answer (which does not tell the reason)");
    let token_for = |audience: &str| server.token().audience(audience).scope("orders:read");
    refuse(&api, "no token", None)?;
    refuse(&api, "an expired token", Some(token_for("orders-api").expired().sign()))?;
    refuse(&api, "for another API", Some(token_for("billing-api").sign()))?;
    refuse(&api, "signed by a stranger", Some(token_for("orders-api").other_key().sign()))?;
    refuse(&api, "without the scope", Some(server.token().audience("orders-api").scope("profile").sign()))?;

    println!(
        "\n5. Only the issuer knows which tokens were revoked, so the API asks where that matters (introspection)"
    );
    let introspector = issuer.introspector("orders-api", "api-secret").build()?;
    println!("   before            {}", describe(&introspector.introspect(token.expose_secret())?));
    let revoker = issuer.revoker("orders-worker", "worker-secret").build()?;
    revoker.revoke(token.expose_secret(), Some(TokenTypeHint::AccessToken))?;
    println!("   after revocation  {}", describe(&introspector.introspect(token.expose_secret())?));

    println!("\n6. How many requests all this took");
    for (name, endpoint) in [
        ("discovery", Endpoint::Discovery),
        ("keys", Endpoint::Keys),
        ("token", Endpoint::Token),
        ("introspection", Endpoint::Introspection),
        ("revocation", Endpoint::Revocation),
    ] {
        println!("   {name:<17} {}", test.requests(endpoint));
    }
    let all: usize = Endpoint::ALL.map(|endpoint| test.requests(endpoint)).iter().sum();
    println!("   in all            {all}, for 2 tokens asked for, 6 verified or refused, 2 introspected, 1 revoked");
    Ok(())
}

/// Prints why a request with such a token is refused, and the answer that it gets.
fn refuse(api: &ResourceServer, what: &str, token: Option<String>) -> Result<(), Box<dyn Error>> {
    let header = token.map(|token| format!("Bearer {token}"));
    match api.authorize(header.as_deref()) {
        Err(err) => {
            let aero2::Error::Token(refusal) = &err else { return Err(err.into()) };
            let (kind, challenge) = (format!("{:?}", refusal.kind()), err.www_authenticate(Some("orders")));
            let challenge = challenge.unwrap_or_default();
            println!("   {what:<21} {kind:<17} {} WWW-Authenticate: {challenge}", err.http_status());
            Ok(())
        }
        Ok(_) => Err(format!("{what}: accepted, which must not happen").into()),
    }
}

fn describe(answer: &Introspection) -> String {
    match answer {
        Introspection::Active(info) => format!("active, issued to {}", info.client_id().unwrap_or("nobody")),
        Introspection::Inactive => "inactive".to_owned(),
    }
}
