/* SPDX-License-Identifier: Apache-2.0 */
/* One scan over packed bytes before protobuf-c sees them. It knows what protobuf_c_message_unpack
 * of 1.4.1 fails on, recurses into and allocates, so that whatever passes is unpacked, within the
 * memory computed here. No recursion: the stack of open messages is an array.
 *
 * What protobuf-c allocates for one message: the struct; a bitmap beyond 128 fields; slabs of
 * 32, 64, … members once 16 are used up; one array for each repeated field; one array for the
 * unknown fields and a copy of each; strings, bytes and submessages.
 *
 * A submessage that is given again is merged: for each repeated field that both have, a third
 * array is allocated for the sum. Repeated k times that is quadratic, hence `children` below. */
#include "gate.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GATE_SLAB_FIRST   16
#define GATE_MEMBERS_MAX  100000000u /* protobuf-c gives up at 134 million */
#define GATE_BITMAP_STACK 16         /* bytes of protobuf-c's own bitmap of required fields */
#define GATE_VARINT_BYTES 10
#define GATE_LENGTH_BYTES 5
#define GATE_TYPES_MAX    32
#define GATE_PATH_BYTES   200

/* As protobuf-c has it, for its size. */
struct gate_scanned_member {
    uint32_t tag;
    uint8_t wire_type, length_prefix_len;
    const ProtobufCFieldDescriptor *field;
    size_t len;
    const uint8_t *data;
};

enum { WIRE_VARINT = 0, WIRE_64BIT = 1, WIRE_LENGTH = 2, WIRE_32BIT = 5 };

/* A message that has begun and not ended. */
typedef struct gate_frame {
    const ProtobufCMessageDescriptor *descriptor;
    const ProtobufCFieldDescriptor *field; /* the parent's; NULL outermost */
    const ProtobufCFieldDescriptor *last;  /* seen before this one */
    const uint8_t *end;
    size_t seen_at; /* its first byte in gate.seen */
    size_t members, slab, slab_end;
    uint64_t arrays;   /* bytes of its own repeated fields */
    uint64_t children; /* bytes of the repeated fields of its submessages, which may be merged */
    bool merged;       /* given before in the same parent */
} gate_frame;

typedef struct gate {
    const uint8_t *at;
    rpc_gate_limits limits;
    uint64_t entries, memory;
    gate_frame frames[RPC__GATE_DEPTH_MAX];
    unsigned depth;
    const ProtobufCFieldDescriptor *field; /* being read; NULL: unknown or none */
    uint32_t number;                       /* being read; 0: none */
    uint8_t *seen; /* bits of the open messages: which fields they have had */
    size_t seen_size, seen_capacity;
    uint8_t seen_few[512];
    rpc_status *reterr;
} gate;

/* ---- refusing ------------------------------------------------------------------------- */

static size_t append(char *path, size_t size, size_t capacity, const char *text)
{
    size_t more = strlen(text);
    if (more > capacity - 1 - size)
        more = capacity - 1 - size;
    memcpy(path + size, text, more);
    path[size + more] = '\0';
    return size + more;
}

/* "dacm.v1.UploadRequest.profile.owners"; of a long one the beginning and the end. */
static void write_path(const gate *g, char *ret_path)
{
    char path[RPC__GATE_DEPTH_MAX * 64] = "";
    char number[32];
    size_t size = append(path, 0, sizeof path, g->frames[0].descriptor->name);
    for (unsigned i = 1; i < g->depth; i++) {
        size = append(path, size, sizeof path, ".");
        size = append(path, size, sizeof path, g->frames[i].field->name);
    }
    if (g->field) {
        size = append(path, size, sizeof path, ".");
        size = append(path, size, sizeof path, g->field->name);
    } else if (g->number) {
        snprintf(number, sizeof number, ".(field %u)", g->number);
        size = append(path, size, sizeof path, number);
    }
    if (size < GATE_PATH_BYTES)
        memcpy(ret_path, path, size + 1);
    else
        snprintf(ret_path, GATE_PATH_BYTES, "%.*s...%s", GATE_PATH_BYTES / 2, path,
            path + size - (GATE_PATH_BYTES / 2 - 5));
}

