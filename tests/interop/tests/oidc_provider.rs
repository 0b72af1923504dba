//! npm's certified `oidc-provider`: all three capabilities over real HTTP, through `UreqTransport`.

use aero2::jose::Algorithm;
use aero2::{
    AccessToken, ClientAuth, Error, Introspection, Issuer, M2mClient, PrivateKeyJwt, ResourceServer, TokenErrorKind,
    TokenOptions,
};
use aero2_interop::Peer;

const RESOURCES: [(&str, &str); 5] = [
    ("urn:rs256", "RS256"),
    ("urn:ps256", "PS256"),
    ("urn:es256", "ES256"),
    ("urn:eddsa", "EdDSA"),
    ("urn:ed25519", "Ed25519"),
];

fn client(issuer: &Issuer, peer: &Peer) -> M2mClient {
    issuer.m2m_client("post", peer.says("secret")).default_scope("api:read").build().unwrap()
}

fn token_for(m2m: &M2mClient, resource: &str) -> AccessToken {
    m2m.access_token_with(&TokenOptions::new().param("resource", resource)).unwrap()
}

fn guard(issuer: &Issuer, audience: &str) -> ResourceServer {
    issuer.resource_server().audience(audience).build().unwrap()
}

fn refusal(rs: &ResourceServer, token: &str) -> TokenErrorKind {
    match rs.verify_token(token).unwrap_err() {
        Error::Token(e) => e.kind(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn jwt_access_tokens_of_every_algorithm_are_verified() {
    let peer = Peer::oidc_provider(0);
    let issuer = Issuer::new(peer.issuer_url()).unwrap();
    let m2m = client(&issuer, &peer);
    for (resource, algorithm) in RESOURCES {
        let token = token_for(&m2m, resource);
        let claims =
            guard(&issuer, resource).verify_token(token.expose_secret()).unwrap_or_else(|e| panic!("{algorithm}: {e}"));
        assert_eq!(claims.issuer(), peer.issuer_url());
        assert_eq!(claims.audience(), [resource]);
        assert_eq!((claims.subject(), claims.client_id()), (Some("post"), Some("post")));
        assert!(claims.has_scope("api:read") && !claims.has_scope("api:write"));
    }
    let stats = issuer.stats();
    assert_eq!((stats.discovery_fetches(), stats.key_fetches(), stats.tokens_minted()), (1, 1, 5));
}

#[test]
fn a_token_of_another_resource_or_with_too_little_scope_is_refused() {
    let peer = Peer::oidc_provider(0);
    let issuer = Issuer::new(peer.issuer_url()).unwrap();
    let token = token_for(&client(&issuer, &peer), "urn:es256");
    assert_eq!(refusal(&guard(&issuer, "urn:rs256"), token.expose_secret()), TokenErrorKind::WrongAudience);

    let writer = issuer.resource_server().audience("urn:es256").required_scopes(["api:write"]).build().unwrap();
    assert_eq!(refusal(&writer, token.expose_secret()), TokenErrorKind::InsufficientScope);
}

#[test]
fn id_tokens_are_no_access_tokens() {
    let peer = Peer::oidc_provider(0);
    let issuer = Issuer::new(peer.issuer_url()).unwrap();
    assert_eq!(refusal(&guard(&issuer, "urn:rs256"), peer.says("id_token")), TokenErrorKind::WrongAudience);
    assert_eq!(refusal(&guard(&issuer, "urn:rs256"), peer.says("marked_id_token")), TokenErrorKind::WrongTokenUse);
}

#[test]
fn both_ways_of_client_authentication_carry_every_character() {
    let peer = Peer::oidc_provider(0);
    let issuer = Issuer::new(peer.issuer_url()).unwrap();
    for (id, auth) in
        [("post", ClientAuth::SecretPost), ("basic", ClientAuth::SecretBasic), ("svc:100%", ClientAuth::SecretBasic)]
    {
        let m2m = issuer.m2m_client(id, peer.says("secret")).client_auth(auth).build().unwrap();
        m2m.access_token().unwrap_or_else(|e| panic!("{id}: {e}"));
    }
}

#[test]
fn a_client_shows_who_it_is_by_its_key() {
    let peer = Peer::oidc_provider(0);
    let issuer = Issuer::new(peer.issuer_url()).unwrap();
    let endpoint = format!("{}/token", peer.issuer_url());
    for (id, pem, algorithm) in [
        ("es256", include_str!("../../data/client-keys/es256.pem"), Algorithm::Es256),
        ("eddsa", include_str!("../../data/client-keys/eddsa.pem"), Algorithm::EdDsa),
        ("rs256", include_str!("../../data/client-keys/rs256.pem"), Algorithm::Rs256),
        ("ps256", include_str!("../../data/client-keys/rs256.pem"), Algorithm::Ps256),
    ] {
        let assertion = PrivateKeyJwt::new().algorithm(algorithm);
        for auth in [assertion.clone(), assertion.clone().key_id(id), assertion.clone().audience(&endpoint)] {
            let m2m = issuer.m2m_client(id, pem).client_auth(auth).default_scope("api:read").build().unwrap();
            let token = m2m.access_token().unwrap_or_else(|e| panic!("{id}: {e}"));
            let introspector = issuer.introspector(id, pem).client_auth(assertion.clone()).build().unwrap();
            let answer = introspector.introspect(token.expose_secret()).unwrap();
            assert!(matches!(answer, Introspection::Active(_)));
            let revoker = issuer.revoker(id, pem).client_auth(assertion.clone()).build().unwrap();
            revoker.revoke(token.expose_secret(), None).unwrap();
        }
        let other_key = include_str!("../../data/client-keys/es384.pem");
        let wrong = issuer.m2m_client(id, other_key).client_auth(PrivateKeyJwt::new()).build().unwrap();
        let error = wrong.access_token().unwrap_err();
        assert!(matches!(&error, Error::OAuth(e) if e.error_code() == "invalid_client"), "{error:?}");
    }
}

#[test]
fn wrong_secrets_scopes_and_resources_are_oauth_errors() {
    let peer = Peer::oidc_provider(0);
    let issuer = Issuer::new(peer.issuer_url()).unwrap();
    let reader = |secret: &str| issuer.m2m_client("reader", secret).build().unwrap();
    let code = |result: Result<AccessToken, Error>| match result.unwrap_err() {
        Error::OAuth(e) => (e.error_code().to_owned(), e.status()),
        other => panic!("{other:?}"),
    };
    let options = TokenOptions::new().scope("api:read");
    assert_eq!(code(reader("wrong").access_token_with(&options)), ("invalid_client".to_owned(), 401));
    let options = TokenOptions::new().scope("api:write");
    assert_eq!(code(reader(peer.says("secret")).access_token_with(&options)), ("invalid_scope".to_owned(), 400));
    let options = TokenOptions::new().param("resource", "urn:nobody");
    assert_eq!(code(reader(peer.says("secret")).access_token_with(&options)), ("invalid_target".to_owned(), 400));
}

#[test]
fn opaque_tokens_are_introspected_and_revoked() {
    let peer = Peer::oidc_provider(0);
    let issuer = Issuer::new(peer.issuer_url()).unwrap();
    let token = token_for(&client(&issuer, &peer), "urn:opaque");
    assert_eq!(refusal(&guard(&issuer, "urn:opaque"), token.expose_secret()), TokenErrorKind::Malformed);

    let introspector = issuer.introspector("post", peer.says("secret")).build().unwrap();
    let Introspection::Active(info) = introspector.introspect(token.expose_secret()).unwrap() else {
        panic!("the token is fresh")
    };
    assert_eq!(info.issuer(), Some(peer.issuer_url()));
    assert_eq!(info.client_id(), Some("post"));
    assert_eq!(info.audience(), Some(&["urn:opaque".to_owned()][..]));
    assert_eq!(info.token_type(), Some("Bearer"));
    assert!(info.has_scope("api:read") && !info.has_scope("api:write"));

    issuer.revoker("post", peer.says("secret")).build().unwrap().revoke(token.expose_secret(), None).unwrap();
    assert!(matches!(introspector.introspect(token.expose_secret()).unwrap(), Introspection::Inactive));
    assert!(matches!(introspector.introspect("never-issued").unwrap(), Introspection::Inactive));
}

#[test]
fn jwt_access_tokens_cannot_be_introspected_here_and_that_is_said() {
    let peer = Peer::oidc_provider(0);
    let issuer = Issuer::new(peer.issuer_url()).unwrap();
    let token = token_for(&client(&issuer, &peer), "urn:es256");
    let introspector = issuer.introspector("post", peer.says("secret")).build().unwrap();
    let err = introspector.introspect(token.expose_secret()).unwrap_err();
    assert!(matches!(&err, Error::OAuth(e) if e.error_code() == "unsupported_token_type"), "{err:?}");
}

/// One process ends, another starts on the same port with other keys; handles and idle connections of the first are still in hand.
#[test]
fn a_restart_with_other_keys_is_a_rotation() {
    let peer = Peer::oidc_provider(0);
    let (port, url) = (peer.port(), peer.issuer_url().to_owned());
    let issuer = Issuer::new(&url).unwrap();
    let m2m = client(&issuer, &peer);
    let rs = guard(&issuer, "urn:es256");
    let old = token_for(&m2m, "urn:es256");
    rs.verify_token(old.expose_secret()).unwrap();

    drop(peer);
    let peer = Peer::oidc_provider(port);
    assert_eq!(peer.issuer_url(), url);
    let options = TokenOptions::new().param("resource", "urn:es256").force_refresh();
    let new = m2m.access_token_with(&options).unwrap();
    rs.verify_token(new.expose_secret()).unwrap();
    assert_eq!(refusal(&rs, old.expose_secret()), TokenErrorKind::UnknownKey);
}
