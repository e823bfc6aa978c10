/* SPDX-License-Identifier: Apache-2.0 */
/* JSON to the wire. Every refusal says where in the JSON: "items[3].size: …". */
#include "cleanup.h"
#include "dynamic_internal.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <sodium.h>
#include <stdarg.h>
#include <string.h>

#define PLACE_ROOM 160

/* ---- where and why ------------------------------------------------------------------------------
 */

/** One step of the way down; on the stack of who takes it. */
typedef struct place {
    const struct place *up;
    const char *name; /* NULL: an element */
    size_t index;
    unsigned depth; /* messages above */
} place;

static size_t place_text(const place *at, char *ret, size_t room)
{
    if (!at || (!at->name && !at->up))
        return 0;
    size_t size = place_text(at->up, ret, room);
    int more = 0;
    if (size < room && at->name)
        more = snprintf(ret + size, room - size, "%s%.60s", size > 0 ? "." : "", at->name);
    else if (size < room)
        more = snprintf(ret + size, room - size, "[%zu]", at->index);
    return more > 0 ? size + (size_t)more : size;
}

RPC_PRINTF(3, 4)
static rpc_code refuse(const place *at, rpc_status *reterr, const char *format, ...)
{
    char where[PLACE_ROOM] = "", why[200];
    va_list arguments;
    place_text(at, where, sizeof where);
    va_start(arguments, format);
    vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    return rpc_status_set(
        reterr, RPC_INVALID_ARGUMENT, "%s: %s", where[0] ? where : "the message", why);
}

static rpc_code no_memory(rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "no memory for the message");
}

/* ---- bytes
 * ------------------------------------------------------------------------------------------ */

typedef struct buffer {
    uint8_t *data;
    size_t size, room;
    bool failed; /* stays */
} buffer;

static void buffer_done(buffer *out)
{
    free(out->data);
}

static void put(buffer *out, const void *data, size_t size)
{
    if (size > out->room - out->size) {
        size_t room = out->room > 0 ? out->room : 128;
        while (room - out->size < size && room <= SIZE_MAX / 2)
            room *= 2;
        uint8_t *more = room - out->size >= size ? realloc(out->data, room) : NULL;
        out->failed |= !more;
        if (!more)
            return;
        out->data = more;
        out->room = room;
    }
    if (size > 0)
        memcpy(out->data + out->size, data, size);
    out->size += size;
}

static void put_varint(buffer *out, uint64_t value)
{
    uint8_t bytes[10];
    size_t size = 0;
    for (; value >= 0x80; value >>= 7)
        bytes[size++] = (uint8_t)(value | 0x80);
    bytes[size++] = (uint8_t)value;
    put(out, bytes, size);
}

static void put_fixed(buffer *out, uint64_t value, size_t size)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(value >> 8 * i);
    put(out, bytes, size);
}

static void put_key(buffer *out, const dynamic_field *field, dynamic_wire wire)
{
    put_varint(out, (uint64_t)field->number << 3 | wire);
}

static void put_bytes(buffer *out, const void *data, size_t size)
{
    put_varint(out, size);
    put(out, data, size);
}

/* ---- scalars
 * ---------------------------------------------------------------------------------------- */

/** A whole number of [-2^63, 2^64) from a number or text; *ret_negative tells how to read it. */
static bool whole_number(const json_t *json, uint64_t *ret, bool *ret_negative)
{
    const char *text = json_string_value(json);
    if (json_is_integer(json)) {
        *ret = (uint64_t)json_integer_value(json);
        *ret_negative = json_integer_value(json) < 0;
        return true;
    }
    if (json_is_real(json)) {
        const double value = json_real_value(json);
        if (value != floor(value) || value < -9223372036854775808.0 ||
            value >= 18446744073709551616.0)
            return false;
        *ret_negative = value < 0;
        *ret = value < 0 ? (uint64_t)(int64_t)value : (uint64_t)value;
        return true;
    }
    if (!text || strlen(text) != json_string_length(json) || text[0] == 0 || strlen(text) > 20 ||
        strspn(text + (text[0] == '-'), "0123456789") != strlen(text + (text[0] == '-')))
        return false;
    char *end = NULL;
    errno = 0;
    *ret_negative = text[0] == '-';
    *ret = *ret_negative ? (uint64_t)strtoll(text, &end, 10) : strtoull(text, &end, 10);
    return errno == 0 && end != text && *end == 0;
}

