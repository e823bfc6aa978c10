/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters and cookies: bytes in, names and values out. Nothing here knows of connections. */
#include "http.h"

#include <string.h>

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes into room, which is never longer than the text. SIZE_MAX: an escape that is none. */
static size_t decode(rpc_bytes text, char *room)
{
    size_t out = 0;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        if (c == '+')
            c = ' ';
        else if (c == '%') {
            if (text.size - i < 3)
                return SIZE_MAX;
            int high = hex_digit(text.data[i + 1]), low = hex_digit(text.data[i + 2]);
            if (high < 0 || low < 0)
                return SIZE_MAX;
            c = (uint8_t)(high << 4 | low);
            i += 2;
        }
        room[out++] = (char)c;
    }
    return out;
}

/* NULL: not UTF-8, or with a NUL. *at moves behind the text's NUL. */
static const char *take_text(rpc_bytes text, char **at)
{
    char *room = *at;
    size_t size = decode(text, room);
    if (size == SIZE_MAX || !rpc_utf8_valid(rpc_bytes_of(room, size)))
        return NULL;
    room[size] = '\0';
    *at = room + size + 1;
    return room;
}

/* False: its name cannot be read. */
static bool take_param(rpc_bytes piece, char **at, host_param *ret)
{
    const uint8_t *equals = memchr(piece.data, '=', piece.size);
    size_t name_size = equals ? (size_t)(equals - piece.data) : piece.size;
    ret->name = take_text(rpc_bytes_of(piece.data, name_size), at);
    if (!ret->name)
        return false;
    ret->value = equals ? take_text(rpc_bytes_of(equals + 1, piece.size - name_size - 1), at)
                        : *at - 1; /* the name's NUL */
    return true;
}

void host_params_parse(rpc_bytes text, char *room, host_params *ret)
{
    ret->malformed = false;
    ret->count = 0;
    size_t start = 0;
    while (start < text.size && !ret->malformed) {
        const uint8_t *first = text.data + start;
        const uint8_t *end = memchr(first, '&', text.size - start);
        size_t size = end ? (size_t)(end - first) : text.size - start;
        start += size + 1;
        if (size == 0)
            continue;
        ret->malformed = ret->count == HOST_PARAMS_MAX ||
                         !take_param(rpc_bytes_of(first, size), &room, &ret->items[ret->count]);
        ret->count++;
    }
    if (ret->malformed)
        ret->count = 0;
}

host_found host_params_find(const host_params *params, const char *name, const char **ret)
{
    const host_param *found = NULL;
    if (params->malformed)
        return HOST_MALFORMED;
    for (size_t i = 0; i < params->count; i++) {
        if (strcmp(params->items[i].name, name) != 0)
            continue;
        if (found)
            return HOST_TWICE;
        found = &params->items[i];
    }
    if (!found)
        return HOST_ABSENT;
    if (!found->value)
        return HOST_MALFORMED;
    *ret = found->value;
    return HOST_FOUND;
}

static bool is_cookie_octet(uint8_t c)
{
    return c > ' ' && c < 0x7f && c != '"' && c != ',' && c != ';' && c != '\\';
}

static rpc_bytes trimmed(rpc_bytes text)
{
    while (text.size > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text.data++;
        text.size--;
    }
    while (text.size > 0 && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t'))
        text.size--;
    return text;
}

static host_found cookie_value(rpc_bytes value, rpc_bytes *ret)
{
    if (value.size >= 2 && value.data[0] == '"' && value.data[value.size - 1] == '"')
        value = rpc_bytes_of(value.data + 1, value.size - 2);
    for (size_t i = 0; i < value.size; i++)
        if (!is_cookie_octet(value.data[i]))
            return HOST_MALFORMED;
    *ret = value;
    return HOST_FOUND;
}

host_found host_cookie_find(rpc_bytes header, const char *name, rpc_bytes *ret)
{
    rpc_bytes wanted = rpc_bytes_str(name), value = {NULL, 0};
    bool found = false;
    for (size_t start = 0; start < header.size;) {
        const uint8_t *first = header.data + start;
        const uint8_t *end = memchr(first, ';', header.size - start);
        size_t size = end ? (size_t)(end - first) : header.size - start;
        start += size + 1;
        const uint8_t *equals = size > 0 ? memchr(first, '=', size) : NULL;
        if (!equals ||
            !rpc_bytes_equal(trimmed(rpc_bytes_of(first, (size_t)(equals - first))), wanted))
            continue;
        if (found)
            return HOST_TWICE;
        found = true;
        value = trimmed(rpc_bytes_of(equals + 1, size - (size_t)(equals - first) - 1));
    }
    return found ? cookie_value(value, ret) : HOST_ABSENT;
}