RPC_PRINTF(3, 4)
static rpc_code refuse(gate *g, rpc_code code, const char *format, ...)
{
    char path[GATE_PATH_BYTES], reason[256];
    write_path(g, path);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    return rpc_status_set(g->reterr, code, "%s: %s", path, reason);
}

/* ---- what it costs --------------------------------------------------------------------- */

static uint64_t rounded(uint64_t size)
{
    return (size + RPC__GATE_ALIGN - 1) / RPC__GATE_ALIGN * RPC__GATE_ALIGN;
}

static rpc_code spend(gate *g, uint64_t size)
{
    g->memory += rounded(size);
    if (g->memory <= g->limits.memory_bytes_max)
        return RPC_OK;
    return refuse(g, RPC_RESOURCE_EXHAUSTED,
        "unpacking takes %llu bytes or more up to here, the limit is %zu bytes "
        "(memory_bytes_max); send fewer entries in one message",
        (unsigned long long)g->memory, g->limits.memory_bytes_max);
}

static rpc_code count_entries(gate *g, uint64_t entries)
{
    g->entries += entries;
    if (g->entries <= g->limits.entries_max)
        return RPC_OK;
    return refuse(g, RPC_RESOURCE_EXHAUSTED,
        "%llu entries up to here, the limit is %zu in one message (entries_max); "
        "send several messages",
        (unsigned long long)g->entries, g->limits.entries_max);
}

static rpc_code count_member(gate *g, gate_frame *frame)
{
    if (frame->members++ < frame->slab_end)
        return RPC_OK;
    frame->slab *= 2;
    frame->slab_end += frame->slab;
    return spend(g, frame->slab * sizeof(struct gate_scanned_member));
}

static size_t element_size(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_ENUM:
        return 4;
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        break;
    }
    return sizeof(void *);
}

/* Marks the field as had; true when it was already. */
static bool mark_seen(gate *g, const gate_frame *frame, const ProtobufCFieldDescriptor *field)
{
    size_t index = (size_t)(field - frame->descriptor->fields);
    uint8_t *byte = g->seen + frame->seen_at + index / 8;
    uint8_t bit = (uint8_t)(1u << index % 8);
    bool seen = (*byte & bit) != 0;
    *byte |= bit;
    return seen;
}

/* Room for `count` elements in the array of a repeated field. */
static rpc_code grow_array(
    gate *g, gate_frame *frame, const ProtobufCFieldDescriptor *field, size_t count)
{
    bool first = !mark_seen(g, frame, field);
    uint64_t size = (uint64_t)count * element_size(field->type);
    /* Elements of 4 bytes are not rounded one by one, but the array once. */
    size += first ? RPC__GATE_ALIGN : 0;
    frame->arrays += size;
    g->memory += size;
    return spend(g, 0);
}

/* ---- reading ---------------------------------------------------------------------------- */

static rpc_code read_varint(gate *g, const uint8_t *end, unsigned bytes_max, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes_max; i++) {
        if (g->at == end)
            return refuse(g, RPC_INVALID_ARGUMENT, "the message ends inside a number");
        uint8_t byte = *g->at++;
        value |= (uint64_t)(byte & 0x7f) << 7 * i;
        if (byte & 0x80)
            continue;
        if (i == GATE_VARINT_BYTES - 1 && byte > 1)
            return refuse(g, RPC_INVALID_ARGUMENT, "a number has more than 64 bits");
        *ret_value = value;
        return RPC_OK;
    }
    return refuse(g, RPC_INVALID_ARGUMENT, "a number takes more than %u bytes", bytes_max);
}

static rpc_code read_length(gate *g, const uint8_t *end, size_t *ret_length)
{
    uint64_t length = 0;
    rpc_code code = read_varint(g, end, GATE_LENGTH_BYTES, &length);
    if (code != RPC_OK)
        return code;
    if (length > (size_t)(end - g->at))
        return refuse(g, RPC_INVALID_ARGUMENT,
            "a length of %llu bytes where %zu are left of the message", (unsigned long long)length,
            (size_t)(end - g->at));
    *ret_length = (size_t)length;
    return RPC_OK;
}

