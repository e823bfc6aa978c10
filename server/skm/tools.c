/* SPDX-License-Identifier: Apache-2.0 */
#include "tools.h"

#include "master.h"
#include "restore.h"
#include "server.h"
#include "skm_records.pb-c.h"

#include <argp.h>
#include <stdlib.h>

/* ---- --store-check ------------------------------------------------------------------------------
 */

static bool starts(rpc_bytes key, const char *prefix)
{
    const size_t size = strlen(prefix);
    return key.size >= size && memcmp(key.data, prefix, size) == 0;
}

static const ProtobufCMessageDescriptor *kind_of(const store_entry *entry, bool *ret_known)
{
    const bool main_record = entry->item.size == 0;
    *ret_known = true;
    if (rpc_bytes_equal(entry->group, rpc_bytes_str("h")) && main_record)
        return &skm__records__master__descriptor;
    if (rpc_bytes_equal(entry->group, rpc_bytes_str("r")))
        return main_record ? &skm__records__roots__descriptor : &skm__records__root__descriptor;
    if (starts(entry->group, "s/") && (main_record || starts(entry->item, "e/")))
        return main_record ? &skm__records__service__descriptor
                           : &skm__records__enrolment__descriptor;
    if (starts(entry->group, "t/") || starts(entry->group, "m/"))
        return main_record ? &skm__records__key_set__descriptor : &skm__records__key__descriptor;
    if (rpc_bytes_equal(entry->group, rpc_bytes_str("x")) && !main_record)
        return &skm__records__barred__descriptor;
    *ret_known = false;
    return NULL;
}

int skm_tool_check(const char *directory, bool json)
{
    return program_store_check("skmsd", directory, json, kind_of);
}

/* ---- --store-backup -----------------------------------------------------------------------------
 */

rpc_code skm_tool_backed_up(const char *destination, rpc_status *reterr)
{
    return skm_copy_mark(destination, rpc_clock_wall_ms(rpc_clock_system()), reterr);
}

/* ---- tools of its own ---------------------------------------------------------------------------
 */

enum { OPTION_SECRET = 2048, OPTION_RESTORED };

static error_t parse(int key, char *argument, struct argp_state *state)
{
    skm_tools *tools = state->input;
    switch (key) {
    case OPTION_SECRET:
        tools->new_secret_file = argument;
        return 0;
    case OPTION_RESTORED:
        tools->after_restore = true;
        return 0;
    case ARGP_KEY_END:
        if (tools->new_secret_file && tools->after_restore)
            argp_error(state, "one of --change-secret and --after-restore at a time");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {"change-secret", OPTION_SECRET, "FILE", 0,
        "seals the store under the secret in FILE instead of that of master.*; skmsd must not run. "
        "May be repeated after a crash: it changes nothing then, or all",
        3},
    {"after-restore", OPTION_RESTORED, NULL, 0,
        "for a store that was copied by other means than --store-backup: the next start takes it "
        "for a copy, and makes versions of key sets higher than any that were published",
        3},
    {0},
};
const struct argp skm_tools_argp = {.options = options, .parser = parse};

bool skm_tools_asked(const void *input)
{
    const skm_tools *tools = input;
    return tools->new_secret_file || tools->after_restore;
}

/* ---- --change-secret ----------------------------------------------------------------------------
 */

typedef struct changing {
    const host_values *values;
    skm_service service; /* log and trail, for its records */
    store *db;
    skm_secret_change change;
    char *secret, *new_secret;
    size_t size, new_size;
} changing;

static void changing_done(changing *c)
{
    skm_master_done(c->secret, c->size);
    skm_master_done(c->new_secret, c->new_size);
    store_close(c->db);
    trust_audit_close(c->service.audit);
    host_log_close(c->service.log);
    host_metrics_free(c->service.metrics);
}

static rpc_code changing_open(changing *c, const char *file, rpc_status *reterr)
{
    skm_service *service = &c->service;
    service->clock = rpc_clock_system();
    service->metrics = host_metrics_new();
    if (!service->metrics)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "no memory");
    service->audit_refused = host_metrics_counter(service->metrics, "refused", "", NULL);
    rpc_code code = skm_master_read(c->values, &c->secret, &c->size, reterr);
    if (code == RPC_OK)
        code = skm_master_read_file("--change-secret", file, &c->new_secret, &c->new_size, reterr);
    if (code == RPC_OK)
        code = host_log_open("", HOST_ERROR, "skmsd", service->clock, &service->log, reterr);
    if (code == RPC_OK) /* first: it says who else runs */
        code = skm_store_open(c->values, service->clock, &c->db, reterr);
    if (code == RPC_OK)
        code = program_audit_open(c->values, service->clock, service->log, &service->audit, reterr);
    c->change = (skm_secret_change){.secret = rpc_bytes_of(c->secret, c->size),
        .new_secret = rpc_bytes_of(c->new_secret, c->new_size),
        .passes = (uint64_t)host_int(c->values, "master.passes"),
        .memory_bytes = (uint64_t)host_int(c->values, "master.memory_bytes")};
    return code;
}

static rpc_code audit_change(changing *c, const char *outcome, rpc_status *reterr)
{
    char id[HOST_REQUEST_ID_CHARS + 1];
    host_request_id(c->service.clock, id);
    return SKM_AUDIT(&c->service, id, "change-secret", reterr, host_text("outcome", outcome));
}

static rpc_code change_secret(
    const host_values *values, const char *file, bool *ret_already, rpc_status *reterr)
{
    changing c = {.values = values};
    rpc_status why;
    rpc_code code = changing_open(&c, file, reterr);
    if (code == RPC_OK)
        code = audit_change(&c, "asked", reterr);
    if (code == RPC_OK) {
        code = skm_secret_replace(c.db, &c.change, ret_already, reterr);
        if (audit_change(&c, rpc_code_name(code), &why) != RPC_OK && code == RPC_OK)
            code = rpc_status_text(reterr, why.code, why.message);
    }
    changing_done(&c);
    return code;
}

static int run_change_secret(const host_values *values, const char *file, bool json)
{
    rpc_status status = {0};
    bool already = false;
    if (change_secret(values, file, &already, &status) != RPC_OK)
        return program_tool_failed("skmsd", json, &status);
    if (json)
        program_print_json(json_pack("{s:b}", "changed", !already));
    else
        printf("the store %s sealed under the secret in %s; give that one (master.*) before the "
               "next start\n",
            already ? "was already" : "is now", file);
    return EXIT_SUCCESS;
}

/* ---- --after-restore ----------------------------------------------------------------------------
 */

/* Opened, so that no server runs on it, and so that it is a store. */
static rpc_code mark(const host_values *values, rpc_status *reterr)
{
    store *db = NULL;
    rpc_code code = skm_store_open(values, rpc_clock_system(), &db, reterr);
    if (code == RPC_OK)
        code = skm_copy_mark(host_string(values, "store.directory"), 0, reterr);
    store_close(db);
    return code;
}

static int run_after_restore(const host_values *values, bool json)
{
    rpc_status status = {0};
    if (mark(values, &status) != RPC_OK)
        return program_tool_failed("skmsd", json, &status);
    if (json)
        program_print_json(json_pack("{s:b}", "marked", true));
    else
        printf("the next start takes the store for a copy that was restored\n");
    return EXIT_SUCCESS;
}

int skm_tools_run(const void *input, const host_values *values, bool json)
{
    const skm_tools *tools = input;
    return tools->after_restore ? run_after_restore(values, json)
                                : run_change_secret(values, tools->new_secret_file, json);
}
