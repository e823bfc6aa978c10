/* SPDX-License-Identifier: Apache-2.0 */
/** skms.v1.SigningKeys: what SKM-Cs and verifiers call. */
#ifndef SKM_SIGNING_KEYS_H
#define SKM_SIGNING_KEYS_H

#include "skm_internal.h"

typedef struct skm_signing_keys skm_signing_keys;

/** Listens where listen.keys.url says. service, calls and settings outlive it. */
RPC_MUST_USE rpc_code skm_signing_keys_start(skm_service *service, host_rpc *calls,
    const host_values *settings, skm_signing_keys **ret, rpc_status *reterr);
/** Certificates as settings have them now. On failure the old ones stay. */
RPC_MUST_USE rpc_code skm_signing_keys_reload(
    skm_signing_keys *keys, const host_values *settings, rpc_status *reterr);
/** The listener's TLS, for a check of its files. */
rpc_tls_options skm_signing_keys_tls(const host_values *settings);
const char *skm_signing_keys_url(const skm_signing_keys *keys);
/** Lets calls end for grace_ms. Blocks. NULL is allowed. */
void skm_signing_keys_stop(skm_signing_keys *keys, int64_t grace_ms);

#endif
