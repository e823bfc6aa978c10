/* SPDX-License-Identifier: Apache-2.0 */
/** Cuts a stream of bytes into chunks, hashes chunks and whole, and collects the list.
 *  One thread at a time. */
#ifndef DACM_ASSEMBLE_H
#define DACM_ASSEMBLE_H

#include "plan.h"
#include "trust.h"

#include <openssl/evp.h>

/** Takes a chunk: data is malloc()ed and belongs to the callee, whatever it returns. */
typedef rpc_code dacm_chunk_fn(void *arg, uint8_t *data, size_t size,
    const uint8_t digest[DACM_DIGEST_BYTES], rpc_status *reterr);

typedef struct dacm_assembler {
    trust_chunker chunker; /* gear-64k */
    EVP_MD_CTX *whole, *part;
    uint8_t *buffer; /* 2 × DACM_CHUNK_BYTES_MAX */
    size_t filled;
    uint64_t total;
    uint8_t *entries;
    size_t count, room;
    dacm_chunk_fn *emit;
    void *arg;
} dacm_assembler;

/** RESOURCE_EXHAUSTED when memory is short; dacm_assembler_done() is due only after RPC_OK. */
RPC_MUST_USE rpc_code dacm_assembler_init(
    dacm_assembler *assembler, dacm_chunk_fn *emit, void *arg, rpc_status *reterr);
void dacm_assembler_done(dacm_assembler *assembler);
/** RESOURCE_EXHAUSTED (memory, or more chunks than a list may have), or what emit returned. */
RPC_MUST_USE rpc_code dacm_assembler_feed(
    dacm_assembler *assembler, rpc_bytes bytes, rpc_status *reterr);
/** The end: emits what is left and gives the digests of the object and of the list. */
RPC_MUST_USE rpc_code dacm_assembler_finish(dacm_assembler *assembler,
    uint8_t ret_sha256[DACM_DIGEST_BYTES], uint8_t ret_list_sha256[DACM_DIGEST_BYTES],
    rpc_status *reterr);
/** Part of the list, kept as a chunk of the asset under its SHA-256. */
typedef struct dacm_page {
    uint8_t sha256[DACM_DIGEST_BYTES];
    uint32_t entries;
} dacm_page;
/** After the end: emits the list itself, page by page. free() *ret. RESOURCE_EXHAUSTED, or what
 * emit returned. */
RPC_MUST_USE rpc_code dacm_assembler_put_pages(
    dacm_assembler *assembler, dacm_page **ret, size_t *ret_count, rpc_status *reterr);
/** SHA-256 by OpenSSL. INTERNAL when it fails, which it does not. */
RPC_MUST_USE rpc_code dacm_sha256(
    rpc_bytes bytes, uint8_t ret[DACM_DIGEST_BYTES], rpc_status *reterr);

#endif
