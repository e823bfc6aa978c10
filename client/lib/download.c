/* SPDX-License-Identifier: Apache-2.0 */
/* Steering: the first stream learns manifest and list; then each idle stream is given the next
 * span of chunks. A stream whose connection breaks is opened again for what its span still
 * misses, at the same version. */
#include "download.h"
#include "cleanup.h"

#include "dacm/v1/digital_asset.pb-c.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#define DOWNLOAD_PATH "/dacm.v1.DigitalAssets/Download"

/** The result takes the place of what is there: found out before anything is downloaded. */
static dacm_code judge_file(const char *file, dacm_error *reterr)
{
    struct stat found;
    if (!file || stat(file, &found) != 0 || S_ISREG(found.st_mode))
        return DACM_OK;
    if (S_ISDIR(found.st_mode))
        return client__fail(
            reterr, DACM_LOCAL_FILE, "'%.300s' is a folder; name a file in it", file);
    return client__fail(reterr, DACM_LOCAL_FILE,
        "'%.300s' is not a regular file, and a download takes the place of what is there; name "
        "another",
        file);
}

static dacm_code judge_options(client_download *download, dacm_error *reterr)
{
    const dacm_download_options *options = download->options;
    const dacm_code code = client__check_subject(
        options->asset_id, options->user, &download->external, reterr);
    if (code != DACM_OK)
        return code;
    if (!options->file == !options->sink)
        return client__fail(reterr, DACM_INVALID_ARGUMENT,
            "a download goes either to a file or to a sink; give exactly one");
    if (options->file && (options->offset > 0 || options->length > 0))
        return client__fail(reterr, DACM_INVALID_ARGUMENT,
            "a file is always downloaded whole; give a sink for a range");
    if (options->sink && options->have_file)
        return client__fail(reterr, DACM_INVALID_ARGUMENT,
            "an earlier copy can be used for a file only, not for a sink");
    if (options->streams > DACM_STREAMS_MAX)
        return client__fail(reterr, DACM_INVALID_ARGUMENT, "%u streams are too many; at most %u",
            options->streams, DACM_STREAMS_MAX);
    return judge_file(options->file, reterr);
}

/** Digests of what need not be sent; *ret borrows from the lists, the array is malloc'd. The
 *  server leaves out every chunk with such a digest, so nothing may be named that came over the
 *  network: the same bytes can stand at a place that is still missing. Behind the first missing
 *  chunk only what an earlier copy gave is held, and that was used for all its places. */
static size_t held_digests(
    const client_download *download, uint32_t first, uint32_t last, ProtobufCBinaryData **ret)
{
    const client_chunks *chunks = download->listed ? &download->chunks : &download->have.chunks;
    const uint8_t *held = download->listed ? download->done : download->have.good;
    ProtobufCBinaryData *digests = NULL;
    size_t count = 0;
    if (!download->listed)
        last = chunks->count;
    if (held && last > first)
        digests = malloc(DOWNLOAD_HAVE_MAX * sizeof *digests);
    for (uint32_t i = first; digests && i < last && count < DOWNLOAD_HAVE_MAX; i++)
        if (held[i])
            digests[count++] = (ProtobufCBinaryData){
                .len = 32, .data = (uint8_t *)(uintptr_t)client__chunk_digest(chunks, i)};
    *ret = digests;
    return count;
}

/** What the stream still needs; everything that was asked for while the list is not known. */
static void set_request_range(
    const client_download *download, const download_stream *stream, Dacm__V1__ByteRange *range)
{
    const dacm_download_options *options = download->options;
    if (download->listed) {
        const uint64_t *offsets = download->chunks.offsets;
        const uint32_t first = download__missing(download, stream->first, stream->last);
        range->offset = offsets[first];
        range->length = offsets[stream->last] - offsets[first];
        return;
    }
    range->offset = options->offset;
    range->length = options->length;
    if (download->stream_count > 1 &&
        (options->length == 0 || options->length > DOWNLOAD_SPAN_BYTES))
        range->length = DOWNLOAD_SPAN_BYTES;
}

