/* SPDX-License-Identifier: Apache-2.0 */
/** Media adaptation as the settings media.* have it: from them to workers that run. */
#ifndef DACM_ADAPTING_H
#define DACM_ADAPTING_H

#include "dacm_internal.h"

/** Whether there is a program to run; that it works is seen at the start. FAILED_PRECONDITION:
 *  there is none. */
RPC_MUST_USE rpc_code dacm_adapting_check(const host_values *settings, rpc_status *reterr);
/** After the store, before anybody is served: service->adaptations; nothing happens where
 *  media.adapt is false. metrics outlive it. The errors of dacm_adaptations_start(). */
RPC_MUST_USE rpc_code dacm_adapting_open(
    dacm_service *service, const host_values *settings, host_metrics *metrics, rpc_status *reterr);

#endif
