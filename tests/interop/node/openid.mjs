// SPDX-License-Identifier: Apache-2.0
// An OpenID provider as openid-client and jose see it. argv[2]: a JSON file made by
// tests/e2e/sims_interop_test.py, which starts the provider and knows users and clients:
// {issuer, mtls_issuer, audience, asset, user: {username, password, gpsi},
//  app: {client_id, redirect_uri}, signed: {client_id, key (JWK)},
//  val: {client_id, cert, key, thumbprint, users}}
// Each step that holds is told on a line; a step that does not is an exception.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import https from 'node:https';
import * as jose from 'jose';
import * as client from 'openid-client';

const given = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const issuer = new URL(given.issuer);
const told = (step) => console.log(step);

// Cookies and forms of a browser, for the pages in between.
async function login(url) {
    const cookies = new Map();
    const send = async (target, options = {}) => {
        const headers = { ...options.headers };
        if (cookies.size)
            headers.cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
        const reply = await fetch(target, { ...options, headers, redirect: 'manual' });
        for (const cookie of reply.headers.getSetCookie()) {
            const [name, value] = cookie.split(';')[0].split('=');
            cookies.set(name, value);
        }
        return reply;
    };
    const unescape = (text) => text.replaceAll('&quot;', '"').replaceAll('&#39;', "'")
        .replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&');
    const page = await (await send(url)).text();
    const form = new URLSearchParams();
    for (const [, name, value] of page.matchAll(/type="hidden" name="([^"]*)" value="([^"]*)"/g))
        form.set(name, unescape(value));
    form.set('username', given.user.username);
    form.set('password', given.user.password);
    const reply = await send(new URL(page.match(/action="([^"]*)"/)[1], issuer),
        { method: 'POST', body: form });
    assert.equal(reply.status, 303);
    return new URL(reply.headers.get('location'));
}

// fetch over a connection with a client certificate.
function withCertificate(url, options) {
    return new Promise((resolve, reject) => {
        const request = https.request(url, {
            method: options.method, headers: Object.fromEntries(new Headers(options.headers)),
            cert: fs.readFileSync(given.val.cert), key: fs.readFileSync(given.val.key),
        }, (reply) => {
            const parts = [];
            reply.on('data', (part) => parts.push(part));
            reply.on('end', () => resolve(new Response(Buffer.concat(parts),
                { status: reply.statusCode, headers: reply.headers })));
        });
        request.on('error', reject);
        request.end(options.body ? String(options.body) : undefined);
    });
}

const details = (more) => JSON.stringify([{ type: 'digital_asset', actions: ['get'], ...more }]);

const app = await client.discovery(issuer, given.app.client_id, undefined, client.None());
client.enableNonRepudiationChecks(app);
const metadata = app.serverMetadata();
assert.equal(metadata.issuer, given.issuer);
assert.ok(metadata.supportsPKCE());
told('discovery');
const oauth = await client.discovery(issuer, given.app.client_id, undefined, client.None(),
    { algorithm: 'oauth2' });
assert.equal(oauth.serverMetadata().token_endpoint, metadata.token_endpoint);
told('RFC 8414 metadata');

const keys = jose.createRemoteJWKSet(new URL(metadata.jwks_uri));
const verified = async (token) => (await jose.jwtVerify(token, keys,
    { issuer: given.issuer, audience: given.audience, typ: 'at+jwt' })).payload;

const pkceCodeVerifier = client.randomPKCECodeVerifier();
const expectedState = client.randomState();
const expectedNonce = client.randomNonce();
const redirected = await login(client.buildAuthorizationUrl(app, {
    redirect_uri: given.app.redirect_uri, scope: 'openid profile seal.da', state: expectedState,
    nonce: expectedNonce, acr_values: '3gpp:acr:password', authorization_details: details(),
    code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: 'S256', max_age: '3600',
}));
const tokens = await client.authorizationCodeGrant(app, redirected,
    { pkceCodeVerifier, expectedState, expectedNonce, maxAge: 3600, idTokenExpected: true });
const subject = tokens.claims().sub;
assert.equal((await verified(tokens.access_token)).sub, subject);
told('code with PKCE');

const info = await client.fetchUserInfo(app, tokens.access_token, subject);
assert.equal(info.preferred_username, given.user.username);
told('userinfo');

const narrow = await client.refreshTokenGrant(app, tokens.refresh_token,
    { authorization_details: details({ identifier: given.asset }) });
const claims = await verified(narrow.access_token);
assert.equal(claims.Digital_profile, given.user.gpsi);
assert.equal(claims.authorization_details[0].identifier, given.asset);
assert.deepEqual(narrow.authorization_details, claims.authorization_details);
told('narrowing refresh');

await assert.rejects(client.refreshTokenGrant(app, narrow.refresh_token,
    { authorization_details: details({ identifier: 'no-such-asset' }) }),
    { error: 'invalid_authorization_details', status: 400 });
told('refusal of an asset');

const key = await jose.importJWK(given.signed.key, 'EdDSA');
const signed = await client.discovery(issuer, given.signed.client_id, undefined,
    client.PrivateKeyJwt({ key, kid: given.signed.key.kid }));
const own = await client.clientCredentialsGrant(signed, { scope: 'seal.da' });
assert.equal((await verified(own.access_token)).sub, given.signed.client_id);
told('client credentials with private_key_jwt');

const active = await client.tokenIntrospection(signed, narrow.access_token);
assert.equal(active.active, true);
assert.equal(active.client_id, given.app.client_id);
told('introspection');
await client.tokenRevocation(app, narrow.access_token);
assert.deepEqual(await client.tokenIntrospection(signed, narrow.access_token), { active: false });
await client.tokenRevocation(app, narrow.refresh_token);
await assert.rejects(client.refreshTokenGrant(app, narrow.refresh_token),
    { error: 'invalid_grant' });
told('revocation');

const val = await client.discovery(issuer, given.val.client_id,
    { use_mtls_endpoint_aliases: true }, client.TlsClientAuth());
val[client.customFetch] = withCertificate;
const bound = await client.clientCredentialsGrant(val, {
    authorization_details: details({ identifier: given.asset, users: given.val.users }) });
const boundClaims = await verified(bound.access_token);
assert.equal(boundClaims.cnf['x5t#S256'], given.val.thumbprint);
assert.equal(boundClaims.Digital_profile, given.user.gpsi);
told('client credentials with mutual TLS');
