/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_dacm.h"
#include "proto_descriptors.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- what is sent ------------------------------------------------------------------------------
 */

void fake_reply_raw(fake_reply *reply, const void *data, size_t size)
{
    reply->messages = realloc(reply->messages, (reply->count + 1) * sizeof *reply->messages);
    uint8_t *copy = malloc(size + 1);
    if (size)
        memcpy(copy, data, size);
    reply->messages[reply->count].data = copy;
    reply->messages[reply->count++].size = size;
}

static void reply_packed(fake_reply *reply, const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = malloc(size + 1);
    protobuf_c_message_pack(message, packed);
    fake_reply_raw(reply, packed, size);
    free(packed);
}

void fake_reply_start(fake_reply *reply, const char *jws, bool not_modified, uint32_t count)
{
    Dacm__V1__DownloadResponse response = DACM__V1__DOWNLOAD_RESPONSE__INIT;
    Dacm__V1__DownloadStart start = DACM__V1__DOWNLOAD_START__INIT;
    start.manifest = (char *)(uintptr_t)jws;
    start.not_modified = not_modified;
    start.chunk_count = count;
    response.part_case = DACM__V1__DOWNLOAD_RESPONSE__PART_START;
    response.start = &start;
    reply_packed(reply, &response.base);
}

void fake_reply_list(fake_reply *reply, const void *entries, size_t size)
{
    Dacm__V1__DownloadResponse response = DACM__V1__DOWNLOAD_RESPONSE__INIT;
    Dacm__V1__ChunkList list = DACM__V1__CHUNK_LIST__INIT;
    list.entries = (ProtobufCBinaryData){.len = size, .data = (uint8_t *)(uintptr_t)entries};
    response.part_case = DACM__V1__DOWNLOAD_RESPONSE__PART_CHUNK_LIST;
    response.chunk_list = &list;
    reply_packed(reply, &response.base);
}

void fake_reply_chunks(fake_reply *reply, uint32_t first, const void *data, size_t size)
{
    Dacm__V1__DownloadResponse response = DACM__V1__DOWNLOAD_RESPONSE__INIT;
    Dacm__V1__Chunks chunks = DACM__V1__CHUNKS__INIT;
    chunks.first = first;
    chunks.data = (ProtobufCBinaryData){.len = size, .data = (uint8_t *)(uintptr_t)data};
    response.part_case = DACM__V1__DOWNLOAD_RESPONSE__PART_CHUNKS;
    response.chunks = &chunks;
    reply_packed(reply, &response.base);
}

void fake_reply_object(fake_dacm *f, fake_reply *reply, uint32_t first, uint32_t last)
{
    for (uint32_t i = first; i < last; i++)
        fake_reply_chunks(reply, i, f->object.content + f->object.offsets[i], f->object.lengths[i]);
}

void fake_reply_uploaded(fake_reply *reply, const char *asset_id, uint64_t version)
{
    Dacm__V1__UploadResponse response = DACM__V1__UPLOAD_RESPONSE__INIT;
    response.asset_id = (char *)(uintptr_t)asset_id;
    response.version = version;
    reply_packed(reply, &response.base);
}

void fake_reply_end(fake_reply *reply, rpc_code code, const char *message)
{
    reply->code = code;
    snprintf(reply->message, sizeof reply->message, "%s", message);
}

trust_manifest fake_manifest(const fake_dacm *f)
{
    trust_manifest manifest = {.issuer = FAKE_ISSUER,
        .asset_id = FAKE_ASSET,
        .media_type = "model/gltf-binary",
        .chunking = "gear-64k",
        .version = f->object.version,
        .size = f->object.size,
        .issued_at = f->wall_ms / 1000 - 10,
        .expires_at = f->wall_ms / 1000 + 3600};
    trust_sha256(rpc_bytes_of(f->object.content, f->object.size), manifest.sha256);
    trust_sha256(rpc_bytes_of(f->object.entries, (size_t)f->object.count * FAKE_ENTRY_BYTES),
        manifest.chunks_sha256);
    return manifest;
}

char *fake_sign(const trust_signer *signer, const trust_manifest *manifest)
{
    char *jws = NULL;
    rpc_status status;
    if (trust_manifest_sign(signer, manifest, &jws, &status) != RPC_OK) {
        fprintf(stderr, "fake DACM: %s\n", status.message);
        abort();
    }
    return jws;
}