static void send_request(
    const client_download *download, const download_stream *stream, client_exchange *exchange)
{
    const dacm_download_options *options = download->options;
    Dacm__V1__DownloadRequest request = DACM__V1__DOWNLOAD_REQUEST__INIT;
    Dacm__V1__ByteRange range = DACM__V1__BYTE_RANGE__INIT;
    Dacm__V1__Have have = DACM__V1__HAVE__INIT;
    RPC_AUTOFREE ProtobufCBinaryData *digests = NULL;
    request.asset_id = (char *)(uintptr_t)options->asset_id;
    request.user_case = download->external ? DACM__V1__DOWNLOAD_REQUEST__USER_EXTERNAL_ID
                                           : DACM__V1__DOWNLOAD_REQUEST__USER_GPSI;
    request.gpsi = (char *)(uintptr_t)options->user;
    request.version = download->accepted ? download->manifest.said.version : options->version;
    if (download->recipe.wanted)
        request.recipe = (Dacm__V1__Recipe *)(uintptr_t)&download->recipe.message;
    set_request_range(download, stream, &range);
    if (range.offset > 0 || range.length > 0)
        request.range = &range;
    if (download->ask_changed && !download->listed)
        request.if_none_match = (ProtobufCBinaryData){
            .len = 32, .data = (uint8_t *)(uintptr_t)download->have.sha256};
    have.n_chunk_sha256 = held_digests(download,
        download->listed ? download__missing(download, stream->first, stream->last) : 0,
        stream->last, &digests);
    have.chunk_sha256 = digests;
    if (have.n_chunk_sha256 > 0)
        request.have = &have;
    /* When it is not taken the call is over, and its end says why. */
    if (rpc_call_send_packed(client__exchange_call(exchange), &request.base) == RPC_SENT_OK)
        rpc_call_half_close(client__exchange_call(exchange));
}

static dacm_code open_stream(client_download *download, size_t index, dacm_error *reterr)
{
    download_stream *stream = &download->streams[index];
    const dacm_token_request need = {
        .user = download->options->user, .asset_id = download->options->asset_id, .action = "get"};
    stream->started = stream->listed = false;
    stream->next = stream->first;
    stream->list_size = stream->list_expected = 0;
    const dacm_code code = client__exchange_open(download->client, &download->mailbox,
        DOWNLOAD_PATH, &need, 0, &download->exchanges[index], reterr);
    if (code == DACM_OK)
        send_request(download, stream, download->exchanges[index]);
    return code;
}

/** The next span for an idle stream; false when all was given out. */
static bool take_span(client_download *download, download_stream *stream)
{
    const uint64_t *offsets = download->chunks.offsets;
    const uint32_t first = download__missing(download, download->cursor, download->last);
    download->cursor = first;
    if (first == download->last)
        return false;
    uint32_t last = first + 1;
    while (last < download->last && offsets[last + 1] - offsets[first] <= DOWNLOAD_SPAN_BYTES)
        last++;
    stream->first = first;
    stream->last = download->cursor = last;
    return true;
}

static dacm_code feed(client_download *download, dacm_error *reterr)
{
    for (size_t i = 0; download->listed && i < download->stream_count; i++) {
        if (download->exchanges[i] || !take_span(download, &download->streams[i]))
            continue;
        const dacm_code code = open_stream(download, i, reterr);
        if (code != DACM_OK)
            return code;
    }
    return DACM_OK;
}

