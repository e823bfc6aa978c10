/* SPDX-License-Identifier: Apache-2.0 */
/* Calls a server whose .proto is not at hand: asks its reflection service.
 *     reflection_client URL FOLDER_OF_CERTIFICATES                          lists what there is
 *     reflection_client URL FOLDER_OF_CERTIFICATES SERVICE/METHOD F=VALUE…  calls a unary method
 * Fields that are text, whole numbers and booleans, at the top of the message. */
#include "example.h"
#include "google/protobuf/descriptor.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef Grpc__Reflection__V1__ServerReflectionRequest question;
typedef Grpc__Reflection__V1__ServerReflectionResponse answer;
typedef Google__Protobuf__FileDescriptorProto file_descriptor;
typedef Google__Protobuf__ServiceDescriptorProto service_descriptor;
typedef Google__Protobuf__MethodDescriptorProto method_descriptor;
typedef Google__Protobuf__DescriptorProto message_descriptor;
typedef Google__Protobuf__FieldDescriptorProto field_descriptor;

/* ---- a call of any method with bytes: what the library needs no descriptor for ------------ */

typedef struct exchange {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    rpc_arena *arena;
    rpc_bytes reply;
    bool ended;
    rpc_status status;
} exchange;

static void on_message(rpc_call *call, rpc_message *message, void *user)
{
    (void)call;
    exchange *e = user;
    rpc_bytes bytes = rpc_message_bytes(message);
    uint8_t *copy = rpc_arena_alloc(e->arena, bytes.size + 1);
    if (copy) {
        if (bytes.size > 0)
            memcpy(copy, bytes.data, bytes.size);
        e->reply = rpc_bytes_of(copy, bytes.size);
    } else {
        rpc_call_cancel(call);
    }
    rpc_message_release(message);
}

static void on_end(rpc_call *call, const rpc_status *status, void *user)
{
    (void)call;
    exchange *e = user;
    pthread_mutex_lock(&e->lock);
    e->status = *status;
    e->ended = true;
    pthread_cond_signal(&e->changed);
    pthread_mutex_unlock(&e->lock);
}

static rpc_bytes call_with_bytes(
    rpc_channel *channel, const char *path, rpc_bytes request, rpc_arena *arena)
{
    static const rpc_handler handler = {.on_message = on_message, .on_end = on_end};
    const rpc_call_options options = {.timeout_ms = 5000};
    exchange e = {
        .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .arena = arena};
    rpc_call *call = NULL;
    rpc_status status;
    check(rpc_channel_start(channel, path, &options, &handler, &e, &call, &status), &status);
    if (rpc_call_send(call, request, NULL) == RPC_SENT_OK) /* the first is always taken */
        rpc_call_half_close(call);
    pthread_mutex_lock(&e.lock);
    while (!e.ended)
        pthread_cond_wait(&e.changed, &e.lock);
    pthread_mutex_unlock(&e.lock);
    rpc_call_unref(call);
    check(e.status.code, &e.status);
    return e.reply;
}

/* ---- asking the reflection service ---------------------------------------------------------- */

static const answer *ask(rpc_channel *channel, const question *what, rpc_arena *arena)
{
    uint8_t packed[1024];
    rpc_status status;
    ProtobufCMessage *message = NULL;
    if (protobuf_c_message_get_packed_size(&what->base) > sizeof packed) {
        rpc_status_set(&status, RPC_INVALID_ARGUMENT, "reflection: the name is too long");
        check(status.code, &status);
    }
    rpc_bytes reply = call_with_bytes(channel,
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        rpc_bytes_of(packed, protobuf_c_message_pack(&what->base, packed)), arena);
    check(rpc_unpack(&grpc__reflection__v1__server_reflection_response__descriptor, reply, arena,
              &message, &status),
        &status);
    const answer *a = (const answer *)message;
    if (a->message_response_case ==
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE) {
        rpc_status_set(&status, (rpc_code)a->error_response->error_code, "reflection: %s",
            a->error_response->error_message);
        check(status.code, &status);
    }
    return a;
}

