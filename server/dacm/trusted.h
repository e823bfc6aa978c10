/* SPDX-License-Identifier: Apache-2.0 */
/** What decisions and signatures stand on: issuers, verified tokens, revocations, the manifest
 *  key and the audit trail. Any thread. */
#ifndef DACM_TRUSTED_H
#define DACM_TRUSTED_H

#include "audit.h"
#include "host.h"
#include "issuers.h"
#include "reports.h"
#include "trust.h"

#include <pthread.h>
#include <stdatomic.h>

typedef struct dacm_trust {
    pthread_rwlock_t lock; /* guards which issuers, signer and jwks there are */
    issuers_set *issuers;
    atomic_uint_fast64_t version; /* of issuers, to be read without the lock */
    trust_signer *signer;         /* of manifests */
    char *public_jwks;            /* manifest keys, for /.well-known/jwks.json */
    trust_token_cache *tokens;
    trust_revocations *revocations;
    dacm_reports *reports;
    issuers_fetcher *fetcher;
    trust_audit *audit;
    const char *audience; /* of tokens, as the server was started: a reload does not change it */
    host_log *log;
    host_counter *decisions[TRUST_REASONS];
    host_counter *remembered; /* of those allowed */
    host_counter *records_held, *records_refused;
} dacm_trust;

/** The issuers of now, with a reference. */
issuers_set *dacm_trust_issuers(dacm_trust *trust);
/** Their version, without a reference. */
uint64_t dacm_trust_version(dacm_trust *trust);

/** Keys of issuers and manifests from their files, for the start and for SIGHUP: all or none
 *  is replaced. */
RPC_MUST_USE rpc_code dacm_trust_load(
    dacm_trust *trust, const host_values *settings, rpc_status *reterr);
/** Publishes the issuers of now with the rings that the fetcher has now. Without memory the old
 *  ones stay (false). */
bool dacm_trust_renew_keys(dacm_trust *trust);
/** Is none of the ring's keys the one that signs manifests? INVALID_ARGUMENT. */
RPC_MUST_USE rpc_code dacm_trust_judge_keys(
    dacm_trust *trust, const trust_keyring *ring, rpc_status *reterr);
/** Reads and judges the same files and changes nothing. */
RPC_MUST_USE rpc_code dacm_trust_check(const host_values *settings, rpc_status *reterr);

#endif
