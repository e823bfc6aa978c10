/* SPDX-License-Identifier: Apache-2.0 */
/* grpc.reflection: what a server offers, told from the descriptor sets its services came with.
 * v1 and v1alpha are the same on the wire, so one handler with v1's messages serves both.
 *
 * Requests are answered one by one; while the peer does not read, they wait unreleased and so
 * count against its window. Services that the listener does not serve are not listed on it. */
#include "descriptor.h"
#include "proto_grpc_descriptors.h"
#include "server.h"

#include "grpc/reflection/v1/reflection.pb-c.h"
#include "grpc/reflection/v1alpha/reflection.pb-c.h"

#include <stdlib.h>
#include <string.h>

#define REQUEST_BYTES_MAX 4096

typedef Grpc__Reflection__V1__ServerReflectionRequest reflection_request;
typedef Grpc__Reflection__V1__ServerReflectionResponse reflection_response;

#define REQUEST(name)  GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##name
#define RESPONSE(name) GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##name

typedef struct reflection {
    Grpc__Reflection__V1__ServerReflection_Service v1;
    Grpc__Reflection__V1alpha__ServerReflection_Service v1alpha;
    rpc_server *server;
    pthread_mutex_t lock;
    rpc__files *files; /* (lock) made at the first call, when all services are there */
} reflection;

/* A request that waits. */
typedef struct waiting {
    struct waiting *next;
    rpc_message *message;
} waiting;

typedef struct reflection_call {
    const rpc__files *files;
    waiting *first, **end;
    bool half_closed;
} reflection_call;

/* ---- answers ------------------------------------------------------------------------------ */

/* One answer being made. Its parts live until it is packed. */
typedef struct answer {
    const rpc__files *files;
    const reflection *owner;
    rpc_call *call;
    reflection_response response;
    Grpc__Reflection__V1__ErrorResponse error;
    Grpc__Reflection__V1__FileDescriptorResponse file;
    Grpc__Reflection__V1__ExtensionNumberResponse numbers;
    Grpc__Reflection__V1__ListServiceResponse list;
    void *parts, *more_parts;
} answer;

static void answer_error(answer *a, rpc_code code, const char *message)
{
    grpc__reflection__v1__error_response__init(&a->error);
    a->error.error_code = (int32_t)code;
    a->error.error_message = (char *)(uintptr_t)message;
    a->response.message_response_case = RESPONSE(ERROR_RESPONSE);
    a->response.error_response = &a->error;
}

static void answer_no_memory(answer *a)
{
    answer_error(a, RPC_RESOURCE_EXHAUSTED, "reflection: no memory for the answer");
}

/* The file and what it depends on; their bytes are those of the descriptor set. */
static void answer_file(answer *a, size_t file)
{
    size_t room = rpc__files_count(a->files);
    rpc_bytes *protos = a->parts = calloc(room, sizeof *protos);
    ProtobufCBinaryData *blobs = a->more_parts = calloc(room, sizeof *blobs);
    size_t count = protos && blobs ? rpc__files_closure(a->files, file, protos) : 0;
    if (count == 0) {
        answer_no_memory(a);
        return;
    }
    for (size_t i = 0; i < count; i++)
        blobs[i] = (ProtobufCBinaryData){protos[i].size, (uint8_t *)(uintptr_t)protos[i].data};
    grpc__reflection__v1__file_descriptor_response__init(&a->file);
    a->file.n_file_descriptor_proto = count;
    a->file.file_descriptor_proto = blobs;
    a->response.message_response_case = RESPONSE(FILE_DESCRIPTOR_RESPONSE);
    a->response.file_descriptor_response = &a->file;
}

static void answer_file_or_not_found(answer *a, bool found, size_t file, const char *otherwise)
{
    if (found)
        answer_file(a, file);
    else
        answer_error(a, RPC_NOT_FOUND, otherwise);
}

static void answer_extension_numbers(answer *a, char *type)
{
    size_t ignored;
    if (!rpc__files_by_symbol(a->files, type, &ignored)) {
        answer_error(a, RPC_NOT_FOUND, "reflection: no such message type here");
        return;
    }
    size_t count = rpc__files_extensions(a->files, type, NULL);
    int32_t *numbers = a->parts = calloc(count + 1, sizeof *numbers);
    if (!numbers) {
        answer_no_memory(a);
        return;
    }
    grpc__reflection__v1__extension_number_response__init(&a->numbers);
    a->numbers.base_type_name = type;
    a->numbers.n_extension_number = rpc__files_extensions(a->files, type, numbers);
    a->numbers.extension_number = numbers;
    a->response.message_response_case = RESPONSE(ALL_EXTENSION_NUMBERS_RESPONSE);
    a->response.all_extension_numbers_response = &a->numbers;
}

