/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors, read from their packed form. protobuf-c has no reflection, and serves
 * descriptor.proto (proto2 with extensions) badly: a reader of the few fields that matter is
 * smaller than a repair. Every size is bounded by the bytes given and by the arena's budget. */
#include "dynamic_internal.h"

#include <stdlib.h>
#include <string.h>

#define SCHEMA_MEMORY_MAX (64u << 20)
#define NAME_BYTES_MAX    1024u
#define FIELD_NUMBER_MAX  ((1u << 29) - 1)
#define FIELDS_MAX        10000u /* of one message: some work grows with them */

/* Field numbers of descriptor.proto. */
enum {
    SET_FILE = 1,
    NAME = 1, /* of every descriptor */
    FILE_PACKAGE = 2,
    FILE_DEPENDENCY = 3,
    FILE_MESSAGE = 4,
    FILE_ENUM = 5,
    FILE_SERVICE = 6,
    FILE_SYNTAX = 12,
    MESSAGE_FIELD = 2,
    MESSAGE_NESTED = 3,
    MESSAGE_ENUM = 4,
    MESSAGE_OPTIONS = 7,
    MESSAGE_ONEOF = 8,
    MESSAGE_OPTION_MAP_ENTRY = 7,
    ENUM_VALUE = 2,
    ENUM_VALUE_NUMBER = 2,
    SERVICE_METHOD = 2,
    METHOD_INPUT = 2,
    METHOD_OUTPUT = 3,
    METHOD_CLIENT_STREAMING = 5,
    METHOD_SERVER_STREAMING = 6,
    FIELD_NUMBER = 3,
    FIELD_LABEL = 4,
    FIELD_TYPE = 5,
    FIELD_TYPE_NAME = 6,
    FIELD_OPTIONS = 8,
    FIELD_ONEOF = 9,
    FIELD_JSON_NAME = 10,
    FIELD_PROTO3_OPTIONAL = 17,
    FIELD_OPTION_PACKED = 2,
    LABEL_REQUIRED = 2,
    LABEL_REPEATED = 3,
};

dynamic_wire dynamic__wire(dynamic_type type)
{
    switch (type) {
    case TYPE_DOUBLE:
    case TYPE_FIXED64:
    case TYPE_SFIXED64:
        return WIRE_FIXED64;
    case TYPE_FLOAT:
    case TYPE_FIXED32:
    case TYPE_SFIXED32:
        return WIRE_FIXED32;
    case TYPE_STRING:
    case TYPE_BYTES:
    case TYPE_MESSAGE:
    case TYPE_GROUP:
        return WIRE_BYTES;
    default:
        return WIRE_VARINT;
    }
}

/* ---- parts of a descriptor ------------------------------------------------------------------- */

/** The last occurrence counts, as protobuf says. */
static bool find_part(rpc_bytes descriptor, uint32_t number, dynamic_wire wire, dynamic_part *ret)
{
    dynamic_part part;
    bool found = false;
    while (dynamic__next(&descriptor, &part) == READ_PART) {
        if (part.number != number || part.wire != wire)
            continue;
        *ret = part;
        found = true;
    }
    return found;
}

static rpc_bytes bytes_part(rpc_bytes descriptor, uint32_t number)
{
    dynamic_part part;
    return find_part(descriptor, number, WIRE_BYTES, &part) ? part.bytes : rpc_bytes_of(NULL, 0);
}

static uint64_t number_part(rpc_bytes descriptor, uint32_t number, uint64_t otherwise)
{
    dynamic_part part;
    return find_part(descriptor, number, WIRE_VARINT, &part) ? part.value : otherwise;
}

/** The next submessage or string of that number. False at the end; damage was looked for before. */
static bool next_of(rpc_bytes *in, uint32_t number, rpc_bytes *ret)
{
    dynamic_part part;
    while (dynamic__next(in, &part) == READ_PART)
        if (part.number == number && part.wire == WIRE_BYTES) {
            *ret = part.bytes;
            return true;
        }
    return false;
}

