/* SPDX-License-Identifier: Apache-2.0 */
#include "gltf_accessor.h"

#include <stdlib.h>
#include <string.h>

int media__word_of(const char *word, const char *const *words, size_t count)
{
    for (size_t i = 0; word && i < count; i++)
        if (strcmp(word, words[i]) == 0)
            return (int)i;
    return -1;
}

size_t media__component_bytes(int component_type)
{
    switch (component_type) {
    case MEDIA__BYTE:
    case MEDIA__UBYTE:
        return 1;
    case MEDIA__SHORT:
    case MEDIA__USHORT:
        return 2;
    default:
        return 4;
    }
}

void media__accessor_layout(const json_t *accessor, media__layout *ret)
{
    static const char *const types[] = {"SCALAR", "VEC2", "VEC3", "VEC4", "MAT2", "MAT3", "MAT4"};
    static const size_t components[] = {1, 2, 3, 4, 4, 9, 16}, rows[] = {1, 2, 3, 4, 2, 3, 4};
    const int type = media__word_of(
        json_string_value(json_object_get(accessor, "type")), types, sizeof types / sizeof *types);
    const int component_type = (int)json_integer_value(json_object_get(accessor, "componentType"));
    const size_t bytes = media__component_bytes(component_type);
    const size_t index = type < 0 ? 0 : (size_t)type; /* the schema knows no other */
    const size_t column = (rows[index] * bytes + 3) / 4 * 4;
    *ret = (media__layout){.component_type = component_type,
        .component_bytes = bytes,
        .components = components[index],
        .rows = rows[index],
        .bytes = index < 4 ? components[index] * bytes : components[index] / rows[index] * column,
        .normalized = json_is_true(json_object_get(accessor, "normalized"))};
}

static int digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

rpc_code media__base64_decode(
    const char *text, const char *where, uint8_t **ret, size_t *ret_size, rpc_status *reterr)
{
    size_t size = strlen(text), padding = 0;
    while (padding < 2 && size > padding && text[size - 1 - padding] == '=')
        padding++;
    if (size % 4 != 0)
        return media__gltf_bad(reterr, where, "its base64 is cut");
    uint8_t *bytes = malloc(size / 4 * 3 + 1);
    if (!bytes)
        return media__no_memory(reterr);
    size_t made = 0;
    uint32_t bits = 0;
    for (size_t i = 0; i < size; i++) {
        const int value = i >= size - padding ? 0 : digit(text[i]);
        if (value < 0) {
            free(bytes);
            return media__gltf_bad(reterr, where, "byte %zu of its base64 is none", i);
        }
        bits = bits << 6 | (uint32_t)value;
        if (i % 4 == 3) {
            bytes[made++] = (uint8_t)(bits >> 16);
            bytes[made++] = (uint8_t)(bits >> 8);
            bytes[made++] = (uint8_t)bits;
        }
    }
    *ret = bytes;
    *ret_size = made - padding;
    return RPC_OK;
}
