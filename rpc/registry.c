/* SPDX-License-Identifier: Apache-2.0 */
/* Services and methods of a server, and the streaming flags that protobuf-c does not keep: read
 * from protoc's FileDescriptorSet. */
#include "packed.h"
#include "server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEADLINE_MS_MAX (INT64_MAX / 4000)

static bool full_name_is(rpc_bytes package, rpc_bytes name, const char *full)
{
    size_t size = strlen(full);
    if (package.size == 0)
        return rpc_bytes_equal(name, rpc_bytes_str(full));
    return size == package.size + 1 + name.size && memcmp(full, package.data, package.size) == 0 &&
           full[package.size] == '.' && name.size > 0 &&
           memcmp(full + package.size + 1, name.data, name.size) == 0;
}

static bool find_service(rpc_bytes set, const char *name, rpc_bytes *ret_service)
{
    rpc__packed_field file, part;
    while (rpc__packed_next(&set, &file)) {
        if (file.number != 1)
            continue;
        rpc_bytes package = rpc__packed_bytes(file.bytes, 2);
        rpc_bytes parts = file.bytes;
        while (rpc__packed_next(&parts, &part))
            if (part.number == 6 && full_name_is(package, rpc__packed_bytes(part.bytes, 1), name)) {
                *ret_service = part.bytes;
                return true;
            }
    }
    return false;
}

static bool read_flags(rpc_bytes service, rpc__method *method)
{
    rpc__packed_field part, detail;
    while (rpc__packed_next(&service, &part)) {
        if (part.number != 2 || !rpc_bytes_equal(rpc__packed_bytes(part.bytes, 1),
                                    rpc_bytes_str(method->descriptor->name)))
            continue;
        while (rpc__packed_next(&part.bytes, &detail)) {
            if (detail.number == 5)
                method->client_streaming = detail.varint != 0;
            if (detail.number == 6)
                method->server_streaming = detail.varint != 0;
        }
        return true;
    }
    return false;
}

/* ---- services
 * -------------------------------------------------------------------------------------------- */

static void free_service(rpc__service *service)
{
    if (!service)
        return;
    for (size_t i = 0; service->methods && i < service->method_count; i++) {
        char *path = (char *)(uintptr_t)service->methods[i].path;
        free(path);
        rpc__stats_free(service->methods[i].stats);
    }
    for (char **name = service->listeners; name && *name; name++)
        free(*name);
    free(service->listeners);
    free(service->methods);
    free(service);
}

static bool copy_listeners(rpc__service *service, const char *const *names)
{
    size_t count = 0;
    if (!names)
        return true;
    while (names[count])
        count++;
    service->listeners = calloc(count + 1, sizeof *service->listeners);
    for (size_t i = 0; service->listeners && i < count; i++)
        if (!(service->listeners[i] = strdup(names[i])))
            return false;
    return service->listeners != NULL;
}

static char *method_path(const char *service, const char *method)
{
    size_t size = strlen(service) + strlen(method) + 3;
    char *path = malloc(size);
    if (path)
        snprintf(path, size, "/%s/%s", service, method);
    return path;
}

static rpc_code fill_methods(rpc__service *service, rpc_status *reterr)
{
    const ProtobufCServiceDescriptor *descriptor = service->service->descriptor;
    rpc_bytes described;
    if (service->descriptor_set.size == 0)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "server: service %s comes without a descriptor set; give rpc_service_options."
            "descriptor_set, made by dacm_rpc_protos() or protoc --include_imports "
            "--descriptor_set_out",
            descriptor->name);
    if (!find_service(service->descriptor_set, descriptor->name, &described))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "server: the descriptor set given is damaged or has no service %s; make it with protoc "
            "--include_imports --descriptor_set_out",
            descriptor->name);
    for (unsigned i = 0; i < descriptor->n_methods; i++) {
        rpc__method *method = &service->methods[i];
        method->service = service;
        method->descriptor = &descriptor->methods[i];
        method->index = i;
        method->path = method_path(descriptor->name, method->descriptor->name);
        if (!method->path)
            return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "server: no memory");
        if (!read_flags(described, method))
            return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                "server: the descriptor set given has no method %s", method->path);
    }
    return RPC_OK;
}