static size_t count_of(rpc_bytes in, uint32_t number)
{
    rpc_bytes ignored;
    size_t count = 0;
    while (next_of(&in, number, &ignored))
        count++;
    return count;
}

static bool whole(rpc_bytes in)
{
    dynamic_part part;
    dynamic_read read;
    while ((read = dynamic__next(&in, &part)) == READ_PART)
        ;
    return read == READ_END;
}

bool dynamic_file_name(rpc_bytes file, rpc_bytes *ret_name)
{
    if (!whole(file))
        return false;
    const rpc_bytes name = bytes_part(file, NAME);
    if (name.size == 0 || name.size > NAME_BYTES_MAX || !rpc_utf8_valid(name))
        return false;
    *ret_name = name;
    return true;
}

bool dynamic_file_import(rpc_bytes file, size_t index, rpc_bytes *ret_name)
{
    rpc_bytes name;
    for (size_t i = 0; next_of(&file, FILE_DEPENDENCY, &name); i++)
        if (i == index) {
            *ret_name = name;
            return true;
        }
    return false;
}

rpc_code dynamic_set_files(
    rpc_bytes set, rpc_bytes *ret_files, size_t room, size_t *ret_count, rpc_status *reterr)
{
    if (!whole(set))
        return rpc_status_set(reterr, RPC_INTERNAL,
            "descriptors: not a FileDescriptorSet; make it with protoc --include_imports "
            "--descriptor_set_out");
    const size_t count = count_of(set, SET_FILE);
    if (count > room)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "descriptors: the set has %zu files; at most %zu are taken", count, room);
    for (size_t i = 0; i < count && next_of(&set, SET_FILE, &ret_files[i]); i++)
        ;
    *ret_count = count;
    return RPC_OK;
}

/* ---- building
 * ------------------------------------------------------------------------------------ */

typedef struct builder {
    dynamic_schema *schema;
    dynamic_message *messages; /* newest first, as the enums */
    dynamic_enum *enums;
    size_t service_room;
    bool packed_by_default; /* of the file being read */
    rpc_status *reterr;
} builder;

static rpc_code damaged(const builder *b, const char *what, const char *where)
{
    return rpc_status_set(
        b->reterr, RPC_INTERNAL, "descriptors: %s in '%.100s'", what, where ? where : "");
}

static rpc_code no_room(const builder *b)
{
    return rpc_status_set(b->reterr, RPC_RESOURCE_EXHAUSTED,
        "descriptors: no memory for them (at most %u MiB)", SCHEMA_MEMORY_MAX >> 20);
}

static void *take_zeroed(builder *b, size_t count, size_t size)
{
    if (count > SCHEMA_MEMORY_MAX / size)
        return NULL;
    void *memory = rpc_arena_alloc(b->schema->arena, count > 0 ? count * size : 1);
    if (memory)
        memset(memory, 0, count * size);
    return memory;
}

static bool good_name(rpc_bytes name)
{
    for (size_t i = 0; i < name.size; i++) {
        const uint8_t at = name.data[i];
        if (!(at >= 'a' && at <= 'z') && !(at >= 'A' && at <= 'Z') && !(at >= '0' && at <= '9') &&
            at != '_' && at != '.')
            return false;
    }
    return name.size > 0 && name.size <= NAME_BYTES_MAX;
}

static rpc_code copy_name(builder *b, rpc_bytes name, const char *where, const char **ret)
{
    if (!good_name(name))
        return damaged(b, "a name that is none", where);
    *ret = rpc_arena_strndup(b->schema->arena, (const char *)name.data, name.size);
    return *ret ? RPC_OK : no_room(b);
}

