/* SPDX-License-Identifier: Apache-2.0 */
/* The order of trust: the manifest's signature, then the list by the manifest's digest, then each
 * chunk by the list's. Nothing of a later step is looked at before the earlier one has held. */
#include "cleanup.h"
#include "download.h"
#include "keyserver.h"

#include "dacm/v1/digital_asset.pb-c.h"

#include <inttypes.h>
#include <string.h>

RPC_DEFINE_FREEP(keys_freep, client_keys *, client__keys_free)

#define START_MEMORY_BYTES (256u << 10)
#define FIRST_KEYS_MS      10000
#define FIRST_NEWS_MS      2000

uint32_t download__missing(const client_download *download, uint32_t first, uint32_t last)
{
    while (first < last && download->done[first])
        first++;
    return first;
}

static dacm_code report(client_download *download, dacm_error *reterr)
{
    const dacm_download_options *options = download->options;
    if (options->progress && !options->progress(options->progress_ctx, &download->progress))
        return client__fail(reterr, DACM_CANCELLED, "the download was cancelled");
    return DACM_OK;
}

/** data has been judged against the chunk's digest. */
static dacm_code deliver(
    client_download *download, uint32_t index, rpc_bytes data, dacm_error *reterr)
{
    if (index < download->first || index >= download->last || download->done[index])
        return DACM_OK;
    const dacm_download_options *options = download->options;
    const uint64_t offset = download->chunks.offsets[index];
    if (options->sink) {
        if (!options->sink(options->sink_ctx, offset, data))
            return client__fail(reterr, DACM_CANCELLED, "the download was cancelled");
    } else {
        const dacm_code code = client__output_write(&download->output, offset, data, reterr);
        if (code != DACM_OK)
            return code;
    }
    download->done[index] = 1;
    download->progress.done += data.size;
    return report(download, reterr);
}

static dacm_code use_earlier_copy(client_download *download, dacm_error *reterr)
{
    if (download->have.good_count == 0)
        return DACM_OK;
    RPC_AUTOFREE uint8_t *data = malloc(CLIENT_CHUNK_BYTES_MAX);
    if (!data)
        return client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory to read an earlier copy");
    for (uint32_t i = download->first; i < download->last; i++) {
        const uint32_t length = client__chunk_length(&download->chunks, i);
        if (download->done[i])
            continue;
        if (!client__have_read(
                &download->have, client__chunk_digest(&download->chunks, i), length, data))
            continue;
        const dacm_code code = deliver(download, i, rpc_bytes_of(data, length), reterr);
        if (code != DACM_OK)
            return code;
        download->result.reused_bytes += length;
    }
    return DACM_OK;
}

/** Which chunks the caller wants, and how many of them the first stream was asked for. */
static dacm_code set_range(client_download *download, download_stream *stream, dacm_error *reterr)
{
    const dacm_download_options *options = download->options;
    const client_chunks *chunks = &download->chunks;
    const uint64_t size = chunks->offsets[chunks->count];
    if (options->offset > size)
        return client__fail(reterr, DACM_OUT_OF_RANGE,
            "offset %" PRIu64 " lies beyond the object's %" PRIu64 " bytes", options->offset, size);
    uint64_t end = size;
    if (options->length > 0 && options->length < size - options->offset)
        end = options->offset + options->length;
    download->first = client__chunk_at(chunks, options->offset);
    download->last = end == size ? chunks->count : client__chunk_at(chunks, end - 1) + 1;
    download->progress.total = chunks->offsets[download->last] - chunks->offsets[download->first];
    stream->first = stream->next = download->first;
    stream->last = download->last;
    if (download->stream_count > 1 && end - options->offset > DOWNLOAD_SPAN_BYTES)
        stream->last = client__chunk_at(chunks, options->offset + DOWNLOAD_SPAN_BYTES - 1) + 1;
    download->cursor = stream->last;
    return DACM_OK;
}

/** The partial file is of this very list: what is good in it is in its place already. */
static dacm_code go_on(client_download *download, dacm_error *reterr)
{
    for (uint32_t i = download->first; i < download->last; i++) {
        if (!download->have.good[i])
            continue;
        download->done[i] = 1;
        download->progress.done += client__chunk_length(&download->chunks, i);
    }
    download->result.reused_bytes = download->progress.done;
    return report(download, reterr);
}

