//! Oracle: what is taken is of this issuer and of this format by the second reading, is written anew as something that reads the same,
//! and is never fresh for more than a day.
#![no_main]

use std::time::Duration;

use aero2::fuzzing;
use aero2_fuzz::ISSUER;
use aero2_fuzz::strict::{Json, Reading, get};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let ours = fuzzing::snapshot(text, ISSUER);
    let members = match Reading::of(text) {
        Reading::Object(members) => members,
        Reading::Bad => return assert!(ours.is_none()),
        Reading::HugeNumber => return,
    };
    let Some((written, ttl)) = ours else { return };
    assert!(ttl <= Duration::from_secs(24 * 3600));
    assert_eq!(get(&members, "aero2_snapshot"), Some(&Json::Unsigned(1)));
    assert_eq!(get(&members, "issuer").and_then(Json::text), Some(ISSUER));
    let again = fuzzing::snapshot(&written, ISSUER).expect("what was written reads");
    assert_eq!(again, (written.clone(), ttl));
    let Reading::Object(rewritten) = Reading::of(&written) else { panic!("{written}") };
    for name in ["issuer", "fetched_at", "discovery", "keys"] {
        assert_eq!(get(&members, name), get(&rewritten, name), "{name}");
    }
});
