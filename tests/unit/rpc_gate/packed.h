/* SPDX-License-Identifier: Apache-2.0 */
/* Packed messages written by hand, wrong ones included. */
#ifndef GATE_PACKED_H
#define GATE_PACKED_H

#include "gate.h"
#include "test.h"

enum { VARINT = 0, FIXED64 = 1, LENGTH = 2, GROUP = 3, GROUP_END = 4, FIXED32 = 5 };

typedef struct packed {
    uint8_t *data;
    size_t size, capacity;
} packed;

static inline void put(packed *p, const void *data, size_t size)
{
    if (p->capacity - p->size < size) {
        p->capacity = 2 * (p->size + size);
        p->data = realloc(p->data, p->capacity);
        assert_non_null(p->data);
    }
    if (size > 0)
        memcpy(p->data + p->size, data, size);
    p->size += size;
}

static inline void put_varint(packed *p, uint64_t value)
{
    uint8_t byte;
    do {
        byte = (uint8_t)(value & 0x7f);
        value >>= 7;
        byte |= value ? 0x80 : 0;
        put(p, &byte, 1);
    } while (value);
}

static inline void put_tag(packed *p, uint32_t number, unsigned wire)
{
    put_varint(p, (uint64_t)number << 3 | wire);
}

static inline void put_number(packed *p, uint32_t number, uint64_t value)
{
    put_tag(p, number, VARINT);
    put_varint(p, value);
}

static inline void put_bytes(packed *p, uint32_t number, const void *data, size_t size)
{
    put_tag(p, number, LENGTH);
    put_varint(p, size);
    put(p, data, size);
}

static inline void put_text(packed *p, uint32_t number, const char *text)
{
    put_bytes(p, number, text, strlen(text));
}

/* inner becomes a submessage and is freed. */
static inline void put_message(packed *p, uint32_t number, packed *inner)
{
    put_bytes(p, number, inner->data, inner->size);
    free(inner->data);
    *inner = (packed){0};
}

static inline rpc_bytes bytes_of(const packed *p)
{
    return rpc_bytes_of(p->data, p->size);
}

/* What protobuf-c takes from an allocator, nothing given back. */
typedef struct meter {
    uint64_t bytes;
    uint64_t allocations;
} meter;

static inline void *meter_alloc(void *data, size_t size)
{
    meter *m = data;
    m->bytes += (size + RPC__GATE_ALIGN - 1) / RPC__GATE_ALIGN * RPC__GATE_ALIGN;
    m->allocations++;
    return malloc(size);
}

static inline void meter_free(void *data, void *pointer)
{
    (void)data;
    free(pointer);
}

/* Unpacks without the gate; false when protobuf-c refuses. */
static inline bool metered(
    const ProtobufCMessageDescriptor *descriptor, rpc_bytes bytes, meter *ret_meter)
{
    *ret_meter = (meter){0};
    ProtobufCAllocator allocator = {meter_alloc, meter_free, ret_meter};
    ProtobufCMessage *message = protobuf_c_message_unpack(
        descriptor, &allocator, bytes.size, bytes.data);
    if (message)
        protobuf_c_message_free_unpacked(message, &allocator);
    return message != NULL;
}

#endif
