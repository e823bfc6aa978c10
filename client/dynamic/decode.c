/* SPDX-License-Identifier: Apache-2.0 */
/* The wire to JSON. A field that comes again is merged as protobuf says: repeated ones grow,
 * messages merge, of the others and of a oneof the last counts. */
#include "cleanup.h"
#include "dynamic_internal.h"

#include <inttypes.h>
#include <math.h>
#include <sodium.h>
#include <string.h>

typedef struct decoder {
    rpc_status *reterr;
    unsigned values; /* so far */
} decoder;

static void decref(json_t **json)
{
    json_decref(*json);
}
#define AUTOJSON RPC_CLEANUP(decref)

static rpc_code damaged(
    const decoder *d, const dynamic_message *type, const dynamic_field *field, const char *what)
{
    return rpc_status_set(d->reterr, RPC_INTERNAL,
        "the server's message is malformed: %.100s%s%.60s: %s", type->name, field ? "." : "",
        field ? field->name : "", what);
}

static rpc_code no_memory(const decoder *d)
{
    return rpc_status_set(d->reterr, RPC_RESOURCE_EXHAUSTED, "no memory for the server's message");
}

static rpc_code given(const decoder *d, json_t *json, json_t **ret)
{
    *ret = json;
    return json ? RPC_OK : no_memory(d);
}

/* ---- scalars
 * --------------------------------------------------------------------------------------- */

static json_t *real_json(double value)
{
    if (isnan(value))
        return json_string("NaN");
    if (isinf(value))
        return json_string(value > 0 ? "Infinity" : "-Infinity");
    return json_real(value);
}

/** The double that the shortest text of the float reads as: 0.1 and not 0.100000001490116. */
static double float_as_double(float value)
{
    char text[32];
    for (int digits = 6; digits <= 9 && isfinite(value); digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value)
            return strtod(text, NULL);
    }
    return (double)value;
}

static json_t *double_json(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return real_json(value);
}

static json_t *float_json(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return real_json(float_as_double(value));
}

static json_t *signed_text(int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, value);
    return json_string(text);
}

static json_t *unsigned_text(uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    return json_string(text);
}

static json_t *enum_json(const dynamic_enum *type, int32_t number)
{
    for (size_t i = 0; type && i < type->value_count; i++)
        if (type->values[i].number == number)
            return json_string(type->values[i].name);
    return json_integer(number);
}

static json_t *number_json(const dynamic_field *field, uint64_t value)
{
    switch (field->type) {
    case TYPE_DOUBLE:
        return double_json(value);
    case TYPE_FLOAT:
        return float_json((uint32_t)value);
    case TYPE_INT64:
    case TYPE_SFIXED64:
        return signed_text((int64_t)value);
    case TYPE_SINT64:
        return signed_text(dynamic__unzigzag(value));
    case TYPE_UINT64:
    case TYPE_FIXED64:
        return unsigned_text(value);
    case TYPE_SINT32:
        return json_integer((int32_t)dynamic__unzigzag((uint32_t)value));
    case TYPE_UINT32:
    case TYPE_FIXED32:
        return json_integer((uint32_t)value);
    case TYPE_BOOL:
        return json_boolean(value != 0);
    case TYPE_ENUM:
        return enum_json(field->enumeration, (int32_t)value);
    default:
        return json_integer((int32_t)value);
    }
}

static json_t *base64_json(rpc_bytes bytes)
{
    const size_t room = sodium_base64_ENCODED_LEN(bytes.size, sodium_base64_VARIANT_ORIGINAL);
    RPC_AUTOFREE char *text = malloc(room);
    if (!text)
        return NULL;
    sodium_bin2base64(text, room, bytes.data, bytes.size, sodium_base64_VARIANT_ORIGINAL);
    return json_string(text);
}

static rpc_code text_json(const decoder *d, const dynamic_message *type, const dynamic_field *field,
    rpc_bytes bytes, json_t **ret)
{
    if (field->type == TYPE_BYTES)
        return given(d, base64_json(bytes), ret);
    json_t *text = json_stringn(bytes.size > 0 ? (const char *)bytes.data : "", bytes.size);
    if (!text)
        return damaged(d, type, field, "it is not UTF-8");
    *ret = text;
    return RPC_OK;
}

/* ---- messages
 * ---------------------------------------------------------------------------------------- */

