/* SPDX-License-Identifier: Apache-2.0 */
/** What the tests of the audit trail share. Whatever goes wrong in here fails the test. */
#ifndef DACM_TEST_AUDIT_SUPPORT_H
#define DACM_TEST_AUDIT_SUPPORT_H

#include "audit.h"
#include "test.h"

trust_audit *open_trail(trust_audit_options options);
/** A record that nobody waits for. */
rpc_code put(trust_audit *audit, const char *json, trust_audit_class durability);
/** {"n": number, …} */
void put_number(trust_audit *audit, unsigned number, trust_audit_class durability);
/** Leaves a closed trail of put_number() 1..count, in segments of 8 KiB. */
void make_trail(const char *folder, unsigned count);
/** How many records there are in a chain that holds. */
uint64_t verified(const char *folder);

typedef struct seen {
    unsigned count, last, stop_after;
    bool ordered;
} seen;

/** Of put_number(), for trust_audit_scan() with a seen. */
bool see(void *ctx, rpc_bytes json);
seen scan_all(const char *folder);

/** Of a segment; valid until the next call. */
const char *path_of(const char *folder, uint64_t first);
/** At most 1 MiB, with a NUL behind it; free(). */
char *load(const char *path, size_t *ret_size);
void save(const char *path, const char *data, size_t size);
/** Where a line of data starts, from 0; the end behind the last one. */
size_t line_at(const char *data, unsigned line);
/** The numbers of the segments, ascending. */
size_t segments_of(const char *folder, uint64_t ret[64]);
void wait_healthy(trust_audit *audit);

#endif