static void answer_services(answer *a)
{
    const rpc_server *server = a->owner->server;
    size_t room = rpc__server_service_count(server), count = 0;
    Grpc__Reflection__V1__ServiceResponse *services = a->parts = calloc(room, sizeof *services);
    Grpc__Reflection__V1__ServiceResponse **list = a->more_parts = calloc(room, sizeof *list);
    if (!services || !list) {
        answer_no_memory(a);
        return;
    }
    for (size_t i = 0; i < room; i++) {
        const rpc__service *service = rpc__server_service(server, i);
        if (!rpc__service_on(service, rpc_call_listener(a->call)))
            continue;
        grpc__reflection__v1__service_response__init(&services[count]);
        services[count].name = (char *)(uintptr_t)service->service->descriptor->name;
        list[count] = &services[count];
        count++;
    }
    grpc__reflection__v1__list_service_response__init(&a->list);
    a->list.n_service = count;
    a->list.service = list;
    a->response.message_response_case = RESPONSE(LIST_SERVICES_RESPONSE);
    a->response.list_services_response = &a->list;
}

static void fill(answer *a, const reflection_request *request)
{
    size_t file = 0;
    bool found;
    switch (request->message_request_case) {
    case REQUEST(FILE_BY_FILENAME):
        found = rpc__files_by_name(a->files, request->file_by_filename, &file);
        answer_file_or_not_found(a, found, file, "reflection: no such file here");
        return;
    case REQUEST(FILE_CONTAINING_SYMBOL):
        found = rpc__files_by_symbol(a->files, request->file_containing_symbol, &file);
        answer_file_or_not_found(a, found, file, "reflection: no such symbol here");
        return;
    case REQUEST(FILE_CONTAINING_EXTENSION):
        found = rpc__files_by_extension(a->files,
            request->file_containing_extension->containing_type,
            request->file_containing_extension->extension_number, &file);
        answer_file_or_not_found(a, found, file, "reflection: no such extension here");
        return;
    case REQUEST(ALL_EXTENSION_NUMBERS_OF_TYPE):
        answer_extension_numbers(a, request->all_extension_numbers_of_type);
        return;
    case REQUEST(LIST_SERVICES):
        answer_services(a);
        return;
    default:
        answer_error(a, RPC_INVALID_ARGUMENT,
            "reflection: the request asks nothing known; set one of message_request");
    }
}

static rpc_sent send_answer(
    const reflection *r, rpc_call *call, const rpc__files *files, reflection_request *request)
{
    answer a = {.owner = r, .call = call, .files = files};
    grpc__reflection__v1__server_reflection_response__init(&a.response);
    a.response.valid_host = request->host;
    a.response.original_request = request;
    fill(&a, request);
    rpc_sent sent = rpc_call_send_packed(call, &a.response.base);
    free(a.parts);
    free(a.more_parts);
    return sent;
}

/* ---- the call -------------------------------------------------------------------------------- */

/* True when the message is done with, whatever came of it. */
static bool answer_message(
    const reflection *r, rpc_call *call, const rpc__files *files, rpc_message *message)
{
    rpc_status status;
    ProtobufCMessage *request = NULL;
    rpc_code code = rpc_message_unpack(
        message, &grpc__reflection__v1__server_reflection_request__descriptor, &request, &status);
    if (code != RPC_OK) {
        rpc_call_finish(call, code, status.message);
        return true;
    }
    return send_answer(r, call, files, (reflection_request *)request) != RPC_SENT_BUSY;
}

static void pop(reflection_call *state)
{
    waiting *first = state->first;
    state->first = first->next;
    if (!state->first)
        state->end = &state->first;
    rpc_message_release(first->message);
    free(first);
}

static void free_call(void *context)
{
    reflection_call *state = context;
    while (state->first)
        pop(state);
    free(state);
}

/* Answers what waits as far as the peer reads. */
static void answer_waiting(const reflection *r, rpc_call *call, reflection_call *state)
{
    while (state->first && answer_message(r, call, state->files, state->first->message))
        pop(state);
    if (!state->first && state->half_closed)
        rpc_call_finish(call, RPC_OK, "");
}