/** scope.name; scope may be empty. */
static rpc_code full_name(builder *b, const char *scope, rpc_bytes name, const char **ret)
{
    const size_t before = strlen(scope);
    if (!good_name(name) || before + name.size > NAME_BYTES_MAX)
        return damaged(b, "a name that is none", scope);
    char *text = rpc_arena_alloc(b->schema->arena, before + name.size + 2);
    if (!text)
        return no_room(b);
    snprintf(text, before + name.size + 2, "%s%s%.*s", scope, before > 0 ? "." : "", (int)name.size,
        (const char *)name.data);
    *ret = text;
    return RPC_OK;
}

/** ".package.Name" of a field or method. */
static rpc_code type_name(builder *b, rpc_bytes name, const char *where, const char **ret)
{
    if (name.size < 2 || name.data[0] != '.')
        return damaged(b, "a type without its full name", where);
    return copy_name(b, rpc_bytes_of(name.data + 1, name.size - 1), where, ret);
}

static rpc_code camel_name(builder *b, const char *name, const char **ret)
{
    char *text = rpc_arena_alloc(b->schema->arena, strlen(name) + 1);
    if (!text)
        return no_room(b);
    size_t size = 0;
    bool upper = false;
    for (const char *at = name; *at; at++) {
        if (*at != '_')
            text[size++] = upper && *at >= 'a' && *at <= 'z' ? (char)(*at - 'a' + 'A') : *at;
        upper = *at == '_';
    }
    text[size] = 0;
    *ret = text;
    return RPC_OK;
}

/** json_name may be any text (it is an option); without it the rule makes it. */
static rpc_code json_name(builder *b, rpc_bytes descriptor, dynamic_field *field)
{
    const rpc_bytes name = bytes_part(descriptor, FIELD_JSON_NAME);
    if (name.size == 0)
        return camel_name(b, field->name, &field->json_name);
    if (name.size > NAME_BYTES_MAX || !rpc_utf8_valid(name))
        return damaged(b, "a json_name that is none", field->name);
    field->json_name = rpc_arena_strndup(b->schema->arena, (const char *)name.data, name.size);
    return field->json_name ? RPC_OK : no_room(b);
}

static rpc_code read_field(
    builder *b, rpc_bytes descriptor, const dynamic_message *type, dynamic_field *field)
{
    if (!whole(descriptor))
        return damaged(b, "a damaged field", type->name);
    rpc_code code = copy_name(b, bytes_part(descriptor, NAME), type->name, &field->name);
    if (code == RPC_OK)
        code = json_name(b, descriptor, field);
    if (code != RPC_OK)
        return code;
    const uint64_t number = number_part(descriptor, FIELD_NUMBER, 0);
    const uint64_t kind = number_part(descriptor, FIELD_TYPE, 0);
    const uint64_t label = number_part(descriptor, FIELD_LABEL, 1);
    const uint64_t oneof = number_part(descriptor, FIELD_ONEOF, UINT64_MAX);
    if (number < 1 || number > FIELD_NUMBER_MAX || kind < TYPE_DOUBLE || kind > TYPE_SINT64)
        return damaged(b, "a field with a number or type that does not exist", type->name);
    if (oneof != UINT64_MAX && oneof >= type->oneof_count)
        return damaged(b, "a field of a oneof that does not exist", type->name);
    field->number = (uint32_t)number;
    field->type = (dynamic_type)kind;
    field->repeated = label == LABEL_REPEATED;
    field->required = label == LABEL_REQUIRED;
    field->optional = number_part(descriptor, FIELD_PROTO3_OPTIONAL, 0) != 0;
    /* proto3 wraps each `optional` in a oneof of its own, which nobody wrote. */
    field->oneof = oneof == UINT64_MAX || field->optional ? -1 : (int32_t)oneof;
    field->packed = field->repeated && dynamic__packable(field->type) &&
                    number_part(bytes_part(descriptor, FIELD_OPTIONS), FIELD_OPTION_PACKED,
                        b->packed_by_default) != 0;
    if (kind != TYPE_MESSAGE && kind != TYPE_ENUM && kind != TYPE_GROUP)
        return RPC_OK;
    return type_name(b, bytes_part(descriptor, FIELD_TYPE_NAME), type->name, &field->type_name);
}

