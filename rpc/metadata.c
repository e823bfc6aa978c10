/* SPDX-License-Identifier: Apache-2.0 */
/* Metadata of a call, received and to send, and what a connection remembers of header values. */
#include "session.h"

#include <stdlib.h>
#include <string.h>

#define STATUS_DETAILS "grpc-status-details-bin"

static rpc__header *new_header(rpc_call *call, rpc__headers *headers, rpc_bytes name)
{
    rpc__header *header = rpc_arena_alloc(call->arena, sizeof *header);
    char *copy = rpc_arena_strndup(call->arena, (const char *)name.data, name.size);
    if (!header || !copy)
        return NULL;
    *header = (rpc__header){.name = copy};
    if (!headers->end)
        headers->end = &headers->first;
    *headers->end = header;
    headers->end = &header->next;
    return header;
}

/* Several binary values may have been joined with commas on the way. */
static bool add_binary(rpc_call *call, rpc__headers *headers, rpc_bytes name, rpc_bytes value)
{
    while (true) {
        const uint8_t *comma = value.size > 0 ? memchr(value.data, ',', value.size) : NULL;
        rpc_bytes part = rpc_bytes_of(
            value.data, comma ? (size_t)(comma - value.data) : value.size);
        uint8_t *data = rpc_arena_alloc(call->arena, part.size + 1);
        size_t size = 0;
        if (!data)
            return false;
        if (rpc__base64_decode(part, data, &size)) {
            rpc__header *header = new_header(call, headers, name);
            if (!header)
                return false;
            header->value = rpc_bytes_of(data, size);
        }
        if (!comma)
            return true;
        value = rpc_bytes_of(comma + 1, value.size - part.size - 1);
    }
}

bool rpc__headers_add(rpc_call *call, rpc__headers *headers, rpc_bytes name, rpc_bytes value,
    nghttp2_rcbuf *value_ref)
{
    if (rpc__metadata_name_binary(name))
        return add_binary(call, headers, name, value);
    char *copy = rpc_arena_strndup(call->arena, (const char *)value.data, value.size);
    rpc__header *header = copy ? new_header(call, headers, name) : NULL;
    if (!header)
        return false;
    header->value = rpc_bytes_of(copy, value.size);
    /* Held so that no other value can take this address while the call is there. */
    nghttp2_rcbuf_incref(value_ref);
    header->value_ref = value_ref;
    return true;
}

static const rpc__header *find(const rpc__headers *headers, const char *name)
{
    for (const rpc__header *header = headers->first; header; header = header->next)
        if (strcmp(header->name, name) == 0)
            return header;
    return NULL;
}

bool rpc__headers_get(const rpc__headers *headers, const char *name, rpc_bytes *ret_value)
{
    const rpc__header *header = find(headers, name);
    if (!header)
        return false;
    if (ret_value)
        *ret_value = header->value;
    return true;
}

void rpc__headers_drop_refs(rpc__headers *headers)
{
    for (rpc__header *header = headers->first; header; header = header->next) {
        if (header->value_ref)
            nghttp2_rcbuf_decref(header->value_ref);
        header->value_ref = NULL;
    }
}

bool rpc_call_metadata(const rpc_call *call, const char *name, rpc_bytes *ret_value)
{
    return rpc__headers_get(&call->headers, name, ret_value);
}

bool rpc_call_trailer(const rpc_call *call, const char *name, rpc_bytes *ret_value)
{
    return rpc__headers_get(&call->trailers, name, ret_value);
}

unsigned rpc_call_metadata_count(const rpc_call *call, const char *name)
{
    unsigned count = 0;
    for (const rpc__header *header = call->headers.first; header; header = header->next)
        count += strcmp(header->name, name) == 0;
    return count;
}

/* ---- objects ------------------------------------------------------------------------------------
 */

static void clear_object(rpc__object *object)
{
    if (!object->value)
        return;
    nghttp2_rcbuf_decref(object->value);
    object->value = NULL;
    if (object->release)
        object->release(object->object);
}

