/* SPDX-License-Identifier: Apache-2.0 */
/* The content is read twice: once for its digest, which goes first, and once to be sent. A file
 * that changes in between is refused by the server, since the digest no longer holds. */
#include "acl.h"
#include "client_internal.h"
#include "cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>

#define UPLOAD_PATH "/dacm.v1.DigitalAssets/Upload"
#define PIECE_BYTES (256u << 10)

typedef struct client_upload {
    dacm_client *client;
    const dacm_upload_options *options;
    bool external;
    int fd; /* -1: from memory */
    uint64_t size;
    uint8_t sha256[32];
    char upload_id[33];
    client_acl acl;
} client_upload;

/** A piece of the content. */
static dacm_code read_piece(
    const client_upload *upload, uint64_t offset, uint8_t *data, size_t size, dacm_error *reterr)
{
    if (upload->fd < 0) {
        memcpy(data, upload->options->content.data + offset, size);
        return DACM_OK;
    }
    for (size_t at = 0; at < size;) {
        const ssize_t got = pread(upload->fd, data + at, size - at, (off_t)(offset + at));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return client__fail_file(reterr, "cannot read", upload->options->file);
        if (got == 0)
            return client__fail(reterr, DACM_LOCAL_FILE,
                "'%.300s' became shorter while it was read", upload->options->file);
        at += (size_t)got;
    }
    return DACM_OK;
}

typedef EVP_MD_CTX *md;
RPC_DEFINE_FREEP(md_freep, md, EVP_MD_CTX_free)

static size_t piece_size(const client_upload *upload, uint64_t offset)
{
    const uint64_t rest = upload->size - offset;
    return rest < PIECE_BYTES ? (size_t)rest : PIECE_BYTES;
}

static dacm_code hash_content(client_upload *upload, dacm_error *reterr)
{
    RPC_AUTOFREE uint8_t *data = malloc(PIECE_BYTES);
    RPC_CLEANUP(md_freep) md digest = EVP_MD_CTX_new();
    if (!data || !digest || EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1)
        return client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for an upload");
    for (uint64_t at = 0; at < upload->size;) {
        const size_t size = piece_size(upload, at);
        const dacm_code code = read_piece(upload, at, data, size, reterr);
        if (code != DACM_OK)
            return code;
        EVP_DigestUpdate(digest, data, size);
        at += size;
    }
    EVP_DigestFinal_ex(digest, upload->sha256, NULL);
    return DACM_OK;
}