static int by_number(const void *a, const void *b)
{
    const uint32_t x = ((const dynamic_field *)a)->number, y = ((const dynamic_field *)b)->number;
    return (x > y) - (x < y);
}

static rpc_code read_fields(builder *b, rpc_bytes descriptor, dynamic_message *type)
{
    rpc_bytes one;
    type->field_count = count_of(descriptor, MESSAGE_FIELD);
    if (type->field_count > FIELDS_MAX)
        return damaged(b, "a message with more than 10,000 fields", type->name);
    type->fields = take_zeroed(b, type->field_count, sizeof *type->fields);
    if (!type->fields)
        return no_room(b);
    for (size_t i = 0; i < type->field_count && next_of(&descriptor, MESSAGE_FIELD, &one); i++) {
        const rpc_code code = read_field(b, one, type, &type->fields[i]);
        if (code != RPC_OK)
            return code;
    }
    qsort(type->fields, type->field_count, sizeof *type->fields, by_number);
    for (size_t i = 1; i < type->field_count; i++)
        if (type->fields[i].number == type->fields[i - 1].number)
            return damaged(b, "two fields of one number", type->name);
    return RPC_OK;
}

static rpc_code read_oneofs(builder *b, rpc_bytes descriptor, dynamic_message *type)
{
    rpc_bytes one;
    type->oneof_count = count_of(descriptor, MESSAGE_ONEOF);
    type->oneofs = take_zeroed(b, type->oneof_count, sizeof *type->oneofs);
    if (!type->oneofs)
        return no_room(b);
    for (size_t i = 0; i < type->oneof_count && next_of(&descriptor, MESSAGE_ONEOF, &one); i++) {
        const rpc_code code = copy_name(b, bytes_part(one, NAME), type->name, &type->oneofs[i]);
        if (code != RPC_OK)
            return code;
    }
    return RPC_OK;
}

static rpc_code read_enum(
    builder *b, rpc_bytes descriptor, const char *scope, const dynamic_message *parent)
{
    rpc_bytes one;
    dynamic_enum *found = take_zeroed(b, 1, sizeof *found);
    if (!found)
        return no_room(b);
    if (!whole(descriptor))
        return damaged(b, "a damaged enum", scope);
    rpc_code code = full_name(b, scope, bytes_part(descriptor, NAME), &found->name);
    found->parent = parent;
    found->value_count = count_of(descriptor, ENUM_VALUE);
    found->values = take_zeroed(b, found->value_count, sizeof *found->values);
    if (code == RPC_OK && !found->values)
        code = no_room(b);
    for (size_t i = 0; code == RPC_OK && next_of(&descriptor, ENUM_VALUE, &one); i++) {
        found->values[i].number = (int32_t)number_part(one, ENUM_VALUE_NUMBER, 0);
        code = copy_name(b, bytes_part(one, NAME), found->name, &found->values[i].name);
    }
    found->next = b->enums;
    b->enums = found;
    return code;
}

static rpc_code read_message(builder *b, rpc_bytes descriptor, const char *scope,
    const dynamic_message *parent, unsigned depth);

/** Messages and enums declared in a file or a message. */
static rpc_code read_types(builder *b, rpc_bytes in, uint32_t message, uint32_t enumeration,
    const char *scope, const dynamic_message *parent, unsigned depth)
{
    dynamic_part part;
    rpc_code code = RPC_OK;
    while (code == RPC_OK && dynamic__next(&in, &part) == READ_PART) {
        if (part.wire == WIRE_BYTES && part.number == message)
            code = read_message(b, part.bytes, scope, parent, depth);
        else if (part.wire == WIRE_BYTES && part.number == enumeration)
            code = read_enum(b, part.bytes, scope, parent);
    }
    return code;
}

