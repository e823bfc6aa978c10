/* SPDX-License-Identifier: Apache-2.0 */
/* What the gate lets pass, what it computes, and unpacking into an arena. */
#include "every_kind.pb-c.h"
#include "packed.h"
#include "required.pb-c.h"
#include "wide.pb-c.h"

#define EVERY (&gate__test__every_kind__descriptor)

static size_t measure(const ProtobufCMessageDescriptor *descriptor, const packed *p)
{
    size_t memory = 0;
    rpc_status status = {RPC_OK, ""};
    if (rpc__gate_measure(descriptor, bytes_of(p), NULL, &memory, &status) != RPC_OK)
        fail_msg("%s", status.message);
    return memory;
}

/* Computed and used differ at most by the rounding of arrays. */
static void measures_well(const ProtobufCMessageDescriptor *descriptor, packed *p, size_t slack)
{
    meter m;
    size_t memory = measure(descriptor, p);
    assert_true(metered(descriptor, bytes_of(p), &m));
    assert_in_range(memory, m.bytes, m.bytes + slack);
    free(p->data);
    *p = (packed){0};
}

TEST(an_empty_message_is_its_struct)
{
    packed p = {0};
    measures_well(EVERY, &p, 8);
}

TEST(strings_bytes_and_submessages_are_measured_exactly)
{
    packed p = {0}, inner = {0};
    put_text(&p, 15, "seven..");
    put_text(&p, 15, "eight...");
    put_text(&p, 15, "");
    put_bytes(&p, 16, "", 0);
    put_bytes(&p, 16, "\xff\0", 2);
    put_text(&inner, 2, "text");
    put_message(&p, 17, &inner);
    measures_well(EVERY, &p, 0);
}

TEST(repeated_fields_are_measured_within_a_word_for_each_field)
{
    packed p = {0};
    for (unsigned i = 0; i < 1001; i++) {
        put_number(&p, 31, i);
        put_text(&p, 45, "x");
        put_bytes(&p, 46, "y", 1);
        put_bytes(&p, 47, "", 0);
    }
    put_bytes(&p, 38, "123412341234", 12);
    put_bytes(&p, 42, "1234123412341234", 16);
    put_bytes(&p, 43, "\0\1\1", 3);
    measures_well(EVERY, &p, 7 * 8);
}

TEST(booleans_in_long_varints_are_charged_as_protobuf_c_allocates)
{
    packed p = {0};
    put_bytes(&p, 43, "\x81\x80\x80\x80\0\x80\x80\x80\1\1", 10);
    measures_well(EVERY, &p, 8);
}

TEST(slabs_of_scanned_members_are_charged_from_the_17th_field_on)
{
    for (unsigned fields = 14; fields < 500; fields++) {
        packed p = {0};
        for (unsigned i = 0; i < fields; i++)
            put_number(&p, 1, i);
        measures_well(EVERY, &p, 0);
    }
}

TEST(messages_of_more_than_128_fields_are_charged_their_bitmap)
{
    packed p = {0};
    for (unsigned i = 1; i < RPC__GATE_DEPTH_MAX; i++) {
        packed outer = {0};
        put_message(&outer, 1, &p);
        put_number(&outer, 160, i);
        p = outer;
    }
    measures_well(&gate__test__wide__descriptor, &p, 0);
}

TEST(unknown_fields_pass_are_charged_and_stay)
{
    packed p = {0};
    put_number(&p, 1000, 1);
    put_bytes(&p, 536870911, "\xff\0", 2);
    put_tag(&p, 1001, FIXED32);
    put(&p, "1234", 4);
    put_tag(&p, 1002, FIXED64);
    put(&p, "12345678", 8);
    put_number(&p, 1, 42);
    rpc_arena *arena = rpc_arena_new(4096);
    ProtobufCMessage *message = NULL;
    assert_int_equal(rpc_unpack(EVERY, bytes_of(&p), arena, &message, NULL), RPC_OK);
    const Gate__Test__EveryKind *every = (Gate__Test__EveryKind *)message;
    assert_int_equal(every->f_int32, 42);
    assert_int_equal(message->n_unknown_fields, 4);
    assert_int_equal(message->unknown_fields[1].tag, 536870911);
    assert_int_equal(protobuf_c_message_get_packed_size(message), p.size);
    rpc_arena_free(arena);
    measures_well(EVERY, &p, 0);
}