void rpc__objects_clear(rpc__conn *conn)
{
    for (size_t i = 0; i < RPC__OBJECTS; i++)
        clear_object(&conn->objects[i]);
}

/* Values may be secrets of different users of one connection (a proxy): how long it takes says
 * nothing about where they differ. */
static bool same_value(const rpc__header *header, nghttp2_rcbuf *known)
{
    if (header->value_ref == known)
        return true;
    nghttp2_vec bytes = nghttp2_rcbuf_get_buf(known);
    if (bytes.len != header->value.size)
        return false;
    const uint8_t *a = bytes.base, *b = header->value.data;
    uint64_t differ = 0;
    size_t i = 0;
    for (; i + sizeof differ <= bytes.len; i += sizeof differ) {
        uint64_t x, y;
        memcpy(&x, a + i, sizeof x);
        memcpy(&y, b + i, sizeof y);
        differ |= x ^ y;
    }
    for (; i < bytes.len; i++)
        differ |= (uint64_t)(a[i] ^ b[i]);
    return differ == 0;
}

static rpc__object *find_object(rpc_call *call, const char *name, nghttp2_rcbuf **ret_value)
{
    const rpc__header *header = call->attached ? find(&call->headers, name) : NULL;
    *ret_value = header ? header->value_ref : NULL;
    for (size_t i = 0; *ret_value && i < RPC__OBJECTS; i++) {
        rpc__object *object = &call->conn->objects[i];
        if (object->value && same_value(header, object->value) && strcmp(object->name, name) == 0)
            return object;
    }
    return NULL;
}

void *rpc_call_header_object(rpc_call *call, const char *name)
{
    nghttp2_rcbuf *value;
    rpc__object *object = find_object(call, name, &value);
    if (!object)
        return NULL;
    object->used = ++call->conn->object_clock;
    return object->object;
}

void rpc_call_set_header_object(
    rpc_call *call, const char *name, void *object, void (*release)(void *object))
{
    nghttp2_rcbuf *value;
    rpc__object *slot = find_object(call, name, &value);
    if (!value || strlen(name) >= sizeof slot->name) {
        if (release)
            release(object);
        return;
    }
    rpc__conn *conn = call->conn;
    for (size_t i = 0; !slot && i < RPC__OBJECTS; i++)
        if (!conn->objects[i].value)
            slot = &conn->objects[i];
    for (size_t i = 0; i < RPC__OBJECTS && (!slot || slot->value); i++)
        if (!slot || (slot->value != value && conn->objects[i].used < slot->used))
            slot = &conn->objects[i];
    clear_object(slot);
    nghttp2_rcbuf_incref(value);
    *slot = (rpc__object){
        .value = value, .object = object, .release = release, .used = ++conn->object_clock};
    memcpy(slot->name, name, strlen(name) + 1);
}

/* ---- to send
 * ------------------------------------------------------------------------------------- */

rpc_code rpc__out_header_add(
    rpc__out_header **list, const char *name, rpc_bytes value, bool sensitive)
{
    rpc_bytes key = rpc_bytes_str(name);
    bool binary = rpc__metadata_name_binary(key);
    if (!rpc__metadata_name_valid(key) || (!binary && !rpc__metadata_value_valid(value)))
        return RPC_INVALID_ARGUMENT;
    size_t size = binary ? rpc__base64_size(value.size) : value.size;
    rpc__out_header *header = malloc(sizeof *header + key.size + size);
    if (!header)
        return RPC_RESOURCE_EXHAUSTED;
    *header = (rpc__out_header){.name_size = key.size, .value_size = size, .sensitive = sensitive};
    memcpy(header->text, name, key.size);
    if (binary)
        rpc__base64_encode(value, header->text + key.size);
    else if (size > 0)
        memcpy(header->text + key.size, value.data, size);
    while (*list)
        list = &(*list)->next;
    *list = header;
    return RPC_OK;
}

void rpc__out_headers_free(rpc__out_header **list)
{
    while (*list) {
        rpc__out_header *header = *list;
        *list = header->next;
        free(header);
    }
}