static rpc_code skip_fixed(gate *g, const uint8_t *end, size_t size)
{
    if ((size_t)(end - g->at) < size)
        return refuse(
            g, RPC_INVALID_ARGUMENT, "the message ends inside a number of %zu bytes", size);
    g->at += size;
    return RPC_OK;
}

/* The value of a field that is not a length and its bytes. */
static rpc_code skip_number(gate *g, const uint8_t *end, unsigned wire)
{
    uint64_t ignored;
    switch (wire) {
    case WIRE_VARINT:
        return read_varint(g, end, GATE_VARINT_BYTES, &ignored);
    case WIRE_64BIT:
        return skip_fixed(g, end, 8);
    case WIRE_32BIT:
        return skip_fixed(g, end, 4);
    default:
        return refuse(g, RPC_INVALID_ARGUMENT,
            "wire type %u; groups and unassigned wire types are not supported", wire);
    }
}

static unsigned wire_type_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return WIRE_32BIT;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return WIRE_64BIT;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return WIRE_LENGTH;
    default:
        return WIRE_VARINT;
    }
}

/* protobuf-c keeps a copy of every field it does not know. */
static rpc_code skip_unknown(gate *g, gate_frame *frame, unsigned wire)
{
    const uint8_t *begin = g->at;
    size_t length = 0;
    rpc_code code = wire == WIRE_LENGTH ? read_length(g, frame->end, &length)
                                        : skip_number(g, frame->end, wire);
    if (code != RPC_OK)
        return code;
    g->at += length;
    code = spend(g, sizeof(ProtobufCMessageUnknownField));
    return code == RPC_OK ? spend(g, (uint64_t)(g->at - begin)) : code;
}

static rpc_code check_string(gate *g, rpc_bytes text)
{
    if (rpc_utf8_valid(text))
        return RPC_OK;
    const uint8_t *nul = memchr(text.data, '\0', text.size);
    if (nul)
        return refuse(g, RPC_INVALID_ARGUMENT,
            "a NUL byte at offset %zu of the string; strings are text without NUL",
            (size_t)(nul - text.data));
    return refuse(g, RPC_INVALID_ARGUMENT, "the string is not valid UTF-8");
}

static rpc_code read_packed_varints(gate *g, const uint8_t *end, size_t *ret_count)
{
    size_t count = 0;
    while (g->at < end) {
        uint64_t ignored;
        rpc_code code = read_varint(g, end, GATE_VARINT_BYTES, &ignored);
        if (code == RPC_OK)
            code = count_entries(g, 1);
        if (code != RPC_OK)
            return code;
        count++;
    }
    *ret_count = count;
    return RPC_OK;
}

static rpc_code read_packed(
    gate *g, gate_frame *frame, const ProtobufCFieldDescriptor *field, size_t length)
{
    size_t count = 0;
    rpc_code code;
    if (wire_type_of(field->type) == WIRE_VARINT) {
        code = read_packed_varints(g, g->at + length, &count);
        /* protobuf-c makes room for as many booleans as there are bytes. */
        if (field->type == PROTOBUF_C_TYPE_BOOL)
            count = length;
    } else {
        size_t size = element_size(field->type);
        if (length % size != 0)
            return refuse(g, RPC_INVALID_ARGUMENT,
                "%zu bytes of packed numbers; a multiple of %zu is needed", length, size);
        g->at += length;
        count = length / size;
        code = count_entries(g, count);
    }
    if (code != RPC_OK || count == 0)
        return code;
    return grow_array(g, frame, field, count);
}

/* ---- submessages ------------------------------------------------------------------------- */

/* protobuf-c 1.4.1 fails when it merges messages with a oneof that neither of them has set.
 * Whether it comes to that below depends on what is set there; we are stricter and simpler. */
