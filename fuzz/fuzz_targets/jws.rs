//! Oracle: the second reading agrees, outcome and kind; what parses re-assembles byte for byte.
#![no_main]

use aero2::jose::CompactJws;
use aero2::{Error, fuzzing};
use aero2_fuzz::{base64url, reference};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|token: &str| {
    let ours = fuzzing::jws(token);
    match (CompactJws::parse(token), &ours) {
        (Ok(_), Ok(_)) => {}
        (Err(Error::Token(public)), Err(kind)) => assert_eq!(public.kind(), *kind),
        other => panic!("{other:?}"),
    }
    if let Ok(jws) = &ours {
        let (header, payload) = jws.signing_input.split_once('.').unwrap();
        assert_eq!(format!("{}.{}", jws.signing_input, base64url::encode(&jws.signature)), token);
        assert_eq!(payload, base64url::encode(&jws.payload));
        assert_eq!(header, base64url::encode(&base64url::decode(header).unwrap()));
    }
    let Some(theirs) = reference::token(token) else { return };
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => {
            let algorithm = if theirs.algorithm == "Ed25519" { "EdDSA" } else { &theirs.algorithm };
            assert_eq!(ours.algorithm, algorithm);
            assert_eq!((ours.kid, ours.typ), (theirs.kid, theirs.typ));
            assert_eq!((ours.signing_input, ours.payload), (theirs.signing_input, theirs.payload));
            assert_eq!(ours.signature, theirs.signature);
        }
        (Err(kind), Err(refusal)) => assert_eq!(format!("{kind:?}"), refusal),
        (ours, theirs) => panic!("{ours:?}, the reference: {:?}", theirs.err()),
    }
});
