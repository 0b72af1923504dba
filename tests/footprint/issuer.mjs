// An https issuer on loopback for one run of the program: writes its documents into FOLDER (where cert.pem and key.pem are already),
// then FOLDER/token and, last, FOLDER/url. Stops when its standard input ends.
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';

const folder = process.argv[2];
// By way of PEM: Node 20 can hang when the garbage of a generation is collected while the key that came of it is exported.
const pem = { publicKeyEncoding: { type: 'spki', format: 'pem' }, privateKeyEncoding: { type: 'pkcs8', format: 'pem' } };
const generated = generateKeyPairSync('rsa', { modulusLength: 2048, ...pem });
const [privateKey, publicKey] = [createPrivateKey(generated.privateKey), createPublicKey(generated.publicKey)];
const documents = {};
const tls = { cert: readFileSync(`${folder}/cert.pem`), key: readFileSync(`${folder}/key.pem`) };
const server = createServer(tls, (request, response) => {
    const body = documents[request.url.split('/').pop()];
    response.writeHead(body ? 200 : 404, { 'content-type': 'application/json' }).end(body);
});
server.listen(0, '127.0.0.1', () => {
    const issuer = `https://localhost:${server.address().port}`;
    documents['openid-configuration'] = JSON.stringify({ issuer, jwks_uri: `${issuer}/keys` });
    documents.keys = JSON.stringify({ keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'k1', alg: 'RS256', use: 'sig' }] });
    for (const [name, text] of Object.entries(documents)) writeFileSync(`${folder}/${name}`, text);
    const now = Math.floor(Date.now() / 1000);
    const claims = { iss: issuer, sub: 'u1', aud: 'my-service', iat: now, exp: now + 3600, scope: 'api:read' };
    const input = [{ alg: 'RS256', typ: 'at+jwt', kid: 'k1' }, claims]
        .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
    writeFileSync(`${folder}/token`, `${input}.${sign('sha256', Buffer.from(input), privateKey).toString('base64url')}`);
    writeFileSync(`${folder}/url`, issuer);
});
process.stdin.on('end', () => process.exit(0)).resume();
