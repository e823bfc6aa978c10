/* SPDX-License-Identifier: Apache-2.0 */
#include "rules.h"

#include <strings.h>

enum {
    METHOD = 1u << 0,
    SCHEME = 1u << 1,
    PATH = 1u << 2,
    AUTHORITY = 1u << 3,
    HOST = 1u << 4,
    CONTENT_LENGTH = 1u << 5,
};

static bool is(rpc_bytes bytes, const char *text)
{
    return rpc_bytes_equal(bytes, rpc_bytes_str(text));
}

static bool first_of_its_kind(rpc__rules *rules, unsigned kind)
{
    const bool first = !(rules->seen & kind);
    rules->seen |= kind;
    return first;
}

/* ---- names and values (8.2.1) ---- */

/* RFC 9110, 5.6.2: a token, here without capital letters. */
static bool name_good(rpc_bytes name)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < name.size; i++) {
        const uint8_t c = name.data[i];
        const bool usual = (c >= 'a' && c <= 'z') || c == '-' || (c >= '0' && c <= '9');
        if (!usual && (c == 0 || !strchr(others, c)))
            return false;
    }
    return name.size > 0;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t';
}

/* RFC 9110, 5.5: printable, tabs, and what lies beyond ASCII. */
static bool value_good(rpc_bytes value)
{
    if (value.size == 0)
        return true;
    if (is_space(value.data[0]) || is_space(value.data[value.size - 1]))
        return false;
    for (size_t i = rpc_printable_run(value); i < value.size;) {
        const uint8_t c = value.data[i];
        if (c != '\t' && c < 0x80)
            return false;
        i++;
        i += rpc_printable_run(rpc_bytes_of(value.data + i, value.size - i));
    }
    return true;
}

/* Of pseudo-headers: parts of a URI (RFC 3986), a method. */
static bool part_good(rpc_bytes value)
{
    return rpc_printable_run(value) == value.size && !memchr(value.data, ' ', value.size);
}

/* ---- headers ---- */

static bool path_good(rpc__rules *rules, rpc_bytes value)
{
    rules->asterisk = is(value, "*");
    return rules->asterisk || (value.size > 0 && value.data[0] == '/');
}

/* 8.3.1; RFC 8441 is not offered, so there is no :protocol. */
static bool pseudo_good(rpc__rules *rules, rpc_bytes name, rpc_bytes value)
{
    if (rules->regular || (value.size > 0 && !part_good(value)))
        return false;
    if (is(name, ":path"))
        return first_of_its_kind(rules, PATH) && path_good(rules, value);
    if (is(name, ":authority"))
        return first_of_its_kind(rules, AUTHORITY);
    if (is(name, ":scheme"))
        return first_of_its_kind(rules, SCHEME) && value.size > 0;
    if (!is(name, ":method"))
        return false;
    rules->connect = is(value, "CONNECT");
    rules->options = is(value, "OPTIONS");
    return first_of_its_kind(rules, METHOD) && value.size > 0;
}

static bool length_good(rpc__rules *rules, rpc_bytes value)
{
    int64_t length = 0;
    for (size_t i = 0; i < value.size; i++) {
        const uint8_t c = value.data[i];
        if (c < '0' || c > '9' || length > (INT64_MAX - (c - '0')) / 10)
            return false;
        length = length * 10 + (c - '0');
    }
    rules->length = length;
    return value.size > 0 && first_of_its_kind(rules, CONTENT_LENGTH);
}

static bool is_trailers(rpc_bytes value)
{
    static const char text[] = "trailers";
    return value.size == sizeof text - 1 &&
           strncasecmp((const char *)value.data, text, sizeof text - 1) == 0;
}

/* 8.2.2: what spoke of the connection in HTTP/1.1 has no place. By length first: of a call's
 * headers hardly any has one of these. */
static bool regular_good(rpc__rules *rules, rpc_bytes name, rpc_bytes value)
{
    switch (name.size) {
    case 2:
        return !is(name, "te") || is_trailers(value);
    case 4:
        return !is(name, "host") || first_of_its_kind(rules, HOST);
    case 7:
        return !is(name, "upgrade");
    case 10:
        return !is(name, "connection") && !is(name, "keep-alive");
    case 14:
        return !is(name, "content-length") || length_good(rules, value);
    case 16:
        return !is(name, "proxy-connection");
    case 17:
        return !is(name, "transfer-encoding");
    default:
        return true;
    }
}

bool rpc__rules_header(rpc__rules *rules, rpc_bytes name, rpc_bytes value, bool trailer)
{
    if (name.size > 0 && name.data[0] == ':')
        return !trailer && pseudo_good(rules, name, value);
    rules->regular = true;
    return name_good(name) && value_good(value) && regular_good(rules, name, value);
}

bool rpc__rules_head(const rpc__rules *rules)
{
    const unsigned seen = rules->seen;
    if (rules->connect) /* 8.5 */
        return (seen & AUTHORITY) && !(seen & (SCHEME | PATH));
    const unsigned needed = METHOD | SCHEME | PATH;
    return (seen & needed) == needed && (seen & (AUTHORITY | HOST)) &&
           (!rules->asterisk || rules->options);
}

bool rpc__rules_data(rpc__rules *rules, size_t size)
{
    rules->received += (int64_t)size;
    return !(rules->seen & CONTENT_LENGTH) || rules->received <= rules->length;
}

bool rpc__rules_end(const rpc__rules *rules)
{
    return !(rules->seen & CONTENT_LENGTH) || rules->received == rules->length;
}