/** As the wire carries it before zigzag. */
static rpc_code integer(const dynamic_field *field, const json_t *json, const place *at,
    uint64_t *ret, rpc_status *reterr)
{
    uint64_t value;
    bool negative, fits = true;
    if (!whole_number(json, &value, &negative))
        return refuse(at, reterr, "a whole number is wanted, of at most 64 bits");
    switch (field->type) {
    case TYPE_INT32:
    case TYPE_SINT32:
    case TYPE_SFIXED32:
    case TYPE_ENUM:
        fits = negative ? (int64_t)value >= INT32_MIN : value <= INT32_MAX;
        break;
    case TYPE_UINT32:
    case TYPE_FIXED32:
        fits = !negative && value <= UINT32_MAX;
        break;
    case TYPE_INT64:
    case TYPE_SINT64:
    case TYPE_SFIXED64:
        fits = negative || value <= INT64_MAX;
        break;
    default:
        fits = !negative || value == 0;
    }
    if (!fits)
        return refuse(at, reterr, "the number does not fit the field's type");
    *ret = value;
    return RPC_OK;
}

static bool real_text(const char *text, double *ret)
{
    char *end = NULL;
    if (strcmp(text, "NaN") == 0)
        *ret = (double)NAN;
    else if (strcmp(text, "Infinity") == 0)
        *ret = HUGE_VAL;
    else if (strcmp(text, "-Infinity") == 0)
        *ret = -HUGE_VAL;
    else if (text[0] == 0 || strspn(text, "+-.0123456789eE") != strlen(text))
        return false;
    else {
        *ret = strtod(text, &end);
        return *end == 0 && isfinite(*ret);
    }
    return true;
}

static rpc_code put_real(buffer *out, const dynamic_field *field, const json_t *json,
    const place *at, rpc_status *reterr)
{
    double value = 0;
    if (json_is_number(json))
        value = json_number_value(json);
    else if (!json_is_string(json) || !real_text(json_string_value(json), &value))
        return refuse(at, reterr, "a number is wanted, or \"NaN\", \"Infinity\", \"-Infinity\"");
    if (field->type == TYPE_DOUBLE) {
        uint64_t bits;
        memcpy(&bits, &value, sizeof bits);
        put_fixed(out, bits, 8);
        return RPC_OK;
    }
    if (isfinite(value) && fabs(value) > (double)FLT_MAX)
        return refuse(at, reterr, "the number does not fit the field's type");
    const float narrow = (float)value;
    uint32_t bits;
    memcpy(&bits, &narrow, sizeof bits);
    put_fixed(out, bits, 4);
    return RPC_OK;
}

static rpc_code put_integer(buffer *out, const dynamic_field *field, const json_t *json,
    const place *at, rpc_status *reterr)
{
    uint64_t value = 0;
    const rpc_code code = integer(field, json, at, &value, reterr);
    if (code != RPC_OK)
        return code;
    if (field->type == TYPE_SINT32 || field->type == TYPE_SINT64)
        value = value << 1 ^ (0 - (value >> 63));
    if (dynamic__wire(field->type) == WIRE_VARINT)
        put_varint(out, value);
    else
        put_fixed(out, value, dynamic__wire(field->type) == WIRE_FIXED64 ? 8 : 4);
    return RPC_OK;
}

static rpc_code put_enum(buffer *out, const dynamic_field *field, const json_t *json,
    const place *at, rpc_status *reterr)
{
    const char *name = json_string_value(json);
    if (!name)
        return put_integer(out, field, json, at, reterr);
    if (!field->enumeration)
        return refuse(
            at, reterr, "the enum '%.100s' is not described; give the number", field->type_name);
    for (size_t i = 0; i < field->enumeration->value_count; i++)
        if (strcmp(field->enumeration->values[i].name, name) == 0) {
            put_varint(out, (uint64_t)(int64_t)field->enumeration->values[i].number);
            return RPC_OK;
        }
    return refuse(at, reterr, "'%.60s' is no value of %.80s", name, field->enumeration->name);
}

