/* SPDX-License-Identifier: Apache-2.0 */
/* JSON in and out, with everything that we know nothing of. */
#include "gltf.h"

#include "cleanup.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

rpc_code media__gltf_bad(rpc_status *reterr, const char *place, const char *format, ...)
{
    char text[256], shown[112];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    snprintf(shown, sizeof shown, "%s", place);
    rpc_text_printable(shown);
    rpc_text_printable(text);
    return rpc_status_set(
        reterr, RPC_INVALID_ARGUMENT, "gltf: %s: %s", shown[0] ? shown : "/", text);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Before a parser that descends. */
static bool shallow(rpc_bytes text)
{
    unsigned depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < text.size; i++) {
        const uint8_t c = text.data[i];
        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == '{' || c == '['))
            depth++;
        else if (!quoted && (c == '}' || c == ']') && depth > 0)
            depth--;
        if (depth > MEDIA__JSON_DEPTH_MAX)
            return false;
    }
    return true;
}

rpc_code media__json_read(rpc_bytes text, json_t **ret, rpc_status *reterr)
{
    if (text.size > MEDIA__JSON_BYTES_MAX)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "gltf: its JSON has %zu bytes, at most %u are read", text.size, MEDIA__JSON_BYTES_MAX);
    if (!shallow(text))
        return media__gltf_bad(reterr, "JSON", "is nested deeper than %d", MEDIA__JSON_DEPTH_MAX);
    json_error_t error;
    json_t *json = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, &error);
    if (!json)
        return json_error_code(&error) == json_error_out_of_memory
                   ? media__no_memory(reterr)
                   : media__gltf_bad(reterr, "JSON", "byte %d: %s", error.position, error.text);
    if (!json_is_object(json)) {
        json_decref(json);
        return media__gltf_bad(reterr, "JSON", "is no object");
    }
    *ret = json;
    return RPC_OK;
}

/* ---- writing --------------------------------------------------------------------------------- */

typedef struct out {
    char *text;
    size_t size, room;
    bool failed;
} out;

static void put(out *o, const char *text, size_t size)
{
    if (o->failed)
        return;
    if (size > o->room - o->size) {
        const size_t room = (o->size + size) * 2 + 256;
        char *grown = realloc(o->text, room);
        if (!grown) {
            o->failed = true;
            return;
        }
        o->text = grown;
        o->room = room;
    }
    memcpy(o->text + o->size, text, size);
    o->size += size;
}

static void put_text(out *o, const char *text)
{
    put(o, text, strlen(text));
}

/* What jansson escapes and quotes is right for all of JSON. */
static void put_string(out *o, const json_t *string)
{
    RPC_AUTOFREE char *text = json_dumps(string, JSON_ENCODE_ANY);
    if (text)
        put_text(o, text);
    else
        o->failed = true;
}

static void put_real(out *o, double value)
{
    char text[40];
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    put_text(o, text);
    if (!strpbrk(text, ".e")) /* it was no integer, and stays none */
        put_text(o, ".0");
}

static void put_value(out *o, const json_t *value);

static void put_array(out *o, const json_t *array)
{
    put_text(o, "[");
    for (size_t i = 0; i < json_array_size(array); i++) {
        if (i)
            put_text(o, ",");
        put_value(o, json_array_get(array, i));
    }
    put_text(o, "]");
}

static void put_object(out *o, const json_t *object)
{
    bool first = true;
    put_text(o, "{");
    json_t *mutable = (json_t *)(uintptr_t)object; /* jansson's iterators take no const */
    for (void *at = json_object_iter(mutable); at; at = json_object_iter_next(mutable, at)) {
        json_t *key = json_string(json_object_iter_key(at));
        if (!first)
            put_text(o, ",");
        first = false;
        if (key)
            put_string(o, key);
        else
            o->failed = true;
        json_decref(key);
        put_text(o, ":");
        put_value(o, json_object_iter_value(at));
    }
    put_text(o, "}");
}

static void put_value(out *o, const json_t *value)
{
    char text[32];
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        put_object(o, value);
        break;
    case JSON_ARRAY:
        put_array(o, value);
        break;
    case JSON_STRING:
        put_string(o, value);
        break;
    case JSON_INTEGER:
        snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        put_text(o, text);
        break;
    case JSON_REAL:
        put_real(o, json_real_value(value));
        break;
    case JSON_TRUE:
        put_text(o, "true");
        break;
    case JSON_FALSE:
        put_text(o, "false");
        break;
    case JSON_NULL:
        put_text(o, "null");
        break;
    }
}

char *media__json_write(const json_t *json, size_t *ret_size)
{
    out o = {NULL, 0, 0, false};
    put_value(&o, json);
    put(&o, "", 1); /* a NUL behind it */
    if (o.failed) {
        free(o.text);
        return NULL;
    }
    *ret_size = o.size - 1;
    return o.text;
}
