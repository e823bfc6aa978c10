// SPDX-License-Identifier: Apache-2.0
// Key sets and roots of the SKM-S as any JOSE library sees them: the root has the fingerprint that
// was told, the set is signed by it, and its keys verify a manifest. One JSON object on standard
// input: root (JWK), fingerprint, set, manifest, issuer of each.
import { readFileSync } from 'node:fs';
import { calculateJwkThumbprint, createLocalJWKSet, importJWK, jwtVerify } from 'jose';

const given = JSON.parse(readFileSync(0, 'utf8'));
const fingerprint = 'SHA256:' + await calculateJwkThumbprint(given.root);
if (fingerprint !== given.fingerprint) throw new Error(`fingerprint ${fingerprint}`);
const { payload } = await jwtVerify(given.set, await importJWK(given.root, 'EdDSA'),
    { issuer: given.skms, typ: 'dacm-keyset+jwt' });
const keys = payload.keys.filter(key => key.dacm_state !== 'compromised');
const manifest = await jwtVerify(given.manifest, createLocalJWKSet({ keys }),
    { issuer: payload.service, typ: 'dacm-manifest+jwt' });
console.log(manifest.payload.asset_id);
