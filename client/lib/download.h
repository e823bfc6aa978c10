/* SPDX-License-Identifier: Apache-2.0 */
/** One running download: download.c steers it, download_parts.c judges what arrives. */
#ifndef DACM_CLIENT_DOWNLOAD_H
#define DACM_CLIENT_DOWNLOAD_H

#include "client_internal.h"
#include "recipe.h"

#define DOWNLOAD_SPAN_BYTES (8u << 20) /* what a stream is given at a time, when there are more */
#define DOWNLOAD_HAVE_MAX   65536u     /* chunk digests in one request */

typedef struct download_stream {
    uint32_t first, last; /* chunks it was asked for; known once the list is */
    uint32_t next;        /* the lowest that it may still send */
    bool started;         /* its DownloadStart was judged */
    bool listed;          /* its list was judged */
    uint8_t *list;
    size_t list_size, list_expected;
} download_stream;

typedef struct client_download {
    dacm_client *client;
    const dacm_download_options *options;
    bool external; /* the user is an External ID */
    client_recipe recipe;
    client_mailbox mailbox;
    unsigned stream_count;
    download_stream streams[DACM_STREAMS_MAX];
    client_exchange *exchanges[DACM_STREAMS_MAX]; /* NULL: idle */

    bool accepted; /* manifest holds the one that everything else must agree with */
    client_manifest manifest;
    uint64_t keys_seen; /* answers of the SKM-S when the manifest was judged */
    bool listed;        /* what follows is known */
    client_chunks chunks;
    uint8_t *done;        /* per chunk */
    uint32_t first, last; /* wanted chunks */
    uint32_t cursor;      /* first wanted chunk that no stream was given */
    dacm_progress progress;

    client_output output;
    client_have have;
    client_partial partial;
    bool have_is_partial;
    bool ask_changed; /* send if_none_match */
    bool copy_is_current;
    bool asked_again;  /* the same bytes, cut elsewhere: once */
    unsigned failures; /* of the connection since the last verified chunk */
    dacm_download_result result;
} client_download;

/** Judges one message of a stream and delivers what it holds. */
dacm_code download__message(
    client_download *download, download_stream *stream, rpc_bytes message, dacm_error *reterr);
/** Judges the manifest again by the keys that count now; BAD_SIGNATURE when its key was revoked as
 *  compromised since. only_changed: nothing is done
 *  when the SKM-S has answered nothing since. */
dacm_code download__judge_keys(client_download *download, bool only_changed, dacm_error *reterr);
/** The first chunk in first..last that is still wanted; last when there is none. */
uint32_t download__missing(const client_download *download, uint32_t first, uint32_t last);

#endif
