/* SPDX-License-Identifier: Apache-2.0 */
/* A DownloadResponse read where it lies, so that chunk data is hashed and written straight from
 * the message. Stricter than protobuf: a repeated part or field, which a merging reader would
 * accept, is refused. */
#include "client_internal.h"

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

typedef struct wire_reader {
    const uint8_t *at, *end;
    const char *why; /* NULL while all is well */
} wire_reader;

typedef struct wire_field {
    uint32_t number;
    unsigned type;
    uint64_t value; /* varint */
    rpc_bytes bytes;
} wire_field;

static bool fail(wire_reader *reader, const char *why)
{
    reader->why = why;
    return false;
}

static bool read_varint(wire_reader *reader, uint64_t *ret)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (reader->at == reader->end)
            return fail(reader, "a message is cut inside a number");
        const uint8_t byte = *reader->at++;
        if (shift == 63 && byte > 1)
            return fail(reader, "a number has more than 64 bits");
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *ret = value;
            return true;
        }
    }
    return fail(reader, "a number has more than 64 bits");
}

static bool read_bytes(wire_reader *reader, uint64_t size, rpc_bytes *ret)
{
    if (size > (uint64_t)(reader->end - reader->at))
        return fail(reader, "a message is cut inside a field");
    *ret = rpc_bytes_of(reader->at, (size_t)size);
    reader->at += size;
    return true;
}

/** False at the end and on failure; reader->why tells which. */
static bool next_field(wire_reader *reader, wire_field *ret)
{
    if (reader->at == reader->end)
        return false;
    uint64_t tag;
    if (!read_varint(reader, &tag))
        return false;
    if (tag > UINT32_MAX || tag >> 3 == 0)
        return fail(reader, "a field number is out of range");
    *ret = (wire_field){.number = (uint32_t)(tag >> 3), .type = (unsigned)(tag & 7)};
    switch (ret->type) {
    case WIRE_VARINT:
        return read_varint(reader, &ret->value);
    case WIRE_FIXED64:
        return read_bytes(reader, 8, &ret->bytes);
    case WIRE_FIXED32:
        return read_bytes(reader, 4, &ret->bytes);
    case WIRE_BYTES:
        return read_varint(reader, &ret->value) && read_bytes(reader, ret->value, &ret->bytes);
    default:
        return fail(reader, "a field has a wire type that proto3 does not know");
    }
}

/** ChunkList (entries = 1) and Chunks (first = 1, data = 2). */
static bool read_payload(rpc_bytes body, client_part *ret, const char **ret_why)
{
    const uint32_t data_number = ret->kind == CLIENT_PART_CHUNKS ? 2 : 1;
    wire_reader reader = {.at = body.data, .end = body.data + body.size};
    bool have_first = false, have_data = false;
    for (wire_field field; next_field(&reader, &field);) {
        if (field.number == data_number) {
            if (field.type != WIRE_BYTES || have_data) {
                *ret_why = "data has the wrong wire type or comes twice";
                return false;
            }
            have_data = true;
            ret->data = field.bytes;
        } else if (ret->kind == CLIENT_PART_CHUNKS && field.number == 1) {
            if (field.type != WIRE_VARINT || have_first || field.value > UINT32_MAX) {
                *ret_why = "the first chunk's index is out of range or comes twice";
                return false;
            }
            have_first = true;
            ret->first = (uint32_t)field.value;
        }
    }
    if (!reader.why && (!have_data || ret->data.size == 0))
        reader.why = "a part holds no data";
    *ret_why = reader.why;
    return !reader.why;
}

bool client__read_part(rpc_bytes message, client_part *ret, const char **ret_why)
{
    static const client_part_kind kinds[] = {
        CLIENT_PART_START, CLIENT_PART_LIST, CLIENT_PART_CHUNKS};
    wire_reader reader = {.at = message.data, .end = message.data + message.size};
    client_part part = {.data = {NULL, 0}};
    bool found = false;
    for (wire_field field; next_field(&reader, &field);) {
        if (field.number > 3)
            continue;
        if (field.type != WIRE_BYTES || found) {
            *ret_why = "a message holds two parts, or a part of the wrong wire type";
            return false;
        }
        found = true;
        part.kind = kinds[field.number - 1];
        part.data = field.bytes;
    }
    if (!reader.why && !found)
        reader.why = "a message holds no part";
    if (reader.why) {
        *ret_why = reader.why;
        return false;
    }
    if (part.kind != CLIENT_PART_START) {
        const rpc_bytes body = part.data;
        part.data = rpc_bytes_of(NULL, 0);
        if (!read_payload(body, &part, ret_why))
            return false;
    }
    *ret = part;
    return true;
}
