/* SPDX-License-Identifier: Apache-2.0 */
/* What the audit trail says of requests of SKM-Cs, and of those who would be one. */
#include "skm_internal.h"

rpc_code skm_trail(skm_service *service, const skm_record *record, rpc_status *reterr)
{
    char sha256[65];
    rpc_hex(rpc_bytes_of(record->certificate_sha256, 32), sha256);
    const host_field fields[] = {host_text("outcome", record->outcome),
        host_text("client", record->client), host_text("certificate_sha256", sha256),
        host_text("val_service", record->val_service), host_text("purpose", record->purpose),
        host_text("kids", record->kids)};
    const size_t count = sizeof fields / sizeof *fields;
    return record->stranger
               ? program_strangers_audit(&service->strangers, service->audit, service->log,
                     service->clock, service->audit_refused, record->request_id, record->event,
                     fields, count, reterr)
               : program_audit(service->audit, service->log, service->clock, service->audit_refused,
                     record->request_id, record->event, fields, count, reterr);
}
