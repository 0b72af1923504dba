"""PyPI's Authlib on loopback: an issuer of another hand, and of other habits than oidc-provider.

Its issuer URL has a path, its metadata is RFC 8414's and no OpenID discovery document, it takes Basic authentication only, it speaks
HTTP/1.0, and its JWT access tokens (RFC 9068, by Authlib) can be introspected and revoked. Prints one line of JSON when it listens,
and stops when its standard input ends.
"""

import json
import logging
import os
import sys
import threading
import time
import warnings

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin, TokenMixin, grants, list_to_scope, scope_to_list
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from flask import Flask, jsonify
from joserfc.jwk import ECKey, KeySet
from werkzeug.serving import make_server

AUDIENCE = "urn:authlib"
SECRET = "tests only: 50%+/"
ID = "authlib:svc"

# Authlib insists on https otherwise.
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"
warnings.simplefilter("ignore")
logging.getLogger("werkzeug").setLevel(logging.ERROR)
keys = KeySet([ECKey.generate_key("P-256", {"kid": "authlib-1", "use": "sig", "alg": "ES256"}, private=True)])
tokens = {}
app = Flask(__name__)
server = make_server("127.0.0.1", 0, app, threaded=True)
issuer = f"http://127.0.0.1:{server.server_port}/tenant"


class Client(ClientMixin):
    def get_client_id(self):
        return ID

    def get_allowed_scope(self, scope):
        return list_to_scope([s for s in scope_to_list(scope) or [] if s.startswith("api:")])

    def check_client_secret(self, client_secret):
        return client_secret == SECRET

    def check_endpoint_auth_method(self, method, endpoint):
        return method == "client_secret_basic"

    def check_grant_type(self, grant_type):
        return grant_type == "client_credentials"


class Token(TokenMixin):
    def __init__(self, text, scope, expires_in):
        self.text, self.scope, self.expires_in, self.issued_at, self.revoked = text, scope, expires_in, int(time.time()), False

    def check_client(self, client):
        return True

    def is_expired(self):
        return time.time() > self.issued_at + self.expires_in

    def is_revoked(self):
        return self.revoked


class Generator(JWTBearerTokenGenerator):
    def get_jwks(self):
        return keys.as_dict(private=True)

    def get_audiences(self, client, user, scope):
        return [AUDIENCE, "urn:another"]


class Lookup:
    def query_token(self, token_string, token_type_hint):
        return tokens.get(token_string)

    def check_permission(self, token, client, request):
        return True


class Introspection(Lookup, IntrospectionEndpoint):
    def introspect_token(self, token):
        return {
            "client_id": ID,
            "scope": token.scope,
            "token_type": "Bearer",
            "iss": issuer,
            "sub": ID,
            "aud": [AUDIENCE],
            "iat": token.issued_at,
            "exp": token.issued_at + token.expires_in,
        }


class Revocation(Lookup, RevocationEndpoint):
    def revoke_token(self, token, request):
        token.revoked = True


def save(token, request):
    tokens[token["access_token"]] = Token(token["access_token"], token.get("scope"), token["expires_in"])


oauth = AuthorizationServer(app, query_client=lambda client_id: Client() if client_id == ID else None, save_token=save)
oauth.register_token_generator("default", Generator(issuer, alg="ES256"))
oauth.register_grant(grants.ClientCredentialsGrant)
oauth.register_endpoint(Introspection)
oauth.register_endpoint(Revocation)


@app.get("/.well-known/oauth-authorization-server/tenant")
def metadata():
    return jsonify(
        issuer=issuer,
        token_endpoint=f"{issuer}/token",
        introspection_endpoint=f"{issuer}/introspect",
        revocation_endpoint=f"{issuer}/revoke",
        jwks_uri=f"{issuer}/keys",
        token_endpoint_auth_methods_supported=["client_secret_basic"],
    )


@app.get("/tenant/keys")
def jwks():
    return jsonify(keys.as_dict(private=False))


@app.post("/tenant/token")
def token():
    return oauth.create_token_response()


@app.post("/tenant/introspect")
def introspect():
    return oauth.create_endpoint_response("introspection")


@app.post("/tenant/revoke")
def revoke():
    return oauth.create_endpoint_response("revocation")


threading.Thread(target=server.serve_forever, daemon=True).start()
print(json.dumps({"issuer": issuer, "client_id": ID, "secret": SECRET, "audience": AUDIENCE}), flush=True)
sys.stdin.read()
