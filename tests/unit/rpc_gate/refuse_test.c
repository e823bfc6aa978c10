/* SPDX-License-Identifier: Apache-2.0 */
/* What the gate refuses, with which code and sentence. */
#include "every_kind.pb-c.h"
#include "packed.h"
#include "required.pb-c.h"

#define EVERY (&gate__test__every_kind__descriptor)
#define PLAIN (&gate__test__plain__descriptor)

static void expect(const ProtobufCMessageDescriptor *descriptor, rpc_bytes bytes,
    const rpc_gate_limits *limits, rpc_code code, const char *message)
{
    rpc_status status = {RPC_OK, ""};
    size_t memory = 4711;
    assert_int_equal(rpc__gate_measure(descriptor, bytes, limits, &memory, &status), code);
    assert_int_equal(status.code, code);
    assert_string_equal(status.message, message);
    assert_int_equal(memory, 4711);
    assert_int_equal(rpc_gate_check(descriptor, bytes, limits, NULL), code);
}

/* p is freed. */
static void refused(const ProtobufCMessageDescriptor *descriptor, packed *p, const char *message)
{
    expect(descriptor, bytes_of(p), NULL, RPC_INVALID_ARGUMENT, message);
    rpc_arena *arena = rpc_arena_new(1 << 20);
    ProtobufCMessage *unpacked = NULL;
    assert_int_equal(
        rpc_unpack(descriptor, bytes_of(p), arena, &unpacked, NULL), RPC_INVALID_ARGUMENT);
    assert_null(unpacked);
    assert_int_equal(rpc_arena_used(arena), 0);
    rpc_arena_free(arena);
    free(p->data);
    *p = (packed){0};
}

static packed nested(unsigned depth)
{
    packed p = {0};
    for (unsigned i = 1; i < depth; i++) {
        packed outer = {0};
        put_message(&outer, 5, &p);
        p = outer;
    }
    return p;
}

TEST(nesting_of_32_passes)
{
    packed p = nested(32);
    rpc_status status;
    assert_int_equal(rpc_gate_check(PLAIN, bytes_of(&p), NULL, &status), RPC_OK);
    free(p.data);
}

TEST(nesting_of_33_is_refused_naming_path_and_limit)
{
    packed p = nested(33);
    rpc_status status;
    assert_int_equal(rpc_gate_check(PLAIN, bytes_of(&p), NULL, &status), RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "gate.test.Plain.inner.inner."));
    assert_non_null(strstr(status.message, "nested more than 32 deep (depth_max)"));
    free(p.data);
}

TEST(nesting_of_10000_is_refused)
{
    packed p = nested(10000);
    assert_true(p.size > 30000 && p.size < 60000);
    rpc_status status;
    assert_int_equal(rpc_gate_check(PLAIN, bytes_of(&p), NULL, &status), RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "nested more than 32 deep (depth_max)"));
    free(p.data);
}

TEST(a_smaller_depth_is_obeyed_and_a_larger_one_is_not)
{
    packed p = nested(4);
    rpc_gate_limits limits = {.depth_max = 3};
    expect(PLAIN, bytes_of(&p), &limits, RPC_INVALID_ARGUMENT,
        "gate.test.Plain.inner.inner.inner: messages are nested more than 3 deep (depth_max)");
    free(p.data);
    p = nested(33);
    limits.depth_max = 1000;
    assert_int_equal(rpc_gate_check(PLAIN, bytes_of(&p), &limits, NULL), RPC_INVALID_ARGUMENT);
    free(p.data);
}

TEST(four_mebibytes_of_empty_submessages_are_refused_by_entries)
{
    size_t size = 4 << 20;
    uint8_t *data = malloc(size);
    for (size_t i = 0; i < size; i += 2) {
        data[i] = 1 << 3 | LENGTH;
        data[i + 1] = 0;
    }
    rpc_gate_limits limits = {.memory_bytes_max = (size_t)1 << 40};
    expect(&gate__test__empties__descriptor, rpc_bytes_of(data, size), &limits,
        RPC_RESOURCE_EXHAUSTED,
        "gate.test.Empties.empty: 1000001 entries up to here, the limit is 1000000 in one "
        "message (entries_max); send several messages");
    free(data);
}

TEST(four_mebibytes_of_empty_submessages_are_refused_by_memory)
{
    size_t size = 4 << 20;
    uint8_t *data = malloc(size);
    for (size_t i = 0; i < size; i += 2) {
        data[i] = 1 << 3 | LENGTH;
        data[i + 1] = 0;
    }
    rpc_status status;
    assert_int_equal(
        rpc_gate_check(&gate__test__empties__descriptor, rpc_bytes_of(data, size), NULL, &status),
        RPC_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(status.message, "gate.test.Empties.empty: unpacking takes "));
    assert_non_null(strstr(status.message, "the limit is 16777216 bytes (memory_bytes_max)"));
    free(data);
}