void fake_reply_manifest(fake_dacm *f, fake_reply *reply)
{
    trust_manifest manifest = fake_manifest(f);
    char *jws = fake_sign(f->signer, &manifest);
    fake_reply_start(reply, jws, false, f->object.count);
    free(jws);
}

static bool holds(const fake_asked *asked, const uint8_t digest[32])
{
    for (size_t i = 0; i < asked->have_count; i++)
        if (memcmp(asked->have[i], digest, 32) == 0)
            return true;
    return false;
}

void fake_honest(fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number;
    const fake_object *o = &f->object;
    uint64_t end = asked->length ? asked->offset + asked->length : o->size;
    fake_reply_manifest(f, reply);
    if (o->count > 0)
        fake_reply_list(reply, o->entries, (size_t)o->count * FAKE_ENTRY_BYTES);
    for (uint32_t i = 0; i < o->count; i++)
        if (o->offsets[i + 1] > asked->offset && o->offsets[i] < end &&
            !holds(asked, o->entries + (size_t)i * FAKE_ENTRY_BYTES + 4))
            fake_reply_object(f, reply, i, i + 1);
}

/* ---- calls -------------------------------------------------------------------------------------
 */

typedef struct fake_call {
    fake_dacm *f;
    unsigned number;
    bool answered;
    unsigned received;
    uint8_t *data; /* Upload: what came */
    size_t size;
    fake_reply reply;
} fake_call;

static void free_call(void *arg)
{
    fake_call *c = arg;
    for (size_t i = 0; i < c->reply.count; i++)
        free(c->reply.messages[i].data);
    free(c->reply.messages);
    free(c->data);
    free(c);
}

static fake_call *new_call(fake_dacm *f, rpc_call *call)
{
    fake_call *c = calloc(1, sizeof *c);
    c->f = f;
    pthread_mutex_lock(&f->lock);
    c->number = f->calls++;
    pthread_mutex_unlock(&f->lock);
    if (c->number >= FAKE_CALLS_MAX)
        abort();
    rpc_call_set_context(call, c, free_call);
    return c;
}

static void send_more(rpc_call *call)
{
    fake_call *c = rpc_call_context(call);
    fake_reply *reply = &c->reply;
    if (!c->answered)
        return;
    for (; reply->sent < reply->count; reply->sent++)
        if (rpc_call_send(call,
                rpc_bytes_of(reply->messages[reply->sent].data, reply->messages[reply->sent].size),
                NULL) != RPC_SENT_OK)
            return;
    if (!reply->hangs)
        rpc_call_finish(call, reply->code, reply->message);
}

static void on_writable(rpc_call *call, void *user)
{
    (void)user;
    send_more(call);
}

static ProtobufCMessage *unpack(
    rpc_call *call, rpc_message *message, const ProtobufCMessageDescriptor *descriptor)
{
    ProtobufCMessage *request = NULL;
    rpc_status status;
    if (rpc_message_unpack(message, descriptor, &request, &status) == RPC_OK)
        return request;
    rpc_message_release(message);
    rpc_call_fail(call, &status);
    return NULL;
}

static fake_asked note_download(fake_dacm *f, unsigned number, const Dacm__V1__DownloadRequest *r)
{
    fake_asked asked = {.version = r->version, .if_none_match = r->if_none_match.len > 0};
    if (r->range) {
        asked.offset = r->range->offset;
        asked.length = r->range->length;
    }
    if (r->have) {
        asked.have_count = r->have->n_chunk_sha256;
        asked.have = calloc(asked.have_count + 1, 32);
        for (size_t i = 0; i < asked.have_count; i++)
            memcpy(asked.have[i], r->have->chunk_sha256[i].data, 32);
    }
    pthread_mutex_lock(&f->lock);
    f->asked[number] = asked;
    pthread_mutex_unlock(&f->lock);
    return asked;
}

static void download_message(rpc_call *call, rpc_message *message, void *user)
{
    fake_dacm *f = user;
    ProtobufCMessage *request = unpack(call, message, &dacm__v1__download_request__descriptor);
    if (!request)
        return;
    fake_call *c = new_call(f, call);
    fake_asked asked = note_download(f, c->number, (const Dacm__V1__DownloadRequest *)request);
    rpc_message_release(message);
    (f->download ? f->download : fake_honest)(f, c->number, &asked, &c->reply);
    c->answered = true;
    send_more(call);
}

