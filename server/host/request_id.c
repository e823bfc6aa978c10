/* SPDX-License-Identifier: Apache-2.0 */
#include "host.h"

#include <string.h>

/* RFC 4648 base32hex in lower case: its order is the order of the numbers. */
static const char digits[] = "0123456789abcdefghijklmnopqrstuv";

#define TIME_CHARS 10 /* 50 bits of milliseconds */

/* The kernel is asked once for many IDs: they must differ, not be secret. */
static void draw(uint8_t *ret, size_t size)
{
    static _Thread_local struct {
        uint8_t bytes[1024];
        size_t left;
    } pool;
    if (pool.left < size) {
        rpc_random(pool.bytes, sizeof pool.bytes);
        pool.left = sizeof pool.bytes;
    }
    pool.left -= size;
    memcpy(ret, pool.bytes + pool.left, size);
}

void host_request_id(const rpc_clock *clock, char ret[HOST_REQUEST_ID_CHARS + 1])
{
    uint64_t ms = (uint64_t)rpc_clock_wall_ms(clock);
    for (int i = TIME_CHARS - 1; i >= 0; i--) {
        ret[i] = digits[ms & 31];
        ms >>= 5;
    }
    uint8_t drawn[HOST_REQUEST_ID_CHARS - TIME_CHARS];
    draw(drawn, sizeof drawn);
    for (size_t i = 0; i < sizeof drawn; i++)
        ret[TIME_CHARS + i] = digits[drawn[i] & 31];
    ret[HOST_REQUEST_ID_CHARS] = '\0';
}

int64_t host_request_id_ms(const char *text)
{
    if (strnlen(text, HOST_REQUEST_ID_CHARS + 1) != HOST_REQUEST_ID_CHARS ||
        strspn(text, digits) != HOST_REQUEST_ID_CHARS)
        return -1;
    int64_t ms = 0;
    for (int i = 0; i < TIME_CHARS; i++)
        ms = ms << 5 | (strchr(digits, text[i]) - digits);
    return ms;
}
