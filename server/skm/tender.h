/* SPDX-License-Identifier: Apache-2.0 */
/** The thread that makes keys ahead of time, turns them when theirs has come, signs sets again, and
 *  tells the audit trail what was signed. */
#ifndef SKM_TENDER_H
#define SKM_TENDER_H

#include "skm_internal.h"

typedef struct skm_tender skm_tender;
RPC_MUST_USE rpc_code skm_tender_start(
    skm_service *service, int64_t count_interval_s, skm_tender **ret, rpc_status *reterr);
/** Tells what is left to tell. NULL is allowed. */
void skm_tender_stop(skm_tender *tender);

#endif