static rpc_code read_message(
    decoder *d, const dynamic_message *type, rpc_bytes packed, unsigned depth, json_t *object);

static rpc_code time_json(decoder *d, const dynamic_message *type, rpc_bytes packed, json_t **ret)
{
    int64_t seconds = 0, nanos = 0;
    dynamic_part part;
    dynamic_read read;
    while ((read = dynamic__next(&packed, &part)) == READ_PART) {
        if (part.number == 1 && part.wire == WIRE_VARINT)
            seconds = (int64_t)part.value;
        else if (part.number == 2 && part.wire == WIRE_VARINT)
            nanos = (int32_t)part.value;
    }
    char text[48];
    if (read == READ_DAMAGED || !dynamic__time_text(type->known, seconds, nanos, text))
        return damaged(d, type, NULL, "no time or duration");
    return given(d, json_string(text), ret);
}

/** What protobuf takes for a value that is absent. */
static json_t *default_json(const dynamic_field *field)
{
    if (field->type == TYPE_STRING || field->type == TYPE_BYTES)
        return json_string("");
    if (field->type != TYPE_MESSAGE)
        return number_json(field, 0);
    const dynamic_known known = field->message ? field->message->known : KNOWN_NONE;
    if (known == KNOWN_WRAPPER)
        return default_json(dynamic__field(field->message, 1));
    return known == KNOWN_NONE        ? json_object()
           : known == KNOWN_TIMESTAMP ? json_string("1970-01-01T00:00:00Z")
                                      : json_string("0s");
}

/** The member, or what it is when it is absent. */
static json_t *member_or_default(const json_t *object, const dynamic_field *field)
{
    json_t *found = json_object_get(object, field->json_name);
    return found ? json_incref(found) : default_json(field);
}

/** A message that stands alone or merges into before (an object, or NULL). */
static rpc_code message_json(decoder *d, const dynamic_message *type, rpc_bytes packed,
    unsigned depth, json_t *before, json_t **ret)
{
    if (depth >= DYNAMIC_DEPTH_MAX)
        return damaged(d, type, NULL, "too many messages in each other");
    if (type->known == KNOWN_TIMESTAMP || type->known == KNOWN_DURATION)
        return time_json(d, type, packed, ret);
    AUTOJSON json_t *object = json_is_object(before) ? json_incref(before) : json_object();
    if (!object)
        return no_memory(d);
    const rpc_code code = read_message(d, type, packed, depth + 1, object);
    if (code != RPC_OK)
        return code;
    if (type->known == KNOWN_WRAPPER)
        return given(d, member_or_default(object, dynamic__field(type, 1)), ret);
    *ret = RPC_TAKE(object);
    return RPC_OK;
}

static rpc_code part_json(decoder *d, const dynamic_message *type, const dynamic_field *field,
    const dynamic_part *part, unsigned depth, json_t *before, json_t **ret)
{
    if (++d->values > DYNAMIC_VALUES_MAX)
        return rpc_status_set(d->reterr, RPC_RESOURCE_EXHAUSTED,
            "the server's message has more than %u values", DYNAMIC_VALUES_MAX);
    if (field->type == TYPE_GROUP)
        return damaged(d, type, field, "a group of proto2, which is not supported");
    if (part->wire != dynamic__wire(field->type))
        return damaged(d, type, field, "its bytes are of another type");
    if (field->type == TYPE_STRING || field->type == TYPE_BYTES)
        return text_json(d, type, field, part->bytes, ret);
    if (field->type != TYPE_MESSAGE)
        return given(d, number_json(field, part->value), ret);
    if (!field->message)
        return damaged(d, type, field, "its type is not described");
    return message_json(d, field->message, part->bytes, depth, before, ret);
}

static rpc_code append(decoder *d, json_t *array, rpc_code code, json_t *value)
{
    if (code == RPC_OK && json_array_append_new(array, value) != 0)
        return no_memory(d);
    return code;
}

static rpc_code read_packed(decoder *d, const dynamic_message *type, const dynamic_field *field,
    rpc_bytes bytes, json_t *array)
{
    rpc_code code = RPC_OK;
    dynamic_part part = {.wire = dynamic__wire(field->type)};
    while (bytes.size > 0 && code == RPC_OK) {
        const bool good = part.wire == WIRE_VARINT
                              ? dynamic__read_varint(&bytes, &part.value)
                              : dynamic__read_fixed(
                                    &bytes, part.wire == WIRE_FIXED64 ? 8 : 4, &part.value);
        json_t *value = NULL;
        if (!good)
            return damaged(d, type, field, "its packed numbers are cut");
        code = part_json(d, type, field, &part, 0, NULL, &value);
        code = append(d, array, code, value);
    }
    return code;
}

