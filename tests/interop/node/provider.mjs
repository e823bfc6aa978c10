// SPDX-License-Identifier: Apache-2.0
// npm oidc-provider as an issuer that is not ours: access tokens as JWT (RFC 9068). One argument,
// JSON: port, certificate, key, resource, alg, and
//   claims   for each client_id of a client for client credentials, the claims of its tokens
//   clients  clients as oidc-provider takes them
// Whoever logs in is let in, and is asked for no consent. Says "ready" when it listens.
import { readFileSync } from 'node:fs';
import https from 'node:https';
import { exportJWK, generateKeyPair } from 'jose';
import Provider from 'oidc-provider';

const given = JSON.parse(process.argv[2]);
const issuer = `https://localhost:${given.port}`;

async function newKey(alg) {
    const { privateKey } = await generateKeyPair(alg, { extractable: true });
    return { ...(await exportJWK(privateKey)), alg, use: 'sig', kid: `own-${alg}` };
}

const provider = new Provider(issuer, {
    jwks: { keys: [await newKey('RS256'), await newKey('ES256'), await newKey('EdDSA')] },
    clients: [...(given.clients ?? []), ...Object.keys(given.claims ?? {}).map((clientId) => ({
        client_id: clientId,
        client_secret: 'only for this test',
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
    }))],
    findAccount: (ctx, accountId) => ({ accountId, claims: () => ({ sub: accountId }) }),
    loadExistingGrant: async (ctx) => {
        const { client, session } = ctx.oidc;
        const known = session.grantIdFor(client.clientId);
        if (known)
            return provider.Grant.find(known);
        const grant = new provider.Grant(
            { clientId: client.clientId, accountId: session.accountId });
        grant.addOIDCScope('openid');
        grant.addResourceScope(given.resource, 'seal.da');
        await grant.save();
        return grant;
    },
    issueRefreshToken: (ctx, client) => client.grantTypeAllowed('refresh_token'),
    features: {
        clientCredentials: { enabled: true },
        resourceIndicators: {
            enabled: true,
            getResourceServerInfo: () => ({
                scope: 'seal.da',
                audience: given.resource,
                accessTokenTTL: 300,
                accessTokenFormat: 'jwt',
                jwt: { sign: { alg: given.alg } },
            }),
        },
    },
    // extraTokenClaims would do, but for authorization_details, which the provider writes itself.
    formats: {
        customizers: {
            jwt: (ctx, token, jwt) => {
                Object.assign(jwt.payload, given.claims?.[token.clientId]);
            },
        },
    },
});

const tls = { cert: readFileSync(given.certificate), key: readFileSync(given.key) };
https.createServer(tls, provider.callback()).listen(given.port, '127.0.0.1', () => {
    console.log('ready');
});
