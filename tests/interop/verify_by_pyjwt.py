"""usage: verify_by_pyjwt.py ISSUER AUDIENCE TOKEN: prints the claims, or fails with the name of the error."""

import json
import sys
import urllib.request

import jwt

issuer, audience, token = sys.argv[1:]
with urllib.request.urlopen(f"{issuer}/.well-known/openid-configuration") as answer:
    metadata = json.load(answer)
try:
    key = jwt.PyJWKClient(metadata["jwks_uri"]).get_signing_key_from_jwt(token)
    options = {"require": ["exp", "iat", "sub"]}
    claims = jwt.decode(token, key, audience=audience, issuer=metadata["issuer"], algorithms=["RS256", "ES256", "EdDSA"], options=options)
    print(json.dumps(claims))
except jwt.PyJWTError as error:
    sys.exit(type(error).__name__)
