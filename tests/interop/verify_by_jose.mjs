// usage: node verify_by_jose.mjs ISSUER AUDIENCE TOKEN: prints the claims, or fails with the name of the error.
import { createRemoteJWKSet, jwtVerify } from 'jose';

const [issuer, audience, token] = process.argv.slice(2);
try {
    const metadata = await (await fetch(`${issuer}/.well-known/openid-configuration`)).json();
    const keys = createRemoteJWKSet(new URL(metadata.jwks_uri));
    const { payload } = await jwtVerify(token, keys, { issuer: metadata.issuer, audience, requiredClaims: ['exp', 'iat', 'sub'] });
    console.log(JSON.stringify(payload));
} catch (error) {
    console.error(error.code ?? String(error));
    process.exit(1);
}
