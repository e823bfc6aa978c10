/* SPDX-License-Identifier: Apache-2.0 */
/** dacmd as SKM-C: its manifest keys come from the SKM-S (signing.source: skms), and so do the
 * token keys of issuers (issuers[].jwks_skms). */
#ifndef DACM_SKMS_H
#define DACM_SKMS_H

#include "dacm_internal.h"

/** After the store, before anybody is served. Nothing happens where no SKM-S is configured.
 *  metrics and health outlive it. The errors of skmc_open(). */
RPC_MUST_USE rpc_code dacm_skms_open(dacm_service *service, const host_values *settings,
    host_metrics *metrics, host_health *health, rpc_status *reterr);
/** Can it be reloaded with those settings? FAILED_PRECONDITION: they name a set that is not
 *  watched. */
RPC_MUST_USE rpc_code dacm_skms_judge_reload(
    const dacm_service *service, const host_values *settings, rpc_status *reterr);
/** Certificates anew. */
RPC_MUST_USE rpc_code dacm_skms_reload(
    dacm_service *service, const host_values *settings, rpc_status *reterr);
/** Before health is told. */
void dacm_skms_judge(dacm_service *service);
/** After the last call; ends what waits for a signature. */
void dacm_skms_close(dacm_service *service);

#endif