static rpc_code read_message(builder *b, rpc_bytes descriptor, const char *scope,
    const dynamic_message *parent, unsigned depth)
{
    dynamic_message *type = take_zeroed(b, 1, sizeof *type);
    if (!type)
        return no_room(b);
    if (depth >= DYNAMIC_DEPTH_MAX || !whole(descriptor))
        return damaged(b, "a damaged or too deep message", scope);
    rpc_code code = full_name(b, scope, bytes_part(descriptor, NAME), &type->name);
    if (code == RPC_OK)
        code = read_oneofs(b, descriptor, type);
    if (code == RPC_OK)
        code = read_fields(b, descriptor, type);
    if (code != RPC_OK)
        return code;
    type->parent = parent;
    type->map_entry = number_part(bytes_part(descriptor, MESSAGE_OPTIONS), MESSAGE_OPTION_MAP_ENTRY,
                          0) != 0;
    type->known = dynamic__known(type);
    type->next = b->messages;
    b->messages = type;
    return read_types(b, descriptor, MESSAGE_NESTED, MESSAGE_ENUM, type->name, type, depth + 1);
}

static rpc_code read_method(
    builder *b, rpc_bytes descriptor, const char *service, dynamic_method *method)
{
    if (!whole(descriptor))
        return damaged(b, "a damaged method", service);
    rpc_code code = copy_name(b, bytes_part(descriptor, NAME), service, &method->name);
    if (code == RPC_OK)
        code = type_name(b, bytes_part(descriptor, METHOD_INPUT), service, &method->input_name);
    if (code == RPC_OK)
        code = type_name(b, bytes_part(descriptor, METHOD_OUTPUT), service, &method->output_name);
    method->client_streaming = number_part(descriptor, METHOD_CLIENT_STREAMING, 0) != 0;
    method->server_streaming = number_part(descriptor, METHOD_SERVER_STREAMING, 0) != 0;
    return code;
}

static rpc_code read_service(builder *b, rpc_bytes descriptor, const char *package)
{
    rpc_bytes one;
    dynamic_service *service = &b->schema->services[b->schema->service_count++];
    if (!whole(descriptor))
        return damaged(b, "a damaged service", package);
    rpc_code code = full_name(b, package, bytes_part(descriptor, NAME), &service->name);
    service->method_count = count_of(descriptor, SERVICE_METHOD);
    dynamic_method *methods = take_zeroed(b, service->method_count, sizeof *methods);
    service->methods = methods;
    if (code == RPC_OK && !methods)
        code = no_room(b);
    for (size_t i = 0; code == RPC_OK && next_of(&descriptor, SERVICE_METHOD, &one); i++)
        code = read_method(b, one, service->name, &methods[i]);
    return code;
}

static rpc_code read_file(builder *b, rpc_bytes file)
{
    rpc_bytes one;
    const char *package = "";
    if (!whole(file))
        return damaged(b, "a damaged file", "the set");
    const rpc_bytes scope = bytes_part(file, FILE_PACKAGE), syntax = bytes_part(file, FILE_SYNTAX);
    rpc_code code = scope.size > 0 ? copy_name(b, scope, "a file", &package) : RPC_OK;
    /* Absent means proto2; editions pack like proto3. */
    b->packed_by_default = syntax.size > 0 && !rpc_bytes_equal(syntax, rpc_bytes_str("proto2"));
    if (code == RPC_OK)
        code = read_types(b, file, FILE_MESSAGE, FILE_ENUM, package, NULL, 0);
    while (code == RPC_OK && next_of(&file, FILE_SERVICE, &one))
        code = read_service(b, one, package);
    return code;
}

/* ---- linking
 * ------------------------------------------------------------------------------------- */

static int by_message_name(const void *a, const void *b)
{
    return strcmp(
        (*(const dynamic_message *const *)a)->name, (*(const dynamic_message *const *)b)->name);
}

static int by_enum_name(const void *a, const void *b)
{
    return strcmp((*(const dynamic_enum *const *)a)->name, (*(const dynamic_enum *const *)b)->name);
}