/* (lock) */
static rpc_code make_files(reflection *r, rpc_status *reterr)
{
    size_t count = rpc__server_service_count(r->server);
    rpc_bytes *sets = calloc(count, sizeof *sets);
    if (!sets)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "reflection: no memory");
    for (size_t i = 0; i < count; i++)
        sets[i] = rpc__server_service(r->server, i)->descriptor_set;
    rpc_code code = rpc__files_new(sets, count, &r->files, reterr);
    free(sets);
    return code;
}

static rpc_code get_files(reflection *r, const rpc__files **ret, rpc_status *reterr)
{
    rpc_code code = RPC_OK;
    pthread_mutex_lock(&r->lock);
    if (!r->files)
        code = make_files(r, reterr);
    if (code == RPC_OK)
        *ret = r->files;
    pthread_mutex_unlock(&r->lock);
    return code;
}

static void on_start(rpc_call *call, void *user)
{
    rpc_status status = {RPC_RESOURCE_EXHAUSTED, "reflection: no memory"};
    const rpc__files *files = NULL;
    rpc_code code = get_files(user, &files, &status);
    reflection_call *state = code == RPC_OK ? calloc(1, sizeof *state) : NULL;
    if (!state) {
        rpc_call_fail(call, &status);
        return;
    }
    state->files = files;
    state->end = &state->first;
    rpc_call_set_context(call, state, free_call);
}

static void on_message(rpc_call *call, rpc_message *message, void *user)
{
    reflection_call *state = rpc_call_context(call);
    waiting *last = state ? malloc(sizeof *last) : NULL;
    if (!last) {
        rpc_message_release(message);
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "reflection: no memory");
        return;
    }
    *last = (waiting){NULL, message};
    bool alone = !state->first;
    *state->end = last;
    state->end = &last->next;
    if (alone)
        answer_waiting(user, call, state);
}

static void on_half_close(rpc_call *call, void *user)
{
    reflection_call *state = rpc_call_context(call);
    if (!state)
        return;
    state->half_closed = true;
    if (!state->first)
        answer_waiting(user, call, state);
}

static void on_writable(rpc_call *call, void *user)
{
    reflection_call *state = rpc_call_context(call);
    if (state && state->first)
        answer_waiting(user, call, state);
}

/* ---- the server's side ------------------------------------------------------------------------
 */

static void free_reflection(void *context)
{
    reflection *r = context;
    rpc__files_free(r->files);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static rpc_code add(rpc_server *server, reflection *r, ProtobufCService *service, const char *path,
    rpc_status *reterr)
{
    static const rpc_handler handler = {
        .on_start = on_start,
        .on_message = on_message,
        .on_half_close = on_half_close,
        .on_writable = on_writable,
    };
    const rpc_service_options options = {
        .descriptor_set = {proto_grpc_descriptors, proto_grpc_descriptors_size}};
    const rpc_method_options method = {.message_receive_bytes_max = REQUEST_BYTES_MAX};
    rpc_code code = rpc_server_add_service(server, service, &options, reterr);
    if (code == RPC_OK)
        code = rpc_server_set_handler(server, path, &handler, r, &method, reterr);
    return code;
}

rpc_code rpc_server_add_reflection(rpc_server *server, rpc_status *reterr)
{
    if (rpc__server_slot(server, RPC__SLOT_REFLECTION))
        return rpc_status_set(
            reterr, RPC_ALREADY_EXISTS, "reflection: was added to this server before");
    reflection *r = calloc(1, sizeof *r);
    if (!r || pthread_mutex_init(&r->lock, NULL) != 0) {
        free(r);
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "reflection: no memory");
    }
    r->server = server;
    r->v1.base = (ProtobufCService)GRPC__REFLECTION__V1__SERVER_REFLECTION__BASE_INIT;
    r->v1alpha.base = (ProtobufCService)GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION__BASE_INIT;
    /* From here on the server may point into r, also when something fails below. */
    rpc__server_set_slot(server, RPC__SLOT_REFLECTION, r, free_reflection);
    rpc_code code = add(server, r, &r->v1.base,
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", reterr);
    if (code != RPC_OK)
        return code;
    return add(server, r, &r->v1alpha.base,
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", reterr);
}