TEST(bytes_fields_take_any_bytes)
{
    packed p = {0};
    put_bytes(&p, 16, "\xff\xfe\0\x80", 4);
    put_bytes(&p, 46, "\0", 1);
    put_bytes(&p, 62, "\xc0\xaf", 2);
    measures_well(EVERY, &p, 8);
}

TEST(repeated_numbers_pass_packed_and_not_packed)
{
    packed p = {0};
    put_number(&p, 31, 1);
    put_bytes(&p, 31, "\2\3", 2);
    put_bytes(&p, 49, "\4\5", 2);
    put_number(&p, 49, 6);
    put_bytes(&p, 32, "", 0);
    rpc_arena *arena = rpc_arena_new(1 << 20);
    ProtobufCMessage *message = NULL;
    assert_int_equal(rpc_unpack(EVERY, bytes_of(&p), arena, &message, NULL), RPC_OK);
    const Gate__Test__EveryKind *every = (Gate__Test__EveryKind *)message;
    assert_int_equal(every->n_r_int32, 3);
    assert_int_equal(every->r_int32[2], 3);
    assert_int_equal(every->n_r_unpacked, 3);
    assert_int_equal(every->n_r_sint32, 0);
    rpc_arena_free(arena);
    free(p.data);
}

TEST(a_second_submessage_is_merged_and_its_arrays_are_charged)
{
    packed p = {0};
    for (unsigned i = 0; i < 3; i++) {
        packed inner = {0}, innermost = {0};
        put_number(&innermost, 3, 10 + i);
        put_number(&inner, 3, i);
        put_text(&inner, 4, "t");
        put_message(&inner, 5, &innermost);
        put_message(&p, 17, &inner);
    }
    rpc_arena *arena = rpc_arena_new(1 << 20);
    ProtobufCMessage *message = NULL;
    assert_int_equal(rpc_unpack(EVERY, bytes_of(&p), arena, &message, NULL), RPC_OK);
    const Gate__Test__Plain *plain = ((Gate__Test__EveryKind *)message)->f_plain;
    assert_int_equal(plain->n_numbers, 3);
    assert_int_equal(plain->n_texts, 3);
    assert_int_equal(plain->inner->n_numbers, 3);
    assert_int_equal(plain->inner->numbers[2], 12);
    rpc_arena_free(arena);
    measures_well(EVERY, &p, 256);
}

TEST(the_last_member_of_a_oneof_counts)
{
    packed p = {0}, plain = {0};
    put_text(&p, 61, "text");
    put_number(&plain, 1, 5);
    put_message(&p, 63, &plain);
    put_message(&p, 63, &plain);
    put_number(&p, 64, 7);
    put_bytes(&p, 62, "b", 1);
    rpc_arena *arena = rpc_arena_new(1 << 20);
    ProtobufCMessage *message = NULL;
    assert_int_equal(rpc_unpack(EVERY, bytes_of(&p), arena, &message, NULL), RPC_OK);
    const Gate__Test__EveryKind *every = (Gate__Test__EveryKind *)message;
    assert_int_equal(every->choice_case, GATE__TEST__EVERY_KIND__CHOICE_O_BYTES);
    assert_int_equal(every->o_bytes.len, 1);
    rpc_arena_free(arena);
    measures_well(EVERY, &p, 0);
}

TEST(required_fields_and_defaults_of_proto2_pass)
{
    packed p = {0}, pair = {0};
    put_text(&pair, 1, "name");
    put_text(&pair, 3, "note");
    put_text(&pair, 3, "note");
    put_message(&p, 1, &pair);
    put_bytes(&p, 4, "12345678", 8);
    measures_well(&gate__test2__required__descriptor, &p, 8);
}

