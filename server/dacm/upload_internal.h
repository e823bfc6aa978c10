/* SPDX-License-Identifier: Apache-2.0 */
/** One running Upload, shared by upload.c (receiving) and commit.c (deciding and recording). */
#ifndef DACM_UPLOAD_INTERNAL_H
#define DACM_UPLOAD_INTERNAL_H

#include "acl.h"
#include "assemble.h"
#include "changes.h"
#include "dacm_internal.h"

#include <stdatomic.h>

#define IN_FLIGHT_MAX    (2u << 20)  /* bytes that wait for the store */
#define UPLOAD_ARENA     (4u << 20)  /* facts and records of the commit */
#define START_ARENA      (16u << 20) /* profile and list of a new asset, out of one message */
#define COMMIT_TRIES_MAX 8u

enum upload_state {
    START,      /* waiting for the start message */
    DECIDING,   /* token and profile */
    REPLAY,     /* looking for an earlier upload of this ID */
    RECEIVING,  /* data to the store */
    COMMITTING, /* decided again, then recorded */
    OVER,       /* answered, failed or gone */
};

struct held {
    rpc_message *message;
    struct held *next;
};

typedef struct upload {
    atomic_uint refs;
    enum upload_state state;
    dacm_service *service;
    rpc_call *call;
    rpc_arena *arena;
    store_executor executor;
    dacm_access access;
    dacm_upload_slot slot;
    int64_t last_us;

    rpc_arena *start_arena; /* owns start */
    const Dacm__V1__UploadStart *start;
    bool is_new;
    uint64_t size, if_match, version, stale_version;
    uint8_t sha256[DACM_DIGEST_BYTES], request_sha256[DACM_DIGEST_BYTES];
    uint8_t key[DACM_DIGEST_BYTES]; /* SHA-256 of owner and upload ID */
    uint8_t uid[STORE_UID_BYTES];
    char asset_id[DACM_ASSET_ID_MAX + 1];
    store_op op; /* lookup of the earlier upload */
    unsigned tries;

    struct held *queue, **queue_end;
    bool half_closed, working, last_batch, assembling;
    rpc_status failure;
    atomic_size_t in_flight;

    /* worker, while `working` */
    struct held *batch;
    dacm_assembler assembler;
    rpc_status worker_failure;
    uint8_t chunks_sha256[DACM_DIGEST_BYTES];
    dacm_page *pages;
    size_t page_count;
} upload;

void upload_drop(upload *u);
void upload_end(upload *u, const rpc_status *status);
void upload_fail(upload *u, rpc_code code, const char *text);
/** Sends the answer and ends. */
void upload_answer(upload *u, dacm_object *object);
/** From the start message, which it takes, up to the end of REPLAY. */
void upload_begin(upload *u, rpc_message *message);
void upload_receive(upload *u);
/** Everything is in the store: decide again, then record. */
void upload_commit(upload *u);

#endif
