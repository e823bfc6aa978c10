/* SPDX-License-Identifier: Apache-2.0 */
#include "sim_internal.h"

#include <semaphore.h>

#define FIELDS_MAX 24u

typedef struct waiting {
    sem_t written;
    bool good;
} waiting;

/* The trail's thread. */
static void on_written(void *arg, bool good)
{
    waiting *w = arg;
    w->good = good;
    sem_post(&w->written);
}

static rpc_code write_and_wait(trust_audit *audit, rpc_bytes json, rpc_status *reterr)
{
    waiting w = {.good = true};
    bool pending = false;
    sem_init(&w.written, 0, 0);
    rpc_code code = trust_audit_write(
        audit, json, TRUST_AUDIT_BEFORE, on_written, &w, &pending, reterr);
    while (code == RPC_OK && pending && sem_wait(&w.written) != 0) {
        /* interrupted by a signal */
    }
    sem_destroy(&w.written);
    if (code == RPC_OK && !w.good)
        code = rpc_status_set(
            reterr, RPC_UNAVAILABLE, "the disk of the audit trail refused a record");
    return code;
}

rpc_code sim_audit(sim_service *service, const char *request_id, const char *event,
    const host_field *fields, size_t count, rpc_status *reterr)
{
    host_field all[FIELDS_MAX] = {
        host_number("time_ms", rpc_clock_wall_ms(service->clock)),
        host_text("request_id", request_id),
        host_text("event", event),
    };
    char json[TRUST_AUDIT_RECORD_BYTES_MAX];
    rpc_status why = {.code = RPC_OK};
    if (count > FIELDS_MAX - 3)
        count = FIELDS_MAX - 3;
    memcpy(&all[3], fields, count * sizeof *fields);
    const size_t size = host_fields_json(service->log, all, count + 3, json, sizeof json);
    rpc_code code = write_and_wait(service->audit, rpc_bytes_of(json, size), &why);
    if (code == RPC_OK)
        return code;
    HOST_LOG(service->log, HOST_ERROR, "audit record refused", host_text("request_id", request_id),
        host_text("event", event), host_text("why", why.message));
    host_counter_add(service->audit_refused, 1);
    return rpc_status_set(reterr, RPC_UNAVAILABLE,
        "the audit trail cannot be written, and nothing is done without it; try again later");
}
