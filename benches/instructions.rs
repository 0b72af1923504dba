//! One call each, for `scripts/callgrind` to count the instructions of: `instructions PART`. The functions named `measured_…` are what
//! is counted; everything else only makes them ready.
#![expect(
    unsafe_code,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a benchmark: its functions need names that a tool finds, and it may fail"
)]

use std::hint::black_box;

use aero2::jose::Algorithm;
use aero2::{M2mClient, ResourceServer};

#[path = "support/fixture.rs"]
mod fixture;

use fixture::{AUDIENCE, Fixture, Raw};

#[unsafe(no_mangle)]
#[inline(never)]
fn measured_raw(raw: &Raw) {
    raw.verify();
}

#[unsafe(no_mangle)]
#[inline(never)]
fn measured_verify_token(rs: &ResourceServer, token: &str) {
    drop(black_box(rs.verify_token(token).unwrap()));
}

#[unsafe(no_mangle)]
#[inline(never)]
fn measured_access_token(m2m: &M2mClient) {
    drop(black_box(m2m.access_token().unwrap()));
}

fn main() {
    let part = std::env::args().nth(1).unwrap_or_default();
    // Called by `cargo bench` without a part: there is nothing to count.
    let Some((what, algorithm)) = part.split_once('-') else { return };
    let f = Fixture::new(match algorithm {
        "rs256" => Algorithm::Rs256,
        "es256" => Algorithm::Es256,
        "eddsa" => Algorithm::EdDsa,
        other => panic!("{other}?"),
    });
    match what {
        // In one process, so that both meet the same signature: the work of verifying one depends on its bits.
        "verify" => {
            measured_raw(&f.raw);
            measured_verify_token(&f.rs, &f.token);
        }
        "repeated" => {
            let caching = f.issuer.resource_server().audience(AUDIENCE).verified_token_cache(64).build().unwrap();
            caching.verify_token(&f.token).unwrap();
            measured_verify_token(&caching, &f.token);
        }
        "m2m" => measured_access_token(&f.m2m()),
        other => panic!("{other}?"),
    }
}
