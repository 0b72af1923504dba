//! usage: footprint ISSUER CERTIFICATE TOKEN: verifies one token for the audience `my-service`. With https the certificate (a PEM file)
//! is the issuer's authority; without, ISSUER is a name only and CERTIFICATE is the folder that holds the issuer's documents.

use std::process::ExitCode;
use std::{env, fs};

use aero2::{Error, Issuer};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [url, certificate, token] = arguments.as_slice() else {
        eprintln!("usage: footprint ISSUER CERTIFICATE TOKEN");
        return ExitCode::from(2);
    };
    match verify(url, certificate, token) {
        Ok(subject) => println!("verified: {subject}"),
        Err(err) => {
            eprintln!("{err}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn verify(url: &str, certificate: &str, token: &str) -> Result<String, Error> {
    let rs = issuer(url, certificate)?.resource_server().audience("my-service").build()?;
    let claims = rs.verify_token(token)?;
    Ok(claims.subject().unwrap_or("nobody").to_owned())
}

#[cfg(feature = "https")]
fn issuer(url: &str, certificate: &str) -> Result<Issuer, Error> {
    let authority = fs::read(certificate).unwrap_or_default();
    let transport = aero2::UreqTransport::builder().root_certificates_pem(&authority).build()?;
    Issuer::builder(url).transport(transport).build()
}

#[cfg(not(feature = "https"))]
fn issuer(url: &str, folder: &str) -> Result<Issuer, Error> {
    let folder = folder.to_owned();
    let read = move |request: &aero2::Request<'_>| {
        let name = request.url().rsplit('/').next().unwrap_or_default();
        let body = fs::read(format!("{folder}/{name}")).map_err(|e| std::io::Error::other(e.to_string()))?;
        Ok(aero2::Response::new(200, [], body))
    };
    Issuer::builder(url).transport(read).build()
}