static rpc_code put_bool(buffer *out, const json_t *json, const place *at, rpc_status *reterr)
{
    if (!json_is_boolean(json))
        return refuse(at, reterr, "true or false is wanted");
    put_varint(out, json_is_true(json));
    return RPC_OK;
}

bool dynamic_unbase64(rpc_bytes text, uint8_t **ret_data, size_t *ret_size)
{
    const char *in = (const char *)text.data;
    const bool url = text.size > 0 && (memchr(in, '-', text.size) || memchr(in, '_', text.size));
    const bool padded = text.size > 0 && in[text.size - 1] == '=';
    const int variants[2][2] = {
        {sodium_base64_VARIANT_ORIGINAL_NO_PADDING, sodium_base64_VARIANT_ORIGINAL},
        {sodium_base64_VARIANT_URLSAFE_NO_PADDING, sodium_base64_VARIANT_URLSAFE}};
    uint8_t *data = malloc(text.size / 4 * 3 + 4);
    size_t size = 0;
    if (!data || (text.size > 0 && sodium_base642bin(data, text.size / 4 * 3 + 4, in, text.size,
                                       NULL, &size, NULL, variants[url][padded]) != 0)) {
        free(data);
        return false;
    }
    *ret_data = data;
    *ret_size = size;
    return true;
}

static rpc_code put_text(buffer *out, const dynamic_field *field, const json_t *json,
    const place *at, rpc_status *reterr)
{
    const size_t length = json_string_length(json);
    RPC_AUTOFREE uint8_t *data = NULL;
    size_t size = 0;
    if (!json_is_string(json))
        return refuse(at, reterr, "a string is wanted");
    if (field->type == TYPE_STRING) {
        put_bytes(out, json_string_value(json), length);
        return RPC_OK;
    }
    if (!dynamic_unbase64(rpc_bytes_of(json_string_value(json), length), &data, &size))
        return refuse(at, reterr, "base64 is wanted");
    put_bytes(out, data, size);
    return RPC_OK;
}

/* ---- messages
 * ------------------------------------------------------------------------------------------ */

static rpc_code put_message(buffer *out, const dynamic_message *type, const json_t *json,
    const place *at, rpc_status *reterr);

static rpc_code put_nested(buffer *out, const dynamic_field *field, const json_t *json,
    const place *at, rpc_status *reterr)
{
    RPC_CLEANUP(buffer_done) buffer inner = {0};
    if (field->type == TYPE_GROUP)
        return refuse(at, reterr, "the field is a group of proto2, which is not supported");
    if (!field->message)
        return refuse(at, reterr, "its type '%.100s' is not described", field->type_name);
    const rpc_code code = put_message(&inner, field->message, json, at, reterr);
    if (code == RPC_OK)
        put_bytes(out, inner.data, inner.size);
    out->failed |= inner.failed;
    return code;
}

/** Without the key. */
static rpc_code put_value(buffer *out, const dynamic_field *field, const json_t *json,
    const place *at, rpc_status *reterr)
{
    switch (field->type) {
    case TYPE_DOUBLE:
    case TYPE_FLOAT:
        return put_real(out, field, json, at, reterr);
    case TYPE_BOOL:
        return put_bool(out, json, at, reterr);
    case TYPE_STRING:
    case TYPE_BYTES:
        return put_text(out, field, json, at, reterr);
    case TYPE_ENUM:
        return put_enum(out, field, json, at, reterr);
    case TYPE_MESSAGE:
    case TYPE_GROUP:
        return put_nested(out, field, json, at, reterr);
    default:
        return put_integer(out, field, json, at, reterr);
    }
}

static rpc_code put_repeated(buffer *out, const dynamic_field *field, const json_t *json,
    const place *at, rpc_status *reterr)
{
    RPC_CLEANUP(buffer_done) buffer packed = {0};
    rpc_code code = RPC_OK;
    if (!json_is_array(json))
        return refuse(at, reterr, "an array is wanted");
    for (size_t i = 0; code == RPC_OK && i < json_array_size(json); i++) {
        const place here = {.up = at, .index = i, .depth = at->depth};
        if (!field->packed)
            put_key(out, field, dynamic__wire(field->type));
        code = put_value(
            field->packed ? &packed : out, field, json_array_get(json, i), &here, reterr);
    }
    if (code == RPC_OK && packed.size > 0) {
        put_key(out, field, WIRE_BYTES);
        put_bytes(out, packed.data, packed.size);
    }
    out->failed |= packed.failed;
    return code;
}

