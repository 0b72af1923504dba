//! Takes a token while building: the first build script asks the issuer, all others take what is in the file.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use aero2::{Issuer, SecretSource};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=AERO2_ISSUER");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let m2m = Issuer::new(&env::var("AERO2_ISSUER")?)?
        .m2m_client(env::var("AERO2_CLIENT_ID")?, SecretSource::env("AERO2_CLIENT_SECRET"))
        .default_scope("api:read")
        .token_file(token_file()?)
        .build()?;
    let token = m2m.access_token()?;

    // Here a real build script would fetch something with `token.authorization_header()`. Whatever it does, the token stays out of
    // OUT_DIR and out of what is printed: both end up in logs and caches.
    let scope = token.scope().unwrap_or("nothing");
    fs::write(
        out.join("catalog.rs"),
        format!("/// What the build was allowed to read.\npub const SCOPE: &str = {scope:?};\n"),
    )?;
    Ok(())
}

/// In a directory of this user alone that is gone after a restart, if the system has one; else the one where Cargo keeps its files.
fn token_file() -> Result<PathBuf, Box<dyn Error>> {
    if let Ok(path) = env::var("TOKEN_FILE") {
        return Ok(path.into());
    }
    let directory = env::var("XDG_RUNTIME_DIR").or_else(|_| env::var("CARGO_HOME")).or_else(|_| env::var("OUT_DIR"))?;
    Ok(PathBuf::from(directory).join("build-script-tokens.json"))
}
