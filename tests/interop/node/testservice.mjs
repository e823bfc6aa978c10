// SPDX-License-Identifier: Apache-2.0
// @grpc/grpc-js as client of grpc.testing.TestService: one interop case, by name.
//     node testservice.mjs PROTO_DIR HOST:PORT CA TEST_CASE SOAK_ITERATIONS
// grpc-js shows a client no compressed flag of an answer: cases.py lists what follows from that.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';

const [protoDir, target, caFile, name, soakIterations] = process.argv.slice(2);
const definition = loader.loadSync('grpc/testing/test.proto', {
    includeDirs: [protoDir], keepCase: true, defaults: true,
});
const { TestService, UnimplementedService } = grpc.loadPackageDefinition(definition).grpc.testing;
const credentials = grpc.credentials.createSsl(readFileSync(caFile));
const LARGE_REQUEST = 271828, LARGE_RESPONSE = 314159;
const GZIP = { 'grpc.default_compression_algorithm': 2 };
const NO_COMPRESS = 2; // grpc.writeFlags.NoCompress

const open = (options, Service = TestService) =>
    new Service(target, credentials, { 'grpc.use_local_subchannel_pool': 1, ...options });
const client = open();
const deadline = () => ({ deadline: Date.now() + 60_000 });
const payload = (size) => ({ body: Buffer.alloc(size) });
const largeRequest = (more) => (
    { response_size: LARGE_RESPONSE, payload: payload(LARGE_REQUEST), ...more });
const outputRequest = (sizes, more) => (
    { response_parameters: sizes.map((size) => ({ size })), ...more });

function checkPayload(response, size) {
    assert.ok(Buffer.alloc(size).equals(response.payload.body),
        `the payload is not ${size} zeros but has ${response.payload.body.length}`);
}

// One request, one reply; metadata of both ends beside it.
function unary(method, request, { on = client, metadata = new grpc.Metadata(), options } = {}) {
    return new Promise((resolve, reject) => {
        const result = {};
        const call = on[method](request, metadata, { ...deadline(), ...options },
            (error, response) => { result.error = error; result.response = response; });
        call.on('metadata', (initial) => { result.initial = initial; });
        call.on('status', (status) => {
            result.trailing = status.metadata;
            if (result.error) reject(result.error);
            else resolve(result);
        });
    });
}

async function fails(code, promise, message) {
    await assert.rejects(promise, (error) => {
        assert.equal(error.code, code, error.message);
        if (message !== undefined) assert.equal(error.details, message);
        return true;
    });
}

// What a stream of responses brings, one by one; next() of an ended call is undefined.
function reader(call) {
    const iterator = call[Symbol.asyncIterator]();
    return async () => (await iterator.next()).value;
}

const input = (client_, ...sizes) => new Promise((resolve, reject) => {
    const call = client_.StreamingInputCall(new grpc.Metadata(), deadline(),
        (error, response) => (error ? reject(error) : resolve(response)));
    for (const [size, more, flags] of sizes) call.write({ payload: payload(size), ...more }, flags);
    call.end();
});

async function largeUnary(on) {
    checkPayload((await unary('UnaryCall', largeRequest(), { on })).response, LARGE_RESPONSE);
}

const echoStatus = (message) => ({ response_status: { code: 2, message } });
const unaryEchoes = (message) =>
    fails(grpc.status.UNKNOWN, unary('UnaryCall', echoStatus(message)), message);

// Two cases are about the server, so there is a connection before they begin. They begin outside
// the callback that brought the reply: a stream that is cancelled in the same turn in which Node.js
// reads from its connection is neither sent nor ended (v20.20).
async function connectFirst() {
    await unary('EmptyCall', {});
    await new Promise(setImmediate);
}