static int by_service_name(const void *a, const void *b)
{
    return strcmp(((const dynamic_service *)a)->name, ((const dynamic_service *)b)->name);
}

static rpc_code sort_types(builder *b)
{
    dynamic_schema *schema = b->schema;
    for (const dynamic_message *at = b->messages; at; at = at->next)
        schema->message_count++;
    for (const dynamic_enum *at = b->enums; at; at = at->next)
        schema->enum_count++;
    schema->messages = take_zeroed(b, schema->message_count, sizeof *schema->messages);
    schema->enums = take_zeroed(b, schema->enum_count, sizeof *schema->enums);
    if (!schema->messages || !schema->enums)
        return no_room(b);
    size_t i = 0;
    for (const dynamic_message *at = b->messages; at; at = at->next)
        schema->messages[i++] = at;
    i = 0;
    for (const dynamic_enum *at = b->enums; at; at = at->next)
        schema->enums[i++] = at;
    qsort(schema->messages, schema->message_count, sizeof *schema->messages, by_message_name);
    qsort(schema->enums, schema->enum_count, sizeof *schema->enums, by_enum_name);
    qsort(schema->services, schema->service_count, sizeof *schema->services, by_service_name);
    return RPC_OK;
}

static rpc_code refuse_doubles(const builder *b)
{
    const dynamic_schema *schema = b->schema;
    for (size_t i = 1; i < schema->message_count; i++)
        if (strcmp(schema->messages[i]->name, schema->messages[i - 1]->name) == 0)
            return damaged(b, "a second declaration", schema->messages[i]->name);
    for (size_t i = 1; i < schema->enum_count; i++)
        if (strcmp(schema->enums[i]->name, schema->enums[i - 1]->name) == 0)
            return damaged(b, "a second declaration", schema->enums[i]->name);
    for (size_t i = 1; i < schema->service_count; i++)
        if (strcmp(schema->services[i].name, schema->services[i - 1].name) == 0)
            return damaged(b, "a second declaration", schema->services[i].name);
    return RPC_OK;
}

static void link_types(builder *b)
{
    const dynamic_schema *schema = b->schema;
    for (dynamic_message *type = b->messages; type; type = type->next)
        for (size_t i = 0; i < type->field_count; i++) {
            dynamic_field *field = &type->fields[i];
            if (field->type == TYPE_MESSAGE)
                field->message = dynamic_find_message(schema, field->type_name);
            else if (field->type == TYPE_ENUM)
                field->enumeration = dynamic__find_enum(schema, field->type_name);
        }
    for (size_t i = 0; i < schema->service_count; i++)
        for (size_t j = 0; j < schema->services[i].method_count; j++) {
            dynamic_method *method = (dynamic_method *)(uintptr_t)&schema->services[i].methods[j];
            method->input = dynamic_find_message(schema, method->input_name);
            method->output = dynamic_find_message(schema, method->output_name);
        }
}

/** A map's entry has a key and a value; code over maps relies on it. */
static rpc_code check_maps(const builder *b)
{
    for (const dynamic_message *type = b->messages; type; type = type->next) {
        if (!type->map_entry)
            continue;
        const dynamic_field *key = dynamic__field(type, 1), *value = dynamic__field(type, 2);
        if (type->field_count != 2 || !key || !value || key->repeated || value->repeated ||
            type->oneof_count > 0 || key->type == TYPE_DOUBLE || key->type == TYPE_FLOAT ||
            key->type == TYPE_ENUM ||
            (dynamic__wire(key->type) == WIRE_BYTES && key->type != TYPE_STRING))
            return damaged(b, "a map without a proper key and value", type->name);
    }
    return RPC_OK;
}

