/* SPDX-License-Identifier: Apache-2.0 */
#include "tools.h"

#include "program.h"
#include "skm_records.pb-c.h"

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
    *ret_known = false;
    return NULL;
}

int skm_tool_check(const char *directory, bool json)
{
    return program_store_check("skmsd", directory, json, kind_of);
}