const cases = {
    async empty_unary() {
        assert.deepEqual((await unary('EmptyCall', {})).response, {});
    },
    large_unary: () => largeUnary(client),
    async client_streaming() {
        const response = await input(client, [27182], [8], [1828], [45904]);
        assert.equal(response.aggregated_payload_size, 74922);
    },
    async server_streaming() {
        const sizes = [31415, 9, 2653, 58979];
        const next = reader(client.StreamingOutputCall(outputRequest(sizes), deadline()));
        for (const size of sizes) checkPayload(await next(), size);
        assert.equal(await next(), undefined);
    },
    async ping_pong() {
        const call = client.FullDuplexCall(deadline());
        const next = reader(call);
        for (const [size, sent] of [[31415, 27182], [9, 8], [2653, 1828], [58979, 45904]]) {
            call.write(outputRequest([size], { payload: payload(sent) }));
            checkPayload(await next(), size);
        }
        call.end();
        assert.equal(await next(), undefined);
    },
    async half_duplex() {
        const rounds = [[31415, 27182], [9, 8], [2653, 1828], [58979, 45904]];
        const call = client.HalfDuplexCall(deadline());
        const next = reader(call);
        for (const [size, sent] of rounds)
            call.write({ response_parameters: [{ size, interval_us: 1000 }], payload: payload(sent) });
        call.end();
        for (const [size] of rounds) checkPayload(await next(), size);
        assert.equal(await next(), undefined);
    },
    async empty_stream() {
        const call = client.FullDuplexCall(deadline());
        const next = reader(call);
        call.end();
        assert.equal(await next(), undefined);
    },
    async cancel_after_begin() {
        await connectFirst();
        await fails(grpc.status.CANCELLED, new Promise((resolve, reject) => {
            const call = client.StreamingInputCall(new grpc.Metadata(), deadline(),
                (error, response) => (error ? reject(error) : resolve(response)));
            // grpc-js 1.14.1 forgets a cancel that comes before it has made the stream, which is
            // then open until its deadline.
            setImmediate(() => call.cancel());
        }));
    },
    async cancel_after_first_response() {
        const call = client.FullDuplexCall(deadline());
        const next = reader(call);
        call.write(outputRequest([31415], { payload: payload(27182) }));
        checkPayload(await next(), 31415);
        call.cancel();
        await fails(grpc.status.CANCELLED, next());
    },
    async timeout_on_sleeping_server() {
        await connectFirst();
        const call = client.FullDuplexCall({ deadline: Date.now() + 1 });
        call.write(outputRequest([], { payload: payload(27182) }));
        await fails(grpc.status.DEADLINE_EXCEEDED, reader(call)());
    },
    async custom_metadata() {
        const metadata = new grpc.Metadata();
        const bytes = Buffer.from('ababab', 'hex');
        metadata.set('x-grpc-test-echo-initial', 'test_initial_metadata_value');
        metadata.set('x-grpc-test-echo-trailing-bin', bytes);
        const check = (initial, trailing) => {
            assert.deepEqual(initial.get('x-grpc-test-echo-initial'),
                ['test_initial_metadata_value']);
            assert.deepEqual(trailing.get('x-grpc-test-echo-trailing-bin'), [bytes]);
        };
        const result = await unary('UnaryCall', largeRequest(), { metadata });
        checkPayload(result.response, LARGE_RESPONSE);
        check(result.initial, result.trailing);
        const call = client.FullDuplexCall(metadata, deadline());
        const initial = new Promise((resolve) => { call.on('metadata', resolve); });
        const status = new Promise((resolve) => { call.on('status', resolve); });
        const next = reader(call);
        call.write(outputRequest([LARGE_RESPONSE], { payload: payload(LARGE_REQUEST) }));
        call.end();
        checkPayload(await next(), LARGE_RESPONSE);
        assert.equal(await next(), undefined);
        check(await initial, (await status).metadata);
    },
    async status_code_and_message() {
        const message = 'test status message';
        await unaryEchoes(message);
        const call = client.FullDuplexCall(deadline());
        call.write(echoStatus(message));
        call.end();
        await fails(grpc.status.UNKNOWN, reader(call)(), message);
    },
    special_status_message: () =>
        unaryEchoes('\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n'),
    unimplemented_method: () =>
        fails(grpc.status.UNIMPLEMENTED, unary('UnimplementedCall', {})),
    async unimplemented_service() {
        const on = open({}, UnimplementedService);
        await fails(grpc.status.UNIMPLEMENTED, unary('UnimplementedCall', {}, { on }));
        on.close();
    },
    async per_rpc_creds() {
        const request = { fill_username: true, fill_oauth_scope: true };
        for (const user of ['one', 'two']) {
            const token = grpc.credentials.createFromMetadataGenerator((params, done) => {
                const metadata = new grpc.Metadata();
                metadata.set('authorization', `Bearer interop/${user}/scope-${user}`);
                done(null, metadata);
            });
            const { response } = await unary('UnaryCall', request, { options: { credentials: token } });
            assert.equal(response.username, user);
            assert.equal(response.oauth_scope, `scope-${user}`);
        }
        await fails(grpc.status.UNAUTHENTICATED, unary('UnaryCall', request));
    },
    async client_compressed_unary() {
        const gzip = open(GZIP);
        const yes = largeRequest({ expect_compressed: { value: true } });
        const no = largeRequest({ expect_compressed: { value: false } });
        await fails(grpc.status.INVALID_ARGUMENT, unary('UnaryCall', yes));
        checkPayload((await unary('UnaryCall', yes, { on: gzip })).response, LARGE_RESPONSE);
        checkPayload((await unary('UnaryCall', no)).response, LARGE_RESPONSE);
        gzip.close();
    },
    async server_compressed_unary() {
        for (const value of [true, false]) {
            const request = largeRequest({ response_compressed: { value } });
            checkPayload((await unary('UnaryCall', request)).response, LARGE_RESPONSE);
        }
    },
    async client_compressed_streaming() {
        const gzip = open(GZIP);
        const yes = { expect_compressed: { value: true } };
        const no = { expect_compressed: { value: false } };
        await fails(grpc.status.INVALID_ARGUMENT, input(client, [27182, yes]));
        const response = await input(gzip, [27182, yes], [45904, no, NO_COMPRESS]);
        assert.equal(response.aggregated_payload_size, 73086);
        gzip.close();
    },
    async server_compressed_streaming() {
        const parameters = [[31415, true], [92653, false]].map(
            ([size, value]) => ({ size, compressed: { value } }));
        const next = reader(client.StreamingOutputCall(
            { response_parameters: parameters }, deadline()));
        for (const { size } of parameters) checkPayload(await next(), size);
        assert.equal(await next(), undefined);
    },
    async rpc_soak() {
        for (let i = 0; i < Number(soakIterations); i++) await largeUnary(client);
    },
    async channel_soak() {
        for (let i = 0; i < Number(soakIterations); i++) {
            const on = open();
            await largeUnary(on);
            on.close();
        }
    },
};

await cases[name]();
client.close();
