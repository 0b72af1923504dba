//! A resource server's own rules: audiences, scopes, the header, the cache of verified tokens.

use aero2::testing::{Endpoint, TestIssuer};
use aero2::{Error, TokenErrorKind, VerifyOptions};

use crate::support::{World, recorded, secs, token_kind};

#[test]
fn the_audience_of_a_call_replaces_and_its_scopes_add() {
    let test = TestIssuer::new();
    let rs = recorded(&test).resource_server().audience("shop").required_scopes(["read"]).build().unwrap();
    let orders = test.token().audience("orders").scope("read write").sign();
    assert_eq!(token_kind(rs.verify_token(&orders)), TokenErrorKind::WrongAudience);

    let options = VerifyOptions::new().audience("orders");
    rs.verify_token_with(&orders, &options).unwrap();
    rs.verify_token_with(&orders, &options.clone().required_scopes(["write"])).unwrap();
    rs.verify_token_with(&orders, &options.clone().required_scopes(Vec::<String>::new())).unwrap();
    let admin = rs.verify_token_with(&orders, &options.clone().required_scopes(["admin"]));
    assert_eq!(token_kind(admin), TokenErrorKind::InsufficientScope);
    let unread = test.token().audience("orders").scope("write").sign();
    let outcome = rs.verify_token_with(&unread, &options.required_scopes(["write"]));
    assert_eq!(token_kind(outcome), TokenErrorKind::InsufficientScope);
    let shop = test.token().audience("shop").scope("read").sign();
    let outcome = rs.verify_token_with(&shop, &VerifyOptions::new().audiences(["orders", "billing"]));
    assert_eq!(token_kind(outcome), TokenErrorKind::WrongAudience);
}

#[test]
fn the_challenge_names_all_scopes_that_were_required() {
    let test = TestIssuer::new();
    let rs = recorded(&test).resource_server().required_scopes(["read"]).build().unwrap();
    let token = test.token().scope("other").sign();
    let error = rs.verify_token_with(&token, &VerifyOptions::new().required_scopes(["write"])).unwrap_err();
    assert_eq!(error.http_status(), 403);
    let challenge = r#"Bearer realm="shop", error="insufficient_scope", scope="read write""#;
    assert_eq!(error.www_authenticate(Some("shop")).unwrap(), challenge);
}

#[test]
fn what_no_token_could_satisfy_is_a_configuration_error() {
    let test = TestIssuer::new();
    let issuer = recorded(&test);
    let builder = || issuer.resource_server();
    let none: [&str; 0] = [];
    for refused in [
        builder().audiences(none).build().map(drop),
        builder().audience("").build().map(drop),
        builder().algorithms([]).build().map(drop),
        builder().required_scopes(["a b"]).build().map(drop),
        builder().required_scopes([""]).build().map(drop),
        builder().required_scopes(["\u{e9}"]).build().map(drop),
        builder().verified_token_cache(0).build().map(drop),
    ] {
        assert!(matches!(refused, Err(Error::Config(_))), "{refused:?}");
    }
    let rs = builder().build().unwrap();
    let token = test.token().sign();
    for options in [
        VerifyOptions::new().audiences(none),
        VerifyOptions::new().audience(""),
        VerifyOptions::new().required_scopes(["a b"]),
    ] {
        assert!(matches!(rs.verify_token_with(&token, &options), Err(Error::Config(_))));
    }
}