/** The array or object under the field's name, made when it is new; borrowed. */
static json_t *collection(json_t *object, const dynamic_field *field, bool map)
{
    json_t *found = json_object_get(object, field->json_name);
    if (found)
        return found;
    if (json_object_set_new(object, field->json_name, map ? json_object() : json_array()) != 0)
        return NULL;
    return json_object_get(object, field->json_name);
}

static rpc_code read_repeated(decoder *d, const dynamic_message *type, const dynamic_field *field,
    const dynamic_part *part, unsigned depth, json_t *object)
{
    json_t *array = collection(object, field, false), *value = NULL;
    if (!array)
        return no_memory(d);
    if (part->wire == WIRE_BYTES && dynamic__packable(field->type))
        return read_packed(d, type, field, part->bytes, array);
    const rpc_code code = part_json(d, type, field, part, depth, NULL, &value);
    return append(d, array, code, value);
}

static int put_entry(json_t *map, const json_t *key, json_t *value)
{
    if (json_is_string(key))
        return json_object_setn_new(map, json_string_value(key), json_string_length(key), value);
    RPC_AUTOFREE char *text = json_dumps(key, JSON_ENCODE_ANY);
    if (text)
        return json_object_set_new(map, text, value);
    json_decref(value);
    return -1;
}

static rpc_code read_map(decoder *d, const dynamic_field *field, const dynamic_part *part,
    unsigned depth, json_t *object)
{
    const dynamic_message *entry = field->message;
    json_t *map = collection(object, field, true);
    AUTOJSON json_t *pair = json_object();
    if (!map || !pair)
        return no_memory(d);
    if (part->wire != WIRE_BYTES)
        return damaged(d, entry, NULL, "its bytes are of another type");
    const rpc_code code = read_message(d, entry, part->bytes, depth, pair);
    if (code != RPC_OK)
        return code;
    AUTOJSON json_t *key = member_or_default(pair, dynamic__field(entry, 1));
    json_t *value = member_or_default(pair, dynamic__field(entry, 2));
    if (!key || !value || put_entry(map, key, value) != 0)
        return no_memory(d);
    return RPC_OK;
}

static void drop_others(const dynamic_message *type, const dynamic_field *field, json_t *object)
{
    for (size_t i = 0; field->oneof >= 0 && i < type->field_count; i++)
        if (&type->fields[i] != field && type->fields[i].oneof == field->oneof)
            json_object_del(object, type->fields[i].json_name);
}

static rpc_code read_singular(decoder *d, const dynamic_message *type, const dynamic_field *field,
    const dynamic_part *part, unsigned depth, json_t *object)
{
    json_t *value = NULL;
    drop_others(type, field, object);
    const rpc_code code = part_json(
        d, type, field, part, depth, json_object_get(object, field->json_name), &value);
    if (code == RPC_OK && json_object_set_new(object, field->json_name, value) != 0)
        return no_memory(d);
    return code;
}

static rpc_code read_message(
    decoder *d, const dynamic_message *type, rpc_bytes packed, unsigned depth, json_t *object)
{
    dynamic_part part;
    dynamic_read read;
    rpc_code code = RPC_OK;
    while (code == RPC_OK && (read = dynamic__next(&packed, &part)) != READ_END) {
        if (read == READ_DAMAGED)
            return damaged(d, type, NULL, "it is cut, or has a group of proto2");
        const dynamic_field *field = dynamic__field(type, part.number);
        if (!field)
            continue;
        if (dynamic__is_map(field))
            code = read_map(d, field, &part, depth, object);
        else if (field->repeated)
            code = read_repeated(d, type, field, &part, depth, object);
        else
            code = read_singular(d, type, field, &part, depth, object);
    }
    return code;
}

rpc_code dynamic_decode(
    const dynamic_message *type, rpc_bytes packed, json_t **ret, rpc_status *reterr)
{
    decoder d = {.reterr = reterr};
    return message_json(&d, type, packed, 0, NULL, ret);
}