/* The file with symbol in it; those it imports come after it and are not looked at. */
static const file_descriptor *file_of(rpc_channel *channel, char *symbol, rpc_arena *arena)
{
    question what = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    rpc_status status;
    ProtobufCMessage *file = NULL;
    what.message_request_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL;
    what.file_containing_symbol = symbol;
    const answer *a = ask(channel, &what, arena);
    if (a->message_response_case !=
            GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE ||
        a->file_descriptor_response->n_file_descriptor_proto == 0) {
        rpc_status_set(&status, RPC_UNKNOWN, "reflection: no file for %s came", symbol);
        check(status.code, &status);
    }
    const ProtobufCBinaryData *packed = &a->file_descriptor_response->file_descriptor_proto[0];
    check(rpc_unpack(&google__protobuf__file_descriptor_proto__descriptor,
              rpc_bytes_of(packed->data, packed->len), arena, &file, &status),
        &status);
    return (const file_descriptor *)file;
}

/* PACKAGE.NAME equals full. */
static bool is_named(const file_descriptor *file, const char *name, const char *full)
{
    size_t size = file->package ? strlen(file->package) : 0;
    if (size > 0 && (strncmp(full, file->package, size) != 0 || full[size] != '.'))
        return false;
    return strcmp(full + (size > 0 ? size + 1 : 0), name) == 0;
}

static const service_descriptor *find_service(const file_descriptor *file, const char *full)
{
    for (size_t i = 0; i < file->n_service; i++)
        if (is_named(file, file->service[i]->name, full))
            return file->service[i];
    return NULL;
}

static void list(rpc_channel *channel, rpc_arena *arena)
{
    question what = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    char all[] = "*";
    what.message_request_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES;
    what.list_services = all;
    const answer *a = ask(channel, &what, arena);
    if (a->message_response_case !=
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE)
        return;
    for (size_t i = 0; i < a->list_services_response->n_service; i++) {
        char *name = a->list_services_response->service[i]->name;
        const service_descriptor *service = find_service(file_of(channel, name, arena), name);
        for (size_t j = 0; service && j < service->n_method; j++) {
            const method_descriptor *m = service->method[j];
            printf("%s/%s(%s%s) returns (%s%s)\n", name, m->name,
                m->client_streaming ? "stream " : "", m->input_type + 1,
                m->server_streaming ? "stream " : "", m->output_type + 1);
        }
    }
}

/* ---- messages by their descriptors ----------------------------------------------------------- */

static void fail(const char *what, const char *name)
{
    fprintf(stderr, "reflection_client: %s '%s'\n", what, name);
    exit(1);
}

static const message_descriptor *message_of(
    rpc_channel *channel, const char *type, rpc_arena *arena)
{
    char *name = rpc_arena_strndup(arena, type + 1, strlen(type + 1)); /* ".package.Name" */
    if (!name)
        fail("no memory for", type);
    const file_descriptor *file = file_of(channel, name, arena);
    for (size_t i = 0; i < file->n_message_type; i++)
        if (is_named(file, file->message_type[i]->name, name))
            return file->message_type[i];
    fail("only messages at the top of a file, not", type);
    return NULL;
}

static bool is_text(const field_descriptor *field)
{
    return field->type == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_STRING;
}

static bool is_whole(const field_descriptor *field)
{
    switch (field->type) {
    case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_INT32:
    case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_INT64:
    case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_UINT32:
    case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_UINT64:
    case GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_BOOL:
        return true;
    default:
        return false;
    }
}

typedef struct buffer {
    uint8_t data[4096];
    size_t size;
} buffer;

static void put(buffer *b, const void *data, size_t size)
{
    if (size > sizeof b->data - b->size)
        fail("the request is larger than", "4096 bytes");
    memcpy(b->data + b->size, data, size);
    b->size += size;
}