#[test]
fn the_authorization_header_is_read_as_rfc_6750_says() {
    let test = TestIssuer::new();
    let rs = recorded(&test).resource_server().build().unwrap();
    let token = test.token().sign();
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        rs.authorize(Some(&format!("{scheme} {token}"))).unwrap();
    }
    let (header, more) = (format!("Bearer {token}"), VerifyOptions::new().required_scopes(["write"]));
    rs.authorize_with(Some(&header), &VerifyOptions::new()).unwrap();
    assert_eq!(token_kind(rs.authorize_with(Some(&header), &more)), TokenErrorKind::InsufficientScope);
    assert_eq!(token_kind(rs.authorize_with(None, &more)), TokenErrorKind::MissingToken);
    for header in [None, Some("Basic eDp5"), Some(""), Some("Bearerx y"), Some("DPoP abc"), Some(&*token)] {
        let error = rs.authorize(header).unwrap_err();
        assert_eq!(error.www_authenticate(Some("r")).unwrap(), r#"Bearer realm="r""#, "{header:?}");
        assert_eq!(error.http_status(), 401);
        assert_eq!(token_kind::<()>(Err(error)), TokenErrorKind::MissingToken);
    }
    for header in ["Bearer", "Bearer ", "Bearer a b", "Bearer \u{e9}"] {
        let error = rs.authorize(Some(header)).unwrap_err();
        assert_eq!(error.www_authenticate(None).unwrap(), r#"Bearer error="invalid_token""#, "{header:?}");
        assert_eq!(error.http_status(), 401);
    }
}

#[test]
fn a_token_verified_before_is_known_again_and_every_other_check_still_runs() {
    let world = World::new();
    let issuer = world.issuer();
    let rs = issuer.resource_server().audience("a").required_scopes(["read"]).verified_token_cache(8).build().unwrap();
    let token = world.test.token().audience("a").scope("read").lifetime(secs(300)).sign();
    let first = rs.verify_token(&token).unwrap();
    let again = rs.verify_token(&token).unwrap();
    assert_eq!((first.raw_json(), issuer.stats().verified_cache_hits()), (again.raw_json(), 1));

    let other = rs.verify_token_with(&token, &VerifyOptions::new().audience("b"));
    assert_eq!(token_kind(other), TokenErrorKind::WrongAudience);
    let more = rs.verify_token_with(&token, &VerifyOptions::new().required_scopes(["write"]));
    assert_eq!(token_kind(more), TokenErrorKind::InsufficientScope);
    world.clock.advance(secs(330));
    assert_eq!(token_kind(rs.verify_token(&token)), TokenErrorKind::Expired);
    world.clock.set_wall(std::time::UNIX_EPOCH);
    assert!(matches!(rs.verify_token(&token), Err(Error::Clock(_))));
}

#[test]
fn a_token_known_before_is_refused_once_its_key_has_left_the_key_set() {
    let world = World::new();
    let issuer = world.issuer();
    let rs = issuer.resource_server().verified_token_cache(8).build().unwrap();
    let token = world.test.token().sign();
    rs.verify_token(&token).unwrap();
    world.test.rotate_keys_dropping_old();
    rs.verify_token(&token).unwrap();
    world.clock.advance(secs(600));
    issuer.refresh_if_due().unwrap();
    assert_eq!(token_kind(rs.verify_token(&token)), TokenErrorKind::UnknownKey);
}

#[test]
fn another_signature_over_a_known_token_is_not_known() {
    let test = TestIssuer::new();
    let rs = recorded(&test).resource_server().verified_token_cache(8).build().unwrap();
    let token = test.token().sign();
    rs.verify_token(&token).unwrap();
    let (signed, _) = token.rsplit_once('.').unwrap();
    let (_, signature) =
        test.token().subject("another").sign().rsplit_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert_eq!(token_kind(rs.verify_token(&format!("{signed}.{signature}"))), TokenErrorKind::BadSignature);
}

#[test]
fn refusals_are_never_cached_and_the_cache_is_bounded() {
    let world = World::new();
    let issuer = world.issuer();
    let rs = issuer.resource_server().verified_token_cache(2).build().unwrap();
    let early = world.test.token().not_before(aero2::Clock::wall(&world.clock) + secs(60)).sign();
    assert_eq!(token_kind(rs.verify_token(&early)), TokenErrorKind::NotYetValid);
    world.clock.advance(secs(60));
    rs.verify_token(&early).unwrap();
    for n in 0..100 {
        rs.verify_token(&world.test.token().subject(n.to_string()).sign()).unwrap();
    }
    assert_eq!(issuer.stats().verified_cache_hits(), 0);
    let last = world.test.token().sign();
    rs.verify_token(&last).unwrap();
    rs.verify_token(&last).unwrap();
    assert_eq!(issuer.stats().verified_cache_hits(), 1);
}

#[test]
fn debug_shows_no_claim_and_no_token() {
    let test = TestIssuer::new();
    let issuer = recorded(&test);
    let rs = issuer.resource_server().verified_token_cache(8).build().unwrap();
    let token = test.token().subject("somebody-secret").sign();
    let claims = rs.verify_token(&token).unwrap();
    let shown = format!("{claims:?} {rs:?} {issuer:?} {:?}", rs.verify_token("x").unwrap_err());
    assert!(!shown.contains("somebody-secret"), "{shown}");
    assert_eq!(test.requests(Endpoint::Keys), 1);
}
