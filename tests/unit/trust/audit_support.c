/* SPDX-License-Identifier: Apache-2.0 */
#include "audit_support.h"

#include <dirent.h>
#include <inttypes.h>
#include <unistd.h>

#define SEGMENT "audit-%020" PRIu64 ".log"

trust_audit *open_trail(trust_audit_options options)
{
    trust_audit *audit = NULL;
    rpc_status status = {.message = ""};
    if (trust_audit_open(&options, &audit, &status) != RPC_OK)
        fail_msg("%s", status.message);
    return audit;
}

rpc_code put(trust_audit *audit, const char *json, trust_audit_class durability)
{
    bool pending = true;
    const rpc_code code = trust_audit_write(
        audit, rpc_bytes_str(json), durability, NULL, NULL, &pending, NULL);
    assert_true(code != RPC_OK || !pending);
    return code;
}

void put_number(trust_audit *audit, unsigned number, trust_audit_class durability)
{
    char json[128];
    snprintf(json, sizeof json, "{\"n\": %u, \"text\": \"a record of the usual size\"}", number);
    assert_int_equal(put(audit, json, durability), RPC_OK);
}

void make_trail(const char *folder, unsigned count)
{
    trust_audit *audit = open_trail(
        (trust_audit_options){.directory = folder, .segment_bytes_max = 8192});
    for (unsigned i = 1; i <= count; i++) {
        put_number(audit, i, TRUST_AUDIT_BEFORE);
        if (i % 50 == 0) /* so that no segment grows beyond its size for want of syncs */
            assert_int_equal(trust_audit_flush(audit, NULL), RPC_OK);
    }
    trust_audit_close(audit);
}

uint64_t verified(const char *folder)
{
    uint64_t first = 0, records = UINT64_MAX;
    char head[65];
    rpc_status status = {.message = ""};
    if (trust_audit_verify(folder, &first, &records, head, &status) != RPC_OK)
        fail_msg("%s", status.message);
    return records;
}

bool see(void *ctx, rpc_bytes json)
{
    seen *s = ctx;
    char text[TRUST_AUDIT_RECORD_BYTES_MAX + 1];
    memcpy(text, json.data, json.size);
    text[json.size] = '\0';
    unsigned number = 0;
    assert_int_equal(sscanf(text, "{\"n\": %u", &number), 1);
    s->ordered = s->count == 0 || (s->ordered && number == s->last + 1);
    s->last = number;
    return ++s->count != s->stop_after;
}

seen scan_all(const char *folder)
{
    seen s = {.ordered = true};
    assert_int_equal(trust_audit_scan(folder, INT64_MIN, INT64_MAX, see, &s, NULL), RPC_OK);
    return s;
}

const char *path_of(const char *folder, uint64_t first)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/" SEGMENT, folder, first);
    return path;
}

char *load(const char *path, size_t *ret_size)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *data = calloc(1, 1 << 20);
    *ret_size = fread(data, 1, (1 << 20) - 1, file);
    fclose(file);
    return data;
}

void save(const char *path, const char *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

size_t line_at(const char *data, unsigned line)
{
    const char *at = data;
    for (; line > 0 && *at; line--)
        at = strchr(at, '\n') + 1;
    return (size_t)(at - data);
}

static int by_number(const void *a, const void *b)
{
    const uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

size_t segments_of(const char *folder, uint64_t ret[64])
{
    DIR *directory = opendir(folder);
    assert_non_null(directory);
    size_t count = 0;
    for (const struct dirent *entry; (entry = readdir(directory));)
        if (strncmp(entry->d_name, "audit-", 6) == 0 && count < 64)
            ret[count++] = strtoull(entry->d_name + 6, NULL, 10);
    closedir(directory);
    qsort(ret, count, sizeof *ret, by_number);
    return count;
}

void wait_healthy(trust_audit *audit)
{
    for (int i = 0; i < 3000 && !trust_audit_healthy(audit, NULL); i++)
        usleep(10000);
    assert_true(trust_audit_healthy(audit, NULL));
}
