/* SPDX-License-Identifier: Apache-2.0 */
#include "sim_internal.h"

#include "program.h"

rpc_code sim_audit(sim_service *service, const char *request_id, const char *event,
    const host_field *fields, size_t count, rpc_status *reterr)
{
    return program_audit(service->audit, service->log, service->clock, service->audit_refused,
        request_id, event, fields, count, reterr);
}

rpc_code sim_audit_stranger(sim_service *service, const char *request_id, const char *event,
    const host_field *fields, size_t count, rpc_status *reterr)
{
    return program_strangers_audit(&service->strangers, service->audit, service->log,
        service->clock, service->audit_refused, request_id, event, fields, count, reterr);
}