TEST(ten_million_packed_entries_are_refused)
{
    packed inner = {0}, p = {0};
    for (unsigned i = 0; i < 10000000; i++)
        put(&inner, "\1", 1);
    put_message(&p, 31, &inner);
    rpc_gate_limits limits = {.memory_bytes_max = (size_t)1 << 40};
    expect(EVERY, bytes_of(&p), &limits, RPC_RESOURCE_EXHAUSTED,
        "gate.test.EveryKind.r_int32: 1000001 entries up to here, the limit is 1000000 in one "
        "message (entries_max); send several messages");
    free(p.data);
}

TEST(ten_million_packed_fixed_entries_are_refused)
{
    packed inner = {0}, p = {0};
    static const uint8_t zeros[1000];
    for (unsigned i = 0; i < 40000; i++)
        put(&inner, zeros, sizeof zeros);
    put_message(&p, 38, &inner);
    rpc_gate_limits limits = {.memory_bytes_max = (size_t)1 << 40};
    expect(EVERY, bytes_of(&p), &limits, RPC_RESOURCE_EXHAUSTED,
        "gate.test.EveryKind.r_fixed32: 10000001 entries up to here, the limit is 1000000 in "
        "one message (entries_max); send several messages");
    free(p.data);
}

TEST(a_name_with_a_nul_inside_is_refused)
{
    packed p = {0};
    put_bytes(&p, 15, "ava\0/../x", 9);
    refused(EVERY, &p,
        "gate.test.EveryKind.f_string: a NUL byte at offset 3 of the string; strings are text "
        "without NUL");
}

TEST(invalid_utf8_is_refused_in_every_place_a_string_can_stand)
{
    static const char *const bad[] = {
        "\xff", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "a\x80"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        packed p = {0}, inner = {0};
        put_text(&p, 15, bad[i]);
        refused(EVERY, &p, "gate.test.EveryKind.f_string: the string is not valid UTF-8");
        put_text(&p, 45, "good");
        put_text(&p, 45, bad[i]);
        refused(EVERY, &p, "gate.test.EveryKind.r_string: the string is not valid UTF-8");
        put_text(&p, 61, bad[i]);
        refused(EVERY, &p, "gate.test.EveryKind.o_string: the string is not valid UTF-8");
        put_text(&inner, 4, bad[i]);
        put_message(&p, 17, &inner);
        refused(EVERY, &p, "gate.test.EveryKind.f_plain.texts: the string is not valid UTF-8");
    }
}

TEST(field_number_zero_is_refused)
{
    packed p = {0};
    put(&p, "\0\0", 2);
    refused(EVERY, &p, "gate.test.EveryKind: field number 0; numbers go from 1 to 536870911");
    put(&p, "\x80\x80\0\0", 4);
    refused(EVERY, &p, "gate.test.EveryKind: field number 0; numbers go from 1 to 536870911");
}

TEST(field_numbers_beyond_29_bits_are_refused)
{
    packed p = {0};
    put_varint(&p, (uint64_t)536870912 << 3);
    put_varint(&p, 1);
    refused(
        EVERY, &p, "gate.test.EveryKind: field number 536870912; numbers go from 1 to 536870911");
    put(&p, "\x88\x80\x80\x80\x80\0\1", 7);
    refused(EVERY, &p, "gate.test.EveryKind: a number takes more than 5 bytes");
}

TEST(groups_are_refused_known_or_not)
{
    packed p = {0};
    put_tag(&p, 1000, GROUP);
    put_tag(&p, 1000, GROUP_END);
    refused(EVERY, &p,
        "gate.test.EveryKind.(field 1000): wire type 3; groups and unassigned wire types are not "
        "supported");
    put_tag(&p, 1000, GROUP_END);
    refused(EVERY, &p,
        "gate.test.EveryKind.(field 1000): wire type 4; groups and unassigned wire types are not "
        "supported");
    put_tag(&p, 17, GROUP);
    refused(EVERY, &p,
        "gate.test.EveryKind.f_plain: wire type 3 where 2 is needed; was it packed with another "
        ".proto file?");
    for (unsigned wire = 6; wire <= 7; wire++) {
        put_tag(&p, 1000, wire);
        put(&p, "12345678", 8);
        rpc_status status;
        assert_int_equal(rpc_gate_check(EVERY, bytes_of(&p), NULL, &status), RPC_INVALID_ARGUMENT);
        p.size = 0;
    }
    free(p.data);
}

static unsigned right_wire(ProtobufCType type)
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
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return LENGTH;
    default:
        return VARINT;
    }
}

static void put_zero(packed *p, uint32_t number, unsigned wire)
{
    static const size_t sizes[] = {1, 8, 1, 0, 0, 4, 4, 4};
    put_tag(p, number, wire);
    put(p, "\0\0\0\0\0\0\0", sizes[wire]);
}

TEST(every_wrong_wire_type_of_every_kind_of_field_is_refused)
{
    for (unsigned i = 0; i < EVERY->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &EVERY->fields[i];
        unsigned right = right_wire(field->type);
        for (unsigned wire = 0; wire < 8; wire++) {
            packed p = {0};
            put_zero(&p, field->id, wire);
            bool good = wire == right ||
                        (wire == LENGTH && field->label == PROTOBUF_C_LABEL_REPEATED);
            rpc_status status = {RPC_OK, ""};
            rpc_code code = rpc_gate_check(EVERY, bytes_of(&p), NULL, &status);
            assert_int_equal(code, good ? RPC_OK : RPC_INVALID_ARGUMENT);
            if (!good)
                assert_non_null(strstr(status.message, field->name));
            free(p.data);
        }
    }
}