static void note_upload(fake_uploaded *u, const Dacm__V1__UploadStart *start)
{
    snprintf(u->upload_id, sizeof u->upload_id, "%s", start->upload_id);
    snprintf(u->media_type, sizeof u->media_type, "%s", start->media_type);
    u->size = start->size;
    if (start->sha256.len == 32)
        memcpy(u->sha256, start->sha256.data, 32);
    if (start->target_case == DACM__V1__UPLOAD_START__TARGET_ASSET) {
        snprintf(u->asset_id, sizeof u->asset_id, "%s", start->asset->asset_id);
        u->if_match = start->asset->if_match;
    } else if (start->profile->n_access_control_list == 1) {
        const Dacm__V1__AccessControlEntry *entry = start->profile->access_control_list[0];
        snprintf(u->allowed, sizeof u->allowed, "%s", entry->allowed_user);
        u->allowed_operation = entry->n_allowed_operations == 1
                                   ? (unsigned)entry->allowed_operations[0]
                                   : 0;
    }
}

static void answer_upload(rpc_call *call)
{
    fake_call *c = rpc_call_context(call);
    if (c->answered)
        return;
    c->answered = true;
    send_more(call);
}

static void upload_start(rpc_call *call, void *user)
{
    fake_dacm *f = user;
    fake_call *c = new_call(f, call);
    c->reply.messages_first = UINT32_MAX;
    f->upload(f, c->number, &c->reply);
    if (c->reply.messages_first == 0)
        answer_upload(call);
}

static void upload_message(rpc_call *call, rpc_message *message, void *user)
{
    fake_dacm *f = user;
    fake_call *c = rpc_call_context(call);
    ProtobufCMessage *packed = unpack(call, message, &dacm__v1__upload_request__descriptor);
    if (!packed)
        return;
    const Dacm__V1__UploadRequest *request = (const Dacm__V1__UploadRequest *)packed;
    pthread_mutex_lock(&f->lock);
    fake_uploaded *u = &f->uploaded[c->number];
    if (request->part_case == DACM__V1__UPLOAD_REQUEST__PART_START)
        note_upload(u, request->start);
    else {
        c->data = realloc(c->data, c->size + request->data.len + 1);
        memcpy(c->data + c->size, request->data.data, request->data.len);
        c->size += request->data.len;
        u->got = c->size;
    }
    pthread_mutex_unlock(&f->lock);
    rpc_message_release(message);
    if (++c->received == c->reply.messages_first)
        answer_upload(call);
}

static void upload_half_close(rpc_call *call, void *user)
{
    fake_dacm *f = user;
    fake_call *c = rpc_call_context(call);
    pthread_mutex_lock(&f->lock);
    f->uploaded[c->number].half_closed = true;
    trust_sha256(rpc_bytes_of(c->data, c->size), f->uploaded[c->number].got_sha256);
    pthread_mutex_unlock(&f->lock);
    answer_upload(call);
}

/* ---- the relay ---------------------------------------------------------------------------------
 */

/* Sends all of it; false when the other side is gone. */
static bool pass(int from, int to, uint64_t *budget, uint64_t *passed)
{
    uint8_t data[16384];
    ssize_t got = recv(from, data, sizeof data, 0);
    if (got <= 0)
        return false;
    if (budget && *budget && *passed + (uint64_t)got >= *budget)
        got = (ssize_t)(*budget - *passed);
    for (ssize_t at = 0; at < got;) {
        ssize_t put = send(to, data + at, (size_t)(got - at), MSG_NOSIGNAL);
        if (put <= 0)
            return false;
        at += put;
    }
    if (passed)
        *passed += (uint64_t)got;
    return !budget || *budget == 0 || *passed < *budget;
}

typedef struct relayed {
    fake_dacm *f;
    int client, server;
    uint64_t budget;
    pthread_t thread;
} relayed;

static void *relay_one(void *arg)
{
    relayed *r = arg;
    uint64_t passed = 0;
    for (bool open = true; open;) {
        struct pollfd fds[3] = {{.fd = r->client, .events = POLLIN},
            {.fd = r->server, .events = POLLIN}, {.fd = r->f->relay_stop[0], .events = POLLIN}};
        if (poll(fds, 3, -1) < 0 || fds[2].revents)
            break;
        if (fds[0].revents)
            open = pass(r->client, r->server, NULL, NULL);
        if (open && fds[1].revents)
            open = pass(r->server, r->client, &r->budget, &passed);
    }
    close(r->client);
    close(r->server);
    return NULL;
}

