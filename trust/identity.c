/* SPDX-License-Identifier: Apache-2.0 */
#include "trust_internal.h"

#include <string.h>

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_lower(uint8_t c)
{
    return c >= 'a' && c <= 'z';
}

static bool starts_with(rpc_bytes text, const char *prefix, size_t size)
{
    return text.size >= size && memcmp(text.data, prefix, size) == 0;
}

static bool msisdn_digits(const uint8_t *digits, size_t size)
{
    if (size < 5 || size > 15)
        return false;
    for (size_t i = 0; i < size; i++)
        if (!is_digit(digits[i]))
            return false;
    return true;
}

/* Labels of 1–63 lower-case letters, digits and inner hyphens, joined by single dots. */
static bool domain_valid(const uint8_t *domain, size_t size)
{
    size_t label = 0;

    for (size_t i = 0; i < size; i++) {
        uint8_t c = domain[i];
        if (c == '.') {
            if (label == 0 || domain[i - 1] == '-')
                return false;
            label = 0;
            continue;
        }
        if (!is_lower(c) && !is_digit(c) && !(c == '-' && label > 0))
            return false;
        if (++label > 63)
            return false;
    }
    return label > 0 && domain[size - 1] != '-';
}

static bool external_id_valid(rpc_bytes id)
{
    const uint8_t *at = id.size > 0 ? memchr(id.data, '@', id.size) : NULL;

    if (at == NULL || at == id.data)
        return false;
    for (const uint8_t *c = id.data; c < at; c++)
        if (*c <= 0x20 || *c >= 0x7f)
            return false;
    return domain_valid(at + 1, id.size - (size_t)(at - id.data) - 1);
}

bool trust_gpsi_valid(rpc_bytes text)
{
    if (text.size > TRUST_GPSI_MAX)
        return false;
    if (starts_with(text, "msisdn-", 7))
        return msisdn_digits(text.data + 7, text.size - 7);
    if (starts_with(text, "extid-", 6))
        return external_id_valid(rpc_bytes_of(text.data + 6, text.size - 6));
    return false;
}

rpc_code trust_gpsi_parse(rpc_bytes text, trust_gpsi *ret_gpsi, rpc_status *reterr)
{
    size_t prefix = 0;

    if (!trust_gpsi_valid(text)) {
        /* A prefix is never doubled: what starts like a GPSI must be one. */
        if (text.size > TRUST_GPSI_MAX - 6 || starts_with(text, "msisdn-", 7) ||
            starts_with(text, "extid-", 6) || !external_id_valid(text))
            return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                "user: not a GPSI; write msisdn- and 5 to 15 digits, or "
                "extid-local@domain with the domain in lower case");
        prefix = 6;
    }
    if (prefix > 0)
        memcpy(ret_gpsi->text, "extid-", prefix);
    memcpy(ret_gpsi->text + prefix, text.data, text.size);
    ret_gpsi->size = (uint8_t)(prefix + text.size);
    ret_gpsi->text[ret_gpsi->size] = '\0';
    return RPC_OK;
}

bool trust_asset_id_valid(rpc_bytes text)
{
    if (text.size == 0 || text.size > TRUST_ASSET_ID_MAX)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        bool upper = c >= 'A' && c <= 'Z';
        bool mark = c == '.' || c == '_' || c == '~' || c == '-';
        if (!upper && !is_lower(c) && !is_digit(c) && !mark)
            return false;
    }
    return true;
}

#define ANY_AT "extid-*@"

bool trust_gpsi_namespace_valid(const char *pattern)
{
    size_t size = strlen(pattern);
    if (strncmp(pattern, ANY_AT, sizeof ANY_AT - 1) == 0)
        return domain_valid((const uint8_t *)pattern + sizeof ANY_AT - 1, size - sizeof ANY_AT + 1);
    if (strcmp(pattern, "extid-") == 0)
        return true;
    if (strncmp(pattern, "msisdn-", 7) != 0 || size > 7 + 15)
        return false;
    return strspn(pattern + 7, "0123456789") == size - 7;
}

/* A domain is compared whole: "extid-*@example.com" does not let evil-example.com in. A local
 *  part has no '@', or the last one would decide; domains have none. */
bool trust__gpsi_in_namespace(const char *gpsi, const char *pattern)
{
    if (strncmp(pattern, ANY_AT, sizeof ANY_AT - 1) != 0)
        return strncmp(gpsi, pattern, strlen(pattern)) == 0;
    const char *at = strrchr(gpsi, '@');
    return strncmp(gpsi, "extid-", 6) == 0 && at &&
           strcmp(at + 1, pattern + sizeof ANY_AT - 1) == 0;
}
