// usage: node verify.mjs FILE: one line for each verifier and algorithm of the benchmark's FILE, in the form of its table. Single thread;
// the ratio is to the best time of ring alone, measured just before and not in the same rounds.
import { readFileSync } from 'node:fs';
import { JwtVerifier } from 'aws-jwt-verify';
import { createPublicKey } from 'node:crypto';
import { createVerifier } from 'fast-jwt';
import { createLocalJWKSet, jwtVerify } from 'jose';

const ROUNDS = 40;
const CALLS = 200;

for (const { algorithm, name, issuer, audience, keys, good, refused, ring } of JSON.parse(readFileSync(process.argv[2]))) {
    const pem = createPublicKey({ key: keys.keys[0], format: 'jwk' }).export({ type: 'spki', format: 'pem' });
    const options = { key: pem, algorithms: [algorithm], allowedIss: issuer, allowedAud: audience };
    const fast = createVerifier({ ...options, cache: false });
    const remembering = createVerifier({ ...options, cache: true });
    const aws = JwtVerifier.create({ issuer, audience, jwksUri: `${issuer}/jwks.json` });
    aws.cacheJwks(keys);
    const set = createLocalJWKSet(keys);
    const verifiers = {
        'npm: fast-jwt, one known key': (token) => fast(token),
        'npm: fast-jwt, a token seen before': (token) => remembering(token),
        'npm: aws-jwt-verify, by kid': (token) => aws.verifySync(token),
        'npm: jose, by kid, one after the other': (token) => jwtVerify(token, set, { issuer, audience, algorithms: [algorithm] }),
    };
    for (const [verifier, verify] of Object.entries(verifiers)) {
        await examine(verifier, verify, good, refused);
        console.log(row(`${name}: ${verifier}`, await best(verify, good), ring));
    }
}

// Nothing is timed that does not verify.
async function examine(verifier, verify, good, refused) {
    await verify(good);
    for (const [what, token] of Object.entries(refused)) {
        let accepted = true;
        try { await verify(token); } catch { accepted = false; }
        if (accepted) throw new Error(`${verifier} accepts ${what}`);
    }
}

// Microseconds of one call in the best round. What is no promise is not awaited: that would be timed too.
async function best(verify, token) {
    let least = Infinity;
    const waits = verify(token) instanceof Promise;
    for (let round = 0; round < ROUNDS; round++) {
        const start = process.hrtime.bigint();
        for (let call = 0; call < CALLS; call++) waits ? await verify(token) : verify(token);
        least = Math.min(least, Number(process.hrtime.bigint() - start) / 1e3 / CALLS);
    }
    return least;
}

function row(name, time, ring) {
    return `| ${name} | ${time.toFixed(1)} | ${(time / ring).toFixed(2)} | - |`;
}
