/* SPDX-License-Identifier: Apache-2.0 */
/* From the socket to a method and back: who may, and what the audit trail says of it. */
#include "admin_internal.h"

#include "skms_proto_descriptors.h"

#include <stdlib.h>

#define THREADS     4u
#define QUEUE_MAX   256u
#define ARENA_BYTES (4u << 20) /* of a call: the largest page of keys */
#define SERVICE     "skms.v1.Admin"

typedef struct methods {
    Skms__V1__Admin_Service base;
    skm_admin *admin;
} methods;

struct skm_admin {
    skm_service *service;
    rpc_server *rpc;
    rpc_pool *pool;
    program_calls calls;
    uid_t *uids;
    size_t uid_count;
    methods methods;
};

typedef struct method {
    const char *name;
    admin_method_fn *run;
} method;

skm_service *admin_service(const program_call *c)
{
    return ((skm_admin *)c->service)->service;
}

/* The value of a text field of the request, if it has it. */
static const char *field(const ProtobufCMessage *request, const char *name)
{
    const ProtobufCFieldDescriptor *found = protobuf_c_message_descriptor_get_field_by_name(
        request->descriptor, name);
    if (!found || found->type != PROTOBUF_C_TYPE_STRING)
        return "";
    return *(const char *const *)(const void *)((const char *)request + found->offset);
}

static rpc_code audit(program_call *c, const char *outcome, rpc_status *reterr)
{
    const rpc_peer *peer = rpc_call_peer(c->call);
    const method *m = c->method;
    return SKM_AUDIT(admin_service(c), c->request_id, "admin", reterr, host_text("method", m->name),
        host_text("outcome", outcome), host_number("uid", peer->has_uid ? (int64_t)peer->uid : -1),
        host_text("val_service", field(c->request, "val_service")),
        host_text("certificate_san", field(c->request, "certificate_san")),
        host_text("kid", field(c->request, "kid")),
        host_text("reason", field(c->request, "reason")));
}

static rpc_code run(program_call *c, rpc_status *reterr)
{
    const skm_admin *admin = c->service;
    const method *m = c->method;
    const bool ours = program_admin_caller(c->call, admin->uids, admin->uid_count);
    rpc_status why;
    rpc_code code = audit(c, ours ? "asked" : "refused", reterr);
    if (code == RPC_OK && !ours)
        code = rpc_status_set(reterr, RPC_PERMISSION_DENIED,
            "this service is for the operator; listen.admin.uids says who that is besides the "
            "server's own user");
    if (code != RPC_OK)
        return code;
    code = m->run(c, reterr);
    if (code != RPC_OK && audit(c, rpc_code_name(code), &why) != RPC_OK)
        return rpc_status_text(reterr, why.code, why.message);
    return code;
}

#define METHODS(X)                                                                                 \
    X(create_service, CreateService, ValService, ValService)                                       \
    X(list_services, ListServices, ListServicesRequest, ListServicesResponse)                      \
    X(create_enrolment, CreateEnrolment, CreateEnrolmentRequest, CreateEnrolmentResponse)          \
    X(revoke_enrolment, RevokeEnrolment, RevokeEnrolmentRequest, RevokeEnrolmentResponse)          \
    X(list_keys, ListKeys, ListKeysRequest, ListKeysResponse)                                      \
    X(rotate_key, RotateKey, RotateKeyRequest, Key)                                                \
    X(revoke_key, RevokeKey, RevokeKeyRequest, Key)                                                \
    X(get_root, GetRoot, GetRootRequest, Root)                                                     \
    X(rotate_root, RotateRoot, RotateRootRequest, Root)

#define DEFINE(function, rpc, message, reply)                                                      \
    static void on_##function(Skms__V1__Admin_Service *self, const Skms__V1__##message *request,   \
        Skms__V1__##reply##_Closure closure, void *call)                                           \
    {                                                                                              \
        static const method it = {#rpc, admin_##function};                                         \
        program_call_begin(&((methods *)self)->admin->calls, &it, &request->base,                  \
            (ProtobufCClosure)closure, call);                                                      \
    }
METHODS(DEFINE)

/* ---- life --------------------------------------------------------------------------------------
 */

static rpc_code open_server(
    skm_admin *admin, host_rpc *calls, const host_values *settings, rpc_status *reterr)
{
#define MEMBER(function, rpc, message, reply) .function = on_##function,
    admin->methods = (methods){
        .base = {.base = SKMS__V1__ADMIN__BASE_INIT, METHODS(MEMBER)},
        .admin = admin,
    };
    return program_admin_serve(admin->service->runtime, calls, settings, &admin->methods.base.base,
        rpc_bytes_of(skms_proto_descriptors, skms_proto_descriptors_size), &admin->rpc, reterr);
}

rpc_code skm_admin_start(skm_service *service, host_rpc *calls, const host_values *settings,
    skm_admin **ret, rpc_status *reterr)
{
    *ret = NULL;
    if (!host_string(settings, "listen.admin.url")[0])
        return RPC_OK;
    skm_admin *admin = calloc(1, sizeof *admin);
    if (!admin)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "admin: no memory");
    admin->service = service;
    rpc_code code = program_admin_uids(settings, &admin->uids, &admin->uid_count, reterr);
    if (code == RPC_OK)
        code = rpc_pool_new(service->runtime, "admin", THREADS, QUEUE_MAX, &admin->pool, reterr);
    admin->calls = (program_calls){
        .pool = admin->pool, .service = admin, .arena_bytes = ARENA_BYTES, .run = run};
    if (code == RPC_OK)
        code = open_server(admin, calls, settings, reterr);
    if (code != RPC_OK) {
        skm_admin_stop(admin, 0);
        return code;
    }
    rpc_server_set_health(admin->rpc, "", true);
    rpc_server_set_health(admin->rpc, SERVICE, true);
    *ret = admin;
    return RPC_OK;
}

void skm_admin_stop(skm_admin *admin, int64_t grace_ms)
{
    if (!admin)
        return;
    if (admin->rpc)
        rpc_server_stop(admin->rpc, grace_ms);
    rpc_pool_free(admin->pool); /* its jobs hold calls of the server */
    rpc_server_free(admin->rpc);
    free(admin->uids);
    free(admin);
}
