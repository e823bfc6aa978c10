/* SPDX-License-Identifier: Apache-2.0 */
#include "program_tools.h"

#include "store.h"

#include <inttypes.h>
#include <stdlib.h>

void program_print_json(json_t *object)
{
    char *text = json_dumps(object, JSON_COMPACT);
    if (text)
        puts(text);
    free(text);
    json_decref(object);
}

int program_tool_failed(const char *name, bool json, const rpc_status *status)
{
    if (json)
        program_print_json(json_pack("{s:{s:s, s:s}}", "error", "code", rpc_code_name(status->code),
            "message", status->message));
    else
        fprintf(stderr, "%s: %s\n", name, status->message);
    return 1;
}

/* ---- copy and counts ---- */

int program__tool_backup(
    const program *p, const char *directory, const char *destination, bool json)
{
    rpc_status status = {0};
    if (store_backup(directory, destination, &status) != RPC_OK ||
        (p->backed_up && p->backed_up(destination, &status) != RPC_OK))
        return program_tool_failed(p->name, json, &status);
    if (json)
        program_print_json(json_pack("{s:s}", "backup", destination));
    else
        printf("copied to %s\n", destination);
    return 0;
}

static void print_map(const char *name, const store_map_stats *map)
{
    printf("%-7s %" PRIu64 " MiB of %" PRIu64 " MiB used, %" PRIu64 " MiB of them free again; "
           "readers %u of %u\n",
        name, map->used_bytes >> 20, map->map_bytes_max >> 20, map->free_bytes >> 20, map->readers,
        map->readers_max);
}

int program__tool_stat(const char *name, const char *directory, bool json)
{
    store_stats stats;
    rpc_status status = {0};
    if (store_stat_directory(directory, &stats, &status) != RPC_OK)
        return program_tool_failed(name, json, &status);
    if (json) {
        program_print_json(json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "records",
            (json_int_t)stats.records, "chunks", (json_int_t)stats.chunk_count, "meta_used_bytes",
            (json_int_t)stats.meta.used_bytes, "meta_map_bytes_max",
            (json_int_t)stats.meta.map_bytes_max, "chunks_used_bytes",
            (json_int_t)stats.chunks.used_bytes, "chunks_map_bytes_max",
            (json_int_t)stats.chunks.map_bytes_max));
        return 0;
    }
    printf("%" PRIu64 " records, %" PRIu64 " chunks\n", stats.records, stats.chunk_count);
    print_map("meta", &stats.meta);
    print_map("chunks", &stats.chunks);
    return 0;
}

/* ---- the audit trail ---- */

int program__tool_audit(const char *name, const char *directory, bool json)
{
    uint64_t first = 0, records = 0;
    char head[65];
    rpc_status status = {0};
    if (trust_audit_verify(directory, &first, &records, head, &status) != RPC_OK)
        return program_tool_failed(name, json, &status);
    if (json)
        program_print_json(json_pack("{s:I, s:I, s:s}", "first", (json_int_t)first, "records",
            (json_int_t)records, "head", head));
    else
        printf("%" PRIu64 " records from number %" PRIu64 " on, the chain holds; its head is %s\n",
            records, first, head);
    return 0;
}