static dacm_code open_output(client_download *download, rpc_bytes entries, dacm_error *reterr)
{
    const char *file = download->options->file;
    const uint64_t size = download->manifest.said.size;
    if (download->partial.fd < 0)
        return client__output_open(&download->output, file, size, reterr);
    const client_chunks *held = &download->have.chunks;
    const bool same = download->have_is_partial && held->count == download->chunks.count &&
                      rpc_bytes_equal(entries, rpc_bytes_of(held->entries, entries.size));
    dacm_code code = DACM_OK;
    if (!same)
        code = client__partial_restart(&download->partial, entries, reterr);
    if (code == DACM_OK)
        code = client__partial_output(&download->partial, file, size, &download->output, reterr);
    return code == DACM_OK && same ? go_on(download, reterr) : code;
}

static dacm_code first_list(
    client_download *download, download_stream *stream, rpc_bytes entries, dacm_error *reterr)
{
    const uint64_t size = download->manifest.said.size;
    dacm_code code = client__chunks_init(
        &download->chunks, entries, download->manifest.chunks, size, reterr);
    if (code != DACM_OK)
        return code;
    download->done = calloc((size_t)download->chunks.count + 1, 1);
    if (!download->done)
        return client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for a list of chunks");
    code = set_range(download, stream, reterr);
    if (code == DACM_OK && download->options->file)
        code = open_output(download, entries, reterr);
    if (code != DACM_OK)
        return code;
    download->listed = true;
    return use_earlier_copy(download, reterr);
}

static dacm_code judge_list(client_download *download, download_stream *stream, dacm_error *reterr)
{
    const rpc_bytes entries = rpc_bytes_of(stream->list, stream->list_size);
    stream->listed = true;
    if (!download->listed)
        return first_list(download, stream, entries, reterr);
    const rpc_bytes known = rpc_bytes_of(
        download->chunks.entries, (size_t)download->chunks.count * CLIENT_ENTRY_BYTES);
    if (!rpc_bytes_equal(entries, known))
        return client__fail(reterr, DACM_BAD_SIGNATURE,
            "the list of chunks changed while the same version was downloaded");
    return DACM_OK;
}

static dacm_code on_list(
    client_download *download, download_stream *stream, rpc_bytes entries, dacm_error *reterr)
{
    if (!stream->started || stream->listed ||
        entries.size > stream->list_expected - stream->list_size)
        return client__fail(reterr, DACM_BAD_SIGNATURE,
            "the server sent a list of chunks that is longer than it said, or out of turn");
    memcpy(stream->list + stream->list_size, entries.data, entries.size);
    stream->list_size += entries.size;
    if (stream->list_size < stream->list_expected)
        return DACM_OK;
    return judge_list(download, stream, reterr);
}

/** Is it what was asked for? */
static dacm_code judge_manifest(
    const client_download *download, const client_manifest *manifest, dacm_error *reterr)
{
    const dacm_download_options *options = download->options;
    const uint64_t version = download->accepted ? download->manifest.said.version
                                                : options->version;
    if (strcmp(manifest->said.asset_id, options->asset_id) != 0)
        return client__fail(reterr, DACM_BAD_SIGNATURE,
            "the manifest is of asset '%s', asked for was '%s'", manifest->said.asset_id,
            options->asset_id);
    if (strcmp(manifest->said.recipe, download->recipe.text) != 0)
        return client__fail(reterr, DACM_BAD_SIGNATURE,
            "the manifest is of recipe '%.200s', asked for was '%.200s'; nothing: the original",
            manifest->said.recipe, download->recipe.text);
    if (version != 0 && manifest->said.version != version)
        return client__fail(reterr, DACM_BAD_SIGNATURE,
            "the manifest is of version %" PRIu64 ", asked for was %" PRIu64,
            manifest->said.version, version);
    if (download->accepted &&
        (manifest->said.size != download->manifest.said.size ||
            memcmp(manifest->said.sha256, download->manifest.said.sha256, 32) != 0 ||
            memcmp(manifest->chunks, download->manifest.chunks, 32) != 0))
        return client__fail(reterr, DACM_BAD_SIGNATURE,
            "the server signed two different objects as version %" PRIu64 " of '%s'",
            manifest->said.version, options->asset_id);
    return DACM_OK;
}

/* By the keys that are here now. */
static dacm_code verify_manifest(
    dacm_client *client, const char *jws, client_manifest *ret, dacm_error *reterr)
{
    RPC_CLEANUP(keys_freep) client_keys *trusted = NULL;
    dacm_code code = DACM_OK;
    bool expired;
    if (client->trust_dir) {
        const dacm_trust trust = {.folder = client->trust_dir, .clock = client->clock};
        code = client__keys_trusted(&trust, client->issuer, false, &trusted, &expired, reterr);
    }
    if (code != DACM_OK && !(code == DACM_NO_KEY && client->verify == DACM_VERIFY_IF_KEY))
        return code;
    return client__manifest_read(trusted ? trusted : client->keys, client->issuer, client->verify,
        rpc_bytes_str(jws), rpc_clock_wall_ms(client->clock) / 1000, ret, reterr);
}