/** A map's key stands in JSON as text, whatever its type. */
static rpc_code put_map_key(buffer *out, const dynamic_field *field, const char *name, size_t size,
    const place *at, rpc_status *reterr)
{
    json_t *key = json_stringn(name, size);
    if (!key)
        return no_memory(reterr);
    if (field->type == TYPE_BOOL && (strcmp(name, "true") == 0 || strcmp(name, "false") == 0)) {
        json_decref(key);
        key = json_boolean(strcmp(name, "true") == 0);
    }
    put_key(out, field, dynamic__wire(field->type));
    const rpc_code code = put_value(out, field, key, at, reterr);
    json_decref(key);
    return code;
}

static rpc_code put_map_entry(
    buffer *out, const dynamic_field *field, void *entry, const place *at, rpc_status *reterr)
{
    RPC_CLEANUP(buffer_done) buffer inner = {0};
    const dynamic_message *type = field->message;
    const dynamic_field *value = dynamic__field(type, 2);
    const place here = {.up = at, .name = json_object_iter_key(entry), .depth = at->depth};
    rpc_code code = put_map_key(
        &inner, dynamic__field(type, 1), here.name, json_object_iter_key_len(entry), &here, reterr);
    if (code == RPC_OK) {
        put_key(&inner, value, dynamic__wire(value->type));
        code = put_value(&inner, value, json_object_iter_value(entry), &here, reterr);
    }
    if (code == RPC_OK) {
        put_key(out, field, WIRE_BYTES);
        put_bytes(out, inner.data, inner.size);
    }
    out->failed |= inner.failed;
    return code;
}

static rpc_code put_map(buffer *out, const dynamic_field *field, const json_t *json,
    const place *at, rpc_status *reterr)
{
    json_t *walked = (json_t *)(uintptr_t)json; /* iteration changes nothing */
    rpc_code code = RPC_OK;
    if (!json_is_object(json))
        return refuse(at, reterr, "an object is wanted: the field is a map");
    for (void *entry = json_object_iter(walked); entry && code == RPC_OK;
         entry = json_object_iter_next(walked, entry))
        code = put_map_entry(out, field, entry, at, reterr);
    return code;
}

static rpc_code put_field(buffer *out, const dynamic_field *field, const json_t *json,
    const place *at, rpc_status *reterr)
{
    if (dynamic__is_map(field))
        return put_map(out, field, json, at, reterr);
    if (field->repeated)
        return put_repeated(out, field, json, at, reterr);
    put_key(out, field, dynamic__wire(field->type));
    return put_value(out, field, json, at, reterr);
}

/** Which fields and which fields of oneofs have been seen. */
typedef struct seen {
    bool *fields;
    const dynamic_field **oneofs;
} seen;

static void seen_done(seen *s)
{
    free(s->fields);
    free((void *)(uintptr_t)s->oneofs);
}

static const dynamic_field *member(const dynamic_message *type, const char *name)
{
    for (size_t i = 0; i < type->field_count; i++)
        if (strcmp(type->fields[i].json_name, name) == 0 || strcmp(type->fields[i].name, name) == 0)
            return &type->fields[i];
    return NULL;
}

/** Once, and one of a oneof. */
static rpc_code note(const dynamic_message *type, const dynamic_field *field, seen *s,
    const place *at, rpc_status *reterr)
{
    bool *known = &s->fields[field - type->fields];
    if (*known)
        return refuse(at, reterr, "the field is there twice, under both its names");
    *known = true;
    if (field->oneof < 0)
        return RPC_OK;
    const dynamic_field **other = &s->oneofs[field->oneof];
    if (*other)
        return refuse(at, reterr, "'%.60s' is there too; give one of the oneof '%.60s'",
            (*other)->json_name, type->oneofs[field->oneof]);
    *other = field;
    return RPC_OK;
}

