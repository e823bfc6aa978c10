/* SPDX-License-Identifier: Apache-2.0 */
/** One running Download, shared by download.c (from the request to its end), download_have.c (what
 *  the client has already) and download_send.c (the list and the chunks). On its call's strand. */
#ifndef DACM_DOWNLOAD_INTERNAL_H
#define DACM_DOWNLOAD_INTERNAL_H

#include "dacm_internal.h"
#include "object.h"
#include "plan.h"

#include <stdatomic.h>

enum download_state {
    REQUEST,  /* waiting for the request */
    DECIDING, /* token and profile */
    LOADING,  /* version, list, manifest */
    ADAPTING, /* a variant that was not there */
    LIST,     /* pages of the list */
    CHUNKS,   /* runs of chunks */
    SENT,     /* all is queued, its good end too; a slow reader has not read it yet */
    OVER,     /* it was refused, or the call has ended */
};

typedef struct download {
    atomic_uint refs;
    enum download_state state;
    bool registered, dirty, rechecking;
    bool start_waits; /* until it was decided again: what is ready to be sent */
    dacm_service *service;
    rpc_call *call;
    rpc_message *message; /* owns request */
    const Dacm__V1__DownloadRequest *request;
    dacm_access access;
    rpc_arena *recheck_arena;
    dacm_running_entry running;
    dacm_wanted *wanted; /* of a request with a recipe */
    dacm_adapt_waiter waiter;
    bool adapted; /* it was waited for */
    dacm_object *object;
    dacm_plan plan;
    char *manifest;
    uint32_t next; /* entry of the list, or chunk */
    store_op op;   /* lookup of have.manifest_sha256 */
    store_executor executor;
} download;

void download_hold(void *d);
void download_drop(download *d);
/** Answers, unless it was answered or is over. */
void download_end(download *d, const rpc_status *status);
void download_fail(download *d, rpc_code code, const char *text);
/** Answers that all went well, behind all that was sent. */
void download_sent(download *d);

/** What is to be sent is known: asks for the manifest, and begins. */
void download_begin(download *d);
/** In the states LIST and CHUNKS: sends as much as the call takes. */
void download_pump(download *d);

/** INVALID_ARGUMENT: a digest is none, or there are too many. */
rpc_code download_check_have(const Dacm__V1__Have *have, rpc_status *reterr);
/** Leaves the chunks that have names out of the plan. */
rpc_code download_leave_out(download *d, const Dacm__V1__Have *have, rpc_status *reterr);
/** The same of the chunks of the version whose manifest have names, if it is known; then
 *  download_begin(). */
void download_find_held(download *d, const Dacm__V1__Have *have);

#endif