static void put_varint(buffer *b, uint64_t value)
{
    do {
        uint8_t byte = (uint8_t)((value & 0x7F) | (value > 0x7F ? 0x80 : 0));
        put(b, &byte, 1);
        value >>= 7;
    } while (value > 0);
}

static void put_field(buffer *b, const message_descriptor *message, const char *argument)
{
    const char *value = strchr(argument, '=');
    for (size_t i = 0; value && i < message->n_field; i++) {
        const field_descriptor *field = message->field[i];
        size_t size = strlen(field->name);
        if (size != (size_t)(value - argument) || memcmp(field->name, argument, size) != 0)
            continue;
        value++;
        put_varint(b, (uint64_t)field->number << 3 | (is_text(field) ? 2 : 0));
        if (is_text(field)) {
            put_varint(b, strlen(value));
            put(b, value, strlen(value));
        } else if (is_whole(field)) {
            put_varint(b, (uint64_t)strtoll(value, NULL, 0));
        } else {
            fail("neither text nor a whole number is", field->name);
        }
        return;
    }
    fail("the request has no such field:", argument);
}

static uint64_t take_varint(rpc_bytes *in)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && in->size > 0; shift += 7) {
        uint8_t byte = *in->data++;
        in->size--;
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80)
            return value;
    }
    fail("the reply is cut in a", "number");
    return 0;
}

static void print_fields(const message_descriptor *message, rpc_bytes in)
{
    while (in.size > 0) {
        uint64_t key = take_varint(&in);
        const field_descriptor *field = NULL;
        for (size_t i = 0; i < message->n_field; i++)
            if ((uint64_t)message->field[i]->number == key >> 3)
                field = message->field[i];
        if ((key & 7) == 0 && field && is_whole(field)) {
            printf("%s=%lld\n", field->name, (long long)take_varint(&in));
        } else if ((key & 7) == 2 && field && is_text(field)) {
            uint64_t size = take_varint(&in);
            if (size > in.size)
                fail("the reply is cut in", field->name);
            printf("%s=%.*s\n", field->name, (int)size, (const char *)in.data);
            in = rpc_bytes_of(in.data + size, in.size - (size_t)size);
        } else {
            fail("neither text nor a whole number is", field ? field->name : "a field");
        }
    }
}

static void call_method(
    rpc_channel *channel, char *service_and_method, char **arguments, int count, rpc_arena *arena)
{
    char path[256];
    char *slash = strchr(service_and_method, '/');
    if (!slash)
        fail("not SERVICE/METHOD:", service_and_method);
    snprintf(path, sizeof path, "/%s", service_and_method);
    *slash = '\0';
    const service_descriptor *service = find_service(
        file_of(channel, service_and_method, arena), service_and_method);
    for (size_t i = 0; service && i < service->n_method; i++) {
        const method_descriptor *method = service->method[i];
        if (strcmp(method->name, slash + 1) != 0)
            continue;
        buffer request = {.size = 0};
        const message_descriptor *input = message_of(channel, method->input_type, arena);
        for (int j = 0; j < count; j++)
            put_field(&request, input, arguments[j]);
        rpc_bytes reply = call_with_bytes(
            channel, path, rpc_bytes_of(request.data, request.size), arena);
        print_fields(message_of(channel, method->output_type, arena), reply);
        return;
    }
    fail("there is no method", path);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: reflection_client URL FOLDER [SERVICE/METHOD FIELD=VALUE…]\n");
        return 2;
    }
    rpc_runtime *runtime = NULL;
    const rpc_tls_options tls = tls_of(argv[2], NULL);
    rpc_channel *channel = new_channel(&runtime, argv[1], &tls);
    rpc_arena *arena = rpc_arena_new(4 * 1024 * 1024); /* all that a server may make us keep */
    if (argc == 3)
        list(channel, arena);
    else
        call_method(channel, argv[3], argv + 4, argc - 4, arena);
    rpc_arena_free(arena);
    rpc_channel_free(channel);
    rpc_runtime_free(runtime);
    return 0;
}
