// SPDX-License-Identifier: Apache-2.0
// @grpc/grpc-js and jose as clients of dacmd, from proto/ alone: Authorize, Upload, Download with
// every digest checked, and the manifest verified against the published JWKS.
//     node client.mjs PROTO_DIR ENV_JSON OWNER OWNER_TOKEN FILE
// OWNER_TOKEN has action `create`. Prints the new asset's ID; with a sixth argument, a token for
// that asset, and a seventh, the asset's ID, it authorises and downloads instead.
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { webcrypto } from 'node:crypto';
import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';

globalThis.crypto ??= webcrypto;
const jose = await import('jose');

const [protoDir, envFile, gpsi, token, file, assetId] = process.argv.slice(2);
const env = JSON.parse(readFileSync(envFile, 'utf8'));
const definition = loader.loadSync('dacm/v1/digital_asset.proto', {
    includeDirs: [protoDir], keepCase: true, longs: Number, enums: String, oneofs: true,
});
const { DigitalAssets } = grpc.loadPackageDefinition(definition).dacm.v1;
const client = new DigitalAssets(env.dacm.grpc.split('://').pop(),
    grpc.credentials.createSsl(readFileSync(env.ca_file)));
const metadata = new grpc.Metadata();
metadata.set('authorization', `Bearer ${token}`);
const deadline = () => ({ deadline: Date.now() + 60_000 });
const sha256 = (bytes) => createHash('sha256').update(bytes).digest();

function check(ok, what) {
    if (!ok) throw new Error(what);
    console.error(`ok   ${what}`);
}

function upload(content) {
    return new Promise((resolve, reject) => {
        const call = client.Upload(metadata, deadline(),
            (error, response) => (error ? reject(error) : resolve(response)));
        call.write({ start: {
            profile: { asset_type: 'ASSET_TYPE_AVATAR', owners: [gpsi] },
            upload_id: randomBytes(8).toString('hex'), size: content.length,
            sha256: sha256(content), media_type: 'model/gltf-binary', gpsi,
        } });
        for (let at = 0; at < content.length; at += 100_000)
            call.write({ data: content.subarray(at, at + 100_000) });
        call.end();
    });
}

function authorize() {
    return new Promise((resolve, reject) => client.Authorize(
        { asset_id: assetId, gpsi, operation: 'OPERATION_GET' }, metadata, deadline(),
        (error, response) => (error ? reject(error) : resolve(response))));
}

async function download() {
    let start;
    let entries = Buffer.alloc(0);
    const chunks = [];
    for await (const part of client.Download({ asset_id: assetId, gpsi }, metadata, deadline())) {
        if (part.start) {
            start = part.start;
        } else if (part.chunk_list) {
            entries = Buffer.concat([entries, part.chunk_list.entries]);
        } else {
            let index = part.chunks.first ?? 0;
            for (let at = 0; at < part.chunks.data.length; index++) {
                const length = entries.readUInt32BE(36 * index);
                const chunk = part.chunks.data.subarray(at, at + length);
                check(sha256(chunk).equals(entries.subarray(36 * index + 4, 36 * index + 36)),
                    `chunk ${index} has its digest`);
                chunks[index] = chunk;
                at += length;
            }
        }
    }
    const keys = jose.createLocalJWKSet(JSON.parse(readFileSync(env.keys_file, 'utf8')));
    const { payload, protectedHeader } = await jose.compactVerify(start.manifest, keys);
    check(protectedHeader.typ === 'dacm-manifest+jwt', 'jose verifies the manifest');
    const claims = JSON.parse(new TextDecoder().decode(payload));
    check(claims.asset_id === assetId, 'the manifest names the asset');
    check(claims.chunks === sha256(entries).toString('base64url'), 'the list has its digest');
    const content = Buffer.concat(chunks);
    check(claims.sha256 === sha256(content).toString('base64url'), 'the object has its digest');
    return content;
}

const content = readFileSync(file);
if (!assetId) {
    console.log((await upload(content)).asset_id);
} else {
    const answer = await authorize();
    check(answer.allowed && answer.valid_until > 0, 'Authorize allows');
    check((await download()).equals(content), 'the bytes are those of the file');
}
client.close();
