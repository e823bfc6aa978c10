/* SPDX-License-Identifier: Apache-2.0 */
/** What the files of this module share. */
#ifndef DACM_DYNAMIC_INTERNAL_H
#define DACM_DYNAMIC_INTERNAL_H

#include "dynamic.h"

/* ---- reading packed messages (reader.c) --------------------------------------------------------
 */

typedef enum dynamic_wire {
    WIRE_VARINT = 0,
    WIRE_FIXED64 = 1,
    WIRE_BYTES = 2,
    WIRE_FIXED32 = 5,
} dynamic_wire;

typedef struct dynamic_part {
    uint32_t number;
    dynamic_wire wire;
    uint64_t value;  /* of varint and fixed */
    rpc_bytes bytes; /* of bytes */
} dynamic_part;

typedef enum dynamic_read {
    READ_PART,
    READ_END,
    READ_DAMAGED, /* cut, a group, or no field at all */
} dynamic_read;

dynamic_read dynamic__next(rpc_bytes *in, dynamic_part *ret);
bool dynamic__read_varint(rpc_bytes *in, uint64_t *ret_value);
/** size  4 or 8 */
bool dynamic__read_fixed(rpc_bytes *in, size_t size, uint64_t *ret_value);
int64_t dynamic__unzigzag(uint64_t value);

/* ---- types (schema.c)
 * ---------------------------------------------------------------------------- */

/** FieldDescriptorProto.Type. */
typedef enum dynamic_type {
    TYPE_DOUBLE = 1,
    TYPE_FLOAT,
    TYPE_INT64,
    TYPE_UINT64,
    TYPE_INT32,
    TYPE_FIXED64,
    TYPE_FIXED32,
    TYPE_BOOL,
    TYPE_STRING,
    TYPE_GROUP,
    TYPE_MESSAGE,
    TYPE_BYTES,
    TYPE_UINT32,
    TYPE_ENUM,
    TYPE_SFIXED32,
    TYPE_SFIXED64,
    TYPE_SINT32,
    TYPE_SINT64,
} dynamic_type;

typedef struct dynamic_enum_value {
    const char *name;
    int32_t number;
} dynamic_enum_value;

typedef struct dynamic_enum {
    struct dynamic_enum *next; /* of the schema */
    const char *name;
    dynamic_enum_value *values;
    size_t value_count;
    const dynamic_message *parent; /* NULL: of the file */
} dynamic_enum;

typedef struct dynamic_field {
    const char *name, *json_name;
    const char *type_name; /* of messages and enums, without the leading dot */
    uint32_t number;
    dynamic_type type;
    bool repeated, required, packed, optional; /* optional: the word was written */
    int32_t oneof;                             /* index, -1 = of none that was written */
    const dynamic_message *message;            /* NULL: not described */
    const dynamic_enum *enumeration;
} dynamic_field;

/** Messages with a JSON form of their own. */
typedef enum dynamic_known {
    KNOWN_NONE,
    KNOWN_TIMESTAMP,
    KNOWN_DURATION,
    KNOWN_WRAPPER,
} dynamic_known;

struct dynamic_message {
    dynamic_message *next; /* of the schema */
    const char *name;
    dynamic_field *fields; /* sorted by number, each number once */
    size_t field_count;
    const char **oneofs;
    size_t oneof_count;
    dynamic_known known;
    bool map_entry;
    const dynamic_message *parent; /* NULL: of the file */
};

struct dynamic_schema {
    rpc_arena *arena;                 /* all that follows */
    const dynamic_message **messages; /* sorted by name, as the others */
    const dynamic_enum **enums;
    dynamic_service *services;
    size_t message_count, enum_count, service_count;
};

const dynamic_field *dynamic__field(const dynamic_message *type, uint32_t number);
const dynamic_enum *dynamic__find_enum(const dynamic_schema *schema, const char *name);
static inline bool dynamic__is_map(const dynamic_field *field)
{
    return field->repeated && field->message && field->message->map_entry;
}
/** How values of that type stand on the wire when they are not packed. */
dynamic_wire dynamic__wire(dynamic_type type);
static inline bool dynamic__packable(dynamic_type type)
{
    return dynamic__wire(type) != WIRE_BYTES;
}

/* ---- well-known types (known.c)
 * ------------------------------------------------------------------- */

/** Which JSON form a message of that full name and these fields has. */
dynamic_known dynamic__known(const dynamic_message *type);
/** "2026-11-24T05:00:00.5Z" and "-1.5s". False: seconds or nanos out of range, or not such a text.
 */
bool dynamic__time_text(dynamic_known known, int64_t seconds, int64_t nanos, char ret[48]);
bool dynamic__time_parse(
    dynamic_known known, const char *text, int64_t *ret_seconds, int32_t *ret_nanos);

#endif