static dacm_code on_stream_end(
    client_download *download, size_t index, const dacm_error *end, dacm_error *reterr)
{
    download_stream *stream = &download->streams[index];
    client__exchange_close(download->exchanges[index]);
    download->exchanges[index] = NULL;
    if (download->listed &&
        download__missing(download, stream->first, stream->last) == stream->last)
        return DACM_OK;
    if (end->code == DACM_OK && download->accepted && !download->listed && download->have.whole &&
        !download->ask_changed && !download->asked_again) {
        download->asked_again = true; /* for the list this time */
        return open_stream(download, index, reterr);
    }
    if (end->code == DACM_OK)
        return client__fail(reterr, DACM_DATA_LOSS,
            "the server ended the download before all chunks had come; try again");
    if (end->code != DACM_UNAVAILABLE || download->failures + 1 >= download->client->attempts) {
        if (reterr)
            *reterr = *end;
        return end->code;
    }
    client__back_off(download->failures++);
    download->result.resumed++;
    return open_stream(download, index, reterr);
}

/* Until its variant is made, which may have to wait for others, a server has nothing to say. */
static uint32_t stall_ms(const client_download *download)
{
    return download->recipe.wanted && !download->accepted ? CLIENT_ADAPT_MS : CLIENT_STALL_MS;
}

static dacm_code on_stall(client_download *download, dacm_error *reterr)
{
    dacm_error end;
    client__fail(&end, DACM_UNAVAILABLE, "the server said nothing for %u s; try again",
        stall_ms(download) / 1000);
    for (size_t i = 0; i < download->stream_count; i++) {
        if (!download->exchanges[i])
            continue;
        const dacm_code code = on_stream_end(download, i, &end, reterr);
        if (code != DACM_OK)
            return code;
    }
    return DACM_OK;
}

static dacm_code step(client_download *download, dacm_error *reterr)
{
    size_t index = 0;
    rpc_message *message = NULL;
    dacm_error end;
    dacm_code code = DACM_OK;
    switch (client__wait(&download->mailbox, download->exchanges, download->stream_count,
        stall_ms(download), &index, &message, &end)) {
    case CLIENT_EVENT_MESSAGE:
        code = download__message(
            download, &download->streams[index], rpc_message_bytes(message), reterr);
        rpc_message_release(message);
        return code;
    case CLIENT_EVENT_END:
        return on_stream_end(download, index, &end, reterr);
    case CLIENT_EVENT_WRITABLE:
        return DACM_OK;
    case CLIENT_EVENT_NONE:
        break;
    }
    return on_stall(download, reterr);
}

static bool any_open(const client_download *download)
{
    for (size_t i = 0; i < download->stream_count; i++)
        if (download->exchanges[i])
            return true;
    return false;
}

static dacm_code run(client_download *download, dacm_error *reterr)
{
    dacm_code code = open_stream(download, 0, reterr);
    while (code == DACM_OK && any_open(download)) {
        code = step(download, reterr);
        if (code == DACM_OK)
            code = feed(download, reterr);
    }
    return code;
}

/** Manifest and list are written in full before the first of the three files gets its name. */
static dacm_code write_beside(
    const char *file, const char *suffix, rpc_bytes content, client_output *ret, dacm_error *reterr)
{
    RPC_AUTOFREE char *path = client__path(file, suffix);
    if (!path)
        return client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for a file name");
    const dacm_code code = client__output_open(ret, path, 0, reterr);
    return code == DACM_OK ? client__output_write(ret, 0, content, reterr) : code;
}

static dacm_code commit(client_download *download, dacm_error *reterr)
{
    const char *file = download->options->file;
    RPC_CLEANUP(client__output_done) client_output jws = {.fd = -1};
    RPC_CLEANUP(client__output_done) client_output list = {.fd = -1};
    RPC_AUTOFREE char *line = client__path(download->manifest.jws, "\n");
    if (!line)
        return client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for a manifest");
    dacm_code code = write_beside(file, ".jws", rpc_bytes_str(line), &jws, reterr);
    if (code == DACM_OK)
        code = write_beside(file, ".chunks",
            rpc_bytes_of(
                download->chunks.entries, (size_t)download->chunks.count * CLIENT_ENTRY_BYTES),
            &list, reterr);
    if (code == DACM_OK)
        code = client__output_commit(&download->output, reterr);
    if (code == DACM_OK)
        code = client__output_commit(&jws, reterr);
    return code == DACM_OK ? client__output_commit(&list, reterr) : code;
}

