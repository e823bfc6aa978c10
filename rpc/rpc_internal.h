/* SPDX-License-Identifier: Apache-2.0 */
/** What the parts of rpc/ show each other about a server: its services and methods. Not
 *  installed. Services are added before rpc_server_start(); afterwards the registry does not
 *  change and any thread may read it. */
#ifndef DACM_RPC_INTERNAL_H
#define DACM_RPC_INTERNAL_H

#include "rpc.h"

typedef struct rpc__service rpc__service;

/** One method of a registered service. */
typedef struct rpc__method {
    const rpc__service *service;
    const ProtobufCMethodDescriptor *descriptor;
    unsigned index;   /* in the service's descriptor */
    const char *path; /* "/package.Service/Method" */
    bool client_streaming, server_streaming;
    bool has_handler; /* of a streaming method: rpc_server_set_handler() ran */
    bool absent;      /* of a unary method: its function is NULL; answered UNIMPLEMENTED */
    rpc_handler handler;
    void *user;
    rpc_method_options options;
    struct rpc__stats *stats; /* made at start */
} rpc__method;

struct rpc__service {
    ProtobufCService *service;
    rpc_bytes descriptor_set; /* a FileDescriptorSet; may be shared by services */
    char **listeners;         /* names, NULL-terminated; NULL = all */
    rpc__method *methods;
    size_t method_count;
};

size_t rpc__server_service_count(const rpc_server *server);
/** index < count; in the order of registration. Valid until the next service is added or the
 *  server is freed. */
const rpc__service *rpc__server_service(const rpc_server *server, size_t index);
rpc_runtime *rpc__server_runtime(const rpc_server *server);
bool rpc__server_started(const rpc_server *server);

/** State of a built-in service, freed with the server (after the last call has ended). A service
 *  adds itself with rpc_server_add_service() and rpc_server_set_handler() like any other. */
typedef enum rpc__slot {
    RPC__SLOT_HEALTH,
    RPC__SLOT_REFLECTION,
    RPC__SLOT_CHANNELZ,
    RPC__SLOTS
} rpc__slot;
void rpc__server_set_slot(
    rpc_server *server, rpc__slot slot, void *state, void (*release)(void *state));
/** NULL where none was set. */
void *rpc__server_slot(const rpc_server *server, rpc__slot slot);

#endif