rpc_code rpc_server_add_service(rpc_server *server, ProtobufCService *service,
    const rpc_service_options *options, rpc_status *reterr)
{
    static const rpc_service_options nothing_said = {0};
    const char *name = service->descriptor->name;
    if (!options)
        options = &nothing_said;
    if (server->started)
        return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
            "server: service %s comes after the start; add services before", name);
    if (!service->invoke)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "server: service %s has no invoke; begin it with the generated …__BASE_INIT", name);
    for (size_t i = 0; i < server->service_count; i++)
        if (strcmp(server->services[i]->service->descriptor->name, name) == 0)
            return rpc_status_set(
                reterr, RPC_ALREADY_EXISTS, "server: service %s was added before", name);
    rpc__service **services = realloc(
        server->services, (server->service_count + 1) * sizeof *services);
    if (!services)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "server: no memory");
    server->services = services;
    rpc__service *made = calloc(1, sizeof *made);
    if (made)
        made->methods = calloc(service->descriptor->n_methods + 1, sizeof *made->methods);
    if (!made || !made->methods || !copy_listeners(made, options->listeners)) {
        free_service(made);
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "server: no memory");
    }
    made->service = service;
    made->descriptor_set = options->descriptor_set;
    made->method_count = service->descriptor->n_methods;
    rpc_code code = fill_methods(made, reterr);
    if (code != RPC_OK) {
        free_service(made);
        return code;
    }
    server->services[server->service_count++] = made;
    return RPC_OK;
}

static rpc__method *find_slowly(const rpc_server *server, const char *path)
{
    for (size_t i = 0; i < server->service_count; i++)
        for (size_t j = 0; j < server->services[i]->method_count; j++)
            if (strcmp(server->services[i]->methods[j].path, path) == 0)
                return &server->services[i]->methods[j];
    return NULL;
}

static rpc_code no_such_method(const char *path, rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_NOT_FOUND,
        path[0] == '/' ? "server: no registered service has %s; add its service before"
                       : "server: a path is written /package.Service/Method, not %s",
        path);
}

rpc_code rpc_server_set_handler(rpc_server *server, const char *path, const rpc_handler *handler,
    void *user, const rpc_method_options *options, rpc_status *reterr)
{
    rpc__method *method = find_slowly(server, path);
    if (!method)
        return no_such_method(path, reterr);
    if (server->started)
        return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
            "server: the handler of %s comes after the start", path);
    if (!method->client_streaming && !method->server_streaming)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "server: %s is unary and is served by its ProtobufCService", path);
    method->handler = *handler;
    method->user = user;
    method->has_handler = true;
    return options ? rpc_server_set_method(server, path, options, reterr) : RPC_OK;
}

rpc_code rpc_server_set_method(
    rpc_server *server, const char *path, const rpc_method_options *options, rpc_status *reterr)
{
    rpc__method *method = find_slowly(server, path);
    if (!method)
        return no_such_method(path, reterr);
    if (server->started)
        return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
            "server: the options of %s come after the start", path);
    if (options->message_receive_bytes_max > UINT32_MAX || options->deadline_max_ms < 0 ||
        options->deadline_max_ms > DEADLINE_MS_MAX || options->deadline_default_ms < 0 ||
        options->deadline_default_ms > DEADLINE_MS_MAX || options->stream_receive_ms < 0 ||
        options->stream_send_ms < 0)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "server: %s: message_receive_bytes_max must be under 4 GiB, stream_receive_ms and "
            "stream_send_ms at least 0, deadline_max_ms and "
            "deadline_default_ms 0..%lld",
            path, (long long)DEADLINE_MS_MAX);
    method->options = *options;
    return RPC_OK;
}