size_t rpc__out_headers_count(const rpc__out_header *list)
{
    size_t count = 0;
    for (; list; list = list->next)
        count++;
    return count;
}

size_t rpc__out_headers_fill(const rpc__out_header *list, nghttp2_nv *ret_nv)
{
    size_t count = 0;
    for (; list; list = list->next) {
        uint8_t *text = (uint8_t *)(uintptr_t)list->text;
        ret_nv[count++] = (nghttp2_nv){.name = text,
            .namelen = list->name_size,
            .value = text + list->name_size,
            .valuelen = list->value_size,
            .flags = list->sensitive ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE};
    }
    return count;
}

/* What a handler adds differs from call to call (request IDs): in HPACK's table it would push out
 * what repeats, and every search would go through all of them. */
static rpc_code add(rpc__out_header **list, bool late, const char *name, rpc_bytes value)
{
    return late ? RPC_FAILED_PRECONDITION : rpc__out_header_add(list, name, value, true);
}

/* What an interceptor adds is as a rule the same for all calls: a token, the caller's name. */
static rpc_code add_to_request(rpc_call *call, const char *name, rpc_bytes value)
{
    bool late = call->headers_frozen || call->inbox_over;
    return late ? RPC_FAILED_PRECONDITION
                : rpc__out_header_add(&call->out_headers, name, value, false);
}

bool rpc_call_request_metadata(rpc_call *call, const char *name, rpc_bytes *ret_value)
{
    size_t size = strlen(name);
    const rpc__out_header *header = call->server ? NULL : call->out_headers;
    while (header && (header->name_size != size || memcmp(header->text, name, size) != 0))
        header = header->next;
    if (!header)
        return false;
    rpc_bytes value = rpc_bytes_of(header->text + size, header->value_size);
    uint8_t *data = NULL;
    if (rpc__metadata_name_binary(rpc_bytes_str(name))) {
        data = rpc_arena_alloc(call->arena, value.size + 1);
        if (!data || !rpc__base64_decode(value, data, &value.size))
            return false;
        value.data = data;
    }
    *ret_value = value;
    return true;
}

rpc_code rpc_call_add_header(rpc_call *call, const char *name, rpc_bytes value)
{
    pthread_mutex_lock(&call->lock);
    bool late = call->headers_frozen || call->inbox_over;
    rpc_code code = call->server ? add(&call->out_headers, late, name, value)
                                 : add_to_request(call, name, value);
    pthread_mutex_unlock(&call->lock);
    return code;
}

static void remove_header(rpc__out_header **list, const char *name)
{
    size_t size = strlen(name);
    while (*list) {
        rpc__out_header *header = *list;
        if (header->name_size != size || memcmp(header->text, name, size) != 0) {
            list = &header->next;
            continue;
        }
        *list = header->next;
        free(header);
    }
}

rpc_code rpc_call_set_status_details(rpc_call *call, rpc_bytes details)
{
    if (details.size > RPC_STATUS_DETAILS_BYTES_MAX)
        return RPC_INVALID_ARGUMENT;
    pthread_mutex_lock(&call->lock);
    bool late = call->finish_asked || call->inbox_over || !call->server;
    if (!late)
        remove_header(&call->out_trailers, STATUS_DETAILS);
    rpc_code code = add(&call->out_trailers, late, STATUS_DETAILS, details);
    pthread_mutex_unlock(&call->lock);
    return code;
}

bool rpc_call_status_details(const rpc_call *call, rpc_bytes *ret_details)
{
    return rpc_call_trailer(call, STATUS_DETAILS, ret_details);
}

rpc_code rpc_call_add_trailer(rpc_call *call, const char *name, rpc_bytes value)
{
    pthread_mutex_lock(&call->lock);
    bool late = call->finish_asked || call->inbox_over || !call->server;
    rpc_code code = add(&call->out_trailers, late, name, value);
    pthread_mutex_unlock(&call->lock);
    return code;
}
