/* SPDX-License-Identifier: Apache-2.0 */
/* --store-check of a server with records only: first what the store can say of itself, then what
 * the records promise: each can be read as what its key says that it is. */
#include "program.h"
#include "store.h"

#include <inttypes.h>
#include <stdlib.h>

#define RECORD_ARENA (4u << 20)

typedef struct checking {
    bool json;
    program_kind_fn *kind;
    rpc_arena *arena;
    uint64_t records, faults;
} checking;

static void tell_fault(void *ctx, const char *text)
{
    checking *c = ctx;
    c->faults++;
    if (c->json)
        program_print_json(json_pack("{s:s}", "fault", text));
    else
        fprintf(stderr, "fault: %s\n", text);
}

/* Keys of groups name people: the kind and what is wrong are told, not the key. */
static bool check_entry(void *ctx, const store_entry *entry)
{
    checking *c = ctx;
    char text[512];
    bool known = false;
    ProtobufCMessage *message = NULL;
    rpc_status why;
    const ProtobufCMessageDescriptor *descriptor = c->kind(entry, &known);
    c->records++;
    rpc_arena_reset(c->arena);
    if (!known)
        tell_fault(c, "a record has a key that none of ours has");
    else if (descriptor &&
             rpc_unpack(descriptor, entry->value, c->arena, &message, &why) != RPC_OK) {
        snprintf(text, sizeof text, "a record of kind %s cannot be read: %s", descriptor->name,
            why.message);
        tell_fault(c, text);
    }
    return true;
}

static rpc_code check_records(checking *c, const char *directory, rpc_status *reterr)
{
    const store_lmdb_options options = {.directory = directory, .read_only = true};
    store *db = NULL;
    rpc_code code = store_open_lmdb(&options, &db, reterr);
    if (code != RPC_OK)
        return code;
    c->arena = rpc_arena_new(RECORD_ARENA);
    const store_scan_request all = {.group_is_prefix = true};
    code = c->arena ? store_walk(db, &all, check_entry, c, reterr)
                    : rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "no memory for the check");
    rpc_arena_free(c->arena);
    store_close(db);
    return code;
}

int program_store_check(const char *name, const char *directory, bool json, program_kind_fn *kind)
{
    checking c = {.json = json, .kind = kind};
    rpc_status status = {0};
    const store_check_options options = {.fault = tell_fault, .ctx = &c};
    rpc_code code = store_check(directory, &options, &status);
    if (code != RPC_OK && (code != RPC_DATA_LOSS || c.faults == 0)) /* it could not be read */
        return program_tool_failed(name, json, &status);
    if (code == RPC_OK && check_records(&c, directory, &status) != RPC_OK)
        return program_tool_failed(name, json, &status);
    if (json)
        program_print_json(json_pack(
            "{s:I, s:I}", "records", (json_int_t)c.records, "faults", (json_int_t)c.faults));
    else
        printf("%" PRIu64 " records: %s\n", c.records,
            c.faults ? "FAULTS were found; restore from a backup" : "clean");
    return c.faults ? 1 : 0;
}
