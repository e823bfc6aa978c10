/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters of queries and forms, and cookies: what is given out is text, in bounds, and what a
 * look-up says agrees with the list; what is written anew from it is read as the same. */
#include "fuzz.h"
#include "http.h"

static char room[1 << 16], again_room[1 << 18], text[1 << 18];

static bool is_text(const char *string)
{
    return rpc_utf8_valid(rpc_bytes_str(string));
}

static size_t escape(char *to, const char *from)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t size = 0;
    for (; *from; from++) {
        to[size++] = '%';
        to[size++] = digits[(uint8_t)*from >> 4];
        to[size++] = digits[(uint8_t)*from & 15];
    }
    return size;
}

static void check_written_anew(const host_params *params)
{
    static host_params again;
    size_t size = 0;
    for (size_t i = 0; i < params->count; i++) {
        size += escape(text + size, params->items[i].name);
        text[size++] = '=';
        if (params->items[i].value)
            size += escape(text + size, params->items[i].value);
        else
            text[size++] = '%';
        text[size++] = '&';
    }
    host_params_parse(rpc_bytes_of(text, size), again_room, &again);
    MUST(!again.malformed && again.count == params->count);
    for (size_t i = 0; i < again.count; i++) {
        MUST(strcmp(again.items[i].name, params->items[i].name) == 0);
        MUST(!again.items[i].value == !params->items[i].value);
        MUST(!again.items[i].value || strcmp(again.items[i].value, params->items[i].value) == 0);
    }
}

static void check_find(const host_params *params, const char *name)
{
    size_t count = 0;
    const char *value = NULL, *found = NULL;
    for (size_t i = 0; i < params->count; i++)
        if (strcmp(params->items[i].name, name) == 0) {
            count++;
            value = params->items[i].value;
        }
    host_found what = host_params_find(params, name, &found);
    MUST(what == (params->malformed ? HOST_MALFORMED
                     : count == 0   ? HOST_ABSENT
                     : count > 1    ? HOST_TWICE
                     : value        ? HOST_FOUND
                                    : HOST_MALFORMED));
    MUST(what == HOST_FOUND ? found == value : found == NULL);
}

static void check_params(rpc_bytes bytes)
{
    static host_params params;
    host_params_parse(bytes, room, &params);
    MUST(params.count <= HOST_PARAMS_MAX && (!params.malformed || params.count == 0));
    size_t used = 0;
    for (size_t i = 0; i < params.count; i++) {
        const host_param *one = &params.items[i];
        MUST(one->name >= room && one->name + strlen(one->name) <= room + bytes.size);
        MUST(is_text(one->name));
        used += strlen(one->name) + 1;
        if (!one->value)
            continue;
        MUST(one->value >= one->name && one->value + strlen(one->value) <= room + bytes.size);
        MUST(is_text(one->value));
        used += strlen(one->value);
        check_find(&params, one->name);
    }
    MUST(used <= bytes.size + 1);
    check_find(&params, "state");
    check_written_anew(&params);
}

static void check_cookie(rpc_bytes header)
{
    rpc_bytes value = {NULL, 0};
    host_found found = host_cookie_find(header, "s", &value);
    MUST((found == HOST_FOUND) == (value.data != NULL));
    if (found != HOST_FOUND)
        return;
    MUST(value.data >= header.data && value.data + value.size <= header.data + header.size);
    for (size_t i = 0; i < value.size; i++)
        MUST(value.data[i] > ' ' && value.data[i] < 0x7f && !strchr("\",;\\", value.data[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size >= sizeof room / 2)
        return 0;
    /* A copy of just this size: what is read beyond it is seen. */
    uint8_t *bytes = malloc(size ? size : 1);
    MUST(bytes);
    memcpy(bytes, data, size);
    check_params(rpc_bytes_of(bytes, size));
    check_cookie(rpc_bytes_of(bytes, size));
    free(bytes);
    return 0;
}
