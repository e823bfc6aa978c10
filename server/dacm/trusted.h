/* SPDX-License-Identifier: Apache-2.0 */
/** What decisions and signatures stand on: issuers, verified tokens, revocations, the manifest
 *  key and the audit trail. Any thread. */
#ifndef DACM_TRUSTED_H
#define DACM_TRUSTED_H

#include "audit.h"
#include "host.h"
#include "issuers.h"
#include "reports.h"
#include "skmc.h"
#include "trust.h"

#include <pthread.h>
#include <stdatomic.h>

typedef struct dacm_trust {
    pthread_rwlock_t lock; /* guards which issuers and keys there are */
    issuers_set *issuers;
    atomic_uint_fast64_t version; /* of issuers, to be read without the lock */
    skmc_keys *keys;              /* of manifests; NULL: none have come yet */
    skmc *skms;                   /* where they come from, or issuers' do; NULL: files */
    bool from_skms;               /* as the server was started: a reload does not change it */
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

/** The manifest keys of now, with a reference; NULL: there are none yet. */
skmc_keys *dacm_trust_keys(dacm_trust *trust);
/** They are those from now on; takes keys. */
void dacm_trust_take_keys(dacm_trust *trust, skmc_keys *keys);
/** Is none of the ring's keys, which are to sign manifests, an issuer's? INVALID_ARGUMENT. */
RPC_MUST_USE rpc_code dacm_trust_judge_own(
    dacm_trust *trust, const trust_keyring *ring, rpc_status *reterr);

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