/* ---- lookup
 * ------------------------------------------------------------------------------------------------
 */

static size_t hash(const char *text)
{
    uint64_t value = 0xcbf29ce484222325u; /* FNV-1a: our own few paths, nothing hostile goes in */
    for (; *text; text++)
        value = (value ^ (uint8_t)*text) * 0x100000001b3u;
    return (size_t)(value ^ value >> 32);
}

/* As protobuf-c lays out what it generates: the functions follow the ProtobufCService. */
static bool function_is_null(const ProtobufCService *service, unsigned index)
{
    void (*function)(void) = NULL;
    if (service->invoke != protobuf_c_service_invoke_internal)
        return false;
    memcpy(&function, (const uint8_t *)(service + 1) + index * sizeof function, sizeof function);
    return function == NULL;
}

static void insert(rpc_server *server, rpc__method *method)
{
    size_t at = hash(method->path) & (server->table_size - 1);
    while (server->table[at])
        at = (at + 1) & (server->table_size - 1);
    server->table[at] = method;
}

rpc_code rpc__registry_build(rpc_server *server, rpc_status *reterr)
{
    size_t count = 0;
    for (size_t i = 0; i < server->service_count; i++) {
        rpc__service *service = server->services[i];
        count += service->method_count;
        for (size_t j = 0; j < service->method_count; j++) {
            rpc__method *method = &service->methods[j];
            bool streaming = method->client_streaming || method->server_streaming;
            method->absent = !streaming && function_is_null(service->service, method->index);
            if (streaming && !method->has_handler)
                return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                    "server: %s is streaming and has no handler; call rpc_server_set_handler()",
                    method->path);
        }
    }
    server->table_size = 16;
    while (server->table_size < 4 * count)
        server->table_size *= 2;
    server->table = calloc(server->table_size, sizeof *server->table);
    if (!server->table)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "server: no memory");
    for (size_t i = 0; i < server->service_count; i++)
        for (size_t j = 0; j < server->services[i]->method_count; j++) {
            rpc__method *method = &server->services[i]->methods[j];
            if (!method->stats && !(method->stats = rpc__stats_new()))
                return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "server: no memory");
            insert(server, method);
        }
    return RPC_OK;
}

const rpc__method *rpc__registry_method(const rpc_server *server, size_t index)
{
    for (size_t i = 0; i < server->service_count; i++) {
        const rpc__service *service = server->services[i];
        if (index < service->method_count)
            return &service->methods[index];
        index -= service->method_count;
    }
    return NULL;
}

const rpc__stats *rpc__registry_stats(const rpc_server *server, size_t index)
{
    const rpc__method *method = rpc__registry_method(server, index);
    if (method)
        return method->stats;
    return index == 0 || rpc__registry_method(server, index - 1) ? server->unknown : NULL;
}

rpc__method *rpc__registry_find(const rpc_server *server, const char *path)
{
    for (size_t at = hash(path) & (server->table_size - 1); server->table[at];
         at = (at + 1) & (server->table_size - 1))
        if (strcmp(server->table[at]->path, path) == 0)
            return server->table[at];
    return NULL;
}

bool rpc__service_on(const rpc__service *service, const char *listener)
{
    if (!service->listeners)
        return true;
    for (char **name = service->listeners; *name; name++)
        if (strcmp(*name, listener) == 0)
            return true;
    return false;
}

void rpc__registry_done(rpc_server *server)
{
    for (size_t i = 0; i < server->service_count; i++)
        free_service(server->services[i]);
    free(server->services);
    free(server->table);
}

size_t rpc__server_service_count(const rpc_server *server)
{
    return server->service_count;
}

const rpc__service *rpc__server_service(const rpc_server *server, size_t index)
{
    return server->services[index];
}