static rpc_code build(builder *b, const rpc_bytes *files, size_t file_count)
{
    size_t services = 0;
    for (size_t i = 0; i < file_count; i++)
        services += count_of(files[i], FILE_SERVICE);
    b->schema->services = take_zeroed(b, services, sizeof *b->schema->services);
    rpc_code code = b->schema->services ? RPC_OK : no_room(b);
    for (size_t i = 0; code == RPC_OK && i < file_count; i++)
        code = read_file(b, files[i]);
    if (code == RPC_OK)
        code = sort_types(b);
    if (code == RPC_OK)
        code = refuse_doubles(b);
    if (code == RPC_OK)
        link_types(b);
    return code == RPC_OK ? check_maps(b) : code;
}

static rpc_code check_limits(const rpc_bytes *files, size_t file_count, rpc_status *reterr)
{
    size_t bytes = 0;
    if (file_count > DYNAMIC_FILES_MAX)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "descriptors: %zu files; at most %u are taken", file_count, DYNAMIC_FILES_MAX);
    for (size_t i = 0; i < file_count; i++) {
        if (files[i].size > DYNAMIC_BYTES_MAX - bytes)
            return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
                "descriptors: more than %u MiB of them", DYNAMIC_BYTES_MAX >> 20);
        bytes += files[i].size;
    }
    return RPC_OK;
}

rpc_code dynamic_schema_new(
    const rpc_bytes *files, size_t file_count, dynamic_schema **ret, rpc_status *reterr)
{
    rpc_code code = check_limits(files, file_count, reterr);
    if (code != RPC_OK)
        return code;
    builder b = {.schema = calloc(1, sizeof *b.schema), .reterr = reterr};
    if (b.schema)
        b.schema->arena = rpc_arena_new(SCHEMA_MEMORY_MAX);
    code = b.schema && b.schema->arena ? build(&b, files, file_count) : no_room(&b);
    if (code != RPC_OK) {
        dynamic_schema_free(b.schema);
        return code;
    }
    *ret = b.schema;
    return RPC_OK;
}

void dynamic_schema_free(dynamic_schema *schema)
{
    if (!schema)
        return;
    rpc_arena_free(schema->arena);
    free(schema);
}

/* ---- finding
 * -------------------------------------------------------------------------------------- */

static int message_named(const void *name, const void *element)
{
    return strcmp(name, (*(const dynamic_message *const *)element)->name);
}

static int enum_named(const void *name, const void *element)
{
    return strcmp(name, (*(const dynamic_enum *const *)element)->name);
}

const dynamic_message *dynamic_find_message(const dynamic_schema *schema, const char *name)
{
    const dynamic_message *const *found = bsearch(
        name, schema->messages, schema->message_count, sizeof *schema->messages, message_named);
    return found ? *found : NULL;
}

const dynamic_enum *dynamic__find_enum(const dynamic_schema *schema, const char *name)
{
    const dynamic_enum *const *found = bsearch(
        name, schema->enums, schema->enum_count, sizeof *schema->enums, enum_named);
    return found ? *found : NULL;
}

const dynamic_service *dynamic_find_service(const dynamic_schema *schema, const char *name)
{
    for (size_t i = 0; i < schema->service_count; i++)
        if (strcmp(schema->services[i].name, name) == 0)
            return &schema->services[i];
    return NULL;
}

const dynamic_method *dynamic_find_method(const dynamic_service *service, const char *name)
{
    for (size_t i = 0; i < service->method_count; i++)
        if (strcmp(service->methods[i].name, name) == 0)
            return &service->methods[i];
    return NULL;
}

const dynamic_service *dynamic_service_at(const dynamic_schema *schema, size_t index)
{
    return index < schema->service_count ? &schema->services[index] : NULL;
}

static int field_numbered(const void *number, const void *element)
{
    const uint32_t x = *(const uint32_t *)number, y = ((const dynamic_field *)element)->number;
    return (x > y) - (x < y);
}

const dynamic_field *dynamic__field(const dynamic_message *type, uint32_t number)
{
    return bsearch(&number, type->fields, type->field_count, sizeof *type->fields, field_numbered);
}