static dacm_code open_content(client_upload *upload, dacm_error *reterr)
{
    const dacm_upload_options *options = upload->options;
    if (!options->file) {
        upload->size = options->content.size;
        return DACM_OK;
    }
    struct stat found;
    upload->fd = open(
        options->file, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hang us */
    if (upload->fd < 0 || fstat(upload->fd, &found) != 0)
        return client__fail_file(reterr, "cannot open", options->file);
    if (!S_ISREG(found.st_mode))
        return client__fail(
            reterr, DACM_LOCAL_FILE, "'%.300s' is not a regular file", options->file);
    upload->size = (uint64_t)found.st_size;
    return DACM_OK;
}

static dacm_code judge_options(client_upload *upload, dacm_error *reterr)
{
    const dacm_upload_options *options = upload->options;
    dacm_code code = client__check_user(options->user, &upload->external, reterr);
    if (code == DACM_OK && options->asset_id)
        code = client__check_asset(options->asset_id, reterr);
    if (code != DACM_OK)
        return code;
    if (!options->file == !options->content.data)
        return client__fail(reterr, DACM_INVALID_ARGUMENT,
            "an upload comes either from a file or from memory; give exactly one");
    if (options->asset_id && options->allow_count > 0)
        return client__fail(reterr, DACM_INVALID_ARGUMENT,
            "a new version keeps the list of users; change it with an update of the profile");
    if (!options->media_type || !options->media_type[0])
        return client__fail(
            reterr, DACM_INVALID_ARGUMENT, "no media type was given, such as model/gltf-binary");
    return DACM_OK;
}

static void choose_id(client_upload *upload)
{
    uint8_t random[16];
    if (upload->options->upload_id)
        return;
    rpc_random(random, sizeof random);
    rpc_hex(rpc_bytes_of(random, sizeof random), upload->upload_id);
}

static rpc_sent send_start(const client_upload *upload, client_exchange *exchange)
{
    const dacm_upload_options *options = upload->options;
    Dacm__V1__UploadRequest request = DACM__V1__UPLOAD_REQUEST__INIT;
    Dacm__V1__UploadStart start = DACM__V1__UPLOAD_START__INIT;
    Dacm__V1__DigitalAssetProfile profile = DACM__V1__DIGITAL_ASSET_PROFILE__INIT;
    Dacm__V1__AssetVersion version = DACM__V1__ASSET_VERSION__INIT;
    char *owner = (char *)(uintptr_t)options->user;
    if (options->asset_id) {
        version.asset_id = (char *)(uintptr_t)options->asset_id;
        version.if_match = options->if_match;
        start.target_case = DACM__V1__UPLOAD_START__TARGET_ASSET;
        start.asset = &version;
    } else {
        profile.asset_type = DACM__V1__ASSET_TYPE__ASSET_TYPE_AVATAR;
        profile.n_access_control_list = upload->acl.count;
        profile.access_control_list = upload->acl.pointers;
        start.target_case = DACM__V1__UPLOAD_START__TARGET_PROFILE;
        start.profile = &profile;
    }
    start.upload_id = (char *)(uintptr_t)(options->upload_id ? options->upload_id
                                                             : upload->upload_id);
    start.size = upload->size;
    start.sha256 = (ProtobufCBinaryData){.len = 32, .data = (uint8_t *)(uintptr_t)upload->sha256};
    start.media_type = (char *)(uintptr_t)options->media_type;
    start.user_case = upload->external ? DACM__V1__UPLOAD_START__USER_EXTERNAL_ID
                                       : DACM__V1__UPLOAD_START__USER_GPSI;
    start.gpsi = owner;
    request.part_case = DACM__V1__UPLOAD_REQUEST__PART_START;
    request.start = &start;
    return rpc_call_send_packed(client__exchange_call(exchange), &request.base);
}

/* A piece on its way; the strand frees it. */
static rpc_pull pull_piece(void *ctx, size_t offset, size_t max, rpc_bytes *ret)
{
    *ret = rpc_bytes_of((const uint8_t *)ctx + offset, max);
    return RPC_PULL_READY;
}

static void release_piece(void *ctx, bool sent)
{
    (void)sent;
    free(ctx);
}

/** Field 2 (`data`) of an UploadRequest; takes data with RPC_SENT_OK. */
static rpc_sent send_piece(client_exchange *exchange, uint8_t *data, size_t size)
{
    uint8_t head[8] = {2 << 3 | 2};
    size_t head_size = 1;
    for (size_t rest = size; head_size == 1 || rest > 0; rest >>= 7)
        head[head_size++] = (uint8_t)((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
    const rpc_body body = {.size = size, .pull = pull_piece, .release = release_piece, .ctx = data};
    return rpc_call_send(client__exchange_call(exchange), rpc_bytes_of(head, head_size), &body);
}

typedef struct upload_outcome {
    rpc_message *reply;
    bool over;
    dacm_error end;
} upload_outcome;

/** Waits until a message can be sent or the call is over. */
static dacm_code wait_event(
    client_mailbox *mailbox, client_exchange *exchange, upload_outcome *outcome, dacm_error *reterr)
{
    size_t index = 0;
    rpc_message *message = NULL;
    switch (client__wait(mailbox, &exchange, 1, CLIENT_STALL_MS, &index, &message, &outcome->end)) {
    case CLIENT_EVENT_MESSAGE:
        rpc_message_release(outcome->reply);
        outcome->reply = message;
        return DACM_OK;
    case CLIENT_EVENT_END:
        outcome->over = true;
        return DACM_OK;
    case CLIENT_EVENT_WRITABLE:
        return DACM_OK;
    case CLIENT_EVENT_NONE:
        break;
    }
    return client__fail(reterr, DACM_UNAVAILABLE, "the server took nothing for %d s; try again",
        CLIENT_STALL_MS / 1000);
}

static dacm_code report(const client_upload *upload, uint64_t done, dacm_error *reterr)
{
    const dacm_progress progress = {.done = done, .total = upload->size};
    const dacm_upload_options *options = upload->options;
    if (options->progress && !options->progress(options->progress_ctx, &progress))
        return client__fail(reterr, DACM_CANCELLED, "the upload was cancelled");
    return DACM_OK;
}

static dacm_code send_content(const client_upload *upload, client_mailbox *mailbox,
    client_exchange *exchange, upload_outcome *outcome, dacm_error *reterr)
{
    dacm_code code = DACM_OK;
    for (uint64_t at = 0; at < upload->size && !outcome->over && code == DACM_OK;) {
        const size_t size = piece_size(upload, at);
        RPC_AUTOFREE uint8_t *data = malloc(size);
        if (!data)
            return client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for an upload");
        code = read_piece(upload, at, data, size, reterr);
        while (code == DACM_OK && !outcome->over) {
            const rpc_sent sent = send_piece(exchange, data, size);
            if (sent == RPC_SENT_OK) {
                data = NULL; /* the strand frees it */
                at += size;
                code = report(upload, at, reterr);
                break;
            }
            code = wait_event(mailbox, exchange, outcome, reterr);
        }
    }
    return code;
}

/** The UploadResponse, or how the call ended. */
static dacm_code finish(upload_outcome *outcome, dacm_upload_result *ret, dacm_error *reterr)
{
    if (outcome->end.code != DACM_OK) {
        if (reterr)
            *reterr = outcome->end;
        return outcome->end.code;
    }
    if (!outcome->reply)
        return client__fail(reterr, DACM_INTERNAL, "the server gave no answer to an upload");
    ProtobufCMessage *reply = NULL;
    rpc_status status = {.code = RPC_OK};
    if (rpc_message_unpack(
            outcome->reply, &dacm__v1__upload_response__descriptor, &reply, &status) != RPC_OK)
        return client__fail(
            reterr, DACM_INTERNAL, "the server's answer is malformed: %s", status.message);
    const Dacm__V1__UploadResponse *answer = (const Dacm__V1__UploadResponse *)reply;
    if (client__check_asset(answer->asset_id, NULL) != DACM_OK)
        return client__fail(reterr, DACM_INTERNAL, "the server's answer names no asset");
    snprintf(ret->asset_id, sizeof ret->asset_id, "%s", answer->asset_id);
    ret->version = answer->version;
    return DACM_OK;
}

static dacm_code talk(const client_upload *upload, client_mailbox *mailbox,
    client_exchange *exchange, upload_outcome *outcome, dacm_upload_result *ret, dacm_error *reterr)
{
    dacm_code code = DACM_OK;
    if (send_start(upload, exchange) == RPC_SENT_OK)
        code = send_content(upload, mailbox, exchange, outcome, reterr);
    if (code == DACM_OK && !outcome->over)
        rpc_call_half_close(client__exchange_call(exchange));
    while (code == DACM_OK && !outcome->over)
        code = wait_event(mailbox, exchange, outcome, reterr);
    return code == DACM_OK ? finish(outcome, ret, reterr) : code;
}

static dacm_code upload_once(
    const client_upload *upload, dacm_upload_result *ret, dacm_error *reterr)
{
    const dacm_token_request need = {.user = upload->options->user,
        .asset_id = upload->options->asset_id,
        .action = upload->options->asset_id ? "update" : "create"};
    client_mailbox mailbox;
    client_exchange *exchange = NULL;
    upload_outcome outcome = {.end = {.code = DACM_OK}};
    client__mailbox_init(&mailbox);
    dacm_code code = client__exchange_open(
        upload->client, &mailbox, UPLOAD_PATH, &need, 0, &exchange, reterr);
    if (code == DACM_OK)
        code = talk(upload, &mailbox, exchange, &outcome, ret, reterr);
    rpc_message_release(outcome.reply);
    client__exchange_close(exchange);
    client__mailbox_done(&mailbox);
    return code;
}

static dacm_code upload_with_attempts(
    client_upload *upload, dacm_upload_result *ret, dacm_error *reterr)
{
    for (unsigned attempt = 1;; attempt++) {
        const dacm_code code = upload_once(upload, ret, reterr);
        if (code != DACM_UNAVAILABLE || attempt >= upload->client->attempts)
            return code;
        client__back_off(attempt - 1);
    }
}

dacm_code dacm_upload(dacm_client *client, const dacm_upload_options *options,
    dacm_upload_result *ret, dacm_error *reterr)
{
    client_upload upload = {.client = client, .options = options, .fd = -1};
    dacm_code code = judge_options(&upload, reterr);
    if (code == DACM_OK)
        code = client__acl_init(&upload.acl, options->allow, options->allow_count, reterr);
    if (code == DACM_OK)
        code = open_content(&upload, reterr);
    if (code == DACM_OK)
        code = hash_content(&upload, reterr);
    if (code == DACM_OK) {
        choose_id(&upload);
        code = upload_with_attempts(&upload, ret, reterr);
    }
    if (upload.fd >= 0)
        close(upload.fd);
    client__acl_done(&upload.acl);
    return code;
}
