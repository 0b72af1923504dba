"""usage: verify.py FILE: as verify.mjs, for PyJWT and joserfc."""

import json
import sys
import time

import jwt
from joserfc import jwt as joserfc
from joserfc.jwk import KeySet

ROUNDS = 20
CALLS = 100


def verifiers(entry):
    issuer, audience, algorithm = entry["issuer"], entry["audience"], entry["algorithm"]
    key = jwt.PyJWK(entry["keys"]["keys"][0], algorithm=algorithm)
    keys = KeySet.import_key_set(entry["keys"])
    registry = joserfc.JWTClaimsRegistry(
        iss={"essential": True, "value": issuer}, aud={"essential": True, "value": audience}, exp={"essential": True}
    )

    def by_joserfc(token):
        registry.validate(joserfc.decode(token, keys, algorithms=[algorithm]).claims)

    return {
        "PyPI: PyJWT, one known key": lambda token: jwt.decode(
            token, key, algorithms=[algorithm], issuer=issuer, audience=audience
        ),
        "PyPI: joserfc, by kid": by_joserfc,
    }


def examine(name, verify, entry):
    """Nothing is timed that does not verify."""
    verify(entry["good"])
    for what, token in entry["refused"].items():
        try:
            verify(token)
        except Exception:
            continue
        sys.exit(f"{name} accepts {what}")


def best(verify, token):
    """Microseconds of one call in the best round."""
    least = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter_ns()
        for _ in range(CALLS):
            verify(token)
        least = min(least, (time.perf_counter_ns() - start) / 1e3 / CALLS)
    return least


with open(sys.argv[1], encoding="utf-8") as file:
    entries = json.load(file)
for entry in entries:
    for name, verify in verifiers(entry).items():
        examine(name, verify, entry)
        spent = best(verify, entry["good"])
        print(f"| {entry['name']}: {name} | {spent:.1f} | {spent / entry['ring']:.2f} | - |")
