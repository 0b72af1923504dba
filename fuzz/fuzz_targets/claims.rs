//! Oracle: the second reading agrees, outcome and kind and every value; the text is kept byte for byte.
#![no_main]

use aero2::fuzzing;
use aero2_fuzz::reference;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let ours = fuzzing::claims(text);
    if let Ok(claims) = &ours {
        assert_eq!(claims.raw, text);
    }
    let Some(theirs) = reference::claims(text) else { return };
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => {
            assert_eq!(ours.texts, theirs.texts);
            let same =
                ours.dates.into_iter().zip(theirs.dates).all(|(ours, theirs)| reference::is_same_date(ours, theirs));
            assert!(same, "{:?} {:?}", ours.dates, theirs.dates);
            assert_eq!((ours.audience, ours.bound), (theirs.audience, theirs.bound));
            assert_eq!(ours.scopes, theirs.scopes);
        }
        (Err(kind), Err(refusal)) => assert_eq!(format!("{kind:?}"), refusal),
        (ours, theirs) => panic!("{ours:?}, the reference: {theirs:?}"),
    }
});