/* Would newer keys say something else? A key that is known but whose time has not come by the set
 * that is here is one that took over early. */
static bool is_in_doubt(dacm_code code, const client_manifest *manifest)
{
    return code == DACM_NO_KEY || code == DACM_FAILED_PRECONDITION || code == DACM_BAD_SIGNATURE ||
           (code == DACM_OK && !manifest->signature_valid);
}

static dacm_code verify_again(
    dacm_client *client, const char *jws, client_manifest *ret, dacm_error *reterr)
{
    client__manifest_done(ret);
    return verify_manifest(client, jws, ret, reterr);
}

/* What is here is used at once, but for the first time: a client that has just begun waits a moment
 * for what is new, and longer where it has nothing. */
static dacm_code verify_by_newest(dacm_client *client, const char *jws, client_manifest *ret,
    uint64_t *ret_seen, dacm_error *reterr)
{
    client_watch *watch = client->watch;
    if (!watch || !client__watch_start(watch, NULL))
        return verify_manifest(client, jws, ret, reterr);
    uint64_t seen = client__watch_answers(watch);
    dacm_code code = verify_manifest(client, jws, ret, reterr);
    client__watch_first(watch, is_in_doubt(code, ret) ? FIRST_KEYS_MS : FIRST_NEWS_MS);
    if (client__watch_answers(watch) != seen) {
        seen = client__watch_answers(watch);
        code = verify_again(client, jws, ret, reterr);
    }
    if (is_in_doubt(code, ret) && client__watch_refresh(watch, seen)) {
        seen = client__watch_answers(watch);
        code = verify_again(client, jws, ret, reterr);
    }
    *ret_seen = seen;
    return code;
}

dacm_code download__judge_keys(client_download *download, bool only_changed, dacm_error *reterr)
{
    dacm_client *client = download->client;
    const uint64_t now = client->watch ? client__watch_answers(client->watch) : 0;
    if (!client->trust_dir || !download->manifest.signature_valid ||
        (only_changed && now == download->keys_seen))
        return DACM_OK;
    client_manifest again = {.jws = NULL};
    const dacm_code code = verify_manifest(client, download->manifest.jws, &again, reterr);
    client__manifest_done(&again);
    download->keys_seen = now;
    return code;
}

static dacm_code accept_manifest(client_download *download, const char *jws, dacm_error *reterr)
{
    dacm_client *client = download->client;
    if (download->accepted && strcmp(download->manifest.jws, jws) == 0)
        return DACM_OK;
    client_manifest manifest = {.jws = NULL};
    uint64_t seen = 0;
    dacm_code code = verify_by_newest(client, jws, &manifest, &seen, reterr);
    if (code != DACM_OK)
        return code;
    code = judge_manifest(download, &manifest, reterr);
    if (code == DACM_OK && manifest.expired)
        code = client__fail(reterr, DACM_BAD_SIGNATURE,
            "the manifest has expired; check this machine's clock, then tell the operator");
    if (code == DACM_OK && !download->accepted && manifest.signature_valid &&
        download->options->version == 0)
        code = client__state_advance(
            client, manifest.said.issuer, manifest.said.asset_id, manifest.said.version, reterr);
    if (code != DACM_OK) {
        client__manifest_done(&manifest);
        return code;
    }
    client__manifest_done(&download->manifest);
    download->manifest = manifest;
    download->keys_seen = seen;
    download->accepted = true;
    return DACM_OK;
}

/** "You hold it already": only true when the copy has the digest that was signed. */
static dacm_code on_not_modified(
    client_download *download, download_stream *stream, dacm_error *reterr)
{
    if (!download->ask_changed || download->listed ||
        memcmp(download->manifest.said.sha256, download->have.sha256, 32) != 0)
        return client__fail(reterr, DACM_BAD_SIGNATURE,
            "the server says that the earlier copy is current, but the manifest signs another");
    const client_chunks *held = &download->have.chunks;
    uint8_t digest[32];
    client__sha256(rpc_bytes_of(held->entries, (size_t)held->count * CLIENT_ENTRY_BYTES), digest);
    if (memcmp(digest, download->manifest.chunks, sizeof digest) != 0) {
        download->ask_changed = false; /* the same bytes, cut elsewhere: ask for the list */
        return DACM_OK;
    }
    stream->listed = true;
    download->copy_is_current = true;
    return first_list(download, stream,
        rpc_bytes_of(held->entries, (size_t)held->count * CLIENT_ENTRY_BYTES), reterr);
}

