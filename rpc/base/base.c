/* SPDX-License-Identifier: Apache-2.0 */
#include "base.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

static const char *const code_names[] = {
    [RPC_OK] = "OK",
    [RPC_CANCELLED] = "CANCELLED",
    [RPC_UNKNOWN] = "UNKNOWN",
    [RPC_INVALID_ARGUMENT] = "INVALID_ARGUMENT",
    [RPC_DEADLINE_EXCEEDED] = "DEADLINE_EXCEEDED",
    [RPC_NOT_FOUND] = "NOT_FOUND",
    [RPC_ALREADY_EXISTS] = "ALREADY_EXISTS",
    [RPC_PERMISSION_DENIED] = "PERMISSION_DENIED",
    [RPC_RESOURCE_EXHAUSTED] = "RESOURCE_EXHAUSTED",
    [RPC_FAILED_PRECONDITION] = "FAILED_PRECONDITION",
    [RPC_ABORTED] = "ABORTED",
    [RPC_OUT_OF_RANGE] = "OUT_OF_RANGE",
    [RPC_UNIMPLEMENTED] = "UNIMPLEMENTED",
    [RPC_INTERNAL] = "INTERNAL",
    [RPC_UNAVAILABLE] = "UNAVAILABLE",
    [RPC_DATA_LOSS] = "DATA_LOSS",
    [RPC_UNAUTHENTICATED] = "UNAUTHENTICATED",
};

const char *rpc_code_name(rpc_code code)
{
    if ((unsigned)code >= sizeof code_names / sizeof code_names[0])
        return code_names[RPC_UNKNOWN];
    return code_names[code];
}

rpc_code rpc_status_set(rpc_status *status, rpc_code code, const char *format, ...)
{
    if (!status)
        return code;
    va_list args;
    va_start(args, format);
    int wanted = vsnprintf(status->message, sizeof status->message, format, args);
    va_end(args);
    if (wanted < 0)
        status->message[0] = '\0';
    if (wanted >= (int)sizeof status->message) {
        /* A character cut in half would make the whole message invalid UTF-8. */
        size_t end = sizeof status->message - 1;
        while (end > 0 && ((uint8_t)status->message[end - 1] & 0xC0) == 0x80)
            end--;
        if (end > 0 && ((uint8_t)status->message[end - 1] & 0x80))
            status->message[end - 1] = '\0';
    }
    status->code = code;
    return code;
}

rpc_code rpc_status_text(rpc_status *status, rpc_code code, const char *text)
{
    if (!status)
        return code;
    size_t size = strlen(text);
    if (size >= sizeof status->message)
        return rpc_status_set(status, code, "%s", text);
    memmove(status->message, text, size + 1);
    status->code = code;
    return code;
}

/* Sixteen bytes at a time, in the vectors that both GCC and clang have on every machine. */
typedef uint8_t vector16 __attribute__((vector_size(16)));

static bool printable16(const uint8_t *at)
{
    vector16 bytes;
    uint64_t halves[2];
    memcpy(&bytes, at, sizeof bytes);
    bytes = (vector16)((bytes - 0x20) > 0x5e); /* all ones where a byte is not 0x20..0x7e */
    memcpy(halves, &bytes, sizeof halves);
    return (halves[0] | halves[1]) == 0;
}

size_t rpc_printable_run(rpc_bytes bytes)
{
    size_t i = 0;
    while (i + sizeof(vector16) <= bytes.size && printable16(bytes.data + i))
        i += sizeof(vector16);
    while (i < bytes.size && bytes.data[i] >= 0x20 && bytes.data[i] < 0x7f)
        i++;
    return i;
}

bool rpc_text_copy(char *ret_text, size_t room, const char *text)
{
    size_t size = strlen(text);
    bool fits = size < room;
    memcpy(ret_text, text, fits ? size : 0);
    ret_text[fits ? size : 0] = '\0';
    return fits;
}

void rpc_hex(rpc_bytes bytes, char *ret_text)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes.size; i++) {
        ret_text[2 * i] = digits[bytes.data[i] >> 4];
        ret_text[2 * i + 1] = digits[bytes.data[i] & 15];
    }
    ret_text[2 * bytes.size] = '\0';
}

#define NO_DIGIT 16u

static unsigned unhex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - (unsigned)'0';
    if (c >= 'a' && c <= 'f')
        return c - (unsigned)'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - (unsigned)'A' + 10;
    return NO_DIGIT;
}

bool rpc_unhex(rpc_bytes text, uint8_t *ret_data, size_t size)
{
    if (text.size != 2 * size)
        return false;
    for (size_t i = 0; i < text.size; i++)
        if (unhex_digit(text.data[i]) == NO_DIGIT)
            return false;
    for (size_t i = 0; i < size; i++)
        ret_data[i] = (uint8_t)(unhex_digit(text.data[2 * i]) << 4 |
                                unhex_digit(text.data[2 * i + 1]));
    return true;
}

/* Length of the well-formed sequence at p (RFC 3629), 0 when there is none. */
static size_t utf8_sequence(const uint8_t *p, size_t left)
{
    if (p[0] == 0)
        return 0;
    if (p[0] < 0x80)
        return 1;
    size_t length = p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : 2;
    if (p[0] < 0xC2 || p[0] > 0xF4 || left < length)
        return 0;
    uint8_t low = p[0] == 0xE0 ? 0xA0 : p[0] == 0xF0 ? 0x90 : 0x80;
    uint8_t high = p[0] == 0xED ? 0x9F : p[0] == 0xF4 ? 0x8F : 0xBF;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    return length;
}

bool rpc_utf8_valid(rpc_bytes bytes)
{
    for (size_t i = rpc_printable_run(bytes); i < bytes.size;) {
        size_t length = utf8_sequence(bytes.data + i, bytes.size - i);
        if (length == 0)
            return false;
        i += length;
    }
    return true;
}

void rpc_text_printable(char *text)
{
    size_t size = strlen(text);
    for (size_t i = 0, length; i < size; i += length) {
        uint8_t c = (uint8_t)text[i], next = (uint8_t)text[i + 1];
        length = utf8_sequence((const uint8_t *)text + i, size - i);
        if (length == 0) {
            text[i] = '\0';
            return;
        }
        if (c < ' ' || c == 0x7f || (c == 0xc2 && next < 0xa0))
            memset(text + i, '?', length);
    }
}

static int64_t system_monotonic_us(void *ctx)
{
    (void)ctx;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t system_wall_ms(void *ctx)
{
    (void)ctx;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

const rpc_clock *rpc_clock_system(void)
{
    static const rpc_clock clock = {system_monotonic_us, system_wall_ms, NULL};
    return &clock;
}

void rpc_random(void *data, size_t size)
{
    uint8_t *at = data;
    while (size > 0) {
        ssize_t got = getrandom(at, size, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            fprintf(
                stderr, "rpc: the kernel gives no random bytes (getrandom): %s\n", strerror(errno));
            abort();
        }
        at += got;
        size -= (size_t)got;
    }
}