/* A message that has every kind of field twice where that can be. */
static packed all_kinds(void)
{
    packed p = {0}, plain = {0};
    for (unsigned i = 0; i < EVERY->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &EVERY->fields[i];
        switch (field->type) {
        case PROTOBUF_C_TYPE_STRING:
        case PROTOBUF_C_TYPE_BYTES:
            put_text(&p, field->id, "t\xc3\xa4xt");
            break;
        case PROTOBUF_C_TYPE_MESSAGE:
            put_number(&plain, 999, 1);
            put_message(&p, field->id, &plain);
            break;
        case PROTOBUF_C_TYPE_SFIXED32:
        case PROTOBUF_C_TYPE_FIXED32:
        case PROTOBUF_C_TYPE_FLOAT:
            put_tag(&p, field->id, FIXED32);
            put(&p, "1234", 4);
            break;
        case PROTOBUF_C_TYPE_SFIXED64:
        case PROTOBUF_C_TYPE_FIXED64:
        case PROTOBUF_C_TYPE_DOUBLE:
            put_tag(&p, field->id, FIXED64);
            put(&p, "12345678", 8);
            break;
        default:
            put_number(&p, field->id, UINT64_MAX);
        }
    }
    return p;
}

TEST(every_truncation_is_judged_as_protobuf_c_does)
{
    packed p = all_kinds();
    unsigned cut_between_fields = 0;
    for (size_t size = 0; size <= p.size; size++) {
        /* An exact copy, so that reading beyond it is seen by the sanitizer. */
        uint8_t *copy = malloc(size ? size : 1);
        memcpy(copy, p.data, size);
        meter m;
        bool unpacked = metered(EVERY, rpc_bytes_of(copy, size), &m);
        rpc_code code = rpc_gate_check(EVERY, rpc_bytes_of(copy, size), NULL, NULL);
        assert_int_equal(code, unpacked ? RPC_OK : RPC_INVALID_ARGUMENT);
        cut_between_fields += unpacked;
        free(copy);
    }
    assert_int_equal(cut_between_fields, EVERY->n_fields + 1);
    free(p.data);
}

TEST(unpacking_takes_one_piece_of_the_size_computed)
{
    packed p = all_kinds();
    size_t memory = measure(EVERY, &p);
    rpc_arena *arena = rpc_arena_new(1 << 20);
    ProtobufCMessage *message = NULL;
    assert_int_equal(rpc_unpack(EVERY, bytes_of(&p), arena, &message, NULL), RPC_OK);
    assert_in_range(rpc_arena_used(arena), memory, memory + 15);
    assert_ptr_equal(message->descriptor, EVERY);
    rpc_arena_free(arena);
    free(p.data);
}

TEST(unpacking_beyond_the_arena_is_refused_with_the_sizes)
{
    packed p = {0};
    for (unsigned i = 0; i < 1000; i++)
        put_text(&p, 45, "a string");
    rpc_arena *arena = rpc_arena_new(8192);
    ProtobufCMessage *message = NULL;
    rpc_status status;
    char expected[300];
    snprintf(expected, sizeof expected,
        "gate.test.EveryKind: unpacking takes %zu bytes, more than the call's memory budget has "
        "left (0 bytes are in use); send less in one message, or the receiver raises "
        "call_memory_bytes_max or its rpc_arena_new()",
        measure(EVERY, &p));
    assert_int_equal(
        rpc_unpack(EVERY, bytes_of(&p), arena, &message, &status), RPC_RESOURCE_EXHAUSTED);
    assert_string_equal(status.message, expected);
    assert_null(message);
    rpc_arena_free(arena);
    free(p.data);
}

TEST(the_memory_limit_holds_to_the_byte)
{
    packed p = all_kinds();
    rpc_gate_limits limits = {.memory_bytes_max = measure(EVERY, &p)};
    assert_int_equal(rpc_gate_check(EVERY, bytes_of(&p), &limits, NULL), RPC_OK);
    limits.memory_bytes_max--;
    assert_int_equal(rpc_gate_check(EVERY, bytes_of(&p), &limits, NULL), RPC_RESOURCE_EXHAUSTED);
    free(p.data);
}
