//! What machines with little memory ask for.

use std::thread;

use aero2::jose::Algorithm;
use aero2::testing::TestIssuer;

use crate::support::recorded;

/// Gateways run their workers with stacks like this one. Here even a build without optimisation fits.
const STACK: usize = 64 * 1024;

#[test]
fn a_verification_of_every_algorithm_fits_into_a_stack_of_64_kib() {
    for algorithm in [Algorithm::Rs256, Algorithm::Ps512, Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa] {
        let test = TestIssuer::builder().algorithm(algorithm).build();
        let token = test.token().subject("u1").audience("meter").sign();
        let rs = recorded(&test).resource_server().audience("meter").verified_token_cache(16).build().unwrap();
        rs.issuer().preload().unwrap();
        let verify = move || {
            rs.verify_token(&token).unwrap();
            rs.verify_token(&token).unwrap().subject().map(str::to_owned)
        };
        let worker = thread::Builder::new().stack_size(STACK).spawn(verify).unwrap();
        assert_eq!(worker.join().unwrap().as_deref(), Some("u1"), "{algorithm:?}");
    }
}
