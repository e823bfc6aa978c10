/* SPDX-License-Identifier: Apache-2.0 */
/* rpc_gate_check() and rpc_unpack(), with protobuf-c as the oracle: what passes must be
 * unpacked, within the memory computed. The first byte picks the message: those of the gate's
 * tests first, then the requests of every service. */
#include "gate.h"

#include "dacm/v1/admin.pb-c.h"
#include "dacm/v1/consumer_list.pb-c.h"
#include "dacm/v1/digital_asset.pb-c.h"
#include "dacm/v1/token_status.pb-c.h"
#include "every_kind.pb-c.h"
#include "grpc/health/v1/health.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "required.pb-c.h"
#include "wide.pb-c.h"

#include <stdio.h>
#include <stdlib.h>

#define MESSAGES_MAX 64

static const ProtobufCMessageDescriptor *messages[MESSAGES_MAX] = {
    &gate__test__every_kind__descriptor,
    &gate__test__plain__descriptor,
    &gate__test__choice__descriptor,
    &gate__test__empties__descriptor,
    &gate__test__wide__descriptor,
    &gate__test2__required__descriptor,
};
static size_t message_count = 6;

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "gate: not so: %s\n", #condition);                                     \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static void add_requests(const ProtobufCServiceDescriptor *service)
{
    for (unsigned i = 0; i < service->n_methods; i++) {
        MUST(message_count < MESSAGES_MAX);
        messages[message_count++] = service->methods[i].input;
    }
}

__attribute__((constructor)) static void add_services(void)
{
    add_requests(&grpc__health__v1__health__descriptor);
    add_requests(&grpc__reflection__v1__server_reflection__descriptor);
    add_requests(&dacm__v1__token_status__descriptor);
    add_requests(&dacm__v1__admin__descriptor);
    add_requests(&dacm__v1__consumer_lists__descriptor);
    add_requests(&dacm__v1__digital_assets__descriptor);
}

/* Sums what protobuf-c asks for. */
static void *count_alloc(void *data, size_t size)
{
    size_t *sum = data;
    *sum += (size + RPC__GATE_ALIGN - 1) / RPC__GATE_ALIGN * RPC__GATE_ALIGN;
    return malloc(size);
}

static void count_free(void *data, void *pointer)
{
    (void)data;
    free(pointer);
}

static void check_against_protobuf_c(
    const ProtobufCMessageDescriptor *descriptor, rpc_bytes packed, size_t memory)
{
    size_t used = 0;
    ProtobufCAllocator allocator = {count_alloc, count_free, &used};
    ProtobufCMessage *message = protobuf_c_message_unpack(
        descriptor, &allocator, packed.size, packed.data);
    MUST(message);
    MUST(used <= memory);
    protobuf_c_message_free_unpacked(message, &allocator);
}

/* What was unpacked can be packed again. */
static void pack_again(const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = malloc(size + 1);
    MUST(packed);
    MUST(protobuf_c_message_pack(message, packed) == size);
    free(packed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const ProtobufCMessageDescriptor *descriptor = messages[data[0] % message_count];
    rpc_bytes packed = rpc_bytes_of(data + 1, size - 1);
    size_t memory = 0;
    rpc_status status = {RPC_OK, ""};
    rpc_code code = rpc__gate_measure(descriptor, packed, NULL, &memory, &status);
    if (code != RPC_OK) {
        MUST(status.code == code && status.message[0] != '\0');
        MUST(code == RPC_INVALID_ARGUMENT || code == RPC_RESOURCE_EXHAUSTED);
        return 0;
    }
    check_against_protobuf_c(descriptor, packed, memory);
    rpc_arena *arena = rpc_arena_new(memory + 4096);
    ProtobufCMessage *message = NULL;
    MUST(arena);
    MUST(rpc_unpack(descriptor, packed, arena, &message, &status) == RPC_OK);
    pack_again(message);
    rpc_arena_free(arena);
    return 0;
}
