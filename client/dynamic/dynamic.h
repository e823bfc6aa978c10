/* SPDX-License-Identifier: Apache-2.0 */
/** Messages whose types are learnt at run time: descriptors of protoc as bytes, and protobuf's
 *  JSON mapping both ways over them. What comes in is not trusted: descriptors and messages may
 *  lie, and every function answers with a status.
 *
 *  JSON: lowerCamelCase names (the names of the .proto are taken too), 64-bit numbers as strings
 *  (numbers are taken too), bytes as base64, enums by name, NaN and Infinity as strings; Timestamp,
 *  Duration and the wrappers in their canonical forms, other well-known types as plain messages.
 *  Groups of proto2 are refused, extensions are skipped like other unknown fields.
 *
 *  THREADS. A schema is made once, then read by any thread. Nothing here blocks. */
#ifndef DACM_DYNAMIC_H
#define DACM_DYNAMIC_H

#include "base.h"

#include <jansson.h>

#define DYNAMIC_FILES_MAX  256u       /* files of one schema */
#define DYNAMIC_BYTES_MAX  (4u << 20) /* of all their packed descriptors */
#define DYNAMIC_DEPTH_MAX  32u        /* messages in messages, declarations in declarations */
#define DYNAMIC_VALUES_MAX 1000000u   /* values in one decoded message */

typedef struct dynamic_schema dynamic_schema;
typedef struct dynamic_message dynamic_message;

/** Names are full, without a leading dot, and live as long as the schema. */
typedef struct dynamic_method {
    const char *name; /* alone: "Method" */
    const char *input_name, *output_name;
    const dynamic_message *input, *output; /* NULL: the files given do not describe it */
    bool client_streaming, server_streaming;
} dynamic_method;

typedef struct dynamic_service {
    const char *name;
    const dynamic_method *methods;
    size_t method_count;
} dynamic_service;

/* ---- files --------------------------------------------------------------------------------- */

/** The name of a packed FileDescriptorProto; false when it is damaged or has none. Borrowed. */
bool dynamic_file_name(rpc_bytes file, rpc_bytes *ret_name);
/** The index-th file that it imports; false: it has no more. Borrowed. */
bool dynamic_file_import(rpc_bytes file, size_t index, rpc_bytes *ret_name);
/** The files of a packed FileDescriptorSet, borrowed from it.
 *  room  of ret_files; more files are RESOURCE_EXHAUSTED, damage is INTERNAL. */
RPC_MUST_USE rpc_code dynamic_set_files(
    rpc_bytes set, rpc_bytes *ret_files, size_t room, size_t *ret_count, rpc_status *reterr);

/** files  packed FileDescriptorProtos, each once, in any order; not used after return. Types of
 *         files that are missing are known by name only.
 *  INTERNAL names what is damaged or declared twice, RESOURCE_EXHAUSTED a limit or memory. */
RPC_MUST_USE rpc_code dynamic_schema_new(
    const rpc_bytes *files, size_t file_count, dynamic_schema **ret, rpc_status *reterr);
/** NULL is allowed. */
void dynamic_schema_free(dynamic_schema *schema);

/** NULL: there is none of that name. */
const dynamic_message *dynamic_find_message(const dynamic_schema *schema, const char *name);
const dynamic_service *dynamic_find_service(const dynamic_schema *schema, const char *name);
const dynamic_method *dynamic_find_method(const dynamic_service *service, const char *name);
/** The index-th service, sorted by name; NULL: there are no more. */
const dynamic_service *dynamic_service_at(const dynamic_schema *schema, size_t index);

/** The declaration of a message, enum, service or method ("package.Service/Method" or with a dot)
 *  in the words of a .proto. *ret_text is malloc'd. NOT_FOUND, RESOURCE_EXHAUSTED. */
RPC_MUST_USE rpc_code dynamic_describe(
    const dynamic_schema *schema, const char *name, char **ret_text, rpc_status *reterr);

/* ---- messages ------------------------------------------------------------------------------- */

/** Packs json as a message of that type; *ret_data is malloc'd (and never NULL).
 *  INVALID_ARGUMENT names the member and the rule, RESOURCE_EXHAUSTED is memory. */
RPC_MUST_USE rpc_code dynamic_encode(const dynamic_message *type, const json_t *json,
    uint8_t **ret_data, size_t *ret_size, rpc_status *reterr);
/** The JSON of a packed message; the caller owns *ret. Fields are those on the wire: absent ones
 *  are not filled in. INTERNAL names what is damaged, RESOURCE_EXHAUSTED a limit or memory. */
RPC_MUST_USE rpc_code dynamic_decode(
    const dynamic_message *type, rpc_bytes packed, json_t **ret, rpc_status *reterr);

/** JSON as text, malloc'd; numbers are the shortest that read back the same, which jansson's own
 *  writer does not give. indented  over several lines. NULL when memory is short. */
char *dynamic_print(const json_t *value, bool indented);
/** base64, also the URL's alphabet, with or without padding; *ret_data is malloc'd (never NULL).
 *  False when it is something else, or memory is short. */
bool dynamic_unbase64(rpc_bytes text, uint8_t **ret_data, size_t *ret_size);

#endif