static void download_done(client_download *download)
{
    for (size_t i = 0; i < download->stream_count; i++) {
        client__exchange_close(download->exchanges[i]);
        free(download->streams[i].list);
    }
    client__mailbox_done(&download->mailbox);
    client__output_done(&download->output);
    client__have_done(&download->have);
    client__partial_done(&download->partial);
    client__chunks_done(&download->chunks);
    client__manifest_done(&download->manifest);
    client__recipe_done(&download->recipe);
    free(download->done);
}

/** What an interrupted download of this file has verified comes before an earlier copy: whatever
 *  was right in that one was put into it first. */
static dacm_code open_partial(client_download *download, dacm_error *reterr)
{
    const dacm_download_options *options = download->options;
    if (!options->file || !options->resumable)
        return DACM_OK;
    dacm_code code = client__partial_open(&download->partial, options->file, reterr);
    if (code != DACM_OK || download->partial.fd < 0 || access(download->partial.list, R_OK) != 0)
        return code;
    code = client__have_open(&download->have, download->partial.path, reterr);
    download->have_is_partial = code == DACM_OK && download->have.good_count > 0;
    if (!download->have_is_partial)
        client__have_done(&download->have);
    return code;
}

static dacm_code prepare(client_download *download, dacm_error *reterr)
{
    dacm_code code = judge_options(download, reterr);
    if (code == DACM_OK)
        code = client__recipe_read(download->options->recipe, &download->recipe, reterr);
    if (code == DACM_OK)
        code = open_partial(download, reterr);
    if (code == DACM_OK && download->options->have_file && !download->have_is_partial)
        code = client__have_open(&download->have, download->options->have_file, reterr);
    download->ask_changed = code == DACM_OK && download->have.whole;
    return code;
}

/** After these another try may go on, FAILED_PRECONDITION once what is in the way is mended: a key
 *  set that expired. After any other nothing is left behind. */
static bool is_interruption(dacm_code code)
{
    return code == DACM_CANCELLED || code == DACM_UNAVAILABLE || code == DACM_DEADLINE_EXCEEDED ||
           code == DACM_UNAUTHENTICATED || code == DACM_FAILED_PRECONDITION;
}

static void settle_partial(client_download *download, dacm_code code)
{
    if (download->partial.fd >= 0 && is_interruption(code) &&
        (download->listed || download->have_is_partial))
        client__output_leave(&download->output);
    else
        client__partial_remove(&download->partial);
}

dacm_code dacm_download(dacm_client *client, const dacm_download_options *options,
    dacm_download_result *ret, dacm_error *reterr)
{
    client_download download = {
        .client = client,
        .options = options,
        .stream_count = options->streams > 0 ? options->streams : 1,
        .output = {.fd = -1},
        .have = {.fd = -1},
        .partial = {.fd = -1},
    };
    client__mailbox_init(&download.mailbox);
    dacm_code code = prepare(&download, reterr);
    if (code != DACM_OK)
        download.stream_count = 0; /* may be beyond the array, and none was opened */
    if (code == DACM_OK)
        code = run(&download, reterr);
    if (code == DACM_OK)
        code = download__judge_keys(&download, false, reterr);
    if (code == DACM_OK && options->file)
        code = commit(&download, reterr);
    if (code == DACM_OK) {
        download.result.manifest = download.manifest.said;
        download.result.signature_valid = download.manifest.signature_valid;
        download.result.not_modified = download.copy_is_current;
        *ret = download.result;
    }
    settle_partial(&download, code);
    download_done(&download);
    return code;
}
