/* SPDX-License-Identifier: Apache-2.0 */
/* Foreign JSON and base64url, strictly. */
#include "trust_internal.h"

#include <malloc.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 16

/* Brackets outside strings: what a recursive parser would descend. */
static bool shallow(rpc_bytes text)
{
    unsigned depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == '{' || c == '['))
            depth++;
        else if (!quoted && (c == '}' || c == ']') && depth > 0)
            depth--;
        if (depth > DEPTH_MAX)
            return false;
    }
    return true;
}

static void overwrite_and_free(void *memory)
{
    if (memory)
        sodium_memzero(memory, malloc_usable_size(memory));
    free(memory);
}

void trust_json_overwrite(void)
{
    json_set_alloc_funcs(malloc, overwrite_and_free);
}

json_t *trust_json_parse(rpc_bytes text, size_t bytes_max, const char *what, rpc_status *reterr)
{
    if (text.size > bytes_max || !shallow(text)) {
        rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "trust: %s has more than %zu bytes or is nested deeper than %d", what, bytes_max,
            DEPTH_MAX);
        return NULL;
    }
    json_error_t error;
    json_t *json = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, &error);
    if (!json) /* jansson's sentence quotes what it read: tokens and keys are in no error */
        rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "trust: %s is not JSON at byte %d%s", what,
            error.position,
            json_error_code(&error) == json_error_duplicate_key ? ": a member is there twice" : "");
    return json;
}

bool trust__json_int(const json_t *object, const char *name, int64_t *ret)
{
    const json_t *member = json_object_get(object, name);
    if (!json_is_integer(member))
        return false;
    json_int_t value = json_integer_value(member);
    if (value < 0 || value >= 1LL << 53)
        return false;
    *ret = value;
    return true;
}

bool trust__json_uint(const json_t *object, const char *name, uint64_t *ret)
{
    int64_t value = 0;
    if (!trust__json_int(object, name, &value))
        return false;
    *ret = (uint64_t)value;
    return true;
}

bool trust__json_text(const json_t *object, const char *name, size_t least, char *ret, size_t room)
{
    const json_t *member = json_object_get(object, name);
    size_t size = json_string_length(member);
    if (!json_is_string(member) || size < least || size >= room)
        return false;
    memcpy(ret, json_string_value(member), size + 1);
    return true;
}

bool trust__is_printable(const char *text)
{
    size_t size = 0;
    for (; text[size]; size++)
        if (text[size] <= ' ' || text[size] > '~')
            return false;
    return size > 0;
}

uint8_t *trust__base64url_decode(rpc_bytes text, size_t *ret_size)
{
    size_t room = text.size / 4 * 3 + 3;
    uint8_t *bytes = malloc(room + 1);
    if (!bytes)
        return NULL;
    if (text.size == 0) {
        *ret_size = 0;
        return bytes;
    }
    /* libsodium 1.0.18 takes the bytes AD and DF for '-' and '_' */
    if (rpc_printable_run(text) != text.size ||
        sodium_base642bin(bytes, room, (const char *)text.data, text.size, NULL, ret_size, NULL,
            sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0) {
        free(bytes);
        return NULL;
    }
    bytes[*ret_size] = 0;
    return bytes;
}

char *trust__base64url_encode(rpc_bytes bytes)
{
    size_t room = sodium_base64_encoded_len(bytes.size, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    char *text = malloc(room);
    if (text)
        sodium_bin2base64(
            text, room, bytes.data, bytes.size, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    return text;
}

bool trust__is_audience(const json_t *claim, const char *const *audiences)
{
    bool found = false;
    size_t i;
    json_t *entry;
    if (json_is_string(claim))
        return trust__is_one_of(json_string_value(claim), audiences);
    if (!json_is_array(claim))
        return false;
    json_array_foreach(claim, i, entry)
    {
        if (!json_is_string(entry))
            return false;
        found = found || trust__is_one_of(json_string_value(entry), audiences);
    }
    return found;
}

bool trust__is_one_of(const char *text, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(*list, text) == 0)
            return true;
    return false;
}
