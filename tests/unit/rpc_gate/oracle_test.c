/* SPDX-License-Identifier: Apache-2.0 */
/* protobuf-c as the oracle: what the gate lets pass is unpacked, within the memory computed.
 * A failure prints the seed; GATE_SEED repeats it and GATE_ROUNDS makes it longer. */
#include "every_kind.pb-c.h"
#include "packed.h"
#include "required.pb-c.h"
#include "wide.pb-c.h"

static uint64_t random_state;

static uint32_t random_below(uint32_t bound)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 33) % bound);
}

static uint64_t seed(void)
{
    const char *text = getenv("GATE_SEED");
    uint64_t value = 0;
    if (text)
        value = strtoull(text, NULL, 0);
    else
        rpc_random(&value, sizeof value);
    print_message("GATE_SEED=%llu\n", (unsigned long long)value);
    return value;
}

static unsigned rounds(void)
{
    const char *text = getenv("GATE_ROUNDS");
    return text ? (unsigned)strtoul(text, NULL, 0) : 6000;
}

static const ProtobufCMessageDescriptor *const descriptors[] = {
    &gate__test__every_kind__descriptor,
    &gate__test__plain__descriptor,
    &gate__test__choice__descriptor,
    &gate__test__empties__descriptor,
    &gate__test__wide__descriptor,
    &gate__test2__required__descriptor,
};
#define DESCRIPTORS (sizeof descriptors / sizeof descriptors[0])

static void put_random_message(
    packed *p, const ProtobufCMessageDescriptor *descriptor, unsigned depth);

static void put_random_number(packed *p, ProtobufCType type)
{
    uint64_t value = (uint64_t)random_below(1u << 31) << random_below(33);
    switch (type) {
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        put(p, &value, 4);
        return;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        put(p, &value, 8);
        return;
    default:
        put_varint(p, value >> random_below(64));
    }
}

static unsigned number_wire(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return FIXED32;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return FIXED64;
    default:
        return VARINT;
    }
}

static void put_random_field(packed *p, const ProtobufCFieldDescriptor *field, unsigned depth)
{
    packed inner = {0};
    switch (field->type) {
    case PROTOBUF_C_TYPE_MESSAGE:
        put_random_message(&inner, field->descriptor, depth + 1);
        put_message(p, field->id, &inner);
        return;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
        put_bytes(p, field->id, "abcdefghijklmnopqrstuvwxyz", random_below(26));
        return;
    default:
        break;
    }
    if (field->label == PROTOBUF_C_LABEL_REPEATED && random_below(2)) {
        for (unsigned i = random_below(20); i > 0; i--)
            put_random_number(&inner, field->type);
        put_message(p, field->id, &inner);
        return;
    }
    put_tag(p, field->id, number_wire(field->type));
    put_random_number(p, field->type);
}

static bool once_only(const ProtobufCFieldDescriptor *field)
{
    return field->type == PROTOBUF_C_TYPE_MESSAGE && field->label != PROTOBUF_C_LABEL_REPEATED &&
           field->descriptor != &gate__test__plain__descriptor;
}

static void put_random_message(
    packed *p, const ProtobufCMessageDescriptor *descriptor, unsigned depth)
{
    bool had[256] = {false};
    unsigned count = random_below(depth > 3 ? 3 : 40);
    for (unsigned i = 0; i < descriptor->n_fields; i++)
        if (descriptor->fields[i].label == PROTOBUF_C_LABEL_REQUIRED) {
            put_random_field(p, &descriptor->fields[i], depth);
            had[i] = true;
        }
    while (count-- > 0) {
        if (descriptor->n_fields == 0 || random_below(10) == 0) {
            put_number(p, 2000 + random_below(1000), random_below(1000));
            continue;
        }
        unsigned index = random_below(descriptor->n_fields);
        const ProtobufCFieldDescriptor *field = &descriptor->fields[index];
        if (had[index] && once_only(field))
            continue;
        if (depth > 6 && field->type == PROTOBUF_C_TYPE_MESSAGE)
            continue;
        had[index] = true;
        put_random_field(p, field, depth);
    }
}

static void mutate(packed *p)
{
    for (unsigned times = 1 + random_below(4); times > 0 && p->size > 0; times--) {
        size_t at = random_below((uint32_t)p->size);
        switch (random_below(4)) {
        case 0:
            p->data[at] ^= (uint8_t)(1u << random_below(8));
            break;
        case 1:
            p->data[at] = (uint8_t)random_below(256);
            break;
        case 2:
            p->size = at;
            break;
        default: { /* something twice */
            size_t length = random_below((uint32_t)(p->size - at) + 1);
            uint8_t *copy = malloc(length + 1);
            memcpy(copy, p->data + at, length);
            put(p, copy, length);
            free(copy);
        }
        }
    }
}

/* True when the gate let it pass. */
static bool judged_alike(const ProtobufCMessageDescriptor *descriptor, const packed *p)
{
    static const rpc_gate_limits limits = {.memory_bytes_max = 1u << 30};
    uint8_t *copy = malloc(p->size ? p->size : 1); /* exact: reads beyond it are seen */
    if (p->size > 0)
        memcpy(copy, p->data, p->size);
    rpc_bytes bytes = rpc_bytes_of(copy, p->size);
    size_t memory = 0;
    meter m;
    rpc_status status;
    rpc_code code = rpc__gate_measure(descriptor, bytes, &limits, &memory, &status);
    bool unpacked = metered(descriptor, bytes, &m);
    if (code == RPC_OK) {
        assert_true(unpacked);
        assert_true(m.bytes <= memory);
        rpc_arena *arena = rpc_arena_new(memory + 4096);
        ProtobufCMessage *message = NULL;
        assert_int_equal(rpc_unpack(descriptor, bytes, arena, &message, &status), RPC_OK);
        rpc_arena_free(arena);
    }
    free(copy);
    return code == RPC_OK;
}

TEST(random_messages_pass_and_stay_within_the_memory_computed)
{
    random_state = seed();
    for (unsigned i = 0; i < rounds() / 4; i++) {
        const ProtobufCMessageDescriptor *descriptor = descriptors[random_below(DESCRIPTORS)];
        packed p = {0};
        put_random_message(&p, descriptor, 0);
        assert_true(judged_alike(descriptor, &p));
        free(p.data);
    }
}

TEST(mutated_messages_that_pass_are_unpacked_within_the_memory_computed)
{
    random_state = seed();
    unsigned passed = 0;
    for (unsigned i = 0; i < rounds(); i++) {
        const ProtobufCMessageDescriptor *descriptor = descriptors[random_below(DESCRIPTORS)];
        packed p = {0};
        put_random_message(&p, descriptor, 0);
        mutate(&p);
        passed += judged_alike(descriptor, &p);
        free(p.data);
    }
    assert_in_range(passed, rounds() / 100, rounds() - rounds() / 100);
}

TEST(bytes_of_any_kind_that_pass_are_unpacked_within_the_memory_computed)
{
    random_state = seed();
    for (unsigned i = 0; i < rounds(); i++) {
        uint8_t noise[64];
        packed p = {noise, random_below(sizeof noise), sizeof noise};
        for (size_t at = 0; at < p.size; at++)
            noise[at] = (uint8_t)(random_below(2) ? random_below(256) : random_below(20));
        (void)judged_alike(descriptors[random_below(DESCRIPTORS)], &p);
    }
}
