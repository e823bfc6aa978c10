/* SPDX-License-Identifier: Apache-2.0 */
#include "query.h"

#include <stdlib.h>

bool sim_params_sound(const host_params *params)
{
    if (params->malformed)
        return false;
    for (size_t i = 0; i < params->count; i++) {
        const char *value;
        if (host_params_find(params, params->items[i].name, &value) != HOST_FOUND)
            return false;
    }
    return true;
}

const char *sim_param(const host_params *params, const char *name)
{
    const char *value = NULL;
    return host_params_find(params, name, &value) == HOST_FOUND && *value ? value : NULL;
}

static bool unreserved(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

size_t sim_percent_encode(const char *text, char *ret)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t size = 0;
    for (; *text; text++) {
        uint8_t c = (uint8_t)*text;
        size_t width = unreserved(c) ? 1 : 3;
        if (ret && width == 1)
            ret[size] = *text;
        if (ret && width == 3) {
            ret[size] = '%';
            ret[size + 1] = digits[c >> 4];
            ret[size + 2] = digits[c & 15];
        }
        size += width;
    }
    return size;
}

char *sim_uri_with(const char *uri, const char *const *pairs)
{
    size_t room = strlen(uri) + 1;
    for (size_t i = 0; pairs[i]; i += 2)
        if (pairs[i + 1])
            room += 2 + strlen(pairs[i]) + sim_percent_encode(pairs[i + 1], NULL);
    char *text = malloc(room);
    if (!text)
        return NULL;
    size_t at = strlen(uri);
    memcpy(text, uri, at);
    char between = strchr(uri, '?') ? '&' : '?';
    for (size_t i = 0; pairs[i]; i += 2) {
        if (!pairs[i + 1])
            continue;
        size_t name = strlen(pairs[i]);
        text[at++] = between;
        memcpy(text + at, pairs[i], name);
        at += name;
        text[at++] = '=';
        at += sim_percent_encode(pairs[i + 1], text + at);
        between = '&';
    }
    text[at] = '\0';
    return text;
}

rpc_bytes sim_words_next(const char **at)
{
    const char *from = *at + strspn(*at, " ");
    rpc_bytes word = rpc_bytes_of(from, strcspn(from, " "));
    *at = from + word.size;
    return word;
}

static bool have(const char *words, rpc_bytes wanted)
{
    for (rpc_bytes word = sim_words_next(&words); word.size; word = sim_words_next(&words))
        if (rpc_bytes_equal(word, wanted))
            return true;
    return false;
}

bool sim_words_have(const char *words, const char *word)
{
    return have(words, rpc_bytes_str(word));
}

bool sim_words_within(const char *words, const char *all)
{
    for (rpc_bytes word = sim_words_next(&words); word.size; word = sim_words_next(&words))
        if (!have(all, word))
            return false;
    return true;
}

bool sim_words_copy(const char *words, char *ret, size_t room)
{
    size_t size = 0;
    if (room == 0)
        return false;
    ret[0] = '\0';
    for (rpc_bytes word = sim_words_next(&words); word.size; word = sim_words_next(&words)) {
        if (have(ret, word))
            continue;
        if (size + (size > 0) + word.size >= room)
            return false;
        if (size > 0)
            ret[size++] = ' ';
        memcpy(ret + size, word.data, word.size);
        size += word.size;
        ret[size] = '\0';
    }
    return true;
}