static bool can_be_merged(const ProtobufCMessageDescriptor *descriptor)
{
    const ProtobufCMessageDescriptor *types[GATE_TYPES_MAX] = {descriptor};
    size_t count = 1;
    for (size_t done = 0; done < count; done++) {
        for (unsigned i = 0; i < types[done]->n_fields; i++) {
            const ProtobufCFieldDescriptor *field = &types[done]->fields[i];
            if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
                return false;
            if (field->type != PROTOBUF_C_TYPE_MESSAGE || field->label == PROTOBUF_C_LABEL_REPEATED)
                continue;
            size_t known = 0;
            while (known < count && types[known] != field->descriptor)
                known++;
            if (known == GATE_TYPES_MAX)
                return false;
            types[known] = field->descriptor;
            count += known == count;
        }
    }
    return true;
}

static bool is_singular(const ProtobufCFieldDescriptor *field)
{
    return field->label != PROTOBUF_C_LABEL_REPEATED &&
           !(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF);
}

static rpc_code reserve_seen(gate *g, size_t more)
{
    if (more > g->seen_capacity - g->seen_size) {
        size_t capacity = 2 * (g->seen_size + more);
        uint8_t *seen = malloc(capacity);
        if (!seen)
            return refuse(g, RPC_RESOURCE_EXHAUSTED, "no memory to look into the message");
        memcpy(seen, g->seen, g->seen_size);
        if (g->seen != g->seen_few)
            free(g->seen);
        g->seen = seen;
        g->seen_capacity = capacity;
    }
    memset(g->seen + g->seen_size, 0, more);
    g->seen_size += more;
    return RPC_OK;
}

static size_t seen_bytes(const ProtobufCMessageDescriptor *descriptor)
{
    return ((size_t)descriptor->n_fields + 7) / 8;
}

static rpc_code enter(gate *g, const ProtobufCMessageDescriptor *descriptor,
    const ProtobufCFieldDescriptor *field, size_t length, bool merged)
{
    if (g->depth == g->limits.depth_max)
        return refuse(g, RPC_INVALID_ARGUMENT, "messages are nested more than %u deep (depth_max)",
            g->limits.depth_max);
    size_t seen_at = g->seen_size;
    size_t bitmap = seen_bytes(descriptor);
    rpc_code code = reserve_seen(g, bitmap);
    if (code == RPC_OK)
        code = spend(g, descriptor->sizeof_message);
    if (code == RPC_OK && bitmap > GATE_BITMAP_STACK)
        code = spend(g, bitmap);
    if (code != RPC_OK)
        return code;
    g->frames[g->depth++] = (gate_frame){
        .descriptor = descriptor,
        .field = field,
        .last = descriptor->n_fields > 0 ? descriptor->fields : NULL,
        .end = g->at + length,
        .seen_at = seen_at,
        .slab = GATE_SLAB_FIRST,
        .slab_end = GATE_SLAB_FIRST,
        .merged = merged,
    };
    return RPC_OK;
}

static rpc_code enter_submessage(
    gate *g, gate_frame *frame, const ProtobufCFieldDescriptor *field, size_t length)
{
    bool merged = false;
    rpc_code code = RPC_OK;
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        code = grow_array(g, frame, field, 1);
    else
        merged = mark_seen(g, frame, field) && is_singular(field);
    if (code != RPC_OK)
        return code;
    if (merged && !can_be_merged(field->descriptor))
        return refuse(g, RPC_INVALID_ARGUMENT,
            "given twice, and a message with a oneof cannot be merged; send it once");
    return enter(g, field->descriptor, field, length, merged);
}

static rpc_code check_required(gate *g, const gate_frame *frame)
{
    for (unsigned i = 0; i < frame->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &frame->descriptor->fields[i];
        if (field->label != PROTOBUF_C_LABEL_REQUIRED || field->default_value)
            continue;
        if (g->seen[frame->seen_at + i / 8] >> i % 8 & 1)
            continue;
        g->field = field;
        return refuse(g, RPC_INVALID_ARGUMENT, "this required field is missing");
    }
    return RPC_OK;
}

