/* SPDX-License-Identifier: Apache-2.0 */
#include "tools.h"

#include "program.h"
#include "sim_records.pb-c.h"
#include "store.h"

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

int sim_tool_check(const char *directory, bool json)
{
    return program_store_check("simsd", directory, json, kind_of);
}
