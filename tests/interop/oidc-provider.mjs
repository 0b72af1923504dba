// npm's certified `oidc-provider` on loopback, set up the way a service-to-service issuer is. Prints one line of JSON when it listens,
// and stops when its standard input ends, so that it never outlives the test that started it.
//
// usage: node oidc-provider.mjs PORT   (0: any). Its keys are new in every process, so a restart is a key rotation.
import { createPrivateKey, generateKeyPairSync, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { exportJWK, SignJWT } from 'jose';
import { errors, Provider } from 'oidc-provider';

const JWT_RESOURCES = { 'urn:rs256': 'RS256', 'urn:ps256': 'PS256', 'urn:es256': 'ES256', 'urn:eddsa': 'EdDSA', 'urn:ed25519': 'Ed25519' };
const SECRET = 'tests only: 100% +/?&=';

// By way of PEM: Node 20 can hang when the garbage of a generation is collected while the key that came of it is exported.
async function key(alg, type, options) {
    const pem = { publicKeyEncoding: { type: 'spki', format: 'pem' }, privateKeyEncoding: { type: 'pkcs8', format: 'pem' } };
    const privateKey = createPrivateKey(generateKeyPairSync(type, { ...options, ...pem }).privateKey);
    return { privateKey, jwk: { ...(await exportJWK(privateKey)), alg, use: 'sig', kid: `${alg}-${randomUUID()}` } };
}

const keys = {
    RS256: await key('RS256', 'rsa', { modulusLength: 2048 }),
    PS256: await key('PS256', 'rsa', { modulusLength: 2048 }),
    ES256: await key('ES256', 'ec', { namedCurve: 'P-256' }),
    EdDSA: await key('EdDSA', 'ed25519'),
    Ed25519: await key('Ed25519', 'ed25519'),
};

function client(client_id, token_endpoint_auth_method, scope = 'api:read api:write') {
    return {
        client_id, token_endpoint_auth_method, scope, client_secret: SECRET,
        grant_types: ['client_credentials'], response_types: [], redirect_uris: [],
    };
}

// A client that has a key: the issuer knows the public half (tests/data/client-keys).
function keyClient(client_id, alg, file) {
    const jwk = JSON.parse(readFileSync(new URL(`../data/client-keys/${file}.jwk`, import.meta.url)));
    const { client_secret, ...rest } = client(client_id, 'private_key_jwt');
    return { ...rest, token_endpoint_auth_signing_alg: alg, jwks: { keys: [{ ...jwk, kid: client_id, use: 'sig' }] } };
}

const server = createServer();
await new Promise((resolve) => server.listen(Number(process.argv[2]), '127.0.0.1', resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
    clients: [
        client('post', 'client_secret_post'),
        client('reader', 'client_secret_post', 'api:read'),
        client('basic', 'client_secret_basic'),
        client('svc:100%', 'client_secret_basic'),
        keyClient('es256', 'ES256', 'es256'),
        keyClient('eddsa', 'EdDSA', 'eddsa'),
        keyClient('rs256', 'RS256', 'rs256'),
        keyClient('ps256', 'PS256', 'rs256'),
    ],
    jwks: { keys: Object.values(keys).map(({ jwk }) => jwk) },
    scopes: ['api:read', 'api:write'],
    clientAuthMethods: ['client_secret_post', 'client_secret_basic', 'private_key_jwt'],
    enabledJWA: {
        idTokenSigningAlgValues: Object.keys(keys),
        clientAuthSigningAlgValues: ['ES256', 'EdDSA', 'RS256', 'PS256'],
    },
    ttl: { ClientCredentials: 600, IdToken: 600 },
    features: {
        devInteractions: { enabled: false },
        clientCredentials: { enabled: true },
        introspection: { enabled: true },
        revocation: { enabled: true },
        resourceIndicators: {
            enabled: true,
            getResourceServerInfo(_ctx, resource) {
                const info = { scope: 'api:read api:write', audience: resource, accessTokenTTL: 600 };
                if (resource === 'urn:opaque') return { ...info, accessTokenFormat: 'opaque' };
                const alg = JWT_RESOURCES[resource];
                if (!alg) throw new errors.InvalidTarget();
                return { ...info, accessTokenFormat: 'jwt', jwt: { sign: { alg, kid: keys[alg].jwk.kid } } };
            },
        },
    },
});
server.on('request', provider.callback());

// What an attacker may hold: an ID token as the provider itself issues them, and one for the very resource that says what it is.
const idToken = new provider.IdToken({ sub: 'u1' }, { client: await provider.Client.find('post') });
idToken.scope = 'openid';
const marked = new SignJWT({ token_use: 'id' }).setProtectedHeader({ alg: 'RS256', kid: keys.RS256.jwk.kid })
    .setIssuer(issuer).setSubject('u1').setAudience('urn:rs256').setIssuedAt().setExpirationTime('10m');
console.log(JSON.stringify({
    issuer,
    secret: SECRET,
    id_token: await idToken.issue({ use: 'idtoken' }),
    marked_id_token: await marked.sign(keys.RS256.privateKey),
}));
process.stdin.on('end', () => process.exit(0)).resume();
