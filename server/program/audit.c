/* SPDX-License-Identifier: Apache-2.0 */
#include "program.h"

#include <assert.h>
#include <semaphore.h>

#define FIELDS_MAX HOST_FIELDS_MAX

const char *const program_durabilities[] = {"process", "power", NULL};

static rpc_code load_key(const host_values *values, trust_signer **ret, rpc_status *reterr)
{
    const char *path = host_string(values, "audit.key_file");
    char *text = NULL;
    size_t size = 0;
    rpc_status why;
    if (!path[0])
        return RPC_OK;
    rpc_code code = program_key_file_read(
        "audit.key_file", path, TRUST_JWKS_BYTES_MAX, &text, &size, reterr);
    if (code != RPC_OK)
        return code;
    code = trust_signer_parse(rpc_bytes_of(text, size), TRUST_FOR_AUDIT, ret, &why);
    program_file_done(text, size);
    return code == RPC_OK
               ? code
               : rpc_status_set(reterr, code, "'audit.key_file' (%s): %.300s", path, why.message);
}

rpc_code program_audit_open(const host_values *values, const rpc_clock *clock, host_log *log,
    trust_audit **ret, rpc_status *reterr)
{
    trust_signer *signer = NULL;
    rpc_code code = load_key(values, &signer, reterr);
    if (code != RPC_OK)
        return code;
    const trust_audit_options options = {
        .directory = host_string(values, "audit.directory"),
        .power = host_enum(values, "audit.durability") == 1,
        .segment_bytes_max = (uint64_t)host_int(values, "audit.segment_bytes_max"),
        .waiting_bytes_max = (size_t)host_int(values, "audit.waiting_bytes_max"),
        .stuck_ms = (unsigned)host_int(values, "audit.stuck_ms"),
        .signer = signer,
        .seal_interval_ms = (unsigned)host_int(values, "audit.seal_interval_ms"),
        .clock = clock,
    };
    code = trust_audit_open(&options, ret, reterr);
    if (code == RPC_OK && trust_audit_torn_bytes(*ret) > 0)
        HOST_LOG(log, HOST_WARNING, "audit: a record torn by a crash was cut off",
            host_number("bytes", (int64_t)trust_audit_torn_bytes(*ret)));
    return code;
}

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

rpc_code program_audit(trust_audit *audit, host_log *log, const rpc_clock *clock,
    host_counter *refused, const char *request_id, const char *event, const host_field *fields,
    size_t count, rpc_status *reterr)
{
    host_field all[FIELDS_MAX] = {
        host_number("time_ms", rpc_clock_wall_ms(clock)),
        host_text("request_id", request_id),
        host_text("event", event),
    };
    char json[TRUST_AUDIT_RECORD_BYTES_MAX];
    rpc_status why = {.code = RPC_OK};
    assert(count <= FIELDS_MAX - 3);
    memcpy(&all[3], fields, count * sizeof *fields);
    const size_t size = host_fields_json(log, all, count + 3, json, sizeof json);
    rpc_code code = write_and_wait(audit, rpc_bytes_of(json, size), &why);
    if (code == RPC_OK)
        return code;
    HOST_LOG(log, HOST_ERROR, "audit record refused", host_text("request_id", request_id),
        host_text("event", event), host_text("why", why.message));
    host_counter_add(refused, 1);
    return rpc_status_set(reterr, RPC_UNAVAILABLE,
        "the audit trail cannot be written, and nothing is done without it; try again later");
}
