/* SPDX-License-Identifier: Apache-2.0 */
/* First what the store can say of itself, then what our records promise: each can be read as what
 * its key says that it is. */
#include "tools.h"

#include "program.h"
#include "sim_records.pb-c.h"
#include "store.h"

#include <inttypes.h>
#include <stdlib.h>

#define RECORD_ARENA (4u << 20)

typedef struct checking {
    bool json;
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

static bool starts(rpc_bytes key, const char *prefix)
{
    const size_t size = strlen(prefix);
    return key.size >= size && memcmp(key.data, prefix, size) == 0;
}

/* Items of shared groups begin with 16 bytes of an ID. */
static const ProtobufCMessageDescriptor *kind_in_bucket(const store_entry *entry)
{
    enum { ID_BYTES = 16 };
    const rpc_bytes item = entry->item;
    if (item.size == ID_BYTES)
        return starts(entry->group, "g/") ? &sim__records__grant__descriptor
                                          : &sim__records__session__descriptor;
    if (item.size > ID_BYTES + 1 && item.data[ID_BYTES] == 't' && starts(entry->group, "g/"))
        return &sim__records__issued__descriptor;
    return NULL;
}

/* What a record is by its key; NULL: text, which any bytes are. *ret_known false: no key of ours.
 */
static const ProtobufCMessageDescriptor *kind_of(const store_entry *entry, bool *ret_known)
{
    static const struct {
        const char *group, *item;
        const ProtobufCMessageDescriptor *descriptor;
    } kinds[] = {
        {"u/", "k/", &sim__records__consent__descriptor},
        {"u/", "", &sim__records__user__descriptor},
        {"s/", "", NULL},
        {"p/", "", NULL},
        {"c/", "", &sim__records__client__descriptor},
    };
    *ret_known = true;
    if (entry->group.size == 1 && entry->group.data[0] == 'v')
        return entry->item.size ? &sim__records__revocation__descriptor
                                : &sim__records__log__descriptor;
    if (starts(entry->group, "g/") || starts(entry->group, "b/")) {
        const ProtobufCMessageDescriptor *kind = kind_in_bucket(entry);
        *ret_known = kind != NULL;
        return kind;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (starts(entry->group, kinds[i].group) && starts(entry->item, kinds[i].item) &&
            (kinds[i].item[0] || entry->item.size == 0))
            return kinds[i].descriptor;
    *ret_known = false;
    return NULL;
}

/* Keys of groups name people: the kind and what is wrong are told, not the key. */
static bool check_entry(void *ctx, const store_entry *entry)
{
    checking *c = ctx;
    char text[512];
    bool known = false;
    ProtobufCMessage *message = NULL;
    rpc_status why;
    const ProtobufCMessageDescriptor *descriptor = kind_of(entry, &known);
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

int sim_tool_check(const char *directory, bool json)
{
    checking c = {.json = json};
    rpc_status status = {0};
    const store_check_options options = {.fault = tell_fault, .ctx = &c};
    rpc_code code = store_check(directory, &options, &status);
    if (code != RPC_OK && code != RPC_DATA_LOSS)
        return program_tool_failed("simsd", json, &status);
    if (code == RPC_OK && check_records(&c, directory, &status) != RPC_OK)
        return program_tool_failed("simsd", json, &status);
    if (json)
        program_print_json(json_pack(
            "{s:I, s:I}", "records", (json_int_t)c.records, "faults", (json_int_t)c.faults));
    else
        printf("%" PRIu64 " records: %s\n", c.records,
            c.faults ? "FAULTS were found; restore from a backup" : "clean");
    return c.faults ? 1 : 0;
}