static int connect_to(const char *url)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_port = htons((uint16_t)atoi(strrchr(url, ':') + 1)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        abort();
    return fd;
}

static void *relay_all(void *arg)
{
    fake_dacm *f = arg;
    relayed all[FAKE_CALLS_MAX];
    unsigned count = 0;
    for (;;) {
        struct pollfd fds[2] = {
            {.fd = f->relay_fd, .events = POLLIN}, {.fd = f->relay_stop[0], .events = POLLIN}};
        if (poll(fds, 2, -1) < 0 || fds[1].revents)
            break;
        int client = accept(f->relay_fd, NULL, NULL);
        if (client < 0 || count == FAKE_CALLS_MAX)
            abort();
        relayed *r = &all[count++];
        *r = (relayed){
            .f = f, .client = client, .server = connect_to(rpc_listener_url(f->listener))};
        pthread_mutex_lock(&f->lock);
        f->connections++;
        if (f->cuts_left > 0) {
            f->cuts_left--;
            r->budget = f->cut_after;
        }
        pthread_mutex_unlock(&f->lock);
        pthread_create(&r->thread, NULL, relay_one, r);
    }
    for (unsigned i = 0; i < count; i++)
        pthread_join(all[i].thread, NULL);
    return NULL;
}

static void start_relay(fake_dacm *f)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    f->relay_fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(f->relay_fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(f->relay_fd, 16), 0);
    assert_int_equal(getsockname(f->relay_fd, (struct sockaddr *)&address, &size), 0);
    assert_int_equal(pipe(f->relay_stop), 0);
    snprintf(f->target, sizeof f->target, "tcp://127.0.0.1:%u", ntohs(address.sin_port));
    assert_int_equal(pthread_create(&f->relay, NULL, relay_all, f), 0);
}

void fake_cut(fake_dacm *f, uint64_t after, unsigned times)
{
    pthread_mutex_lock(&f->lock);
    f->cut_after = after;
    f->cuts_left = times;
    pthread_mutex_unlock(&f->lock);
}

/* ---- all of it ---------------------------------------------------------------------------------
 */

/* Streaming methods have handlers; no test here calls another. */
static Dacm__V1__DigitalAssets_Service service = {.base = DACM__V1__DIGITAL_ASSETS__BASE_INIT};

static void start_server(fake_dacm *f)
{
    static const rpc_handler downloads = {
        .on_message = download_message, .on_writable = on_writable};
    static const rpc_handler uploads = {.on_start = upload_start,
        .on_message = upload_message,
        .on_half_close = upload_half_close,
        .on_writable = on_writable};
    rpc_runtime_options runtime = {.threads = 2};
    rpc_server_options options = {.limits = rpc_limits_default()};
    rpc_service_options described = {
        .descriptor_set = rpc_bytes_of(proto_descriptors, proto_descriptors_size)};
    rpc_listener_options listen_at = {
        .name = "users", .url = "tcp://127.0.0.1:0", .allow_plain_text = true};
    rpc_status status = {0};
    rpc_code code = rpc_runtime_new(&runtime, &f->runtime, &status);
    if (code == RPC_OK)
        code = rpc_server_new(f->runtime, &options, &f->server, &status);
    if (code == RPC_OK)
        code = rpc_server_add_service(f->server, &service.base, &described, &status);
    if (code == RPC_OK)
        code = rpc_server_set_handler(
            f->server, "/dacm.v1.DigitalAssets/Download", &downloads, f, NULL, &status);
    if (code == RPC_OK)
        code = rpc_server_set_handler(
            f->server, "/dacm.v1.DigitalAssets/Upload", &uploads, f, NULL, &status);
    if (code == RPC_OK)
        code = rpc_server_listen(f->server, &listen_at, &f->listener, &status);
    if (code == RPC_OK)
        code = rpc_server_start(f->server, &status);
    if (code != RPC_OK)
        fail_msg("%s", status.message);
}