TEST(a_boolean_in_a_length_which_protobuf_c_takes_is_refused)
{
    packed p = {0};
    put_text(&p, 13, "yes");
    meter m;
    assert_true(metered(EVERY, bytes_of(&p), &m));
    refused(EVERY, &p,
        "gate.test.EveryKind.f_bool: wire type 2 where 0 is needed; was it packed with another "
        ".proto file?");
}

TEST(numbers_of_more_than_64_bits_are_refused)
{
    packed p = {0};
    put_tag(&p, 9, VARINT);
    put(&p, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10);
    assert_int_equal(rpc_gate_check(EVERY, bytes_of(&p), NULL, NULL), RPC_OK);
    p.data[p.size - 1] = 2;
    refused(EVERY, &p, "gate.test.EveryKind.f_uint64: a number has more than 64 bits");
    put_tag(&p, 9, VARINT);
    put(&p, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81\x00", 11);
    refused(EVERY, &p, "gate.test.EveryKind.f_uint64: a number takes more than 10 bytes");
}

TEST(lengths_beyond_the_message_are_refused)
{
    packed p = {0};
    put_tag(&p, 15, LENGTH);
    put_varint(&p, 4);
    put(&p, "abc", 3);
    refused(EVERY, &p,
        "gate.test.EveryKind.f_string: a length of 4 bytes where 3 are left of the message");
    put_tag(&p, 16, LENGTH);
    put_varint(&p, UINT32_MAX);
    refused(EVERY, &p,
        "gate.test.EveryKind.f_bytes: a length of 4294967295 bytes where 0 are left of the "
        "message");
    put_tag(&p, 1000, LENGTH);
    put_varint(&p, UINT64_MAX);
    refused(EVERY, &p, "gate.test.EveryKind.(field 1000): a number takes more than 5 bytes");
}

TEST(an_inner_length_cannot_reach_beyond_its_submessage)
{
    packed p = {0}, inner = {0};
    put_tag(&inner, 2, LENGTH);
    put_varint(&inner, 3);
    put_message(&p, 17, &inner);
    put(&p, "abcdef", 6);
    refused(EVERY, &p,
        "gate.test.EveryKind.f_plain.text: a length of 3 bytes where 0 are left of the message");
}

TEST(packed_numbers_of_broken_size_are_refused)
{
    packed p = {0};
    put_bytes(&p, 38, "12345", 5);
    refused(EVERY, &p,
        "gate.test.EveryKind.r_fixed32: 5 bytes of packed numbers; a multiple of 4 is needed");
    put_bytes(&p, 42, "123456789", 9);
    refused(EVERY, &p,
        "gate.test.EveryKind.r_double: 9 bytes of packed numbers; a multiple of 8 is needed");
    put_bytes(&p, 31, "\1\x80", 2);
    refused(EVERY, &p, "gate.test.EveryKind.r_int32: the message ends inside a number");
}

TEST(a_missing_required_field_is_refused)
{
    packed p = {0}, inner = {0};
    refused(&gate__test2__required__descriptor, &p,
        "gate.test2.Required.first: this required field is missing");
    put_number(&inner, 2, 1);
    put_message(&p, 1, &inner);
    refused(&gate__test2__required__descriptor, &p,
        "gate.test2.Required.first.name: this required field is missing");
}

TEST(a_second_submessage_with_a_oneof_which_protobuf_c_fails_on_is_refused)
{
    packed p = {0}, inner = {0};
    put_message(&p, 18, &inner);
    put_message(&p, 18, &inner);
    meter m;
    assert_false(metered(EVERY, bytes_of(&p), &m));
    refused(EVERY, &p,
        "gate.test.EveryKind.f_choice: given twice, and a message with a oneof cannot be merged; "
        "send it once");
}

TEST(merging_the_same_submessage_a_thousand_times_is_charged)
{
    packed p = {0};
    for (unsigned i = 0; i < 10000; i++) {
        packed inner = {0};
        put_number(&inner, 3, i);
        put_message(&p, 17, &inner);
    }
    rpc_status status;
    assert_int_equal(rpc_gate_check(EVERY, bytes_of(&p), NULL, &status), RPC_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(status.message, "memory_bytes_max"));
    meter m;
    assert_true(metered(EVERY, bytes_of(&p), &m));
    assert_true(m.bytes > 16u << 20);
    free(p.data);
}

TEST(a_message_of_more_than_two_gibibytes_is_refused_unread)
{
    rpc_status status;
    assert_int_equal(rpc_gate_check(EVERY, rpc_bytes_of("", (size_t)INT32_MAX + 1), NULL, &status),
        RPC_RESOURCE_EXHAUSTED);
    assert_string_equal(status.message,
        "gate.test.EveryKind: 2147483648 bytes; a protobuf message has at most 2147483647");
}