static rpc_code put_member(buffer *out, const dynamic_message *type, void *entry, seen *s,
    const place *at, rpc_status *reterr)
{
    const char *name = json_object_iter_key(entry);
    const json_t *json = json_object_iter_value(entry);
    const place here = {.up = at, .name = name, .depth = at->depth};
    const dynamic_field *field = strlen(name) == json_object_iter_key_len(entry)
                                     ? member(type, name)
                                     : NULL;
    if (!field)
        return refuse(&here, reterr, "%.100s has no such field", type->name);
    if (json_is_null(json)) /* the same as absent */
        return RPC_OK;
    const rpc_code code = note(type, field, s, &here, reterr);
    return code == RPC_OK ? put_field(out, field, json, &here, reterr) : code;
}

static rpc_code put_members(buffer *out, const dynamic_message *type, const json_t *json,
    const place *at, rpc_status *reterr)
{
    json_t *walked = (json_t *)(uintptr_t)json;
    RPC_CLEANUP(seen_done)
    seen s = {.fields = calloc(type->field_count + 1, sizeof *s.fields),
        .oneofs = calloc(type->oneof_count + 1, sizeof *s.oneofs)};
    if (!s.fields || !s.oneofs)
        return no_memory(reterr);
    for (void *entry = json_object_iter(walked); entry;
         entry = json_object_iter_next(walked, entry)) {
        const rpc_code code = put_member(out, type, entry, &s, at, reterr);
        if (code != RPC_OK)
            return code;
    }
    for (size_t i = 0; i < type->field_count; i++)
        if (type->fields[i].required && !s.fields[i])
            return refuse(at, reterr, "the field '%.80s' is required", type->fields[i].json_name);
    return RPC_OK;
}

static rpc_code put_time(buffer *out, const dynamic_message *type, const json_t *json,
    const place *at, rpc_status *reterr)
{
    const char *text = json_string_value(json);
    int64_t seconds = 0;
    int32_t nanos = 0;
    if (!text || strlen(text) != json_string_length(json) ||
        !dynamic__time_parse(type->known, text, &seconds, &nanos))
        return refuse(at, reterr, "%s",
            type->known == KNOWN_TIMESTAMP ? "a time is wanted, such as \"2026-11-24T05:00:00Z\""
                                           : "a duration is wanted, such as \"1.5s\"");
    put_key(out, dynamic__field(type, 1), WIRE_VARINT);
    put_varint(out, (uint64_t)seconds);
    put_key(out, dynamic__field(type, 2), WIRE_VARINT);
    put_varint(out, (uint64_t)(int64_t)nanos);
    return RPC_OK;
}

static rpc_code put_message(buffer *out, const dynamic_message *type, const json_t *json,
    const place *at, rpc_status *reterr)
{
    const place here = {.up = at->up, .name = at->name, .index = at->index, .depth = at->depth + 1};
    if (here.depth > DYNAMIC_DEPTH_MAX)
        return refuse(&here, reterr, "more than %u messages in each other", DYNAMIC_DEPTH_MAX);
    if (type->known == KNOWN_TIMESTAMP || type->known == KNOWN_DURATION)
        return put_time(out, type, json, &here, reterr);
    if (type->known == KNOWN_WRAPPER)
        return put_field(out, dynamic__field(type, 1), json, &here, reterr);
    if (!json_is_object(json))
        return refuse(&here, reterr, "an object is wanted");
    return put_members(out, type, json, &here, reterr);
}

rpc_code dynamic_encode(const dynamic_message *type, const json_t *json, uint8_t **ret_data,
    size_t *ret_size, rpc_status *reterr)
{
    RPC_CLEANUP(buffer_done) buffer out = {0};
    const place top = {.up = NULL};
    put(&out, "", 1); /* so that there is memory for an empty message */
    const rpc_code code = put_message(&out, type, json, &top, reterr);
    if (code != RPC_OK)
        return code;
    if (out.failed)
        return no_memory(reterr);
    memmove(out.data, out.data + 1, out.size - 1);
    *ret_size = out.size - 1;
    *ret_data = RPC_TAKE(out.data);
    return RPC_OK;
}