static void make_object(fake_object *o, const uint32_t *lengths, uint32_t count)
{
    o->version = 3;
    o->count = count;
    o->lengths = calloc(count + 1, sizeof *o->lengths);
    o->offsets = calloc(count + 1, sizeof *o->offsets);
    o->entries = calloc(count + 1, FAKE_ENTRY_BYTES);
    for (uint32_t i = 0; i < count; i++) {
        o->lengths[i] = lengths[i];
        o->offsets[i + 1] = o->offsets[i] + lengths[i];
    }
    o->size = o->offsets[count];
    o->content = malloc(o->size + 1);
    uint32_t random = 1;
    for (uint64_t i = 0; i < o->size; i++) {
        random = random * 1664525 + 1013904223;
        o->content[i] = (uint8_t)(random >> 24);
    }
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *entry = o->entries + (size_t)i * FAKE_ENTRY_BYTES;
        for (unsigned b = 0; b < 4; b++)
            entry[b] = (uint8_t)(lengths[i] >> (24 - 8 * b));
        trust_sha256(rpc_bytes_of(o->content + o->offsets[i], lengths[i]), entry + 4);
    }
}

static int64_t real_monotonic(void *ctx)
{
    (void)ctx;
    return rpc_clock_monotonic_us(rpc_clock_system());
}

static int64_t fixed_wall(void *ctx)
{
    return ((const fake_dacm *)ctx)->wall_ms;
}

static void write_keys(fake_dacm *f)
{
    rpc_status status;
    assert_int_equal(trust_signer_generate(TRUST_FOR_MANIFESTS, &f->signer, &status), RPC_OK);
    assert_int_equal(trust_signer_generate(TRUST_FOR_MANIFESTS, &f->other_signer, &status), RPC_OK);
    assert_int_equal(trust_signer_generate(TRUST_FOR_TOKENS, &f->token_signer, &status), RPC_OK);
    char *jwks = trust_signer_public_jwks(f->signer);
    FILE *file = fopen(f->keys_file, "w");
    assert_non_null(file);
    assert_true(fputs(jwks, file) >= 0);
    assert_int_equal(fclose(file), 0);
    free(jwks);
}

void fake_start(fake_dacm *f, const uint32_t *lengths, uint32_t count)
{
    *f = (fake_dacm){.wall_ms = 1790000000000};
    f->clock = (rpc_clock){.monotonic_us = real_monotonic, .wall_ms = fixed_wall, .ctx = f};
    pthread_mutex_init(&f->lock, NULL);
    snprintf(f->keys_file, sizeof f->keys_file, "%s/keys.json", test_tmpdir());
    snprintf(f->state_dir, sizeof f->state_dir, "%s/state", test_tmpdir());
    snprintf(f->dir, sizeof f->dir, "%s", test_tmpdir());
    snprintf(f->file, sizeof f->file, "%s/avatar.glb", f->dir);
    write_keys(f);
    make_object(&f->object, lengths, count);
    start_server(f);
    start_relay(f);
}

void fake_stop(fake_dacm *f)
{
    assert_int_equal(write(f->relay_stop[1], "x", 1), 1);
    pthread_join(f->relay, NULL);
    close(f->relay_fd);
    close(f->relay_stop[0]);
    close(f->relay_stop[1]);
    rpc_server_stop(f->server, 0);
    rpc_server_free(f->server);
    rpc_runtime_free(f->runtime);
    trust_signer_free(f->signer);
    trust_signer_free(f->other_signer);
    trust_signer_free(f->token_signer);
    for (unsigned i = 0; i < FAKE_CALLS_MAX; i++)
        free(f->asked[i].have);
    free(f->object.content);
    free(f->object.entries);
    free(f->object.lengths);
    free(f->object.offsets);
    pthread_mutex_destroy(&f->lock);
}

dacm_client_options fake_client_options(fake_dacm *f)
{
    return (dacm_client_options){.target = f->target,
        .allow_plain_text = true,
        .token = "a-token",
        .keys_file = f->keys_file,
        .issuer = FAKE_ISSUER,
        .state_dir = f->state_dir,
        .attempts = 1,
        .clock = &f->clock};
}

dacm_client *fake_client(fake_dacm *f, unsigned attempts)
{
    dacm_client_options options = fake_client_options(f);
    dacm_client *client = NULL;
    dacm_error error;
    options.attempts = attempts;
    if (dacm_client_new(&options, &client, &error) != DACM_OK)
        fail_msg("%s", error.message);
    return client;
}

unsigned fake_calls(fake_dacm *f)
{
    pthread_mutex_lock(&f->lock);
    unsigned calls = f->calls;
    pthread_mutex_unlock(&f->lock);
    return calls;
}