/* At the end of the innermost open message. */
static rpc_code leave(gate *g)
{
    gate_frame *frame = &g->frames[g->depth - 1];
    g->field = NULL;
    g->number = 0;
    rpc_code code = check_required(g, frame);
    if (code != RPC_OK)
        return code;
    g->seen_size -= seen_bytes(frame->descriptor);
    if (frame->field && is_singular(frame->field)) {
        gate_frame *parent = frame - 1;
        parent->children += frame->arrays + frame->children;
        if (frame->merged)
            code = spend(g, parent->children);
    }
    g->depth--;
    return code;
}

/* ---- the scan ---------------------------------------------------------------------------- */

static rpc_code read_delimited(gate *g, gate_frame *frame, const ProtobufCFieldDescriptor *field)
{
    size_t length = 0;
    rpc_code code = read_length(g, frame->end, &length);
    if (code != RPC_OK)
        return code;
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return enter_submessage(g, frame, field, length);
    if (wire_type_of(field->type) != WIRE_LENGTH)
        return read_packed(g, frame, field, length);
    bool string = field->type == PROTOBUF_C_TYPE_STRING;
    if (string)
        code = check_string(g, rpc_bytes_of(g->at, length));
    g->at += length;
    if (code == RPC_OK)
        code = spend(g, (uint64_t)length + (string ? 1 : 0));
    if (code != RPC_OK || field->label != PROTOBUF_C_LABEL_REPEATED) {
        mark_seen(g, frame, field);
        return code;
    }
    return grow_array(g, frame, field, 1);
}

static rpc_code read_known(
    gate *g, gate_frame *frame, const ProtobufCFieldDescriptor *field, unsigned wire)
{
    unsigned expected = wire_type_of(field->type);
    bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
    if (wire == WIRE_LENGTH && (expected == WIRE_LENGTH || repeated))
        return read_delimited(g, frame, field);
    if (wire != expected)
        return refuse(g, RPC_INVALID_ARGUMENT,
            "wire type %u where %u is needed; was it packed with another .proto file?", wire,
            expected);
    rpc_code code = skip_number(g, frame->end, wire);
    if (code == RPC_OK && repeated)
        return grow_array(g, frame, field, 1);
    mark_seen(g, frame, field);
    return code;
}

static const ProtobufCFieldDescriptor *find_field(gate_frame *frame, uint32_t number)
{
    const ProtobufCMessageDescriptor *descriptor = frame->descriptor;
    const ProtobufCFieldDescriptor *last = frame->last;
    if (!last)
        return NULL;
    /* Most often the same field again or the one after it. */
    if (last->id == number)
        return last;
    if (last + 1 < descriptor->fields + descriptor->n_fields && last[1].id == number)
        return frame->last = last + 1;
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(
        descriptor, number);
    if (field)
        frame->last = field;
    return field;
}

static rpc_code read_field(gate *g, gate_frame *frame)
{
    uint64_t tag = 0;
    g->field = NULL;
    g->number = 0;
    rpc_code code = read_varint(g, frame->end, GATE_LENGTH_BYTES, &tag);
    if (code != RPC_OK)
        return code;
    if (tag > UINT32_MAX || tag >> 3 == 0)
        return refuse(g, RPC_INVALID_ARGUMENT, "field number %llu; numbers go from 1 to 536870911",
            (unsigned long long)tag >> 3);
    g->number = (uint32_t)tag >> 3;
    g->field = find_field(frame, g->number);
    code = count_entries(g, 1);
    if (code == RPC_OK)
        code = count_member(g, frame);
    if (code != RPC_OK)
        return code;
    unsigned wire = (unsigned)tag & 7;
    return g->field ? read_known(g, frame, g->field, wire) : skip_unknown(g, frame, wire);
}

static rpc_code scan(gate *g, const ProtobufCMessageDescriptor *descriptor, rpc_bytes packed)
{
    rpc_code code = enter(g, descriptor, NULL, packed.size, false);
    while (code == RPC_OK && g->depth > 0) {
        gate_frame *frame = &g->frames[g->depth - 1];
        code = g->at == frame->end ? leave(g) : read_field(g, frame);
    }
    return code;
}

