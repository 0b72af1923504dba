//! PyPI's Authlib: RFC 8414 metadata below a path, Basic authentication only, audiences as an array, RFC 9068 tokens that can be
//! introspected and revoked.

use aero2::{Error, Introspection, Issuer, TokenErrorKind, TokenTypeHint};
use aero2_interop::Peer;

#[test]
fn a_token_is_minted_verified_introspected_and_revoked() {
    let peer = Peer::authlib();
    let issuer = Issuer::new(peer.issuer_url()).unwrap();
    let m2m =
        issuer.m2m_client(peer.says("client_id"), peer.says("secret")).default_scope("api:read other").build().unwrap();

    let token = m2m.access_token().unwrap();
    assert_eq!(token.scope(), Some("api:read"), "granted, not asked for");

    let rs = issuer.resource_server().audience(peer.says("audience")).required_scopes(["api:read"]).build().unwrap();
    let claims = rs.verify_token(token.expose_secret()).unwrap();
    assert_eq!(claims.subject(), Some(peer.says("client_id")));
    assert_eq!(claims.client_id(), Some(peer.says("client_id")));
    assert_eq!(claims.audience(), [peer.says("audience"), "urn:another"]);

    let introspector = issuer.introspector(peer.says("client_id"), peer.says("secret")).build().unwrap();
    match introspector.introspect(token.expose_secret()).unwrap() {
        Introspection::Active(info) => {
            assert_eq!(info.client_id(), Some(peer.says("client_id")));
            assert!(info.has_scope("api:read"));
        }
        Introspection::Inactive => panic!("the token is fresh"),
    }

    let revoker = issuer.revoker(peer.says("client_id"), peer.says("secret")).build().unwrap();
    revoker.revoke(token.expose_secret(), Some(TokenTypeHint::AccessToken)).unwrap();
    let after = introspector.introspect_with(token.expose_secret(), TokenTypeHint::AccessToken).unwrap();
    assert!(matches!(after, Introspection::Inactive));

    let stats = issuer.stats();
    assert_eq!((stats.discovery_fetches(), stats.key_fetches(), stats.tokens_minted()), (1, 1, 1));
}

#[test]
fn wrong_credentials_and_audiences_are_refused() {
    let peer = Peer::authlib();
    let issuer = Issuer::new(peer.issuer_url()).unwrap();
    let err = issuer.m2m_client(peer.says("client_id"), "wrong").build().unwrap().access_token().unwrap_err();
    let Error::OAuth(refusal) = &err else { panic!("{err:?}") };
    assert_eq!((refusal.error_code(), refusal.status()), ("invalid_client", 401));

    let token = issuer.m2m_client(peer.says("client_id"), peer.says("secret")).build().unwrap().access_token().unwrap();
    let rs = issuer.resource_server().audience("orders").build().unwrap();
    let err = rs.verify_token(token.expose_secret()).unwrap_err();
    assert!(matches!(&err, Error::Token(e) if e.kind() == TokenErrorKind::WrongAudience), "{err:?}");
}
