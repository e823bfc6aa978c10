/* SPDX-License-Identifier: Apache-2.0 */
/** Step 5a of solution #6: what the DACM's list says of an asset and users, over SEAL-E
 *  (dacm.v1.ConsumerLists, mutual TLS). Equal questions that are under way share one call. */
#ifndef SIM_CONSUMERS_H
#define SIM_CONSUMERS_H

#include "host.h"

typedef struct sim_consumers sim_consumers;

typedef struct sim_consumers_options {
    rpc_runtime *runtime;
    const char *resource; /* of the DACM: `aud` of tokens for it */
    const char *target;   /* tls+tcp://… of its peers' listener */
    const char *ca_file, *certificate_file, *key_file, *server_name; /* "" = the target's */
    bool disclose_full;   /* the whole list up to SIM_PROFILE_BYTES_MAX: needs full_list there */
    int64_t deadline_ms;  /* 2,000 */
    unsigned waiting_max; /* threads that wait in here at a time; more: UNAVAILABLE */
    host_log *log;
    host_metrics *metrics;
} sim_consumers_options;

#define SIM_PROFILE_BYTES_MAX 4096u

RPC_MUST_USE rpc_code sim_consumers_new(
    const sim_consumers_options *options, sim_consumers **ret, rpc_status *reterr);
/** Reads the files of the certificate towards the DACM again; on failure the old one stays. */
RPC_MUST_USE rpc_code sim_consumers_renew(
    sim_consumers *consumers, const sim_consumers_options *options, rpc_status *reterr);
void sim_consumers_free(sim_consumers *consumers);
rpc_channel *sim_consumers_channel(sim_consumers *consumers); /* the reports go over it too */

/** What becomes Digital_profile; one allocation. */
typedef struct sim_profile {
    size_t count;
    const char *const *users; /* NULL-terminated, sorted, each once */
} sim_profile;
void sim_profile_free(sim_profile *profile);

/** Blocks, at most deadline_ms. users: whom the token acts for (1 to 64). RPC_OK: at least one of
 *  them may use the asset; ret_allowed (count flags) says which, ret has the whole list where it
 *  is disclosed and fits 4 KiB, else those of users that are allowed. NOT_FOUND: none of them,
 *  or there is no such asset: nobody can tell. UNAVAILABLE: the DACM cannot be asked now;
 *  ret_retry_s then says when to try again. */
RPC_MUST_USE rpc_code sim_consumers_ask(sim_consumers *consumers, const char *asset_id,
    const char *const *users, size_t count, bool *ret_allowed, sim_profile **ret,
    unsigned *ret_retry_s, rpc_status *reterr);

#endif
