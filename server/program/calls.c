/* SPDX-License-Identifier: Apache-2.0 */
/* From the strand to a method on a pool and back. The method gets a copy of its request: the call
 * may be over before. */
#include "program.h"

#include <sodium.h>
#include <stdlib.h>

#define PAGE_DEFAULT 100u
#define PAGE_MAX     1000u

/* A call between the strand and the pool. */
typedef struct job {
    const program_calls *calls;
    rpc_call *call;
    const char *request_id;
    ProtobufCClosure closure;
    const void *method;
    const ProtobufCMessageDescriptor *request_descriptor;
    uint8_t *packed; /* the request, which may hold a secret */
    size_t packed_size;
} job;

/* ---- for methods -------------------------------------------------------------------------------
 */

rpc_code program_call_no_memory(rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
        "the answer is larger than a call's memory; ask for smaller pages");
}

void *program_call_new(program_call *c, const ProtobufCMessageDescriptor *descriptor)
{
    void *message = rpc_arena_alloc(c->arena, descriptor->sizeof_message);
    if (message)
        protobuf_c_message_init(descriptor, message);
    return message;
}

char *program_call_text(program_call *c, const char *text)
{
    return rpc_arena_strndup(c->arena, text, strlen(text));
}

uint32_t program_page_size(uint32_t asked)
{
    if (asked == 0)
        return PAGE_DEFAULT;
    return asked < PAGE_MAX ? asked : PAGE_MAX;
}

/* ---- a call -------------------------------------------------------------------------------------
 */

static void job_free(job *j)
{
    if (j->packed)
        sodium_memzero(j->packed, j->packed_size);
    free(j->packed);
    rpc_call_unref(j->call);
    free(j);
}

static rpc_code run(const job *j, program_call *c, rpc_status *reterr)
{
    ProtobufCMessage *request = NULL;
    if (!c->arena)
        return program_call_no_memory(reterr);
    const rpc_code code = rpc_unpack(
        j->request_descriptor, rpc_bytes_of(j->packed, j->packed_size), c->arena, &request, reterr);
    c->request = request;
    return code == RPC_OK ? j->calls->run(c, reterr) : code;
}

static void wipe_field(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    const void *member = (const char *)message + field->offset;
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return;
    if (field->type == PROTOBUF_C_TYPE_STRING) {
        char *text = *(char *const *)member;
        if (text && text[0]) /* the empty one is the generated code's own */
            sodium_memzero(text, strlen(text));
    } else if (field->type == PROTOBUF_C_TYPE_BYTES) {
        const ProtobufCBinaryData *bytes = member;
        if (bytes->len > 0)
            sodium_memzero(bytes->data, bytes->len);
    }
}

/* Passwords, tokens and keys are members of the request itself. */
static void wipe(const ProtobufCMessage *request)
{
    for (unsigned i = 0; request && i < request->descriptor->n_fields; i++)
        wipe_field(request, &request->descriptor->fields[i]);
}

/* Pool. */
static void work(void *arg)
{
    job *j = arg;
    rpc_status status = {0};
    program_call c = {.service = j->calls->service,
        .method = j->method,
        .call = j->call,
        .request_id = j->request_id,
        .arena = rpc_arena_new(j->calls->arena_bytes)};
    const rpc_code code = run(j, &c, &status);
    if (code == RPC_OK)
        j->closure(c.reply, j->call);
    else
        rpc_call_fail(j->call, &status);
    wipe(c.request);
    rpc_arena_free(c.arena);
    job_free(j);
}

void program_call_begin(const program_calls *calls, const void *method,
    const ProtobufCMessage *request, ProtobufCClosure closure, rpc_call *call)
{
    rpc_status status;
    const size_t size = protobuf_c_message_get_packed_size(request);
    job *j = calloc(1, sizeof *j);
    if (j) {
        *j = (job){.calls = calls,
            .call = rpc_call_ref(call),
            .request_id = host_rpc_request_id(call), /* here: the call may end at any time */
            .closure = closure,
            .method = method,
            .request_descriptor = request->descriptor,
            .packed = malloc(size + 1),
            .packed_size = size};
        if (j->packed) {
            protobuf_c_message_pack(request, j->packed);
            if (rpc_pool_submit(calls->pool, work, j) == RPC_OK)
                return;
        }
        job_free(j);
    }
    rpc_status_set(&status, RPC_RESOURCE_EXHAUSTED, "too many calls wait; try again");
    rpc_call_fail(call, &status);
}
