/* SPDX-License-Identifier: Apache-2.0 */
#include "wire.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <string.h>

static const struct {
    char unit;
    int64_t us; /* of one unit; 0: nanoseconds */
} units[] = {{'n', 0}, {'u', 1}, {'m', 1000}, {'S', 1000000}, {'M', 60000000}, {'H', 3600000000}};
#define UNIT_COUNT (sizeof units / sizeof units[0])

bool rpc__timeout_parse(rpc_bytes text, int64_t *ret_us)
{
    if (text.size < 2 || text.size > 9)
        return false;
    int64_t value = 0;
    for (size_t i = 0; i + 1 < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (text.data[i] - '0');
    }
    for (size_t i = 0; i < UNIT_COUNT; i++) {
        if ((uint8_t)units[i].unit != text.data[text.size - 1])
            continue;
        *ret_us = units[i].us > 0 ? value * units[i].us : (value + 999) / 1000;
        return true;
    }
    return false;
}

void rpc__timeout_format(int64_t us, char ret_text[RPC__TIMEOUT_TEXT_BYTES])
{
    if (us < 0)
        us = 0;
    for (size_t i = 1; i < UNIT_COUNT; i++) {
        int64_t value = us / units[i].us + (us % units[i].us != 0);
        if (value > 99999999 && i + 1 < UNIT_COUNT)
            continue;
        if (value > 99999999)
            value = 99999999;
        snprintf(ret_text, RPC__TIMEOUT_TEXT_BYTES, "%u%c", (unsigned)value, units[i].unit);
        return;
    }
}

static const char hex_digits[] = "0123456789ABCDEF";

size_t rpc__percent_encode(rpc_bytes text, char *ret_text)
{
    size_t at = 0;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        if (c >= 0x20 && c <= 0x7E && c != '%') {
            ret_text[at++] = (char)c;
            continue;
        }
        ret_text[at++] = '%';
        ret_text[at++] = hex_digits[c >> 4];
        ret_text[at++] = hex_digits[c & 15];
    }
    ret_text[at] = '\0';
    return at;
}

void rpc__percent_decode(rpc_bytes text, char *ret_text, size_t room)
{
    size_t at = 0;
    for (size_t i = 0; i < text.size && at + 1 < room; i++) {
        uint8_t c = text.data[i];
        if (c == '%' && i + 2 < text.size && rpc_unhex(rpc_bytes_of(text.data + i + 1, 2), &c, 1))
            i += 2;
        ret_text[at++] = (char)c;
    }
    ret_text[at] = '\0';
    /* A cut in the middle of a character is not the peer's mistake. */
    for (size_t cut = 0; cut < 3 && at > 0 && at + 1 == room; cut++) {
        if (rpc_utf8_valid(rpc_bytes_of(ret_text, at)))
            return;
        ret_text[--at] = '\0';
    }
    if (rpc_utf8_valid(rpc_bytes_of(ret_text, at)))
        return;
    for (size_t i = 0; i < at; i++)
        if ((uint8_t)ret_text[i] < 0x20 || (uint8_t)ret_text[i] > 0x7E)
            ret_text[i] = '?';
}

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t rpc__base64_size(size_t size)
{
    return size / 3 * 4 + (size % 3 ? size % 3 + 1 : 0);
}

void rpc__base64_encode(rpc_bytes data, char *ret_text)
{
    size_t at = 0;
    uint32_t bits = 0;
    unsigned count = 0;
    for (size_t i = 0; i < data.size; i++) {
        bits = bits << 8 | data.data[i];
        for (count += 8; count >= 6; count -= 6)
            ret_text[at++] = base64_digits[bits >> (count - 6) & 63];
    }
    if (count > 0)
        ret_text[at++] = base64_digits[bits << (6 - count) & 63];
}

static int base64_value(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool rpc__base64_decode(rpc_bytes text, uint8_t *ret_data, size_t *ret_size)
{
    if (text.size % 4 == 0)
        for (int pad = 0; pad < 2 && text.size > 0 && text.data[text.size - 1] == '='; pad++)
            text.size--;
    if (text.size % 4 == 1)
        return false;
    size_t at = 0;
    uint32_t bits = 0;
    unsigned count = 0;
    for (size_t i = 0; i < text.size; i++) {
        int value = base64_value(text.data[i]);
        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
        count += 6;
        if (count >= 8) {
            count -= 8;
            ret_data[at++] = (uint8_t)(bits >> count);
        }
    }
    *ret_size = at;
    return true;
}

static bool name_is(rpc_bytes name, const char *text)
{
    return rpc_bytes_equal(name, rpc_bytes_str(text));
}

static bool name_reserved(rpc_bytes name)
{
    static const char *const reserved[] = {"te", "content-type", "user-agent", "connection",
        "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "host", "content-length"};
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
        if (name_is(name, reserved[i]))
            return true;
    return name.size >= 5 && memcmp(name.data, "grpc-", 5) == 0 &&
           !name_is(name, "grpc-status-details-bin") && !name_is(name, "grpc-retry-pushback-ms");
}

bool rpc__metadata_name_valid(rpc_bytes name)
{
    if (name.size == 0 || name.size > 256)
        return false;
    for (size_t i = 0; i < name.size; i++) {
        uint8_t c = name.data[i];
        bool good = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
                    c == '-';
        if (!good)
            return false;
    }
    return !name_reserved(name);
}

bool rpc__metadata_name_binary(rpc_bytes name)
{
    return name.size > 4 && memcmp(name.data + name.size - 4, "-bin", 4) == 0;
}

bool rpc__metadata_value_valid(rpc_bytes value)
{
    if (rpc_printable_run(value) < value.size)
        return false;
    /* HTTP strips white space at the ends, so it cannot be carried. */
    return value.size == 0 || (value.data[0] != ' ' && value.data[value.size - 1] != ' ');
}

rpc_code rpc__code_of_http(int status)
{
    switch (status) {
    case 400:
        return RPC_INTERNAL;
    case 401:
        return RPC_UNAUTHENTICATED;
    case 403:
        return RPC_PERMISSION_DENIED;
    case 404:
        return RPC_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
        return RPC_UNAVAILABLE;
    default:
        return RPC_UNKNOWN;
    }
}

rpc_code rpc__code_of_reset(uint32_t h2_error)
{
    switch (h2_error) {
    case NGHTTP2_REFUSED_STREAM:
        return RPC_UNAVAILABLE;
    case NGHTTP2_CANCEL:
        return RPC_CANCELLED;
    case NGHTTP2_ENHANCE_YOUR_CALM:
        return RPC_RESOURCE_EXHAUSTED;
    case NGHTTP2_INADEQUATE_SECURITY:
        return RPC_PERMISSION_DENIED;
    default:
        return RPC_INTERNAL;
    }
}

static const char *const code_texts[] = {
    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"};

const char *rpc__code_text(rpc_code code)
{
    return code_texts[(unsigned)code <= RPC_UNAUTHENTICATED ? code : RPC_UNKNOWN];
}

rpc_code rpc__code_parse(rpc_bytes text)
{
    for (unsigned i = 0; i <= RPC_UNAUTHENTICATED; i++)
        if (name_is(text, code_texts[i]))
            return (rpc_code)i;
    return RPC_UNKNOWN;
}

bool rpc__content_type_valid(rpc_bytes value)
{
    static const char type[] = "application/grpc";
    const size_t size = sizeof type - 1;
    if (value.size < size || memcmp(value.data, type, size) != 0)
        return false;
    return value.size == size || value.data[size] == '+' || value.data[size] == ';';
}