static rpc_gate_limits effective(const rpc_gate_limits *limits)
{
    rpc_gate_limits result = limits ? *limits : (rpc_gate_limits){0};
    if (result.depth_max == 0 || result.depth_max > RPC__GATE_DEPTH_MAX)
        result.depth_max = RPC__GATE_DEPTH_MAX;
    if (result.entries_max == 0)
        result.entries_max = RPC__GATE_ENTRIES_MAX;
    if (result.entries_max > GATE_MEMBERS_MAX)
        result.entries_max = GATE_MEMBERS_MAX;
    if (result.memory_bytes_max == 0)
        result.memory_bytes_max = RPC__GATE_MEMORY_MAX;
    if (result.memory_bytes_max > SIZE_MAX / 2)
        result.memory_bytes_max = SIZE_MAX / 2;
    return result;
}

rpc_code rpc__gate_measure(const ProtobufCMessageDescriptor *descriptor, rpc_bytes packed,
    const rpc_gate_limits *limits, size_t *ret_memory, rpc_status *reterr)
{
    if (packed.size > INT_MAX)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "%s: %zu bytes; a protobuf message has at most %d", descriptor->name, packed.size,
            INT_MAX);
    gate g;
    g.at = packed.size > 0 ? packed.data : (const uint8_t *)"";
    g.limits = effective(limits);
    g.entries = g.memory = 0;
    g.depth = 0;
    g.frames[0].descriptor = descriptor; /* a refusal before the first frame names it */
    g.field = NULL;
    g.number = 0;
    g.seen = g.seen_few;
    g.seen_size = 0;
    g.seen_capacity = sizeof g.seen_few;
    g.reterr = reterr;
    rpc_code code = scan(&g, descriptor, packed);
    if (g.seen != g.seen_few)
        free(g.seen);
    if (code == RPC_OK)
        *ret_memory = (size_t)g.memory;
    return code;
}

rpc_code rpc_gate_check(const ProtobufCMessageDescriptor *descriptor, rpc_bytes packed,
    const rpc_gate_limits *limits, rpc_status *reterr)
{
    size_t ignored;
    return rpc__gate_measure(descriptor, packed, limits, &ignored, reterr);
}

/* ---- unpacking ---------------------------------------------------------------------------- */

/* All of a message stands in one piece of the arena, of the size that was computed. */
typedef struct gate_block {
    uint8_t *at;
    size_t left;
} gate_block;

static void *block_alloc(void *data, size_t size)
{
    gate_block *block = data;
    uint64_t need = rounded(size);
    if (need > block->left)
        return NULL;
    void *memory = block->at;
    block->at += need;
    block->left -= (size_t)need;
    return memory;
}

static void block_free(void *data, void *pointer)
{
    (void)data;
    (void)pointer;
}

rpc_code rpc_unpack(const ProtobufCMessageDescriptor *descriptor, rpc_bytes packed,
    rpc_arena *arena, ProtobufCMessage **ret, rpc_status *reterr)
{
    /* How much the arena has left is for the arena to say, once the size is known. */
    const rpc_gate_limits limits = {.memory_bytes_max = SIZE_MAX / 2};
    size_t size = 0;
    rpc_code code = rpc__gate_measure(descriptor, packed, &limits, &size, reterr);
    if (code != RPC_OK)
        return code;
    gate_block block = {rpc_arena_alloc(arena, size), size};
    if (!block.at && rpc_arena_exhausted(arena))
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "%s: unpacking takes %zu bytes, more than the call's memory budget has left "
            "(%zu bytes are in use); send less in one message, or the receiver raises "
            "call_memory_bytes_max or its rpc_arena_new()",
            descriptor->name, size, rpc_arena_used(arena));
    if (!block.at)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "%s: no memory for the %zu bytes that unpacking takes", descriptor->name, size);
    ProtobufCAllocator allocator = {block_alloc, block_free, &block};
    ProtobufCMessage *message = protobuf_c_message_unpack(
        descriptor, &allocator, packed.size, packed.data);
    if (!message)
        return rpc_status_set(reterr, RPC_INTERNAL,
            "%s: protobuf-c %s refuses %zu bytes that the gate let pass; please report it",
            descriptor->name, protobuf_c_version(), packed.size);
    *ret = message;
    return RPC_OK;
}