static dacm_code judge_start(client_download *download, download_stream *stream,
    const Dacm__V1__DownloadStart *start, dacm_error *reterr)
{
    const dacm_code code = accept_manifest(download, start->manifest, reterr);
    if (code != DACM_OK)
        return code;
    if (start->not_modified)
        return on_not_modified(download, stream, reterr);
    if (start->chunk_count > DACM_CHUNKS_MAX)
        return client__fail(reterr, DACM_RESOURCE_EXHAUSTED,
            "the object has %u chunks; this client takes %u", start->chunk_count, DACM_CHUNKS_MAX);
    stream->list_expected = (size_t)start->chunk_count * CLIENT_ENTRY_BYTES;
    free(stream->list);
    stream->list = malloc(stream->list_expected + 1);
    if (!stream->list)
        return client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for a list of chunks");
    /* An empty object has an empty list, which is not sent. */
    return stream->list_expected == 0 ? judge_list(download, stream, reterr) : DACM_OK;
}

RPC_DEFINE_FREEP(arena_freep, rpc_arena *, rpc_arena_free)

static dacm_code on_start(
    client_download *download, download_stream *stream, rpc_bytes packed, dacm_error *reterr)
{
    if (stream->started)
        return client__fail(reterr, DACM_INTERNAL, "the server started the same download twice");
    stream->started = true;
    RPC_CLEANUP(arena_freep) rpc_arena *arena = rpc_arena_new(START_MEMORY_BYTES);
    if (!arena)
        return client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for a manifest");
    ProtobufCMessage *start = NULL;
    rpc_status status = {.code = RPC_OK};
    if (rpc_unpack(&dacm__v1__download_start__descriptor, packed, arena, &start, &status) != RPC_OK)
        return client__fail(
            reterr, DACM_INTERNAL, "the server's answer is malformed: %s", status.message);
    return judge_start(download, stream, (const Dacm__V1__DownloadStart *)start, reterr);
}

/** A stream sends what it was asked for, in order and once, and leaves out only what is held. */
static bool is_its_turn(
    const client_download *download, const download_stream *stream, uint32_t index)
{
    return index >= stream->next && index < stream->last &&
           download__missing(download, stream->next, index) == index;
}

static dacm_code on_chunks(
    client_download *download, download_stream *stream, const client_part *part, dacm_error *reterr)
{
    if (!stream->listed)
        return client__fail(reterr, DACM_BAD_SIGNATURE,
            "the server sent data before the list that it is judged by; nothing was used");
    const uint64_t done_before = download->progress.done;
    size_t at = 0;
    for (uint32_t index = part->first; at < part->data.size; index++) {
        if (index >= download->chunks.count)
            return client__fail(reterr, DACM_BAD_SIGNATURE, "the server sent chunk %u of %u", index,
                download->chunks.count);
        if (!is_its_turn(download, stream, index))
            return client__fail(reterr, DACM_BAD_SIGNATURE,
                "chunk %u was not asked for, came twice or came before another", index);
        const uint32_t length = client__chunk_length(&download->chunks, index);
        if (length > part->data.size - at)
            return client__fail(reterr, DACM_BAD_SIGNATURE, "chunk %u was cut on the way", index);
        const rpc_bytes data = rpc_bytes_of(part->data.data + at, length);
        uint8_t digest[32];
        client__sha256(data, digest);
        if (memcmp(digest, client__chunk_digest(&download->chunks, index), sizeof digest) != 0)
            return client__fail(reterr, DACM_BAD_SIGNATURE,
                "chunk %u is not the one that was signed; the download was given up", index);
        const dacm_code code = deliver(download, index, data, reterr);
        if (code != DACM_OK)
            return code;
        at += length;
        stream->next = index + 1;
        download->result.received_bytes += length;
    }
    if (download->progress.done > done_before) /* a chunk sent again is no progress */
        download->failures = 0;
    return DACM_OK;
}

dacm_code download__message(
    client_download *download, download_stream *stream, rpc_bytes message, dacm_error *reterr)
{
    client_part part;
    const char *why = NULL;
    if (!client__read_part(message, &part, &why))
        return client__fail(reterr, DACM_INTERNAL, "the server's answer is malformed: %s", why);
    const dacm_code code = download->accepted ? download__judge_keys(download, true, reterr)
                                              : DACM_OK;
    if (code != DACM_OK)
        return code;
    switch (part.kind) {
    case CLIENT_PART_START:
        return on_start(download, stream, part.data, reterr);
    case CLIENT_PART_LIST:
        return on_list(download, stream, part.data, reterr);
    case CLIENT_PART_CHUNKS:
        return on_chunks(download, stream, &part, reterr);
    }
    return DACM_INTERNAL;
}
